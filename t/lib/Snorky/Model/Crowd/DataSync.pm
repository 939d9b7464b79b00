package Snorky::Model::Crowd::DataSync;

# Copyright (C) The ngx_snorky_module authors
#
# The rules of datasync in a crowd (see Snorky::Model::Crowd), where some of
# the clients are a backend's connections.  Of each publisher's deltas, who
# has a token is told those that match, without a gap: all that were sent
# after the token was there, none that was answered before it was asked for.
# And all see one order.
#
# A token is { text items asked from to left life events }: authorized at
# some time between "asked" and "from", and cancelled between "to" and "left".
# A client has one at a time.

use strict;
use warnings;

use List::Util qw/ min /;
use Time::HiRes qw/ time /;

use Snorky::Connection qw/ json /;
use Snorky::Model qw/ pick members /;
use Snorky::Model::Crowd;

use constant FOREVER => Snorky::Model::Crowd::FOREVER;

our $SERVICES = join "\n    ",
    'snorky_service datasync sync timeout=20s;',
    'snorky_dealer sync all broadcast model=todo;',
    'snorky_dealer sync list simple model=todo key=in.list;',
    'snorky_dealer sync some filter model=todo;';

our $PRIVATE = 'snorky_service datasync_backend sync_backend frontend=sync;';


# Options: lapse, the seconds after which a token may be forgotten; forgets,
# any token may be.

sub new {
    my ($class, %o) = @_;

    return bless {
        service => 'sync',
        backend => 1,
        tokens  => [],
        waiting => [],
        lapse   => 15,
        said    => {},          # a publisher's operations, by its life
        %o,
    }, $class;
}


# a life's: { token }, { deltas }, how many it has published

sub mine {
    my ($life) = @_;

    return $life->{of}{datasync} //= {};
}


sub act {
    my ($self, $life) = @_;

    my $mine = mine($life);

    if ($life->{client}{backend}) {
        return $self->authorize() if rand() < 0.2
            && @{ $self->{waiting} } < 30;
        return $self->publish($life);
    }

    return undef if $mine->{busy};

    if (my $token = $mine->{token}) {
        return rand() < 0.04 ? $self->cancel($life) : undef;
    }

    my $waiting = $self->{waiting};

    return undef if !@$waiting;

    my ($token) = splice @$waiting, rand @$waiting, 1;

    $mine->{busy} = 1;
    $mine->{token} = $token;
    $token->{life} = $life;

    return {
        command => 'acquireSubscription',
        params  => { token => "\"$token->{text}\"" },
    };
}


sub cancel {
    my ($self, $life) = @_;

    my $mine = mine($life);

    $mine->{busy} = 1;

    return {
        command => 'cancelSubscription',
        params  => { token => "\"$mine->{token}{text}\"" },
    };
}


sub farewell {
    my ($self, $life) = @_;

    return mine($life)->{token} ? $self->cancel($life) : undef;
}


# the lists that an item matches, by their numbers 0 to 3

sub authorize {
    my ($self) = @_;

    my (@items, @texts);

    for (1 .. 1 + rand 2) {
        my $kind = pick(qw/ all list some /);
        my ($one, $two) = (int rand 4, int rand 4);

        if ($kind eq 'all') {
            push @items, { map { $_ => 1 } 0 .. 3 };
            push @texts, '{"dealer":"all","query":null}';

        } elsif ($kind eq 'list') {
            push @items, { $one => 1 };
            push @texts, "{\"dealer\":\"list\",\"query\":$one}";

        } elsif (rand() < 0.5) {
            push @items, { $one => 1, $two => 1 };
            push @texts, "{\"dealer\":\"some\",\"query\":[\"or\","
                . "[\"==\",\"in.list\",$one],[\"==\",\"in.list\",$two]]}";

        } else {
            push @items, { map { $_ => 1 } $one .. 3 };
            push @texts, "{\"dealer\":\"some\",\"query\":[\"not\","
                . "[\"<\",\"in.list\",$one]]}";
        }
    }

    return {
        service => 'sync_backend',
        command => 'authorizeSubscription',
        params  => { items => '[' . join(',', @texts) . ']' },
        items   => \@items,
    };
}


sub publish {
    my ($self, $life) = @_;

    my $mine = mine($life);
    my (@deltas, @texts);

    for (1 .. 1 + rand 2) {
        my $type = pick(qw/ insert update delete /);
        my $id = $life->{number} * 1_000_000 + ++$mine->{deltas};
        my $delta = { id => $id };

        $delta->{new} = int rand 4 if $type ne 'delete';
        $delta->{old} = int rand 4 if $type ne 'insert';

        my ($new, $old) = map { defined $delta->{$_}
            ? "{\"id\":$id,\"in\":{\"list\":$delta->{$_}}}" : undef
        } qw/ new old /;

        push @deltas, $delta;
        push @texts, "{\"type\":\"$type\",\"model\":\"todo\","
            . ($type eq 'update' ? "\"newData\":$new,\"oldData\":$old}"
                                 : '"data":' . ($new // $old) . '}');
    }

    return {
        service => 'sync_backend',
        command => 'publishDeltas',
        params  => { deltas => '[' . join(',', @texts) . ']' },
        deltas  => \@deltas,
    };
}


sub answered {
    my ($self, $op) = @_;

    my $command = $op->{command};
    my $life = $op->{life};
    my $mine = mine($life);

    return $self->acquired($op) if $command eq 'acquireSubscription';

    return $self->wrong($op, 'why?') if defined $op->{error};

    if ($command eq 'authorizeSubscription') {
        my ($text) = $op->{data} =~ /^"([a-z0-9]{32})"$/
            or return $self->wrong($op, 'what token?');

        my $token = {
            text   => $text,
            items  => $op->{items},
            asked  => $op->{sent},
            from   => $op->{answered},
            to     => FOREVER,
            left   => FOREVER,
            since  => time(),
            events => [],
        };

        push @{ $self->{$_} }, $token for qw/ tokens waiting /;

    } elsif ($command eq 'publishDeltas') {
        push @{ $self->{said}{ $life->{number} } }, $op;

    } elsif ($command eq 'cancelSubscription') {
        my $token = delete $mine->{token};

        delete $mine->{busy};
        @$token{qw/ to left /} = @$op{qw/ sent answered /};
    }

    return;
}


sub acquired {
    my ($self, $op) = @_;

    my $mine = mine($op->{life});

    delete $mine->{busy};

    return unless defined $op->{error};

    my $token = delete $mine->{token};

    delete $token->{life};

    return if $op->{error} eq 'No such subscription'
        && !@{ $token->{events} } && $self->forgotten($token);

    return $self->wrong($op, 'it was authorized');
}


# it may be, when its time is over or the records were begun anew

sub forgotten {
    my ($self, $token) = @_;

    return $self->{forgets} || time() - $token->{since} > $self->{lapse};
}


sub notified {
    my ($self, $life, $m) = @_;

    my $token = mine($life)->{token};
    my $delta = members($m->{delta}) || {};
    my $data = members($delta->{newData} // $delta->{data}) || {};

    return $self->{crowd}->wrong("$life->{name}: $m->{delta} without a token")
        if !$token;

    my ($type) = ($delta->{type} // '') =~ /^"(.*)"$/;

    push @{ $token->{events} }, [ $data->{id}, $type ];

    return;
}


sub ended {
    my ($self, $life) = @_;

    push @{ $self->{said}{ $life->{number} } },
        grep { $_->{command} eq 'publishDeltas' } @{ $life->{out} };

    return;
}


# nobody holds anything now; tokens that wait are tried below

sub held {
    return {};
}


sub pictures {
    return ();
}


# what was kept for those that wait still

sub fresh {
    my ($self, $c) = @_;

    for my $token (splice @{ $self->{waiting} }) {
        my %params = (token => $token->{text});
        my $r = $c->rpc($self->{service}, 'acquireSubscription', \%params);

        if ($r->{type} eq 'error') {
            next if $self->forgotten($token);
            return { "$token->{text}: $r->{message}" => 1 };
        }

        for my $m ($c->notifications()) {
            my $delta = $m->{delta};
            my $data = $delta->{newData} // $delta->{data};

            push @{ $token->{events} }, [ $data->{id}, $delta->{type} ];
        }

        $token->{life} = { name => 'a new client' };
        $c->rpc($self->{service}, 'cancelSubscription', \%params);
    }

    return {};
}


# --- afterwards -------------------------------------------------------------

sub wrong {
    my ($self, $op, $why) = @_;

    return $self->{crowd}->wrong("$op->{life}{name}: $op->{command} "
        . json($op->{params}) . ' is answered '
        . ($op->{error} // $op->{data}) . ": $why");
}


sub verify {
    my ($self) = @_;

    my @tokens = grep { $_->{life} } @{ $self->{tokens} };

    $self->check_token($_) for @tokens;

    # two items of a token, two deliveries, but one event

    $self->{crowd}->one_order('deltas', map {
        my $last = 0;

        [ grep { my $new = $_ != $last; $last = $_; $new }
            map { $_->[0] } @{ $_->{events} } ]
    } @tokens);

    return;
}


# what the token's items make of the delta

sub deliveries {
    my ($token, $delta) = @_;

    return map {
        my $item = $_;

        my ($old, $new) = map { defined $delta->{$_}
            && $item->{ $delta->{$_} } } qw/ old new /;

        !$old && !$new ? () : $delta->{id} . ($old && $new ? ' update'
            : $new ? ' insert' : ' delete');
    } @{ $token->{items} };
}


sub check_token {
    my ($self, $token) = @_;

    my %heard;

    push @{ $heard{ int $_->[0] / 1_000_000 } }, "@$_"
        for @{ $token->{events} };

    # who has lost its connection has not read all

    my $until = $token->{left} < FOREVER ? $token->{to}
        : defined $token->{life}{until} ? 0 : FOREVER;

    my $name = "token $token->{text} of $token->{life}{name}";

    for my $number (sort { $a <=> $b } keys %{ $self->{said} }) {
        my $is = join ', ', @{ delete $heard{$number} || [] };

        my ($before, $must, $after) = ('', '', '');

        for my $op (@{ $self->{said}{$number} }) {
            my $answered = $op->{answered} // FOREVER;

            next if $answered < $token->{asked}
                || $op->{sent} > $token->{left};

            my $text = join '', map { "$_, " }
                map { deliveries($token, $_) } @{ $op->{deltas} };

            if ($op->{sent} > $token->{from} && $answered < $until) {
                $must .= $text;
            } elsif ($op->{sent} <= $token->{from}) {
                $before .= $text;
            } else {
                $after .= $text;
            }
        }

        # a part of it all, with all that it must have

        my $all = $before . $must . $after;
        my $from = index ", $all", ", $is, ";

        next if $is eq '' && $must eq '';

        next if $is ne '' && $from >= 0 && $from <= length $before
            && ($must eq ''
                || $from + length("$is, ") >= length($before . $must));

        $self->{crowd}->wrong("$name: hears [$is] of ($before) $must "
            . "($after), which life $number has published");
    }

    $self->{crowd}->wrong("$name: hears " . json(\%heard)) if %heard;

    return;
}


1;
