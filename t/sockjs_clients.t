#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# npm's sockjs-client in Node with each transport that it has there, forced:
# thousands of messages go to an echo and come back, while the session's
# requests reach any of four workers.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Client;


use constant { COUNT => 3000, EACH => 5 };

my @transports = qw/ websocket xhr-streaming eventsource xhr-polling /;

my $program = Snorky::Client::sockjs();

plan(skip_all => 'no sockjs-client here: see "npm ci"') unless $program;

my $t = Test::Nginx->new()->has(qw/ http /)->plan(2 * EACH * @transports);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m;

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /echo {
            snorky_sockjs_echo;
        }

        location /short {
            snorky_sockjs_echo;
            snorky_sockjs_response_limit 32k;
        }

        location /close {
            snorky_sockjs_close;
        }
    }
}

EOC

$t->run();

my $url = 'http://127.0.0.1:' . port(8080);

for my $transport (@transports) {
    for my $path ('/echo', '/short') {
        converse($transport, $path);
    }
}


sub converse {
    my ($transport, $path) = @_;

    my $c = Snorky::Client->start(@$program, "$url$path", $transport);

    is(($c->expect('open') || [])->[0], $transport, "$transport, $path opens");

    $c->order('exchange', {
        count => COUNT, seed => int rand 2 ** 32, progress => COUNT / 10,
    });

    # it is waited for as long as there is progress

    1 while (($c->expect('progress') || [COUNT])->[0] < COUNT);

    my $report = ($c->expect('report') || [{}])->[0];
    my $seed = delete $report->{seed} // 'none';
    delete $report->{characters};

    is_deeply($report, {
        sent => COUNT, received => COUNT, lost => [], duplicated => [],
        reordered => [], changed => [], strange => [], end => 'done',
        closed => undef,
    }, "all messages go and come (seed $seed)");

    $c->order('send', '');
    is_deeply($c->expect('text'), [''], 'so does an empty one');

    $c->order('close', 3001, 'enough');
    is_deeply(($c->expect('close') || [])->[0], 3001, 'and it closes');
    $c->finish();

    $c = Snorky::Client->start(@$program, "$url/close", $transport);
    is(join(' ', @{ $c->expect('close') || [] }[0, 1]), '3000 Go away!',
        'or is closed');
    $c->finish();

    return;
}
