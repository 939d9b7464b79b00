#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Many clients on four workers, an application that takes its time and decides
# now so, now so: each gets its answers in order, and is heard as decided.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;


my ($publishers, $messages, $listeners) = (24, 60, 8);

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(17);

$t->write_file_expand('nginx.conf', at_level($t, 'warn', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 4m;
    snorky_drain 300ms;

    snorky_service pubsub guarded;
    snorky_authorize guarded publish /auth;
    snorky_authorize guarded subscribe /auth cache=1m;

    upstream application {
        server 127.0.0.1:8090;
        keepalive 8;
    }

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            snorky_identity $arg_id;
        }

        location = /auth {
            internal;
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

# what a message wants, and what its publisher is told then

my %outcome = (
    allow => 'null', rewrite => 'null', drop => 'null',
    deny => 'Not authorized', fail => 'Authorization failed',
);
my @wishes = sort keys %outcome;
my $seed = $ENV{SNORKY_SEED} || time() % 100000;

srand $seed;

my $app = Snorky::Application->start(port => port(8090), answers => sub {
    my ($request) = @_;

    my ($command, $params) = @{ $request->{json} }{qw/ command params /};

    return { status => 204 } if $command ne 'publish';

    my ($from, $n, $wish) = @{ $params->{message} };

    return {
        %{ {
            allow   => { status => 204 },
            rewrite => { json => { params => {
                         message => [ $from, $n, 'rewritten' ] } } },
            drop    => { json => { drop => \1 } },
            deny    => { status => 403 },
            fail    => { status => 500 },
        }->{$wish} },
        (rand() < 0.3 ? () : (delay => rand(0.005))),
    };
});

$t->run();
wait_until { @{ status_json()->{workers} } == 4 };

diag("seed $seed") if $ENV{TEST_NGINX_VERBOSE};


# each gets what it asked for

my @listener = map { Snorky->connect("/ws?id=$_") } 1 .. $listeners;

is(scalar(grep { ($_->rpc('guarded', 'subscribe', { channel => 'c' })
    || {})->{type} eq 'response' } @listener), $listeners, 'all may listen');

my @client = map { Snorky->connect("/ws?id=p$_") } 1 .. $publishers;
my @plan = map { plan_of($_) } 0 .. $publishers - 1;

cmp_ok(scalar(grep { $_->{sessions} > 0 } @{ status_json()->{workers} }),
    '>', 1, 'more than one worker has clients');

send_all($client[$_], $plan[$_]) for 0 .. $publishers - 1;

my (%answers, %heard);
my $left = $publishers * $messages;
my $right = grep { $_ eq 'allow' || $_ eq 'rewrite' }
    map { map { $_->[2] } @$_ } @plan;
my $to_hear = $right * $listeners;

ok(gather(60, sub {
    my ($c, $text) = @_;

    my $m = decode($text)->{message};

    if ($m->{type} eq 'message') {
        push @{ $heard{$c} }, $m->{message};
        $to_hear--;

    } else {
        push @{ $answers{$c} }, $m;
        $left--;
    }

    return $left == 0 && $to_hear <= 0;
}, @client, @listener), 'all is answered, and heard')
    or diag("seed $seed, $left answers and $to_hear messages are missing");

my @wrong = grep { told($answers{$client[$_]}) ne wanted($plan[$_]) }
    0 .. $publishers - 1;

is("@wrong", '', 'each gets its answers, in order') or diag("seed $seed");

my $one = json($heard{$listener[0]});

is(scalar(grep { json($heard{$_}) eq $one } @listener), $listeners,
    'all hear the same, in one order');

for my $from (0 .. $publishers - 1) {
    my @got = grep { $_->[0] == $from } @{ $heard{$listener[0]} };
    my @want = map { $_->[2] eq 'rewrite' ? [ @$_[0, 1], 'rewritten' ]
                   : $_->[2] eq 'allow' ? $_ : () } @{ $plan[$from] };

    push @wrong, $from if json(\@got) ne json(\@want);
}

is("@wrong", '', 'what was allowed, of each in order, once');

my $total = counters();

is($app->count(), $publishers * $messages + $listeners,
    'each message has been asked about once');
is($total->{asks}, $app->count(), 'as the status says');
is($total->{authorized} + $total->{unauthorized}, $total->{asks},
    'all have been decided');
is($total->{asks_failed}, scalar(grep { $_->[2] eq 'fail' }
    map { @$_ } @plan), 'and some have failed');


# a reload under way

$app->forget();
%answers = ();

@plan = map { plan_of($_) } 0 .. $publishers - 1;
send_all($client[$_], $plan[$_]) for 0 .. $publishers - 1;

$app->wait_for(1, '/auth');
$t->reload();

ok(!gather(60, sub {
    my ($c, $text) = @_;

    my $m = decode($text)->{message};

    push @{ $answers{$c} }, $m if $m->{type} ne 'message';

    return 0;
}, @client, @listener) && !grep({ !$_->{closed} } @client),
    'at a reload all are closed');

is(join(' ', sort keys %{ { map { $_->{closed}{code} => 1 } @client } }),
    1012, 'with 1012');

@wrong = grep {
    my $got = told($answers{$client[$_]});
    $got ne substr wanted($plan[$_]), 0, length $got;
} 0 .. $publishers - 1;

is("@wrong", '', 'what was answered is right, and in order')
    or diag("seed $seed");

my $answered = 0;
$answered += @{ $answers{$_} || [] } for @client;

is($app->count(), $answered, 'who was asked about got an answer');
is(scalar(grep { !defined $_->{closed} } @listener), 0,
    'listeners were closed, too');
ok(wait_until { @{ status_json()->{workers} } == 4 }, 'old workers end');

my $late = Snorky->connect('/ws?id=late');
is(($late->rpc('guarded', 'publish', { channel => 'c',
    message => [ 0, 0, 'allow' ] }) || {})->{type}, 'response',
    'new ones go on');


# --- helpers ----------------------------------------------------------------

sub plan_of {
    my ($from) = @_;

    return [ map { [ $from, $_, $wishes[rand @wishes] ] } 1 .. $messages ];
}


sub send_all {
    my ($client, $plan) = @_;

    return $client->send(map { frame(TEXT, envelope('guarded', {
        command => 'publish', callId => $_->[1],
        params => { channel => 'c', message => $_ } })) } @$plan);
}


sub told {
    my ($answers) = @_;

    return join '', map { $_->{callId} . ': '
        . ($_->{type} eq 'error' ? $_->{message} : json($_->{data})) . ', ' }
        @{ $answers || [] };
}


sub wanted {
    my ($plan) = @_;

    return join '', map { "$_->[1]: $outcome{$_->[2]}, " } @$plan;
}
