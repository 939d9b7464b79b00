package Snorky::Server;

# Copyright (C) The ngx_snorky_module authors
#
# What tests ask of the nginx that they have started: single requests, the
# status, its processes, its log.
#
# wait_until { condition }, or wait_until(sub { condition }, seconds), waits
# for what takes a moment.

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/
    get backend_post status_json counters wait_until
    worker_pids processes resident
    at_level make_certificate other_alerts
/;

our @EXPORT_OK = qw/ reap /;

use Snorky::Connection qw/ json /;
use POSIX qw/ WNOHANG /;
use Time::HiRes qw/ sleep time /;


# --- requests ---------------------------------------------------------------

sub get {
    my ($path, %o) = @_;

    my $h = Snorky::Connection->dial(%o);

    return $h->request('GET', $path,
        headers => [ 'Connection: close', @{ $o{headers} || [] } ]);
}


sub backend_post {
    my ($path, $body, %o) = @_;

    $body = json($body) if ref $body eq 'HASH';

    my $h = $o{on} || Snorky::Connection->dial(%o);

    return $h->request('POST', $path, %o, body => $body);
}


# the decoded status; dies when there is none

sub status_json {
    my ($path, %o) = @_;

    my $r = get($path || '/status', %o);

    die "no status: ", $r ? $r->{line} : 'no answer', "\n"
        unless $r && $r->{status} == 200 && ref $r->{json} eq 'HASH';

    return $r->{json};
}


# the figures summed over the workers

sub counters {
    my ($path, %o) = @_;

    return status_json($path, %o)->{total};
}


sub wait_until (&;$) {
    my ($code, $timeout) = @_;

    $timeout = $Snorky::Connection::TIMEOUT unless defined $timeout;

    my $deadline = time() + $timeout;

    for (;;) {
        my $value = $code->();
        return $value if $value;
        return $value if time() > $deadline;
        sleep 0.02;
    }
}


# --- processes --------------------------------------------------------------

# a child that is about to end, or is killed: its status, as in $?

sub reap {
    my ($pid) = @_;

    unless (wait_until { waitpid($pid, WNOHANG) }) {
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }

    return $?;
}


# all children of the master: { pid => title }

sub processes {
    my ($t) = @_;

    my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/;
    my %title;

    for my $line (`ps -A -o pid= -o ppid= -o stat= -o args=`) {
        my ($pid, $ppid, $stat, $args) = split ' ', $line, 4;
        next unless $ppid == $master && $stat !~ /^Z/;
        chomp($title{$pid} = $args);
    }

    return %title;
}


# the workers that take connections

sub worker_pids {
    my ($t) = @_;

    my %title = processes($t);

    # under valgrind a process cannot change its title

    my @pids = grep { $title{$_} =~ /worker process$/
                      || $title{$_} =~ /\bvalgrind\b/ } keys %title;

    @pids = sort { $a <=> $b } @pids;

    return @pids;
}


# The resident memory of a process in kilobytes; undef where it says nothing,
# since what is freed is kept for a while by a sanitizer or by valgrind.

sub resident {
    my ($t, $pid) = @_;

    return undef if $t->has_module('-fsanitize')
        || (readlink("/proc/$pid/exe") // '') =~ /valgrind|memcheck/;

    my ($kb) = `ps -o rss= -p $pid` =~ /(\d+)/;

    return $kb;
}


# --- configuration and log --------------------------------------------------

# A configuration with %%TEST_GLOBALS%%, logging at this level and not at
# "debug", which is slow when there is much to do.

sub at_level {
    my ($t, $level, $conf) = @_;

    my $globals = $t->test_globals();

    $globals =~ s/^(error_log\s+\S+)\s+debug;/$1 $level;/m
        or die "no error_log in TEST_GLOBALS\n";

    $conf =~ s/%%TEST_GLOBALS%%/$globals/;

    return $conf;
}


# The alerts of the log but those that the test itself causes, for a file
# that kills workers and so has todo_alerts().

sub other_alerts {
    my ($t, $expected) = @_;

    return join "\n", grep { !/$expected/ }
        $t->read_file('error.log') =~ /^.*\[(?:alert|emerg)\].*$/gm;
}


# NAME.crt and NAME.key in the test's directory

sub make_certificate {
    my ($t, $name) = @_;

    my $dir = $t->testdir();

    system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch "
        . "-subj /CN=$name -keyout $dir/$name.key -out $dir/$name.crt "
        . ">>$dir/openssl.out 2>&1") == 0
        or die "cannot make a certificate: see $dir/openssl.out\n";

    return;
}


1;
