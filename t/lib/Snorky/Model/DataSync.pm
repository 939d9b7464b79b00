package Snorky::Model::DataSync;

# Copyright (C) The ngx_snorky_module authors
#
# The model of datasync and its backend (see Snorky::Model).  Backends speak
# through connections to all workers, while no client has a call open.  A
# second service has a dealer of the same name and model, and does not mix.

use strict;
use warnings;

use base qw/ Snorky::Model /;

use List::Util qw/ shuffle /;

use Test::Nginx;
use Snorky;
use Snorky::Model qw/ @KEYS pick form random_body members unknown /;


# By service and name: kind, model, and what "simple" looks at.

my %dealers = (
    sync => {
        all   => [ 'broadcast', 'todo' ],
        list  => [ 'simple', 'todo', 'list' ],
        owner => [ 'simple', 'todo', 'owner.name' ],
        some  => [ 'filter', 'todo' ],
        notes => [ 'broadcast', 'note' ],
        note  => [ 'filter', 'note' ],
    },
    other => {
        all   => [ 'broadcast', 'todo' ],
    },
);

our $SERVICES = join "\n    ", map {
    my $service = $_;

    "snorky_service datasync $service;", map {
        my ($kind, $model, $key) = @{ $dealers{$service}{$_} };

        "snorky_dealer $service $_ $kind model=$model"
            . (defined $key ? " key=$key;" : ';');
    } sort keys %{ $dealers{$service} };
} sort keys %dealers;

our $PRIVATE = join "\n        ",
    map { "snorky_service datasync_backend ${_}_backend frontend=$_;" }
    sort keys %dealers;

# of @KEYS, those that have an order

my %type = ((map { $_ => 'number' } 3 .. 8), (map { $_ => 'string' } 9 .. 16));


# Tokens by their text: { service items state client kept number place }: the
# state is waiting, acquired or gone, the place is that among the acquired.  Of
# those that are gone, the last ones are remembered.

sub begin {
    my ($self) = @_;

    @$self{qw/ tokens gone known acquisitions /} = ({}, [], {}, 0);

    return;
}


# --- documents and filters --------------------------------------------------

# { list, n, owner => { name } }, each a key's number, some of them missing;
# or a text that is no object

sub document {
    return { text => random_body() } if rand() < 0.05;

    my %is;

    $is{list} = int rand 5 if rand() < 0.9;
    $is{n} = 3 + int rand 14 if rand() < 0.9;
    $is{'owner.name'} = pick(11, 13, 14) if rand() < 0.8;

    my @members = map { "\"$_\":" . form($is{$_}) }
        grep { exists $is{$_} } qw/ list n /;

    push @members, '"owner":{"x":[],"name":' . form($is{'owner.name'}) . '}'
        if exists $is{'owner.name'};
    push @members, '"x":' . random_body() if rand() < 0.3;

    return { %is, text => '{' . join(',', shuffle(@members)) . '}' };
}


# Its text and its structure: [ operator, .. ].

sub filter {
    my ($depth) = @_;

    my $dice = rand;

    if ($depth && $dice < 0.5) {
        my $operator = pick(qw/ and or not /);
        my @filters = map { filter($depth - 1) }
            1 .. ($operator eq 'not' ? 1 : 1 + rand 3);

        return {
            text => "[\"$operator\"," . join(',', map { $_->{text} } @filters)
                . ']',
            is => [ $operator, map { $_->{is} } @filters ],
        };
    }

    my $path = pick(qw/ list n n owner.name owner.none /);
    my $key = $path eq 'list' ? int rand 5
            : $path eq 'n' ? 3 + int rand 14 : pick(11, 13, 14);
    my $operator = pick('==', '==', '<', '<=', '>', '>=');

    return {
        text => "[\"$operator\",\"$path\"," . form($key) . ']',
        is   => [ $operator, $path, $key ],
    };
}


sub holds {
    my ($filter, $document) = @_;

    my ($operator, @a) = @$filter;

    return !grep { !holds($_, $document) } @a if $operator eq 'and';
    return scalar grep { holds($_, $document) } @a if $operator eq 'or';
    return !holds($a[0], $document) if $operator eq 'not';

    my $is = $document->{ $a[0] };

    return 0 if !defined $is;
    return $is == $a[1] if $operator eq '==';

    my ($one, $two) = ($type{$is}, $type{ $a[1] });

    return 0 if !defined $one || !defined $two || $one ne $two;

    return $operator eq '<' ? $is < $a[1]
         : $operator eq '<=' ? $is <= $a[1]
         : $operator eq '>' ? $is > $a[1] : $is >= $a[1];
}


sub item {
    my ($service) = @_;

    my $name = pick(sort keys %{ $dealers{$service} });
    my ($kind, $model, $key) = @{ $dealers{$service}{$name} };
    my ($query, $is);

    if ($kind eq 'broadcast') {
        $query = random_body();

    } elsif ($kind eq 'simple') {
        my $wanted = $key eq 'list' ? int rand 5 : pick(11, 13, 14);

        $query = form($wanted);
        $is = [ '==', $key, $wanted ];

    } else {
        my $filter = filter(3);

        ($query, $is) = @$filter{qw/ text is /};
    }

    return {
        model => $model,
        is    => $is,
        text  => '{' . join(',', shuffle("\"dealer\":\"$name\"",
            "\"query\":$query")) . '}',
    };
}


# What the item makes of the delta: a message, or undef.

sub delivery {
    my ($item, $delta) = @_;

    return undef if $item->{model} ne $delta->{model};

    my ($old, $new) = map {
        $delta->{$_} && (!$item->{is} || holds($item->{is}, $delta->{$_}))
    } qw/ old new /;

    return undef if !$old && !$new;

    my %fields = (model => "\"$delta->{model}\"");

    if ($old && $new) {
        @fields{qw/ type newData oldData /}
            = ('"update"', map { $delta->{$_}{text} } qw/ new old /);

    } else {
        @fields{qw/ type data /} = $new
            ? ('"insert"', $delta->{new}{text})
            : ('"delete"', $delta->{old}{text});
    }

    return { type => '"delta"', delta => \%fields };
}


sub delta {
    my ($service) = @_;

    my $model = $service eq 'sync' ? pick(qw/ todo todo note /) : 'todo';
    my $type = pick(qw/ insert update update delete /);
    my %delta = (model => $model);

    $delta{old} = document() if $type ne 'insert';
    $delta{new} = document() if $type ne 'delete';

    my @fields = ("\"type\":\"$type\"", "\"model\":\"$model\"");

    push @fields, $type eq 'update'
        ? ("\"newData\":$delta{new}{text}", "\"oldData\":$delta{old}{text}")
        : "\"data\":" . ($delta{new} || $delta{old})->{text};

    $delta{text} = '{' . join(',', shuffle(@fields)) . '}';

    return \%delta;
}


# --- the backend ------------------------------------------------------------

# the answer's message: { type => TEXT, .. }

sub post {
    my ($self, $service, $command, $params) = @_;

    my $connections = $self->{backends} //= [ map { Snorky->dial(
        port => $self->{port}) } 1 .. 8 ];

    my $text = "{\"service\":\"${service}_backend\",\"message\":{"
        . "\"command\":\"$command\",\"params\":{$params},\"callId\":7}}";

    $self->remember("backend: $text");
    $self->{commands}++;
    $self->{moment}++;

    my $r = backend_post('/backend', $text, key => 'swordfish',
        on => pick(@$connections));
    my $envelope = members($r ? $r->{body} : undef) || {};
    my $message = members($envelope->{message}) || {};

    return $message if $r && $r->{status} == 200
        && ($message->{callId} // '') eq '7';

    $self->wrong("no answer to $text: " . ($r ? $r->{head} : 'none'));

    return {};
}


sub authorize {
    my ($self, $service) = @_;

    my @items = map { item($service) } 1 .. 1 + rand 3;

    my $message = $self->post($service, 'authorizeSubscription',
        '"items":[' . join(',', map { $_->{text} } @items) . ']');

    my $token = $message->{data} // '';

    return $self->wrong('no token: ' . json($message))
        if $message->{type} ne '"response"'
            || $token !~ /^"[a-z0-9]{32}"\z/ || $self->{known}{$token}++;

    $self->{tokens}{$token} = {
        text    => $token,
        service => $service,
        items   => \@items,
        state   => 'waiting',
        kept    => [],
        number  => scalar keys %{ $self->{known} },
    };

    return;
}


sub publish {
    my ($self, $service) = @_;

    my @deltas = map { delta($service) } 1 .. 1 + rand 3;

    for my $delta (@deltas) {
        push @{ $_->{kept} }, $delta for grep { $_->{state} eq 'waiting'
            && $_->{service} eq $service } values %{ $self->{tokens} };

        $self->deliver($_, $delta) for sort { $a->{place} <=> $b->{place} }
            grep { $_->{state} eq 'acquired' && $_->{service} eq $service }
            values %{ $self->{tokens} };
    }

    my $message = $self->post($service, 'publishDeltas',
        '"deltas":[' . join(',', map { $_->{text} } @deltas) . ']');

    $self->wrong('deltas are refused: ' . json($message))
        if $message->{type} ne '"response"' || $message->{data} ne 'null';

    return;
}


sub deliver {
    my ($self, $token, $delta) = @_;

    for my $item (@{ $token->{items} }) {
        my $message = delivery($item, $delta) or next;

        $self->expect($token->{client}, $token->{service}, $message);
    }

    return;
}


# nothing of these is done, also where only the last is wrong

sub refused {
    my ($self, $service) = @_;

    my $deltas = join ',', map { delta($service)->{text} } 1 .. rand 3;
    my $items = join ',', map { item($service)->{text} } 1 .. rand 3;

    $_ .= length $_ ? ',' : '' for $deltas, $items;

    my ($command, $params, $error) = @{ pick(
        [ 'publishDeltas', "\"deltas\":[$deltas"
            . '{"type":"insert","model":"none","data":1}]',
            qr/^"No dealer for model \\"none\\""$/ ],
        [ 'publishDeltas', "\"deltas\":[$deltas"
            . '{"type":"insert","model":1,"data":1}]',
            qr/^"model must be string"$/ ],
        [ 'publishDeltas', "\"deltas\":[$deltas"
            . '{"type":"inserts","model":"todo","data":1}]',
            qr/^"Invalid delta type"$/ ],
        [ 'publishDeltas', "\"deltas\":[$deltas"
            . '{"type":"update","model":"todo","newData":1}]',
            qr/^"Missing field/ ],
        [ 'authorizeSubscription', "\"items\":[$items"
            . '{"dealer":"none","query":1}]', qr/^"No such dealer"$/ ],
        [ 'authorizeSubscription', "\"items\":[$items"
            . '{"dealer":[],"query":1}]',
            qr/^"dealer should be a dealer name"$/ ],
        [ 'authorizeSubscription', "\"items\":[$items" . '{"query":1}]',
            qr/^"Missing field 'dealer'"$/ ],
        [ 'authorizeSubscription', "\"items\":[$items" . '{"dealer":"all"}]',
            qr/^"Missing field 'query'"$/ ],
    ) };

    my $message = $self->post($service, $command, $params);

    $self->wrong("not refused with $error: " . json($message))
        if $message->{type} ne '"error"' || $message->{message} !~ $error;

    return;
}


# --- clients ----------------------------------------------------------------

sub step {
    my ($self, $client) = @_;

    my $service = pick(qw/ sync sync sync other /);
    my $dice = @{ $client->{answers} } ? 0.6 + rand 0.4 : rand;

    return $self->publish($service) if $dice < 0.4;
    return $self->authorize($service) if $dice < 0.55;
    return $self->refused($service) if $dice < 0.6;
    return $self->acquire($client, $service) if $dice < 0.8;
    return $self->cancel($client, $service) if $dice < 0.96;

    return $self->mistake($client, $service,
        pick(qw/ acquireSubscription cancelSubscription /),
        { token => '"x"' }) if $dice < 0.98;

    return $self->call($client, $service,
        pick(qw/ acquireSubscription cancelSubscription /),
        { token => pick(qw/ null 1 [] {} true /) },
        { error => 'token must be string' });
}


# a token of the service in one of these states, or one that there never was

sub token {
    my ($self, $service, $condition) = @_;

    my @tokens = sort { $a->{number} <=> $b->{number} }
        grep { $_->{service} eq $service && $condition->($_) }
        values %{ $self->{tokens} };

    return pick(@tokens)->{text} if @tokens && rand() < 0.95;
    return '"' . join('', map { pick('a' .. 'z', 0 .. 9) } 1 .. 32) . '"';
}


# as it is, or with an escape

sub written {
    my ($token) = @_;

    $token =~ s/^"(.)/sprintf '"\u%04x', ord $1/e if rand() < 0.1;

    return $token;
}


sub held {
    my ($self, $client) = @_;

    return scalar grep { $_->{state} eq 'acquired'
        && $_->{client} == $client } values %{ $self->{tokens} };
}


sub acquire {
    my ($self, $client, $service, $text) = @_;

    my $states = rand() < 0.7 ? qr/waiting/ : qr/acquired|gone/;

    $text //= $self->token($service, sub { $_[0]{state} =~ $states });

    my %params = (token => written($text));
    my $token = $self->{tokens}{$text};
    my $state = $token ? $token->{state} : 'gone';

    my $error = $state eq 'gone' ? 'No such subscription'
        : $state eq 'acquired' ? 'Subscription already acquired'
        : $self->held($client) >= $self->{limit} ? 'Too many subscriptions'
        : undef;

    return $self->call($client, $service, 'acquireSubscription', \%params,
        { error => $error }) if defined $error;

    @$token{qw/ state client place /}
        = ('acquired', $client, ++$self->{acquisitions});

    $self->deliver($token, $_) for splice @{ $token->{kept} };

    return $self->call($client, $service, 'acquireSubscription', \%params,
        {});
}


sub cancel {
    my ($self, $client, $service, $text) = @_;

    my $mine = rand() < 0.7;

    $text //= $self->token($service, sub {
        my ($token) = @_;

        return ($token->{state} eq 'acquired'
            && $token->{client} == $client) == $mine;
    });

    my %params = (token => written($text));
    my $token = $self->{tokens}{$text};

    return $self->call($client, $service, 'cancelSubscription', \%params,
        { error => 'No such subscription' })
        unless $token && $token->{state} eq 'acquired'
            && $token->{client} == $client;

    $self->forget($token);

    return $self->call($client, $service, 'cancelSubscription', \%params, {});
}


sub forget {
    my ($self, $token) = @_;

    my $gone = $self->{gone};

    $token->{state} = 'gone';
    push @$gone, $token;

    delete $self->{tokens}{ (shift @$gone)->{text} } if @$gone > 30;

    return;
}


sub gone {
    my ($self, $client) = @_;

    $self->forget($_) for grep { $_->{state} eq 'acquired'
        && $_->{client} == $client } values %{ $self->{tokens} };

    return;
}


# its own tokens are cancelled

sub probe {
    my ($self, $client) = @_;

    my $tokens = $self->{tokens};

    $self->cancel($client, $tokens->{$_}{service}, $_)
        for grep { $tokens->{$_}{state} eq 'acquired'
            && $tokens->{$_}{client} == $client } keys %$tokens;

    return;
}


# and then, what was kept for those that still wait is heard

sub finish {
    my ($self) = @_;

    $self->SUPER::finish() or return 0;

    for my $token (grep { $_->{state} eq 'waiting' }
        values %{ $self->{tokens} })
    {
        my $client = pick($self->connected());
        my @a = ($client, @$token{qw/ service text /});

        $self->acquire(@a);
        $self->cancel(@a);
        $self->settle() or return 0;
    }

    return 1;
}


1;
