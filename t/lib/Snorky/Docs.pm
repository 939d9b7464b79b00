package Snorky::Docs;

# Copyright (C) The ngx_snorky_module authors
#
# README.md and docs/ for the tests: their pages and fenced blocks, and what a
# page tells to write to a file.
#
#     use Snorky::Docs;
#
#     pages()                     names from the root of the tree, sorted
#     page('docs/client.md')      the text
#     blocks('docs/client.md')    { page language heading line text } of each
#                                 fenced block; the heading is the nearest one

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/ pages page blocks /;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;


my $root = abs_path(dirname(__FILE__) . '/../../..');


sub pages {
    return 'README.md', map { s{^\Q$root\E/}{}r } sort glob "$root/docs/*.md";
}


sub page {
    my ($name) = @_;
    local $/;

    open my $f, '<', "$root/$name" or die "cannot read $name: $!\n";

    return scalar <$f>;
}


sub blocks {
    my ($name) = @_;

    my ($heading, $block, @found) = ('');
    my $number = 0;

    for my $line (split /^/, page($name)) {
        $number++;

        if ($block) {
            if ($line =~ /^```$/) {
                push @found, $block;
                undef $block;

            } else {
                $block->{text} .= $line;
            }

        } elsif ($line =~ /^```(.*)$/) {
            $block = {
                page     => $name,
                language => $1,
                heading  => $heading,
                line     => $number,
                text     => '',
            };

        } elsif ($line =~ /^#+ (.*)$/) {
            $heading = $1;
        }
    }

    die "$name: a block does not end\n" if $block;

    return @found;
}


1;
