#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# snorky_authorize: the application is asked before a command is run, or a
# variable is, and what it says is done.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;


my $t = Test::Nginx->new()->has(qw/ http map proxy rewrite /)->plan(140);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 2m;
    snorky_drain 10ms;

    # a policy may stand before its service
    snorky_authorize messaging publish /auth;

    snorky_service pubsub messaging;
    snorky_service pubsub open;
    snorky_service pubsub all;
    snorky_service pubsub private/all;
    snorky_service pubsub variable;
    snorky_service pubsub local;
    snorky_service chat chat;
    snorky_service messaging names;
    snorky_service cursors cursors;
    snorky_service datasync data;
    snorky_dealer data every broadcast model=m;
    snorky_service upstream shop pass=/shop;
    snorky_service upstream rooms pass=/shop commands=echo;

    snorky_authorize messaging subscribe /auth;
    snorky_authorize all * /auth;
    snorky_authorize all unsubscribe /own;
    snorky_authorize private/all publish /own;
    snorky_authorize variable publish $may;
    snorky_authorize variable subscribe $remote_may;
    snorky_authorize local subscribe /allowed;
    snorky_authorize local publish /forbidden;
    snorky_authorize local unsubscribe "/auth?from=nginx&a=%20b";
    snorky_authorize chat * /auth;
    snorky_authorize names * /auth;
    snorky_authorize cursors * /auth;
    snorky_authorize data * /auth;
    snorky_authorize private/news publish /auth;
    snorky_authorize shop add /auth;
    snorky_authorize shop "a \"\n" /auth;
    snorky_authorize rooms * $may_room;

    snorky_registry private {
        snorky_service pubsub_backend news frontend=messaging;
        snorky_service datasync_backend data_backend frontend=data;
        snorky_service pubsub all;
        snorky_authorize data_backend publishDeltas /auth;
        snorky_authorize all publish /auth;
    }

    map "$snorky_service $snorky_command $snorky_identity $snorky_channel" $may {
        default 0;
        'variable publish joe "news"' 1;
        'variable publish joe "no\\\\pe"' "";
        'variable publish joe [1,{"a":2}]' yes;
        'variable publish joe "zero"' 00;
        'variable publish \\\"q\\\\ "news"' 1;
    }

    map "$snorky_command $snorky_channel" $may_room {
        default 0;
        'echo "lobby"' 1;
        'echo {"a":1}' 1;
        'echo ' 1;
        'list "lobby"' 1;
    }

    map "$remote_addr $http_x_token $arg_id $uri$snorky_client" $remote_may {
        default 0;
        "~^127\.0\.0\.1   \w+-\w+$" 1;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            snorky_identity $arg_id;
            snorky_max_message_size 1m;
        }

        location /named {
            snorky_websocket;
            snorky_identity $http_x_name;
        }

        location /private {
            snorky_websocket registry=private;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /both {
            snorky_backend;
            snorky_backend_key swordfish;
        }

        location = /auth {
            internal;
            proxy_pass http://127.0.0.1:8090/auth$is_args$args;
        }

        location = /shop {
            internal;
            proxy_pass http://127.0.0.1:8090/shop;
        }

        location = /own {
            internal;
            proxy_pass http://127.0.0.1:8090/own;
        }

        location = /allowed {
            internal;
            return 200;
        }

        location = /forbidden {
            internal;
            return 403;
        }

        location /status {
            snorky_status;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location = /auth {
            internal;
            return 403;
        }
    }
}

EOC

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/auth' => { status => 204 },
    '/own'  => { status => 204 },
    '/shop' => { rpc => 1 },
});

$t->run();

my $c = Snorky->connect('/ws?id=joe');
my $other = Snorky->connect('/ws');


# what is asked

$c->text('{"service":"messaging","message":{"params":{"channel": { "a":1.0 }},'
    . '"callId":[1, "x"],"command":"subscribe"}}');
is(json($c->reply([1, 'x'])), '{"callId":[1,"x"],"data":null,'
    . '"type":"response"}', 'what the application allows is done');

my $asked = $app->last('/auth');

is("$asked->{method} $asked->{uri}", 'POST /auth', 'it has been asked');
is($asked->{body}, '{"command":"subscribe","params":{"channel":{ "a":1.0 }},'
    . '"callId":[1, "x"]}', 'for this call, with the values as they were sent');
is(header('content-type'), 'application/json', 'in JSON');
is(join(' ', map { header("x-snorky-$_") // '' } qw/ service command identity
    remote-addr /), 'messaging subscribe joe 127.0.0.1',
    'and is told what is called and by whom');
like(header('x-snorky-client'), qr/^[0-9a-f]+-[0-9a-f]+$/,
    'by the name of the client, too');

my $id = header('x-snorky-client');

is($other->rpc('messaging', 'publish', { channel => { a => 1 },
    message => 'hello' })->{type}, 'response', 'another client may publish');
is(json($c->notification()), '{"channel":{"a":1},"message":"hello",'
    . '"type":"message"}', 'to the first one');

$asked = $app->last('/auth');

is(header('x-snorky-identity'), undef, 'it has no identity');
isnt(header('x-snorky-client'), $id, 'but another name');

$c->text('{"service":"messaging","message":{"command":"publish",'
    . '"params":{"message":1,"channel":"x","\u0063hannel":"y"}}}');
is(($c->reply() || {})->{type}, 'response', 'a call without a callId');
is($app->last('/auth')->{body}, '{"command":"publish","params":'
    . '{"channel":"y","message":1}}',
    'of a repeated parameter, the one that counts is asked about');

is($c->rpc('messaging', 'leave', { channel => { a => 1 } })->{type},
    'response', 'a command without a policy is run');
is($c->rpc('open', 'publish', { channel => 1, message => 1 })->{type},
    'response', 'as are those of a service without one');
is($app->count(), 3, 'and nobody is asked');


# what it answers

for (
    [ 200, undef, undef ], [ 200, 'text/html', '<p>"drop":true</p>' ],
    [ 201, 'text/plain', 'no' ], [ 204, undef, undef ],
    [ 299, 'application/octet-stream', '{"drop":true}' ],
    [ 200, 'application/json', '' ], [ 200, 'application/json', '{}' ],
    [ 200, 'application/json', '{"drop":false}' ],
    [ 200, 'application/vnd.api+json; charset=utf-8', ' {"params":{}} ' ],
) {
    my ($status, $type, $body) = @$_;

    answers('/auth', status => $status, type => $type, body => $body // '');
    is(outcome($c, 'messaging', 'publish', { channel => 1, message => 1 }),
        'null', join ' ', $status, $type // (), $body // (), 'allows');
}

for (
    [ 401, 'Not authorized' ], [ 403, 'Not authorized' ],
    map { [ $_, 'Authorization failed' ] } 300, 302, 304, 400, 402, 404, 429,
        500, 502, 503, 504, 599
) {
    answers('/auth', status => $_->[0]);
    is(outcome($c, 'messaging', 'publish', { channel => 1, message => 1 }),
        $_->[1], "$_->[0] does not");
}

for my $body (' ', 'null', 'true', '"yes"', '[]', '[{"drop":true}]', '{', '{}}',
    '{"drop":1}', '{"drop":null}', '{"drop":"true"}', '{"params":null}',
    '{"params":[]}', '{"ok":true}', '{"params":{"channel":1,"other":1}}',
    '{"params":{"?channel":1}}', "{\"params\":{\"message\":\"\xff\"}}",
    '{"params":{"message":' . '[' x 100 . ']' x 100 . '}}')
{
    answers('/auth', type => 'application/json', body => $body);
    is(outcome($c, 'messaging', 'publish', { channel => 1, message => 1 }),
        'Authorization failed', 'nor does ' . substr $body, 0, 50);
}


# what it changes

answers('/auth', status => 204);
$c->rpc('messaging', 'subscribe', { channel => 'a' });
$c->rpc('messaging', 'subscribe', { channel => 'b' });
$c->notifications();

my $text = '{ "x" : 1.0, "\u0061":[ -0 ],"b":"\u00e9' . "\xc3\xa9" . '" }';

answers('/auth', type => 'application/json',
    body => qq/{"params":{"\\u006dessage":$text}}/);
publish('messaging', 'a', '"mine"');
is($c->notification_text(), '{"service":"messaging","message":'
    . '{"type":"message","channel":"a","message":' . $text . '}}',
    'a parameter is replaced, byte for byte');

answers('/auth', json => { params => { channel => 'b', message => 2 } });
publish('messaging', 'a', '"mine"');
is($c->notification_text(), '{"service":"messaging","message":'
    . '{"type":"message","channel":"b","message":2}}', 'or all of them');

answers('/auth', type => 'application/json',
    body => '{"params":{"message":1,"message":2},"params":{"message":3}}');
publish('messaging', 'a', '"mine"');
is($c->notification()->{message}, 3, 'of duplicates the last counts');

answers('/auth', json => { drop => \1 });
is(outcome($c, 'messaging', 'publish', { channel => 'a', message => 'mine' }),
    'null', 'who publishes what is dropped is not told');
answers('/auth', json => { drop => \1, params => { message => 1 } });
is(outcome($c, 'messaging', 'subscribe', { channel => 'c' }),
    'Authorization failed', 'nor may it have other parameters then');
answers('/auth', json => { drop => \1, params => { channel => 'd' } });
is(outcome($c, 'messaging', 'subscribe', { channel => 'c' }), 'null',
    'dropped, with parameters');
answers('/auth', status => 204);
is(outcome($c, 'messaging', 'subscribe', { channel => 'c' }), 'null',
    'one is not subscribed then');
publish('messaging', 'b', '"end"');
is($c->notification()->{message}, 'end', 'and nobody has heard of it');

answers('/auth', json => { params => { channel => 'x' x 2000 } });
is(outcome($c, 'messaging', 'publish', { channel => 'a', message => 1 }),
    'Channel too long', 'a channel of the application may be too long, too');
is(outcome($c, 'messaging', 'publish', { channel => 'x' x 2000, message => 1 }),
    'Channel too long', 'one of the client');
is($app->last('/auth')->{json}{params}{channel}, 'a', 'is not asked about');

my $long = 'y' x 60000;

answers('/auth', json => { params => { message => $long } });
publish('messaging', 'b', '"mine"');
ok(($c->notification() || {})->{message} eq $long, 'nearly 64k are replaced');

answers('/auth', size => 65537);
is(outcome($c, 'messaging', 'publish', { channel => 'b', message => 1 }),
    'Authorization failed', 'more than 64k are no answer');


# which policy

answers('/auth', status => 403);

is(outcome($c, 'messaging', 'join', { channel => 'z' }), 'Not authorized',
    'a policy counts for the command by its other name');
is(outcome($c, 'messaging', 'leave', { channel => 'z' }), 'Not subscribed',
    'and for no other');
is(outcome($c, 'all', 'subscribe', { channel => 1 }), 'Not authorized',
    'one for all commands counts');
is(outcome($c, 'all', 'leave', { channel => 1 }), 'Not subscribed',
    'but not for the one that has its own');
is(outcome($c, 'private/all', 'publish', { channel => 1, message => 1 }),
    'null', 'a service may have a name like that of another registry');
is(outcome(Snorky->connect('/private'), 'all', 'publish',
    { channel => 1, message => 1 }), 'Not authorized',
    'where it has another policy');
is(outcome(Snorky->connect('/ws', port => port(8081)), 'messaging',
    'subscribe', { channel => 1 }), 'Not authorized',
    'the location is that of the server of the client');

$app->forget();

for my $bad ([ 'nothing', {} ], [ 'publish', { channel => 1 } ],
    [ 'subscribe', { channel => 1, other => 1 } ])
{
    like(outcome($c, 'messaging', @$bad), qr/^(?:Unknown command|Invalid)/,
        "$bad->[0] with wrong parameters is an error");
}

is($app->count(), 0, 'about which nobody is asked');


# locations of nginx itself

is(outcome($c, 'local', 'subscribe', { channel => 1 }), 'null',
    'a location that returns 200 allows');
is(outcome($c, 'local', 'publish', { channel => 1, message => 1 }),
    'Not authorized', 'one that denies does not');
is(outcome($c, 'local', 'unsubscribe', { channel => 1 }), 'Not authorized',
    'one with arguments');
is($app->last('/auth')->{args}, 'from=nginx&a=%20b', 'gets them');
is(get($_)->{status}, 404, "no client gets at $_")
    for qw( /auth /allowed /auth?x );


# variables

$app->forget();

my $params = { channel => 'news', message => 1 };

is(outcome($c, 'variable', 'publish', $params), 'null',
    'a variable allows');
is(outcome($other, 'variable', 'publish', $params), 'Not authorized',
    'it knows the identity');
is(outcome(Snorky->connect('/named', headers => [ 'X-Name: "q\\' ]),
    'variable', 'publish', $params), 'null', 'escaped as in JSON');
is(outcome($c, 'variable', 'publish', { channel => 'no\\pe', message => 1 }),
    'Not authorized', 'an empty one does not allow');
is(outcome($c, 'variable', 'publish', { channel => 'zero', message => 1 }),
    'null', '"00" is not "0"');

$c->text('{"service":"variable","message":{"command":"publish","params":'
    . '{"channel":[ 1.0, {"\u0061" :2e0}],"message":1}}}');
is(json($c->reply()), '{"data":null,"type":"response"}',
    'the channel is in its canonical form');
is(outcome($c, 'variable', 'subscribe', { channel => 1 }), 'null',
    'variables of the client are not those of its request');
is($app->count(), 0, 'the application is not asked');


# each service

answers('/auth', status => 204);

is(outcome($c, 'chat', 'join', { channel => 'a' }), '{"members":["joe"]}',
    'chat: join is allowed');
is(outcome($c, 'names', 'registerParticipant', { name => 'joe' }), 'null',
    'messaging: a name');
is(outcome($c, 'names', 'listParticipants', {}), '["joe"]', 'the list');
is($app->last('/auth')->{body}, '{"command":"listParticipants","params":{},'
    . "\"callId\":$c->{calls}}", 'which has no parameters');
is(outcome($c, 'cursors', 'join', { document => 'd' }), '{"cursors":[]}',
    'cursors: a document');

my $token = decode(backend_post('/backend', envelope('data_backend', {
    command => 'authorizeSubscription', callId => 1,
    params => { items => [ { dealer => 'every', query => undef } ] } }),
    key => 'swordfish')->{body})->{message}{data};

like(outcome($c, 'data', 'acquireSubscription', { token => $token }),
    qr/^(?!Not)/, 'datasync: a token');

answers('/auth', json => { params => { body => 'tamed' } });
is(outcome($c, 'chat', 'send', { channel => 'a', body => 'wild' }), 'null',
    'chat: another body');
like(join(' ', map { json($_) } $c->notifications()), qr/"tamed"/,
    'which is sent');
is(outcome($c, 'names', 'send',
    { sender => 'joe', dest => 'joe', body => 'wild' }), 'null',
    'messaging: another body');
like(join(' ', map { json($_) } $c->notifications()), qr/"tamed"/,
    'which is sent, too');

answers('/auth', status => 403);

for ([ 'chat', 'send', { channel => 'a', body => 1 } ],
    [ 'names', 'registerParticipant', { name => 'x' } ],
    [ 'names', 'send', { sender => 'joe', dest => 'x', body => 1 } ],
    [ 'cursors', 'createCursor', { privateHandle => 1, document => 'd',
        position => 1, status => 1 } ],
    [ 'data', 'acquireSubscription', { token => 'a' x 32 } ])
{
    is(outcome($c, @$_), 'Not authorized', "$_->[0] $_->[1]: refused");
}


# calls that the application answers

answers('/auth', status => 204);
is(outcome($c, 'shop', 'add', { a => 1, b => 2 }), 3,
    'upstream: what is allowed is called');
is($app->last('/auth')->{body}, $app->last('/shop')->{body},
    'both are asked alike');
answers('/auth', type => 'application/json',
    body => '{"params":{ "a":10,"b" :5 }}');
is(outcome($c, 'shop', 'add', { x => 1 }), 15,
    'with any other parameters, if there are some');
like($app->last('/shop')->{body}, qr/"params":\{ "a":10,"b" :5 \}/,
    'byte for byte');
answers('/auth', json => { drop => \1 });
is(outcome($c, 'shop', 'add', { a => 1, b => 1 }), 'null', 'it may be dropped');
answers('/auth', status => 403);
is(outcome($c, 'shop', 'add', { a => 1, b => 1 }), 'Not authorized',
    'or refused');
is(outcome($c, 'shop', "a \"\n", {}), 'Not authorized',
    'whatever its name');
is($app->last('/auth')->{headers}{'x-snorky-command'} . ' '
    . json($app->last('/auth')->{json}{command}), 'a \\"\\n "a \\"\\n"',
    'which is escaped');
is(outcome($c, 'shop', 'echo', { a => 1 }), '{"a":1}',
    'commands without a policy are called');

$app->forget();

is(outcome($c, 'rooms', 'echo', $_->[0]), $_->[1], $_->[2]) for
    [ { channel => 'lobby' }, '{"channel":"lobby"}', 'a variable allows' ],
    [ { channel => { a => 1 }, channel2 => 1 },
      '{"channel":{"a":1},"channel2":1}', 'any value of a channel' ],
    [ { other => 'lobby' }, '{"other":"lobby"}', 'or a call without one' ],
    [ { channel => 'other' }, 'Not authorized', 'but no other channel' ];

my $spaces = ' ' x 5000;

$c->text('{"service":"rooms","message":{"command":"echo","callId":"s","params":'
    . "{\"channel\":{\"a\":2,$spaces\"\\u0061\":1$spaces},\"name\":1}}}");
is(said($c->reply('s')), '{"channel":{"a":1},"name":1}',
    'however long its text is');
is(outcome($c, 'rooms', 'list', { channel => 'lobby' }), 'Unknown command',
    'a command that is not listed is not called, also if it is allowed');
is($app->count('/auth'), 0, 'the application is not asked');


# the backend

is(posted('news', 'publish', { channel => 'b', message => 'x' }),
    'Not authorized', 'a backend may be refused');
is(posted('data_backend', 'publishDeltas', { deltas => [] }),
    'Not authorized', 'whatever its service');

answers('/auth', json => { params => { message => 'other' } });
$app->forget();

is(posted('news', 'publish', { channel => 'b', message => 'x' }), 'null',
    'it may be allowed, too');
is(($c->notification() || {})->{message}, 'other', 'with other parameters');

$asked = $app->last('/auth');

is(header('x-snorky-service') . ' ' . header('x-snorky-remote-addr'),
    'news 127.0.0.1', 'for its own service');

my $r = backend_post('/both', '[' . join(',', map { envelope('messaging', {
    command => 'publish', callId => $_,
    params => { channel => 'b', message => $_ } }) } 1 .. 50) . ']',
    key => 'swordfish');

is(join(' ', map { $_->{message}{callId} // '' } @{ decode($r->{body}) }),
    join(' ', 1 .. 50), 'a batch is asked about one by one');
is(join(' ', map { $_->{json}{callId} } $app->requests('/auth')),
    join(' ', 1, 1 .. 50), 'in its order');

answers('/auth', type => 'application/json', body => '{"params":{'
    . join(',', ('"message":"new"') x 500) . '}}');
$r = backend_post('/both', '[' . join(',', map { envelope('messaging', {
    command => 'publish', callId => $_,
    params => { channel => 'b', message => $_ } }) } 1 .. 50) . ']',
    key => 'swordfish');

is(join(' ', map { $_->{message}{callId} // '' } @{ decode($r->{body}) }),
    join(' ', 1 .. 50), 'also where each is changed');


# what cannot be forged

$app->answer('/auth', { status => 403 });
$app->forget();

my $forger = Snorky->connect('/named', headers => [ 'X-Name: "a\\, b: ' .
    "\xc3\xa9\t<", map { "X-Snorky-$_: forged" } qw/ Identity Service Command
        Client Remote-Addr / ]);

outcome($forger, 'messaging', 'subscribe', { channel => "\r\nX-A: b\r\n" });
$asked = $app->last('/auth');

is(header('x-snorky-identity'), '\\"a\\\\, b: ' . "\xc3\xa9" . '\\t<',
    'an identity is escaped in its header');
is(join(' ', map { header("x-snorky-$_") } qw/ service command remote-addr /),
    'messaging subscribe 127.0.0.1', 'headers of the client are not sent');
is(join(' ', grep { $_ ne 'connection' } sort keys %{ $asked->{headers} }),
    'content-length content-type host x-snorky-client x-snorky-command '
    . 'x-snorky-identity x-snorky-remote-addr x-snorky-service',
    'none of them');


# the figures

my $before = counters();

outcome($c, 'messaging', 'publish', { channel => 1, message => 1 });
$app->answer('/auth', { status => 500 });
outcome($c, 'messaging', 'publish', { channel => 1, message => 1 });
$app->answer('/auth', { json => { drop => \1 } });
outcome($c, 'messaging', 'publish', { channel => 1, message => 1 });
outcome($c, 'variable', 'publish', $params);
outcome($other, 'variable', 'publish', $params);

my $after = counters();

is(join(' ', map { $after->{$_} - $before->{$_} } qw/ authorized unauthorized
    authorized_cached asks asks_failed messages_in errors /), '2 3 0 3 1 5 3',
    'calls that are allowed and refused are counted');

my $log = 'authorization of command "publish" of service "messaging" failed: '
    . 'unexpected status, status 500';

like($t->read_file('error.log'), qr/\[error\] .*\Q$log\E/,
    'what could not be decided is logged');

is($c->finish(), 1000, 'all can close after it');


# --- helpers ----------------------------------------------------------------

sub header {
    my ($name) = @_;

    return $asked->{headers}{$name};
}


sub answers {
    my ($path, %answer) = @_;

    $app->answer($path, \%answer);

    return;
}


# the data, or the error's text

sub outcome {
    my ($client, @call) = @_;

    return said($client->rpc(@call));
}


sub said {
    my ($m) = @_;

    return 'nothing' unless $m;
    return $m->{type} eq 'error' ? $m->{message} : json($m->{data});
}


sub publish {
    my ($service, $channel, $message) = @_;

    $c->rpc($service, 'publish', { channel => $channel,
        message => decode($message) });

    return;
}


sub posted {
    my ($service, $command, $params) = @_;

    my $r = backend_post('/backend', envelope($service, {
        command => $command, params => $params, callId => 1 }),
        key => 'swordfish');

    return $r->{status} == 200 ? said(decode($r->{body})->{message})
                               : $r->{status};
}
