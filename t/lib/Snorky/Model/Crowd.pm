package Snorky::Model::Crowd;

# Copyright (C) The ngx_snorky_module authors
#
# Clients on all workers that speak at once, without waiting for each other,
# and come back when they lose their connection; and what must be true
# whatever the order was in which they were served.
#
#     my $crowd = Snorky::Model::Crowd->new(rules => [
#         Snorky::Model::Crowd::Chat->new(), .. ]);
#     $crowd->add(user => 'user1', slot => 2, window => 3);
#     $crowd->run(sub { $crowd->{answers} > 5000 });
#     $crowd->settle();                   # all is answered, nobody speaks
#     $crowd->check();                    # the facts, the order
#     is($crowd->complaints(), '', ..);
#
#   of a client: window, how many of its commands may be unanswered; pace, it
#   says one at a time, so that there is something said at any time; leave, how
#   often it ends a connection by itself (0.005 of its commands); backend, it
#   is a backend's HTTP connection
#
# A client's connection is a life; what it has said is a list of operations.
# All run in one process, which numbers what it does, so an operation has
# happened between { sent } and { answered }.  Operations of one life happen
# in their order.
#
# The rules of a service are
#
#     act($life)              the next operation, or undef
#     answered($op)           { error } or { data } is there
#     notified($life, $m)     the members of a message
#     ended($life)            { out } was not answered; it may have happened
#     farewell($life)         a last operation, or undef: one whose answer comes
#                             behind all that there was to hear
#     held()                  facts: { text => 1 }, by what the living hold
#     pictures()              the same, as members see it: [ name, facts ..]
#     fresh($c)               the facts that a new client is told
#     verify()                what must be true of all that has happened
#
# What a life holds, it holds until it knows better: but if the server ended
# it, only until the last word that came from there, since others may have
# got what it had before the end was noticed here.  And if its worker was
# stopped, only until then (doubt()).

use strict;
use warnings;

use IO::Select ();
use List::Util qw/ min /;
use Time::HiRes qw/ sleep time /;

use Test::Nginx;
use Snorky;
use Snorky::Model qw/ members /;

use constant FOREVER => 9 ** 15;


sub new {
    my ($class, %o) = @_;

    my $self = bless {
        port    => port(8081),
        path    => '/ws',
        clients => [],
        lives   => [],
        ends    => [],
        wrong   => [],
        seq     => 0,
        round   => 0,           # its number at the round's begin
        answers => 0,
        heard   => 0,
        %o,
    }, $class;

    for my $rule (@{ $self->{rules} }) {
        $rule->{crowd} = $self;
        $self->{rule_of}{ $rule->{service} } = $rule;
    }

    return $self;
}


sub add {
    my ($self, %o) = @_;

    my $client = {
        window => 3,
        leave  => 0.005,
        number => @{ $self->{clients} } + 1,
        %o,
    };

    $client->{path} = $self->{path}
        . (defined $o{user} ? "?user=$o{user}" : '');

    push @{ $self->{clients} }, $client;

    my %port = (port => $self->{port});

    $self->attach($client, $o{backend} ? Snorky->dial(%port)
        : defined $o{slot}
            ? connect_to_worker($o{slot}, $client->{path}, %port)
            : Snorky->connect($client->{path}, %port));

    return $client;
}


# with as many identities as a third of them; each worker has some

sub populate {
    my ($self, $clients, $workers, %o) = @_;

    $self->add(user => 'user' . $_ % int($clients / 3),
        slot => $workers->[$_ % @$workers]{slot}, %o) for 1 .. $clients;

    return;
}


sub attach {
    my ($self, $client, $c) = @_;

    my $life = $client->{life} = {
        client => $client,
        number => scalar @{ $self->{lives} },
        slot   => $c->header('X-Worker'),
        me     => defined $client->{user} ? "\"$client->{user}\"" : undef,
        c      => $c,
        since  => ++$self->{seq},
        last   => $self->{seq},
        out    => [],
        of     => {},
    };

    $life->{name} = "client $client->{number}, life $life->{number}"
        . (defined $client->{user} ? " ($client->{user})" : '');

    push @{ $self->{lives} }, $life;

    return;
}


# all are here

sub ready {
    my ($self) = @_;

    return !grep { !$_->{gone} && !$_->{life} } @{ $self->{clients} };
}


# the close codes of the connections that the server has ended: { code => n }

sub codes {
    my ($self) = @_;

    my %codes;

    $codes{ $_->{code} }++
        for grep { !$_->{life}{client}{backend} } @{ $self->{ends} };

    return \%codes;
}


sub living {
    my ($self) = @_;

    return grep { !defined $_->{until} } @{ $self->{lives} };
}


# those that are on this worker, perhaps, or all without one, are not sure of
# what they hold

sub doubt {
    my ($self, $slot) = @_;

    for my $life ($self->living()) {
        next if defined $slot && defined $life->{slot}
            && $life->{slot} != $slot;
        $life->{doubt} //= ++$self->{seq};
    }

    return;
}


# until when the life held what it had

sub sure {
    my ($life) = @_;

    return min($life->{doubt} // FOREVER, !defined $life->{until} ? FOREVER
        : $life->{own} ? $life->{until} : $life->{last});
}


# --- speaking ---------------------------------------------------------------

sub act {
    my ($self, $life) = @_;

    my $client = $life->{client};

    if (rand() < $client->{leave}) {
        $self->leave($life);
        return 0;
    }

    my @rules = grep { !$client->{backend} || $_->{backend} }
        @{ $self->{rules} };
    my $rule = $rules[rand @rules];
    my $op = $rule->act($life) or return 0;

    $self->say($life, $rule, $op);

    return 1;
}


sub say {
    my ($self, $life, $rule, $op) = @_;

    $op->{rule} = $rule;
    $op->{life} = $life;
    $op->{sent} = ++$self->{seq};

    my $service = $op->{service} // $rule->{service};
    my $text = "{\"service\":\"$service\",\"message\":{"
        . "\"command\":\"$op->{command}\",\"params\":{"
        . join(',', map { "\"$_\":$op->{params}{$_}" }
            sort keys %{ $op->{params} })
        . "},\"callId\":$op->{sent}}}";

    push @{ $life->{out} }, $op;

    if ($life->{client}{backend}) {
        $life->{c}->send("POST /backend HTTP/1.1\r\nHost: localhost\r\n"
            . "X-Backend-Key: swordfish\r\nContent-Length: "
            . length($text) . "\r\n\r\n$text");
    } else {
        $life->{c}->text($text);
    }

    return;
}


# by its own will, whatever is on its way

sub leave {
    my ($self, $life) = @_;

    my $c = $life->{c};

    $life->{own} = 1;

    if (rand() < 0.5 || $life->{client}{backend}) {
        $c->reset();
    } else {
        $c->close_frame(1000);
        $c->half_close() if rand() < 0.5;
        $c->{sock}->close();
    }

    return $self->end($life);
}


sub end {
    my ($self, $life) = @_;

    $life->{until} = ++$self->{seq};
    $life->{client}{life} = undef;
    delete $life->{c};

    $_->ended($life) for @{ $self->{rules} };

    return;
}


# --- the loop ---------------------------------------------------------------

sub run {
    my ($self, $condition, $timeout) = @_;

    my $deadline = time() + ($timeout || $Snorky::TIMEOUT * 3);

    while (time() < $deadline) {
        return 1 if $condition->();
        return 0 if @{ $self->{wrong} } > 10;
        $self->turn();
    }

    return $condition->() ? 1 : 0;
}


sub turn {
    my ($self) = @_;

    for my $client (@{ $self->{clients} }) {
        next if $client->{gone};

        $self->come_back($client) unless $client->{life};

        my $life = $client->{life};

        next if !$life || $self->{settling};

        while (@{ $life->{out} } < $client->{window}) {
            $self->act($life) or last;
            last if $client->{pace};
        }
    }

    $self->{round} = ++$self->{seq};

    my %of = map { fileno $_->{c}{sock} => $_ } $self->living();

    if (!%of) {
        sleep 0.01;
        return;
    }

    my $select = IO::Select->new(map { $_->{c}{sock} } values %of);

    $self->take($of{fileno $_}) for $select->can_read(0.05);

    return;
}


sub come_back {
    my ($self, $client) = @_;

    # not to a socket of a worker that stands still

    my %o = (port => port(8080), timeout => 2);

    my $c = eval {
        $client->{backend} ? Snorky->dial(%o)
            : Snorky->attempt($client->{path}, %o)
    };

    return unless $c && ($client->{backend} || ($c->status() || 0) == 101);

    $c->{timeout} = $Snorky::TIMEOUT;
    $self->attach($client, $c);

    return;
}


# everything that has arrived

sub take {
    my ($self, $life) = @_;

    my $c = $life->{c};

    1 while $c->fill(0);

    if ($life->{client}{backend}) {
        while ($c->{in} =~ /^HTTP\/1\.1 (\d+)(.*?)\r\n\r\n/s) {
            my ($status, $end, $head) = ($1, $+[0], $2);
            my ($length) = $head =~ /^content-length: (\d+)/im
                or die "an answer without a length: $head\n";

            last if length $c->{in} < $end + $length;

            my $body = substr $c->{in}, $end, $length;
            substr $c->{in}, 0, $end + $length, '';

            $status == 200 ? $self->hear($life, $body)
                : $self->wrong("$life->{name}: status $status");
        }

    } else {
        while (my $m = $c->shift_message()) {
            $self->hear($life, $m->{data});
        }
    }

    return unless $c->{closed} || $c->{eof};

    push @{ $self->{ends} }, {
        life => $life,
        code => $c->{closed} ? $c->{closed}{code} : 1006,
        time => time(),
    };

    return $self->end($life);
}


sub hear {
    my ($self, $life, $text) = @_;

    my $envelope = members($text) || {};
    my $m = members($envelope->{message})
        or return $self->wrong("$life->{name}: $text");

    my $seq = ++$self->{seq};

    $life->{last} = $self->{round};
    $self->{heard}++;

    my ($service) = ($envelope->{service} // '') =~ /^"(\w+?)(?:_backend)?"$/;
    my $rule = $self->{rule_of}{$service // ''}
        or return $self->wrong("$life->{name}: $text of what service?");

    return $rule->notified($life, $m)
        unless ($m->{type} // '') =~ /^"(?:response|error)"$/;

    my $op = shift @{ $life->{out} };

    return $self->wrong("$life->{name}: an answer to nothing, $text")
        if !$op || $op->{sent} ne $m->{callId} || $op->{rule} != $rule;

    $self->{answers}++;
    $op->{answered} = $seq;

    if ($m->{type} eq '"error"') {
        ($op->{error}) = $m->{message} =~ /^"(.*)"$/s;
    } else {
        $op->{data} = $m->{data};
    }

    return $rule->answered($op);
}


# Nobody speaks, all is answered, and all who were closed are here again, and
# have heard what there was to hear.

sub settle {
    my ($self, $timeout) = @_;

    $self->{settling} = 1;

    $self->quiet($timeout) or return 0;

    for my $life (grep { !$_->{client}{backend} } $self->living()) {
        for my $rule (@{ $self->{rules} }) {
            my $op = $rule->farewell($life) or next;
            $self->say($life, $rule, $op);
        }
    }

    return $self->quiet($timeout);
}


sub quiet {
    my ($self, $timeout) = @_;

    my $waiting = '';

    return 1 if $self->run(sub {
        $waiting = join ', ', map {
            my $life = $_->{life};
            $life ? "$life->{name} for $life->{out}[0]{command}"
                  : "client $_->{number} for a connection"
        } grep {
            !$_->{gone} && (!$_->{life} || @{ $_->{life}{out} })
        } @{ $self->{clients} };

        return $waiting eq '';
    }, $timeout);

    $self->wrong("too late: $waiting");

    return 0;
}


# all leave, in order

sub finish {
    my ($self) = @_;

    for my $life ($self->living()) {
        my $c = $life->{c};

        $life->{own} = 1;
        $life->{client}{gone} = 1;
        $life->{client}{backend} ? $c->{sock}->close() : $c->finish();
        $self->end($life);
    }

    return wait_until { counters()->{sessions} == 0 };
}


# --- the judgement ----------------------------------------------------------

sub wrong {
    my ($self, $text) = @_;

    push @{ $self->{wrong} }, $text if @{ $self->{wrong} } < 20;

    return;
}


sub complaints {
    my ($self) = @_;

    return join "\n", @{ $self->{wrong} };
}


# What a new client is told, and what everyone has seen, is what the living
# hold; and what has happened could.

sub check {
    my ($self) = @_;

    for my $rule (@{ $self->{rules} }) {
        # what others are still to hear is on its way

        my $different;

        $self->run(sub {
            my $held = $rule->held();

            $different = '';

            for ($rule->pictures()) {
                my ($name, $seen, $scope) = @$_;
                my %facts = map { $_ => 1 } grep { !defined $scope
                    || index($_, $scope) == 0 } keys %$held;

                $different .= $self->difference($name, $seen, \%facts);
            }

            return $different eq '';
        }) or $self->wrong($different);

        my ($c, $fresh);

        # a worker whose death has just been noticed is buried soon

        $self->run(sub {
            $c ||= Snorky->connect("$self->{path}?user=fresh",
                port => $self->{port});
            $fresh = $self->difference('a new client', $rule->fresh($c),
                $rule->held());
            return $fresh eq '';
        }, 5) or $self->wrong("$rule->{service}: $fresh");

        $c->finish();
        $rule->verify();
    }

    return !@{ $self->{wrong} };
}


sub difference {
    my ($self, $name, $is, $wanted) = @_;

    my @more = grep { !$wanted->{$_} } sort keys %$is;
    my @less = grep { !$is->{$_} } sort keys %$wanted;

    return '' if !@more && !@less;

    return "$name: has [@more] beyond what is held, lacks [@less]\n";
}


# Views are lists of events, parts of one order: whether there is such a one.

sub one_order {
    my ($self, $what, @views) = @_;

    my (%next, %before);

    for my $view (@views) {
        my %seen;

        $before{$_} //= 0 for @$view;

        for my $i (0 .. $#$view) {
            return $self->wrong("$what: $view->[$i] twice")
                if $seen{ $view->[$i] }++;

            next if $i == $#$view
                || $next{ $view->[$i] }{ $view->[$i + 1] }++;
            $before{ $view->[$i + 1] }++;
        }
    }

    my @ready = grep { !$before{$_} } keys %before;
    my $left = keys %before;

    while (defined(my $event = pop @ready)) {
        $left--;

        for my $next (keys %{ $next{$event} || {} }) {
            push @ready, $next if !--$before{$next};
        }
    }

    return unless $left;

    my @stuck = sort grep { $before{$_} } keys %before;

    return $self->wrong("$what: no order has "
        . join(', ', @stuck > 10 ? @stuck[0 .. 9] : @stuck));
}


1;
