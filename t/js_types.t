#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client as a package: its types, strictly, by what t/types/*.ts
# does and must not do; that they and what there is at run time are the same;
# and what is published on npm, as who installs it has it.  "make client" has
# built it.

use strict;
use warnings;

use File::Copy qw/ copy /;
use File::Path qw/ make_path /;
use File::Temp qw/ tempdir /;
use FindBin;
use IO::Compress::Gzip qw/ gzip $GzipError /;
use JSON::PP qw/ decode_json /;
use Test::More;


# gzip -9, as an operator would compress it once and for all
use constant MOST => 8192;

my $root = "$FindBin::Bin/..";
my $built = "$root/build/js";
my $modules = "$root/node_modules";

plan(skip_all => 'no build/js here: see "make client"')
    unless -f "$built/snorky.mjs";
plan(skip_all => 'no typescript here: see "npm ci"')
    unless -d "$modules/typescript";

my @files = qw/ LICENSE README.md package.json snorky.cjs snorky.d.cts
    snorky.d.ts snorky.js snorky.mjs /;

# as npm would have installed it

my $dir = tempdir('ngx_snorky_types_XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $installed = "$dir/node_modules/snorky";

make_path($installed);

for my $name (@files) {
    copy("$built/$name", "$installed/$name") or die "no $built/$name: $!\n";
}

for my $name (qw/ use.ts misuse.ts walk.mjs /) {
    copy("$root/t/types/$name", "$dir/$name") or die "no t/types/$name: $!\n";
}

copy("$root/t/types/use.ts", "$dir/required.cts") or die "$!\n";


# types

my @all = qw/ use.ts misuse.ts /;

is(tsc('--module nodenext', @all), '', 'types of a module of Node');
is(tsc('--module nodenext', 'required.cts'), '', 'of who requires it');
is(tsc('--module esnext --moduleResolution bundler', @all), '',
    'of a page with a bundler');
is(tsc('--module nodenext --exactOptionalPropertyTypes'
    . ' --noUncheckedIndexedAccess --noImplicitOverride false', 'use.ts'), '',
    'more strictly yet');
is(run("$modules/.bin/tsc --noEmit --strict --skipLibCheck false"
    . ' --target es2022 --lib es2022,webworker --module nodenext use.ts'), '',
    'of a worker');

like(run("node walk.mjs $modules/typescript"), qr/^\d\d classes\n\z/,
    'types and what there is are the same');


# the package

my $package = decode_json(slurp("$built/package.json"));
my $packed = decode_json(run("cd $installed && npm pack --dry-run --json"
    . " --cache $dir/npm 2>/dev/null"))->[0];
my ($version) = slurp("$root/src/http/ngx_snorky_conf.h")
    =~ /^#define NGX_SNORKY_VERSION +"(.*)"$/m;

is_deeply([ sort map { $_->{path} } @{ $packed->{files} } ],
    [ sort @files ], 'what is published');
is($package->{version}, $version, 'the version is the module\'s');
is($package->{license}, 'BSD-2-Clause', 'so is the license');
is_deeply([ grep { /ependencies|^scripts$/ } keys %$package ], [],
    'it depends on nothing, and runs nothing when it is installed');

my $print = 'console.log(typeof Snorky, typeof Snorky.PubSub,'
    . ' typeof other.PubSub)';

is(node('import.mjs', "import * as other from 'snorky';\n"
    . "import Snorky from 'snorky';\n$print"), "function function function\n",
    'it is imported');
is(node('require.cjs', "const other = require('snorky');\n"
    . "const { Snorky } = other;\n$print"), "function function function\n",
    'or required');
is(node('script.cjs', "require('vm').runInThisContext("
    . "require('fs').readFileSync(require.resolve('snorky/snorky.js')));\n"
    . 'console.log(typeof Snorky, Snorky === globalThis.Snorky,'
    . ' typeof Snorky.PubSub)'), "function true function\n",
    'or a script, and then a global');

my $script = slurp("$built/snorky.js");

gzip(\$script => \my $small, -Level => 9) or die "$GzipError\n";
cmp_ok(length $small, '<', MOST, 'it is small');
note(length($small) . ' bytes of ' . length($script));

unlike(join('', map { slurp("$built/$_") } qw/ snorky.js snorky.mjs
    snorky.cjs /), qr/sourceMappingURL|\Q$root\E|\beval\b|new Function/,
    'and has nothing of where it was built, and no eval');

done_testing();


sub tsc {
    my ($options, @names) = @_;

    return run("$modules/.bin/tsc --noEmit --strict --skipLibCheck false"
        . " --target es2022 --lib es2022,dom $options @names");
}


sub node {
    my ($name, $text) = @_;

    open my $f, '>', "$dir/$name" or die "cannot write $name: $!\n";
    print $f "$text\n";
    close $f or die "cannot write $name: $!\n";

    return run("node $name");
}


# what a command says, in the directory with the package

sub run {
    my ($command) = @_;

    return scalar qx{cd $dir && $command 2>&1};
}


sub slurp {
    my ($name) = @_;
    local $/;

    open my $f, '<', $name or die "cannot read $name: $!\n";
    return scalar <$f>;
}
