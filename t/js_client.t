#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client in Node, over npm's "ws": how it is made, and what it
# says before it is connected.  t/clients/js/client.mjs has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Script;


use constant CASES => 27;

my $t = script_test(CASES, qw/ rewrite /);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m;
    snorky_drain 100ms;

    snorky_service echo echo;
    snorky_service pubsub pubsub;
    snorky_service messaging messaging;
    snorky_service chat chat;
    snorky_service datasync datasync;
    snorky_service upstream calculator pass=/application;

    add_header X-Worker $snorky_worker always;

    server {
        # clients are served by any of the workers
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location = /ws {
            snorky_websocket;
            snorky_websocket_protocol one two;
            snorky_identity $arg_user;
        }

        location = /status {
            snorky_status;
        }

        location = /application {
            internal;
            default_type application/json;

            if ($snorky_command = fail) {
                return 409;
            }

            return 200 '{"asked":"$snorky_command"}';
        }
    }
}

EOC

$t->run();

run_script($t, 'client.mjs', CASES);
