#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# What a silent client costs, and that it is given back.  The bounds are
# generous: they tell whether a request's second block is kept, or the request,
# and leave room for what the heap has in pieces.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(8);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections  2048;
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_service echo echo;
    snorky_close_timeout 1s;
    lingering_timeout 1s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            snorky_lean off;
        }

        location /lean {
            snorky_websocket;
            snorky_lean on;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my @browser = (
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0)',
    'Accept: */*', 'Accept-Language: en-US,en;q=0.5',
    'Accept-Encoding: gzip, deflate, br', 'Cookie: a=1; b=2',
    'Pragma: no-cache', 'Cache-Control: no-cache',
    'Sec-WebSocket-Extensions: permessage-deflate',
    'Origin: http://localhost',
);

my ($each, @rounds);


SKIP: {
    my ($pid) = worker_pids($t);

    skip 'memory tells nothing here', 6 unless memory($t, $pid);

    # each kind in a worker that has not served before

    $each = idle($t, '/ws', 0);
    cmp_ok($each, '<', 7000, 'a client needs no second block');

    $each = idle($t, '/ws', 9);
    cmp_ok($each, '<', 7000, 'nor does a browser with its long request');

    $each = idle($t, '/lean', 9);
    cmp_ok($each, '<', 2048, 'a lean one needs no request');

    # from round to round

    for my $path ('/lean', '/ws') {
        @rounds = ();

        for (1 .. 8) {
            my @all = map { Snorky->connect($path) } 1 .. 500;
            $_->text(envelope('echo', 1)) for @all;
            $_->text_in() for @all;
            $_->close_frame(1000) for @all;
            $_->close_in() for @all;
            $_->gone() for @all;
            wait_until { counters()->{sessions} == 0 };
            push @rounds, memory($t, (worker_pids($t))[0]);
        }

        cmp_ok($rounds[7] - $rounds[3], '<', 700,
            "$path: nothing is left of clients that are gone");
    }

    @rounds = ();

    for (1 .. 8) {
        my @all = map { Snorky->connect('/lean') } 1 .. 500;
        $_->send(frame(CONT, ''), 'x' x 100) for @all[0 .. 249];
        $_->reset() for @all[250 .. 499];
        $_->close_in() for @all[0 .. 249];
        @all = ();
        wait_until { counters()->{sessions} == 0 };
        push @rounds, memory($t, (worker_pids($t))[0]);
    }

    cmp_ok($rounds[7] - $rounds[3], '<', 700, 'however they went');
}

is(counters()->{sessions}, 0, 'all are gone');
is(counters()->{sessions_websocket}, 0, 'from the figures, too');


# --- helpers ----------------------------------------------------------------

# bytes for each of many clients, with the first so many of a browser's headers

sub idle {
    my ($test, $path, $n) = @_;

    my ($old) = worker_pids($test);
    $test->reload();
    my $pid = wait_until {
        my @now = worker_pids($test);
        @now == 1 && $now[0] != $old ? $now[0] : undef;
    };

    my @options = (headers => [ @browser[0 .. $n - 1] ]);
    my @all = map { Snorky->connect($path, @options) } 1 .. 100;
    my $before = memory($test, $pid);

    push @all, map { Snorky->connect($path, @options) } 1 .. 500;
    my $bytes = (memory($test, $pid) - $before) * 1024 / 500;

    $_->finish() for @all;

    return $bytes;
}


# the memory that is the process's alone, in kilobytes

sub memory {
    my ($test, $process) = @_;

    return undef unless defined resident($test, $process);

    open my $f, '<', "/proc/$process/smaps_rollup" or return undef;

    my ($kb) = map { /^Pss:\s+(\d+)/ } <$f>;

    return $kb;
}
