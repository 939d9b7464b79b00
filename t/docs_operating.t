#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The lines for a shell in docs/operating.md: how much memory nginx takes, and
# the upgrade of the program, which here is the same one again.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Docs;


my ($load, $memory, $upgrade) = map { $_->{text} }
    grep { $_->{language} eq 'sh' } blocks('docs/operating.md');

my $t = Test::Nginx->new()->has(qw/ http /)->has_daemon('ps')->plan(10);

# as a daemon, since nginx does not upgrade itself without

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 2m;
    snorky_drain 200ms;
    snorky_service pubsub pubsub;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

my $dir = $t->testdir();
my $old;

END { end_daemon() }

is(system($Test::Nginx::NGINX, '-p', "$dir/", '-c', 'nginx.conf',
    '-e', 'error.log'), 0, 'nginx starts as a daemon');

wait_until { -s "$dir/nginx.pid" } or die "no nginx.pid\n";
$old = $t->master();


# the parameters of the load generator are those that it has

my %known = map { $_ => 1 } slurp("$FindBin::Bin/../bench/load.c")
    =~ /bench_\w+\((\w+), /g;

is(join(' ', grep { !$known{$_} } $load =~ /(\w+)=/g), '',
    'the load generator has these parameters');

chomp(my $pss = sh($memory =~ s/PID/$old/gr));

like($pss, qr/^\d+$/, 'the memory of nginx is a number');
cmp_ok($pss, '>', 1000, 'of kilobytes');


SKIP: {
    skip 'not under valgrind', 6
        if (readlink("/proc/$old/exe") // '') =~ /valgrind|memcheck/;

    my $before = Snorky->connect('/ws');

    is(sh(($upgrade =~ s{/run/}{$dir/}gr) . "echo done\n"), "done\n",
        'the upgrade goes through');

    is($before->close_in(), 1012, 'who was connected is told to come back');
    $before->finish();

    ok(wait_until(sub { !kill 0, $old }), 'the old master ends');
    isnt($t->master(), $old, 'another one has taken its place');
    ok(!-e "$dir/nginx.pid.oldbin", 'alone');

    my $after = Snorky->connect('/ws');

    is_deeply($after->rpc('pubsub', 'publish',
        { channel => 1, message => 1 })->{type}, 'response',
        'and serves who comes then');
}

end_daemon();


# --- the daemon -------------------------------------------------------------

sub end_daemon {
    my $pid = $t && -e "$dir/nginx.pid" ? eval { $t->master() } : undef;

    return unless $pid;

    local $?;

    kill 'QUIT', $pid;
    wait_until { !kill 0, $pid };

    return;
}


sub sh {
    my ($lines) = @_;

    return scalar `$lines`;
}


sub slurp {
    my ($name) = @_;
    local $/;

    open my $f, '<', $name or die "cannot read $name: $!\n";

    return scalar <$f>;
}
