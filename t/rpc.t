#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Calls: every one gets one answer, in the order of the calls, with the id
# that it came with.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(123);

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
    snorky_service pubsub_backend messaging_backend frontend=messaging;
    snorky_service echo echo;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my $c = Snorky->connect('/ws');

my $params = '{"channel":"c","message":1}';


# the id of the call

is(call('publish', $params, 1), '{"type":"response","callId":1,"data":null}',
    'a call with an id is answered with it');
is(call('publish', $params), '{"type":"response","data":null}',
    'a response to a call without an id has none');
is(call('publish', $params, 'null'), '{"type":"response","data":null}',
    'null is no id');
is(call('nothing', $params, 1),
    '{"type":"error","callId":1,"message":"Unknown command"}',
    'an error has the id of the call');
is(call('nothing', $params),
    '{"type":"error","callId":null,"message":"Unknown command"}',
    'the error of a call without an id has null');
is(call('nothing', $params, 'null'),
    '{"type":"error","callId":null,"message":"Unknown command"}',
    'as has one whose id is null');

for my $id (qw/ 0 -0 -1 1.0 1e0 1e400 123456789012345678901234567890 true false
    "" "a" "1" "\u0041" "\ud83d\ude00" "\ud800" "\/" [] {} [null]
    {"a":{"b":[1,2.0]}} {"b":1,"a":2,"b":3} /,
    '[ 1 , 2 ]', "\"\xe2\x82\xac\"", '"' . 'x' x 10000 . '"')
{
    my $shown = length $id > 60 ? substr($id, 0, 20) . '...' : $id;

    is(call('publish', $params, $id),
        qq/{"type":"response","callId":$id,"data":null}/,
        "the id $shown comes back as it was sent");
    is(call('subscribe', '{}', $id),
        qq/{"type":"error","callId":$id,"message":"Invalid params"}/,
        'also in an error');
}


# commands

is(answer('messaging', qq/{"command":$_,"params":$params,"callId":1}/),
    '{"type":"error","callId":1,"message":"Unknown command"}',
    "$_ is no command")
    for qw/ "nothing" "" "Publish" "publis" "publishh" "publish\u0000" null 1
            true [] {} ["publish"] {"publish":1} "response" "\ud800" /,
            '" publish"';

is(answer('messaging_backend', '{"command":"subscribe","params":'
    . '{"channel":1}}'),
    '{"type":"error","callId":null,"message":"Unknown command"}',
    'a command of another type of service is unknown');
is(answer('messaging', '{"command":"p\u0075blis\u0068","params":' . $params
    . '}'), '{"type":"response","data":null}',
    'a command may be written with escapes');


# parameters

is(call('publish', $_, 1),
    '{"type":"error","callId":1,"message":"Invalid params"}',
    "the parameters $_ are invalid")
    for qw/ null 1 true "channel" [] ["c",1] {} {"channel":1} {"message":1}
            {"channel":1,"message":1,"other":1}
            {"other":1,"channel":1,"message":1}
            {"channel":1,"message":1,"":1}
            {"Channel":1,"message":1} {"channel":1,"messag":1}
            {"channel":1,"message\u0000":1} {"params":{"channel":1}} /,
            '[{"channel":1,"message":1}]';

is(call($_, '{}', 1), '{"type":"error","callId":1,"message":"Invalid params"}',
    "$_ needs a channel")
    for qw/ subscribe unsubscribe join leave /;

is(call('subscribe', $params, 1),
    '{"type":"error","callId":1,"message":"Invalid params"}',
    'subscribe does not know a message');
is(call('unsubscribe', $params, 1),
    '{"type":"error","callId":1,"message":"Invalid params"}',
    'nor does unsubscribe');

is(call('publish', $_, 1), '{"type":"response","callId":1,"data":null}',
    "the parameters $_ are right")
    for qw/ {"channel":null,"message":null} {"channel":{},"message":[]}
            {"message":1,"channel":"c"}
            {"ch\u0061nnel":1,"messag\u0065":1}
            {"channel":1,"message":1,"channel":2}
            {"channel":1,"message":1,"mess\u0061ge":2} /,
            '{ "channel" : 1 , "message" : 1 }';


# which error is told when there are several

is(call('nothing', '[]', 1),
    '{"type":"error","callId":1,"message":"Unknown command"}',
    'an unknown command is told before its parameters are looked at');
is(answer('readonly', '{"command":"publish","params":{"channel":1},'
    . '"callId":1}'),
    '{"type":"error","callId":1,"message":"Invalid params"}',
    'wrong parameters are told before a missing right');
is(answer('readonly', '{"command":"publish","params":' . $params . ','
    . '"callId":1}'),
    '{"type":"error","callId":1,"message":"Not authorized"}',
    'which is told when they are right');

my $malformed = counters()->{malformed};

$c->text('{"service":"messaging","message":{"command":"nothing","callId":1}}');
is(call('publish', $params, 2), '{"type":"response","callId":2,"data":null}',
    'a call without parameters is not answered');
is(counters()->{malformed} - $malformed, 1,
    'even if the command is unknown: it is no call');


# members of a call

is(answer('messaging', '{"type":"response","data":1,"command":"publish",'
    . '"params":' . $params . ',"service":"x","message":2,"callId":1,"":{}}'),
    '{"type":"response","callId":1,"data":null}',
    'further members of a call are ignored');
is(answer('messaging', '{"callId":1,"params":{},"command":"nothing",'
    . '"params":' . $params . ',"callId":2,"command":"publish"}'),
    '{"type":"response","callId":2,"data":null}',
    'of duplicate members the last counts');
is(answer('messaging', '{"callId":1,"params":' . $params . ',"command":'
    . '"publish","c\u0061llId":"last","comm\u0061nd":"x"}'),
    '{"type":"error","callId":"last","message":"Unknown command"}',
    'also when it is written otherwise');
is(answer('messaging', '{"callId":1,"params":' . $params . ',"command":'
    . '"publish","callId":null}'), '{"type":"response","data":null}',
    'also when it takes the id back');


# the order of answers

my $one = '{"channel":"c","message":';

is(call('subscribe', '{"channel":"c"}', 1),
    '{"type":"response","callId":1,"data":null}', 'who is subscribed');

send_call('publish', $one . '"mine"}', 2);
is($c->text_in(), message('{"type":"message","channel":"c","message":"mine"}'),
    'gets a message of its own first');
is($c->text_in(), message('{"type":"response","callId":2,"data":null}'),
    'and then the answer');

$c->send(map { frame(TEXT, envelope('messaging', \(
    '{"command":"publish","params":' . $one . $_ . '},"callId":' . $_ . '}')))
} 1 .. 100);

my @expected = map {
    message(qq/{"type":"message","channel":"c","message":$_}/),
    message(qq/{"type":"response","callId":$_,"data":null}/)
} 1 .. 100;

is(join("\n", map { $c->text_in() // '' } 1 .. 200), join("\n", @expected),
    'also when it does not wait for the answers');

# one write of all kinds of calls, to several services

my @calls = (
    [ 'messaging', '{"command":"publish","params":{"channel":2,"message":1}',
      '"response"' ],
    [ 'messaging', '{"command":"nothing","params":{}', '"Unknown command"' ],
    [ 'readonly', '{"command":"publish","params":{"channel":2,"message":1}',
      '"Not authorized"' ],
    [ 'messaging', '{"command":"subscribe","params":[]', '"Invalid params"' ],
    [ 'messaging', '{"command":"subscribe","params":{"channel":3}',
      '"response"' ],
    [ 'messaging', '{"command":"subscribe","params":{"channel":3}',
      '"Already subscribed"' ],
    [ 'messaging', '{"command":"unsubscribe","params":{"channel":3}',
      '"response"' ],
    [ 'messaging', '{"command":"unsubscribe","params":{"channel":3}',
      '"Not subscribed"' ],
    [ 'echo', '{"command":"publish"', 'echo' ],
    [ 'messaging_backend',
      '{"command":"publish","params":{"channel":2,"message":1}',
      '"response"' ],
);

my ($data, @wanted, @got) = ('');

for my $n (0 .. 499) {
    my ($service, $text, $result) = @{ $calls[$n % @calls] };

    $data .= frame(TEXT,
        qq/{"service":"$service","message":$text,"callId":$n}}/);
    push @wanted, "$service $n $result";
}

$c->send($data);

for (0 .. 499) {
    my $e = decode($c->text_in()) or last;
    my $m = $e->{message};

    push @got, "$e->{service} $m->{callId} " . (!$m->{type} ? 'echo'
        : json($m->{type} eq 'error' ? $m->{message} : $m->{type}));
}

is(join("\n", @got), join("\n", @wanted),
    'five hundred calls at once are answered in their order');

# and when they come byte by byte, or several in a piece

my $text = '';
$text .= frame(TEXT, request("publish", '{"channel":2,"message":1}', $_))
    for 1 .. 20;

$c->send($_) for $text =~ /(.{1,7})/gs;
is(join(',', map { (decode($c->text_in()) || {})->{message}{callId} // '' }
    1 .. 20), join(',', 1 .. 20), 'as are those that come in small pieces');


# what others are told

my $listener = Snorky->connect('/ws');

$listener->rpc('messaging', 'subscribe', { channel => 'others' });
$listener->rpc('messaging', 'subscribe', { channel => 'done' });

send_call('nothing', '{"channel":"others","message":1}', 1);
send_call('publish', '{"channel":"others"}', 2);
send_call('publish', '["others",1]', 3);
send_call('publish', '{"channel":"done","message":1}', 4);
$c->text_in() for 1 .. 4;

is($listener->text_in(),
    message('{"type":"message","channel":"done","message":1}'),
    'a call that is refused has no effect');


# the figures, and the log

my $before = counters();

call('nothing', '{}', 1);
call('subscribe', '{}', 1);
call('publish', $one . '1}', 1);
$c->text_in();

my $after = counters();

is($after->{errors} - $before->{errors}, 2, 'errors are counted');
is($after->{malformed} - $before->{malformed}, 0,
    'and are not what is called malformed');
is(scalar(() = $t->read_file('error.log') =~ /\[(?:warn|error|crit)\]/g), 0,
    "a client's mistakes are no warnings");
like($t->read_file('error.log'),
    qr/\[info\] .*"messaging" failed: Unknown command/,
    'but are told at level info');

is($c->finish(), 1000, 'after all of it the client can close');


# --- helpers ----------------------------------------------------------------

sub message {
    my ($content) = @_;

    return qq/{"service":"messaging","message":$content}/;
}


sub request {
    my ($command, $json, $id) = @_;

    return message(qq/{"command":"$command","params":$json/
        . (defined $id ? qq/,"callId":$id/ : '') . '}');
}


sub send_call {
    my (@a) = @_;

    return $c->text(request(@a));
}


# the answer's content to a call of the service "messaging"

sub call {
    my (@a) = @_;

    send_call(@a);

    return content('messaging', $c->text_in());
}


sub answer {
    my ($service, $json) = @_;

    $c->text(qq/{"service":"$service","message":$json}/);

    return content($service, $c->text_in());
}


sub content {
    my ($service, $answer) = @_;

    return defined $answer
        && $answer =~ /^\{"service":"\Q$service\E","message":(.*)\}$/s
        ? $1 : $answer;
}
