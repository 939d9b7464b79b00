#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client in Node on links that die without a word: it probes in
# silence, gives up what does not answer, and leaves nothing behind.
# t/clients/js/link.mjs has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Script;


use constant CASES => 18;

my $t = script_test(CASES);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 2m;

    snorky_service echo echo;
    snorky_service pubsub pubsub;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location = /ws {
            snorky_websocket;
        }

        location = /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

run_script($t, 'link.mjs', CASES);
