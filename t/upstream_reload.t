#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# nginx reloads, quits and stops, and workers die, while an application has
# calls to answer.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;


my $t = Test::Nginx->new()->has(qw/ http proxy /)->todo_alerts()->plan(75);

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

    snorky_zone 4m;
    snorky_drain %%DRAIN%%;
    snorky_close_timeout 1s;
    lingering_close off;

    snorky_service upstream app pass=/app/;
    snorky_service upstream impatient pass=/app/ timeout=1s;
    snorky_service echo echo;

    snorky_registry private {
        snorky_service upstream_backend app frontend=public/app;
    }

    snorky_identity $arg_user;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /fat {
            snorky_websocket;
            snorky_lean off;
        }

        location /lean {
            snorky_websocket;
            snorky_lean on;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }

        location /app/ {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Config %%CONFIG%%;
            proxy_pass http://127.0.0.1:%%PORT_8090%%/$snorky_command;
        }
    }
}

EOC

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/held' => { hold => 1, json => 'late' },
    '/add'  => { rpc => 1 },
    '/whoami' => { rpc => 1 },
    '/mine' => sub {
        my ($request) = @_;
        return { hold => $request->{json}{params}{name}, json => 'late' };
    },
    '/which' => sub {
        my ($request) = @_;
        return { json => $request->{headers}{'x-config'} };
    },
    '/which_held' => sub {
        my ($request) = @_;
        return { hold => 1, json => $request->{headers}{'x-config'} };
    },
    '/random' => sub {
        my ($request) = @_;
        my $params = $request->{json}{params};
        return { delay => $params->{delay}, json => $params->{n} };
    },
});

configure($t);
$t->run();

my ($c, @idle, @busy, @ids, %names);

# the first one; after another start it will be another one's turn

$c = Snorky->connect('/ws');
name_of($c);
$c->finish();


# --- a reload ---------------------------------------------------------------

for my $path (qw/ fat lean /) {
    @idle = map { Snorky->connect("/$path") } 1 .. 5;
    $c = Snorky->connect("/$path");
    @ids = map { $c->call('app', 'which_held', {}) } 1 .. 3;
    hold_of(3, '/which_held');

    my %old = map { $_ => 1 } worker_pids($t);

    configure($t, config => 'new');
    $t->reload();

    is(join(' ', map { $_->close_in() // 'none' } @idle),
        join(' ', (1012) x 5), "idle clients of /$path are closed");
    is($app->count('/which_held', 'held'), 3,
        'the application still has the calls of another one');
    ok($c->silent(0.3), 'that is not closed');

    # its turn has passed

    $c->call('app', 'add', { a => 1, b => 2 });
    $c->call('echo', 'x', {});
    $c->ping('there?');
    is(($c->frame_in() || {})->{data}, 'there?', 'its pings are answered');

    is($app->release('/which_held', 2), 2, 'two calls are answered');

    my @told = map { $c->reply() || {} } 1, 2;

    is(join(' ', map { $_->{data} // 'nothing' } @told), 'old old',
        'as the old configuration has it');
    ok($c->silent(0.2), 'the client waits for the third');

    my $d = Snorky->connect("/$path");
    is($d->rpc('app', 'which', {})->{data}, 'new',
        'a new client has the new configuration');

    is($app->release('/which_held'), 1, 'the last one is answered');
    push @told, $c->reply() || {};
    is(json([ sort map { $_->{callId} // 0 } @told ]), json(\@ids),
        'and the client gets it');
    is($c->close_in(), 1012, 'before it is closed');
    is(join(' ', map { $_->{text} } @{ $c->{inbox} }), '',
        'what it said after its turn is not answered');
    is($app->count('/add'), 0, 'nor done');
    ok(left($t, %old), 'the old worker leaves');

    $d->finish();
    configure($t);
    reload_and_wait($t);
    $app->forget();
}


# a timeout

$c = Snorky->connect('/ws');
$ids[0] = $c->call('impatient', 'held', {});
hold_of(1, '/held');

my %old = map { $_ => 1 } worker_pids($t);

$t->reload();
is(answers($c, $ids[0]), 'Timed out',
    'a call that takes too long is answered after a reload, too');
is($c->close_in(), 1012, 'then its client is closed');
ok($app->wait_for(1, '/held', 'left'), 'the application sees the end');
ok(left($t, %old), 'the old worker leaves');
$app->release('/held');
$app->forget();


# it leaves before it is answered

for my $how (qw/ finish reset /) {
    $c = Snorky->connect('/ws');
    $c->call('app', 'held', {}) for 1 .. 2;
    hold_of(2, '/held');
    %old = map { $_ => 1 } worker_pids($t);

    my $idle = Snorky->connect('/ws');

    $t->reload();
    $idle->close_in();
    $c->$how();

    ok($app->wait_for(2, '/held', 'left'),
        "calls of a client that leaves then ($how) are cancelled");
    ok(left($t, %old), 'and its worker leaves');
    $app->release('/held');
    $app->forget();
}


# a backend of the new worker speaks to those who wait

for my $to ('client', 'identity') {
    my @waits = map { Snorky->connect('/ws?user=u') } 1, 2;
    my @to = map { $to eq 'client' ? { client => name_of($_) }
                                   : { identity => 'u' } } @waits;

    $waits[0]->call('app', 'mine', { name => 'a' });
    $waits[1]->call('app', 'mine', { name => 'b' });
    hold_of(2, '/mine');
    %old = map { $_ => 1 } worker_pids($t);

    my $idle = Snorky->connect('/ws');

    $t->reload();
    $idle->close_in();

    is(backend('send', { to => $to[0], message => 'hello' }), 'null',
        "a new worker takes what is for a client of an old one ($to)");
    is(($waits[0]->notification() // ''), 'hello', 'who gets it');
    $app->release('a');
    is($waits[0]->close_in(), 1012, 'and is closed when it has its answer');
    is(backend('disconnect', { to => $to[1] }), 'null',
        'the other one is disconnected');
    is($waits[1]->close_in(), 1008, 'and is closed at once');
    ok($app->wait_for(1, '/mine', 'left'), 'its call is cancelled');
    ok(left($t, %old), 'the old worker leaves');
    $app->release('b');
    $app->forget();
}


# several generations

my @generations;

for my $config (qw/ a b c /) {
    configure($t, config => $config);
    reload_started($t);

    $c = Snorky->connect('/ws');
    push @generations, [ $c, $c->call('app', 'which_held', {}), $config ];
    hold_of(scalar @generations, '/which_held');
}

$app->release('/which_held');
is(join(' ', map { answers(@$_[0, 1]) } @generations), 'a b c', 'each generation answers its own');
is(join(' ', map { $_->[0]->close_in() } @generations[0, 1]), '1012 1012',
    'and the old ones close');
is($generations[2][0]->rpc('app', 'which', {})->{data}, 'c',
    'the last one goes on');
$generations[2][0]->finish();
$app->forget();


# --- many, all the time -----------------------------------------------------

my $clients = 30;

configure($t, workers => 3, drain => '500ms');
reload_and_wait($t);

srand($ENV{TEST_SNORKY_SEED} || int rand 2 ** 31);

my (%open, @wrong, @unanswered);
my ($sent, $answered, $restarts) = (0, 0, 0);
my $stop = 0;

@busy = map { come($_) } 1 .. $clients;
serve(sub { $answered > 300 });

for my $round (1 .. 4) {
    my $before = $answered;
    my %old = map { $_ => 1 } worker_pids($t);

    $t->reload();
    serve(sub { left_now($t, %old) && $answered > $before + 200 })
        or push @wrong, "reload $round took too long";
}

$stop = 1;
serve(sub { !grep { %{ $open{$_->{name}} } } @busy });

is(join("\n", @wrong), '', 'every call had its answer, once');
cmp_ok($restarts, '>=', $clients, "in $answered calls and $restarts restarts");

my %done = map { $_->{json}{params}{n} => 1 } $app->requests('/random');

is(join(' ', grep { $done{$_} } @unanswered), '',
    'what was not answered was not done');

$_->{c}->finish() for @busy;
$app->forget();


# --- an end by force --------------------------------------------------------

configure($t, main => 'worker_shutdown_timeout 500ms;');
reload_and_wait($t);

$c = Snorky->connect('/ws');
$c->call('app', 'held', {});
hold_of(1, '/held');
%old = map { $_ => 1 } worker_pids($t);

my $start = time();

$t->reload();
is($c->close_in(), 1012,
    'worker_shutdown_timeout closes clients that wait for an answer');
cmp_ok(time() - $start, '>', 0.45, 'not before its time');
ok($app->wait_for(1, '/held', 'left'), 'their calls are cancelled');
ok(left($t, %old), 'and the worker leaves');
$app->release('/held');
$app->forget();


# a worker is killed

configure($t, workers => 2);
reload_and_wait($t);

my @slots = map { $_->{slot} } @{ status_json()->{workers} };

@busy = map { connect_to_worker($_) } @slots;
$ids[$_] = $busy[$_]->call('app', 'held', { n => $_ }) for 0, 1;
hold_of(2, '/held');

my ($victim) = grep { $_->{slot} == $slots[0] } @{ status_json()->{workers} };

kill 'KILL', $victim->{pid};

ok($busy[0]->gone(), 'a killed worker takes its clients with it');
ok($app->wait_for(1, '/held', 'left'), 'and their calls');
is($app->count('/held', 'left'), 1, 'not those of others');
$app->release('/held');
is(answers($busy[1], $ids[1]), 'late', 'who are answered');
is(wait_until(sub { @{ status_json()->{workers} } == 2 && 2 == worker_pids($t)
    }), 1, 'another worker takes its place');

@idle = map { connect_to_worker($_) } @slots;
name_of($_) for @idle;

is($_->rpc('app', 'add', { a => 1, b => 1 })->{data}, 2,
    'calls are answered') for @idle;
$_->finish() for @idle;
$busy[1]->finish();
$app->forget();


# nginx quits

configure($t);
reload_and_wait($t);

$c = Snorky->connect('/ws');
name_of($c);
$ids[0] = $c->call('app', 'held', {});
hold_of(1, '/held');
kill 'QUIT', master($t);
ok($c->silent(0.3), 'when nginx quits, a client with a call is kept');
$app->release('/held');
is(answers($c, $ids[0]), 'late', 'until it is answered');
is($c->close_in(), 1012, 'and then closed');
ok($c->gone(), 'and its connection ends');
wait_until { !-e $t->testdir() . '/nginx.pid' };
$t->stop();
$app->forget();


# nginx stops

$t->run();
$c = Snorky->connect('/ws');
name_of($c);
$c->call('app', 'held', {});
hold_of(1, '/held');
kill 'TERM', master($t);
is($c->close_in(), 1001, 'when nginx stops, nothing is waited for');
ok($app->wait_for(1, '/held', 'left'), 'and calls are cancelled');
wait_until { !-e $t->testdir() . '/nginx.pid' };

is(join(' ', grep { $names{$_} > 1 } keys %names), '',
    'no two of these clients have had one name');
is(other_alerts($t, qr/exited on signal 9$|was locked by \d+$/), '',
    'no other alerts');


# ----------------------------------------------------------------------------

sub configure {
    my ($t, %o) = @_;

    my $text = $conf;
    my %value = (workers => 1, drain => '10ms', main => '', config => 'old',
        %o);

    $text =~ s/%%\U$_%%/$value{$_}/g for keys %value;
    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));

    return;
}


sub master {
    my ($t) = @_;

    return $t->read_file('nginx.pid') =~ /(\d+)/ ? $1 : die "no nginx.pid\n";
}


sub hold_of {
    my ($n, $path) = @_;

    $app->wait_for($n, $path, 'held') or die "no $n calls at $path\n";

    return;
}


sub backend {
    my ($command, $params) = @_;

    my $r = backend_post('/backend', envelope('app', { command => $command,
        params => $params, callId => 1 }), key => 'swordfish')
        or return 'no answer';
    my $m = ($r->{json} || {})->{message} or return "$r->{status} $r->{body}";

    return $m->{type} eq 'error' ? $m->{message} : json($m->{data});
}


# a client's name, which is no other's

sub name_of {
    my ($c) = @_;

    my $m = $c->rpc('app', 'whoami', {}) or die "no whoami\n";
    my $name = $m->{data}{'x-snorky-client'};

    $names{$name}++;

    return $name;
}


# what a client is told to these calls, in whatever order

sub answers {
    my ($c, @ids) = @_;

    my %told;

    for (@ids) {
        my $m = $c->reply() or last;
        $told{ $m->{callId} } = $m->{data} // $m->{message};
    }

    return join ' ', map { $told{$_} // 'nothing' } @ids;
}


sub left_now {
    my ($t, %old) = @_;

    my %now = processes($t);

    return !grep { $old{$_} } keys %now;
}


sub left {
    my ($t, %old) = @_;

    return wait_until { left_now($t, %old) };
}


# a new worker has been started, and takes connections

sub reload_started {
    my ($t) = @_;

    my %old = map { $_->{pid} => 1 } @{ status_json()->{workers} };

    $t->reload();
    wait_until { grep { !$old{$_->{pid}} } @{ status_json()->{workers} } }
        or die "no new worker\n";

    # the old one takes none any more

    wait_until { !grep { $old{$_->{pid}} && !$_->{quitting} }
                 @{ status_json()->{workers} } }
        or die "the old worker stays\n";

    return;
}


sub reload_and_wait {
    my ($t) = @_;

    my %old = map { $_ => 1 } worker_pids($t);

    $t->reload();
    left($t, %old) or die "old workers stay\n";
    wait_until { status_json()->{workers}[0] };

    return;
}


# Clients that always have some calls open and come back when closed.

sub come {
    my ($name) = @_;

    $open{$name} = {};

    return { name => $name, c => Snorky->connect('/ws') };
}


sub serve {
    my ($done) = @_;

    my $deadline = time() + 60;

    for (;;) {
        for my $client (@busy) {
            my $calls = $open{$client->{name}};

            while (!$stop && !$client->{c}{closed} && keys %$calls < 3) {
                my $n = ++$sent;
                my $id = $client->{c}->call('app', 'random',
                    { n => $n, delay => rand 0.2 });
                $calls->{$id} = $n;
            }
        }

        gather(0.05, \&take, map { $_->{c} } @busy);

        for my $client (@busy) {
            next unless $client->{c}{closed} || $client->{c}{eof};
            $client->{again} = 1;
            returns($client);
        }

        return 1 if $done->();
        return 0 if time() > $deadline;
    }
}


sub take {
    my ($c, $text) = @_;

    my ($client) = grep { $_->{c} == $c } @busy;
    my $m = decode($text)->{message};
    my $n = delete $open{$client->{name}}{ $m->{callId} };

    $answered++;

    push @wrong, "an answer to no call: $text" if !defined $n;
    push @wrong, "another answer than $n: $text"
        if defined $n && ($m->{data} // '') ne $n;

    return 0;
}


# What was sent after the server had decided to close is not answered, and
# not done either.

sub returns {
    my ($client) = @_;

    my $code = $client->{c}{closed} ? $client->{c}{closed}{code} : 1006;

    push @wrong, "closed with $code" if $code != 1012;

    push @unanswered, values %{ $open{$client->{name}} };
    $restarts++;
    $open{$client->{name}} = {};
    $client->{c} = Snorky->connect('/ws');

    return;
}
