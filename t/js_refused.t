#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client in Node where it is not wanted, by a close code or by
# a status of HTTP: it does not come back, as the access log and a proxy show.
# t/clients/js/refused.mjs has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Script;


use constant CASES => 31;

my $t = script_test(CASES + 1, qw/ access auth_basic rewrite /);

$t->write_file('passwords', "ada:{PLAIN}lovelace\n");
$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format uri $uri;
    access_log %%TESTDIR%%/access.log uri;

    snorky_zone 2m;

    snorky_service echo echo;
    snorky_service pubsub pubsub;
    snorky_service upstream application pass=/application;

    snorky_registry private {
        snorky_service upstream_backend application_backend
                       frontend=application;
    }

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location = /ws {
            snorky_websocket;
            snorky_identity $arg_user;
        }

        location /closes {
            snorky_sockjs_close;
        }

        location = /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location = /status {
            snorky_status;
        }

        location = /401 {
            snorky_websocket;
            auth_basic "who";
            auth_basic_user_file %%TESTDIR%%/passwords;
        }

        location = /403 {
            snorky_websocket;
            deny all;
        }

        location = /405 {
            return 405;
        }

        location = /410 {
            return 410;
        }

        location = /500 {
            return 500;
        }

        location = /503 {
            return 503;
        }

        location = /429 {
            return 429;
        }
    }
}

EOC

$t->run();

run_script($t, 'refused.mjs', CASES);

# a WebSocket, and the plain request that asks why

my %times;
$times{$_}++ for split /\n/, $t->read_file('access.log');

is(join(' ', map { "$_ " . ($times{"/$_"} // 0) } qw/ 401 403 404 405 410 /),
    '401 4 403 4 404 4 405 4 410 4',
    'where it was refused, it asked twice, and twice again when it was told');
