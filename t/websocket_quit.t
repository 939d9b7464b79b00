#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# What clients see of a worker's end when it does not wait for them:
# worker_shutdown_timeout, and a fast stop.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(14);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  code  '$arg_who $status $snorky_close_code';
    access_log  %%TESTDIR%%/code.log code;

    snorky_zone 1m;
    snorky_service pubsub messaging;

    snorky_drain 1h;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my ($old) = worker_pids($t);
my ($start, $pid);


# a reload, with more time for the clients than for the worker

my $c = Snorky->connect('/ws?who=patient');
my $echo = Snorky->connect('/echo?who=echo');
my $silent = Snorky->connect('/ws?who=silent');

$silent->{mute} = 1;
$c->rpc('messaging', 'subscribe', { channel => 1 });

$t->reload();
$start = time();

is($c->close_in(5), 1012, 'worker_shutdown_timeout closes with 1012');
cmp_ok(time() - $start, '<', 4, 'in its time');
ok($c->gone(5), 'and ends the connection');
is($echo->close_in(5), 1012, 'it closes the raw echo');
is($silent->close_in(5), 1012, 'it closes a client that does not answer');

is(wait_until { !grep { $_ == $old } keys %{{ processes($t) }} }, 1,
    'and the worker ends');
is(codes($t), 'echo 101 1012, patient 101 1012, silent 101 1012',
    'each connection has its line in the log');


# a worker that is told to stop at once

$c = Snorky->connect('/ws?who=stop');
$c->rpc('messaging', 'subscribe', { channel => 1 });
$echo = Snorky->connect('/echo?who=stop');

my $n = counters();
is("$n->{sessions} $n->{subscriptions}", '2 1',
    'the sessions of the old worker are gone from the figures');

($pid) = worker_pids($t);
kill 'TERM', $pid;

is($c->close_in(5), 1001, 'a worker that stops at once closes with 1001');
ok($c->gone(5), 'and ends the connection');
is($echo->close_in(5), 1001, 'that of the raw echo as well');
like(codes($t), qr/stop 101 1001, stop 101 1001/,
    'each connection has its line in the log');

is(wait_until {
    my ($new) = worker_pids($t);
    $new && $new != $pid;
}, 1, 'nginx starts another worker');

$n = counters();
is("$n->{sessions} $n->{subscriptions} $n->{channels}", '0 0 0',
    'and its figures begin at zero');


# --- helpers ----------------------------------------------------------------

sub codes {
    my ($test) = @_;

    return join ', ', sort $test->read_file('code.log') =~ /^(\w+ 101 \d+)$/gm;
}
