package Snorky::Script;

# Copyright (C) The ngx_snorky_module authors
#
# Tests of the JavaScript client in Node: a script of t/clients/js/ has the
# cases, and prints a line "ok NAME" or "not ok NAME" for each.
#
#     my $t = script_test($cases);            skips where there is no client
#     serve_all($t);                          a nginx.conf with all services
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

our @EXPORT = qw/ script_test serve_all run_script /;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use IPC::Open3 qw/ open3 /;
use Test::More;

use Test::Nginx;
use Snorky::Connection qw/ json /;
use Snorky::Server qw/ at_level reap /;


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


# Four workers with every service; the calls of "calculator" go to port 8081.

sub serve_all {
    my ($t) = @_;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m;
    snorky_drain 100ms;

    snorky_service echo echo;
    snorky_service pubsub pubsub;
    snorky_service messaging messaging;
    snorky_service chat chat;
    snorky_service cursors cursors max_cursors=4;
    snorky_service datasync datasync;
    snorky_service upstream calculator pass=/application;

    snorky_dealer datasync all_players broadcast model=player;
    snorky_dealer datasync team_players simple model=player key=team;
    snorky_dealer datasync ships broadcast model=ship;

    snorky_registry private {
        snorky_service pubsub_backend pubsub_backend frontend=pubsub;
        snorky_service datasync_backend datasync_backend frontend=datasync;
        snorky_service upstream_backend calculator_backend frontend=calculator;
    }

    add_header X-Worker $snorky_worker always;

    server {
        # clients are served by any of the workers
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location = /ws {
            snorky_websocket;
            snorky_identity $arg_user;
        }

        location = /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location = /status {
            snorky_status;
        }

        # the script itself
        location = /application {
            internal;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}

EOC

    return;
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

    is("$done " . reap($pid), "$cases 0", 'the script came to its end');

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
