#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client in Node: signals, calls that take too long or are given
# up, and loops over what comes.  t/clients/js/streams.mjs has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky::Script;


use constant CASES => 37;

my $t = script_test(CASES, qw/ proxy /);

serve_all($t);
$t->run();

run_script($t, 'streams.mjs', CASES, application => port(8081));
