package Snorky::Events;

# Copyright (C) The ngx_snorky_module authors
#
# What an application has been told by snorky_event.
#
#     my @events = events($app)              all that it has been told, in the
#     my @events = events($app, '/path')     order of its coming; each knows
#                                            {request}, the request's number
#     settled()                              until nothing waits to be told
#     of_event('connected', @events)         those of this name, or of a list
#     brief(@events)                         the names, and of what
#     told($app, sub { .. @_ .. })           the events, as soon as the function
#                                            is true of them

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/ events settled of_event brief told /;

use Snorky;


sub events {
    my ($app, $path) = @_;

    my @events;

    for my $r ($app->requests($path)) {
        die "no batch of events: $r->{body}\n" unless ref $r->{json} eq 'ARRAY';

        push @events, map { { %$_, request => $r->{number} } } @{ $r->{json} };
    }

    return @events;
}


# of some names


sub of_event {
    my ($name, @events) = @_;

    my %name = map { $_ => 1 } ref $name ? @$name : $name;

    return grep { $name{$_->{event}} } @events;
}


# What a client does is put down before it is answered, so that this tells of
# all that has been done.

sub settled {
    my ($path, %o) = @_;

    return wait_until { counters($path, %o)->{events} == 0 };
}


sub told {
    my ($app, $code, $path) = @_;

    my @events;

    wait_until {
        @events = events($app, $path);
        return $code->(@events);
    } or return;

    return @events;
}


sub brief {
    return join ' ', map {
        my $e = $_;
        join ':', $e->{event}, map { ref $e->{$_} ? json($e->{$_}) : $e->{$_} }
            grep { defined $e->{$_} } qw/ service channel identity count /
    } @_;
}


1;
