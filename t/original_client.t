#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# What pages of the original Snorky do with its JavaScript client, in two
# windows of a headless Chromium: t/browser/original.js has the cases.  The
# client is ours, one file for a <script>, which has to be as good; and the
# original's own, unchanged, which shows that the server is.
#
# The latter is not part of this project, and has another licence.  So it is
# taken from a checkout, and left out without one:
#
#     git clone https://github.com/ntrrgc/snorky
#     TEST_SNORKY_FRONTEND=$PWD/snorky/snorky/frontend util/suite \
#         t/original_client.t

use strict;
use warnings;

use File::Basename qw/ dirname /;
use File::Path qw/ make_path /;
use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky::Demo qw/ browse slurp /;


use constant CASES => 56;

my $root = "$FindBin::Bin/..";
my $frontend = $ENV{TEST_SNORKY_FRONTEND} || '';

plan(skip_all => 'no playwright-core here: see "npm ci"')
    unless -d "$root/node_modules/playwright-core";
plan(skip_all => 'no client here: see "make client"')
    unless -f "$root/build/js/snorky.js";

my %files = ('client.html' => [ "$root/build/js/", 'snorky.js' ]);

$files{'original.html'} = [ "$frontend/", files($frontend) ]
    if length $frontend;

my $t = Test::Nginx->new()->has(qw/ http /)
    ->has_daemon('node')->has_daemon('chromium')
    ->plan((CASES + 1) * keys %files);

my $dir = $t->testdir();

# copied to where a worker that is "nobody" can read them

for my $page (keys %files) {
    my ($from, @files) = @{ $files{$page} };

    for my $file (@files) {
        make_path(dirname("$dir/www/$file"));
        $t->write_file("www/$file", slurp("$from$file"));
    }

    my $scripts = join "\n", map { qq{<script src="/$_"></script>} } @files;

    $t->write_file("www/$page", <<"EOC");
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>A page of the original's</title>
<link rel="icon" href="data:,">
$scripts
</html>
EOC
}

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

for my $page (sort keys %files) {
    note($page);
    browse($t, 'original.js', CASES, $page);
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
