#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The access log: one line for each connection, written when it ends, with
# what was on it.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http rewrite /)->plan(49);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  snorky  escape=json
        '{"who":"$arg_who","request":"$request","status":"$status",'
        '"sent":"$bytes_sent","body":"$body_bytes_sent",'
        '"time":"$request_time","transport":"$snorky_transport",'
        '"in":"$snorky_messages_in","out":"$snorky_messages_out",'
        '"code":"$snorky_close_code","identity":"$snorky_identity",'
        '"worker":"$snorky_worker","requests":"$connection_requests"}';

    access_log  %%TESTDIR%%/snorky.log  snorky;

    snorky_zone 1m;
    snorky_service pubsub messaging;
    snorky_service echo echo;

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend frontend=messaging;
    }

    snorky_identity $http_x_user;
    snorky_close_timeout 1s;
    lingering_timeout 1s;
    snorky_drain 1s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            add_header X-Worker $snorky_worker always;
            add_header X-Transport $snorky_transport always;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /pings {
            snorky_websocket;
            snorky_ping_interval 500ms;
            snorky_ping_timeout 500ms;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /plain {
            return 200 "plain";
        }

        location /quiet {
            snorky_websocket;
            access_log off;
        }

        location /status {
            snorky_status;
            access_log off;
        }
    }
}

EOC

$t->run();

my ($c, $l);


# a connection that comes and goes well

$c = Snorky->connect('/ws?who=regular', headers => [ 'X-User: anna' ]);

my $worker = $c->header('X-Worker');
my $transport = $c->header('X-Transport');

$c->rpc('messaging', 'subscribe', { channel => 'c' });
$c->rpc('messaging', 'publish', { channel => 'c', message => $_ }) for 1 .. 3;
$c->ping('not a message');
sleep 0.3;

is(line($t, 'regular', 0), undef, 'an open connection has no line yet');

$c->finish(1000);
$l = line($t, 'regular');

is($l->{request}, 'GET /ws?who=regular HTTP/1.1', 'a connection has a line');
is($l->{status}, 101, 'with status 101');
is($l->{sent}, $c->{received}, 'with all bytes that were sent');
cmp_ok($l->{body}, '>', 0, 'those behind the head among them');
cmp_ok($l->{body}, '<', $l->{sent}, 'and those of the head not');
cmp_ok($l->{time}, '>=', 0.3, 'with the time that it lasted');
cmp_ok($l->{time}, '<', 10, 'in seconds');
is($l->{transport}, 'websocket', 'with its transport');
is($l->{in}, 4, 'with the number of messages that came');
is($l->{out}, 7, 'with the number of messages that went');
is($l->{code}, 1000, 'with its close code');
is($l->{identity}, 'anna', 'with its identity');
like($worker // '', qr/^\d+$/, 'the worker stands in a header of the 101');
is($l->{worker}, $worker, 'the worker is the one that a header told');
is($transport, 'websocket', 'a header of the 101 may have the transport');

sleep 0.2;
is(scalar(() = $t->read_file('snorky.log') =~ /"regular"/g), 1,
    'there is one line');


# the other ends

$c = Snorky->connect('/ws?who=code');
$c->finish(4321);
is(line($t, 'code')->{code}, 4321, 'the client chooses its code');

$c = Snorky->connect('/ws?who=nocode');
$c->close_frame();
$c->gone();
is(line($t, 'nocode')->{code}, 1005, '1005 is a close frame without a code');

$c = Snorky->connect('/ws?who=reset');
$c->text(envelope('echo', 1));
$c->text_in();
$c->reset();
$l = line($t, 'reset');
is("$l->{status} $l->{code}", '101 1006', '1006 is a connection lost');
is("$l->{in} $l->{out}", '1 1', 'whose messages are known');
is($l->{identity}, '', 'a client without an identity has none in the log');

$c = Snorky->connect('/ws?who=halfclose');
$c->half_close();
$c->gone();
is(line($t, 'halfclose')->{code}, 1006,
    '1006 is also an end without a close frame');

$c = Snorky->connect('/ws?who=protocol');
$c->send(frame(CONT, ''));
$c->finish();
is(line($t, 'protocol')->{code}, 1002, '1002 is an error of the client');

$c = Snorky->connect('/ws?who=invalid');
$c->text("\xff");
$c->finish();
is(line($t, 'invalid')->{code}, 1007, '1007 is a text that is none');

$c = Snorky->connect('/ws?who=big');
$c->send(frame(TEXT, '', claim => 2 ** 30));
$c->finish();
$l = line($t, 'big');
is("$l->{code} $l->{in}", '1009 0', '1009 is a message too big');

$c = Snorky->connect('/pings?who=ping');
$c->{mute} = 1;
$c->close_in();
$c->gone();
is(line($t, 'ping')->{code}, 1011, '1011 is a ping without a pong');


# the raw echo

$c = Snorky->connect('/echo?who=echo');
$c->text('x' x 50000);
$c->text_in();
$c->binary('x');
$c->message_in();
$c->finish();
$l = line($t, 'echo');
is("$l->{in} $l->{out}", '2 2', 'messages of the raw echo are counted');
is($l->{transport}, 'websocket', 'it is a WebSocket as well');
is($l->{sent}, $c->{received}, 'its bytes are all there');


# refusals

Snorky->attempt('/ws?who=refused', version => 8);
$l = line($t, 'refused');
is($l->{status}, 426, 'a refused handshake has its status');
is($l->{code}, '', 'and no close code');

Snorky->attempt('/ws?who=origin', origin => 'http://evil.example');
is(line($t, 'origin')->{status}, 403, 'as has a refused origin');


# on a connection that had requests before

$c = Snorky->dial();
$c->request('GET', '/plain?who=before');
$c->handshake('/ws?who=after');
$c->read_response();
$c->text(envelope('echo', 1));
$c->text_in();
$c->finish();
$l = line($t, 'after');
is($l->{requests}, 2, 'a handshake may be the second request');
is("$l->{in} $l->{out}", '1 1', 'its messages are counted');
is(line($t, 'before')->{sent} + $l->{sent}, $c->{received},
    'its bytes are its own');

# a line is for one connection, its numbers not for others

$c = Snorky->connect('/ws?who=fresh');
$c->finish();
$l = line($t, 'fresh');
is("$l->{in} $l->{out}", '0 0', 'a new connection counts from zero');


# others

$l = do {
    backend_post('/backend?who=backend', envelope('messaging_backend',
        { command => 'publish', params => { channel => 1, message => 1 } }),
        key => 'swordfish');
    line($t, 'backend');
};
is("$l->{status} $l->{transport}", '200 backend',
    'the backend is a transport');
is("$l->{in} $l->{out}", '1 1', 'and counts its messages');
is($l->{code}, '', 'and has no close code');

get('/plain?who=plain');
$l = line($t, 'plain');
is(join('|', @$l{qw/ transport in out code identity /}), '||||',
    'a request that is none of ours has empty variables');

$c = Snorky->connect('/quiet?who=quiet');
$c->finish();
$c = Snorky->connect('/ws?who=loud');
$c->finish();
line($t, 'loud');
is(line($t, 'quiet', 0), undef, 'access_log off works');


# a reload

$c = Snorky->connect('/ws?who=reload');
$t->reload();
is($c->close_in(5), 1012, 'a reload closes with 1012');
$c->gone();
$l = line($t, 'reload');
is("$l->{status} $l->{code}", '101 1012', '1012 is in the log');

# and the end

$c = Snorky->connect('/ws?who=quit');
$c->text(envelope('echo', 1));
$c->text_in();
$t->stop();
is($c->close_in(0) // $c->{why}, 1012, 'nginx quits with 1012');
$l = line($t, 'quit');
is("$l->{status} $l->{code} $l->{in}", '101 1012 1', 'which is in the log');
is($l->{sent}, do { $c->gone(); $c->{received} }, 'with all bytes');

my @lines = split /\n/, $t->read_file('snorky.log');
is(scalar(grep { !decode($_) } @lines), 0, 'all lines are whole');
is(scalar(grep { /"who":""/ } @lines), 0, 'there are no others');


# --- helpers ----------------------------------------------------------------

# the line of a client, which may take a moment to be written

sub line {
    my ($test, $who, $timeout) = @_;

    return wait_until {
        my ($text) = $test->read_file('snorky.log')
            =~ /^(\{"who":"\Q$who\E".*\})$/m;
        decode($text);
    } $timeout;
}
