#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# One client's burst to many receivers does not hold up the others of its
# worker, nor those of another one, and nothing of it is lost.
#
# The worker stands still while the burst, and then another client's call, are
# put into their sockets, so that it finds both when it goes on.  What it has
# delivered when it comes to the call tells whether it did the whole burst
# before.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Stop;


use constant {
    RECEIVERS => 300,
    BURST     => 500,
    SIOCOUTQ  => 0x5411,
};


my $t = Test::Nginx->new()->has(qw/ http /)->plan(33);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
    worker_connections 1024;
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 16m log=8m;
    snorky_worker_timeout 120s;
    snorky_send_buffer 16m;
    snorky_drain 10ms;

    snorky_service pubsub m;
    snorky_service echo echo;

    snorky_registry private {
        snorky_service pubsub_backend b frontend=m;
    }

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080 backlog=1024;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /window {
            snorky_websocket;
            snorky_batch_window 50ms;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            client_body_buffer_size 128k;
            access_log %%TESTDIR%%/backend.log;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();
wait_until { @{ status_json()->{workers} } == 2 };

my ($here, $there) = @{ status_json()->{workers} };
my $all = RECEIVERS * BURST;

# all receivers are of one worker; so are the clients that call meanwhile

my @receivers = map { connect_to_worker($here->{slot}, $_ % 3 ? '/ws'
    : '/window') } 1 .. RECEIVERS;

$_->call('m', 'subscribe', { channel => 'c' }) for @receivers;
$_->reply() for @receivers;

my $local = connect_to_worker($here->{slot});
my $remote = connect_to_worker($there->{slot});
my $caller = connect_to_worker($here->{slot});
my $status = status_client($here->{slot});


# --- a burst from a client of the same worker -------------------------------

for my $end ('', frame(PING, 'end')) {
    my $what = $end ? 'with a ping behind it' : 'of calls only';
    my $before = delivered($status);

    stop_process($here->{pid});

    burst($local, $end);
    $caller->call('m', 'publish', { channel => 'c', message => 'call' },
        callId => 'call');
    ask($status);

    continue_process($here->{pid});

    my $between = answer($status) - $before;

    cmp_ok($between, '<', $all, "others are served before a burst $what is "
        . "over ($between deliveries)");
    is($caller->reply('call')->{type}, 'response', 'and can publish');

    is(answers($local), join(' ', 1 .. BURST), 'it is answered, in order');

    if ($end) {
        wait_until { $local->message_in(0.05); $local->{controls} };
        is($local->{controls}[0]{data}, 'end', 'as is what stands behind it');
    }

    my ($heard, $differ) = heard(BURST + 1);

    is($differ, 0, 'all receivers hear the same');
    is(join(' ', grep { $_ ne '"call"' } @$heard), join(' ', 1 .. BURST),
        'all of it, in order');

    my ($at) = grep { $heard->[$_] eq '"call"' } 0 .. $#$heard;

    cmp_ok($at // BURST, '<', BURST, 'and the other publication amidst');
}


# --- a burst that the other worker has published -----------------------------

my $before = delivered($status);

stop_process($here->{pid});

burst($remote, '');
is(answers($remote), join(' ', 1 .. BURST),
    'a burst at another worker is answered');

$caller->text('{"service":"echo","message":"hello"}');
ask($status);

continue_process($here->{pid});

my $between = answer($status) - $before;

cmp_ok($between, '<', $all,
    "others are served before it is delivered ($between deliveries)");
is($caller->text_in(), '{"service":"echo","message":"hello"}',
    'and so are calls');

my ($heard, $differ) = heard(BURST);

is($differ, 0, 'all receivers hear the same');
is(join(' ', @$heard), join(' ', 1 .. BURST), 'all of it, in order');


# --- a burst that is a backend's batch --------------------------------------

my $backend = status_client($here->{slot});
my $batch = '[' . join(',', map {
    '{"service":"b","message":{"command":"publish","params":'
        . qq({"channel":"c","message":$_},"callId":$_}})
} 1 .. BURST) . ']';

for my $leaves (0, 1) {
    $before = delivered($status);

    stop_process($here->{pid});

    push_whole($backend, "POST /backend HTTP/1.1\r\nHost: localhost\r\n"
        . "X-Backend-Key: swordfish\r\nContent-Length: " . length($batch)
        . "\r\n\r\n$batch");
    $caller->call('m', 'publish', { channel => 'c', message => 'call' },
        callId => 'call');
    ask($status);

    continue_process($here->{pid});

    if ($leaves) {
        answer($status);
        $backend->reset();

        # how much of it is done is open, and known when its request has ended

        wait_until { 2 == (() = $t->read_file('backend.log') =~ /^/gm) };

        is($caller->reply('call')->{type}, 'response',
            'others are served if a backend leaves amidst its batch');
        last;
    }

    $between = answer($status) - $before;

    cmp_ok($between, '<', $all, "others are served before a backend's batch "
        . "is done ($between deliveries)");
    is($caller->reply('call')->{type}, 'response', 'and can publish');

    my $r = $backend->read_response() || { status => 'none' };

    is($r->{status}, 200, 'the batch is answered');
    is(join(' ', map { $_->{message}{callId} } @{ $r->{json} || [] }),
        join(' ', 1 .. BURST), 'every call of it, in order');

    ($heard, $differ) = heard(BURST + 1);

    is($differ, 0, 'all receivers hear the same');
    is(join(' ', grep { $_ ne '"call"' } @$heard), join(' ', 1 .. BURST),
        'all of it, in order');

    my ($at) = grep { $heard->[$_] eq '"call"' } 0 .. $#$heard;

    cmp_ok($at // BURST, '<', BURST, 'and the other publication amidst');
}

# a mark at the end, up to which all are read

$local->rpc('m', 'publish', { channel => 'c', message => 'mark' });

is(marked(), '', 'what was done of it comes to all, once and in order');


# --- a burst and the end ----------------------------------------------------

stop_process($here->{pid});
burst($local, frame(CLOSE, close_payload(1000)));
$local->{close_sent} = 1;
continue_process($here->{pid});

is(answers($local), join(' ', 1 .. BURST),
    'a burst with a close frame behind it is answered');
is($local->close_in(), 1000, 'and so is the close frame');

($heard, $differ) = heard(BURST);

is($differ, 0, 'all receivers hear the same');
is(join(' ', @$heard), join(' ', 1 .. BURST), 'all of it, in order');

my $n = counters();
is("$n->{closed_slow} $n->{drops}", '0 0', 'nobody was too slow');
is(scalar(grep { !$_->rpc('m', 'unsubscribe', { channel => 'c' }) }
    @receivers), 0, 'all receivers are still there');


# --- helpers ----------------------------------------------------------------

# Publications in one piece, which is with the other side's kernel when this
# returns, though nobody reads it.

sub burst {
    my ($client, $end) = @_;

    return push_whole($client, join('', map {
        frame(TEXT, '{"service":"m","message":{"command":"publish",'
            . qq("params":{"channel":"c","message":$_},"callId":$_}}))
    } 1 .. BURST) . $end);
}


sub push_whole {
    my ($client, $data) = @_;

    $client->send($data);

    wait_until {
        my $left = pack 'i', 0;
        ioctl $client->{sock}, SIOCOUTQ, $left or die "no SIOCOUTQ: $!\n";
        !unpack 'i', $left;
    } or die "the burst has no room in the socket\n";

    return;
}


sub answers {
    my ($client) = @_;

    my @ids;

    while (@ids < BURST) {
        my $r = $client->reply() // last;
        push @ids, $r->{type} eq 'response' ? $r->{callId} : json($r);
    }

    return join ' ', @ids;
}


# What the first receiver hears, and how many hear something else: all get the
# same bytes.

sub heard {
    my ($count) = @_;

    my (@messages, $bytes, $differ);

    for my $c (@receivers) {

        if (!defined $bytes) {
            my @texts;

            for (1 .. $count) {
                my $text = $c->text_in() // last;
                push @texts, $text;
            }

            @messages = map { /"message":([^{}]*)\}\}$/ } @texts;
            $bytes = join '', map { frame(TEXT, $_, mask => undef) } @texts;
            $differ = 0;
            next;
        }

        my $got = $c->bytes(length $bytes, $c->deadline());

        $differ++ if ($got // '') ne $bytes;
    }

    return \@messages, $differ;
}


# '', or what is wrong with what all hear up to the mark

sub marked {
    my (%streams, @numbers);

    for my $c (@receivers) {
        my @texts;

        for (1 .. BURST + 2) {
            my $text = $c->text_in() // last;
            push @texts, $text =~ /"message":([^{}]*)\}\}$/;
            last if $texts[-1] eq '"mark"';
        }

        $streams{"@texts"} = 1;
    }

    return 'all differ' if keys %streams != 1;

    @numbers = split ' ', (keys %streams)[0];

    return 'no mark' if pop @numbers ne '"mark"';

    @numbers = grep { $_ ne '"call"' } @numbers;

    return "@numbers" eq join(' ', 1 .. @numbers) ? '' : "@numbers";
}


# a connection to that worker for requests of its status

sub status_client {
    my ($slot) = @_;

    for (1 .. 200) {
        my $h = Snorky->dial();
        my $r = $h->request('GET', '/status');

        return $h if $r && $r->{headers}{'x-worker'} eq $slot;
    }

    die "no connection to worker $slot\n";
}


sub ask {
    my ($h) = @_;

    return $h->send("GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
}


# the deliveries of the worker with the receivers

sub answer {
    my ($h) = @_;

    my $r = $h->read_response() or die "no status: $h->{why}\n";
    my ($worker) = grep { $_->{pid} == $here->{pid} } @{ $r->{json}{workers} };

    return $worker->{deliveries};
}


sub delivered {
    my ($h) = @_;

    ask($h);

    return answer($h);
}
