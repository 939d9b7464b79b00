#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The demo's own configuration and page, used by a headless Chromium in two
# windows: t/browser/demo.js has the cases.  Screenshots go to build/.

use strict;
use warnings;

use File::Spec ();
use FindBin;
use IPC::Open3 qw/ open3 /;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $root = "$FindBin::Bin/..";
my $cases = 35;

plan(skip_all => 'no playwright-core here: see "npm ci"')
    unless -d "$root/node_modules/playwright-core";

my $t = Test::Nginx->new()
    ->has(qw/ http access charset map rewrite /)
    ->has_daemon('curl')->has_daemon('node')->has_daemon('chromium')
    ->plan($cases + 9);


# The configuration as "make run" has it, but for the port and for what the
# test library decides on.  The page is copied to where a worker that is
# "nobody" can read it.

my $conf = slurp("$root/demo/nginx.conf");

my %replaced = (
    'load_module @MODULE@;'  => '%%TEST_GLOBALS%%',
    'error_log stderr warn;' => '',
    'pid nginx.pid;'         => '',
    "http {\n"               => "http {\n    %%TEST_GLOBALS_HTTP%%\n",
    '@PORT@'                 => '8080',
    '@ROOT@'                 => '%%TESTDIR%%',
);

for my $was (keys %replaced) {
    $conf =~ s/\Q$was/$replaced{$was}/ or die "no \"$was\" in the demo\n";
}

$conf =~ s/^ +[a-z_]+_temp_path +[a-z_]+;\n//mg == 5
    or die "not five temporary paths in the demo\n";
$conf !~ /\@[A-Z]+\@/ or die "the demo has more to be filled in: $&\n";

mkdir $t->testdir() . '/www' or die "cannot make www: $!\n";

for my $file (glob "$root/demo/www/*") {
    my ($name) = $file =~ m{([^/]+)$};
    $t->write_file("www/$name", slurp($file));
}

$t->write_file_expand('nginx.conf', $conf);
$t->run();


# what the page is made of

my $r = get('/');

is($r->{status}, 200, 'the page is there');
is($r->{headers}{'content-type'}, 'text/html; charset=utf-8', 'as HTML');
like($r->{headers}{'content-security-policy'}, qr/^default-src 'none';/,
    'with a policy that admits no foreign content');
is(get('/pubsub.js')->{headers}{'content-type'},
    'text/javascript; charset=utf-8', 'its script is one');
is(get('/snorky.css')->{headers}{'content-type'}, 'text/css; charset=utf-8',
    'its style is one');


# the worker's number, for those who offer it and for nobody else

my $offers = join ', ', map { "worker.$_" } 0 .. 63;

like(protocol(protocols => "other, $offers"), qr/^worker\.[0-9]+$/,
    'the subprotocol tells the worker');
is(protocol(), undef, 'a client that offers none gets none');
is(protocol(protocols => 'worker, worker.99, xworker.0, worker.0x'), undef,
    'nor does one that offers others');


# the browser

my $port = port(8080);

my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/;

my $pid = open3(my $in, my $out, undef, 'node', "$root/t/browser/demo.js",
    browser(), "http://127.0.0.1:$port/", $master, $t->testdir(),
    "$root/build");

close $in;

my $done = relay($out, 300);

kill 'TERM', $pid;          # it has ended, unless it took too long
waitpid $pid, 0;

is($done, $cases, 'the browser came to its end');

# each case that is missing fails

fail('a case that the browser did not come to') for $done + 1 .. $cases;


sub slurp {
    my ($name) = @_;
    local $/;

    open my $f, '<', $name or die "cannot read $name: $!\n";
    return scalar <$f>;
}


sub protocol {
    my $c = Snorky->connect('/ws', @_);
    my $protocol = $c->header('Sec-WebSocket-Protocol');

    $c->finish();
    return $protocol;
}


sub browser {
    for my $dir (File::Spec->path()) {
        return "$dir/chromium" if -x "$dir/chromium";
    }
}


# Passes the cases on as they come, and what is said of one that failed.

sub relay {
    my ($from, $timeout) = @_;
    my $count = 0;
    my $failed = 1;

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
        }
    };

    alarm 0;
    diag($@) if $@;

    return $count;
}
