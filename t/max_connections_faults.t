#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The count of connections, when a worker dies while it counts one, and while
# a worker that stands still keeps the others from counting.  The build for
# these tests does so when it is told to.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Stop;


my $faults = $ENV{TEST_SNORKY_FAULTS};

plan(skip_all => 'no TEST_SNORKY_FAULTS, a module with snorky_fault')
    unless $faults && -f $faults;

# in the place of the module that the other tests load

$ENV{TEST_NGINX_GLOBALS} //= '';
$ENV{TEST_NGINX_GLOBALS}
    =~ s/load_module\s+\S*ngx_snorky_module\.so;/load_module $faults;/
    or plan(skip_all => 'ngx_snorky_module is not a loaded one');

my $t = Test::Nginx->new()->has(qw/ http /)->plan(19)->todo_alerts();

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
    snorky_service pubsub messaging;
    snorky_worker_timeout 60s;
    snorky_close_timeout 60s;

    snorky_lean %%LEAN%%;
    snorky_fault %%FAULT%%;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 reuseport;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            snorky_max_connections $http_x_user 8;
            snorky_max_connections $http_x_room 100;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC


# --- death while one is counted ---------------------------------------------

start($t, 'counted 20', 'off');

my @c;
my @slots = map { $_->{slot} } @{ status_json()->{workers} };
my @a = [ 'X-User: a' ];
my %old = workers();

is(statuses(9, 'a'), ('101 ' x 8) . '503', 'eight of a user are on all workers');

my @old = splice @c;

# the twentieth that a worker counts, each with another key

my $n = 0;

wait_until {
    eval { Snorky->attempt('/ws', port => port(8081),
        headers => [ 'X-Room: ' . $n++ ]) };

    return grep { !kill 0, $_ } values %old;
};

my %new;
wait_until { %new = workers(); @slots == keys %new
    && 1 == grep { $new{$_} != $old{$_} } @slots };

my ($victim) = grep { $new{$_} != $old{$_} } @slots;

isnt($victim, undef, 'a worker dies while it counts another');

$_->{mute} = 1 for @old;

is(join(' ', map { $_->header('X-Worker') . ' ' . ($_->close_in() // 'lost') }
    @old), join(' ', map { my $slot = $_->header('X-Worker');
    "$slot " . ($slot == $victim ? 'lost' : 1012) } @old),
    'those of the others are closed');
is(statuses(9, 'a'), ('101 ' x 8) . '503', 'all begin to count anew');
is(statuses(1, 'b'), '101', 'all keys');

# those of old, whose connections end now, are not taken off

$_->reset() for @old;

is(wait_until { counters()->{sessions_websocket} == 9 }, 1,
    'the old connections end');
is(refusing('a'), "@slots", 'and are not taken off from the new');

(shift @c)->finish();

is(statuses(2, 'a'), '101 503', 'one goes, one comes');

$_->reset() for @c;
@c = ();

is(wait_until { counters()->{sessions_websocket} == 0 }, 1, 'all go');
is(statuses(9, 'a'), ('101 ' x 8) . '503', 'and as many come');

is(() = $t->read_file('error.log') =~ /\[error\].*a worker died while it/g, 3,
    'the other workers tell what has happened');

$_->reset() for @c;
$t->stop();


# --- nobody can count -------------------------------------------------------

@c = ();

start($t, 'written 3 stop', 'on');

@slots = map { $_->{slot} } @{ status_json()->{workers} };

@c = map { client($_, @a) } @slots[1, 1, 1, 2, 2, 2, 3, 3];

is(statuses(1, 'a'), '503', 'eight of a user are on three workers');

my $publisher = client($slots[0]);
my ($stopped) = grep { $_->{slot} == $slots[0] } @{ status_json()->{workers} };

$publisher->call('messaging', 'publish', { channel => 'c', message => 'x' })
    for 1 .. 3;

is(wait_until { locked_by() == $stopped->{pid} }, 1,
    'the fourth stands still inside of the critical section');

# so that it goes on, whatever comes

stop_process($stopped->{pid});

is(join(' ', map { $_->finish() // 'none' } @c), join(' ', (1000) x 8),
    'those eight can leave');
is(status_of_some('X-User: b'), 503, 'but nobody can be counted');
is(status_of_some(), 101, 'who needs not be counted may come');
like($t->read_file('error.log'), qr/\[error\].*a connection can't be counted /,
    'the error log tells it');

continue_process($stopped->{pid});

@c = ();

wait_until {
    statuses(1, 'a');
    return @c == 8;
};

is(scalar(@c), 8, 'when it goes on, all places are free');
is(refusing('a'), "@slots", 'not one more');

$_->reset() for @c, $publisher;
$t->stop();


# --- helpers ----------------------------------------------------------------

sub start {
    my ($t, $fault, $lean) = @_;

    (my $text = $conf) =~ s/%%FAULT%%/$fault/;
    $text =~ s/%%LEAN%%/$lean/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));
    $t->run();

    wait_until { 4 == @{ status_json()->{workers} } };

    return;
}


# pids by slot

sub workers {
    return map { $_->{slot} => $_->{pid} } @{ status_json()->{workers} };
}


sub client {
    my ($slot, $headers) = @_;

    return connect_to_worker($slot, '/ws', port => port(8081),
        headers => $headers);
}


sub locked_by {
    return eval { status_json(undef, timeout => 1)->{zone}{locked_by} } // 0;
}


# so many tries of this user, one after the other; who may come stays in @c

sub statuses {
    my ($n, $user) = @_;

    return join ' ', map {
        my $try = Snorky->attempt('/ws', port => port(8081),
            headers => [ "X-User: $user" ]);

        push @c, $try if $try->status() == 101;
        $try->status();
    } 1 .. $n;
}


# of a worker that answers

sub status_of_some {
    my (@headers) = @_;

    my $status;

    wait_until {
        my $try = eval { Snorky->attempt('/ws', port => port(8081),
            timeout => 1, headers => \@headers) };

        $try->finish() if $try && ($try->status() // 0) == 101;
        $status = $try && $try->status();
    };

    return $status;
}


# the workers that refuse another one of this user, when all do

sub refusing {
    my ($user) = @_;

    my %refused;

    wait_until {
        my $try = Snorky->attempt('/ws', port => port(8081),
            headers => [ "X-User: $user" ]);

        $refused{ $try->header('X-Worker') } = 1 if $try->status() == 503;
        return keys %refused == @slots || $try->status() == 101;
    };

    return join ' ', sort { $a <=> $b } keys %refused;
}
