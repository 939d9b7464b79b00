#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The way out of a worker that is told to quit: its sessions get their close
# frame at once, and the time to answer it is what was configured.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(8);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_drain 10ms;
    snorky_service echo echo;

    lingering_close off;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /short {
            snorky_websocket;
            snorky_close_timeout 100ms;
        }

        location /pinged {
            snorky_websocket;
            snorky_ping_interval 2s;
            snorky_ping_timeout 10s;
            snorky_close_timeout 500ms;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my ($c, $start, @clients);


# nothing else happens in the worker that would wake it

for my $n (1, 2, 50) {
    @clients = map { Snorky->connect('/short') } 1 .. $n;
    $_->{mute} = 1 for @clients;

    $t->reload();

    is(scalar(grep { ($_->close_in() // 0) == 1012 } @clients), $n,
        "$n idle clients that have little time get their close frame");
}

is(scalar(grep { $_->gone() } @clients), 50,
    'and when the time is over, the connection ends');


# a pong is not what is waited for

for my $answers (0, 1) {
    $c = Snorky->connect('/pinged');
    $c->{mute} = 1;
    $c->frame_in();

    $t->reload();

    is($c->close_in(), 1012, 'a client that has been pinged is closed');

    $start = time();
    $c->pong('') if $answers;
    $c->gone();

    cmp_ok(time() - $start, '<', 1.5, 'and waited for as long as the others'
        . ($answers ? ', though its pong comes' : ''));
}
