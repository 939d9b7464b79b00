#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The page of snorky_status, in a headless Chromium: t/browser/status.js has
# the cases.  It reloads nginx, kills a worker, and starts nginx anew.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Demo qw/ browse slurp /;


my $cases = 51;
my $modules = "$FindBin::Bin/../node_modules";
my $file = "$FindBin::Bin/../src/http/ngx_snorky_status.html";

plan(skip_all => 'no playwright-core or ws here: see "npm ci"')
    if grep { !-d "$modules/$_" } qw/ playwright-core ws /;

# nginx itself writes an alert when a worker is killed: the others are looked
# for below

my $t = Test::Nginx->new()->has(qw/ http /)
    ->has_daemon('node')->has_daemon('chromium')->plan($cases + 8)
    ->todo_alerts();

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 3;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m log=2m;
    snorky_drain 500ms;
    snorky_worker_timeout 3s;

    snorky_service pubsub messaging;

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend frontend=messaging;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /sockjs {
            snorky_sockjs;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            client_max_body_size 2m;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

wait_until { @{ status_json()->{workers} } == 3 };


# what it is made of

my $page = slurp($file);

is(get('/status', headers => [ 'Accept: text/html' ])->{body}, $page,
    'nginx gives the page as it is in the sources');
cmp_ok(length $page, '<', 24 * 1024, 'which is small');
is(join("\n", grep { length > 100 } split /\n/, $page), '',
    'and can be read');
unlike($page, qr/\b(?:innerHTML|outerHTML|insertAdjacent|document\.write)/,
    'what nginx tells becomes text, not markup');
like($page, qr{<noscript>.*\?format=json.*\?format=prometheus.*</noscript>}s,
    'without a script, it tells where the figures are');
unlike($page, qr{(?:https?:)?//(?!www\.w3\.org/)\w},
    'it names no other server');


# the browser starts nginx anew, too

$ENV{TEST_SNORKY_COMMAND} = json([ $t->command() ]);

browse($t, 'status.js', $cases);

# also if it ended while one stood still

kill 'CONT', worker_pids($t) if -e $t->testdir() . '/nginx.pid';

is(other_alerts($t, qr/exited on signal 9/), '', 'no other alerts');
