#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# What a location with snorky_sockjs serves without a session: greeting, info
# and iframe, OPTIONS and errors; which path is which, who may use it, and what
# the header fields say.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use Test::More;
use Time::Local qw/ timegm /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http rewrite gzip charset /)->plan(223);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_service echo echo;

    # paths are looked at as they come
    merge_slashes off;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /echo {
            snorky_sockjs_echo;
            snorky_origins any;
        }

        location /slash/ {
            snorky_sockjs;
            snorky_sockjs_url /sockjs.js;
        }

        location /a/b/c {
            snorky_sockjs_close;
            snorky_sockjs_url '/s?a=1&b="2"<3>';
        }

        location /off {
            snorky_sockjs;
            snorky_sockjs_websocket off;
        }

        location /cookie {
            snorky_sockjs;
            snorky_sockjs_cookie on;
        }

        location /same {
            snorky_sockjs;
        }

        location /explicit {
            snorky_sockjs;
            snorky_origins same;
        }

        location /one {
            snorky_sockjs;
            snorky_origins https://example.com;
        }

        location /filters {
            snorky_sockjs;
            expires 1h;
            add_header X-More yes always;
            charset koi8-r;
            charset_types *;
            gzip on;
            gzip_min_length 0;
            gzip_types *;
        }

        location /if {
            snorky_sockjs;

            if ($arg_if) {
                add_header X-If yes;
            }
        }

        location /status {
            snorky_status;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        location / {
            snorky_sockjs;
        }
    }
}

EOC

$t->run();

my ($r, $n);
my $uncached = 'no-store, no-cache, no-transform, must-revalidate, max-age=0';
my $year = 'public, max-age=31536000';


# --- greeting ---------------------------------------------------------------

for my $path (qw{ /echo /echo/ /slash/ /a/b/c /a/b/c/ /off /cookie /if
    /if?if=1 })
{
    $r = ask('GET', $path);

    is("$r->{status} $r->{body}", "200 Welcome to SockJS!\n",
        "$path greets");
}

is(ask('GET', '/', port => port(8081))->{body}, "Welcome to SockJS!\n",
    'so does the root of a server');

$r = ask('GET', '/cookie', headers => [ 'Origin: http://evil.example' ]);
is("$r->{status} " . fields($r, 'Content-Type', 'Set-Cookie',
    'Content-Length'), '200 text/plain; charset=UTF-8 | - | 19',
    'a greeting has a type, and no cookie; it is for everybody');

$r = ask('HEAD', '/echo');
is("$r->{status} $r->{body} " . fields($r, 'Content-Length'), '200  19',
    'HEAD gets its head');


# --- no such thing ----------------------------------------------------------

for my $path (qw{ /echoes /slash /nothing }, map { "/echo$_" } qw{
    /a /a.html // /// /a/a /a/a/ /a/ /info/ /infos /INFO /info.html
    /iframe /iframe.htm /IFRAME.HTML /IFRAME /iframe.HTML /iframe.xml
    /iframe-/.html /iframes.html /iframe.html/ /a/iframe.html
    //xhr /a./a/xhr /a/a./xhr /a.b/a/xhr //a/xhr /a//xhr ///xhr /xhr
    /a/a/xhrs /a/a/xh /a/a/XHR /a/a/xhr/ /a/a/a/xhr /a/xhr
    /a/a/info /a/a/iframe.html })
{
    is(ask('GET', $path)->{status} . ask('POST', $path, body => '')
        ->{status}, '404404', "$path is not there");
}

is(join(' ', map { ask('GET', "/off$_")->{status} }
    '/websocket', '/a/a/websocket'), '404 404',
    'nor is a WebSocket that is off');


# --- iframe -----------------------------------------------------------------

my $page = <<'EOP';
<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="URL"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>
EOP

my $url = 'https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js';

for my $path (qw{ /iframe.html /iframe-a.html /iframe-.html /iframe-0.1.2.html
    /iframe-0.1.2abc-dirty.2144.html /iframe.html?t=1234
    /iframe-0.1.2.html?t=123414 })
{
    $r = ask('GET', "/echo$path", headers => [ 'Origin: null' ]);
    is("$r->{status} $r->{body}", '200 ' . page($url), "$path is the page");
}

is(fields($r, 'Content-Type', 'Cache-Control', 'Last-Modified', 'Set-Cookie',
    'Content-Length'), "text/html; charset=UTF-8 | $year | - | - | "
    . length page($url), 'with its header');
is(expires_in_a_year($r), 1, 'it expires in a year');

is(ask('GET', '/slash/iframe.html')->{body}, page('/sockjs.js'),
    'the URL of the script can be set');
is(ask('GET', '/a/b/c/iframe.html')->{body},
    page('/s?a=1&amp;b=&quot;2&quot;&lt;3&gt;'), 'to any text');

my $etag = fields($r, 'ETag');
like($etag, qr/^"[0-9a-f]{32}"$/, 'it has an ETag');
is(fields(ask('GET', '/echo/iframe.html'), 'ETag'), $etag,
    'which remains the same');
isnt(fields(ask('GET', '/slash/iframe.html'), 'ETag'), $etag,
    'as long as the page does');

for my $known ($etag, "W/$etag", "\"x\", $etag", "\"x\",W/$etag , \"y\"", '*')
{
    $r = ask('GET', '/echo/iframe.html',
        headers => [ "If-None-Match: $known" ]);

    is("$r->{status} " . fields($r, 'Content-Type', 'Content-Length', 'ETag',
        'Cache-Control'), "304 - | - | $etag | $year",
        "who has $known has it");
}

for my $other ('"x"', substr($etag, 1, 32), "\"x$etag\"") {
    is(ask('GET', '/echo/iframe.html',
        headers => [ "If-None-Match: $other" ])->{status}, 200,
        "who has $other does not");
}

$r = ask('HEAD', '/echo/iframe.html');
is("$r->{status} $r->{body} " . fields($r, 'ETag', 'Content-Length'),
    "200  $etag | " . length page($url), 'HEAD gets its head');


# --- info -------------------------------------------------------------------

$r = ask('GET', '/echo/info', headers => [ 'Origin: test' ]);

like($r->{body}, qr/^\{"websocket":true,"origins":\["\*:\*"\],
    "cookie_needed":false,"entropy":\d{1,10}\}$/x, 'info');
is("$r->{status} " . fields($r, 'Content-Type', 'Cache-Control', 'Expires',
    'Last-Modified', 'Set-Cookie'),
    "200 application/json; charset=UTF-8 | $uncached | - | - | -",
    'with its header');
is(cors($r), 'test true Origin -', 'for the origin that asks');

is(cors(ask('GET', '/echo/info')), '* - Origin -', 'or for all');
is(cors(ask('GET', '/echo/info', headers => [ 'Origin:' ])),
    '* - Origin -', 'also where it says nothing');
is(cors(ask('GET', '/echo/info', headers => [ 'Origin: null' ])),
    'null true Origin -', 'or for a file');
is(cors(ask('GET', '/echo/info', headers => [ 'Origin: a',
    'Access-Control-Request-Headers: a, b, c' ])), 'a true Origin a, b, c',
    'with the fields that it wants to send');
is(cors(ask('GET', '/echo/info', headers => [ 'Origin: a',
    'Access-Control-Request-Headers:' ])), 'a true Origin -', 'if there are');

my %seen = map { ask('GET', '/echo/info')->{json}{entropy} => 1 } 1 .. 8;
is(scalar keys %seen, 8, 'entropy is another one each time');
is(scalar(grep { $_ < 2 ** 32 } keys %seen), 8, 'of 32 bits');

is(ask('GET', '/off/info')->{json}{websocket}, JSON::PP::false(),
    'a WebSocket that is off is not there');
$r = ask('GET', '/cookie/info');
is($r->{json}{cookie_needed}, JSON::PP::true(), 'a cookie may be needed');
is(fields($r, 'Set-Cookie'), '-', 'but not here');

for my $field ('If-None-Match: *', 'If-Modified-Since: '
    . 'Mon, 28 Sep 2037 06:00:00 GMT', 'If-Match: "x"', 'If-Unmodified-Since: '
    . 'Mon, 28 Sep 1970 06:00:00 GMT')
{
    is(ask('GET', '/echo/info', headers => [ $field ])->{status}, 200,
        "nobody has it already ($field)");
}

is(ask('HEAD', '/echo/info')->{status}, 200, 'HEAD gets its head');


# --- OPTIONS ----------------------------------------------------------------

for my $case ([ '/info', 'OPTIONS, GET' ], [ '/a/a/xhr', 'OPTIONS, POST' ],
    [ '/a/a/xhr_streaming', 'OPTIONS, POST' ],
    [ '/a/a/xhr_send', 'OPTIONS, POST' ])
{
    my ($path, $methods) = @$case;

    for my $origin ('test', 'null') {
        $r = ask('OPTIONS', "/cookie$path",
            headers => [ "Origin: $origin",
                "Access-Control-Request-Method: $methods" ]);
        is($r->{status}, 403, "$path: $origin is not allowed here");

        $r = ask('OPTIONS', "/echo$path", headers => [ "Origin: $origin",
            "Access-Control-Request-Method: $methods" ]);

        is("$r->{status} " . fields($r, 'Content-Type', 'Content-Length',
            'Cache-Control', 'Access-Control-Max-Age',
            'Access-Control-Allow-Methods', 'Set-Cookie'),
            "204 - | - | $year | 31536000 | $methods | -",
            "$path: $origin may ask");
        is(cors($r) . expires_in_a_year($r), "$origin true Origin -1",
            'and gets an answer that lasts');
    }
}

is(cors(ask('OPTIONS', '/echo/a/a/xhr', headers => [ 'Origin: a',
    'Access-Control-Request-Headers: content-type' ])),
    'a true Origin content-type', 'fields may be asked for');


# --- other methods ----------------------------------------------------------

for my $case ([ '', 'GET' ], [ '/', 'GET' ], [ '/iframe.html', 'GET' ],
    [ '/info', 'OPTIONS, GET' ], [ '/websocket', 'GET' ],
    [ '/a/a/websocket', 'GET' ], [ '/a/a/eventsource', 'GET' ],
    [ '/a/a/htmlfile', 'GET' ], [ '/a/a/jsonp', 'GET' ],
    [ '/a/a/jsonp_send', 'POST' ], [ '/a/a/xhr', 'OPTIONS, POST' ],
    [ '/a/a/xhr_streaming', 'OPTIONS, POST' ],
    [ '/a/a/xhr_send', 'OPTIONS, POST' ])
{
    my ($path, $allow) = @$case;
    my @methods = grep { $allow !~ /\b$_\b/ } qw/ GET POST OPTIONS PUT /;

    # what is not read of the body must not be taken for a request

    my $h = Snorky->dial();

    is(join(' ', map { $_->{status} . $_->{body} . fields($_, 'Content-Type',
        'Allow') } map { $h->request($_, "/echo$path",
        body => 'GET /a HTTP/1.1') } @methods),
        join(' ', map { "405- | $allow" } @methods),
        "/echo$path has only $allow");
    is($h->request('GET', '/echo')->{status}, 200, '... and goes on');
}


# --- no handshake -----------------------------------------------------------

my @upgrade = ('Upgrade: WebSocket', 'Connection: Upgrade');

for my $case ([ 'Can "Upgrade" only to "WebSocket".' ],
    [ 'Can "Upgrade" only to "WebSocket".', 'Upgrade: h2c' ],
    [ '"Connection" must be "Upgrade".', 'Upgrade: WebSocket',
      'Connection: close' ])
{
    my ($text, @headers) = @$case;

    $r = ask('GET', '/echo/0/0/websocket',
        headers => [ 'Origin: test', @headers ]);

    is("$r->{status} $r->{body}", "400 $text", "400 $text");
    is(fields($r, 'Content-Type', 'Cache-Control', 'Set-Cookie') . ' '
        . cors($r), "text/plain; charset=UTF-8 | $uncached | - "
        . 'test true Origin -', 'with its header');
}

is(ask('GET', '/echo/0/0/websocket', headers => \@upgrade)->{status}, 426,
    'a handshake without a version gets 426');
is(ask('GET', '/echo/websocket')->{status}, 426, 'as does a raw one');
is(ask('POST', '/echo/0/0/websocket', headers => \@upgrade)->{status}, 405,
    'POST is no handshake');
is(counters()->{rejected_handshake}, 5, 'they are counted');


# --- cookies ----------------------------------------------------------------

for my $case ([ 'dummy' ], [ 'dummy', 'Cookie: a=b' ],
    [ 'abcdef', 'Cookie: JSESSIONID=abcdef' ],
    [ 'x.y', 'Cookie: a=b; JSESSIONID=x.y; c=d' ],
    [ 'dummy', 'Cookie: JSESSIONID=' ], [ 'dummy', 'Cookie: XJSESSIONID=a' ])
{
    my ($value, @headers) = @$case;

    $r = ask('GET', '/cookie/0/0/websocket', headers => [ @headers ]);
    is(fields($r, 'Set-Cookie'), "JSESSIONID=$value; path=/",
        "@headers: the cookie is $value");
}

is(fields(ask('GET', '/same/0/0/websocket', headers =>
    [ 'Cookie: JSESSIONID=abc' ]), 'Set-Cookie'), '-',
    'no cookie is set where none is wanted');


# --- origins ----------------------------------------------------------------

$n = counters()->{rejected_origin};

for my $case (
    [ '/same', 200 ], [ '/same', 200, 'Origin: http://localhost' ],
    [ '/same', 403, 'Origin: http://evil.example' ],
    [ '/same', 403, 'Origin: null' ],
    [ '/same', 403, 'Origin: http://localhost', 'Origin: http://localhost' ],

    # the Origin counts, if there is one

    [ '/same', 200, 'Origin: http://localhost', 'Referer: http://evil/' ],
    [ '/same', 403, 'Origin: http://evil', 'Referer: http://localhost/' ],
    [ '/same', 200, 'Origin: http://localhost', 'Sec-Fetch-Site: cross-site' ],

    # then the Referer

    [ '/same', 200, 'Referer: http://localhost/page' ],
    [ '/same', 200, 'Referer: http://localhost' ],
    [ '/same', 200, 'Referer: http://localhost?a' ],
    [ '/same', 200, 'Referer: http://localhost#a' ],
    [ '/same', 200, 'Referer: http://localhost/', 'Sec-Fetch-Site: cross-site' ],
    [ '/same', 403, 'Referer: http://evil.example/http://localhost/' ],
    [ '/same', 403, 'Referer: http://evil.example?http://localhost' ],
    [ '/same', 403, 'Referer: http://evil.example#http://localhost' ],
    [ '/same', 403, 'Referer: http://localhost.evil.example/' ],
    [ '/same', 403, 'Referer: http://localhost@evil.example/' ],
    [ '/same', 403, 'Referer: http://evil/', 'Sec-Fetch-Site: same-origin' ],
    [ '/same', 403, 'Referer: http://localhost/', 'Referer: http://evil/' ],
    [ '/same', 403, 'Referer: localhost' ],
    [ '/one', 200, 'Referer: https://example.com/a?b#c' ],
    [ '/one', 403, 'Referer: http://example.com/' ],
    [ '/one', 403, 'Referer: http://localhost/' ],
    [ '/echo', 200, 'Referer: http://evil.example/' ],

    # then what the browser says of the site

    [ '/same', 403, 'Sec-Fetch-Site: cross-site' ],
    [ '/same', 403, 'Sec-Fetch-Site: same-site' ],
    [ '/same', 200, 'Sec-Fetch-Site: same-origin' ],
    [ '/same', 200, 'Sec-Fetch-Site: none' ],
    [ '/explicit', 403, 'Sec-Fetch-Site: same-site' ],
    [ '/explicit', 200, 'Sec-Fetch-Site: same-origin' ],
    [ '/one', 403, 'Sec-Fetch-Site: cross-site' ],
    [ '/one', 200, 'Sec-Fetch-Site: same-site' ],
    [ '/echo', 200, 'Sec-Fetch-Site: cross-site' ],
    [ '/echo', 200, 'Sec-Fetch-Site: same-site' ])
{
    my ($location, $status, @headers) = @$case;

    my $session = ask('GET', "$location/0/0/websocket",
        headers => [ @headers ])->{status};

    is(ask('GET', "$location/info", headers => [ @headers ])->{status}
        . " $session", $status == 200 ? '200 400' : '403 403',
        "$location: @headers");

    $n += 2 if $status == 403;
}

is(ask('GET', '/same/iframe.html', headers => [ 'Origin: http://evil' ])
    ->{status}, 200, 'the iframe is for everybody');
is(counters()->{rejected_origin}, $n, 'refusals are counted');


# --- beside other directives ------------------------------------------------

my @gzip = ('Accept-Encoding: gzip');

$r = ask('GET', '/filters/iframe.html', headers => [ @gzip ]);
is("$r->{status} " . fields($r, 'Cache-Control', 'X-More', 'Content-Type',
    'Content-Encoding', 'ETag'), '200 max-age=3600 | yes | '
    . "text/html; charset=UTF-8 | gzip | W/$etag",
    'nginx does to it what it is told');
is(() = fields($r, 'Expires') =~ /GMT/g, 1, 'once');
is(ask('GET', '/filters/iframe.html', headers => [ @gzip,
    "If-None-Match: W/$etag" ])->{status}, 304, 'and knows it again');

$r = ask('GET', '/filters/info');
is("$r->{status} " . fields($r, 'Cache-Control', 'X-More', 'Content-Type'),
    '200 max-age=3600 | yes | application/json; charset=UTF-8',
    'also where we say no-cache');

$r = ask('OPTIONS', '/filters/0/0/xhr');
is("$r->{status} " . fields($r, 'Cache-Control', 'X-More'),
    '204 max-age=3600 | yes', 'or a year');

is(fields(ask('GET', '/filters', headers => [ @gzip ]), 'Content-Encoding'),
    'gzip', 'a greeting is compressed');
is(fields(ask('GET', '/if/info?if=1'), 'X-If'), 'yes', '"if" is applied');


# --- HTTP/1.0 ---------------------------------------------------------------

$r = ask('GET', '/echo/info', http => 'HTTP/1.0');
is("$r->{status} " . ($r->{json} ? 1 : 0), '200 1', 'HTTP/1.0 is served');
is(ask('GET', '/echo/0/0/websocket', http => 'HTTP/1.0', headers =>
    [ @upgrade ])->{status}, 426, 'but no handshake in it');


# --- refused configurations -------------------------------------------------

for my $directive (qw/ snorky_sockjs snorky_sockjs_echo snorky_sockjs_close /)
{
    for my $location ('= /x', '~ ^/x', '~* x', '@x') {
        like(nginx_t("location $location { $directive; }"),
            qr/\[emerg\] .*SockJS needs a location with a prefix, ".+" is none/,
            "location $location { $directive; } is refused");
    }

    like(nginx_t("location ^~ /x { $directive; }"), qr/is successful/,
        "location ^~ /x { $directive; } is not");
}


# --- helpers ----------------------------------------------------------------

sub ask {
    my ($method, $path, %o) = @_;

    return Snorky->dial(%o)->request($method, $path, %o);
}


# fields of a response; "-": it has none of that name

sub fields {
    my ($response, @names) = @_;

    return join ' | ', map { $response->{headers}{lc $_} // '-' } @names;
}


sub cors {
    my ($response) = @_;

    return join ' ', map { fields($response, $_) }
        'Access-Control-Allow-Origin', 'Access-Control-Allow-Credentials',
        'Vary', 'Access-Control-Allow-Headers';
}


sub expires_in_a_year {
    my ($response) = @_;

    my ($day, $month, $year, @time) = fields($response, 'Expires')
        =~ /^\w{3}, (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT$/
        or return 0;

    my $left = timegm(reverse(@time), $day,
        index('JanFebMarAprMayJunJulAugSepOctNovDec', $month) / 3, $year)
        - time();

    return abs($left - 31536000) < 60 ? 1 : $left;
}


sub page {
    my ($script) = @_;

    my $text = $page;
    $text =~ s/URL/$script/;

    return $text;
}


# what "nginx -t" says

sub nginx_t {
    my ($location) = @_;

    my $dir = File::Temp::tempdir(CLEANUP => 1);
    my $globals = $ENV{TEST_NGINX_GLOBALS} || '';
    my $port = port(8082);

    open my $f, '>', "$dir/nginx.conf" or die "nginx.conf: $!\n";
    print $f "$globals\nevents { }\nhttp { access_log off; "
        . "snorky_service echo echo; server { listen 127.0.0.1:$port; "
        . "$location } }\n";
    close $f;

    return scalar `$Test::Nginx::NGINX -t -p $dir/ -c nginx.conf \\
        -e stderr -g 'pid $dir/pid;' 2>&1`;
}
