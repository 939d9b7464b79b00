package Snorky::Script;

# Copyright (C) The ngx_snorky_module authors
#
# Tests of the JavaScript client in Node: a script of t/clients/js/ has the
# cases, and prints a line "ok NAME" or "not ok NAME" for each.
#
#     my $t = script_test($cases);            skips where there is no client
#     $t->write_file_expand('nginx.conf', ..);
#     $t->run();
#     run_script($t, 'client.mjs', $cases, more => port(8081), ..);
#
#   The script is given the port 8080 as "port", the process id of the master,
#   and what else is named here.  It may order, by a line "do NAME" (or "do
#   NAME WHAT"), and is answered with a line when it is done: the process id of
#   the master, or 0 when there is none.
#     stop      nginx stops fast, as by SIGTERM
#     start     nginx is started
#     conf      nginx.conf is that of this name from now on: nginx.conf.NAME
#
# TEST_SNORKY_CLIENT names another client's module than that of the package.

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/ script_test run_script /;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use IPC::Open3 qw/ open3 /;
use Test::More;

use Test::Nginx;
use Snorky::Connection qw/ json /;


use constant TIMEOUT => 180;

my $root = abs_path(dirname(__FILE__) . '/../../..');
my $client = abs_path($ENV{TEST_SNORKY_CLIENT}
    // "$root/build/js/snorky.mjs");


# The Test::Nginx, with so many cases, and one more: that the script ended.

sub script_test {
    my ($cases, @modules) = @_;

    plan(skip_all => 'no client here: see "make client"')
        unless defined $client && -f $client;

    for my $package (qw/ ws sockjs-client /) {
        plan(skip_all => "no $package here: see \"npm ci\"")
            unless -d "$root/node_modules/$package";
    }

    return Test::Nginx->new()->has('http', @modules)->has_daemon('node')
        ->plan($cases + 1);
}


sub run_script {
    my ($t, $script, $cases, %o) = @_;

    my $pid = open3(my $in, my $out, '>&STDERR', 'node',
        "$root/t/clients/js/$script",
        json({ client => $client, port => port(8080),
               master => $t->master(), %o }));

    my $done = follow($t, $in, $out);

    close $in;
    kill 'TERM', $pid if $done < $cases;    # it took too long, or has died
    waitpid $pid, 0;

    is("$done $?", "$cases 0", 'the script came to its end');

    # each case that is missing fails

    fail('a case that the script did not come to') for $done + 1 .. $cases;

    return;
}


# Passes the cases on as they come, and what is said of one that failed.

sub follow {
    my ($t, $in, $out) = @_;
    my ($count, $failed) = (0, 1);

    eval {
        local $SIG{ALRM} = sub { die "not in time\n" };
        local $SIG{PIPE} = 'IGNORE';

        alarm TIMEOUT;

        while (my $line = <$out>) {
            chomp $line;

            if ($line =~ /^(not )?ok (.*)/) {
                $failed = !ok(!$1, $2);
                $count++;

            } elsif ($line =~ /^do (\w+)(?: (\w+))?$/) {
                obey($t, $1, $2);
                syswrite $in, process_id($t) . "\n";

            } else {
                $line =~ s/^# //;
                $failed ? diag($line) : note($line);
            }
        }
    };

    alarm 0;
    diag($@) if $@;

    return $count;
}


sub process_id {
    my ($t) = @_;

    return eval { $t->master() } || 0;
}


sub obey {
    my ($t, $order, $what) = @_;

    if ($order eq 'conf') {
        $t->write_file('nginx.conf', $t->read_file("nginx.conf.$what"));

    } elsif ($order eq 'stop') {
        kill 'TERM', $t->master();
        $t->stop();

    } elsif ($order eq 'start') {
        $t->run();

    } else {
        die "no order \"$order\"\n";
    }

    return;
}


1;
