#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# pubsub and pubsub_backend: who hears what is published, and who may publish.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(99);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_drain 10ms;

    snorky_service pubsub_backend early frontend=messaging;

    snorky_service pubsub messaging;
    snorky_service pubsub other;
    snorky_service pubsub open publish=all;
    snorky_service pubsub readonly publish=none;
    snorky_service pubsub members publish=identified;

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend frontend=messaging;
        snorky_service pubsub_backend readonly_backend frontend=public/readonly;
        snorky_service pubsub_backend members_backend frontend=public/members;
    }

    snorky_registry second {
        snorky_service pubsub messaging_two;
        snorky_service pubsub readonly publish=all;
        snorky_service pubsub_backend own frontend=second/readonly;
        snorky_service pubsub_backend far frontend=public/readonly;
    }

    snorky_registry private {
        snorky_service pubsub_backend other_backend frontend=other;
    }

    snorky_backend_key swordfish;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            snorky_identity $arg_name;
        }

        location /second {
            snorky_websocket registry=second;
        }

        location /private {
            snorky_websocket registry=private;
        }

        location /backend {
            snorky_backend registry=private;
        }

        location /backend2 {
            snorky_backend registry=second;
        }

        location /public {
            snorky_backend;
            snorky_identity otto;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my ($p, $q, $c, $r) = map { Snorky->connect('/ws') } 1 .. 3;


# the commands, text by text

is(call($p, 'subscribe', '{"channel":"c"}'),
    '{"type":"response","callId":1,"data":null}', 'subscribe returns null');
is(call($p, 'subscribe', '{"channel":"c"}'),
    '{"type":"error","callId":1,"message":"Already subscribed"}',
    'who is subscribed is told so');
is(call($q, 'subscribe', '{"channel":"c"}'),
    '{"type":"response","callId":1,"data":null}',
    'a second client may subscribe');
is(call($p, 'publish', '{"channel":"x","message":1}'),
    '{"type":"response","callId":1,"data":null}', 'publish returns null');
is(call($p, 'unsubscribe', '{"channel":"x"}'),
    '{"type":"error","callId":1,"message":"Not subscribed"}',
    'who is not subscribed is told so');
is(call($c, 'unsubscribe', '{"channel":"c"}'),
    '{"type":"error","callId":1,"message":"Not subscribed"}',
    'also when another is');


# delivery

is(call($c, 'publish', '{"channel":"c","message":"hello"}'),
    '{"type":"response","callId":1,"data":null}',
    'who is not subscribed may publish');
is($p->text_in(), message('{"type":"message","channel":"c","message":"hello"}'),
    'and all who are hear it');
is($q->text_in(), message('{"type":"message","channel":"c","message":"hello"}'),
    'each of them');
ok($c->silent(0.2), 'but nobody else');

$p->text(request('publish', '{"channel":"c","message":2}'));
is($p->text_in(), message('{"type":"message","channel":"c","message":2}'),
    'a publisher who is subscribed hears it, too');
is($p->text_in(), message('{"type":"response","callId":1,"data":null}'),
    'before it is told that it is done');
is($q->text_in(), message('{"type":"message","channel":"c","message":2}'),
    'as the others do');
ok($p->silent(0.2), 'and it hears it once');

for my $m (qw/ null true 1.0 1e400 123456789012345678901234567890 "" "\u0041"
    "\ud800" {"b":1,"a":2,"b":3} [] {"type":"error"} /, '[ 1 , 2 ]',
    "\"\xe2\x82\xac\"", '"' . 'x' x 50000 . '"')
{
    my $shown = length $m > 60 ? substr($m, 0, 20) . '...' : $m;

    $c->text(request('publish', qq/{"channel":"c","message":$m}/));
    is($q->text_in(),
        message(qq/{"type":"message","channel":"c","message":$m}/),
        "$shown arrives as it was sent");
    $c->text_in();
}

is(scalar(grep { defined $p->text_in() } 1 .. 14), 14,
    'also where nobody has looked so far');


# channels are separate

call($q, 'subscribe', '{"channel":"d"}');
call($c, 'publish', '{"channel":"d","message":"for d"}');
is($q->text_in(), message('{"type":"message","channel":"d","message":"for d"}'),
    'who hears two channels hears the second');
ok($p->silent(0.2), 'who hears the first does not');


# the end of a subscription

is(call($p, 'unsubscribe', '{"channel":"c"}'),
    '{"type":"response","callId":1,"data":null}', 'unsubscribe returns null');
is(call($p, 'unsubscribe', '{"channel":"c"}'),
    '{"type":"error","callId":1,"message":"Not subscribed"}',
    'and can be done once');
call($c, 'publish', '{"channel":"c","message":3}');
is($q->text_in(), message('{"type":"message","channel":"c","message":3}'),
    'what comes then is heard by the others');
ok($p->silent(0.2), 'and not by who has gone');
is(call($p, 'subscribe', '{"channel":"c"}'),
    '{"type":"response","callId":1,"data":null}', 'who may come back');
call($c, 'publish', '{"channel":"c","message":4}');
is($p->text_in(), message('{"type":"message","channel":"c","message":4}'),
    'and hears again');
$q->text_in();

# in one write, the place in the row decides

$p->send(map { frame(TEXT, $_) }
    request('publish', '{"channel":"row","message":1}'),
    request('subscribe', '{"channel":"row"}'),
    request('publish', '{"channel":"row","message":2}'),
    request('unsubscribe', '{"channel":"row"}'),
    request('publish', '{"channel":"row","message":3}'),
    request('join', '{"channel":"row"}'),
    request('publish', '{"channel":"row","message":4}'),
    request('leave', '{"channel":"row"}'));

my @got;

for (1 .. 10) {
    my $m = (decode($p->text_in()) || {})->{message} or last;
    push @got, $m->{type} eq 'message' ? $m->{message} : $m->{type};
}

is("@got", join(' ', ('response') x 2, 2, ('response') x 4, 4,
    ('response') x 2),
    'a subscription lasts from its call to the call that ends it');


# the other names of the commands

is(call($p, 'join', '{"channel":"j"}'),
    '{"type":"response","callId":1,"data":null}', 'join subscribes');
is(call($p, 'subscribe', '{"channel":"j"}'),
    '{"type":"error","callId":1,"message":"Already subscribed"}',
    'as subscribe does');
is(call($p, 'join', '{"channel":"j"}'),
    '{"type":"error","callId":1,"message":"Already subscribed"}',
    'with the same error');
is(call($p, 'leave', '{"channel":"j"}'),
    '{"type":"response","callId":1,"data":null}', 'leave unsubscribes');
is(call($p, 'unsubscribe', '{"channel":"j"}'),
    '{"type":"error","callId":1,"message":"Not subscribed"}',
    'as unsubscribe does');
is(call($p, 'leave', '{"channel":"j"}'),
    '{"type":"error","callId":1,"message":"Not subscribed"}',
    'with the same error');


# services are separate

is(call_of($p, 'other', 'subscribe', '{"channel":"c"}'),
    '{"type":"response","callId":1,"data":null}',
    'the same channel of another service is another');
call_of($c, 'other', 'publish', '{"channel":"c","message":"other"}');
is($p->text_in(), '{"service":"other","message":{"type":"message",'
    . '"channel":"c","message":"other"}}', 'its messages name the service');
ok($q->silent(0.2), 'and are not heard by those of the first');

my $second = Snorky->connect('/second');

is(call_of($second, 'messaging', 'subscribe', '{"channel":"c"}', 0.2), undef,
    'a service of another registry is not found');

call_of($second, 'readonly', 'subscribe', '{"channel":"r"}');
call_of($p, 'readonly', 'subscribe', '{"channel":"r"}');
is(call_of($second, 'readonly', 'publish', '{"channel":"r","message":1}', 2,
    sub { $_[0] =~ /"type":"message"/ }),
    '{"type":"response","callId":1,"data":null}',
    'two registries may have services of one name, with their own policies');
ok($p->silent(0.2), 'that do not hear each other');

$r = post('/backend2', 'far', '{"channel":"r","message":"far"}');
is($r->{status}, 200, 'a backend of one registry may serve another');
is($p->text_in(), '{"service":"readonly","message":{"type":"message",'
    . '"channel":"r","message":"far"}}', 'and is heard there');
ok($second->silent(0.2), 'only');

$r = post('/backend2', 'own', '{"channel":"r","message":"own"}');
is($second->text_in(), '{"service":"readonly","message":{"type":"message",'
    . '"channel":"r","message":"own"}}', 'while the one of its own');
ok($p->silent(0.2), 'is heard there only');


# who may publish

my $anna = Snorky->connect('/ws?name=anna');

for my $case (
    [ 'messaging', $c, 'response' ], [ 'messaging', $anna, 'response' ],
    [ 'open', $c, 'response' ], [ 'open', $anna, 'response' ],
    [ 'readonly', $c, 'Not authorized' ],
    [ 'readonly', $anna, 'Not authorized' ],
    [ 'members', $c, 'Not authorized' ], [ 'members', $anna, 'response' ])
{
    my ($service, $client, $result) = @$case;
    my $who = $client == $anna ? 'a client with' : 'a client without';

    call_of($q, $service, 'subscribe', '{"channel":"p"}');

    my $text = call_of($client, $service, 'publish',
        '{"channel":"p","message":1}');

    is($text, $result eq 'response'
        ? '{"type":"response","callId":1,"data":null}'
        : '{"type":"error","callId":1,"message":"' . $result . '"}',
        "$who a name gets \"$result\" from $service");

    my $heard = $q->text_in($result eq 'response' ? 5 : 0.2);
    is(defined $heard ? 'heard' : 'not heard',
        $result eq 'response' ? 'heard' : 'not heard', 'and is so');
}

is(call_of($c, $_, 'subscribe', '{"channel":"q"}'),
    '{"type":"response","callId":1,"data":null}',
    "all may subscribe to $_")
    for qw/ readonly members /;


# the backend

is(post('/backend', 'messaging_backend', '{"channel":"c","message":5}')
    ->{body}, '{"service":"messaging_backend","message":{"type":"response",'
    . '"callId":1,"data":null}}', 'a backend is answered by its own service');
is($q->text_in(), message('{"type":"message","channel":"c","message":5}'),
    'and heard in the name of the service that it serves');
$p->text_in();

for my $name (qw/ readonly members other /) {
    call_of($q, $name, 'subscribe', '{"channel":"z"}');
    is(post('/backend', "${name}_backend", '{"channel":"z","message":6}')
        ->{body}, '{"service":"' . $name . '_backend","message":{"type":'
        . '"response","callId":1,"data":null}}',
        "a backend may publish to $name");
    is($q->text_in(), '{"service":"' . $name . '","message":{"type":'
        . '"message","channel":"z","message":6}}', 'whose clients hear it');
}

is(post('/public', 'early', '{"channel":"c","message":7}')->{status}, 200,
    'a backend may be declared before what it serves');
is($q->text_in(), message('{"type":"message","channel":"c","message":7}'),
    'and works');
$p->text_in();

like(post('/public', 'messaging', '{"channel":"c","message":8}')->{body},
    qr/"type":"response"/, 'a backend may be a client of a pubsub service');
is($q->text_in(), message('{"type":"message","channel":"c","message":8}'),
    'and is heard');
$p->text_in();

like(post('/public', 'readonly', '{"channel":"c","message":8}')->{body},
    qr/"message":"Not authorized"/, 'but then the policy is kept');
like(post('/public', 'members', '{"channel":"c","message":8}')->{body},
    qr/"type":"response"/, 'and a location may have an identity');

like(post('/backend', 'messaging_backend', '{"channel":"c"}')->{body},
    qr/"message":"Invalid params"/, 'a backend has the same parameters');

my $private = Snorky->connect('/private');

is(call_of($private, 'messaging_backend', 'publish',
    '{"channel":"c","message":9}'),
    '{"type":"response","callId":1,"data":null}',
    'a WebSocket of a private registry is as mighty as a backend');
is($q->text_in(), message('{"type":"message","channel":"c","message":9}'),
    'and is heard');
$p->text_in();


# disconnection cancels all

my $d = Snorky->connect('/ws');
my $subscriptions = counters()->{subscriptions};

call($d, 'subscribe', qq/{"channel":"gone$_"}/) for 1 .. 10;
is(counters()->{subscriptions} - $subscriptions, 10,
    'subscriptions are counted');

for my $way (qw/ finish reset half_close /) {
    my $client = Snorky->connect('/ws');

    call($client, 'subscribe', qq/{"channel":"way$_"}/) for 1 .. 5;
    call($client, 'subscribe', '{"channel":"gone1"}');
    $client->$way();

    is(wait_until { counters()->{subscriptions} == $subscriptions + 10 }, 1,
        "those of a client that ends with $way are cancelled");
}

call($p, 'publish', '{"channel":"gone1","message":"still"}');
is($d->text_in(), message('{"type":"message","channel":"gone1",'
    . '"message":"still"}'), 'those of others in the channel are not');

undef $d;
is(wait_until { counters()->{subscriptions} == $subscriptions }, 1,
    'the last of a channel takes it away');

$d = Snorky->connect('/ws');
call($p, 'publish', '{"channel":"gone1","message":"nobody"}');
is(call($d, 'subscribe', '{"channel":"gone1"}'),
    '{"type":"response","callId":1,"data":null}',
    'a new client is subscribed to nothing');
ok($d->silent(0.2), 'and does not hear what was before');


$_->finish() for $p, $q, $c, $d, $anna, $second, $private;


# the log is told nothing of all this

is(scalar(() = $t->read_file('error.log')
    =~ /\[(?:warn|error|crit)\] (?!.*key)/g), 0, 'nothing of it is a warning');


# --- helpers ----------------------------------------------------------------

sub message {
    my ($content) = @_;

    return qq/{"service":"messaging","message":$content}/;
}


sub request_of {
    my ($service, $command, $params) = @_;

    return qq/{"service":"$service","message":{"command":"$command",/
        . qq/"params":$params,"callId":1}}/;
}


sub request { return request_of('messaging', @_) }


sub call {
    my ($client, $command, $params) = @_;

    return call_of($client, 'messaging', $command, $params);
}


# the content of the answer; skip tells which messages are passed over

sub call_of {
    my ($client, $service, $command, $params, $timeout, $skip) = @_;

    $client->text(request_of($service, $command, $params));

    for (;;) {
        my $text = $client->text_in($timeout);

        next if $skip && defined $text && $skip->($text);

        return defined $text
            && $text =~ /^\{"service":"$service","message":(.*)\}$/s
            ? $1 : $text;
    }
}


sub post {
    my ($uri, $service, $params) = @_;

    return backend_post($uri, request_of($service, 'publish', $params),
        key => 'swordfish');
}
