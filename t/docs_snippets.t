#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Every fenced block of README.md and docs/ is run or checked by something: in
# this table stands by what.  A block in a language that nobody claims fails.

use strict;
use warnings;

use File::Spec ();
use FindBin;
use JSON::PP ();
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Docs;


my $root = "$FindBin::Bin/..";

# Language and page, of which "" is any, and the test that runs it, or what is
# done here.  The first line that fits counts.

my @claims = (
    [ '',       'docs/backend.md',       't/backend_connectors.t' ],
    [ 'nginx',  'docs/services.md',      't/docs_services.t' ],
    [ 'nginx',  'docs/service-types.md', 't/module.t' ],
    [ 'nginx',  'docs/quickstart.md',    't/docs_quickstart.t' ],
    [ 'nginx',  '',                      't/docs.t' ],
    [ 'snorky', 'docs/services.md',      't/docs_services.t' ],
    [ 'c',      'docs/service-types.md', 't/module.t' ],
    [ 'config', 'docs/service-types.md', 't/module.t' ],
    [ 'js',     'README.md',             't/docs.t' ],
    [ 'js',     'docs/client.md',        't/docs_client.t' ],
    [ 'js',     'docs/protocol.md',      't/docs_client.t' ],
    [ 'html',   'docs/client.md',        't/docs_client.t' ],
    [ 'html',   'docs/quickstart.md',    't/docs_quickstart.t' ],
    [ 'python', 'docs/quickstart.md',    't/docs_quickstart.t' ],
    [ 'http',   'docs/protocol.md',      't/docs.t' ],
    [ 'json',   '',                      \&is_json ],
    [ 'yaml',   '',                      \&is_yaml ],
    [ 'sysctl', 'docs/operating.md',     \&is_sysctl ],
    [ 'ini',    'docs/operating.md',     \&is_unit ],
    [ 'ts',     'docs/client.md',        \&is_typescript ],
    [ 'sh',     '',                      \&is_shell ],

    # pictures, and what programs print
    [ 'text',   '',                      sub { '' } ],
);

# What a reader has installed, or gets from what he installs; the other
# commands of the pages are on the machine of this test.

my %elsewhere = map { $_ => 1 } qw/ apt-get sudo systemctl sysctl /;

my @blocks = map { blocks($_) } pages();

my $t = Test::Nginx->new()->has(qw/ http /)->plan(scalar @blocks);

for my $block (@blocks) {
    my $where = "$block->{page}:$block->{line}";

    my ($claim) = grep { my ($language, $page) = @$_;
        ($language eq '' || $language eq $block->{language})
        && ($page eq '' || $page eq $block->{page}) } @claims;

    if (!$claim) {
        fail("$where: nobody claims \"$block->{language}\"");

    } elsif (ref $claim->[2]) {
        is($claim->[2]->($block), '', "$where: $block->{language}");

    } else {
        ok(names($claim->[2], $block->{page}),
            "$where: $block->{language} is of $claim->[2]");
    }
}



# --- languages --------------------------------------------------------------

# whether a test looks at a page: by its name, or since it looks at all

sub names {
    my ($test, $page) = @_;

    open my $f, '<', "$root/$test" or return 0;
    my $text = do { local $/; <$f> };

    return $text =~ /\Q$page\E|docs\/\*\.md/;
}


# one text, or one on each line

sub is_json {
    my ($block) = @_;

    my $json = JSON::PP->new()->utf8()->allow_nonref();

    return '' if eval { $json->decode($block->{text}); 1 };

    for my $line (split /\n/, $block->{text}) {
        return "no JSON: $line" unless eval { $json->decode($line); 1 };
    }

    return '';
}


# where Python has a parser for it

sub is_yaml {
    my ($block) = @_;

    $t->write_file('block.yml', $block->{text});

    return scalar `python3 -c '
import sys
try:
    import yaml
except ImportError:
    sys.exit()
try:
    yaml.safe_load(open(sys.argv[1]))
except yaml.YAMLError as error:
    print(error)
' '${\ $t->testdir()}/block.yml' 2>&1`;
}


# those that this kernel has; a module's are there once that is loaded

sub is_sysctl {
    my ($block) = @_;

    for my $line (split /\n/, $block->{text}) {
        next if $line =~ /^(?:#|$)/;

        my ($name) = $line =~ /^([a-z_]+(?:\.[a-z_0-9-]+)+) = [\d ]+$/
            or return "no setting: $line";

        next if $name =~ /^net\.netfilter\./;

        return "no such setting: $name"
            unless -e '/proc/sys/' . $name =~ tr{.}{/}r;
    }

    return '';
}


# of systemd: sections, and names with values

sub is_unit {
    my ($block) = @_;

    my @wrong = grep { !/^(?:\[[A-Z]\w+\]|[A-Z]\w+=.*|)$/ }
        split /\n/, $block->{text};

    return join "\n", @wrong;
}


# strict, with the package's own types

sub is_typescript {
    my ($block) = @_;

    my $tsc = "$root/node_modules/typescript/bin/tsc";

    return '' unless -e $tsc;

    my $dir = $t->testdir();

    $t->write_file('snippet.ts', $block->{text});
    $t->write_file('tsconfig.json', JSON::PP->new()->encode({
        compilerOptions => {
            strict => \1, noEmit => \1, target => 'es2022', types => [],
            module => 'esnext', moduleResolution => 'bundler',
            lib => [ 'es2022', 'dom' ],
            paths => { snorky =>
                [ File::Spec->rel2abs("$root/js/snorky.d.ts") ] },
        },
        files => [ 'snippet.ts' ],
    }));

    return scalar `node '$tsc' -p '$dir' 2>&1`;
}


# It can be read by a shell, and its commands and make's targets exist.  Most
# are also run: by t/docs.t, t/docs_quickstart.t and t/docs_operating.t, and by
# util/foreign what builds a module.  Only this is done with what installs
# packages, of Debian's or npm's, and with the load generator's line.

sub is_shell {
    my ($block) = @_;

    $t->write_file('block.sh', $block->{text});

    my $wrong = `bash -n '${\ $t->testdir()}/block.sh' 2>&1`;

    return $wrong if length $wrong;

    my $text = $block->{text};

    $text =~ s/'[^']*'|"[^"]*"/x/g;

    for my $command ($text =~ /(?:^|[|;]\s*|\$\()([\w.\/-]+)/mg) {
        next if $elsewhere{$command} || $command eq '.';

        return "no command $command"
            if system("bash -c 'type $command' >/dev/null 2>&1")
            && !-e "$root/$command" && $command !~ m{^(?:build|\.)/};
    }

    for my $target ($text =~ /\bmake ([a-z][\w-]*)/g) {
        return "no target $target" unless makefile() =~ /^\Q$target\E:/m;
    }

    return '';
}


sub makefile {
    open my $f, '<', "$root/Makefile" or die "no Makefile\n";

    return join '', <$f>;
}
