#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The end of a connection, RFC 6455, 5.5.1 and 7: the closing handshake from
# either side, its codes and its timer, and peers that leave without one.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my @valid = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
             1014, 3000, 3999, 4000, 4999);
my @invalid = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999,
               5000, 65535);

my $t = Test::Nginx->new()->has(qw/ http /)->plan(42 + @valid + @invalid);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_service pubsub messaging;

    snorky_close_timeout 1s;
    lingering_timeout 1s;
    snorky_drain 1s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my ($c, $f, $n, $before, $start);


# the client closes

for my $code (@valid) {
    is(answer(close_payload($code)), $code, "a close with $code is echoed");
}

for my $code (@invalid) {
    is(answer(close_payload($code)), 1002,
        "a close with the invalid code $code is answered with 1002");
}

is(answer(''), 1005, 'a close without a code is answered without one');
is(answer("\x03"), 1002, 'a close with half a code is answered with 1002');
is(answer(close_payload(1000, 'bye')), 1000, 'a close may have a reason');
is(answer(close_payload(1000, "h\xc3\xa9")), 1000,
    'a reason may have any character');
is(answer(close_payload(1000, 'x' x 123)), 1000,
    'a reason may have 123 bytes');
is(answer(close_payload(1000, "h\xe9")), 1007,
    'a reason that is not UTF-8 is answered with 1007');
is(answer(close_payload(1000, "h\xc3")), 1007,
    'a reason that ends inside a character is answered with 1007');

$c = Snorky->connect('/ws');
$start = time();
$c->close_frame(1000, 'bye');
$f = $c->frame_in();
is($f->{op}, CLOSE, 'the answer to a close frame is a close frame');
is($f->{fin} . $f->{rsv} . $f->{masked}, '100', 'and a regular one');
ok($c->gone(), 'and the server ends the connection');
ok(time() - $start < 0.8, 'and does not wait for its timer');

$c = Snorky->connect('/echo');
$c->send(frame(TEXT, 'before'), frame(CLOSE, close_payload(1000)),
    frame(TEXT, 'behind'), frame(PING, 'behind'));
is($c->text_in(), 'before', 'what came before a close frame is answered');
$f = $c->frame_in();
is($f && $f->{op}, CLOSE, 'what came behind it is not');
is($c->frame_in(), undef, 'nothing follows the close frame');

$c = Snorky->connect('/echo');
$c->send(frame(TEXT, 'a', fin => 0), frame(CLOSE, close_payload(1000)));
is($c->close_in(), 1000, 'a close frame may stand inside a message');

$c = Snorky->connect('/echo');
$c->send($_) for split //, frame(CLOSE, close_payload(4000, 'slow'));
is($c->close_in(), 4000, 'a close frame may come byte by byte');

$c = Snorky->connect('/echo');
$c->close_frame(1000);
$c->half_close();
is($c->close_in(), 1000,
    'a client that ends its side with the close frame gets an answer');
ok($c->gone(), 'and the end');


# the server closes: an error, and a client that does not answer

$c = Snorky->connect('/ws');
$c->{mute} = 1;
$c->send(frame(CONT, ''));
is($c->close_in(), 1002, 'an error is answered with a close frame');
ok(length $c->{closed}{reason}, 'that has a reason');
ok($c->gone(3), 'and the connection ends though the client is silent');

# ... and keeps sending, which is not to prolong it

$c = Snorky->connect('/ws');
$c->{mute} = 1;
$c->send(frame(CONT, ''));
$start = time();
while (time() - $start < 4 && $c->send(frame(PING, ''))) {
    last if !$c->fill(time() + 0.1) && $c->{eof};
}
ok($c->{why} =~ /eof|reset/, 'and though the client goes on sending');


# ... or has sent more already, which is not to reset the connection: that
# could take the close frame from it

$c = Snorky->connect('/ws');
$c->send(frame(CONT, ''), frame(BINARY, 'x' x 60000) x 20);
is($c->close_in(), 1002, 'a client that has sent more gets the close frame');
$c->gone();
is($c->{why}, 'eof', 'and a regular end');


# the server closes: a reload

my $answering = Snorky->connect('/ws');
my $silent = Snorky->connect('/ws');
my $late = Snorky->connect('/echo');

$silent->{mute} = $late->{mute} = 1;

$t->reload();

is($answering->close_in(5), 1012, 'a reload closes with 1012');
$start = time();
ok($answering->gone(5), 'the connection of a client that answers ends');
ok(time() - $start < 0.8, 'at once');

is($silent->close_in(5), 1012, 'a client that does not answer gets 1012');
$start = time();
ok(!$silent->gone(0.4), 'and some time to answer');
ok($silent->gone(5), 'and no more than that');

is($late->close_in(5), 1012, 'a client may have something to say');
$late->send(frame(TEXT, 'crossed'), frame(PING, 'crossed'));
is($late->frame_in(0.2), undef, 'that crossed the close frame');
$late->close_frame(1012);
ok($late->gone(0.8), 'and then answer');

wait_until { keys %{{ processes($t) }} == 1 };


# peers that leave without a word

$before = counters();

$c = Snorky->connect('/ws');
$c->rpc('messaging', 'subscribe', { channel => 'c' });
is(wait_until { counters()->{sessions} == 1 }, 1, 'a session is there');
$c->half_close();
ok($c->gone(3), 'a client that half-closes gets the end');

$c = Snorky->connect('/ws');
$c->rpc('messaging', 'subscribe', { channel => 'c' });
$c->reset();

$c = Snorky->connect('/ws');
$c->send(substr frame(TEXT, 'x' x 100), 0, 50);
$c->reset();

$c = Snorky->connect('/ws');
$c->rpc('messaging', 'subscribe', { channel => 'c' });
$c->{sock}->close();

is(wait_until { counters()->{sessions} == 0 }, 1,
    'sessions of peers that left go away');

$n = counters();

is($n->{closed_lost} - $before->{closed_lost}, 4,
    'peers that left without a close frame are counted');
is("$n->{subscriptions} $n->{channels}", '0 0',
    'their subscriptions are gone');


# what is counted as what

$before = $n;

Snorky->connect('/ws')->finish(1000) for 1 .. 5;

for my $bytes (frame(CONT, ''), frame(TEXT, "\xff"),
    frame(TEXT, '', claim => 2 ** 30))
{
    $c = Snorky->connect('/ws');
    $c->send($bytes);
    $c->close_in();
    $c->gone();
}

is(wait_until { counters()->{sessions} == 0 }, 1, 'all sessions have ended');

$n = counters();

is($n->{connections} - $before->{connections}, 8, 'connections are counted');
is($n->{closed_normal} - $before->{closed_normal}, 5,
    'closes by the client are counted as normal');
is(join(' ', map { $n->{"closed_$_"} - $before->{"closed_$_"} }
    qw/ protocol invalid too_big lost timeout slow restart other /),
    '1 1 1 0 0 0 0 0', 'errors are counted each by its own name');


# --- helpers ----------------------------------------------------------------

# the code that answers this payload of a close frame

sub answer {
    my ($payload) = @_;

    my $client = Snorky->connect('/ws');

    $client->send(frame(CLOSE, $payload));
    $client->{close_sent} = 1;

    my $code = $client->close_in();

    return $client->gone() ? $code // $client->{why} : 'open';
}
