#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Everybody speaks to all services at once, while workers are killed, stand
# still, are replaced, or die in the middle of a change.  In the end the facts
# are true: a new client is told exactly what those hold who are connected,
# and the others have seen every change once.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Model qw/ start seed /;
use Snorky::Model::Crowd;
use Snorky::Model::Crowd::Chat;
use Snorky::Model::Crowd::Cursors;
use Snorky::Model::Crowd::DataSync;
use Snorky::Model::Crowd::Messaging;
use Snorky::Stop;


my $seed = seed();

# a module in the place of the one that is loaded

my $faults = $ENV{TEST_SNORKY_FAULTS};

undef $faults unless ($ENV{TEST_NGINX_GLOBALS} // '')
    =~ /load_module\s+\S*ngx_snorky_module\.so;/;

my @places = qw/ allocated applied reserved written committed /;

# where all are told that the records were begun anew

my $anew = qr/^(?:allocated|applied)$/;

# how often a worker is killed

my $rounds = 8;

my $t = Test::Nginx->new()->has(qw/ http /)
    ->plan(2 * 8 + 3 * 7 + 3 + 10 * (@places + 2) + 1)->todo_alerts();

my $services = join "\n    ",
    'snorky_service messaging messaging;',
    'snorky_service chat chat;',
    'snorky_service cursors cursors max_cursors=4;',
    $Snorky::Model::Crowd::DataSync::SERVICES =~ s/timeout=20s/timeout=3s/r;

my %conf = (
    services => $services,
    private  => $Snorky::Model::Crowd::DataSync::PRIVATE,
    http     => "snorky_worker_timeout 1s;\n    snorky_drain 1s;",
);

my $before = start($t, %conf);
my $observed = $before->{workers}[0]{slot};


# --- killed -----------------------------------------------------------------

my $crowd = crowd($before);
my @observers = map { $crowd->add(user => "observer$_", slot => $observed,
    leave => 0) } 1 .. 3;
my @lives = map { $_->{life} } @observers;
my @late;

for my $i (1 .. $rounds) {
    goes_on($crowd) or push @late, "before kill $i";

    my ($slot, $pid) = stop_slot($crowd, $observed);

    kill 'KILL', $pid;
    continue_process($pid);

    $crowd->run(sub {
        my $next = worker($slot);
        return $next && $next->{pid} != $pid && $next->{state} eq 'live';
    }) or push @late, "the next worker after kill $i";
}

is("@late", '', "$rounds workers are killed, and all goes on");
is(json([ map { $_->{life} == shift @lives ? 1 : 0 } @observers ]),
    '[1,1,1]', 'those on another worker stay');
is(join(' ', keys %{ $crowd->codes() }), '1006', 'others lost connections');
ends($crowd, 'killed');


# --- paused -----------------------------------------------------------------

# a worker that stands still for a moment has much to catch up on, in whatever
# order it finds it

$crowd = crowd($before, window => 40, pace => 1);
@late = ();

for my $i (1 .. 40) {
    my ($slot, $pid) = stop_slot($crowd, -1, 1);
    my $answers = $crowd->{answers};

    $crowd->run(sub { $crowd->{answers} > $answers + 100 }, 0.5);
    continue_process($pid);

    $crowd->run(sub { $crowd->{answers} > $answers + 200 })
        or push @late, "pause $i";
}

is("@late", '', 'workers stand still for a moment, and all goes on');
is(json($crowd->codes()), '{}', 'nobody is closed');
ends($crowd, 'paused');

# what was said before one leaves comes before the answer, also where it is
# more than a worker reads at once

my $long = 'x' x 5000;

is(behind('chat', sub { [ 'join', { channel => 1 } ] },
    [ 'send', { channel => 1, body => $long } ],
    [ 'leave', { channel => 1 } ]), 100, 'chat: all before the leave');

is(behind('cursors', sub {
    [ 'join', { document => 1 } ], [ 'createCursor', { privateHandle => 1,
        document => 1, position => 0, status => 0 } ]
}, [ 'updateCursor', { privateHandle => 1, newData => { status => $long } } ],
    [ 'leave', { document => 1 } ]), 100, 'cursors: all before the leave');

is(behind('messaging', sub { [ 'registerParticipant', { name => $_[0] } ] },
    [ 'send', { sender => 'one', dest => 'two', body => $long } ],
    [ 'unregisterParticipant', { name => 'two' } ]), 100,
    'messaging: all before the name is given up');


# --- stopped ----------------------------------------------------------------

$crowd = crowd($before);
@observers = map { $crowd->add(user => "observer$_", slot => $observed,
    leave => 0) } 1 .. 3;
@lives = map { $_->{life} } @observers;
@late = ();

for my $i (1 .. 3) {
    goes_on($crowd) or push @late, "before stop $i";

    my ($slot, $pid) = stop_slot($crowd, $observed);

    $crowd->run(sub { worker($slot)->{state} eq 'lost' })
        or push @late, "stop $i";
    goes_on($crowd, 1) or push @late, "during stop $i";
    continue_process($pid);

    $crowd->run(sub { worker($slot)->{state} eq 'live' })
        or push @late, "after stop $i";
}

is("@late", '', 'workers stand still for too long, and all goes on');
is(json([ map { $_->{life} == shift @lives ? 1 : 0 } @observers ]),
    '[1,1,1]', 'those on another worker stay');
is(join(' ', keys %{ $crowd->codes() }), '1012', 'others are closed');
ends($crowd, 'stopped');


# --- reloaded ---------------------------------------------------------------

$crowd = crowd($before);
@late = ();

for my $i (1 .. 4) {
    goes_on($crowd) or push @late, "before reload $i";

    my %old = map { $_ => 1 } worker_pids($t);

    $t->reload();

    $crowd->run(sub {
        return !grep { $old{$_} } keys %{ { processes($t) } };
    }) or push @late, "reload $i";
}

is("@late", '', 'at reloads all goes on');
is(join(' ', keys %{ $crowd->codes() }), '1012', 'all are closed in order');
ends($crowd, 'reloaded');


# --- all of it --------------------------------------------------------------

$crowd = crowd($before, forgets => 1);
@late = ();

for my $i (1 .. $rounds) {
    goes_on($crowd) or push @late, "before $i";

    my $dice = rand;

    if ($dice < 0.5) {
        my @workers = @{ status_json()->{workers} };

        kill_worker($crowd, $workers[rand @workers]);

    } elsif ($dice < 0.75) {
        my ($slot, $pid) = stop_slot($crowd, -1);

        $crowd->run(sub { worker($slot)->{state} eq 'lost' })
            or push @late, "stop $i";
        continue_process($pid);

    } else {
        $t->reload();
    }
}

$crowd->run(sub { !shutting_down($t) }) or push @late, 'old workers';

is("@late", '', 'killed, stopped, reloaded, all goes on');
like(join(' ', sort keys %{ $crowd->codes() }), qr/^(?:1006|1012| )+$/,
    'connections are lost or closed');
ends($crowd, 'all of it');


# --- in the middle of a change ----------------------------------------------

SKIP: {
    skip 'no TEST_SNORKY_FAULTS, a module with snorky_fault',
        10 * (@places + 2) unless $faults && -f $faults;

    dies($t, $_) for @places;
    dies($t, $_, 'stop') for grep { /$anew/ } @places;
}

$t->stop();

is(other_alerts($t, qr/exited on signal 9$|zone "snorky.*was locked by \d+$/),
    '', 'no other alerts');


# --- helpers ----------------------------------------------------------------

# Options: those of its clients; forgets, of datasync's rules.

sub crowd {
    my ($status, %o) = @_;

    my %client = (leave => $o{leave} // 0.002, window => $o{window} // 3,
        pace => $o{pace});

    my $crowd = Snorky::Model::Crowd->new(rules => [
        Snorky::Model::Crowd::Messaging->new(),
        Snorky::Model::Crowd::Chat->new(),
        Snorky::Model::Crowd::Cursors->new(),
        Snorky::Model::Crowd::DataSync->new(lapse => 2,
            forgets => $o{forgets}),
    ]);

    $crowd->populate(20, $status->{workers}, %client);
    $crowd->add(%client, backend => 1, window => 1) for 1 .. 4;

    return $crowd;
}


# workers of an old configuration, who will close their clients

sub shutting_down {
    my ($t) = @_;

    return grep { /shutting down$/ } values %{ { processes($t) } };
}


# so much is answered, to all who are not on a worker that stands still

sub goes_on {
    my ($crowd, $stopped) = @_;

    return 0 unless $stopped || $crowd->run(sub { $crowd->ready() });

    my $answers = $crowd->{answers};

    return $crowd->run(sub { $crowd->{answers} > $answers + 1500 });
}


sub worker {
    my ($slot) = @_;

    my ($worker) = grep { $_->{slot} == $slot } @{ status_json()->{workers} };

    return $worker;
}


# Two clients, on two workers, make these calls by their names.  Then one of
# them speaks a hundred times, while the other's worker stands still and has a
# last call to answer: how much comes before that answer.

sub behind {
    my ($service, $first, $said, $last) = @_;

    my ($one, $two) = map {
        my ($name, $worker) = @$_;
        my $c = connect_to_worker($worker->{slot}, "/ws?user=$name",
            port => port(8081));

        $c->rpc($service, @$_) for $first->($name);

        $c;
    } [ 'one', $before->{workers}[0] ], [ 'two', $before->{workers}[1] ];

    my $pid = worker($before->{workers}[1]{slot})->{pid};
    my $heard = counters()->{messages_in};

    # in one piece, and unread as yet: the worker is given up after a second

    my ($command, $params) = @$said;
    my $speech = frame(TEXT, envelope($service,
        { command => $command, params => $params, callId => 'said' })) x 100;

    stop_process($pid);
    $one->send($speech);
    wait_until { counters()->{messages_in} >= $heard + 100 };

    my $id = $two->call($service, @$last);

    continue_process($pid);

    my $r = $two->reply($id) || {};
    my $count = $two->notifications();

    $_->finish() for $one, $two;

    return ($r->{type} // '') eq 'response' ? $count : 'no response';
}


# Kills a worker.  Whoever was on it may have lost what he had; and if it was
# in the middle of a change, all begin anew, each when his worker notices.

sub kill_worker {
    my ($crowd, $worker) = @_;

    my ($slot, $pid) = @$worker{qw/ slot pid /};

    stop_process($pid);

    $crowd->doubt(status_json()->{zone}{locked_by} == $pid ? undef : $slot);

    kill 'KILL', $pid;
    continue_process($pid);

    return;
}


# Stops one of the workers, but for that one, and not in the middle of a
# change: its slot and pid.  For a moment, or it loses its clients.

sub stop_slot {
    my ($crowd, $not, $moment) = @_;

    for (;;) {
        my @workers = grep { $_->{slot} != $not && $_->{state} eq 'live' }
            @{ status_json()->{workers} };
        my ($slot, $pid) = @{ $workers[rand @workers] }{qw/ slot pid /};

        stop_process($pid);

        if (status_json()->{zone}{locked_by} != $pid) {
            $crowd->doubt($slot) unless $moment;
            return ($slot, $pid);
        }

        continue_process($pid);
    }
}


# five tests

sub ends {
    my ($crowd, $name, $status) = @_;

    $status //= $before;

    ok($crowd->settle(), "$name: all is answered");
    ok($crowd->check(), "$name: what all see is what is true");
    is($crowd->complaints(), '', "$name: it is what can have happened")
        or diag("TEST_SNORKY_SEED=$seed");
    is($crowd->finish(), 1, "$name: all leave");

    # tokens that nobody knows of lapse

    wait_until { status_json()->{zone}{free} == $status->{zone}{free} };

    is(status_json()->{zone}{free}, $status->{zone}{free},
        "$name: the zone has as much room as before");

    return;
}


# ten tests

sub dies {
    my ($t, $place, $how) = @_;

    my $nth = 200 + int rand 1000;
    my $name = join ' ', $place, $nth, $how // ();

    my $new = start($t, %conf, module => $faults, http =>
        "$conf{http}\n    snorky_fault $name;");
    my $crowd = crowd($new, forgets => 1, leave => 0);

    ok($crowd->run(sub { %{ $crowd->codes() } }, 60), "$name: a worker dies");

    my $start = time();
    my $answers = $crowd->{answers};

    ok($crowd->run(sub { $crowd->{answers} > $answers }),
        "$name: others are answered");
    cmp_ok(time() - $start, '<', 2, sprintf "$name: soon (%.3f s)",
        time() - $start);

    my @clients = grep { !$_->{backend} } @{ $crowd->{clients} };

    # at these places all are closed, at others only its own

    ok($crowd->run(sub {
        my %ended = map { $_->{life}{client}{number} => 1 }
            @{ $crowd->{ends} };

        return $crowd->ready()
            && ($place !~ $anew || @clients <= grep { $ended{$_} }
                map { $_->{number} } @clients);
    }), "$name: all who are closed come back");
    ok(goes_on($crowd), "$name: all goes on");

    ends($crowd, $name, $new);

    return;
}
