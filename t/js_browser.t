#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client in a headless Chromium: each of its files in each place
# where it can be loaded, and what becomes of it when nginx is reloaded, a
# worker is killed, a link is cut or dead, the device is offline, a page was
# hidden, the server refuses it, or WebSockets get nowhere.  t/browser/js.js
# and t/browser/js_link.js have the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Demo qw/ browse slurp /;


use constant { CASES => 32, LINK_CASES => 25 };

my $root = "$FindBin::Bin/..";
my $modules = "$root/node_modules";

plan(skip_all => 'no playwright-core or sockjs-client here: see "npm ci"')
    if grep { !-d "$modules/$_" } qw/ playwright-core sockjs-client /;
plan(skip_all => 'no client here: see "make client"')
    unless -f "$root/build/js/snorky.js";

# nginx writes an alert when a worker is killed: the others are looked for

my $t = Test::Nginx->new()->has(qw/ http http_ssl rewrite /)
    ->has_daemon('openssl')->has_daemon('node')->has_daemon('chromium')
    ->plan(CASES + LINK_CASES + 3)->todo_alerts();

mkdir $t->testdir() . "/www$_" or die "cannot make www$_: $!\n"
    for '', '/client', '/src';

publish('client', "$root/build/js/snorky.js", "$root/build/js/snorky.mjs",
    "$modules/sockjs-client/dist/sockjs.min.js");
publish('src', glob "$root/js/src/*.js");
publish('.', glob "$FindBin::Bin/browser/js/*.js");

$t->write_file('www/index.html', <<'EOC');
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>A page with a client</title>
<link rel="icon" href="data:,">
</html>
EOC

make_certificate($t, 'localhost');

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m;
    snorky_drain 100ms;
    snorky_send_buffer 16m;

    snorky_service echo echo;
    snorky_service pubsub pubsub;
    snorky_service messaging messaging;
    snorky_service chat chat;
    snorky_service cursors cursors;
    snorky_service datasync datasync;
    snorky_service upstream app pass=/app commands=nothing;

    snorky_dealer datasync ships broadcast model=ship;

    snorky_registry private {
        snorky_service pubsub_backend pubsub_backend frontend=pubsub;
        snorky_service datasync_backend datasync_backend frontend=datasync;
        snorky_service upstream_backend app_backend frontend=app;
    }

    # a page's link may have a proxy on its way
    snorky_origins same http://127.0.0.1:%%PORT_8080%%;

    types {
        text/html        html;
        text/javascript  js mjs;
    }

    server {
        listen       127.0.0.1:8080 reuseport;
        listen       127.0.0.1:8443 ssl reuseport;
        server_name  localhost;

        ssl_certificate      %%TESTDIR%%/localhost.crt;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;

        root %%TESTDIR%%/www;

        location = /ws {
            snorky_websocket;
            snorky_identity $arg_user;

            add_header X-Worker $snorky_worker always;
        }

        location /sockjs {
            snorky_sockjs;
            snorky_sockjs_url /client/sockjs.min.js;
            snorky_identity $arg_user;
        }

        # a proxy that knows no WebSocket
        location = /blocked {
            if ($http_upgrade) {
                return 404;
            }

            snorky_websocket;
        }

        location ~ ^/refused/(?<code>401|403|404|410)$ {
            access_log %%TESTDIR%%/refused.log;

            if ($code = 401) { return 401; }
            if ($code = 403) { return 403; }
            if ($code = 410) { return 410; }
            return 404;
        }

        location = /busy {
            access_log %%TESTDIR%%/busy.log;
            return 503;
        }

        location = /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location = /app {
            internal;
            return 204;
        }

        location = /status {
            snorky_status;
        }

        location = /secure {
            return 200 %%PORT_8443%%;
        }
    }
}

EOC

$t->run();

browse($t, 'js.js', CASES);
browse($t, 'js_link.js', LINK_CASES);

is(other_alerts($t, qr/exited on signal 9$|zone "snorky.*was locked by \d+$/),
    '', 'no alerts but of the worker that was killed');


# copied to where a worker that is "nobody" can read them

sub publish {
    my ($where, @files) = @_;

    for my $file (@files) {
        my ($name) = $file =~ m{([^/]+)$};
        $t->write_file("www/$where/$name", slurp($file));
    }

    return;
}
