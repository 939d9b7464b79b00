#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# WebSocket over TLS, and behind a load balancer that speaks the PROXY
# protocol.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http http_ssl realip socket_ssl /)
    ->has_daemon('openssl')->plan(32);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  client  '$uri $proxy_protocol_addr $remote_addr $status';
    access_log  %%TESTDIR%%/client.log client;

    ssl_certificate      %%TESTDIR%%/localhost.crt;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    snorky_zone 4m;
    snorky_service pubsub messaging;
    snorky_service pubsub members publish=identified;
    snorky_service echo echo;

    snorky_max_message_size 1m;
    snorky_send_buffer 16m;
    snorky_close_timeout 1s;
    lingering_timeout 1s;

    server {
        listen       127.0.0.1:8443 ssl;
        listen       127.0.0.1:8445 ssl sndbuf=16k;
        listen       127.0.0.1:8444 ssl proxy_protocol;
        listen       127.0.0.1:8081 proxy_protocol;
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /proxied {
            snorky_websocket;
            snorky_identity $proxy_protocol_addr;
        }

        location /realip {
            snorky_websocket;
            set_real_ip_from 127.0.0.1;
            real_ip_header proxy_protocol;
            allow 192.0.2.1;
            deny all;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

make_certificate($t, 'localhost');
$t->run();

my ($c, $m, $plain);

my $big = join '', map { sprintf '%08x', $_ * 2654435761 % 2 ** 32 }
    1 .. 125000;


# TLS

$c = Snorky->connect('/ws', ssl => 1);
is($c->status(), 101, 'a handshake over TLS gets a 101');
is($c->rpc('messaging', 'subscribe', { channel => 'c' })->{type}, 'response',
    'a call is answered');

$plain = Snorky->connect('/ws');
$plain->rpc('messaging', 'publish', { channel => 'c', message => 'plain' });
$m = $c->notification();
is($m && $m->{message}, 'plain', 'a client over TLS hears one without');

$plain->rpc('messaging', 'subscribe', { channel => 'd' });
$c->rpc('messaging', 'publish', { channel => 'd', message => 'tls' });
$m = $plain->notification();
is($m && $m->{message}, 'tls', 'and is heard by it');

is($c->finish(), 1000, 'the closing handshake is made');

$c = Snorky->connect('/ws', ssl => 1, tail => frame(TEXT,
    envelope('echo', 'behind')));
is($c->notification(), 'behind', 'a frame in the record of the head is read');

# a record holds 16k

$c = Snorky->connect('/echo', ssl => 1);

for my $len (1, 16383, 16384, 16385, 40000, 65536, 1000000) {
    my $text = substr $big, 0, $len;
    $c->text($text);
    ok(($c->text_in() // '') eq $text, "a text of $len bytes comes back");
}

$c->send(map { frame(TEXT, substr $big, $_, 20000) } 1 .. 100);
is(scalar(grep { ($c->text_in() // '') eq substr $big, $_, 20000 } 1 .. 100),
    100, 'frames across records come back in their order');

my $bytes = frame(TEXT, 'bytes in records of their own');
$c->send($_) for split //, $bytes;
is($c->text_in(), 'bytes in records of their own',
    'a frame may come in records of one byte');

# many frames in one record: nginx has read them all, and no event follows

$c->send(join '', map { frame(TEXT, "frame $_") } 1 .. 1000);
is(scalar(grep { ($c->text_in() // '') eq "frame $_" } 1 .. 1000), 1000,
    'many frames in one record come back');

$c->send(frame(TEXT, 'last of a record'));
is($c->text_in(), 'last of a record', 'the last one without delay');

# one that reads late, so that the server's writes block within a record

my @narrow = (ssl => 1, port => port(8445), rcvbuf => 8192);

my $slow = Snorky->connect('/echo', @narrow);
$slow->{deaf} = 1;
$slow->send(frame(TEXT, substr $big, 0, 400000)) for 1 .. 10;
is(scalar(grep { ($slow->text_in() // '') eq substr $big, 0, 400000 }
    1 .. 10), 10, 'a client over TLS may read late');
is($slow->finish(), 1000, 'and close then');

# ... and with any part of a message left within OpenSSL

my @late = map { [ $_, 0 ] } 1 .. 20;

for my $case (@late) {
    my $client = Snorky->connect('/ws', @narrow);

    $client->rpc('messaging', 'subscribe', { channel => 'late' });
    $plain->rpc('messaging', 'publish',
        { channel => 'late', message => substr $big, 0, 10000 })
        for 1 .. $case->[0];

    $case->[1]++ while $case->[1] < $case->[0] && $client->notification(3);
    $client->finish();
}

is(join(' ', map { $_->[1] } @late), join(' ', map { $_->[0] } @late),
    'and gets the last message whatever their number is');

$c = Snorky->connect('/ws', ssl => 1);
$c->send(frame(CONT, ''));
is($c->close_in(), 1002, 'an error is answered with a close frame');
ok($c->gone(), 'and the end');

$c = Snorky->connect('/ws', ssl => 1);
$c->reset();
$c = Snorky->connect('/ws', ssl => 1);
$c->{sock}->close(SSL_no_shutdown => 1);
$c = Snorky->connect('/ws', ssl => 1);
$c->{sock}->close();
undef $slow;
$plain->finish();

is(wait_until { counters()->{sessions} == 0 }, 1,
    'clients over TLS that left leave no session');


# the PROXY protocol

my @proxied = (port => port(8081),
               prefix => "PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n");

$c = Snorky->connect('/proxied', @proxied);
is($c->rpc('members', 'publish', { channel => 1, message => 1 })->{type},
    'response', 'the address of the PROXY protocol may be an identity');
$c->finish();
is(logged($t, '/proxied'), '192.0.2.1 127.0.0.1 101',
    'it is known when the log is written');

$c = Snorky->connect('/proxied', @proxied,
    tail => frame(TEXT, envelope('echo', 'behind')));
is($c->notification(), 'behind', 'a frame behind it and the head is read');
$c->finish();

$c = Snorky->connect('/realip', @proxied);
is($c->status(), 101, 'it may be the real address, and be allowed');
$c->finish();
is(logged($t, '/realip'), '192.0.2.1 192.0.2.1 101',
    'which is the address in the log');

is(Snorky->attempt('/realip', port => port(8081),
    prefix => "PROXY TCP4 192.0.2.9 192.0.2.2 123 5678\r\n")->status(), 403,
    'or be denied');

$c = Snorky->connect('/realip', port => port(8444), ssl => 1,
    prefix => "PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n");
$c->text(envelope('echo', 'both'));
is($c->notification(), 'both', 'the PROXY protocol and TLS go together');
is($c->finish(), 1000, 'until the end');

is(wait_until { counters()->{sessions} == 0 }, 1, 'no session is left behind');


# --- helpers ----------------------------------------------------------------

sub logged {
    my ($test, $uri) = @_;

    return wait_until {
        ($test->read_file('client.log') =~ /^\Q$uri\E (.*)$/gm)[-1]
    };
}
