#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Events wait until the application has taken them: in their order, as many as
# there is room for, whether it is slow, wrong or down, and while workers end.

use strict;
use warnings;

use FindBin;
use List::Util qw/ max sum0 /;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;
use Snorky::Events;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my @taken = (200, 201, 202, 204);
my @refused = (301, 302, 304, 400, 401, 403, 404, 413, 500, 502, 503);

my $t = Test::Nginx->new()->has(qw/ http proxy /)
    ->plan(43 + @taken + @refused);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes %%WORKERS%%;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 1m;
    snorky_service pubsub messaging;
    snorky_drain 100ms;
    snorky_close_timeout 100ms;
    snorky_max_subscriptions 1000;
    snorky_identity $http_x_user;

    %%EVENTS%%

    add_header X-Client $snorky_client always;
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

        location /ok {
            internal;
            proxy_pass http://127.0.0.1:8090;
        }
    }
}

EOC

my $all = 'snorky_event /events connected disconnected subscribed '
    . 'unsubscribed;';

my $hold = { hold => 1, status => 204 };
my $take = { status => 204 };

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/events' => $take, '/ok' => $take,
});

my ($c, @c);


# --- batches ----------------------------------------------------------------

start(1, 'snorky_event /events connected; snorky_event /ok connected;');

$app->answer('/events', $hold);

@c = map { Snorky->connect('/ws', headers => [ "X-User: $_" ]) } 1 .. 151;

is(told_of('/ok', 151), join(' ', 1 .. 151), 'all events are told, in order');
is($app->count('/events'), 1, 'where one batch is not answered, no other comes');
is($c[0]->rpc('messaging', 'subscribe', { channel => 1 })->{data}, undef,
    'clients do not wait for that');
is(counters()->{events}, 151, 'what waits is counted');

$app->answer('/events', $take);
$app->release('/events');

is(told_of('/events', 151), join(' ', 1 .. 151), 'then the others come');
is(join(' ', map { scalar @{ $_->{json} } } $app->requests('/events')),
    '1 64 64 22', 'many in a batch');

settled();
is(counters()->{events_sent}, 302, 'all are taken');

finish();
$app->forget();
$app->answer('/events', $hold);

my $long = 'x' x 6000;

@c = map { Snorky->connect('/ws', headers => [ "X-User: $long$_" ]) } 1 .. 30;

$app->answer('/events', $take);
$app->release('/events');

is(told_of('/events', 30), join(' ', map { "$long$_" } 1 .. 30),
    'so it is with large ones');
cmp_ok(max(map { length $_->{body} } $app->requests('/events')), '<=',
    65536 + 200, 'of which fewer are in a batch');

finish();
$t->stop();


# --- the order --------------------------------------------------------------

start(4, $all);

@c = map { Snorky->connect('/ws') } 1 .. 24;

my %did = map { $_->header('X-Client') => [ 'connected' ] } @c;
my %in;

for my $round (1 .. 8) {
    for my $c (@c) {
        my $id = $c->header('X-Client');
        my @ids;

        for (1 .. 20) {
            my $channel = int rand 12;
            my $what = $in{$id}{$channel} ? 'unsubscribe' : 'subscribe';

            $in{$id}{$channel} = !$in{$id}{$channel};
            push @{ $did{$id} }, "${what}d:messaging:$channel";
            push @ids, $c->call('messaging', $what, { channel => $channel });
        }

        $c->{calls_made} = \@ids;
    }

    for my $c (@c) {
        $c->reply($_) for @{ $c->{calls_made} };
    }
}

# how they leave their last channels is up to the server

my %left = map { my $id = $_; $id => {
    map { ("unsubscribed:messaging:$_" => 1) }
    grep { $in{$id}{$_} } keys %{ $in{$id} } } } keys %did;

finish();

my %told;
push @{ $told{$_->{client}} }, brief($_) for events($app, '/events');

my @wrong;

for my $id (keys %did) {
    my @told = @{ $told{$id} };
    my @begin = splice @told, 0, scalar @{ $did{$id} };
    my $end = pop @told;

    push @wrong, $id unless "@begin" eq "@{ $did{$id} }"
        && $end eq 'disconnected'
        && join(' ', sort @told) eq join(' ', sort keys %{ $left{$id} });
}

is("@wrong", '', 'all that clients do is told once and in their order');
is(scalar keys %told, 24, 'of all of them');
cmp_ok(sum0(map { scalar @$_ } values %told), '>', 24 * 160,
    'in thousands of events');

my %workers = map { $_->{worker} => 1 } events($app, '/events');
cmp_ok(scalar keys %workers, '>', 1, 'by several workers');

$t->stop();


# --- an application that is down --------------------------------------------

start(1, $all);

$app->stop();

@c = map { Snorky->connect('/ws', headers => [ "X-User: $_" ]) } 1 .. 200;

wait_until { counters()->{events_retried} > 1 };

is(logged('error', 'events for "/events" are not taken, the answer is '
    . '502'), 1, 'when the application is down, the log says so once');

$app->start_again();

is(told_of('/events', 200), join(' ', 1 .. 200),
    'when it is back, it is told all, once, in order');

is(logged('notice', 'events for "/events" are taken again'), 1,
    'and the log says so');
is(counters()->{events_dropped}, 0, 'nothing is lost');

finish();


# --- one that does not take them --------------------------------------------

for my $status (@taken) {
    is(attempts({ status => $status, $status == 204 ? () : (body => 'x') }), 1,
        "with $status they are taken");
}

for my $status (@refused) {
    is(attempts({ status => $status,
        headers => [ 'Location: http://localhost/' ] }, $take), 2,
        "with $status they are told again");
}

is(attempts({ close => 1 }, $take), 2, 'and where the answer is lost');
is(attempts({ status => 200, body => 'whole', cut => 2 }, $take), 2,
    'or not complete');
is(attempts({ status => 503 }, { status => 503 }, { status => 503 }, $take),
    4, 'again and again');

my @r = $app->requests('/events');

is(scalar(keys %{{ map { $_->{body} => 1 } @r[0 .. 3] }}), 1,
    'it is the same batch, byte for byte');

my @gaps = map { $r[$_]{time} - $r[$_ - 1]{time} } 1 .. 3;

ok($gaps[0] > 0.09 && $gaps[1] > 0.19 && $gaps[2] > 0.39,
    'each time it takes longer')
    or diag("@gaps");

# what comes meanwhile is behind it

$app->forget();
$app->answer('/events', { turns => [ { status => 500 }, $take ] });

@c = map { Snorky->connect('/ws', headers => [ "X-User: $_" ]) } 1 .. 3;
told_of('/events', 4);

is(join(' | ', map { brief(@{ $_->{json} }) } $app->requests('/events')),
    'connected:1 | connected:1 | connected:2 connected:3',
    'what comes meanwhile is told when that is taken');

$app->answer('/events', $take);
finish();

unlike($t->read_file('error.log'), qr/dropped|lost/, 'nothing is lost');

$t->stop();


# --- one that never answers -------------------------------------------------

start(1, "$all snorky_event_timeout 300ms;");

is(attempts({ never => 1 }, $take), 2, 'who does not answer is told again');
is(logged('error', 'the answer is 504'), 1, 'as the log says');

$t->stop();


# --- no room ----------------------------------------------------------------

start(1, 'snorky_event /events connected; snorky_event_queue 4k;');

$app->answer('/events', $hold);

@c = map { Snorky->connect('/ws', headers => [ "X-User: $_" ]) } 1 .. 100;

my $counters = counters();

cmp_ok($counters->{events}, '<', 30, 'events that there is no room for ...');
is($counters->{events} + $counters->{events_dropped}, 100, 'are dropped');
is(logged('warn', 'events for "/events" are dropped, too many wait'), 1,
    'as the log says once');

$app->answer('/events', $take);
$app->release('/events');

my $n = $counters->{events};

told($app, sub { of_event('dropped', @_) });
is(brief(events($app, '/events')), join(' ', map({ "connected:$_" } 1 .. $n),
    'dropped:' . (100 - $n)), 'how many these are is told in their place');

finish();
$app->forget();

# room comes in between

$app->answer('/events', $hold);

connect_some(1 .. 1);
wait_until { $app->count('/events', 'held') };
connect_some(2 .. 100);

$n = counters()->{events};
$app->release('/events');
wait_until { $app->count('/events', 'held') };

# the first has been taken: there is room for one, but not for both

connect_some(101);
$app->answer('/events', $take);
$app->release('/events');
settled();
connect_some(102);
settled();

is(brief(events($app, '/events')), join(' ', map({ "connected:$_" } 1 .. $n),
    'dropped:' . (101 - $n), 'connected:102'),
    'those who come later stand behind it');

$counters = counters();
is($counters->{events_sent} + $counters->{events_dropped},
    $counters->{connections}, 'all are counted as the one or the other');

finish();
$t->stop();

start(1, 'snorky_event /events connected; snorky_event_queue 100;');

@c = map { Snorky->connect('/ws') } 1 .. 3;
told($app, sub { 3 == sum0(map { $_->{count} } @_) });

is(sum0(map { $_->{count} } events($app, '/events')), 3,
    'one that is larger than all the room is told as dropped');

finish();
$t->stop();


# --- a worker ends ----------------------------------------------------------

start(1, $all);

$app->answer('/events', $hold);
@c = map { Snorky->connect('/ws', headers => [ "X-User: $_" ]) } 1 .. 100;

my ($old) = worker_pids($t);
my $generation = status_json()->{workers}[0]{generation};

$t->reload();
wait_until { grep { $_ != $old } worker_pids($t) };
part();

ok(kill(0, $old), 'a worker that quits stays while there are events');
is((grep { $_->{pid} == $old } @{ status_json()->{workers} })[0]{events}, 200,
    'of all who had to leave it');

$app->answer('/events', $take);
$app->release('/events');

is(wait_until { !kill 0, $old }, 1, 'it ends when they are taken');
is(brief(events($app, '/events')), join(' ',
    (map { "connected:$_" } 1 .. 100), (map { "disconnected:$_" } 1 .. 100)),
    'all of them');

$app->forget();
$t->stop();

start(1, "$all snorky_event_timeout 500ms;");

$app->answer('/events', { never => 1 });

$generation = status_json()->{workers}[0]{generation};
@c = map { Snorky->connect('/ws') } 1 .. 5;
($old) = worker_pids($t);

$t->reload();
part();

is(wait_until { !kill 0, $old }, 1,
    'it does not wait for ever for an application that does not take them');
is(logged('error', '10 events are lost, they were not taken in time'), 1,
    'as the log says');

$app->answer('/events', $take);

is(brief(told($app, sub { grep { $_->{event} eq 'lost' } @_ })) && join(' ',
    map { $_->{worker} } of_event('lost', events($app, '/events'))),
    $generation, 'another worker tells that it is lost');

$app->forget();
$app->answer('/events', $hold);

$generation = max(map { $_->{generation} } @{ status_json()->{workers} });
@c = map { Snorky->connect('/ws') } 1 .. 5;
($old) = worker_pids($t);

kill 'TERM', $old;
part();
wait_until { !kill 0, $old };

is(logged('warn', 'events are lost, this worker ends at once'), 1,
    'one that is terminated can not wait');

$app->answer('/events', $take);
told($app, sub { grep { $_->{event} eq 'lost' } @_ });

is(join(' ', map { $_->{worker} } of_event('lost', events($app, '/events'))),
    $generation, 'the next tells that it is lost');

$t->stop();

start(2, $all);

@c = map { Snorky->connect('/ws', headers => [ "X-User: $_" ]) } 1 .. 50;

kill 'QUIT', $t->read_file('nginx.pid') =~ /(\d+)/;

$_->close_in() for @c;
@c = ();

$t->stop();

is(join(' ', sort { $a <=> $b } map { $_->{identity} }
    of_event('disconnected', events($app, '/events'))),
    join(' ', 1 .. 50), 'when nginx quits, all is told before');


# --- helpers ----------------------------------------------------------------

sub start {
    my ($workers, $events) = @_;

    (my $text = $conf) =~ s/%%WORKERS%%/$workers/;
    $text =~ s/%%EVENTS%%/$events/;

    $app->answer('/events', $take);

    unlink $t->testdir() . '/error.log';

    $t->write_file_expand('nginx.conf', $text);
    $t->run();

    wait_until { @{ status_json()->{workers} } == $workers };

    $app->forget();
}


sub connect_some {
    push @c, map { Snorky->connect('/ws', headers => [ "X-User: $_" ]) } @_;
}


# all clients are closed, and let go

sub part {
    $_->close_in() for @c;
    @c = ();

    return wait_until { counters()->{sessions} == 0 };
}


# all clients go, and it has been told

sub finish {
    $_->close_frame(1000) for @c;
    $_->gone() for @c;
    @c = ();

    wait_until { counters()->{sessions} == 0 };
    settled();
}


# how often the error log says so

sub logged {
    my ($level, $text) = @_;

    return scalar grep { /\[$level\].*\Q$text\E/ }
        split /\n/, $t->read_file('error.log');
}


# the identities of the events, as soon as there are so many

sub told_of {
    my ($path, $n) = @_;

    my @events;

    wait_until { (@events = events($app, $path)) >= $n };

    return join ' ', map { $_->{identity} } @events;
}


# how often one event is sent where it is answered so

sub attempts {
    my @turns = @_;

    settled();
    $app->forget();
    $app->answer('/events', { turns => \@turns });

    $c = Snorky->connect('/ws');

    wait_until { $app->count('/events') >= @turns };
    settled();

    my $n = $app->count('/events');

    $app->answer('/events', $take);
    $c->finish();
    settled();

    # but not those of its leaving

    return $n;
}
