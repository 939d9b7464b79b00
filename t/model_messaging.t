#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Messaging: thousands of random commands of clients on all workers, first one
# client at a time, where every answer and every notification is as the model
# says; then all at once.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Model qw/ start seed /;
use Snorky::Model::Messaging;
use Snorky::Model::Crowd;
use Snorky::Model::Crowd::Messaging;


my $seed = seed();
my $t = Test::Nginx->new()->has(qw/ http /)->plan(13);


# --- one at a time ----------------------------------------------------------

my $before = start($t, services => $Snorky::Model::Messaging::SERVICES,
    http => 'snorky_max_subscriptions 6;');

my $model = Snorky::Model::Messaging->new(limit => 6);

$model->populate(@{ $before->{workers} });

ok($model->calm(8000), '8000 commands, one client at a time');
is($model->complaints(), '', 'all is as the model says')
    or diag("TEST_SNORKY_SEED=$seed");
cmp_ok($model->{heard}, '>', 8000, "$model->{heard} messages were heard");
is($model->end(), 1, 'all leave');
is(counters()->{subscriptions}, 0, 'nothing is left of them');
is(status_json()->{zone}{free}, $before->{zone}{free},
    'the zone has as much room as before');


# --- all at once ------------------------------------------------------------

$before = start($t, services => $Snorky::Model::Messaging::SERVICES);

my $crowd = Snorky::Model::Crowd->new(rules => [
    Snorky::Model::Crowd::Messaging->new() ]);

$crowd->populate(24, $before->{workers});

ok($crowd->run(sub { $crowd->{answers} > 8000 }),
    '8000 commands of all at once');
ok($crowd->settle(), 'all is answered');
ok($crowd->check(), 'what all see is what is true');
is($crowd->complaints(), '', 'it is what can have happened')
    or diag("TEST_SNORKY_SEED=$seed");
is(scalar @{ $crowd->{ends} }, 0, 'nobody was closed');
is($crowd->finish(), 1, 'all leave');
is(status_json()->{zone}{free}, $before->{zone}{free},
    'the zone has as much room as before');
