#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# SockJS clients that leave while a request is under way, or that do not read
# what it brings, and workers that die or quit meanwhile.  The session lives in
# one worker, and the request is with the same one or with another.

use strict;
use warnings;

use FindBin;
use IO::Select ();
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::SockJS;
use Snorky::Stop;


my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /)->plan(110)->todo_alerts();

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 16m;
    snorky_drain 10ms;
    snorky_max_message_size 1m;
    snorky_send_buffer 16m;
    snorky_sockjs_response_limit 16m;
    client_max_body_size 2m;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080 reuseport;
        listen       127.0.0.1:8081 reuseport sndbuf=16k;
        server_name  localhost;

        location /echo {
            snorky_sockjs_echo;
        }

        location /hasty {
            snorky_sockjs_echo;
            snorky_sockjs_heartbeat 200ms;
            send_timeout 1s;
        }

        location /after {
            snorky_sockjs_echo;
            post_action /never;
        }

        location = /never {
            if ($request_completion) {
                return 204;
            }

            proxy_pass http://127.0.0.1:8082;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my $interrupted = 'c[1002,"Connection interrupted"]';
my @streaming = qw/ xhr_streaming eventsource htmlfile /;
my @receiving = (qw/ xhr jsonp /, @streaming);
my ($s, $o, $r);


# the session in worker 0, the request in $worker

for my $worker (0, 1) {
    my $where = $worker ? 'another worker' : 'one worker';

    for my $kind (@receiving) {
        for my $how (qw/ close reset half_close /) {
            ($s, $o) = opened('/echo', $worker);
            $r = waiting($o, $kind);

            $how eq 'close' ? $r->abort() : $r->$how();

            is(interruption($s), $interrupted,
                "$where, $kind: a client leaves, $how");
        }
    }

    # so soon that nginx hears of both at once

    for my $kind (qw/ xhr xhr_streaming /) {
        ($s, $o) = opened('/echo', $worker);

        my $h = $o->dial();
        my $pid = pid($worker);

        stop_process($pid);
        $h->send_request('POST', $o->path($kind), body => '');
        $h->half_close();
        continue_process($pid);

        $o->post('xhr_send', '[]');
        is(interruption($s), $interrupted,
            "$where, $kind: a client leaves at once");
    }

    # before it is a receiver

    ($s, $o) = opened('/echo', $worker);

    for my $what (qw/ xhr xhr_send /) {
        my $h = $o->dial();
        $h->send('POST ' . $s->path($what) . " HTTP/1.1\r\nHost: a\r\n"
            . "Content-Length: 10\r\n\r\n[\"x");
        $h->reset();
    }

    is($o->send('y'), 204, "$where: clients leave within a body");
    is($s->poll(), 'a["y"]', "$where: the session does not notice");

    # who has sent his messages may go

    my $h = $o->dial();
    $h->send('POST ' . $s->path('xhr_send') . " HTTP/1.1\r\nHost: a\r\n"
        . "Content-Length: 5\r\n\r\n[\"z\"]");
    $h->{sock}->close();

    is($s->poll(), 'a["z"]', "$where: what was sent is taken, without thanks");

    # one that reads nothing for a while

    ($s, $o) = opened('/echo', $worker, port => port(8081), rcvbuf => 4096);
    $r = $o->stream('xhr_streaming');

    my @messages = map { $_ . ('x' x (1000 * $_)) } 1 .. 60;

    for my $message (@messages) {
        $s->with(rcvbuf => undef)->send($message) == 204 or last;
    }

    is_deeply([ $r->messages(60) ], \@messages,
        "$where: a client that reads late gets all");
    $r->send("\r\n");
    is($s->send('more'), 204, "$where: and");
    is($r->frame(), 'a["more"]', "$where: goes on");

    # in time, and then it has time again

    ($s, $o) = opened('/hasty', $worker, port => port(8081), rcvbuf => 4096);
    my $late = $o->stream('xhr_streaming');
    $s->with(rcvbuf => undef)->send('x' x 300000) for 1 .. 2;
    is(length(join '', $late->messages(2)), 600000,
        "$where: a client reads in time");
    is(join('', map { $late->frame() // $late->{why} } 1 .. 8), 'h' x 8,
        "$where: and is not hurried when there is nothing to read");
    $late->abort();

    # and goes, with much that has not been sent

    ($s, $o) = opened('/echo', $worker, port => port(8081), rcvbuf => 4096);
    $r = $o->stream('xhr_streaming');
    $s->with(rcvbuf => undef)->send('x' x 1000000) for 1 .. 4;
    $r->reset();
    is(interruption($s), $interrupted, "$where: a client leaves, with much "
        . 'that it has not read');

    # one that does not read at all

    my $log = -s $t->testdir() . '/error.log';

    ($s, $o) = opened('/hasty', $worker, port => port(8081), rcvbuf => 4096);
    $r = $o->stream('xhr_streaming');
    $s->with(rcvbuf => undef)->send('x' x 1000000) for 1 .. 4;

    ok(wait_until { substr($t->read_file('error.log'), $log)
        =~ /client timed out/ }, "$where: a client reads nothing, "
        . 'and no heartbeat prolongs its time');
    is(interruption($s), $interrupted, "$where: which is the end");

    # a poll that is not read, whole

    ($s, $o) = opened('/hasty', $worker, port => port(8081), rcvbuf => 4096);
    $s->with(rcvbuf => undef)->send('x' x 1000000) for 1 .. 4;
    $log = -s $t->testdir() . '/error.log';
    $r = $o->open('xhr');

    ok(wait_until { substr($t->read_file('error.log'), $log)
        =~ /client timed out/ }, "$where: nor a poll");
    is(interruption($s), $interrupted, "$where: that was not read whole");
}


# nginx may go on with the request when its client has left

my $never = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1',
    LocalPort => port(8082), ReuseAddr => 1) or die "no server: $!\n";

($s, $o) = opened('/after', 1);
$r = waiting($o, 'xhr_streaming');
$r->abort();
my $action = $never->accept();
ok($action, 'a client has left, and a post_action runs');
$s->send('x');
is(interruption($s), $interrupted, 'it is no receiver');
sysread $action, my $head, 65536;
is(IO::Select->new($action)->can_read(0.2) // 0, 0, 'and runs on');
close $never;


# a session's worker dies

for my $kind (@receiving) {
    ($s, $o) = opened('/echo', 1);
    $r = waiting($o, $kind);

    kill_worker(0);

    is($r->frame(), $interrupted, "the session's worker dies: $kind");
    ok($r->ended(), 'which ends');

    is(wait_until { my $f = $o->poll(); $f eq 'o' && $f }, 'o',
        'a new session begins');
}

($s, $o) = opened('/echo', 1);
kill_worker(0);
is(wait_until { $o->send('x') == 404 || undef }, 1,
    'what is sent to it finds nobody');

# the request's worker dies

for my $kind (@receiving) {
    ($s, $o) = opened('/echo', 1);
    $r = waiting($o, $kind);

    kill_worker(1);

    is($r->frame(), undef, "the request's worker dies: $kind");
    is(interruption($s), $interrupted, 'the session is closed');
}

# the request's worker quits, and another one takes its place

for my $kind (@receiving) {
    ($s, $o) = opened('/echo', 1);
    $r = waiting($o, $kind);

    kill 'QUIT', pid(1);

    is($r->frame(), 'h', "the request's worker quits: $kind");
    ok($r->ended(), 'which ends in good order');
    is($s->send('x'), 204, 'the session');
    is($s->poll(), 'a["x"]', 'goes on');
    wait_until { my $p = eval { pid(1) }; $p };
}

$t->stop();

is(other_alerts($t, qr/exited on signal 9$|zone "snorky.*was locked by \d+$/),
    '', 'nothing else alerts');


# --- helpers ----------------------------------------------------------------

# a session in worker 0, and the same one asked by way of a worker

sub opened {
    my ($prefix, $worker, %o) = @_;

    my $s = Snorky::SockJS->new(prefix => $prefix, worker => 0, %o);

    my $frame = $s->poll();
    die 'no session: ', $frame // 'nothing', "\n" unless ($frame // '') eq 'o';

    return ($s, $s->with(worker => $worker));
}


# a request that has been heard of where the session is

sub waiting {
    my ($o, $kind) = @_;

    my $r = $kind =~ /^(?:xhr|jsonp)$/ ? $o->open($kind) : $o->stream($kind);

    heard($o);

    return $r;
}


# what the same worker has said before has arrived, too

sub heard {
    my ($o) = @_;

    my $status = $o->post('xhr_send', '[]') // 'no answer';

    $status eq '204' or die "no session: $status\n";

    return;
}


sub interruption {
    my ($s) = @_;

    $s = $s->with(rcvbuf => undef);

    return wait_until {
        my $frame = $s->poll() // '';
        $frame !~ /^c\[2010/ && $frame;
    };
}


# the pid of a worker, by its number

sub pid {
    my ($worker) = @_;

    my $h = Snorky::SockJS->new(prefix => '/echo', worker => $worker)->dial();

    return $h->request('GET', '/status')->{json}{pid};
}


sub kill_worker {
    my ($worker) = @_;

    my $pid = pid($worker);

    kill 'KILL', $pid;
    wait_until { !kill 0, $pid };
}
