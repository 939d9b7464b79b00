#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Other people's WebSocket libraries, Node's "ws" and Python's "websockets",
# as a new user would take them; and curl, which posts to the backend.  The
# clients themselves are t/clients/node.js and t/clients/python.py.

use strict;
use warnings;

use File::Spec ();
use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


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
    'ws of Node'           => node(),
    'websockets of Python' => python(),
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

    my $c = Client->start(@program, $url, 'snorky');

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

    $c = Client->start(@program, $url);
    $c->expect('headers');
    is(($c->expect('open') || [])->[0], '',
        "$name needs no subprotocol");
    $c->order('send', 'x' x 9000);
    is(($c->expect('close') || [])->[0], 1009,
        "$name is told that its message was too large");
    $c->finish();

    $c = Client->start(@program, $url);
    $c->expect('open');
    $t->reload();
    like(join(' ', @{ $c->expect('close') || [] }), qr/^1012 .*restart$/,
        "$name is asked to come back when nginx is reloaded");
    $c->finish();

    $c = Client->start(@program, $url);
    ok($c->expect('open'), "$name comes back");
    $c->finish();

    return;
}


# one of each, on different workers

sub together {
    my $node = Client->start(@{ $program{'ws of Node'} }, $url);
    my $worker = $node->expect('headers')->[0]{'x-worker'};
    my $python;

    for (1 .. 60) {
        $python = Client->start(@{ $program{'websockets of Python'} }, $url);
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


# --- what is on this machine ------------------------------------------------

sub node {
    return undef unless -d "$FindBin::Bin/../node_modules/ws"
        && grep { -x "$_/node" } File::Spec->path();

    return ['node', "$FindBin::Bin/clients/node.js"];
}


# Debian's library belongs to Debian's Python, which need not be the first

sub python {
    for my $python ('/usr/bin/python3', 'python3') {
        return [$python, "$FindBin::Bin/clients/python.py"]
            if system("$python -c 'import websockets' 2>/dev/null") == 0;
    }

    return undef;
}


# --- a client's process -----------------------------------------------------

package Client;

use IO::Select ();
use IPC::Open2 qw/ open2 /;
use JSON::PP ();
use Time::HiRes qw/ time /;


sub start {
    my ($class, @command) = @_;

    my $pid = open2(my $out, my $in, @command);

    return bless {
        pid => $pid, in => $in, out => $out, buffer => '',
        json => JSON::PP->new()->utf8()->canonical(),
    }, $class;
}


sub order {
    my ($self, @order) = @_;

    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{in}, $self->{json}->encode(\@order) . "\n";

    return;
}


# what happens next, of this kind; undef when it does not happen

sub expect {
    my ($self, $kind) = @_;

    my $deadline = time() + $Snorky::TIMEOUT;
    my $select = IO::Select->new($self->{out});

    for (;;) {
        while ($self->{buffer} =~ s/^(.*)\n//) {
            my ($what, @rest) = @{ $self->{json}->decode($1) };

            return \@rest if $what eq $kind;
            main::diag("not expected: $1") if $what eq 'error';
        }

        my $left = $deadline - time();

        return undef if $left < 0 || !$select->can_read($left)
            || !sysread $self->{out}, $self->{buffer}, 65536,
                        length $self->{buffer};
    }
}


sub message {
    my ($self) = @_;

    my $text = $self->expect('text') or return undef;

    return JSON::PP->new()->decode($text->[0]);
}


# a param given as \'text' is sent as it is

sub call {
    my ($self, $id, $command, $params) = @_;

    my $text = JSON::PP->new()->canonical();
    my @params = map {
        my $value = $params->{$_};
        $text->allow_nonref()->encode($_) . ':'
            . (ref $value eq 'SCALAR' ? $$value : $text->encode($value))
    } sort keys %$params;

    return $self->order('send', '{"service":"messaging","message":{'
        . "\"command\":\"$command\",\"callId\":$id,\"params\":{"
        . join(',', @params) . '}}}');
}


sub finish {
    my ($self) = @_;

    close $self->{in};
    kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
    close $self->{out};

    return;
}
