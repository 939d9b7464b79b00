#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# snorky_identity: who a client is, as the server knows it.  What shows it
# from the outside is a service that only known clients may publish to, and
# $snorky_identity in the access log.

use strict;
use warnings;

use FindBin;
use MIME::Base64 qw/ encode_base64 /;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()
    ->has(qw/ http auth_basic auth_request map proxy rewrite /)->plan(29);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  identity  escape=none  '$uri <$snorky_identity>';
    access_log  %%TESTDIR%%/identity.log identity;

    snorky_zone 1m;
    snorky_service pubsub members publish=identified;
    snorky_service pubsub readers publish=none;
    snorky_service pubsub everyone;

    snorky_registry private {
        snorky_service pubsub_backend readers_backend frontend=readers;
        snorky_service pubsub_backend members_backend frontend=members;
    }

    snorky_identity $http_x_default;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /basic {
            snorky_websocket;
            snorky_identity $remote_user;

            auth_basic "members";
            auth_basic_user_file %%TESTDIR%%/htpasswd;
        }

        location /header {
            snorky_websocket;
            snorky_identity $http_x_user;
        }

        location /composed {
            snorky_websocket;
            snorky_identity "$http_x_user@$host";
        }

        location /inherited {
            snorky_websocket;
        }

        location /auth {
            snorky_websocket;
            snorky_identity $user;

            auth_request /check;
            auth_request_set $user $upstream_http_x_user;
        }

        location = /check {
            internal;
            proxy_pass http://127.0.0.1:8081;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            snorky_identity $http_x_user;
        }

        location /status {
            snorky_status;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        location / {
            add_header X-User from-auth;
            return 200 "yes";
        }
    }

    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        location /none {
            snorky_websocket;
            snorky_identity "";
        }
    }
}

EOC

$t->write_file('htpasswd', "anna:{PLAIN}secret\n");
$t->run();

my ($c, $m);


# where it comes from

is(publish('/basic',
    'Authorization: Basic ' . encode_base64('anna:secret', '')), 'response',
    'a user of basic authentication may publish');
is(logged($t, '/basic', 1), 'anna', 'and is named in the log');

is(publish('/header', 'X-User: otto'), 'response',
    'a client whom a header names may publish');
is(logged($t, '/header', 1), 'otto', 'and is named in the log');

is(publish('/composed', 'X-User: otto'), 'response',
    'an identity may be composed');
is(logged($t, '/composed', 1), 'otto@localhost',
    'and is named so in the log');

is(publish('/auth'), 'response', 'an auth_request may name a client');
is(logged($t, '/auth', 1), 'from-auth', 'and it is named in the log');

is(publish('/inherited', 'X-Default: eve'), 'response',
    'an identity may be inherited');
is(publish('/header', 'X-Default: eve'), 'Not authorized',
    'and a location may have its own');


# none

is(publish('/header'), 'Not authorized', 'a client without a name may not');
is(logged($t, '/header', 3), 'none', 'and none is in the log');
is(publish('/header', 'X-User: '), 'Not authorized',
    'an empty name is no name');
is(publish('/none', undef, port => port(8082)), 'Not authorized',
    'and cannot be configured to be one');


# the other policies do not ask for it

$c = client('/header');
is(result($c->rpc('everyone', 'publish', { channel => 1, message => 1 })),
    'response', 'where all may publish, a client without a name may');
is(result($c->rpc('members', 'subscribe', { channel => 1 })), 'response',
    'a client without a name may subscribe');
is(result($c->rpc('readers', 'publish', { channel => 1, message => 1 })),
    'Not authorized', 'where none may publish, it may not');

my $named = client('/header', 'X-User: otto');
is(result($named->rpc('readers', 'publish', { channel => 1, message => 1 })),
    'Not authorized', 'nor may a client with a name');
is(result($named->rpc('members', 'publish', { channel => 1, message => 7 })),
    'response', 'what a client with a name publishes');
$m = $c->notification();
is($m && $m->{message}, 7, 'reaches one without');


# a refusal has no effect

$c->rpc('readers', 'subscribe', { channel => 2 });
$named->rpc('readers', 'publish', { channel => 2, message => 'refused' });
is($c->rpc('members', 'publish', { channel => 1, message => 'refused' })
    ->{message}, 'Not authorized', 'what is refused');
ok($c->silent(0.3), 'is not delivered');


# the backend may whatever the policy

for my $service (qw/ readers members /) {
    my $r = backend_post('/backend',
        envelope("${service}_backend", { command => 'publish',
            params => { channel => 2, message => 8 } }), key => 'swordfish');
    is(result($r->{json}{message}), 'response',
        "the backend may publish to $service");
}

$m = $c->notification();
is($m && $m->{message}, 8, 'and is heard');


# a client cannot name itself

$c->text('{"service":"members","identity":"eve","message":{"command":'
    . '"publish","identity":"eve","params":{"channel":1,"message":1},'
    . '"callId":"self"}}');
is(result($c->reply('self')), 'Not authorized',
    'a client cannot name itself in its messages');
is(publish('/header?x_user=eve', 'X-Snorky-Identity: eve'), 'Not authorized',
    'nor by headers that are not configured');


# any text may be a name: JSON has ways to write it

$c = client('/header', "X-User: \"\\\t\xc3\xa9");
is(result($c->rpc('members', 'publish', { channel => 3, message => 1 })),
    'response', 'a name may have quotes, backslashes and other characters');
is($c->finish(), 1000, 'and does no harm');


# --- helpers ----------------------------------------------------------------

sub client {
    my ($uri, $header, @more) = @_;

    return Snorky->connect($uri, headers => [ defined $header ? $header : () ],
        @more);
}


# "response" or the error

sub result {
    my ($reply) = @_;

    return 'nothing' unless $reply;
    return $reply->{type} eq 'error' ? $reply->{message} : $reply->{type};
}


sub publish {
    my ($uri, $header, @more) = @_;

    my $client = client($uri, $header, @more);
    my $reply = $client->rpc('members', 'publish',
        { channel => 1, message => 1 });
    $client->finish();

    return result($reply);
}


# the name of the n-th client of a location, from the log

sub logged {
    my ($test, $uri, $n) = @_;

    return wait_until {
        my @names = $test->read_file('identity.log') =~ /^\Q$uri\E <(.*)>$/gm;
        @names >= $n && ($names[$n - 1] || 'none');
    };
}
