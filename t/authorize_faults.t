#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The application that is asked for authorization is down, slow or wrong;
# clients wait for it, leave meanwhile, or find the log full then; nginx is
# reloaded and quits.  What is not a clear yes is a no, and nothing is done.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;
use Snorky::Stop;


my $many = 300;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(82);

my $conf = at_level($t, 'info', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;
worker_shutdown_timeout %%SHUTDOWN%%;

events {
    worker_connections 2048;
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    # room for some sixty messages
    snorky_zone 256k log=16k;
    snorky_worker_timeout 120s;
    snorky_publish_timeout 60s;
    snorky_drain 10ms;

    snorky_service pubsub guarded;
    snorky_service pubsub slow;
    snorky_service pubsub open;
    snorky_service pubsub variable;
    snorky_service upstream shop pass=/shop;

    snorky_authorize guarded * /auth timeout=1m;
    snorky_authorize slow * /auth timeout=200ms;
    snorky_authorize shop * /auth timeout=1m;
    snorky_authorize variable * $remote_addr;

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

        location /ping {
            snorky_websocket;
            snorky_ping_interval 50ms;
            snorky_ping_timeout 50ms;
        }

        location /backend {
            snorky_backend;
            snorky_backend_key swordfish;
        }

        location = /auth {
            internal;
            proxy_pass http://127.0.0.1:8090;
            proxy_connect_timeout 5s;
        }

        location = /shop {
            internal;
            proxy_pass http://127.0.0.1:8090;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/auth' => { status => 204 },
    '/shop' => { rpc => 1 },
});

configure('60s');
$t->run();
wait_until { @{ status_json()->{workers} } == 2 };

my $c = Snorky->connect('/ws');
my $listener = Snorky->connect('/ws');

$c->rpc('guarded', 'subscribe', { channel => 'c' });
$listener->rpc('guarded', 'subscribe', { channel => 'c' });


# --- wrong answers ----------------------------------------------------------

my $yes = "HTTP/1.1 200 OK\r\n";
my $json = "Content-Type: application/json\r\n";

for (
    [ 'closes', { close => 1 } ],
    [ 'resets', { reset => 1 } ],
    [ 'sends half a status line', { raw => 'HTTP/1.1 2', end => 'close' } ],
    [ 'sends no end of its header',
      { raw => "${yes}Content-Length: 0\r\n", end => 'close' } ],
    [ 'sends less than it says',
      { raw => "${yes}Content-Length: 10\r\n\r\nyes", end => 'close' } ],
    [ 'resets in the body',
      { raw => "${yes}Content-Length: 10\r\n\r\nyes", end => 'reset' } ],
    [ 'ends without the last chunk', { raw => "${yes}Transfer-Encoding: "
      . "chunked\r\n\r\n3\r\nyes\r\n", end => 'close' } ],
    [ 'sends a bad chunk', { raw => "${yes}Transfer-Encoding: "
      . "chunked\r\n\r\nyes\r\n", end => 'close' } ],
    [ 'sends half of an object', { raw => "$yes${json}Content-Length: 24\r\n"
      . "\r\n{\"params\":{\"message\"", end => 'close' } ],
    [ 'sends garbage', { raw => "\0\1\2 yes\r\n\r\n", end => 'close' } ],
    [ 'sends binary as JSON', { type => 'application/json',
      body => "\0\xff\xfe" } ],
    [ 'sends HTML as JSON', { type => 'application/json',
      body => '<html>yes</html>' } ],
    [ 'sends two objects', { type => 'application/json', body => '{}{}' } ],
    [ 'sends too much in chunks', { chunks => [ ('x' x 10000) x 7 ] } ],
    [ 'sends a compressed object', { type => 'application/json', headers =>
      [ 'Content-Encoding: gzip' ], body => "\x1f\x8b\x08\x00" } ],
    [ 'says 503', { status => 503, json => { params => {} } } ],
    [ 'says 500 with an object', { status => 500, json => {} } ],
) {
    my ($name, $answer) = @$_;

    $app->answer('/auth', $answer);
    is(published($c, 'guarded', $name), 'Authorization failed',
        "if the application $name, nothing is allowed");
}

$app->stop();
is(published($c, 'guarded', 'down'), 'Authorization failed',
    'nor if it is down');
$app->start_again();

$app->answer('/auth', { hold => 1 });

my $start = time();
is(published($c, 'slow', 'slow'), 'Authorization failed',
    'nor if it is too slow');
cmp_ok(time() - $start, '>', 0.15, 'after its time');
ok($app->wait_for(1, '/auth', 'left'), 'which ends the question');
$app->release();

for ([ 'chunks', { chunks => [ '{', '"params":{"message"', ':"both"', '}}' ],
      type => 'application/json' } ],
    [ 'no length', { json => { params => { message => 'both' } },
      length => undef } ],
    [ 'single bytes', { json => { params => { message => 'both' } },
      slow => 1 } ])
{
    my ($name, $answer) = @$_;

    $app->answer('/auth', $answer);
    is(published($c, 'guarded', 'x') . heard($c) . heard($listener),
        'nullbothboth', "an answer may come with $name");
}

$app->answer('/auth', { status => 204 });
is(published($c, 'guarded', 'end'), 'null', 'a right answer is as ever');
is(heard($c) . ' ' . heard($listener), 'end end',
    'and nobody has heard what was not allowed');

my $log = $t->read_file('error.log');

like($log, qr/\[error\].* failed: $_\b/, "the log tells: $_")
    for 'no answer, status 502', 'no answer, status 504',
        'bad JSON in the answer, status 200', 'unexpected status, status 503',
        'the answer is too large, status';


# --- waiting ----------------------------------------------------------------

$app->forget();
$app->answer('/auth', { hold => 1, status => 204 });

# one client: all that it sends has its turn

my $other = Snorky->connect('/ws');

$c->send(frame(TEXT, request('guarded', 'publish', 1)),
    frame(TEXT, request('open', 'publish', 2)),
    frame(PING, 'behind'),
    frame(TEXT, request('guarded', 'publish', 3)),
    frame(TEXT, request('guarded', 'subscribe', 4)),
    frame(TEXT, request('open', 'nothing', 5)));

ok($app->wait_for(1, '/auth', 'held'), 'a client waits');
is($other->rpc('open', 'subscribe', { channel => 'd' })->{type}, 'response',
    'others go on');
ok($c->silent(0.2), 'nothing overtakes');
is(scalar @{ $c->{controls} || [] }, 0, 'not even a ping');
is($app->count('/auth'), 1, 'nor is more asked about');
is(counters()->{waiting}, 0, 'it does not wait for room in the log');

is($app->release('/auth'), 1, 'when it is decided');
is(answer_of($c, 1) . answer_of($c, 2), 'nullnull',
    'it goes on in order, up to the next');
ok($app->wait_for(2, '/auth'), 'which is asked about');
$app->answer('/auth', { status => 403 });
$app->release('/auth');
is(answer_of($c, 3), 'null', 'that one');
is(answer_of($c, 4), 'Not authorized', 'and the next');
is(answer_of($c, 5), 'Unknown command', 'and the last');
is(join(' ', map { $_->{data} } @{ $c->{controls} || [] }), 'behind',
    'the ping, too');
is(join(' ', map { heard($listener) } 1, 3), '1 3', 'all are published');
heard($c) for 1, 3;

# many clients

$app->forget();
$app->answer('/auth', { hold => 1, status => 204 });

my @many = map { Snorky->connect('/ws') } 1 .. $many;

$many[$_ - 1]->call('guarded', 'subscribe', { channel => 'all' },
    callId => $_) for 1 .. $many;

ok($app->wait_for($many, '/auth', 'held', 30), "$many clients wait at a time");
is($other->rpc('open', 'publish', { channel => 'e', message => 1 })->{type},
    'response', 'and others go on');
is($app->release('/auth'), $many, 'when all are decided');
is(scalar(grep { answer_of($many[$_ - 1], $_) eq 'null' } 1 .. $many), $many,
    'all are allowed');
$_->close_frame(1000) for @many;
is(scalar(grep { ($_->close_in() // 0) == 1000 } @many), $many,
    'and close as ever');

# they are not read, so that they can't be found silent

$app->answer('/auth', { hold => 1, status => 204 });

my $pinged = Snorky->connect('/ping');

$pinged->{mute} = 1;
$pinged->call('guarded', 'subscribe', { channel => 'p' });
ok($app->wait_for(1, '/auth', 'held'), 'one with short pings waits');
ok(!$pinged->message_in(0.5) && !$pinged->{closed},
    'it is not closed for its silence');
$app->release('/auth');
is(answer_of($pinged), 'null', 'and is answered');
$pinged->{mute} = 0;
$pinged->finish();


# --- leaving ----------------------------------------------------------------

my $sessions = counters()->{sessions};

$app->forget();

my $gone = Snorky->connect('/ws');
my $reset = Snorky->connect('/ws');
my $closing = Snorky->connect('/ws');

$_->call('guarded', 'publish', { channel => 'c', message => 'left' })
    for $gone, $reset, $closing;
ok($app->wait_for(3, '/auth', 'held'), 'three wait');
$gone->{sock}->close();
$reset->reset();
$closing->close_frame(1000);
$app->release('/auth');
is($closing->close_in(), 1000, 'one that closes is answered before');
ok(wait_until { counters()->{sessions} == $sessions },
    'and all are gone then');
is(join(' ', map { heard($listener) } 1 .. 3), 'left left left',
    'what was allowed has been done');
heard($c) for 1 .. 3;

# a backend's request ends with its connection

$app->forget();

my $backend = Snorky->dial();
my $body = request('guarded', 'publish', 1);

$backend->send("POST /backend HTTP/1.1\r\nHost: localhost\r\n"
    . "X-Backend-Key: swordfish\r\nContent-Length: " . length($body)
    . "\r\n\r\n$body");
ok($app->wait_for(1, '/auth', 'held'), 'a backend waits');
$backend->reset();
ok($app->wait_for(1, '/auth', 'left'), 'if it leaves, so does the question');
$app->release();


# --- the log is full then ---------------------------------------------------

my ($still, $here) = @{ status_json()->{workers} };

my $filler = connect_to_worker($here->{slot});
my $one = connect_to_worker($here->{slot});
my $fast = connect_to_worker($here->{slot}, '/fast');
my $end = connect_to_worker($here->{slot});
my $another = connect_to_worker($here->{slot});

$app->answer('/auth', { status => 204 });
$end->rpc('guarded', 'subscribe', { channel => 'full' });

$app->forget();
$app->answer('/auth', { hold => 1, json => { params => { message => 'new' } } });

$one->call('guarded', 'publish', { channel => 'full', message => 'old' });
$fast->call('guarded', 'publish', { channel => 'full', message => 'old' });
ok($app->wait_for(2, '/auth', 'held'), 'two wait for the application');

stop_process($still->{pid});
$filler->send(map { frame(TEXT, request('open', 'publish', $_, 'x' x 100)) }
    1 .. 200);
ok(wait_until { counters()->{waiting} == 1 }, 'the log gets full');

my $waits = counters()->{waits};
my $authorized = counters()->{authorized};

$app->release();
ok(wait_until { counters()->{waits} == $waits + 2 },
    'they wait for the log, too');
$another->call('variable', 'publish', { channel => 'full', message => 1 });
ok(wait_until { counters()->{waits} == $waits + 3 },
    'as does one that a variable has allowed');
is(answer_of($fast), 'Overloaded', 'one of them waits too long');
is($app->count('/auth'), 2, 'neither is asked about again');
continue_process($still->{pid});
is(answer_of($one), 'null', 'when there is room, the other is done');
is(heard($end), 'new', 'as the application has said');
ok($end->silent(0.2), 'and once');
is(answer_of($another), 'null', 'so is the one of the variable');
is(counters()->{authorized} - $authorized, 3, 'all were allowed once');
is($app->count('/auth'), 2, 'as it has been asked');
gather(10, sub { $_[1] =~ /"callId":200\b/ }, $filler);


# --- reload and quit --------------------------------------------------------

$app->forget();
$app->answer('/auth', { hold => 1, status => 204 });

my @waiting = map { Snorky->connect('/ws') } 1 .. 20;

$_->call('guarded', 'publish', { channel => 'c', message => 'reload' })
    for @waiting[0 .. 9];
$_->call('shop', 'add', { a => 1, b => 2 }) for @waiting[10 .. 19];
ok($app->wait_for(20, '/auth', 'held'), 'twenty wait');

my %old = map { $_ => 1 } worker_pids($t);

$t->reload();
wait_until { 2 == grep { !$old{$_} } worker_pids($t) };
is($c->close_in(), 1012, 'at a reload, others are closed');
is(scalar(grep { $_->silent(0.02) } @waiting), 20, 'these are not');
$app->release();
is(join(' ', map { answer_of($_) } @waiting), join(' ', ('null') x 10,
    (3) x 10), 'until they are answered');
is(join(' ', map { $_->close_in() // '' } @waiting),
    join(' ', (1012) x 20), 'and closed');
ok(wait_until { @{ status_json()->{workers} } == 2 },
    'then the old workers end');

# at worker_shutdown_timeout nobody waits longer

configure('500ms');
%old = map { $_ => 1 } worker_pids($t);
$t->reload();
wait_until { 2 == grep { !$old{$_} } worker_pids($t) };
wait_until { @{ status_json()->{workers} } == 2 };

$app->forget();

my $last = Snorky->connect('/ws');

$last->call('guarded', 'publish', { channel => 'c', message => 'reload' });
ok($app->wait_for(1, '/auth', 'held'), 'one waits');
%old = map { $_ => 1 } worker_pids($t);
$t->reload();
ok($app->wait_for(1, '/auth', 'left'), 'whose time is over');
is($last->close_in(), 1012, 'and who is closed');
$app->release();

# those who wait when it stops

$last = Snorky->connect('/ws');
$app->forget();
$last->call('guarded', 'publish', { channel => 'c', message => 'stop' });
ok($app->wait_for(1, '/auth', 'held'), 'another waits when nginx stops');
$t->stop();
is($last->close_in(), 1012, 'and is closed');


# --- helpers ----------------------------------------------------------------

sub configure {
    my ($shutdown) = @_;

    $t->write_file_expand('nginx.conf', $conf =~ s/%%SHUTDOWN%%/$shutdown/r);

    return;
}


sub request {
    my ($service, $command, $n, $more) = @_;

    my %params = (channel => 'c');

    $params{message} = $more // $n if $command eq 'publish';

    return envelope($service, { command => $command, params => \%params,
        callId => $n });
}


sub published {
    my ($client, $service, $message) = @_;

    return said($client->rpc($service, 'publish',
        { channel => 'c', message => $message }));
}


sub answer_of {
    my ($client, $id) = @_;

    return said($client->reply($id));
}


sub said {
    my ($m) = @_;

    return 'nothing' unless $m;
    return $m->{type} eq 'error' ? $m->{message} : json($m->{data});
}


sub heard {
    my ($client) = @_;

    my $m = $client->notification();

    return $m ? $m->{message} : $client->{why};
}
