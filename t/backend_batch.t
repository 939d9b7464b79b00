#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# A backend's batches: what is refused as a whole, that a batch does what its
# envelopes do one by one, and one that waits for room in the log half-way.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Stop;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(147);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    # room for some sixty messages
    snorky_zone 2m log=16k;
    snorky_worker_timeout 120s;
    snorky_publish_timeout 60s;
    snorky_drain 10ms;

    snorky_service pubsub messaging;
    snorky_service datasync datasync;
    snorky_service echo echo;
    snorky_dealer public/datasync all broadcast model=m;
    snorky_dealer public/datasync by simple model=m key=a;

    snorky_registry private {
        snorky_service pubsub_backend publisher frontend=messaging;
        snorky_service datasync_backend sync frontend=public/datasync;
        snorky_service cursors cursors;
        snorky_service echo echo;
    }

    add_header X-Worker $snorky_worker always;

    snorky_backend_key swordfish;
    snorky_identity backend;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /backend {
            snorky_backend registry=private;
            client_max_body_size 8m;
            snorky_max_message_size 2k;
        }

        location /depth {
            snorky_backend registry=private;
            snorky_max_depth 5;
        }

        location /file {
            snorky_backend registry=private;
            client_body_buffer_size 1k;
            snorky_max_message_size 2k;
        }

        location /always {
            snorky_backend registry=private;
            client_body_in_file_only clean;
            client_body_buffer_size 1k;
            snorky_max_message_size 2k;
        }

        location /fast {
            snorky_backend registry=private;
            snorky_publish_timeout 100ms;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();
wait_until { @{ status_json()->{workers} } == 2 };

my ($still, $other) = @{ status_json()->{workers} };

my $there = listener($still);
my $here = listener($other);

my $n = 0;          # the last publication's number
my $echo = '{"service":"echo","message":1}';
my ($r, @texts, @singles);


# --- what is one envelope, what are many, and what is neither ----------------

for my $before ('', ' ', "\t\r\n  ") {
    my $shown = length $before ? 'behind white space, ' : '';

    is_answer($before . $echo, 200, $echo, "${shown}an object is an envelope");
    is_answer("$before\[$echo]", 200, "[$echo]", "${shown}an array is a batch");
    is_answer("$before\[ ] ", 200, '[]', "${shown}an empty one has no answers");
    is_answer($before . $_, 400, undef, "$shown$_ is neither")
        for '1', '"[]"', 'null', '{', '[', ']', '[1]', '[[]]', '[null]',
            "[$echo", "[$echo,]", "[,$echo]", "[$echo $echo]", "[$echo]]",
            "[$echo]x", "[[$echo]]", "$echo,$echo", "{\"a\":[$echo]}";
}

is_answer($_->[0] . "[$echo]", 400, undef, "$_->[1] is no white space")
    for [ "\f", 'a form feed' ], [ "\x{ef}\x{bb}\x{bf}", 'a byte order mark' ],
        [ "\0", 'a zero' ], [ '/**/', 'a comment' ];


# --- one that can't be delivered, and nothing is done -----------------------

my $deep = '{"service":"echo","message":[[[[]]]]}';
my $deeper = '{"service":"echo","message":[[[[[]]]]]}';

is_answer($deep, 200, $deep, 'an envelope of the depth', '/depth');
is_answer($deeper, 400, undef, 'and of one more', '/depth');
is_answer("[$deep]", 200, "[$deep]", 'in a batch the same depth', '/depth');

my $full = sized(2048);
my $over = sized(2049);

is_answer("[$full, $full]", 200, "[$full,$full]",
    'in a batch each may be of the largest size');

my %bad = (
    'too deep by one'        => [ $deeper, 400, '/depth' ],
    'too large by one'       => [ $over, 413 ],
    'of an unknown service'  => [ '{"service":"nobody","message":1}', 404 ],
    'of a frontend'          => [ '{"service":"messaging","message":1}', 404 ],
    'without a service'      => [ '{"message":1}', 400 ],
    'without a message'      => [ '{"service":"echo"}', 400 ],
    'a call without command' => [ '{"service":"publisher","message":'
                                  . '{"params":{}}}', 400 ],
    'a call without params'  => [ '{"service":"publisher","message":'
                                  . '{"command":"publish"}}', 400 ],
    'a number'               => [ '7', 400 ],
);

for my $what (sort keys %bad) {
    my ($text, $status, $uri) = @{ $bad{$what} };

    for my $at (0, 25, 50) {
        my @batch = map { publication(-1) } 1 .. 50;

        splice @batch, $at, 0, $text;
        $r = post($uri || '/backend', batch(@batch));
        is($r->{status}, $status, "one is $what, behind $at others");
    }
}

is(post('/backend', batch($bad{$_->[0]}[0], $bad{$_->[1]}[0]))->{status},
    $_->[2], "one $_->[0], one $_->[1]: the first decides")
    for [ 'too large by one', 'of an unknown service', 413 ],
        [ 'of an unknown service', 'too large by one', 404 ],
        [ 'a number', 'of an unknown service', 400 ];
is(post('/backend', batch($over, $bad{'of an unknown service'}[0]) . 'x')
    ->{status}, 400, 'but what is no JSON is not looked at');

$r = post('/backend', publication(++$n));
is(heard($here, 1) . ' ' . heard($there, 1), "$n $n",
    'of the refused batches nothing was done');


# --- the answers are those of the envelopes one by one ----------------------

# calls that parse by themselves stand between others

@texts = (
    sync('{"type":"insert","model":"m","data":{"a":1,"b":[1,2,3]}}'),
    publication(++$n),
    $echo,
    sync(join(',', ('{"type":"insert","model":"m","data":{"a":[{"b":{}}]}},'
        . '{"type":"delete","model":"m","data":{}}') x 10)),
    call('cursors', 'nothing', '"document":"d","privateHandle":1,'
        . '"publicHandle":1', 4),
    publication(++$n),
    call('sync', 'authorizeSubscription', '"items":[{"dealer":"none",'
        . '"query":1}]', 5),
    $echo,
    call('sync', 'publishDeltas', '"deltas":[1]', 6),
    publication(++$n),
);

@singles = map { post('/backend', $_)->{body} } @texts;
my @from = ($n - 2 .. $n);

is(heard($here, 3), numbers(@from), 'one by one they are done');
is(post('/backend', batch(@texts))->{body}, batch(@singles),
    'a batch of calls that look into their parameters has the same answers');
is(heard($here, 3), numbers(@from), 'and does the same');
is(post('/backend', batch((@texts) x 20))->{body}, batch((@singles) x 20),
    'also one of two hundred');
is(heard($here, 60), numbers((@from) x 20), 'in order');
heard($there, 66);


# any order of any of them, from memory and from a file

srand 7;

for my $uri (qw{ /backend /file /always }) {
    my @picked = map { int rand @texts } 1 .. 150;
    my @heard = map { $texts[$_] =~ /"message":\[(\d+)\]/ ? $1 : () } @picked;

    is(post($uri, batch(@texts[@picked]))->{body}, batch(@singles[@picked]),
        "random ones to $uri are answered in order");
    is(heard($here, scalar @heard), numbers(@heard), 'and done in order');
    heard($there, scalar @heard);
}


# many, which are more than the log has room for at a time

@texts = map { publication($n + $_) } 1 .. 1000;
$r = post('/file', batch(@texts));
is($r->{body}, batch(map { answer($n + $_) } 1 .. 1000),
    'a thousand publications are answered in order');
is(heard($here, 1000), numbers($n + 1 .. $n + 1000), 'and heard in order');
is(heard($there, 1000), numbers($n + 1 .. $n + 1000), 'by everyone');
$n += 1000;

my $same = publication(++$n);
is(post('/backend', batch(($same) x 100))->{body}, batch((answer($n)) x 100),
    'one that stands there a hundred times is done a hundred times');
is(heard($here, 100) . ' ' . heard($there, 100), numbers(($n) x 200),
    'and heard');

my $twice = '{"service":"nobody","message":2,"service":"echo","message":1}';
is(post('/backend', batch($twice))->{body}, batch(post('/backend', $twice)
    ->{body}), 'of names that occur twice, the same counts as in one envelope');

my $wide = '[' . join(',', ('[]') x 600) . ']';
my $large = qq({"service":"echo","message":$wide});
is(post('/backend', batch($echo, ($large) x 100, sync(''), $echo))->{body},
    batch($echo, ($large) x 100, '{"service":"sync","message":{"type":'
    . '"response","callId":1,"data":null}}', $echo),
    'small envelopes may stand beside sixty thousand values');


# --- it waits half-way, while others use the parser -------------------------

my @clients = map { connect_to_worker($other->{slot}) } 1 .. 5;
my $one = connect_to_worker($other->{slot});

for my $round (1 .. 3) {
    my $first = $n + 1;

    stop_process($still->{pid});
    my $answered = fill($one);

    my $backend = Snorky->dial();
    my @numbers = map { ++$n } 1 .. 40;

    start_post($backend, '/backend', batch(map { ($echo, publication($_)) }
        @numbers));
    is(waiting(2), 2, 'a batch waits behind a client');

    my @got;

    for my $i (0 .. 9) {
        my $client = $clients[$i % 5];
        my $text = '{"service":"echo","message":'
            . join(',', '[' . $i, (qq({"service":"nobody"})) x ($i * 30))
            . ']}';

        $client->text($text);
        push @got, $client->text_in() eq $text ? 1 : 0;
    }

    is(numbers(@got), numbers((1) x 10), 'others are answered meanwhile');

    is(post('/backend', batch($echo, sync(''), $large))->{body}, batch($echo,
        '{"service":"sync","message":{"type":"response","callId":1,'
        . '"data":null}}', $large), 'as are batches that do not publish')
        if $round > 1;

    continue_process($still->{pid});

    is(($backend->read_response() || {})->{body}, batch(map { ($echo, answer($_)) }
        @numbers), 'then it gets all its answers, in order');
    is(answered($one, 100 - $answered), 100 - $answered,
        'as does the client before it');

    my $all = heard($there, $n - $first + 1);

    is(join(' ', grep { $_ >= $numbers[0] } split / /, $all),
        numbers(@numbers), 'what it published is heard once, in order');
    is(heard($here, $n - $first + 1), $all, 'by all, in one order');
}


# the time is over, or the backend leaves

stop_process($still->{pid});
my $first = $n + 1;
my $answered = fill($one);

$r = post('/fast', batch($echo, publication(-2), $echo, publication(-3)));
is("$r->{status} $r->{body}", '503 ' . batch($echo, '{"service":"publisher",'
    . '"message":{"type":"error","callId":-2,"message":"Overloaded"}}'),
    'where it waits too long, the answers end with that');

my $backend = Snorky->dial();
start_post($backend, '/backend', batch($echo, publication(-4)));
is(waiting(2), 2, 'another waits');
$backend->reset();
is(waiting(1), 1, 'and leaves');

continue_process($still->{pid});
is(answered($one, 100 - $answered), 100 - $answered, 'then there is room');
is(heard($here, 100) . ' ' . heard($there, 100),
    numbers($first .. $n, $first .. $n), 'and nothing of these is heard');

is(join(' ', map { $_->finish() } @clients, $one, $here, $there),
    join(' ', (1000) x 8), 'all clients are still there');


# --- helpers ----------------------------------------------------------------

sub listener {
    my ($worker) = @_;

    my $c = connect_to_worker($worker->{slot});
    $c->rpc('messaging', 'subscribe', { channel => 'c' });

    return $c;
}


sub batch {
    return '[' . join(',', @_) . ']';
}


sub call {
    my ($service, $command, $params, $id) = @_;

    return qq/{"service":"$service","message":{"command":"$command",/
        . qq/"params":{$params},"callId":$id}}/;
}


sub publication {
    my ($id) = @_;

    return call('publisher', 'publish', qq("channel":"c","message":[$id]),
        $id);
}


sub answer {
    my ($id) = @_;

    return '{"service":"publisher","message":{"type":"response",'
        . qq("callId":$id,"data":null}});
}


sub sync {
    my ($deltas) = @_;

    return call('sync', 'publishDeltas', qq("deltas":[$deltas]), 1);
}


# an echo of so many bytes

sub sized {
    my ($size) = @_;

    my $text = '{"service":"echo","message":""}';

    substr $text, -2, 0, 'x' x ($size - length $text);

    return $text;
}


sub post {
    my ($uri, $body, %o) = @_;

    return backend_post($uri, $body, key => 'swordfish', %o)
        || { status => 'none', body => '' };
}


sub is_answer {
    my ($body, $status, $text, $name, $uri) = @_;

    my $answer = post($uri || '/backend', $body);

    return is($answer->{status}, $status, $name) unless defined $text;
    return is("$answer->{status} $answer->{body}", "$status $text", $name);
}


sub start_post {
    my ($client, $path, $body) = @_;

    return $client->send("POST $path HTTP/1.1\r\nHost: localhost\r\n"
        . "X-Backend-Key: swordfish\r\nContent-Length: " . length($body)
        . "\r\n\r\n$body");
}


# A hundred publications at once, of which some find room; returns how many.

sub fill {
    my ($client) = @_;

    my $before = counters()->{publications};

    $client->send(map {
        frame(TEXT, call('messaging', 'publish',
            qq("channel":"c","message":[$_]), $_))
    } $n + 1 .. $n + 100);

    $n += 100;

    waiting(1);

    my $count = counters()->{publications} - $before;

    die "not answered\n" unless answered($client, $count) == $count;

    return $count;
}


sub answered {
    my ($client, $count) = @_;

    my $got = 0;

    while ($got < $count) {
        my $reply = $client->reply() or last;
        last if $reply->{type} ne 'response';
        $got++;
    }

    return $got;
}


sub waiting {
    my ($value) = @_;

    wait_until { counters()->{waiting} == $value };

    return counters()->{waiting};
}


# the numbers of so many messages

sub heard {
    my ($client, $count) = @_;

    my @got;

    for (1 .. $count) {
        my $m = $client->notification();
        push @got, $m ? $m->{message}[0] : $client->{why};
        last if !$m;
    }

    return numbers(@got);
}


sub numbers {
    return join ' ', @_;
}
