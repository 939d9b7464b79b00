#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# What the application is told when a worker dies, stands still, or dies where
# it must not, and when the zone can't be changed: each channel is still
# occupied and vacated in turn.  The build for these tests dies, and stops,
# when it is told to.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;
use Snorky::Events;
use Snorky::Stop;


my $faults = $ENV{TEST_SNORKY_FAULTS};

plan(skip_all => 'no TEST_SNORKY_FAULTS, a module with snorky_fault')
    unless $faults && -f $faults;

# in the place of the module that the other tests load

$ENV{TEST_NGINX_GLOBALS} //= '';
$ENV{TEST_NGINX_GLOBALS}
    =~ s/load_module\s+\S*ngx_snorky_module\.so;/load_module $faults;/
    or plan(skip_all => 'ngx_snorky_module is not a loaded one');

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(41)->todo_alerts();

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
    snorky_service pubsub messaging;
    snorky_identity $http_x_user;
    snorky_max_subscriptions 1000;
    snorky_max_channel_size 8k;

    snorky_event /events connected disconnected occupied vacated;

    snorky_worker_timeout %%TIMEOUT%%;
    %%FAULT%%

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

        location /events {
            internal;
            proxy_pass http://127.0.0.1:8090;
        }
    }
}

EOC

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/events' => { status => 204 },
});

my (@all, @slots, @e, $victim, $generation);


# --- death ------------------------------------------------------------------

start('1m', '1s');

my ($c, $d) = clients(@slots[0, 1]);

subscribe($c, 'one', 'both');
subscribe($d, 'both', 'other');

forget();
victim($slots[0]);
kill 'KILL', $victim;

@e = told($app, sub {
    of_event('lost', @_) && of_event('vacated', @_);
});

is(lost(@e), $generation, 'when a worker dies, another tells which one');
is(vacated(@e), 'one', 'and what it alone had occupied');
is(scalar(of_event('disconnected', @e)), 0, 'but not whom it had');

calm();
@e = events($app);

is(lost(@e), $generation, 'it is told once');
is(vacated(@e), 'one', 'so are its channels');

forget();
$c = client($slots[0]);
subscribe($c, 'one');

is(occupied(events($app)), 'one', 'they can be occupied again');

forget();
$d->finish();
settled();
is(vacated(events($app)), 'both other', 'what others had is vacated by them');

# twice the same place

forget();
victim($slots[0]);
kill 'KILL', $victim;

@e = told($app, sub { of_event('lost', @_) && of_event('vacated', @_) });
is(lost(@e) . ' ' . vacated(@e), "$generation one",
    'so it is with the next one');

forget();

my @generations = map { $_->{generation} } @{ status_json()->{workers} };
my %pid = map { $_->{pid} => 1 } @{ status_json()->{workers} };

kill 'KILL', (sort keys %pid)[1 .. 3];

told($app, sub { of_event('lost', @_) >= 3 });
calm();

is(scalar(of_event('lost', events($app))), 3, 'each of several is told once');

# one that is terminated has no time to tell

($c, $d) = clients(@slots[0, 1]);

subscribe($c, 'one', 'both');
subscribe($d, 'both');

forget();
victim($slots[0]);
kill 'TERM', $victim;

told($app, sub { of_event('lost', @_) && of_event('vacated', @_) });
calm();
@e = events($app);

is(lost(@e) . ' ' . vacated(@e), "$generation one",
    'so it is when a worker is terminated');

stop();


# --- standing still ---------------------------------------------------------

start('1m', '300ms');

($c, $d) = clients(@slots[0, 1]);

subscribe($c, 'one', 'both');
subscribe($d, 'both');

forget();
victim($slots[0]);
stop_process($victim);

@e = told($app, sub { of_event('lost', @_) && of_event('vacated', @_) });

is(lost(@e), $generation, 'one that stands still is told as lost');
is(vacated(@e), 'one', 'with what it alone had');

subscribe($d, 'one');
is(occupied(events($app)), 'one', 'which others may occupy');

continue_process($victim);

is($c->close_in(), 1012, 'when it goes on, it closes its clients');
$c->finish();

@e = told($app, sub { of_event('disconnected', @_) });

is((of_event('disconnected', @e))[0]{worker}, $generation,
    'that is told, under its old number');

calm();
@e = events($app);

is(lost(@e) . ' ' . vacated(@e), "$generation one", 'and nothing twice');

forget();
$c = client($slots[0]);
subscribe($c, 'two', 'both');
settled();

@e = events($app);

cmp_ok((sort { $b <=> $a } map { $_->{worker} }
    of_event('connected', @e))[0], '>', $generation,
    'it has another number');
is(occupied(@e), 'two', 'and serves as before');

# given up, and then dead

forget();
victim($slots[0]);
stop_process($victim);

told($app, sub { of_event('lost', @_) && of_event('vacated', @_) });
kill 'KILL', $victim;

wait_until { grep { $_->{slot} == $slots[0] && $_->{pid} != $victim }
    @{ status_json()->{workers} } };
calm();

@e = events($app);
is(lost(@e) . ' ' . vacated(@e), "$generation two",
    'one that was given up is not told again when it dies');

# an old one, in whose place no other comes

part();

($c, $d) = clients(@slots[2, 3]);

subscribe($c, 'three');
subscribe($d, 'four');

forget();

my @old = @{ status_json()->{workers} };
my ($third, $fourth) = map { my $slot = $_;
    grep { $_->{slot} == $slot } @old } @slots[2, 3];

stop_process($third->{pid}, $fourth->{pid});
$t->reload();

told($app, sub { of_event('lost', @_) == 2 && of_event('vacated', @_) == 2 });
kill 'KILL', $third->{pid};

wait_until { $t->read_file('error.log')
    =~ /worker $third->{pid} is dead, its place is free/ };
calm();

@e = events($app);

is(join(' ', sort(split / /, lost(@e)), vacated(@e)),
    join(' ', sort($third->{generation}, $fourth->{generation}), 'four three'),
    'nor where no other comes in its place');

continue_process($fourth->{pid});
stop();

start('1m', '1s');

$c = client($slots[0]);
subscribe($c, 'one');

forget();
victim($slots[0]);
stop_process($victim);
$t->reload();
kill 'KILL', $victim;

@e = told($app, sub { of_event('lost', @_) && of_event('vacated', @_) });

is(lost(@e) . ' ' . vacated(@e), "$generation one",
    'which is told by one that notices');

stop();


# --- death in the critical section ------------------------------------------

start('1m', '1s', 'snorky_fault counted 5;');

my @c = clients(@slots);
subscribe($_, 'all') for @c;
subscribe($c[1], 'one');

forget();

my %old = map { $_->{slot} => $_->{generation} } @{ status_json()->{workers} };

# the fifth that this worker occupies

$c[0]->call('messaging', 'subscribe', { channel => "new $_" }) for 1 .. 5;

@e = told($app, sub { of_event('lost', @_) && of_event('reset', @_) });

is(lost(@e), $old{$slots[0]},
    'one that dies while it changes the zone is told');
is(scalar(of_event('reset', @e)), 1, 'and that no channel is occupied');

is(join(' ', map { $_->close_in() // 'lost' } @c[1 .. 3]), '1012 1012 1012',
    'all clients are closed');

$_->finish() for @c[1 .. 3];

@c = clients(@slots);
subscribe($_, 'all') for @c;

calm();
@e = events($app);

is(scalar(of_event('reset', @e)), 1, 'that is told once');
is(vacated(@e), '', 'so nothing is vacated one by one');

my ($reset) = of_event('reset', @e);
my @after = grep { ($_->{sequence} // 0) > $reset->{sequence} } @e;

is(occupied(@after), 'all', 'what comes after it has greater numbers');
my %before = map { $_ => 1 } values %old;

is(scalar(grep { $before{$_->{worker}} } of_event('disconnected', @e)), 3,
    'the clients of the others are told as disconnected');

forget();
$_->finish() for @c;
settled();

is(vacated(events($app)), 'all', 'then all goes on as before');
stop();


# --- the zone can not be changed --------------------------------------------

start('1m', '60s', 'snorky_fault written 3 stop;');

@c = clients(@slots);
subscribe($c[1], 'a', 'b');
subscribe($c[2], 'b');

forget();
victim($slots[0]);

$c[0]->call('messaging', 'publish', { channel => 'x', message => 'y' })
    for 1 .. 3;

is(wait_until { status_json()->{zone}{locked_by} == $victim }, 1,
    'a worker stands still inside of the critical section');

# so that it goes on, whatever comes

stop_process($victim);

subscribe_only($c[1], 'c', 'd', 'e');
unsubscribe($c[1], 'a', 'c', 'b');
subscribe_only($c[2], 'f', 'g');
unsubscribe($c[2], 'f');

pass('clients come and go without it');
is(join(' ', occupied(events($app)), vacated(events($app))), ' ',
    'what they occupy is not told');

continue_process($victim);

@e = told($app, sub {
    occupied(@_) eq 'd e g' && vacated(@_) eq 'a';
});

is(occupied(@e), 'd e g', 'when it goes on, all is told that is so then');
is(vacated(@e), 'a', 'and all that is not any more');

forget();
unsubscribe($c[1], 'd');
subscribe($c[1], 'a');
unsubscribe($c[2], 'b', 'g');

is(join(' ', occupied(events($app)), vacated(events($app))), 'a b d g',
    'then it is told as ever');

stop();


# --- the zone is full -------------------------------------------------------

start('256k log=64k', '60s');

$c = client($slots[0]);
$d = client($slots[1]);

my @long = map { sprintf '%03d%s', $_, 'x' x 4000 } 1 .. 60;

subscribe_only($c, @long);
settled();

my %full = map { $_->{channel} => 1 } of_event('occupied', events($app));

cmp_ok(scalar keys %full, '<', 60, 'when the zone is full, some wait');
cmp_ok(scalar keys %full, '>', 10, 'and others are told');

is(() = $t->read_file('error.log')
    =~ /\[crit\].*has no room to tell of a channel, it will be told later/g,
    1, 'the log tells it once');

subscribe_only($d, 'short', $long[-1]);
unsubscribe($c, @long[0 .. 29]);

@e = told($app, sub { my @now = occupied_now(@_); @now == 31 });

is(join(' ', map { substr $_, 0, 3 } occupied_now(@e)),
    join(' ', map({ sprintf '%03d', $_ } 31 .. 60), 'sho'),
    'they are told when there is room');

$_->finish() for $c, $d;
wait_until { counters()->{sessions} == 0 };
settled();

is(join(' ', occupied_now(events($app))), '', 'and all are vacated');
is(twice(events($app)), '', 'in turn');

stop();


# --- helpers ----------------------------------------------------------------

sub start {
    my ($zone, $timeout, $fault) = @_;

    (my $text = $conf) =~ s/%%ZONE%%/$zone/;
    $text =~ s/%%TIMEOUT%%/$timeout/;
    $text =~ s/%%FAULT%%/$fault || ''/e;

    unlink $t->testdir() . '/error.log';

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));
    $t->run();

    wait_until { @{ status_json()->{workers} } == 4 };
    @slots = sort { $a <=> $b } map { $_->{slot} } @{ status_json()->{workers} };

    told($app, sub { @_ });
    forget();
}


sub forget {
    settled();
    $app->forget();
}


# those who are still there would keep nginx

sub stop {
    part();
    $t->stop();
}


sub part {
    $_->reset() for @all;
    @all = ();
}


sub client {
    push @all, connect_to_worker($_[0], '/ws', timeout => 10);

    return $all[-1];
}


sub clients {
    return map { client($_) } @_;
}


sub victim {
    my ($slot) = @_;

    my ($w) = grep { $_->{slot} == $slot } @{ status_json()->{workers} };

    ($victim, $generation) = @$w{qw/ pid generation /};
}


sub subscribe {
    subscribe_only(@_);
    settled();
}


sub subscribe_only {
    my ($c, @channels) = @_;

    for my $channel (@channels) {
        my $r = $c->rpc('messaging', 'subscribe', { channel => $channel });

        die "not subscribed\n" if !$r || $r->{type} ne 'response';
    }
}


sub unsubscribe {
    my ($c, @channels) = @_;

    $c->rpc('messaging', 'unsubscribe', { channel => $_ }) for @channels;
    settled();
}


# each worker looks at the others twice in this time, a quarter of a second
# between; nothing tells when it has

sub calm {
    select undef, undef, undef, 0.7;
    settled();
}


sub lost     { join ' ', map { $_->{worker} } of_event('lost', @_) }
sub occupied { join ' ', sort map { $_->{channel} } of_event('occupied', @_) }
sub vacated  { join ' ', sort map { $_->{channel} } of_event('vacated', @_) }


sub in_order {
    return sort { $a->{sequence} <=> $b->{sequence} }
        of_event([qw/ occupied vacated /], @_);
}


sub occupied_now {
    my %state = map { $_->{channel} => $_->{event} } in_order(@_);

    my @now = sort grep { $state{$_} eq 'occupied' } keys %state;

    return @now;
}


sub twice {
    my %state;
    my @wrong;

    for my $e (in_order(@_)) {
        push @wrong, substr $e->{channel}, 0, 5
            if ($state{$e->{channel}} // 'vacated') eq $e->{event};
        $state{$e->{channel}} = $e->{event};
    }

    return "@wrong";
}
