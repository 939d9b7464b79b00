package Snorky::SockJS;

# Copyright (C) The ngx_snorky_module authors
#
# A session of SockJS, request by request.  Each request has a connection of
# its own, so that with a "reuseport" listener each may reach another worker.
#
#     my $s = Snorky::SockJS->new(prefix => '/echo', %options);
#     my $o = $s->with(%options);       the same session, asked otherwise
#
#   options:
#     server session                    parts of the path; else made up
#     worker                            all requests go to that worker; the
#                                       location tells with "add_header
#                                       X-Worker $snorky_worker always;"
#     http headers timeout              of the requests
#     host port from ssl rcvbuf         how to connect
#
#     $s->poll()                        the frame of "xhr", or undef: why()
#     $s->poll('jsonp')                 that of "jsonp"
#     $s->receive($n, $kind)            polls until there are n messages
#     $s->send(@messages)               "xhr_send"; the status
#     $s->jsonp_send(@messages)         "jsonp_send"; a message \'JSON' goes
#                                       as it is
#     $s->path('xhr')                   where it is asked for
#     $s->post('xhr_send', $body)       any body; options as of request()
#     $s->raw($method, $path, %options) any request; the response, with body
#     $s->response()                    of the last of these, also repeated
#                                       fields: {head}, fields('Set-Cookie')
#
#     my $r = $s->open('xhr');          has sent the request: "xhr", "jsonp",
#                                       "xhr_streaming", "eventsource",
#                                       "htmlfile", whose callback is "cb"
#     my $r = $s->stream($kind);        and has read the head and the prelude
#     $r->head()                        the response without its body
#     $r->{prelude}
#     $r->frame()                       the next frame without what the kind
#                                       puts around it: $r->{raw} is with it
#     $r->messages($n)                  n of them, from the next frames
#     $r->chunk()                       what the next chunk of HTTP has
#     $r->rest()                        all that comes before the end
#     $r->ended()                       true when nothing came before the end
#     $r->abort()                       we end it
#
#   What does not come is undef, and $r->{why} says "timeout", "end" when the
#   response has ended as it should, "eof" or "reset" when it is cut short,
#   "status" when it is none of success.
#
#     messages('a["x","y"]')            ('x', 'y')
#     closing('c[3000,"Go away!"]')     (3000, 'Go away!')
#     fields($response, 'Set-Cookie')   all values of a header field
#     string('"\u2028<\!"')              the text, in UTF-8

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/ messages closing fields string /;

use Snorky::Connection qw/ json decode /;
use Time::HiRes qw/ time /;


my @dialing = qw/ host port from ssl rcvbuf timeout /;


sub new {
    my ($class, %o) = @_;

    return bless {
        server  => sprintf('%03d', rand 1000),
        session => join('', map { ('a' .. 'z', 0 .. 9)[rand 36] } 1 .. 16),
        last    => {},
        %o,
    }, $class;
}


sub with {
    my ($self, %o) = @_;

    return bless { %$self, %o }, ref $self;
}


sub path {
    my ($self, $what) = @_;

    return join '/', $self->{prefix}, $self->{server}, $self->{session}, $what;
}


sub response {
    my ($self) = @_;

    return $self->{last}{response};
}


sub why {
    my ($self) = @_;

    return $self->{last}{why};
}


# --- requests ---------------------------------------------------------------

sub raw {
    my ($self, $method, $path, %o) = @_;

    my $r = $self->ask($method, $path, %o);

    return $self->{last}{response}
        = $r->read_response($self->{timeout}, method => $method);
}


sub post {
    my ($self, $what, $body, %o) = @_;

    my $r = $self->raw('POST', $self->path($what), body => $body, %o);

    return $r ? $r->{status} : undef;
}


sub send {
    my ($self, @messages) = @_;

    return $self->post('xhr_send', array(@messages));
}


sub jsonp_send {
    my ($self, @messages) = @_;

    my $text = array(@messages);
    $text =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge;

    return $self->post('jsonp_send', "d=$text",
        headers => ['Content-Type: application/x-www-form-urlencoded']);
}


sub array {
    return '[' . join(',', map { json($_) } @_) . ']';
}


sub poll {
    my ($self, $kind) = @_;

    my $r = $self->open($kind || 'xhr');

    $self->{last}{response} = $r->head();
    my $frame = $r->frame();
    $self->{last}{why} = $r->{why};

    die "a poll has more than a frame: $r->{why} $r->{body}\n"
        if defined $frame && !$r->ended();

    return $frame;
}


sub receive {
    my ($self, $n, $kind) = @_;

    my @messages;

    while (@messages < $n) {
        my $frame = $self->poll($kind);
        last unless defined $frame && $frame !~ /^c/;
        push @messages, messages($frame);
    }

    return @messages;
}


sub open {
    my ($self, $kind) = @_;

    my $method = $kind =~ /^xhr/ ? 'POST' : 'GET';
    my $query = $kind eq 'jsonp' || $kind eq 'htmlfile' ? '?c=cb' : '';

    my $r = $self->ask($method, $self->path("$kind$query"),
        $method eq 'POST' ? (body => '') : ());

    $r->{kind} = $kind;

    return $r;
}


sub stream {
    my ($self, $kind) = @_;

    my $r = $self->open($kind);

    $self->{last}{response} = $r->head();
    $r->read_prelude();

    return $r;
}


sub ask {
    my ($self, $method, $path, %o) = @_;

    my $r = $self->dial();

    $r->send_request($method, $path, http => $self->{http}, %o,
        headers => [ @{ $self->{headers} || [] }, @{ $o{headers} || [] } ]);

    return $r;
}


# A connection that is served by the wanted worker has had a request before.

sub dial {
    my ($self) = @_;

    my %how = map { $_ => $self->{$_} } grep { defined $self->{$_} } @dialing;
    my $deadline = time() + $Snorky::Connection::TIMEOUT * 3;

    while (time() < $deadline) {
        my $r = Snorky::SockJS::Response->dial(%how);
        return $r unless defined $self->{worker};

        $r->request('GET', $self->{prefix}, timeout => 1) or next;

        my $worker = $r->header('X-Worker');
        die "no X-Worker in the answer\n" unless defined $worker;

        return $r if $worker == $self->{worker};
    }

    die "no connection to worker $self->{worker}\n";
}


# --- what came --------------------------------------------------------------

sub messages {
    my ($frame) = @_;

    return unless defined $frame && $frame =~ s/^a//;

    my $messages = decode($frame);
    die "not an array: $frame\n" unless ref $messages eq 'ARRAY';

    return @$messages;
}


sub closing {
    my ($frame) = @_;

    return unless defined $frame && $frame =~ s/^c//;

    my $closing = decode($frame);
    die "not an array: $frame\n" unless ref $closing eq 'ARRAY';

    return @$closing;
}


sub fields {
    my ($response, $name) = @_;

    return $response->{head} =~ /^\Q$name\E:[ \t]*(.*?)\s*$/gmi;
}


# A string of JSON or JavaScript; JSON::PP takes its time, and does not know
# "\!".

my %short = (b => "\b", f => "\f", n => "\n", r => "\r", t => "\t");


sub string {
    my ($text) = @_;

    $text =~ s/^"([^\0-\x1f]*)"\z/$1/ or die "not a string: $text\n";

    $text =~ s/\\(?:u(d[89ab]..)\\u(d[c-f]..)|u([0-9a-f]{4})|(.))/
        defined $1 ? character(0x10000 + ((hex($1) & 0x3ff) << 10)
                               + (hex($2) & 0x3ff))
        : defined $3 ? character(hex $3)
        : $short{$4} \/\/ $4/gei;

    return $text;
}


sub character {
    my ($code) = @_;

    my $text = chr $code;

    utf8::encode($text);

    return $text;
}


# --- a response that comes by and by ----------------------------------------

package Snorky::SockJS::Response;

use base qw/ Snorky::Connection /;


sub head {
    my ($self, $timeout) = @_;

    return $self->{response} if $self->{response};

    my $r = $self->read_head($self->deadline($timeout)) or return undef;

    $self->{body} = '';
    $self->{coding} = ($r->{headers}{'transfer-encoding'} || '') =~ /chunked/i
        ? 'chunked' : '';
    $self->{left} = $r->{headers}{'content-length'};
    $self->{ended} = 1 if $r->{status} == 204 || $r->{status} == 304;

    return $r;
}


# More of the body, if only a byte.

sub more {
    my ($self, $deadline) = @_;

    $self->head($deadline - Time::HiRes::time()) or return 0;

    until ($self->{ended}) {
        return 1 if $self->{coding} ? $self->take_chunk() : $self->take();
        next if $self->{ended} || $self->fill($deadline);

        # without a length, the end of the connection is what ends it

        return 0 if $self->{why} ne 'eof' || $self->{coding}
            || defined $self->{left};

        $self->{ended} = 1;
    }

    $self->{why} = 'end';

    return 0;
}


sub take {
    my ($self) = @_;

    my $n = length $self->{in};
    $n = $self->{left} if defined $self->{left} && $self->{left} < $n;

    $self->{body} .= substr $self->{in}, 0, $n, '';

    if (defined $self->{left}) {
        $self->{left} -= $n;
        $self->{ended} = 1 if $self->{left} == 0;
    }

    return $n;
}


sub take_chunk {
    my ($self) = @_;

    $self->{in} =~ /^([0-9a-f]+)[^\n]*\n/i or return 0;

    my ($head, $n) = ($+[0], hex $1);
    return 0 if length $self->{in} < $head + $n + 2;

    substr $self->{in}, 0, $head, '';
    $self->{body} .= $self->{last_chunk} = substr $self->{in}, 0, $n, '';
    substr $self->{in}, 0, 2, '';

    $self->{ended} = 1 if $n == 0;

    return $n;
}


sub chunk {
    my ($self, $timeout) = @_;

    die "something was left before: $self->{body}\n"
        if length($self->{body} // '');

    $self->more($self->deadline($timeout)) or return undef;
    $self->{body} = '';

    return $self->{last_chunk};
}


# Takes what matches from the beginning of the body.

sub match {
    my ($self, $pattern, $timeout) = @_;

    my $deadline = $self->deadline($timeout);

    $self->head($timeout) or return undef;

    if ($self->{response}{status} != 200) {
        $self->{why} = 'status';
        return undef;
    }

    for (;;) {
        if ($self->{body} =~ s/\A($pattern)//) {
            ($self->{raw}, my $inner) = ($1, $2);
            return $inner;
        }

        $self->more($deadline) or return undef;
    }
}


my %prelude = (
    xhr_streaming => qr/(h+\n)/,
    eventsource   => qr/(\r\n)/,
    htmlfile      => qr{(?=.{1025})(<!doctype html>.*?</script>\s*)}is,
);

my %frame = (
    xhr           => qr/([^\n]*)\n/,
    xhr_streaming => qr/([^\n]*)\n/,
    eventsource   => qr/data: ([^\r\n]*)\r\n\r\n/,
    htmlfile      => qr{<script>\np\(("[^\n]*")\);\n</script>\r\n},
    jsonp         => qr{/\*\*/cb\(("[^\n]*")\);\r\n},
);


sub read_prelude {
    my ($self, $timeout) = @_;

    return $self->{prelude} = $self->match($prelude{$self->{kind}}, $timeout);
}


sub frame {
    my ($self, $timeout) = @_;

    my $frame = $self->match($frame{$self->{kind}}, $timeout);

    $frame = Snorky::SockJS::string($frame) if defined $frame && $frame =~ /^"/;
    $frame =~ s/%25/%/g if defined $frame && $self->{kind} eq 'eventsource';

    return $frame;
}


sub messages {
    my ($self, $n, $timeout) = @_;

    my $deadline = $self->deadline($timeout);
    my @messages;

    while (@messages < $n) {
        my $frame = $self->frame($deadline - Time::HiRes::time());
        last unless defined $frame && $frame !~ /^c/;
        push @messages, Snorky::SockJS::messages($frame);
    }

    return @messages;
}


sub rest {
    my ($self, $timeout) = @_;

    my $deadline = $self->deadline($timeout);

    1 while $self->more($deadline);

    return undef if $self->{why} ne 'end';
    return substr $self->{body}, 0, length $self->{body}, '';
}


sub ended {
    my ($self, $timeout) = @_;

    return length($self->{body} // '') == 0
        && !$self->more($self->deadline($timeout))
        && $self->{why} eq 'end' ? 1 : 0;
}


sub abort {
    my ($self) = @_;

    $self->{sock}->close();

    return;
}


1;
