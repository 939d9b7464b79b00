#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# SockJS over HTTP/2, in frames made by hand: streams side by side in one
# connection, windows that are full, streams that are reset.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::SockJS;

use constant {
    DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4,
    WINDOW_UPDATE => 8,

    END_STREAM => 1, END_HEADERS => 4, ACK => 1,
};


my $t = Test::Nginx->new()->has(qw/ http http_ssl v2 socket_ssl /)
    ->has_daemon('openssl')->plan(70);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    ssl_certificate      %%TESTDIR%%/localhost.crt;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    snorky_zone 16m;
    snorky_drain 10ms;
    snorky_max_message_size 1m;
    snorky_send_buffer 4m;
    snorky_sockjs_response_limit 4m;
    client_max_body_size 2m;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080 reuseport;
        listen       127.0.0.1:8081 http2 reuseport;
        listen       127.0.0.1:8443 ssl http2;
        server_name  localhost;

        location /echo {
            snorky_sockjs_echo;
        }

        location /short {
            snorky_sockjs_echo;
            snorky_sockjs_response_limit 100;
        }

        location /hasty {
            snorky_sockjs_echo;
            snorky_sockjs_heartbeat 200ms;
            send_timeout 1s;
        }
    }
}

EOC

make_certificate($t, 'localhost');
$t->run();

my $interrupted = 'c[1002,"Connection interrupted"]';
my ($s, $h, $id, $r);


# all of a session in one connection

for my $tls (0, 1) {
    my $where = $tls ? 'over TLS' : 'in clear';
    my %how = $tls ? (port => port(8443), ssl => 1) : (port => port(8081));

    $h = h2(%how);

    $s = session('/echo');
    is(ask($h, 'POST', $s, 'xhr'), "200 o\n", "$where: xhr");

    $id = request($h, 'POST', $s->path('xhr'), '');
    is(ask($h, 'POST', $s, 'xhr_send', '["x"]'), '204 ', "$where: xhr_send");
    is(answer($h, $id), "200 a[\"x\"]\n", "$where: is in the poll beside it");
    is(ask($h, 'POST', $s, 'xhr_send', '"'), '500 Broken JSON encoding.',
        "$where: what is broken is told");
    is(ask($h, 'POST', session('/echo'), 'xhr_send', '["x"]') =~ /^(\d+)/
        && $1, 404, "$where: who has no session, too");
    is(ask($h, 'GET', $s, 'jsonp'), '500 "callback" parameter required',
        "$where: and what is missing");

    for my $kind (qw/ xhr_streaming eventsource htmlfile?c=cb /) {
        my $method = $kind =~ /^xhr/ ? 'POST' : 'GET';

        $s = session('/short');
        $id = request($h, $method, $s->path($kind));

        is(body($h, $id, qr/\bo\b/), 1, "$where: $kind has a frame");
        is(ask($h, 'POST', $s, 'xhr_send', '["one"]'), '204 ',
            "$where: a message");
        is(body($h, $id, qr/a\[\\?"one\\?"\]/), 1, "$where: comes at once");
        is(ask($h, 'POST', $s, 'xhr_send', '["' . 'x' x 100 . '"]'), '204 ',
            "$where: up to the limit");
        like(answer($h, $id), qr/x{100}/, "$where: at which it ends");
    }

    $s = session('/echo');
    ask($h, 'POST', $s, 'xhr');
    $id = request($h, 'POST', $s->path('xhr_send'), '["' . 'x' x 300000 . '"]');
    is(answer($h, $id), '204 ', "$where: a large message");
    is(ask($h, 'POST', $s, 'xhr') eq '200 a["' . 'x' x 300000 . qq{"]\n}, 1,
        "$where: and back, in more than one window");
}


# many sessions in one connection, in which each waits

$h = h2(port => port(8081));

my @sessions = map { session('/echo') } 1 .. 40;
my @streams = map { request($h, 'POST', $_->path('xhr_streaming')) } @sessions;

is(scalar(grep { body($h, $_, qr/\bo\n/) } @streams), 40,
    'forty streams in one connection');
is(scalar(grep { $_->send('x') == 204 } @sessions), 40,
    'messages for them all');
is(scalar(grep { body($h, $_, qr/a\["x"\]\n/) } @streams), 40,
    'which come');

# one is reset, and then the connection ends

reset_stream($h, shift @streams);
is(interruption(shift @sessions), $interrupted, 'one of them is reset');
is($sessions[0]->send('y'), 204, 'another one');
is(body($h, $streams[0], qr/a\["y"\]\n/), 1, 'goes on');

$h->{sock}->close();
is(scalar(grep { interruption($_) eq $interrupted } @sessions), 39,
    'the connection ends, and all with it');


# a poll that is reset

$h = h2(port => port(8081));
$s = session('/echo');
ask($h, 'POST', $s, 'xhr');
$id = request($h, 'POST', $s->path('xhr'), '');
is(ask($h, 'POST', $s, 'xhr_send', '[]'), '204 ', 'a poll waits');
reset_stream($h, $id);
is(interruption($s), $interrupted, 'it is reset');
like(ask($h, 'GET', $s, '../../info'), qr/^200 .*entropy/,
    'the connection goes on');


# a window that is full

$h = h2(port => port(8081), window => 3000);
$s = session('/echo');
$id = request($h, 'POST', $s->path('xhr_streaming'));
is(body($h, $id, qr/\bo\n/), 1, 'a window of 3000 bytes');

my @messages = map { $_ . 'x' x 500 } 1 .. 100;
is(scalar(grep { $s->send($_) == 204 } @messages), 100, 'much for it');
is(length $h->{streams}{$id}{body} <= 3000 ? 1 : 0, 1, 'no more has come');

widen($h, $id, 200000);
is(body($h, $id, qr/100x{500}"\]\n/), 1, 'it is opened, and all come');
is_deeply([ map { messages($_) } $h->{streams}{$id}{body}
    =~ /^(a\[.*\])$/mg ], \@messages, 'in order');

for my $kind (qw/ xhr_streaming xhr /) {
    $h = h2(port => port(8081), window => 0);
    $s = session('/hasty');
    $s->poll();
    $s->send('x' x 1000) for 1 .. 3;

    my $log = -s $t->testdir() . '/error.log';
    $id = request($h, 'POST', $s->path($kind), '');

    ok(wait_until { take($h, 0.05); substr($t->read_file('error.log'), $log)
        =~ /client timed out/ }, "$kind: a window is never opened");
    is(interruption($s), $interrupted, 'which is the end');
}

# a reset while much waits for the window

$h = h2(port => port(8081), window => 0);
$s = session('/echo');
$s->poll();
$id = request($h, 'POST', $s->path('xhr_streaming'));
is($s->send('x' x 100000), 204, 'much for a window that is closed');
reset_stream($h, $id);
is(interruption($s), $interrupted, 'the stream is reset');

$s = session('/echo');
$s->poll();
$id = request($h, 'POST', $s->path('xhr_streaming'));
is($s->send('x' x 100000), 204, 'once more');
is(status($h, $id), 200, 'which has begun');
$h->{sock}->close();
is(interruption($s), $interrupted, 'the connection ends');


# --- helpers ----------------------------------------------------------------

sub session {
    my ($prefix) = @_;

    return Snorky::SockJS->new(prefix => $prefix);
}


sub interruption {
    my ($s) = @_;

    return wait_until {
        my $frame = $s->poll() // '';
        $frame !~ /^(?:c\[2010|a)/ && $frame;
    };
}


# --- HTTP/2 (RFC 9113), as much of it as is needed ---------------------------

sub h2_frame {
    my ($type, $flags, $id, $payload) = @_;

    return substr(pack('N', length $payload), 1)
        . pack('CCN', $type, $flags, $id) . $payload;
}


# window: what each stream may send at first

sub h2 {
    my (%o) = @_;

    $o{ssl} = { SSL_alpn_protocols => ['h2'] } if $o{ssl};

    my $h = Snorky->dial(%o);

    $h->{next} = 1;
    $h->{windows} = !defined $o{window};

    $h->send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        h2_frame(SETTINGS, 0, 0, pack 'nN', 4, $o{window} // 65535),
        h2_frame(WINDOW_UPDATE, 0, 0, pack 'N', 2 ** 30));

    return $h;
}


# literal fields without indexing, and without Huffman's code (RFC 7541)

sub request {
    my ($h, $method, $path, $body) = @_;

    my $id = $h->{next};
    $h->{next} += 2;

    my $fields = join '', map { "\0" . pack 'C/aC/a', @$_ }
        [ ':method', $method ], [ ':scheme', 'http' ],
        [ ':path', $path ], [ ':authority', 'localhost' ],
        defined $body ? [ 'content-length', length $body ] : ();

    $h->{streams}{$id} = { status => '', body => '' };

    my $last = length($body // '') ? 0 : END_STREAM;

    $h->send(h2_frame(HEADERS, END_HEADERS | $last, $id, $fields));

    # as large as its window at first; the server opens it as it reads

    while (!$last) {
        my $piece = substr $body, 0, 16384, '';
        $last = length($body) ? 0 : END_STREAM;

        take($h) until ($h->{credit} //= 65535) >= length $piece
            && ($h->{streams}{$id}{credit} // 65535) >= length $piece
            or $h->{eof};

        $h->{credit} -= length $piece;
        $h->{streams}{$id}{credit} = ($h->{streams}{$id}{credit} // 65535)
            - length $piece;

        $h->send(h2_frame(DATA, $last, $id, $piece));
    }

    return $id;
}


# one frame, whatever it is for

sub take {
    my ($h, $timeout) = @_;

    my $deadline = $h->deadline($timeout);

    while (length $h->{in} < 9
        || length $h->{in} < 9 + unpack 'N', "\0$h->{in}")
    {
        $h->fill($deadline) or return 0;
    }

    my ($len, $type, $flags, $id) = unpack 'NCCN', "\0" . $h->bytes(9);
    my $payload = $h->bytes($len);
    my $stream = $h->{streams}{$id} ||= {};

    if ($type == DATA) {
        $stream->{body} .= $payload;

        widen($h, $id, $len) if $len && $h->{windows};

    } elsif ($type == HEADERS) {

        # perhaps a new size of the table, and then the status

        my ($first, $text) = $payload =~ /^(?:[\x20-\x3f])?(.)(?:\x03(...))?/s;

        $stream->{status} = { 0x88 => 200, 0x89 => 204, 0x8c => 400,
            0x8d => 404, 0x8e => 500 }->{ord $first} || $text;

    } elsif ($type == SETTINGS && !($flags & ACK)) {
        my %settings = unpack '(nN)*', $payload;

        $h->send(h2_frame(SETTINGS, ACK, 0, ''));

        for my $s (values %{ $h->{streams} }) {
            $s->{credit} += $settings{4} - 65535 if defined $s->{credit};
        }

    } elsif ($type == WINDOW_UPDATE) {
        my $more = unpack 'N', $payload;

        $id ? ($stream->{credit} = ($stream->{credit} // 65535) + $more)
            : ($h->{credit} = ($h->{credit} // 65535) + $more);

    } elsif ($type == RST_STREAM) {
        $stream->{reset} = 1;
    }

    $stream->{ended} = 1
        if $type <= HEADERS && $flags & END_STREAM || $stream->{reset};

    return 1;
}


sub widen {
    my ($h, $id, $bytes) = @_;

    return $h->send(h2_frame(WINDOW_UPDATE, 0, $id, pack 'N', $bytes));
}


sub reset_stream {
    my ($h, $id) = @_;

    return $h->send(h2_frame(RST_STREAM, 0, $id, pack 'N', 8));
}


# as soon as it comes

sub status {
    my ($h, $id) = @_;

    my $stream = $h->{streams}{$id};

    while (!$stream->{status}) {
        take($h) or return $h->{why};
    }

    return $stream->{status};
}


# status and body, once the stream has ended

sub answer {
    my ($h, $id) = @_;

    my $stream = $h->{streams}{$id};

    while (!$stream->{ended}) {
        take($h) or return "$stream->{status} $h->{why}";
    }

    return "$stream->{status} $stream->{body}";
}


sub ask {
    my ($h, $method, $s, $what, $body) = @_;

    return answer($h, request($h, $method, $s->path($what),
        $method eq 'POST' ? $body // '' : undef));
}


# whether such a body comes

sub body {
    my ($h, $id, $pattern) = @_;

    my $stream = $h->{streams}{$id};

    while ($stream->{body} !~ $pattern) {
        take($h) or return 0;
    }

    return 1;
}
