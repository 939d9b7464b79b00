package Snorky::Load;

# Copyright (C) The ngx_snorky_module authors
#
# Publishers and subscribers of one channel that run for as long as a test
# has something to do to nginx, come back when they are closed, and judge in
# the end whether what they saw can be one order with nothing lost.
#
#     my $load = Snorky::Load->new(path => '/ws', port => port(8080));
#     $load->subscriber(worker => 2, name => 's1', flap => 50);
#     $load->run(sub { $load->ready() });         # all are subscribed
#     $load->publisher(worker => 2, window => 4, both => 1);
#     $load->run(sub { condition }, $timeout);    # true, or false: too late
#     $load->settle();               # no more is published; all is answered
#     is($load->complaints(), '', 'one order, nothing lost');
#
#   of all: cut, the server may end a connection before it has told all that
#   was published until then (a worker that has been given up)
#
#   of a client: window, how many publications may be unanswered; both, a
#   publisher that is subscribed too; flap, it unsubscribes after so many
#   messages and subscribes again; stay, it does not come back
#
#   ends() lists the connections that were closed by the server:
#   { name worker code why time }, code 1006 where no close frame came.
#
# How it is judged.  All clients live in one process, which numbers what it
# does: each sending, each receiving.  A client's time between subscribing
# and unsubscribing (or its end) is a period; what it received then, a run.
# All runs together must fit into one order without gap or double.  What was
# sent after the answer to "subscribe" had come belongs to the period; and
# what was answered before "unsubscribe" was sent.  Where the server ends a
# connection, it does so a moment before its close frame arrives, in which
# others go on: what was answered a second before that belongs to the period.

use strict;
use warnings;

use IO::Select ();
use Time::HiRes qw/ sleep time /;

use Snorky;


sub new {
    my ($class, %o) = @_;

    return bless {
        path    => '/ws',
        service => 'messaging',
        channel => 'load',
        clients => [],
        periods => [],
        ends    => [],
        errors  => [],
        refused => {},
        wrong   => [],
        seq     => 0,           # numbers what happens
        rounds  => [],          # of the last second, with what came before
        sent    => {},
        acked   => {},
        %o,
    }, $class;
}


sub publisher {
    my ($self, %o) = @_;

    return $self->add(%o, publishes => 1, subscribes => $o{both});
}


sub subscriber {
    my ($self, %o) = @_;

    return $self->add(%o, subscribes => 1);
}


sub add {
    my ($self, %o) = @_;

    my $number = @{ $self->{clients} } + 1;

    my $client = {
        name   => "client $number",
        window => 1,
        %o,
        number => $number,
        next   => 0,
        out    => {},
    };

    push @{ $self->{clients} }, $client;

    $self->attach($client, $self->dial($client));

    return $client;
}


# how a client connects for the first time

sub dial {
    my ($self, $client) = @_;

    return defined $client->{worker}
        ? connect_to_worker($client->{worker}, $self->{path},
            port => $self->{port})
        : Snorky->connect($self->{path}, port => $self->{port});
}


sub attach {
    my ($self, $client, $c) = @_;

    $client->{c} = $c;
    $client->{serves} = $c->header('X-Worker');
    $client->{out} = {};

    $self->subscribe($client) if $client->{subscribes};

    return;
}


sub ends {
    my ($self) = @_;

    return @{ $self->{ends} };
}


# the calls that were answered with an error: { id, message }

sub errors {
    my ($self) = @_;

    return @{ $self->{errors} };
}


sub acked {
    my ($self) = @_;

    return scalar keys %{ $self->{acked} };
}


# how many clients are connected; and, those that subscribe, subscribed

sub ready {
    my ($self) = @_;

    my @clients = grep { !$_->{gone} } @{ $self->{clients} };

    return @clients == grep {
        $_->{c} && (!$_->{subscribes} || $_->{period})
    } @clients;
}


# --- calls ------------------------------------------------------------------

sub call {
    my ($self, $client, $command, $params, $id) = @_;

    $client->{c}->text("{\"service\":\"$self->{service}\",\"message\":{"
        . "\"command\":\"$command\",\"params\":{"
        . "\"channel\":\"$self->{channel}\"$params},\"callId\":$id}}");

    return;
}


sub subscribe {
    my ($self, $client) = @_;

    $client->{asked} = 1;
    $self->call($client, 'subscribe', '', 1);

    return;
}


sub unsubscribe {
    my ($self, $client) = @_;

    my $period = $client->{period};

    return if defined $period->{until};

    $period->{until} = ++$self->{seq};
    $self->call($client, 'unsubscribe', '', 2);

    return;
}


sub publish {
    my ($self, $client) = @_;

    my $id = $client->{number} * 10_000_000 + ++$client->{next};

    $self->{sent}{$id} = ++$self->{seq};
    $client->{out}{$id} = 1;

    $self->call($client, 'publish', ",\"message\":$id", $id);

    return;
}


# --- the loop ---------------------------------------------------------------

sub run {
    my ($self, $condition, $timeout) = @_;

    my $deadline = time() + ($timeout || $Snorky::TIMEOUT * 3);

    while (time() < $deadline) {
        return 1 if $condition->();
        $self->round();
    }

    return $condition->() ? 1 : 0;
}


sub round {
    my ($self) = @_;

    for my $client (@{ $self->{clients} }) {
        $self->come_back($client) unless $client->{c} || $client->{gone};

        next if !$client->{publishes} || !$client->{c} || $self->{settling};

        $self->publish($client)
            while keys %{ $client->{out} } < $client->{window};
    }

    my $rounds = $self->{rounds};

    push @$rounds, [ time(), ++$self->{seq} ];
    shift @$rounds while @$rounds > 1 && $rounds->[1][0] < time() - 1;

    my (@sockets, %of);

    for my $client (grep { $_->{c} } @{ $self->{clients} }) {
        for my $socket ($self->sockets($client)) {
            push @sockets, $socket;
            $of{fileno $socket} = $client;
        }
    }

    if (!@sockets) {
        sleep 0.01;
        return;
    }

    for my $client (map { $of{fileno $_} }
        IO::Select->new(@sockets)->can_read(0.05))
    {
        $self->take($client) if $client->{c};
    }

    return;
}


sub sockets {
    my ($self, $client) = @_;

    return $client->{c}{sock};
}


sub come_back {
    my ($self, $client) = @_;

    my $c = eval {
        Snorky->attempt($self->{path}, port => $self->{port}, timeout => 5)
    };

    my $status = !$c ? 'none' : $c->status() || 'no answer';

    if ($status eq '101') {
        $c->{timeout} = $Snorky::TIMEOUT;
        $self->attach($client, $c);
        $client->{returns}++;

    } else {
        $self->{refused}{$status}++;
    }

    return;
}


# everything that has arrived

sub take {
    my ($self, $client) = @_;

    my $c = $client->{c};

    1 while $c->fill(0);

    while (my $m = $c->shift_message()) {
        $self->message($client, $m->{data});
    }

    return unless $c->{closed} || $c->{eof};

    push @{ $self->{ends} }, {
        name   => $client->{name},
        worker => $client->{serves},
        code   => $c->{closed} ? $c->{closed}{code} : 1006,
        why    => $c->{closed} ? $c->{closed}{reason} : $c->{why},
        time   => time(),
    };

    if (my $period = delete $client->{period}) {
        my ($when, $seq) = @{ $self->{rounds}[0] };

        $period->{until} //= $c->{closed} && !$self->{cut}
            && $when < time() - 1 ? $seq : 0;
    }

    $client->{gone} = 1 if $client->{stay};
    $client->{c} = undef;

    return;
}


sub message {
    my ($self, $client, $text) = @_;

    if ($text =~ /"type":"message",.*"message":(\d+)\}\}$/) {
        my $period = $client->{period};

        return $self->wrong("$client->{name}: $1 while not subscribed")
            if !$period;

        push @{ $period->{run} }, $1;
        $period->{has}{$1} = 1 if $client->{publishes};

        $self->unsubscribe($client)
            if $client->{flap} && @{ $period->{run} } == $client->{flap};

    } elsif ($text =~ /"type":"response","callId":(\d+),/) {
        $self->answer($client, $1);

    } elsif ($text =~ /"type":"error","callId":(\d+),"message":"([^"]*)"/) {
        push @{ $self->{errors} }, { id => $1, message => $2 };
        delete $client->{out}{$1};

    } else {
        $self->wrong("$client->{name}: unknown message $text");
    }

    return;
}


sub answer {
    my ($self, $client, $id) = @_;

    if ($id == 1) {
        $client->{period} = {
            name  => $client->{name},
            since => ++$self->{seq},
            run   => [],
        };

        push @{ $self->{periods} }, $client->{period};

    } elsif ($id == 2) {
        delete $client->{period};

        if ($self->{settling}) {
            $client->{subscribes} = 0;
        } else {
            $self->subscribe($client);
        }

    } else {
        my $period = $client->{period};

        $self->wrong("$client->{name}: no call $id to answer")
            unless delete $client->{out}{$id};

        $self->wrong("$client->{name}: the response to $id comes before it")
            if $period && !$period->{has}{$id};

        $self->{acked}{$id} = ++$self->{seq};
    }

    return;
}


sub wrong {
    my ($self, $text) = @_;

    push @{ $self->{wrong} }, $text if @{ $self->{wrong} } < 20;

    return;
}


# No more publications, and everything that was asked for is here: the last
# message of all, which every subscriber has in the end, says so.

sub settle {
    my ($self, $timeout) = @_;

    $self->{settling} = 1;

    my $done = $self->run(sub {
        return 0 if grep { %{ $_->{out} } } @{ $self->{clients} };
        return $self->ready();
    }, $timeout);

    $self->wrong('not all publications were answered') unless $done;

    my $last = $self->add(publishes => 1);

    $self->publish($last);
    my ($id) = keys %{ $last->{out} };

    $done = $self->run(sub {
        return 0 if !$self->{acked}{$id};
        return !grep { $_->{period} && ($_->{period}{run}[-1] // 0) != $id }
            @{ $self->{clients} };
    }, $timeout);

    $self->wrong('not all subscribers have the last message') unless $done;

    return $done;
}


sub finish {
    my ($self) = @_;

    $_->finish() for grep { defined } map { $_->{c} } @{ $self->{clients} };

    return;
}


# --- the judgement ----------------------------------------------------------

sub complaints {
    my ($self) = @_;

    my $order = $self->order();

    $self->check_publications($order);
    $self->check_periods($order);

    return join "\n", @{ $self->{wrong} };
}


# Lays the runs over each other; $self->{place} says where each message is.
# Where nobody was subscribed for a moment, the order begins anew behind what
# there is: with the run whose first message no other has further in.

sub order {
    my ($self) = @_;

    my @runs = sort { $a->{since} <=> $b->{since} }
        grep { @{ $_->{run} } } @{ $self->{periods} };

    my @order;
    my $place = $self->{place} = {};

    while (@runs) {
        my @later;

        for my $period (@runs) {
            if (defined $place->{ $period->{run}[0] }) {
                $self->lay(\@order, $period);
            } else {
                push @later, $period;
            }
        }

        if (@later == @runs) {
            my %inside = map { my $run = $_->{run};
                map { $_ => 1 } @{$run}[1 .. $#$run] } @later;

            my ($next) = grep { !$inside{ $later[$_]{run}[0] } } 0 .. $#later;

            if (!defined $next) {
                $self->wrong('no run can be the first');
                last;
            }

            $self->lay(\@order, splice @later, $next, 1);
        }

        @runs = @later;
    }

    return \@order;
}


sub lay {
    my ($self, $order, $period) = @_;

    my $place = $self->{place};
    my $run = $period->{run};
    my $at = $period->{start} = $place->{ $run->[0] } // @$order;

    for my $id (@$run) {
        if ($at == @$order) {
            return $self->wrong("$period->{name}: $id twice")
                if defined $place->{$id};

            push @$order, $id;
            $place->{$id} = $at;

        } elsif ($order->[$at] != $id) {
            return $self->wrong("$period->{name}: $id where the others have "
                . $order->[$at]);
        }

        $period->{end} = $at++;
    }

    return;
}


sub check_publications {
    my ($self, $order) = @_;

    my %last;

    for my $id (@$order) {
        my $number = int $id / 10_000_000;

        $self->wrong("$id was never sent") unless $self->{sent}{$id};
        $self->wrong("$id after $last{$number}")
            if $id <= ($last{$number} || 0);

        $last{$number} = $id;
    }

    for my $id (sort { $a <=> $b } keys %{ $self->{acked} }) {
        next if defined $self->{place}{$id};

        my ($period) = grep { $self->must_have($_, $id) }
            @{ $self->{periods} };

        $self->wrong("$period->{name}: has not got $id, nor has another")
            if $period;
    }

    return;
}


# whether the message was sent, and its answer came, within the period

sub must_have {
    my ($self, $period, $id) = @_;

    return $self->{sent}{$id} > $period->{since}
        && $self->{acked}{$id} < ($period->{until} // 9 ** 14);
}


sub check_periods {
    my ($self, $order) = @_;

    # the latest sending before each place, the earliest answer from it on

    my @sent_before = (0);
    my @acked_from;

    $acked_from[@$order] = 9 ** 15;

    for my $i (0 .. $#$order) {
        my $sent = $self->{sent}{$order->[$i]} || 0;
        $sent_before[$i + 1] = $sent > $sent_before[$i] ? $sent
                                                        : $sent_before[$i];
    }

    for my $i (reverse 0 .. $#$order) {
        my $acked = $self->{acked}{$order->[$i]} // 9 ** 15;
        $acked_from[$i] = $acked < $acked_from[$i + 1] ? $acked
                                                       : $acked_from[$i + 1];
    }

    for my $period (grep { defined $_->{end} } @{ $self->{periods} }) {
        $self->wrong("$period->{name}: has lost something before "
            . $period->{run}[0])
            if $sent_before[$period->{start}] > $period->{since};

        my $until = $period->{until} // 9 ** 14;

        $self->wrong("$period->{name}: has lost something after "
            . $period->{run}[-1])
            if $acked_from[$period->{end} + 1] < $until;
    }

    # who has seen nothing: was there anything to see?

    for my $period (grep { !@{ $_->{run} } } @{ $self->{periods} }) {
        my ($lost) = grep { $self->must_have($period, $_) }
            keys %{ $self->{acked} };

        $self->wrong("$period->{name}: has not got $lost") if $lost;
    }

    return;
}


1;
