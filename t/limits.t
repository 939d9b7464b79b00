#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# What bounds a client: the size of its messages, their depth, its
# subscriptions, the size of channels, and what the log can take.  First as
# it is without a directive, then with one on each level.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(110);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 512k log=32k;
    snorky_drain 10ms;

    snorky_service pubsub messaging;
    snorky_service pubsub other;
    snorky_service echo echo;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /backend {
            snorky_backend;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();


# without a directive

check('by default', port(8080), '/ws', size => 64 * 1024, depth => 64,
    subscriptions => 128, channel => 1024);


# what the log can take

my $c = Snorky->connect('/ws');
my $d = Snorky->connect('/ws');

$d->rpc('messaging', 'subscribe', { channel => 'c' });

is(result($c->rpc('messaging', 'publish',
    { channel => 'c', message => 'x' x 7900 })), 'response',
    'a quarter of the log may be taken by a message');
is(length(($d->notification() || {})->{message} // ''), 7900, 'that is heard');

my $before = counters();
my $position = status_json()->{log}{position};

is(result($c->rpc('messaging', 'publish',
    { channel => 'c', message => 'x' x 8192 })), 'Message too large',
    'more may not');
is(result($c->rpc('messaging', 'publish',
    { channel => 'c', message => 'x' x 60000 })), 'Message too large',
    'nor much more');

my $r = backend_post('/backend', envelope('messaging', { command => 'publish',
    params => { channel => 'c', message => 'x' x 8192 } }),
    key => 'swordfish');
is("$r->{status} $r->{json}{message}{message}", '200 Message too large',
    'a backend is told the same');

ok($d->silent(0.2), 'nobody hears it');
is(status_json()->{log}{position}, $position, 'it is not in the log');

my $after = counters();

is(join(' ', map { $after->{$_} - $before->{$_} }
    qw/ errors publications malformed /), '3 0 0', 'it is counted as an error');
is(result($c->rpc('messaging', 'publish', { channel => 'c', message => 1 })),
    'response', 'and the next message is published');
is(($d->notification() || {})->{message}, 1, 'and heard');

$c->text('{"service":"echo","message":"' . 'x' x 60000 . '"}');
is(length($c->text_in() // ''), 60031, 'an echo does not need the log');

$_->finish() for $c, $d;


# on each level

my ($old) = worker_pids($t);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 512k log=32k;
    snorky_drain 10ms;

    snorky_service pubsub messaging;
    snorky_service pubsub other;
    snorky_service echo echo;

    snorky_max_message_size 2k;
    snorky_max_depth 5;
    snorky_max_subscriptions 3;
    snorky_max_channel_size 20;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /own {
            snorky_websocket;
            snorky_max_message_size 1500;
            snorky_max_depth 4;
            snorky_max_subscriptions 1;
            snorky_max_channel_size 10;

            location /own/below {
                snorky_websocket;
                snorky_max_subscriptions 2;
            }
        }

        location /echo {
            snorky_websocket_echo;
            snorky_max_message_size 100;
        }

        location /status {
            snorky_status;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        snorky_max_message_size 3k;
        snorky_max_depth 7;
        snorky_max_subscriptions 200;
        snorky_max_channel_size 2k;

        location /ws {
            snorky_websocket;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->reload();
wait_until { my @pids = worker_pids($t); @pids == 1 && $pids[0] != $old };

check('at http level', port(8080), '/ws', size => 2048, depth => 5,
    subscriptions => 3, channel => 20);
check('at server level', port(8081), '/ws', size => 3072, depth => 7,
    subscriptions => 200, channel => 2048);
check('at location level', port(8080), '/own', size => 1500, depth => 4,
    subscriptions => 1, channel => 10);
check('in a location inside of another', port(8080), '/own/below',
    size => 1500, depth => 4, subscriptions => 2, channel => 10);

$c = Snorky->connect('/echo');
$c->text('x' x 100);
is($c->text_in(), 'x' x 100, 'a raw echo has its limit, too');
$c->text('x' x 101);
is($c->close_in(), 1009, 'and keeps it');


# the last ones have ended, and with them all that they had

is((wait_until { my $n = counters(); $n->{sessions} == 0 }), 1,
    'all have gone');
is(join(' ', map { counters()->{$_} } qw/ subscriptions channels /), '0 0',
    'and nothing is left of them');


# --- helpers ----------------------------------------------------------------

sub result {
    my ($reply) = @_;

    return 'nothing' unless $reply;
    return $reply->{type} eq 'error' ? $reply->{message} : $reply->{type};
}


# nineteen tests

sub check {
    my ($level, $port, $uri, %limit) = @_;

    my @to = ($uri, port => $port);

    # size

    my $around = length '{"service":"echo","message":""}';
    my $text = '{"service":"echo","message":"'
        . 'x' x ($limit{size} - $around) . '"}';

    my $client = Snorky->connect(@to);

    $client->text($text);
    ok(($client->text_in() // '') eq $text,
        "$level a message may have $limit{size} bytes");

    $client->send(frame(TEXT, substr($text, 0, 100), fin => 0),
        frame(CONT, substr $text, 100));
    ok(($client->text_in() // '') eq $text, 'also in fragments');

    $client->text("$text ");
    is($client->close_in(), 1009, 'but no byte more');

    $client = Snorky->connect(@to);
    $client->send(frame(TEXT, $text, fin => 0), frame(CONT, ' '));
    is($client->close_in(), 1009, 'nor in fragments');

    # depth

    my $malformed = counters('/status', port => $port)->{malformed};
    my $depth = $limit{depth} - 1;

    $client = Snorky->connect(@to);

    $text = '{"service":"echo","message":' . '[' x $depth . ']' x $depth . '}';
    $client->text($text);
    is($client->text_in(), $text, "$level a depth of $limit{depth} may be");

    $text =~ s/\[\]/[[]]/;
    $client->text($text);
    $client->text('{"service":"echo","message":1}');
    is($client->text_in(), '{"service":"echo","message":1}', 'and no more');
    is(counters('/status', port => $port)->{malformed} - $malformed, 1,
        'which is malformed');

    # subscriptions, over all services

    my @results = map { result($client->rpc($_ % 2 ? 'messaging' : 'other',
        'subscribe', { channel => $_ })) } 1 .. $limit{subscriptions};

    is(scalar(grep { $_ eq 'response' } @results), $limit{subscriptions},
        "$level a client may have $limit{subscriptions} subscriptions");
    is(result($client->rpc('messaging', 'subscribe', { channel => 0 })),
        'Too many subscriptions', 'and no more');
    is(result($client->rpc('other', 'join', { channel => 0 })),
        'Too many subscriptions', 'of whatever service');
    is(result($client->rpc('messaging', 'subscribe', { channel => 1 })),
        'Already subscribed', 'to one that it has, it is subscribed');

    my $other = Snorky->connect(@to);

    is(result($other->rpc('messaging', 'subscribe', { channel => 0 })),
        'response', 'another client has its own');

    $client->rpc('messaging', 'unsubscribe', { channel => 1 });
    is(result($client->rpc('other', 'subscribe', { channel => 0 })),
        'response', 'who leaves one may have another');
    is(result($client->rpc('messaging', 'subscribe', { channel => 1 })),
        'Too many subscriptions', 'but one only');

    $client->rpc('other', 'unsubscribe', { channel => 0 });

    # channels

    my $max = $limit{channel};
    my $long = '"' . 'x' x ($max - 2) . '"';

    is(result($client->rpc('messaging', 'subscribe',
        \qq/{"channel":$long}/)), 'response',
        "$level a channel may have $max bytes");

    (my $longer = $long) =~ s/x/xx/;

    is(join(', ', map { result($client->rpc('messaging', $_, \(
        qq/{"channel":$longer/ . (/publish/ ? ',"message":1}' : '}')))) }
        qw/ subscribe unsubscribe publish /),
        'Channel too long, Channel too long, Channel too long',
        'but no byte more, whatever the call');

    (my $escaped = $long) =~ s/x/\\u0078/;

    is(result($other->rpc('messaging', 'publish', \(
        qq/{"channel":$escaped,"message":1}/))), 'Channel too long',
        'measured as it is written');

    is(result($other->rpc('messaging', 'publish', \(
        qq/{"channel":  $long  ,"message":1}/))), 'response',
        'without the white space around it');
    is(($client->notification() || {})->{message}, 1, 'and it is heard');

    $_->finish() for $client, $other;

    return;
}
