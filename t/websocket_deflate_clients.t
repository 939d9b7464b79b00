#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# permessage-deflate with other people's implementations: Node's "ws",
# Python's "websockets", and a headless Chromium, whose cases are in
# t/browser/deflate.js.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Client;
use Snorky::Demo qw/ browse /;


use constant { EACH => 11, BROWSER => 9 };

my $t = Test::Nginx->new()->has(qw/ http /)->plan(4 * EACH + BROWSER + 1);

$t->write_file('index.html', <<'EOC');
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Compression</title>
<link rel="icon" href="data:,">
</html>
EOC

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 2m;
    snorky_service pubsub messaging;

    snorky_deflate on min_size=1;
    snorky_max_message_size 16k;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        types { text/html html; }

        root %%TESTDIR%%;

        location /shared {
            snorky_websocket;
        }

        location /own {
            snorky_websocket;
            snorky_deflate on window_bits=11 context_takeover min_size=1;
        }

        location /echo {
            snorky_websocket_echo;
            snorky_max_message_size 1m;
        }

        location /own_echo {
            snorky_websocket_echo;
            snorky_deflate on context_takeover min_size=1;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my $port = port(8080);
my $long = join ' ', map { "w\x{f6}rd-$_" } 1 .. 900;

my %program = (
    'ws of Node'           => Snorky::Client::node(),
    'websockets of Python' => Snorky::Client::python(),
);

for my $name (sort keys %program) {
    for my $path ('/shared', '/own') {
        SKIP: {
            skip "no $name here", EACH unless $program{$name};
            converse("$name, $path", $path, @{ $program{$name} });
        }
    }
}

SKIP: {
    skip 'no Chromium that could be driven here', BROWSER + 1
        unless -d "$FindBin::Bin/../node_modules/playwright-core"
            && $program{'ws of Node'} && Snorky::Demo::browser();

    browse($t, 'deflate.js', BROWSER);
}


sub converse {
    my ($name, $path, @program) = @_;

    my $before = counters();
    my $c = Snorky::Client->start(@program, "ws://127.0.0.1:$port$path");

    my $headers = ($c->expect('headers') || [{}])->[0];
    my $agreed = $headers->{'sec-websocket-extensions'} // '';

    like($agreed, $path eq '/own'
        ? qr/^permessage-deflate; server_max_window_bits=11; client_max_\w+=11/
        : qr/^permessage-deflate; server_no_\w+; client_no_\w+/,
        "$name: agrees on something");

    ok($c->expect('open'), 'takes the answer');

    $c->call(1, 'subscribe', { channel => 'lobby' });
    is($c->message()->{message}{callId}, 1, 'joins a channel');

    for my $n (1 .. 3) {
        $c->call($n, 'publish', { channel => 'lobby', message => "$n $long" });
        is($c->message()->{message}{message}, "$n $long",
            "hears its long message $n");
        $c->message();
    }

    $c->order('parts', [
        '{"service":"messaging","message":{"command":"publish",',
        '"params":{"channel":"lobby","message":"', $long, '"},"callId":"c"}}',
    ]);
    is($c->message()->{message}{message}, $long, 'sends it in fragments');
    $c->message();

    $c->order('ping', 'are you there');
    is_deeply($c->expect('pong'), ['are you there'], 'gets its pong');

    my $after = counters();
    cmp_ok($after->{bytes_saved} - $before->{bytes_saved}, '>',
        3 * length $long, 'most of it was compressed');

    $c->order('send', 'x' x 20_000);
    is(($c->expect('close') || [])->[0], 1009,
        'is told that a message was too large');
    $c->finish();

    $c = Snorky::Client->start(@program, "ws://127.0.0.1:$port$path");
    $c->expect('open');
    $c->order('close', 1000, 'bye');
    is(($c->expect('close') || [])->[0], 1000, 'closes and is closed');
    $c->finish();

    return;
}
