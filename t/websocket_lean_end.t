#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# snorky_lean: connections without a request over TLS, and when their worker
# ends.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http http_ssl socket_ssl /)
    ->has_daemon('openssl')->plan(32);

$t->todo_alerts();

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  who  '$arg_who $status $snorky_close_code.';
    access_log  %%TESTDIR%%/who.log  who;

    ssl_certificate      %%TESTDIR%%/localhost.crt;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    snorky_zone 4m;
    snorky_service pubsub pubsub;
    snorky_service echo echo;

    snorky_lean on;
    snorky_drain 1h;
    snorky_close_timeout 1s;
    snorky_send_buffer 1m;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        listen       127.0.0.1:8444 ssl proxy_protocol;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /slow {
            snorky_websocket;
            snorky_close_timeout 1h;
        }

        location /pings {
            snorky_websocket;
            snorky_ping_interval 300ms;
            snorky_ping_timeout 300ms;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

make_certificate($t, 'localhost');
$t->run();

my ($c, $d, $pid, $sent, @all, @old);

# more than sockets take

my $more = frame(TEXT, 'x' x 60000) x 150;

my $frame = frame(TEXT, envelope('echo', 'behind'));


# TLS

$c = Snorky->connect('/ws?who=tls', ssl => 1, tail => $frame);
is(line($t, 'tls'), '101 -', 'over TLS, the line is written at the upgrade');
is($c->notification(), 'behind', 'and a frame behind the head is read');

$c->text(envelope('echo', 'x' x 60000));
is(length $c->notification(), 60000, 'what is longer than a record as well');

$d = Snorky->connect('/ws');
$_->rpc('pubsub', 'subscribe', { channel => 1 }) for $c, $d;
$d->rpc('pubsub', 'publish', { channel => 1, message => 'm' });
is($c->notification()->{message}, 'm', 'a publication comes');

is($c->finish(4000), 4000, 'the closing handshake is made');

$c = Snorky->connect('/ws', ssl => 1);
$c->{mute} = 1;
$sent = $c->send(frame(CONT, ''), $more);
is($c->close_in(), 1002, 'who breaks the protocol can read why');
$c->gone();
is("$sent $c->{why}", '1 eof', 'whatever he had sent');

$c = Snorky->connect('/ws', ssl => 1);
$c->{mute} = 1;
$sent = $c->send(frame(CLOSE, close_payload(1000)), $more);
is($c->close_in(), 1000, 'as can who talks on behind his goodbye');
$c->gone();
is("$sent $c->{why}", '1 eof', 'to the end');

$c = Snorky->connect('/pings', ssl => 1);
$c->{mute} = 1;
is($c->close_in(), 1011, 'who does not answer pings is closed');
ok($c->gone(), 'and ended');

$c = Snorky->connect('/ws', port => port(8444),
    prefix => "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", ssl => 1);
$c->send($frame);
is($c->notification(), 'behind', 'the PROXY protocol makes no difference');
$c->send(frame(CONT, ''));
is($c->finish(), 1002, 'to the end');

$_->reset() for $d, map { Snorky->connect('/ws', ssl => $_ % 2) } 1 .. 20;
is(wait_until { counters()->{sessions} == 0 }, 1, 'who is lost is noticed');


# a reload, with more time for the clients than for the worker

@old = worker_pids($t);
@all = clients();

my $silent = Snorky->connect('/ws?who=silent');
$silent->{mute} = 1;

my $lingering = Snorky->connect('/slow');
$lingering->send(frame(CONT, ''));
$lingering->close_in();

my $closing = Snorky->connect('/slow', ssl => 1);
$closing->send(frame(CONT, ''));
$closing->close_in();

my $fresh = Snorky->dial();
$fresh->handshake('/ws', tail => $frame);

$t->reload();

is(codes(@all, $silent), '1012 1012 1012 1012 1012',
    'worker_shutdown_timeout closes with 1012');
is(scalar(grep { !$_->gone() } @all, $silent, $lingering, $closing), 0,
    'and ends the connections, also those that were ending');
ok(ended($t, @old), 'then the worker ends');
is(line($t, 'silent'), '101 -', 'the log knows no close code');

$fresh->read_response();
is($fresh->notification(), 'behind',
    'a handshake that came before is made');


# a worker that is told to stop at once

@all = clients();
($pid) = worker_pids($t);
kill 'TERM', $pid;
is(codes(@all), '1001 1001 1001 1001',
    'a worker that stops at once closes with 1001');
is(scalar(grep { !$_->gone() } @all), 0, 'and ends the connections');
ok(started($t, $pid), 'nginx starts another');
is(join(' ', map { counters()->{$_} } qw/ sessions subscriptions channels /),
    '0 0 0', 'whose figures begin at zero');


# one that is killed

@all = clients();
($pid) = worker_pids($t);
kill 'KILL', $pid;
is(scalar(grep { !$_->gone() } @all), 0,
    'the clients of a worker that is killed are ended');
ok(started($t, $pid), 'nginx starts another');
is(wait_until { eval { Snorky->connect('/ws')->finish() } }, 1000,
    'which serves');


# the end

for my $how ([ 'QUIT', 1012 ], [ 'TERM', 1001 ]) {
    my ($signal, $code) = @$how;

    @all = clients();
    my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/;
    kill $signal, $master;
    is(codes(@all), "$code $code $code $code", "$signal closes with $code");
    is(scalar(grep { !$_->gone() } @all), 0, 'and ends the connections');

    waitpid $master, 0;
    unlink $t->testdir() . '/nginx.pid';
    $t->run() if $signal eq 'QUIT';
}

is(scalar(() = $t->read_file('who.log') =~ /^client 101 -\.$/mg), 20,
    'each has its line');
is(other_alerts($t, qr/worker process $pid exited on signal 9/), '',
    'there is no alert but for the killed one');


# --- helpers ----------------------------------------------------------------

sub clients {
    my @clients = map { Snorky->connect(@$_) } ['/ws?who=client'],
        ['/ws?who=client', ssl => 1], ['/echo?who=client'],
        ['/echo?who=client', ssl => 1];

    $clients[$_]->rpc('pubsub', 'subscribe', { channel => 1 }) for 0, 1;

    return @clients;
}


sub codes {
    my (@clients) = @_;

    return join ' ', map { $_->close_in() // 'none' } @clients;
}


sub line {
    my ($test, $who) = @_;

    return wait_until {
        $test->read_file('who.log') =~ /^$who (.*)\.$/m ? $1 : undef;
    };
}


sub ended {
    my ($test, @pids) = @_;

    return wait_until {
        my %now = processes($test);
        !grep { $now{$_} } @pids;
    };
}


sub started {
    my ($test, $old) = @_;

    return wait_until {
        my ($new) = worker_pids($test);
        $new && $new != $old;
    };
}
