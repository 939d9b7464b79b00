package Snorky::Model::Cursors;

# Copyright (C) The ngx_snorky_module authors
#
# The model of cursors (see Snorky::Model): two services with the same
# documents, where a client may have $MAX cursors.

use strict;
use warnings;

use base qw/ Snorky::Model /;

use List::Util qw/ shuffle /;

use Snorky::Model qw/ @KEYS pick form random_body unknown one_of bag /;


our $MAX = 4;

our $SERVICES = join "\n    ",
    "snorky_service cursors cursors max_cursors=$MAX;",
    "snorky_service cursors other max_cursors=$MAX;";


# By service: { members }, by document and client's number, and { cursors },
# a list of { client key document handle position status }.

sub begin {
    my ($self) = @_;

    $self->{of_service} = { map { $_ => { members => {}, cursors => [] } }
        qw/ cursors other / };
    $self->{handles} = {};

    return;
}


sub held {
    my ($self, $client) = @_;

    return scalar grep { $_->{ $client->{number} } }
        map { values %{ $_->{members} } } values %{ $self->{of_service} };
}


sub mine {
    my ($state, $client) = @_;

    return grep { $_->{client} == $client } @{ $state->{cursors} };
}


sub named {
    my ($state, $client, $key) = @_;

    my ($cursor) = grep { $_->{key} == $key } mine($state, $client);

    return $cursor;
}


sub step {
    my ($self, $client) = @_;

    my $service = pick(qw/ cursors cursors cursors other /);
    my $state = $self->{of_service}{$service};
    my $dice = rand;

    # two busy documents, and some with few

    my $document = rand() < 0.6 ? pick(5, 6) : int rand 8;
    my $members = $state->{members}{$document} //= {};

    my @a = ($client, $service, $state, $document, $members);

    return $self->join_(@a) if $dice < 0.2;
    return $self->leave(@a) if $dice < 0.28;
    return $self->create(@a) if $dice < 0.5;
    return $self->update(@a) if $dice < 0.88;
    return $self->remove(@a) if $dice < 0.97;

    return $self->mistake($client, $service, 'createCursor', {
        privateHandle => form($document), document => form($document),
        position => 'null', status => 'null',
    }) if $dice < 0.98;

    return $self->mistake($client, $service, 'updateCursor',
        { privateHandle => form($document), newData => '{}' })
        if $dice < 0.99;

    my ($cursor) = mine($state, $client) or return $self->update(@a);

    return $self->call($client, $service, 'updateCursor', {
        privateHandle => form($cursor->{key}),
        newData       => pick('[]', 'null', '"position"', '1', 'true'),
    }, { error => 'Invalid params' });
}


# as it is told; the document in the caller's text, where there is one

sub cursor {
    my ($cursor, $document) = @_;

    return {
        publicHandle => $cursor->{handle},
        document     => $document // one_of(@{ $KEYS[$cursor->{document}] }),
        position     => $cursor->{position},
        status       => $cursor->{status},
        owner        => $cursor->{client}{me},
    };
}


sub removed {
    my ($cursor, $document) = @_;

    return {
        publicHandle => $cursor->{handle},
        document     => $document // one_of(@{ $KEYS[$cursor->{document}] }),
    };
}


# to the others in the document

sub tell {
    my ($self, $service, $client, $document, $type, $cursor, $group) = @_;

    my $members = $self->{of_service}{$service}{members}{$document};

    for my $other (values %$members) {
        next if $other == $client;

        $self->expect($other, $service,
            { type => "\"cursor$type\"", cursor => $cursor }, $group);
    }

    return;
}


sub join_ {
    my ($self, $client, $service, $state, $document, $members) = @_;

    my %params = (document => form($document));

    my $error = !defined $client->{me} ? 'Not authenticated'
        : $members->{ $client->{number} } ? 'Already joined' : undef;

    if (!defined $error && $self->held($client) >= $self->{limit}) {
        $error = 'Too many subscriptions';
    }

    return $self->call($client, $service, 'join', \%params,
        { error => $error }) if defined $error;

    $members->{ $client->{number} } = $client;

    return $self->call($client, $service, 'join', \%params, {
        data => { cursors => bag(map { cursor($_) }
            grep { $_->{document} == $document } @{ $state->{cursors} }) },
    });
}


# the client's cursors in the document are gone

sub drop {
    my ($self, $client, $service, $document, $text, $group) = @_;

    my $state = $self->{of_service}{$service};

    $self->tell($service, $client, $document, 'Removed',
        removed($_, $text), $group)
        for grep { $_->{document} == $document } mine($state, $client);

    @{ $state->{cursors} } = grep { $_->{document} != $document
        || $_->{client} != $client } @{ $state->{cursors} };

    delete $state->{members}{$document}{ $client->{number} };

    return;
}


sub leave {
    my ($self, $client, $service, $state, $document, $members) = @_;

    my %params = (document => form($document));

    return $self->call($client, $service, 'leave', \%params,
        { error => 'Not joined' }) unless $members->{ $client->{number} };

    $self->drop($client, $service, $document, undef, $self->group());

    return $self->call($client, $service, 'leave', \%params, {});
}


sub create {
    my ($self, $client, $service, $state, $document, $members) = @_;

    my @joined = grep { $state->{members}{$_}{ $client->{number} } }
        sort { $a <=> $b } keys %{ $state->{members} };

    $document = pick(@joined) if @joined && rand() < 0.8;
    $members = $state->{members}{$document};

    my $key = int rand 8;
    my %params = (
        privateHandle => form($key),
        document      => form($document),
        position      => random_body(),
        status        => random_body(),
    );

    my $error = !$members->{ $client->{number} } ? 'Not joined'
        : named($state, $client, $key) ? 'Reused handle'
        : mine($state, $client) >= $MAX ? 'Too many cursors' : undef;

    return $self->call($client, $service, 'createCursor', \%params,
        { error => $error }) if defined $error;

    my $cursor = {
        client   => $client,
        key      => $key,
        document => $document,
        position => $params{position},
        status   => $params{status},
        handle   => $self->handle($service, $document),
    };

    push @{ $state->{cursors} }, $cursor;

    $self->tell($service, $client, $document, 'Added',
        cursor($cursor, $params{document}));

    return $self->call($client, $service, 'createCursor', \%params,
        { data => $cursor->{handle} });
}


# not known, but an integer that JavaScript can hold, and not used before

sub handle {
    my ($self, $service, $document) = @_;

    return unknown(qr/^(?:0|[1-9]\d{0,15})\z/, sub {
        my ($text) = @_;

        return 'a large number' if $text > 2 ** 53 - 1;
        return $self->{handles}{"$service $document $text"}++
            ? 'a handle that has been used' : undef;
    });
}


sub update {
    my ($self, $client, $service, $state) = @_;

    my @mine = mine($state, $client);
    my $key = @mine && rand() < 0.9 ? pick(@mine)->{key} : int rand 8;
    my $cursor = named($state, $client, $key);

    # in any order, and with something that does not count

    my %new = map { $_ => random_body() }
        grep { rand() < 0.7 } qw/ position status publicHandle owner x /;

    my %params = (
        privateHandle => form($key),
        newData       => '{' . join(',', map { "\"$_\":$new{$_}" }
            shuffle(sort keys %new)) . '}',
    );

    return $self->call($client, $service, 'updateCursor', \%params,
        { error => 'No such cursor' }) unless $cursor;

    exists $new{$_} and $cursor->{$_} = $new{$_} for qw/ position status /;

    $self->tell($service, $client, $cursor->{document}, 'Updated',
        cursor($cursor));

    return $self->call($client, $service, 'updateCursor', \%params, {});
}


sub remove {
    my ($self, $client, $service, $state) = @_;

    my @mine = mine($state, $client);
    my $key = @mine && rand() < 0.9 ? pick(@mine)->{key} : int rand 8;
    my $cursor = named($state, $client, $key);
    my %params = (privateHandle => form($key));

    return $self->call($client, $service, 'removeCursor', \%params,
        { error => 'No such cursor' }) unless $cursor;

    @{ $state->{cursors} } = grep { $_ != $cursor } @{ $state->{cursors} };

    $self->tell($service, $client, $cursor->{document}, 'Removed',
        removed($cursor));

    return $self->call($client, $service, 'removeCursor', \%params, {});
}


sub gone {
    my ($self, $client) = @_;

    my $group = $self->group();

    for my $service (keys %{ $self->{of_service} }) {
        my $members = $self->{of_service}{$service}{members};

        $self->drop($client, $service, $_, undef, $group)
            for grep { $members->{$_}{ $client->{number} } } keys %$members;
    }

    return;
}


# One that has joined leaves, and others join.  What was told before is here
# with the answer.

sub probe {
    my ($self, $client) = @_;

    for my $service (sort keys %{ $self->{of_service} }) {
        my $state = $self->{of_service}{$service};

        my ($joined) = grep { $state->{members}{$_}{ $client->{number} } }
            sort { $a <=> $b } keys %{ $state->{members} };

        my $document = $joined // $#KEYS;
        my @a = ($client, $service, $state, $document,
            $state->{members}{$document} //= {});

        defined $joined ? $self->leave(@a) : $self->join_(@a);
    }

    return;
}


1;
