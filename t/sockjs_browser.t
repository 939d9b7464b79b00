#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# sockjs-client in a headless Chromium, with each transport that it has there:
# t/browser/sockjs.js has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Demo qw/ browse slurp /;


use constant CASES => 38;

my $modules = "$FindBin::Bin/../node_modules";

plan(skip_all => 'no playwright-core or sockjs-client here: see "npm ci"')
    if grep { !-d "$modules/$_" } qw/ playwright-core sockjs-client /;

my $t = Test::Nginx->new()->has(qw/ http /)
    ->has_daemon('node')->has_daemon('chromium')->plan(CASES + 1);

$t->write_file('sockjs.html', slurp("$FindBin::Bin/browser/sockjs.html"));
$t->write_file('sockjs.min.js',
    slurp("$modules/sockjs-client/dist/sockjs.min.js"));

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m;
    snorky_sockjs_url /sockjs.min.js;

    # the page on "localhost" is of another origin
    snorky_origins same http://localhost:%%PORT_8080%%;

    types {
        text/html        html;
        text/javascript  js;
    }

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        root %%TESTDIR%%;

        location /echo {
            snorky_sockjs_echo;
            snorky_sockjs_response_limit 32k;
        }

        location /disabled_websocket_echo {
            snorky_sockjs_echo;
            snorky_sockjs_websocket off;
        }

        location /close {
            snorky_sockjs_close;
        }
    }
}

EOC

$t->run();

browse($t, 'sockjs.js', CASES);
