#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# upstream: calls that the application answers.  What it is asked, what comes
# of its answers, and which client hears them; with one worker and with
# several, with lean connections and with others.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;


my $t = Test::Nginx->new()
    ->has(qw/ http map proxy realip rewrite unix upstream_keepalive /)
    ->plan(3 * 253 + 25);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes %%WORKERS%%;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  plain  "$request|$uri|$status|$remote_addr|$snorky_client";
    access_log  %%TESTDIR%%/plain.log  plain;

    snorky_zone 4m;
    snorky_drain 10ms;

    snorky_service upstream app pass=/app;
    snorky_service upstream say pass=/say/;
    snorky_service upstream args pass=/args?a=1&b=%20?;
    snorky_service upstream listed pass=/app commands=echo,a.b,é;
    snorky_service upstream small pass=/say/ response=100;
    snorky_service upstream quick pass=/say/ timeout=50ms;
    snorky_service upstream static pass=/static;
    snorky_service upstream variables pass=/variables;
    snorky_service upstream addresses pass=/addresses;
    snorky_service upstream logged pass=/logged/;
    snorky_service upstream nowhere pass=/nowhere;
    snorky_service upstream empty pass=/empty;
    snorky_service upstream "quo\"te é" pass=/app;
    snorky_service echo echo;
    snorky_service pubsub pubsub;

    snorky_registry second {
        snorky_service upstream app pass=/elsewhere;
        snorky_service echo echo;
    }

    map $arg_user $user {
        default  $arg_user;
        quote    'q"\\';
        line     "a\nX-Snorky-Client: b\r\nc";
        euro     '€';
        space    ' a ';
    }

    add_header X-Worker $snorky_worker always;
    snorky_identity $user;

    upstream app {
        server 127.0.0.1:%%PORT_8090%%;
        keepalive 4;
    }

    proxy_http_version 1.1;
    proxy_set_header Connection "";

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 reuseport;
        listen       127.0.0.1:8082 proxy_protocol;
        listen       %%PORT_8083%%;
        listen       unix:%%TESTDIR%%/upstream.sock;
        server_name  localhost;
        snorky_lean  %%LEAN%%;

        location /ws {
            snorky_websocket;
        }

        location /second {
            snorky_websocket registry=second;
        }

        location /real {
            snorky_websocket;
            set_real_ip_from  127.0.0.1;
            real_ip_header    X-Real-IP;
        }

        location /proxy {
            snorky_websocket;
            set_real_ip_from  127.0.0.1;
            real_ip_header    proxy_protocol;
        }

        location = /app {
            internal;
            proxy_pass http://app;
        }

        location /say/ {
            internal;
            proxy_pass http://app/say/$snorky_command;
        }

        location /args {
            internal;
            proxy_pass http://app/args;
        }

        location /static {
            internal;
            default_type application/json;
            return 200 '{"static":[1.0]}';
        }

        location /empty {
            internal;
            return 204;
        }

        location /variables {
            internal;
            default_type application/json;
            return 200 '["$snorky_service","$snorky_command","$snorky_client","$snorky_identity","$snorky_channel","$snorky_transport","$snorky_messages_in","$snorky_close_code","$http_cookie","$arg_user","$request_method","$content_type","$server_name","$uri"]';
        }

        location /addresses {
            internal;
            default_type application/json;
            return 200 '["$remote_addr","$server_addr","$server_port"]';
        }

        location /logged/ {
            internal;
            log_subrequest on;
            proxy_pass http://app/say/$snorky_command;
        }

        # not internal, and so anybody's

        location /open {
            default_type application/json;
            return 200 '["$snorky_service","$snorky_command","$snorky_client"]';
        }

        location /backend {
            snorky_backend;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }

    server {
        listen       127.0.0.1:8084;
        server_name  other;

        location /ws {
            snorky_websocket;
        }

        location /static {
            internal;
            default_type application/json;
            return 200 '"the other"';
        }
    }
}

EOC

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/app' => { rpc => 1 },
    '/'    => { rpc => 1 },
});

my $cookie = 'Cookie: session=secret';
my $smile = "\xf0\x9f\x98\x80";
my ($where, $turn, @slots);


for my $layout ([ 1, 'off' ], [ 1, 'on' ], [ 4, 'on' ]) {
    start(@$layout);

    question();
    headers();
    names();
    ids();
    answers();
    errors();
    order();
    listed();
    locations();
    variables();
    addresses();
    backend();
    endings();

    is(wait_until { counters()->{sessions} == 0 }, 1, "$where: all have gone");
    is(counters()->{calls}, 0, "$where: no call is left");

    $t->stop();
}

logs();
configuration();


# --- what the application is asked ------------------------------------------

sub question {
    my $c = client('anna');

    for my $params ('{}', '{ }', '{"a":1.0}', '{"a" : 1,"a":2, "\u0061":3}',
        '{"n":[1e400,-0,123456789012345678901234567890,0.10]}',
        "{\"s\":\"\\ud83d\\ude00$smile\\/\\u0000\"}",
        '{"deep":' . '[' x 60 . ']' x 60 . '}')
    {
        my $reply = $c->ask('say', '"ok"', $params, '1');

        is($reply, '{"type":"response","callId":1,"data":null}',
            "$where: $params is answered");
        is($app->last('/say/ok')->{body},
            "{\"command\":\"ok\",\"params\":$params,\"callId\":1}",
            "$where: and arrives as it was sent");
    }

    my $long = '{"a":"' . 'x' x 60000 . '"}';

    $c->ask('say', '"ok"', $long, '1');
    is($app->last('/say/ok')->{body},
        "{\"command\":\"ok\",\"params\":$long,\"callId\":1}",
        "$where: so do many bytes");

    is($c->ask('say', '"ok"', $_, '1'),
        '{"type":"error","callId":1,"message":"Invalid params"}',
        "$where: $_ are no params") for '[]', '"a"', 'null', '1';

    $c->finish();

    return;
}


sub headers {
    my $c = client('anna', headers => [ $cookie, 'X-Snorky-Client: me',
        'X-Snorky-Identity: root', 'X-Snorky-Command: no',
        'X-Forwarded-For: 192.0.2.1', 'Authorization: Basic YTpi',
        'Content-Length: 0' ]);

    $c->ask('app', '"whoami"', '{}', '1');

    my $asked = $app->last();
    my $headers = $asked->{headers};
    my $id = delete $headers->{'x-snorky-client'};

    is($asked->{method}, 'POST', "$where: it is asked with POST");
    is($asked->{uri}, '/app', "$where: at this URI");
    is_deeply($headers, {
        'host'                 => 'app',
        'content-type'         => 'application/json',
        'content-length'       => length $asked->{body},
        'x-snorky-service'     => 'app',
        'x-snorky-command'     => 'whoami',
        'x-snorky-identity'    => 'anna',
        'x-snorky-remote-addr' => '127.0.0.1',
    }, "$where: with these headers, and none of the client's");
    like($id, qr/^[0-9a-f]{1,8}-[0-9a-f]{1,16}$/, "$where: and a name");

    $c->ask('app', '"whoami"', '{}', '1');
    is($app->last()->{headers}{'x-snorky-client'}, $id,
        "$where: which stays the same");

    my %seen = ($id => 1);

    for my $n (1 .. 3) {
        my $d = client('anna');

        $d->ask('app', '"whoami"', '{}', '1');
        $seen{$app->last()->{headers}{'x-snorky-client'}}++;
        $d->finish();
    }

    is(keys %seen, 4, "$where: and is that of one connection");

    $c->ask('quo\"te ' . "\xc3\xa9", '"whoami"', '{}', '1');
    is($app->last()->{headers}{'x-snorky-service'}, "quo\\\"te \xc3\xa9",
        "$where: a service's name may have any characters");
    $c->finish();

    # who the client is

    for my $row (
        [ quote => 'q\"\\\\' ],
        [ line  => 'a\nX-Snorky-Client: b\r\nc' ],
        [ euro  => "\xe2\x82\xac" ],
        [ '%41' => '%41' ],
    ) {
        my ($user, $text) = @$row;
        my $d = client($user);

        $d->ask('app', '"whoami"', '{}', '1');

        my $h = $app->last()->{headers};

        is($h->{'x-snorky-identity'}, $text,
            "$where: an identity is one line: $user");
        like($h->{'x-snorky-client'}, qr/^[0-9a-f-]+$/,
            "$where: and makes no other header");
        $d->finish();
    }

    my $d = client();

    $d->ask('app', '"whoami"', '{}', '1');
    is($app->last()->{headers}{'x-snorky-identity'}, undef,
        "$where: who has none has no such header");
    $d->finish();

    return;
}


# commands

sub names {
    my $c = client('anna');

    for my $row (
        [ '"a b"', 'a b' ],
        [ '"\u0061\/"', 'a/', '"a/"' ],
        [ '"q\"\\\\"', 'q\"\\\\' ],
        [ '"a\r\nX-Snorky-Identity: root"',
          'a\r\nX-Snorky-Identity: root' ],
        [ '"\u0000\u0001\u001f"', '\u0000\u0001\u001F',
          '"\u0000\u0001\u001F"' ],
        [ '"\ud83d\ude00"', $smile, "\"$smile\"" ],
        [ '"' . 'x' x 256 . '"', 'x' x 256 ],
        [ '"' . '\u0001' x 42 . '"', '\u0001' x 42 ],
    ) {
        my ($command, $header, $body) = @$row;

        $body //= $command;

        is($c->ask('app', $command, '{}', '1'),
            '{"type":"error","callId":1,"message":"no command '
                . ($header =~ /^(x{244})/ ? $1 : $header)
                . '"}', "$where: $command is a command");

        my $asked = $app->last();

        is($asked->{headers}{'x-snorky-command'}, $header,
            "$where: which is one line");
        is($asked->{headers}{'x-snorky-identity'}, 'anna',
            "$where: and makes no other header");
        is($asked->{body}, "{\"command\":$body,\"params\":{},\"callId\":1}",
            "$where: nor another body");
    }

    $app->forget();

    is($c->ask('app', '""', '{}', '1'),
        '{"type":"error","callId":1,"message":"no command "}',
        "$where: an empty one is one, too");
    is($app->last()->{headers}{'x-snorky-command'}, undef,
        "$where: and makes no header");

    $app->forget();

    is($c->ask('app', $_, '{}', '1'),
        '{"type":"error","callId":1,"message":"Unknown command"}',
        "$where: " . substr($_, 0, 8) . ' is none')
        for '"' . 'x' x 257 . '"', 'null', '1', '["a"]', '{}';
    is($app->count(), 0, "$where: and nobody is asked");

    $c->finish();

    return;
}


sub ids {
    my $c = client();

    for my $id ('1', '1.0', '1e400', '-0', '"a"', '"\u0041"', 'true',
        '[1, 2]', '{"a" : {}}', '""')
    {
        is($c->ask('say', '"ok"', '{}', $id),
            "{\"type\":\"response\",\"callId\":$id,\"data\":null}",
            "$where: the callId $id comes back");
        is($app->last('/say/ok')->{body},
            "{\"command\":\"ok\",\"params\":{},\"callId\":$id}",
            "$where: and is told to the application");
    }

    for my $id (undef, 'null') {
        is($c->ask('say', '"ok"', '{}', $id),
            '{"type":"response","data":null}',
            "$where: a call without an id is answered without");
        is($app->last('/say/ok')->{body}, '{"command":"ok","params":{}}',
            "$where: and told so");
    }

    is($c->ask('say', '"forbidden"', '{}'),
        '{"type":"error","callId":null,"message":"403 Forbidden"}',
        "$where: an error with null");

    $c->finish();

    return;
}


# --- what it answers --------------------------------------------------------

sub answers {
    my $c = client();

    for my $data ('1', '1.0', '1e400', '-0.0', 'null', '"\u0041\/"', '[1 ,2]',
        '{"a":1,"a":2}', '123456789012345678901234567890', "\"$smile\"",
        '[' x 64 . ']' x 64)
    {
        said($c, { type => 'application/json', body => $data },
            "\"data\":$data", "$data comes byte for byte");
    }

    said($c, { type => 'application/json', body => " \r\n{ } \n" },
        '"data":{ }', 'without the white space around it');

    said($c, { type => $_, body => '[1]' }, '"data":[1]', "$_ is JSON")
        for 'application/json; charset=utf-8', 'Application/JSON ; a=b',
            'application/problem+json', 'application/vnd.x+JSON;v=1';

    said($c, { status => $_, json => 1 }, '"data":1', "$_ is success")
        for 200, 201, 202, 203, 299;

    said($c, { status => 204 }, '"data":null', '204 is null');
    said($c, { status => $_, body => '' }, '"data":null',
        "$_ without a body is null") for 200, 201;
    said($c, { status => 200, body => '', type => 'text/html' },
        '"data":null', 'of whatever type');
    said($c, { chunks => [ '[1', ',', '2]' ], type => 'application/json' },
        '"data":[1,2]', 'an answer may come in pieces');
    said($c, { length => undef, json => [ 3 ] }, '"data":[3]',
        'or end with its connection');

    my $long = 'x' x 65000;

    said($c, { json => $long }, "\"data\":\"$long\"", 'or be long');

    # not what it should be

    said($c, { type => 'application/json', body => $_ },
        '"message":"Bad response"', "$_ is no JSON")
        for '{', '01', "'a'", '1 2', "\"\xff\"", "\xef\xbb\xbf1", ' ',
            '[' x 65 . ']' x 65, '"\ud800" x', "\"\n\"";

    said($c, { type => $_, body => '1' }, '"message":"Bad response"',
        ($_ // 'nothing') . ' is not the type of JSON')
        for 'text/plain', 'text/html', 'application/jsonp', '+json', undef;

    said($c, { json => 'x' x 98 }, '"data":"' . 'x' x 98 . '"',
        'an answer may be as large as it may be', 'small');
    said($c, { json => 'x' x 99 }, '"message":"Response too large"',
        'and no larger', 'small');
    said($c, { chunks => [ '"', 'x' x 99, '"' ],
               type => 'application/json' },
        '"message":"Response too large"', 'also in pieces', 'small');
    said($c, { status => 403, type => 'text/plain', body => 'x' x 101 },
        '"message":"Response too large"', 'also that of a failure', 'small');

    $c->finish();

    return;
}


sub errors {
    my $c = client();
    my $umlaut = "\xc3\xbc";

    said($c, { status => $_->[0], body => '' }, "\"message\":\"$_->[1]\"",
        "$_->[0] without words has these")
        for [ 400, '400 Bad Request' ], [ 401, '401 Unauthorized' ],
            [ 403, '403 Forbidden' ], [ 404, '404 Not Found' ],
            [ 409, '409 Conflict' ], [ 418, '418' ],
            [ 422, '422 Unprocessable Content' ],
            [ 429, '429 Too Many Requests' ], [ 302, '302 Found' ],
            [ 500, '500 Internal Server Error' ], [ 502, '502 Bad Gateway' ],
            [ 503, '503 Service Unavailable' ], [ 599, '599' ];

    my %text = (
        'a JSON string' => [ json => 'No!', 'No!' ],
        'a message' => [ json => { message => 'No!', code => 7 }, 'No!' ],
        'quotes' => [ body => '"a\"\\\\\/\u0041\n"', 'a\"\\\\/A\n' ],
        'a character outside of the plane' => [ body => '"\ud83d\ude00"',
                                                $smile ],
        'half a character' => [ body => '"\ud83d"', "\xef\xbf\xbd" ],
        '255 bytes' => [ json => 'x' x 255, 'x' x 255 ],
        '256 bytes' => [ json => 'x' x 256, 'x' x 255 ],
        'a whole character at the end' => [ body => '"' . 'x' x 253
                . "$umlaut\"", 'x' x 253 . $umlaut ],
        'half a character at the end' => [ body => '"' . 'x' x 254
                . "$umlaut\"", 'x' x 254 ],
        'a number' => [ json => 7, '403 Forbidden' ],
        'an array' => [ json => [ 'No!' ], '403 Forbidden' ],
        'an object without a message' => [ json => { error => 'No!' },
                                           '403 Forbidden' ],
        'a message that is no text' => [ json => { message => {} },
                                         '403 Forbidden' ],
        'an empty text' => [ json => '', '403 Forbidden' ],
        'no JSON' => [ body => '{"message":"No!"', '403 Forbidden' ],
    );

    for my $what (sort keys %text) {
        my ($key, $value, $message) = @{ $text{$what} };

        said($c, { status => 403, $key => $value,
                   type => 'application/json' },
            "\"message\":\"$message\"", "the words are $what");
    }

    my %plain = (
        'a line' => [ 'No!', 'No!' ],
        'of two the first' => [ "No, \"you\"!\r\nGo away.\n",
                                'No, \"you\"!' ],
        'nothing' => [ "\n", '403 Forbidden' ],
        'not UTF-8' => [ "a\xff", '403 Forbidden' ],
        'control characters' => [ "a\tb\x00c", 'a\tb\u0000c' ],
        'too much' => [ $umlaut x 200, $umlaut x 127 ],
        'garbage without an end' => [ "\x80" x 300, '403 Forbidden' ],
    );

    for my $what (sort keys %plain) {
        my ($body, $message) = @{ $plain{$what} };

        said($c, { status => 403, body => $body,
                   type => 'text/plain; charset=utf-8' },
            "\"message\":\"$message\"", "the text is $what");
    }

    said($c, { status => 403, body => '<p>No!</p>', type => 'text/html' },
        '"message":"403 Forbidden"', 'a page has no words for it');

    $c->finish();

    return;
}


# --- several at a time ------------------------------------------------------

sub order {
    my ($c, $d) = (client('anna'), client('otto'));

    $app->answer('/say/held', { hold => 1, json => 'late' });
    $app->answer("/say/h$_", { hold => 1, json => $_ }) for 1 .. 4;
    $app->forget();

    $c->call('say', "h$_", {}) for 1 .. 3;
    $d->call('say', 'h4', {});

    is($app->wait_for(4, undef, 'held'), 1, "$where: four calls wait");
    is(counters()->{calls}, 4, "$where: the status tells of them");

    $c->text(envelope('echo', 7));
    is($c->text_in(), envelope('echo', 7), "$where: others are not waited for");

    for my $n (2, 3, 1) {
        $app->release("/say/h$n");
        is($c->text_in(), envelope('say', \("{\"type\":\"response\","
            . "\"callId\":$n,\"data\":$n}")),
            "$where: $n is answered when its answer comes");
    }

    $app->release('/say/h4');
    is($d->reply(1)->{data}, 4, "$where: each client gets its own");

    # many

    my @ids = map { $c->call('app', 'add', { a => $_, b => $_ }) } 1 .. 15;
    my %sum = map { my $r = json_of($c->text_in());
                    $r->{callId} => $r->{data} } @ids;

    is_deeply(\%sum, { map { $ids[$_ - 1] => 2 * $_ } 1 .. 15 },
        "$where: many at once get each its own answer");

    # a client that goes

    my $before = counters()->{calls_cancelled};

    $app->forget();
    $c->call('say', 'held', {});
    is($app->wait_for(1, '/say/held', 'held'), 1, "$where: a call waits");
    $c->reset();
    is($app->wait_for(1, '/say/held', 'left'), 1,
        "$where: when its client goes it is broken off");
    is(wait_until { counters()->{calls_cancelled} == $before + 1 }, 1,
        "$where: which is counted");
    $app->release('/say/held');

    # the time passes

    $before = counters()->{calls_timed_out};
    $app->forget();

    is_deeply($d->rpc('quick', 'held', {}), { type => 'error', callId => 2,
        message => 'Timed out' }, "$where: an answer may take too long");
    is($app->wait_for(1, '/say/held', 'left'), 1,
        "$where: then it is waited for no longer");
    is(counters()->{calls_timed_out}, $before + 1, "$where: and counted");
    $app->release('/say/held');

    is($d->rpc('app', 'add', { a => 1, b => 1 })->{data}, 2,
        "$where: the next call is answered");
    $d->finish();

    return;
}


sub listed {
    my $c = client();

    $app->forget();

    for my $command ('"echo"', '"\u0065cho"') {
        is($c->ask('listed', $command, '{"a":1}', '1'),
            '{"type":"response","callId":1,"data":{"a":1}}',
            "$where: $command is in the list");
    }

    for my $command ('"a.b"', '"\u00e9"', "\"\xc3\xa9\"") {
        like($c->ask('listed', $command, '{}', '1'), qr/"no command /,
            "$where: so is $command");
    }

    is($app->count(), 5, "$where: that was asked five times");

    is($c->ask('listed', $_, '{}', '1'),
        '{"type":"error","callId":1,"message":"Unknown command"}',
        "$where: $_ is not")
        for '"add"', '"Echo"', '"ech"', '"echo,a.b"', '""', '"e\u0301"';
    is($app->count(), 5, "$where: and is not asked for");

    $c->finish();

    return;
}


# --- where it is asked ------------------------------------------------------

sub locations {
    my $c = client();

    is($c->ask('static', '"x"', '{}', '1'),
        '{"type":"response","callId":1,"data":{"static":[1.0]}}',
        "$where: a location may answer itself");
    is($c->ask('empty', '"x"', '{}', '1'),
        '{"type":"response","callId":1,"data":null}',
        "$where: or say nothing");
    is($c->ask('nowhere', '"x"', '{}', '1'),
        '{"type":"error","callId":1,"message":"404 Not Found"}',
        "$where: where there is none the call is not found");

    $c->ask('args', '"x"', '{}', '1');
    is($app->last()->{uri}, '/args?a=1&b=%20?',
        "$where: the URI may have arguments");

    my $other = Snorky->connect('/ws', port => port(8084));

    bless $other, 'Client';
    is($other->ask('static', '"x"', '{}', '1'),
        '{"type":"response","callId":1,"data":"the other"}',
        "$where: it is the location of the client's server");
    is($other->ask('app', '"x"', '{}', '1'),
        '{"type":"error","callId":1,"message":"404 Not Found"}',
        "$where: and of no other one");

    my $second = client(undef, path => '/second');

    is($second->ask('app', '"x"', '{}', '1'),
        '{"type":"error","callId":1,"message":"404 Not Found"}',
        "$where: registries have services of the same name");

    is(get($_)->{status}, 404, "$where: nobody reaches $_ from outside")
        for '/app', '/static', '/say/ok', '/variables';

    is(get('/open', headers => [ 'X-Snorky-Service: a', 'X-Snorky-Client: b' ])
        ->{body}, '["","",""]',
        "$where: no variable is taken from the headers");

    $_->finish() for $c, $other, $second;

    return;
}


sub variables {
    my $c = client('line', headers => [ $cookie ]);

    my $got = json_of($c->ask('variables', '"a\"b\u0001"', '{}', '1'))->{data};
    my $id = splice @$got, 2, 1;

    is_deeply($got, [ 'variables', "a\"b\x01",
        "a\nX-Snorky-Client: b\r\nc", '', '', '', '', '', '', 'POST',
        'application/json', 'localhost', '/variables' ],
        "$where: variables tell of call and client, and of no request");

    $c->ask('app', '"whoami"', '{}', '1');
    is($app->last()->{headers}{'x-snorky-client'}, $id,
        "$where: as the headers do");

    $c->finish();

    return;
}


sub addresses {
    my $c = client();

    is_deeply(json_of($c->ask('addresses', '"x"', '{}', '1'))->{data},
        [ '127.0.0.1', '127.0.0.1', $c->{sock}->peerport() ],
        "$where: the addresses of client and server are there");
    $c->finish();

    $c = bless Snorky->connect('/ws', port => port(8083),
        from => '127.0.0.5'), 'Client';

    is_deeply(json_of($c->ask('addresses', '"x"', '{}', '1'))->{data},
        [ '127.0.0.5', '127.0.0.1', port(8083) ],
        "$where: also where it listens to any address");
    $c->finish();

    $c = bless Snorky->connect('/real',
        headers => [ 'X-Real-IP: 192.0.2.7' ]), 'Client';

    for my $n (1, 2) {
        is(json_of($c->ask('addresses', '"x"', '{}', '1'))->{data}[0],
            '192.0.2.7', "$where: behind a proxy it is what realip found");
    }

    $c->ask('app', '"whoami"', '{}', '1');
    is($app->last()->{headers}{'x-snorky-remote-addr'}, '192.0.2.7',
        "$where: and is told in the header");
    $c->finish();

    for my $address ('192.0.2.8', '2001:db8::1') {
        my $family = $address =~ /:/ ? 'TCP6' : 'TCP4';
        my $to = $address =~ /:/ ? '::1' : '127.0.0.1';

        $c = bless Snorky->connect('/proxy', port => port(8082),
            prefix => "PROXY $family $address $to 1234 80\r\n"), 'Client';

        $c->ask('app', '"whoami"', '{}', '1');
        is($app->last()->{headers}{'x-snorky-remote-addr'}, $address,
            "$where: and of the PROXY protocol: $address");
        $c->finish();
    }

    $c = bless Snorky->connect('/ws', port => port(8082),
        prefix => "PROXY TCP4 192.0.2.9 127.0.0.1 1234 80\r\n"), 'Client';

    $c->ask('app', '"whoami"', '{}', '1');
    is($app->last()->{headers}{'x-snorky-remote-addr'}, '127.0.0.1',
        "$where: but only where it is trusted");
    $c->finish();

    return;
}


# --- the backend ------------------------------------------------------------

sub backend {
    my $post = sub {
        return backend_post('/backend', shift, key => 'swordfish');
    };
    my $call = sub {
        my ($service, $command, $params, $id) = @_;

        return envelope($service, \("{\"command\":\"$command\",\"params\":"
            . "$params,\"callId\":$id}"));
    };
    my $reply = sub {
        my ($service, $id, $data) = @_;

        return envelope($service, \("{\"type\":\"response\",\"callId\":$id,"
            . "\"data\":$data}"));
    };

    my $r = $post->($call->('app', 'add', '{"a":1,"b":2}', 1));

    is($r->{status}, 200, "$where: a backend may call, too");
    is($r->{body}, $reply->('app', 1, 3), "$where: and is answered");

    $r = $post->($call->('app', 'whoami', '{}', 1));
    is($r->{json}{message}{data}{'x-snorky-identity'}, undef,
        "$where: it has no identity");

    $r = $post->($call->('say', 'forbidden', '{}', 1));
    is($r->{body}, envelope('say',
        \'{"type":"error","callId":1,"message":"403 Forbidden"}'),
        "$where: an error is told in the envelope");
    is($r->{status}, 200, "$where: with the status 200");

    $r = $post->('[' . join(',', $call->('app', 'add', '{"a":1,"b":0}', 1),
        envelope('echo', 2), $call->('static', 'x', '{}', 3),
        $call->('pubsub', 'publish', '{"channel":1,"message":2}', 4),
        $call->('app', 'add', '{"a":5,"b":0}', 5),
        $call->('listed', 'add', '{"a":5,"b":0}', 6),
        $call->('app', 'add', '{"a":7,"b":0}', 7)) . ']');

    is($r->{body}, '[' . join(',', $reply->('app', 1, 1), envelope('echo', 2),
        $reply->('static', 3, '{"static":[1.0]}'), $reply->('pubsub', 4, 'null'),
        $reply->('app', 5, 5), envelope('listed',
            \'{"type":"error","callId":6,"message":"Unknown command"}'),
        $reply->('app', 7, 7)) . ']',
        "$where: a batch is answered in its order");

    my @many = map { $call->('app', 'add', "{\"a\":$_,\"b\":0}", $_) } 1 .. 50;

    $app->forget();
    is($post->('[' . join(',', @many) . ']')->{body},
        '[' . join(',', map { $reply->('app', $_, $_) } 1 .. 50) . ']',
        "$where: also a long one");
    is_deeply([ map { $_->{json}{callId} } $app->requests() ], [ 1 .. 50 ],
        "$where: one is asked after the other");

    # one that goes

    my $h = Snorky->dial();
    my $text = $call->('say', 'held', '{}', 1);

    $app->forget();
    $h->send("POST /backend HTTP/1.1\r\nHost: a\r\nX-Backend-Key: swordfish"
        . "\r\nContent-Length: " . length($text) . "\r\n\r\n$text");
    is($app->wait_for(1, '/say/held', 'held'), 1, "$where: its call waits");
    $h->reset();
    is($app->wait_for(1, '/say/held', 'left'), 1,
        "$where: until it goes");
    $app->release('/say/held');

    return;
}


# --- the end ----------------------------------------------------------------

sub endings {
    my $c = client();
    my $total = counters();

    $c->ask('app', '"add"', '{"a":1,"b":2}', '1');
    $c->ask('say', '"forbidden"', '{}', '1');
    $c->ask('say', '"broken"', '{}', '1');
    $c->ask('nowhere', '"x"', '{}', '1');
    $c->ask('listed', '"x"', '{}', '1');

    my $now = counters();

    is($now->{asks} - $total->{asks}, 4, "$where: questions are counted");
    is($now->{asks_failed} - $total->{asks_failed}, 1,
        "$where: and those that fail");
    is($now->{calls_deferred} - $total->{calls_deferred}, 4,
        "$where: calls that waited");
    is($now->{errors} - $total->{errors}, 4, "$where: and errors");
    is($now->{messages_out} - $total->{messages_out}, 5,
        "$where: each is one message");

    # closing with a call under way

    $app->forget();
    $c->call('say', 'held', {});
    is($app->wait_for(1, '/say/held', 'held'), 1, "$where: a call waits");
    is($c->finish(), 1000, "$where: its client may close");
    is($app->wait_for(1, '/say/held', 'left'), 1, "$where: which ends it");
    $app->release('/say/held');

    return;
}


# --- the log ----------------------------------------------------------------

sub logs {
    $t->write_file('plain.log', '');

    start(1, 'on');

    my $c = client('anna');

    $c->ask('say', '"ok"', '{}', '1');
    $c->ask('static', '"ok"', '{}', '1');
    $c->ask('logged', '"ok"', '{}', '1');
    $c->ask('app', '"whoami"', '{}', '1');

    my $id = $app->last()->{headers}{'x-snorky-client'};

    $c->finish();
    get('/static');
    $t->stop();

    my @lines = grep { !m{/status} } split /\n/, $t->read_file('plain.log');

    is_deeply(\@lines, [
        "GET /ws?user=anna HTTP/1.1|/ws|101|127.0.0.1|$id",
        "POST /logged/ HTTP/1.1|/logged/|200|127.0.0.1|$id",
        'GET /static HTTP/1.1|/static|404|127.0.0.1|-',
    ], 'a question has a line only where log_subrequest says so');

    return;
}


# --- the configuration ------------------------------------------------------

sub configuration {
    my %bad = (
        'x' => 'no "=" in option "x"',
        '' => 'no "pass=" in service "app" of registry "public"',
        'commands=a' => 'no "pass=" in service "app"',
        'pass=' => 'no "/" at the beginning in option "pass="',
        'pass=app' => 'no "/" at the beginning in option "pass=app"',
        'pass=http://a/' => 'no "/" at the beginning',
        'pass=/a commands=' => 'empty command in option "commands="',
        'pass=/a commands=a,' => 'empty command in option "commands=a,"',
        'pass=/a commands=,a' => 'empty command',
        'pass=/a commands=a,,b' => 'empty command',
        'pass=/a commands=a,b,a' => 'duplicate command in option',
        'pass=/a timeout=0' => 'invalid time in option "timeout=0"',
        'pass=/a timeout=x' => 'invalid time',
        'pass=/a response=0' => 'invalid size in option "response=0"',
        'pass=/a response=1x' => 'invalid size',
        'pass=/a size=1' => 'unknown name in option "size=1"',
    );

    for my $options (sort keys %bad) {
        like(check("snorky_service upstream app $options;"),
            qr/\Q$bad{$options}\E/, "refused: $options");
    }

    for my $options ('pass=/', 'pass=/a?b=c', '"pass=/a b"',
        'pass=/a commands=a', 'pass=/a commands=a,b,ab', '"commands=a b,c" pass=/a',
        'pass=/a timeout=1ms response=1', 'pass=/a timeout=1h response=10m')
    {
        like(check("snorky_service upstream app $options;"),
            qr/test is successful/, "accepted: $options");
    }

    return;
}


sub check {
    my ($http) = @_;

    my $dir = File::Temp::tempdir(CLEANUP => 1);
    my $globals = $ENV{TEST_NGINX_GLOBALS} || '';

    open my $f, '>', "$dir/nginx.conf" or die "nginx.conf: $!\n";
    print $f "$globals\nevents { }\nhttp { access_log off;\n$http\n"
        . "server { listen 127.0.0.1:${\ port(8080)}; } }\n";
    close $f;

    return scalar `$Test::Nginx::NGINX -t -p $dir/ -c nginx.conf \\
        -e stderr -g 'pid $dir/pid;' 2>&1`;
}


# --- clients ----------------------------------------------------------------

sub start {
    my ($workers, $lean) = @_;

    $where = ($workers > 1 ? "$workers workers" : 'one worker')
        . ($lean eq 'on' ? ', lean' : '');

    my $text = $conf;

    $text =~ s/%%WORKERS%%/$workers/;
    $text =~ s/%%LEAN%%/$lean/;

    $t->write_file_expand('nginx.conf', $text);
    $t->run();

    wait_until {
        @slots = map { $_->{slot} } @{ status_json()->{workers} };
        @slots == $workers;
    } or die "no workers\n";

    $turn = 0;

    $app->answer('/say/ok', { json => undef });
    $app->answer('/say/forbidden', { status => 403 });
    $app->answer('/say/broken', { status => 500 });
    $app->forget();

    return;
}


# each has another worker

sub client {
    my ($user, %o) = @_;

    my $path = ($o{path} || '/ws') . (defined $user ? "?user=$user" : '');
    my $c = connect_to_worker($slots[$turn++ % @slots], $path,
        port => port(8081), %o);

    return bless $c, 'Client';
}


# A call byte for byte; the message of its answer.

sub Client::ask {
    my ($c, $service, $command, $params, $id) = @_;

    $c->text("{\"service\":\"$service\",\"message\":{\"command\":$command,"
        . "\"params\":$params" . (defined $id ? ",\"callId\":$id" : '')
        . '}}');

    my $text = $c->text_in() // return;

    $text =~ s/^\{"service":"(?:[^"\\]|\\.)*","message":(.*)\}$/$1/s;

    return $text;
}


sub said {
    my ($c, $answer, $expected, $name, $service) = @_;

    $app->answer('/say/this', $answer);

    my $type = $expected =~ /^"data"/ ? 'response' : 'error';
    my $text = $c->ask($service || 'say', '"this"', '{}', '1');

    is($text, "{\"type\":\"$type\",\"callId\":1,$expected}",
        "$where: " . ($name =~ s/[^ -~]/?/gr =~ s/(.{60}).+/$1../r));

    return;
}


sub json_of {
    my $m = decode(shift);

    return ref $m eq 'HASH' && exists $m->{message} && exists $m->{service}
        ? $m->{message} : $m;
}


package Client;

use base qw/ Snorky /;
