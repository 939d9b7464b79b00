#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client in Node while nginx is reloaded, stopped and started,
# its workers are killed, and links are cut: it has again what it held.
# t/clients/js/resume.mjs has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Script;


use constant CASES => 20;

my $t = script_test(CASES + 1, qw/ rewrite /)->todo_alerts();

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m;
    snorky_drain 200ms;

    snorky_service echo echo;
    snorky_service pubsub pubsub;
    snorky_service messaging messaging;
    snorky_service chat chat;
    snorky_service cursors cursors;
    snorky_service datasync datasync;

    snorky_dealer datasync ships broadcast model=ship;

    # for some clients, where the configuration says so
    %%POLICY%%

    snorky_registry private {
        snorky_service pubsub_backend pubsub_backend frontend=pubsub;
        snorky_service datasync_backend datasync_backend frontend=datasync;
    }

    add_header X-Worker $snorky_worker always;

    server {
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

        location = /no {
            internal;
            return 403;
        }
    }
}

EOC

for my $policy (['strict', 'snorky_authorize pubsub subscribe /no;'],
                ['usual', ''])
{
    my $text = at_level($t, 'info', $conf);
    $text =~ s/%%POLICY%%/$policy->[1]/;

    $t->write_file_expand("nginx.conf.$policy->[0]", $text);
}

$t->write_file('nginx.conf', $t->read_file('nginx.conf.usual'));
$t->run();

run_script($t, 'resume.mjs', CASES);

$t->stop();
is(other_alerts($t, qr/exited on signal 9$/), '', 'no other alerts');
