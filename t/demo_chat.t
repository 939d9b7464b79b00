#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The demo's page of chat, used by a headless Chromium in several windows:
# t/browser/chat.js has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky::Demo;


my $cases = 33;

my $t = demo($cases + 1);

run_demo($t);
browse($t, 'chat.js', $cases);
