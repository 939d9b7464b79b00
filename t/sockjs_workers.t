#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# SockJS sessions whose requests come to all workers, each to any: what is sent
# arrives, once, in order, also where the log has hardly room for it, and where
# a worker stands still for a while, or for too long.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::SockJS;
use Snorky::Stop;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my $rounds = 250;

my $t = Test::Nginx->new()->has(qw/ http /)->plan(32);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 256k log=16k;
    snorky_worker_timeout 2s;
    snorky_publish_timeout 60s;
    snorky_max_message_size 1m;
    snorky_service pubsub messaging;

    keepalive_requests 100000;
    client_max_body_size 2m;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /echo {
            snorky_sockjs_echo;
        }

        location /limited {
            snorky_sockjs_echo;
            snorky_sockjs_response_limit 4096;
        }

        location /pubsub {
            snorky_sockjs;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

diag("seed $seed");

my @pids = worker_pids($t);
my %pid = map { $_->{slot} => $_->{pid} } @{ status_json()->{workers} };

# a connection to each worker, for requests that are answered at once

my %kept = map { $_ => kept($_) } 0 .. 3;

for my $kind (qw/ xhr jsonp xhr_streaming eventsource htmlfile /) {
    for my $prefix ('/echo', '/limited') {
        is(exchange($prefix, $kind), 'all in order',
            "messages both ways by $kind in $prefix");
    }
}

large();
still();
given_up();


sub kept {
    my ($worker) = @_;

    return Snorky::SockJS->new(prefix => '/echo', worker => $worker)->dial();
}


# Any worker takes a batch, any other gives it back; some lie in between.

sub exchange {
    my ($prefix, $kind) = @_;

    my $s = Snorky::SockJS->new(prefix => $prefix);
    my (@sent, @got, $stream);

    my $opened = take($s, \$stream, $kind);
    return "no opening: $opened" unless $opened eq 'o';

    for my $round (1 .. $rounds) {
        my @batch = map { scalar(@sent) + $_ . ' ' . text() } 1 .. 1 + rand 4;

        my $r = $kept{int rand 4}->request('POST', $s->path('xhr_send'),
            body => json(\@batch));

        return 'not taken: ' . ($r ? $r->{line} : 'no answer')
            unless $r && $r->{status} == 204;

        push @sent, @batch;

        next if rand() < 0.3 && $round < $rounds;

        while (@got < @sent) {
            my $frame = take($s, \$stream, $kind) // 'nothing';
            return "got $frame" unless $frame =~ /^[ah]/;
            push @got, messages($frame) if $frame =~ /^a/;
        }
    }

    for my $i (0 .. $#sent) {
        return "$i is " . json($got[$i]) if $got[$i] ne $sent[$i];
    }

    return @got == @sent ? 'all in order' : 'too many';
}


sub take {
    my ($s, $stream, $kind) = @_;

    if ($kind eq 'xhr' || $kind eq 'jsonp') {
        return poll($s, $kind, int rand 4);
    }

    for (;;) {
        $$stream ||= $s->stream($kind);

        my $frame = $$stream->frame();
        return $frame if defined $frame || $$stream->{why} ne 'end';

        undef $$stream;
    }
}


sub poll {
    my ($s, $kind, $worker) = @_;

    my $h = $kept{$worker};

    if ($kind eq 'xhr') {
        my $r = $h->request('POST', $s->path('xhr'), body => '');
        return $r && $r->{body} =~ /^([^\n]*)\n\z/ ? $1 : undef;
    }

    my $r = $h->request('GET', $s->path('jsonp?c=cb'));

    return undef unless $r && $r->{body} =~ m{^/\*\*/cb\((".*")\);\r\n\z};

    my $frame = decode($1 =~ s/<\\!/<!/gr);
    utf8::encode($frame);

    return $frame;
}


sub text {
    return join '', map { chr((32, 34, 92, 0x200d, 0xe9, 0x1f600, 37, 60)[rand 8]
        + rand 2) } 1 .. rand 60;
}


# much more than the log takes, between two others

sub large {
    my $s = Snorky::SockJS->new(prefix => '/echo');

    is(poll($s, 'xhr', 0), 'o', 'a session');

    my @texts = map { $_ . 'x' x 200_000 } 1 .. 3;

    for my $i (1 .. 3) {
        my $r = $kept{$i}->request('POST', $s->path('xhr_send'),
            body => json([ $texts[$i - 1] ]));
        is($r->{status}, 204, "200K by worker $i");
    }

    is_deeply([ map { messages(poll($s, 'xhr', $_)) } 1 .. 3 ], \@texts,
        'come back by others');
}


# a worker that stands still holds up the log: what can't be sent waits

sub still {
    my $s = Snorky::SockJS->new(prefix => '/echo');

    is(poll($s, 'xhr', 0), 'o', 'a session');

    my $stream = $s->with(worker => 1)->stream('xhr_streaming');

    stop_process($pid{3});

    my @texts = map { "$_ " . 'x' x 5000 } 1 .. 20;

    for my $batch ([ 'first', @texts ], [ 'last' ]) {
        my $r = $kept{0}->request('POST', $s->path('xhr_send'),
            body => json($batch));
        is($r->{status}, 204, 'where the session is, it is taken');
    }

    my $h = $kept{2};
    $h->send_request('POST', $s->path('xhr_send'), body => json(\@texts));

    is($h->read_response(0.3), undef, 'what has no room in the log waits');

    continue_process($pid{3});

    is($h->read_response()->{status}, 204, 'until there is');
    is_deeply([ take_messages($s, $stream, 42) ],
        [ 'first', @texts, 'last', @texts ], 'and nothing is lost');

    # what the session itself kept back needs no more than room

    $s = Snorky::SockJS->new(prefix => '/echo');

    is(poll($s, 'xhr', 0), 'o', 'a session');

    $stream = $s->with(worker => 1)->stream('xhr_streaming');

    stop_process($pid{3});

    for my $batch (\@texts, [ 'last' ]) {
        my $r = $kept{0}->request('POST', $s->path('xhr_send'),
            body => json($batch));
        is($r->{status}, 204, 'it is taken');
    }

    continue_process($pid{3});

    is_deeply([ $stream->messages(21) ], [ @texts, 'last' ], 'and comes');
    $stream->abort();
}


sub take_messages {
    my ($s, $stream, $n) = @_;

    my @got = $stream->messages($n);

    while (@got < $n) {
        my $frame = poll($s, 'xhr', 1) // last;
        push @got, messages($frame);
    }

    return @got;
}


# one that stands still for too long has lost its sessions

sub given_up {
    my $s = Snorky::SockJS->new(prefix => '/echo');

    is(poll($s, 'xhr', 3), 'o', 'a session');

    my $stream = $s->with(worker => 1)->stream('xhr_streaming');
    my $local = Snorky::SockJS->new(prefix => '/echo', worker => 3);

    is($local->poll(), 'o', 'another one');

    my $poll = $local->open('xhr');
    is($poll->frame(0.2), undef, 'that waits');

    stop_process($pid{3});

    my ($code) = closing($stream->frame());
    is($code, 1002, 'a worker that is given up has no sessions');

    is(poll($s, 'xhr', 0), 'o', 'their names are free');

    continue_process($pid{3});

    ($code) = closing($poll->frame());
    like($code, qr/^10[01]2$/, 'its own requests are told');

    ok((wait_until { counters()->{sessions_sockjs} <= 1 }),
        'and it has forgotten them');
}
