#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Calls of many clients on several workers, to an application that takes its
# time: each is done once and answered once.  And what the application sends
# by itself, whichever worker it speaks to.

use strict;
use warnings;

use FindBin;
use List::Util qw/ shuffle sum /;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my $workers = 4;
my $clients = 48;
my $total = 4000;
my $key = 'swordfish';

my $t = Test::Nginx->new()->has(qw/ http proxy upstream_keepalive /)
    ->plan(33);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
    worker_connections  1024;
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 4m;
    snorky_drain 10ms;
    snorky_send_buffer 16m;
    snorky_close_timeout 1s;
    lingering_close off;

    snorky_service upstream app pass=/app/;
    snorky_service upstream kept pass=/kept/;
    snorky_service upstream impatient pass=/kept/ timeout=50ms;
    snorky_service pubsub messaging;
    snorky_service echo echo;

    snorky_registry private {
        snorky_service upstream_backend app frontend=public/app;
        snorky_service pubsub_backend messaging frontend=public/messaging;
    }

    snorky_identity $arg_user;

    add_header X-Worker $snorky_worker always;

    upstream kept {
        server 127.0.0.1:%%PORT_8090%% max_fails=0;
        keepalive 8;
    }

    server {
        listen       127.0.0.1:8080;

        # with a socket for each worker, connections come to all of them
        listen       127.0.0.1:8081 reuseport;

        server_name  localhost;

        location /ws {
            snorky_websocket;
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
            proxy_pass http://127.0.0.1:%%PORT_8090%%/$snorky_command;
        }

        location /kept/ {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://kept/$snorky_command;
        }
    }
}

EOC

# "delay" is what it takes, in "n" it gets a number that is different for each

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/whoami' => { rpc => 1 },
    '*' => sub {
        my ($request) = @_;
        my $params = $request->{json}{params};
        my %answer = (json => $params->{n}, delay => $params->{delay});

        return { %answer, status => 409, json => "no $params->{n}" }
            if $request->{path} eq '/refused';
        return { %answer, chunks => 1 } if $request->{path} eq '/chunks';
        return { %answer, close => 1 } if $request->{path} eq '/broken';

        return \%answer;
    },
});

$t->run();
wait_until { @{ status_json()->{workers} } == $workers };

my $port = port(8081);
my @slots = map { $_->{slot} } @{ status_json()->{workers} };
my @clients;

for my $i (0 .. $clients - 1) {
    my $user = 'user' . $i % 12;

    push @clients, {
        name  => $i,
        user  => $user,
        slot  => $slots[$i % $workers],
        c     => connect_to_worker($slots[$i % $workers],
            ($i % 3 ? '/ws' : '/lean') . "?user=$user", port => $port),
        calls => {},
        got   => [],
    };
}

my %of = map { $_->{c} => $_ } @clients;


# --- who they are -----------------------------------------------------------

my %ids;

for my $client (@clients) {
    my $who = $client->{c}->rpc('kept', 'whoami', {})->{data};

    $client->{id} = $who->{'x-snorky-client'};
    $ids{$client->{id}}++;

    $client->{who} = join ' ', @$who{ map { "x-snorky-$_" }
        qw/ service command identity remote-addr / };
}

is(scalar keys %ids, $clients, 'each client has an id of its own');
is(scalar(grep { !/^[0-9a-f]+-[0-9a-f]+$/ } keys %ids), 0,
    'of two numbers');
is(join(', ', grep { $_->{who} ne "kept whoami $_->{user} 127.0.0.1" }
    @clients), '', 'and the application is told whose it is');
$app->forget();


# --- many calls -------------------------------------------------------------

my ($sent, $answered, %outcome, %asked, @wrong) = (0, 0);

my @kinds = (
    [ 5, app => 'work', sub { "data $_[0]" } ],
    [ 5, kept => 'work', sub { "data $_[0]" } ],
    [ 2, kept => 'chunks', sub { "data $_[0]" } ],
    [ 2, kept => 'refused', sub { "error no $_[0]" } ],
    [ 1, app => 'broken', sub { 'error 502 Bad Gateway' } ],
    [ 1, impatient => 'late', sub { 'error Timed out' } ],
);

my @choice = map { my $kind = $_; ($kind) x $kind->[0] } @kinds;

ok(run(sub { $sent == $total && !grep { %{ $_->{calls} } } @clients }, 120),
    "$total calls are answered");
is(join("\n", splice @wrong), '',
    "each with what belongs to it, once (seed $seed)");
cmp_ok(scalar keys %outcome, '>', 3, 'of many kinds: ' . json(\%outcome));

$asked{ $_->{json}{params}{n} }++ for $app->requests();
is(join(' ', grep { ($asked{$_} // 0) != 1 } 1 .. $total), '',
    'the application was asked each once');
is(wait_until(sub { $app->count(undef, 'held') == 0 }), 1,
    'and has none left');

my %orders = map { $_->{slot} => 1 } @{ status_json()->{workers} };
is(scalar keys %orders, $workers, 'all workers are there still');
$app->forget();


# --- from the application to clients ----------------------------------------

# several backends, each sends numbers to clients and to identities; what one
# backend sends to a client arrives in its order

my @backends = map { Snorky->dial(port => $port) } 1 .. 6;
my %due = map { $_->{name} => {} } @clients;
my $number = 0;
my %refused;

for my $round (1 .. 100) {
    for my $b (0 .. $#backends) {
        my $target = $clients[rand @clients];
        my ($to, @targets) = $round % 3
            ? ({ client => $target->{id} }, $target)
            : ({ identity => $target->{user} },
                grep { $_->{user} eq $target->{user} } @clients);

        my $message = { backend => $b, n => ++$number };

        $refused{ backend($backends[$b], 'send',
            { to => $to, message => $message }) }++;

        push @{ $due{ $_->{name} }{$b} }, $number for @targets;
    }

    run(sub { 1 }) if $round % 10 == 0;
}

is(json(\%refused), json({ 'data null' => 600 }), 'what is sent is taken');
ok(run(sub { sum(map { scalar @{ $_->{got} } } @clients)
    >= sum(map { map { scalar @$_ } values %$_ } values %due) }),
    'all of it arrives');

my @differ;

for my $client (@clients) {
    my %got;

    push @{ $got{ $_->{backend} } }, $_->{n} for splice @{ $client->{got} };
    push @differ, $client->{name}
        if json(\%got) ne json($due{ $client->{name} });
}

is("@differ", '', 'each client gets its own, once, in the order of those who '
    . 'send');


# in one order with publications

my ($b, $client) = ($backends[0], $clients[1]);

$client->{c}->rpc('messaging', 'subscribe', { channel => 'c' });

my @want;

for my $n (1 .. 50) {
    if (rand() < 0.5) {
        backend($b, 'send', { to => { client => $client->{id} },
            message => $n });
    } else {
        backend($b, 'publish', { channel => 'c', message => $n },
            'messaging');
    }

    push @want, $n;
}

my @got = map { my $m = $client->{c}->notification();
    ref $m ? $m->{message} : $m } @want;
is("@got", "@want", 'in one order with what is published');


# to nobody

is(backend($b, 'send', { to => { client => 'dead-beef' }, message => 1 }),
    'data null', 'a client that is not there gets nothing');
is(backend($b, 'send', { to => { identity => 'nobody' }, message => 1 }),
    'data null', 'nor does an identity');


# it answers the call and sends as well: a client that hears has its answer

for my $client (@clients[0 .. 7]) {
    backend($b, 'send', { to => { client => $client->{id} },
        message => 'first' });
    is($client->{c}->notification(), 'first',
        "worker $client->{slot} passes on what it gets");
}


# --- disconnecting ----------------------------------------------------------

my $gone = $clients[0];

backend($b, 'send', { to => { client => $gone->{id} }, message => 'last' });
is(backend($b, 'disconnect', { to => { client => $gone->{id} },
    code => 4000, reason => 'go' }), 'data null', 'a client is disconnected');
backend($b, 'send', { to => { client => $gone->{id} }, message => 'never' });

is($gone->{c}->notification(), 'last', 'it gets what was sent before');
is($gone->{c}->close_in(), 4000, 'then it is closed');
is($gone->{c}{closed}{reason}, 'go', 'with the reason');
is(json([ $gone->{c}->notifications() ]), '[]', 'and gets no more');

my @same = grep { $_->{user} eq 'user5' } @clients;

backend($b, 'disconnect', { to => { identity => 'user5' } });
is(join(' ', map { $_->{c}->close_in() // 'none' } @same),
    join(' ', (1008) x @same), 'all clients of an identity are');
is(wait_until(sub { counters()->{sessions} == $clients - 1 - @same }), 1,
    'and no others');

# with calls in flight

$app->answer('/held', { hold => 1, json => 1 });

my @held = grep { $_->{user} eq 'user6' } @clients;

$_->{c}->call('kept', 'held', {}) for @held;
ok($app->wait_for(scalar @held, '/held', 'held'), 'some have calls in flight');
backend($b, 'disconnect', { to => { identity => 'user6' }, code => 1000 });
is(join(' ', map { $_->{c}->close_in() // 'none' } @held),
    join(' ', (1000) x @held), 'they are closed as well');
ok($app->wait_for(scalar @held, '/held', 'left'),
    'and their calls are cancelled');


$_->{c}->finish() for grep { !$_->{c}{closed} } @clients;


# ----------------------------------------------------------------------------

sub backend {
    my ($h, $command, $params, $service) = @_;

    my $r = backend_post('/backend', envelope($service || 'app',
        { command => $command, params => $params, callId => 1 }),
        key => $key, on => $h) or return 'no answer';
    my $m = ($r->{json} || {})->{message} or return "$r->{status} $r->{body}";

    return $m->{type} eq 'error' ? "error $m->{message}"
                                 : 'data ' . json($m->{data});
}


# Calls until the condition holds; true, or false: too late.

sub run {
    my ($done, $timeout) = @_;

    my $deadline = time() + ($timeout || 10);

    for (;;) {
        for my $client (shuffle @clients) {
            my $calls = $client->{calls};

            while ($sent < $total && keys %$calls < 1 + $client->{name} % 6) {
                my (undef, $service, $command, $want) =
                    @{ $choice[rand @choice] };
                my $n = ++$sent;
                my $delay = $command eq 'late' ? 2
                          : rand() < 0.3 ? 0 : rand 0.02;

                my $id = $client->{c}->call($service, $command,
                    { n => $n, delay => $delay });

                $calls->{$id} = $want->($n);
            }
        }

        gather(0.02, \&take, map { $_->{c} } @clients);

        return 1 if $done->();
        return 0 if time() > $deadline;
    }
}


sub take {
    my ($c, $text) = @_;

    my $client = $of{$c};
    my $m = decode($text)->{message};

    if (ref $m eq 'HASH' && !defined $m->{type}) {
        push @{ $client->{got} }, $m;
        return 0;
    }

    my $want = delete $client->{calls}{ $m->{callId} // '' };
    my $told = $m->{type} eq 'error' ? "error $m->{message}"
                                     : 'data ' . json($m->{data});

    $answered++;
    $outcome{ $told =~ s/\d+$//r }++;

    push @wrong, 'to ' . ($want // 'no call') . ": $told"
        if ($want // '') ne $told;

    return 0;
}
