#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Filters that make requests of their own, when the first and the last byte of
# what a SockJS session says pass through them.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::SockJS;


my $t = Test::Nginx->new()->has(qw/ http addition rewrite /)->plan(5);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 1m;
    snorky_drain 10ms;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /echo {
            add_before_body /before;
            add_after_body /after;
            snorky_sockjs_echo;
            snorky_sockjs_response_limit 100;
        }

        location /before {
            return 200 "before\n";
        }

        location /after {
            return 200 "after\n";
        }
    }
}

EOC

$t->run();

my $s = Snorky::SockJS->new(prefix => '/echo');

is($s->poll(), 'o', 'a session');

my $r = $s->open('htmlfile');
is($s->send('x' x 100), 204, 'what fills a page');
like($r->rest(), qr{^before\n<!doctype.*x{100}.*</script>\r\nafter\n$}s,
    'texts are added to it');
is($s->send('y'), 204, 'the session');
is($s->poll(), 'a["y"]', 'goes on');
