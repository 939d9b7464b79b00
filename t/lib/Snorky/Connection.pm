package Snorky::Connection;

# Copyright (C) The ngx_snorky_module authors
#
# A TCP or TLS connection to nginx, and HTTP on it; what a WebSocket client
# is made of, see Snorky.pm.  It never waits without a deadline.
#
#     my $h = Snorky->dial(%options);
#     $h->request('POST', '/uri', headers => [ 'A: b' ], body => 'text');
#     $h->response()->{status}, ->{headers}{'content-type'}, ->{body}, ->{json}

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT_OK = qw/ json decode /;

use Errno qw/ EAGAIN EINPROGRESS EINTR EWOULDBLOCK /;
use IO::Socket::INET ();
use JSON::PP ();
use Socket qw/ SOL_SOCKET SO_ERROR SO_LINGER SO_RCVBUF SO_SNDBUF
               IPPROTO_TCP TCP_NODELAY /;
use Time::HiRes qw/ time /;

use Test::Nginx;


# seconds; a slow machine, or valgrind, wants more

our $TIMEOUT = $ENV{TEST_SNORKY_TIMEOUT} || 10;

my $json = JSON::PP->new()->utf8()->allow_nonref()->canonical();


# --- connecting -------------------------------------------------------------

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


# --- the end ----------------------------------------------------------------

sub gone {
    my ($self, $timeout) = @_;

    my $deadline = $self->deadline($timeout);

    while (!$self->{eof}) {
        $self->fill($deadline) or last;
    }

    return $self->{eof} ? 1 : 0;
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


# --- HTTP -------------------------------------------------------------------

# Options: headers, body (a list is sent as chunks), http, timeout, key.

sub request {
    my ($self, $method, $path, %o) = @_;

    $self->send_request($method, $path, %o);

    return $self->read_response($o{timeout}, method => $method);
}


sub send_request {
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

    return $self->send($head, $body);
}


sub read_response {
    my ($self, $timeout, %o) = @_;

    my $deadline = $self->deadline($timeout);
    my $r = $self->read_head($deadline) or return undef;
    my $headers = $r->{headers};

    return $r if $r->{status} == 101 || $r->{status} == 204
        || $r->{status} == 304 || ($o{method} || '') eq 'HEAD';

    if (($headers->{'transfer-encoding'} || '') =~ /chunked/i) {
        $r->{body} = $self->read_chunks($deadline);

    } elsif (defined $headers->{'content-length'}) {
        $r->{body} = $self->bytes($headers->{'content-length'}, $deadline);

    } else {
        1 while $self->fill($deadline);
        $r->{body} = $self->{in};
        $self->{in} = '';
    }

    return undef unless defined $r->{body};

    $r->{json} = decode($r->{body})
        if ($headers->{'content-type'} || '') =~ m{^application/json};

    return $r;
}


# the response without its body

sub read_head {
    my ($self, $deadline) = @_;

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

    return $self->{response} = {
        line    => $line,
        status  => $status,
        headers => \%headers,
        head    => $head,
        body    => '',
    };
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


# --- JSON -------------------------------------------------------------------

sub json {
    my ($value) = @_;

    return ref $value eq 'SCALAR' ? $$value : $json->encode($value);
}


sub decode {
    my ($text) = @_;

    return undef unless defined $text;
    return scalar eval { $json->decode($text) };
}


1;
