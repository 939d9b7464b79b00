#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The application that answers the calls of an upstream service is dead,
# late, or says what it should not: each call is answered nevertheless, once,
# and the client goes on.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;


my $t = Test::Nginx->new()
    ->has(qw/ http http_ssl proxy cache rewrite upstream_keepalive limit_req
              limit_conn gunzip sub socket_ssl /)
    ->has_daemon('openssl')->plan(255)->todo_alerts();

# since 1.29.7, an upstream keeps connections unless it is told not to

my ($minor, $patch) = `'$Test::Nginx::NGINX' -v 2>&1`
    =~ m{nginx/1\.(\d+)\.(\d+)};
my $alone = $minor * 100 + $patch >= 2907 ? 'keepalive 0;' : '';
my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections  256;
}

http {
    %%TEST_GLOBALS_HTTP%%

    ssl_certificate      %%TESTDIR%%/localhost.crt;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    snorky_zone 1m;
    snorky_drain 10ms;
    snorky_close_timeout 1s;
    snorky_max_calls 64;
    snorky_max_message_size 100k;

    snorky_service upstream app pass=/app/;
    snorky_service upstream small pass=/app/ response=1k;
    snorky_service upstream impatient pass=/app/ timeout=200ms;

    snorky_service upstream kept pass=/kept/;
    snorky_service upstream second pass=/second/;
    snorky_service upstream again pass=/again/;
    snorky_service upstream dead pass=/dead/;
    snorky_service upstream fallback pass=/fallback/;
    snorky_service upstream unbuffered pass=/unbuffered/ response=1k;
    snorky_service upstream slow_read pass=/slow_read/;
    snorky_service upstream filtered pass=/filtered/;
    snorky_service upstream nowhere pass=/nowhere;
    snorky_service upstream loop pass=/loop;
    snorky_service upstream text pass=/text;
    snorky_service upstream status pass=/status_of;
    snorky_service upstream drop pass=/drop;
    snorky_service upstream file pass=/file.json;
    snorky_service upstream get_file pass=/get/file.json;
    snorky_service upstream limited pass=/limited;
    snorky_service upstream paced pass=/paced/;
    snorky_service upstream few pass=/few/;
    snorky_service upstream cached pass=/cached/;
    snorky_service upstream named pass=/named/;
    snorky_service upstream large pass=/large response=200k;
    snorky_service upstream direct pass=/direct response=200k;
    snorky_service upstream socket pass=/ws;
    snorky_service upstream unresolved pass=/unresolved;

    snorky_service echo echo;

    limit_req_zone $snorky_service zone=paced:1m rate=120r/m;
    limit_conn_zone $snorky_service zone=few:1m;
    proxy_cache_path %%TESTDIR%%/cache keys_zone=cache:1m;

    upstream app {
        server 127.0.0.1:%%PORT_8090%% max_fails=0;
        %%ALONE%%
    }

    upstream kept {
        server 127.0.0.1:%%PORT_8090%% max_fails=0;
        keepalive 4;
    }

    upstream second {
        server 127.0.0.1:%%PORT_8091%% max_fails=0;
        server 127.0.0.1:%%PORT_8090%% backup max_fails=0;
        %%ALONE%%
    }

    proxy_http_version 1.1;
    proxy_set_header Connection "";

    types {
        application/json  json;
    }

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /fat {
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

        location /app/ {
            internal;
            proxy_pass http://app/$snorky_command;
        }

        location /kept/ {
            internal;
            proxy_pass http://kept/$snorky_command;
        }

        location /second/ {
            internal;
            proxy_pass http://second/$snorky_command;
        }

        location /again/ {
            internal;
            proxy_next_upstream error timeout http_503 non_idempotent;
            proxy_pass http://second/$snorky_command;
        }

        location /dead/ {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_8092%%;
        }

        location /fallback/ {
            internal;
            proxy_intercept_errors on;
            error_page 404 =200 /text;
            error_page 502 503 504 =200 /instead;
            error_page 403 = /instead;
            proxy_pass http://app/$snorky_command;
        }

        location /instead {
            internal;
            default_type application/json;
            return 200 '{"instead":"$snorky_command"}';
        }

        location /unbuffered/ {
            internal;
            proxy_buffering off;
            proxy_pass http://app/$snorky_command;
        }

        location /slow_read/ {
            internal;
            proxy_read_timeout 200ms;
            proxy_pass http://app/$snorky_command;
        }

        location /loop {
            internal;
            rewrite ^ /loop last;
        }

        location /text {
            internal;
            default_type text/plain;
            return 200 'no JSON';
        }

        location /status_of {
            internal;
            if ($snorky_command = teapot) {
                return 418;
            }
            if ($snorky_command = denied) {
                return 403 'you may not\n';
            }
            if ($snorky_command = moved) {
                return 302 /elsewhere;
            }
            if ($snorky_command = empty) {
                return 204;
            }
            return 500;
        }

        location /drop {
            internal;
            return 444;
        }

        location /file.json {
            internal;
            root %%TESTDIR%%;
        }

        location /get/file.json {
            internal;
            error_page 405 =200 /file.json;
            alias %%TESTDIR%%/file.json;
        }

        location /unresolved {
            internal;
            proxy_pass http://$snorky_command.invalid/;
        }

        location /filtered/ {
            internal;
            deny all;
            gunzip on;
            sub_filter_types application/json;
            sub_filter a b;
            proxy_pass http://app/$snorky_command;
        }

        location /paced/ {
            internal;
            limit_req zone=paced burst=1;
            proxy_pass http://app/$snorky_command;
        }

        location /few/ {
            internal;
            limit_conn few 2;
            proxy_pass http://app/$snorky_command;
        }

        location /cached/ {
            internal;
            proxy_cache cache;
            proxy_cache_methods POST;
            proxy_cache_key $snorky_command;
            proxy_cache_valid 1s;
            proxy_cache_use_stale updating;
            proxy_cache_background_update on;
            proxy_pass http://app/$snorky_command;
        }

        location /named/ {
            internal;
            error_page 502 = @named;
            proxy_pass http://127.0.0.1:%%PORT_8092%%;
        }

        location @named {
            proxy_pass http://app/$snorky_command;
        }

        location /large {
            internal;
            error_page 405 =200 /file/large.json;
            return 405;
        }

        location /direct {
            internal;
            error_page 405 =200 /directio/large.json;
            return 405;
        }

        location /file/ {
            output_buffers 1 4k;
            alias %%TESTDIR%%/;
        }

        location /directio/ {
            directio 1;
            output_buffers 1 4k;
            alias %%TESTDIR%%/;
        }

        location /limited {
            internal;
            client_max_body_size 10;
            proxy_pass http://app/json;
        }
    }
}

EOC

$t->write_file_expand('nginx.conf',
    at_level($t, 'info', $conf =~ s/%%ALONE%%/$alone/gr));

$t->write_file('file.json', '[1,2]');
$t->write_file('large.json', '"' . 'x' x 100_000 . '"');
mkdir $t->testdir() . '/cache';
chmod 0777, $t->testdir() . '/cache';
make_certificate($t, 'localhost');

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/add'    => { rpc => 1 },
    '/echo'   => { rpc => 1 },
    '/json'   => { json => { a => 1 } },
});
my $other = Snorky::Application->start(port => port(8091), answers => {
    '/json'   => { json => 'other' },
});

$other->stop();
$t->run();

my $c = Snorky->connect('/ws');


# --- what it says, and what becomes of it -----------------------------------

# [ what the application does, what the client is told, its name ]

my $long = 'x' x 250;

my @answers = (

    # data

    [ { json => { b => [ 1 ] } }, 'data {"b":[1]}', 'JSON' ],
    [ { json => 1, status => 201 }, 'data 1', 'JSON with the status 201' ],
    [ { json => 1, type => 'application/json; charset=utf-8' }, 'data 1',
        'JSON with a charset' ],
    [ { json => 1, type => 'Application/JSON' }, 'data 1',
        'JSON whose type is written otherwise' ],
    [ { type => 'application/json', body => " \r\n[ 1 ]\n" },
        'data [1]', 'JSON with white space around it' ],
    [ { type => 'application/json', chunks => [ '{"a"', ':', '"b"}' ] },
        'data {"a":"b"}', 'JSON in chunks' ],
    [ { json => 'late', slow => 1 }, 'data "late"', 'JSON byte by byte' ],
    [ { json => 1, length => undef }, 'data 1',
        'JSON that ends with the connection' ],
    [ { json => 1, headers => [ 'Connection: close' ] }, 'data 1',
        'JSON on a connection that is closed' ],
    [ { json => 1, headers => [ map { "X-$_: $long" } 1 .. 8 ] },
        'data 1', 'JSON with long headers' ],
    [ { status => 204 }, 'data null', '204' ],
    [ { body => '' }, 'data null', 'an empty body' ],
    [ { type => 'application/json', body => '' }, 'data null',
        'an empty body that is said to be JSON' ],
    [ { type => 'text/html', body => '' }, 'data null', 'empty HTML' ],
    [ { status => 201, chunks => 1 }, 'data null', 'no chunks' ],

    # what is no JSON

    (map { [ { type => 'application/json', body => $_->[0] },
             'error Bad response', $_->[1] ] }
        [ '{"a":', 'JSON that breaks off' ],
        [ '[1] [2]', 'two documents' ],
        [ "\xef\xbb\xbf1", 'JSON behind a byte order mark' ],
        [ "\"\xff\"", 'JSON that is not UTF-8' ],
        [ "\"\x00\"", 'JSON with a zero byte' ],
        [ ' ', 'nothing but a space' ],
        [ '[' x 65 . ']' x 65, 'JSON that is very deep' ],
        [ '<html>', 'HTML that is called JSON' ]),

    [ { type => 'text/html', body => '<html>' }, 'error Bad response',
        'HTML' ],
    [ { type => 'text/plain', body => '1' }, 'error Bad response', 'text' ],
    [ { body => '1' }, 'error Bad response', 'JSON without a type' ],
    [ { type => 'application/jsonp', body => '1' }, 'error Bad response',
        'another type that begins like it' ],

    # errors

    [ { status => 503 }, 'error 503 Service Unavailable', '503 and no more' ],
    [ { status => 503, type => 'text/html', body => '<h1>Oh</h1>' },
        'error 503 Service Unavailable', '503 with HTML' ],
    [ { status => 503, body => 'busy' }, 'error 503 Service Unavailable',
        '503 with a text without a type' ],
    [ { status => 403, json => 'no' }, 'error no', '403 with a JSON string' ],
    [ { status => 403, type => 'application/json', body => '"\u0041\n\u20ac"' },
        "error A\n\x{20ac}", '403 with escapes in it' ],
    [ { status => 403, json => { message => 'no', code => 5 } }, 'error no',
        '403 with an object that has a message' ],
    [ { status => 403, json => { message => 5 } }, 'error 403 Forbidden',
        '403 with a message that is no string' ],
    [ { status => 403, json => { other => 'no' } }, 'error 403 Forbidden',
        '403 with an object without a message' ],
    [ { status => 403, json => [ 'no' ] }, 'error 403 Forbidden',
        '403 with a list' ],
    [ { status => 403, type => 'application/json', body => '{"message":"no"' },
        'error 403 Forbidden', '403 with broken JSON' ],
    [ { status => 403, type => 'text/plain', body => 'you may not' },
        'error you may not', '403 with a text' ],
    [ { status => 403, type => 'text/plain; charset=utf-8', body => 'no' },
        'error no', '403 with a text and its charset' ],
    [ { status => 403, type => 'text/plain', body => "first\nsecond\n" },
        'error first', '403 with a text of two lines' ],
    [ { status => 403, type => 'text/plain', body => "first\r\nsecond\r\n" },
        'error first', '403 with lines that end with CR LF' ],
    [ { status => 403, type => 'text/plain', body => "\nsecond" },
        'error 403 Forbidden', '403 with an empty first line' ],
    [ { status => 403, type => 'text/plain', body => '' },
        'error 403 Forbidden', '403 with an empty text' ],
    [ { status => 403, type => 'text/plain', body => "a \"b\" \\ \t c" },
        "error a \"b\" \\ \t c", '403 with what JSON escapes' ],
    [ { status => 403, type => 'text/plain', body => "\xe2\x82\xac" },
        "error \x{20ac}", '403 with UTF-8' ],
    [ { status => 403, type => 'text/plain', body => "\xff\xfe\x00\x01" },
        'error 403 Forbidden', '403 with bytes that are no text' ],
    [ { status => 403, type => 'text/plain', body => 'x' x 255 },
        'error ' . 'x' x 255, '403 with 255 bytes of text' ],
    [ { status => 403, type => 'text/plain', body => 'x' x 256 },
        'error ' . 'x' x 255, '403 with one byte more' ],
    [ { status => 403, type => 'text/plain', body => 'x' x 254
        . "\xe2\x82\xac" }, 'error ' . 'x' x 254,
        '403 with a character that would be cut' ],
    [ { status => 404, json => 'x' x 900 }, 'error ' . 'x' x 255,
        '404 with a long JSON string' ],
    [ { status => 404, json => { message => "\x{20ac}" x 300 } },
        'error ' . "\x{20ac}" x 85, '404 with a long message' ],
    [ { status => 500, chunks => [ 'o', "h\n" ], type => 'text/plain' },
        'error oh', '500 with a text in chunks' ],
    [ { status => 409, reason => 'Not Like That' }, 'error 409 Conflict',
        '409 with another reason' ],
    [ { status => 599, reason => 'Whatever' }, 'error 599', '599' ],
    [ { status => 302, headers => [ 'Location: /other' ] },
        'error 302 Found', 'a redirect' ],
    [ { status => 304 }, 'error 304 Not Modified', '304' ],
    [ { status => 401, headers => [ 'WWW-Authenticate: Basic realm="r"' ] },
        'error 401 Unauthorized', '401' ],

    # what is no answer

    [ { close => 1 }, 'error 502 Bad Gateway', 'the end of the connection' ],
    [ { reset => 1 }, 'error 502 Bad Gateway', 'a reset connection' ],
    [ { raw => '', end => 'close' }, 'error 502 Bad Gateway', 'nothing' ],
    [ { raw => "HTTP/1.1 200 OK\r\nContent-Ty", end => 'close' },
        'error 502 Bad Gateway', 'half a head' ],
    [ { raw => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
        end => 'close' }, 'error 502 Bad Gateway', 'a head without an end' ],
    [ { json => 1, headers => [ map { "X-$_: " . 'x' x 1000 } 1 .. 20 ] },
        'error 502 Bad Gateway', 'a head that is too large' ],
    [ { raw => "SSH-2.0-OpenSSH_9.2p1\r\n", end => 'close' },
        'error 502 Bad Gateway',
        'another protocol' ],
    [ { json => { a => 'abcdef' }, cut => 5 }, 'error 502 Bad Gateway',
        'a body that is cut off' ],
    [ { json => { a => 'abcdef' }, cut => 0 }, 'error 502 Bad Gateway',
        'a head whose body is missing' ],
    [ { json => { a => 'abcdef' }, length => 1000, end => 'reset' },
        'error 502 Bad Gateway', 'a body before a reset' ],
    [ { type => 'application/json', chunks => [ '{"a"', ':1}' ], cut => 12 },
        'error 502 Bad Gateway', 'chunks that are cut off' ],
    [ { type => 'application/json', chunks => [ '{"a"', ':1}' ], cut => 18 },
        'error 502 Bad Gateway', 'chunks without the last one' ],
    [ { raw => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\nxyz\r\n",
        end => 'close' }, 'error 502 Bad Gateway', 'a broken chunk' ],
    [ { status => 403, type => 'text/plain', body => 'first', length => 50,
        cut => 5 }, 'error 502 Bad Gateway', 'an error whose text is cut off' ],
    [ { json => 1, length => 0 }, 'data null', 'more than was announced' ],
);

for my $case (@answers) {
    my ($answer, $want, $name) = @$case;

    $app->answer('/fault', $answer);

    my @got = map { said($_, 'fault') } qw/ app kept unbuffered /;

    is($got[0], $want, "what is told of $name");
    is("$got[1], $got[2]", "$got[0], $got[0]",
        'also on a connection that is kept, and without buffering');
}

is(said('app', 'add', { a => 1, b => 2 }), 'data 3',
    'the client that was told all this goes on');


# --- too large --------------------------------------------------------------

# the limit of "small" and "unbuffered" is 1k, with the quotes

for my $service (qw/ small unbuffered /) {
    for my $how ([ 'announced' ], [ 'in chunks', chunks => 1 ],
        [ 'up to the end', length => undef ])
    {
        my ($name, @more) = @$how;

        $app->answer('/fits', { json => 'x' x 1022, @more });
        is(said($service, 'fits'), 'data "(1022 x)"',
            "a body as large as it may be, $name, fits ($service)");

        $app->answer('/one_more', { json => 'x' x 1023, @more });
        is(said($service, 'one_more'), 'error Response too large',
            "one byte more, $name, does not");

        $app->answer('/huge', { type => 'application/json',
            size => 30_000_000, @more });
        is(said($service, 'huge'), 'error Response too large',
            "nor does very much, $name");
    }
}

$app->answer('/huge', { status => 500, type => 'text/plain',
    size => 3_000_000 });
like(said('small', 'huge'), qr/^error (?:Response too large|500 .*)$/,
    'an error with a very large text is an error');

$app->answer('/endless', { type => 'application/json', length => 1_000_000,
    json => 'x' x 2000, end => 'stay' });
is(said('unbuffered', 'endless'), 'error Response too large',
    'nobody waits for the rest of what is too large');

$app->answer('/endless', { type => 'application/json', length => 1_000_000,
    json => 1, end => 'stay' });
is(said('small', 'endless'), 'error Response too large',
    'nor for what is said to be too large');


# --- too late ---------------------------------------------------------------

$app->answer('/held', { hold => 1, json => 'late' });

my $start = time();

is(said('impatient', 'held'), 'error Timed out',
    'a call that takes too long is answered');
cmp_ok(time() - $start, '>', 0.19, 'not before its time');
ok($app->wait_for(1, '/held', 'left'), 'the application sees that it ended');
is($app->release('/held'), 1, 'what it answers then');
is(said('app', 'add', { a => 1, b => 2 }), 'data 3', 'goes nowhere');

$app->answer('/drip', { json => 'x' x 2000, slow => 1 });
is(said('impatient', 'drip'), 'error Timed out',
    'bytes now and then do not make it longer');

is(said('slow_read', 'held'), 'error 504 Gateway Timeout',
    'a time-out of nginx is told as such');

$app->pause();
is(said('impatient', 'held'), 'error Timed out',
    'an application that takes connections and no more is waited for as long');
$app->resume();


# --- not there --------------------------------------------------------------

is(said('dead', 'json'), 'error 502 Bad Gateway',
    'where nobody listens, a call is answered');

$app->stop();
is(said($_, 'json'), 'error 502 Bad Gateway',
    "an application that has stopped is as dead ($_)")
    for qw/ app kept second unbuffered /;
$app->start_again();
is(said($_, 'json'), 'data {"a":1}',
    "and when it is back, calls are answered again ($_)")
    for qw/ app kept second unbuffered /;


# connections that wait

my $accepted = $app->connections()->{accepted};
my %told;

$told{ said('kept', 'json') }++ for 1 .. 20;
is(json(\%told), json({ 'data {"a":1}' => 20 }), 'calls one after the other');
cmp_ok($app->connections()->{accepted} - $accepted, '<=', 1,
    'share a connection that is kept');

for (1 .. 5) {
    said('kept', 'json');
    $app->drop();
    $told{ said('kept', 'json') }++;
}
like(json(\%told), qr/^\{"data \{\\"a\\":1\}":2\d(?:,"error 502 Bad Gateway":\d)?\}$/,
    'a connection that ended while it waited is no harm for long');
is(said('kept', 'json'), 'data {"a":1}', 'none at all in the end');


# another one

is(said('second', 'json'), 'data {"a":1}',
    'where the first application is dead, the second is asked');
$other->start_again();
is(said('second', 'json'), 'data "other"', 'the first, when it lives');
$other->answer('/json', { status => 503 });
is(said('second', 'json'), 'error 503 Service Unavailable',
    'an error of the first is an answer');
is(said('again', 'json'), 'data {"a":1}',
    'unless nginx is told to ask the second then');
is($app->last('/json')->{body}, $other->last('/json')->{body},
    'which gets the same call');
$other->answer('/json', { close => 1 });
is(said('second', 'json'), 'error 502 Bad Gateway',
    'nobody is asked twice who may have done it');
$other->stop();


# --- what nginx makes of it -------------------------------------------------

$app->answer('/unavailable', { status => 503, json => 'no' });
is(said('fallback', 'unavailable'), 'data {"instead":"unavailable"}',
    'a page for an error is an answer');
$app->answer('/cut', { close => 1 });
is(said('fallback', 'cut'), 'data {"instead":"cut"}',
    'also of an error that nginx has found');
$app->answer('/forbidden', { status => 403, json => 'no' });
is(said('fallback', 'forbidden'), 'data {"instead":"forbidden"}',
    'with a status of its own');
is(said('fallback', 'unknown'), 'error Bad response',
    'if it is JSON');
is(said('fallback', 'json'), 'data {"a":1}', 'what is no error stays');

$app->answer('/elsewhere', { status => 200, json => 'not this', headers => [
    'X-Accel-Redirect: /instead' ] });
is(said('app', 'elsewhere'), 'data {"instead":"elsewhere"}',
    'the application may send the call elsewhere');
$app->answer('/elsewhere', { json => 'not this', headers => [
    'X-Accel-Redirect: /file.json' ] });
is(said('app', 'elsewhere'), 'data [1,2]', 'also to a file');

is(said('nowhere', 'x'), 'error 404 Not Found', 'where nothing is, is 404');
is(said('loop', 'x'), 'error 500 Internal Server Error',
    'a location that leads to itself is 500');
is(said('text', 'x'), 'error Bad response', 'a text of nginx is no JSON');
is(said('status', 'empty'), 'data null', 'a location may answer 204');
is(said('status', 'teapot'), 'error 418', 'a status without a name');
is(said('status', 'denied'), 'error you may not', 'or 403 with a text');
is(said('status', 'other'), 'error 500 Internal Server Error', 'or 500');
is(said('status', 'moved'), 'error 302 Found', 'or a redirect');
is(said('drop', 'x'), 'error 502 Bad Gateway', 'or nothing at all');
is(said('file', 'x'), 'error 405 Method Not Allowed',
    'a file takes no POST');
is(said('get_file', 'x'), 'data [1,2]', 'a file can be the answer');
is(said('limited', 'json'), 'error 413 Content Too Large',
    'client_max_body_size limits calls, too');
is(said('large', 'x'), 'data "(100000 x)"', 'a file that is read in parts');
is(said('direct', 'x'), 'data "(100000 x)"', 'or past the cache');
is(said('named', 'json'), 'data {"a":1}', 'a named location can stand in');
is(said('socket', 'x'), 'error 500 Internal Server Error',
    'a WebSocket is nothing to be asked');

my @some = map { $c->call('paced', 'json', {}) } 1 .. 6;

is(told(scalar @some), 'data {"a":1} 2, error 503 Service Unavailable 4',
    'limit_req lets one wait and refuses others');

$c->call('few', 'held', {}) for 1 .. 4;
is(told(2), 'error 503 Service Unavailable 2', 'limit_conn refuses some');
$app->wait_for(2, '/held', 'held');
$app->release('/held');
is(told(2), 'data "late" 2', 'and lets others be asked');
is(said('few', 'json'), 'data {"a":1}', 'whose places are free again');

$app->answer('/number', { turns => [ { json => 'one' }, { json => 'two' } ] });
is(said('cached', 'number'), 'data "one"', 'an answer is put into a cache');
is(said('cached', 'number'), 'data "one"', 'and got from there');
is(wait_until(sub { said('cached', 'number') eq 'data "two"' }), 1,
    'until it is renewed in the background');
is($app->count('/number'), 2, 'once');

is(said('unresolved', 'x'), 'error 502 Bad Gateway',
    'an upstream that has no name is an error');

my $gzip = pack 'H*', '1f8b08000000000000038b36d4310200b0bd2f4a05000000';
is(said('filtered', 'json'), 'data {"a":1}',
    'filters and access rules have no part in it');
$app->answer('/gzip', { type => 'application/json', body => $gzip,
    headers => [ 'Content-Encoding: gzip' ] });
is(said($_, 'gzip'), 'error Bad response',
    "a compressed answer, for which nobody asked, is none ($_)")
    for qw/ app filtered /;
is($app->last('/gzip')->{headers}{'accept-encoding'}, undef,
    'nobody asked for it');


# --- clients that leave -----------------------------------------------------

$app->forget();

my $figures = counters();

for my $how (qw/ finish reset half_close /) {
    for my $path (qw/ fat lean /) {
        my $leaver = Snorky->connect("/$path");
        my $left = $app->count('/held', 'left');

        $leaver->call('app', 'held', {}) for 1 .. 3;
        $app->wait_for(3, '/held', 'held') or die "calls are missing\n";
        $leaver->$how();

        ok($app->wait_for($left + 3, '/held', 'left'),
            "calls of a client of /$path that goes ($how) are cancelled");
    }
}

is(counters()->{calls_cancelled} - $figures->{calls_cancelled}, 18,
    'which is counted');
is(counters()->{calls}, 0, 'none waits any longer');
$app->release('/held');
is(wait_until(sub { counters()->{sessions} == 1 }), 1, 'no client is left');
is(said('app', 'json'), 'data {"a":1}', 'and the others go on');

# a client that the server closes

$c = Snorky->connect('/ws');
$c->call('app', 'held', {});
$app->wait_for(1, '/held', 'held');
$c->send(frame(TEXT, 'no mask', mask => undef));
$c->close_in();
ok($app->wait_for($app->count('/held'), '/held', 'left'),
    'so are those of a client that is closed');
$c = Snorky->connect('/ws');


# at any time of a call, whatever the answer is

my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;

srand $seed;

my %kinds = (
    json  => { json => { a => 1 } },
    late  => { json => 1, delay => 0.002 },
    never => { never => 1 },
    slow  => { json => 'x' x 20, slow => 10 },
    cut   => { json => 'x' x 20, cut => 5 },
    close => { close => 1 },
    reset => { reset => 1 },
    large => { size => 5000, chunks => 1, type => 'application/json' },
    error => { status => 403, type => 'text/plain', body => 'no' },
);

$app->answer("/$_", $kinds{$_}) for keys %kinds;

my @commands = sort keys %kinds;
my @services = qw/ app kept small impatient unbuffered second fallback /;

for (1 .. 200) {
    my $leaver = Snorky->connect(rand() < 0.5 ? '/fat' : '/lean');

    for (0 .. rand 4) {
        $leaver->call($services[rand @services], $commands[rand @commands],
            {});
    }

    $leaver->message_in(rand 0.006) if rand() < 0.8;

    my $how = (qw/ finish reset half_close /)[rand 3];
    $leaver->$how();
}

is(wait_until(sub { counters()->{sessions} == 1 && !counters()->{calls} }), 1,
    "clients that go at any time leave nothing behind (seed $seed)");
is(wait_until(sub { $app->connections()->{open} <= 4 }), 1,
    'no connection to the application either');
is(said('app', 'json'), 'data {"a":1}', 'and the others go on');


# --- over TLS, and many -----------------------------------------------------

my $tls = Snorky->connect('/ws', ssl => 1);

is($tls->rpc('app', 'add', { a => 1, b => 2 })->{data}, 3,
    'a client over TLS is answered');
$tls->call('app', 'held', {});
$app->wait_for(1, '/held', 'held');
$tls->finish();
ok($app->wait_for($app->count('/held'), '/held', 'left'),
    'and its call is cancelled when it goes');

my @clients = map { Snorky->connect($_) } ('/fat', '/lean') x 4;
my %open;

for my $i (0 .. $#clients) {
    $open{"$i $_"} = 1 for map { $clients[$i]->call('app', 'held', {
        n => $_ }) } 1 .. 8;
}

ok($app->wait_for(64, '/held', 'held'), 'many calls wait at a time');
$app->release('/held');

ok(gather(10, sub {
    my ($client, $text) = @_;
    my ($i) = grep { $clients[$_] == $client } 0 .. $#clients;
    my $m = decode($text)->{message};

    delete $open{"$i $m->{callId}"} if ($m->{data} // '') eq 'late';

    return !%open;
}, @clients), 'and each is answered');
$_->finish() for @clients;


# --- no connection left -----------------------------------------------------

# one by one they become free again

@clients = ();

while (my $client = eval { Snorky->connect('/lean') }) {
    push @clients, $client;
}

cmp_ok(scalar @clients, '>', 200, 'all of worker_connections are taken');

my @lacking;

for (1 .. 8) {
    push @lacking, said('app', 'json');
    (shift @clients)->reset();
    wait_until(sub { $lacking[-1] ne said('app', 'json') }, 0.1);
}

is(scalar(grep { !/^(?:data \{"a":1\}|error 500 Internal Server Error)$/ }
    @lacking), 0, 'a call for which there is no connection is an error');
isnt($lacking[0], 'data {"a":1}', 'as the first one');
is($lacking[-1], 'data {"a":1}', 'and those for which there is are not');

$_->reset() for @clients;
is(wait_until(sub { said('app', 'json') eq 'data {"a":1}' }), 1,
    'when they are free, all is as before');


# ----------------------------------------------------------------------------

is(wait_until(sub { counters()->{sessions} == 1 }), 1, 'one client is left');
is(counters()->{calls}, 0, 'and no call');
$c->finish();

is(other_alerts($t, qr/worker_connections are not enough/), '',
    'no other alerts');


# what a client is told: "data ..", or "error .."

sub said {
    my ($service, $command, $params) = @_;

    my $m = $c->rpc($service, $command, $params || {});

    return 'nothing, ' . $c->{why} if !$m;

    my $told = $m->{type} eq 'error' ? "error $m->{message}"
                                     : 'data ' . json($m->{data});

    return $told =~ s/(x{256,})/'(' . length($1) . ' x)'/er;
}


# so many replies, each with how often it came

sub told {
    my ($n) = @_;

    my %times;

    for (1 .. $n) {
        my $m = $c->reply() || { type => 'error', message => 'nothing' };

        $times{ $m->{type} eq 'error' ? "error $m->{message}"
                                      : 'data ' . json($m->{data}) }++;
    }

    return join ', ', map { "$_ $times{$_}" } sort keys %times;
}
