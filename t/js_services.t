#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client in Node: all services, on four workers.
# t/clients/js/services.mjs has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Script;


use constant CASES => 30;

my $t = script_test(CASES, qw/ proxy /);

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
    snorky_service cursors cursors max_cursors=4;
    snorky_service datasync datasync;
    snorky_service upstream calculator pass=/application;

    snorky_dealer datasync all_players broadcast model=player;
    snorky_dealer datasync team_players simple model=player key=team;
    snorky_dealer datasync ships broadcast model=ship;

    snorky_registry private {
        snorky_service pubsub_backend pubsub_backend frontend=pubsub;
        snorky_service datasync_backend datasync_backend frontend=datasync;
        snorky_service upstream_backend calculator_backend frontend=calculator;
    }

    add_header X-Worker $snorky_worker always;

    server {
        # clients are served by any of the workers
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location = /ws {
            snorky_websocket;
            snorky_identity $arg_user;
        }

        location = /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location = /status {
            snorky_status;
        }

        # the script itself
        location = /application {
            internal;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}

EOC

$t->run();

run_script($t, 'services.mjs', CASES, application => port(8081));
