#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Subscriptions outlive the workers that authorized them: those that leave at
# a reload, those that are killed, those that stand still.  With the worker
# of the client that acquired them they go.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Deltas;
use Snorky::Stop;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

# nginx itself writes an alert when a worker is killed: the others are looked
# for below

my $t = Test::Nginx->new()->has(qw/ http /)->plan(55)->todo_alerts();

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
    snorky_drain %%DRAIN%%;
    snorky_worker_timeout %%TIMEOUT%%;
    snorky_send_buffer 64m;

    snorky_service datasync datasync;
    snorky_service datasync short timeout=1s;
    %%DEALERS%%
    snorky_dealer short all_m broadcast model=m;

    snorky_registry private {
        snorky_service datasync_backend sync frontend=datasync;
        snorky_service datasync_backend short_sync frontend=short;
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

        location /private {
            snorky_websocket registry=private;
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

configure($t);
$t->run();
wait_until { live() == 4 };

my $port = port(8081);
my @slots = map { $_->{slot} } live();
my $free = status_json()->{zone}{free};
my (%killed, $r);


# --- old workers and new ones -----------------------------------------------

# a quitting worker closes one of its clients at once, and the next ones later

my @decoys = decoys();
my $old = connect_to_worker($slots[0], '/ws', port => $port);
my $old_backend = connect_to_worker($slots[1], '/private', port => $port);
my $heard = authorize($old_backend);

ask($old, 'acquireSubscription', $heard);
push @decoys, decoys();

my $before = authorize($old_backend);
my $gone = authorize($old_backend);

publish($old_backend, 1);
my %old = reload_quickly($t);
my @new = map { $_->{slot} } grep { !$old{ $_->{pid} } } live();
my $backend = Snorky->dial(port => $port);
my $new = Snorky->connect('/ws', port => $port);

is(scalar(@new), 4, 'there are new workers');

publish($backend, 2);
publish($old_backend, 3);
publish($backend, 4);

$r = ask($new, 'acquireSubscription', $before);
is("$r->{type} $r->{seen}", 'response 1 2 3 4',
    'what was authorized before a reload can be acquired after it');

publish($old_backend, 5);
publish($backend, 6);
is(heard($new, 2), '5 6', 'and hears old and new workers');
is(heard($old, 6), '1 2 3 4 5 6', 'as one of before does');

my $after = authorize($backend);

publish($old_backend, 7);
publish($backend, 8);
$r = ask($old, 'acquireSubscription', $after);
is("$r->{type} $r->{seen}", 'response 7 8 7 8',
    'what was authorized after it can be acquired by an old client');
publish($backend, 9);
is(heard($old, 2), '9 9', 'and is heard there');
is(heard($new, 3), '7 8 9', 'as by others');

is(ask($new, 'acquireSubscription', $after)->{message},
    'Subscription already acquired', 'new ones know it');
is(ask($new, 'cancelSubscription', $after)->{message},
    'No such subscription', 'but have no part in it');
is(ask($old, 'cancelSubscription', $after)->{type}, 'response',
    'its owner cancels it');
is(ask($new, 'acquireSubscription', $after)->{message},
    'No such subscription', 'and all know');

# the old workers leave

$_->finish() for grep { !$_->{eof} } $old, $old_backend, @decoys;

is(wait_until { live() == 4 }, 1, 'the old workers leave');
publish($backend, 10);
$r = ask($new, 'acquireSubscription', $gone);
is("$r->{type} $r->{seen}", join(' ', 'response', 10, 1 .. 10),
    'what one that has left has authorized can be acquired');
is(ask($new, 'acquireSubscription', $heard)->{message}, 'No such subscription',
    'what was acquired by a client of it has gone');

$new->finish();
is(wait_until { status_json()->{zone}{free} == $free }, 1,
    'the zone has as much room as before') or diag(free());


# --- races over a reload ----------------------------------------------------

for my $round (1 .. 3) {
    configure($t, drain => '3600s', zone => 4 + $round . 'm');
    reload_and_wait($t);

    my $race = Snorky::Deltas->new(port => $port);

    @decoys = decoys();
    $race->authorizer(kind => 'ws') for 1 .. 4;
    $race->reference();
    $race->publisher(kind => 'ws', window => 2, batch => 2) for 1 .. 4;
    subscriptions($race, 25, 0, 250);
    push @decoys, decoys();

    $race->budget(100);
    $race->spend();

    $t->reload();
    $race->budget(60);

    # the load goes on while they change

    my $came = $race->run(sub {
        $race->budget(1) if $race->{budget} < 1;

        my @quitting = grep { $_->{quitting} } live();
        return @quitting == 4 && live() == 8;
    });

    is($came, 1, "$round: old and new workers");
    $race->authorizer(kind => 'http') for 1 .. 4;
    $race->publisher(kind => 'http', window => 2, batch => 2) for 1 .. 4;
    subscriptions($race, 25, $race->{calls}, 100);
    $race->budget(150);
    $race->settle();

    is($race->complaints(), '', "$round: each subscription sees its own, "
        . 'each once, in order') or diag("TEST_SNORKY_SEED=$seed");
    $race->finish();
    $_->finish() for grep { !$_->{eof} } @decoys;
}


# --- other dealers ----------------------------------------------------------

configure($t);
reload_and_wait($t);

$backend = Snorky->dial(port => $port);
my $client = Snorky->connect('/ws', port => $port);
my ($m, $n) = map { authorize($backend, "all_$_") } 'm', 'n';

publish($backend, 'm1', 'm');
publish($backend, 'n1', 'n');

# the same in another order, with others before them

configure($t, dealers => join '',
    (map { "snorky_dealer datasync more_$_ broadcast model=more_$_;\n" }
        1 .. 70),
    map { "$_\n" } reverse split /\n/, $Snorky::Deltas::DEALERS);
reload_and_wait($t);

$backend = Snorky->dial(port => $port);
$client = Snorky->connect('/ws', port => $port);

publish($backend, 'm2', 'm');
publish($backend, 'n2', 'n');
publish($backend, 'more', 'more_1');

$r = ask($client, 'acquireSubscription', $m);
is("$r->{type} $r->{seen}", 'response m1 m2',
    'the dealers may come in another order after a reload');
publish($backend, 'm3', 'm');
is(heard($client, 1), 'm3', 'what was authorized before hears on');
$r = ask($client, 'acquireSubscription', $n);
is("$r->{type} $r->{seen}", 'response n1 n2', 'each its own');

# one is no more

$m = authorize($backend, 'by_m');
configure($t, dealers => $Snorky::Deltas::DEALERS =~ s/.* by_m .*\n//r);
reload_and_wait($t);

$client = Snorky->connect('/ws', port => $port);
$backend = Snorky->dial(port => $port);
is(ask($client, 'acquireSubscription', $m)->{message}, 'No such subscription',
    'without its dealer, a subscription is none');
is(ask($client, 'acquireSubscription', authorize($backend))->{type},
    'response', 'others are');

# another zone

$m = authorize($backend);
configure($t, zone => '3m');
reload_and_wait($t);
$client = Snorky->connect('/ws', port => $port);
is(ask($client, 'acquireSubscription', $m)->{message}, 'No such subscription',
    'another zone has no subscriptions');


# --- killed -----------------------------------------------------------------

@slots = map { $_->{slot} } live();
$free = status_json()->{zone}{free};

my ($a, $b, $c, $d) = map { connect_to_worker($_, '/ws', port => $port) }
    @slots;

# the one that authorized

my $from = backend_of($slots[0]);
my ($early, $late) = map { authorize($from) } 1, 2;

publish($from, 1);
killed($slots[0]);

$backend = backend_of($slots[1]);
publish($backend, 2);
$r = ask($c, 'acquireSubscription', $early);
is("$r->{type} $r->{seen}", 'response 1 2',
    'the worker that authorized is killed: its subscription waits');

# the one in its place, too

$a = connect_to_worker($slots[0], '/ws', port => $port);
publish(backend_of($slots[0]), 3);
$r = ask($a, 'acquireSubscription', $late);
is("$r->{type} $r->{seen}", 'response 1 2 3', 'also for who comes to the next');
is(heard($c, 1), '3', 'all hear it');

# the one that published

publish($from = backend_of($slots[3]), 4);
is(heard($a, 1) . heard($c, 1), '44', 'a worker publishes');
$late = authorize($backend);
publish($from, 5);
killed($slots[3]);
$d = connect_to_worker($slots[3], '/ws', port => $port);
$r = ask($d, 'acquireSubscription', $late);
is("$r->{type} $r->{seen}", 'response 5',
    'and is killed: what it said is kept');
is(heard($a, 1) . heard($c, 1), '55', 'and was heard');

# the one whose client acquired

killed($slots[2]);
is($c->gone(), 1, 'the worker of a client is killed');
is(wait_until { ask($a, 'acquireSubscription', $early)->{message}
    eq 'No such subscription' }, 1, 'then its subscription has gone');
is(ask($a, 'cancelSubscription', $early)->{message}, 'No such subscription',
    'nobody has it');
publish($backend, 6);
is(heard($a, 1) . heard($d, 1), '66', 'the others have theirs');

# it may have acquired while others wait

$late = authorize($backend);
my $other = authorize($backend);
$c = connect_to_worker($slots[2], '/ws', port => $port);
publish($backend, 7);
$r = ask($c, 'acquireSubscription', $late);
is("$r->{type} $r->{seen}", 'response 7', 'one of two acquires');
killed($slots[2]);
publish($backend, 8);
$r = ask($b, 'acquireSubscription', $other);
is("$r->{type} $r->{seen}", 'response 7 8',
    'and is killed: the other gets its own');

# all at once

$late = authorize($backend);
publish($backend, 9);
killed(@slots);
$a = connect_to_worker($slots[0], '/ws', port => $port);
$backend = backend_of($slots[1]);
publish($backend, 10);
$r = ask($a, 'acquireSubscription', $late);
is("$r->{type} $r->{seen}", 'response 9 10', 'all are killed: it waits');
$a->finish();
is(wait_until { status_json()->{zone}{free} == $free }, 1,
    'the zone has as much room as before') or diag(free());


# --- the time of a token whose worker is dead -------------------------------

$client = connect_to_worker($slots[0], '/ws', port => $port);
$from = backend_of($slots[2]);

my $start = time();
my @lapsing = map { authorize($from, 'all_m', 'short_sync') } 1 .. 100;
my @rest = map { authorize($from, 'all_m', 'short_sync') } 1 .. 10;

publish($from, 'x' x 1000, 'm', 'short_sync');

my $authorized = time();
my $lapsed;

kill_slots($slots[2]);

while (defined(my $next = shift @lapsing)) {
    $r = ask($client, 'acquireSubscription', $next, 'short');
    $lapsed = time();
    last if $r->{type} ne 'response';
    sleep 0.05;
}

is($r->{message}, 'No such subscription',
    'the worker that authorized is killed: a token lapses');
cmp_ok($lapsed - $start, '>', 0.95,
    sprintf 'not before its time (%.1f s)', $lapsed - $start);
cmp_ok($lapsed - $authorized, '<', 5,
    sprintf 'and not long after it (%.1f s)', $lapsed - $authorized);

$client->finish();

# whoever does not ask for them

is(wait_until { status_json()->{zone}{free} == $free }, 1,
    'and its memory is free again') or diag(free());
back_again();


# --- one that stands still --------------------------------------------------

configure($t, timeout => '60s');
reload_and_wait($t);
@slots = map { $_->{slot} } live();
$free = status_json()->{zone}{free};

$backend = backend_of($slots[0]);
$client = connect_to_worker($slots[1], '/ws', port => $port);
my $sleeper = connect_to_worker($slots[3], '/ws', port => $port);

ask($sleeper, 'acquireSubscription', authorize($backend));

my $pid = pid_of($slots[3]);

stop_process($pid);
$start = time();

my $while = authorize($backend);

publish($backend, $_) for 1 .. 3;
$r = ask($client, 'acquireSubscription', $while);
is("$r->{type} $r->{seen}", 'response 1 2 3',
    'another worker stands still: all goes on');
publish($backend, 4);
is(heard($client, 1), '4', 'and is heard');
cmp_ok(time() - $start, '<', 8, sprintf 'without waiting (%.1f s)',
    time() - $start);

continue_process($pid);
is(heard($sleeper, 4), '1 2 3 4', 'when it moves again, its clients get all');

$_->finish() for $client, $sleeper;

# for too long

configure($t, timeout => '1s');
reload_and_wait($t);
@slots = map { $_->{slot} } live();

$backend = backend_of($slots[0]);
$client = connect_to_worker($slots[1], '/ws', port => $port);
$sleeper = connect_to_worker($slots[3], '/ws', port => $port);
$from = backend_of($slots[3]);

my $held = authorize($from);
my $waits = authorize($from);

ask($sleeper, 'acquireSubscription', $held);
$pid = pid_of($slots[3]);
stop_process($pid);

publish($backend, 1);
wait_until { !grep { $_->{slot} == $slots[3] } live() };
publish($backend, 2);

$r = ask($client, 'acquireSubscription', $waits);
is("$r->{type} $r->{seen}", 'response 1 2',
    'one is given up: what it authorized can be acquired');

continue_process($pid);
is($sleeper->close_in(), 1012, 'its clients are closed when it moves');
is(wait_until { ask($client, 'acquireSubscription', $held)->{message}
    eq 'No such subscription' }, 1, 'and theirs has gone');
publish($backend, 3);
is(heard($client, 1), '3', 'the others go on');

$client->finish();
is(wait_until { live() == 4 && status_json()->{zone}{free} == $free }, 1,
    'the zone has as much room as before') or diag(free());

$t->stop();

is(other_alerts($t, qr/exited on signal 9$|zone "snorky.*was locked by \d+$/),
    '', 'no other alerts');


# --- helpers ----------------------------------------------------------------

sub configure {
    my ($test, %o) = @_;

    my $text = $conf;

    $o{zone} ||= '4m';
    $o{drain} ||= '600s';
    $o{timeout} ||= '30s';
    $o{dealers} ||= $Snorky::Deltas::DEALERS;

    $text =~ s/%%${\ uc $_ }%%/$o{$_}/ for keys %o;

    $test->write_file_expand('nginx.conf', at_level($test, 'info', $text));

    return;
}


sub live {
    return grep { $_->{state} eq 'live' } @{ status_json()->{workers} };
}


sub free {
    return status_json()->{zone}{free} . " of $free";
}


# a client on each worker

sub decoys {
    return map { connect_to_worker($_->{slot}, '/ws', port => $port) }
        grep { !$_->{quitting} } live();
}


# Until the new workers serve, and only they take connections; the old ones.

sub reload_quickly {
    my ($test) = @_;

    my %before = map { $_ => 1 } keys %{ { processes($test) } };

    $test->reload();

    wait_until(sub {
        my @now = grep { !$before{$_} } worker_pids($test);
        return @now == 4 && @now == worker_pids($test)
            && 4 == grep { !$before{ $_->{pid} } } live();
    }, 30) or diag('the new workers do not come');

    return %before;
}


# Until the old workers have left, too; their clients are ended for that.

sub reload_and_wait {
    my ($test) = @_;

    my %before = reload_quickly($test);

    # nginx waits for connections of clients, which are this test's

    undef $_ for $backend, $client, $old, $new, $from;

    wait_until(sub {
        my %now = processes($test);
        return 0 if grep { $before{$_} } keys %now;
        return keys %now == 4 && live() == 4;
    }, 30) or diag('the old workers do not leave');

    return;
}


sub pid_of {
    my ($slot) = @_;

    my ($worker) = grep { $_->{slot} == $slot } live();

    return $worker->{pid};
}


sub kill_slots {
    my @pids = map { pid_of($_) } @_;

    $killed{$_} = 1 for @pids;
    kill 'KILL', @pids;

    return;
}


# until all workers are there again

sub back_again {
    wait_until(sub {
        my @workers = eval { live() };
        return @workers == 4 && !grep { $killed{ $_->{pid} } } @workers;
    }) or diag('a worker is missing');

    return;
}


sub killed {
    kill_slots(@_);
    back_again();

    return;
}


sub subscriptions {
    my ($race, $n, $at, $calls) = @_;

    $race->subscription(
        at     => $at + int rand $calls,
        wait   => rand() < 0.3 ? 0 : int rand 100,
        cancel => rand() < 0.3 ? 1 + int rand 60 : 0,
    ) for 1 .. $n;

    return;
}


sub backend_of {
    my ($slot) = @_;

    return Snorky::Deltas->new(port => $port)
        ->connection(kind => 'http', worker => $slot);
}


# the data of a backend's reply, over HTTP or a WebSocket

sub post {
    my ($h, $service, $command, $params) = @_;

    my $m;

    if (($h->status() || 0) == 101) {
        $m = $h->rpc($service, $command, $params);

    } else {
        my $reply = backend_post('/backend', "{\"service\":\"$service\","
            . "\"message\":{\"command\":\"$command\",\"params\":"
            . json($params) . ',"callId":1}}', on => $h, key => 'swordfish');
        $m = $reply && $reply->{json} ? $reply->{json}{message} : undef;
    }

    die "$command failed: ", json($m), "\n"
        unless $m && $m->{type} eq 'response';

    return $m->{data};
}


sub authorize {
    my ($h, $dealer, $service) = @_;

    $dealer ||= 'all_m';

    return post($h, $service || 'sync', 'authorizeSubscription',
        { items => [ { dealer => $dealer, query => undef } ] });
}


sub publish {
    my ($h, $data, $model, $service) = @_;

    return post($h, $service || 'sync', 'publishDeltas', { deltas => [
        { type => 'insert', model => $model || 'm', data => $data } ] });
}


# the reply, and in "seen" the data that came before it

sub ask {
    my ($c, $command, $token, $service) = @_;

    my $reply = $c->rpc($service || 'datasync', $command, { token => $token })
        || { type => 'no answer' };

    $reply->{message} //= '';
    $reply->{seen} = join ' ', map { $_->{delta}{data} // '' }
        $c->notifications();

    return $reply;
}


# the data of the next deltas

sub heard {
    my ($c, $n) = @_;

    return join ' ', map { ($c->notification() || {})->{delta}{data} // 'none' }
        1 .. $n;
}
