#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The zone: what size it may have, what it does when it is as small as can
# be, and that nothing of it is lost by reloading.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Load;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my $reloads = 100;

my $t = Test::Nginx->new()->has(qw/ http /)->plan(55);

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
    snorky_drain 500ms;
    snorky_worker_timeout 30s;
    snorky_publish_timeout 30s;
    snorky_send_buffer 64m;
    snorky_service pubsub messaging;

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend frontend=messaging;
    }

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 reuseport;
        server_name  localhost;

        location /ws {
            snorky_websocket;
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

my $port = port(8081);
my $page = 4096;


# --- what is refused --------------------------------------------------------

like(nginx_t($t, '65535'), qr/\[emerg\].*"65535".*too small/,
    'a zone of less than 64k is refused');
like(nginx_t($t, '64k log=65536'), qr/\[emerg\].*"log=65536"/,
    'a log as large as the zone is refused');
like(nginx_t($t, '64k log=4095'), qr/\[emerg\].*"log=4095"/,
    'a log of less than a page is refused');


# any log in any zone: there is room, or there is not and that is said

my (@accepted, @refused, @strange);

for my $size (64, 72, 80, 96, 128) {
    my %taken;

    for my $log (map { $_ * 4 } 1 .. $size / 4 - 1) {
        my $said = nginx_t($t, "${size}k log=${log}k");

        if ($said =~ /test is successful/ && $said !~ /\[(?!notice)/) {
            push @accepted, [ $size, $log ];
            $taken{$log} = 1;

        } elsif ($said =~ /\[emerg\].*"snorky_zone" of (\d+) bytes is too/
            && $1 == $size * 1024
            && $said =~ /small for its log of (\d+) bytes/
            && $1 == $log * 1024)
        {
            push @refused, [ $size, $log ];
            push @strange, "$size/$log is refused, and less is not"
                if grep { $_ > $log } keys %taken;

        } else {
            push @strange, "$size/$log: $said";
        }
    }

    push @strange, "no log in $size" unless %taken;
}

is("@strange", '', scalar(@accepted) . ' sizes are accepted, '
    . scalar(@refused) . ' are refused as too small');


# --- as small as can be -----------------------------------------------------

# the smallest log, the largest one of the smallest zone, and odd ones

my ($largest) = sort { $b <=> $a } map { $_->[1] }
    grep { $_->[0] == 64 } @accepted;

for my $zone ('64k log=4k', "64k log=${largest}k", '65537 log=4097',
    '100000 log=9999')
{
    start($t, 4, $zone);

    my $free = status_json()->{zone}{free};
    my @slots = map { $_->{slot} } @{ status_json()->{workers} };
    my $load = Snorky::Load->new(port => $port);

    $load->subscriber(name => "subscriber $_", worker => $_) for @slots;
    $load->run(sub { $load->ready() });
    $load->publisher(name => "publisher $_", worker => $_, window => 50,
        both => $_ % 2) for @slots;

    ok($load->run(sub { $load->acked() > 3000 }), "$zone: serves a load");
    ok($load->settle(), "$zone: all is answered");
    is(json([ $load->errors() ]), '[]', "$zone: no call fails");
    is($load->complaints(), '', "$zone: one order, nothing lost");
    is(status_json()->{zone}{free}, $free, "$zone: it needs no memory");

    $load->finish();


    # a record may take a quarter of the log

    my $log = status_json()->{log}{size};
    my ($here, $there) = map { connect_to_worker($_, '/ws', port => $port) }
        @slots[0, 1];

    $_->rpc('messaging', 'subscribe', { channel => 'c' }) for $here, $there;

    my ($fits, $not) = (0, $log);

    while ($not - $fits > 1) {
        my $size = int(($fits + $not) / 2);
        my $r = publish($here, $size);

        if ($r->{type} eq 'response') {
            $fits = $size;
        } else {
            die json($r), "\n" if $r->{message} ne 'Message too large';
            $not = $size;
        }
    }

    # a record has a head, the channel's name, and the envelope; it begins
    # at a multiple of a cache line

    my $most = $log / 4 - $log / 4 % 64;

    cmp_ok($fits, '>', $most - 200, "$zone: $fits bytes of text fit");
    cmp_ok($fits, '<', $most - 100, "$zone: $not do not");

    my $r = backend_post('/backend', '{"service":"messaging_backend",'
        . '"message":{"command":"publish","params":{"channel":"c",'
        . '"message":"' . ('x' x $not) . '"},"callId":1}}',
        key => 'swordfish', port => $port);

    is("$r->{status} $r->{json}{message}{message}", '200 Message too large',
        "$zone: a backend is told so, too");


    # all sizes up to that, so that records lie anyhow in the ring

    my @sizes = map { 1 + int rand $fits } 1 .. 400;
    my @wrong;

    drop_all($here, $there);

    for my $i (0 .. $#sizes) {
        my $size = $i % 10 ? $sizes[$i] : $fits;
        my $reply = publish($here, $size, $i);

        push @wrong, json($reply) if $reply->{type} ne 'response';

        for my $c ($here, $there) {
            my $m = $c->notification();
            push @wrong, $size if !$m || $m->{message} ne text($size, $i);
        }
    }

    is(join(' ', grep { defined } @wrong[0 .. 9]), '',
        "$zone: records of all sizes arrive as they are")
        or diag("TEST_SNORKY_SEED=$seed");

    $_->finish() for $here, $there;
    $t->stop();
}


# --- more processes than places ---------------------------------------------

start($t, 20, '64k log=4k', 16);

# the status of one that has a place

my $status = wait_until { eval { status_json() } };

is(join(' ', map { $_->{slot} } @{ $status->{workers} }),
    join(' ', 0 .. 15), 'a small zone has places for 16 processes');

# sockets are dealt by chance: so often that all twenty have been met

my (%ws, %backend, @clients);
my $deadline = time() + 30;

while (keys %ws < 20 && time() < $deadline) {
    my $c = Snorky->attempt('/ws', port => $port);
    my $worker = $c->header('X-Worker');

    next if $ws{$worker};
    $ws{$worker} = $c->status();

    if ($c->status() == 101) {
        $c->rpc('messaging', 'subscribe', { channel => 'c' });
        push @clients, $c;
    }
}

while (keys %backend < 20 && time() < $deadline) {
    my $r = backend_post('/backend', '[]', key => 'swordfish',
        port => $port);
    $backend{ $r->{headers}{'x-worker'} } = $r->{status};
}

is(join(' ', map { $ws{$_} } 0 .. 19), join(' ', (101) x 16, (503) x 4),
    'the others answer 503');
is(join(' ', map { $backend{$_} } 0 .. 19), join(' ', (200) x 16, (503) x 4),
    'to backends, too');
is(scalar(() = $t->read_file('error.log') =~ /\[crit\].*"snorky_zone"/g), 4,
    'and say so in the log');

$clients[0]->rpc('messaging', 'publish', { channel => 'c', message => 1 });
is(scalar(grep { my $m = $_->notification(); $m && $m->{message} == 1 }
    @clients), 16, 'those that have one serve');

$_->finish() for @clients;
$t->stop();


# --- a hundred reloads ------------------------------------------------------

start($t, 2, '64k log=4k');

my $before = status_json();
my $load = Snorky::Load->new();

$load->subscriber(name => "subscriber $_") for 1 .. 12;
$load->run(sub { $load->ready() });
$load->publisher(name => "publisher $_", window => 2) for 1 .. 2;

my $missed = 0;

for my $i (1 .. $reloads) {
    my %old = map { $_ => 1 } keys %{ { processes($t) } };

    $t->reload();

    # no more of them at a time than there are places for; meanwhile there
    # is much to be heard

    my $look = 0;

    $load->run(sub {
        return 0 if time() < $look;
        $look = time() + 0.05;

        my %now = processes($t);
        return keys %now <= 12 && 2 <= grep { !$old{$_} } keys %now;
    }) or $missed++;
}

is($missed, 0, "$reloads reloads, one after another");
is($load->run(sub { 2 == keys %{ { processes($t) } } }), 1,
    'the old workers have left');
ok($load->settle(), 'all is answered');
is($load->complaints(), '', 'one order, nothing lost');
is(json([ $load->errors() ]), '[]', 'no call failed');

my %codes = map { $_->{code} => 1 } $load->ends();
is(join(' ', keys %codes), '1012', 'all sessions were closed with 1012');

my $after = status_json();

is($after->{zone}{free}, $before->{zone}{free},
    'the zone has as much room as before');
is(scalar @{ $after->{workers} }, 2, 'and as many workers');

$load->finish();
is(wait_until { counters()->{sessions} == 0 }, 1, 'no session is left');
is(counters()->{subscriptions} . ' ' . counters()->{channels}, '0 0',
    'no subscription is');


# --- helpers ----------------------------------------------------------------

sub configuration {
    my ($t, $workers, $zone) = @_;

    (my $text = $conf) =~ s/%%ZONE%%/$zone/;
    $text =~ s/%%WORKERS%%/$workers/;

    return at_level($t, 'info', $text);
}


sub start {
    my ($t, $workers, $zone, $seats) = @_;

    $t->write_file_expand('nginx.conf', configuration($t, $workers, $zone));
    $t->run();

    # one that has no seat can't tell

    my $live = wait_until {
        my $s = eval { status_json() };
        return $s && @{ $s->{workers} } == ($seats || $workers);
    };

    die "no workers\n" unless $live;

    return;
}


# what "nginx -t" says, with a log of its own

sub nginx_t {
    my ($t, $zone) = @_;

    my $text = configuration($t, 1, $zone);

    $text =~ s/^error_log.*$/error_log stderr notice;/m;
    $t->write_file_expand('tested.conf', $text);

    my $dir = $t->testdir();

    # it does not free what it has read

    local $ENV{ASAN_OPTIONS} = join ':',
        grep { defined } $ENV{ASAN_OPTIONS}, 'detect_leaks=0';

    return scalar `'$Test::Nginx::NGINX' -t -p '$dir/' -c tested.conf \\
        -e stderr 2>&1`;
}


# a text of so many bytes that no other message has

sub text {
    my ($size, $seed) = @_;

    my $text = "$seed-$size ";
    $text x= $size / length($text) + 1;

    return substr $text, 0, $size;
}


sub publish {
    my ($client, $size, $seed) = @_;

    return $client->rpc('messaging', 'publish',
        { channel => 'c', message => text($size, $seed // 'x') })
        || { type => $client->{why} };
}


# takes what has been published up to now, from all

sub drop_all {
    my (@clients) = @_;

    publish($clients[0], 9, 'last');

    for my $client (@clients) {
        while (my $m = $client->notification()) {
            last if $m->{message} eq text(9, 'last');
        }
    }

    return;
}
