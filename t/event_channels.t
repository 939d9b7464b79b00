#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# A channel is occupied when its first subscriber comes, and vacated when its
# last one goes, whatever workers these are on: by the events' numbers, the one
# follows the other.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;
use Snorky::Events;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my $rounds = $ENV{TEST_SNORKY_ROUNDS} || 30;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(26);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone %%ZONE%% log=256k;
    snorky_service pubsub messaging;
    snorky_service pubsub second;
    snorky_service chat chat;
    snorky_drain 300ms;
    snorky_max_subscriptions 1000;
    snorky_max_channel_size 4k;
    snorky_max_message_size 8k;
    snorky_identity $http_x_user;

    snorky_event /events occupied vacated;

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

diag("TEST_SNORKY_SEED=$seed") if $ENV{TEST_NGINX_VERBOSE};

configure('1m');
$t->run();
wait_until { @{ status_json()->{workers} } == 4 };

my @slots = map { $_->{slot} } @{ status_json()->{workers} };

told($app, sub { @_ });
settled();

is(brief(events($app)), 'reset', 'it begins with no channel occupied');

my $free = status_json()->{zone}{free};
$app->forget();


# --- one by one -------------------------------------------------------------

my ($c, $d) = map { connect_to_worker($_, '/ws', headers => ['X-User: x']) }
    @slots[0, 1];

is(does($c, 'messaging', 'subscribe', 'a'), 'occupied:messaging:a',
    'the first of all occupies it');
is(does($d, 'messaging', 'subscribe', 'a'), '',
    'the first on another worker does not');
is(does($c, 'messaging', 'unsubscribe', 'a'), '',
    'the last on this one does not vacate it');
is(does($c, 'messaging', 'subscribe', 'a'), '', 'when it comes again');
is(does($d, 'messaging', 'unsubscribe', 'a'), '', 'and the other one goes');
is(does($c, 'messaging', 'unsubscribe', 'a'), 'vacated:messaging:a',
    'the last of all does');
is(does($c, 'messaging', 'subscribe', 'a'), 'occupied:messaging:a',
    'then it is occupied again');
is(does($d, 'second', 'subscribe', 'a'), 'occupied:second:a',
    'so is the channel of that name of another service');
is(does($d, 'chat', 'join', 'a'), 'occupied:chat:a', 'or of chat');
is(does($c, 'chat', 'join', 'a'), '', 'with two members of one identity');
is(does($d, 'chat', 'leave', 'a'), '', 'one of whom leaves');

$app->forget();
$c->reset();
told($app, sub { @_ == 2 });
settled();

is(brief(events($app)), 'vacated:messaging:a vacated:chat:a',
    'who goes without a word vacates all that he was the last in');

# long names

my @long = map { $_ x 3000 } qw/ p q r s t u v /;

$c = connect_to_worker($slots[2], '/ws');

is(does($c, 'messaging', 'subscribe', @long),
    join(' ', map { "occupied:messaging:$_" } @long), 'names may be long');

$d->finish();
settled();

$app->forget();
$c->reset();

told($app, sub { @_ == @long });
settled();

is(join(' ', sort map { brief($_) } events($app)),
    join(' ', map { "vacated:messaging:$_" } @long), 'and many at once');

wait_until { counters()->{sessions} == 0 };
$app->forget();


# --- all at once ------------------------------------------------------------

my (@c, %in);

@c = map { connect_to_worker($_, '/ws') } (@slots) x 6;

for my $round (1 .. $rounds) {
    churn();

    # some go as they are, and others come

    for my $i (grep { rand() < 0.1 } 0 .. $#c) {
        rand() < 0.5 ? $c[$i]->reset() : $c[$i]->close_frame(1000);
        delete $in{$c[$i]};
        $c[$i] = Snorky->connect('/ws');
    }
}

wait_until { counters()->{sessions} == @c };
settled();

my @e = events($app);

cmp_ok(scalar @e, '>', 20 * $rounds, 'when many come and go on all workers ...');
is(complaints(@e), '', 'each channel is occupied and vacated in turn');
is(occupied(@e), subscribed(), 'and as clients are there, in the end');
is(scalar(keys %{{ map { $_->{sequence} => 1 } @e }}), scalar @e,
    'no number is there twice');


# --- a reload in the midst of it --------------------------------------------

my %old = map { $_->{pid} => 1 } @{ status_json()->{workers} };

for my $reload (1 .. 3) {
    $t->reload();

    for (1 .. 4) {
        churn();

        for my $i (grep { $c[$_]{closed} || $c[$_]{eof} } 0 .. $#c) {
            delete $in{$c[$i]};
            $c[$i] = Snorky->connect('/ws');
        }
    }
}

$_->frame_in(0) for @c;

wait_until {
    for my $i (grep { !$c[$_]->rpc('messaging', 'unsubscribe',
        { channel => 'none' }) } 0 .. $#c)
    {
        delete $in{$c[$i]};
        $c[$i] = Snorky->connect('/ws');
    }

    my @workers = @{ status_json()->{workers} };

    return @workers == 4 && !grep { $old{$_->{pid}} } @workers;
};

churn();
settled();

@e = events($app);

is(complaints(@e), '', 'at a reload, it is one order for old and new workers');
is(occupied(@e), subscribed(), 'with the same end');
is(scalar(of_event([qw/ reset lost /], @e)), 0, 'nothing else is told');

$_->close_frame(1000) for @c;
$_->gone() for @c;
wait_until { counters()->{sessions} == 0 };
settled();

is(occupied(events($app)), '', 'when all have gone, none is occupied');
is(status_json()->{zone}{free}, $free, 'and the zone has its room again');


# --- another zone -----------------------------------------------------------

@e = events($app);
my ($last) = sort { $b <=> $a } map { $_->{sequence} } @e;

$app->forget();

configure('2m');
$t->reload();

wait_until { my $s = status_json(); $s->{zone}{size} > 1500000 };
told($app, sub { @_ });
settled();

is(brief(events($app)), 'reset', 'in another zone, no channel is occupied');
cmp_ok((events($app))[0]{sequence}, '>', $last, 'and the numbers go on');


# --- helpers ----------------------------------------------------------------

sub configure {
    my ($zone) = @_;

    (my $text = $conf) =~ s/%%ZONE%%/$zone/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));
}


# what is told when a client calls a service's command for these channels

sub does {
    my ($c, $service, $command, @channels) = @_;

    settled();
    $app->forget();

    $c->rpc($service, $command, { channel => $_ }) for @channels;
    settled();

    return brief(events($app));
}


# each client comes and goes, and is in one channel at most, so that these are
# often empty

sub churn {
    my %ids;

    for my $c (@c) {
        for (1 .. 10) {
            my ($in) = grep { $in{$c}{$_} } keys %{ $in{$c} };
            my $channel = defined $in ? 0 + $in : int rand 12;

            $in{$c}{$channel} = !$in{$c}{$channel};

            push @{ $ids{$c} }, $c->call('messaging',
                $in{$c}{$channel} ? 'subscribe' : 'unsubscribe',
                { channel => $channel });
        }
    }

    for my $c (@c) {
        for my $id (@{ $ids{$c} }) {
            defined $c->reply($id) or last;
        }
    }

    return;
}


sub complaints {
    my %state;
    my @wrong;

    for my $e (sort { $a->{sequence} <=> $b->{sequence} } @_) {
        my $channel = $e->{channel};
        my $before = $state{$channel} || 'vacated';

        push @wrong, "$channel is $e->{event} twice at $e->{sequence}"
            if $e->{event} eq $before;

        $state{$channel} = $e->{event};
    }

    return join "\n", @wrong;
}


sub occupied {
    my %state = map { $_->{channel} => $_->{event} }
                sort { $a->{sequence} <=> $b->{sequence} } @_;

    return join ' ', sort grep { $state{$_} eq 'occupied' } keys %state;
}


# ... and as the test knows it

sub subscribed {
    my %channels = map { my $c = $_; map { $_ => 1 }
        grep { $in{$c}{$_} } keys %{ $in{$c} } } @c;

    return join ' ', sort keys %channels;
}
