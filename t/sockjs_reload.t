#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# nginx reloads while SockJS clients of every transport publish and listen:
# each session is told "service restart" by its next response, wherever that
# comes from, none misses what was published before, and nothing is left
# behind.  A session of a new worker loses nothing by a response of an old one.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Client;
use Snorky::Crowd;
use Snorky::SockJS;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my $reloads = 30;
my @kinds = qw/ xhr xhr_streaming eventsource htmlfile jsonp websocket /;
my @receiving = qw/ xhr jsonp xhr_streaming eventsource htmlfile /;

my $t = Test::Nginx->new()->has(qw/ http /)->plan(88);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone %%ZONE%%;
    snorky_worker_timeout 120s;
    snorky_drain %%DRAIN%%;
    snorky_send_buffer 16m;
    snorky_sockjs_disconnect_delay %%DELAY%%;
    snorky_sockjs_response_limit 16k;
    snorky_service pubsub messaging;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /sockjs {
            snorky_sockjs;
        }

        location /echo {
            snorky_sockjs_echo;
        }

        location /ws {
            snorky_websocket;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

my $restart = 'c[1012,"service restart"]';

under_load();
between();
leaving();
held();
another_zone();
clients();

kill 'TERM', $t->master();    # no session is waited for
$t->stop();


# --- under load -------------------------------------------------------------

sub under_load {
    configure(drain => '300ms', delay => '3s');
    $t->run();
    wait_until { workers() == 4 };

    my $before = status_json();
    my $crowd = Snorky::Crowd->new(prefix => '/sockjs', size => 4000);

    $crowd->subscriber(name => 'reference');

    for my $kind (@kinds) {
        $crowd->publisher(name => "$kind, publisher", kind => $kind,
            window => 4, both => 1);
        $crowd->subscriber(name => "$kind, lazy", kind => $kind,
            lazy => 0.1);
    }

    $crowd->run(sub { $crowd->ready() && $crowd->acked() > 100 });

    my @late;

    for my $i (1 .. $reloads) {
        my %old = map { $_->{pid} => 1 } @{ status_json()->{workers} };
        my $acked = $crowd->acked();

        $t->reload();

        # each second time, the old workers have left, too

        $crowd->run(sub {
            my @w = @{ status_json()->{workers} };
            return 0 if 4 > grep { !$old{ $_->{pid} } } @w;
            return $i % 2 || @w == 4;
        }) or push @late, "reload $i";

        $crowd->run(sub { $crowd->acked() > $acked + 50 })
            or push @late, "load after reload $i";
    }

    is("@late", '', "$reloads reloads, and all went on");
    ok($crowd->settle(60), 'everything is answered');

    my %codes;
    $codes{"$_->{code} $_->{why}"}++ for $crowd->ends();

    is(join(', ', sort keys %codes), '1012 service restart',
        'all sessions were closed with 1012') or diag(json(\%codes));
    cmp_ok(scalar($crowd->ends()), '>', $reloads * @kinds, 'many times');
    is(json([ $crowd->errors() ]), '[]', 'no call failed');
    is(join(' ', grep { $_ ne 404 } $crowd->refusals()), '',
        'what is sent to one that was closed is not found');
    is($crowd->complaints(), '', 'one order, nothing lost, nothing twice')
        or diag("TEST_SNORKY_SEED=$seed");

    $crowd->finish();

    is(wait_until(sub { my $total = counters();
        $total->{sessions} == 0 && $total->{sessions_sockjs} == 0 }, 20), 1,
        'no session is left');
    is(wait_until { @{ status_json()->{workers} } == 4 }, 1,
        'the old workers have left');

    my $after = status_json();

    is($after->{total}{subscriptions}, 0, 'no subscription is');
    is($after->{zone}{free}, $before->{zone}{free},
        'the zone has as much room as before');
    is($after->{total}{drops}, 0, 'nothing was dropped');
}


# --- between two polls ------------------------------------------------------

sub between {
    configure(drain => '10ms', delay => '60s');
    reload_quickly();

    my @sessions = map { subscribed("/sockjs", "c$_") } 0 .. $#receiving;
    my $publisher = Snorky->connect('/ws');

    for my $i (0 .. $#receiving) {
        $publisher->rpc('messaging', 'publish', { channel => "c$i",
            message => $_ }) for 1 .. 3;
    }

    my $restarted = counters()->{closed_restart};

    reload_quickly();
    wait_until { counters()->{closed_restart} >= $restarted + @sessions };

    for my $i (0 .. $#receiving) {
        my $s = $sessions[$i];
        my $kind = $receiving[$i];

        is($s->send('x'), 404, "$kind: a session is closed between two");

        my $r = response($s, $kind);
        my @messages = map { decode($_)->{message}{message} }
            messages($r->frame());

        is("@messages", '1 2 3', "$kind: what was said before comes");

        $r = response($s, $kind) if $kind =~ /^(?:xhr|jsonp)$/;
        is($r->frame(), $restart, "$kind: and then the end");
        is(response($s, $kind)->frame(), $restart,
            "$kind: also who asks again is told");
    }
}


# --- how long an old worker stays -------------------------------------------

sub leaving {
    configure(drain => '300ms', delay => '2s');
    reload_quickly();

    my $others = counters()->{sessions_sockjs};
    my @sessions = map { subscribed('/sockjs', 'c') } 1 .. 8;
    my %old = map { $_ => 1 } worker_pids($t);
    my $start = time();

    $t->reload();

    ok((wait_until { !grep { $old{$_} } keys %{ { processes($t) } } }),
        'old workers leave');
    cmp_ok(time() - $start, '>', 1.9, sprintf 'not before all sessions had '
        . 'their time (%.1f s)', time() - $start);

    is(counters()->{sessions_sockjs}, $others, 'and take them along');
    is($_->poll(), 'o', 'who comes too late begins anew')
        for @sessions[0, 1];
}


# --- a new session's response, held by an old worker ------------------------

# whose request had begun before the reload

sub held {
    configure(drain => '10ms', delay => '60s');
    reload_quickly();

    my @begun = map {
        my $s = Snorky::SockJS->new(prefix => '/echo');
        my $r = $s->dial();

        $r->{kind} = $_;
        $r->send($_ =~ /^xhr/ ? 'POST ' : 'GET ');
        [ $s, $r ];
    } @receiving;

    # so that they are no idle connections

    wait_until { counters() };
    my %old = map { $_ => 1 } worker_pids($t);

    reload_quickly();

    for my $begun (@begun) {
        my ($s, $r) = @$begun;
        my $kind = $r->{kind};
        my $query = $kind =~ /jsonp|htmlfile/ ? '?c=cb' : '';

        is($s->poll(), 'o', "$kind: a session of a new worker");

        $r->send($s->path("$kind$query") . " HTTP/1.1\r\nHost: localhost\r\n",
            $kind =~ /^xhr/ ? "Content-Length: 0\r\n\r\n" : "\r\n");

        my $head = $r->head();

        if (!$head) {
            fail("$kind: served by an old worker: $r->{why}");
            next;
        }

        $r->read_prelude() unless $kind =~ /^(?:xhr|jsonp)$/;

        my @frames;
        $s->send('one');

        while (defined(my $frame = $r->frame())) { push @frames, $frame }

        is($r->{why}, 'end', "$kind: an old worker's response ends soon");

        $s->send('two');

        my @messages = map { messages($_) } @frames;
        push @messages, $s->receive(2 - @messages);

        is("@messages", 'one two', "$kind: the session goes on elsewhere");
    }

    is(wait_until { !grep { $old{$_} } keys %{ { processes($t) } } }, 1,
        'the old workers leave');
}


# --- another zone -----------------------------------------------------------

sub another_zone {
    configure(drain => '60s', delay => '60s');
    reload_quickly();

    my @responses = map { response(subscribed('/sockjs', 'c'), $_) }
        @receiving;
    my $publisher = Snorky->connect('/ws');

    $publisher->rpc('messaging', 'publish',
        { channel => 'c', message => 'before' });
    is(join(' ', map { ($_->frame() // $_->{why}) =~ /before/ } @responses),
        '1 1 1 1 1', 'all hear the last message');

    my @sessions = map { subscribed('/sockjs', 'c') } 1 .. 4;
    my @waiting = map { response($_, 'xhr_streaming') } @sessions[0, 1];

    configure(drain => '60s', delay => '2s', zone => '5m');
    $t->reload();

    is($_->frame(), $restart, 'another zone: streaming responses end')
        for @responses[2 .. 4], @waiting;
    is(wait_until { status_json()->{zone}{size} == 5 * 1024 * 1024
        && workers() == 4 }, 1, 'the new zone is in use');

    for my $s (@sessions[2, 3]) {
        wait_until { keys %{ { processes($t) } } == 4
            || ($s->send('x') // 0) == 404 };
        is($s->send('x'), 404, 'where the old sessions are not found');
        is($s->poll(), 'o', 'but begin anew');
    }
}


# --- the real client --------------------------------------------------------

sub clients {
    my $program = Snorky::Client::sockjs();

    SKIP: {
        skip 'no sockjs-client here: see "npm ci"', 24 unless $program;

        configure(drain => '100ms', delay => '5s', zone => '5m');
        reload_quickly();

        my @transports = qw/ websocket xhr-streaming eventsource xhr-polling /;
        my $url = 'http://127.0.0.1:' . port(8080) . '/echo';

        for my $round (1 .. 2) {
            my @clients = map {
                Snorky::Client->start(@$program, $url, $_)
            } @transports;

            for my $i (0 .. $#clients) {
                my $c = $clients[$i];

                is(($c->expect('open') || [])->[0], $transports[$i],
                    "$transports[$i] opens, $round");
                $c->order('send', "hello $round");
                is(($c->expect('text') || [])->[0], "hello $round",
                    'and is served');
            }

            $t->reload();

            is(join(' ', @{ $_->expect('close') || [] }[0, 1]),
                '1012 service restart', 'it is told of the restart')
                for @clients;

            $_->finish() for @clients;
        }
    }
}


# --- helpers ----------------------------------------------------------------

sub configure {
    my (%o) = @_;

    my $text = $conf;
    my $zone = $o{zone} // '4m';

    $text =~ s/%%ZONE%%/$zone/;
    $text =~ s/%%DRAIN%%/$o{drain}/;
    $text =~ s/%%DELAY%%/$o{delay}/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));

    return;
}


# how many workers serve, but for those that are leaving

sub workers {
    return scalar grep { !$_->{quitting} && $_->{state} eq 'live' }
        @{ status_json()->{workers} };
}


# Until the new workers serve, and only they take connections.

sub reload_quickly {
    my %old = map { $_ => 1 } keys %{ { processes($t) } };

    $t->reload();

    wait_until(sub {
        my @new = grep { !$old{$_} } worker_pids($t);
        return @new == 4 && @new == worker_pids($t);
    }, 30) or diag('the new workers do not come');

    return;
}


# an open session that is subscribed

sub subscribed {
    my ($prefix, $channel) = @_;

    my $s = Snorky::SockJS->new(prefix => $prefix);
    my $frame = $s->poll() // $s->why();

    die "no session: $frame\n" unless $frame eq 'o';

    $s->send(envelope('messaging', { command => 'subscribe', callId => 1,
        params => { channel => $channel } }));

    die "not subscribed\n" unless ($s->poll() // '') =~ /response/;

    return $s;
}


sub response {
    my ($s, $kind) = @_;

    return $kind =~ /^(?:xhr|jsonp)$/ ? $s->open($kind) : $s->stream($kind);
}
