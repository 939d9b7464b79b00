#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# What a dealer's subscriptions are for: all, the value of a field, a filter.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Sync;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(193);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_drain 10ms;

    snorky_zone 4m;

    snorky_service datasync datasync;

    snorky_dealer datasync all broadcast model=m;
    snorky_dealer datasync by simple model=m key=a;
    snorky_dealer datasync deep simple model=m key=a.b.c;
    snorky_dealer datasync if filter model=m;

    snorky_registry private {
        snorky_service datasync_backend sync frontend=datasync;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            snorky_max_message_size 1m;
        }
    }
}

EOC

$t->run();

my $p = Snorky->connect('/ws');
my $token;


# --- updates ----------------------------------------------------------------

for my $case (
    [ 'by', '1', '{"a":1}', '{"a":1}', 'u' ],
    [ 'by', '1', '{"a":1}', '{"a":2}', 'i' ],
    [ 'by', '1', '{"a":2}', '{"a":1}', 'd' ],
    [ 'by', '1', '{"a":2}', '{"a":3}', '' ],
    [ 'by', '1', '{"a":1,"b":2}', '{"a":1.0}', 'u' ],
    [ 'by', '1', '{"b":1}', '{"a":1}', 'd' ],
    [ 'by', '1', '{"a":1}', 'null', 'i' ],
    [ 'if', '["<","a",5]', '{"a":1}', '{"a":4}', 'u' ],
    [ 'if', '["<","a",5]', '{"a":1}', '{"a":5}', 'i' ],
    [ 'if', '["<","a",5]', '{"a":7}', '{"a":4}', 'd' ],
    [ 'if', '["<","a",5]', '{"a":7}', '{"a":5}', '' ],
    [ 'if', '["not",["==","a",1]]', '{"a":1}', '{}', 'd' ],
    [ 'if', '["not",["==","a",1]]', '{"b":1}', '{"a":1}', 'i' ],
    [ 'all', 'null', '{"a":1}', '{"a":1}', 'u' ])
{
    my ($dealer, $query, $new, $old, $kind) = @$case;
    my %as = (
        u  => "update m newData $new oldData $old",
        i  => "insert m data $new",
        d  => "delete m data $old",
        '' => '',
    );
    my $delta = "[{\"type\":\"update\",\"model\":\"m\",\"newData\":$new,"
        . "\"oldData\":$old}]";

    $token = token('sync', "[{\"dealer\":\"$dealer\",\"query\":$query}]");
    publish('sync', $delta);
    acquire($p, $token);
    is(kept($p), $as{$kind}, "$dealer $query: an update of $old to $new is \""
        . ($kind || 'nothing') . '"');
    publish('sync', $delta);
    is(seen($p), $as{$kind}, 'also when it is not kept');
    cancel($p, $token);
}


# --- what matches -----------------------------------------------------------

my $euro = "\"\xe2\x82\xac\"";

matches('by', @$_) for
    [ '1', [ qw/ 1 1.0 1e0 10e-1 / ],
      [ qw/ 2 true "1" null [1] {"a":1} 1.0000000000000000000001 / ] ],
    [ '1e400', [ qw/ 1e400 10e399 / ], [ qw/ 1e401 -1e400 / ] ],
    [ '0', [ qw/ 0 -0 0.0 0e5 / ], [ qw/ false null "" [] 1e-400 / ] ],
    [ '9007199254740993', [ '9007199254740993.0' ], [ '9007199254740992' ] ],
    [ '"A"', [ qw/ "A" "\u0041" / ], [ qw/ "a" "AA" ["A"] 65 / ] ],
    [ $euro, [ $euro, '"\u20ac"', '"\u20AC"' ], [ '"?"', '"\u20ad"' ] ],
    [ '""', [ '""' ], [ qw/ null 0 [] {} /, '" "' ] ],
    [ 'null', [ 'null' ], [ qw/ false 0 "null" / ] ],
    [ 'true', [ 'true' ], [ qw/ 1 "true" false / ] ],
    [ 'false', [ 'false' ], [ qw/ 0 null "" / ] ],
    [ '[1,[2]]', [ '[1,[2]]', '[ 1.0, [2e0] ]' ], [ qw/ [1,2] [[2],1] / ] ],
    [ '{"x":1,"y":{"z":[]}}',
      [ '{"y":{"z":[ ]},"x":1.0}', '{"x":2,"\u0078":1,"y":{"z":[]}}' ],
      [ qw/ {"x":1} {"x":1,"y":{"z":{}}} [] / ] ];

# in each row: a query, data that it matches, data that it does not

for my $row (
    [ 'by', 'null', [ '{"a":null}' ],
      [ qw/ {} {"b":null} null [] [null] "a" 1 {"A":null} / ] ],
    [ 'by', '1', [ '{"a":2,"a":1}', '{"\u0061":1}', '{ "b":{}, "a" : 1 }' ],
      [ '{"a":1,"a":2}', '{"b":{"a":1}}', '[{"a":1}]', '[1]' ] ],
    [ 'deep', '1',
      [ qw/ {"a":{"b":{"c":1}}} {"x":0,"a":{"x":0,"b":{"c":1.0,"x":0}}}
            {"a":0,"a":{"b":{"c":1}}} {"\u0061":{"\u0062":{"\u0063":1}}} / ],
      [ qw/ {"a.b.c":1} {"a":{"b":1}} {"a":{"b":[1]}} {"a":{"b.c":1}} {"c":1}
            {"a":[{"b":{"c":1}}]} {"a":{"b":{"c":2}}} {"a":{"b":{"C":1}}} {}
            null {"a":null} {"a":{"b":null}} {"a":{"b":{"c":1}},"a":0}
            {"a":{"b":{"d":{"c":1}}}} / ] ],

    # equality

    [ 'if', '["==","a",1]', [ '{"a":1}', '{"a":10e-1}' ],
      [ qw/ {"a":2} {"a":"1"} {"a":true} {"a":[1]} {"a":null} {} 1 null
            [] / ] ],
    [ 'if', '["==","a",null]', [ '{"a":null}' ],
      [ qw/ {} {"a":0} {"a":false} null / ] ],
    [ 'if', '["==","a",{"x":[1,2]}]', [ '{"a":{"x":[1.0, 2]}}' ],
      [ '{"a":{"x":[2,1]}}', '{"a":{}}' ] ],
    [ 'if', '["==","a.b",1]', [ '{"a":{"b":1}}' ],
      [ qw/ {"a.b":1} {"a":1} {"a":[1]} {"b":1} {"a":{"b":2}} {"a":"b"} / ] ],
    [ 'if', '["==","a.0",1]', [ '{"a":{"0":1}}' ], [ '{"a":[1]}' ] ],
    [ 'if', '["==","\u0061.b",1]', [ '{"a":{"b":1}}' ], [ '{"a":1}' ] ],
    [ 'if', '["==","a\"b",1]', [ '{"a\"b":1}', '{"a\u0022b":1}' ],
      [ '{"ab":1}' ] ],

    # order of numbers

    [ 'if', '["<","a",10]', [ map { "{\"a\":$_}" } qw/ 9 9.999999999999999999999
      -1e400 0 -10 1e-400 99e-1 / ], [ map { "{\"a\":$_}" } qw/ 10 10.0 1e1
      10.0000000000000000000000001 1e400 11 "9" "" null true [1] {} / ] ],
    [ 'if', '["<=","a",10]',
      [ map { "{\"a\":$_}" } qw/ 9 10 10.0 1e1 100e-1 / ],
      [ map { "{\"a\":$_}" } qw/ 10.0000000000000000000000001 11 1e400 / ] ],
    [ 'if', '[">","a",10]', [ map { "{\"a\":$_}" } qw/ 11 1e400
      10.0000000000000000000000001 / ], [ map { "{\"a\":$_}" }
      qw/ 10 9 -11 -1e400 1e-400 "11" / ] ],
    [ 'if', '[">=","a",10]', [ map { "{\"a\":$_}" } qw/ 10 1e1 11 / ],
      [ map { "{\"a\":$_}" } qw/ 9.9999999999999999999999 -10 / ] ],
    [ 'if', '[">","a",9007199254740992]', [ '{"a":9007199254740993}' ],
      [ '{"a":9007199254740992}', '{"a":9007199254740991.999999}' ] ],
    [ 'if', '["<","a",1e400]', [ map { "{\"a\":$_}" } qw/ 1e399 9.99e399
      -1e401 1e308 0 / ], [ map { "{\"a\":$_}" } qw/ 1e400 10e399 1e401
      1e99999999999999999999 / ] ],
    [ 'if', '[">","a",1e99999999999999999998]',
      [ '{"a":1e99999999999999999999}' ],
      [ map { "{\"a\":$_}" } qw/ 10e99999999999999999997 1e400
        -1e99999999999999999999 1e-99999999999999999999 / ] ],
    [ 'if', '["<","a",1e-400]', [ map { "{\"a\":$_}" } qw/ 1e-401 0 -0 -1
      -1e-400 1e-99999999999999999999 / ], [ map { "{\"a\":$_}" }
      qw/ 1e-400 1e-399 1e-308 1 / ] ],
    [ 'if', '["<","a",-1e400]', [ map { "{\"a\":$_}" } qw/ -1e401 -2e400 / ],
      [ map { "{\"a\":$_}" } qw/ -1e400 -1e399 0 1e401 / ] ],
    [ 'if', '["<","a",0]', [ map { "{\"a\":$_}" } qw/ -1 -1e-400 / ],
      [ map { "{\"a\":$_}" } qw/ 0 -0 -0.0 0e9 1e-400 / ] ],
    [ 'if', '[">=","a",-0]', [ map { "{\"a\":$_}" } qw/ 0 -0 1 / ],
      [ '{"a":-1e-400}' ] ],
    [ 'if', '[">","a",0.1]', [ '{"a":0.10000000000000000555}' ],
      [ '{"a":0.1}', '{"a":0.10}', '{"a":0.09999999999999999999}' ] ],
    [ 'if', '["<","a",-1.5]', [ map { "{\"a\":$_}" } qw/ -1.51 -2 -15 -1.6 / ],
      [ map { "{\"a\":$_}" } qw/ -1.5 -1.49 -1 1.6 / ] ],
    [ 'if', '["<","a",123456789012345678901234567890]',
      [ map { "{\"a\":$_}" } qw/ 123456789012345678901234567889
        1.2345678901234567890123456788e29 99999999999999999999999999999 / ],
      [ map { "{\"a\":$_}" } qw/ 123456789012345678901234567890
        123456789012345678901234567891 1e30 / ] ],

    # order of strings

    [ 'if', '["<","a","b"]', [ map { "{\"a\":$_}" } qw/ "a" "" "az" "B" "Z"
      "\u0061" "1" / ], [ map { "{\"a\":$_}" } qw/ "b" "\u0062" "ba" "c" 1 0
      null true ["a"] /, $euro ] ],
    [ 'if', '["<=","a","ab"]', [ map { "{\"a\":$_}" } qw/ "ab" "a" "aa" "" / ],
      [ map { "{\"a\":$_}" } qw/ "ab\u0000" "abc" "ac" "b" / ] ],
    [ 'if', '[">","a","a"]', [ map { "{\"a\":$_}" } qw/ "a\u0000" "aa" "b"
      "\u00e9" "\ud83d\ude00" /, $euro ], [ map { "{\"a\":$_}" } qw/ "a" "A"
      "" "Z" 5 / ] ],
    [ 'if', '[">","a","\uffff"]',
      [ '{"a":"\ud83d\ude00"}', '{"a":"\ud800\udc00"}',
        "{\"a\":\"\xf0\x9f\x98\x80\"}" ],
      [ '{"a":"\uffff"}', '{"a":"\ufffe"}', "{\"a\":$euro}", '{"a":"z"}' ] ],
    [ 'if', '["<","a","\ud83d\ude00"]',
      [ '{"a":"\uffff"}', '{"a":"\ud83d\uddff"}', '{"a":"\uff5e"}' ],
      [ '{"a":"\ud83d\ude00"}', '{"a":"\ud83d\ude01"}' ] ],
    [ 'if', '["<","a","\u0020"]', [ '{"a":"\u001f"}', '{"a":"\n"}',
      '{"a":"\u0000"}', '{"a":"\u001F!"}' ],
      [ '{"a":" "}', '{"a":"!"}', '{"a":"\""}', '{"a":"\\\\"}' ] ],
    [ 'if', '["<","a","#"]', [ '{"a":"\""}', '{"a":"\u0022"}', '{"a":"!"}' ],
      [ '{"a":"#"}', '{"a":"\\\\"}', '{"a":"\/"}' ] ],
    [ 'if', '[">=","a","\\\\"]', [ '{"a":"\\\\"}', '{"a":"\u005c"}',
      '{"a":"]"}', '{"a":"a"}' ], [ '{"a":"["}', '{"a":"\""}', '{"a":"Z"}',
      '{"a":"\n"}' ] ],
    [ 'if', '["<","a","10"]', [ '{"a":"1"}', '{"a":"09"}' ],
      [ '{"a":"9"}', '{"a":9}', '{"a":"10"}' ] ],

    # other types have no order

    (map { my $value = $_; map { [ 'if', "[\"$_\",\"a\",$value]", [ ],
        [ map { "{\"a\":$_}" } qw/ null true false 0 1 "" "x" [] {} [1] / ] ] }
        qw/ < <= > >= / } qw/ null true [1] {} /),

    # what is missing

    (map { [ 'if', "[\"$_\",\"a\",1]", [ ],
        [ qw/ {} {"b":1} null [] 1 "a" {"A":1} / ] ] } qw/ == < <= > >= /),
    (map { [ 'if', "[\"not\",[\"$_\",\"a\",1]]",
        [ qw/ {} {"b":1} null [] 1 "a" {"a":"x"} {"a":null} {"a":[]} / ],
        [ ] ] } qw/ < <= > >= /),
    [ 'if', '["not",["==","a",1]]', [ qw/ {} {"a":2} {"a":"1"} null / ],
      [ qw/ {"a":1} {"a":1.0} / ] ],
    [ 'if', '["not",["==","a.b",1]]', [ qw/ {} {"a":1} {"a":{}} / ],
      [ '{"a":{"b":1}}' ] ],
    [ 'if', '["not",["not",["==","a",1]]]', [ '{"a":1}' ], [ '{}' ] ],

    # together

    [ 'if', '["and",["==","a",1],["<","b",5],["not",["==","c",null]]]',
      [ qw/ {"a":1,"b":4} {"a":1,"b":-1,"c":0} / ],
      [ qw/ {"a":1} {"b":4} {"a":1,"b":5} {"a":1,"b":4,"c":null} {} / ] ],
    [ 'if', '["or",["==","a",1],["==","a",2],["==","b.c","x"]]',
      [ qw/ {"a":1} {"a":2} {"b":{"c":"x"}} {"a":3,"b":{"c":"\u0078"}} / ],
      [ qw/ {"a":3} {"b":"x"} {} null / ] ],
    [ 'if', '["and",["or",["<","a",0],[">","a",10]],["not",["or",'
      . '["==","b",1],["==","b",2]]]]',
      [ qw/ {"a":-1} {"a":11,"b":3} {"a":11,"b":"1"} / ],
      [ qw/ {"a":5} {"a":-1,"b":1} {"a":11,"b":2} {} / ] ],
    [ 'if', '["and",["==","a",1]]', [ '{"a":1}' ], [ '{"a":2}' ] ],
    [ 'if', '["or",["==","a",1]]', [ '{"a":1}' ], [ '{"a":2}' ] ],
    [ 'if', '["not",["and",["==","a",1],["==","b",2]]]',
      [ qw/ {"a":1} {"b":2} {} / ], [ '{"a":1,"b":2}' ] ],
    [ 'if', '["not",["or",["==","a",1],["==","b",2]]]',
      [ qw/ {"a":2} {} / ], [ qw/ {"a":1} {"b":2} / ] ],

    # all of it

    [ 'all', 'null', [ qw/ null 1 [] {} "x" {"a":1} / ], [ ] ],
    [ 'all', '["==","a",1]', [ qw/ {"a":2} {} / ], [ ] ])
{
    matches_data(@$row);
}

# the matching of one delta does not disturb that of another

my @crowd = map { Snorky->connect('/ws') } 1 .. 12;

subscribe($crowd[$_], $_ < 4
    ? "[{\"dealer\":\"by\",\"query\":$_}]"
    : $_ < 8 ? "[{\"dealer\":\"if\",\"query\":[\"==\",\"a\"," . ($_ - 4) . ']}]'
    : "[{\"dealer\":\"if\",\"query\":[\"<\",\"a\"," . ($_ - 8) . ']}]')
    for 0 .. 11;

publish('sync', '[' . join(',', map {
    "{\"type\":\"insert\",\"model\":\"m\",\"data\":{\"a\":$_}}" } 0 .. 3)
    . ']');

is(join(' ', map { seen($_) =~ s/insert m data \{"a":(\d)\}(?:, )?/$1/gr }
    @crowd), '0 1 2 3 0 1 2 3  0 01 012', 'twelve clients see their own');
$_->finish() for @crowd;

$p->finish();


# --- helpers ----------------------------------------------------------------

# a query, values of "a" that it matches, and values that it does not

sub matches {
    my ($dealer, $query, $yes, $no) = @_;

    return matches_data($dealer, $query, map { [ map { "{\"a\":$_}" } @$_ ] }
        $yes, $no);
}


# In one subscription what was kept and what was not are looked at.

sub matches_data {
    my ($dealer, $query, $yes, $no) = @_;

    my $shown = length $query > 70 ? substr($query, 0, 70) . '...' : $query;
    my @all = (@$no, @$yes, @$no);
    my $deltas = '[' . join(',', map {
        "{\"type\":\"insert\",\"model\":\"m\",\"data\":$_}" } @all) . ']';
    my $want = join "\n", map { "insert m data $_" } @$yes;

    my $token = token('sync', "[{\"dealer\":\"$dealer\",\"query\":$query}]");

    publish('sync', $deltas);
    acquire($p, $token);

    is(join("\n", map { sign($_->{text}) } splice @{ $p->{inbox} }), $want,
        "$dealer $shown matches " . @$yes . ' of ' . (@$yes + @$no));

    publish('sync', $deltas);
    cancel($p, $token);

    is(join("\n", map { sign($_->{text}) } splice @{ $p->{inbox} }), $want,
        'whether they were kept or not');

    return;
}
