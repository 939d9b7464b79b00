#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# A zone that is too small for all that clients want to be kept there.  What
# has no room is refused at once and as a whole; publications need none, and
# go on; when clients have gone, everything is free again.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(4 * 18 + 2 * 49);

my $services = <<'EOC';

    snorky_service pubsub news;
    snorky_service messaging people;
    snorky_service chat room;
    snorky_service cursors text max_cursors=100000;
    snorky_service datasync sync timeout=3s pending_max=100m;

    snorky_dealer sync all broadcast model=M;

    snorky_registry private {
        snorky_service datasync_backend sync_backend frontend=sync;
    }

EOC

my $conf = <<"EOC";

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone %%ZONE%%;
    snorky_drain 10ms;

    # what is refused for want of memory is refused at once
    snorky_publish_timeout 60s;

    snorky_max_subscriptions 100000;
    snorky_send_buffer 16m;
    $services
    add_header X-Worker \$snorky_worker always;

    server {
        listen       127.0.0.1:8080;

        # with a socket for each worker, connections come to all of them
        listen       127.0.0.1:8081 reuseport;

        server_name  localhost;

        location /ws {
            snorky_websocket;
            snorky_identity \$arg_user;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            client_max_body_size 4m;
            snorky_max_message_size 64k;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

my $port = port(8081);

my ($where, $free, @slots, $clients, $publisher, $subscriber);
my $news = 0;           # published so far
my (@lost, @late);      # of these; and refusals that took their time


# the smallest zone with this log, the same with a log that leaves as little
# room as may be, and two with some

my $smallest = first_accepted(map { "${_}k log=16k" } map { $_ * 4 } 16 .. 64);
my ($size) = $smallest =~ /^(\d+)/;
my $tightest = first_accepted(map { "${size}k log=${_}k" }
    reverse map { $_ * 4 } 4 .. $size / 4 - 1);

for my $zone ($smallest, $tightest, '128k log=16k', '256k log=16k') {
    start($zone);

    participants();

    if ($zone ne $smallest && $zone ne $tightest) {
        members();
        cursors();
        tokens();
        deltas();
    }

    is("@late", '', "$where: what was refused was so at once");
    is("@lost", '', "$where: no publication was lost");
    all_free("$where: in the end all is free");

    $_->finish() for $publisher, $subscriber;
    $t->stop();
}


# --- names ------------------------------------------------------------------

sub participants {
    my ($p, $q) = (client('anna'), client('otto'));
    my (@names, $refused);

    # of all sizes, so that nothing else is left in the end

    for my $length (900, 200, 1) {
        my $n = 0;

        for (;;) {
            my $name = '"' . 'x' x $length . $n++ . '"';

            $refused = $name;
            last if call($p, 'people', 'registerParticipant',
                qq/{"name":$name}/) ne 'response';

            push @names, $name;
        }
    }

    is(result($p), 'Overloaded', "$where: when " . @names
        . ' names are registered, the zone is full');
    cmp_ok(status_json()->{zone}{free}, '<', 4096, "$where: really");
    is(news(), 1, "$where: publications need no memory");

    is(listed($q), join(',', sort @names),
        "$where: what was refused is not registered");
    is(call($p, 'people', 'unregisterParticipant', qq/{"name":$refused}/),
        'Unknown participant', "$where: whoever asks");
    is(call($q, 'people', 'registerParticipant', qq/{"name":$refused}/),
        'Overloaded', "$where: another cannot have it either");

  SKIP: {
        skip 'no name at all fits', 6 unless @names;

        is(call($q, 'people', 'registerParticipant',
            qq/{"name":$names[0]}/), 'Name already registered',
            "$where: that a name is taken is known");

        # one out, one in

        my $given = pop @names;

        is(call($p, 'people', 'unregisterParticipant', qq/{"name":$given}/),
            'response', "$where: one is given up");
        is(call($q, 'people', 'registerParticipant', qq/{"name":$refused}/),
            'response', "$where: in its place there is room for another");
        is(call($q, 'people', 'send', qq/{"sender":$refused,"dest":$refused,/
            . '"body":"self"}'), 'response', "$where: which is one");
        is(heard($q), qq/{"service":"people","message":{"type":"message",/
            . qq/"sender":$refused,"dest":$refused,"body":"self"}}/,
            "$where: like any other");
        is(listed($q), join(',', sort @names, $refused),
            "$where: and is listed");
    }

    ended($p, $q);
    all_free("$where: when all have gone, all is free");

    my $r = client('anna');

    is(listed($r), '', "$where: and nobody is listed");
    is(news(), 1, "$where: publications go on");
    ended($r);

    return;
}


# --- members ----------------------------------------------------------------

sub members {
    my ($witness, $filler, $late) = map { client($_) } qw/ anna otto late /;

    is(call($witness, 'room', 'join', '{"channel":"w"}'), 'response',
        "$where: one is in a channel");

    my ($joined, $refused) = fill($filler, 'room', 'join', 'channel', '');

    is(result($filler), 'Overloaded',
        "$where: when another has joined $joined more, the zone is full");
    is(call($filler, 'room', 'leave', "{\"channel\":$refused}"), 'Not joined',
        "$where: the one that was refused he has not joined");
    is(call($filler, 'room', 'send', "{\"channel\":$refused,\"body\":1}"),
        'Not joined', "$where: in no way");

    is(call($late, 'room', 'join', '{"channel":"w"}'), 'Overloaded',
        "$where: the first channel has no room for another");
    is(call($late, 'room', 'send', '{"channel":"w","body":1}'), 'Not joined',
        "$where: who is not in");
    is(call($witness, 'room', 'send', '{"channel":"w","body":2}'), 'response',
        "$where: who is, may talk");
    like(heard($witness), qr/^\{"service":"room","message":\{"type":"message",
        "from":"anna","channel":"w","body":2,"timestamp":"[^"]+"\}\}$/x,
        "$where: and hears himself, and of nobody who would have come");
    is(heard($late), '', "$where: which others do not");
    is(news(), 1, "$where: publications go on");

    ended($filler);
    is(call($late, 'room', 'join', '{"channel":"w"}'), 'response',
        "$where: when the other has gone, there is room");
    like(heard($witness), qr/^\{"service":"room","message":\{"type":"presence",
        "from":"late","channel":"w","status":"joined",
        "timestamp":"[^"]+"\}\}$/x, "$where: and one is told");
    is(call($filler = client('otto'), 'room', 'join',
        "{\"channel\":$refused}"), 'response',
        "$where: also where there was none");

    ended($witness, $filler, $late);
    all_free("$where: all is free");

    return;
}


# --- cursors ----------------------------------------------------------------

sub cursors {
    my ($witness, $filler) = map { client($_) } qw/ anna otto /;

    is(call($_, 'text', 'join', '{"document":"d"}'), 'response',
        "$where: one is in a document") for $witness, $filler;

    my ($made, $refused) = fill($filler, 'text', 'createCursor',
        'privateHandle', '"document":"d","position":[1.0],"status":"s"');

    is(result($filler), 'Overloaded',
        "$where: when there are $made cursors, the zone is full");
    is(news(), 1, "$where: publications go on");
    is(call($filler, 'text', 'updateCursor', "{\"privateHandle\":$refused,"
        . '"newData":{"position":2}}'), 'No such cursor',
        "$where: the one that was refused cannot be moved");
    is(call($filler, 'text', 'removeCursor', "{\"privateHandle\":$refused}"),
        'No such cursor', "$where: nor removed");

    my @added = split /\n/, heard($witness);

    is(scalar(grep { /"type":"cursorAdded".*"position":\[1\.0\],"status":"s"/ }
        @added), $made, "$where: of those that there are one is told");
    is(scalar @added, $made, "$where: and of no others");

    # a larger value needs memory, of which there may be some for the first

    my ($moved, $result) = (0, '');
    my $larger = '{"position":"' . 'y' x 1000 . '"}';

    for my $private (map { my $length = $_; map { 'x' x $length . $_ } 0 .. 3 }
        900, 200, 1)
    {
        $result = call($filler, 'text', 'updateCursor',
            "{\"privateHandle\":\"$private\",\"newData\":$larger}");
        last if $result eq 'Overloaded';
        $moved++ if $result eq 'response';
    }

    is($result, 'Overloaded', "$where: a cursor cannot grow where there is no "
        . 'room');
    is(scalar(my @updates = split /\n/, heard($witness)), $moved,
        "$where: which nobody is told");

    ended($filler);

    # more than the log can take at a time

    my @removed = split /\n/, heard($witness);

    while (@removed < $made) {
        my $text = $witness->text_in() // last;
        push @removed, $text unless $text =~ /^\{"service":"news"/;
    }

    my %handles = map { /"publicHandle":(\d+)/ ? ($1 => 1) : () } @added;
    my @twice = grep { !/"type":"cursorRemoved"/ || !/"publicHandle":(\d+)/
        || !delete $handles{$1} } @removed;

    is(scalar @removed, $made, "$where: when their owner goes, one is told of "
        . 'the end of each');
    is(scalar(@twice) . ' ' . keys %handles, '0 0', "$where: once");
    is(heard($witness), '', "$where: and of nothing else");

    my $next = client('next');

    is(call($next, 'text', 'join', '{"document":"d"}'), 'response',
        "$where: another may come");
    is(json($next->{reply}{data}), '{"cursors":[]}',
        "$where: and finds nothing");

    ended($witness, $next);
    all_free("$where: all is free");

    return;
}


# --- tokens -----------------------------------------------------------------

sub tokens {
    my ($p) = client('anna');
    my ($n, $token, $r) = (0);

    for (;;) {
        $r = authorize();
        last if $r->{status} != 200;
        $token = json($r->{json}{message}{data});
        last if ++$n > 100_000;
    }

    is("$r->{status} $r->{json}{message}{message}", '503 Overloaded',
        "$where: when $n tokens wait, the zone is full");

    # whether there is memory to acquire one, is not told; the token stays one

    my $acquired = call($p, 'sync', 'acquireSubscription',
        "{\"token\":$token}");

    like($acquired, qr/^(?:response|Overloaded)$/,
        "$where: a token may be acquired, or not");
    is(call($p, 'sync', 'acquireSubscription', "{\"token\":$token}"),
        $acquired eq 'response' ? 'Subscription already acquired'
        : 'Overloaded', "$where: and is not lost");
    call($p, 'sync', 'cancelSubscription', "{\"token\":$token}")
        if $acquired eq 'response';

    is(news(), 1, "$where: publications go on");
    is(call($p, 'people', 'registerParticipant', '{"name":"'
        . 'x' x 900 . '"}'), 'Overloaded', "$where: others find no room");
    all_free("$where: when they lapse, all is free");
    is(call($p, 'people', 'registerParticipant', '{"name":"'
        . 'x' x 900 . '"}'), 'response', "$where: for others, too");

    $r = authorize();
    is($r->{status}, 200, "$where: or for another token");
    is(call($p, 'sync', 'acquireSubscription',
        '{"token":' . json($r->{json}{message}{data}) . '}'), 'response',
        "$where: which can be acquired");

    ended($p);
    all_free("$where: all is free");

    return;
}


# --- what is kept for a token -----------------------------------------------

sub deltas {
    my ($p, $reserve) = map { client($_) } qw/ anna otto /;
    my (@published, $r);

    is(call($reserve, 'people', 'registerParticipant', '{"name":"'
        . 'x' x 900 . "$_\"}"), 'response', "$where: memory is taken")
        for 1 .. 4;

    my $token = json(authorize()->{json}{message}{data});

    for my $n (1 .. 1000) {
        my $delta = '{"type":"insert","model":"M","data":['
            . "$n,\"" . 'x' x 1000 . '"]}';

        $r = backend_post('/backend', '{"service":"sync_backend","message":'
            . '{"command":"publishDeltas","params":{"deltas":['
            . "$delta]},\"callId\":1}}", key => 'swordfish', port => $port);

        last if $r->{status} != 200;
        push @published, $n;
    }

    is("$r->{status} $r->{json}{message}{message}", '503 Overloaded',
        "$where: " . @published . ' deltas are kept, then the zone is full');
    is(news(), 1, "$where: publications go on");

    ended($reserve);

    is(call($p, 'sync', 'acquireSubscription', "{\"token\":$token}"),
        'response', "$where: when there is room, the token is acquired");
    is(join(' ', map { /"data":\[(\d+),/ ? $1 : $_ } split /\n/, heard($p)),
        "@published", "$where: and all that was kept is delivered, and no "
        . 'more');

    ended($p);
    all_free("$where: all is free");

    return;
}


# --- helpers ----------------------------------------------------------------

# the first of these zones with which nginx starts

sub first_accepted {
    for my $zone (@_) {
        my $said = nginx_t("snorky_zone $zone;");

        return $zone if $said =~ /test is successful/;
        die $said unless $said =~ /\[emerg\].*"snorky_zone" of .* too small/;
    }

    die "no zone is accepted\n";
}


sub start {
    my ($zone) = @_;

    (my $text = $conf) =~ s/%%ZONE%%/$zone/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));
    $t->run();

    wait_until { @{ status_json()->{workers} } == 2 };

    $where = $zone;
    $clients = 2;
    @lost = @late = ();
    @slots = map { $_->{slot} } @{ status_json()->{workers} };

    ($publisher, $subscriber) = map { connect_to_worker($_, '/ws',
        port => $port) } @slots;
    $subscriber->rpc('news', 'subscribe', { channel => 'n' });
    $free = status_json()->{zone}{free};

    return;
}


# a client of one worker or the other, who hears the news

sub client {
    my ($identity) = @_;

    my $c = connect_to_worker($slots[++$clients % 2], "/ws?user=$identity",
        port => $port);

    $c->rpc('news', 'subscribe', { channel => 'n' });

    return $c;
}


# Publishes; true when it is heard on the other worker, the next thing that is.

sub news {
    my $reply = $publisher->rpc('news', 'publish',
        { channel => 'n', message => ++$news });

    my $m = $subscriber->notification();

    return 1 if $reply && $reply->{type} eq 'response' && $m
        && $m->{message} == $news;

    push @lost, $news;

    return 0;
}


# "response" or the error; what comes before it is kept for heard()

sub call {
    my ($c, $service, $command, $params) = @_;

    my $started = time();

    $c->text(qq/{"service":"$service","message":{"command":"$command",/
        . qq/"params":$params,"callId":1}}/);

    for (;;) {
        my $text = $c->text_in() // 'nothing';

        if ($text !~ /^\{"service":"$service","message":\{"type":"(?:response
                       |error)"/x && $text ne 'nothing')
        {
            push @{ $c->{kept} }, $text;
            next;
        }

        my $e = decode($text) || {};

        $c->{reply} = $e->{message} || { type => 'nothing' };
        push @late, "$command: " . (time() - $started)
            if result($c) eq 'Overloaded' && time() - $started > 5;

        return result($c);
    }
}


# the same of the last call

sub result {
    my ($c) = @_;

    my $m = $c->{reply};

    return $m->{type} eq 'error' ? $m->{message} : $m->{type};
}


# Calls with other values of one parameter, long ones first, until none has
# room.  Returns how many were accepted, and what was refused last.

sub fill {
    my ($c, $service, $command, $param, $more) = @_;

    my $accepted = 0;
    my $value;

    for my $length (900, 200, 1) {
        for (my $n = 0; ; $n++) {
            $value = '"' . 'x' x $length . $n . '"';

            last if call($c, $service, $command, "{\"$param\":$value"
                . ($more ? ",$more" : '') . '}') ne 'response';

            $accepted++;
        }
    }

    return ($accepted, $value);
}


# what a client has been told by now, but news

sub heard {
    my ($c) = @_;

    my @texts = splice @{ $c->{kept} };

    news();

    for (;;) {
        my $text = $c->text_in() // 'nothing';

        push @texts, $text;
        last if $text eq 'nothing'
            || $text =~ /^\{"service":"news".*"message":$news\}\}$/;
    }

    pop @texts if $texts[-1] ne 'nothing';

    return join "\n", grep { !/^\{"service":"news"/ } @texts;
}


# the participants' names, sorted as texts

sub listed {
    my ($c) = @_;

    call($c, 'people', 'listParticipants', '{}');

    return join ',', sort map { json($_) } @{ $c->{reply}{data} || [] };
}


sub authorize {
    return backend_post('/backend', '{"service":"sync_backend","message":'
        . '{"command":"authorizeSubscription","params":{"items":['
        . '{"dealer":"all","query":null}]},"callId":1}}',
        key => 'swordfish', port => $port);
}


# what clients have had is given back when they have gone; when that is more
# than the log can tell at once, it takes a moment

sub all_free {
    my ($name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    wait_until { status_json()->{zone}{free} == $free };
    is(status_json()->{zone}{free}, $free, $name);

    return;
}


# closes them, and waits until nothing is left of them

sub ended {
    my (@gone) = @_;

    my $n = counters()->{sessions} - @gone;

    $_->finish() for @gone;

    wait_until { counters()->{sessions} <= $n }
        or die "clients that have gone are still there\n";

    return;
}


# what "nginx -t" says

sub nginx_t {
    my ($http) = @_;

    my $dir = File::Temp::tempdir(CLEANUP => 1);
    my $globals = $ENV{TEST_NGINX_GLOBALS} || '';

    open my $f, '>', "$dir/nginx.conf" or die "nginx.conf: $!\n";
    print $f "$globals\nevents { }\nhttp { access_log off;\n$http\n$services\n"
        . "server { listen 127.0.0.1:$port; } }\n";
    close $f;

    return scalar `$Test::Nginx::NGINX -t -p $dir/ -c nginx.conf \\
        -e stderr -g 'pid $dir/pid;' 2>&1`;
}
