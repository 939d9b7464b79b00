package Snorky::Stop;

# Copyright (C) The ngx_snorky_module authors
#
# Stops processes as SIGSTOP does, and lets them go on: in any case when the
# test ends or dies, since nginx waits for ever for a worker that stands
# still.
#
#     stop_process(@pids);          # they stand still when it returns
#     continue_process(@pids);

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/ stop_process continue_process /;

use Snorky;


my %stopped;

# a test that dies ends nginx before the END blocks run

$SIG{__DIE__} = sub { continue_process(keys %stopped) unless $^S };

END { continue_process(keys %stopped) }


# A signal takes its time on a busy machine, and until then the process may
# take a connection that nobody will answer.

sub stop_process {
    my (@pids) = @_;

    @stopped{@pids} = ();
    kill 'STOP', @pids;

    for my $pid (@pids) {
        wait_until { `ps -o stat= -p $pid` =~ /^T|^$/ };
    }

    return;
}


sub continue_process {
    my (@pids) = @_;

    kill 'CONT', @pids;
    delete @stopped{@pids};

    return;
}


1;
