#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# docs/client.md: each of its examples is run, in a headless Chromium or in
# Node, against its own configuration; t/browser/docs_client.js has a case for
# each.  The table of options has what the client takes without them.

use strict;
use warnings;

use FindBin;
use JSON::PP ();
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Demo;
use Snorky::Docs;


my $root = "$FindBin::Bin/..";
my $cases = 29;

plan(skip_all => 'no build/js here: see "make client"')
    unless -e "$root/build/js/snorky.js";

my @blocks = blocks('docs/client.md');

# SockJS stands in docs/protocol.md, too

push @blocks, grep { $_->{language} eq 'js' } blocks('docs/protocol.md');

my ($conf) = map { $_->{text} } grep { $_->{text} =~ /^http/ } @blocks;

my $t = demo($cases + 4)->has_daemon('npm');
my $dir = $t->testdir();

$conf =~ s/^http \{\n/http {\n%%TEST_GLOBALS_HTTP%%\n/;
$conf =~ s/^ +root \Kwww;/%%TESTDIR%%\/www;/m or die "no \"root\"\n";
$conf =~ s{/usr/share/javascript/snorky/}{%%TESTDIR%%/snorky/}
    or die "no place for the client\n";

mkdir "$dir/$_" for qw{ www www/js snorky build build/js };

$t->write_file('snorky/' . s{.*/}{}r, slurp($_)) for glob "$root/js/src/*.js";
$t->write_file('www/blank.html', "<!doctype html>\n<title>Blank</title>\n");
$t->write_file('www/latest.json', '{"price":7}');
$t->write_file('www/token.json', '{"user":"grace"}');
$t->write_file('www/js/sockjs.min.js',
    slurp("$root/node_modules/sockjs-client/dist/sockjs.min.js"));
$t->write_file('www/js/snorky.js', slurp("$root/build/js/snorky.js"));

# for Node, the package as npm installs it; then what it has not

$t->write_file('build/js/' . s{.*/}{}r, slurp($_)) for glob "$root/build/js/*";

my ($install) = map { $_->{text} =~ /^(npm install .*)/m }
    grep { $_->{language} eq 'sh' } @blocks;

is(system("cd '$dir' && npm_config_cache='$dir/npm' npm_config_offline=true "
    . "$install >npm.log 2>&1"), 0, 'npm installs the package')
    or diag($t->read_file('npm.log'));

symlink "$root/node_modules/ws", "$dir/node_modules/ws";

# with what a page says before all else, each example is a file of its own

my $number = 0;

for my $block (grep { $_->{language} eq 'html' } @blocks) {
    $block->{path} = 'page-' . ++$number . '.html';
    $t->write_file("www/$block->{path}", $block->{text});
}

$t->write_file('blocks.json', JSON::PP->new()->encode(\@blocks));
$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

$conf
EOC

$t->run();

is_deeply({ documented() }, { coded() },
    'the options and their defaults are those of the client');
is_deeply([ documented_refusals() ], [ refusals() ],
    'and so are the close codes after which it does not come back');

browse($t, 'docs_client.js', $cases);


# --- the client -------------------------------------------------------------

# the codes in the second column of those rows whose third has "refused"

sub documented_refusals {
    my ($table) = page('docs/client.md')
        =~ /^## When a connection ends\n(.*?)^## /sm;
    my @found;

    for my $row (grep { /\| `refused`/ } split /\n/, $table) {
        my (undef, undef, $codes) = split / *\| */, $row;

        push @found, $2 ? $1 .. $2 : $1
            while $codes =~ /(\d{4})(?: to (\d{4}))?/g;
    }

    return sort { $a <=> $b } @found;
}


sub refusals {
    $t->write_file('refusal.mjs', slurp("$root/js/src/refusal.js"));
    $t->write_file('refusals.mjs', <<'END');
import { isRefusal } from './refusal.mjs';

for (let code = 1000; code < 5000; code++) {
    if (isRefusal(code, '')) {
        console.log(code);
    }
}
END

    return map { 0 + $_ } split /\n/, `node '$dir/refusals.mjs'`;
}


# those that have a default: the others have a word for it

sub documented {
    my ($table) = page('docs/client.md') =~ /^## Options\n(.*?)^## /sm;

    $table =~ s/^\| `transport`.*\n//m;

    return $table =~ /^\| `(\w+)` \| `(\S+)` \|/mg;
}


sub coded {
    my ($defaults) = slurp("$root/js/src/snorky.js")
        =~ /^const DEFAULTS = \{\n(.*?)^\};/sm;

    return $defaults =~ /^ +(\w+): (\S+),$/mg;
}
