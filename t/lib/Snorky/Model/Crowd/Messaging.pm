package Snorky::Model::Crowd::Messaging;

# Copyright (C) The ngx_snorky_module authors
#
# The rules of messaging in a crowd (see Snorky::Model::Crowd).  A name has one
# owner at a time; each message comes to one who can have been it, once and in
# order; and each error and each list was right at some time between the
# question and the answer.
#
# A claim is a life's time with a name: { life name from to asked left }, where
# it was registered at some time between "asked" and "from", and given up
# between "to" and "left".

use strict;
use warnings;

use List::Util qw/ min /;

use Snorky::Model qw/ pick elements /;
use Snorky::Model::Crowd;

use constant FOREVER => Snorky::Model::Crowd::FOREVER;


sub new {
    my ($class, %o) = @_;

    return bless {
        service => 'messaging',
        names   => [ map { sprintf '"n%02d"', $_ } 0 .. 15 ],
        claims  => {},
        ops     => [],
        got     => {},          # who has received a message, by its number
        last    => {},
        number  => 0,
        %o,
    }, $class;
}


# the claims of a life, by name, as of the last answer

sub mine {
    my ($life) = @_;

    return $life->{of}{messaging} //= {};
}


sub act {
    my ($self, $life) = @_;

    my @mine = keys %{ mine($life) };
    my $name = pick(@{ $self->{names} });
    my $own = @mine && rand() < 0.8 ? pick(@mine) : $name;
    my $dice = rand;

    return {
        command => 'registerParticipant',
        params  => { name => $name },
    } if $dice < 0.25;

    return {
        command => 'unregisterParticipant',
        params  => { name => $own },
    } if $dice < 0.45;

    return { command => 'listParticipants', params => {} } if $dice < 0.5;

    return {
        command => 'send',
        params  => { sender => $own, dest => $name, body => ++$self->{number} },
    };
}


sub farewell {
    return { command => 'listParticipants', params => {} };
}


sub answered {
    my ($self, $op) = @_;

    my $life = $op->{life};
    my $mine = mine($life);
    my $command = $op->{command};
    my $name = $op->{params}{name};
    my $error = $op->{error} // '';

    push @{ $self->{ops} }, $op;

    # of its own names it is sure

    my $wrong = $command eq 'registerParticipant'
            ? $mine->{$name} && $error ne 'Name already registered'
        : $command eq 'unregisterParticipant'
            ? !$mine->{$name} != ($error ne '')
        : $command eq 'send'
            ? !$mine->{ $op->{params}{sender} }
                != ($error eq 'Invalid sender')
        : 0;

    return $self->wrong($op, 'it is the owner, or is not') if $wrong;

    return $self->registered($op) if $command eq 'registerParticipant';

    if ($command eq 'unregisterParticipant' && $error eq '') {
        my $claim = delete $mine->{$name};

        @$claim{qw/ to left /} = @$op{qw/ sent answered /};

    } elsif ($command eq 'send' && $error eq '') {
        return $self->wrong($op, 'what it sends to itself comes first')
            if $mine->{ $op->{params}{dest} }
                && !$self->{got}{ $op->{params}{body} };
    }

    return;
}


sub registered {
    my ($self, $op) = @_;

    return if defined $op->{error};

    my $claim = {
        life  => $op->{life},
        name  => $op->{params}{name},
        asked => $op->{sent},
        from  => $op->{answered} // FOREVER,
        to    => FOREVER,
        left  => FOREVER,
    };

    push @{ $self->{claims}{ $claim->{name} } }, $claim;
    mine($op->{life})->{ $claim->{name} } = $claim;

    return;
}


sub notified {
    my ($self, $life, $m) = @_;

    my $number = $m->{body};
    my $got = $self->{got};

    return $self->{crowd}->wrong("$life->{name}: message $number again")
        if $got->{$number};

    push @{ $life->{received} }, $number;
    $got->{$number} = { life => $life, dest => $m->{dest},
        sender => $m->{sender} };

    return;
}


# what was not answered has happened, perhaps

sub ended {
    my ($self, $life) = @_;

    for my $op (grep { $_->{rule} == $self } @{ $life->{out} }) {
        $self->registered($op) if $op->{command} eq 'registerParticipant'
            && !mine($life)->{ $op->{params}{name} };

        next if $op->{command} ne 'unregisterParticipant';

        my $claim = mine($life)->{ $op->{params}{name} } or next;
        $claim->{to} = min($claim->{to}, $op->{sent});
    }

    push @{ $self->{ops} }, grep { $_->{rule} == $self } @{ $life->{out} };

    return;
}


sub held {
    my ($self) = @_;

    return { map { $_ => 1 } map { keys %{ mine($_) } }
        $self->{crowd}->living() };
}


sub pictures {
    return ();
}


sub fresh {
    my ($self, $c) = @_;

    my $r = $c->rpc($self->{service}, 'listParticipants', {});

    return { map { ("\"$_\"" => 1) } @{ $r->{data} || [] } };
}


# --- afterwards -------------------------------------------------------------

sub wrong {
    my ($self, $op, $why) = @_;

    return $self->{crowd}->wrong(join ' ', "$op->{life}{name}:",
        $op->{command}, (map { "$_ $op->{params}{$_}" }
            sort keys %{ $op->{params} }),
        'is answered', $op->{error} // $op->{data} // 'not at all',
        "[$op->{sent}, " . ($op->{answered} // '') . "]: $why");
}


sub verify {
    my ($self) = @_;

    for my $claims (values %{ $self->{claims} }) {
        $_->{sure} = min($_->{to}, Snorky::Model::Crowd::sure($_->{life}))
            for @$claims;

        $self->check_claims(grep { $_->{from} < $_->{sure} } @$claims);
    }

    for my $op (@{ $self->{ops} }) {
        $self->check_delivery($op) if $op->{command} eq 'send';
        $self->check_answer($op) if defined $op->{answered};
    }

    return $self->check_order();
}


sub check_claims {
    my ($self, @claims) = @_;

    my $last;

    for my $claim (sort { $a->{from} <=> $b->{from} } @claims) {
        $self->{crowd}->wrong("$claim->{name}: $claim->{life}{name} has it "
            . "[$claim->{from}, $claim->{sure}], as has $last->{life}{name} "
            . "[$last->{from}, $last->{sure}]")
            if $last && $claim->{from} < $last->{sure};

        $last = $claim if !$last || $claim->{sure} > $last->{sure};
    }

    return;
}


# the claims that the name had during all of the operation (some of it)

sub surely {
    my ($self, $name, $op) = @_;

    return grep { $_->{from} < $op->{sent} && $_->{sure} > $op->{answered} }
        @{ $self->{claims}{$name} || [] };
}


sub possibly {
    my ($self, $name, $op) = @_;

    my $answered = $op->{answered} // FOREVER;

    return grep { $_->{asked} < $answered && $_->{left} > $op->{sent} }
        @{ $self->{claims}{$name} || [] };
}


sub check_answer {
    my ($self, $op) = @_;

    my $error = $op->{error};
    my $name = $op->{params}{name} // $op->{params}{dest};

    return $self->check_list($op) if $op->{command} eq 'listParticipants';

    if (!defined $error) {
        return unless $op->{command} eq 'send';
        return $self->wrong($op, 'nobody had that name')
            unless $self->possibly($name, $op);
        return;
    }

    if ($error =~ /^(?:Name already registered|Invalid participant)$/) {
        return $self->wrong($op, 'nobody had that name')
            unless $self->possibly($name, $op);

    } elsif ($error =~ /^Unknown (?:participant|destination)$/) {
        return $self->wrong($op, 'somebody had that name')
            if $self->surely($name, $op);

    } elsif ($error ne 'Invalid sender') {
        return $self->wrong($op, 'why?');
    }

    return;
}


sub check_list {
    my ($self, $op) = @_;

    my @list = @{ elements($op->{data}) || [] };
    my %has = map { $_ => 1 } @list;

    for my $name (@{ $self->{names} }) {
        $self->wrong($op, "$name is not there")
            if !$has{$name} && $self->surely($name, $op);
        $self->wrong($op, "$name is there")
            if delete $has{$name} && !$self->possibly($name, $op);
    }

    $self->wrong($op, 'unknown names') if %has;
    $self->wrong($op, 'not sorted') if "@list" ne join ' ', sort @list;

    return;
}


sub check_delivery {
    my ($self, $op) = @_;

    my $got = $self->{got}{ $op->{params}{body} };
    my @owners = $self->possibly($op->{params}{dest}, $op);

    if ($got) {
        return $self->wrong($op, 'and yet it was delivered')
            if defined $op->{error};

        return $self->wrong($op, "it was delivered to $got->{life}{name}")
            if $got->{dest} ne $op->{params}{dest}
                || $got->{sender} ne $op->{params}{sender}
                || !grep { $_->{life} == $got->{life} } @owners;

        return;
    }

    # who has gone did not read all

    return if !defined $op->{answered} || defined $op->{error}
        || grep { defined $_->{life}{until} } @owners;

    return $self->wrong($op, 'it was not delivered');
}


# from one life to another, in the order of sending

sub check_order {
    my ($self) = @_;

    my (%from, %last);

    $from{ $_->{params}{body} } = $_->{life}{number}
        for grep { $_->{command} eq 'send' } @{ $self->{ops} };

    for my $life (@{ $self->{crowd}{lives} }) {
        for my $number (@{ $life->{received} || [] }) {
            my $pair = "$life->{number} $from{$number}";

            $self->{crowd}->wrong("$life->{name}: $number after $last{$pair}")
                if $number < ($last{$pair} // 0);
            $last{$pair} = $number;
        }
    }

    return;
}


1;
