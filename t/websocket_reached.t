#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Whoever has been told that he is connected can be reached, by whatever worker
# and however soon: clients are closed by a backend right behind the 101, or
# the "o" of SockJS.

use strict;
use warnings;

use FindBin;
use IO::Select ();
use IO::Socket::INET ();
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


use constant CLIENTS => 3000;

my $t = Test::Nginx->new()->has(qw/ http /)->plan(2);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m;
    snorky_drain 10ms;

    snorky_service upstream app pass=/app;

    snorky_registry private {
        snorky_service upstream_backend app_backend frontend=app;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location = /ws {
            snorky_websocket;
            snorky_identity $arg_user;
        }

        location /sockjs {
            snorky_sockjs;
            snorky_sockjs_disconnect_delay 1s;
            snorky_identity $arg_user;
        }

        location = /app {
            internal;
            return 204;
        }

        location = /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            keepalive_requests 100000;
        }
    }
}

EOC

$t->run();

# these are with several workers

my @backends = map { dial() } 1 .. 8;

is(missed(sub { <<"EOC" }, qr/\r\n\r\n/), 0, 'none of the WebSockets is missed');
GET /ws?user=$_[0] HTTP/1.1
Host: localhost
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==

EOC

is(missed(sub { <<"EOC" }, qr/^o\n/m), 0, 'nor of the SockJS sessions');
POST /sockjs/000/$_[0]/xhr_streaming?user=$_[0] HTTP/1.1
Host: localhost
Content-Length: 0

EOC


# how many hear nothing of their being closed

sub missed {
    my ($request, $opened) = @_;

    my $missed = 0;

    for my $n (1 .. CLIENTS) {
        my $s = dial();
        my $user = "user$n";
        my $read = '';

        syswrite $s, $request->($user) =~ s/\n/\r\n/gr;
        hears($s, \$read, $opened) or die "not opened\n";

        close_client($backends[$n % @backends], $user);
        hears($s, \$read, qr/Closed/) or $missed++;

        close $s;
    }

    return $missed;
}


sub close_client {
    my ($s, $user) = @_;

    my $body = '{"service":"app_backend","message":{"command":"disconnect",'
        . qq/"params":{"to":{"identity":"$user"},"code":4001,/
        . '"reason":"Closed"},"callId":1}}';
    my $answer = '';

    syswrite $s, "POST /backend HTTP/1.1\r\nHost: localhost\r\n"
        . "X-Backend-Key: swordfish\r\nContent-Length: " . length($body)
        . "\r\n\r\n$body";
    hears($s, \$answer, qr/\}\}$/) or die "no answer\n";

    return;
}


sub dial {
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => port(8080)) // die "cannot connect: $!\n";
}


sub hears {
    my ($s, $text, $what) = @_;

    while ($$text !~ $what) {
        IO::Select->new($s)->can_read(2)
            && sysread $s, $$text, 65536, length $$text or return 0;
    }

    return 1;
}
