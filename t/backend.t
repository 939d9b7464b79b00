#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The way in for one's own servers: a POST with a key.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()
    ->has(qw/ http access auth_basic gzip map rewrite /)->plan(178);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_drain 10ms;

    snorky_service pubsub messaging;
    snorky_service pubsub readonly publish=none;
    snorky_service echo echo;

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend frontend=messaging;
        snorky_service echo private_echo;
    }

    map $http_x_who $key {
        one      first;
        two      second;
        default  "";
    }

    snorky_backend_key outermost;

    log_format  backend  '$uri $status $snorky_transport $snorky_messages_in '
                         '$snorky_messages_out';

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        snorky_backend_key swordfish;

        location /ws {
            snorky_websocket;
        }

        location /backend {
            snorky_backend;
            access_log %%TESTDIR%%/backend.log backend;
        }

        location /private {
            snorky_backend registry=private;
        }

        location /several {
            snorky_backend;
            snorky_backend_key old;
            snorky_backend_key new;
            snorky_backend_key "with space";
        }

        location /variable {
            snorky_backend;
            snorky_backend_key $key;
        }

        location /both {
            snorky_backend;
            snorky_backend_key $key;
            snorky_backend_key always;
        }

        location /composed {
            snorky_backend;
            snorky_backend_key "pre-$key";
        }

        location /small {
            snorky_backend;
            client_max_body_size 1k;
        }

        location /message {
            snorky_backend;
            snorky_max_message_size 1k;
        }

        location /large {
            snorky_backend;
            snorky_max_message_size 8m;
            client_max_body_size 16m;
        }

        location /file {
            snorky_backend;
            client_body_in_file_only clean;
        }

        location /buffer {
            snorky_backend;
            client_body_buffer_size 1k;
        }

        location /single {
            snorky_backend;
            client_body_buffer_size 1k;
            client_body_in_single_buffer on;
        }

        location /limited {
            snorky_backend;
            limit_rate 400k;
        }

        location /gzip {
            snorky_backend;
            gzip on;
            gzip_types application/json;
            gzip_min_length 0;
        }

        location /denied {
            snorky_backend;
            deny all;
        }

        location /allowed {
            snorky_backend;
            allow 127.0.0.1;
            deny all;
        }

        location /basic {
            snorky_backend;
            auth_basic "backend";
            auth_basic_user_file %%TESTDIR%%/htpasswd;
        }

        location /depth {
            snorky_backend;
            snorky_max_depth 4;
        }

        location /error {
            snorky_backend;
            error_page 400 404 = @error;
        }

        location @error {
            return 418 "own page";
        }

        location /second {
            snorky_backend;
            error_page 404 = @private;
        }

        location @private {
            snorky_backend registry=private;
        }

        location /status {
            snorky_status;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        location / {
            snorky_backend;
        }
    }
}

EOC

$t->write_file('htpasswd', "anna:{PLAIN}secret\n");
$t->run();

my $one = '{"service":"echo","message":1}';
my $subscriber = Snorky->connect('/ws');
my ($r, $h, $n);

$subscriber->rpc('messaging', 'subscribe', { channel => 'c' });


# a reply

$r = post('/backend', $one);
is($r->{status}, 200, 'an envelope with the right key is answered');
is($r->{body}, $one, 'with the envelope of the service');
is($r->{headers}{'content-type'}, 'application/json', 'as JSON');
is($r->{headers}{'content-length'}, length $one, 'with its length');

$r = post('/backend', call('messaging', 'publish',
    '{"channel":"c","message":"x"}', 7));
is($r->{body}, '{"service":"messaging","message":{"type":"response",'
    . '"callId":7,"data":null}}', 'a call gets its response');
is($subscriber->text_in(), '{"service":"messaging","message":{"type":'
    . '"message","channel":"c","message":"x"}}', 'and is done');

$r = post('/backend', call('messaging', 'nothing', '{}', 8));
is("$r->{status} $r->{body}", '200 {"service":"messaging","message":{"type":'
    . '"error","callId":8,"message":"Unknown command"}}',
    'an error of the service is a reply, too');
$r = post('/backend', call('readonly', 'publish',
    '{"channel":"c","message":"x"}'));
is("$r->{status} $r->{body}", '200 {"service":"readonly","message":{"type":'
    . '"error","callId":null,"message":"Not authorized"}}',
    'of whatever kind');

$r = post('/private', '{"service":"private_echo","message":1}');
is("$r->{status} $r->{body}", '200 {"service":"private_echo","message":1}',
    'a location may serve another registry');
is(post('/private', $one)->{status}, 404, 'and then serves that one only');

is(post('/backend', $one, headers => [ 'Content-Type: text/plain' ])
    ->{status}, 200, 'the type of the request does not matter');
is(post('/backend/below?a=b', $one)->{status}, 200,
    'nor do the path below and the arguments');
is(post('/backend', " \r\n\t$one\n")->{body}, $one,
    'nor does white space around the envelope');


# methods

for my $method (qw/ GET HEAD PUT DELETE OPTIONS PATCH PROPFIND OTHER /) {
    $r = Snorky->dial()->request($method, '/backend', key => 'swordfish',
        $method =~ /^P/ ? (body => $one) : ());
    is($r->{status}, 405, "$method is not allowed");
    is($r->{headers}{allow}, 'POST', 'and it is told what is');
}

is(Snorky->dial()->request('GET', '/backend')->{status}, 405,
    'a wrong method is told before a missing key');

$r = Snorky->dial()->request('POST', '/backend', key => 'swordfish',
    body => $one, http => 'HTTP/1.0');
is("$r->{status} $r->{body}", "200 $one", 'HTTP/1.0 will do');


# keys

is(backend_post('/backend', $one)->{status}, 401, 'without a key it is 401');

for my $key ('', 'x', 'swordfis', 'swordfish2', 'Swordfish', 'xwordfish',
    'swordfisx', 'swordfish swordfish', '"swordfish"', 'outermost')
{
    is(post('/backend', $one, key => $key)->{status}, 401,
        "the key \"$key\" is wrong");
}

is(post('/backend', '{', key => 'x')->{status}, 401,
    'a wrong key is told before a malformed body');
is(post('/backend', $one, headers => [ 'x-backend-KEY: swordfish' ],
    key => undef)->{status}, 200, "the header's name has no case");
is(post('/backend', $one, headers => [ 'X-Backend-Key:  swordfish  ' ],
    key => undef)->{status}, 200, 'white space around the key does not count');
is(post('/backend?X-Backend-Key=swordfish&key=swordfish', $one, key => undef)
    ->{status}, 401, 'a key in the arguments is no key');
is(post('/backend', $one, key => [ 'x', 'y' ])->{status}, 401,
    'two wrong keys are no key');

is(post('/several', $one, key => $_)->{status}, 200, "of several, $_ is right")
    for 'old', 'new', 'with space';
is(post('/several', $one, key => $_)->{status}, 401, "and $_ is wrong")
    for qw/ older ne swordfish outermost oldnew /, 'old,new';

is(post('/backend', $one, port => port(8081), key => 'outermost')->{status},
    200, 'a key may be inherited');
is(post('/backend', $one, port => port(8081))->{status}, 401,
    'of the level where it stands');

is(variable('/variable', 'one', 'first'), 200,
    'a key may come from a variable');
is(variable('/variable', 'two', 'second'), 200, 'that depends on the request');
is(variable('/variable', 'one', 'second'), 401, 'and is right for that one');
is(variable('/variable', 'three', 'first'), 401,
    'where it has no value, a key is wrong');
is(variable('/variable', 'three', ''), 401, 'and so is an empty one');
is(variable('/variable', 'three', undef), 401, 'and so is none');
is(variable('/both', 'three', 'always'), 200,
    'while another key of the location is right');
is(variable('/both', 'three', ''), 401, 'but not an empty one');
is(variable('/both', 'one', 'first'), 200, 'and the first when it has one');
is(variable('/composed', 'one', 'pre-first'), 200, 'a key may be composed');
is(variable('/composed', 'three', 'pre-'), 200, 'also with nothing');
is(variable('/composed', 'three', ''), 401, 'which is not the empty key');


# malformed

for my $body ('{', 'x', '""', '1', 'null', '{}', '{"service":"echo"}',
    '{"message":1}', '{"service":1,"message":1}', "$one$one", "$one,$one",
    '{"service":"echo","message":NaN}', '{"service":"echo","message":1,}',
    '{"service":"echo","message":"' . "\xff" . '"}', ' ', "\x00", '[', '[1]',
    '[[]]', "[$one,]", "[$one", "[$one]]", "[$one,1]", "[[$one]]", "[{}]",
    '{"service":"messaging","message":1}',
    '{"service":"messaging","message":{"command":"publish"}}',
    '{"service":"messaging","message":{"params":{}}}',
    '{"service":"echo","message":' . '[' x 64 . ']' x 64 . '}')
{
    (my $shown = $body) =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ge;
    $shown = substr($shown, 0, 40) . '...' if length $shown > 60;

    is(post('/backend', $body)->{status}, 400, "the body $shown is malformed");
}

is(post('/backend', '')->{status}, 400, 'an empty body is malformed');
is(post('/backend', [ ])->{status}, 400, 'also as no chunks');
is(post('/backend', undef)->{status}, 400, 'and so is none');

for my $service (qw/ nobody Echo messaging_backend private_echo /, ' ') {
    is(post('/backend', qq/{"service":"$service","message":1}/)->{status}, 404,
        "the service \"$service\" is not found");
}

is(post('/backend', '{"service":"","message":1}')->{body},
    '{"service":"","message":1}', 'but the one without a name is');

is(post('/error', '{')->{body}, 'own page', 'a 400 may have a page of its own');
is(post('/error', '{"service":"nobody","message":1}')->{body}, 'own page',
    'and so may a 404');
is(post('/second', '{"service":"private_echo","message":1}')->{body},
    '{"service":"private_echo","message":1}',
    'what one registry does not know, another may');


# sizes

my $kilo = '{"service":"echo","message":"'
    . 'x' x (1024 - length '{"service":"echo","message":""}') . '"}';
(my $more = $kilo) =~ s/x/xx/;

is(post('/small', $kilo)->{status}, 200, 'a body may be of the limit');
is(post('/small', $more)->{status}, 413, 'and no byte larger');
is(post('/small', [ $more =~ /(.{1,100})/g ])->{status}, 413,
    'also when it comes in chunks');

is(post('/message', $kilo)->{status}, 200,
    'an envelope may be of the largest size');
is(post('/message', $more)->{status}, 413, 'and no byte larger');
is(post('/message', "$kilo      ")->{status}, 200,
    'white space around it does not count');
is(post('/message', "[$kilo,$kilo,$kilo]")->{status}, 200,
    'in a batch, each is measured');
is(post('/message', "[$one,$more,$one]")->{status}, 413,
    'and the largest decides');
is(post('/backend', '{"service":"echo","message":"' . 'x' x 65536 . '"}')
    ->{status}, 413, 'the limit is 64k where it is not set');

is(post('/depth', '{"service":"echo","message":[[[]]]}')->{status}, 200,
    'an envelope may be as deep as the limit');
is(post('/depth', '{"service":"echo","message":[[[[]]]]}')->{status}, 400,
    'and no deeper');
is(post('/depth', '[{"service":"echo","message":[[[]]]}]')->{status}, 200,
    'the array of a batch does not count');
is(post('/depth', '[{"service":"echo","message":[[[[]]]]}]')->{status}, 400,
    'but what is in it does');


# one connection

$h = Snorky->dial();
is(join(' ', map { ($h->request('POST', '/backend', key => 'swordfish',
    body => qq/{"service":"echo","message":$_}/) || {})->{body} // 'nothing' }
    1 .. 50), join(' ', map { qq/{"service":"echo","message":$_}/ } 1 .. 50),
    'fifty requests may come on one connection');

for my $case ([ 401, key => 'x', body => $one ], [ 404, body =>
    '{"service":"nobody","message":1}' ], [ 405, method => 'PUT',
    body => $one ], [ 200, body => [ '{"service":', '"echo","message":1}' ] ])
{
    my ($status, %o) = @$case;
    my $method = delete $o{method} || 'POST';

    $r = $h->request($method, '/backend', key => 'swordfish', %o);
    is($r && $r->{status}, $status, "also one that gets $status");
}

$r = $h->request('POST', '/backend', key => 'swordfish', body => $one);
is($r && $r->{body}, $one, 'and one behind all of these');

$h = Snorky->dial();
$h->send(map { "POST /backend HTTP/1.1\r\nHost: localhost\r\n"
    . "X-Backend-Key: swordfish\r\nContent-Length: 30\r\n\r\n"
    . qq/{"service":"echo","message":$_}/ } 1 .. 5);
is(join(' ', map { ($h->read_response() || {})->{body} // 'nothing' } 1 .. 5),
    join(' ', map { qq/{"service":"echo","message":$_}/ } 1 .. 5),
    'requests may be sent ahead');


# how a body comes

my $large = '{"service":"echo","message":"'
    . join('', map { sprintf '%08x', $_ * 2654435761 % 2 ** 32 } 1 .. 8000)
    . '"}';

is(post('/backend', [ split //, $one ])->{body}, $one,
    'a body may come in chunks of a byte');

for my $uri (qw/ backend file buffer single /) {
    is(post("/$uri", $large)->{body}, $large, "a body of 64k may come to $uri");
    is(post("/$uri", [ $large =~ /(.{1,5000})/g ])->{body}, $large,
        'also in chunks');
    is(post("/$uri", '')->{status}, 400, 'while an empty one may not');
}

$h = Snorky->dial();
$h->send("POST /buffer HTTP/1.1\r\nHost: localhost\r\n"
    . "X-Backend-Key: swordfish\r\nContent-Length: " . length($large)
    . "\r\n\r\n");

for my $piece ($large =~ /(.{1,20000})/g) {
    $h->send($piece);
    sleep 0.05;
}

$r = $h->read_response();
is($r && $r->{body}, $large, 'it may come slowly');

$h = Snorky->dial();
$h->send("POST /backend HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue"
    . "\r\nX-Backend-Key: swordfish\r\nContent-Length: 30\r\n\r\n");
like(wait_until { $h->fill(0); $h->{in} }, qr{^HTTP/1.1 100 },
    'who asks is told to go on');
$h->{in} = '';
$h->send($one);
$r = $h->read_response();
is($r && $r->{body}, $one, 'and is answered then');

$n = counters()->{messages_in};
$h = Snorky->dial();
$h->send("POST /backend HTTP/1.1\r\nHost: localhost\r\nX-Backend-Key: "
    . "swordfish\r\nContent-Length: 1000\r\n\r\n", substr $large, 0, 500);
$h->half_close();
$h->gone();
is(counters()->{messages_in} - $n, 0, 'half a body has no effect');


# batches

is(post('/backend', '[]')->{body}, '[]', 'no envelopes have no replies');
is(post('/backend', " [ $one ] ")->{body}, "[$one]",
    'the reply to a batch of one is an array');
is(post('/backend', '[' . join(',', map { qq/{"service":"echo","message":$_}/ }
    1 .. 500) . ']')->{body}, '[' . join(',', map {
    qq/{"service":"echo","message":$_}/ } 1 .. 500) . ']',
    'five hundred replies come in the order of the envelopes');

$r = post('/backend', '[' . join(',', call('messaging', 'publish',
    '{"channel":"c","message":1}', 1), call('messaging', 'nothing', '{}', 2),
    call('readonly', 'publish', '{"channel":"c","message":2}', 3),
    call('messaging', 'publish', '[]', 4), $one, call('messaging', 'publish',
    '{"channel":"c","message":3}')) . ']');
is("$r->{status} $r->{headers}{'content-type'}", '200 application/json',
    'a batch in which some fail has succeeded');
is($r->{body}, '[' . join(',',
    '{"service":"messaging","message":{"type":"response","callId":1,'
    . '"data":null}}',
    '{"service":"messaging","message":{"type":"error","callId":2,'
    . '"message":"Unknown command"}}',
    '{"service":"readonly","message":{"type":"error","callId":3,'
    . '"message":"Not authorized"}}',
    '{"service":"messaging","message":{"type":"error","callId":4,'
    . '"message":"Invalid params"}}', $one,
    '{"service":"messaging","message":{"type":"response","data":null}}')
    . ']', 'and each has its reply');
is(join(' ', map { ($subscriber->notification() || {})->{message} // '' }
    1 .. 2), '1 3', 'those that can be done are done');

my $publish = call('messaging', 'publish', '{"channel":"c","message":"no"}');

is(post('/backend', "[$publish,$_->[0],$publish]")->{status}, $_->[1],
    "a batch with $_->[2] is refused")
    for [ '{}', 400, 'an envelope that is none' ],
        [ '{"service":"nobody","message":1}', 404, 'an unknown service' ],
        [ '{"service":"messaging","message":{"command":"publish"}}', 400,
          'a call that is none' ],
        [ "$one]", 400, 'a bracket too many' ],
        [ '{"service":"echo","message":"' . 'x' x 65536 . '"}', 413,
          'an envelope too large' ];
ok($subscriber->silent(0.3), 'and nothing of it is done');

$r = post('/backend', '[' . join(',', call('messaging', 'subscribe',
    '{"channel":"c"}', 1), call('messaging', 'publish',
    '{"channel":"c","message":"own"}', 2), call('messaging', 'subscribe',
    '{"channel":"c"}', 3)) . ']');
is($r->{body}, '[' . join(',',
    '{"service":"messaging","message":{"type":"response","callId":1,'
    . '"data":null}}',
    '{"service":"messaging","message":{"type":"response","callId":2,'
    . '"data":null}}',
    '{"service":"messaging","message":{"type":"error","callId":3,'
    . '"message":"Already subscribed"}}') . ']',
    'what a backend subscribes to is not mixed into its replies');
is($subscriber->notification()->{message}, 'own', 'but heard by others');
is(counters()->{subscriptions}, 1, 'and ends with its request');


# large replies

my $body = '[' . join(',', ($large) x 60) . ']';

$r = post('/large', $body);
ok($r && $r->{body} eq $body, 'a reply of 4m arrives');
$r = post('/large', $body, rcvbuf => 4096);
ok($r && $r->{body} eq $body, 'also at a client that takes little at a time');

$r = post('/limited', '[' . join(',', ($large) x 10) . ']');
ok($r && $r->{body} eq '[' . join(',', ($large) x 10) . ']',
    'also when nginx sends it slowly');

$r = post('/gzip', $large, headers => [ 'Accept-Encoding: gzip' ]);
is($r && "$r->{status} " . ($r->{headers}{'content-encoding'} // ''),
    '200 gzip', 'a reply may be compressed');
is($r && gunzip($r->{body}), $large, 'which does no harm');


# what comes before

is(post('/denied', $one)->{status}, 403, 'a location may be closed');
is(post('/allowed', $one)->{status}, 200, 'or open to some');
is(post('/basic', $one)->{status}, 401, 'or ask for a password');
is(post('/basic', $one, headers => [ 'Authorization: Basic YW5uYTpzZWNyZXQ=' ])
    ->{status}, 200, 'beside the key');


# the figures and the log

my $before = counters();

post('/backend', $one);
post('/backend', '{');
post('/backend', '[{},{}]');
post('/backend', '{"service":"nobody","message":1}');
post('/backend', "[$one,$one]");
post('/backend', $one, key => 'x');

my $after = counters();

is(join(' ', map { $after->{$_} - $before->{$_} }
    qw/ backend_requests malformed messages_in messages_out connections /),
    '5 3 3 3 0', 'requests, what is malformed, and messages are counted');
is("$after->{sessions} $after->{sessions_websocket}", '1 1',
    'a backend is no session');

is((wait_until { $t->read_file('backend.log') =~ /401/
    && ($t->read_file('backend.log') =~ /^(.*200.*)$/mg)[-1] }),
    '/backend 200 backend 2 2', 'the access log tells transport and messages');

my @lines = split /\n/, $t->read_file('error.log');

is(scalar(grep { /\[(?:warn|error|crit)\]/ && !/too large|buffered to a temp/
    && !/sent a wrong "X-Backend-Key"|access forbidden/ } @lines), 0,
    "a backend's mistakes are no errors");
is(scalar(grep { /swordfish|outermost/ && !/&key=/ } @lines), 0,
    'no key stands in the log');

is($subscriber->finish(), 1000, 'and the subscriber is still there');


# --- helpers ----------------------------------------------------------------

sub call {
    my ($service, $command, $params, $id) = @_;

    return qq/{"service":"$service","message":{"command":"$command",/
        . qq/"params":$params/ . (defined $id ? qq/,"callId":$id/ : '') . '}}';
}


sub post {
    my ($uri, $body, %o) = @_;

    return backend_post($uri, $body, key => 'swordfish', %o)
        || { status => 'no answer', body => '', headers => {} };
}


# the status

sub variable {
    my ($uri, $who, $key) = @_;

    return post($uri, $one, key => $key, headers => [ "X-Who: $who" ])
        ->{status};
}


sub gunzip {
    my ($data) = @_;

    require IO::Uncompress::Gunzip;

    IO::Uncompress::Gunzip::gunzip(\$data, \my $text) or return 'no gzip';

    return $text;
}
