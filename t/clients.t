#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Other people's WebSocket libraries, Node's "ws" and Python's "websockets",
# as a new user would take them; and curl, which posts to the backend.  The
# clients themselves are t/clients/node.js and t/clients/python.py.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Client;


use constant { EACH => 17, TOGETHER => 4 };

my $t = Test::Nginx->new()->has(qw/ http /)->has_daemon('curl')
    ->plan(2 * EACH + TOGETHER);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 2m;
    snorky_drain 1s;
    snorky_service pubsub messaging;

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend frontend=messaging;
    }

    server {
        # connections go to either worker
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        add_header X-Worker $snorky_worker always;

        location /ws {
            snorky_websocket;
            snorky_websocket_protocol snorky;
            snorky_max_message_size 8k;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }
    }
}

EOC

$t->run();

my $port = port(8080);
my $url = "ws://127.0.0.1:$port/ws";

my %program = (
    'ws of Node'           => Snorky::Client::node(),
    'websockets of Python' => Snorky::Client::python(),
);

for my $name (sort keys %program) {
    SKIP: {
        skip "no $name here", EACH unless $program{$name};
        alone($name, @{ $program{$name} });
    }
}

SKIP: {
    skip 'not both of them here', TOGETHER
        if grep { !defined } values %program;
    together();
}


# --- the cases --------------------------------------------------------------

sub alone {
    my ($name, @program) = @_;

    # opening

    my $c = Snorky::Client->start(@program, $url, 'snorky');

    my $headers = $c->expect('headers');
    like($headers && $headers->[0]{'x-worker'}, qr/^\d+$/, "$name connects");

    my ($protocol, $extensions) = @{ $c->expect('open') || [] };
    is($protocol, 'snorky', "$name agrees on a subprotocol");
    is($extensions, '', "$name does without an extension");

    # joining, and hearing what curl posts, from whichever worker

    my $own = $headers->[0]{'x-worker'};

    $c->call(1, 'subscribe', { channel => 'lobby' });
    is_deeply($c->message(), response(1), "$name joins a channel");

    my (@posted, %by);

    until (keys %by == 2 || @posted == 200) {
        my $text = 'posted ' . @posted;
        my ($worker, $answer) = curl($text);

        push @posted, $text;
        $by{$worker}++ if $answer eq '{"service":"messaging_backend",'
            . '"message":{"type":"response","callId":1,"data":null}}';
    }

    ok((grep { $_ ne $own } keys %by), 'curl posts to the other worker');
    ok($by{$own}, 'and to the same one');

    is_deeply([ map { $c->message() } @posted ],
        [ map { delivery('lobby', $_) } @posted ],
        "$name hears all of it, once and in order");

    # publishing

    $c->call(2, 'publish',
        { channel => 'lobby', message => [1, { a => 'b' }] });
    is_deeply($c->message(), delivery('lobby', [1, { a => 'b' }]),
        "$name hears itself");
    is_deeply($c->message(), response(2), 'and then its answer');

    $c->order('parts', [
        '{"service":"messaging","message":{"command":"publish",',
        '"params":{"channel":"lobby","message":"',
        "gr\x{fc}\x{df}e \x{1f30a} ", "\x{6d77}", '"},"callId":"c"}}',
    ]);
    is_deeply($c->message(),
        delivery('lobby', "gr\x{fc}\x{df}e \x{1f30a} \x{6d77}"),
        "$name sends a message in fragments");
    is_deeply($c->message(), response('c'), 'which is answered');

    # control frames

    $c->order('ping', 'are you there');
    is_deeply($c->expect('pong'), ['are you there'], "$name gets its pong");

    $c->order('close', 1000, 'bye');
    is(($c->expect('close') || [])->[0], 1000, "$name closes and is closed");
    $c->finish();

    # being closed

    $c = Snorky::Client->start(@program, $url);
    $c->expect('headers');
    is(($c->expect('open') || [])->[0], '',
        "$name needs no subprotocol");
    $c->order('send', 'x' x 9000);
    is(($c->expect('close') || [])->[0], 1009,
        "$name is told that its message was too large");
    $c->finish();

    $c = Snorky::Client->start(@program, $url);
    $c->expect('open');
    $t->reload();
    like(join(' ', @{ $c->expect('close') || [] }), qr/^1012 .*restart$/,
        "$name is asked to come back when nginx is reloaded");
    $c->finish();

    $c = Snorky::Client->start(@program, $url);
    ok($c->expect('open'), "$name comes back");
    $c->finish();

    return;
}


# one of each, on different workers

sub together {
    my $node = Snorky::Client->start(@{ $program{'ws of Node'} }, $url);
    my $worker = $node->expect('headers')->[0]{'x-worker'};
    my $python;

    for (1 .. 60) {
        $python = Snorky::Client->start(
            @{ $program{'websockets of Python'} }, $url);
        last if $python->expect('headers')->[0]{'x-worker'} ne $worker;
        $python->finish();
    }

    for my $c ($node, $python) {
        $c->call(1, 'subscribe', { channel => { room => 1, floor => 2 } });
        is_deeply($c->message(), response(1), 'a client joins a room');
    }

    # the same channel by value, whatever the order of its keys

    my $channel = \'{"floor":2.0,"room":1}';

    $node->call(2, 'publish', { channel => $channel, message => 'from Node' });
    is($python->message()->{message}{message}, 'from Node',
        'Python hears Node from the other worker');
    $node->message() for 1 .. 2;

    $python->call(2, 'publish',
        { channel => $channel, message => 'from Python' });
    is($node->message()->{message}{message}, 'from Python',
        'Node hears Python from the other worker');

    $_->finish() for $node, $python;

    return;
}


# --- what is sent and what comes --------------------------------------------

sub response {
    my ($id) = @_;

    return {
        service => 'messaging',
        message => { type => 'response', callId => $id, data => undef },
    };
}


sub delivery {
    my ($channel, $message) = @_;

    return {
        service => 'messaging',
        message => {
            type => 'message', channel => $channel, message => $message,
        },
    };
}


# the worker that took it, and its answer

sub curl {
    my ($text) = @_;

    my $body = '{"service":"messaging_backend","message":{"command":"publish",'
        . '"params":{"channel":"lobby","message":"' . $text . '"},"callId":1}}';

    my $out = `curl -s -i -m 10 -H 'X-Backend-Key: swordfish' -d '$body' \\
        http://127.0.0.1:$port/backend 2>&1`;

    my ($worker) = $out =~ /^X-Worker: (\d+)/mi;
    my ($answer) = $out =~ /\r\n\r\n(.*)/s;

    return ($worker // '?', $answer // $out);
}
