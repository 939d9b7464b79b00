#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# datasync and datasync_backend: tokens, deltas, and who gets them.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Sync;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(371);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_drain 10ms;

    snorky_zone 4m;

    snorky_dealer public/datasync all broadcast model=m;

    snorky_service datasync datasync;
    snorky_service datasync other;

    snorky_dealer public/datasync all2 broadcast model=m;
    snorky_dealer public/datasync by simple model=m key=a;
    snorky_dealer public/datasync if filter model=m;
    snorky_dealer public/datasync n_all broadcast model=n;

    snorky_dealer other all broadcast model=m;
    snorky_dealer public/other mine broadcast model=mine;

    snorky_registry private {
        snorky_service datasync_backend sync frontend=public/datasync;
        snorky_service datasync_backend other_sync frontend=public/other;
        snorky_service datasync_backend second_sync frontend=second/datasync;
    }

    snorky_registry second {
        snorky_service datasync datasync;
        snorky_dealer second/datasync all broadcast model=m;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /second {
            snorky_websocket registry=second;
        }

        location /private {
            snorky_websocket registry=private;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            snorky_max_message_size 1m;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my ($p, $q, $c) = map { Snorky->connect('/ws') } 1 .. 3;
my $null = response('null');
my ($r, $token);


# --- authorization ----------------------------------------------------------

like(authorize('sync', '[]'), qr/^\{"type":"response","callId":1,"data":
    "[a-z0-9]{32}"\}$/x, 'a subscription may be for nothing');

my %tokens;
my $letters = '';

for my $i (1 .. 50) {
    my ($text) = authorize('sync', '[{"dealer":"all","query":null}]')
        =~ /^\{"type":"response","callId":1,"data":"([a-z0-9]{32})"\}$/;
    $tokens{ $text // 'none' } = 1;
    $letters .= $text // '';
}

is(scalar keys %tokens, 50, 'fifty tokens are fifty');
ok(!exists $tokens{none}, 'of 32 characters a-z0-9');

my %letters = map { $_ => scalar(() = $letters =~ /$_/g) } 'a' .. 'z', 0 .. 9;

is(scalar(grep { $_ } values %letters), 36, 'all of which occur');
is(scalar(grep { $_ < 12 || $_ > 90 } values %letters), 0,
    'about as often as each other') or diag(json(\%letters));

for my $case (
    [ '1', 'Invalid params', 'a number' ],
    [ 'null', 'Invalid params', 'null' ],
    [ '"[]"', 'Invalid params', 'a string' ],
    [ '{}', 'Invalid params', 'an object' ],
    [ '{"dealer":"all","query":null}', 'Invalid params', 'an item' ],
    [ '[1]', 'Invalid params', 'a list of a number' ],
    [ '[null]', 'Invalid params', 'a list of null' ],
    [ '[[]]', 'Invalid params', 'a list of lists' ],
    [ '["all"]', 'Invalid params', 'a list of names' ],
    [ '[{"query":null}]', "Missing field 'dealer'", 'no dealer' ],
    [ '[{"Dealer":"all","query":null}]', "Missing field 'dealer'",
      'a dealer of another case' ],
    [ '[{"dealer":"all"}]', "Missing field 'query'", 'no query' ],
    [ '[{"dealer":"by"}]', "Missing field 'query'", 'none of a simple dealer' ],
    [ '[{"dealer":"if"}]', "Missing field 'query'", 'none of a filter' ],
    [ '[{}]', "Missing field 'dealer'", 'nothing' ],
    [ '[{"dealer":1,"query":null}]', 'dealer should be a dealer name',
      'a number for a dealer' ],
    [ '[{"dealer":null,"query":null}]', 'dealer should be a dealer name',
      'null for a dealer' ],
    [ '[{"dealer":["all"],"query":null}]', 'dealer should be a dealer name',
      'a list for a dealer' ],
    [ '[{"dealer":"","query":null}]', 'No such dealer', 'an empty name' ],
    [ '[{"dealer":"m","query":null}]', 'No such dealer', "a model's name" ],
    [ '[{"dealer":"All","query":null}]', 'No such dealer',
      'a name of another case' ],
    [ '[{"dealer":"all ","query":null}]', 'No such dealer', 'a blank more' ],
    [ '[{"dealer":"mine","query":null}]', 'No such dealer',
      'a dealer of another service' ],
    [ '[{"dealer":"all\u0000","query":null}]', 'No such dealer',
      'a zero behind a name' ],
    [ '[{"dealer":"all","query":null},{"dealer":"x","query":null}]',
      'No such dealer', 'a second item that is wrong' ],
    [ '[{"dealer":"all","query":null},{"dealer":"if","query":1}]',
      'Invalid query', 'a second item with a wrong query' ],
    [ '[{"dealer":"all","query":null},3]', 'Invalid params',
      'a second item that is none' ],
    [ '[{"dealer":"all","query":null},{"dealer":"all"}]',
      "Missing field 'query'", 'a second item without a query' ])
{
    my ($items, $message, $what) = @$case;

    is(authorize('sync', $items), error($message), "\"$message\": $what");
}

is(post('sync', 'authorizeSubscription', $_), error('Invalid params'),
    "authorizeSubscription has one parameter: $_")
    for '{}', '{"items":[],"x":1}', '{"Items":[]}', '[]';

like(authorize('sync', $_), qr/"type":"response"/, "$_ is right") for
    '[{"dealer":"all","query":[1,{"a":null}],"more":1}]',
    '[{"dealer":"\u0061ll","query":null}]',
    '[{"dealer":"x","query":1,"dealer":"all"}]',
    '[ { "query" : "x" , "dealer" : "by" } ]';

# malformed filters

is(authorize('sync', "[{\"dealer\":\"if\",\"query\":$_}]"),
    error('Invalid query'), "the filter $_ is malformed")
    for qw/ null true 1 "" "==" {} {"==":["a",1]} [] [[]] ["=="] ["==","a"]
        ["==","a",1,2] ["==",1,1] ["==",null,1] ["==",["a"],1] ["==","",1]
        ["==",".",1] ["==","a.",1] ["==",".a",1] ["==","a..b",1] ["<"]
        ["<","a"] ["<","a",1,2] ["<",1,"a"] ["<=","a"] [">",1,2] [">=","a"]
        ["=","a",1] ["!=","a",1] ["<>","a",1] ["===","a",1] ["",1]
        ["AND",["==","a",1]] ["And",["==","a",1]] ["xor",["==","a",1]]
        ["and"] ["or"] ["and",1] ["or","a"] ["and","a",1] ["not"] ["not",null]
        ["not",["==","a",1],["==","a",1]] ["not","a"] ["not",["=="]]
        ["and",["==","a",1],1] ["or",["==","a",1],["=="]]
        ["and",["or",["not",["==","a"]]]] [["==","a",1]] [1,"a",1] [null]
        ["==","a",1,["==","a",1]] ["and",["==","a",1],[]] /;

like(authorize('sync', "[{\"dealer\":\"if\",\"query\":$_}]"),
    qr/"type":"response"/, "the filter $_ is not")
    for qw/ ["==","a",1] ["\u003d=","a",1] ["==","a",null] ["==","a",[]]
        ["==","a",{"b":[1]}] ["==","a.b.c",1] ["<","a","x"] [">=","a",-1e5]
        ["and",["==","a",1]] ["or",["==","a",1]] ["not",["==","a",1]]
        ["and",["==","a",1],["==","b",1],["==","c",1],["==","d",1]]
        ["not",["not",["not",["==","a",1]]]] ["\u0061nd",["==","a",1]] /,
        '[ "or" , [ "<" , "a" , 2 ] , [ ">" , "a" , 3 ] ]';


# --- acquisition ------------------------------------------------------------

$token = token('sync', '[{"dealer":"all","query":null}]');

for my $command (qw/ acquireSubscription cancelSubscription /) {
    is(call($p, $command, "{\"token\":$_}"), error('token must be string'),
        "$command: $_ is no token")
        for qw/ null 1 true [] {} /, "[\"$token\"]";

    is(call($p, $command, "{\"token\":$_}"), error('No such subscription'),
        "$command: $_ is an unknown one")
        for '""', '"x"', '"' . 'a' x 32 . '"', '"' . uc($token) . '"',
            "\"$token \"", '"' . substr($token, 0, 31) . '"',
            "\"$token\\u0000\"", "\"\xe2\x82\xac\"";

    is(call($p, $command, $_), error('Invalid params'),
        "$command has one parameter: $_")
        for '{}', '[]', "{\"token\":\"$token\",\"x\":1}", "[\"$token\"]",
            "{\"Token\":\"$token\"}";

    is(call($p, $command, '{"token":"' . 'x' x 1025 . '"}'),
        error('Token too long'), "$command: it may be too long");
}

is(call($p, 'acquire', "{\"token\":\"$token\"}"), error('Unknown command'),
    'there is no other command');
is(post('sync', 'acquireSubscription', "{\"token\":\"$token\"}"),
    error('Unknown command'), 'none of the frontend in the backend');
is(call($p, 'authorizeSubscription', '{"items":[]}'), error('Unknown command'),
    'none of the backend in the frontend');
is(call($p, 'publishDeltas', '{"deltas":[]}'), error('Unknown command'),
    'of neither kind');
like(post('datasync', 'authorizeSubscription', '{"items":[]}'), qr/^404 /,
    'and no frontend in the registry of the backend');

is(cancel($p, $token), error('No such subscription'),
    'what nobody has acquired cannot be cancelled');
is(acquire($p, $token), $null, 'acquireSubscription returns null');
is(acquire($p, $token), error('Subscription already acquired'),
    'and can be done once');
is(acquire($q, $token), error('Subscription already acquired'),
    'also by another client');
is(cancel($q, $token), error('No such subscription'),
    'which cannot cancel it');
is(cancel($p, $token), $null, 'cancelSubscription returns null');
is(cancel($p, $token), error('No such subscription'), 'and can be done once');
is(acquire($p, $token), error('No such subscription'),
    'then the token is worth nothing');
is(acquire($q, $token), error('No such subscription'), 'to anybody');

$token = token('sync', '[]');
is(call($p, 'acquireSubscription', "{\"token\":\"\\u00"
    . sprintf('%02x', ord $token) . substr($token, 1) . '"}'), $null,
    'a token may be written with escapes');
is(call($p, 'cancelSubscription', "{ \"token\" : \"$token\" }"), $null,
    'and so be cancelled, either way');

$p->text('{"service":"datasync","message":{"command":"cancelSubscription",'
    . '"params":{"token":1}}}');
is($p->text_in(), '{"service":"datasync","message":{"type":"error",'
    . '"callId":null,"message":"token must be string"}}',
    'a call without a callId is answered, too');


# --- deltas -----------------------------------------------------------------

my $all = subscribe($p, '[{"dealer":"all","query":null}]');

is(publish('sync', '[]'), $null, 'publishDeltas returns null');
is(publish('sync', '[{"type":"insert","model":"m","data":1}]'), $null,
    'with deltas, too');
is(seen($p), 'insert m data 1', 'which arrive');

is(post('sync', 'publishDeltas', '{"deltas":[' . join(',',
    '{"type":"insert","model":"m","data":1}',
    '{"type":"delete","model":"m","data":2}',
    '{"type":"update","model":"m","newData":3,"oldData":4}') . ']}'), $null,
    'a call may have several');
is(seen($p), 'insert m data 1, delete m data 2, update m newData 3 oldData 4',
    'which arrive in their order');

like((map { $p->text_in() } publish('sync', '[{"data":[],"model":"m",'
    . '"type":"insert","more":{"x":1}}]'))[0],
    qr/^\{"service":"datasync","message":\{"type":"delta","delta":\{
        (?=[^{}]*"type":"insert")(?=[^{}]*"model":"m")(?=[^{}]*"data":\[\])
        [^{}]*\}\}\}$/x,
    'a delta has its fields, whatever else was sent');

for my $data (qw/ null true false 0 -0 1.0 1e400 -1E-5 "" "\u0041" "\ud83d"
    123456789012345678901234567890 {} [] [1,[2,[3]]] {"b":1,"a":2,"b":3}
    {"type":"delete","model":"n","data":1} "\/\b" /, "\"\xe2\x82\xac\"",
    '"' . 'x' x 50000 . '"', '[' x 50 . ']' x 50)
{
    my $shown = length $data > 60 ? substr($data, 0, 20) . '...' : $data;

    for my $type (qw/ insert delete /) {
        publish('sync', "[{\"type\":\"$type\",\"model\":\"m\","
            . "\"data\":$data}]");
        is(seen($p), "$type m data $data",
            "$type: $shown arrives as it was sent");
    }

    publish('sync', "[{\"type\":\"update\",\"model\":\"m\",\"newData\":$data,"
        . '"oldData":0}]');
    is(seen($p), "update m newData $data oldData 0", 'also new');
    publish('sync', "[{\"type\":\"update\",\"model\":\"m\",\"newData\":0,"
        . "\"oldData\":$data}]");
    is(seen($p), "update m newData 0 oldData $data", 'or old');
}

publish('sync', '[{"\u0074ype":"\u0069nsert","model":"\u006d","data":1}]');
is(seen($p) =~ s/\\u006d/m/r =~ s/\\u0069/i/r, 'insert m data 1',
    'names and types may be escaped');

my $good = '{"type":"insert","model":"m","data":"good"}';

for my $case (
    [ '1', 'Invalid params', 'a number' ],
    [ 'null', 'Invalid params', 'null' ],
    [ '{}', 'Invalid params', 'an object' ],
    [ '"x"', 'Invalid params', 'a string' ],
    [ $good, 'Invalid params', 'a delta without a list' ],
    [ '[1]', 'Invalid params', 'a number in the list' ],
    [ '[null]', 'Invalid params', 'null in the list' ],
    [ "[[$good]]", 'Invalid params', 'a list in the list' ],
    [ '[{"type":"insert","model":1,"data":1}]', 'model must be string',
      'a number' ],
    [ '[{"type":"insert","model":null,"data":1}]', 'model must be string',
      'null' ],
    [ '[{"type":"insert","model":["m"],"data":1}]', 'model must be string',
      'a list' ],
    [ '[{"type":"upsert","model":"m","data":1}]', 'Invalid delta type',
      'another type' ],
    [ '[{"type":"Insert","model":"m","data":1}]', 'Invalid delta type',
      'another case' ],
    [ '[{"type":"","model":"m","data":1}]', 'Invalid delta type', 'nothing' ],
    [ '[{"type":1,"model":"m","data":1}]', 'Invalid delta type', 'a number' ],
    [ '[{"type":null,"model":"m","data":1}]', 'Invalid delta type', 'null' ],
    [ '[{"type":"insert","model":"m"}]', 'Missing field', 'no data' ],
    [ '[{"type":"delete","model":"m"}]', 'Missing field',
      'no data of a delete' ],
    [ '[{"type":"insert","model":"m","newData":1}]', 'Missing field',
      'new data of an insert' ],
    [ '[{"type":"update","model":"m","data":1}]', 'Missing field',
      'data of an update' ],
    [ '[{"type":"update","model":"m","newData":1}]', 'Missing field',
      'no old data' ],
    [ '[{"type":"update","model":"m","oldData":1}]', 'Missing field',
      'no new data' ],
    [ '[{"type":"insert","data":1}]', 'Missing field', 'no model' ],
    [ '[{"model":"m","data":1}]', 'Missing field', 'no type' ],
    [ '[{}]', 'Missing field', 'nothing at all' ],
    [ '[{"type":"x","model":1}]', 'model must be string', 'is told first' ],
    [ '[{"type":"x","model":"m"}]', 'Invalid delta type',
      'is told before what is missing' ],
    [ '[{"type":"insert","model":"x"}]', 'Missing field',
      'is told before an unknown model' ],
    [ '[{"type":"insert","model":"x","data":1}]',
      'No dealer for model \"x\"', 'unknown' ],
    [ '[{"type":"insert","model":"","data":1}]',
      'No dealer for model \"\"', 'empty' ],
    [ '[{"type":"insert","model":"M","data":1}]',
      'No dealer for model \"M\"', 'of another case' ],
    [ '[{"type":"insert","model":"mine","data":1}]',
      'No dealer for model \"mine\"', 'of another service' ],
    [ '[{"type":"insert","model":"m\u0000","data":1}]',
      'No dealer for model \"m\u0000\"', 'with a zero' ],
    [ '[{"type":"insert","model":"a\"b","data":1}]',
      'No dealer for model \"a\"b\"', 'with a quote' ])
{
    my ($deltas, $message, $what) = @$case;
    my $got = publish('sync', $deltas);

    is($got, error($message), "\"$message\": $what");
    is(publish('sync', "[$good," . substr($deltas, 1, -1) . ",$good]"), $got,
        'also among good ones') if $deltas =~ /^\[[^\[1n]/;
}

is(seen($p), '', 'of all that nothing has arrived');

is(post('sync', 'publishDeltas', $_), error('Invalid params'),
    "publishDeltas has one parameter: $_")
    for '{}', '{"deltas":[],"x":1}', '[]', "{\"delta\":$good}";

# an array of envelopes

my $one = request('sync', 'publishDeltas', "{\"deltas\":[$good]}");

$r = backend_post('/backend', '[' . join(',', $one,
    request('sync', 'publishDeltas', '{"deltas":[{}]}'),
    request('other_sync', 'publishDeltas', "{\"deltas\":[$good]}"),
    $one, request('sync', 'authorizeSubscription', '{"items":[]}')) . ']',
    key => 'swordfish');

like($r->{body}, qr/^\[
    \{"service":"sync","message":\Q$null\E\},
    \{"service":"sync","message":\Q${\ error('Missing field') }\E\},
    \{"service":"other_sync","message":\Q$null\E\},
    \{"service":"sync","message":\Q$null\E\},
    \{"service":"sync","message":\{"type":"response","callId":1,
    "data":"[a-z0-9]{32}"\}\}\]$/x,
    'an array of envelopes is answered with one');
is(seen($p), 'insert m data "good", insert m data "good"',
    'and done but for what is wrong');

# a WebSocket of the private registry

my $private = Snorky->connect('/private');

is(call_of($private, 'sync', 'publishDeltas', "{\"deltas\":[$good]}"), $null,
    'a WebSocket may be a backend');
is(seen($p), 'insert m data "good"', 'and be heard');
$r = call_of($private, 'sync', 'authorizeSubscription',
    '{"items":[{"dealer":"all","query":null}]}');
like($r, qr/"data":"[a-z0-9]{32}"\}$/, 'and authorize');

my ($from_socket) = $r =~ /"data":"([a-z0-9]{32})"/;

$private->finish();
is(acquire($q, $from_socket), $null, 'what is good when it has gone');
is(cancel($q, $from_socket), $null, 'for a while');

# the end of a subscription

is(cancel($p, $all), $null, 'a subscription ends');
publish('sync', "[$good]");
is(seen($p), '', 'and nothing comes then');

is($q->silent(0.2) + $c->silent(0.2), 2, 'nobody else has heard anything');


# --- what is kept -----------------------------------------------------------

$token = token('sync', '[{"dealer":"all","query":null}]');
publish('sync', join '', '[', join(',', map {
    "{\"type\":\"insert\",\"model\":\"m\",\"data\":$_}" } 1 .. 5), ']');
publish('sync', '[{"type":"delete","model":"m","data":{"a" : 1.0}},'
    . '{"type":"update","model":"m","newData":"\u0041","oldData":-0}]');
publish('sync', '[{"type":"insert","model":"n","data":"other"}]');

$p->text(request('datasync', 'acquireSubscription', "{\"token\":\"$token\"}"));

my @texts = map { $p->text_in() } 1 .. 8;

is(join(', ', map { sign($_) } @texts[0 .. 6]), join(', ',
    (map { "insert m data $_" } 1 .. 5), 'delete m data {"a" : 1.0}',
    'update m newData "\u0041" oldData -0'),
    'what comes between authorization and acquisition is kept as it was sent');
is($texts[7], envelope('datasync', \$null), 'and comes before the response');

publish('sync', "[$good]");
is(seen($p), 'insert m data "good"', 'what comes then comes at once');
cancel($p, $token);

# deltas are for those who wait, and from there on

publish('sync', '[{"type":"insert","model":"m","data":"before"}]');
my $first = token('sync', '[{"dealer":"all","query":null}]');
publish('sync', '[{"type":"insert","model":"m","data":1}]');
my $second = token('sync', '[{"dealer":"by","query":1},'
    . '{"dealer":"n_all","query":null}]');
publish('sync', '[{"type":"insert","model":"m","data":{"a":1}},'
    . '{"type":"insert","model":"n","data":{"a":2}}]');
my $third = token('sync', '[{"dealer":"n_all","query":null}]');
publish('sync', '[{"type":"insert","model":"n","data":{"a":3}},'
    . '{"type":"insert","model":"m","data":{"a":4}}]');

acquire($q, $second);
is(kept($q), 'insert m data {"a":1}, insert n data {"a":2}, '
    . 'insert n data {"a":3}', 'one that waits gets what is its own');
acquire($p, $first);
is(kept($p), 'insert m data 1, insert m data {"a":1}, insert m data {"a":4}',
    'one that has waited longer has got all from its beginning');
publish('sync', '[{"type":"insert","model":"n","data":{"a":5}}]');
acquire($c, $third);
is(kept($c), 'insert n data {"a":3}, insert n data {"a":5}',
    'one that has come later has not');
is(seen($q), 'insert n data {"a":5}', 'who has acquired hears it at once');

cancel($p, $first);
cancel($q, $second);
cancel($c, $third);

# in one write, the place in the row decides

$token = token('sync', '[{"dealer":"all","query":null}]');
publish('sync', '[{"type":"insert","model":"m","data":1}]');

$p->send(map { frame(TEXT, $_) }
    request('datasync', 'cancelSubscription', "{\"token\":\"$token\"}"),
    request('datasync', 'acquireSubscription', "{\"token\":\"$token\"}"),
    request('datasync', 'acquireSubscription', "{\"token\":\"$token\"}"),
    request('datasync', 'cancelSubscription', "{\"token\":\"$token\"}"),
    request('datasync', 'acquireSubscription', "{\"token\":\"$token\"}"));

is(join(', ', map { my $m = (decode($p->text_in()) || {})->{message} || {};
    $m->{type} eq 'error' ? $m->{message} : $m->{type} } 1 .. 6),
    'No such subscription, delta, response, Subscription already acquired, '
    . 'response, No such subscription', 'calls are answered in their order');


# --- several items, several subscriptions -----------------------------------

$token = subscribe($p, '[{"dealer":"all","query":null},'
    . '{"dealer":"by","query":1},{"dealer":"all2","query":null},'
    . '{"dealer":"by","query":1},{"dealer":"by","query":2}]');

publish('sync', '[{"type":"insert","model":"m","data":{"a":1}},'
    . '{"type":"insert","model":"m","data":{"a":3}}]');
is(seen($p), join(', ', ('insert m data {"a":1}') x 4,
    ('insert m data {"a":3}') x 2), 'each item that matches delivers');

publish('sync', '[{"type":"update","model":"m","newData":{"a":1},'
    . '"oldData":{"a":2}}]');
is(seen($p), join(', ', map { $_ eq 'u'
    ? 'update m newData {"a":1} oldData {"a":2}'
    : $_ eq 'i' ? 'insert m data {"a":1}' : 'delete m data {"a":2}' }
    qw/ u i u i d /), 'in the order of the items');

my $later = token('sync', '[{"dealer":"by","query":2},'
    . '{"dealer":"all","query":null}]');
publish('sync', '[{"type":"update","model":"m","newData":{"a":2},'
    . '"oldData":{"a":5}}]');
seen($p);
acquire($p, $later);
is(kept($p), 'insert m data {"a":2}, '
    . 'update m newData {"a":2} oldData {"a":5}', 'also of what was kept');

publish('sync', '[{"type":"delete","model":"m","data":{"a":2}},'
    . '{"type":"update","model":"m","newData":{"a":9},"oldData":{"a":2}}]');
is(seen($p), join(', ', ('delete m data {"a":2}') x 5,
    (map { $_ eq 'u' ? 'update m newData {"a":9} oldData {"a":2}'
                     : 'delete m data {"a":2}' } qw/ u u d d u /)),
    'subscriptions deliver in the order of their acquisition');

cancel($p, $token);
publish('sync', '[{"type":"insert","model":"m","data":{"a":2}}]');
is(seen($p), join(', ', ('insert m data {"a":2}') x 2),
    'and each ends by itself');

$token = subscribe($p, '[{"dealer":"by","query":2}]');
publish('sync', '[{"type":"update","model":"m","newData":{"a":2},'
    . '"oldData":{"a":7}}]');
is(seen($p), 'insert m data {"a":2}, update m newData {"a":2} oldData {"a":7},'
    . ' insert m data {"a":2}', 'a new one is the last');
cancel($p, $later);
cancel($p, $token);

# acquired in another order than authorized

my @three = map { token('sync', "[{\"dealer\":\"by\",\"query\":$_}]") } 1 .. 3;

acquire($p, $_) for reverse @three;

publish('sync', '[{"type":"update","model":"m","newData":{"a":1},'
    . '"oldData":{"a":3}}]');
is(seen($p), 'delete m data {"a":3}, insert m data {"a":1}',
    'whatever the order of the authorizations');
cancel($p, $_) for @three;

# a hundred items

$token = subscribe($p, '[' . join(',',
    map { "{\"dealer\":\"by\",\"query\":$_}" } 1 .. 100) . ']');
publish('sync', '[' . join(',', map { "{\"type\":\"insert\",\"model\":\"m\","
    . "\"data\":{\"a\":$_}}" } reverse 1 .. 101) . ']');
is(seen($p), join(', ', map { "insert m data {\"a\":$_}" } reverse 1 .. 100),
    'a subscription may have a hundred items');
cancel($p, $token);


# --- services are separate --------------------------------------------------

my $two = Snorky->connect('/second');

$token = token('other_sync', '[{"dealer":"all","query":null}]');
is(acquire($p, $token), error('No such subscription'),
    'a token of one service is none of another');
is(acquire($two, $token), error('No such subscription'),
    'nor of one with the same name');
is(call_of($p, 'other', 'acquireSubscription', "{\"token\":\"$token\"}"), $null,
    'but of its own');
is(call_of($p, 'datasync', 'cancelSubscription', "{\"token\":\"$token\"}"),
    error('No such subscription'), 'also when it is to be cancelled');

$all = subscribe($p, '[{"dealer":"all","query":null}]');
my $theirs = token('second_sync', '[{"dealer":"all","query":null}]');
is(acquire($two, $theirs), $null, 'services of two registries');

publish('sync', '[{"type":"insert","model":"m","data":"datasync"}]');
publish('other_sync', '[{"type":"insert","model":"m","data":"other"}]');
publish('second_sync', '[{"type":"insert","model":"m","data":"second"}]');

cancel($p, 'none');     # what comes before its answer has come
is(join(' ', map { "$_->{service} $_->{message}{delta}{data}" }
    map { $_->{envelope} } splice @{ $p->{inbox} }), 'datasync datasync '
    . 'other other', 'hear their own deltas, in their own names');
is(seen($two), 'insert m data "second"', 'of the same models');

cancel($p, $all);
call_of($p, 'other', 'cancelSubscription', "{\"token\":\"$token\"}");
$two->finish();

$token = token('other_sync', '[{"dealer":"mine","query":null}]');
is(publish('other_sync', '[{"type":"insert","model":"mine","data":1}]'), $null,
    'a dealer may name the service with its registry');
call_of($p, 'other', 'acquireSubscription', "{\"token\":\"$token\"}");
is(kept($p), 'insert mine data 1', 'and works');
call_of($p, 'other', 'cancelSubscription', "{\"token\":\"$token\"}");


# --- disconnection ----------------------------------------------------------

for my $way (qw/ finish reset half_close /) {
    my $client = Snorky->connect('/ws');

    my @own = map { subscribe($client, '[{"dealer":"all","query":null}]') }
        1 .. 3;

    is(acquire($p, $own[2]), error('Subscription already acquired'),
        'a client has some');
    $client->$way();

    is((wait_until { acquire($p, $own[2]) eq error('No such subscription') }),
        1, "those of one that ends with $way are cancelled");
    is(acquire($p, $_), error('No such subscription'), 'all of them')
        for @own[0, 1];
}

is(publish('sync', "[$good]"), $null, 'deltas may be for nobody');
is(seen($p) . seen($q) . seen($c), '', 'who is there hears nothing of it');


$_->finish() for $p, $q, $c;
