#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The demo's page of chat over each transport of SockJS that Chromium has:
# t/browser/chat_sockjs.js has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky::Demo;


my $cases = 61;

my $t = demo($cases + 1);

run_demo($t, sockjs => 1);
browse($t, 'chat_sockjs.js', $cases);
