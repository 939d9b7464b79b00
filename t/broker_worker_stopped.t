#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# A worker stands still.  The others wait for it as long as they must, then
# give it up and go on; when it moves again, its clients are closed, so that
# they come back, and see no gap.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Load;
use Snorky::Stop;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my $t = Test::Nginx->new()->has(qw/ http /)->plan(59)->todo_alerts();

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes %%WORKERS%%;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone %%ZONE%%;
    snorky_worker_timeout %%TIMEOUT%%;
    snorky_publish_timeout 60s;
    snorky_send_buffer 64m;
    snorky_service pubsub messaging;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC


# --- given up ---------------------------------------------------------------

configure($t, workers => 4, zone => '256k log=16k', timeout => '1s');
$t->run();
wait_until { live() == 4 };

my @slots = map { $_->{slot} } live();
my $load = Snorky::Load->new(cut => 1);

for my $slot (@slots) {
    $load->subscriber(name => "subscriber $slot/$_", worker => $slot)
        for 1 .. 2;
}

$load->run(sub { $load->ready() });

for my $slot (@slots) {
    $load->publisher(name => "publisher $slot/$_", worker => $slot,
        window => $_ * 5, both => $_ % 2) for 1 .. 2;
}

$load->run(sub { $load->acked() > 1000 });

for my $round (1 .. 4) {
    $load->run(sub { $load->ready() });

    my $ends = $load->ends();
    my $slot = $slots[rand @slots];
    my @own = grep { $_->{serves} == $slot } @{ $load->{clients} };
    my $pid = stop_slot($slot);
    my $start = time();

    is($load->run(sub { state_of($slot) eq 'lost' }), 1,
        "$round: a worker that stands still is given up");
    cmp_ok(time() - $start, '>', 0.7, sprintf
        "$round: not before its time (%.1f s)", time() - $start);

    my $acked = $load->acked();

    is($load->run(sub { $load->acked() > $acked + 2000 }), 1,
        "$round: the others go on");
    is(scalar($load->ends()), $ends, "$round: nobody is closed meanwhile");

    continue_process($pid);

    is($load->run(sub { $load->ends() >= $ends + @own }), 1,
        "$round: when it moves again, its clients are closed");
    is(join(' ', map { "$_->{worker} $_->{code}" }
        ($load->ends())[$ends .. $load->ends() - 1]),
        join(' ', ("$slot 1012") x @own), "$round: with 1012");
    is($load->run(sub { state_of($slot) eq 'live' }), 1,
        "$round: it is one of them again");
}

cmp_ok(counters()->{waits}, '>', 0, 'the others had to wait');
ok($load->settle(), 'everything is answered');
is(json([ $load->errors() ]), '[]', 'no call failed');
is($load->complaints(), '', 'one order, no gap, nothing lost')
    or diag("TEST_SNORKY_SEED=$seed");

is(given_up($t), 4, 'the error log tells it');

my $clients = grep { $_->{c} } @{ $load->{clients} };

is(wait_until { counters()->{sessions} == $clients }, 1,
    'the sessions are those that there are');
is(wait_until { counters()->{sessions_websocket} == $clients }, 1,
    'by their transport, too') or diag(counters()->{sessions_websocket});

$load->finish();

is(wait_until { json({ gauges() }) eq json({ sessions => 0,
    sessions_websocket => 0, subscriptions => 0, channels => 0,
    waiting => 0 }) }, 1, 'nothing is left') or diag(json({ gauges() }));


# each serves again, and hears the others

my @all = map { connect_to_worker($_) } @slots;
$_->rpc('messaging', 'subscribe', { channel => 'c' }) for @all;
$all[$_]->rpc('messaging', 'publish', { channel => 'c', message => $_ })
    for 0 .. 3;

is(join(' ', map { heard($_, 4) } @all),
    '0 1 2 3 ' x 3 . '0 1 2 3', 'each serves again');

$_->finish() for @all;


# --- killed while it stood still --------------------------------------------

my ($worker) = live();
my $c = connect_to_worker($worker->{slot});

stop_process($worker->{pid});
wait_until { state_of($worker->{slot}) eq 'lost' };
kill 'KILL', $worker->{pid};

is(wait_until { grep { $_->{slot} == $worker->{slot}
    && $_->{pid} != $worker->{pid} } live() }, 1,
    'when it is killed, another takes its place');
is($c->close_in() // $c->{why}, $c->{why}, 'its client loses the connection');


# --- reloaded while it stood still ------------------------------------------

($worker) = live();
$c = connect_to_worker($worker->{slot});
$c->rpc('messaging', 'subscribe', { channel => 'c' });

my %old = map { $_ => 1 } worker_pids($t);

stop_process($worker->{pid});
wait_until { state_of($worker->{slot}) eq 'lost' };
$t->reload();

is(wait_until { scalar(grep { !$old{ $_->{pid} } } live()) == 4 }, 1,
    'after a reload there are new workers');

my $new = Snorky->connect('/ws');
$new->rpc('messaging', 'publish', { channel => 'c', message => 'missed' });
continue_process($worker->{pid});

is($c->close_in() // $c->{why}, 1012, 'its client is closed with 1012');
is($c->{closed}{reason}, 'service restart; spread=10000',
    'at once with all others, who should not all come back so');
is(json([ $c->notifications() ]), '[]', 'and sees no gap');
$_->{sock}->close() for $c, $new;
is(wait_until { !grep { $old{$_} } keys %{ { processes($t) } } }, 1,
    'it leaves, like the other old ones');
is(scalar(@{ status_json()->{workers} }), 4, 'its place is free');

@slots = map { $_->{slot} } live();


# --- all together -----------------------------------------------------------

# as when the machine is suspended: nobody is to blame, also where they wake
# one after another

@all = map { connect_to_worker($_) } @slots;
$_->rpc('messaging', 'subscribe', { channel => 'c' }) for @all;

for my $pause (0, 0, 0.2, 0.3) {
    my @pids = worker_pids($t);
    my $before = given_up($t);

    stop_process(@pids);
    sleep 2.5;

    for my $pid (@pids) {
        continue_process($pid);
        sleep $pause;
    }

    # time to judge

    sleep 2;

    is(given_up($t) - $before, 0, 'all stood still together'
        . ($pause ? ' and wake one after another' : '')
        . ', none is given up');
}

$all[$_]->rpc('messaging', 'publish', { channel => 'c', message => $_ })
    for 0 .. 3;

is(join(' ', map { heard($_, 4) } @all),
    '0 1 2 3 ' x 3 . '0 1 2 3', 'and no client was closed');

$_->finish() for @all;

$t->stop();
is(other_alerts($t, qr/exited on signal 9$/), '', 'no alerts');


# --- in time ----------------------------------------------------------------

# the ring is full long before the limit; who moves again in time has lost
# nothing, and its clients see nothing of it

configure($t, workers => 3, zone => '256k log=16k', timeout => '60s');
$t->run();
wait_until { live() == 3 };

@slots = map { $_->{slot} } live();
$load = Snorky::Load->new();

$load->subscriber(name => "subscriber $_", worker => $_) for @slots;
$load->run(sub { $load->ready() });
$load->publisher(name => "publisher $_", worker => $_, window => 10)
    for @slots;

$load->run(sub { $load->acked() > 1000 });

for my $slot (@slots) {
    my $pid = stop_slot($slot);

    is($load->run(sub { counters()->{waiting} == 2 }), 1,
        "without worker $slot, the others must wait");
    continue_process($pid);

    my $acked = $load->acked();

    $load->run(sub { $load->acked() > $acked + 1000 });
}

ok($load->settle(), 'everything is answered in the end');
is(scalar($load->ends()), 0, 'nobody was closed');
is(json([ $load->errors() ]), '[]', 'no call failed');
is($load->complaints(), '', 'one order, no gap, nothing lost');
is(counters()->{waiting}, 0, 'nobody waits');

$load->finish();


# --- helpers ----------------------------------------------------------------

sub configure {
    my ($t, %o) = @_;

    my $text = $conf;

    $text =~ s/%%WORKERS%%/$o{workers}/;
    $text =~ s/%%ZONE%%/$o{zone}/;
    $text =~ s/%%TIMEOUT%%/$o{timeout}/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));

    return;
}


sub live {
    return grep { $_->{state} eq 'live' } @{ status_json()->{workers} };
}


sub state_of {
    my ($slot) = @_;

    my ($worker) = grep { $_->{slot} == $slot } @{ status_json()->{workers} };

    return $worker ? $worker->{state} : 'none';
}


# how many workers have been, in the life of this log

sub given_up {
    my ($t) = @_;

    return scalar(() = $t->read_file('error.log') =~ /and is given up$/mg);
}


sub heard {
    my ($client, $count) = @_;

    return join ' ', map {
        my $m = $client->notification();
        $m ? $m->{message} : $client->{why};
    } 1 .. $count;
}


sub gauges {
    my $total = counters();

    return map { $_ => $total->{$_} } qw/ sessions sessions_websocket
        subscriptions channels waiting /;
}


# Stops the worker that has this slot; returns its pid.  One that is stopped
# just when it has the zone's mutex is another case (broker_worker_faults.t):
# it goes on, to be stopped in a better moment.

sub stop_slot {
    my ($slot) = @_;

    my ($worker) = grep { $_->{slot} == $slot } live();
    my $pid = $worker->{pid};

    for (;;) {
        stop_process($pid);
        return $pid if status_json()->{zone}{locked_by} != $pid;
        continue_process($pid);
    }
}
