#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Many lean clients that come and go, on two workers, while there are
# publications: each gets those of its time, once and in order.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(7);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
    worker_connections  4096;
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m;
    snorky_service pubsub pubsub;

    snorky_lean on;
    snorky_close_timeout 1s;

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            add_header X-Worker $snorky_worker always;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my $clients = resident($t, (worker_pids($t))[0]) ? 2000 : 300;

my $seed = $ENV{TEST_SNORKY_SEED} || time() % 2 ** 31;
srand $seed;

my $publisher = Snorky->connect('/ws');
my ($opened, $number, @here, @wrong, %worker, %how) = (0, 0);

while ($opened < $clients || @here) {
    my $dice = rand;

    if ($dice < 0.1) {
        $publisher->rpc('pubsub', 'publish',
            { channel => 'c', message => ++$number });
        next;
    }

    if ($opened < $clients && ($dice < 0.6 || !@here)) {
        my $c = Snorky->connect('/ws');

        $c->rpc('pubsub', 'subscribe', { channel => 'c' });
        $c->{first} = $number + 1;
        $c->{got} = [ ];
        $worker{$c->header('X-Worker')}++;
        $opened++;
        push @here, $c;
        next;
    }

    leave($publisher, splice @here, int rand @here, 1) if @here;
}

is($opened, $clients, 'all have come');
is(scalar(keys %worker), 2, 'to both workers');
is(scalar(keys %how), 4, 'and gone in every way');
is(join("\n", @wrong), '', 'each had got what was published in its time')
    or diag "TEST_SNORKY_SEED=$seed";

is(wait_until { counters()->{sessions} == 1 }, 1, 'no session is left');
is(wait_until { counters()->{subscriptions} == 0 }, 1, 'nor a subscription');
is($publisher->finish(), 1000, 'the publisher goes last');


# --- helpers ----------------------------------------------------------------

# A client's last publication is a call of its own, so that all have come.

sub leave {
    my ($by, $c) = @_;

    my @got;
    my $way = (qw/ close reset error drop /)[int rand 4];

    $by->rpc('pubsub', 'publish', { channel => 'c', message => ++$number });

    while (!@got || $got[-1] < $number) {
        my $text = $c->notification_text() // last;
        push @got, $text =~ /"message":(\d+)\}/;
    }

    push @wrong, "$c->{first} to $number: @got ($way)"
        if "@got" ne join ' ', $c->{first} .. $number;

    $how{$way}++;

    if ($way eq 'reset') {
        $c->reset();

    } elsif ($way eq 'error') {
        $c->send(frame(CONT, ''), frame(TEXT, 'x'));
        my $code = $c->close_in() // 'none';
        push @wrong, "an error closes with $code" if $code ne '1002';

    } elsif ($way eq 'close') {
        my $code = $c->finish(1000) // 'none';
        push @wrong, "a goodbye is answered with $code" if $code ne '1000';
    }

    return;
}
