#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# datasync on many workers: one authorizes, another publishes, a third one
# acquires, all at the same time, and each subscription sees its own deltas,
# each once, in the order that all others see.

use strict;
use warnings;

use FindBin;
use List::Util qw/ shuffle /;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Deltas;
use Snorky::Stop;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

# how many times fifty subscriptions, and with how many workers

my $more = $ENV{TEST_SNORKY_ROUNDS} || 1;
my %rounds = (2 => 2 * $more, 4 => 5 * $more, 8 => 2 * $more);

my $t = Test::Nginx->new()->has(qw/ http /)->plan(3 * 13 + 9);

diag("TEST_SNORKY_SEED=$seed") if $ENV{TEST_SNORKY_ROUNDS};

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes %%WORKERS%%;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 16m;
    snorky_send_buffer 64m;
    snorky_drain 10ms;
    snorky_worker_timeout 60s;
    snorky_service datasync datasync pending_max=4m;
    %%DEALERS%%

    snorky_registry private {
        snorky_service datasync_backend sync frontend=datasync;
    }

    keepalive_requests 1000000;
    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;

        # with a socket for each worker, connections come to all of them
        listen       127.0.0.1:8081 reuseport;

        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /private {
            snorky_websocket registry=private;
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


for my $n (2, 4, 8) {
    start($t, $n);

    my $free = status_json()->{zone}{free};
    my @slots = map { $_->{slot} } @{ status_json()->{workers} };

    is(scalar(@slots), $n, "$n workers: all are there");

    one_after_another($n, @slots);
    disconnections($n, @slots);
    race($n, $_, @slots) for 1 .. $rounds{$n};
    heavy($n, @slots);
    lagging($n, $_, @slots) for 1 .. $rounds{$n};

    is(wait_until { counters()->{sessions} == 0 }, 1,
        "$n workers: no session is left");
    is(wait_until { status_json()->{zone}{free} == $free }, 1,
        "$n workers: the zone has as much room as before")
        or diag(status_json()->{zone}{free} . " of $free");
}


# --- one after another ------------------------------------------------------

# for each worker that authorizes, each one that publishes and each one that
# acquires

sub one_after_another {
    my ($n, @slots) = @_;

    my %backend = map {
        $_ => Snorky::Deltas->new(port => $port)
            ->connection(kind => 'http', worker => $_)
    } @slots;

    my %client = map { $_ => connect_to_worker($_, '/ws', port => $port) }
        @slots;

    my @rows = map { my $a = $_; map { my $p = $_; map { [ $a, $p, $_ ] }
        @slots } @slots } @slots;
    my @some = shuffle @rows;
    my (@kept, @live, @late, @ends);

    for my $row (@some[0 .. (@some < 64 ? $#some : 63)]) {
        my ($a, $p, $b) = @$row;
        my ($c, $where) = ($client{$b}, join '/', @$row);

        my $token = authorize($backend{$a});

        publish($backend{$p}, 1);
        publish($backend{$a}, 2);
        publish($backend{$b}, 3);

        my $r = ask($c, 'acquireSubscription', $token);

        push @kept, "$where: $r->{type} $r->{seen}"
            if "$r->{type} $r->{seen}" ne 'response 1 2 3';

        publish($backend{$p}, 4);
        publish($backend{$a}, 5);

        my @seen = map { ($c->notification() || {})->{delta}{data} // 'none' }
            1 .. 2;

        push @live, "$where: @seen" if "@seen" ne '4 5';

        # another one, on any worker, is too late

        my ($other) = shuffle grep { $_ != $c } values %client;

        $r = ask($other, 'acquireSubscription', $token);
        push @late, "$where: $r->{message}"
            if $r->{message} ne 'Subscription already acquired';
        $r = ask($other, 'cancelSubscription', $token);
        push @late, "$where: $r->{message}"
            if $r->{message} ne 'No such subscription';

        $r = ask($c, 'cancelSubscription', $token);
        publish($backend{$p}, 6);
        my $again = ask($c, 'acquireSubscription', $token);

        push @ends, "$where: $r->{type} $again->{message} $again->{seen}"
            if "$r->{type} $again->{message} $again->{seen}"
                ne 'response No such subscription ';
    }

    is(join("\n", @kept), '', "$n workers: what came between comes before");
    is(join("\n", @live), '', "$n workers: what comes then comes at once");
    is(join("\n", @late), '', "$n workers: a token is for one client");
    is(join("\n", @ends), '', "$n workers: it ends when it is cancelled");

    $_->finish() for values %client;

    return;
}


# --- clients that go --------------------------------------------------------

sub disconnections {
    my ($n, @slots) = @_;

    my $backend = Snorky->dial(port => $port);
    my $other = connect_to_worker($slots[0], '/ws', port => $port);
    my @gone;

    for my $way (qw/ finish reset half_close /) {
        my $token = authorize($backend);
        my $c = connect_to_worker($slots[-1], '/ws', port => $port);

        ask($c, 'acquireSubscription', $token);
        $c->$way();

        my $message = '';

        wait_until {
            $message = ask($other, 'acquireSubscription', $token)->{message};
            $message ne 'Subscription already acquired';
        };

        push @gone, $message;
    }

    is(join(', ', @gone), join(', ', ('No such subscription') x 3),
        "$n workers: a token goes with its client");

    $other->finish();

    return;
}


# --- all at the same time ---------------------------------------------------

sub race {
    my ($n, $round, @slots) = @_;

    my $race = Snorky::Deltas->new(port => $port);
    my $calls = 300;

    $race->authorizer(worker => $_, kind => 'http') for @slots;
    $race->authorizer(worker => $_, kind => 'ws') for @slots;
    $race->reference($slots[rand @slots]);

    for my $slot (@slots) {
        $race->publisher(worker => $slot, kind => 'http', batch => 3,
            window => 1 + int rand 4);
    }

    $race->publisher(kind => 'ws', window => 2) for 1 .. 2;

    for my $i (1 .. 50) {
        $race->subscription(
            at     => int rand $calls,
            wait   => rand() < 0.3 ? 0 : int rand 60,
            rivals => rand() < 0.2 ? 2 : 1,
            cancel => rand() < 0.3 ? 1 + int rand 60 : 0,
        );
    }

    $race->budget($calls * 1.3);
    $race->settle();

    my $complaints = $race->complaints();

    # one line for all the rounds but the failed ones

    our %told;
    my $last = $round == $rounds{$n};

    $told{$n} .= "round $round: $complaints\n" if length $complaints;

    if ($last) {
        is($told{$n} // '', '', "$n workers: in $round rounds of fifty, each "
            . 'sees its own, each once, in order')
            or diag("TEST_SNORKY_SEED=$seed");
        cmp_ok(scalar(map { @{ $_->{run} } } @{ $race->{tasks} }), '>', 1000,
            "$n workers: and sees much");
    }

    $race->finish();

    return;
}


# --- much is kept -----------------------------------------------------------

# Some hundred kilobytes wait for each of twenty clients, which come while
# more is published.

sub heavy {
    my ($n, @slots) = @_;

    my $race = Snorky::Deltas->new(port => $port, size => 8000);

    $race->authorizer(worker => $_, kind => 'http') for @slots;
    $race->reference($slots[0]);
    $race->publisher(worker => $_, kind => 'http', window => 2) for @slots;

    $race->subscription(at => int rand 5, hold => 1) for 1 .. 20;

    $race->budget(150);
    $race->spend();

    # the last publication's reply may come before an authorization's

    $race->run(sub { !grep { $_->{state} eq 'new' || $_->{state} eq 'authorizing' }
        @{ $race->{tasks} } });

    is(scalar(grep { $_->{state} eq 'authorized' } @{ $race->{tasks} }), 20,
        "$n workers: twenty wait")
        or diag(join ' ', map { $_->{state} } @{ $race->{tasks} });

    $race->budget(100);
    delete $_->{hold} for @{ $race->{tasks} };
    $race->settle();

    is($race->complaints(), '', "$n workers: they get all that was kept")
        or diag("TEST_SNORKY_SEED=$seed");

    $race->finish();

    return;
}


# --- one that lies behind ---------------------------------------------------

# A worker stands still while much is published.  When it goes on, its clients
# have asked for the end of their subscriptions, others for the beginning of
# theirs, and more is being published.

sub lagging {
    my ($n, $round, @slots) = @_;

    my $race = Snorky::Deltas->new(port => $port, size => 8000);
    my ($last, @others) = reverse @slots;
    my ($worker) = grep { $_->{slot} == $last } @{ status_json()->{workers} };

    $race->authorizer(worker => $_, kind => 'http') for @others;
    $race->reference($others[0]);
    $race->publisher(worker => $_, kind => 'ws', window => 20) for @others;

    my @ends = map { $race->subscription(to => $last) } 1 .. 15;
    my @begins = map { $race->subscription(to => $last, hold => 1) } 1 .. 15;

    $race->run(sub { !grep { $_->{state} ne 'acquired' } @ends });

    stop_process($worker->{pid});
    $race->budget(300);
    $race->spend();

    $_->{cancel} = 1 for @ends;
    delete $_->{hold} for @begins;
    $race->round();

    continue_process($worker->{pid});
    $race->budget(300);
    $race->settle();

    our %lagged;
    my $complaints = $race->complaints();

    $lagged{$n} .= "round $round: $complaints\n" if length $complaints;

    is($lagged{$n} // '', '', "$n workers: one that lies behind loses nothing")
        or diag("TEST_SNORKY_SEED=$seed") if $round == $rounds{$n};

    $race->finish();

    return;
}


# --- more models than a word has bits ---------------------------------------

my @models = map { "model$_" } 1 .. 150;

start($t, 2, join '', map { "snorky_dealer datasync d_$_ broadcast "
    . "model=$_;\n" } @models);

my $backend = Snorky->dial(port => $port);
my @clients = map { Snorky->connect('/ws', port => $port) } 1 .. 8;
my @chosen = (shuffle @models)[0 .. 7];
my @tokens = map { authorize($backend, "d_$_") } @chosen;

publish($backend, $_, $_) for shuffle @models;

for my $i (0 .. $#chosen) {
    my $r = ask($clients[$i], 'acquireSubscription', $tokens[$i]);

    is("$r->{type} $r->{seen}", "response $chosen[$i]",
        'of 150 models, one is kept for whom it is for');
}

publish($backend, $_, $_) for shuffle @models;

is(join(' ', map { $_->notification()->{delta}{data} } @clients), "@chosen",
    'and delivered to them alone');

$_->finish() for @clients;


# --- helpers ----------------------------------------------------------------

sub start {
    my ($test, $n, $dealers) = @_;

    my $text = $conf;

    $dealers //= $Snorky::Deltas::DEALERS;
    $text =~ s/%%WORKERS%%/$n/;
    $text =~ s/%%DEALERS%%/$dealers/;

    $test->stop();
    $test->write_file_expand('nginx.conf', at_level($test, 'info', $text));
    $test->run();

    wait_until {
        $n == grep { $_->{state} eq 'live' } @{ status_json()->{workers} };
    };

    return;
}


# the reply of a backend

sub post {
    my ($h, $command, $params) = @_;

    my $r = backend_post('/backend', '{"service":"sync","message":{"command":"'
        . "$command\",\"params\":" . json($params) . ',"callId":1}}',
        on => $h, key => 'swordfish');

    my $m = $r && $r->{json} ? $r->{json}{message} : undef;

    die "$command failed: ", $r ? "$r->{line} $r->{body}" : 'no answer', "\n"
        unless $m && $m->{type} eq 'response';

    return $m->{data};
}


sub authorize {
    my ($h, $dealer) = @_;

    return post($h, 'authorizeSubscription',
        { items => [ { dealer => $dealer || 'all_m', query => undef } ] });
}


sub publish {
    my ($h, $data, $model) = @_;

    return post($h, 'publishDeltas', { deltas => [ { type => 'insert',
        model => $model || 'm', data => $data } ] });
}


# the reply, and in "seen" the data that came before it

sub ask {
    my ($c, $command, $token) = @_;

    my $r = $c->rpc('datasync', $command, { token => $token })
        || { type => 'no answer' };

    $r->{message} //= '';
    $r->{seen} = join ' ', map { $_->{delta}{data} // '' } $c->notifications();

    return $r;
}
