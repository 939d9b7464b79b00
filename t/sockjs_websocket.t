#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# SockJS's frames over a WebSocket, and the raw WebSocket beside it: what is
# said first and last, what of a client's frames is understood, arrays whose
# messages must wait, and that heartbeats come.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::SockJS;
use Snorky::Stop;


use constant { PD => 'Sec-WebSocket-Extensions: permessage-deflate' };


my $t = Test::Nginx->new()->has(qw/ http http_ssl socket_ssl /)
    ->has_daemon('openssl');

plan(skip_all => 'Compress::Raw::Zlib is not installed')
    unless eval { require Compress::Raw::Zlib; Compress::Raw::Zlib->import; 1 };

$t->plan(181);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
    worker_connections 1024;
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  transport  '$arg_who $snorky_transport $snorky_messages_in '
                           '$snorky_messages_out $snorky_close_code';
    access_log  %%TESTDIR%%/transport.log transport;

    ssl_certificate      %%TESTDIR%%/localhost.crt;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    # room for some sixty messages
    snorky_zone 1m log=16k;
    snorky_worker_timeout 120s;
    snorky_publish_timeout 60s;
    snorky_close_timeout 1s;
    lingering_timeout 1s;
    snorky_drain 1s;

    snorky_service pubsub messaging;
    snorky_service echo echo;

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend frontend=messaging;
    }

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        listen       127.0.0.1:8081 sndbuf=16k rcvbuf=16k;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /sockjs {
            snorky_sockjs;
        }

        location /sockjs/lean {
            snorky_sockjs;
            snorky_lean on;
        }

        location /sockjs/deflate {
            snorky_sockjs;
            snorky_deflate on min_size=0;
        }

        location /sockjs/own {
            snorky_sockjs;
            snorky_deflate on min_size=0 context_takeover;
        }

        location /ws/deflate {
            snorky_websocket;
            snorky_deflate on min_size=0;
        }

        location /echo {
            snorky_sockjs_echo;
        }

        location /echo/lean {
            snorky_sockjs_echo;
            snorky_lean on;
        }

        location /echo/deflate {
            snorky_sockjs_echo;
            snorky_deflate on min_size=0;
        }

        location /echo/own {
            snorky_sockjs_echo;
            snorky_deflate on min_size=0 context_takeover;
        }

        location /echo/small {
            snorky_sockjs_echo;
            snorky_max_message_size 1k;
            snorky_deflate on min_size=0;
        }

        location /echo/large {
            snorky_sockjs_echo;
            snorky_max_message_size 1m;
            snorky_send_buffer 64k;
        }

        location /echo/few {
            snorky_sockjs_echo;
            snorky_max_connections $arg_who 1;
        }

        location /slow {
            snorky_sockjs;
            snorky_send_buffer 64k;
            snorky_close_timeout 1m;
        }

        location /beat {
            snorky_sockjs_echo;
            snorky_sockjs_heartbeat 1s;
        }

        location /beat/lean {
            snorky_sockjs_echo;
            snorky_sockjs_heartbeat 300ms;
            snorky_lean on;
        }

        location /close {
            snorky_sockjs_close;
        }

        location /close/lean {
            snorky_sockjs_close;
            snorky_lean on;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

make_certificate($t, 'localhost');
$t->run();
wait_until { @{ status_json()->{workers} } == 2 };

my ($still, $other) = @{ status_json()->{workers} };
my ($c, $d, $raw, $m, $r);
my $invalid = '1002 invalid SockJS message';


# --- what is said -----------------------------------------------------------

my @ways = ([ '/echo' ], [ '/echo/lean' ], [ '/echo', ssl => 1 ],
    [ '/echo/lean', ssl => 1 ], [ '/echo/deflate', headers => [ PD ] ],
    [ '/echo/own', headers => [ PD ] ]);

for my $way (@ways) {
    my ($path, %o) = @$way;
    my $what = join ' ', $path, keys %o;

    $c = connected($path, %o);
    is($c->text_in(), 'o', "$what: first of all, o");

    $c->text('["a"]');
    is($c->text_in(), 'a["a"]', 'a message comes back');

    $c->text('"b"');
    is($c->text_in(), 'a["b"]', 'one without an array, too');

    $c->text($_) for '', '[]', ' [ ] ', " [\t\"c\" ,\r\n \"d\"]", '""';
    is(texts($c, 3), 'a["c"] a["d"] a[""]',
        'messages of an array one by one, and nothing of what is empty');

    $c->text('["\\u0000\\u001f\\"\\\\\\/\\n\\u00e4\\u200c\\u2010\\u2028\\ufff0'
        . '\\ud83d\\ude00\\ud800"]');
    is($c->text_in(), "a[\"\\u0000\\u001f\\\"\\\\/\\n\xc3\xa4\\u200c"
        . "\xe2\x80\x90\\u2028\\ufff0\xf0\x9f\x98\x80\\ufffd\"]",
        'what browsers spoil is escaped');

    my $text = join ',', map { "\"$_ " . 'x' x 1000 . '"' } 1 .. 60;
    $c->text("[$text]");
    is(texts($c, 60), join(' ', map { "a[$_]" } split /,/, $text),
        'an array may be large');

    $c->ping('p');
    $c->text('["behind"]');
    is($c->text_in() . $c->{controls}[0]{data}, 'a["behind"]p',
        'a ping is answered as ever');

    is($c->finish(1000, 'bye'), 1000, 'the client may leave');
    is($c->{closed}{reason}, '', 'and gets no frame for it');
}

$c = Snorky->connect('/echo/0/0/websocket', tail => frame(TEXT, '["early"]'));
is(texts($c, 2), 'o a["early"]', 'what comes with the handshake is read');
$c->send($_) for split //, frame(TEXT, '["bytes"]');
is($c->text_in(), 'a["bytes"]', 'as are bytes one by one');
$c->send(frame(TEXT, '["', fin => 0), frame(CONT, 'a","', fin => 0),
    frame(PING), frame(CONT, '', fin => 0), frame(CONT, 'b"]'));
is(texts($c, 2), 'a["a"] a["b"]', 'and fragments');
$c->send(frame(TEXT, '', fin => 0), frame(CONT, ''), frame(TEXT, '["c"]'));
is($c->text_in(), 'a["c"]', 'also of nothing');

$d = Snorky->connect('/echo/0/0/websocket');
is($d->text_in(), 'o', 'two may have one id');
$d->text('["d"]');
$c->text('["c"]');
is($c->text_in() . $d->text_in(), 'a["c"]a["d"]', 'each is its own session');
$_->finish() for $c, $d;

$raw = Snorky->connect('/echo/websocket?who=raw');
$raw->text('["a"]');
is($raw->text_in(), '["a"]', 'a raw WebSocket has texts as they are');
$raw->binary("\xff");
is($raw->message_in()->{data}, "\xff", 'and bytes');
$raw->finish();

$c = session('/echo', query => '?who=framed');
$c->text('["a","b"]');
texts($c, 2);
$c->finish();

is(wait_until { join(' ', sort $t->read_file('transport.log')
    =~ /^(?:raw|framed) .*$/mg) eq 'framed websocket 2 2 1000 '
    . 'raw websocket 2 2 1000' }, 1, 'the log tells what they were');


# --- what is wrong ----------------------------------------------------------

for my $text ('["a', '["a",]', '["a"', '["a"]x', '["a"] ["b"]', '[1]',
    '["a",1]', '[["a"]]', '[null]', '1', 'null', 'true', '{"a":"b"}', '"a',
    "['a']", ' ', '["\\x"]', '["' . "\n" . '"]')
{
    my $name = $text =~ s/\n/(newline)/r;

    is(ends('/echo', frame(TEXT, $text)), $invalid, "$name is invalid");
}

is(ends('/echo/lean', frame(TEXT, '["a')), $invalid, 'lean as well');
is(ends('/echo', frame(TEXT, '["a"]'), frame(TEXT, '["a')), "a[\"a\"] $invalid",
    'what stood before is answered');
is(ends('/echo', frame(TEXT, "[\"\xff\"]")), '1007 text is not UTF-8',
    'a text must be UTF-8');
is(ends('/echo', frame(BINARY, '["a"]')), '1003 binary message',
    'a binary message is no text');
is(ends('/echo', frame(BINARY, '["a"]', fin => 0)), '1003 binary message',
    'nor is its first part');
is(ends('/echo', frame(CONT, 'a')) =~ /^1002/, 1, 'frames are checked as ever');
is(counters()->{sessions}, 0, 'all of them have left');


# --- how large it may be ----------------------------------------------------

for my $o ({}, { headers => [ PD ] }) {
    my $what = %$o ? ', compressed' : '';

    $c = session('/echo/small', %$o);
    my $send = sub {
        $c->send(frame(TEXT, %$o ? deflate($_[0]) : $_[0],
            rsv => %$o ? 4 : 0));
    };

    my $k = 'x' x 1024;

    $send->("[\"$k\"]");
    is($c->text_in(), "a[\"$k\"]", "a message may have its limit$what");

    $send->('["' . '\\u0041' x 1024 . '"]');
    is($c->text_in(), 'a["' . 'A' x 1024 . '"]', 'however it is written');

    $send->("[\"$k\",\"$k\",\"$k\"]");
    is(texts($c, 3), join(' ', ("a[\"$k\"]") x 3), 'as may those of an array');

    $send->("[\"a\",\"${k}x\"]");
    is($c->text_in(), undef, 'no more');
    is("$c->{closed}{code} $c->{closed}{reason}", '1009 message too big',
        '1009 tells it');

    $c = session('/echo/small', %$o);
    $send->('["' . '\\u0041' x 1024 . '" ]');
    is($c->close_in(), 1009, 'nor may the frame have more than that needs');
}


# --- what the server closes -------------------------------------------------

for my $path ('/close', '/close/lean') {
    for my $o ({}, { ssl => 1 }) {
        $c = connected($path, %$o);
        is(texts($c, 2), 'o c[3000,"Go away!"]', "$path says it");
        is($c->text_in(), undef, 'and no more');
        is("$c->{closed}{code} $c->{closed}{reason} " . $c->gone(),
            '3000 Go away! 1', 'the close frame says it, too');
    }

    $raw = Snorky->connect("$path/websocket");
    is($raw->text_in(), undef, 'a raw WebSocket has no frames');
    is("$raw->{closed}{code} $raw->{closed}{reason} " . $raw->gone(),
        '3000 Go away! 1', 'but the close frame');
}

$c = Snorky->connect('/close/0/0/websocket', tail => frame(TEXT, '["a'));
is(texts($c, 3), 'o c[3000,"Go away!"] -', 'what it sends is not looked at');

$c = session('/echo/few', query => '?who=me');
is(Snorky->attempt('/echo/few/0/0/websocket?who=me')->status(), 503,
    'sessions are counted for snorky_max_connections');
$c->finish();
is(wait_until { Snorky->attempt('/echo/few/0/0/websocket?who=me')->status()
    == 101 }, 1, 'and leave');


# --- services ---------------------------------------------------------------

# every form of one message, made in whatever order

my @kinds = ([ '/ws' ], [ '/sockjs' ], [ '/sockjs/deflate', 1 ],
    [ '/ws/deflate', 1 ], [ '/sockjs/own', 1, 1 ], [ '/sockjs/lean' ],
    [ '/ws/deflate' ], [ '/sockjs/deflate' ], [ 'xhr' ]);

my $beside = $other->{slot};

for my $order ([ 0 .. 8 ], [ reverse 0 .. 8 ], [ 2, 3, 0, 8, 1, 5, 4, 7, 6 ]) {
    my @clients = map { subscriber(@{ $kinds[$_] }[0 .. 2],
        worker => $beside) } @$order;

    for my $message ('one', "two \xe2\x80\x8c\"\\") {
        $r = backend_post('/backend', '{"service":"messaging_backend",'
            . '"message":{"command":"publish","callId":1,"params":{"channel":'
            . "\"c\",\"message\":" . json_text($message) . '}}}',
            key => 'swordfish');

        die "not published\n" unless $r && $r->{status} == 200;

        is(join('|', map { notification($_) } @clients),
            join('|', ($message) x 9), "everybody hears \"$message\"");
    }

    $_->{ws}->finish() for grep { $_->{ws} } @clients;
}

$c = subscriber('/sockjs');
$c->{ws}->text(json([ 'no envelope', '{"service":"x","message":1}',
    envelope('echo', 'x') ]));
is($c->{ws}->text_in(), 'a["{\\"service\\":\\"echo\\",\\"message\\":\\"x\\"}"]',
    'what is no envelope is discarded');
is(counters()->{malformed}, 2, 'and counted');
$c->{ws}->finish();


# --- who does not read ------------------------------------------------------

$c = Snorky->connect('/echo/large/0/0/websocket', port => port(8081),
    rcvbuf => 4096);
$c->{deaf} = 1;
my @many = map { "$_ " . 'y' x 500 } 1 .. 1500;
my $taken = counters()->{messages_in};
$c->text(json(\@many));
$c->text('["end"]');
cmp_ok(wait_until { counters()->{messages_in} - $taken }, '<', 1000,
    'of an array, no more is taken than answers are read');
is(texts($c, 1502), join(' ', 'o', (map { "a[\"$_\"]" } @many), 'a["end"]'),
    'in the end all of it is');
is($c->finish(), 1000, 'and all goes on');

$c = subscriber('/slow', 0, 0, port => port(8081), rcvbuf => 4096);
my $publisher = subscriber('/ws');

for my $number (1 .. 2000) {
    last if counters()->{closed_slow};

    my $reply = $publisher->{ws}->rpc('messaging', 'publish',
        { channel => 'c', message => 'z' x 1000 });
    $reply->{type} eq 'response' or die "not published\n";
}

my @got;

while (defined($m = $c->{ws}->text_in())) {
    push @got, substr $m, 0, 20;
}

is($got[-1], 'c[1013,"too slow"]', 'who is too slow is told so last');
is(scalar(grep { !/^a\["/ } @got[0 .. $#got - 1]), 0, 'behind whole messages');
is($c->{ws}{closed}{code}, 1013, 'and by the close frame');
$publisher->{ws}->finish();


# --- many receivers ---------------------------------------------------------

# 41 publications are what a client may cause in a round

my @listeners = map { subscriber('/ws', 0, 0, worker => $other->{slot}) }
    1 .. 400;
my $burst = Snorky::connect_to_worker($other->{slot}, '/sockjs/0/0/websocket');

$burst->text(json([ map { call($_) } 1 .. 50 ]));
$burst->text(json([ map { call($_) } 51 .. 55 ]));
$burst->ping('behind');
$burst->text(json([ call(56) ]));

is($burst->text_in() . join(' ', map { answer($burst) } 1 .. 56),
    'o' . join(' ', 1 .. 56), 'an array gives way to others, and goes on');
is($burst->{controls}[0]{data}, 'behind', 'before what is behind it');
is(scalar(grep { $_ eq join ' ', 1 .. 56 } map { heard($_, 56) } @listeners),
    400, 'everybody hears all of it');

$_->{ws}->reset() for @listeners;
$burst->finish();
undef @listeners;


# --- room in the log --------------------------------------------------------

for my $path ('/sockjs', '/sockjs/lean', '/sockjs/deflate') {
    my $listener = subscriber('/ws', 0, 0, worker => $other->{slot});
    my $one = Snorky::connect_to_worker($other->{slot},
        "$path/0/0/websocket", $path =~ /deflate/ ? (headers => [ PD ]) : ());
    $one->{inflate} = \&inflate;
    is($one->text_in(), 'o', "$path: a session");

    stop_process($still->{pid});

    $one->text(json([ map { call($_) } 1 .. 100 ]));
    $one->text(json([ call(101), call(102) ]));
    $one->ping('behind');

    my $n = 0;
    is(wait_until { counters()->{waiting} } , 1, 'an array waits for room');
    $n++ while $one->message_in(0.1);
    cmp_ok($n, '>', 20, "in its middle ($n)");
    cmp_ok($n, '<', 100, 'and no answer is given too early');
    ok(!$one->{controls}, 'the ping behind it waits, too');

    continue_process($still->{pid});

    is(join(' ', map { answer($one) } $n + 1 .. 102),
        join(' ', $n + 1 .. 102), 'then it goes on, to its end');
    $one->text('[]');
    wait_until { $one->message_in(0.05); $one->{controls} };
    is($one->{controls}[0]{data}, 'behind', 'and what is behind it');
    is(heard($listener, 102),
        join(' ', 1 .. 102), 'all is published once, in order');

    # one that is closed while it waits

    stop_process($still->{pid});
    $one->text(json([ map { call($_) } 201 .. 300 ]));
    is(wait_until { counters()->{waiting} } , 1, 'another array waits');
    $one->close_frame(1000);
    continue_process($still->{pid});
    is($one->close_in(), 1000, 'the close frame behind it is answered');
    $_->gone() for $one;

    my ($last) = reverse map { notification($listener) } 201 .. 300;
    is($last, 300, 'all before it is done');
    $listener->{ws}->finish();
}


# --- closed while it waits --------------------------------------------------

$c = Snorky::connect_to_worker($other->{slot}, '/sockjs/0/0/websocket');
is($c->text_in(), 'o', 'a session');

stop_process($still->{pid});
$c->text(json([ map { call($_) } 1 .. 100 ]));
is(wait_until { counters()->{waiting} }, 1, 'whose array waits');
$t->reload();

my @said;

while (defined($m = $c->text_in())) {
    push @said, $m;
}

is("$said[-1] $c->{closed}{code}", 'c[1012,"service restart"] 1012',
    'a reload closes it');
$c->gone();

my $last = subscriber('/ws');
continue_process($still->{pid});
$r = backend_post('/backend', '{"service":"messaging_backend","message":'
    . '{"command":"publish","callId":1,"params":{"channel":"c","message":'
    . '"last"}}}', key => 'swordfish');
is($r && $r->{json}{message}{type}, 'response', 'something is published');
is(notification($last), 'last', 'and nothing more of the array');
$last->{ws}->finish();
wait_until { @{ status_json()->{workers} } == 2 };


# --- heartbeats -------------------------------------------------------------

$c = session('/beat/lean');
is(texts($c, 3), 'h h h', 'who hears nothing hears heartbeats');
$c->text('["a"]');
is(join(' ', grep { $_ ne 'h' } split / /, texts($c, 4)), 'a["a"]',
    'besides its messages');
$c->finish();

$c = session('/beat');
$raw = Snorky->connect('/beat/websocket');

my ($heard, $shortest, $beats) = (time(), 9, 0);

for my $number (1 .. 100) {
    last if $beats == 2;

    $c->text("[\"$number\"]") if $number <= 12;

    # answers come at once, and put it off

    for my $wait ($number <= 12 ? (10, 0.2) : 10) {
        my $text = $c->text_in($wait) // next;
        my $now = time();

        if ($text eq 'h') {
            $shortest = $now - $heard if $now - $heard < $shortest;
            $beats++;
        }

        $heard = $now;
    }
}

is($beats, 2, 'they come when it is silent');
cmp_ok($shortest, '>', 0.7, sprintf 'and not before (%.1f s)', $shortest);
is($raw->silent(0), 1, 'a raw WebSocket gets none');
$_->finish() for $c, $raw;


# --- reload and stop --------------------------------------------------------

my @left = map { session($_) } '/echo', '/sockjs/lean';
push @left, session('/echo/deflate', headers => [ PD ]);

$t->reload();

is(join('|', map { texts($_, 2) . " $_->{closed}{code}" } @left),
    join('|', ('c[1012,"service restart"] - 1012') x 3),
    'a reload closes in both ways');

$_->gone() for @left;
wait_until { @{ status_json()->{workers} } == 2 };

@left = map { session($_) } '/echo', '/sockjs/lean';

kill 'TERM', $t->master();

is(join('|', map { texts($_, 2) . " $_->{closed}{code}" } @left),
    join('|', ('c[1001,"server stops"] - 1001') x 2), 'so does a stop');


# --- connections ------------------------------------------------------------

sub connected {
    my ($path, %o) = @_;

    my $query = delete $o{query} // '';
    my $c = Snorky->connect("$path/000/abc/websocket$query", %o);

    my $stream = $path =~ /own/ ? inflation() : undef;
    $c->{inflate} = sub { return inflate($_[0], $stream) };

    return $c;
}


# one that has been opened

sub session {
    my $c = connected(@_);

    ($c->text_in() // '') eq 'o' or die "not opened\n";

    return $c;
}


# the next ones; "-" when there is none

sub texts {
    my ($c, $n) = @_;

    return join ' ', map { $c->{closed} ? '-' : $c->text_in() // '-' } 1 .. $n;
}


# what comes behind "o" for these frames, and the close frame

sub ends {
    my ($path, @frames) = @_;

    my $c = session($path);
    my @texts;

    $c->send(@frames);

    while (defined(my $text = $c->text_in())) {
        push @texts, $text;
    }

    my $closed = $c->{closed} || { code => 'none', reason => '' };

    $c->reset();

    return join ' ', @texts, $closed->{code}, $closed->{reason};
}


# --- calls ------------------------------------------------------------------

# a client that listens, of a path with or without "sockjs" in it

sub subscriber {
    my ($path, $deflate, $own, %o) = @_;

    my $framed = $path =~ /sockjs|slow/;
    my $slot = delete $o{worker};
    my $call = Snorky::request_text('messaging', 'subscribe',
        { channel => 'c' }, 1);

    if ($path eq 'xhr') {
        my $session = Snorky::SockJS->new(prefix => '/sockjs',
            worker => $slot);

        $session->poll();
        $session->send($call);
        $session->receive(1);

        return { poll => $session };
    }

    $o{headers} = [ PD ] if $deflate;
    $path .= '/0/0/websocket' if $framed;

    my $c = defined $slot ? Snorky::connect_to_worker($slot, $path, %o)
        : Snorky->connect($path, %o);

    my $stream = $own ? inflation() : undef;
    $c->{inflate} = sub { return inflate($_[0], $stream) };

    my $self = { ws => $c, framed => $framed };

    if ($framed) {
        $c->text_in();
        $c->text(json([ $call ]));

    } else {
        $c->text($call);
    }

    message($self)->{type} eq 'response' or die "not subscribed\n";

    return $self;
}


sub message {
    my ($client) = @_;

    my $text = ($client->{poll} ? ($client->{poll}->receive(1))[0]
        : $client->{ws}->text_in()) // return { type => 'nothing' };

    $text = unframed($text) if $client->{framed};
    utf8::encode($text) if $client->{poll};

    return decode($text)->{message};
}


sub notification {
    my ($client) = @_;

    my $message = message($client)->{message};

    utf8::encode($message) if defined $message;

    return $message // 'nothing';
}


sub heard {
    my ($client, $n) = @_;

    return join ' ', map { notification($client) } 1 .. $n;
}


sub unframed {
    my ($text) = @_;

    $text =~ s/^a// or die "no array: $text\n";

    my $inner = decode($text)->[0];
    utf8::encode($inner);

    return $inner;
}


sub call {
    my ($n) = @_;

    return '{"service":"messaging","message":{"command":"publish","params":'
        . "{\"channel\":\"c\",\"message\":\"$n\"},\"callId\":$n,\"x\":\""
        . 'x' x 100 . '"}}';
}


# the number of the next answer

sub answer {
    my ($c) = @_;

    my $text = $c->text_in() // return 'nothing';

    my $message = decode(unframed($text))->{message};

    return $message->{type} eq 'response' ? $message->{callId} : 'error';
}


# bytes as a JSON string

sub json_text {
    my ($bytes) = @_;

    utf8::decode($bytes);

    return json($bytes);
}


# --- RFC 7692, 7.2 ----------------------------------------------------------

sub deflate {
    my ($data) = @_;

    my ($stream) = Compress::Raw::Zlib::Deflate->new(
        -WindowBits => -MAX_WBITS(), -AppendOutput => 1);
    my $out = '';

    $stream->deflate($data, $out) == Z_OK() or die "not deflated\n";
    $stream->flush($out, Z_SYNC_FLUSH()) == Z_OK() or die "not flushed\n";

    return substr $out, 0, -4;
}


sub inflation {
    my ($stream) = Compress::Raw::Zlib::Inflate->new(
        -WindowBits => -MAX_WBITS(), -AppendOutput => 1);

    return $stream;
}


sub inflate {
    my ($data, $stream) = @_;

    my $out = '';
    my $rest = $data . "\x00\x00\xff\xff";
    my $rc = ($stream || inflation())->inflate($rest, $out);

    die "not inflated: $rc\n" unless $rc == Z_OK() || $rc == Z_BUF_ERROR();

    return $out;
}
