package Snorky::Demo;

# Copyright (C) The ngx_snorky_module authors
#
# The demo as "make run" has it, for tests: its configuration, its pages, its
# application, and a headless Chromium that uses them.
#
#     use Snorky::Demo;
#
#     my $t = demo($cases);           skips where there is no browser
#     run_demo($t);                   events => 1 where run_app() takes them,
#                                     sockjs => 1 with npm's sockjs-client
#     my ($pid, $pipe) = run_todo($t);    an application of it: todo/app.py
#     my ($pid, $pipe) = run_app($t);     and app/app.js; end with the pipe
#     browse($t, 'chat.js', $cases);  t/browser/chat.js has the cases; its
#                                     address is of this page, if one is given
#
# Screenshots go to build/.

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/ demo run_demo run_todo run_app browse slurp /;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use File::Path qw/ make_path /;
use File::Spec ();
use IO::Socket::UNIX ();
use IPC::Open3 qw/ open3 /;
use POSIX ();
use Test::More;

use Test::Nginx;
use Snorky::Server qw/ reap wait_until /;


my $root = abs_path(dirname(__FILE__) . '/../../..');


# The Test::Nginx, with so many cases.

sub demo {
    my ($cases) = @_;

    plan(skip_all => 'no playwright-core here: see "npm ci"')
        unless -d "$root/node_modules/playwright-core";

    return Test::Nginx->new()
        ->has(qw/ http access charset map proxy rewrite unix /)
        ->has_daemon('curl')->has_daemon('node')->has_daemon('chromium')
        ->plan($cases);
}


# The configuration as "make run" has it, but for the port and for what the
# test library decides on.  The pages are copied to where a worker that is
# "nobody" can read them.

sub run_demo {
    my ($t, %o) = @_;

    my $conf = slurp("$root/demo/nginx.conf");

    # what nobody takes is not waited for

    my $more = $o{events} ? '' : "    snorky_event_timeout 1s;\n";

    my %replaced = (
        'load_module @MODULE@;'  => '%%TEST_GLOBALS%%',
        'error_log stderr warn;' => '',
        'pid nginx.pid;'         => '',
        "http {\n"               => "http {\n    %%TEST_GLOBALS_HTTP%%\n$more",
        '@PORT@'                 => '8080',
        '@ROOT@'                 => '%%TESTDIR%%',
        '@CLIENT@'               => '%%TESTDIR%%/js',
        '@SOCKETS@'              => '%%TESTDIR%%',
        '@NPM@'                  => '%%TESTDIR%%',
    );

    for my $was (keys %replaced) {
        $conf =~ s/\Q$was/$replaced{$was}/g or die "no \"$was\" in the demo\n";
    }

    $conf =~ s/^ +[a-z_]+_temp_path +[a-z_]+;\n//mg == 5
        or die "not five temporary paths in the demo\n";
    $conf !~ /\@[A-Z]+\@/
        or die "the demo has more to be filled in: $&\n";

    for ([ 'www', 'demo/www' ], [ 'js', 'js/src' ]) {
        my ($to, $from) = @$_;

        mkdir $t->testdir() . "/$to" or die "cannot make $to: $!\n";

        for my $file (glob "$root/$from/*") {
            my ($name) = $file =~ m{([^/]+)$};
            $t->write_file("$to/$name", slurp($file));
        }
    }

    if ($o{sockjs}) {
        my $client = 'sockjs-client/dist/sockjs.min.js';

        make_path($t->testdir() . '/' . dirname($client));
        $t->write_file($client, slurp("$root/node_modules/$client"));
    }

    $t->write_file_expand('nginx.conf', $conf);
    $t->run();

    return;
}


# The application of the to-do page, once it listens.  Its process id and the
# handle that it ends with.

sub run_todo {
    my ($t, %o) = @_;

    my $dir = $t->testdir();

    return run_application($t, 'todo', 'todo/app.py',
        $o{socket} || "$dir/todo.sock", $o{database} || "$dir/todo.db",
        $o{at} || port(8080));
}


# The application of the page "Application", likewise.

sub run_app {
    my ($t) = @_;

    my $dir = $t->testdir();

    return run_application($t, 'app', 'app/app.js', "$dir/app.sock",
        "$dir/app.json", port(8080));
}


sub run_application {
    my ($t, $name, $program, $socket, $file, $port) = @_;

    my $dir = $t->testdir();

    pipe my $in, my $out or die "cannot make a pipe: $!\n";
    open my $log, '>>', "$dir/$name.log" or die "cannot write $name.log: $!\n";

    my $pid = fork() // die "cannot fork: $!\n";

    if ($pid == 0) {
        close $out;
        open STDIN, '<&', $in;
        open STDERR, '>&', $log;

        {
            no warnings 'exec';
            exec "$root/demo/$program", '--until-eof', $socket, $file,
                "http://127.0.0.1:$port/backend", 'swordfish';
        }

        POSIX::_exit(127);
    }

    close $in;

    wait_until { IO::Socket::UNIX->new(Peer => $socket) }
        or die "$program does not listen\n";

    return ($pid, $out);
}


# Runs the cases of a file of t/browser/, each of which is one here.

sub browse {
    my ($t, $script, $cases, $page) = @_;

    my $url = 'http://127.0.0.1:' . port(8080) . '/' . ($page // '');
    my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/
        or die "no process id in nginx.pid\n";

    my $pid = open3(my $in, my $out, undef, 'node',
        "$root/t/browser/$script", browser(), $url, $master,
        $t->testdir(), "$root/build");

    close $in;

    my $done = relay($out, 300, $cases);

    kill 'TERM', $pid;          # it has ended, unless it took too long
    reap($pid);

    is($done, $cases, 'the browser came to its end');

    # each case that is missing fails

    fail('a case that the browser did not come to') for $done + 1 .. $cases;

    return;
}


sub browser {
    for my $dir (File::Spec->path()) {
        return "$dir/chromium" if -x "$dir/chromium";
    }
}


# Passes the cases on as they come, and what is said of one that failed.

sub relay {
    my ($from, $timeout, $cases) = @_;
    my $count = 0;
    my $failed = 1;
    my @last;

    eval {
        local $SIG{ALRM} = sub { die "timeout\n" };
        alarm $timeout;

        while (my $line = <$from>) {
            chomp $line;

            if ($line =~ /^(not )?ok (.*)/) {
                $failed = !ok(!$1, $2);
                $count++;
                next;
            }

            $line =~ s/^# //;
            $failed ? diag($line) : note($line);

            push @last, $line;
            shift @last if @last > 20;
        }
    };

    alarm 0;
    diag($@) if $@;

    # what a browser says that ends before its time is not about a case

    diag(join "\n", 'the last words:', @last) if $count < $cases && @last;

    return $count;
}


sub slurp {
    my ($name) = @_;
    local $/;

    open my $f, '<', $name or die "cannot read $name: $!\n";
    return scalar <$f>;
}


1;
