#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# snorky_lean: the request ends at the upgrade, and the connection lives on
# without it.

use strict;
use warnings;

use FindBin;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()
    ->has(qw/ http rewrite auth_request limit_conn proxy mirror realip
              stub_status unix /)
    ->plan(77);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections  1024;
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  lean  escape=json
        '{"who":"$arg_who","request":"$request","status":"$status",'
        '"sent":"$bytes_sent","time":"$request_time",'
        '"in":"$snorky_messages_in","out":"$snorky_messages_out",'
        '"code":"$snorky_close_code","identity":"$snorky_identity",'
        '"addr":"$remote_addr","requests":"$connection_requests",'
        '"a":"$http_x_a","b":"$http_x_b","c":"$http_x_c",'
        '"accept":"$sent_http_sec_websocket_accept"}';

    access_log  %%TESTDIR%%/lean.log  lean;

    limit_conn_zone  $arg_key  zone=keys:1m;

    snorky_zone 4m;
    snorky_service pubsub pubsub;
    snorky_service chat chat;
    snorky_service echo echo;

    snorky_identity $http_x_user;
    snorky_send_buffer 64k;
    snorky_close_timeout 1s;
    lingering_timeout 1s;

    snorky_lean on;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 sndbuf=4k;
        listen       127.0.0.1:8082 proxy_protocol;
        listen       unix:%%TESTDIR%%/lean.sock;
        server_name  localhost;

        large_client_header_buffers 4 8k;

        location /ws {
            snorky_websocket;
            limit_conn keys 1;
        }

        location /fat {
            snorky_websocket;
            snorky_lean off;
            limit_conn keys 1;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /pings {
            snorky_websocket;
            snorky_ping_interval 500ms;
            snorky_ping_timeout 500ms;
        }

        location /real {
            set_real_ip_from 127.0.0.1;
            real_ip_header X-Real;
            snorky_websocket;
        }

        location /asked {
            auth_request /ask;
            snorky_websocket;
        }

        location = /ask {
            if ($http_x_user) {
                return 204;
            }
            return 403;
        }

        location /old {
            rewrite ^ /ws last;
        }

        location /if {
            set $refuse $arg_refuse;
            if ($refuse) {
                return 410;
            }
            snorky_websocket;
        }

        location /denied {
            deny all;
            snorky_websocket;
        }

        location /mirrored {
            mirror /mirror;
            snorky_websocket;
        }

        location /mirrored/pings {
            mirror /mirror;
            snorky_websocket;
            snorky_ping_interval 300ms;
            snorky_ping_timeout 300ms;
        }

        location = /mirror {
            internal;
            proxy_pass http://127.0.0.1:8083;
        }

        location /plain {
            return 200 "plain";
        }

        location /size {
            return 200 $http_x_size;
        }

        location /stub {
            stub_status;
            access_log off;
        }

        location /status {
            snorky_status;
            access_log off;
        }
    }
}

EOC

my $mirror = IO::Socket::INET->new(Proto => 'tcp', Listen => 16,
    LocalAddr => '127.0.0.1:' . port(8083), ReuseAddr => 1,
    Timeout => $Snorky::TIMEOUT)
    or die "no socket: $!\n";

$t->run();

my ($c, $d, $l, $n, $sent, @all);

# more than sockets take

my $more = frame(TEXT, 'x' x 60000) x 150;

my $sub = { channel => 'c' };
my $pub = { channel => 'c', message => 'm' };


# the log

$c = Snorky->connect('/ws?who=open', headers => [ 'X-User: anna' ]);
$n = $c->{received};
$l = line($t, 'open');

is($l->{request}, 'GET /ws?who=open HTTP/1.1',
    'an open connection has its line already');
is($l->{status}, 101, 'with status 101');
is($l->{sent}, $n, 'with the bytes of the head');
cmp_ok($l->{time}, '<', 5, 'with the time until the upgrade');
is("$l->{in} $l->{out}", '0 0', 'with no messages');
is($l->{code}, '', 'with no close code');
is($l->{identity}, 'anna', 'with its identity');
is($l->{accept}, $c->header('Sec-WebSocket-Accept'),
    'with what was sent in the head');

is($c->rpc('pubsub', 'subscribe', $sub)->{type}, 'response',
    'a call is answered');

$d = Snorky->connect('/ws?who=broken');
$d->rpc('pubsub', 'publish', $pub);
is($c->notification()->{message}, 'm', 'a publication comes');

$d->send(frame(CONT, ''));
is($d->finish(), 1002, 'who breaks the protocol is told so');

($l) = $t->read_file('error.log') =~ /^(.*client broke the WebSocket.*)$/m;
like($l, qr/client: 127\.0\.0\.1/, 'the error log names the client');
unlike($l, qr/request:/, 'and no request');

is($c->finish(1000), 1000, 'the closing handshake is made');


# identities do not go with the request

$c = Snorky->connect('/ws', headers => [ 'X-User: berta' ]);
$d = Snorky->connect('/ws', headers => [ 'X-User: carl' ]);

for (1 .. 50) {
    Snorky->connect('/ws', headers => [ 'X-User: ' . 'x' x 200 ]);
    get('/plain', headers => [ 'X-User: ' . 'y' x 200 ]);
}

$c->rpc('chat', 'join', { channel => 1 });
is(join(' ', sort @{ $d->rpc('chat', 'join', { channel => 1 })
    ->{data}{members} }), 'berta carl', 'identities are kept');
$d->rpc('chat', 'send', { channel => 1, body => 'x' });
is($c->notification()->{from}, 'carl', 'and told to others');
$c->notification();
$d->finish();
is($c->notification()->{status}, 'left', 'as is the end');
$c->finish();


# what counts requests

$c = Snorky->connect('/ws?key=a');
$d = Snorky->attempt('/ws?key=a');
is($d->status(), 101, 'limit_conn does not count behind the upgrade');
my $fat = Snorky->connect('/fat?key=a');
is($fat->status(), 101, 'nor for others');
is(Snorky->attempt('/fat?key=a')->status(), 503, 'where they are counted');

$_->finish() for $c, $d, $fat;

wait_until { counters()->{sessions} == 0 };
@all = map { Snorky->connect('/ws') } 1 .. 20;
is(wait_until { join ' ', grep { $_ eq '21 0 1 0' } stub() }, '21 0 1 0',
    'stub_status has it as active, not as reading, writing or waiting');
is(counters()->{sessions_websocket}, 20, 'the status counts it');
$_->finish() for @all;
is(wait_until { stub() =~ /^1 / }, 1,
    'stub_status counts it no longer when it is gone');
is(wait_until { counters()->{sessions} == 0 }, 1, 'nor does the status');


# what comes with the head

$c = Snorky->connect('/ws?who=early', tail => join '',
    map { frame(TEXT, envelope('echo', "early $_")) } 1 .. 5);
is(join(', ', map { $c->notification() } 1 .. 5),
    'early 1, early 2, early 3, early 4, early 5',
    'frames behind the head are read');
is(line($t, 'early')->{in}, 0, 'not before the line');

my $frame = frame(TEXT, envelope('echo', 'in pieces'));

$c = Snorky->connect('/ws', tail => substr $frame, 0, 9);
$c->send(substr $frame, 9);
is($c->notification(), 'in pieces', 'and so is a part of one');

my @long = map { $_ x 7000 } qw/ a b c /;

$c = Snorky->connect('/ws?who=long', tail => $frame,
    headers => [ "X-A: $long[0]", "X-B: $long[1]", "X-C: $long[2]" ]);
is($c->notification(), 'in pieces', 'also behind a long head');
$l = line($t, 'long');
ok("$l->{a} $l->{b} $l->{c}" eq "@long", 'whose headers are in the log');
$c->text(envelope('echo', 'x' x 30000));
is(length $c->notification(), 30000, 'and whose connection lives');

$c = Snorky->connect('/ws?who=gone', tail => $frame . frame(CLOSE, ''));
is($c->notification(), 'in pieces', 'a client may say all it has at once');
is($c->close_in(), 1005, 'and its goodbye');
$c->gone();
is($c->{why}, 'eof', 'and read the answer to it');


# requests before, on the same connection

$c = Snorky->dial();
$c->request('GET', '/plain?who=before') for 1 .. 3;
$c->handshake('/ws?who=after');
$c->read_response();
is($c->rpc('pubsub', 'subscribe', $sub)->{type}, 'response',
    'a connection may have had requests');
is(line($t, 'after')->{requests}, 4, 'which were others');

$d = Snorky->dial();
$d->send("GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n" x 30);
$d->handshake('/ws', tail => $frame);
$d->read_response() for 1 .. 31;
is($d->status(), 101, 'or have sent them all at once');
is($d->notification(), 'in pieces', 'with a frame behind them');
$d->rpc('pubsub', 'publish', $pub);
is($c->notification()->{message}, 'm', 'both are clients like others');


wait_until { counters()->{sessions} == 2 };


# The socket is full of answers that nobody reads, so that the 101 has no
# place, behind one of these numbers of requests; where that is depends on how
# the kernel lays them down, so it is looked for with answers of several sizes.

my ($full, $bad, $rounds) = (0, 0, 0);

while (!$full && $rounds < 8) {
    my $size = 1 + 37 * $rounds++;

    @all = map {
        my $k = Snorky->dial(port => port(8081), rcvbuf => 2048);
        $k->send("GET /size?$size HTTP/1.1\r\nHost: localhost\r\n"
            . 'X-Size: ' . 'x' x $size . "\r\n\r\n") for 1 .. $_;
        $k->handshake("/ws?who=full&number=$_", tail => $frame);
        $k->{before} = $_;
        $k;
    } 1 .. 60;

    my @seen = ('', '');

    $full = wait_until {
        my ($open, $lines) = (counters()->{sessions_websocket},
                              lines($t, 'full') - 60 * ($rounds - 1));
        @seen = ($seen[1], "$open $lines");
        $seen[0] eq $seen[1] && $open - 2 > $lines;
    } $Snorky::TIMEOUT / 10;

    for my $k (@all) {
        $k->read_response() for 0 .. $k->{before};
    }

    $bad += grep { $_->status() != 101 || $_->notification() ne 'in pieces'
        || $_->finish() != 1000 } @all;

    wait_until { counters()->{sessions_websocket} == 2 };
}

ok($full, 'a 101 that has not been sent has no line');
is($bad, 0, 'it is sent when there is room, and frames are answered');
is(lines($t, 'full'), 60 * $rounds, 'then each has its line');


# the end

$c = Snorky->connect('/ws');
$c->{mute} = 1;
$sent = $c->send(frame(CLOSE, close_payload(1000)), $more);
is($c->close_in(), 1000, 'who talks on behind his goodbye is answered');
$c->gone();
is("$sent $c->{why}", '1 eof', 'and can read that');

$c = Snorky->connect('/ws');
$c->{mute} = 1;
$sent = $c->send(frame(CONT, ''), $more);
is($c->close_in(), 1002, 'who breaks the protocol can read why');
$c->gone();
is("$sent $c->{why}", '1 eof', 'whatever he had sent');
is(lasts($c), 'ended', 'and if he goes on, it is ended');

$c = Snorky->connect('/pings');
$c->{mute} = 1;
is($c->close_in(), 1011, 'who does not answer pings is closed');
$c->gone();
is($c->{why}, 'eof', 'and its connection ended');

$c = Snorky->connect('/pings');
is($c->frame_in()->{op}, PING, 'who answers pings');
$c->pong('');
is($c->frame_in()->{op}, PING, 'stays');
$c->finish();

$c = Snorky->connect('/ws', rcvbuf => 4096);
$c->rpc('pubsub', 'subscribe', { channel => 'big' });
$d = Snorky->connect('/ws');

wait_until {
    $d->rpc('pubsub', 'publish', { channel => 'big', message => 'x' x 30000 });
    counters()->{closed_slow};
};

is($c->close_in(), 1013, 'a client that is too slow is told so');

$n = counters()->{closed_lost};
$d->reset();
is(wait_until { counters()->{closed_lost} - $n }, 1,
    'one that is reset is noticed');


# the raw echo

$c = Snorky->connect('/echo?who=echo');
$c->binary("\0" x 50000);
ok($c->message_in()->{data} eq "\0" x 50000, 'the raw echo works');
is(line($t, 'echo')->{in}, 0, 'and has its line before');
is($c->finish(3333), 3333, 'and its end');


# other listeners

$c = Snorky->connect('/ws?who=proxied', port => port(8082),
    prefix => "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n");
$c->send(frame(CONT, ''));
is($c->finish(), 1002, 'the PROXY protocol makes no difference');

$c = bless { in => '', why => '', inbox => [], calls => 0, received => 0,
    timeout => $Snorky::TIMEOUT, sock => IO::Socket::UNIX->new(
        Peer => $t->testdir() . '/lean.sock') || die "no socket: $!\n" },
    'Snorky';

$c->{sock}->blocking(0);
$c->handshake('/ws?who=unix');
$c->read_response();
$c->ping('x');
is($c->frame_in()->{op}, PONG, 'nor does a socket of the file system');
$c->send(frame(CONT, ''));
is($c->finish(), 1002, 'to its end');
is(line($t, 'unix')->{addr}, 'unix:', 'which the log knows');
like($t->read_file('error.log'), qr/broke the WebSocket.*client: unix:/,
    'both of them');


# other modules

$c = Snorky->connect('/asked?who=asked', headers => [ 'X-User: dora' ]);
is(line($t, 'asked')->{identity}, 'dora', 'auth_request may allow it');
is($c->rpc('chat', 'join', { channel => 2 })->{data}{members}[0], 'dora',
    'and it works');

is(join(' ', map {
        my ($path, $status) = @$_;
        Snorky->attempt("$path?who=no$status&refuse=1");
        line($t, "no$status")->{status};
    } ['/asked', 403], ['/if', 410]), '403 410',
    'what is refused before is in the log');
is(Snorky->attempt('/denied?who=denied')->status(), 403,
    'by the access phase, too');
is(line($t, 'denied')->{code}, '', 'which is no upgrade');

is(join(' ', map { Snorky->connect($_)->finish() } '/old', '/if'),
    '1000 1000', 'where rewrite lets it pass, it works');


$c = Snorky->connect('/real?who=real', headers => [ 'X-Real: 192.0.2.7' ]);
is(line($t, 'real')->{addr}, '192.0.2.7', 'the log has what realip found');
$c->send(frame(CONT, ''));
is($c->finish(), 1002, 'the connection is its own again');
like($t->read_file('error.log'), qr/broke the WebSocket.*192\.0\.2\.7/,
    'with the address that realip found');


# a mirror's request needs the client's

$c = Snorky->connect('/mirrored?who=mirrored');
$d = $mirror->accept();
is($c->rpc('pubsub', 'subscribe', $sub)->{type}, 'response',
    'a request may still be needed');
is(line($t, 'mirrored', 0), undef, 'it has no line yet');
print $d "HTTP/1.0 200 OK\r\n\r\n";
close $d;
is($c->finish(), 1000, 'it ends');
$l = line($t, 'mirrored');
is("$l->{in} $l->{code}", '1 1000', 'and then has its line');

$c = Snorky->connect('/mirrored/pings');
$d = $mirror->accept();
$c->{mute} = 1;
is($c->close_in(), 1011, 'whatever ends the session');
is(wait_until { counters()->{sessions_websocket} == 0 }, 1,
    'when it has ended');
$c->send(frame(CLOSE, ''), frame(TEXT, 'x'));
get('/plain') for 1 .. 3;
ok(!$c->gone(0), 'the mirror keeps the connection');
print $d "HTTP/1.0 200 OK\r\n\r\n";
close $d;
ok($c->gone(), 'to its own end');


# --- helpers ----------------------------------------------------------------

# the line of a client, which may take a moment to be written

sub line {
    my ($test, $who, $timeout) = @_;

    return wait_until {
        my ($text) = $test->read_file('lean.log')
            =~ /^(\{"who":"\Q$who\E".*\})$/m;
        decode($text);
    } $timeout;
}


sub lines {
    my ($test, $who) = @_;

    return scalar(() = $test->read_file('lean.log') =~ /^\{"who":"\Q$who\E"/mg);
}


# active, reading, writing, waiting

sub stub {
    my $body = get('/stub')->{body};

    return join ' ', map { $body =~ /$_: (\d+)/ ? $1 : "no $_" }
        'Active connections', qw/ Reading Writing Waiting /;
}


# goes on sending to a server that only waits for the end

sub lasts {
    my ($client) = @_;

    my $deadline = time() + $Snorky::TIMEOUT;

    $client->{deaf} = 1;

    while (time() < $deadline) {
        $client->send('x' x 60000) or return 'ended';
    }

    return 'lasts';
}
