#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# snorky_origins: which pages may connect.  A browser always says where a
# script comes from, other clients need not.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http rewrite /)->plan(61);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_service echo echo;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /default {
            snorky_websocket;
        }

        location /same {
            snorky_websocket;
            snorky_origins same;
        }

        location /any {
            snorky_websocket;
            snorky_origins any;
        }

        location /one {
            snorky_websocket;
            snorky_origins https://example.com;
        }

        location /port {
            snorky_websocket;
            snorky_origins http://example.com:3000;
        }

        location /wildcard {
            snorky_websocket;
            snorky_origins *.example.com;
        }

        location /secure {
            snorky_websocket;
            snorky_origins https://*.example.com;
        }

        location /regex {
            snorky_websocket;
            snorky_origins ~^https://app[0-9]+\.example\.com$;
        }

        location /list {
            snorky_websocket;
            snorky_origins https://a.example *.b.example ~^https?://c\.;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /status {
            snorky_status;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        snorky_origins https://example.com;

        location /inherits {
            snorky_websocket;
        }

        location /overrides {
            snorky_websocket;
            snorky_origins https://example.org;
        }
    }
}

EOC

$t->run();

my ($open, $refused) = (101, 403);
my $rejected = 0;


# same: the default

for my $uri (qw{ /default /same /echo }) {
    is(from($uri, undef), $open, "$uri: a client without a page may connect");
    is(from($uri, 'http://localhost'), $open, "$uri: a page of the host may");
    is(from($uri, 'http://evil.example'), $refused, "$uri: another may not");
}

is(from('/same', 'https://localhost'), $open,
    'the scheme is not compared, since a proxy may end TLS');
is(from('/same', 'http://LocalHost'), $open, 'a host has no case');
is(from('/same', 'http://localhost:3000', 'localhost:3000'), $open,
    'the port of the origin is that of Host');
is(from('/same', 'http://localhost:3000', 'localhost:3001'), $refused,
    'another port is another origin');
is(from('/same', 'http://localhost', 'localhost:3000'), $refused,
    'no port is another origin than some port');
is(from('/same', 'http://[::1]:3000', '[::1]:3000'), $open,
    'the host may be an IPv6 address');
is(from('/same', 'http://[::2]:3000', '[::1]:3000'), $refused,
    'another IPv6 address is another origin');

for my $origin ('null', 'http://localhost.evil.example',
    'http://evil-localhost', 'http://evil.example/localhost',
    'http://localhost@evil.example', 'http://evil.example#localhost',
    'http://evil.example?http://localhost', 'http://', 'http://local',
    'localhost')
{
    is(from('/same', $origin), $refused, "$origin is not the host");
}

is(from('/same', [ 'http://localhost', 'http://evil.example' ]), $refused,
    'a second origin does not hide behind the first');


# any

for my $origin (undef, 'null', 'http://evil.example', 'garbage') {
    is(from('/any', $origin), $open,
        ($origin // 'no origin') . ' may connect where any may');
}


# a list

is(from('/one', 'https://example.com'), $open, 'an origin may be listed');
is(from('/one', 'https://EXAMPLE.com'), $open, 'it has no case');
is(from('/one', 'http://example.com'), $refused, 'its scheme counts');
is(from('/one', 'https://example.com:8443'), $refused, 'its port counts');
is(from('/one', 'https://example.com.evil.example'), $refused,
    'it is the whole of the origin from its begin');
is(from('/one', 'https://www.example.com'), $refused,
    'a subdomain is not listed with it');
is(from('/one', 'http://localhost'), $refused,
    'the own host must be listed as well');
is(from('/one', 'null'), $refused, 'null is not listed');

is(from('/port', 'http://example.com:3000'), $open,
    'an origin may be listed with a port');
is(from('/port', 'http://example.com'), $refused,
    'and then needs to have it');

is(from('/wildcard', 'https://www.example.com'), $open,
    'a wildcard takes a subdomain');
is(from('/wildcard', 'http://a.b.example.com'), $open,
    'of any depth and scheme');
is(from('/wildcard', 'https://WWW.Example.com'), $open, 'without case');
is(from('/wildcard', 'https://example.com'), $refused,
    'but not the domain itself');
is(from('/wildcard', 'https://evilexample.com'), $refused,
    'nor one that only ends alike');
is(from('/wildcard', 'https://www.example.com.evil.example'), $refused,
    'nor one that has it in its middle');

is(from('/secure', 'https://www.example.com'), $open,
    'a wildcard may have a scheme');
is(from('/secure', 'http://www.example.com'), $refused,
    'and then takes no other');

is(from('/regex', 'https://app17.example.com'), $open,
    'a regular expression may match');
is(from('/regex', 'https://app.example.com'), $refused, 'or not');

is(from('/list', 'https://a.example'), $open, 'the first of a list may match');
is(from('/list', 'http://x.b.example'), $open, 'or the second');
is(from('/list', 'http://c.example'), $open, 'or the third');
is(from('/list', 'http://d.example'), $refused, 'or none of them');


# inheritance

is(from('/inherits', 'https://example.com', undef, 8081), $open,
    'a location inherits the origins of its server');
is(from('/inherits', 'http://localhost', undef, 8081), $refused,
    'and not the default');
is(from('/overrides', 'https://example.org', undef, 8081), $open,
    'a location may have origins of its own');
is(from('/overrides', 'https://example.com', undef, 8081), $refused,
    'in place of those of its server');


# the refusal

my $c = Snorky->attempt('/same', origin => 'http://evil.example',
    tail => frame(TEXT, envelope('echo', 1)));
$rejected++;
is($c->header('Sec-WebSocket-Accept'), undef,
    'a refused client gets no accept key');

is(counters()->{rejected_origin}, $rejected, 'refusals are counted');


# --- helpers ----------------------------------------------------------------

sub from {
    my ($uri, $origin, $host, $port) = @_;

    my $status = Snorky->attempt($uri, origin => $origin,
        port => port($port || 8080),
        defined $host ? (host_header => $host) : ())->status();

    $rejected++ if $status && $status == 403;

    return $status;
}
