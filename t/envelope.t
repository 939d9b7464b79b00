#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# What a message is wrapped in, and what becomes of one that is not, or that
# nobody is there for: it is discarded, told in the log and counted, and the
# connection stays open.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(214);

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
    snorky_service echo echo;
    snorky_service echo "quoted \"name\"";

    snorky_registry private {
        snorky_service echo hidden;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /flat {
            snorky_websocket;
            snorky_max_depth 3;
        }

        location /deep {
            snorky_websocket;
            snorky_max_depth 20000;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my $c = Snorky->connect('/ws');

my $publish = '{"command":"publish","params":{"channel":1,"message":1}}';


# not JSON (RFC 8259)

discarded('a plain word', 'hello');
discarded('an empty message', '');
discarded('white space', " \t\r\n");
discarded('a lone zero byte', "\x00");
discarded('an object that does not end', '{"service":"echo","message":1');
discarded('a string that does not end', '{"service":"echo","message":"1}');
discarded('a brace too many', '{"service":"echo","message":1}}');
discarded('a word behind the end', '{"service":"echo","message":1} x');
discarded('half a word behind the end', '{"service":"echo","message":1} tru');
discarded('a zero byte behind the end', qq/{"service":"echo","message":1}\x00/);
discarded('two envelopes in one message',
    '{"service":"echo","message":1}{"service":"echo","message":2}');
discarded('two envelopes on two lines',
    qq/{"service":"echo","message":1}\n{"service":"echo","message":2}/);
discarded('a byte order mark',
    qq/\xef\xbb\xbf{"service":"echo","message":1}/);
discarded('names without quotes', '{service:"echo",message:1}');
discarded('names in single quotes', "{'service':'echo','message':1}");
discarded('a name that is a number',
    '{"service":"echo","message":1,1:2}');
discarded('no colon', '{"service" "echo","message":1}');
discarded('no comma', '{"service":"echo" "message":1}');
discarded('two commas', '{"service":"echo",,"message":1}');
discarded('a comma in front', '{,"service":"echo","message":1}');
discarded('a bracket closed by a brace', '{"service":"echo","message":[1}]');

for my $value (
    qw/ NaN Infinity -Infinity nan True None undefined nul tru 01 -01 +1 .5
        1. -.5 - 1e 1e+ 1.e1 0x10 1_000 /,
    '1,5', '1 2', '[1,]', '[,]', '[1,,2]', '[1 2]', '{"a":1,}', '{"a"}',
    '{"a":}', '{"a":1 "b":2}', "'a'", '', '[1', '"a"b', '/* 1 */ 1', '1 // one',
    '1 /* one */', '# 1', '<b>', '"\\x41"', '"\\u12"', '"\\u00g0"', '"\\\'"',
    '"\\', "\"\x01\"", "\"a\nb\"", "\"a\tb\"", "\"\x00\"", "\x0c1", "1\x0c",
    "\x0b1", "[1\x0c,2]", "\xc2\xa01", "\xe2\x80\xa81")
{
    (my $shown = $value) =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ge;

    discarded("the content $shown",
        '{"service":"echo","message":' . $value . '}');
}


# not UTF-8, which only a binary frame can carry so far

discarded('a text in UTF-16',
    join('', map { "\x00$_" } split //, '{"service":"echo","message":1}'),
    BINARY);

for my $bytes ("\xff", "\xc0\x80", "\xe9", "\xed\xa0\x80", "\xf4\x90\x80\x80",
    "\xf8\x88\x80\x80\x80", "\xe2\x82", "\x80")
{
    discarded('a binary frame with the bytes ' . unpack('H*', $bytes),
        qq/{"service":"echo","message":"$bytes"}/, BINARY);
}

discarded('bytes that are not UTF-8 in a name',
    qq/{"service":"echo","message":1,"\xff":2}/, BINARY);
discarded('bytes that are not UTF-8 in the service',
    qq/{"service":"ech\xff","message":1}/, BINARY);


# no envelope

discarded("the value $_", $_)
    for qw/ 1 null true "echo" [] {} /, '["echo",1]',
        '[{"service":"echo","message":1}]', '{"service":"echo"}',
        '{"message":1}', '{"Service":"echo","message":1}',
        '{"service":"echo","messages":1}', '{"service ":"echo","message":1}';

discarded("a service that is $_", qq/{"service":$_,"message":1}/)
    for qw/ null true 1 ["echo"] {"echo":1} /;


# nobody is there for it

discarded("the service $_", qq/{"service":$_,"message":1}/)
    for qw/ "nobody" " " "Echo" "ech" "echoo" " echo" "echo\u0000" "hidden"
            "public\/echo" "\ud800" /;


# not what an RPC service understands

discarded("the call $_", qq/{"service":"messaging","message":$_}/)
    for qw/ null 1 "publish" [] {} true /, '["publish",{}]',
        '{"params":{"channel":1,"message":1}}', '{"command":"publish"}',
        '{"Command":"publish","params":{}}', '{"command":"publish","param":{}}',
        '{"callId":1}', "[$publish]";


# too deep

discarded('a message that is nested 65 deep', nested('echo', 64));
discarded('a message that is nested 20,000 deep', nested('echo', 20000));
discarded('20,000 open brackets', '[' x 20000);
discarded('a nested message of brackets that are not closed',
    '{"service":"echo","message":' . '[' x 63 . '}');
discarded('objects that are nested 65 deep', '{"service":"echo","message":'
    . '{"a":' x 64 . '1' . '}' x 65);
discarded('a depth that no one looks at',
    '{"service":"echo","message":1,"other":' . '[' x 64 . ']' x 64 . '}');

is(echoed('[' x 63 . ']' x 63), '[' x 63 . ']' x 63,
    'a message that is nested 64 deep is not too deep');
is(echoed('{"a":' x 63 . '1' . '}' x 63), '{"a":' x 63 . '1' . '}' x 63,
    'nor are objects of that depth');
is(echoed('[' . '[],' x 5000 . '1]'), '[' . '[],' x 5000 . '1]',
    'what lies side by side is not deep');
is(echoed('"' . '[{' x 100 . '"'), '"' . '[{' x 100 . '"',
    'brackets in a string are not deep');

my $other = $c;

$c = Snorky->connect('/flat');

is(echoed('[[]]'), '[[]]', 'where the depth is limited to 3, 3 may be');
discarded('where it is limited to 3, a depth of 4', nested('echo', 3));
is(echoed('[{"a":1}]'), '[{"a":1}]', 'and the next message is heard');

$c = Snorky->connect('/deep');

is(echoed('[' x 19999 . ']' x 19999), '[' x 19999 . ']' x 19999,
    'where it is limited to 20000, that many may be');
discarded('where it is limited to 20000, one more', nested('echo', 20000));

$c = $other;


# all of it was told, none of it louder than needed

my @lines = $t->read_file('error.log') =~ /^.*message discarded.*$/mg;

is(scalar(@lines), counters()->{malformed},
    'each discarded message stands in the log');
is(scalar(grep { !/ \[info\] .*client: 127\.0\.0\.1/ } @lines), 0,
    'at level info, with the client');


# what is an envelope

is(raw('{"message":1,"service":"echo"}'), '{"service":"echo","message":1}',
    'the order of its members does not matter');
is(raw(qq/ \t\r\n{ "service"\n:\t"echo" ,\r\n"message" :  1 } \n/),
    '{"service":"echo","message":1}', 'nor does white space');
is(raw('{"id":[1,{"service":"nobody"}],"service":"echo","x":"y","message":1,'
    . '"":{"message":2}}'),
    '{"service":"echo","message":1}', 'further members are ignored');
is(raw('{"\u0073ervice":"echo","m\u0065ssage":1}'),
    '{"service":"echo","message":1}', 'escapes in names are understood');
is(raw('{"service":"\u0065c\u0068o","message":1}'),
    '{"service":"echo","message":1}', 'and in the name of the service');
is(raw('{"service":"quoted \"name\"","message":1}'),
    '{"service":"quoted \"name\"","message":1}',
    'which may have quotes in it');
is(raw('{"service":"quoted \u0022name\u0022","message":1}'),
    '{"service":"quoted \"name\"","message":1}', 'however these are written');

is(raw('{"service":"nobody","message":1,"service":"echo","message":2}'),
    '{"service":"echo","message":2}', 'of duplicate members the last counts');
is(raw('{"service":1,"message":1,"serv\u0069ce":"echo","\u006dessage":2}'),
    '{"service":"echo","message":2}', 'also when it is written otherwise');
discarded('a service that is named again, wrongly',
    '{"service":"echo","message":1,"service":"nobody"}');
discarded('a service that is named again, as a number',
    '{"service":"echo","message":1,"service":7}');
discarded('a call behind which there is no call',
    qq/{"service":"messaging","message":$publish,"message":1}/);


# a binary frame

$c->binary('{"service":"echo","message":"\u20ac' . "\xe2\x82\xac" . '"}');
my $m = $c->message_in();
is($m && $m->{data}, '{"service":"echo","message":"\u20ac' . "\xe2\x82\xac"
    . '"}', 'JSON in a binary frame is understood');
is($m && $m->{op}, TEXT, 'and the answer is text');

$c->send(frame(BINARY, '{"service":"echo","message":"' . "\xe2", fin => 0),
    frame(CONT, "\x82", fin => 0), frame(CONT, "\xac" . '"}'));
is($c->text_in(), '{"service":"echo","message":"' . "\xe2\x82\xac" . '"}',
    'also when the frame ends inside of a character');


# the content, byte for byte

for my $content (
    qw/ null true false 0 -0 1 -1 1.0 1.50 1e0 1E+2 1e-2 1e400 -1e400 1e-400
        0.1 0.10000000000000000555 9007199254740993 -9223372036854775809
        123456789012345678901234567890 1e99999999999999999999 "" {} [] /,
    '3.' . '14159265358979' x 20,
    '"\u0041"', '"\/"', '"/"', '"\ud83d\ude00"', "\"\xf0\x9f\x98\x80\"",
    '"\ud800"', '"\ud83d\u0041"', '"\u0000"', '"\"\\\\\b\f\n\r\t"',
    "\"\x7f\"", '"\u2028"', "\"\xe2\x80\xa8\"", '"</script>"',
    '{"b":1,"a":2,"b":3}', '{"\u0061":1,"a":2}', '{"":""}',
    '{"service":"echo","message":1}',
    "[ 1 ,\t2 ,\r\n3 ]", "{ \"a\" : [ ] }", '"' . 'x' x 60000 . '"')
{
    my $shown = length $content > 60
        ? substr($content, 0, 20) . '...' : $content;
    $shown =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ge;

    is(echoed($content), $content, "$shown comes back as it was sent");
}

is(raw('{"service":"echo","message":' . "\n\t1.0\r\n" . '}'),
    '{"service":"echo","message":1.0}',
    'white space around the content does not');


# the service without a name, which every registry has

is(raw('{"service":"","message":0}'), '{"service":"","message":0}',
    'a probe comes back');
is(raw('{"message":[1.0,"\u0041"],"service":""}'),
    '{"service":"","message":[1.0,"\u0041"]}', 'as it was sent');
discarded('a probe without a message', '{"service":""}');


# a thousand bad messages are a thousand, and no more than that

my $before = counters()->{malformed};

$c->send(map { frame(TEXT, $_ % 2 ? '{' : '{"service":"nobody","message":1}') }
    1 .. 1000);
is(echoed('"still here"'), '"still here"',
    'after a thousand bad messages the connection is open');
is(counters()->{malformed} - $before, 1000, 'and all of them are counted');

is($c->finish(), 1000, 'and it is closed as any other');


# --- helpers ----------------------------------------------------------------

# the answer to a text

sub raw {
    my ($text) = @_;

    $c->text($text);

    return $c->text_in();
}


# the content that comes back for a content

sub echoed {
    my ($content) = @_;

    my $text = raw('{"service":"echo","message":' . $content . '}');

    return defined $text && $text =~ /^\{"service":"echo","message":(.*)\}$/s
        ? $1 : $text;
}


sub nested {
    my ($service, $depth) = @_;

    return '{"service":"' . $service . '","message":' . '[' x $depth
        . ']' x $depth . '}';
}


# No answer comes, the next message is answered, and one is counted.

sub discarded {
    my ($name, $text, $op) = @_;

    my $count = counters()->{malformed};

    $c->send(frame($op || TEXT, $text));

    my $next = raw('{"service":"echo","message":"next"}') // $c->{why};
    $count = counters()->{malformed} - $count;

    is("$next $count", '{"service":"echo","message":"next"} 1',
        "$name is discarded");
}
