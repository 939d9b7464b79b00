#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The log is full, because a worker stands still and has not read it.  Who
# publishes waits, and is told when it takes too long; nothing is dropped.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Stop;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(66);

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
    snorky_zone 256k log=16k;
    snorky_worker_timeout 120s;
    snorky_publish_timeout 60s;
    snorky_drain 1s;
    snorky_service pubsub messaging;

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend frontend=messaging;
    }

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /fast {
            snorky_websocket;
            snorky_publish_timeout 1s;
        }

        location /never {
            snorky_websocket;
            snorky_publish_timeout 0;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /backend/fast {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            snorky_publish_timeout 1s;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

my $filler = 'x' x 100;

$t->run();
wait_until { @{ status_json()->{workers} } == 2 };

my ($still, $other) = @{ status_json()->{workers} };

my $there = listener($still);
my $here = listener($other);

my $n = 0;          # numbers of publications, one for all of them
my @expected;       # what the listeners are to hear, in this order


# --- room comes in time -----------------------------------------------------

my $one = connect_to_worker($other->{slot});
my $two = connect_to_worker($other->{slot});

stop_process($still->{pid});
my ($answered, @left) = fill($one);

cmp_ok($answered, '>', 20, "the log takes what it can ($answered)");
is(waiting(), 1, 'then the publisher waits');

my $status = status_json();
my ($slow) = grep { $_->{slot} == $still->{slot} } @{ $status->{workers} };

cmp_ok($status->{log}{used}, '>', 15 * 1024, 'the log is full');
is($slow->{lag}, $status->{log}{used}, 'the status says because of whom');
is($status->{total}{waits}, 1, 'and that somebody waits');

# nothing overtakes

call($one, 'unsubscribe', '"never subscribed"', 5001);
$one->ping('behind');
$n++;
call($two, 'publish', "\"c\",\"message\":[$n,\"two\"]", $n);
is(waiting(2), 2, 'another waits, too');

my $new = connect_to_worker($other->{slot});
$n++;
call($new, 'publish', "\"c\",\"message\":[$n,\"new\"]", $n);
is(waiting(3), 3, 'as does one who comes later');

is($new->silent(0.3) + $two->silent(0.1) + $one->silent(0.1), 3,
    'none of them gets an answer');
is(scalar @{ $one->{controls} || [] }, 0, 'the ping behind it neither');

# who does not publish goes on

is(get('/status')->{status}, 200, 'requests are served');
my $guest = connect_to_worker($other->{slot});
is($guest->rpc('messaging', 'subscribe', { channel => 'd' })->{type},
    'response', 'calls are');
is($guest->finish(), 1000, 'and connections closed');

is(heard($here, $answered), numbers(1 .. $answered),
    'what was answered is delivered, and nothing else');

continue_process($still->{pid});

is(answers($one, scalar @left), numbers(@left),
    'when there is room, who waited succeeds, in order');
is(json($one->reply(5001)), '{"callId":5001,"message":"Not subscribed",'
    . '"type":"error"}', 'what stood behind is answered behind');
$one->ping('end');
wait_pong($one, 2);
is(join(' ', map { $_->{data} } @{ $one->{controls} }), 'behind end',
    'as is the ping');
is(answers($two, 1) . ' ' . answers($new, 1), ($n - 1) . ' ' . $n,
    'so do the others');

my $all = heard($there, $n);

is(join(' ', sort { $a <=> $b } split / /, $all), numbers(1 .. $n),
    'the other worker has everything once');
is(numbers(1 .. $answered) . ' ' . heard($here, $n - $answered), $all,
    'in the same order as this one');
is(waiting(0), 0, 'nobody waits');
is(counters()->{waits}, 3, 'three did');
is(counters()->{overloaded}, 0, 'but not too long');


# --- it does not ------------------------------------------------------------

my $fast = connect_to_worker($other->{slot}, '/fast');
my $never = connect_to_worker($other->{slot}, '/never');

stop_process($still->{pid});
my $base = $n;
($answered, @left) = fill($one);

# two locations with their own timeouts; who waits longer waits before

my $start = time();
call($fast, 'publish', "\"c\",\"message\":[9001]", 9001);
call($fast, 'publish', "\"c\",\"message\":[9002]", 9002);

my $overloaded = '{"callId":%d,"message":"Overloaded","type":"error"}';

is(json($fast->reply()), sprintf($overloaded, 9001), 'Overloaded');
my $first = time() - $start;
cmp_ok($first, '>', 0.9, sprintf 'after its time (%.1f s)', $first);
is(json($fast->reply()), sprintf($overloaded, 9002), 'the next one, too');
cmp_ok(time() - $start, '>', $first + 0.9,
    sprintf 'which had its own time (%.1f s)', time() - $start);
is(waiting(), 1, 'the one with the longer time waits on');
is(counters()->{overloaded}, 2, 'the status counts them');

is($fast->rpc('messaging', 'subscribe', { channel => 'd' })->{type},
    'response', 'a client that was told so is no worse for it');

call($never, 'publish', "\"c\",\"message\":[9003]", 9003);
is(json($never->reply()), sprintf($overloaded, 9003),
    'without a time, Overloaded comes at once');


# a backend

my $r = post('/backend/fast', publication(9004));

is($r->{status}, 503, 'a backend gets 503');
is($r->{headers}{'content-type'}, 'application/json', 'with JSON');
is(json($r->{json}), '{"message":' . sprintf($overloaded, 9004)
    . ',"service":"messaging_backend"}', 'and the error');

$r = post('/backend/fast', '[' . join(',', publication(9005, 'y' x 2000),
    publication(9006), publication(9007)) . ']');

is($r->{status}, 503, 'so does one with many');
is(join(' ', map { "$_->{message}{callId} $_->{message}{message}" }
    @{ $r->{json} }), '9005 Channel too long 9006 Overloaded',
    'and the answers up to there: what stands behind was not tried');

my $keep = Snorky->dial();
$r = post('/backend/fast', publication(9008), on => $keep);
is("$r->{status} " . $keep->request('GET', '/status')->{status}, '503 200',
    'the connection may be used again');


# a backend that waits, and comes through

my $patient = Snorky->dial();
start_post($patient, '/backend', '[' . join(',', publication(++$n),
    publication(++$n)) . ']');
is(waiting(2), 2, 'another backend has more time');

is(scalar(heard($here, $answered)), numbers($base + 1 .. $base + $answered),
    'what was refused is not delivered');

continue_process($still->{pid});

is(answers($one, scalar @left), numbers(@left), 'in the end there is room');
$r = $patient->read_response();
is(join(' ', $r->{status}, map { $_->{message}{type} } @{ $r->{json} }),
    '200 response response', 'the patient backend succeeds');

$all = heard($there, $n - $base);
is(join(' ', sort { $a <=> $b } split / /, $all), numbers($base + 1 .. $n),
    'everything but what was refused is delivered once');
is(numbers($base + 1 .. $base + $answered) . ' '
    . heard($here, $n - $base - $answered), $all, 'in one order');


# --- who leaves while it waits ----------------------------------------------

my $before = counters();

stop_process($still->{pid});
($answered, @left) = fill($one);
heard($here, $answered);

my @leaving = map { connect_to_worker($other->{slot}, $_) }
    '/ws', '/ws', '/ws', '/fast', '/fast';

for my $i (0 .. 4) {
    call($leaving[$i], 'publish', "\"c\",\"message\":[" . (9100 + $i) . ']',
        9100 + $i);
}

my $backend = Snorky->dial();
start_post($backend, '/backend', publication(9110));

is(waiting(7), 7, 'many wait');

$backend->{sock}->close();
is(waiting(6), 6, 'a backend that leaves is noticed');

$leaving[0]->reset();
$leaving[1]->{sock}->close();
$leaving[2]->close_frame(1000);
$leaving[3]->reset();
$leaving[4]->{sock}->close();

# the fast ones end when their time has come

is(wait_until { counters()->{waiting} <= 4 && counters()->{overloaded}
    == $before->{overloaded} + 2 || counters()->{waiting} <= 2 }, 1,
    'their time ends for clients that have left');

continue_process($still->{pid});

is(answers($one, scalar @left), numbers(@left),
    'who has not left comes through');
is(waiting(0), 0, 'nobody waits');
is($leaving[2]->close_in(), 1000, 'a close frame is answered in the end');
undef @leaving;
is(wait_until { counters()->{sessions} == $before->{sessions} }, 1,
    'the sessions of those who left are gone');


# --- reload while it is full ------------------------------------------------

# new listeners, since it is open what came of those who have left

$_->finish() for $there, $here, $two, $new, $fast, $never;
$there = listener($still);
$here = listener($other);

$base = $n;
stop_process($still->{pid});
($answered, @left) = fill($one);
start_post($patient = Snorky->dial(), '/backend', publication(9200));
is(waiting(2), 2, 'a client and a backend wait');

my %old = map { $_ => 1 } worker_pids($t);
$t->reload();

is($one->close_in(), 1012, 'a reload closes a client that waits');
is($here->close_in(), 1012, 'and those that do not');

wait_until { 2 == grep { !$old{$_} } worker_pids($t) };
wait_until { !$old{ status_json()->{pid} } };

my $young = Snorky->connect('/ws');
$young->rpc('messaging', 'subscribe', { channel => 'c' });
call($young, 'publish', '"c","message":[9201]', 9201);

is(waiting(2), 2, 'with the new worker, one waits as with the old');
ok(!(grep { $_->{pid} == $other->{pid} && !$_->{quitting} }
    @{ status_json()->{workers} }), 'which is quitting');

continue_process($still->{pid});

is(answers($young, 1), 9201, 'the new client comes through');
$r = $patient->read_response();
is("$r->{status} $r->{json}{message}{type}", '200 response',
    'so does the backend at the old worker');

is(heard($there, $answered), numbers($base + 1 .. $base + $answered),
    'the worker that stood still delivers');
is($there->close_in(), 1012, 'and then closes');
$_->{sock}->close() for $one, $there, $here, $patient;

is(wait_until { !grep { $old{$_} } keys %{ { processes($t) } } }, 1,
    'the old workers end');

undef @left;
$_->finish() for $young;


# --- stop while it is full --------------------------------------------------

wait_until { @{ status_json()->{workers} } == 2 };
($still, $other) = @{ status_json()->{workers} };
$here = listener($other);
$one = connect_to_worker($other->{slot});

stop_process($still->{pid});
($answered) = fill($one);
start_post($patient = Snorky->dial(), '/backend', publication(9300));
is(waiting(2), 2, 'a client and a backend wait');

kill 'TERM', $t->master();
continue_process($still->{pid});

is($one->close_in(), 1001, 'stop closes a client that waits');
is($here->close_in(), 1001, 'and those that do not');
is($patient->gone(), 1, 'and a backend');
$_->{sock}->close() for $one, $here;
is(wait_until { !-e $t->testdir() . '/nginx.pid' }, 1, 'nginx ends');

$t->stop();
$t->run();
wait_until { @{ status_json()->{workers} } == 2 };
($still, $other) = @{ status_json()->{workers} };
$one = connect_to_worker($other->{slot});

stop_process($still->{pid});
($answered) = fill($one);
kill 'QUIT', $t->master();

is($one->close_in(), 1012, 'quit closes a client that waits');
$one->{sock}->close();
continue_process($still->{pid});
is(wait_until { !-e $t->testdir() . '/nginx.pid' }, 1, 'nginx ends');


# --- helpers ----------------------------------------------------------------

sub listener {
    my ($worker) = @_;

    my $c = connect_to_worker($worker->{slot});
    $c->rpc('messaging', 'subscribe', { channel => 'c' });

    return $c;
}


sub call {
    my ($client, $command, $channel, $id) = @_;

    return $client->text('{"service":"messaging","message":{"command":"'
        . "$command\",\"params\":{\"channel\":$channel},\"callId\":$id}}");
}


# A hundred publications at once; returns how many were answered, and the
# numbers of the others.

sub fill {
    my ($client) = @_;

    my $first = $n + 1;
    $n += 100;

    $client->send(map {
        frame(TEXT, '{"service":"messaging","message":{"command":"publish",'
            . "\"params\":{\"channel\":\"c\",\"message\":[$_,\"$filler\"]},"
            . "\"callId\":$_}}")
    } $first .. $n);

    wait_until { counters()->{waiting} };

    my $answered = 0;

    while (my $reply = $client->reply(undef, 0.2)) {
        die "not in order: ", json($reply), "\n"
            unless $reply->{type} eq 'response'
                && $reply->{callId} == $first + $answered;
        $answered++;
    }

    return $answered, $first + $answered .. $n;
}


sub answers {
    my ($client, $count) = @_;

    return numbers(map {
        my $r = $client->reply() // {};
        ($r->{type} // '') eq 'response' ? $r->{callId} : json($r);
    } 1 .. $count);
}


sub numbers {
    return join ' ', @_;
}


# the numbers of so many messages

sub heard {
    my ($client, $count) = @_;

    return numbers(map {
        my $m = $client->notification();
        $m ? $m->{message}[0] : $client->{why};
    } 1 .. $count);
}


# the gauge, when it has that value or does not come to it

sub waiting {
    my ($value) = @_;

    wait_until { counters()->{waiting} == $value } if defined $value;

    return counters()->{waiting};
}


sub wait_pong {
    my ($client, $count) = @_;

    my $deadline = time() + 10;

    while (@{ $client->{controls} || [] } < $count && time() < $deadline) {
        $client->message_in(0.1);
    }

    return;
}


sub publication {
    my ($id, $channel) = @_;

    $channel //= 'c';

    return '{"service":"messaging_backend","message":{"command":"publish",'
        . "\"params\":{\"channel\":\"$channel\",\"message\":[$id]},"
        . "\"callId\":$id}}";
}


sub post {
    my ($path, $body, %o) = @_;

    return backend_post($path, $body, key => 'swordfish', %o)
        || { status => 'none', headers => {} };
}


sub start_post {
    my ($client, $path, $body) = @_;

    return $client->send("POST $path HTTP/1.1\r\nHost: localhost\r\n"
        . "X-Backend-Key: swordfish\r\nContent-Length: " . length($body)
        . "\r\n\r\n$body");
}
