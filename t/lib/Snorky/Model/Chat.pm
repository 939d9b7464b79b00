package Snorky::Model::Chat;

# Copyright (C) The ngx_snorky_module authors
#
# The model of chat (see Snorky::Model).  Several clients may have the same
# identity; two services have the same channels and do not mix.

use strict;
use warnings;

use base qw/ Snorky::Model /;

use Snorky::Model qw/ @KEYS pick form random_body one_of /;


our $SERVICES = join "\n    ", 'snorky_service chat chat;',
    'snorky_service chat other;';


# Of a channel, by service and key: { members }, the identities in the order
# in which they joined, and { clients }, who has joined, by number.

sub begin {
    my ($self) = @_;

    $self->{channels} = { chat => {}, other => {} };

    return;
}


sub channel {
    my ($self, $service, $key) = @_;

    return $self->{channels}{$service}{$key} //=
        { members => [], clients => {} };
}


sub held {
    my ($self, $client) = @_;

    return scalar grep { $_->{clients}{ $client->{number} } }
        map { values %$_ } values %{ $self->{channels} };
}


sub step {
    my ($self, $client) = @_;

    my $service = pick(qw/ chat chat chat other /);
    my $key = int rand 8;

    # so that some are busy, and some are empty

    $key = pick(3, 3, 5, 6) if $key > 5;

    my $channel = $self->channel($service, $key);
    my $dice = rand;

    return $self->join_($client, $service, $channel, $key) if $dice < 0.25;
    return $self->leave($client, $service, $channel, $key) if $dice < 0.4;
    return $self->post($client, $service, $channel, $key) if $dice < 0.85;
    return $self->seen($client, $service, $channel, $key) if $dice < 0.97;

    return $self->mistake($client, $service, pick(qw/ join leave read /),
        { channel => form($key) });
}


sub join_ {
    my ($self, $client, $service, $channel, $key) = @_;

    my $text = form($key);
    my $me = $client->{me};

    my $error = !defined $me ? 'Not authenticated'
        : $channel->{clients}{ $client->{number} } ? 'Already joined' : undef;

    if (defined $me && $self->held($client) >= $self->{limit}) {
        return $self->seen($client, $service, $channel, $key)
            if defined $error;
        $error = 'Too many subscriptions';
    }

    return $self->call($client, $service, 'join', { channel => $text },
        { error => $error }) if defined $error;

    if (!grep { $_ eq $me } @{ $channel->{members} }) {
        $self->tell($channel, $service,
            $self->presence($client, 'joined', $text));
        push @{ $channel->{members} }, $me;
    }

    $channel->{clients}{ $client->{number} } = $client;

    return $self->call($client, $service, 'join', { channel => $text },
        { data => { members => [ @{ $channel->{members} } ] } });
}


sub presence {
    my ($self, $client, $status, $channel) = @_;

    return {
        type      => '"presence"',
        from      => $client->{me},
        channel   => $channel,
        status    => "\"$status\"",
        timestamp => $self->timestamp(),
    };
}


# to all who have joined

sub tell {
    my ($self, $channel, $service, $message, $group) = @_;

    $self->expect($_, $service, $message, $group)
        for values %{ $channel->{clients} };

    return;
}


# takes the client out; true when it was the last one of its identity

sub remove {
    my ($channel, $client) = @_;

    delete $channel->{clients}{ $client->{number} } or return 0;

    return 0 if grep { $_->{me} eq $client->{me} }
        values %{ $channel->{clients} };

    @{ $channel->{members} } = grep { $_ ne $client->{me} }
        @{ $channel->{members} };

    return 1;
}


sub leave {
    my ($self, $client, $service, $channel, $key) = @_;

    my $text = form($key);

    return $self->call($client, $service, 'leave', { channel => $text },
        { error => 'Not joined' })
        unless $channel->{clients}{ $client->{number} };

    $self->tell($channel, $service,
        $self->presence($client, 'left', $text))
        if remove($channel, $client);

    return $self->call($client, $service, 'leave', { channel => $text }, {});
}


sub post {
    my ($self, $client, $service, $channel, $key) = @_;

    # where one has joined, more often than not

    my @mine = grep { $self->channel($service, $_)
        ->{clients}{ $client->{number} } } 0 .. $#KEYS;

    if (@mine && rand() < 0.9) {
        $key = pick(@mine);
        $channel = $self->channel($service, $key);
    }

    my %params = (channel => form($key), body => random_body());

    return $self->call($client, $service, 'send', \%params,
        { error => 'Not joined' })
        unless $channel->{clients}{ $client->{number} };

    $self->tell($channel, $service, {
        type      => '"message"',
        from      => $client->{me},
        timestamp => $self->timestamp(),
        %params,
    });

    return $self->call($client, $service, 'send', \%params, {});
}


sub seen {
    my ($self, $client, $service, $channel, $key) = @_;

    my $text = form($key);
    my $time = $self->timestamp();

    for my $other (values %{ $channel->{clients} }) {
        next if $other == $client || $other->{me} ne ($client->{me} // '');

        $self->expect($other, $service,
            { type => '"read"', channel => $text, timestamp => $time });
    }

    # to whom it says nothing, it is not a part of what is said

    return $self->call($client, $service, 'read', { channel => $text },
        defined $client->{me} ? {} : { alone => 1 });
}


sub gone {
    my ($self, $client) = @_;

    my $group = $self->group();

    for my $service (keys %{ $self->{channels} }) {
        my $channels = $self->{channels}{$service};

        for my $key (keys %$channels) {
            $self->tell($channels->{$key}, $service, $self->presence(
                $client, 'left', one_of(@{ $KEYS[$key] })), $group)
                if remove($channels->{$key}, $client);
        }
    }

    return;
}


# One that nobody is in.  What was told before it is here with its answer.

sub probe {
    my ($self, $client) = @_;

    $self->seen($client, $_, $self->channel($_, $#KEYS), $#KEYS)
        for sort keys %{ $self->{channels} };

    return;
}


1;
