package Snorky::Crowd;

# Copyright (C) The ngx_snorky_module authors
#
# A Snorky::Load whose clients come by all transports of SockJS, and whose
# messages are of any characters and size.  Each request has a connection of
# its own, so that with a "reuseport" listener each may reach another worker.
#
#     my $crowd = Snorky::Crowd->new(prefix => '/sockjs', size => 60000);
#     $crowd->publisher(kind => 'jsonp', window => 4, both => 1);
#
#   of all: prefix of the sessions; path of those without a kind, which are
#   plain WebSockets; size, of the largest message (one in "rare" is a large
#   one); headers of all requests
#
#   of a client: kind, also "websocket"; lazy, seconds that it may rest
#   before it asks again; most, how many messages it publishes
#
#     $crowd->refusals()              what "xhr_send" was answered but thanks

use strict;
use warnings;

use base qw/ Snorky::Load /;

use Snorky;


sub new {
    my ($class, %o) = @_;

    return $class->SUPER::new(size => 100, rare => 300, texts => {},
        gone => [], %o);
}


sub refusals {
    my ($self) = @_;

    return map { @{ $_->{refusals} } } @{ $self->{gone} },
        grep { $_ && $_->{refusals} } map { $_->{c} } @{ $self->{clients} };
}


# messages that have come to the clients of a kind, and that they sent

sub received {
    my ($self, $kind) = @_;

    my %of = map { $_->{name} => 1 } grep { ($_->{kind} // '') eq $kind }
        @{ $self->{clients} };
    my $n = 0;

    $n += @{ $_->{run} } for grep { $of{ $_->{name} } }
        @{ $self->{periods} };

    return $n;
}


sub sent {
    my ($self, $kind) = @_;

    my $n = 0;

    $n += $_->{next} for grep { ($_->{kind} // '') eq $kind }
        @{ $self->{clients} };

    return $n;
}


# what is under way, for a test that waits in vain

sub state {
    my ($self) = @_;

    return join "\n", map {
        my $c = $_->{c} || {};

        sprintf '%s: sent %d, unanswered %d, %s%s%s%s', $_->{name},
            $_->{next}, scalar keys %{ $_->{out} },
            $c->{opened} ? 'open' : 'not open',
            map { !$c->{$_} ? '' : ref $c->{$_} eq 'ARRAY'
                ? ", $_ " . @{ $c->{$_} } : ", $_" } qw/ r w out /
    } @{ $self->{clients} };
}


sub dial {
    my ($self, $client) = @_;

    return $self->SUPER::dial($client) unless $client->{kind};

    return Snorky::Crowd::Session->new(
        kind => $client->{kind}, lazy => $client->{lazy} || 0,
        prefix => $self->{prefix}, headers => $self->{headers},
    );
}


sub come_back {
    my ($self, $client) = @_;

    return $self->SUPER::come_back($client) unless $client->{kind};

    # one over a WebSocket may be refused for a moment

    my $c = eval { $self->dial($client) } or return;

    $self->attach($client, $c);
    $client->{returns}++;

    return;
}


sub sockets {
    my ($self, $client) = @_;

    return $self->SUPER::sockets($client) unless $client->{kind};
    return $client->{c}->sockets();
}


sub round {
    my ($self) = @_;

    for my $client (grep { $_->{most} } @{ $self->{clients} }) {
        $client->{window} = 0 if $client->{next} >= $client->{most};
    }

    $self->SUPER::round();

    for my $client (grep { $_->{kind} && $_->{c} } @{ $self->{clients} }) {
        $self->take($client) if $client->{c}->due();
    }

    return;
}


sub take {
    my ($self, $client) = @_;

    my $c = $client->{c};

    $self->SUPER::take($client);

    push @{ $self->{gone} }, $c if $client->{kind} && !$client->{c};

    return;
}


sub publish {
    my ($self, $client) = @_;

    my $id = $client->{number} * 10_000_000 + $client->{next} + 1;

    $self->{texts}{$id} = "[$id," . json($self->random_text()) . ']';

    return $self->SUPER::publish($client);
}


sub call {
    my ($self, $client, $command, $params, $id) = @_;

    $params =~ s/"message":(\d+)/"message":$self->{texts}{$1}/;

    return $self->SUPER::call($client, $command, $params, $id);
}


sub message {
    my ($self, $client, $text) = @_;

    if ($text =~ s/("type":"message",.*?"message":)(\[(\d+),".*"\])/$1$3/s) {
        my $id = $3;

        $self->wrong("$client->{name}: $id came changed: $2")
            if $2 ne ($self->{texts}{$id} // '');
    }

    return $self->SUPER::message($client, $text);
}


my @ranges = (
    [0x20, 0x7e], [0x20, 0x7e], [0, 0x1f], [0x7f, 0x7ff], [0x800, 0xd7ff],
    [0xe000, 0xffff], [0x10000, 0x10ffff], [0x200c, 0x200f],
    [0x2028, 0x202f], [0x2060, 0x206f], [0xfff0, 0xffff], [0x22, 0x27],
    [0x5c, 0x5c],
);


sub random_text {
    my ($self) = @_;

    my $most = rand $self->{rare} < 1 ? $self->{size} : 100;
    my $length = int rand $most;

    # some characters, which take up to six bytes when they are escaped

    my $piece = join '', map {
        my ($least, $most) = @{ $ranges[rand @ranges] };
        chr($least + int rand($most - $least + 1));
    } 1 .. 1 + int rand 20;

    return $piece unless $length > 100;
    return substr $piece x ($length / 3 / length($piece) + 1),
        0, $length / 6;
}


# --- one session, that waits for nothing ------------------------------------

package Snorky::Crowd::Session;

use JSON::PP ();
use Snorky::SockJS;
use Time::HiRes qw/ time /;


# most messages of one request

my $most = 25;


sub new {
    my ($class, %o) = @_;

    my $self = bless {
        s => Snorky::SockJS->new(prefix => $o{prefix},
            headers => $o{headers} || []),
        inbox => [], out => [], refusals => [], why => '', again => 0,
        frames => 0, responses => 0, %o,
    }, $class;

    $self->receive();

    return $self;
}


sub header { return undef }


sub receive {
    my ($self) = @_;

    my $kind = $self->{kind};

    $self->{r} = $kind eq 'websocket'
        ? Snorky->connect($self->{s}->path($kind))
        : $self->{s}->open($kind);

    $self->{prelude} = $kind =~ /^(?:xhr|jsonp|websocket)$/;
    $self->{responses}++;

    return;
}


sub sockets {
    my ($self) = @_;

    return map { $_->{sock} } grep { defined } @{$self}{qw/ r w /};
}


# whether there is something to do that no socket tells

sub due {
    my ($self) = @_;

    return $self->{r} ? !$self->{opened} || !$self->{w} && @{ $self->{out} }
                      : time() >= $self->{again};
}


sub text {
    my ($self, $text) = @_;

    push @{ $self->{out} }, $text;

    return;
}


sub flush {
    my ($self) = @_;

    my $out = $self->{out};

    return if !$self->{opened} || $self->{w} || $self->{closed} || !@$out;

    my $body = '[' . join(',', map { quote($_) }
        splice @$out, 0, 1 + int rand $most) . ']';

    if ($self->{kind} eq 'websocket') {
        $self->{r}->text($body);
        return;
    }

    my $jsonp = $self->{kind} eq 'jsonp';

    $body =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge if $jsonp;

    $self->{w} = $self->{s}->ask('POST',
        $self->{s}->path($jsonp ? 'jsonp_send' : 'xhr_send'),
        $jsonp ? (headers =>
            ['Content-Type: application/x-www-form-urlencoded']) : (),
        body => $jsonp ? "d=$body" : $body);

    return;
}


# Does what can be done at once; true if there may be more.

sub fill {
    my ($self) = @_;

    return 0 if $self->{closed} || $self->{eof};

    my $n = $self->take_received() + $self->take_answer();

    $self->flush();

    return $n;
}


sub take_answer {
    my ($self) = @_;

    my $w = $self->{w} or return 0;
    my $r = $w->head(0);

    return 0 if !$r && $w->{why} eq 'timeout';

    push @{ $self->{refusals} }, $r ? $r->{status} : $w->{why}
        if !$r || $r->{status} != ($self->{kind} eq 'jsonp' ? 200 : 204);

    $w->abort();
    $self->{w} = undef;

    return 1;
}


sub take_received {
    my ($self) = @_;

    if (!$self->{r}) {
        $self->receive() if time() >= $self->{again};
        return 0;
    }

    my $r = $self->{r};
    my $frame = $self->next_frame();

    if (defined $frame) {
        $self->frame($frame);
        return 1;
    }

    return 0 if $r->{why} eq 'timeout';

    if ($r->{why} eq 'end' && !length $r->{body}) {
        $r->abort();
        $self->{r} = undef;
        $self->{again} = time() + $self->{lazy} * rand;
        return 1;
    }

    $self->{eof} = 1;
    $self->{why} = $r->{why};
    $self->{why} = "status $r->{response}{status}" if $r->{why} eq 'status';
    $self->{why} = "torn: $r->{body}" if $r->{why} eq 'end';

    return 1;
}


sub next_frame {
    my ($self) = @_;

    my $r = $self->{r};

    if ($self->{kind} eq 'websocket') {
        my $m = $r->shift_message();

        $r->{why} = 'timeout' unless $m || $r->{closed} || $r->{eof};

        return $m ? $m->{data} : $r->fill(0) ? $self->next_frame() : undef;
    }

    $self->{prelude} ||= defined $r->read_prelude(0) or return undef;

    return $r->frame(0);
}


sub frame {
    my ($self, $frame) = @_;

    $self->{frames}++;

    if ($frame eq 'o') {
        $self->{opened}++;

    } elsif ($frame =~ /^c/) {
        my ($code, $reason) = closing($frame);

        $self->{closed} = { code => $code, reason => $reason };
        $self->finish();

    } elsif ($frame =~ /^a/) {
        push @{ $self->{inbox} }, unquote($frame);

    } elsif ($frame ne 'h') {
        die "an unknown frame: $frame\n";
    }

    return;
}


sub shift_message {
    my ($self) = @_;

    my $text = shift @{ $self->{inbox} };

    return defined $text ? { data => $text } : undef;
}


sub finish {
    my ($self) = @_;

    $_->close() for $self->sockets();
    @{$self}{qw/ r w /} = ();

    return;
}


# a JSON string, in one of its forms

sub quote {
    my ($text) = @_;

    if (rand 4 < 1) {
        utf8::decode($text);
        return JSON::PP->new()->allow_nonref()->ascii()->encode($text);
    }

    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/([\0-\x1f])/sprintf '\\u%04x', ord $1/ge;

    return "\"$text\"";
}


# the strings of an array

sub unquote {
    my ($frame) = @_;

    my @strings;

    $frame =~ /^a\[/g or die "not an array: $frame\n";

    while ($frame =~ /\G("[^"\\]*+(?:\\.[^"\\]*+)*+")([,\]])/gc) {
        my $end = $2;

        push @strings, string($1);

        return @strings if $end eq ']' && pos $frame == length $frame;
    }

    die "not an array of strings: $frame\n";
}


1;
