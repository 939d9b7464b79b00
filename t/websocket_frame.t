#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The framing of RFC 6455, 5: lengths, fragments, control frames between,
# any split of the stream; and what closes a connection with 1002, 1007 or
# 1009.  The raw echo shows what was understood.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(101);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_service echo echo;

    snorky_close_timeout 1s;
    lingering_timeout 1s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /echo {
            snorky_websocket_echo;
        }

        location /small {
            snorky_websocket_echo;
            snorky_max_message_size 1k;
        }

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

my %closed;
my ($c, $f);


# lengths

for my $case (
    [ 0, 2 ], [ 1, 2 ], [ 125, 2 ],
    [ 126, 4 ], [ 127, 4 ], [ 65535, 4 ], [ 65536, 10 ],
) {
    my ($len, $header) = @$case;

    $c = Snorky->connect('/echo');
    my $text = letters($len);

    $c->text($text);
    $f = $c->frame_in();

    ok($f && $f->{data} eq $text, "a text of $len bytes comes back");
    is($f && $f->{header}, $header, "its length is in the shortest form");
}

$c = Snorky->connect('/echo');
$c->text('x', mask => "\0\0\0\0");
$f = $c->frame_in();

is($f->{data}, 'x', 'a mask of zeros is a mask');
is("$f->{op} $f->{fin} $f->{rsv} $f->{masked}", '1 1 0 0',
    'a frame from the server is whole, without reserved bits and mask');

$c->binary("\xff\x00\xfe");
$f = $c->frame_in();
is($f->{op} . ' ' . unpack('H*', $f->{data}), '2 ff00fe',
    'a binary message stays binary');


# fragments

$c = Snorky->connect('/echo');

is(echo($c, [ TEXT, 'Hel', fin => 0 ], [ CONT, 'lo' ]), '1 Hello',
    'two fragments are one message');
is(echo($c, [ BINARY, 'a', fin => 0 ], [ CONT, 'b', fin => 0 ],
    [ CONT, 'c' ]), '2 abc', 'three binary fragments are one message');
is(echo($c, [ TEXT, '', fin => 0 ], [ CONT, '', fin => 0 ], [ CONT, '' ]),
    '1 ', 'fragments may all be empty');
is(echo($c, [ TEXT, '', fin => 0 ], [ CONT, 'x', fin => 0 ], [ CONT, '' ]),
    '1 x', 'the first and the last fragment may be empty');
is(echo($c, [ TEXT, letters(200), fin => 0 ], [ CONT, letters(200) ]),
    '1 ' . letters(200) x 2, 'fragments may have the longer forms');

$c->send(frame(TEXT, 'a', fin => 0), frame(PING, 'between'),
    frame(CONT, 'b'));
$f = $c->frame_in();
is("$f->{op} $f->{data}", PONG . ' between',
    'a ping between fragments is answered at once');
$f = $c->frame_in();
is("$f->{op} $f->{data}", TEXT . ' ab',
    'the message goes on behind the ping');

$c->send(frame(TEXT, 'a', fin => 0), frame(PONG, 'idle'), frame(CONT, 'b'));
is($c->text_in(), 'ab', 'a pong between fragments does no harm');

$c->send(frame(TEXT, 'a', fin => 0));
$c->ping('wait');
is($c->frame_in()->{data}, 'wait', 'a message may rest in its middle');
$c->send(frame(CONT, 'b'));
is($c->text_in(), 'ab', 'a message that rested comes back whole');


# the stream may be cut anywhere

for my $len (5, 200, 65536) {
    my $text = letters($len);
    my $bytes = frame(TEXT, $text);

    my @cuts = grep { $_ < length $bytes } 1 .. 16;

    for my $cut (@cuts) {
        $c->send(substr $bytes, 0, $cut);
        $c->ready('read', time() + 0.01);
        $c->send(substr $bytes, $cut);
    }

    is(scalar(grep { ($c->text_in() // '') eq $text } @cuts), scalar(@cuts),
        "a frame of $len bytes may be cut at any byte of its header");
}

$c->send($_) for split //, frame(TEXT, 'slow', fin => 0) . frame(PING, 'p')
    . frame(CONT, letters(300)) . frame(TEXT, 'next');
is($c->frame_in()->{data}, 'p', 'a ping may come byte by byte');
is($c->text_in(), 'slow' . letters(300), 'a message may come byte by byte');
is($c->text_in(), 'next', 'a second message may come byte by byte');

$c->send(map { frame(TEXT, "frame $_") } 1 .. 5000);
is(scalar(grep { ($c->text_in() // '') eq "frame $_" } 1 .. 5000), 5000,
    'five thousand frames in one write come back in their order');


# ping and pong

$c->ping('');
$f = $c->frame_in();
is("$f->{op} $f->{data}", PONG . ' ', 'an empty ping is answered');

$c->ping("\x00\xff" . letters(123));
$f = $c->frame_in();
is("$f->{op} $f->{data}", PONG . " \x00\xff" . letters(123),
    'a ping of 125 bytes is answered with its payload');

$c->send(map { frame(PING, "ping $_") } 1 .. 100);
$c->text('end');
is(($c->message_in() // {})->{data}, 'end', 'a hundred pings are taken');
is($c->{controls}[-1]{data}, 'ping 100', 'the last of them is answered');

$c->pong('not asked for');
$c->text('on');
is($c->text_in(), 'on', 'a pong that nobody asked for is ignored');


# text is UTF-8, wherever it is cut

my $utf8 = "\xce\xba\xe1\xbd\xb9\xf0\x9f\x98\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf";

is(echo($c, [ TEXT, $utf8 ]), "1 $utf8",
    'characters of two, three and four bytes come back');

my @pieces = split //, $utf8;
is(echo($c, [ TEXT, shift @pieces, fin => 0 ],
    (map { [ CONT, $_, fin => 0 ] } @pieces), [ CONT, '' ]), "1 $utf8",
    'characters may be cut by fragments');

is(echo($c, [ TEXT, "a\x00b" ]), "1 a\x00b", 'a text may have a NUL');

for my $case (
    [ 'a byte alone',           "\x80" ],
    [ 'a byte of no character', "ab\xff" ],
    [ 'an overlong slash',      "\xc0\xaf" ],
    [ 'an overlong character of three bytes',  "\xe0\x80\xaf" ],
    [ 'an overlong character of four bytes',   "\xf0\x80\x80\xaf" ],
    [ 'a surrogate',            "\xed\xa0\x80" ],
    [ 'a character past U+10FFFF', "\xf4\x90\x80\x80" ],
    [ 'a character of five bytes', "\xf8\x88\x80\x80\x80" ],
    [ 'a text that ends inside a character', "ab\xe1\xbd" ],
    [ 'a character cut by another', "\xe1\xbda" ],
) {
    my ($name, $text) = @$case;

    is(closes(1007, frame(TEXT, $text)), 1007, "$name closes with 1007");
}

is(closes(1007, frame(TEXT, "ok \xe1", fin => 0), frame(CONT, "\x20")), 1007,
    'a bad character over two fragments closes with 1007');
is(closes(1007, frame(TEXT, "\xff", fin => 0)), 1007,
    'a bad byte is found before the message ends');
is(closes(1007, substr frame(TEXT, 'abc' . "\xf8" x 100), 0, 2 + 4 + 4),
    1007, 'a bad byte is found before the frame ends');
is(closes(1007, frame(TEXT, "\xed", fin => 0), frame(CONT, "\xa0", fin => 0)),
    1007, 'a surrogate is found at its second byte');

is(echo($c, [ BINARY, "\xff\xfe" ]), "2 \xff\xfe",
    'a binary message needs no UTF-8');


# the protocol broken: 1002

is(closes(1002, frame(TEXT, 'x', mask => undef)), 1002,
    'an unmasked frame closes with 1002');
is(closes(1002, frame(PING, '', mask => undef)), 1002,
    'an unmasked ping closes with 1002');

for my $rsv (1, 2, 4, 7) {
    is(closes(1002, frame(TEXT, 'x', rsv => $rsv)), 1002,
        "reserved bits $rsv close with 1002");
}

is(closes(1002, frame(PING, 'x', rsv => 4)), 1002,
    'a reserved bit of a ping closes with 1002');

for my $op (3 .. 7, 0xb .. 0xf) {
    is(closes(1002, frame($op, '')), 1002, "opcode $op closes with 1002");
}

is(closes(1002, frame(PING, letters(126))), 1002,
    'a ping of 126 bytes closes with 1002');
is(closes(1002, frame(PONG, letters(126))), 1002,
    'a pong of 126 bytes closes with 1002');
is(closes(1002, frame(CLOSE, pack('n', 1000) . letters(124))), 1002,
    'a close frame of 126 bytes closes with 1002');
is(closes(1002, frame(PING, 'x', fin => 0)), 1002,
    'a fragmented ping closes with 1002');
is(closes(1002, frame(CLOSE, '', fin => 0)), 1002,
    'a fragmented close frame closes with 1002');
is(closes(1002, frame(CONT, 'x')), 1002,
    'a continuation of nothing closes with 1002');
is(closes(1002, frame(TEXT, 'a'), frame(CONT, 'b')), 1002,
    'a continuation behind a whole message closes with 1002');
is(closes(1002, frame(TEXT, 'a', fin => 0), frame(TEXT, 'b')), 1002,
    'a message inside another closes with 1002');
is(closes(1002, frame(TEXT, 'a', form => 16)), 1002,
    'one byte with a length of 16 bits closes with 1002');
is(closes(1002, frame(TEXT, letters(200), form => 64)), 1002,
    '200 bytes with a length of 64 bits close with 1002');
is(closes(1002, frame(TEXT, '', form => 64, claim => 2 ** 63)), 1002,
    'a length with its highest bit set closes with 1002');

$c = Snorky->connect('/echo');
$c->send(frame(TEXT, 'good'), frame(CONT, 'bad'), frame(TEXT, 'behind'));
is($c->text_in(), 'good', 'what came before a bad frame is served');
$f = $c->frame_in();
is($f && $f->{op}, CLOSE, 'what came behind a bad frame is not');
ok($c->gone(3), 'and the connection ends');
$closed{1002}++;


# too much: 1009

$c = Snorky->connect('/small');
is(echo($c, [ TEXT, letters(1024) ]), '1 ' . letters(1024),
    'a message of the limit passes');
is(echo($c, [ TEXT, letters(1000), fin => 0 ], [ CONT, letters(24) ]),
    '1 ' . letters(1000) . letters(24),
    'a message of the limit in fragments passes');

is(closes(1009, [ '/small' ], frame(TEXT, '', claim => 1025)), 1009,
    'a longer one closes with 1009 when only its header has come');
is(closes(1009, [ '/small' ], frame(BINARY, '', claim => 2 ** 40)), 1009,
    'a message of a terabyte closes with 1009');
is(closes(1009, [ '/small' ], frame(TEXT, letters(1000), fin => 0),
    frame(CONT, '', claim => 25)), 1009,
    'fragments that together are longer close with 1009');
is(closes(1009, [ '/small' ], frame(TEXT, letters(1024), fin => 0),
    frame(CONT, 'x', fin => 0)), 1009,
    'one byte more in a fragment closes with 1009');
is(closes(1009, frame(TEXT, '', claim => 65537)), 1009,
    'the limit is 64k where none is configured');


# the Snorky protocol takes binary as text

$c = Snorky->connect('/ws');
$c->binary(envelope('echo', 'binary'));
is($c->notification(), 'binary', 'a binary envelope is answered');

$c->binary("\xff\xfe");
$c->text(envelope('echo', 'on'));
is($c->notification(), 'on',
    'a binary message that is no text is passed over');


# the figures

undef $c;

my $n = counters();

is($n->{closed_protocol}, $closed{1002}, 'closes with 1002 are counted');
is($n->{closed_invalid}, $closed{1007}, 'closes with 1007 are counted');
is($n->{closed_too_big}, $closed{1009}, 'closes with 1009 are counted');
is(wait_until { counters()->{sessions} == 0 }, 1,
    'no session is left behind');


# --- helpers ----------------------------------------------------------------

sub letters {
    my ($n) = @_;

    return substr 'abcdefghijklmnopqrstuvwxyz' x ($n / 26 + 1), 0, $n;
}


# sends the frames; what comes back as "opcode data"

sub echo {
    my ($client, @frames) = @_;

    $client->send(map { frame(@$_) } @frames);

    my $m = $client->message_in() or return $client->{why};

    return "$m->{op} $m->{data}";
}


# the close code that these bytes cause; "open" when the end does not follow

sub closes {
    my ($expected, @bytes) = @_;

    my $uri = ref $bytes[0] ? (shift @bytes)->[0] : '/echo';
    my $client = Snorky->connect($uri);

    $closed{$expected}++;

    $client->send(@bytes);

    my $code = $client->close_in(5);

    return defined $code ? 'open' : $client->{why} unless $client->gone(5);
    return $code // $client->{why};
}
