package Snorky;

# Copyright (C) The ngx_snorky_module authors
#
# A client for the tests.  It sends the bytes that it is told to, whether
# they are right or wrong, and never waits without a deadline: what does not
# come in time is undef, and $c->{why} says "timeout", "eof" or "reset".
#
#     my $c = Snorky->connect('/ws');             # dies unless it gets 101
#     my $c = Snorky->attempt('/ws', %options);   # for refusals: no dying
#     $c->response()->{status}, ->{headers}{'x-worker'}, ->{body}
#
#   options of both:
#     host port from ssl prefix rcvbuf sndbuf     how to connect; prefix is sent
#     timeout                                     before TLS and all else
#     method http key version upgrade connection  parts of the request; undef
#     host_header origin protocols headers        leaves one out
#     tail                                        bytes right behind the head
#
#     $c->text('..')  ->binary  ->ping  ->pong  ->close_frame(1000, 'bye')
#     $c->send(frame(TEXT, 'abc', fin => 0), frame(CONT, 'def'))
#     $c->frame_in()       the next frame { op fin rsv masked data }
#     $c->message_in()     the next message { op data }; answers pings and
#                          the peer's close frame on its own
#     $c->text_in()        its data
#     $c->close_in()       reads on to the close frame, returns its code;
#                          $c->{closed} is { code, reason }
#     $c->gone()           true when the peer has ended the connection
#     $c->finish()         closing handshake and end; the code it got
#     $c->reset()          end with a TCP reset
#     $c->half_close()     end of our side only
#
#   The Snorky protocol; params is a Perl value, or \'JSON text' as it is:
#     $c->rpc('messaging', 'publish', { .. })     the reply, decoded
#     $c->call(..)                                sends only; the callId
#     $c->notification()                          the next one's message
#     $c->notifications()                         all that were kept so far
#
#   Many at once:
#     gather($timeout, sub { my ($c, $text) = @_; .. done }, @clients)
#
#   HTTP, also with keep-alive:
#     my $h = Snorky->dial(); $h->request('POST', '/', body => ..)
#     backend_post('/backend', $body, key => 'swordfish')
#     status_json()   get('/path')
#
# All failures that only a broken test or a broken nginx can cause die.

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/
    TEXT BINARY CONT CLOSE PING PONG
    frame close_payload envelope json decode
    connect_to_worker gather wait_until
    get backend_post status_json counters worker_pids processes resident
    at_level make_certificate other_alerts
/;

use Digest::SHA qw/ sha1_base64 /;
use Errno qw/ EAGAIN EINPROGRESS EINTR ECONNRESET EPIPE EWOULDBLOCK /;
use IO::Select ();
use IO::Socket::INET ();
use JSON::PP ();
use MIME::Base64 qw/ encode_base64 /;
use Socket qw/ SOL_SOCKET SO_ERROR SO_LINGER SO_RCVBUF SO_SNDBUF
               IPPROTO_TCP TCP_NODELAY /;
use Time::HiRes qw/ sleep time /;

use Test::Nginx;

use constant {
    CONT   => 0x0,
    TEXT   => 0x1,
    BINARY => 0x2,
    CLOSE  => 0x8,
    PING   => 0x9,
    PONG   => 0xa,
};


# seconds; a slow machine, or valgrind, wants more

our $TIMEOUT = $ENV{TEST_SNORKY_TIMEOUT} || 10;

my $json = JSON::PP->new()->utf8()->allow_nonref()->canonical();

# its answer stands in RFC 6455, 1.3

my $sample_key = 'dGhlIHNhbXBsZSBub25jZQ==';


# --- connecting -------------------------------------------------------------

sub connect {
    my ($class, $path, %o) = @_;

    my $c = $class->attempt($path, %o);
    my $r = $c->{response};

    return $c if $r && $r->{status} == 101;

    die "no WebSocket at $path: ", $r ? $r->{line} : $c->{why}, "\n";
}


sub attempt {
    my ($class, $path, %o) = @_;

    my $c = $class->dial(%o);

    $c->handshake($path, %o);
    $c->read_response($o{timeout}, method => $o{method} || 'GET');

    return $c;
}


sub dial {
    my ($class, %o) = @_;

    my $self = bless {
        in       => '',
        why      => '',
        inbox    => [],
        calls    => 0,
        received => 0,          # bytes, with the response's head
        timeout  => $o{timeout} || $TIMEOUT,
    }, $class;

    my $sock = $self->{sock} = IO::Socket::INET->new(
        Proto => 'tcp', $o{from} ? (LocalAddr => $o{from}) : ()
    ) or die "no socket: $@\n";

    $sock->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);
    $sock->setsockopt(SOL_SOCKET, SO_RCVBUF, $o{rcvbuf}) if $o{rcvbuf};
    $sock->setsockopt(SOL_SOCKET, SO_SNDBUF, $o{sndbuf}) if $o{sndbuf};
    $sock->blocking(0);

    my $port = $o{port} || port($o{ssl} ? 8443 : 8080);
    my $addr = Socket::pack_sockaddr_in($port,
        Socket::inet_aton($o{host} || '127.0.0.1'));

    if (!CORE::connect($sock, $addr)) {
        die "cannot connect to port $port: $!\n" unless $! == EINPROGRESS;

        $self->ready('write', time() + $self->{timeout})
            or die "cannot connect to port $port: timeout\n";

        my $error = $sock->getsockopt(SOL_SOCKET, SO_ERROR);
        if ($error) {
            local $! = $error;
            die "cannot connect to port $port: $!\n";
        }
    }

    $self->send($o{prefix}) if defined $o{prefix};
    $self->start_tls($o{ssl}) if $o{ssl};

    return $self;
}


sub start_tls {
    my ($self, $options) = @_;

    require IO::Socket::SSL;

    $self->{sock}->blocking(1);

    IO::Socket::SSL->start_SSL($self->{sock},
        SSL_verify_mode => 0, Timeout => $self->{timeout},
        ref $options ? %$options : ())
        or die "no TLS: ", IO::Socket::SSL::errstr(), "\n";

    $self->{sock}->blocking(0);
    $self->{tls} = 1;

    return $self;
}


sub handshake {
    my ($self, $path, %o) = @_;

    my $or = sub { exists $o{$_[0]} ? $o{$_[0]} : $_[1] };

    my @lines = (
        ['Host', $or->('host_header', 'localhost')],
        ['Upgrade', $or->('upgrade', 'websocket')],
        ['Connection', $or->('connection', 'Upgrade')],
        ['Sec-WebSocket-Key', $or->('key', $sample_key)],
        ['Sec-WebSocket-Version', $or->('version', 13)],
        ['Origin', $o{origin}],
        ['Sec-WebSocket-Protocol', $o{protocols}],
    );

    my $head = join ' ', $o{method} || 'GET', $path, $o{http} || 'HTTP/1.1';
    $head .= "\r\n";

    for my $line (@lines) {
        my ($name, $value) = @$line;
        next unless defined $value;
        $head .= "$name: $_\r\n" for ref $value ? @$value : $value;
    }

    $head .= "$_\r\n" for @{ $o{headers} || [] };

    return $self->send("$head\r\n", defined $o{tail} ? $o{tail} : ());
}


sub accept_key {
    my ($key) = @_;

    $key = $sample_key unless defined $key;

    return sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
}


sub response {
    my ($self) = @_;

    return $self->{response};
}


sub status {
    my ($self) = @_;

    return $self->{response} ? $self->{response}{status} : undef;
}


sub header {
    my ($self, $name) = @_;

    return $self->{response} ? $self->{response}{headers}{lc $name} : undef;
}


# --- bytes ------------------------------------------------------------------

# waits until the socket can be read or written; false when it is too late

sub ready {
    my ($self, $mode, $deadline) = @_;

    my $bits = '';
    vec($bits, fileno $self->{sock}, 1) = 1;

    for (;;) {
        my $left = $deadline - time();
        $left = 0 if $left < 0;

        my ($r, $w) = $mode eq 'read' ? ($bits, undef)
                    : $mode eq 'write' ? (undef, $bits)
                    : ($bits, $bits);

        my $n = select $r, $w, undef, $left;

        return 1 if $n > 0;
        return 0 if $n == 0 || $! != EINTR;
    }
}


# Sends all of it; if it cannot, how much was taken is in { taken }.  What the
# peer sends meanwhile is read, so that two sides that both have much to say
# do not wait for each other; a client that is to be slow has { deaf } set.

sub send {
    my ($self, @parts) = @_;

    local $SIG{PIPE} = 'IGNORE';

    my $deadline = time() + $self->{timeout};
    my $data = join '', @parts;
    my $off = 0;

    log_out($data) if $ENV{TEST_NGINX_VERBOSE};

    while ($off < length $data) {
        my $n = $self->{sock}->syswrite($data, length($data) - $off, $off);

        if (defined $n) {
            $off += $n;
            next;
        }

        next if $! == EINTR;

        if ($! != EAGAIN && $! != EWOULDBLOCK) {
            $self->{why} = 'reset';
            last;
        }

        $self->fill(0) unless $self->{deaf};

        my $mode = $self->{deaf} || $self->{eof} ? 'write' : 'both';

        if (!$self->ready($mode, $deadline)) {
            $self->{why} = 'timeout';
            last;
        }
    }

    $self->{taken} = $off;

    return $off == length $data ? 1 : 0;
}


# Takes what is there, waiting for the first byte until the deadline.

sub fill {
    my ($self, $deadline) = @_;

    return 0 if $self->{eof};

    for (;;) {
        my $n = $self->{sock}->sysread($self->{in}, 65536,
                                       length $self->{in});

        if ($n) {
            $self->{received} += $n;
            return $n;
        }

        if (defined $n) {
            $self->{eof} = 1;
            $self->{why} = 'eof';
            return 0;
        }

        next if $! == EINTR;

        if ($! != EAGAIN && $! != EWOULDBLOCK) {
            $self->{eof} = 1;
            $self->{why} = 'reset';
            return 0;
        }

        if (!$deadline || !$self->ready('read', $deadline)) {
            $self->{why} = 'timeout';
            return 0;
        }
    }
}


sub deadline {
    my ($self, $timeout) = @_;

    return time() + (defined $timeout ? $timeout : $self->{timeout});
}


# n bytes, or undef

sub bytes {
    my ($self, $n, $deadline) = @_;

    while (length $self->{in} < $n) {
        $self->fill($deadline) or return undef;
    }

    return substr $self->{in}, 0, $n, '';
}


# --- frames -----------------------------------------------------------------

# Options: fin 0|1, rsv 0..7, mask: four bytes, or undef for none, form
# 7|16|64: the form of the length, claim: the length that the header states.

sub frame {
    my ($op, $data, %o) = @_;

    # text, also when it is a number: the mask is put on bytes

    $data = defined $data ? "$data" : '';

    my $fin = exists $o{fin} ? $o{fin} : 1;
    my $mask = exists $o{mask} ? $o{mask} : pack 'N', int rand 2 ** 32;
    my $len = exists $o{claim} ? $o{claim} : length $data;
    my $form = $o{form} || ($len < 126 ? 7 : $len < 65536 ? 16 : 64);
    my $bit = defined $mask ? 0x80 : 0;

    my $head = chr(($fin ? 0x80 : 0) | ($o{rsv} || 0) << 4 | $op);

    $head .= $form == 7 ? chr($bit | $len)
           : $form == 16 ? pack 'Cn', $bit | 126, $len
           : pack 'CQ>', $bit | 127, $len;

    return $head . $data unless defined $mask;

    my $key = substr $mask x (length($data) / 4 + 1), 0, length $data;

    return $head . $mask . ($data ^ $key);
}


sub close_payload {
    my ($code, $reason) = @_;

    return '' unless defined $code;
    return pack('n', $code) . (defined $reason ? $reason : '');
}


sub text   { my ($self, @a) = @_; return $self->send(frame(TEXT, @a)) }
sub binary { my ($self, @a) = @_; return $self->send(frame(BINARY, @a)) }
sub ping   { my ($self, @a) = @_; return $self->send(frame(PING, @a)) }
sub pong   { my ($self, @a) = @_; return $self->send(frame(PONG, @a)) }


sub close_frame {
    my ($self, $code, $reason) = @_;

    $self->{close_sent} = 1;

    return $self->send(frame(CLOSE, close_payload($code, $reason)));
}


sub frame_in {
    my ($self, $timeout) = @_;

    my $deadline = $self->deadline($timeout);

    for (;;) {
        my $f = $self->shift_frame();
        return $f if $f;
        $self->fill($deadline) or return undef;
    }
}


# the next frame if all of it is in the buffer

sub shift_frame {
    my ($self) = @_;

    my $have = length $self->{in};
    return undef if $have < 2;

    my ($b0, $b1) = unpack 'CC', $self->{in};
    my $len = $b1 & 0x7f;
    my $at = 2;

    if ($len == 126) {
        return undef if $have < 4;
        $len = unpack 'x2 n', $self->{in};
        $at = 4;

    } elsif ($len == 127) {
        return undef if $have < 10;
        $len = unpack 'x2 Q>', $self->{in};
        $at = 10;
    }

    my $mask;

    if ($b1 & 0x80) {
        return undef if $have < $at + 4;
        $mask = substr $self->{in}, $at, 4;
        $at += 4;
    }

    return undef if $have < $at + $len;

    my $header = substr $self->{in}, 0, $at, '';
    my $data = substr $self->{in}, 0, $len, '';

    $data ^= substr $mask x ($len / 4 + 1), 0, $len if defined $mask;

    log_in($header . $data) if $ENV{TEST_NGINX_VERBOSE};

    return {
        op     => $b0 & 0x0f,
        fin    => $b0 >> 7,
        rsv    => $b0 >> 4 & 7,
        masked => defined $mask ? 1 : 0,
        header => $at,
        data   => $data,
    };
}


# --- messages ---------------------------------------------------------------

sub message_in {
    my ($self, $timeout) = @_;

    my $deadline = $self->deadline($timeout);

    for (;;) {
        my $m = $self->shift_message();
        return $m if $m;
        return undef if $self->{closed};
        $self->fill($deadline) or return undef;
    }
}


# Takes frames from the buffer up to the end of a message.

sub shift_message {
    my ($self) = @_;

    while (my $f = $self->shift_frame()) {
        if ($f->{op} >= CLOSE) {
            $self->control($f);
            return undef if $self->{closed};
            next;
        }

        if ($f->{op} == CONT) {
            my $m = $self->{partial} or die "continuation of nothing\n";
            $m->{data} .= $f->{data};

        } else {
            die "a message inside another\n" if $self->{partial};
            $self->{partial} = { op => $f->{op}, data => $f->{data} };
        }

        return delete $self->{partial} if $f->{fin};
    }

    return undef;
}


# A client that is to stay silent has { mute } set.

sub control {
    my ($self, $f) = @_;

    push @{ $self->{controls} }, $f if $f->{op} != CLOSE;

    if ($f->{op} == PING) {
        $self->pong($f->{data}) unless $self->{mute};
        return;
    }

    return unless $f->{op} == CLOSE;

    my ($code, $reason) = length $f->{data} ? unpack 'n a*', $f->{data}
                                            : (1005, '');

    $self->{closed} = { code => $code, reason => $reason };

    $self->close_frame($code == 1005 ? () : $code)
        unless $self->{mute} || $self->{close_sent};

    return;
}


sub text_in {
    my ($self, $timeout) = @_;

    my $m = $self->message_in($timeout) or return undef;

    return $m->{data};
}


# true when nothing but control frames comes for so long

sub silent {
    my ($self, $seconds) = @_;

    return $self->message_in($seconds) || $self->{why} ne 'timeout' ? 0 : 1;
}


sub close_in {
    my ($self, $timeout) = @_;

    my $deadline = $self->deadline($timeout);

    while (!$self->{closed}) {
        my $left = $deadline - time();
        $self->message_in($left > 0 ? $left : 0) or last;
    }

    return $self->{closed} ? $self->{closed}{code} : undef;
}


sub gone {
    my ($self, $timeout) = @_;

    my $deadline = $self->deadline($timeout);

    while (!$self->{eof}) {
        $self->fill($deadline) or last;
    }

    return $self->{eof} ? 1 : 0;
}


sub finish {
    my ($self, $code, $reason) = @_;

    $self->close_frame(defined $code ? $code : 1000, $reason)
        unless $self->{close_sent};

    my $got = $self->close_in();

    $self->gone();
    $self->{sock}->close();

    return $got;
}


sub reset {
    my ($self) = @_;

    my $sock = $self->{sock};

    $sock->setsockopt(SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0);
    $self->{tls} ? $sock->close(SSL_no_shutdown => 1) : $sock->close();

    return;
}


sub half_close {
    my ($self) = @_;

    return CORE::shutdown($self->{sock}, 1);
}


# --- the Snorky protocol ----------------------------------------------------

sub json {
    my ($value) = @_;

    return ref $value eq 'SCALAR' ? $$value : $json->encode($value);
}


sub decode {
    my ($text) = @_;

    return undef unless defined $text;
    return scalar eval { $json->decode($text) };
}


sub envelope {
    my ($service, $message) = @_;

    return '{"service":' . json($service) . ',"message":' . json($message)
        . '}';
}


# Options: callId, undef for none.

sub request_text {
    my ($service, $command, $params, $id) = @_;

    my $text = '{"command":' . json($command) . ',"params":'
        . json($params || {})
        . (defined $id ? ',"callId":' . json($id) : '') . '}';

    return envelope($service, \$text);
}


sub call {
    my ($self, $service, $command, $params, %o) = @_;

    my $id = exists $o{callId} ? $o{callId} : ++$self->{calls};

    $self->text(request_text($service, $command, $params, $id));

    return $id;
}


sub rpc {
    my ($self, $service, $command, $params, %o) = @_;

    my $id = $self->call($service, $command, $params, %o);

    return $self->reply($id, $o{timeout});
}


# The reply to a call, or without a callId the next reply; what else comes
# is kept for notification().

sub reply {
    my ($self, $id, $timeout) = @_;

    my $deadline = $self->deadline($timeout);
    my $want = defined $id ? json($id) : undef;

    for (;;) {
        my $left = $deadline - time();
        my $text = $self->text_in($left > 0 ? $left : 0);
        return undef unless defined $text;

        my $e = decode($text);
        my $m = ref $e eq 'HASH' ? $e->{message} : undef;

        return $m if ref $m eq 'HASH'
            && ($m->{type} // '') =~ /^(?:response|error)$/
            && (!defined $want || json($m->{callId}) eq $want);

        push @{ $self->{inbox} }, { text => $text, envelope => $e };
    }
}


sub notification_text {
    my ($self, $timeout) = @_;

    my $kept = shift @{ $self->{inbox} };

    return $kept ? $kept->{text} : $self->text_in($timeout);
}


sub notification {
    my ($self, $timeout) = @_;

    my $e = decode($self->notification_text($timeout));

    return ref $e eq 'HASH' ? $e->{message} : undef;
}


sub notifications {
    my ($self) = @_;

    return map { $_->{envelope}{message} } splice @{ $self->{inbox} };
}


# --- many connections -------------------------------------------------------

# Reads from all clients and gives each message to the function, until it
# returns true, all are closed, or the time is over.  True in the first case.

sub gather {
    my ($timeout, $code, @clients) = @_;

    my $deadline = time() + $timeout;
    my $select = IO::Select->new();
    my %of;

    for my $c (@clients) {
        while (my $m = $c->shift_message()) {
            return 1 if $code->($c, $m->{data});
        }

        next if $c->{eof};
        $of{fileno $c->{sock}} = $c;
        $select->add($c->{sock});
    }

    while ($select->count()) {
        my $left = $deadline - time();
        return 0 if $left <= 0;

        # bytes that TLS has decrypted already are no readable socket

        my @ready = grep { $_->{tls} && $_->{sock}->pending() } values %of;
        @ready = map { $of{fileno $_} } $select->can_read($left)
            unless @ready;

        for my $c (@ready) {
            $c->fill(0);

            while (my $m = $c->shift_message()) {
                return 1 if $code->($c, $m->{data});
            }

            if ($c->{eof}) {
                delete $of{fileno $c->{sock}};
                $select->remove($c->{sock});
            }
        }
    }

    return 0;
}


# A client that is served by the worker with that number (or by one of a
# list): the location says it with "add_header X-Worker $snorky_worker
# always;".  A worker that does not answer is passed over.

sub connect_to_worker {
    my ($slots, $path, %o) = @_;

    my %want = map { $_ => 1 } ref $slots ? @$slots : $slots;
    my $deadline = time() + $TIMEOUT * 3;

    while (time() < $deadline) {
        my $c = eval { Snorky->attempt($path || '/ws', timeout => 1, %o) }
            or next;

        my $slot = $c->header('X-Worker');
        next unless ($c->status() || 0) == 101;
        die "no X-Worker in the answer\n" unless defined $slot;

        if ($want{$slot}) {
            $c->{timeout} = $o{timeout} || $TIMEOUT;
            return $c;
        }

        # the next one goes elsewhere only when this worker is busy or the
        # kernel has turned to another, so no time is lost on it here

        $c->close_frame(1000);
    }

    die "no connection to worker ", join(' or ', sort keys %want), "\n";
}


# wait_until { condition }, or wait_until(sub { condition }, seconds)

sub wait_until (&;$) {
    my ($code, $timeout) = @_;

    my $deadline = time() + (defined $timeout ? $timeout : $TIMEOUT);

    for (;;) {
        my $value = $code->();
        return $value if $value;
        return $value if time() > $deadline;
        sleep 0.02;
    }
}


# --- HTTP -------------------------------------------------------------------

# Options: headers, body (a list is sent as chunks), http, timeout, key.

sub request {
    my ($self, $method, $path, %o) = @_;

    my @headers = @{ $o{headers} || [] };

    unshift @headers, 'Host: localhost'
        unless grep { /^host:/i } @headers;
    push @headers, map { "X-Backend-Key: $_" } ref $o{key} ? @{ $o{key} }
        : defined $o{key} ? $o{key} : ();

    my $body = '';

    if (ref $o{body}) {
        push @headers, 'Transfer-Encoding: chunked';
        $body = join '', map { sprintf "%x\r\n%s\r\n", length $_, $_ }
            grep { length } @{ $o{body} };
        $body .= "0\r\n\r\n";

    } elsif (defined $o{body}) {
        push @headers, 'Content-Length: ' . length $o{body};
        $body = $o{body};
    }

    delete $self->{response};

    my $head = join "\r\n", "$method $path " . ($o{http} || 'HTTP/1.1'),
        @headers, '', '';

    $self->send($head, $body);

    return $self->read_response($o{timeout}, method => $method);
}


sub read_response {
    my ($self, $timeout, %o) = @_;

    my $deadline = $self->deadline($timeout);

    while ($self->{in} !~ /\r\n\r\n/) {
        $self->fill($deadline) or return undef;
    }

    my ($head, $rest) = split /\r\n\r\n/, $self->{in}, 2;
    $self->{in} = $rest;

    log_in($head);

    my ($line, @lines) = split /\r\n/, $head;
    my ($status) = $line =~ m{^HTTP/1\.[01] (\d{3})(?: |$)}
        or die "not HTTP: $line\n";

    my %headers;

    for my $l (@lines) {
        my ($name, $value) = $l =~ /^([^:]+):\s*(.*?)\s*$/
            or die "bad header: $l\n";
        $name = lc $name;
        $headers{$name} = defined $headers{$name} ? "$headers{$name}, $value"
                                                  : $value;
    }

    my $r = $self->{response} = {
        line    => $line,
        status  => $status,
        headers => \%headers,
        head    => $head,
        body    => '',
    };

    return $r if $status == 101 || $status == 204 || $status == 304
        || ($o{method} || '') eq 'HEAD';

    if (($headers{'transfer-encoding'} || '') =~ /chunked/i) {
        $r->{body} = $self->read_chunks($deadline);

    } elsif (defined $headers{'content-length'}) {
        $r->{body} = $self->bytes($headers{'content-length'}, $deadline);

    } else {
        1 while $self->fill($deadline);
        $r->{body} = $self->{in};
        $self->{in} = '';
    }

    return undef unless defined $r->{body};

    $r->{json} = decode($r->{body})
        if ($headers{'content-type'} || '') =~ m{^application/json};

    return $r;
}


sub read_chunks {
    my ($self, $deadline) = @_;

    my $body = '';

    for (;;) {
        while ($self->{in} !~ /^[0-9a-f]+[^\n]*\n/i) {
            $self->fill($deadline) or return undef;
        }

        $self->{in} =~ s/^([0-9a-f]+)[^\n]*\n//i;
        my $len = hex $1;

        my $chunk = $self->bytes($len + 2, $deadline);
        return undef unless defined $chunk;
        return $body if $len == 0;

        $body .= substr $chunk, 0, $len;
    }
}


sub get {
    my ($path, %o) = @_;

    my $h = Snorky->dial(%o);

    return $h->request('GET', $path,
        headers => [ 'Connection: close', @{ $o{headers} || [] } ]);
}


sub backend_post {
    my ($path, $body, %o) = @_;

    $body = json($body) if ref $body eq 'HASH';

    my $h = $o{on} || Snorky->dial(%o);

    return $h->request('POST', $path, %o, body => $body);
}


# the decoded status; dies when there is none

sub status_json {
    my ($path, %o) = @_;

    my $r = get($path || '/status', %o);

    die "no status: ", $r ? $r->{line} : 'no answer', "\n"
        unless $r && $r->{status} == 200 && ref $r->{json} eq 'HASH';

    return $r->{json};
}


# the figures summed over the workers

sub counters {
    my ($path, %o) = @_;

    return status_json($path, %o)->{total};
}


# --- processes, configuration -----------------------------------------------

# all children of the master: { pid => title }

sub processes {
    my ($t) = @_;

    my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/;
    my %title;

    for my $line (`ps -A -o pid= -o ppid= -o stat= -o args=`) {
        my ($pid, $ppid, $stat, $args) = split ' ', $line, 4;
        next unless $ppid == $master && $stat !~ /^Z/;
        chomp($title{$pid} = $args);
    }

    return %title;
}


# the workers that take connections

sub worker_pids {
    my ($t) = @_;

    my %title = processes($t);

    # under valgrind a process cannot change its title

    my @pids = grep { $title{$_} =~ /worker process$/
                      || $title{$_} =~ /\bvalgrind\b/ } keys %title;

    @pids = sort { $a <=> $b } @pids;

    return @pids;
}


# The resident memory of a process in kilobytes; undef where it says nothing,
# since what is freed is kept for a while by a sanitizer or by valgrind.

sub resident {
    my ($t, $pid) = @_;

    return undef if $t->has_module('-fsanitize')
        || (readlink("/proc/$pid/exe") // '') =~ /valgrind|memcheck/;

    my ($kb) = `ps -o rss= -p $pid` =~ /(\d+)/;

    return $kb;
}


# A configuration with %%TEST_GLOBALS%%, logging at this level and not at
# "debug", which is slow when there is much to do.

sub at_level {
    my ($t, $level, $conf) = @_;

    my $globals = $t->test_globals();

    $globals =~ s/^(error_log\s+\S+)\s+debug;/$1 $level;/m
        or die "no error_log in TEST_GLOBALS\n";

    $conf =~ s/%%TEST_GLOBALS%%/$globals/;

    return $conf;
}


# The alerts of the log but those that the test itself causes, for a file
# that kills workers and so has todo_alerts().

sub other_alerts {
    my ($t, $expected) = @_;

    return join "\n", grep { !/$expected/ }
        $t->read_file('error.log') =~ /^.*\[(?:alert|emerg)\].*$/gm;
}


# NAME.crt and NAME.key in the test's directory

sub make_certificate {
    my ($t, $name) = @_;

    my $dir = $t->testdir();

    system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch "
        . "-subj /CN=$name -keyout $dir/$name.key -out $dir/$name.crt "
        . ">>$dir/openssl.out 2>&1") == 0
        or die "cannot make a certificate: see $dir/openssl.out\n";

    return;
}


1;
