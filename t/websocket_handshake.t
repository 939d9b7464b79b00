#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The opening handshake of RFC 6455, 4.2: what is accepted, what is refused
# and how, and what stands in the answer.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http rewrite /)->plan(70);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_service echo echo;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /protocols {
            snorky_websocket;
            snorky_websocket_protocol snorky.v1 snorky.v2;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /page {
            snorky_websocket;
            error_page 426 = @plain;
        }

        location @plain {
            return 200 "plain";
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my $refused = 0;


# the answer

my $c = Snorky->connect('/ws');
my $r = $c->response();

is($r->{line}, 'HTTP/1.1 101 Switching Protocols', 'a handshake gets a 101');
is($c->header('Sec-WebSocket-Accept'), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    'the accept key is that of RFC 6455, 1.3');
is(lc $c->header('Upgrade'), 'websocket', 'the answer has Upgrade: websocket');
is(lc $c->header('Connection'), 'upgrade',
    'the answer has Connection: upgrade');
is($c->header('Content-Length'), undef, 'a 101 has no Content-Length');
is($c->header('Transfer-Encoding'), undef, 'a 101 has no Transfer-Encoding');
is($c->header('Sec-WebSocket-Protocol'), undef,
    'no subprotocol stands in the answer when none is offered');
is($c->header('Sec-WebSocket-Extensions'), undef,
    'no extension stands in the answer when none is offered');
is(talk($c), 'heard', 'the connection speaks the Snorky protocol');

my $key = 'AAECAwQFBgcICQoLDA0ODw==';

$c = Snorky->connect('/ws', key => $key);
is($c->header('Sec-WebSocket-Accept'), Snorky::accept_key($key),
    'the accept key follows from the request key');

is(status('/ws?since=1&x=%20'), 101, 'arguments do not matter');
is(status('/echo'), 101, 'the raw echo shakes hands as well');

$c = Snorky->connect('/ws', headers => [
    'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'
]);
is($c->header('Sec-WebSocket-Extensions'), undef,
    'an extension that is not spoken is not accepted');


# Upgrade and Connection are lists of tokens without case

is(status('/ws', upgrade => 'WebSocket'), 101, 'Upgrade: WebSocket is one');
is(status('/ws', upgrade => 'WEBSOCKET'), 101, 'Upgrade: WEBSOCKET is one');
is(status('/ws', upgrade => 'h2c, websocket'), 101,
    'websocket may be one of several in Upgrade');
is(status('/ws', connection => 'keep-alive, Upgrade'), 101,
    'Connection: keep-alive, Upgrade is understood');
is(status('/ws', connection => 'upgrade,keep-alive'), 101,
    'Connection: upgrade,keep-alive is understood');
is(status('/ws', connection => 'UPGRADE'), 101,
    'Connection: UPGRADE is understood');
is(status('/ws', connection => "foo ,\tupgrade\t, bar"), 101,
    'white space around tokens does not matter');
is(status('/ws', connection => [ 'keep-alive', 'Upgrade' ]), 101,
    'two Connection headers are one list');


# no upgrade, or to something else

for my $case (
    [ 'a plain request',              upgrade => undef, connection => undef ],
    [ 'no Upgrade',                   upgrade => undef ],
    [ 'an empty Upgrade',             upgrade => '' ],
    [ 'Upgrade: h2c',                 upgrade => 'h2c' ],
    [ 'Upgrade: websockets',          upgrade => 'websockets' ],
    [ 'no Connection',                connection => undef ],
    [ 'Connection: keep-alive',       connection => 'keep-alive' ],
    [ 'Connection: upgrades',         connection => 'upgrades' ],
    [ 'Connection: not-upgrade',      connection => 'not-upgrade' ],
    [ 'HTTP/1.0',                     http => 'HTTP/1.0' ],
) {
    my ($name, @options) = @$case;

    is(refuse('/ws', @options)->status(), 426, "$name is refused with 426");
}

$c = refuse('/ws', upgrade => undef);
is(lc($c->header('Upgrade') // ''), 'websocket',
    'a 426 says what to upgrade to');


$c = refuse('/page', upgrade => undef);
is($c->status() . ' ' . $c->response()->{body}, '200 plain',
    'error_page may answer a plain request');
is(Snorky->attempt('/page')->status(), 101,
    'and does not stand in the way of a handshake');


# the version

for my $version (undef, '', 0, 8, 12, 14, 113, '13x', 'thirteen') {
    my $name = defined $version ? "version '$version'" : 'no version';

    $c = refuse('/ws', version => $version);
    is($c->status() . ' ' . ($c->header('Sec-WebSocket-Version') // 'none'),
        '426 13', "$name is refused with 426 and the right version");
}

is(refuse('/echo', version => 8)->status(), 426,
    'the raw echo refuses a wrong version as well');


# the key is 16 bytes in base64

for my $case (
    [ 'no key',                         undef ],
    [ 'an empty key',                   '' ],
    [ 'a key that is no base64',        '!!!!!!!!!!!!!!!!!!!!!!==' ],
    [ 'a key of 15 bytes',              'AAECAwQFBgcICQoLDA0O' ],
    [ 'a key of 17 bytes',              'AAECAwQFBgcICQoLDA0ODxA=' ],
    [ 'a key of 32 bytes',              'AAECAwQFBgcICQoLDA0ODw==' x 2 ],
    [ 'a key that comes twice',         [ $key, $key ] ],
) {
    my ($name, $value) = @$case;

    is(refuse('/ws', key => $value)->status(), 400,
        "$name is refused with 400");
}


# the method

for my $method (qw/ POST PUT DELETE /) {
    $c = refuse('/ws', method => $method, headers => [ 'Content-Length: 0' ]);
    is($c->status() . ' ' . ($c->header('Allow') // 'none'), '405 GET',
        "$method is refused with 405 and what is allowed");
}


# what follows the head are frames, so there is no room for a body

is(refuse('/ws', headers => [ 'Content-Length: 5' ], tail => 'hello')
    ->status(), 400, 'a body is refused with 400');
is(refuse('/ws', headers => [ 'Transfer-Encoding: chunked' ],
    tail => "0\r\n\r\n")->status(), 400,
    'a body in chunks is refused with 400');
is(status('/ws', headers => [ 'Content-Length: 0' ]), 101,
    'a body of no length is none');


# how the bytes come

$c = Snorky->connect('/ws', tail => ask('behind'));
is(answer($c), 'behind', 'a frame right behind the head is answered');

$c = Snorky->connect('/ws',
    tail => join('', map { ask("frame $_") } 1 .. 100));
is(join(' ', map { answer($c) // 'none' } 1 .. 100),
    join(' ', map { "frame $_" } 1 .. 100),
    'a hundred frames right behind the head are answered');

my $frame = ask('split');

$c = Snorky->connect('/ws', tail => substr $frame, 0, 3);
$c->send(substr $frame, 3);
is(answer($c), 'split', 'a frame may begin right behind the head');

$c = Snorky->dial();
$c->send($_) for split //, join "\r\n",
    'GET /ws HTTP/1.1', 'Host: localhost', 'Connection: Upgrade',
    'Upgrade: websocket', "Sec-WebSocket-Key: $key",
    'Sec-WebSocket-Version: 13', '', '';
$c->read_response();
is(talk($c), 'heard', 'the head may come byte by byte');

$c = Snorky->dial();
$c->request('GET', '/ws');
$refused++;
$c->handshake('/ws');
$c->read_response();
is($c->status(), 101, 'a connection that was refused may try again');


# subprotocols: the first of ours that the client offers

is(protocol('/protocols', 'snorky.v2, snorky.v1'), 'snorky.v1',
    'the first configured subprotocol of several is chosen');
is(protocol('/protocols', 'a,snorky.v2,b'), 'snorky.v2',
    'a later one is chosen where the first is not offered');
is(protocol('/protocols', [ 'a', 'snorky.v2' ]), 'snorky.v2',
    'two headers are one list of subprotocols');
is(protocol('/protocols', 'snorky.v1x, snorky.v, SNORKY.V1'), undef,
    'a subprotocol must be the whole name, with its case');
is(protocol('/protocols', undef), undef,
    'a client that offers no subprotocol is served without one');
is(protocol('/ws', 'snorky.v1'), undef,
    'no subprotocol is chosen where none is configured');


# the figures

undef $c;

is(counters()->{rejected_handshake}, $refused, 'refusals are counted');
is(wait_until { counters()->{sessions} == 0 }, 1,
    'no session is left behind');


# --- helpers ----------------------------------------------------------------

sub status {
    return Snorky->attempt(@_)->status();
}


sub refuse {
    $refused++;
    return Snorky->attempt(@_);
}


sub protocol {
    my ($uri, $offer) = @_;

    my $client = Snorky->connect($uri, protocols => $offer);

    return $client->header('Sec-WebSocket-Protocol');
}


sub ask {
    my ($what) = @_;

    return frame(TEXT, envelope('echo', $what));
}


sub answer {
    my ($client) = @_;

    return $client->notification();
}


sub talk {
    my ($client) = @_;

    $client->send(ask('heard'));
    return answer($client);
}
