#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client of the original Snorky, unchanged, in two windows of a
# headless Chromium: t/browser/original.js has the cases.
#
# It is not part of this project, and has another licence.  So this test takes
# it from a checkout, and does nothing without one:
#
#     git clone https://github.com/ntrrgc/snorky
#     TEST_SNORKY_FRONTEND=$PWD/snorky/snorky/frontend util/suite \
#         t/original_client.t

use strict;
use warnings;

use File::Basename qw/ dirname /;
use File::Path qw/ make_path /;
use File::Spec ();
use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;


use constant { CASES => 49, TIMEOUT => 300 };

my $frontend = $ENV{TEST_SNORKY_FRONTEND};

plan(skip_all => 'TEST_SNORKY_FRONTEND is not set: it is the directory '
    . '"snorky/frontend" of what "git clone https://github.com/ntrrgc/snorky"'
    . ' makes') unless defined $frontend && length $frontend;

plan(skip_all => 'no playwright-core here: see "npm ci"')
    unless -d "$FindBin::Bin/../node_modules/playwright-core";

my @files = files($frontend);

my $t = Test::Nginx->new()->has(qw/ http /)
    ->has_daemon('node')->has_daemon('chromium')->plan(CASES + 1);

my $dir = $t->testdir();

# copied to where a worker that is "nobody" can read them

for my $file (@files) {
    make_path(dirname("$dir/www/$file"));
    $t->write_file("www/$file", slurp("$frontend/$file"));
}

my $scripts = join "\n", map { qq{<script src="/$_"></script>} } @files;

$t->write_file('www/index.html', <<"EOC");
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>The original's client</title>
<link rel="icon" href="data:,">
$scripts
</html>
EOC

$t->write_file_expand('nginx.conf', <<'EOC');

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
    snorky_service cursors cursors;
    snorky_service datasync datasync;

    snorky_dealer datasync all_players broadcast model=player;
    snorky_dealer datasync team_players simple model=player key=team;
    snorky_dealer datasync some_players filter model=player;
    snorky_dealer datasync ships broadcast model=ship;

    snorky_registry private {
        snorky_service pubsub_backend pubsub_backend frontend=pubsub;
        snorky_service datasync_backend datasync_backend frontend=datasync;
    }

    types {
        text/html        html;
        text/javascript  js;
    }

    server {
        # windows are served by any of the workers
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        root %%TESTDIR%%/www;

        location = /ws {
            snorky_websocket;
            snorky_identity $arg_user;

            add_header X-Worker $snorky_worker always;
        }

        location = /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }
    }
}

EOC

$t->run();

browse('http://127.0.0.1:' . port(8080) . '/', $t->master(), $dir);


# Runs the cases, each of which is one here, and passes on what is said of
# those that fail.  One that is missing fails.

sub browse {
    my @args = @_;
    my ($done, $failed) = (0, 1);

    my $pid = open my $out, '-|', 'node',
        "$FindBin::Bin/browser/original.js", chromium(), @args
        or die "cannot run node: $!\n";

    eval {
        local $SIG{ALRM} = sub { die "not in time\n" };
        alarm TIMEOUT;

        while (my $line = <$out>) {
            chomp $line;

            if ($line =~ /^(not )?ok (.*)/) {
                $failed = !ok(!$1, $2);
                $done++;
                next;
            }

            $line =~ s/^# //;
            $failed ? diag($line) : note($line);
        }
    };

    alarm 0;
    diag($@) if $@;

    kill 'TERM', $pid;          # it has ended, unless it took too long
    close $out;

    is($done, CASES, 'the browser came to its end');
    fail('a case that the browser did not come to') for $done + 1 .. CASES;

    return;
}


sub chromium {
    my ($found) = grep { -x } map { "$_/chromium" } File::Spec->path();

    return $found;
}


# The files of the original's bundle, in its order, as its own build has them.

sub files {
    my ($from) = @_;

    my $build = slurp("$from/gruntfile.coffee");

    return map { my $list = $_;
        $build =~ /^ +$list = \[\n((?: +"[^"]+"\n)+) +\]/m
            or die "no $list in $from/gruntfile.coffee\n";
        $1 =~ /"([^"]+)"/g } qw/ modernLibFiles srcFiles /;
}


sub slurp {
    my ($name) = @_;
    local $/;

    open my $f, '<', $name or die "cannot read $name: $!\n";
    return scalar <$f>;
}
