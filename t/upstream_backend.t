#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# upstream_backend: the application speaks to single clients, by their name or
# their identity, and closes them; with one worker and with several.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use IO::Select ();
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Stop;


my $t = Test::Nginx->new()->has(qw/ http map rewrite /)->plan(2 * 215 + 3 + 17);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes %%WORKERS%%;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 4m log=1m;
    snorky_drain %%DRAIN%%;
    snorky_max_message_size 1m;

    snorky_service upstream app pass=/app;
    snorky_service upstream other pass=/app;
    snorky_service upstream slow pass=/slow timeout=1h;
    snorky_service pubsub news;
    snorky_service echo echo;

    snorky_registry second {
        snorky_service upstream app pass=/app;
        snorky_service echo echo;
    }

    snorky_registry third {
        snorky_service upstream app pass=/app;
        snorky_service echo echo;
    }

    snorky_registry private {
        snorky_service upstream_backend app frontend=public/app;
        snorky_service upstream_backend other frontend=other;
        snorky_service upstream_backend second frontend=second/app;
        snorky_service pubsub_backend news frontend=public/news;
    }

    map $arg_user $user {
        default  $arg_user;
        quote    'q"\\';
        line     "a\nb";
        euro     '€';
        long     %%LONG%%;
    }

    add_header X-Worker $snorky_worker always;
    snorky_identity $user;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 reuseport;
        server_name  localhost;
        snorky_lean  %%LEAN%%;

        location /ws {
            snorky_websocket;
        }

        location /one {
            snorky_websocket;
            snorky_max_subscriptions 1;
        }

        location /second {
            snorky_websocket registry=second;
        }

        location /third {
            snorky_websocket registry=third;
        }

        location /raw {
            snorky_websocket_echo;
        }

        location /app {
            internal;
            default_type application/json;
            return 200 '"$snorky_client"';
        }

        location /slow {
            internal;
            proxy_pass http://127.0.0.1:8085;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

my $silent = IO::Socket::INET->new(Proto => 'tcp', LocalAddr => '127.0.0.1',
    LocalPort => port(8085), Listen => 16, ReuseAddr => 1)
    or die "cannot listen: $@\n";

my $null = '{"type":"response","callId":1,"data":null}';
my ($where, $turn, @slots);


for my $layout ([ 1, 'off' ], [ 4, 'on' ]) {
    start(@$layout);

    one();
    all_of_one();
    identities();
    order();
    registries();
    params();
    closing();
    returning();
    counting();
    waking();
    answering() if @slots > 1;

    is(wait_until { counters()->{sessions} == 0 }, 1, "$where: all have gone");
    is(scalar(() = $t->read_file('error.log') =~ /\[(?:warn|error|crit)\]/g),
        0, "$where: nothing of it is a warning");

    $t->stop();
}

reload();
configuration();


# --- send -------------------------------------------------------------------

sub one {
    my @c = map { client() } 1 .. 8;
    my @name = map { name($_) } @c;

    is(keys %{ { map { $_ => 1 } @name } }, 8, "$where: each has a name");

    for my $n (0 .. 7) {
        is(send_to({ client => $name[$n] }, "{\"n\":$n.0}"), $null,
            "$where: one of them is sent something");
        is($c[$n]->text_in(), envelope('app', \"{\"n\":$n.0}"),
            "$where: and gets it, byte for byte");
    }

    for my $message ('1e400', 'null', '"\u0041\/"', '[1 ,2]',
        '{"a":1,"a":2}', '"' . 'x' x 100000 . '"')
    {
        send_to({ client => $name[0] }, $message);
        is($c[0]->text_in(), "{\"service\":\"app\",\"message\":$message}",
            "$where: " . substr($message, 0, 20) . ' arrives as it is');
    }

    hear_nothing('nobody else has got any of it', @c);

    # names that nobody has

    my ($zone, $number) = split /-/, $name[0];

    for my $to ('', '-', 'x', $zone, "$zone-", "-$number", "$zone-0",
        "$zone-fffffff", "0$name[0]", "$zone-0$number", uc "$zone-ab$number",
        " $name[0]", "$name[0] ", "$name[0]-1", "1$name[0]",
        "$zone-7fffffffffffffff", "$zone-ffffffffffffffff",
        "ffffffff-$number", 'x' x 10000, "$name[0]\0", "\xc3\xa9")
    {
        is(send_to({ client => \json_text($to) }, 1), $null,
            "$where: it is no error to name nobody: "
                . (substr($to, 0, 40) =~ s/[^ -~]/?/gr));
    }

    my ($escaped) = map { '"' . sprintf('\u%04x', ord) . substr($name[0], 1)
        . '"' } substr $name[0], 0, 1;

    send_to({ client => \$escaped }, 8);
    is($c[0]->text_in(), envelope('app', 8),
        "$where: a name is one, however it is written");

    hear_nothing('and nobody has got that', @c);

    # one that has gone

    $c[1]->finish();
    is(wait_until { counters()->{sessions} == 7 }, 1, "$where: one goes");
    is(send_to({ client => $name[1] }, 1), $null, "$where: and is nobody");

    # by either service

    is(post('other', 'send', { to => { client => $name[2] }, message => 9 }),
        envelope('other', \$null) =~ /(\{"type.*\})\}/ && $1,
        "$where: another service speaks, too");
    is($c[2]->text_in(), envelope('other', 9), "$where: with its own name");

    hear_nothing('to that one', @c[0, 2 .. 7]);

    $_->finish() for @c[0, 2 .. 7];

    return;
}


sub all_of_one {
    my @anna = map { client('anna') } 1 .. 6;
    my @others = (client('otto'), client(), client('ann'), client('annaa'));

    for my $n (1 .. 3) {
        is(send_to({ identity => 'anna' }, $n), $null,
            "$where: an identity is sent something");
        is_deeply([ map { $_->text_in() } @anna ],
            [ (envelope('app', $n)) x 6 ], "$where: all of it get that, once");
    }

    send_to({ client => name($anna[3]) }, 4);
    is($anna[3]->text_in(), envelope('app', 4),
        "$where: one of them can be meant alone");

    $anna[0]->finish();
    send_to({ identity => 'anna' }, 5);
    is_deeply([ map { $_->text_in() } @anna[1 .. 5] ],
        [ (envelope('app', 5)) x 5 ], "$where: who has gone is not missed");

    hear_nothing('nobody else is told', @anna[1 .. 5], @others);

    is(send_to({ identity => 'nobody' }, 1), $null,
        "$where: nobody may have an identity");

    $_->finish() for @anna[1 .. 5], @others;

    return;
}


sub identities {
    my %as = (
        anna  => [ '"anna"', '"\u0061nna"', '"\u0061\u006e\u006e\u0061"' ],
        quote => [ '"q\"\\\\"', '"q\u0022\u005c"' ],
        line  => [ '"a\nb"', '"a\u000ab"', '"a\u000Ab"' ],
        euro  => [ "\"\xe2\x82\xac\"", '"\u20ac"', '"\u20AC"' ],
        long  => [ '"' . 'x' x 306 . '"' ],
        '%41' => [ '"%41"' ],
    );

    for my $user (sort keys %as) {
        my $c = client($user);

        for my $text (@{ $as{$user} }) {
            send_to({ identity => \$text }, 7);
            is($c->text_in(), envelope('app', 7), "$where: an identity is "
                . 'that, however it is written: '
                . (substr($text, 0, 20) =~ s/[^ -~]/?/gr));
        }

        send_to({ identity => \$_ }, 8) for '""', '"A"', '"Anna"', '"a b"',
            '"\ud800"', '"q\""', '"a\\\\nb"';
        hear_nothing("and no other: $user", $c);

        $c->finish();
    }

    # a raw connection is no client of services

    my $raw = client('anna', path => '/raw');

    send_to({ identity => 'anna' }, 9);
    said('disconnect', '{"to":{"identity":"anna"}}');

    $raw->text('echo');
    is($raw->text_in(), 'echo', "$where: a raw connection is not meant");
    $raw->finish();

    return;
}


# --- the order --------------------------------------------------------------

sub order {
    my @c = map { client('anna') } 1 .. 4;
    my @name = map { name($_) } @c;

    $_->rpc('news', 'subscribe', { channel => 1 }) for @c;

    my (@batch, @heard);

    for my $n (1 .. 40) {
        my $kind = $n % 4;

        if ($kind == 0) {
            push @batch, envelope('news', { command => 'publish', callId => 1,
                params => { channel => 1, message => $n } });
            push @{ $heard[$_] }, envelope('news',
                \"{\"type\":\"message\",\"channel\":1,\"message\":$n}")
                for 0 .. 3;

        } elsif ($kind == 1) {
            push @batch, envelope('app', { command => 'send', callId => 1,
                params => { to => { identity => 'anna' }, message => $n } });
            push @{ $heard[$_] }, envelope('app', $n) for 0 .. 3;

        } else {
            my $to = $n % 3;

            push @batch, envelope('app', { command => 'send', callId => 1,
                params => { to => { client => $name[$to] },
                            message => $n } });
            push @{ $heard[$to] }, envelope('app', $n);
        }
    }

    backend_post('/backend', '[' . join(',', @batch) . ']',
        key => 'swordfish');

    for my $n (0 .. 3) {
        is_deeply([ map { $c[$n]->text_in() } @{ $heard[$n] } ], $heard[$n],
            "$where: a client hears all in the order of the log");
    }

    # what comes from many sides has one order for all of an identity

    my @posts = map { Snorky->dial(port => port(8081)) } 1 .. 8;

    for my $n (0 .. 7) {
        my $text = '[' . join(',', map { envelope('app', {
            command => 'send', callId => 1, params => {
                to => { identity => 'anna' }, message => "$n $_" } }) }
            1 .. 25) . ']';

        $posts[$n]->send("POST /backend HTTP/1.1\r\nHost: a\r\n"
            . "X-Backend-Key: swordfish\r\nContent-Length: " . length($text)
            . "\r\n\r\n$text");
    }

    my @got = map { my $d = $_; join "\n", map { $d->text_in() } 1 .. 200 } @c;

    is_deeply(\@got, [ ($got[0]) x 4 ],
        "$where: and so do all of an identity, whoever sends");
    is(scalar(() = $got[0] =~ /^\{"service":"app"/mg), 200,
        "$where: all of it");
    hear_nothing('and no more', @c);

    $_->finish() for @c;

    return;
}


sub registries {
    my $c = client('anna');
    my $d = client('anna', path => '/second');
    my $e = client('anna', path => '/third');

    send_to({ identity => 'anna' }, 1);
    is($c->text_in(), envelope('app', 1), "$where: one registry is reached");

    post('second', 'send', { to => { identity => 'anna' }, message => 2 });
    is($d->text_in(), envelope('app', 2), "$where: or the other");

    post('second', 'send', { to => { client => name($c) }, message => 3 });
    send_to({ client => name($d) }, 3);
    send_to({ client => name($e) }, 3);
    hear_nothing('but none by the service of another', $c, $d, $e);

    $c->text('{"service":"app","message":{"command":"disconnect","params":'
        . '{"to":{"identity":"anna"}},"callId":1}}');
    like($c->text_in(), qr/"data":/,
        "$where: a client that says so asks the application");
    hear_nothing('and closes nobody', $c, $d, $e);

    $_->finish() for $c, $d, $e;

    return;
}


sub params {
    my $c = client('anna');
    my $name = name($c);

    for my $to ('null', '1', '"anna"', '[]', '{}', '["identity","anna"]',
        '{"client":1}', '{"client":null}', '{"identity":null}',
        '{"identity":["anna"]}', '{"name":"anna"}', '{"Identity":"anna"}',
        "{\"client\":\"$name\",\"identity\":\"anna\"}",
        "{\"identity\":\"anna\",\"client\":\"$name\"}",
        '{"identity":"anna","other":1}', '{"identity":"anna","identity":"b"}')
    {
        is(said('send', "{\"to\":$to,\"message\":1}"), 'Invalid params',
            "$where: send: $to is nobody");
        is(said('disconnect', "{\"to\":$to}"), 'Invalid params',
            "$where: disconnect: nor here") if $to =~ /^[n\[{]/ && length $to < 20;
    }

    my $anna = '"to":{"identity":"anna"}';

    is(said('send', $_), 'Invalid params', "$where: send: $_")
        for "{$anna}", '{"message":1}', "{$anna,\"message\":1,\"code\":1}";
    is(said('disconnect', "{$anna,$_}"), 'Invalid params',
        "$where: disconnect: $_") for map({ "\"code\":$_" } qw/ 0 999 1001 1002
            1003 1004 1005 1006 1007 1009 1010 1011 1012 1013 1015 1016 2999
            5000 -1008 1008.0 1e3 "1008" null [1008] 10000000000000000000
            /), '"reason":1', '"reason":null', '"message":1',
            '"reason":"' . 'x' x 124 . '"', '"reason":"' . "\xc3\xa9" x 62 . '"',
            '"reason":"a\u0000b"', '"code":4000,"reason":[]';
    is(said($_, "{$anna}"), 'Unknown command', "$where: $_ is no command")
        for 'close', 'Send', 'list';
    is(said('send', "{$anna,\"message\":\"" . 'x' x 270000 . '"}'),
        'Message too large', "$where: there is a limit");

    hear_nothing('none of that did anything', $c);

    $c->finish();

    return;
}


# --- disconnect -------------------------------------------------------------

sub closing {
    for my $case (
        [ '',                             1008, '' ],
        [ ',"code":1000',                 1000, '' ],
        [ ',"code":1008,"reason":"no"',   1008, 'no' ],
        [ ',"reason":"\u00e9 \"x\""',     1008, "\xc3\xa9 \"x\"" ],
        [ ',"code":3000,"reason":""',     3000, '' ],
        [ ',"code":4999,"reason":"' . 'x' x 123 . '"', 4999, 'x' x 123 ],
    ) {
        my ($params, $code, $reason) = @$case;
        my ($c, $d) = (client('anna'), client('anna'));
        my $name = name($c);

        is(said('disconnect', "{\"to\":{\"client\":\"$name\"}$params}"), 'null',
            "$where: a client is closed");
        is($c->close_in(), $code, "$where: with the code $code");
        is($c->{closed}{reason}, $reason, "$where: and its reason");
        ok($c->gone(), "$where: and is gone");
        hear_nothing('which another one is not', $d);
        $d->finish();
    }

    my @anna = map { client('anna') } 1 .. 6;
    my $otto = client('otto');

    is(said('disconnect', '{"to":{"identity":"anna"},"code":4001}'), 'null',
        "$where: an identity is closed");
    is_deeply([ map { $_->close_in() } @anna ], [ (4001) x 6 ],
        "$where: which is all its connections");
    hear_nothing('and nobody else', $otto);

    is(said('disconnect', '{"to":{"identity":"anna"}}'), 'null',
        "$where: again, it is nobody");

    # what was sent before comes before

    my $c = client('anna');

    $c->rpc('news', 'subscribe', { channel => 1 });

    backend_post('/backend', '[' . join(',',
        envelope('app', { command => 'send', callId => 1,
            params => { to => { identity => 'anna' }, message => 1 } }),
        envelope('news', { command => 'publish', callId => 1,
            params => { channel => 1, message => 2 } }),
        envelope('app', { command => 'disconnect', callId => 1,
            params => { to => { identity => 'anna' }, code => 3001 } }),
        envelope('app', { command => 'send', callId => 1,
            params => { to => { identity => 'anna' }, message => 3 } }))
        . ']', key => 'swordfish');

    is($c->text_in(), envelope('app', 1), "$where: what was sent before");
    like($c->text_in(), qr/"message":2\}/, "$where: or published");
    is($c->text_in() // $c->{closed}{code}, 3001,
        "$where: comes before the end, and nothing after it");

    # with a call under way

    my $slow = client('anna');
    my $before = counters()->{calls_cancelled};

    $slow->call('slow', 'x', {});
    is(wait_until { counters()->{calls} == 1 }, 1, "$where: a call waits");
    said('disconnect', '{"to":{"identity":"anna"}}');
    is($slow->close_in(), 1008, "$where: its client is closed all the same");
    is(counters()->{calls_cancelled}, $before + 1,
        "$where: and the call given up");

    is(wait_until { counters()->{sessions} == 1 }, 1,
        "$where: all of these are gone");

    $otto->finish();

    return;
}


# who comes back is not meant

sub returning {
    my $c = client('anna');
    my $bad = 0;

    for my $n (1 .. 30) {
        said('disconnect', '{"to":{"identity":"anna"}}');
        $c->close_in();
        $c = client('anna');
        $c->text(envelope('echo', $n));
        $bad++ if ($c->text_in() // '') ne envelope('echo', $n);
    }

    is($bad, 0, "$where: who comes back stays");

    $c->finish();

    return;
}


# --- what it costs ----------------------------------------------------------

sub counting {
    my @c = map { client('anna', path => '/one') } 1 .. 4;
    my $now = counters();

    is($now->{subscriptions}, 0, "$where: nobody is subscribed");
    is($now->{channels}, 0, "$where: to any channel");
    is(status_json()->{zone}{records}, 0, "$where: the zone has no record");

    is($c[0]->rpc('news', 'subscribe', { channel => 1 })->{type}, 'response',
        "$where: who may have one subscription may have it");
    is($c[0]->rpc('news', 'subscribe', { channel => 2 })->{message},
        'Too many subscriptions', "$where: and no more");

    $now = counters();
    is($now->{subscriptions}, 1, "$where: that is one");
    is($now->{channels}, 1, "$where: and one channel");

    my $deliveries = $now->{deliveries};

    send_to({ identity => 'anna' }, 1);
    $_->text_in() for @c;
    is(counters()->{deliveries} - $deliveries, 4,
        "$where: each that gets it is a delivery");

    my $other = counters()->{closed_other};

    said('disconnect', '{"to":{"identity":"anna"}}');
    $_->close_in() for @c;
    is(wait_until { counters()->{closed_other} == $other + 4 }, 1,
        "$where: their ends are counted");

    return;
}


# the workers that do not have the client sleep on

sub waking {
    my %c = map { $_ => Snorky::connect_to_worker($_, '/ws',
        port => port(8081)) } @slots;
    my $to = $slots[-1];
    my $name = name($c{$to});

    my $bells = sub {
        return { map { $_->{slot} => $_->{bells_received} }
                 @{ status_json()->{workers} } };
    };

    my $before = $bells->();

    for my $n (1 .. 100) {
        send_to({ client => $name }, $n);
        $c{$to}->text_in();
    }

    my $after = $bells->();

    is_deeply([ map { $after->{$_} - $before->{$_} } grep { $_ != $to }
        @slots ], [ (0) x (@slots - 1) ],
        "$where: other workers are not woken");

    $_->finish() for values %c;

    # when the last has gone nobody is woken for any of them

    my @c = map { client('anna') } 1 .. 8;

    $_->finish() for @c;
    is(wait_until { counters()->{sessions} == 0 }, 1, "$where: all go");

    $before = $bells->();
    send_to({ identity => $_ }, 1) for ('anna', 'otto') x 10;
    is_deeply($bells->(), $before, "$where: and nobody is woken for them");

    return;
}


# --- reload -----------------------------------------------------------------

sub reload {
    start(1, 'off', '1h');

    # of two, the first is closed at once, the other half an hour later

    my $first = Snorky->connect('/ws');
    my $old = Snorky->connect('/ws?user=anna');
    my $name = name($old);
    my $pid = (worker_pids($t))[0];

    $t->reload();

    is(wait_until {
        my @live = grep { !$_->{quitting} } @{ status_json()->{workers} };
        @live == 1 && $live[0]{pid} != $pid;
    }, 1, 'after a reload');

    is($first->close_in(), 1012, 'clients of the old worker are closed');

    my $new = Snorky->connect('/ws?user=anna');

    send_to({ identity => 'anna' }, 1);
    is_deeply([ map { $_->text_in() } $old, $new ], [ (envelope('app', 1)) x 2 ],
        'old and new workers have clients of an identity');
    send_to({ client => $name }, 2);
    is($old->text_in(), envelope('app', 2), 'one keeps its name');
    isnt(name($new), $name, 'which no other has');
    said('disconnect', "{\"to\":{\"client\":\"$name\"}}");
    is($old->close_in(), 1008, 'and is closed by it');

    hear_nothing('the other is not', $new);
    $_->finish() for $new, $old, $first;

    $t->stop();

    return;
}


# --- the configuration ------------------------------------------------------

sub configuration {
    my $up = 'snorky_service upstream app pass=/a;';
    my %bad = (
        'snorky_service upstream_backend b;' => 'no "frontend="',
        'snorky_service upstream_backend b frontend=app;'
            => 'no such service',
        'snorky_service pubsub p; snorky_service upstream_backend b '
            . 'frontend=p;' => 'service "b" of registry',
        "$up snorky_service upstream_backend b frontend=app pass=/a;"
            => 'unknown name in option "pass=/a"',
        "$up snorky_service pubsub_backend b frontend=app;"
            => 'service "b" of registry',
        "$up snorky_registry r { $up } snorky_registry s { "
            . 'snorky_service upstream_backend b frontend=app; }'
            => 'ambiguous service name',
    );

    for my $text (sort keys %bad) {
        like(check($text), qr/\[emerg\].*\Q$bad{$text}\E/, "refused: $text");
    }

    like(check($_), qr/test is successful/, "accepted: $_")
        for "$up snorky_service upstream_backend b frontend=app;",
            "snorky_service upstream_backend b frontend=app; $up",
            "$up snorky_registry r { snorky_service upstream_backend b "
                . 'frontend=public/app; }',
            "$up snorky_service upstream_backend b frontend=app; "
                . 'snorky_service upstream_backend c frontend=app;';

    return;
}


sub check {
    my ($http) = @_;

    my $dir = File::Temp::tempdir(CLEANUP => 1);
    my $globals = $ENV{TEST_NGINX_GLOBALS} || '';

    open my $f, '>', "$dir/nginx.conf" or die "nginx.conf: $!\n";
    print $f "$globals\nevents { }\nhttp { access_log off;\n$http\n"
        . "server { listen 127.0.0.1:${\ port(8080)}; } }\n";
    close $f;

    return scalar `$Test::Nginx::NGINX -t -p $dir/ -c nginx.conf \\
        -e stderr -g 'pid $dir/pid;' 2>&1`;
}


# --- clients ----------------------------------------------------------------

sub start {
    my ($workers, $lean, $drain) = @_;

    $where = ($workers > 1 ? "$workers workers" : 'one worker')
        . ($lean eq 'on' ? ', lean' : '');

    my $text = $conf;

    $drain //= '10ms';
    $text =~ s/%%WORKERS%%/$workers/;
    $text =~ s/%%LEAN%%/$lean/;
    $text =~ s/%%DRAIN%%/$drain/;
    $text =~ s/%%LONG%%/'x' x 306/e;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));
    $t->run();

    wait_until {
        @slots = map { $_->{slot} } @{ status_json()->{workers} };
        @slots == $workers;
    } or die "no workers\n";

    $turn = 0;

    return;
}


# each has another worker

sub client {
    my ($user, %o) = @_;

    my $path = ($o{path} || '/ws') . (defined $user ? "?user=$user" : '');

    return connect_to_worker($slots[$turn++ % @slots], $path,
        port => port(8081));
}


sub name {
    my ($c) = @_;

    return $c->rpc('app', 'name', {})->{data};
}


sub json_text {
    my ($text) = @_;

    return json($text) if $text !~ /[\x00\x80-\xff]/;

    return '"' . ($text =~ s/\x00/\\u0000/gr) . '"';
}


# the message of the answer

sub post {
    my ($service, $command, $params) = @_;

    my $text = '{"command":' . json($command) . ',"params":'
        . (ref $params eq 'SCALAR' ? $$params : json($params))
        . ',"callId":1}';

    my $r = backend_post('/backend', envelope($service, \$text),
        key => 'swordfish', port => port(8081));

    my ($message) = $r->{body} =~ /^\{"service":"\w+","message":(.*)\}$/s;

    return $message;
}


# $to has a text, or a reference to JSON; $message is JSON

sub send_to {
    my ($to, $message) = @_;

    my ($kind, $value) = %$to;

    $value = ref $value ? $$value : json($value);

    return post('app', 'send',
        \"{\"to\":{\"$kind\":$value},\"message\":$message}");
}


# an error's text, or the data

sub said {
    my ($command, $params) = @_;

    my $text = post('app', $command, \$params) // return;
    my ($said) = $text =~ /"message":"(.*)"\}$/;

    return $said // ($text =~ /"data":(.*)\}$/)[0];
}


# What the application has published before it answers comes before its answer,
# also where the client's worker has more of the log to read than it does at a
# time.

sub answering {
    my $c = connect_to_worker($slots[0], '/ws?user=anna', port => port(8081));
    my ($worker) = grep { $_->{slot} == $slots[0] }
        @{ status_json()->{workers} };
    my $h = connection_to_another($slots[0]);

    $c->rpc('news', 'subscribe', { channel => 1 });

    # those of calls that were given up

    close $silent->accept() while IO::Select->new($silent)->can_read(0);

    $c->call('slow', 'x', {});

    my $question = $silent->accept();
    my $asked = '';

    sysread $question, $asked, 65536, length $asked
        until $asked =~ /"callId":\d+\}$/;

    stop_process($worker->{pid});

    my $news = envelope('news', { command => 'publish', callId => 1,
        params => { channel => 1, message => 'x' x 10000 } });
    my $send = envelope('app', { command => 'send', callId => 1,
        params => { to => { identity => 'anna' }, message => 'last' } });

    my $r = backend_post('/backend', '[' . join(',', ($news) x 40, $send)
        . ']', key => 'swordfish', on => $h);

    is($r->{status}, 200, "$where: much is published, then one is sent to");

    print $question "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n"
        . "Content-Length: 2\r\n\r\n17";
    $question->flush();
    close $question;

    continue_process($worker->{pid});

    my @texts = map { $c->text_in() // '' } 1 .. 42;

    is($texts[40], envelope('app', 'last'), "$where: it hears of that");
    like($texts[41], qr/"data":17/, "$where: before the answer");

    $c->finish();

    return;
}


# a kept connection of a backend

sub connection_to_another {
    my ($slot) = @_;

    for (1 .. 200) {
        my $h = Snorky->dial(port => port(8081));
        my $r = backend_post('/backend', envelope('app', { command => 'send',
            callId => 1, params => { to => { client => 'nobody' },
            message => 1 } }), key => 'swordfish', on => $h);

        return $h if $r->{headers}{'x-worker'} != $slot;
    }

    die "no connection to another worker\n";
}


# What was sent to anybody before is there when the echo is.

sub hear_nothing {
    my ($name, @clients) = @_;

    my @heard;

    for my $c (@clients) {
        $c->text(envelope('echo', 'fence')) if $c;
    }

    for my $c (@clients) {
        for (;;) {
            my $text = $c->text_in() // "nothing: $c->{why}";

            last if $text eq envelope('echo', 'fence');
            push @heard, $text;
            last if $text =~ /^nothing/;
        }
    }

    is("@heard", '', "$where: $name");

    return;
}
