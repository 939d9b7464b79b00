#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# How many WebSockets there may be at a time: by address, by any variable, on
# all workers together, exactly.  However a connection ends, and whatever
# becomes of its worker, its place is free again.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Stop;


my $t = Test::Nginx->new()->has(qw/ http realip /)->plan(131)->todo_alerts();

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes %%WORKERS%%;
%%MAIN%%

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone %%ZONE%%;
    snorky_drain %%DRAIN%%;
    snorky_worker_timeout 3s;
    snorky_service echo echo;
    snorky_service pubsub messaging;

    snorky_max_connections $http_x_http 1;

    log_format limited '$status "$snorky_transport"';

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;

        # with a socket for each worker, connections come to all of them
        listen       127.0.0.1:8081 reuseport;

        server_name  localhost;

        snorky_max_connections $http_x_server 2;

        include locations.conf;
    }

    server {
        listen       127.0.0.1:8083 reuseport;
        server_name  localhost;

        snorky_lean on;
        snorky_max_connections $http_x_server 2;

        include locations.conf;
    }

    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        location /inherited {
            snorky_websocket;
        }
    }
}

EOC

$t->write_file_expand('locations.conf', <<'EOC');

location /inherited {
    snorky_websocket;
}

location /address {
    snorky_websocket;
    snorky_max_connections $binary_remote_addr 3;
    access_log %%TESTDIR%%/limited.log limited;
}

location /user {
    snorky_websocket;
    snorky_max_connections $http_x_user 2;
    snorky_max_message_size 100;
    snorky_close_timeout 60s;
}

location /fewer {
    snorky_websocket;
    snorky_max_connections $http_x_user 1;
}

location /raw {
    snorky_websocket_echo;
    snorky_max_connections $http_x_user 2;
}

location /other {
    snorky_websocket;
    snorky_max_connections $http_x_other 2;
}

location /prefix {
    snorky_websocket;
    snorky_max_connections "$http_x_user of $host" 2;
}

location /both {
    snorky_websocket;
    snorky_max_connections $http_x_user 2;
    snorky_max_connections $http_x_room 3;
}

location /all {
    snorky_websocket;
    snorky_max_connections everybody 3;
}

location /many {
    snorky_websocket;
    snorky_max_connections $http_x_user 50;
}

location /silent {
    snorky_websocket;
    snorky_max_connections $http_x_user 1;
    snorky_ping_interval 50ms;
    snorky_ping_timeout 50ms;
    snorky_close_timeout 60s;
}

location /slow {
    snorky_websocket;
    snorky_max_connections $http_x_user 1;
    snorky_send_buffer 1k;
}

location /guarded {
    snorky_websocket;
    snorky_max_connections $http_x_user 1;
    snorky_origins same;
}

location /status {
    snorky_status;
}

EOC

# those who are lean are counted by the same keys

my ($plain, $lean) = (port(8081), port(8083));
my $port = $plain;


# --- by address -------------------------------------------------------------

start($t);

my @slots = map { $_->{slot} } live();
my $free = free();
my ($c, @c, @d);

@c = map { connect_to_worker($slots[$_], '/address', port => $port) }
    0 .. 2;

is(scalar(grep { $_->status() == 101 } @c), 3,
    'three of an address may connect, each to another worker');
is(refusing('/address'), "@slots", 'then each worker refuses the next');

my $r = attempt('/address');

is($r->status(), 503, 'with 503');
is($r->header('Connection'), 'keep-alive', 'and may be asked again');

my $before = counters();
attempt('/address') for 1 .. 3;

is(counters()->{rejected_limit}, $before->{rejected_limit} + 3,
    'the status counts it');
is(counters()->{connections}, $before->{connections}, 'and no connection');
like($t->read_file('error.log'),
    qr/\[error\].*limiting connections by "\$binary_remote_addr", client: 127/,
    'the error log tells it');
is(join(' ', $t->read_file('limited.log') =~ /^503 (?!"-")/mg), '',
    'to the access log they were no sessions');

is(status_of('/address', from => '127.0.0.2'), 101,
    'another address may connect');

$c[1]->finish();

is(status_of('/address'), 101,
    'as soon as one of them is told that it is closed, another may come');
is(status_of('/address', keep => 1), 101, 'and when that has gone');
is(status_of('/address'), 503, 'but not two');

end_all();


# --- by a header ------------------------------------------------------------

is(statuses('/user', 3, 'User: a'), '101 101 503', 'of a user there are two');
is(statuses('/user', 3, 'User: b'), '101 101 503', 'and of another');
is(statuses('/user', 1, 'User: A'), '101', 'who may differ in case only');
is(statuses('/user', 6), join(' ', (101) x 6), 'an empty key is not counted');
is(statuses('/user', 3, 'User:'), '101 101 101',
    'nor is one that was sent empty');
is(statuses('/raw', 1, 'User: a'), '503', 'the same key in another location '
    . 'is counted together');
is(statuses('/fewer', 1, 'User: b'), '503', 'also if it has another limit');
is(statuses('/other', 3, 'Other: a'), '101 101 503',
    'the same value of another variable is not');
is(statuses('/prefix', 3, 'User: a'), '101 101 503',
    'nor that of a text with it');
is(statuses('/raw', 3, 'User: raw'), '101 101 503',
    'connections of snorky_websocket_echo are counted');
is(statuses('/all', 4), '101 101 101 503', 'a key without a variable is all');
is(status_of('/all', from => '127.0.0.2'), 503, 'whoever they are');

end_all();

is(statuses('/fewer', 2, 'User: b'), '101 503', 'then all are free');
is(statuses('/user', 2, 'User: b'), '101 503', 'a larger limit has more');

end_all();

# the longest key, and one that is longer

my $long = 'x' x 254;

is(statuses('/user', 3, "User: ${long}a"), '101 101 503',
    'a key of 255 bytes is counted');
is(statuses('/user', 1, "User: ${long}b"), '101',
    'by all of them');
is(statuses('/user', 3, "User: ${long}ab"), '101 101 101',
    'a longer one is not');
like($t->read_file('error.log'),
    qr/\[error\].*is not limited by "\$http_x_user", whose value has 256 /,
    'as the error log tells');

end_all();


# --- several ----------------------------------------------------------------

is(statuses('/both', 2, 'User: a', 'Room: r'), '101 101', 'both keys allow it');
is(statuses('/both', 1, 'User: a', 'Room: s'), '503', 'the one does not');
is(statuses('/both', 2, 'User: b', 'Room: r'), '101 503', 'the other does not');
is(statuses('/both', 1, 'User: b'), '101',
    'who was refused is not counted by any');
is(statuses('/both', 1, 'User: b'), '503', 'an empty one allows all');
is(statuses('/both', 4, 'Room: s'), '101 101 101 503', 'of either');
is(statuses('/both', 3), '101 101 101', 'or of both');

(shift @c)->finish();

is(statuses('/both', 2, 'User: a', 'Room: r'), '101 503',
    'who leaves, leaves both');

end_all();


# --- inheritance ------------------------------------------------------------

is(statuses('/inherited', 3, 'Server: a', 'Http: a'), '101 101 503',
    'a location has the limits of its server, and not those above');
is(statuses('/address', 3, 'Server: a'), '101 101 101',
    'unless it has its own');
is(statuses('/inherited', 2, 'Http: b', port => port(8082)), '101 503',
    'a server has those of http');

end_all();


# --- every end --------------------------------------------------------------

my %ends = (
    'closed by the client'       => [ '/fewer', sub { $_[0]->finish() } ],
    'reset'                      => [ '/fewer', sub { $_[0]->reset() } ],
    'ended without a close'      => [ '/fewer',
        sub { $_[0]->half_close(); $_[0]->gone() } ],
    'closed for a wrong frame'   => [ '/fewer',
        sub { $_[0]->send(frame(3, '')); $_[0]->close_in() } ],
    'closed for no UTF-8'        => [ '/fewer',
        sub { $_[0]->text("\xff"); $_[0]->close_in() } ],
    'closed for too much'        => [ '/user',
        sub { $_[0]->text('x' x 101); $_[0]->close_in() } ],
    'closed for silence'         => [ '/silent',
        sub { $_[0]{mute} = 1; $_[0]->close_in() } ],
    'closed for slowness'        => [ '/slow', \&be_slow ],
    'closed and not let go'      => [ '/user',
        sub { $_[0]{mute} = 1; $_[0]->close_frame(1000);
            $_[0]->frame_in() } ],
    'closed, reset'              => [ '/fewer',
        sub { $_[0]->close_frame(1000); $_[0]->reset() } ],
);

for my $try (map { my $end = $_; map { [ $_, $end ] } $plain, $lean }
    sort keys %ends)
{
    ($port, my $end) = @$try;

    my ($path, $code) = @{ $ends{$end} };
    my $where = ($port == $lean ? 'lean: ' : '') . $end;

    my $most = $path eq '/user' ? 2 : 1;

    is(statuses($path, $most + 1, "User: $end"), ('101 ' x $most) . '503',
        "$where: there is no place");

    $code->($c[0]);

    is(wait_until { status_of($path, headers => [ "X-User: $end" ]) == 101 },
        1, "$where: there is one");

    end_all();
}

# a request that is refused for another reason

is(join(' ', map { status_of('/guarded', headers => [ 'X-User: a' ],
        origin => 'http://example.com') } 1, 2), '403 403',
    'another refusal comes first');
is(status_of('/guarded', headers => [ 'X-User: a' ], version => 12), 426,
    'a bad handshake does');
is(statuses('/guarded', 2, 'User: a'), '101 503', 'and counts nobody');

end_all();

# those who do not wait for their answer

for my $i (1 .. 100) {
    my $h = Snorky->dial(port => $port);

    $h->handshake('/user', headers => [ 'X-User: hasty' ]);
    $i % 3 ? $h->reset() : $h->{sock}->close();
}

is(wait_until { counters()->{sessions_websocket} == 0
        && status_of('/user', headers => [ 'X-User: hasty' ]) == 101 }, 1,
    'those who go before they are answered leave no count');
is(statuses('/user', 3, 'User: hasty'), '101 101 503', 'not one');

end_all();

is(wait_until { free() == $free }, 1, 'the zone has all its room again')
    or diag(free(), " of $free");


# --- many at once -----------------------------------------------------------

for my $round (1 .. 6) {
    $port = $round % 2 ? $plain : $lean;

    my @tries = map { Snorky->dial(port => $port) } 1 .. 200;

    $_->handshake('/many', headers => [ 'X-User: crowd' ]) for @tries;
    $_->read_response() for @tries;

    @c = grep { ($_->status() // 0) == 101 } @tries;

    is(@c . ' ' . (grep { ($_->status() // 0) == 503 } @tries), '50 150',
        "$round: of 200 at once, 50 are let in");

    $_ % 2 ? $c[$_]->reset() : $c[$_]->{sock}->close() for 0 .. $#c;
    @c = ();

    wait_until { counters()->{sessions} == 0 };
}


# --- a worker is killed -----------------------------------------------------

for my $slot (@slots) {
    push @c, map { connect_to_worker($slot, '/many', port => $port,
        headers => [ 'X-User: k' ]) } 1 .. 10;
}

is(statuses('/many', 11, 'User: k'), ('101 ' x 10) . '503',
    'forty on all workers, and ten');

my ($victim) = live();
@d = grep { $_->header('X-Worker') == $victim->{slot} } @c;
@c = grep { $_->header('X-Worker') != $victim->{slot} } @c;

kill 'KILL', $victim->{pid};

is(scalar(grep { $_->gone() } @d), scalar(@d), 'one of them is killed');
is(wait_until { status_of('/many', headers => [ 'X-User: k' ]) == 101 }, 1,
    'others may come in the place of its clients');
is(wait_until { 4 == live() }, 1, 'it has an heir');
is(statuses('/many', @d + 1, 'User: k'), ('101 ' x @d) . '503',
    'as many as it had');

end_all();

is(wait_until { free() == $free }, 1, 'the zone has all its room again')
    or diag(free(), " of $free");


# --- reload -----------------------------------------------------------------

# an old worker closes its clients one by one, those first that came first

@d = map { my $slot = $_; map { connect_to_worker($slot, '/user',
    port => $port) } 1 .. 20 } @slots;

is(statuses('/user', 3, 'User: a'), '101 101 503', 'two of a user');

my %old = map { $_->{pid} => 1 } live();

$t->reload();

# until the old ones have heard of it, they take connections, too

wait_until { join(',', map { $old{ $_->{pid} } ? 'old' : 'new' } live())
        eq 'new,new,new,new' };

is(wait_until { refusing_new() }, 1, 'after a reload, new workers refuse more');
is(scalar(grep { $_->ping(''); $_->frame_in()->{op} == PONG } @c), 2,
    'for the old ones are there still');

(shift @c)->finish();

is(statuses('/user', 2, 'User: a'), '101 503', 'when one goes, another may');

# the old worker of the other is killed, and nobody takes its place

my $leaving = worker($c[0]->header('X-Worker'));

is($old{ $leaving->{pid} }, 1, 'the other is with an old worker');

kill 'KILL', $leaving->{pid};
(shift @c)->gone();

is(wait_until { status_of('/user', headers => [ 'X-User: a' ]) == 101 }, 1,
    'of a leaving worker that is killed, nothing is left');
is(statuses('/user', 2, 'User: a'), '101 503', 'but there is no more');
is(worker($leaving->{slot}), undef, 'it is known as dead');

push @c, @d;
end_all();
$t->stop();


# at worker_shutdown_timeout, and by the drain

for my $way ([ 'worker_shutdown_timeout 100ms;', '60s' ], [ '', '10ms' ]) {
    start($t, main => $way->[0], drain => $way->[1]);

    is(statuses('/user', 3, 'User: a'), '101 101 503',
        "$way->[0]$way->[1]: two of a user");

    $_->{mute} = 1 for @c;

    $t->reload();

    is(join(' ', map { $_->close_in() // 'none' } @c), '1012 1012',
        "$way->[0]$way->[1]: they are closed");
    is(statuses('/user', 3, 'User: a'), '101 101 503',
        "$way->[0]$way->[1]: two others may come at once");

    end_all();
    $t->stop();
}


# --- a worker stands still --------------------------------------------------

start($t);

@slots = map { $_->{slot} } live();
push @c, map { connect_to_worker($slots[0], '/many', port => $port,
    headers => [ 'X-User: s' ]) } 1 .. 30;
push @c, map { connect_to_worker($slots[1], '/many', port => $port,
    headers => [ 'X-User: s' ]) } 1 .. 20;

my ($still) = grep { $_->{slot} == $slots[0] } live();

stop_process($still->{pid});

wait_until { (worker($slots[0])->{state} // '') eq 'lost' };

@d = map { connect_to_worker([ @slots[1 .. 3] ], '/many', port => $port,
    headers => [ 'X-User: s' ]) } 1 .. 30;

is(scalar(@d), 30, 'those of a worker that is given up do not count');

continue_process($still->{pid});

is(scalar(grep { ($_->close_in() // 0) == 1012 } @c[0 .. 29]), 30,
    'when it goes on, it closes them');
is(wait_until { (worker($slots[0])->{state} // '') eq 'live' }, 1,
    'and is one of the others again');

$_->gone() for @c[0 .. 29];
splice @c, 0, 30;

is(wait_until { counters()->{sessions_websocket} == 50 }, 1, 'they are gone');
is(refusing('/many', headers => [ 'X-User: s' ]), "@slots",
    'and were not taken off twice');

push @c, @d;
end_all();

is(statuses('/many', 51, 'User: s'), ('101 ' x 50) . '503',
    'when all have gone there are as many places as ever');

end_all();
$t->stop();


# --- no room ----------------------------------------------------------------

start($t, workers => 1, zone => '128k log=16k');

$free = free();
my $n = 0;

# in a page of the zone that has room for more of its size

is(statuses('/user', 1, 'User: short'), '101', 'one has a short key');

while ($n < 1000) {
    $c = attempt('/user', headers => [ sprintf 'X-User: %0240d', $n ]);
    last if $c->status() != 101;
    push @c, $c;
    $n++;
}

is($c->status(), 503, "after $n keys the zone is full");
like($t->read_file('error.log'),
    qr/\[crit\].*"snorky_zone" has no room to count a connection/,
    'the error log tells it');
is(counters()->{rejected_limit}, 1, 'the status counts it');
is(status_of('/user', headers => [ sprintf 'X-User: %0240d', 0 ]), 101,
    'one who is counted already may connect once more');
is(status_of('/user'), 101, 'and who is not counted');
is(statuses('/both', 1, sprintf('User: %0240d', 0), 'Room: ' . 'x' x 200),
    '503', 'with two keys both need room');
is(statuses('/user', 2, sprintf 'User: %0240d', 0), '101 503',
    'and neither is counted else');
is(statuses('/both', 1, 'User: brief', 'Room: ' . 'x' x 200), '503',
    'where only the second has none, the first takes none');

$c[2]->finish();

is(status_of('/user', headers => [ 'X-User: ' . 'y' x 240 ]), 101,
    'when one goes, there is room');

end_all();

is(wait_until { free() == $free }, 1, 'when all have gone, all is free')
    or diag(free(), " of $free");

$t->stop();

is(other_alerts($t, qr/exited on signal 9$|was locked by \d+$/), '',
    'no other alerts');


# --- helpers ----------------------------------------------------------------

sub start {
    my ($t, %o) = @_;

    my %value = (
        WORKERS => 4, MAIN => '', ZONE => '1m', DRAIN => '60s',
        map { uc $_ => $o{$_} } keys %o
    );

    (my $text = $conf) =~ s/%%(WORKERS|MAIN|ZONE|DRAIN)%%/$value{$1}/g;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));
    $t->run();

    wait_until { live() == ($o{workers} // 4) };

    return;
}


sub live {
    return grep { $_->{state} eq 'live' && !$_->{quitting} }
        @{ status_json()->{workers} };
}


sub worker {
    my ($slot) = @_;

    my ($worker) = grep { $_->{slot} == $slot }
        @{ status_json()->{workers} };

    return $worker;
}


sub free {
    return status_json()->{zone}{free};
}


sub attempt {
    my ($path, %o) = @_;

    return Snorky->attempt($path, port => $port, %o);
}


# with keep => 1 the connection stays, in @c

sub status_of {
    my ($path, %o) = @_;

    my $try = attempt($path, %o);
    my $status = $try->status() // 0;

    return $status if $status != 101;

    if ($o{keep}) {
        push @c, $try;

    } else {
        $try->finish();
    }

    return $status;
}


# so many tries with these keys, one after the other; they stay in @c

sub statuses {
    my ($path, $n, @keys) = @_;

    my %o;

    %o = splice @keys, -2 if @keys > 1 && $keys[-2] eq 'port';

    return join ' ', map { status_of($path, keep => 1, %o,
        headers => [ map { "X-$_" } @keys ]) } 1 .. $n;
}


# the workers that refuse another connection, when all do

sub refusing {
    my ($path, %o) = @_;

    my %refused;

    wait_until {
        my $try = attempt($path, %o);

        $refused{ $try->header('X-Worker') } = 1 if $try->status() == 503;
        $try->finish() if $try->status() == 101;
        return keys %refused == @slots || $try->status() == 101;
    };

    return join ' ', sort { $a <=> $b } keys %refused;
}


# one of the new workers after the reload

sub refusing_new {
    my $try = attempt('/user', headers => [ 'X-User: a' ]);
    my $slot = $try->header('X-Worker') // -1;

    return $try->status() == 503
        && 0 < grep { $_->{slot} == $slot && !$old{ $_->{pid} } } live();
}


# the socket is not read, while what comes back is more than it takes

sub be_slow {
    my ($client) = @_;

    my $slow = counters()->{closed_slow};
    my $sender = Snorky->connect('/inherited', port => $port);

    $client->rpc('messaging', 'subscribe', { channel => 'c' });

    wait_until {
        $sender->rpc('messaging', 'publish', { channel => 'c',
            message => 'x' x 60_000 });
        return counters()->{closed_slow} > $slow;
    };

    $sender->finish();

    return;
}


sub end_all {
    $_->reset() for grep { fileno $_->{sock} } @c;
    @c = ();

    is_gone();

    return;
}


sub is_gone {
    wait_until { counters()->{sessions_websocket} == 0
        && counters()->{sessions_echo} == 0 }
        or die "connections are left\n";

    return;
}
