#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The queue to a socket that takes little at a time: every byte arrives, of
# messages of all sizes, few and many at once, with and without TLS.  What is
# cut off ends with a whole frame.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http http_ssl socket_ssl /)
    ->has_daemon('openssl')->plan(58);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    ssl_certificate      %%TESTDIR%%/localhost.crt;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    snorky_zone 16m log=8m;
    snorky_drain 10ms;
    snorky_close_timeout 10s;
    snorky_max_message_size 1m;
    snorky_service pubsub m;

    server {
        listen       127.0.0.1:8080 sndbuf=8k;
        listen       127.0.0.1:8443 ssl sndbuf=8k;
        server_name  localhost;

        snorky_send_buffer 64m;

        location /ws {
            snorky_websocket;
        }

        location /window {
            snorky_websocket;
            snorky_batch_window 5ms;
        }

        location /lean {
            snorky_websocket;
            snorky_lean on;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /bound {
            snorky_websocket;
            snorky_send_buffer 256k;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

make_certificate($t, 'localhost');
$t->run();

srand 3;

my @sizes = (1, 2, 125, 126, 127, 16383, 16384, 65535, 65536, 200000);
my $bytes = join '', map { chr int rand 256 } 1 .. 4096;
my $noise = $bytes x 50;
my ($c, $want);


# --- an echo, of binary messages --------------------------------------------

for my $ssl (0, 1) {
    my $how = $ssl ? 'with TLS' : 'without TLS';

    for my $size (@sizes) {
        $c = Snorky->connect('/echo', ssl => $ssl, rcvbuf => 8192);
        is(echoed($c, $size, $size, $size), '',
            "messages of $size bytes come as they are, $how");
        $c->finish();
    }

    # the queue grows and shrinks

    $c = Snorky->connect('/echo', ssl => $ssl, rcvbuf => 8192);
    my @wrong;

    for my $count (1 .. 9, 15 .. 18, 31 .. 33, 63 .. 66, 1, 127 .. 130, 2,
        191 .. 193, 200, 1, 3)
    {
        push @wrong, $count if echoed($c, map { $_ % 130 } 1 .. $count);
    }

    is("@wrong", '', "one to two hundred small ones, $how");

    @wrong = ();

    for my $count (1, 65, 130, 7, 200) {
        my @random = map { my $r = rand; $r < 0.9 ? int rand 300
            : $r < 0.98 ? int rand 20000 : int rand 100000 } 1 .. $count;

        push @wrong, $count if echoed($c, @random);
    }

    is("@wrong", '', "and of all sizes, $how");
    is($c->finish(), 1000, 'the client goes on');
}


# --- what one publishes and many hear ---------------------------------------

# from one who reads at once to one who reads a hundred bytes at a time

my @receivers = map {
    my ($uri, $ssl) = @$_;
    my $client = Snorky->connect($uri, ssl => $ssl, rcvbuf => 8192);

    $client->rpc('m', 'subscribe', { channel => 'c' });
    $client;
} [ '/ws', 0 ], [ '/ws', 1 ], [ '/window', 0 ], [ '/window', 1 ],
  [ '/lean', 0 ], [ '/lean', 1 ];

my @step = (65536, 3000, 1000, 65536, 100, 700);
my $publisher = Snorky->connect('/ws');
my $empty = length text_of('');

for my $case ([ 1, 125 ], [ 1, 126 ], [ 1, 65535 ], [ 1, 65536 ], [ 1, 200000 ],
    [ 3, 65536 ], [ 200, 125 ], [ 200, 126 ], [ 65, 1000 ], [ 200, 1000 ],
    [ 64, 3000 ])
{
    my ($count, $size) = @$case;

    my @texts = map {
        text_of(sprintf '%0*d', $size - $empty, $_)
    } 1 .. $count;

    $publisher->send(map {
        my ($message) = /"message":("[^"]*")\}\}$/;
        frame(TEXT, '{"service":"m","message":{"command":"publish","params":'
            . qq({"channel":"c","message":$message}}}))
    } @texts);

    $want = join '', map { frame(TEXT, $_, mask => undef) } @texts;

    my @left = map { length $want } @receivers;
    my $differ = '';

    # in turns, each at its own pace

    for my $i (0 .. $#receivers) {
        my $got = slowly($receivers[$i], length $want, $step[$i]);

        $differ .= "$i " if $got ne $want;
    }

    is($differ, '', "$count of $size bytes come to all");
    $publisher->reply() for @texts;
}

# the queues grow while they are sent

my @grown = map { sprintf '%0*d', 3000 - $empty, $_ } 1 .. 300;

$publisher->rpc('m', 'publish', { channel => 'c', message => $_ }) for @grown;

$want = join '', map { frame(TEXT, text_of($_), mask => undef) } @grown;

is(scalar(grep { slowly($receivers[$_], length $want, $step[$_]) ne $want }
    0 .. $#receivers), 0, 'three hundred, one after the other, come to all');

is(join(' ', map { $_->finish() } @receivers), join(' ', (1000) x @receivers),
    'all receivers go on');


# --- what is cut off --------------------------------------------------------

# the first is under way when the bound is passed

for my $ssl (0, 1) {
    for my $size (200, 50000, 200000) {
        my $before = counters();

        $c = Snorky->connect('/bound', ssl => $ssl, rcvbuf => 8192);
        $c->rpc('m', 'subscribe', { channel => 'c' });

        for (my $i = 1;
            counters()->{closed_slow} == $before->{closed_slow}; $i++)
        {
            my @numbers = map { $i * 100 + $_ } 0 .. ($size < 1000 ? 99
                : 0);

            $publisher->send(map {
                my $message = sprintf '%0*d', $size - $empty, $_;
                frame(TEXT, '{"service":"m","message":{"command":'
                    . '"publish","params":{"channel":"c","message":"'
                    . $message . '"}}}')
            } @numbers);
            $publisher->reply() for @numbers;
            last if $publisher->{eof};
        }

        my ($last, $wrong, $f) = (0, 0);

        while ($f = $c->frame_in()) {
            last if $f->{op} != TEXT;

            my ($number) = $f->{data} =~ /"message":"0*(\d+)"\}\}$/;

            $wrong++ if length $f->{data} != $size
                || $f->{data} ne text_of(sprintf '%0*d', $size - $empty,
                    $number)
                || ($last && $number <= $last);
            $last = $number;
        }

        my $what = ($ssl ? 'with' : 'without') . ' TLS';

        is($wrong, 0, "of $size bytes only whole ones come, $what");
        is($f && $f->{op} == CLOSE && unpack('n', $f->{data}), 1013,
            'and then the close frame');
        $c->close_frame(1013);
        ok($c->gone(), 'and the end');
    }
}

is($publisher->finish(), 1000, 'the publisher goes on');


# --- helpers ----------------------------------------------------------------

# the text in which a message comes

sub text_of {
    my ($message) = @_;

    return '{"service":"m","message":{"type":"message","channel":"c",'
        . qq("message":"$message"}});
}


# Sends messages of these sizes at once, reads slowly; '' or what is wrong.

sub echoed {
    my ($client, @list) = @_;

    my @data = map { substr $noise, int rand 1000, $_ } @list;
    my $expected = join '', map { frame(BINARY, $_, mask => undef) } @data;

    $client->send(map { frame(BINARY, $_) } @data)
        or return "not taken: $client->{why}";

    my $got = slowly($client, length $expected, 1 + int rand 9000);

    return $got eq $expected ? '' : 'differs';
}


# so many bytes, read in small pieces

sub slowly {
    my ($client, $size, $step) = @_;

    my $got = substr $client->{in}, 0, $size, '';
    my $deadline = $client->deadline();

    while (length $got < $size) {
        my $left = $size - length $got;
        my $n = $client->{sock}->sysread($got, $left < $step ? $left : $step,
            length $got);

        next if $n;
        last if defined $n;

        $client->ready('read', $deadline) or last;
    }

    return $got;
}
