#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Requests that nginx makes itself, and those that come to a location by a
# detour.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()
    ->has(qw/ http auth_request mirror rewrite ssi /)->plan(33);

my $addition = $t->has_module('--with-http_addition_module');

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<"EOC"));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_drain 10ms;

    snorky_service pubsub messaging;
    snorky_service echo echo;

    snorky_registry private {
        snorky_service pubsub_backend messaging frontend=public/messaging;
        snorky_service echo echo;
    }

    snorky_backend_key swordfish;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /backend {
            snorky_backend;
        }

        location /status {
            snorky_status;
        }

        location /page/ {
            ssi on;
            alias %%TESTDIR%%/;
        }

        location /mirrored/ws {
            alias %%TESTDIR%%/plain.html;
            mirror /ws;
        }

        location /mirrored/backend {
            snorky_backend;
            mirror /mirror;
        }

        location = /mirror {
            internal;
            snorky_backend registry=private;
        }

        location /with/mirror {
            snorky_websocket;
            mirror /plain.html;
        }

        location /auth/ws {
            auth_request /ws;
            alias %%TESTDIR%%/plain.html;
        }

        location /auth/status {
            auth_request /status;
            alias %%TESTDIR%%/plain.html;
        }

        location /auth/backend {
            auth_request /backend;
            alias %%TESTDIR%%/plain.html;
        }

        location /rewritten {
            rewrite ^ /ws last;
        }

        location /error {
            error_page 418 = /ws;
            return 418;
        }

        location /named {
            error_page 418 = \@named;
            return 418;
        }

        location \@named {
            snorky_websocket;
        }

        location /tried {
            try_files /missing \@named;
        }

        location /tried/backend {
            try_files /missing \@backend;
        }

        location \@backend {
            snorky_backend;
        }

        location /refused {
            snorky_websocket;
            snorky_origins https://example.com;
            error_page 403 = /ws;
        }

        @{[ $addition ? 'location /added {
            add_after_body /ws;
            alias %%TESTDIR%%/plain.html;
        }' : '' ]}
    }
}

EOC

$t->write_file('plain.html', 'plain');
$t->write_file("$_.html", qq/before <!--#include virtual="\/$_" --> after/)
    for qw/ ws echo backend status /;
$t->run();

my $one = '{"service":"echo","message":1}';
my @upgrade = ('Upgrade: websocket', 'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13');

my ($c, $h, $r);


# a part of a page

for my $name (qw/ ws echo /) {
    $h = Snorky->dial();
    $r = $h->request('GET', "/page/$name.html", headers => [ @upgrade ]);

    is($r && $r->{status}, 200, "a page that includes /$name is served");
    like($r && $r->{body}, qr/^before .*500.* after$/s,
        'with an error in the place of a WebSocket');
    $r = $h->request('GET', '/plain.html');
    is($r && $r->{body}, 'plain', 'and the connection goes on as HTTP');
}

$r = get('/page/backend.html');
like($r && $r->{body}, qr/^before .*405.* after$/s,
    'a backend is not for being included');
$r = get('/page/status.html');
like($r && $r->{body}, qr/^before \{"version":.*\}\s* after$/s,
    'a status may be');
is(ref decode($r && $r->{body} =~ /(\{.*\})/s && $1), 'HASH', 'all of it');

like($t->read_file('error.log'), qr/\[error\] .*WebSocket.*subrequest/,
    'the log tells of the WebSockets');

SKIP: {
    skip 'no addition', 2 unless $addition;

    $r = get('/added', headers => [ @upgrade[0, 2, 3] ]);
    is($r && $r->{status}, 200, 'a page to which /ws is added is served');
    like($r && $r->{body}, qr/^plain/, 'as far as it is one');
}


# a mirror

$h = Snorky->dial();
$r = $h->request('GET', '/mirrored/ws', headers => [ @upgrade ]);
is($r && "$r->{status} $r->{body}", '200 plain',
    'a mirror that would be a WebSocket is none');

my $subscriber = Snorky->connect('/ws');
$subscriber->rpc('messaging', 'subscribe', { channel => 'c' });

$r = backend_post('/mirrored/backend', envelope('messaging', { command =>
    'publish', params => { channel => 'c', message => 'twice' } }),
    key => 'swordfish');
like($r && $r->{body}, qr/"type":"response"/, 'a backend may have a mirror');
is(join(' ', map { ($subscriber->notification(3) || {})->{message} // '' }
    1, 2), 'twice twice', 'that does the same again');

$r = backend_post('/mirrored/backend', [ map { "$_" } split //, $one ],
    key => 'swordfish');
is($r && $r->{body}, $one, 'also for a body in chunks');
is(backend_post('/mirrored/backend', '{', key => 'swordfish')->{status}, 400,
    'or one that is malformed');

$c = Snorky->connect('/with/mirror', tail => frame(TEXT, $one));
is($c->text_in(), $one, 'a WebSocket may have a mirror, too');
$c->text($one);
is($c->text_in(), $one, 'and works as any other');
is($c->finish(), 1000, 'to its end');


# a request for permission

is(Snorky->attempt('/auth/ws')->status(), 500,
    'a WebSocket does not grant permission');
is(get('/auth/status')->{body}, 'plain', 'a status does');
is(get('/auth/backend')->{status}, 500, 'a backend does not');


# a detour

for my $uri (qw{ /rewritten /error /named /tried }) {
    $c = Snorky->connect($uri);
    $c->text($one);
    is($c->text_in(), $one, "a WebSocket can be opened by way of $uri");
    $c->finish();
}

$c = Snorky->connect('/refused', origin => 'http://localhost');
$c->text($one);
is($c->text_in(), $one, 'or after it has been refused elsewhere');
$c->finish();

$r = backend_post('/tried/backend', $one, key => 'swordfish');
is($r && $r->{body}, $one, 'a backend can be reached so, too');


# all of it is gone

is($subscriber->finish(), 1000, 'the subscriber can close');
is((wait_until { counters()->{sessions} == 0 }), 1, 'no session is left');
is(join(' ', map { counters()->{$_} } qw/ sessions_websocket sessions_echo
    subscriptions channels waiting /), '0 0 0 0 0', 'and nothing of any');
is(scalar(worker_pids($t)), 1, 'the worker lives');
