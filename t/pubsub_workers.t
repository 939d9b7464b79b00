#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Many workers are one server: whoever publishes, by whatever worker, all
# subscribers on all workers hear it once, and in one order.

use strict;
use warnings;

use Digest::MD5 ();
use FindBin;
use IO::Select ();
use List::Util qw/ shuffle sum /;
use Storable qw/ dclone /;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Load;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my $publications = $ENV{TEST_SNORKY_MESSAGES} || 100_000;

my @layouts = (
    [ 'master_process off', 1, 'master_process off;' ],
    [ '1 worker', 1, 'worker_processes 1;' ],
    [ '2 workers', 2, 'worker_processes 2;' ],
    [ '8 workers', 8, 'worker_processes 8;' ],
);

my $t = Test::Nginx->new()->has(qw/ http /)->plan(4 * 14 + 18);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
%%LAYOUT%%

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 16m;
    snorky_send_buffer 64m;
    snorky_service pubsub messaging;

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend frontend=messaging;
    }

    keepalive_requests 1000000;
    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;

        # with a socket for each worker, connections come to all of them
        listen       127.0.0.1:8081 reuseport;

        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

my $port = port(8081);


# --- everybody to everybody, with any number of workers ---------------------

for my $layout (@layouts) {
    my ($name, $n, $line) = @$layout;

    start($t, $line);

    my $status = status_json();
    is(scalar @{ $status->{workers} }, $n, "$name: the status has all");

    my @slots = map { $_->{slot} } @{ $status->{workers} };
    my @clients = map { connect_to_worker($_, '/ws', port => $port) }
        @slots, @slots;

    $_->rpc('messaging', 'subscribe', \'{"channel":{"a":1,"b":[2.0]}}')
        for @clients[0 .. $n - 1];
    $_->rpc('messaging', 'subscribe', \'{"channel": { "b": [2], "a":1e0 }}')
        for @clients[$n .. 2 * $n - 1];

    is(counters()->{subscriptions}, 2 * $n, "$name: subscribed everywhere");


    # one after another publishes; the others hear it, and itself first

    my $early = 0;
    my $text = '';

    for my $i (0 .. $#clients) {
        my $reply = $clients[$i]->rpc('messaging', 'publish',
            to('{"b":[2],"a":1}', "from $i"));

        $text .= $reply->{type} eq 'response' ? '.' : json($reply);

        my @before = $clients[$i]->notifications();
        $early++ if @before == 1 && $before[0]{message} eq "from $i";

        for my $other (grep { $_ != $clients[$i] } @clients) {
            my $m = $other->notification();
            $text .= $m && $m->{message} eq "from $i" ? '.' : json($m);
        }
    }

    is($early, 2 * $n, "$name: one's own message precedes the response");
    is($text, '.' x (4 * $n * $n), "$name: everyone hears everyone");


    # a backend, until each worker has served it

    my %by;
    my $again = '';
    my $posts = 0;

    while (keys %by < $n && $posts < 400) {
        my $i = ++$posts;
        my $r = backend_post('/backend',
            publish_text('{"b":[2],"a":1}', $i),
            key => 'swordfish', port => $port);

        $by{ $r->{headers}{'x-worker'} }++;
        $again .= $r->{status} == 200
            && $r->{json}{message}{type} eq 'response' ? '.' : $r->{body};

        for my $client (@clients) {
            my $m = $client->notification();
            $again .= $m && $m->{message} eq $i ? '.' : json($m);
        }
    }

    is($again, '.' x ($posts * (2 * $n + 1)),
        "$name: everyone hears the backend");
    is(scalar keys %by, $n, "$name: by every worker");


    # who is in another channel, or has left, hears nothing

    $clients[0]->rpc('messaging', 'unsubscribe',
        \'{"channel":{"a":1,"b":[2]}}');
    $clients[-1]->rpc('messaging', 'subscribe', { channel => 'other' });

    $clients[0]->rpc('messaging', 'publish',
        to('{"a":1,"b":[2]}', 'without 0'));
    $clients[0]->rpc('messaging', 'publish',
        to('"other"', 'for the last'));
    $clients[0]->rpc('messaging', 'publish',
        to('{"a":1,"b":[3]}', 'for nobody'));
    $clients[0]->rpc('messaging', 'publish',
        to('{"a":1,"b":[2]}', 'end'));

    my @got = map {
        my $client = $_;
        my @all;

        while (my $m = $client->notification()) {
            push @all, $m->{message};
            last if $m->{message} eq 'end';
        }

        "@all";
    } @clients[1 .. $#clients];

    is(join(', ', @got[0 .. $#got - 1]),
        join(', ', ('without 0 end') x (@clients - 2)),
        "$name: a channel is heard by its subscribers");
    is($got[-1], 'without 0 for the last end',
        "$name: in the order of all channels");

    $clients[0]->rpc('messaging', 'unsubscribe', { channel => 'none' });
    is(scalar($clients[0]->notifications()), 0,
        "$name: who has left hears nothing");


    # the figures

    my $total = counters();
    my $rounds = 2 * $n + $posts;

    is($total->{publications}, $rounds + 4, "$name: publications");
    is($total->{deliveries}, $rounds * 2 * $n + 2 * (2 * $n - 1) + 1,
        "$name: deliveries");

    if ($n > 1) {
        cmp_ok($total->{bells_sent}, '>', 0, "$name: bells are rung");
    } else {
        is($total->{bells_sent}, 0, "$name: no bell is needed");
    }

    $_->finish() for @clients;

    is(wait_until { json({ gauges() }) eq json({ sessions => 0,
        subscriptions => 0, channels => 0, waiting => 0 }) }, 1,
        "$name: nothing is left") or diag(json({ gauges() }));
    is(wait_until { status_json()->{log}{used} == 0 }, 1,
        "$name: all workers have read all");

    $t->stop();
}


# --- a hundred thousand, from all sides at once -----------------------------

start($t, 'worker_processes 8;');

my @slots = map { $_->{slot} } @{ status_json()->{workers} };
my @subscribers = map { subscriber($_) } @slots;
my @publishers = map { publisher($_) } @slots;
my @backends = map { backend($_) } 1 .. 4;

my $began = time();
my $stream = flood(\@subscribers, [ @publishers, @backends ], $publications);
my $took = time() - $began;

diag(sprintf '%d publications, %d subscribers: %.1f s', $publications,
    scalar @subscribers, $took) if $ENV{TEST_NGINX_VERBOSE};

is(sum(map { $_->{sent} } @publishers, @backends), $publications,
    "$publications are published");
is(sum(map { $_->{answered} } @publishers, @backends), $publications,
    'and answered with success')
    or diag(map { "$_\n" } grep { $_ } map { $_->{why} } @publishers);

my %streams = map { $_->{digest}->clone()->hexdigest() => 1 } @subscribers;

is(scalar keys %streams, 1, 'every subscriber on every worker sees one order');

my ($count, %next, @wrong);

while ($stream =~ /"message":\[(\d+),(\d+)\]\}\}/g) {
    $count++;
    push @wrong, "$1: $2 after " . ($next{$1} || 0)
        if $2 != ($next{$1} || 0) + 1 && @wrong < 10;
    $next{$1} = $2;
}

is($count, $publications, 'nothing is lost');
is("@wrong", '', 'nothing comes twice, each publisher has its own order');
cmp_ok(mixed($stream), '>', $publications / 1000,
    'publishers of all workers are mixed');

my $total = counters();

is($total->{publications}, $publications, 'publications in the status');
is($total->{deliveries}, $publications * 8, 'deliveries in the status');
is("$total->{drops} $total->{closed_slow} $total->{errors}", '0 0 0',
    'no loss in the status');

my $other = grep { $_->{publications} > 0 } @{ status_json()->{workers} };
is($other, 8, 'every worker has published');

$t->stop();


# --- coming and going while others publish ----------------------------------

start($t, 'worker_processes 4;');

@slots = map { $_->{slot} } @{ status_json()->{workers} };

my $load = Snorky::Load->new(port => $port);

$load->subscriber(name => "listener $_", worker => $_) for @slots[0, 2];

for my $slot (@slots) {
    $load->subscriber(name => "guest $slot/$_", worker => $slot,
        flap => 1 + int rand 40) for 1 .. 3;
}

$load->run(sub { $load->ready() });

for my $slot (@slots) {
    $load->publisher(name => "publisher $slot", worker => $slot,
        window => 8, both => $slot % 2);
}

ok($load->run(sub { $load->acked() > 8000 }, 60), 'a load with guests');
ok($load->settle(), 'comes to its end');
is($load->complaints(), '', 'a guest sees an unbroken part of the order')
    or diag("TEST_SNORKY_SEED=$seed");

$load->finish();
$t->stop();


# --- the judge itself -------------------------------------------------------

like(spoilt($load, sub { splice @{ $_[0] }, 20, 1 }), qr/where the others/,
    'a lost message would be seen');
like(spoilt($load, sub { splice @{ $_[0] }, 20, 0, $_[0][20] }),
    qr/where the others/, 'a message that comes twice would be seen');
like(spoilt($load, sub { @{ $_[0] }[20, 21] = @{ $_[0] }[21, 20] }),
    qr/where the others/, 'another order would be seen');
like(spoilt($load, sub { shift @{ $_[0] } }), qr/lost something before/,
    'a first message that is missing would be seen');
like(spoilt($load, sub { pop @{ $_[0] } }), qr/lost something after/,
    'a last message that is missing would be seen');


# --- helpers ----------------------------------------------------------------

sub start {
    my ($t, $line) = @_;

    (my $text = $conf) =~ s/%%LAYOUT%%/$line/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));
    $t->run();

    # workers tell each other of themselves a moment after the start

    $line =~ /worker_processes (\d+)/;
    my $n = $1 || 1;

    wait_until { scalar @{ status_json()->{workers} } == $n };

    return;
}


# the parameters of a publish, with the channel as it is written

sub to {
    my ($channel, $message) = @_;

    my $text = "{\"channel\":$channel,\"message\":" . json($message) . '}';

    return \$text;
}


sub publish_text {
    my ($channel, $message) = @_;

    return '{"service":"messaging_backend","message":{"command":"publish",'
        . '"params":' . ${ to($channel, $message) } . ',"callId":1}}';
}


# the complaints when one run were another

sub spoilt {
    my ($load, $change) = @_;

    my $copy = Snorky::Load->new(map { $_ => dclone($load->{$_}) }
        qw/ periods sent acked /);

    # the second listener's, who has all

    $change->($copy->{periods}[1]{run});

    return $copy->complaints();
}


sub gauges {
    my $total = counters();

    return map { $_ => $total->{$_} }
        qw/ sessions subscriptions channels waiting /;
}


# A client that does nothing but listen: what it is sent is the same, to the
# byte, for all like it.

sub subscriber {
    my ($slot) = @_;

    my $c = connect_to_worker($slot, '/ws', port => $port);
    $c->rpc('messaging', 'subscribe', { channel => 'c' });

    return { c => $c, digest => Digest::MD5->new(), read => 0 };
}


sub publisher {
    my ($slot) = @_;

    my $c = connect_to_worker($slot, '/ws', port => $port);

    return {
        c => $c, number => $slot + 100, sent => 0, answered => 0, why => '',
        answer => qr/"type":"response"/, ok => qr/"type":"response"/,
        make => sub {
            my ($number, $first, $last) = @_;

            return join '', map {
                frame(TEXT, '{"service":"messaging","message":{"command":'
                    . '"publish","params":{"channel":"c","message":'
                    . "[$number,$_]},\"callId\":0}}")
            } $first .. $last;
        },
    };
}


# one request, with many envelopes, at a time

sub backend {
    my ($number) = @_;

    return {
        c => Snorky->dial(port => $port), number => $number, sent => 0,
        answered => 0, why => '',
        make => sub {
            my ($number, $first, $last) = @_;

            my $body = '[' . join(',', map {
                '{"service":"messaging_backend","message":{"command":'
                    . '"publish","params":{"channel":"c","message":'
                    . "[$number,$_]},\"callId\":0}}"
            } $first .. $last) . ']';

            return "POST /backend HTTP/1.1\r\nHost: localhost\r\n"
                . "X-Backend-Key: swordfish\r\nContent-Length: "
                . length($body) . "\r\n\r\n$body";
        },
    };
}


# Publishes so many by all the publishers and reads what comes; returns what
# the first subscriber was sent.

sub flood {
    my ($subscribers, $publishers, $messages) = @_;

    my $deadline = time() + 120;
    my $left = $messages;
    my $stream = '';
    my $expected;

    my %of = map { fileno $_->{c}{sock} => $_ } @$subscribers, @$publishers;
    my $select = IO::Select->new(map { $_->{c}{sock} } values %of);

    while (time() < $deadline) {
        for my $p (shuffle @$publishers) {
            next if $left == 0 || $p->{answered} < $p->{sent};

            my $n = 50 + int rand 250;
            $n = $left if $n > $left;
            $left -= $n;

            $p->{c}->send($p->{make}->($p->{number}, $p->{sent} + 1,
                                       $p->{sent} + $n));
            $p->{sent} += $n;
        }

        for my $sock ($select->can_read(1)) {
            my $client = $of{fileno $sock};
            my $c = $client->{c};

            $c->fill(0);

            if ($c->{eof}) {
                $select->remove($sock);
                $client->{why} = $c->{why};
            }

            if ($client->{digest}) {
                $client->{read} += length $c->{in};
                $client->{digest}->add($c->{in});
                $stream .= $c->{in} if $client == $subscribers->[0];
                $c->{in} = '';

            } else {
                # what may be the beginning of an answer stays

                my $end = 0;

                while ($c->{in} =~ /"type":"(\w+)"/g) {
                    $client->{answered}++ if $1 eq 'response';
                    $client->{why} = $c->{in} if $1 eq 'error';
                    $end = pos $c->{in};
                }

                substr($c->{in}, 0, $end) = '';
            }
        }

        next if $left || grep { $_->{answered} < $_->{sent} } @$publishers;

        # all is answered: every subscriber is to have as many bytes

        if (!defined $expected) {
            my $length = length '{"service":"messaging","message":{"type":'
                . '"message","channel":"c","message":[,]}}';

            # numbers of one publisher have from one to six digits

            for my $p (@$publishers) {
                my $digits = length($p->{number}) * $p->{sent};
                $digits += length for 1 .. $p->{sent};

                $expected += $digits + ($length + 2) * $p->{sent};
            }
        }

        return $stream
            if !grep { $_->{read} < $expected } @$subscribers;
    }

    diag("incomplete: $left to send; subscribers have read "
        . join(' ', map { $_->{read} } @$subscribers)
        . ' of ' . ($expected // '?'));

    return $stream;
}


# how often the publisher changes in the stream

sub mixed {
    my ($stream) = @_;

    my ($last, $changes) = ('', 0);

    while ($stream =~ /"message":\[(\d+),/g) {
        $changes++ if $1 ne $last;
        $last = $1;
    }

    return $changes;
}
