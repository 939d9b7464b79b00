#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client in Node over npm's sockjs-client: as the socket of the
# original's constructor, by choice, and where a WebSocket gets no connection.
# t/clients/js/sockjs.mjs has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Script;


use constant CASES => 18;

my $t = script_test(CASES + 1, qw/ rewrite /)->todo_alerts();

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m;
    snorky_drain 200ms;
    snorky_sockjs_disconnect_delay 1s;

    snorky_service echo echo;
    snorky_service pubsub pubsub;
    snorky_service messaging messaging;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location = /ws {
            snorky_websocket;
        }

        location /sockjs {
            snorky_sockjs;
        }

        # no WebSocket of either kind
        location /http {
            snorky_sockjs;
            snorky_sockjs_websocket off;
        }

        location /closes {
            snorky_sockjs_close;
        }

        # as a proxy in between that knows no upgrades
        location = /cut {
            return 400;
        }

        location = /none {
            return 404;
        }

        location = /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

run_script($t, 'sockjs.mjs', CASES);

kill 'TERM', $t->master();    # no session is waited for
$t->stop();
is(other_alerts($t, qr/exited on signal 9$/), '', 'no other alerts');
