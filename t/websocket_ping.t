#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The server pings a client that has been silent, and closes one that does
# not answer.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(25);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_service echo echo;

    snorky_ping_interval 1s;
    snorky_ping_timeout 1s;
    snorky_close_timeout 1s;
    lingering_timeout 1s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /often {
            snorky_websocket;
            snorky_ping_timeout 5s;
        }

        location /patient {
            snorky_websocket;
            snorky_ping_timeout 1h;
        }

        location /rare {
            snorky_websocket;
            snorky_ping_interval 1h;
        }

        location /never {
            snorky_websocket;
            snorky_ping_interval 0;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my ($c, $f, $ping, $start);

# they run beside the rest

my $rare = Snorky->connect('/rare');
my $never = Snorky->connect('/never');
my $deaf = Snorky->connect('/ws');
my $deaf_since = time();
my $patient = Snorky->connect('/patient');


# the ping

$c = Snorky->connect('/ws');
$start = time();
$ping = $c->frame_in(3);

is($ping && $ping->{op}, PING, 'a silent client is pinged');
cmp_ok(time() - $start, '>', 0.7, 'not before the interval has passed');
cmp_ok(time() - $start, '<', 2.5, 'but soon after');
is($ping->{fin} . $ping->{rsv} . $ping->{masked}, '100',
    'a ping is a regular frame');
cmp_ok(length $ping->{data}, '<=', 125, 'of a length that is allowed');

$c->pong($ping->{data});
$start = time();
$ping = $c->frame_in(3);
is($ping && $ping->{op}, PING, 'a client that answers is pinged again');
cmp_ok(time() - $start, '>', 0.7, 'after another interval');
$c->pong($ping->{data});


$c = Snorky->connect('/often');
$c->frame_in(3);
$c->pong('');
$start = time();
$ping = $c->frame_in(3);
is($ping && $ping->{op}, PING,
    'pings come in their interval, also where the timeout is longer');
cmp_ok(time() - $start, '>', 0.7, 'and not before');


# one that talks is not pinged, and stays

$c = Snorky->connect('/ws');

for (1 .. 6) {
    sleep 0.4;
    $c->text(envelope('echo', $_));
    $c->text_in();
}

is($c->{controls}, undef, 'a client that talks is not pinged');
ok(!$c->{eof}, 'and is not closed');
$c->finish();


# two intervals and more have passed for those who do not answer

is($deaf->frame_in()->{op}, PING, 'another client was pinged');
$f = $deaf->frame_in();
is($f && $f->{op}, CLOSE, 'and closed when it did not answer');
is(unpack('n', $f->{data}), 1011, 'with 1011');
is(substr($f->{data}, 2), 'ping timeout', 'and a reason');
ok($deaf->gone(3), 'and its connection is ended');

is($patient->frame_in()->{op}, PING, 'where the timeout is longer');
$patient->text(envelope('echo', 'alive'));
is($patient->text_in(), envelope('echo', 'alive'),
    'a client may take its time');

$c = Snorky->connect('/echo');
is(($c->frame_in(3) // {})->{op}, PING, 'the raw echo pings as well');

# the same from the start, with the whole course timed

$c = Snorky->connect('/ws');
$c->{mute} = 1;
$start = time();
$c->close_in(6);
cmp_ok(time() - $start, '>', 1.7,
    'a client that does not answer is closed after both times');
cmp_ok(time() - $start, '<', 4, 'and soon');

is($rare->frame_in(0), undef, 'nobody is pinged before the interval');
is($never->frame_in(0), undef, 'nobody is where the interval is 0');
ok(!$never->{eof}, 'nor closed');

is(wait_until { counters()->{closed_timeout} >= 2 }, 1,
    'clients that did not answer are counted');
