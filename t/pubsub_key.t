#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# A channel is any JSON value, and two that mean the same are one channel,
# however they are written.  Who hears a message gets the channel as the
# publisher wrote it.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(221);

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
    snorky_service pubsub_backend backend frontend=messaging;

    snorky_max_channel_size 16k;
    snorky_max_subscriptions 1000;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /backend {
            snorky_backend;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my $listener = Snorky->connect('/ws');
my $publisher = Snorky->connect('/ws');

my $long = '1' . '0' x 5000;
my $euro = "\xe2\x82\xac";
my $smile = "\xf0\x9f\x98\x80";


# in each row all are one channel

my @same = (

    # numbers

    [ qw/ 0 -0 0.0 -0.0 0e0 0e5 -0e-5 0.000 0e99999999999999999999 0E+1 / ],
    [ qw/ 1 1.0 1e0 1E0 1e+0 1e-0 1.000 10e-1 0.1e1 0.01e2 1e00000000000000000
          100e-2 / ],
    [ qw/ -1 -1.0 -1e0 -10e-1 -0.1e1 / ],
    [ qw/ 100 1e2 1.0e2 10e1 1000e-1 100.00 0.1e3 1E+02 / ],
    [ qw/ 1.5 15e-1 1.50 0.15e1 150e-2 0.00015e4 / ],
    [ qw/ 0.1 1e-1 0.10 0.01e1 1000e-4 / ],
    [ qw/ 9007199254740993 9007199254740993.0 9.007199254740993e15
          900719925474099300e-2 / ],
    [ qw/ 123456789012345678901234567890 123456789012345678901234567890.0
          1.2345678901234567890123456789e29 / ],
    [ qw/ 1e400 10e399 0.1e401 1E+400 / ],
    [ qw/ 1e-400 0.1e-399 10e-401 / ],
    [ qw/ 1e99999999999999999999 10e99999999999999999998
          0.1e100000000000000000000 1e0099999999999999999999 / ],
    [ qw/ 1e-99999999999999999999 10e-100000000000000000000
          0.1e-99999999999999999998 / ],
    [ qw/ 1e9223372036854775807 10e9223372036854775806
          0.1e9223372036854775808 / ],
    [ qw/ 1e-9223372036854775808 10e-9223372036854775809
          0.1e-9223372036854775807 / ],
    [ qw/ 1e999999999999999999 10e999999999999999998
          0.1e1000000000000000000 / ],
    [ $long, '1e5000', "$long.0", "0.${long}e5001" =~ s/0\.10*e/0.1e/r ],

    # strings

    [ '"A"', '"\u0041"' ],
    [ '"a/b"', '"a\/b"', '"a\u002fb"', '"a\u002Fb"' ],
    [ "\"$euro\"", '"\u20ac"', '"\u20AC"' ],
    [ "\"$smile\"", '"\ud83d\ude00"', '"\uD83D\uDE00"' ],
    [ '"\""', '"\u0022"' ],
    [ '"\\\\"', '"\u005c"', '"\u005C"' ],
    [ '"\b\f\n\r\t"', '"\u0008\u000c\u000a\u000d\u0009"',
      '"\u0008\u000C\u000A\u000D\u0009"' ],
    [ '"\u001f"', '"\u001F"' ],
    [ "\"\x7f\"", '"\u007f"' ],
    [ '"\ud83d"', '"\uD83D"' ],

    # arrays and objects

    [ '[]', '[ ]', "[\n\t]" ],
    [ '{}', '{ }', "{\r\n}" ],
    [ '[1,2]', '[1, 2]', '[ 1 , 2 ]', "[\n1.0,\t20e-1]", '[1e0,2]' ],
    [ '[[1],{"a":"\u0041"}]', '[ [ 1.0 ] , { "a" : "A" } ]' ],
    [ '{"a":1,"b":2}', '{"b":2,"a":1}', '{ "b" : 2.0 , "a" : 1e0 }',
      '{"\u0061":1,"\u0062":2}', '{"a":9,"b":8,"b":2,"a":1}',
      '{"b":0,"a":1,"\u0062":2}' ],
    [ '{"a":{"c":1,"d":[{"e":1,"f":2}]},"b":0}',
      '{"b":-0,"a":{"d":[{"f":2,"e":1}],"c":1}}' ],
    [ '{"a":1,"ab":2,"b":3,"":4}', '{"":4,"b":3,"ab":2,"a":1}',
      '{"ab":2,"":4,"a":1,"b":3}' ],
    [ "{\"$euro\":1,\"\\u0001\":2}", '{"\u0001":2,"\u20ac":1}' ],
    [ '{' . join(',', map { "\"k$_\":$_" } 1 .. 300) . '}',
      '{' . join(',', map { "\"k$_\":$_.0" } reverse 1 .. 300) . '}',
      '{' . join(',', map { "\"k$_\":0" } 1 .. 300) . ','
      . join(',', map { "\"k$_\":$_" } 1 .. 300) . '}' ],
    [ '[' x 60 . ']' x 60, '[ ' x 60 . ' ]' x 60 ],
);

for my $row (@same) {
    my ($first, @others) = @$row;

    is(subscribe($first), 'response', shown($first) . ' is a channel');

    for my $other (@others) {
        is(subscribe($other), 'Already subscribed',
            shown($other) . ' is the same');
    }

    my @texts = map { published($_) } $first, @others;

    is(join("\n", @texts), join("\n", map {
        '{"service":"messaging","message":{"type":"message","channel":' . $_
        . ',"message":1}}' } $first, @others),
        'all of them are heard, each as it was written');

    is(unsubscribe($others[-1]), 'response', 'the last ends the first')
        if @others;
}


# all of these are different

my @different = (
    qw/ null true false 0 1 -1 2 10 100 0.1 0.01 1.1 1e400 1e401 -1e400 1e-400
        9007199254740992 9007199254740993 1e99999999999999999999
        1e99999999999999999998 1e-99999999999999999999 -1e99999999999999999999
        0.1e5000 1e5000 /,
    '123456789012345678901234567890', '123456789012345678901234567891',
    '0.10000000000000000555', '0.1000000000000000055511151231257827',
    qw/ "" "null" "true" "false" "0" "1" "1.0" "1e0" "[]" "{}" "a" "A" "aa"
        "[1]" "\"1\"" "\u0000" "\u0000\u0000" "a\u0000" "\\\\u0041" "\ud83d"
        "\ude00" "\ude00\ud83d" "\ud83d\ud83d" "\uffff" /, '" "', '"a "',
    '" a"', "\"$euro\"", "\"$smile\"", "\"e\xcc\x81\"", "\"\xc3\xa9\"",
    "\"\xef\xbf\xbd\"", '"?"', '"??"',
    qw/ [] [[]] [[[]]] [{}] [1] [true] [null] ["1"] [0] [1,2] [2,1] [1,[2]]
        [[1],2] [[1,2]] [12] ["1,2"] ["1","2"] [null,null] /,
    qw/ {} {"":null} {"a":null} {"a":1} {"A":1} {"a":"1"} {"a":true}
        {"a":[1]} {"a":{}} {"1":"a"} {"a":1,"b":2} {"a":2,"b":1}
        {"a":{"b":2}} {"a,b":1} {"ab":1} {"a":"","b":""} {"a":["b"]}
        {"a":1,"c":2} {"a":1,"b":2,"c":3} {"\ud83d":1} {"\ude00":1} /,
);

$listener->finish();
$listener = Snorky->connect('/ws');

$listener->send(map { frame(TEXT, request('subscribe', $_)) } @different);

is(join("\n", map { answer($listener) } @different),
    join("\n", ('response') x @different),
    scalar(@different) . ' values are as many channels');
is(counters()->{channels}, scalar(@different), 'so many are counted');

my @wrong;

for my $channel (@different) {
    my $text = published($channel) // '';

    push @wrong, shown($channel)
        if $text ne '{"service":"messaging","message":{"type":"message",'
            . '"channel":' . $channel . ',"message":1}}';
}

is("@wrong", '', 'each is heard once, and as itself');
ok($listener->silent(0.2), 'and no other with it');

@wrong = ();

for my $channel (reverse @different) {
    push @wrong, shown($channel) if unsubscribe($channel) ne 'response';
}

is("@wrong", '', 'each can be left');
is(counters()->{channels}, 0, 'and then there is none');


# the publisher's text, whoever publishes

subscribe('1');

my $r = backend_post('/backend', '{"service":"backend","message":{"command":'
    . '"publish","params":{"channel":100e-2,"message":[1.0]}}}',
    key => 'swordfish');

is($r->{status}, 200, 'what a backend publishes');
is($listener->text_in(), '{"service":"messaging","message":{"type":"message",'
    . '"channel":100e-2,"message":[1.0]}}',
    'has its channel as the backend wrote it');

my $third = Snorky->connect('/ws');

$third->text(request('subscribe', '1.0'));
answer($third);

published('1e0');
is($third->text_in(), '{"service":"messaging","message":{"type":"message",'
    . '"channel":1e0,"message":1}}',
    'a subscriber gets it not as it wrote it itself');


# keys that are no valid JSON never come so far

my $malformed = counters()->{malformed};

$listener->text(request('subscribe', $_)) for qw/ 01 NaN 1. "\x" [1,] {a:1} /;
is(subscribe('2'), 'response', 'after channels that are no JSON');
is(counters()->{malformed} - $malformed, 6, 'which are malformed messages');

is(join(' ', map { $_->finish() } $listener, $publisher, $third),
    '1000 1000 1000', 'all can close after it');


# --- helpers ----------------------------------------------------------------

sub shown {
    my ($text) = @_;

    $text =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ge;

    return length $text > 60 ? substr($text, 0, 20) . '...' : $text;
}


sub request {
    my ($command, $channel) = @_;

    return qq/{"service":"messaging","message":{"command":"$command",/
        . qq/"params":{"channel":$channel/
        . ($command eq 'publish' ? ',"message":1' : '') . '},"callId":1}}';
}


# "response" or the error

sub answer {
    my ($client) = @_;

    my $e = decode($client->text_in()) or return 'nothing';
    my $m = $e->{message};

    return $m->{type} eq 'error' ? $m->{message} : $m->{type};
}


sub subscribe {
    my ($channel) = @_;

    $listener->text(request('subscribe', $channel));

    return answer($listener);
}


sub unsubscribe {
    my ($channel) = @_;

    $listener->text(request('unsubscribe', $channel));

    return answer($listener);
}


# what the listener hears

sub published {
    my ($channel) = @_;

    $publisher->text(request('publish', $channel));

    my $result = answer($publisher);
    return $result if $result ne 'response';

    return $listener->text_in(2);
}
