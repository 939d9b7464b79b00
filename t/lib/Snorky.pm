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
#     $c->text_in()        its data; { inflate }, a function, is given what
#                          is compressed
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

use base qw/ Snorky::Connection Exporter /;

use Snorky::Connection qw/ json decode /;
use Snorky::Server;

our @EXPORT = (qw/
    TEXT BINARY CONT CLOSE PING PONG
    frame close_payload envelope json decode
    connect_to_worker gather
/, @Snorky::Server::EXPORT);

use Digest::SHA qw/ sha1_base64 /;
use IO::Select ();
use Time::HiRes qw/ time /;

use Test::Nginx;

use constant {
    CONT   => 0x0,
    TEXT   => 0x1,
    BINARY => 0x2,
    CLOSE  => 0x8,
    PING   => 0x9,
    PONG   => 0xa,
};


# seconds, as in Snorky::Connection

our $TIMEOUT;
*TIMEOUT = \$Snorky::Connection::TIMEOUT;

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
            $self->{partial} = {
                op => $f->{op}, rsv => $f->{rsv}, data => $f->{data},
            };
        }

        return $self->whole(delete $self->{partial}) if $f->{fin};
    }

    return undef;
}


# A compressed one is as it was, and knows the bytes that it had on the wire.

sub whole {
    my ($self, $m) = @_;

    if ($m->{rsv} == 4) {
        $m->{wire} = $m->{data};
        $m->{data} = $self->{inflate}->($m->{data});
    }

    return $m;
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


sub finish {
    my ($self, $code, $reason) = @_;

    $self->close_frame(defined $code ? $code : 1000, $reason)
        unless $self->{close_sent};

    my $got = $self->close_in();

    $self->gone();
    $self->{sock}->close();

    return $got;
}


# --- the Snorky protocol ----------------------------------------------------

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


1;
