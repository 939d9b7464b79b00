#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Clients of every transport of SockJS publish and listen all at once, in
# messages of any size and any characters, while responses change all the time
# and each request reaches any of four workers.  Together with WebSockets they
# see one order, with nothing lost, twice or changed, and each its own messages
# before it is answered.  Then again with a log that is full most of the time.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Crowd;
use Snorky::Stop;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my @kinds = qw/ xhr xhr_streaming eventsource htmlfile jsonp websocket /;

my $t = Test::Nginx->new()->has(qw/ http /)->plan(39);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone %%ZONE%%;
    snorky_worker_timeout 120s;
    snorky_publish_timeout 60s;
    snorky_max_message_size 1m;
    snorky_send_buffer 64m;
    snorky_sockjs_response_limit %%LIMIT%%;
    snorky_sockjs_disconnect_delay 60s;
    client_max_body_size 8m;
    snorky_service pubsub messaging;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /sockjs {
            snorky_sockjs;
        }

        location /ws {
            snorky_websocket;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

diag("TEST_SNORKY_SEED=$seed");

exchange('a large log', zone => '32m', limit => '4k', size => 60000,
    each => 600);
exchange('a small log', zone => '1m log=16k', limit => '16k', size => 2000,
    each => 300, full => 1);


# --- helpers ----------------------------------------------------------------

sub exchange {
    my ($what, %o) = @_;

    my $text = $conf;

    $text =~ s/%%ZONE%%/$o{zone}/;
    $text =~ s/%%LIMIT%%/$o{limit}/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));
    $t->run();
    wait_until { @{ status_json()->{workers} } == 4 };

    my $crowd = Snorky::Crowd->new(prefix => '/sockjs', size => $o{size});

    $crowd->subscriber(name => 'reference');
    ok($crowd->run(sub { $crowd->ready() }), "$what: there is a reference");

    # half of each kind publish much at a time, or listen only at times

    for my $kind (@kinds) {
        $crowd->publisher(name => "$kind, publisher", kind => $kind,
            window => 30, most => $o{each}, both => 1);
        $crowd->publisher(name => "$kind, silent publisher", kind => $kind,
            window => 10, most => $o{each});
        $crowd->subscriber(name => "$kind, lazy", kind => $kind,
            lazy => 0.1);
    }

    my $enough = sub {
        return !grep { $_->{most} && $_->{next} < $_->{most} }
            @{ $crowd->{clients} };
    };

    # workers that stand still for a moment do not read the log

    for (1 .. ($o{full} ? 20 : 0)) {
        my @pids = worker_pids($t);
        my $pid = $pids[rand @pids];
        my $until = time() + 0.3;

        stop_process($pid);
        $crowd->run(sub { time() > $until });
        continue_process($pid);

        my $acked = $crowd->acked();
        $crowd->run(sub { $crowd->acked() > $acked + 50 || $enough->() });
    }

    ok($crowd->run($enough, 120), "$what: much is published")
        or diag($crowd->state());
    ok($crowd->settle(60), "$what: everything is answered")
        or diag($crowd->state());
    is($crowd->complaints(), '', "$what: one order, nothing lost")
        or diag("TEST_SNORKY_SEED=$seed");
    is(scalar($crowd->ends()), 0, "$what: nobody was closed")
        or diag(json([ $crowd->ends() ]));
    is(json([ $crowd->errors() ]), '[]', "$what: no call failed");
    is(json([ $crowd->refusals() ]), '[]', "$what: no request was refused");

    for my $kind (@kinds) {
        cmp_ok($crowd->received($kind), '>', $o{each},
            sprintf '%s: %s, sent %d, received %d', $what, $kind,
            $crowd->sent($kind), $crowd->received($kind));
    }

    my %responses;
    $responses{ $_->{kind} } += $_->{c}{responses}
        for grep { $_->{kind} } @{ $crowd->{clients} };

    cmp_ok($responses{$_}, '>', $o{each} / 20,
        "$what: $_, in $responses{$_} responses")
        for grep { $_ ne 'websocket' } @kinds;

    my $total = status_json()->{total};

    cmp_ok($total->{letters}, '>', $o{each},
        "$what: with $total->{letters} letters");
    cmp_ok($total->{waits}, '>=', 10,
        "$what: and $total->{waits} times somebody waited") if $o{full};

    $crowd->finish();
    kill 'TERM', $t->master();    # no session is waited for
    $t->stop();

    return;
}
