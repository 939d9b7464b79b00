#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# nginx reloads, quits and stops while clients publish and listen: each is
# told by a close frame, none loses what was published while it was there,
# and nothing is left behind.

use strict;
use warnings;

use FindBin;
use List::Util qw/ max min /;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Load;


my $reloads = 20;

my $t = Test::Nginx->new()->has(qw/ http /)->plan(45);

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


# --- under load -------------------------------------------------------------

configure($t, zone => '4m', drain => '1s');
$t->run();
wait_until { workers() == 4 };

my $before = status_json();
my $load = Snorky::Load->new();

$load->subscriber(name => "subscriber $_") for 1 .. 12;
$load->run(sub { $load->ready() });
$load->publisher(name => "publisher $_", window => 2, both => $_ % 2)
    for 1 .. 8;

$load->run(sub { $load->acked() > 500 });

my (@late, %seen);
$seen{$_} = 1 for worker_pids($t);

for my $i (1 .. $reloads) {
    my %old = map { $_->{pid} => 1 } @{ status_json()->{workers} };
    my $acked = $load->acked();

    $t->reload();

    # new workers serve; each second time, the old ones have left, too

    $load->run(sub {
        my @w = @{ status_json()->{workers} };
        return 0 if 4 > grep { !$old{$_->{pid}} } @w;
        return $i % 2 || @w == 4;
    }) or push @late, "reload $i";

    $seen{ $_->{pid} } = 1 for @{ status_json()->{workers} };

    $load->run(sub { $load->acked() > $acked + 200 })
        or push @late, "load after reload $i";
}

is("@late", '', "$reloads reloads, and all went on");
is($load->run(sub { @{ status_json()->{workers} } == 4 }), 1,
    'the old workers have left');
is(scalar keys %seen, 4 * ($reloads + 1), 'each time, all workers are new');
ok($load->settle(), 'everything is answered');

my %codes;
$codes{"$_->{code} $_->{why}"}++ for $load->ends();

is(join(', ', sort keys %codes), '1012 service restart',
    'all sessions were closed with 1012');
cmp_ok(scalar($load->ends()), '>', $reloads * 10, 'many times');
is(json([ $load->errors() ]), '[]', 'no call failed');
is(json($load->{refused}), '{}', 'no connection was refused');
is($load->complaints(), '', 'one order, nothing lost, nothing twice');
cmp_ok($load->acked(), '>', $reloads * 200, 'with ' . $load->acked()
    . ' publications');

my $after = status_json();

is($after->{zone}{free}, $before->{zone}{free},
    'the zone has as much room as before');
is(scalar @{ $after->{workers} }, 4, 'and as many workers');
is($after->{total}{publications}, scalar keys %{ $load->{place} },
    'the total counts what all workers did');
is($after->{total}{closed_restart}, scalar($load->ends()),
    'and what they closed');
is("$after->{total}{drops} $after->{total}{closed_lost}", '0 0',
    'none was closed in another way');

$load->finish();
is(wait_until { counters()->{sessions} == 0 }, 1, 'no session is left');
is(counters()->{subscriptions}, 0, 'no subscription is');


# --- spread over the time ---------------------------------------------------

configure($t, zone => '4m', drain => '3s');
reload_and_wait($t);

my $crowd = Snorky::Load->new();
$crowd->subscriber(name => "member $_", stay => 1) for 1 .. 120;
$crowd->run(sub { $crowd->ready() });

my $start = time();
$t->reload();

ok($crowd->run(sub { $crowd->ends() == 120 }, 30), 'a crowd is closed');

my @times = sort { $a <=> $b } map { $_->{time} - $start } $crowd->ends();

is(scalar(grep { $_->{code} != 1012 } $crowd->ends()), 0, 'with 1012');
cmp_ok($times[-1], '<', 3 + 2, sprintf 'within the time (%.1f s to %.1f s)',
    @times[0, -1]);
cmp_ok($times[-1] - $times[0], '>', 2, 'which is used');

my $most = max(map { my $from = $_; scalar grep {
    $_ >= $from && $_ < $from + 0.6 } @times } @times);
cmp_ok($most, '<', 60, "and evenly: $most of 120 in a fifth of it");


# --- old and new clients hear each other ------------------------------------

configure($t, zone => '4m', drain => '60s');
reload_and_wait($t);

my @old = map { Snorky->connect('/ws') } 1 .. 60;
$_->rpc('messaging', 'subscribe', { channel => 'both' }) for @old;

reload_quickly($t);

my @new = map { Snorky->connect('/ws') } 1 .. 4;
$_->rpc('messaging', 'subscribe', { channel => 'both' }) for @new;

# the first of the old may be closed already

my ($speaker) = reverse @old;
my $sent = $speaker->rpc('messaging', 'publish',
    { channel => 'both', message => 'from old' });
is($sent && $sent->{type}, 'response', 'an old client publishes');
is(join(' ', map { heard($_, 'from old') } @new), '1 1 1 1',
    'the new ones hear it');

$new[0]->rpc('messaging', 'publish',
    { channel => 'both', message => 'from new' });
is(heard($speaker, 'from new'), 1, 'and it hears the new ones');

my $n = 1 + grep { heard($_, 'from new') } grep { $_ != $speaker } @old;
cmp_ok($n, '>', 40, "as do the others of the old ($n of 60)");


# --- another zone -----------------------------------------------------------

# all that were connected are closed at once, whatever snorky_drain says: the
# new ones, and the old ones, that are being closed slowly

configure($t, zone => '3m', drain => '60s');
$start = time();
$t->reload();

my @closed = codes(@new);
is("@closed", '1012 1012 1012 1012', 'another zone closes with 1012');
cmp_ok(time() - $start, '<', 9, sprintf 'at once (%.1f s)', time() - $start);

@closed = codes(@old);
is(join(' ', @closed), join(' ', (1012) x 60),
    'also those whose workers were leaving');
cmp_ok(time() - $start, '<', 15, sprintf 'at once (%.1f s)', time() - $start);

is(wait_until { status_json()->{zone}{size} == 3 * 1024 * 1024 }, 1,
    'the new zone is in use');
is(wait_until { workers() == 4 && keys %{ { processes($t) } } == 4 }, 1,
    'by the new workers, and there are no others');

is(reload_to($t, zone => '3m log=1m', drain => '1s'), 1024 * 1024,
    'another log is another zone');
is(reload_to($t, zone => '3m log=1m', drain => '1s'), 1024 * 1024,
    'the same is the same');


# --- another number of workers ----------------------------------------------

for my $n (7, 2, 4) {
    configure($t, zone => '3m', drain => '1s', workers => $n);
    $t->reload();

    is(wait_until { workers() == $n && keys %{ { processes($t) } } == $n }, 1,
        "from now on there are $n workers");
}


# --- worker_shutdown_timeout ------------------------------------------------

configure($t, zone => '3m', drain => '60s',
    main => 'worker_shutdown_timeout 1s;');
reload_and_wait($t);

@old = map { Snorky->connect('/ws') } 1 .. 40;
$start = time();
$t->reload();

is(join(' ', codes(@old)), join(' ', (1012) x 40),
    'worker_shutdown_timeout closes with 1012');
is($old[-1]{closed}{reason}, 'service restart; spread=60000',
    'with the time over which so many should come back');
my $took = time() - $start;
cmp_ok($took, '<', 20, sprintf 'before snorky_drain does (%.1f s)', $took);


# --- without a drain time ---------------------------------------------------

configure($t, zone => '3m', drain => '0');
reload_and_wait($t);

@old = map { Snorky->connect('/ws') } 1 .. 40;
$t->reload();
is(join(' ', codes(@old)),
    join(' ', (1012) x 40), 'snorky_drain 0 closes at once');
is(join(', ', sort keys %{ { map { $_->{closed}{reason} => 1 } @old } }),
    'service restart', 'who may also come back at once');


# --- quit and stop ----------------------------------------------------------

configure($t, zone => '3m', drain => '1s');
reload_and_wait($t);

@old = map { Snorky->connect('/ws') } 1 .. 20;
kill 'QUIT', $t->master();
is(join(' ', codes(@old)),
    join(' ', (1012) x 20), 'quit closes with 1012');

$t->stop();
$t->run();
wait_until { workers() == 4 };

@old = map { Snorky->connect('/ws') } 1 .. 20;
$_->rpc('messaging', 'subscribe', { channel => 'c' }) for @old;
kill 'TERM', $t->master();
is(join(' ', codes(@old)),
    join(' ', (1001) x 20), 'stop closes with 1001');
is(wait_until { !-e $t->testdir() . '/nginx.pid' }, 1, 'nginx ends');


# --- helpers ----------------------------------------------------------------

sub configure {
    my ($t, %o) = @_;

    my $text = $conf;
    my $main = $o{main} // '';
    my $workers = $o{workers} // 4;

    $text =~ s/%%ZONE%%/$o{zone}/;
    $text =~ s/%%DRAIN%%/$o{drain}/;
    $text =~ s/%%WORKERS%%/$workers/;
    $text =~ s/%%MAIN%%/$main/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));

    return;
}


# how many workers serve, but for those that are leaving

sub workers {
    return scalar grep { !$_->{quitting} && $_->{state} eq 'live' }
        @{ status_json()->{workers} };
}


# Until the new workers serve, and only they take connections.

sub reload_quickly {
    my ($t) = @_;

    my %old = map { $_ => 1 } keys %{ { processes($t) } };

    $t->reload();

    wait_until(sub {
        my @new = grep { !$old{$_} } worker_pids($t);
        return @new == 4 && @new == worker_pids($t);
    }, 30) or diag('the new workers do not come');

    return;
}


# Until the old workers have left, too.

sub reload_and_wait {
    my ($t) = @_;

    my %old = map { $_ => 1 } keys %{ { processes($t) } };

    $t->reload();

    wait_until(sub {
        my %now = processes($t);
        return 0 if grep { $old{$_} } keys %now;
        return keys %now == 4 && workers() == 4;
    }, 30) or diag('the old workers do not leave');

    return;
}


# the size of the log after that

sub reload_to {
    my ($t, %o) = @_;

    configure($t, %o);
    reload_and_wait($t);

    return status_json()->{log}{size};
}


# the codes with which they are closed, when the connection ends, too; all of
# it within one time

sub codes {
    my (@clients) = @_;

    my $deadline = time() + 20;

    return map {
        my $left = $deadline - time();
        my $code = $_->close_in($left > 0 ? $left : 0) // $_->{why};

        $code .= ' but open' unless $_->gone(2);
        $_->{sock}->close();

        $code;
    } @clients;
}


# whether the client gets that message, whatever comes before it

sub heard {
    my ($client, $message) = @_;

    while (my $m = $client->notification()) {
        return 1 if $m->{message} eq $message;
    }

    return 0;
}
