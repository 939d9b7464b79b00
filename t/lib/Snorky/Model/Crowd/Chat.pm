package Snorky::Model::Crowd::Chat;

# Copyright (C) The ngx_snorky_module authors
#
# The rules of chat in a crowd (see Snorky::Model::Crowd).  What a member is
# told from the answer to its join on fits together: nobody joins twice or
# leaves twice, who speaks is there; nothing of a speaker is missing; and all
# see one order.
#
# A stay is a life's time in a channel: { life channel asked from to left
# members bodies heard }, where it joined at some time between "asked" and
# "from", and left between "to" and "left".

use strict;
use warnings;

use List::Util qw/ min /;

use Snorky::Model qw/ pick elements members /;
use Snorky::Model::Crowd;

use constant FOREVER => Snorky::Model::Crowd::FOREVER;


sub new {
    my ($class, %o) = @_;

    return bless {
        service  => 'chat',
        channels => [ map { "\"c$_\"" } 0 .. 5 ],
        stays    => {},         # by channel
        said     => {},         # by channel and life, the operations
        events   => {},         # by life, what it was told
        number   => 0,
        %o,
    }, $class;
}


# the stays of a life, by channel, as of the last answer

sub mine {
    my ($life) = @_;

    return $life->{of}{chat} //= {};
}


sub act {
    my ($self, $life) = @_;

    my @mine = keys %{ mine($life) };
    my $channel = pick(@{ $self->{channels} });
    my $own = @mine && rand() < 0.95 ? pick(@mine) : $channel;
    my $dice = rand;

    return { command => 'join', params => { channel => $channel } }
        if $dice < 0.12;
    return { command => 'leave', params => { channel => $own } }
        if $dice < 0.2;
    return { command => 'read', params => { channel => $own } }
        if $dice < 0.23;

    return {
        command => 'send',
        params  => { channel => $own, body => ++$self->{number} },
    };
}


sub farewell {
    return { command => 'join', params => { channel => '"end"' } };
}


sub answered {
    my ($self, $op) = @_;

    my $mine = mine($op->{life});
    my $command = $op->{command};
    my $channel = $op->{params}{channel};
    my $stay = $mine->{$channel};

    my $error = $command eq 'join' ? $stay && 'Already joined'
        : $command ne 'read' ? !$stay && 'Not joined' : undef;

    return $self->wrong($op, 'not ' . ($error || 'that'))
        if ($op->{error} // '') ne ($error || '');

    push @{ $self->{said}{$channel}{ $op->{life}{number} } }, $op
        if $command eq 'send' && !$error;

    return if $error;

    return $self->joined($op) if $command eq 'join';

    if ($command eq 'leave') {
        @$stay{qw/ to left /} = @$op{qw/ sent answered /};
        delete $mine->{$channel};

    } elsif ($command eq 'send') {
        return $self->wrong($op, 'its own message comes first')
            if !$stay->{heard}{ $op->{params}{body} };
    }

    return;
}


sub joined {
    my ($self, $op) = @_;

    my $life = $op->{life};
    my $channel = $op->{params}{channel};

    my $stay = {
        life    => $life,
        name    => "$life->{name} in $channel",
        channel => $channel,
        asked   => $op->{sent},
        from    => $op->{answered} // FOREVER,
        to      => FOREVER,
        left    => FOREVER,
        members => {},
        heard   => {},
    };

    push @{ $self->{stays}{$channel} }, $stay;
    mine($life)->{$channel} = $stay;

    return if !defined $op->{answered};

    my $data = members($op->{data}) || {};
    my @members = @{ elements($data->{members}) || [] };

    $stay->{members}{$_}++ for @members;
    $stay->{snapshot} = { %{ $stay->{members} } };

    return $self->wrong($op, 'that list')
        if !$stay->{members}{ $life->{me} }
            || keys %{ $stay->{members} } != @members;
}


sub notified {
    my ($self, $life, $m) = @_;

    my $crowd = $self->{crowd};
    my $channel = $m->{channel};
    my $stay = mine($life)->{$channel};
    my $text = join ' ', map { "$_ $m->{$_}" } sort keys %$m;

    return $crowd->wrong("$life->{name}: $text, where it is no member")
        if !$stay;

    if ($m->{type} eq '"read"') {
        return;

    } elsif ($m->{type} eq '"message"') {
        return $crowd->wrong("$stay->{name}: $text, of no member")
            if !$stay->{members}{ $m->{from} };

        push @{ $self->{events}{ $life->{number} } }, $m->{body};
        push @{ $stay->{bodies} }, [ $m->{body}, $m->{from} ];
        $stay->{heard}{ $m->{body} } = 1;

        return;
    }

    my $there = $stay->{members}{ $m->{from} };

    push @{ $self->{events}{ $life->{number} } },
        "$channel $m->{from} $m->{status} $m->{timestamp}";

    if ($m->{status} eq '"joined"') {
        return $crowd->wrong("$stay->{name}: $text, who is there")
            if $there;
        $stay->{members}{ $m->{from} } = 1;

    } elsif ($m->{status} eq '"left"') {
        return $crowd->wrong("$stay->{name}: $text, who is not there")
            if !$there;
        delete $stay->{members}{ $m->{from} };

    } else {
        $crowd->wrong("$stay->{name}: $text");
    }

    return;
}


# what was not answered has happened, perhaps

sub ended {
    my ($self, $life) = @_;

    for my $op (grep { $_->{rule} == $self } @{ $life->{out} }) {
        my $channel = $op->{params}{channel};
        my $stay = mine($life)->{$channel};

        if ($op->{command} eq 'join') {
            $self->joined($op) if !$stay;

        } elsif ($op->{command} eq 'leave') {
            $stay->{to} = min($stay->{to}, $op->{sent}) if $stay;

        } elsif ($op->{command} eq 'send') {
            push @{ $self->{said}{$channel}{ $life->{number} } }, $op;
        }
    }

    return;
}


sub held {
    my ($self) = @_;

    my %held;

    for my $life ($self->{crowd}->living()) {
        $held{"$_ $life->{me}"} = 1 for keys %{ mine($life) };
    }

    return \%held;
}


sub pictures {
    my ($self) = @_;

    return map {
        my $life = $_;

        map {
            my $stay = $_;

            [ $stay->{name}, { map { ("$stay->{channel} $_" => 1) }
                keys %{ $stay->{members} } }, "$stay->{channel} " ]
        } values %{ mine($life) }
    } $self->{crowd}->living();
}


sub fresh {
    my ($self, $c) = @_;

    my %facts;

    for my $channel (@{ $self->{channels} }, '"end"') {
        my $params = "{\"channel\":$channel}";
        my $r = $c->rpc($self->{service}, 'join', \$params);

        $facts{"$channel \"$_\""} = 1 for grep { $_ ne 'fresh' }
            @{ ($r->{data} || {})->{members} || [] };

        $c->rpc($self->{service}, 'leave', \$params);
    }

    return \%facts;
}


# --- afterwards -------------------------------------------------------------

sub wrong {
    my ($self, $op, $why) = @_;

    return $self->{crowd}->wrong("$op->{life}{name}: $op->{command} "
        . "$op->{params}{channel} is answered "
        . ($op->{error} // $op->{data}) . ": $why");
}


sub verify {
    my ($self) = @_;

    for my $channel (keys %{ $self->{stays} }) {
        my @stays = @{ $self->{stays}{$channel} };

        $_->{sure} = min($_->{to}, Snorky::Model::Crowd::sure($_->{life}))
            for @stays;

        # who has said what

        my %op = map { $_->{params}{body} => $_ }
            map { @$_ } values %{ $self->{said}{$channel} || {} };

        for my $stay (@stays) {
            next unless $stay->{snapshot};

            $self->check_snapshot($stay, @stays);
            $self->check_messages($stay, \%op);
        }
    }

    return $self->{crowd}->one_order('channels', values %{ $self->{events} });
}


sub check_snapshot {
    my ($self, $stay, @stays) = @_;

    my (%surely, %possibly);

    for my $other (@stays) {
        my $me = $other->{life}{me};

        $surely{$me} = 1 if $other->{from} < $stay->{asked}
            && $other->{sure} > $stay->{from};
        $possibly{$me} = 1 if $other->{asked} < $stay->{from}
            && $other->{left} > $stay->{asked};
    }

    my @less = grep { !$stay->{snapshot}{$_} } keys %surely;
    my @more = grep { !$possibly{$_} } keys %{ $stay->{snapshot} };

    $self->{crowd}->wrong("$stay->{name}: joins without @less")
        if @less;
    $self->{crowd}->wrong("$stay->{name}: joins with @more")
        if @more;

    return;
}


# of each speaker, a part without a gap of what it has said

sub check_messages {
    my ($self, $stay, $op) = @_;

    my $crowd = $self->{crowd};
    my %heard;

    for my $said (@{ $stay->{bodies} || [] }) {
        my ($body, $from) = @$said;
        my $op = $op->{$body};

        return $crowd->wrong("$stay->{name}: $body, which $from has not said")
            if !$op || $op->{life}{me} ne $from;

        push @{ $heard{ $op->{life}{number} } }, $body;
    }

    my $all = $self->{said}{ $stay->{channel} } || {};

    for my $number (keys %$all) {
        my @ops = @{ $all->{$number} };
        my @bodies = @{ $heard{$number} || [] };

        # those that it must have heard, and those that it can have; who has
        # lost its connection has not read all

        my $until = $stay->{left} < FOREVER ? $stay->{to}
            : defined $stay->{life}{until} ? 0 : FOREVER;

        my @must = grep { $_->{sent} > $stay->{from}
            && defined $_->{answered} && $_->{answered} < $until } @ops;
        my @can = map { $_->{params}{body} } grep {
            ($_->{answered} // FOREVER) > $stay->{asked}
                && $_->{sent} < $stay->{left} } @ops;

        my $first = $bodies[0] // $must[0] && $must[0]{params}{body};

        next if !defined $first;

        shift @can while @can && $can[0] != $first;

        my $run = "@can[0 .. min($#can, $#bodies)]";

        return $crowd->wrong("$stay->{name}: hears @bodies of [@can], "
            . "which life $number has said")
            if $run ne "@bodies"
                || @must && ($must[0]{params}{body} < $first
                    || $must[-1]{params}{body} > ($bodies[-1] // 0));
    }

    return;
}


1;
