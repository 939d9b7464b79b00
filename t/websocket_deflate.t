#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# permessage-deflate (RFC 7692): what is agreed on for which offer, which
# bytes then go and come, that one compression serves all receivers, and that
# no message takes more memory than it may.

use strict;
use warnings;

use Compress::Raw::Zlib qw/ MAX_WBITS Z_OK Z_BUF_ERROR Z_STREAM_END
                            Z_SYNC_FLUSH /;
use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Stop;


use constant { PD => 'permessage-deflate', RSV1 => 4 };

my $NONE = PD . '; server_no_context_takeover; client_no_context_takeover';

my $t = Test::Nginx->new()->has(qw/ http /)->plan(126);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m log=128k;
    snorky_worker_timeout 120s;
    snorky_publish_timeout 60s;
    snorky_drain 1s;
    snorky_service pubsub messaging;
    snorky_service echo echo;

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend frontend=messaging;
    }

    server {
        # connections go to either worker
        listen       127.0.0.1:8080 reuseport;
        listen       127.0.0.1:8081 sndbuf=16k;
        server_name  localhost;

        add_header X-Worker $snorky_worker always;

        snorky_deflate on;

        location /ws {
            snorky_websocket;
        }

        location /small {
            snorky_websocket;
            snorky_deflate on window_bits=10 level=9 min_size=1k;
        }

        location /own {
            snorky_websocket;
            snorky_deflate on context_takeover min_size=0;
        }

        location /own_small {
            snorky_websocket;
            snorky_deflate on context_takeover window_bits=10;
        }

        location /off {
            snorky_websocket;
            snorky_deflate off;
        }

        location /echo {
            snorky_websocket_echo;
            snorky_max_message_size 256k;
        }

        location /own_echo {
            snorky_websocket_echo;
            snorky_deflate on context_takeover min_size=0;
        }

        location /lean {
            snorky_websocket;
            snorky_lean on;
            snorky_deflate on context_takeover;
            snorky_identity $arg_who;
        }

        location /window {
            snorky_websocket;
            snorky_lean on;
            snorky_batch_window 20ms;
        }

        location /few {
            snorky_websocket;
            snorky_max_connections $server_name 1;
        }

        location /limited {
            snorky_websocket_echo;
            snorky_max_message_size 1000;
        }

        location /buffered {
            snorky_websocket;
            snorky_send_buffer 64k;
            snorky_max_message_size 1m;
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

$t->run();

# words that are all different, so that it is neither hopeless nor trivial

my $long = join ' ', map { "word-$_" } 1 .. 400;

my ($c, $f, $m, $before, $after);


# what is agreed on

for my $case (
    ['/ws', PD, $NONE],
    ['/ws', PD . '; client_max_window_bits', $NONE],
    ['/ws', PD . '; server_max_window_bits=10',
        "$NONE; server_max_window_bits=10"],
    ['/ws', PD . '; server_max_window_bits="12"; server_no_context_takeover',
        "$NONE; server_max_window_bits=12"],
    ['/ws', PD . '; server_max_window_bits=8', undef],
    ['/ws', PD . '; server_max_window_bits=8, ' . PD, $NONE],
    ['/ws', PD . '; unknown, ' . PD . '; client_max_window_bits=9', $NONE],
    ['/ws', PD . '; server_max_window_bits=16', undef],
    ['/ws', PD . '; client_max_window_bits=7', undef],
    ['/ws', PD . '; server_no_context_takeover=1', undef],
    ['/ws', 'x-webkit-deflate-frame', undef],
    ['/ws', 'foo; bar="a", ' . PD, $NONE],
    ['/ws', '', undef],
    ['/ws', [ 'foo', PD . '; server_max_window_bits=9', PD ],
        "$NONE; server_max_window_bits=9"],
    ['/small', PD, "$NONE; server_max_window_bits=10"],
    ['/small', PD . '; server_max_window_bits=15; client_max_window_bits',
        "$NONE; server_max_window_bits=10"],
    ['/own', PD, PD],
    ['/own', PD . '; client_max_window_bits', PD],
    ['/own', PD . '; client_max_window_bits=10',
        PD . '; client_max_window_bits=10'],
    ['/own', PD . '; server_no_context_takeover',
        PD . '; server_no_context_takeover'],
    ['/own', PD . '; client_no_context_takeover',
        PD . '; client_no_context_takeover'],
    ['/own_small', PD . '; client_max_window_bits',
        PD . '; server_max_window_bits=10; client_max_window_bits=10'],
    ['/own_small', PD, PD . '; server_max_window_bits=10'],
    ['/off', PD, undef],
    ['/off', PD . ';', undef],
) {
    my ($path, $offer, $answer) = @$case;

    $c = offer($path, $offer);
    is($c->status() . ' ' . ($c->header('Sec-WebSocket-Extensions') // 'none'),
        '101 ' . ($answer // 'none'),
        "$path: " . (ref $offer ? join ' | ', @$offer : "\"$offer\""));
    $c->reset();
}

$before = counters();

for my $offer (PD . ';', PD . '; a=', PD . ' x', PD . '; a="b', '"' . PD . '"',
    [ PD, 'a;' ])
{
    $c = offer('/ws', $offer);
    is($c->status(), 400, 'malformed: '
        . (ref $offer ? join ' | ', @$offer : $offer));
    $c->reset();
}

is(counters()->{rejected_handshake} - $before->{rejected_handshake}, 6,
    'such are counted');
is(offer('/ws', PD, origin => 'http://example.com')
        ->header('Sec-WebSocket-Extensions'), undef,
    'nothing is agreed on with a page that is refused');


$c = offer('/few', PD);
$m = offer('/few', PD);
ok($m->status() >= 400 && !$m->header('Sec-WebSocket-Extensions'),
    'nor with one who is one too many');
$c->reset();


# bytes, there and back

$c = deflating('/echo');

$c->text($long);
$f = $c->frame_in();
is("$f->{op} $f->{fin} $f->{rsv}", '1 1 4', 'a long text comes compressed');
is(inflate($f->{data}), $long, 'it is the same');
cmp_ok(length $f->{data}, '<', length($long) / 2, 'in fewer bytes');
is($f->{header}, 4, 'with the header of its length');
unlike($f->{data}, qr/\x00\x00\xff\xff\z/, 'and without the tail');

my $bytes = $f->{data};

$c->text($long);
is($c->frame_in()->{data}, $bytes, 'the same bytes again, nothing is kept');

$c->send(frame(TEXT, deflate($long), rsv => RSV1));
$f = $c->frame_in();
is(inflate($f->{data}), $long, 'a compressed text is understood');

$c->send(frame(BINARY, deflate("\xff\x00" x 500), rsv => RSV1));
$f = $c->frame_in();
is("$f->{op} $f->{rsv}", '2 4', 'and binary');
is(inflate($f->{data}), "\xff\x00" x 500, 'as it was');

for my $size (0, 1, 127) {
    $c->text('x' x $size);
    $f = $c->frame_in();
    is("$f->{rsv} $f->{data}", '0 ' . 'x' x $size,
        "$size bytes are too few to be compressed");
}

$c->text('x' x 128);
is($c->frame_in()->{rsv}, RSV1, '128 are enough');

my $noise = join '', map { chr int rand 256 } 1 .. 5000;

$c->binary($noise);
$f = $c->frame_in();
ok($f->{rsv} == 0 && $f->{data} eq $noise,
    'what does not get smaller is sent as it is');

$c->send(frame(TEXT, "\x00", rsv => RSV1));
$f = $c->frame_in();
is("$f->{op} $f->{rsv} $f->{data}", '1 0 ', 'an empty message');

$c->send(frame(TEXT, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", rsv => RSV1));
is($c->frame_in()->{data}, 'Hello', 'a final block');

$c->send(frame(TEXT, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    rsv => RSV1));
is($c->frame_in()->{data}, 'Hello', 'two blocks');


# in fragments, of which the first is marked

my $deflated = deflate($long);

for my $size (1, 7, 1000) {
    my @parts = $deflated =~ /.{1,$size}/gs;
    my $first = shift @parts;

    $c->send(frame(TEXT, $first, fin => 0, rsv => RSV1),
        (map { frame(CONT, $_, fin => 0) } @parts), frame(CONT, ''));
    is(inflate($c->frame_in()->{data}), $long, "in fragments of $size bytes");
}

$c->send(frame(TEXT, substr($deflated, 0, 10), fin => 0, rsv => RSV1),
    frame(PING, 'p' x 125), frame(CONT, substr($deflated, 10)));
$f = $c->frame_in();
is("$f->{op} $f->{rsv} $f->{data}", PONG . ' 0 ' . 'p' x 125,
    'a pong between fragments is not compressed');
is(inflate($c->frame_in()->{data}), $long, 'the message is');

$c->send($_) for split //, frame(TEXT, deflate('y' x 200), rsv => RSV1);
is(inflate($c->frame_in()->{data}), 'y' x 200, 'in as many packets as bytes');

my $big = join '', map { pack 'N', $_ * 7 } 1 .. 65536;

$c->send(frame(BINARY, deflate($big), rsv => RSV1));
$m = $c->message_in();
ok($m->{data} eq $big, '256 kilobytes');

# plain ones go in between

$c->text('plain');
is($c->text_in(), 'plain', 'a message that is not compressed');

is($c->finish(), 1000, 'all of it on one connection');


# a window of 512 bytes, ours and theirs

$c = deflating('/echo', PD . '; server_max_window_bits=9');
$c->send(frame(TEXT, deflate($long), rsv => RSV1));
$f = $c->frame_in();
is(inflate($f->{data}, bits => 9), $long, 'a window is as small as is asked');
$c->reset();


# contexts that are kept

$c = deflating('/own_echo');
$c->{stream} = deflation();
my $in = inflation();

my @size;

for (1 .. 3) {
    $c->send(frame(TEXT, deflate($long, $c->{stream}), rsv => RSV1));
    $f = $c->frame_in();
    is(inflate($f->{data}, stream => $in), $long, "message $_ of a stream");
    push @size, length $f->{data};
}

cmp_ok($size[1], '<', $size[0] / 3, 'the second is short, it repeats');

$c->send(frame(BINARY, deflate($noise, $c->{stream}), rsv => RSV1));
$f = $c->frame_in();
is($f->{rsv}, RSV1, 'noise belongs to the stream');
ok(inflate($f->{data}, stream => $in) eq $noise, 'and comes back');

$c->text('');
is($c->frame_in()->{rsv}, 0, 'an empty message does not');

$c->ping('p' x 125);
$f = $c->frame_in();
is("$f->{rsv} $f->{data}", '0 ' . 'p' x 125, 'nor does a pong');

$c->text('plain');
is(inflate($c->frame_in()->{data}, stream => $in), 'plain',
    'a plain one is answered in the stream');
$c->send(frame(TEXT, deflate($long, $c->{stream}), rsv => RSV1));
is(inflate($c->frame_in()->{data}, stream => $in), $long,
    'and all goes on');
$c->reset();

$c = deflating('/own_echo', PD . '; server_no_context_takeover');
$c->{stream} = deflation();

for (1 .. 2) {
    $c->send(frame(TEXT, deflate($long, $c->{stream}), rsv => RSV1));
    is(inflate($c->frame_in()->{data}), $long,
        "only the client keeps its context: message $_");
}

$c->reset();

$c = deflating('/own_small', PD . '; client_max_window_bits');
$c->{inflate} = inflater(bits => 10);
$c->{stream} = deflation(10);

for (1 .. 3) {
    $c->send(frame(TEXT, deflate(request('echo', $long . $_), $c->{stream}),
        rsv => RSV1));
    is(decode($c->text_in())->{message}, $long . $_,
        "windows of a kilobyte: message $_");
}

$c->reset();


# services: what is published once is compressed once in a worker

my %joined;

for my $n (1 .. 100) {
    $c = join_channel(deflating('/ws'));
    push @{ $joined{$c->header('X-Worker')} }, $c;
}

my @all = map { @$_ } values %joined;

push @all, join_channel(Snorky->connect('/ws')),
    join_channel(Snorky->connect('/off', headers => extension(PD)));

$before = counters();
my $answer = publish($long);

is(scalar(grep { delivered($_) eq $long } @all), 102,
    'a hundred who have agreed and two who have not get a publication');

$after = counters();
is($after->{compressions} - $before->{compressions}, scalar keys %joined,
    'one compression in each worker');

my $wire = $all[0]{last}{wire};
my $text = $all[0]{last}{whole};

is(scalar(grep { $_->{last}{wire} eq $wire } @all[1 .. 99]), 99,
    'all have got the same bytes');
ok(!defined $all[100]{last}{wire} && !defined $all[101]{last}{wire},
    'but for those who have not agreed');
is($after->{bytes_saved} - $before->{bytes_saved},
    100 * (length($text) - length $wire), 'what was saved is counted');
is($after->{bytes_out} - $before->{bytes_out},
    102 * length($text) + length $answer,
    'bytes_out are those of the texts');

# others are compressed otherwise

push @all, map { join_channel(deflating(@$_)) }
    ['/ws', PD . '; server_max_window_bits=12'], ['/small', PD];
$all[-1]{inflate} = inflater(bits => 10, shared => 1);

my $kinds = keys(%joined) + 2;

$before = counters();
publish($long);
is(scalar(grep { delivered($_) eq $long } @all), 104, 'to other windows, too');
$after = counters();
is($after->{compressions} - $before->{compressions}, $kinds,
    'one compression for each of them, where they are');

$before = counters();
publish(join '', map { ('a' .. 'z', 0 .. 9)[rand 36] } 1 .. 40);
delivered($_) for @all;
$after = counters();
is($after->{compressions} - $before->{compressions}, 0,
    'a short publication is not compressed');

$_->reset() for @all;


# who keeps a context has a compression of his own

my @own = map { join_channel(keeping('/own')) } 1 .. 5;

$before = counters();

for my $n (1 .. 3) {
    publish("$n $long");
    is(scalar(grep { delivered($_) eq "$n $long" } @own), 5,
        "publication $n to five who keep their context");
}

$after = counters();
is($after->{compressions} - $before->{compressions}, 15,
    'each has his compression');
cmp_ok(length $own[0]{last}{wire}, '<', 200, 'in a few bytes by now');
$_->reset() for @own;


# connections without a request, and those that gather

my @lean = (keeping('/lean?who=me'), deflating('/window'),
    keeping('/lean'), deflating('/window'));

join_channel($_) for @lean;

for my $n (1 .. 3) {
    publish("$n $long");
    is(scalar(grep { delivered($_) eq "$n $long" } @lean), 4,
        "publication $n to lean ones");
}

$_->reset() for @lean;


# many at a time

$c = deflating('/ws');
$c->send(map { frame(TEXT, deflate(request('echo', "$_ $long")),
    rsv => RSV1) } 1 .. 50);
is(join(' ', map { decode($c->text_in())->{message} =~ /^(\d+) / } 1 .. 50),
    join(' ', 1 .. 50), 'many at a time, in their order');
$c->reset();


# a message waits for room in the log as what it means, whole or in pieces

my ($still, $other) = @{ status_json()->{workers} };

my @waiting = map { connect_to_worker($other->{slot}, '/ws',
    headers => extension(PD)) } 1 .. 2;
$_->{inflate} = inflater(shared => 1) for @waiting;

my $watcher = watcher($other);

stop_process($still->{pid});

for my $n (0, 1) {
    my $c = $waiting[$n];
    my $sent = 0;

    while (watch($watcher)->{total}{waiting} == $n && $sent < 200) {
        my $text = deflate(Snorky::request_text('messaging', 'publish',
            { channel => 'nobody', message => "$sent $long" }, $sent++));

        $c->send($n == 0 ? frame(TEXT, $text, rsv => RSV1)
            : (frame(TEXT, substr($text, 0, 20), rsv => RSV1, fin => 0),
                frame(CONT, substr $text, 20)));
    }

    push @size, $sent;
}

is(watch($watcher)->{total}{waits}, 2, 'both wait for room');

continue_process($still->{pid});

for my $n (0, 1) {
    my $sent = $size[$n - 2];
    my $replies = grep { my $r = $waiting[$n]->reply();
        $r && $r->{type} eq 'response' } 1 .. $sent;

    is($replies, $sent, "all $sent calls are answered, the one that waited, "
        . ($n ? 'in pieces' : 'whole'));
    $waiting[$n]->reset();
}


# the bounds

$c = deflating('/limited');
$c->send(frame(TEXT, deflate('z' x 1000), rsv => RSV1));
is($c->text_in(), 'z' x 1000, 'as many bytes as are allowed');

is(ends('/limited', frame(TEXT, deflate('z' x 1001), rsv => RSV1)),
    '1009 message too big', 'one more');
is(ends('/own_echo', frame(TEXT, deflate('z' x 65537), rsv => RSV1)),
    '1009 message too big', 'with a context, too');
is(ends('/limited', frame(TEXT, 'z' x 1001, rsv => RSV1)),
    '1009 message too big', 'too many before they are decompressed');
is(ends('/limited', frame(TEXT, deflate('z' x 900), fin => 0, rsv => RSV1),
    (map { frame(CONT, 'z' x 100, fin => 0) } 1 .. 10)),
    '1009 message too big', 'too many in fragments');

my $bomb = deflate("\x00" x 16_000_000, deflation(15, 9));
cmp_ok(length $bomb, '<', 20_000, 'sixteen megabytes in a few kilobytes');

my @pids = worker_pids($t);
my @kb = map { resident($t, $_) } @pids;

for (1 .. 10) {
    $c = deflating('/echo');
    $c->send(frame(BINARY, $bomb, rsv => RSV1));
    push @size, $c->close_in();
    $c->reset();
}

is("@size[-10 .. -1]", join(' ', ('1009') x 10), 'are too many, ten times');

SKIP: {
    skip 'no memory to be measured', 1 unless defined $kb[0];

    my ($most) = sort { $b <=> $a }
        map { resident($t, $pids[$_]) - $kb[$_] } 0 .. $#pids;
    cmp_ok($most, '<', 4000, 'and take no memory for it');
}


# what is wrong

for my $case (
    ['no compressed data', frame(TEXT, 'Hello, world', rsv => RSV1)],
    ['a message that is cut off', frame(TEXT, substr($deflated, 0, 200),
        rsv => RSV1)],
    ['a compressed message without a byte', frame(TEXT, '', rsv => RSV1)],
    ['rubbish behind the last block',
        frame(TEXT, "\xf3\x48\xcd\xc9\xc9\x07\x00rubbish", rsv => RSV1)],
    ['what refers to the message before', frame(TEXT, deflate('a' x 100),
        rsv => RSV1), frame(TEXT, "\x02\x13\x00\x00", rsv => RSV1)],
) {
    my ($name, @frames) = @$case;
    is(ends('/echo', @frames), '1007 invalid compressed data', $name);
}

is(ends('/echo', frame(TEXT, deflate("\xc3\x28"), rsv => RSV1)),
    '1007 text is not UTF-8', 'a text that is not UTF-8');
is(ends('/echo', frame(TEXT, deflate("\xe2\x82"), rsv => RSV1)),
    '1007 text is not UTF-8', 'one that ends within a character');

$c = deflating('/echo');
$c->send(frame(TEXT, substr(deflate("\xe2\x82\xac" x 99), 0, 5), fin => 0,
    rsv => RSV1), frame(CONT, substr(deflate("\xe2\x82\xac" x 99), 5)));
is($c->text_in(), "\xe2\x82\xac" x 99, 'characters may be split');

is(ends('/echo', frame(TEXT, 'a', fin => 0),
    frame(CONT, 'b', rsv => RSV1)), '1002 reserved bit',
    'a mark on a later fragment');
is(ends('/echo', frame(PING, '', rsv => RSV1)), '1002 reserved bit',
    'on a control frame');
is(ends('/echo', frame(TEXT, 'a', rsv => 2)), '1002 reserved bit',
    'another bit');
is(ends('/echo', frame(TEXT, 'a', rsv => 6)), '1002 reserved bit',
    'another bit besides');

for my $case (['/echo', undef], ['/echo', 'foo'], ['/off', PD]) {
    my ($path, $offer) = @$case;

    $c = Snorky->connect($path, headers => extension($offer));
    $c->send(frame(TEXT, deflate($long), rsv => RSV1));
    is($c->close_in(), 1002, "$path: a mark that was not agreed on");
    $c->reset();
}

$c = deflating('/ws');
$c->send(frame(TEXT, deflate(request('echo', 'still alive')), rsv => RSV1));
is(decode($c->text_in())->{message}, 'still alive', 'nobody else has noticed');
$c->reset();


# the bound of what waits is of compressed bytes

my $slow = join_channel(deflating('/buffered', PD, port => port(8081),
    rcvbuf => 4096));
my $plain = join_channel(Snorky->connect('/buffered', port => port(8081),
    rcvbuf => 4096));

publish($_) for map { 'x' x 30000 . " $_" } 1 .. 40;

is($plain->close_in(), 1013, 'more waits than may, for one who is sent texts');
is(scalar(grep { delivered($slow) =~ /^x{30000} $_$/ } 1 .. 40), 40,
    'the same, compressed, is little');
$slow->reset();


# reload

$c = join_channel(deflating('/ws'));
my $own = join_channel(keeping('/own'));

$t->reload();

is($c->close_in(), 1012, 'a reload ends a connection');
is($own->close_in(), 1012, 'and one with a context');

$c = join_channel(deflating('/ws'));
publish($long);
is(delivered($c), $long, 'new workers compress');
$c->reset();


# --- connections ------------------------------------------------------------

sub extension {
    my ($offer) = @_;

    return [ map { "Sec-WebSocket-Extensions: $_" }
        ref $offer ? @$offer : defined $offer ? $offer : () ];
}


sub offer {
    my ($path, $offer, %o) = @_;

    return Snorky->attempt($path, headers => extension($offer), %o);
}


sub deflating {
    my ($path, $offer, %o) = @_;

    my $c = Snorky->connect($path, headers => extension($offer // PD), %o);

    $c->{inflate} = inflater(shared => 1);

    return $c;
}


# a connection that asks that worker for the status, again and again

sub watcher {
    my ($worker) = @_;

    for (1 .. 100) {
        my $h = Snorky->dial();
        return $h if watch($h)->{pid} == $worker->{pid};
    }

    die "no connection to that worker\n";
}


sub watch {
    my ($h) = @_;

    return $h->request('GET', '/status')->{json};
}


# one whose server keeps its context

sub keeping {
    my ($path) = @_;

    my $c = deflating($path);

    $c->{inflate} = inflater();

    return $c;
}


# the close frame that answers these

sub ends {
    my ($path, @frames) = @_;

    my $c = deflating($path);

    $c->send(@frames);

    my $code = $c->close_in() // 'nothing';
    my $reason = $c->{closed} ? $c->{closed}{reason} : '';

    $c->reset();

    return "$code $reason";
}


sub request {
    my ($service, $message) = @_;

    return envelope($service, $message);
}


sub join_channel {
    my ($c) = @_;

    my $reply = $c->rpc('messaging', 'subscribe', { channel => 'c' });

    die "not subscribed\n" unless $reply && $reply->{type} eq 'response';

    return $c;
}


sub publish {
    my ($message) = @_;

    my $r = backend_post('/backend', {
        service => 'messaging_backend',
        message => {
            command => 'publish', callId => 1,
            params => { channel => 'c', message => $message },
        },
    }, key => 'swordfish');

    die "not published\n" unless $r && $r->{status} == 200
        && $r->{json}{message}{type} eq 'response';

    return $r->{body};
}


# the message of the next publication; the frame is kept

sub delivered {
    my ($c) = @_;

    my $m = $c->message_in() or return 'nothing';

    $c->{last} = { wire => $m->{wire}, whole => $m->{data} };

    return decode($m->{data})->{message}{message};
}


# --- RFC 7692, 7.2 ----------------------------------------------------------

sub deflation {
    my ($bits, $level) = @_;

    my ($stream) = Compress::Raw::Zlib::Deflate->new(
        -WindowBits => -($bits || MAX_WBITS), -Level => $level || 6,
        -AppendOutput => 1);

    return $stream;
}


sub deflate {
    my ($data, $stream) = @_;

    my $out = '';

    $stream ||= deflation();
    $stream->deflate($data, $out) == Z_OK or die "not deflated\n";
    $stream->flush($out, Z_SYNC_FLUSH) == Z_OK or die "not flushed\n";

    substr($out, -4) eq "\x00\x00\xff\xff" or die "no tail\n";

    return substr $out, 0, -4;
}


sub inflation {
    my ($bits) = @_;

    my ($stream) = Compress::Raw::Zlib::Inflate->new(
        -WindowBits => -($bits || MAX_WBITS), -AppendOutput => 1);

    return $stream;
}


sub inflate {
    my ($data, %o) = @_;

    my $stream = $o{stream} || inflation($o{bits});
    my $out = '';
    my $rest = $data . "\x00\x00\xff\xff";
    my $rc = $stream->inflate($rest, $out);

    die "not inflated: $rc\n" unless $rc == Z_OK || $rc == Z_BUF_ERROR;

    return $out;
}


sub inflater {
    my (%o) = @_;

    my $stream = $o{shared} ? undef : inflation($o{bits});

    return sub {
        return inflate($_[0], stream => $stream, bits => $o{bits});
    };
}
