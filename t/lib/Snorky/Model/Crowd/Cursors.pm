package Snorky::Model::Crowd::Cursors;

# Copyright (C) The ngx_snorky_module authors
#
# The rules of cursors in a crowd (see Snorky::Model::Crowd).  A cursor's
# position is the number of its owner and that of its update: from what a
# member was told at its join on, it sees every update, up to the removal,
# once and in order.  And all see one order.
#
# A life's view of a document is { document cursors leaving }, where a cursor
# is [ owner, number ] by its handle.

use strict;
use warnings;

use Snorky::Model qw/ pick elements members /;
use Snorky::Model::Crowd;


sub new {
    my ($class, %o) = @_;

    return bless {
        service   => 'cursors',
        documents => [ map { "\"d$_\"" } 0 .. 4 ],
        most      => 4,         # max_cursors
        events    => {},        # by life, what it was told
        handles   => {},
        %o,
    }, $class;
}


# a life's: { views }, by document, as of the last answer; { cursors }, its
# own, { document number handle settled leaving } by their private handles:
# one without a handle is not there yet, one that is settled can be updated

sub mine {
    my ($life) = @_;

    return $life->{of}{cursors} //= { views => {}, cursors => {} };
}


sub act {
    my ($self, $life) = @_;

    my $mine = mine($life);
    my @joined = grep { !$mine->{views}{$_}{leaving} }
        keys %{ $mine->{views} };
    my $document = pick(@{ $self->{documents} });
    my $dice = rand;

    return { command => 'join', params => { document => $document } }
        if $dice < 0.1 || !@joined;

    $document = pick(@joined) if rand() < 0.95;

    return $self->leave($life, $document) if $dice < 0.14;
    return $self->create($life, $document) if $dice < 0.3;

    my @private = grep { $mine->{cursors}{$_}{settled} }
        keys %{ $mine->{cursors} };

    return $self->create($life, $document) if !@private;

    my $private = pick(@private);
    my $cursor = $mine->{cursors}{$private};

    if ($dice < 0.37) {
        delete $cursor->{settled};
        $cursor->{leaving} = 1;

        return {
            command => 'removeCursor',
            params  => { privateHandle => $private },
        };
    }

    return {
        command => 'updateCursor',
        params  => {
            privateHandle => $private,
            newData       => "{\"position\":"
                . position($life, ++$cursor->{number}) . '}',
        },
    };
}


sub position {
    my ($life, $number) = @_;

    return "[$life->{number},$number]";
}


sub leave {
    my ($self, $life, $document) = @_;

    my $mine = mine($life);
    my $view = $mine->{views}{$document};

    $view->{leaving} = 1 if $view;

    # it no longer knows of its cursors there what can be done to them

    for (values %{ $mine->{cursors} }) {
        next if $_->{document} ne $document;

        delete $_->{settled};
        $_->{leaving} = 1;
    }

    return { command => 'leave', params => { document => $document } };
}


# with a private handle of its own, so that it is reused on purpose only

sub create {
    my ($self, $life, $document) = @_;

    my $mine = mine($life);
    my @private = keys %{ $mine->{cursors} };
    my $again = @private && rand() < 0.05;
    my $private = $again ? pick(@private) : ++$mine->{number};

    my $op = {
        command => 'createCursor',
        params  => {
            privateHandle => $private,
            document      => $document,
            position      => position($life, 0),
            status        => '"s"',
        },
    };

    # as it stands then; what is on its way before it may change it

    $op->{fresh} = !$again;

    $mine->{cursors}{$private} = { document => $document, number => 0 }
        if !$again;

    return $op;
}


sub farewell {
    return { command => 'join', params => { document => '"end"' } };
}


sub answered {
    my ($self, $op) = @_;

    my $mine = mine($op->{life});
    my $command = $op->{command};
    my $document = $op->{params}{document};
    my $private = $op->{params}{privateHandle};
    my $error = $op->{error};

    if ($command eq 'join') {
        return $self->joined($op) if !$mine->{views}{$document};
        return $self->wrong($op, 'it has joined')
            if ($error // '') ne 'Already joined';

    } elsif ($command eq 'leave') {
        return $self->left($op) if $mine->{views}{$document};
        return $self->wrong($op, 'it has not joined')
            if ($error // '') ne 'Not joined';

    } elsif ($command eq 'createCursor') {
        return $self->created($op);

    } elsif (defined $error) {
        return $self->wrong($op, 'it has that cursor');

    } elsif ($command eq 'removeCursor') {
        delete $mine->{cursors}{$private};
    }

    return;
}


sub joined {
    my ($self, $op) = @_;

    my $document = $op->{params}{document};
    my $life = $op->{life};

    my $view = {
        name     => "$life->{name} in $document",
        document => $document,
        cursors  => {},
    };

    mine($life)->{views}{$document} = $view;

    my $data = members($op->{data}) || {};
    my $list = elements($data->{cursors})
        or return $self->wrong($op, 'what list?');

    for my $cursor (map { members($_) || {} } @$list) {
        my ($owner, $number) = ($cursor->{position} // '')
            =~ /^\[(\d+),(\d+)\]$/ or return $self->wrong($op, 'whose?');

        return $self->wrong($op, 'one twice, or its own')
            if $view->{cursors}{ $cursor->{publicHandle} }
                || $owner == $life->{number};

        $view->{cursors}{ $cursor->{publicHandle} } = [ $owner, $number ];
    }

    return;
}


sub left {
    my ($self, $op) = @_;

    my $mine = mine($op->{life});
    my $document = $op->{params}{document};

    return $self->wrong($op, 'it has joined') if defined $op->{error};

    # those that were made before it was left; others have failed, or will

    for my $private (keys %{ $mine->{cursors} }) {
        my $cursor = $mine->{cursors}{$private};

        delete $mine->{cursors}{$private}
            if $cursor->{document} eq $document && defined $cursor->{handle};
    }

    delete $mine->{views}{$document};

    return;
}


sub created {
    my ($self, $op) = @_;

    my $mine = mine($op->{life});
    my ($document, $private) = @{ $op->{params} }{qw/ document
        privateHandle /};
    my $error = $op->{error} // '';

    my $cursor = $mine->{cursors}{$private};
    my $made = grep { defined $_->{handle} } values %{ $mine->{cursors} };

    my $wanted = !$mine->{views}{$document} ? 'Not joined'
        : $cursor && defined $cursor->{handle} ? 'Reused handle'
        : $made >= $self->{most} ? 'Too many cursors' : '';

    return $self->wrong($op, "not '$wanted'") if $error ne $wanted;

    if ($error) {
        delete $mine->{cursors}{$private}
            if $op->{fresh} && !defined $cursor->{handle};
        return;
    }

    # a handle that was to be reused, and was free again

    $cursor = $mine->{cursors}{$private} ||= { number => 0 };

    $cursor->{document} = $document;
    $cursor->{handle} = $op->{data};
    $cursor->{settled} = 1 unless delete $cursor->{leaving}
        || $mine->{views}{$document}{leaving};

    return $self->wrong($op, 'what handle?') if $op->{data} !~ /^\d{1,16}$/;
    return $self->wrong($op, 'that handle again')
        if $self->{handles}{"$document $op->{data}"}++;

    return;
}


sub notified {
    my ($self, $life, $m) = @_;

    my $crowd = $self->{crowd};
    my $cursor = members($m->{cursor}) || {};
    my ($document, $handle) = map { $_ // '' }
        @$cursor{qw/ document publicHandle /};
    my $view = mine($life)->{views}{$document};
    my $text = "$m->{type} $m->{cursor}";

    return $crowd->wrong("$life->{name}: $text, where it is no member")
        if !$view;

    my $seen = $view->{cursors}{$handle};

    if ($m->{type} eq '"cursorRemoved"') {
        return $crowd->wrong("$view->{name}: $text, which is not there")
            if !$seen;

        delete $view->{cursors}{$handle};
        push @{ $self->{events}{ $life->{number} } },
            "$document $handle removed";

        return;
    }

    my ($owner, $number) = ($cursor->{position} // '') =~ /^\[(\d+),(\d+)\]$/
        or return $crowd->wrong("$view->{name}: $text, whose?");

    return $crowd->wrong("$view->{name}: $text, its own")
        if $owner == $life->{number};

    if ($m->{type} eq '"cursorAdded"') {
        return $crowd->wrong("$view->{name}: $text, which is there")
            if $seen || $number != 0;

    } elsif (!$seen || $seen->[0] != $owner || $seen->[1] != $number - 1) {
        return $crowd->wrong("$view->{name}: $text, after "
            . ($seen ? "[@$seen]" : 'nothing'));
    }

    $view->{cursors}{$handle} = [ $owner, $number ];
    push @{ $self->{events}{ $life->{number} } },
        "$document $handle $number";

    return;
}


sub ended {
    return;
}


sub held {
    my ($self) = @_;

    my %held;

    for my $life ($self->{crowd}->living()) {
        for my $cursor (values %{ mine($life)->{cursors} }) {
            $held{"$cursor->{document} $cursor->{handle} "
                . "$life->{number} $cursor->{number}"} = 1
                if defined $cursor->{handle};
        }
    }

    return \%held;
}


# what others have, by what it was told, and its own

sub pictures {
    my ($self) = @_;

    my @pictures;

    for my $life ($self->{crowd}->living()) {
        my $mine = mine($life);

        for my $view (values %{ $mine->{views} }) {
            my $document = $view->{document};

            my %facts = map {
                ("$document $_ @{ $view->{cursors}{$_} }" => 1)
            } keys %{ $view->{cursors} };

            $facts{"$document $_->{handle} $life->{number} $_->{number}"} = 1
                for grep { defined $_->{handle}
                    && $_->{document} eq $document }
                    values %{ $mine->{cursors} };

            push @pictures, [ $view->{name}, \%facts, "$document " ];
        }
    }

    return @pictures;
}


sub fresh {
    my ($self, $c) = @_;

    my %facts;

    for my $document (@{ $self->{documents} }, '"end"') {
        my $params = "{\"document\":$document}";
        my $r = $c->rpc($self->{service}, 'join', \$params);

        $facts{join ' ', $document, $_->{publicHandle},
            @{ $_->{position} }} = 1 for @{ ($r->{data} || {})->{cursors}
                || [] };

        $c->rpc($self->{service}, 'leave', \$params);
    }

    return \%facts;
}


sub wrong {
    my ($self, $op, $why) = @_;

    return $self->{crowd}->wrong(join ' ', "$op->{life}{name}:",
        $op->{command}, (map { "$_ $op->{params}{$_}" }
            sort keys %{ $op->{params} }),
        'is answered', $op->{error} // $op->{data}, "- $why");
}


sub verify {
    my ($self) = @_;

    return $self->{crowd}->one_order('documents',
        values %{ $self->{events} });
}


1;
