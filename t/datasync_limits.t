#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The limits of datasync: how many subscriptions a client has, how long one
# waits to be acquired, how much is kept for those that wait, and no memory.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Sync;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(57);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_drain 10ms;

    snorky_zone 4m;
    snorky_send_buffer 16m;

    snorky_service datasync datasync;
    snorky_service datasync short timeout=1s;
    snorky_service datasync small pending_max=32k;

    snorky_dealer datasync all broadcast model=m;
    snorky_dealer short all broadcast model=m;
    snorky_dealer small all broadcast model=m;
    snorky_dealer small n_all broadcast model=n;

    snorky_registry private {
        snorky_service datasync_backend sync frontend=datasync;
        snorky_service datasync_backend short_sync frontend=short;
        snorky_service datasync_backend small_sync frontend=small;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /limited {
            snorky_websocket;
            snorky_max_subscriptions 2;
        }

        location /slow {
            snorky_websocket;
            snorky_send_buffer 64k;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            snorky_max_message_size 1m;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my ($p, $q) = map { Snorky->connect('/ws') } 1 .. 2;
my $null = response('null');
my $good = '{"type":"insert","model":"m","data":"good"}';
my ($r, $token);


# --- limits -----------------------------------------------------------------

my $limited = Snorky->connect('/limited');
my @some = map { token('sync', '[{"dealer":"all","query":null}]') } 1 .. 3;

publish('sync', "[$good]");

is(status_json()->{zone}{waiting}, 3, 'the status counts those that wait');

acquire($limited, $_) for @some[0, 1];

is(status_json()->{zone}{waiting}, 1, 'and not those that were acquired');
is(status_json()->{zone}{records}, 3, 'which are records still');
is(status_json()->{total}{subscriptions}, 2, 'and subscriptions');
is(kept($limited), join(', ', ('insert m data "good"') x 2),
    'a client may have so many');
is(acquire($limited, $some[2]), error('Too many subscriptions'),
    'and no more');
is(acquire($limited, 'none'), error('No such subscription'),
    'whatever else is wrong is told');
is(kept($limited), '', 'nothing of it is delivered');
is(acquire($p, $some[2]), $null, 'another client may have it');
is(kept($p), 'insert m data "good"', 'with all that was kept');
cancel($p, $some[2]);
is(cancel($limited, $some[0]), $null, 'one that has ended makes room');
$token = token('sync', '[{"dealer":"all","query":null}]');
is(acquire($limited, $token), $null, 'for another');
$limited->finish();


# --- clients that do not read -----------------------------------------------

my $large = "\"" . 'x' x 50_000 . "\"";
my $ten = '[' . join(',', ('{"dealer":"all","query":null}') x 10) . ']';
my $slow = Snorky->connect('/slow', rcvbuf => 4096);
my $fast = Snorky->connect('/ws');
my @own = map { subscribe($slow, $ten) } 1 .. 3;

push @own, $token = token('small_sync', '[{"dealer":"all","query":null}]');
call_of($slow, 'small', 'acquireSubscription', "{\"token\":\"$token\"}");
subscribe($fast, '[{"dealer":"all","query":null}]');

for my $i (1 .. 20) {
    publish('sync', "[{\"type\":\"insert\",\"model\":\"m\","
        . "\"data\":[$i,$large]}]");
    seen($fast) =~ /^insert m data \[$i,"x+"\]$/ or last;
    pass("$i: who reads gets it once") if $i == 20;
}

is(counters()->{closed_slow}, 1, 'who does not read is closed');
is(join(', ', map { acquire($fast, $_) eq error('No such subscription') }
    @own[0 .. 2]), '1, 1, 1', 'and has no subscriptions any more');
is(call_of($fast, 'small', 'acquireSubscription', "{\"token\":\"$own[3]\"}"),
    error('No such subscription'), 'in none of its services');
is(counters()->{channels}, 1, 'nothing of it is left');
$slow->reset();

# what is kept may be too much as well

$slow = Snorky->connect('/slow', rcvbuf => 4096);
$token = token('sync', $ten);
publish('sync', "[{\"type\":\"insert\",\"model\":\"m\",\"data\":[$_,$large]}]")
    for 1 .. 18;
seen($fast);
$slow->text(request('datasync', 'acquireSubscription',
    "{\"token\":\"$token\"}"));
is((wait_until { counters()->{closed_slow} == 2 }), 1,
    'who does not read what was kept for it is closed, too');
is(acquire($fast, $token), error('No such subscription'),
    'and has not acquired it');
publish('sync', "[$good]");
is(seen($fast), 'insert m data "good"', 'others go on');
$_->reset() for $slow, $fast;


# --- the time of a token ----------------------------------------------------

# one after another is acquired, until the first has lapsed

my $client = Snorky->connect('/ws');
my $start = time();
my @lapsing = tokens(120);
my $authorized = time();
my ($lapsed, $acquired);

publish('short_sync', '[{"type":"insert","model":"m","data":1}]');

while (defined(my $next = shift @lapsing)) {
    my $answer = call_of($client, 'short', 'acquireSubscription',
        "{\"token\":\"$next\"}");

    if ($answer ne $null) {
        $lapsed = time();
        is($answer, error('No such subscription'), 'a token lapses');
        last;
    }

    $acquired = time();
    sleep 0.03;
}

cmp_ok(($lapsed // 0) - $start, '>', 0.95,
    sprintf 'not before its time (%.2f s)', ($lapsed // 0) - $start);
cmp_ok(($acquired // 9e9) - $authorized, '<', 3.5,
    sprintf 'and not long after it (%.2f s)', ($acquired // 9e9) - $authorized);
is(scalar(grep { call_of($client, 'short', 'acquireSubscription',
    "{\"token\":\"$_\"}") ne error('No such subscription') } @lapsing), 0,
    'and none comes back');
ok(@lapsing > 10, 'of ' . @lapsing);

publish('short_sync', '[{"type":"insert","model":"m","data":2}]');
like(seen($client), qr/insert m data 2$/, 'what was acquired does not lapse');
$client->finish();


# --- the bound of what is kept ----------------------------------------------

my $kilo = 'x' x 1000;
my $n_token = token('small_sync', '[{"dealer":"n_all","query":null}]');

# only those who hear a model wait for it

small($_, 'm') for 1 .. 100;
is(taken($q, $n_token), 'null', 'what nobody waits for is not kept');

# nor is what nobody waits for any more

$large = join ',', map { '{"type":"insert","model":"m","data":"'
    . 'x' x $_ . '"}' } 40000, 20000;

is(scalar(grep {
    token('small_sync', '[{"dealer":"all","query":null}]');
    publish('small_sync', "[$large]") ne $null;
} 1 .. 400), 0, 'what has revoked all is not kept');

my $oldest = token('small_sync', '[{"dealer":"all","query":null}]');

small($_, 'm') for 1 .. 20;

my $newer = token('small_sync', '[{"dealer":"all","query":null}]');

small($_, 'm') for 21 .. 40;

is(taken($p, $oldest), error('No such subscription'),
    'when too much is kept, who has waited longest is revoked');
is(taken($p, $newer), join(' ', 21 .. 40, 'null'),
    'and a later one gets all of its own');
like($t->read_file('error.log'), qr/\[warn\].*revoked/,
    'the error log tells it');

# twelve that wait for the same have it once

@some = map { token('small_sync', '[{"dealer":"all","query":null}]') } 1 .. 12;
small($_, 'm') for 1 .. 10;
is(join("\n", map { taken($q, $_) } @some), join("\n",
    join(' ', 1 .. 10, 'null'),
    map { join ' ', 1 .. 10, 'null' } 2 .. 12),
    'what several wait for is kept once');

# what has been taken makes room

for my $i (1 .. 5) {
    my $next = token('small_sync', '[{"dealer":"all","query":null}]');
    my $other = Snorky->connect('/ws');

    small($_, 'm') for 1 .. 20;
    is(taken($other, $next), join(' ', 1 .. 20, 'null'),
        "$i: what has been acquired makes room");
    $other->finish();
}

# one that is larger than all

$token = token('small_sync', '[{"dealer":"all","query":null}]');
is(publish('small_sync', '[{"type":"insert","model":"m","data":[0,"'
    . 'x' x 40000 . '"]}]'), $null, 'what is larger than all may be published');
$p->finish();
$p = Snorky->connect('/ws');
is(taken($p, $token), error('No such subscription'), 'who waits is revoked');
cancel($q, 'none');
is(scalar(grep { $_->{delta}{data}[0] == 0 } $q->notifications()), 12,
    'who does not gets it');
$token = token('small_sync', '[{"dealer":"all","query":null}]');
small(1, 'm');
is(taken($p, $token), '1 null', 'and all goes on');


# --- no memory --------------------------------------------------------------

$_->finish() for $p, $q;

$t->stop();
$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_drain 10ms;

    snorky_zone 512k log=128k;
    snorky_max_subscriptions 100000;
    snorky_send_buffer 16m;

    snorky_service datasync datasync pending_max=100m;
    snorky_dealer datasync all broadcast model=m;
    snorky_dealer datasync by simple model=m key=a;

    snorky_registry private {
        snorky_service datasync_backend sync frontend=datasync;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            snorky_max_message_size 1m;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

$p = Snorky->connect('/ws');
my $all = subscribe($p, '[{"dealer":"all","query":null}]');

my $free = status_json()->{zone}{free};
my $long = 'x' x 900;
my @waiting;

# tokens until there is no room

for my $i (1 .. 5000) {
    $r = backend_post('/backend', request('sync', 'authorizeSubscription',
        "{\"items\":[{\"dealer\":\"by\",\"query\":\"$i$long\"}]}"),
        key => 'swordfish');

    last if $r->{status} != 200;
    push @waiting, $r->{json}{message}{data};
}

is($r->{status}, 503, 'without memory, no subscription is authorized');
like($r->{body}, qr/"message":"Overloaded"|503/, 'and it is told why')
    or diag($r->{body});
cmp_ok(scalar(@waiting), '>', 20, 'after ' . @waiting);

# those that are there are good, when something has gone

is(scalar(grep { acquire($p, $_) eq $null } @waiting), scalar(@waiting),
    'those that wait may be acquired');
is(publish('sync', "[{\"type\":\"insert\",\"model\":\"m\",\"data\":{\"a\":"
    . "\"1$long\"}}]"), $null, 'and hear');
is(scalar(() = seen($p) =~ /insert/g), 2, 'what is theirs');
is(scalar(grep { cancel($p, $_) eq $null } @waiting), scalar(@waiting),
    'and cancelled');
is((wait_until { status_json()->{zone}{free} == $free }), 1,
    'then there is as much room as before')
    or diag(status_json()->{zone}{free} . " of $free");

# deltas until there is no room

$token = token('sync', '[{"dealer":"all","query":null}]');
my $published = 0;

for my $i (1 .. 2000) {
    $r = backend_post('/backend', request('sync', 'publishDeltas',
        '{"deltas":[' . join(',', map {
            "{\"type\":\"insert\",\"model\":\"m\",\"data\":[$i,\"$_$long\"]}"
        } 1 .. 3) . ']}'), key => 'swordfish');

    last if $r->{status} != 200;
    $published++;
}

is($r->{status}, 503, 'without memory, nothing is published');
cmp_ok($published, '>', 20, "after $published");

is(scalar(() = seen($p) =~ /insert/g), 3 * $published,
    'none of it has been delivered in part');
$q = Snorky->connect('/ws');
is(acquire($q, $token), $null, 'who waits for it may acquire it');
is(scalar(() = kept($q) =~ /insert/g), 3 * $published, 'and gets it whole');
cancel($q, $token);
is((wait_until { status_json()->{zone}{free} == $free }), 1,
    'then there is as much room as before')
    or diag(status_json()->{zone}{free} . " of $free");
is(publish('sync', '[{"type":"insert","model":"m","data":1}]'), $null,
    'and all goes on');
is(seen($p), 'insert m data 1', 'for all');

$_->finish() for $p, $q;


# --- helpers ----------------------------------------------------------------

# so many at one time

sub tokens {
    my ($n) = @_;

    my $reply = backend_post('/backend', '[' . join(',', (request('short_sync',
        'authorizeSubscription',
        '{"items":[{"dealer":"all","query":null}]}')) x $n) . ']',
        key => 'swordfish');

    return map { $_->{message}{data} } @{ $reply->{json} };
}


# to the service "small"

sub small {
    my ($i, $model) = @_;

    return publish('small_sync', "[{\"type\":\"insert\",\"model\":\"$model\","
        . "\"data\":[$i,\"$kilo\"]}]");
}


# what came before the answer, and that

sub taken {
    my ($client, $text) = @_;

    my $answer = call_of($client, 'small', 'acquireSubscription',
        "{\"token\":\"$text\"}");

    return join ' ', (map { $_->{delta}{data}[0] } $client->notifications()),
        $answer eq $null ? 'null' : $answer;
}
