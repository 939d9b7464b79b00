#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# SockJS where the session's worker stands still: letters that find no session
# any more when it moves again, letters that never arrive since it has been
# given up, and letters that wait for room in a log of the smallest size.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::SockJS;
use Snorky::Stop;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(34);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 256k log=16k;
    snorky_worker_timeout 1s;
    snorky_drain 10ms;
    snorky_max_message_size 1m;
    snorky_send_buffer 4m;
    snorky_sockjs_response_limit 4m;
    client_max_body_size 2m;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /echo {
            snorky_sockjs_echo;
        }

        location /brief {
            snorky_sockjs_echo;
            snorky_sockjs_disconnect_delay 300ms;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my $interrupted = 'c[1002,"Connection interrupted"]';
my $restart = 'c[1012,"service restart; spread=10"]';
my @receiving = qw/ xhr jsonp xhr_streaming eventsource htmlfile /;
my ($s, $o, $r);


# much that goes through a small log, both ways at once

($s, $o) = opened('/echo');
$r = $o->stream('xhr_streaming');

my @messages = map { $_ . 'x' x rand 50000 } 1 .. 40;

for my $message (@messages) {
    $o->send($message) == 204 or last;
}

is_deeply([ $r->messages(40) ], \@messages, 'all goes through a small log');
is($o->send('x' x 1000000), 204, 'also what is much larger than the log');
is(length $r->frame(), 1000005, 'in both directions');
$r->abort();


# the session ends while the letter is on its way

for my $kind (@receiving, 'xhr_send') {
    ($s, $o) = opened('/brief');

    my $to = $o->dial();
    my $pid = pid(0);
    stop_process($pid);

    my $method = $kind =~ /^xhr/ ? 'POST' : 'GET';
    my $body = $kind eq 'xhr_send' ? '["x"]' : '';
    $to->send_request($method, $o->path("$kind?c=cb"),
        $method eq 'POST' ? (body => $body) : ());

    # it is asked after, and then its time is over

    if ($kind =~ /^(?:xhr_streaming|eventsource|htmlfile)$/) {
        $to->{kind} = $kind;
        $to->read_prelude();
    }

    sleep 0.5;
    continue_process($pid);

    if ($kind eq 'xhr_send') {
        is($to->read_response()->{status}, 404, 'xhr_send to one that ends');
        next;
    }

    $to->{kind} = $kind;
    is($to->frame(), 'o', "$kind to one that ends: another one begins");
    is($o->send('x'), 204, 'which is as it should be');
}


# the session's worker is given up, and comes back

for my $kind (@receiving) {
    ($s, $o) = opened('/echo');

    my $near = $s->with(session => "$kind$$");
    is($near->poll(), 'o', "$kind: two sessions");

    my @waiting = map { $_->open($kind) } $near, $o;

    # what the same worker has said before has arrived, too

    $_->post('xhr_send', '[]') for $near, $o;

    my $pid = pid(0);
    stop_process($pid);

    is($o->send('x' x 100000), 404, "their worker is given up");
    is(last_frame($waiting[1]), $interrupted,
        'what another worker has asked for it, too');

    continue_process($pid);

    is(last_frame($waiting[0]), $restart,
        'what it was asked itself, when it moves again');
}


# --- helpers ----------------------------------------------------------------

# a session in worker 0, and the same one asked by way of worker 1

sub opened {
    my ($prefix) = @_;

    my $s = Snorky::SockJS->new(prefix => $prefix, worker => 0);

    # one that was given up has to find its place again

    wait_until { ($s->poll() // '') eq 'o' } or die "no session\n";

    return ($s, $s->with(worker => 1));
}


sub last_frame {
    my ($r) = @_;

    $r->read_prelude() unless $r->{kind} =~ /^(?:xhr|jsonp)$/;

    my ($frame, $last);

    $last = $frame while defined($frame = $r->frame());

    return $last;
}


sub pid {
    my ($worker) = @_;

    my $h = Snorky::SockJS->new(prefix => '/echo', worker => $worker)->dial();

    return $h->request('GET', '/status')->{json}{pid};
}
