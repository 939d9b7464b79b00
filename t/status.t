#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# snorky_status: what has been, and what is now, as JSON.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(89);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m log=1m;
    snorky_drain 100ms;
    snorky_worker_timeout 3s;

    snorky_service pubsub messaging;
    snorky_service echo echo;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        add_header X-Worker $snorky_worker always;

        snorky_publish_timeout 30s;
        snorky_max_message_size 128k;
        lingering_timeout 1s;

        location /ws {
            snorky_websocket;
        }

        location /hasty {
            snorky_websocket;
            snorky_publish_timeout 200ms;
        }

        location /ping {
            snorky_websocket;
            snorky_ping_interval 100ms;
            snorky_ping_timeout 100ms;
            snorky_close_timeout 200ms;
        }

        location /slow {
            snorky_websocket;
            snorky_send_buffer 64k;
            snorky_close_timeout 200ms;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /backend {
            snorky_backend;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my @gauges = qw/ sessions sessions_websocket sessions_echo sessions_sockjs
    subscriptions channels waiting calls events /;

my @closes = map { "closed_$_" } qw/ normal lost protocol invalid too_big slow
    timeout restart other /;

my @counters = (qw/ connections messages_in messages_out bytes_in bytes_out
    compressions bytes_saved publications deliveries backend_requests malformed
    errors waits overloaded asks asks_failed calls_deferred calls_rejected
    calls_cancelled calls_timed_out authorized authorized_cached unauthorized
    events_sent events_retried events_dropped letters bells_sent bells_received
    revoked drops
    rejected_origin rejected_handshake rejected_limit /, @closes);

wait_until { @{ status_json()->{workers} } == 2 };


# the answer

my $r = get('/status');

is($r->{status}, 200, 'there is a status');
is($r->{headers}{'content-type'}, 'application/json', 'in JSON');
is($r->{headers}{'content-length'}, length $r->{body}, 'with its length');
is($r->{headers}{'cache-control'}, 'no-store', 'that nobody may store');
is(ref $r->{json}, 'HASH', 'and it is valid');

my $head = Snorky->dial()->request('HEAD', '/status');

is("$head->{status} $head->{headers}{'content-type'}", '200 application/json',
    'HEAD gets the head of it');
ok($head->{headers}{'content-length'} > 1000, 'with the length');

for my $method (qw/ POST PUT DELETE OPTIONS /) {
    $r = Snorky->dial()->request($method, '/status', body => 'x');
    is("$r->{status} $r->{headers}{allow}", '405 GET, HEAD',
        "$method is not allowed");
}

my $h = Snorky->dial();
$h->request('GET', '/status', body => '{"ignored":true}');
is($h->request('GET', '/status')->{status}, 200,
    'a body is ignored, and the connection goes on');

is(get('/status?a=b')->{status}, 200, 'arguments do not matter');


# its shape

my $s = status_json();

is(join(' ', sort keys %$s), 'log nginx pid total version worker workers zone',
    'it has its parts');
like($s->{version}, qr/^\d+\.\d+\.\d+$/, "the module's version");
like(`$Test::Nginx::NGINX -v 2>&1`, qr{nginx/\Q$s->{nginx}\E\b},
    "and nginx's");

is(join(' ', sort { $a <=> $b } map { $_->{pid} } @{ $s->{workers} }),
    join(' ', worker_pids($t)), 'the workers are told by their pids');

$r = get('/status');
my ($own) = grep { $_->{slot} == $r->{json}{worker} } @{ $r->{json}{workers} };

is($r->{json}{worker}, $r->{headers}{'x-worker'},
    'the one who answers is told by its number');
is($own->{pid}, $r->{json}{pid}, 'and its pid');

is(join(' ', sort keys %{ $s->{total} }), join(' ', sort @gauges, @counters),
    'the total has all gauges and counters');
is(join(' ', sort keys %$_), join(' ', sort @gauges, @counters,
    qw/ slot pid generation state quitting lag /),
    'and so has each worker, beside what it is')
    for @{ $s->{workers} };

is(join(' ', map { "$_->{state} " . ($_->{quitting} ? 'quits' : 'stays')
    . " $_->{lag}" } @{ $s->{workers} }), 'live stays 0 live stays 0',
    'both live, stay, and have read all');

is(join(' ', map { $s->{total}{$_} } @gauges, @counters),
    join(' ', (0) x (@gauges + @counters)), 'at first, nothing has been');

is($s->{zone}{size}, 4 * 2 ** 20, 'the zone has the size that was given');
ok($s->{zone}{free} > 0 && $s->{zone}{free} < 3 * 2 ** 20,
    'of which some is free');
is(join(' ', map { $s->{log}{$_} } qw/ size used position /),
    2 ** 20 . ' 0 0', 'the log has its own, and is empty');


# sessions

my $asked;
my ($one, $two) = map { $_->{slot} }
    sort { $a->{slot} <=> $b->{slot} } @{ $s->{workers} };

my $p = connect_to_worker($one, '/ws');
my $q = connect_to_worker($two, '/ws');
my $e = connect_to_worker($two, '/echo');

# those that were tried and went to the other worker are through

wait_until { counters()->{sessions} == 3 };

is(figures(total(), qw/ sessions sessions_websocket sessions_echo /), '3 2 1',
    'sessions are counted by transport');
is(figures(worker($one), qw/ sessions sessions_websocket sessions_echo /),
    '1 1 0', 'of each worker');
is(figures(worker($two), qw/ sessions sessions_websocket sessions_echo /),
    '2 1 1', 'its own');
is(difference(total(), {}, qw/ connections closed_normal /),
    total()->{connections} . ' ' . (total()->{connections} - 3),
    'every connection is counted, and every normal end');


# subscriptions and channels

my $before = total();

$p->rpc('messaging', 'subscribe', { channel => 'a' });
$p->rpc('messaging', 'subscribe', { channel => 'both' });
$q->rpc('messaging', 'subscribe', { channel => 'both' });

is(figures(total(), qw/ subscriptions channels /), '3 3',
    'subscriptions are counted, and the channels of each worker');
is(figures(worker($one), qw/ subscriptions channels /), '2 2', 'of one');
is(figures(worker($two), qw/ subscriptions channels /), '1 1', 'and the other');

my $c = connect_to_worker($one, '/ws');

$c->rpc('messaging', 'subscribe', { channel => 'both' });
is(figures(worker($one), qw/ subscriptions channels /), '3 2',
    'two subscribers have one channel');
$c->finish();
is((wait_until { worker($one)->{subscriptions} == 2 }), 1,
    'one that leaves takes its subscriptions with it');


# messages

$before = total();

my $text = '{"service":"messaging","message":{"command":"publish","params":'
    . '{"channel":"both","message":"hello"},"callId":1}}';
my $heard = '{"service":"messaging","message":{"type":"message","channel":'
    . '"both","message":"hello"}}';
my $response = '{"service":"messaging","message":{"type":"response",'
    . '"callId":1,"data":null}}';

$p->text($text);
$p->text_in() for 1 .. 2;
$q->text_in();

wait_until { total()->{deliveries} - $before->{deliveries} == 2 };

is(difference(total(), $before, qw/ messages_in messages_out publications
    deliveries errors malformed /), '1 3 1 2 0 0',
    'a publication is one message in, and those out that it causes');
is(difference(total(), $before, qw/ bytes_in bytes_out /),
    length($text) . ' ' . (2 * length($heard) + length $response),
    'bytes are those of the texts');
is(difference(total(), $before, qw/ bells_sent bells_received /), '1 1',
    'the other worker is woken');

$before = total();

$p->rpc('messaging', 'publish', { channel => 'a', message => 1 });
is(difference(total(), $before, qw/ publications deliveries bells_sent /),
    '1 1 0', 'but not for a channel that nobody there listens to');

$before = total();

$p->rpc('messaging', 'nothing', {});
$p->text('{');
$p->text('{"service":"nobody","message":1}');
$p->rpc('messaging', 'unsubscribe', {});
is(difference(total(), $before, qw/ messages_in messages_out errors malformed
    publications /), '4 2 2 2 0',
    'errors are counted, and what is malformed');

$before = total();

$e->text('12345');
$e->text_in();
is(difference(total(), $before, qw/ messages_in messages_out bytes_in
    bytes_out /), '1 1 5 5', 'so are the messages of a raw echo');

$before = total();

backend_post('/backend', '[{"service":"echo","message":1},'
    . '{"service":"echo","message":2}]', key => 'swordfish');
backend_post('/backend', '{"service":"echo","message":1}', key => 'x');
is(difference(total(), $before, qw/ backend_requests messages_in messages_out
    connections /), '1 2 2 0', 'and those of a backend with the right key');

my $position = status()->{log}{position};

$p->rpc('messaging', 'publish', { channel => 'x', message => 'x' x 10000 });
my $step = status()->{log}{position} - $position;
ok($step > 10000 && $step < 11000, 'the log goes on by what is published');
is((wait_until { status()->{log}{used} == 0 }), 1, 'and is read by all');


# how sessions end

for my $case (
    [ 'normal', '/ws', sub { $_[0]->finish(1000) }, 'with 1000' ],
    [ 'normal', '/ws', sub { $_[0]->finish(1001) }, 'with 1001' ],
    [ 'normal', '/ws', sub { $_[0]->finish(3999) }, 'with 3999' ],
    [ 'normal', '/ws', sub { $_[0]->send(frame(CLOSE, '')) }, 'with no code' ],
    [ 'normal', '/echo', sub { $_[0]->finish(1000) }, 'in a raw echo' ],
    [ 'other', '/ws', sub { $_[0]->finish(1002) }, 'with 1002' ],
    [ 'other', '/ws', sub { $_[0]->finish(1011) }, 'with 1011' ],
    [ 'lost', '/ws', sub { $_[0]->reset() }, 'with a reset' ],
    [ 'lost', '/ws', sub { $_[0]->half_close() }, 'without a close frame' ],
    [ 'lost', '/ws', sub { $_[0]->send("\x81"); $_[0]->half_close() },
      'inside of a frame' ],
    [ 'lost', '/echo', sub { $_[0]->reset() }, 'with a reset in a raw echo' ],
    [ 'protocol', '/ws', sub { $_[0]->text('1', mask => undef) },
      'with an unmasked frame' ],
    [ 'protocol', '/ws', sub { $_[0]->send(frame(3, '')) },
      'with an unknown opcode' ],
    [ 'invalid', '/ws', sub { $_[0]->text("\xff") }, 'with a bad text' ],
    [ 'too_big', '/ws', sub { $_[0]->text('', claim => 2 ** 20) },
      'with a message that is too large' ],
    [ 'timeout', '/ping', sub { }, 'that does not answer a ping' ],
)
{
    my ($reason, $uri, $end, $name) = @$case;

    $before = total();

    my $client = Snorky->connect($uri);
    $client->{mute} = 1;
    $end->($client);
    wait_until { total()->{sessions} == 3 };

    is(differing(total(), $before, @closes), "closed_$reason 1",
        "an end $name is counted as $reason");
}

$before = total();

my $slow = connect_to_worker($one, '/slow', rcvbuf => 4096);
$slow->{mute} = 1;
$slow->rpc('messaging', 'subscribe', { channel => 'flood' });

for (1 .. 400) {
    $p->rpc('messaging', 'publish',
        { channel => 'flood', message => 'x' x 30000 });
    last if total()->{closed_slow};
}

is(total()->{closed_slow}, 1, 'a client that does not read is too slow');
ok(total()->{drops} > 0, 'what it does not get is counted');
undef $slow;
is((wait_until { total()->{sessions} == 3 }), 1, 'and it is gone');


# those who never become a session

$before = total();

Snorky->attempt('/ws', origin => 'http://elsewhere.example');
Snorky->attempt('/ws', key => 'x');
Snorky->attempt('/ws', version => 8);
get('/ws');
Snorky->dial()->request('POST', '/ws');

is(difference(total(), $before, qw/ rejected_origin rejected_handshake
    connections sessions /), '1 4 0 0', 'refusals are counted');


# a worker that stands still, and the log behind it

my ($pid) = map { $_->{pid} } grep { $_->{slot} == $two }
    @{ status()->{workers} };
my $hasty = connect_to_worker($one, '/hasty');

# from now on the first worker is asked: a new connection might be given to
# the one that is stopped

$asked = ask($one);

$before = total();
kill 'STOP', $pid;

$p->rpc('messaging', 'publish', { channel => 'b', message => 'x' x 50000 });
$s = status();

is($s->{log}{used}, worker($two)->{lag}, 'the log is used by who lags behind');
ok($s->{log}{used} > 50000, 'by as much as it has not read');
is(worker($one)->{lag}, 0, 'the other does not');

$p->call('messaging', 'publish', { channel => 'b', message => 'x' x 50000 })
    for 1 .. 30;

is((wait_until { total()->{waiting} == 1 }), 1,
    'when it is full, who publishes waits');

is($hasty->rpc('messaging', 'publish',
    { channel => 'b', message => 'x' x 50000 })->{message}, 'Overloaded',
    'but not for ever');
is(difference(total(), $before, qw/ waits overloaded /), '2 1',
    'which is counted');

kill 'CONT', $pid;

is((wait_until { total()->{waiting} == 0 && status()->{log}{used} == 0 }),
    1, 'and then it goes on');
is(scalar(grep { ($p->reply($_) || {})->{type} eq 'response' }
    $p->{calls} - 29 .. $p->{calls}), 30, 'all are published');
is(difference(total(), $before, qw/ publications /), 31, 'and counted');
$hasty->finish();


# gauges return to nothing

$_->finish() for $p, $q, $e;

is((wait_until { total()->{sessions} == 0 }), 1, 'when all have gone');
is(figures(total(), @gauges), join(' ', (0) x @gauges),
    'all that is counted as being there is nothing');

my $free = status()->{zone}{free};

is($free, $r->{json}{zone}{free}, 'and the zone has as much free as before');


# a worker that is given up

wait_until { !grep { $_->{lag} } @{ status()->{workers} } };

$q = connect_to_worker($two, '/ws');
$e = connect_to_worker($two, '/echo');
$q->rpc('messaging', 'subscribe', { channel => 'b' });

kill 'STOP', $pid;
is((wait_until { worker($two)->{state} eq 'lost' }), 1,
    'a worker that stands still too long is lost');
is(figures(total(), @gauges), join(' ', (0) x @gauges),
    'with all that was there');

kill 'CONT', $pid;
is((wait_until { worker($two)->{state} eq 'live' }), 1, 'it comes back');
is(join(' ', map { $_->close_in() // 'nothing' } $q, $e), '1012 1012',
    'its clients are sent away');
$_->gone() for $q, $e;
sleep 0.3;
is(figures(total(), @gauges), join(' ', (0) x @gauges),
    'and then there is nothing');


# a graceful reload

undef $asked;

$p = Snorky->connect('/ws');
$q = Snorky->connect('/echo');

$before = total();
my %old = map { $_ => 1 } worker_pids($t);

$t->reload();

my ($falls, $last, $polls) = ('', $before, 0);

my $done = wait_until {
    my $now = total();

    $falls .= join ' ', grep { $now->{$_} < $last->{$_} } @counters;
    $last = $now;
    $polls++;

    !$p->shift_message() && $p->fill(0);
    !$q->shift_message() && $q->fill(0);

    $now->{closed_restart} - $before->{closed_restart} == 2
        && !grep { $old{$_->{pid}} } @{ status()->{workers} };
};

is($done, 1, 'after a reload the old workers and their sessions are gone');
is($falls, '', 'and meanwhile no counter has fallen');
is(differing(total(), $before, @counters), 'closed_restart 2',
    'in the end they are what they were, and two sessions were closed');
is(figures(total(), @gauges), join(' ', (0) x @gauges),
    'nothing is there any more');

$s = status_json();

is(join(' ', sort { $a <=> $b } map { $_->{pid} } @{ $s->{workers} }),
    join(' ', worker_pids($t)), 'the workers are the new ones');
is($s->{zone}{free}, $free, 'and the zone has as much free as before');

$p = Snorky->connect('/ws');
$p->rpc('messaging', 'subscribe', { channel => 'a' });
$p->rpc('messaging', 'publish', { channel => 'a', message => 1 });
is(differing(total(), $last, qw/ connections publications deliveries /),
    'connections 1 publications 1 deliveries 1', 'the count goes on');
$p->finish();


# --- helpers ----------------------------------------------------------------

# the status, from the worker that is asked, or any

sub status {
    return status_json() unless $asked;

    my $answer = $asked->request('GET', '/status');

    return $answer->{json} || die "no status\n";
}


sub total { return status()->{total} }


# a connection to that worker which is kept

sub ask {
    my ($slot) = @_;

    return wait_until {
        my $h = Snorky->dial();
        my $answer = $h->request('GET', '/status');

        $answer && $answer->{headers}{'x-worker'} == $slot && $h;
    } || die "no connection to worker $slot\n";
}


sub worker {
    my ($slot) = @_;

    my ($worker) = grep { $_->{slot} == $slot } @{ status()->{workers} };

    return $worker || die "no worker in slot $slot\n";
}


sub figures {
    my ($figures, @names) = @_;

    return join ' ', map { $figures->{$_} // 'none' } @names;
}


sub difference {
    my ($now, $then, @names) = @_;

    return join ' ', map { $now->{$_} - ($then->{$_} || 0) } @names;
}


# those that differ, with their names

sub differing {
    my ($now, $then, @names) = @_;

    return join ' ', map { $_ . ' ' . ($now->{$_} - $then->{$_}) }
        grep { $now->{$_} != $then->{$_} } @names;
}
