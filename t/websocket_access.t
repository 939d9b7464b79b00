#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# What nginx does before a request reaches its content works on a WebSocket
# location as on any other: auth_request, limit_conn, limit_req, allow and
# deny, auth_basic, satisfy, rewrite.

use strict;
use warnings;

use FindBin;
use MIME::Base64 qw/ encode_base64 /;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()
    ->has(qw/ http access auth_basic auth_request limit_conn limit_req proxy
              rewrite /)->plan(41);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    limit_conn_zone  $arg_who  zone=conn:1m;
    limit_req_zone   $arg_who  zone=req:1m   rate=1r/m;
    limit_req_zone   $arg_who  zone=slow:1m  rate=2r/s;

    snorky_zone 1m;
    snorky_service echo echo;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /auth {
            set $answer $arg_status;

            snorky_websocket;
            auth_request /check;
        }

        location = /check {
            internal;
            proxy_pass http://127.0.0.1:8081/$answer;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }

        location /conn {
            snorky_websocket;
            limit_conn conn 2;
        }

        location /conn_echo {
            snorky_websocket_echo;
            limit_conn conn 2;
        }

        location /req {
            snorky_websocket;
            limit_req zone=req burst=1 nodelay;
        }

        location /delayed {
            snorky_websocket;
            limit_req zone=slow burst=5;
        }

        location /allow {
            snorky_websocket;
            allow 127.0.0.1;
            deny all;
        }

        location /deny {
            snorky_websocket;
            deny all;
        }

        location /basic {
            snorky_websocket;
            auth_basic "members";
            auth_basic_user_file %%TESTDIR%%/htpasswd;
        }

        location /satisfy {
            snorky_websocket;
            satisfy any;
            deny all;
            auth_basic "members";
            auth_basic_user_file %%TESTDIR%%/htpasswd;
        }

        location /return {
            return 410;
            snorky_websocket;
        }

        location /rewrite {
            rewrite ^ /allow last;
        }

        location /subrequest {
            snorky_websocket;
            auth_request /allow;
        }

        location /rate {
            snorky_websocket;
            limit_rate 100;
        }

        location /if {
            if ($arg_who = nobody) {
                return 403;
            }
            snorky_websocket;
        }

        location /status {
            snorky_status;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        location / {
            return 500;
        }

        location = /200 {
            return 200 "yes";
        }

        location = /401 {
            return 401;
        }

        location = /403 {
            return 403;
        }

        location = /slow {
            proxy_pass http://127.0.0.1:8082;
        }
    }
}

EOC

$t->write_file('htpasswd', "anna:{PLAIN}secret\n");
$t->run_daemon(\&slow_daemon, port(8082));
$t->run();
$t->waitforsocket('127.0.0.1:' . port(8082));

my ($c, $start, @held);


# auth_request

is(status('/auth?status=200'), 101, 'auth_request: 200 lets a client in');
is(status('/auth?status=401'), 401, 'auth_request: 401 does not');
is(status('/auth?status=403'), 403, 'auth_request: 403 does not');
is(status('/auth?status=500'), 500, 'auth_request: a failure does not');

$c = Snorky->attempt('/auth?status=200',
    tail => frame(TEXT, envelope('echo', 'early')));
is($c->notification(), 'early',
    'a frame behind the head waits for auth_request');

$start = time();
$c = Snorky->attempt('/auth?status=slow',
    tail => frame(TEXT, envelope('echo', 'early')));
is($c->status(), 101, 'auth_request may take its time');
cmp_ok(time() - $start, '>', 0.4, 'and does so here');
is($c->notification(), 'early', 'a frame behind the head waits as long');
is(talk($c), 'heard', 'and the connection goes on');

$c = Snorky->dial();
$c->handshake('/auth?status=slow');
sleep 0.1;
$c->send(frame(TEXT, envelope('echo', 'meanwhile')));
$c->read_response();
is($c->notification(), 'meanwhile',
    'a frame that comes while auth_request is asked is not lost');

# a client that does not wait for it

$c = Snorky->dial();
$c->handshake('/auth?status=slow');
sleep 0.1;
$c->reset();
is(status('/auth?status=200'), 101,
    'a client that leaves while auth_request is asked does no harm');


# limit_conn

@held = map { Snorky->connect('/conn?who=a') } 1 .. 2;
is(status('/conn?who=a'), 503, 'limit_conn: the third client is refused');
is(status('/conn?who=b'), 101, 'limit_conn: another is not');
is(talk($_), 'heard', 'limit_conn: those within the limit are served')
    for @held;

sleep 0.3;
is(status('/conn?who=a'), 503, 'limit_conn: it counts as long as they last');

(shift @held)->finish();
is(wait_until { status('/conn?who=a') == 101 }, 1,
    'limit_conn: the place of one that has left is free');

(shift @held)->reset();
is(wait_until {
    @held = map { Snorky->attempt('/conn?who=a') } 1 .. 2;
    2 == grep { $_->status() == 101 } @held;
}, 1, 'limit_conn: so is the place of one that was lost');

my $bad = shift @held;
$bad->send(frame(CONT, ''));
$bad->finish();
is(wait_until { status('/conn?who=a') == 101 }, 1,
    'limit_conn: so is the place of one that was closed for an error');

@held = map { Snorky->connect('/conn_echo?who=c') } 1 .. 2;
is(status('/conn_echo?who=c'), 503, 'limit_conn: the raw echo is limited');
$_->finish() for splice @held;
is(wait_until { status('/conn_echo?who=c') == 101 }, 1,
    'limit_conn: and frees its places');


# limit_req

is(join(' ', map { status('/req?who=a') } 1 .. 4), '101 101 503 503',
    'limit_req: too many handshakes are refused');
is(status('/req?who=b'), 101, 'limit_req: those of another are not');

$c = Snorky->connect('/delayed?who=a');
$start = time();
$c = Snorky->connect('/delayed?who=a',
    tail => frame(TEXT, envelope('echo', 'early')));
cmp_ok(time() - $start, '>', 0.3, 'limit_req: a handshake may be delayed');
is($c->notification(), 'early', 'limit_req: and the frame behind it');
is(talk($c), 'heard', 'limit_req: and then the connection goes on');


# the address

is(status('/allow'), 101, 'allow lets a client in');
is(status('/deny'), 403, 'deny does not');


# the user

is(status('/basic'), 401, 'auth_basic refuses a client without a password');
is(status('/basic', headers => [ basic('anna:wrong') ]), 401,
    'auth_basic refuses a wrong one');
is(status('/basic', headers => [ basic('anna:secret') ]), 101,
    'auth_basic lets in who has it');
like(Snorky->attempt('/basic')->header('WWW-Authenticate'), qr/members/,
    'auth_basic asks for it');

is(status('/satisfy'), 401, 'satisfy any: neither is refused');
is(status('/satisfy', headers => [ basic('anna:secret') ]), 101,
    'satisfy any: one of both is enough');


# rewrite

is(status('/return'), 410, 'return goes before the handshake');
is(status('/rewrite'), 101, 'rewrite leads to a WebSocket location');
is(status('/if?who=nobody') . ' ' . status('/if?who=anna'), '403 101',
    'if may refuse one and let in another');


# what does not make sense on a WebSocket does no harm

is(status('/subrequest'), 500, 'a subrequest cannot open a WebSocket');

$c = Snorky->connect('/rate', tail => frame(TEXT, envelope('echo', 'early')));
is($c->notification(), 'early', 'limit_rate may delay the head of the answer');
is(talk($c), 'heard', 'and then the connection goes on');


# nothing is left

undef $c;
undef $bad;
@held = ();

is(wait_until { counters()->{sessions} == 0 }, 1, 'no session is left behind');


# --- helpers ----------------------------------------------------------------

sub status {
    return Snorky->attempt(@_)->status();
}


sub basic {
    my ($user) = @_;

    return 'Authorization: Basic ' . encode_base64($user, '');
}


sub talk {
    my ($client) = @_;

    $client->text(envelope('echo', 'heard'));
    return $client->notification();
}


# answers 204 after half a second

sub slow_daemon {
    my ($port) = @_;

    my $server = IO::Socket::INET->new(
        Proto     => 'tcp',
        LocalAddr => "127.0.0.1:$port",
        Listen    => 5,
        ReuseAddr => 1,
    ) or die "cannot listen: $!\n";

    local $SIG{PIPE} = 'IGNORE';

    while (my $client = $server->accept()) {
        while (defined(my $line = <$client>)) {
            last if $line =~ /^\r?\n/;
        }

        sleep 0.5;
        print $client "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        close $client;
    }
}
