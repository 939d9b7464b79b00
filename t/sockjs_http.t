#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# SockJS's requests as nginx's: connections that are kept, pipelining,
# HTTP/1.0, TLS, gzip, a proxy in front, limits, access control, the log.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Compress::Raw::Zlib;
use Test::Nginx;
use Snorky;
use Snorky::SockJS;


my $t = Test::Nginx->new()
    ->has(qw/ http http_ssl gzip proxy auth_request limit_conn mirror
              rewrite socket_ssl /)
    ->has_daemon('openssl')->plan(111);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  sockjs  '$uri $status $snorky_transport $snorky_messages_in '
                        '$snorky_messages_out "$snorky_client" '
                        '"$snorky_identity" "$snorky_close_code"';
    access_log  %%TESTDIR%%/sockjs.log sockjs;

    ssl_certificate      %%TESTDIR%%/localhost.crt;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    limit_conn_zone  $server_name zone=one:1m;

    gzip_types       application/javascript text/event-stream;
    gzip_min_length  1;
    gzip_proxied     any;

    snorky_zone 4m;
    snorky_drain 10ms;
    snorky_max_message_size 200k;
    snorky_send_buffer 4m;
    client_body_buffer_size 1k;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        location /echo {
            snorky_sockjs_echo;
        }

        location /short {
            snorky_sockjs_echo;
            snorky_sockjs_response_limit 100;
        }

        location /gzip {
            gzip on;
            snorky_sockjs_echo;
        }

        location /proxy/ {
            proxy_pass http://127.0.0.1:8080/echo/;
        }

        location /guarded {
            auth_request /guard;
            snorky_sockjs_echo;
            snorky_identity $http_x_user;
        }

        location = /guard {
            if ($http_x_user = '') {
                return 403;
            }

            return 204;
        }

        location /limited {
            limit_conn one 1;
            snorky_sockjs_echo;
        }

        location /if {
            snorky_sockjs_echo;

            if ($http_x_if) {
                add_header X-If $http_x_if;
            }
        }

        location /mirrored {
            mirror /mirror;
            snorky_sockjs_echo;
        }

        location = /mirror {
            proxy_pass http://127.0.0.1:8081;
        }

        location /small {
            client_max_body_size 100;
            snorky_sockjs_echo;
        }

        location /large {
            client_max_body_size 4m;
            snorky_sockjs_echo;
        }

        location /file {
            client_max_body_size 4m;
            client_body_in_file_only clean;
            snorky_sockjs_echo;
        }

        location /rated {
            limit_rate 20k;
            snorky_sockjs_echo;
        }

        location /paged {
            error_page 404 503 = /page;
            error_page 413 = /page;
            client_max_body_size 100;
            snorky_sockjs_echo;
        }

        location = /page {
            return 299 "a page\n";
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

make_certificate($t, 'localhost');
$t->run();

my @streaming = qw/ xhr_streaming eventsource htmlfile /;
my $interrupted = 'c[1002,"Connection interrupted"]';
my ($s, $r, $h, $n);


# a connection that is kept

$s = session('/echo');
$h = Snorky->dial();

is(ask($h, 'POST', $s, 'xhr')->{body}, "o\n", 'a session is opened');
is(ask($h, 'POST', $s, 'xhr_send', '["x"]')->{status}, 204,
    'a message is sent on the same connection');
is(ask($h, 'POST', $s, 'xhr')->{body}, "a[\"x\"]\n",
    'and received on it');
is($h->header('content-length'), 7, 'with a length');
is($h->header('transfer-encoding'), undef, 'and not in chunks');

$s = session('/short');
$r = ask($h, 'GET', $s, 'jsonp?c=cb');
is($r->{body}, qq{/**/cb("o");\r\n}, 'jsonp on the connection, too');
is($r->{headers}{'x-content-type-options'}, 'nosniff',
    'of which no browser makes anything else');
is(ask($h, 'POST', $s, 'jsonp_send', 'd=%5B%22x+y%22,%22%2B%22]', 'Content-Type: '
    . 'application/x-www-form-urlencoded')->{body}, 'ok', 'jsonp_send');
is(ask($h, 'GET', $s, 'jsonp?callback=a.b-c_1')->{body},
    qq{/**/a.b-c_1("a[\\"x y\\",\\"+\\"]");\r\n}, 'and its messages');

# the response's limit is 100 bytes

$s->send('x' x 100);

for my $kind (@streaming) {
    my $path = $kind eq 'htmlfile' ? "$kind?c=cb" : $kind;
    my $method = $kind eq 'xhr_streaming' ? 'POST' : 'GET';

    $r = ask($h, $method, $s, $path);
    like($r->{body}, qr/x{100}/, "$kind on the connection, up to its limit");
    is($r->{headers}{'x-accel-buffering'}, 'no', 'which proxies pass on');
    $s->send('x' x 100);
}

is(ask($h, 'POST', $s, 'xhr')->{status}, 200, 'and then once more xhr');
is(ask($h, 'GET', session('/echo'), '../..')->{status}, 200,
    'it goes on with what is not SockJS\'s session');


# pipelining

$s = session('/echo');
$h = Snorky->dial();

$h->send(text_of('POST', $s, 'xhr', ''), text_of('POST', $s, 'xhr_send', '["1"]'),
    text_of('POST', $s, 'xhr', ''), text_of('POST', $s, 'xhr_send', '["2","3"]'),
    text_of('POST', $s, 'xhr', ''));

is_deeply([ map { my $p = $h->read_response(); "$p->{status} $p->{body}" }
    1 .. 5 ], [ "200 o\n", '204 ', "200 a[\"1\"]\n", '204 ',
    "200 a[\"2\",\"3\"]\n" ], 'pipelined requests are answered in order');

$h->send(text_of('POST', $s, 'xhr', ''),
    text_of('GET', $s, '../../info'), text_of('POST', $s, 'xhr', ''));

is($s->send('late'), 204, 'one waits, others stand behind it');
is($h->read_response()->{body}, "a[\"late\"]\n", 'it gets its message');
like($h->read_response()->{body}, qr/entropy/, 'then the others are answered');
is($s->send('later'), 204, 'of which the last one waits');
is($h->read_response()->{body}, "a[\"later\"]\n", 'for its own');

$s = session('/short');
$h = Snorky->dial();

$h->send(text_of('POST', $s, 'xhr_streaming', ''), text_of('POST', $s, 'xhr', ''));
wait_until { counters()->{sessions_sockjs} };
$s->send('x' x 100) == 204 or wait_until { $s->send('x' x 100) == 204 };
like($h->read_response()->{body}, qr/^h{2048}\no\na\["x{100}"\]\n$/,
    'a stream and a poll behind it');
$s->send('y');
is($h->read_response()->{body}, "a[\"y\"]\n", 'which comes after it');

# a body that comes by and by

$s = session('/echo');
$h = Snorky->dial();
my $text = text_of('POST', $s, 'xhr', 'nobody reads this');
$h->send(substr $text, 0, -5);
$h->send(substr $text, -5);
is($h->read_response()->{body}, "o\n", 'a poll with a body');

$text = text_of('POST', $s, 'xhr_send', '["in two parts"]');
$h->send(substr $text, 0, -5);
$h->send(substr $text, -5);
is($h->read_response()->{status}, 204, 'messages that come by and by');

$h->request('POST', $s->path('xhr_send'), body => ['["in', ' chunks"]']);
is($h->status(), 204, 'in chunks');
is($s->poll(), 'a["in two parts","in chunks"]', 'are there');


# HTTP/1.0

$s = session('/echo', http => 'HTTP/1.0');

is($s->poll(), 'o', 'HTTP/1.0: a session is opened');
is($s->response()->{headers}{'content-length'}, 2, 'with a length');
is($s->send('x'), 204, 'a message is sent');
is($s->poll('jsonp'), 'a["x"]', 'and received');

for my $kind (@streaming) {
    $r = $s->stream($kind);
    is($s->response()->{headers}{'transfer-encoding'}, undef,
        "$kind is not in chunks");
    is($s->response()->{headers}{'content-length'}, undef, 'has no length');
    $s = session('/short', http => 'HTTP/1.0');
    $r = $s->stream($kind);
    is($r->frame(), 'o', 'and says "o"');
    $s->send('x' x 100);
    is($r->frame(), 'a["' . 'x' x 100 . '"]', 'and what there is');
    ok($r->ended(), 'up to its end, which is the connection\'s');
}

$h = Snorky->dial();
$s = session('/echo');

for (1 .. 2) {
    $h->request('POST', $s->path('xhr'), http => 'HTTP/1.0', body => '',
        headers => ['Connection: keep-alive']);
    is($h->header('connection'), 'keep-alive', 'a connection may be kept');
    $s->send('x');
}


# TLS

$s = session('/echo', ssl => 1);

for my $kind (@streaming) {
    $s = session('/echo', ssl => 1);
    $r = $s->stream($kind);
    is($r->frame(), 'o', "TLS: $kind");
    $s->send('x', 'y');
    is($r->frame(), 'a["x","y"]', 'has its messages');
    is($s->send('z' x 100000), 204, 'also a large one');
    is(length $r->frame(), 100000 + 5, 'which is there');
    $r->abort();
}

$s = session('/echo', ssl => 1);
is($s->poll(), 'o', 'TLS: xhr');
$r = $s->open('xhr');
is($s->send('x'), 204, 'xhr_send');
is($r->frame(), 'a["x"]', 'and the message');


# gzip

for my $kind (qw/ xhr_streaming eventsource /) {
    $s = session('/gzip', headers => ['Accept-Encoding: gzip']);
    $r = $s->open($kind);
    is($r->head()->{headers}{'content-encoding'}, 'gzip', "gzip: $kind");

    my $gunzip = Compress::Raw::Zlib::Inflate->new(-WindowBits => WANT_GZIP);
    my $plain = '';

    my $next = sub {
        my ($pattern) = @_;

        for (;;) {
            return $1 if $plain =~ s/^.*?$pattern//s;

            my $chunk = $r->chunk();
            return undef unless defined $chunk;

            my $more = '';
            $gunzip->inflate($chunk, $more);
            $plain .= $more;
        }
    };

    is($next->(qr/\b(o)\r?\n/), 'o', 'a frame comes at once');

    for my $message (qw/ one two /) {
        $s->send($message);
        is($next->(qr/(a\[.*?\])\r?\n/), qq{a["$message"]},
            'and the others as they come');
    }

    $r->abort();
}

$s = session('/gzip', headers => ['Accept-Encoding: gzip']);
$r = $s->raw('POST', $s->path('xhr'), body => '');
is($r->{headers}{'content-encoding'}, 'gzip', 'gzip: xhr');


# a proxy in front, which buffers what it is not told to pass on

for my $kind (@streaming) {
    $s = session('/proxy');
    $r = $s->stream($kind);
    is($r->frame(), 'o', "behind a proxy: $kind");
    $s->send('x');
    is($r->frame(), 'a["x"]', 'a frame comes when it is sent');
    $r->abort();
}

$s = session('/proxy');
is($s->poll(), 'o', 'behind a proxy: xhr');
$s->send('x');
is($s->poll(), 'a["x"]', 'and its message');


# other modules

is(session('/guarded')->raw('POST', '/guarded/1/abc/xhr', body => '')
    ->{status}, 403, 'auth_request keeps out');

$s = session('/guarded');
$h = Snorky->dial();
is(ask($h, 'POST', $s, 'xhr', '', 'X-User: me')->{body}, "o\n",
    'and lets in');
is(ask($h, 'POST', $s, 'xhr_send', '["x"]', 'X-User: you')->{status}, 404,
    'another identity does not find the session');
is(ask($h, 'POST', $s, 'xhr_send', '["x"]', 'X-User: me')->{status}, 204,
    'its own does');

$s = session('/limited');
$r = $s->stream('xhr_streaming');
is($r->frame(), 'o', 'limit_conn lets one in');
is($s->send('x'), 503, 'and no second one');
$r->abort();

$s = session('/if', headers => ['X-If: yes']);
is($s->poll(), 'o', 'a location with "if"');
is($s->response()->{headers}{'x-if'}, 'yes', 'which holds');
is($s->with(headers => [])->send('x'), 204,
    'is the same where it does not hold');
is($s->poll(), 'a["x"]', 'as to its sessions');

my $mirror = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1',
    LocalPort => port(8081), ReuseAddr => 1) or die "no mirror: $!\n";

$s = session('/mirrored');
is($s->poll(), 'o', 'a mirrored request is answered');
close $mirror->accept();

$r = $s->open('xhr');
my $mirrored = $mirror->accept();
is($s->post('xhr_send', '[]'), 204, 'another one waits');
$r->abort();
is(wait_until { my $f = $s->poll() // ''; $f =~ /^c\[1002/ && $f },
    $interrupted, 'and its client may leave');

close $mirrored;
close $mirror;

$s = session('/rated');
$r = $s->stream('xhr_streaming');
is($r->frame(), 'o', 'limit_rate');
$s->send('x' x 30000);
$r->send("\r\n");
is(length $r->frame(), 30005, 'a frame that it delays');
$s->send('y');
is($r->frame(), 'a["y"]', 'and the next one');
$r->abort();

$s = session('/paged');
$s->poll();
is($s->post('xhr_send', '["' . 'x' x 100 . '"]'), 299,
    'error_page is heard for what nginx refuses');


# bodies

$s = session('/small');
$s->poll();
is($s->post('xhr_send', '["' . 'x' x 96 . '"]'), 204, '100 bytes are allowed');
is($s->post('xhr_send', '["' . 'x' x 97 . '"]'), 413, 'and one more is not');
is($s->post('xhr_send', ['["', 'x' x 97, '"]']), 413, 'not in chunks either');
is($s->poll(), 'a["' . 'x' x 96 . '"]', 'the session has the one');

for my $location ('/large', '/file') {
    $s = session($location);
    $s->poll();

    my @messages = map { join '', map { chr(32 + rand 95) } 1 .. 100000 }
        1 .. 20;

    is($s->send(@messages), 204, "$location: two megabytes are taken");
    is_deeply([ $s->receive(20) ], \@messages, 'and come back');
}

$s = session('/large');
$s->poll();
is($s->send('x' x (200 * 1024)), 204, 'a message of the largest size');
is($s->send('x', 'x' x (200 * 1024 + 1)), 413, 'and one that is larger');
is(length $s->poll(), 200 * 1024 + 5, 'of which the first comes');


# the log

$s = session('/guarded', session => 'logged', server => '0');
$h = Snorky->dial();

for (['xhr', ''], ['xhr_send', '["1","2","3"]'], ['xhr', ''],
    ['xhr_send', '"'], ['jsonp_send', '[]'])
{
    ask($h, 'POST', $s, @$_, 'X-User: me');
}

my @log;

wait_until {
    @log = grep { m{/logged/} } split /\n/, $t->read_file('sockjs.log');
    @log >= 5;
};

is_deeply(\@log, [
    '/guarded/0/logged/xhr 200 xhr 0 0 "-" "me" "-"',
    '/guarded/0/logged/xhr_send 204 xhr_send 3 0 "-" "me" "-"',
    '/guarded/0/logged/xhr 200 xhr 0 3 "-" "me" "-"',
    '/guarded/0/logged/xhr_send 500 xhr_send 0 0 "-" "me" "-"',
    '/guarded/0/logged/jsonp_send 200 jsonp_send 0 0 "-" "me" "-"',
], 'the log tells of each request');


# --- helpers ----------------------------------------------------------------

sub session {
    my ($prefix, %o) = @_;

    return Snorky::SockJS->new(prefix => $prefix, %o);
}


sub text_of {
    my ($method, $s, $what, $body) = @_;

    return "$method " . $s->path($what) . " HTTP/1.1\r\nHost: localhost\r\n"
        . (defined $body ? 'Content-Length: ' . length($body) . "\r\n" : '')
        . "\r\n" . ($body // '');
}


# on a connection of ours

sub ask {
    my ($h, $method, $s, $what, $body, @headers) = @_;

    return $h->request($method, $s->path($what), headers => \@headers,
        $method eq 'POST' ? (body => $body // '') : ());
}
