#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# A worker is killed while everybody publishes and listens.  Its own clients
# lose their connection; those of the others lose nothing, and the next
# worker takes its place.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Load;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my $kills = 20;
my $workers = 4;

# nginx itself writes an alert when a worker is killed: the others are looked
# for below

my $t = Test::Nginx->new()->has(qw/ http /)->plan(30)->todo_alerts();

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 1m;
    snorky_drain 60s;
    snorky_send_buffer 64m;
    snorky_service pubsub messaging;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;

        # with a socket for each worker, connections come to all of them
        listen       127.0.0.1:8081 reuseport;

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

$t->run();

my $port = port(8081);

wait_until { workers() == $workers };

my $before = status_json();
my @slots = map { $_->{slot} } @{ $before->{workers} };


# --- one at a time ----------------------------------------------------------

my $load = Snorky::Load->new(port => $port);

for my $slot (@slots) {
    $load->subscriber(name => "subscriber $slot/$_", worker => $slot)
        for 1 .. 3;
}

$load->run(sub { $load->ready() });

for my $slot (@slots) {
    $load->publisher(name => "publisher $slot/$_", worker => $slot,
        window => 1 + $_, both => $_ % 2) for 1 .. 2;
}

$load->run(sub { $load->acked() > 500 });

my (@late, @fallen, %killed, %victims);
my $total = counters();

for my $i (1 .. $kills) {
    my ($victim) = grep { $_->{slot} == $slots[rand @slots] } @{ live() };
    redo unless $victim;

    $killed{ $victim->{pid} } = 1;
    my @own = grep { ($_->{serves} // -1) == $victim->{slot} }
        @{ $load->{clients} };
    my $ends = $load->ends();

    $victims{$_->{name}}++ for @own;

    my $acked = $load->acked();
    kill 'KILL', $victim->{pid};

    $load->run(sub { $load->acked() > $acked + 1000 })
        or push @late, "load after kill $i";

    # all who were on it have noticed, before they count as somebody's again

    $load->run(sub { $load->ends() >= $ends + @own })
        or push @late, "ends after kill $i";

    # its place is taken

    $load->run(sub {
        my ($next) = grep { $_->{slot} == $victim->{slot} } @{ live() };
        return $next && !$killed{ $next->{pid} };
    }) or push @late, "next worker after kill $i";

    $load->run(sub { $load->ready() }) or push @late, "clients of kill $i";

    # what the dead have counted stays

    my @less;

    $load->run(sub {
        my $now = counters();
        @less = grep { !/^(?:sessions|subscriptions|channels|waiting)/
            && $now->{$_} < $total->{$_} } keys %$now;
        $total = $now if !@less;
        return !@less;
    }, 3) or push @fallen, map { "$_ after kill $i" } @less;
}

is("@late", '', "$kills workers are killed, and all goes on")
    or diag("TEST_SNORKY_SEED=$seed");
is("@fallen", '', 'totals never fall');
ok($load->settle(), 'everything is answered');

my %codes;
$codes{$_->{code}}++ for $load->ends();

my $gone = 0;
$gone += $_ for values %victims;

is(json([ sort keys %codes ]), '["1006"]', 'connections are lost');
is(scalar($load->ends()), $gone, "but only those of the killed ($gone)");
is(json([ $load->errors() ]), '[]', 'no call failed');
is($load->complaints(), '', 'one order, nothing lost, nothing twice')
    or diag("TEST_SNORKY_SEED=$seed");
cmp_ok($load->acked(), '>', $kills * 1000,
    'with ' . $load->acked() . ' publications');


# --- the accounting ---------------------------------------------------------

my $clients = grep { $_->{c} } @{ $load->{clients} };
my $listeners = grep { $_->{period} } @{ $load->{clients} };

is(wait_until { counters()->{sessions} == $clients }, 1,
    "the sessions are those that there are ($clients)");
is(counters()->{sessions_websocket}, $clients, 'by their transport, too');
is(counters()->{subscriptions}, $listeners, "as are subscriptions");
is(status_json()->{zone}{free}, $before->{zone}{free},
    'the zone has as much room as before');
is(join(' ', map { "$_->{slot} $_->{state}" } @{ live() }),
    join(' ', map { "$_ live" } @slots), 'the same places are taken');

$load->finish();

is(wait_until { counters()->{sessions} == 0 }, 1, 'no session is left');
is(counters()->{subscriptions} . ' ' . counters()->{channels}, '0 0',
    'no subscription is');


# --- every new worker serves ------------------------------------------------

my @clients = map { connect_to_worker($_, '/ws', port => $port) } @slots;

$_->rpc('messaging', 'subscribe', { channel => 'c' }) for @clients;

for my $i (0 .. $#clients) {
    my $r = $clients[$i]->rpc('messaging', 'publish',
        { channel => 'c', message => $i });

    is(join(' ', $r->{type}, map { $_->notification()->{message} } @clients),
        "response $i $i $i $i", "all hear worker $slots[$i]");
}


# --- all at once ------------------------------------------------------------

my @pids = worker_pids($t);
my $counted = counters()->{publications};

kill 'KILL', @pids;

is(scalar(grep { $_->gone() } @clients), 4, 'all are killed');
is(wait_until { eval {
    my @now = worker_pids($t);
    @now == 4 && !grep { my $pid = $_; grep { $_ == $pid } @pids } @now
        and workers() == 4;
} }, 1, 'all come again');

@clients = map { connect_to_worker($_, '/ws', port => $port) } @slots;
$_->rpc('messaging', 'subscribe', { channel => 'c' }) for @clients;
$clients[0]->rpc('messaging', 'publish', { channel => 'c', message => 'on' });

is(join(' ', map { $_->notification()->{message} } @clients),
    'on on on on', 'and go on');
is(counters()->{publications}, $counted + 1, 'with their totals');
is(counters()->{sessions}, 4, 'and with no session of old');

$_->finish() for @clients;


# --- one that was leaving ---------------------------------------------------

# nginx puts none in its place: the others find out, and take its records

my ($leaving) = @{ live() };
my %old = map { $_ => 1 } worker_pids($t);

@clients = map { connect_to_worker($leaving->{slot}, '/ws', port => $port) }
    1 .. 5;
$_->rpc('messaging', 'subscribe', { channel => 'c' }) for @clients;

$t->reload();
wait_until { 4 == grep { !$old{ $_->{pid} } } @{ live() } };

# until they have heard of it, another is put in its place

wait_until { !grep { $old{ $_->{pid} } && !$_->{quitting} } @{ live() } };

my $listener = connect_to_worker([ map { $_->{slot} }
    grep { !$old{ $_->{pid} } } @{ live() } ], '/ws', port => $port);
$listener->rpc('messaging', 'subscribe', { channel => 'c' });

$total = counters();
kill 'KILL', $leaving->{pid};

# more than the log holds

for my $i (1 .. 100) {
    $listener->rpc('messaging', 'publish', { channel => 'c',
        message => [ $i, 'x' x 10_000 ] });
}

is(join(' ', map { $_->{message}[0] } $listener->notifications()),
    join(' ', 1 .. 100), 'one that was leaving is killed: others go on');
is(wait_until { !grep { $_->{pid} == $leaving->{pid} } @{ live() } }, 1,
    'its place is free');
is(counters()->{subscriptions}, 1, 'its subscriptions are gone');
cmp_ok(counters()->{connections}, '>=', $total->{connections},
    'the totals are not');

$listener->finish();

$t->stop();

# some may have held the zone's mutex, which nginx frees and tells

is(other_alerts($t, qr/exited on signal 9$|zone "snorky.*was locked by \d+$/),
    '', 'no other alerts');
is(scalar(() = $t->read_file('error.log') =~ /exited on signal 9$/mg),
    $kills + 5, 'each was killed by us');


# --- helpers ----------------------------------------------------------------

sub live {
    return [ grep { $_->{state} eq 'live' } @{ status_json()->{workers} } ];
}


sub workers {
    return scalar @{ live() };
}
