#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# upstream: calls that the application answers.  What it is asked, what comes
# of its answers, and which client hears them; with one worker and with
# several, with lean connections and with others.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;


my $t = Test::Nginx->new()
    ->has(qw/ http map proxy realip rewrite upstream_keepalive /)->plan(1);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes %%WORKERS%%;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  plain  "$request_method $uri $status";
    access_log  %%TESTDIR%%/access.log  plain;

    snorky_zone 4m;
    snorky_drain 10ms;
    snorky_lean %%LEAN%%;

    snorky_service upstream app pass=/app;

    add_header X-Worker $snorky_worker always;
    snorky_identity $arg_user;

    upstream app {
        server 127.0.0.1:%%PORT_8090%%;
        keepalive 4;
    }

    proxy_http_version 1.1;
    proxy_set_header Connection "";

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 reuseport;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /app {
            internal;
            proxy_pass http://app;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/app' => { rpc => 1 },
});

$conf =~ s/%%WORKERS%%/1/;
$conf =~ s/%%LEAN%%/on/;
$t->write_file_expand('nginx.conf', $conf);
$t->run();

my $c = Snorky->connect('/ws?user=anna');

is($c->rpc('app', 'add', { a => 1, b => 2 })->{data}, 3,
    'the application answers a call');
$c->finish();

$t->stop();
