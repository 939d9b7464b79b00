#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# A worker dies, or is stopped, inside the critical section, while it appends
# to the log and holds the zone's mutex: before the record has its text,
# before it exists, and after that.  The build for these tests does so when it
# is told to.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Load;


my $faults = $ENV{TEST_SNORKY_FAULTS};

plan(skip_all => 'no TEST_SNORKY_FAULTS, a module with snorky_fault')
    unless $faults && -f $faults;

# in the place of the module that the other tests load

$ENV{TEST_NGINX_GLOBALS} //= '';
$ENV{TEST_NGINX_GLOBALS}
    =~ s/load_module\s+\S*ngx_snorky_module\.so;/load_module $faults;/
    or plan(skip_all => 'ngx_snorky_module is not a loaded one');

my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my $t = Test::Nginx->new()->has(qw/ http /)->plan(3 * 42 + 2)
    ->todo_alerts();

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 256k log=16k;
    snorky_send_buffer 64m;
    snorky_service pubsub messaging;

    snorky_worker_timeout %%TIMEOUT%%;
    snorky_publish_timeout 60s;

    snorky_fault %%FAULT%%;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
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

my $port = port(8081);

for my $place (qw/ reserved written committed /) {
    my $exists = $place eq 'committed';


    # --- a single record ----------------------------------------------------

    start($t, "$place 3");

    my @slots = map { $_->{slot} } @{ status_json()->{workers} };
    my $before = status_json();
    my @listeners = map { client($_) } @slots;
    my $publisher = client($slots[0]);

    publish($publisher, $_) for 1 .. 2;

    my ($victim) = grep { $_->{slot} == $slots[0] }
        @{ status_json()->{workers} };

    $publisher->call('messaging', 'publish',
        { channel => 'c', message => 3 });

    is($publisher->gone(), 1, "$place: the worker dies");
    is(scalar(grep { /"response"/ && /"callId":4\b/ } $publisher->{in}), 0,
        "$place: its client has no answer");

    # the others: whether the record is there, though nobody rang a bell

    my @others = @listeners[1 .. 3];
    my $start = time();

    is(join(', ', map { heard($_, $exists ? 3 : 2) } @others),
        join(', ', ($exists ? '1 2 3' : '1 2') x 3), "$place: the others "
        . ($exists ? 'have the message' : 'have what was before it'));

    publish($others[0], 4);

    is(join(', ', map { heard($_, 1) } @others), '4, 4, 4',
        "$place: and what comes after it") or diag($others[1]{in});
    cmp_ok(time() - $start, '<', 9, sprintf
        "$place: nobody hangs (%.1f s)", time() - $start);

    is(wait_until { scalar grep { $_->{slot} == $slots[0]
        && $_->{pid} != $victim->{pid} } @{ status_json()->{workers} } }, 1,
        "$place: another takes its place");

    my $next = client($slots[0]);

    is(publish($next, 5), 'response', "$place: and serves");
    is(join(', ', map { heard($_, 1) } @others, $next), '5, 5, 5, 5',
        "$place: to all");

    # it would die at its third, but each fault is for once

    is(join(' ', map { publish($next, $_) } 6 .. 9), join(' ',
        ('response') x 4), "$place: and goes on");
    is(join(', ', map { heard($_, 4) } @others, $next), join(', ',
        ('6 7 8 9') x 4), "$place: as it should");

    my $after = status_json();

    is($after->{total}{publications}, 8, "$place: the total is right");
    is($after->{total}{sessions}, 4, "$place: so are the sessions");
    is($after->{zone}{free}, $before->{zone}{free},
        "$place: the zone has as much room as before");

    $_->finish() for @others, $next;

    $t->stop();


    # --- under load ---------------------------------------------------------

    my $nth = 100 + int rand 1000;

    start($t, "$place $nth");

    my $load = Snorky::Load->new(port => $port);

    $load->subscriber(name => "subscriber $_", worker => $_)
        for @slots, @slots;
    $load->run(sub { $load->ready() });
    $load->publisher(name => "publisher $_", worker => $_, window => 8,
        both => $_ % 2) for @slots, @slots;

    is($load->run(sub { $load->ends() }, 60), 1,
        "$place $nth: a worker dies under load");

    my $acked = $load->acked();

    ok($load->run(sub { $load->acked() > $acked + 4 * $nth }, 60),
        "$place: all goes on");
    ok($load->settle(), "$place: and everything is answered");

    my @ends = $load->ends();
    my %of = map { $_->{worker} => 1 } @ends;

    is(scalar keys %of, 1, "$place: one worker has died");
    is(join(' ', map { $_->{code} } @ends), join(' ', (1006) x 4),
        "$place: its clients lost their connection, and no others did");
    is(json([ $load->errors() ]), '[]', "$place: no call failed");
    is($load->complaints(), '', "$place: one order, nothing lost")
        or diag("TEST_SNORKY_SEED=$seed");

    # what was on its way when it died, by the publishers of that worker

    my %unanswered = map { $_ => 1 }
        grep { !$load->{acked}{$_} } keys %{ $load->{sent} };
    my @there = grep { defined $load->{place}{$_} } keys %unanswered;

    if ($exists) {
        cmp_ok(scalar @there, '>', 0, "$place: of what was not answered, "
            . @there . ' of ' . keys(%unanswered) . ' are there');
    } else {
        cmp_ok(scalar @there, '<', scalar keys %unanswered,
            "$place: of what was not answered, " . @there . ' of '
            . keys(%unanswered) . ' are there');
    }

    is(status_json()->{zone}{free}, $before->{zone}{free},
        "$place: the zone has as much room as before");

    $load->finish();
    $t->stop();


    # --- stopped there, for longer than it may ------------------------------

    start($t, "$place 3 stop", '1s');

    @listeners = map { client($_) } @slots;
    $publisher = client($slots[0]);
    publish($publisher, $_) for 1 .. 2;

    my $pid = pid_of($slots[0]);

    $publisher->call('messaging', 'publish', { channel => 'c', message => 3 });
    is(locked_by($pid), $pid, "$place stop: the status says who has the lock");

    @others = @listeners[1 .. 3];
    $start = time();

    is(publish($others[0], 4), 'response',
        "$place stop: another publishes with success");
    cmp_ok(time() - $start, '<', 9, sprintf
        "$place stop: when the lock is free again (%.1f s)", time() - $start);
    is($publisher->gone(), 1, "$place stop: the worker is killed");

    is(join(', ', map { heard($_, $exists ? 4 : 3) } @others),
        join(', ', ($exists ? '1 2 3 4' : '1 2 4') x 3),
        "$place stop: the others have one order");
    is(locked_by(0), 0, "$place stop: the lock is free");

    is(wait_until { (pid_of($slots[0]) || $pid) != $pid }, 1,
        "$place stop: another takes its place");

    $next = client($slots[0]);
    is(publish($next, 5), 'response', "$place stop: and serves");
    is(join(', ', map { heard($_, 1) } @others, $next), '5, 5, 5, 5',
        "$place stop: to all");

    $_->finish() for @others, $next;
    $t->stop();


    # --- stopped there, and continued in time -------------------------------

    start($t, "$place 3 stop", '30s');

    @listeners = map { client($_) } @slots;
    $publisher = client($slots[0]);
    publish($publisher, $_) for 1 .. 2;

    $pid = pid_of($slots[0]);

    $publisher->call('messaging', 'publish', { channel => 'c', message => 3 });
    locked_by($pid);

    $listeners[1]->call('messaging', 'publish',
        { channel => 'c', message => 4 });
    is(wait_until { counters()->{waiting} == 1 }, 1,
        "$place stop: another waits for the lock");

    kill 'CONT', $pid;

    is(($publisher->reply(4) || {})->{type}, 'response',
        "$place stop: its own call succeeds when it is continued");
    is(($listeners[1]->reply(2) || {})->{type}, 'response',
        "$place stop: as does the other's");
    is(join(', ', map { heard($_, 4) } @listeners, $publisher),
        join(', ', ('1 2 3 4') x 5), "$place stop: all have one order");
    is(pid_of($slots[0]), $pid, "$place stop: nobody is killed");

    $_->finish() for @listeners, $publisher;
    $t->stop();


    # --- stopped there under load -------------------------------------------

    start($t, "$place $nth stop", '1s');

    $load = Snorky::Load->new(port => $port, cut => 1);

    $load->subscriber(name => "subscriber $_", worker => $_)
        for @slots, @slots;
    $load->run(sub { $load->ready() });
    $load->publisher(name => "publisher $_", worker => $_, window => 8,
        both => $_ % 2) for @slots, @slots;

    is($load->run(sub { $load->ends() }, 60), 1,
        "$place $nth stop: a worker is stopped under load and killed");

    $acked = $load->acked();

    ok($load->run(sub { $load->acked() > $acked + 4 * $nth }, 60),
        "$place stop: all goes on");
    ok($load->settle(), "$place stop: and everything is answered");
    is(join(' ', map { $_->{code} } $load->ends()), join(' ', (1006) x 4),
        "$place stop: only its clients lost their connection");
    is(json([ $load->errors() ]), '[]', "$place stop: no call failed");
    is($load->complaints(), '', "$place stop: one order, nothing lost")
        or diag("TEST_SNORKY_SEED=$seed");

    $load->finish();
    $t->stop();
}

# nginx itself writes two alerts for each, the second one unless another worker
# has freed the mutex already

is(other_alerts($t, qr/exited on signal 9$|zone "snorky.*was locked by \d+$/),
    '', 'no other alerts');
is(scalar(() = $t->read_file('error.log') =~ /exited on signal 9$/mg), 12,
    'four workers have died for each place');


# --- helpers ----------------------------------------------------------------

sub start {
    my ($t, $fault, $timeout) = @_;

    (my $text = $conf) =~ s/%%FAULT%%/$fault/;
    $timeout //= '10s';
    $text =~ s/%%TIMEOUT%%/$timeout/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));
    $t->run();

    wait_until { 4 == @{ status_json()->{workers} } };

    return;
}


sub client {
    my ($slot) = @_;

    my $c = connect_to_worker($slot, '/ws', port => $port);
    $c->rpc('messaging', 'subscribe', { channel => 'c' });

    return $c;
}


sub pid_of {
    my ($slot) = @_;

    my ($worker) = grep { $_->{slot} == $slot }
        @{ status_json()->{workers} };

    return $worker ? $worker->{pid} : undef;
}


# who has the zone's mutex, when it is that one or does not come to it

sub locked_by {
    my ($pid) = @_;

    wait_until { status_json()->{zone}{locked_by} == $pid };

    return status_json()->{zone}{locked_by};
}


sub publish {
    my ($client, $number) = @_;

    my $r = $client->rpc('messaging', 'publish',
        { channel => 'c', message => $number });

    return $r ? $r->{type} : $client->{why};
}


sub heard {
    my ($client, $count) = @_;

    return join ' ', map {
        my $m = $client->notification();
        $m ? $m->{message} : $client->{why};
    } 1 .. $count;
}
