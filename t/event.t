#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Events: what the application is told of clients and of their channels, as
# soon as it happens, without being asked.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;


my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 1m;
    snorky_service pubsub messaging;
    snorky_service chat chat;
    snorky_service cursors cursors;
    snorky_service messaging names;
    snorky_event /events connected disconnected subscribed unsubscribed
                         occupied vacated;
    snorky_identity $http_x_user;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /status {
            snorky_status;
        }

        location /events {
            internal;
            proxy_pass http://127.0.0.1:8090;
        }
    }
}

EOC

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/events' => { status => 204 },
});

$t->run();

my $c = Snorky->connect('/ws', headers => ['X-User: joe']);
$c->rpc('messaging', 'subscribe', { channel => { b => 1.50, a => "x" } });
$c->rpc('names', 'register', { name => 'joe' });
$c->rpc('chat', 'join', { channel => 'c' });
$c->rpc('messaging', 'unsubscribe', { channel => { b => 1.50, a => "x" } });
$c->finish();
sleep 1;
diag join "\n", map { $_->{body}, json($_->{headers}) } $app->requests();
diag json(counters());
ok(1);
done_testing();
