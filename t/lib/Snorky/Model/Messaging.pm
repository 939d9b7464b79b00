package Snorky::Model::Messaging;

# Copyright (C) The ngx_snorky_module authors
#
# The model of messaging (see Snorky::Model): three services with a policy
# each, "messaging", where all names are allowed, "own", where only one's
# identity is, and "pattern".

use strict;
use warnings;

use base qw/ Snorky::Model /;

use Snorky;
use Snorky::Model qw/ @KEYS pick form random_body /;


# the names of "pattern", and what it is in the configuration

my $pattern = qr/^(?:user\d|\x{e9}|a.b)/;

our $SERVICES = join "\n    ",
    'snorky_service messaging messaging;',
    'snorky_service messaging own names=identity;',
    "snorky_service messaging pattern \"names=^(user[0-9]|\xc3\xa9|a.b)\";";


# the owner of a name: { client, text }, by service and key

sub begin {
    my ($self) = @_;

    $self->{owner} = { map { $_ => {} } qw/ messaging own pattern / };

    return;
}


sub allowed {
    my ($client, $service, $key) = @_;

    return 1 if $service eq 'messaging';

    my $name = decode($KEYS[$key][0]);
    my $string = $KEYS[$key][0] =~ /^"/;

    return $string && $name =~ $pattern if $service eq 'pattern';

    return $string && defined $client->{me} && $KEYS[$key][0] eq $client->{me};
}


# how many subscriptions the client's names are

sub held {
    my ($self, $client) = @_;

    return scalar grep { $_->{client} == $client }
        map { values %$_ } values %{ $self->{owner} };
}


sub mine {
    my ($owner, $client) = @_;

    return grep { $owner->{$_}{client} == $client }
        sort { $a <=> $b } keys %$owner;
}


sub step {
    my ($self, $client) = @_;

    my $service = pick(qw/ messaging messaging messaging own pattern /);
    my $owner = $self->{owner}{$service};
    my $key = int rand @KEYS;
    my $dice = rand;

    return $self->register($client, $service, $owner, $key) if $dice < 0.3;
    return $self->unregister($client, $service, $owner, $key) if $dice < 0.4;
    return $self->list($client, $service, $owner) if $dice < 0.46;
    return $self->post($client, $service, $owner) if $dice < 0.97;

    return $self->mistake($client, $service,
        pick(qw/ registerParticipant unregisterParticipant /),
        { name => form($key) }) if $dice < 0.98;

    return $self->mistake($client, $service, 'send',
        { sender => form($key), dest => form($key), body => 'null' });
}


sub register {
    my ($self, $client, $service, $owner, $key) = @_;

    my $name = form($key);

    my $error = $owner->{$key} ? 'Name already registered'
        : !allowed($client, $service, $key) ? 'Name not allowed' : undef;

    if ($self->held($client) >= $self->{limit}) {
        return $self->list($client, $service, $owner) if defined $error;
        $error = 'Too many subscriptions';
    }

    $owner->{$key} = { client => $client, text => $name }
        unless defined $error;

    return $self->call($client, $service, 'registerParticipant',
        { name => $name }, defined $error ? { error => $error } : {});
}


sub unregister {
    my ($self, $client, $service, $owner, $key) = @_;

    # one's own, more often than not

    my @mine = mine($owner, $client);

    $key = pick(@mine) if @mine && rand() < 0.6;

    my $error = !$owner->{$key} ? 'Unknown participant'
        : $owner->{$key}{client} != $client ? 'Invalid participant' : undef;

    delete $owner->{$key} unless defined $error;

    return $self->call($client, $service, 'unregisterParticipant',
        { name => form($key) }, defined $error ? { error => $error } : {});
}


sub list {
    my ($self, $client, $service, $owner) = @_;

    return $self->call($client, $service, 'listParticipants', {}, {
        data => [ map { $owner->{$_}{text} } sort { $a <=> $b }
            keys %$owner ],
    });
}


sub post {
    my ($self, $client, $service, $owner) = @_;

    my @mine = mine($owner, $client);

    return $self->register($client, $service, $owner, int rand @KEYS)
        if !@mine && rand() < 0.8;

    my @known = sort { $a <=> $b } keys %$owner;

    my $sender = @mine && rand() < 0.9 ? pick(@mine) : int rand @KEYS;
    my $dest = @known && rand() < 0.9 ? pick(@known) : int rand @KEYS;

    my %params = (sender => form($sender), dest => form($dest),
        body => random_body());

    my $error = !$owner->{$sender} || $owner->{$sender}{client} != $client
        ? 'Invalid sender'
        : !$owner->{$dest} ? 'Unknown destination' : undef;

    $self->expect($owner->{$dest}{client}, $service,
        { type => '"message"', %params }) unless defined $error;

    return $self->call($client, $service, 'send', \%params,
        defined $error ? { error => $error } : {});
}


sub gone {
    my ($self, $client) = @_;

    for my $owner (values %{ $self->{owner} }) {
        delete @$owner{ mine($owner, $client) };
    }

    return;
}


# no notification tells it: another looks at the list of all services

sub noticed {
    my ($self, $client) = @_;

    my $other = pick($self->connected()) or return 1;

    for my $service (keys %{ $self->{owner} }) {
        my $names = keys %{ $self->{owner}{$service} };
        my $r = $other->{c}->rpc($service, 'listParticipants', {});

        $self->wrong("$other->{name} is told what is not for it")
            if $other->{c}->notifications();

        return 0 unless $r && @{ $r->{data} } == $names;
    }

    return 1;
}


sub probe {
    my ($self, $client) = @_;

    return $self->list($client, $_, $self->{owner}{$_})
        for keys %{ $self->{owner} };
}


1;
