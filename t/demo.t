#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The demo's configuration, and its page of publish and subscribe, used by a
# headless Chromium in two windows: t/browser/pubsub.js has the cases.  The
# other pages have test files of their own: t/demo_*.t.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Demo;


my $cases = 35;

my $t = demo($cases + 14);

run_demo($t);


# what the pages are made of

my $r = get('/');

is($r->{status}, 200, 'the page is there');
is($r->{headers}{'content-type'}, 'text/html; charset=utf-8', 'as HTML');
like($r->{headers}{'content-security-policy'}, qr/^default-src 'none';/,
    'with a policy that admits no foreign content');
is(get('/pubsub.js')->{headers}{'content-type'},
    'text/javascript; charset=utf-8', 'its script is one');
is(get('/js/index.js')->{headers}{'content-type'},
    'text/javascript; charset=utf-8', 'so is the client');
is(get('/snorky.css')->{headers}{'content-type'}, 'text/css; charset=utf-8',
    'its style is one');

my %bar = map { my $page = $_;
    $page => join ' ', get($page)->{body} =~ /<li><a href="([^"]+)"/g }
    qw{ / /chat.html /cursors.html /todo.html /app.html };

is_deeply([ grep { $_ ne $bar{'/'} } values %bar ], [],
    'all pages have the same bar');
is($bar{'/'}, '/ chat.html cursors.html todo.html app.html /status',
    'with all pages in it');

is(get('/api/todos?list=Boat')->{status}, 502,
    'without its application the to-do page gets a 502');
is(get('/app/call')->{status}, 404,
    'and the other application is for nginx only');


# the worker's number, for those who offer it and for nobody else

my $offers = join ', ', map { "worker.$_" } 0 .. 63;

like(protocol(protocols => "other, $offers"), qr/^worker\.[0-9]+$/,
    'the subprotocol tells the worker');
is(protocol(), undef, 'a client that offers none gets none');
is(protocol(protocols => 'worker, worker.99, xworker.0, worker.0x'), undef,
    'nor does one that offers others');


browse($t, 'pubsub.js', $cases);


sub protocol {
    my $c = Snorky->connect('/ws', @_);
    my $protocol = $c->header('Sec-WebSocket-Protocol');

    $c->finish();
    return $protocol;
}
