#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# snorky_batch_window: what a client gets within a window is written at once,
# an answer takes it along, the order stays, and no end loses any of it.
#
# Without a window, who hears a publication has it in its socket before the
# publisher has the answer.  That tells a window from none; that something was
# gathered is looked for until it has happened once, since a test on a busy
# machine may well be slower than a window.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http http_ssl socket_ssl /)
    ->has_daemon('openssl')->plan(99)->todo_alerts();

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    ssl_certificate      %%TESTDIR%%/localhost.crt;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    snorky_zone 8m log=4m;
    snorky_drain 10ms;
    snorky_close_timeout 5s;
    snorky_worker_timeout 1s;
    snorky_batch_window 50ms;

    snorky_service pubsub messaging;
    snorky_registry private {
        snorky_service pubsub_backend publisher frontend=messaging;
    }

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        location /inherited {
            snorky_websocket;
        }

        location /none {
            snorky_websocket;
            snorky_batch_window 0;
        }

        location /short {
            snorky_websocket;
            snorky_batch_window 3ms;
        }

        location /middle {
            snorky_websocket;
            snorky_batch_window 17ms;
        }

        location /lean {
            snorky_websocket;
            snorky_lean on;
        }

        location /pinged {
            snorky_websocket;
            snorky_ping_interval 1s;
        }

        location /small {
            snorky_websocket;
            snorky_send_buffer 16k;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        snorky_batch_window 0;

        location /ws {
            snorky_websocket;
        }

        location /again {
            snorky_websocket;
            snorky_batch_window 50ms;
        }
    }

    server {
        listen       127.0.0.1:8082 sndbuf=16k;
        server_name  localhost;

        location /slow {
            snorky_websocket;
            snorky_send_buffer 64k;
        }
    }
}

EOC

make_certificate($t, 'localhost');
$t->run();
wait_until { @{ status_json()->{workers} } == 2 };

my ($slot, $other) = map { $_->{slot} } @{ status_json()->{workers} };
my $publisher = connect_to_worker($slot, '/none');
my $n = 0;          # the last publication's number
my ($c, @got);


# --- where there is a window, and where there is none -----------------------

for my $case (
    [ '/inherited', 1, 'of the level above' ],
    [ '/none', 0, 'unless it is put off' ],
    [ '/ws', 0, 'by a server', port => port(8081) ],
    [ '/again', 1, 'which a location takes back', port => port(8081) ],
    [ '/lean', 1, 'with a lean connection' ],
    [ '/inherited', 1, 'over TLS', ssl => 1 ],
    [ '/lean', 1, 'lean and over TLS', ssl => 1 ],
    [ '/none', 0, 'or not, over TLS', ssl => 1 ],
) {
    my ($uri, $window, $what, %o) = @$case;

    $c = subscriber($slot, $uri, %o);
    my ($together, $early, $wrong) = (0, 0, 0);

    for my $try (1 .. 200) {
        my @numbers = map { $n + $_ } 1 .. 5;
        my $none = 1;

        for my $number (@numbers) {
            publish($publisher, $number);
            $none = 0 if readable($c);
        }

        $n += 5;
        $early++ if readable($c);

        my @first = $none ? numbers_at_once($c) : ();
        my @all = (@first, map { number($c) } @first + 1 .. 5);

        $wrong++ if "@all" ne "@numbers";
        $together++ if @first == 5;

        last if $window ? $together : $try == 20;
    }

    if ($window) {
        is($together, 1, "five messages come in one read: a window $what");
    } else {
        is($early, 20, "a message is there before its answer: none $what");
    }

    is($wrong, 0, 'the right ones, in order');
    is($c->finish(), 1000, 'and the client goes on to its end');
}


# a backend's publications as well

$c = subscriber($slot, '/inherited');

is(wait_until {
    backend_post('/backend', '[' . join(',', map { publication(++$n) } 1 .. 5)
        . ']', key => 'swordfish');

    my @first = numbers_at_once($c);
    my @all = (@first, map { number($c) } @first + 1 .. 5);

    "@all" eq join ' ', $n - 4 .. $n;
}, 1, "a backend's publications come through a window");


# a message alone

my $least = 10;

for (1 .. 20) {
    publish($publisher, ++$n);
    my $start = time();
    number($c) == $n or die "not heard\n";
    my $time = time() - $start;
    $least = $time if $time < $least;
}

cmp_ok($least, '<', 0.5, sprintf 'a message waits for its window only (%.3f)',
    $least);
$c->finish();


# --- what does not wait ------------------------------------------------------

# The first subscriber is the first of the window, and has nothing yet when the
# second has its answer with what was gathered before it.

for my $uri ('/inherited', '/lean') {
    my $first = subscriber($slot, $uri);

    for my $case (
        [ 'an answer', sub { $_[0]->call('messaging', 'nothing', {}) },
          qr/Unknown command/ ],
        [ 'a pong', sub { $_[0]->ping('ping') }, qr/^\x8a\x04ping$/ ],
        [ 'the answer of its own publication', sub {
              $_[0]->call('messaging', 'publish', { channel => 'd',
                  message => 1 }) }, qr/"data":null/ ],
        [ 'a close frame', sub { $_[0]->close_frame(1000) },
          qr/^\x88\x02\x03\xe8$/ ],
    ) {
        my ($what, $call, $answer) = @$case;
        my ($alone, $wrong) = (0, 0);

        $c = undef;

        for (1 .. 200) {
            $c = subscriber($slot, $uri) if !$c || $c->{close_sent};

            publish($publisher, ++$n) for 1 .. 3;

            my $none = !readable($first) && !readable($c);

            $call->($c);
            my @frames = at_once($c);
            my $not_yet = !readable($first);

            while (@frames < 4) {
                push @frames, $c->frame_in() // last;
            }

            my $last = pop(@frames) // { header => 2, data => '', op => 0 };
            my $text = $last->{op} >= CLOSE ? chr(0x80 | $last->{op})
                . chr(length $last->{data}) . $last->{data} : $last->{data};

            $wrong++ if $text !~ $answer
                || join(' ', map { message_of($_->{data}) } @frames)
                   ne join ' ', $n - 2 .. $n;

            number($first) for 1 .. 3;

            if ($none && $not_yet) {
                $alone = 1;
                last;
            }
        }

        is($alone, 1, "$what does not wait for a window at $uri");
        is($wrong, 0, 'and takes with it what was gathered, in order');
        $c->finish() unless $c->{close_sent};
    }

    $first->finish();
}


# pings: they come between messages, while each message opens a window

$c = subscriber($slot, '/pinged');
my $heard = 0;

wait_until {
    publish($publisher, ++$n);
    $c->{mute} = 1;
    (message_of(($c->message_in() // {})->{data})) == $n and $heard++;
    $c->{controls};
};

is($c->{controls} && $c->{controls}[0]{op}, PING,
    'a silent client is pinged while it is given messages');
cmp_ok($heard, '>', 3, 'all of which come');
$c->reset();

$c = Snorky->connect('/echo');
$c->text('hello');
is($c->text_in(), 'hello', 'an echo has no need of a window');
$c->finish();


# --- the bound ---------------------------------------------------------------

# a client that reads is not too slow, however much comes within a window

$c = subscriber($slot, '/small');
$publisher->send(map {
    frame(TEXT, qq({"service":"messaging","message":{"command":"publish",)
        . qq("params":{"channel":"c","message":[$_,") . 'x' x 1000
        . qq("]},"callId":$_}}))
} 1 .. 200);

@got = map { my $text = $c->text_in() // ''; $text =~ /"message":\[(\d+)/ }
    1 .. 200;
is("@got", join(' ', 1 .. 200), 'more than the bound passes in a window');
is(scalar(grep { ($publisher->reply() // {})->{type} eq 'response' } 1 .. 200),
    200, 'and was answered');
is($c->finish(), 1000, 'the client goes on');


# one that does not read

for my $rcvbuf (4096, 16384) {
    $c = subscriber($slot, '/slow', port => port(8082), rcvbuf => $rcvbuf);
    my $before = counters()->{closed_slow};

    for (my $i = 1; counters()->{closed_slow} == $before && $i < 3000; $i++) {
        $publisher->rpc('messaging', 'publish', { channel => 'c',
            message => [ $i, 'x' x 3000 ] });
    }

    @got = ();

    while (defined(my $text = $c->text_in())) {
        push @got, $text =~ /^\{"service".*"message":\[(\d+),"x{3000}"\]\}\}$/
            ? $1 : 'broken';
    }

    is("@got", join(' ', 1 .. @got), 'one that does not read has whole frames');
    is($c->{closed} && $c->{closed}{code}, 1013, 'up to the 1013');
    cmp_ok(counters()->{drops}, '>', 0, 'what was gathered is dropped');
}


# --- many, at once ----------------------------------------------------------

# Everyone publishes and hears; with windows of all lengths.  All hear the same
# in one order, and each one its own before the answer.

srand 11;

my @uris = qw{ /none /short /middle /inherited /lean };
my @clients = map { my $uri = $_;
    map { subscriber($_, $uri), subscriber($_, $uri, ssl => 1) } $slot, $other
} @uris;
my $total = 40 * @clients;
my %heard = map { $_ => [] } 0 .. $#clients;
my %next;
my $mistakes = 0;

for my $i (0 .. $#clients) {
    $clients[$i]{index} = $i;
    $clients[$i]{to_send} = [ 1 .. 40 ];
    send_some($clients[$i]);
}

gather(30, sub {
    my ($client, $text) = @_;
    my $list = $heard{ $client->{index} };

    if ($text =~ /"callId":(\d+)/) {
        my $id = $1;

        # one's own publication stands before its answer

        $mistakes++ unless ($client->{own} // 0) >= $id;
        send_some($client) if !--$client->{open};

    } elsif ($text =~ /"message":\[(\d+),(\d+)\]/) {
        push @$list, "$1:$2";
        $client->{own} = $2 if $1 == $client->{index};
    }

    return !grep { @{ $heard{$_} } < $total } keys %heard;
}, @clients);

my %streams = map { join(' ', @{ $heard{$_} }) => 1 } keys %heard;
my %in_order;

for my $entry (@{ $heard{0} }) {
    my ($who, $number) = split /:/, $entry;
    $mistakes++ if $number != ++$in_order{$who};
}

is(scalar keys %streams, 1, 'with windows of all kinds, all hear the same');
is(scalar @{ $heard{0} }, $total, 'everything, once');
is($mistakes, 0, "everyone's in order, one's own before the answer");
is(join(' ', map { $_->finish() } @clients), join(' ', (1000) x @clients),
    'and all are there at the end');


# --- the end within a window ------------------------------------------------

# a worker that dies takes only its own with it

$publisher->finish();

for my $round (1 .. 3) {
    my @workers = @{ status_json()->{workers} };

    $publisher = connect_to_worker($workers[0]{slot}, '/none');
    $c = subscriber($workers[1]{slot}, '/inherited');

    publish($publisher, $_) for 1 .. 5;
    kill 'KILL', $workers[0]{pid};

    is(join(' ', map { number($c) } 1 .. 5), '1 2 3 4 5',
        "what a worker's last answers were about is heard elsewhere");
    is($c->finish(), 1000, 'by clients that stay');

    wait_until {
        my @now = eval { @{ status_json()->{workers} } };
        @now == 2 && !grep { $_->{pid} == $workers[0]{pid} } @now;
    };
}


# a worker that is told to stop

for my $case ([ 'TERM', 1001 ], [ 'QUIT', 1012 ]) {
    my ($signal, $code) = @$case;

    for my $uri ('/inherited', '/lean') {
        my ($worker) = @{ status_json()->{workers} };

        $publisher = connect_to_worker($worker->{slot}, '/none');
        $c = subscriber($worker->{slot}, $uri);
        my $tls = subscriber($worker->{slot}, $uri, ssl => 1);

        publish($publisher, $_) for 1 .. 5;
        kill $signal, $worker->{pid};

        for my $client ($c, $tls) {
            is(ending($client), "1 2 3 4 5 $code",
                "at $signal nothing is lost at $uri");
        }

        $publisher->close_in();
        $_->{sock}->close() for $c, $tls, $publisher;

        is(wait_until {
            my %title = processes($t);
            !$title{ $worker->{pid} };
        }, 1, 'and the worker ends');

        wait_until {
            my @now = eval { @{ status_json()->{workers} } };
            @now == 2 && !grep { $_->{pid} == $worker->{pid} } @now;
        };
    }
}


# a reload

for my $uri ('/inherited', '/lean', '/short') {
    my @old = worker_pids($t);
    my @workers = @{ status_json()->{workers} };

    $publisher = connect_to_worker($workers[0]{slot}, '/none');
    @clients = map { subscriber($_->{slot}, $uri) } @workers[0, 0, 1, 1];

    publish($publisher, $_) for 1 .. 5;
    $t->reload();

    is(join(', ', map { ending($_) } @clients),
        join(', ', ('1 2 3 4 5 1012') x 4),
        "at a reload nothing is lost at $uri");

    $publisher->close_in();
    $_->{sock}->close() for @clients, $publisher;

    is(wait_until {
        my %title = processes($t);
        !grep { $title{$_} } @old;
    }, 1, 'and no window keeps a worker');
    wait_until { @{ status_json()->{workers} } == 2 };
}

is(counters()->{sessions}, 0, 'no session is left');
is(other_alerts($t, qr/exited on signal 9/), '', 'no other alerts');


# --- what is refused ---------------------------------------------------------

for my $value ('51ms', '51', '1s', '-1', '-1ms', 'soon', '50x', '""', '1.5ms',
    '99999999999999', '10ms 20ms', '')
{
    like(nginx_t($t, "snorky_batch_window $value;"), qr/\[emerg\] .*(?:in\ "snorky
        _batch_window"|number\ of\ arguments)?.*test\ failed/sx,
        "\"$value\" is refused");
}

unlike(nginx_t($t, "snorky_batch_window $_;"), qr/\[emerg\]/,
    "$_ is accepted") for '50ms', '0', '1ms';


# --- helpers ----------------------------------------------------------------

sub subscriber {
    my ($worker, $uri, %o) = @_;

    my $client = connect_to_worker($worker, $uri, %o);
    $client->rpc('messaging', 'subscribe', { channel => 'c' });

    return $client;
}


sub publish {
    my ($client, $number) = @_;

    my $reply = $client->rpc('messaging', 'publish', { channel => 'c',
        message => $number });

    die "not published: ", json($reply), "\n"
        unless $reply && $reply->{type} eq 'response';

    return;
}


sub publication {
    my ($number) = @_;

    return '{"service":"publisher","message":{"command":"publish","params":'
        . qq({"channel":"c","message":$number}}});
}


# publications of one's own index and number, several at once

sub send_some {
    my ($client) = @_;

    my @numbers = splice @{ $client->{to_send} }, 0, 1 + int rand 6;

    $client->{open} = @numbers;
    $client->send(map {
        frame(TEXT, '{"service":"messaging","message":{"command":"publish",'
            . qq("params":{"channel":"c","message":[$client->{index},$_]},)
            . qq("callId":$_}}))
    } @numbers) if @numbers;

    return;
}


# whether something is in the socket now

sub readable {
    my ($client) = @_;

    return 1 if length $client->{in}
        || $client->{tls} && $client->{sock}->pending();

    return $client->ready('read', 0);
}


# the frames of one read, for which it waits

sub at_once {
    my ($client) = @_;

    my @frames;

    $client->fill($client->deadline()) if !length $client->{in};

    while (my $f = $client->shift_frame()) {
        push @frames, $f;
    }

    return @frames;
}


sub numbers_at_once {
    my ($client) = @_;

    return map { message_of($_->{data}) } at_once($client);
}


sub number {
    my ($client) = @_;

    return message_of($client->text_in());
}


sub message_of {
    my ($text) = @_;

    return ($text // '') =~ /"channel":"c","message":(\d+)\}\}$/ ? $1 : -1;
}


# what comes up to the close frame, with its code

sub ending {
    my ($client) = @_;

    my @numbers;

    while (defined(my $text = $client->text_in())) {
        push @numbers, message_of($text);
    }

    return join ' ', @numbers, $client->{closed} ? $client->{closed}{code}
        : $client->{why};
}


# what "nginx -t" says of this in http

sub nginx_t {
    my ($test, $directive) = @_;

    my $dir = $test->testdir();
    my $globals = $ENV{TEST_NGINX_GLOBALS} || '';

    $test->write_file('refused.conf', "$globals\nevents { }\n"
        . "http { $directive }\n");

    return scalar `$Test::Nginx::NGINX -t -p $dir/ -c refused.conf \\
        -e stderr -g 'pid $dir/refused.pid;' 2>&1`;
}
