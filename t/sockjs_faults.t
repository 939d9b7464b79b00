#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# SockJS while workers die or stand still: the one that a session lives in, the
# one that has its response, the one that a message came to.  And how sessions
# end, in every way, with nothing left behind.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::SockJS;
use Snorky::Stop;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(56)->todo_alerts();

my $faults = $ENV{TEST_SNORKY_FAULTS};

undef $faults unless $faults && -f $faults
    && ($ENV{TEST_NGINX_GLOBALS} // '')
       =~ /load_module\s+\S*ngx_snorky_module\.so;/;

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;
%%MAIN%%

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone %%ZONE%%;
    snorky_worker_timeout %%TIMEOUT%%;
    snorky_publish_timeout 60s;
    snorky_drain 10ms;
    snorky_max_message_size 256k;
    snorky_identity $http_x_name;
    snorky_service pubsub messaging;
    snorky_service chat chat;
    %%HTTP%%

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /sockjs {
            snorky_sockjs;
            snorky_sockjs_disconnect_delay 60s;
        }

        location /echo {
            snorky_sockjs_echo;
            snorky_sockjs_response_limit 16m;
            snorky_sockjs_disconnect_delay 60s;
        }

        location /hasty {
            snorky_sockjs;
            snorky_sockjs_disconnect_delay 300ms;
            snorky_send_buffer 16k;
        }

        location /soon {
            snorky_sockjs;
            snorky_sockjs_disconnect_delay 3s;
        }

        location /away {
            snorky_sockjs_close;
            snorky_sockjs_disconnect_delay 300ms;
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

my $interrupted = 'c[1002,"Connection interrupted"]';
my $restart = 'c[1012,"service restart"]';
my $at_once = 'c[1012,"service restart; spread=10"]';
my ($s, $r, @slots);

ends();
killed();
stopped();
full();
stops();

SKIP: {
    skip 'no TEST_SNORKY_FAULTS, a module with snorky_fault', 8
        unless $faults;

    anew();
}

undef $t;


# --- every end --------------------------------------------------------------

sub ends {
    start(zone => '16m', timeout => '120s');

    my $publisher = connect_to_worker($slots[1], '/ws');
    my $before = status_json();

    # who is sent messages must come for them all the same

    my $closed = counters()->{closed_lost};

    $s = subscribed(session('/hasty', $slots[0]), 'drip');

    is(wait_until {
        publish($publisher, 'drip', 'x');
        counters()->{closed_lost} > $closed;
    }, 1, 'what comes for a session is no sign of its client');

    for my $round (1 .. 4) {
        for my $slot (@slots) {
            my $way = sub { subscribed(session('/hasty', $slot), 'ends') };

            # nobody comes back; nobody comes for much

            $way->();
            publish($publisher, 'ends', 'x' x 1000);

            # the client goes, and so does one that has much to read

            for my $kind (qw/ xhr xhr_streaming eventsource htmlfile jsonp /) {
                my $o = $way->()->with(worker => undef);
                $r = $kind =~ /^xhr$|jsonp/ ? $o->open($kind)
                                            : $o->stream($kind);
                $round % 2 ? $r->reset() : $r->abort();
            }

            # too slow

            $way->();
            publish($publisher, 'ends', 'x' x 2000) for 1 .. 9;

            # refused, and refused again

            $s = $way->()->with(worker => undef);
            $r = $s->open('xhr');
            $s->poll();
            $r->abort();

            # closed at once, and once more

            $s = Snorky::SockJS->new(prefix => '/away', worker => $slot);
            $s->poll() for 1 .. 3;

            # leaves while it sends

            $s = $way->()->with(worker => undef);
            $r = $s->ask('POST', $s->path('xhr_send'), body => '["'
                . 'x' x 100000 . '"]');
            $r->reset();

            $s->ask('POST', $s->path('xhr_send'), body => '["x",'
                . join(',', ('"{}"') x 1000) . ']')->abort();
        }
    }

    is(wait_until { nothing() }, 1, 'sessions end in every way')
        or diag(json({ gauges() }));

    my $after = status_json();

    cmp_ok($after->{total}{connections} - $before->{total}{connections}, '>',
        150, 'many of them');
    cmp_ok($after->{total}{closed_slow}, '>', 10, 'some were too slow');
    is($after->{zone}{free}, $before->{zone}{free},
        'the zone has as much room as before');

    $publisher->finish();
    finish();
}


# --- the session's worker is killed -----------------------------------------

sub killed {
    start(zone => '16m', timeout => '120s');

    my $member = connect_to_worker($slots[1], '/ws',
        headers => [ 'X-Name: anna' ]);

    my $before = status_json();

    $member->rpc('chat', 'join', { channel => 'room' });

    my @sessions = map { session('/sockjs', $slots[0], "X-Name: otto $_") }
        1 .. 3;

    for my $s (@sessions) {
        is(call($s, 'chat', 'join', { channel => 'room' }), 'response',
            'a session joins');
        $member->notification();
    }

    my $pid = pid($slots[0]);
    my $o = $sessions[0]->with(worker => $slots[2]);
    $r = $o->stream('xhr_streaming');

    kill 'KILL', $pid;

    # what it had not taken yet may still come

    my $last = '';
    while (defined(my $frame = $r->frame())) { $last = $frame }
    is($last, $interrupted, 'its worker is killed');

    my %left;

    for (@sessions) {
        my $m = $member->notification() || {};
        $left{ $m->{from} // json($m) }++ if ($m->{status} // '') eq 'left';
    }

    is(join(' ', map { $left{"otto $_"} // 0 } 1 .. 3), '1 1 1',
        'each member leaves') or diag(json(\%left));
    $member->rpc('chat', 'leave', { channel => 'room' });
    is(json([ $member->notifications() ]), '[]', 'once');

    is($_->with(worker => $slots[3])->send('x'), 404, 'nobody is there')
        for @sessions;

    is(wait_until { status_json()->{zone}{free} == $before->{zone}{free}
        && live() == 4 }, 1, 'nothing of them is left in the zone');

    $member->finish();
    finish();
}


# --- a worker stands still, and is given up ---------------------------------

sub stopped {
    start(zone => '16m', timeout => '1s');

    my ($owner, $holder, $other) = @slots;

    # the session's

    $s = session('/echo', $owner);
    my $idle = session('/echo', $owner);
    my $own = $s->with(worker => undef);

    my $far = $s->with(worker => $holder);
    my $here = session('/echo', $owner);
    my $near = $here->stream('xhr_streaming');

    $r = $far->stream('xhr_streaming');

    my $pid = stop_slot($owner);
    my $sender = $far->ask('POST', $far->path('xhr_send'), body => '["late"]');

    is($r->frame(), $interrupted, 'the session stands still: it is closed');
    ok($r->ended(), 'and the response ends');

    my $status = $sender->head();
    is($status && $status->{status}, 404, 'what is sent to it finds nobody');

    $far = $idle->with(worker => $holder);
    is($far->poll(), 'o', 'another begins, by the same name');

    continue_process($pid);
    wait_until { live() == 4 };

    is($near->frame(), $at_once, 'who had been with the worker is closed');
    is($far->send('x'), 204, 'the name has one session');
    is($idle->poll(), 'a["x"]', 'also for the worker that stood still');
    is($idle->with(worker => $other)->send('y'), 204, 'and the others');
    is($far->poll(), 'a["y"]', 'where it is');
    is(wait_until { counters()->{sessions_sockjs} == 1 }, 1, 'the only one')
        or diag(json({ gauges() }));

    # the response's

    $s = session('/echo', $owner);
    $far = $s->with(worker => $holder);
    $r = $far->stream('xhr_streaming');
    $s->with(worker => $other)->send('one');
    is($r->frame(), 'a["one"]', 'a response');

    $pid = stop_slot($holder);
    $s->with(worker => $other)->send('two');

    is(frame_after($s), $interrupted, 'stands still: the session is closed');

    continue_process($pid);
    wait_until { live() == 4 };

    my @frames;
    while (defined(my $frame = $r->frame())) { push @frames, $frame }

    like("@frames", qr/^(?:a\["two"\] )?\Q$at_once\E$/,
        'and the response says so when it goes on');

    # the sender's: it is not known whether it was taken, but not twice

    $s = session('/echo', $owner);
    $far = $s->with(worker => $other);

    my $w = $s->with(worker => $holder)->dial();
    $pid = stop_slot($holder);

    $w->send_request('POST', $s->path('xhr_send'), body => '["z"]');
    wait_until { grep { $_->{state} eq 'lost' } workers() };
    is($far->send('a'), 204, 'a sender stands still: others go on');
    is($far->poll(), 'a["a"]', 'with the session');

    continue_process($pid);
    wait_until { live() == 4 };

    $status = $w->read_head($w->deadline());
    like($status && $status->{status}, qr/^(?:204|404|503)$/,
        'it is answered when it goes on');
    is($far->send('b'), 204, 'others still go on');
    is(join('', $far->receive($status->{status} == 204 ? 2 : 1)),
        $status->{status} == 204 ? 'zb' : 'b', 'and nothing comes twice');

    finish();
}


# --- the log is full --------------------------------------------------------

sub full {
    start(zone => '512k log=64k', timeout => '120s');

    my ($owner, $holder, $other, $still) = @slots;

    $s = session('/echo', $owner);
    my $far = $s->with(worker => $holder);
    my $poll = session('/echo', $owner);

    $r = $far->stream('xhr_streaming');

    my $publisher = connect_to_worker($other, '/ws');
    my $pid = stop_slot($still);

    for (1 .. 1000) {
        $publisher->call('messaging', 'publish',
            { channel => 'c', message => 'x' x 1000 });
    }

    wait_until { some_counters()->{waiting} };

    # letters to the session, and of it

    my @w = map { $far->ask('POST', $far->path('xhr_send'),
        body => Snorky::SockJS::array("far $_", 'x' x 30000)) } 1 .. 5;
    my @v = map { $s->ask('POST', $s->path('xhr_send'),
        body => Snorky::SockJS::array("near $_", 'x' x 30000)) } 1 .. 5;

    my $p = $poll->with(worker => $holder)->open('xhr');
    $poll->send('polled');

    is(!defined $r->frame(0.5) && $r->{why}, 'timeout',
        'the log is full: letters wait');

    continue_process($pid);

    is(join(' ', map { ($_->head() || {})->{status} // $_->{why} } @w, @v),
        join(' ', (204) x 10), 'when it is not, all are answered');

    my @messages = grep { !/^x/ } $r->messages(20);

    is(join(' ', sort @messages),
        join(' ', map({ "far $_" } 1 .. 5), map { "near $_" } 1 .. 5),
        'and each came once');
    is($p->frame(), 'a["polled"]', 'to whom has waited, too');
    is($far->send('last'), 204, 'all goes on');
    is($r->frame(), 'a["last"]', 'as before');

    $publisher->reset();
    finish();
}


# --- nginx stops ------------------------------------------------------------

sub stops {
    my @kinds = qw/ xhr xhr_streaming eventsource htmlfile jsonp /;

    for my $case (
        [ 'stop', 'TERM', 'c[1001,"server stops"]' ],
        [ 'quit', 'QUIT', $restart ],
        [ 'quit at once', 'QUIT', $restart, 'worker_shutdown_timeout 1s;' ],
    ) {
        my ($what, $signal, $frame, $main) = @$case;

        start(zone => '16m', timeout => '120s', main => $main // '');

        my @near = map { waiting(session('/soon', $slots[0]), $_) } @kinds;
        my @far = map { waiting(session('/soon', $slots[0])
            ->with(worker => $slots[1]), $_) } @kinds;
        my @sessions = map { session('/soon', $slots[0]) } 1 .. 5;

        kill $signal, $t->master();

        is(join(' ', map { $_->frame() // $_->{why} } @near),
            join(' ', ($frame) x @near), "$what: those of one worker");

        # the other worker may be faster

        my $other = $signal eq 'TERM'
            ? qr/\Q$frame\E|\Q$interrupted\E|eof|reset/ : qr/\Q$frame\E/;

        like(join(' ', map { $_->frame() // $_->{why} } @far),
            qr/^(?:$other ?){5}$/, "$what: and of another");
        is(wait_until { !-e $t->testdir() . '/nginx.pid' }, 1,
            "$what: nginx ends");

        $t->stop();
    }
}


# --- a worker dies inside of the critical section ---------------------------

sub anew {
    start(zone => '1m', timeout => '60s', module => $faults,
        http => 'snorky_fault counted 20;');

    my %old = map { $_->{slot} => $_->{pid} } workers();
    my @kinds = qw/ xhr_streaming eventsource htmlfile jsonp /;

    # all are on other workers than the one that dies

    my ($dies, @others) = @slots;
    my (@sessions, @responses);

    for my $kind (@kinds) {
        my $s = session('/echo', $others[0]);
        push @responses, waiting($s->with(worker => $others[1]), $kind);
        push @sessions, session('/echo', $others[2]);
    }

    for (1 .. 30) {
        my $pid = eval { session('/echo', $dies); pid($dies) };
        last if !$pid || $pid != $old{$dies};
    }

    is(wait_until { 1 == grep { $old{ $_->{slot} } != $_->{pid} } live() }, 1,
        'a worker dies while it changes the records');

    like(join(' ', map { $_->frame() // $_->{why} } @responses),
        qr/^(?:(?:\Q$at_once\E|\Q$interrupted\E) ?){4}$/,
        'all responses are told');
    is(join(' ', map { $_->with(worker => $others[0])->send('x') } @sessions),
        '404 404 404 404', 'no session is found');
    is(join(' ', map { $_->with(worker => $others[1])->poll() } @sessions),
        'o o o o', 'all begin anew');
    is(join(' ', map { $_->send('x') } @sessions), '204 204 204 204',
        'and go on');
    is(join(' ', map { $_->poll() } @sessions), join(' ', ('a["x"]') x 4),
        'as they should');
    is(wait_until { counters()->{sessions_sockjs} == 4
        && counters()->{sessions} == 4 }, 1, 'there are no others')
        or diag(json({ gauges() }));

    finish();

    is(other_alerts($t, qr/exited on signal 9$|was locked by \d+$/), '',
        'nothing else alerts');

    return;
}


# --- helpers ----------------------------------------------------------------

# at once: a quitting worker would keep closed sessions for their 60 seconds

sub finish {
    kill 'TERM', $t->master();
    $t->stop();

    return;
}


sub start {
    my (%o) = @_;

    my $text = $conf;

    $text =~ s/%%ZONE%%/$o{zone}/;
    $text =~ s/%%TIMEOUT%%/$o{timeout}/;
    $text =~ s/%%MAIN%%/$o{main} \/\/ ''/e;
    $text =~ s/%%HTTP%%/$o{http} \/\/ ''/e;

    $text = at_level($t, 'info', $text);
    $text =~ s/load_module\s+\S*ngx_snorky_module\.so;/load_module $o{module};/
        if $o{module};

    $t->write_file_expand('nginx.conf', $text);
    $t->run();

    wait_until { live() == 4 };
    @slots = map { $_->{slot} } live();

    return;
}


sub workers {
    return @{ some_status()->{workers} };
}


# also while one stands still, to which a connection may come

sub some_status {
    my $status;

    wait_until { $status = eval { status_json(undef, timeout => 1) } };

    return $status;
}


sub some_counters {
    return some_status()->{total};
}


sub live {
    return grep { $_->{state} eq 'live' } workers();
}


sub pid {
    my ($slot) = @_;

    my ($worker) = grep { $_->{slot} == $slot } workers();

    return $worker->{pid};
}


sub stop_slot {
    my ($slot) = @_;

    my $pid = pid($slot);

    stop_process($pid);

    return $pid;
}


# a session that lives in that worker

sub session {
    my ($prefix, $slot, @headers) = @_;

    my $s = Snorky::SockJS->new(prefix => $prefix, worker => $slot,
        headers => \@headers);
    my $frame = $s->poll() // $s->why();

    die "no session: $frame\n" unless $frame eq 'o';

    return $s;
}


# a response that the session knows of

sub waiting {
    my ($s, $kind) = @_;

    my $r = $kind =~ /^(?:xhr|jsonp)$/ ? $s->open($kind) : $s->stream($kind);

    wait_until { ($s->poll() // '') =~ /^c\[2010/ };

    return $r;
}


sub call {
    my ($s, $service, $command, $params) = @_;

    my $status = $s->send(envelope($service,
        { command => $command, params => $params, callId => 1 }));

    return "status $status" unless $status == 204;

    for (1 .. 10) {
        my $frame = $s->poll() // return $s->why();
        return $1 if $frame =~ /"type\\":\\"(response|error)\\"/;
    }

    return 'nothing';
}


sub subscribed {
    my ($s, $channel) = @_;

    my $type = call($s, 'messaging', 'subscribe', { channel => $channel });

    die "not subscribed: $type\n" unless $type eq 'response';

    return $s;
}


sub publish {
    my ($client, $channel, $message) = @_;

    return $client->rpc('messaging', 'publish',
        { channel => $channel, message => $message });
}


# what a session says when its response is given up

sub frame_after {
    my ($s) = @_;

    return wait_until {
        my $frame = $s->poll() // '';
        $frame !~ /^c\[2010/ && $frame;
    };
}


sub gauges {
    my $total = counters();

    return map { $_ => $total->{$_} } qw/ sessions sessions_sockjs
        subscriptions waiting /;
}


# but for the publisher

sub nothing {
    return json({ gauges() }) eq json({ sessions => 1, sessions_sockjs => 0,
        subscriptions => 0, waiting => 0 });
}
