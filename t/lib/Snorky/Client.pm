package Snorky::Client;

# Copyright (C) The ngx_snorky_module authors
#
# Other people's libraries, each in a process of its own: t/clients/node.js and
# t/clients/python.py for WebSocket, and t/clients/sockjs.js, which say what can
# be ordered and what happens.
#
#     my $program = Snorky::Client::node();       # undef where there is none
#     my $c = Snorky::Client->start(@$program, $url);
#     $c->expect('open');
#     $c->call(1, 'subscribe', { channel => 'a' });   # of "messaging"
#     $c->message();                              # the next one, decoded
#     $c->order('ping', 'text');
#     $c->finish();
#
# And t/clients/prometheus.py, which reads a file with what Prometheus gets:
#
#     my $program = Snorky::Client::prometheus();

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use File::Spec ();
use IO::Select ();
use IPC::Open2 qw/ open2 /;
use JSON::PP ();
use Test::More ();
use Time::HiRes qw/ time /;

use Snorky;


my $root = abs_path(dirname(__FILE__) . '/../../..');


sub node   { return of_npm('ws', 'node.js') }
sub sockjs { return of_npm('sockjs-client', 'sockjs.js') }


sub of_npm {
    my ($package, $program) = @_;

    return undef unless -d "$root/node_modules/$package"
        && grep { -x "$_/node" } File::Spec->path();

    return ['node', "$root/t/clients/$program"];
}


# Debian's library belongs to Debian's Python, which need not be the first

sub python     { return of_python('websockets', 'python.py') }
sub prometheus { return of_python('prometheus_client', 'prometheus.py') }


sub of_python {
    my ($library, $program) = @_;

    for my $python ('/usr/bin/python3', 'python3') {
        return [$python, "$root/t/clients/$program"]
            if system("$python -c 'import $library' 2>/dev/null") == 0;
    }

    return undef;
}


sub start {
    my ($class, @command) = @_;

    my $pid = open2(my $out, my $in, @command);

    return bless {
        pid => $pid, in => $in, out => $out, buffer => '',
        json => JSON::PP->new()->utf8()->canonical(),
    }, $class;
}


sub order {
    my ($self, @order) = @_;

    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{in}, $self->{json}->encode(\@order) . "\n";

    return;
}


# what happens next, of this kind; undef when it does not happen

sub expect {
    my ($self, $kind) = @_;

    my $deadline = time() + $Snorky::TIMEOUT;
    my $select = IO::Select->new($self->{out});

    for (;;) {
        while ($self->{buffer} =~ s/^(.*)\n//) {
            my ($what, @rest) = @{ $self->{json}->decode($1) };

            return \@rest if $what eq $kind;
            Test::More::diag("not expected: $1") if $what eq 'error';
        }

        my $left = $deadline - time();

        return undef if $left < 0 || !$select->can_read($left)
            || !sysread $self->{out}, $self->{buffer}, 65536,
                        length $self->{buffer};
    }
}


sub message {
    my ($self) = @_;

    my $text = $self->expect('text') or return undef;

    return JSON::PP->new()->decode($text->[0]);
}


# a param given as \'text' is sent as it is

sub call {
    my ($self, $id, $command, $params) = @_;

    my $text = JSON::PP->new()->canonical();
    my @params = map {
        my $value = $params->{$_};
        $text->allow_nonref()->encode($_) . ':'
            . (ref $value eq 'SCALAR' ? $$value : $text->encode($value))
    } sort keys %$params;

    return $self->order('send', '{"service":"messaging","message":{'
        . "\"command\":\"$command\",\"callId\":$id,\"params\":{"
        . join(',', @params) . '}}}');
}


sub finish {
    my ($self) = @_;

    close $self->{in};
    kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
    close $self->{out};

    return;
}


1;
