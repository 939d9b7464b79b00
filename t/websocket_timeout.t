#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Pings, their answers and closing handshakes of many clients, which wait in
# the same queues: each has its own time.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(28);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections  1024;
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_service echo echo;

    snorky_ping_interval 800ms;
    snorky_ping_timeout 800ms;
    snorky_close_timeout 800ms;
    lingering_timeout 1s;
    snorky_drain 1s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /same {
            snorky_websocket;
        }

        location /same/lean {
            snorky_websocket;
            snorky_lean on;
        }

        location /short {
            snorky_websocket;
            snorky_ping_interval 600ms;
        }

        location /long {
            snorky_websocket;
            snorky_ping_interval 1500ms;
        }

        location /patient {
            snorky_websocket;
            snorky_ping_interval 200ms;
            snorky_ping_timeout 1h;
            snorky_close_timeout 1h;
        }

        location /never {
            snorky_websocket;
            snorky_ping_interval 0;
            snorky_close_timeout 1h;
        }

        location /never/lean {
            snorky_websocket;
            snorky_lean on;
            snorky_ping_interval 0;
            snorky_close_timeout 1h;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my ($c, $d, $seen, %of, @all, @log, @old);


# many, of several kinds, who were heard at different times

my %interval = ('/same' => 0.8, '/same/lean' => 0.8, '/short' => 0.6,
    '/long' => 1.5);

for my $n (0 .. 59) {
    my $path = (sort keys %interval)[$n % 4];
    my $k = Snorky->connect($path);

    $k->{mute} = 1;
    $k->{path} = $path;
    $k->{number} = $n;
    push @all, $k;
}

my $never = Snorky->connect('/never');

# Spoken anew in another order, one after the other: so they are to be pinged.

for my $k (sort { $a->{number} * 7 % 60 <=> $b->{number} * 7 % 60 } @all) {
    $k->{spoke} = time();
    $k->text(envelope('echo', 1));
    $k->text_in();
    sleep 0.005;
}

my @often = map { Snorky->connect($_) } '/same', '/same/lean', '/long';

@log = listen_to(4, sub { $_->text(envelope('echo', 2)) for @often },
    @all, @often, $never);

my @pings = grep { $_->{op} == PING && $_->{by}{path} } @log;
my @closes = grep { $_->{op} == CLOSE && $_->{by}{path} } @log;

is(scalar @pings, 60, 'each silent client is pinged, once');
is(scalar(grep { $_->{at} - $_->{by}{spoke} < $interval{$_->{by}{path}} - 0.1 }
    @pings), 0, 'not before its time');
cmp_ok(scalar(grep { $_->{at} - $_->{by}{spoke} < $interval{$_->{by}{path}}
    + 0.25 } @pings), '>', 30, 'most are soon after it');

for my $path (sort keys %interval) {
    my @order = map { $_->[1] }
        sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] }
        map { [ $_->{round}, $_->{by}{spoke} ] }
        grep { $_->{by}{path} eq $path } @pings;

    is("@order", join(' ', sort { $a <=> $b } @order),
        "$path: in the order in which they were heard");
}

is(scalar @closes, 60, 'each that does not answer is closed');

is(scalar(grep { $_->{at} - $_->{by}{spoke}
    < $interval{$_->{by}{path}} + 0.8 - 0.1 } @closes), 0,
    'not before the time for the answer has passed');
is(scalar(grep { unpack('n', $_->{data}) != 1011 } @closes), 0, 'with 1011');
is(scalar(grep { $_->{op} == PING && !$_->{by}{path} } @log), 0,
    'who talks all the time is never pinged');
is(scalar(grep { $_->{op} == CLOSE && !$_->{by}{path} } @log), 0,
    'nor closed');
is(scalar(grep { !$_->gone() } @all), 0,
    'who does not say goodbye is ended as well');

$_->finish() for @often;
is($never->finish(), 1000, 'nor is who is never to be');


# one that answers, where all three times are the same

for my $path ('/same', '/same/lean') {
    $c = Snorky->connect($path);
    $seen = 0;

    for (1 .. 3) {
        my $f = $c->frame_in(5) or last;
        $seen++ if $f->{op} == PING;
        $c->pong($f->{data});
    }

    is($seen, 3, "$path: who answers is pinged again");

    $c->send(frame(PONG, 'unasked'));
    $c->text(envelope('echo', 'still'));
    is($c->notification(), 'still', 'and stays');
    $c->finish();
}


# Fragments, and bytes of a frame, are signs of life.

$c = Snorky->connect('/same');
$d = frame(TEXT, envelope('echo', 'x' x 20));

for my $byte (split //, substr $d, 0, 12) {
    $c->send($byte);
    sleep 0.1;
}

$c->send(substr $d, 12);
is($c->notification(), 'x' x 20, 'a slow frame is read');
is($c->{controls}, undef, 'and nobody pinged meanwhile');


# a worker that quits, and its timers

@old = worker_pids($t);
$c = Snorky->connect('/same');
$c->finish();
$t->reload();
ok(ends($t, @old), 'a worker without clients ends, whoever was there');

@old = worker_pids($t);
@all = map { Snorky->connect($_) } '/never', '/never/lean', '/patient';
$_->frame_in() for $all[2];
$t->reload();
is(join(' ', map { $_->close_in() } @all), '1012 1012 1012',
    'clients without timers are told');
is(scalar(grep { !$_->gone() } @all), 0, 'and ended');
@all = ();
ok(ends($t, @old), 'and when they have answered, their worker ends');

@old = worker_pids($t);
@all = map { Snorky->connect($_) } '/never', '/never/lean', '/patient';
$_->{mute} = 1 for @all;
$t->reload();
is(join(' ', map { $_->close_in() } @all), '1012 1012 1012',
    'those who do not answer');
ok(!ends($t, 1, @old), 'keep it');
$_->close_frame(1012) for @all;
is(scalar(grep { !$_->gone() } @all), 0, 'until they do');
@all = ();
ok(ends($t, @old), 'then it ends');


# --- helpers ----------------------------------------------------------------

# All frames of so many seconds, each with the client, the time, and a number:
# the same for those that were there at the same time.  Meanwhile the function
# is called ten times a second.

sub listen_to {
    my ($seconds, $code, @clients) = @_;

    my $deadline = time() + $seconds;
    my %client = map { fileno $_->{sock} => $_ } @clients;
    my ($round, @frames);

    while (time() < $deadline) {
        my $next = time() + 0.1;
        $code->();

        while ((my $left = $next - time()) > 0) {
            my $bits = readable($left, keys %client);
            $round++;

            for my $fd (sort keys %client) {
                next unless vec $bits, $fd, 1;

                my $k = $client{$fd};
                $k->fill(0);

                while (my $f = $k->shift_frame()) {
                    push @frames, { %$f, by => $k, at => time(),
                        round => $round };
                }

                delete $client{$fd} if $k->{eof};
            }
        }
    }

    return @frames;
}


# Of these descriptors, those with something to read.  select() looks at one
# after the other, so it may miss what came earlier than what it saw; once it
# sees no more than before, nothing that came earlier is missing.

sub readable {
    my ($seconds, @fds) = @_;
    my ($bits, $before) = ('', '');

    do {
        $before = $bits;
        $bits = '';
        vec($bits, $_, 1) = 1 for @fds;
        select $bits, undef, undef, $seconds;
        $seconds = 0;
    } while ($bits ne $before);

    return $bits;
}


# whether these workers end, in the time

sub ends {
    my ($test, @pids) = @_;

    my $timeout = $pids[0] == 1 ? shift @pids : undef;

    return wait_until {
        my %now = processes($test);
        !grep { $now{$_} } @pids;
    } $timeout;
}
