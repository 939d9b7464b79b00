#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client in Node while nginx is reloaded, its workers are killed,
# and links are cut: it comes back after the pause that is right.
# t/clients/js/reconnect.mjs has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Script;


use constant CASES => 11;

my $t = script_test(CASES + 1)->todo_alerts();

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;
%%SHUTDOWN%%

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m;
    snorky_drain 400ms;

    snorky_service pubsub pubsub;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location = /ws {
            snorky_websocket;
            snorky_identity $arg_user;
        }

        location = /status {
            snorky_status;
        }
    }
}

EOC

# hasty workers do not wait for each client's turn

for my $kind (['hasty', 'worker_shutdown_timeout 20ms;'], ['usual', '']) {
    my $text = at_level($t, 'info', $conf);
    $text =~ s/%%SHUTDOWN%%/$kind->[1]/;

    $t->write_file_expand("nginx.conf.$kind->[0]", $text);
}

$t->write_file('nginx.conf', $t->read_file('nginx.conf.usual'));
$t->run();

run_script($t, 'reconnect.mjs', CASES);

$t->stop();
is(other_alerts($t, qr/exited on signal 9$/), '', 'no other alerts');
