#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The JavaScript client in Node: all services, on four workers.
# t/clients/js/services.mjs has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky::Script;


use constant CASES => 30;

my $t = script_test(CASES, qw/ proxy /);

serve_all($t);
$t->run();

run_script($t, 'services.mjs', CASES, application => port(8081));
