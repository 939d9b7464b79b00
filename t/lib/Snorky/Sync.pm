package Snorky::Sync;

# Copyright (C) The ngx_snorky_module authors
#
# What the tests of datasync have in common: a backend's calls over HTTP, a
# client's over its WebSocket, both as JSON texts, and what a client has got.
#
#     token('sync', '[{"dealer":"d","query":1}]')     authorizes
#     publish('sync', '[{"type":"insert", ..}]')      response('null'), or so
#     acquire($c, $token)   cancel($c, $token)        the answer's content
#     subscribe($c, $items)                           both: the token
#     seen($c)     what has come until now: "insert m data 1, delete .."
#     kept($c)     what came before the last answer
#
# The location is /backend with the key swordfish; a client's service is
# "datasync" where it is not named.

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/
    response error request post authorize publish token subscribe
    call_of call acquire cancel sign seen kept
/;

use Snorky;


# a JSON value as text

my $value = qr/(
    "(?:[^"\\]++|\\.)*+" | \[ (?:[^\[\]"{}]++|(?-1))*+ \]
    | \{ (?:[^\[\]"{}]++|(?-1))*+ \} | [^\[\]{}",\s]++
)/x;


sub response {
    my ($data) = @_;

    return "{\"type\":\"response\",\"callId\":1,\"data\":$data}";
}


sub error {
    my ($message) = @_;

    return "{\"type\":\"error\",\"callId\":1,\"message\":\"$message\"}";
}


sub request {
    my ($service, $command, $params) = @_;

    return "{\"service\":\"$service\",\"message\":{\"command\":\"$command\","
        . "\"params\":$params,\"callId\":1}}";
}


# the content of the backend's reply, or its status and body

sub post {
    my ($service, $command, $params) = @_;

    my $r = backend_post('/backend', request($service, $command, $params),
        key => 'swordfish') or return 'no answer';

    return $r->{status} == 200
        && $r->{body} =~ /^\{"service":"$service","message":(.*)\}$/s
        ? $1 : "$r->{status} $r->{body}";
}


sub authorize {
    my ($service, $items) = @_;

    return post($service, 'authorizeSubscription', "{\"items\":$items}");
}


sub publish {
    my ($service, $deltas) = @_;

    return post($service, 'publishDeltas', "{\"deltas\":$deltas}");
}


sub token {
    my ($service, $items) = @_;

    my $reply = authorize($service, $items);

    return $1 if $reply =~ /"data":"([a-z0-9]{32})"/;

    die "no token: $reply\n";
}


# the content of the answer; deltas before it are kept

sub call_of {
    my ($client, $service, $command, $params) = @_;

    $client->text(request($service, $command, $params));

    for (;;) {
        my $text = $client->text_in();

        return 'no answer' if !defined $text;

        if ($text =~ /"message":\{"type":"delta",/) {
            push @{ $client->{inbox} }, { text => $text,
                envelope => decode($text) };
            next;
        }

        return $text =~ /^\{"service":"$service","message":(.*)\}$/s
            ? $1 : $text;
    }
}


sub call {
    my ($client, $command, $params) = @_;

    return call_of($client, 'datasync', $command, $params);
}


sub acquire {
    my ($client, $token) = @_;

    return call($client, 'acquireSubscription', "{\"token\":\"$token\"}");
}


sub cancel {
    my ($client, $token) = @_;

    return call($client, 'cancelSubscription', "{\"token\":\"$token\"}");
}


# the token of a new subscription that is acquired

sub subscribe {
    my ($client, $items) = @_;

    my $token = token('sync', $items);
    my $answer = acquire($client, $token);

    die "not subscribed: $answer\n" if $answer ne response('null');

    return $token;
}


# a delta in one line, its data as it came

sub sign {
    my ($text) = @_;

    my ($fields) = $text =~ /^\{"service":"\w+","message":\{
        "type":"delta","delta":\{(.*)\}\}\}$/sx or return "no delta: $text";
    my %field;

    while ($fields =~ /\G\s*"((?:[^"\\]|\\.)*)"\s*:\s*($value)\s*(?:,|$)/gc)
    {
        $field{$1} = $2;
    }

    my $rest = substr $fields, pos($fields) // 0;

    return "no fields: $text" if length $rest;

    my $type = delete $field{type} // '';
    my $model = delete $field{model} // '';
    my $sign = join ' ', map { s/^"|"$//gr } $type, $model;

    for my $name (qw/ data newData oldData /) {
        $sign .= " $name $field{$name}" if defined $field{$name};
        delete $field{$name};
    }

    return join ' ', $sign, map { "and $_" } sort keys %field;
}


# what a client has got until now, told by a call's answer behind it

sub seen {
    my ($client) = @_;

    cancel($client, 'none');

    return kept($client);
}


# what came before the last answer

sub kept {
    my ($client) = @_;

    return join ', ', map { sign($_->{text}) } splice @{ $client->{inbox} };
}


1;
