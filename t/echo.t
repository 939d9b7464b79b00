#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The service "echo": the content of every message comes back to its sender,
# in the name of the service.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(32);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_drain 10ms;
    snorky_service echo echo;
    snorky_service echo "second echo";
    snorky_service pubsub messaging;

    snorky_registry private {
        snorky_service echo inner;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /big {
            snorky_websocket;
            snorky_max_message_size 2m;
            snorky_send_buffer 4m;
        }

        location /private {
            snorky_websocket registry=private;
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

my $c = Snorky->connect('/ws');
my $other = Snorky->connect('/ws');


# over a WebSocket

for my $content (qw/ null 0 -0.0 1e400 true "" "a" [] {} [1,[2,{"a":3}]]
    {"type":"error"} {"command":"nothing","params":{},"callId":1}
    {"command":"publish"} {"service":"echo","message":1}
    {"service":"messaging","message":{"command":"publish","params":{}}} /)
{
    $c->text(qq/{"service":"echo","message":$content}/);
    is($c->text_in(), qq/{"service":"echo","message":$content}/,
        "$content comes back");
}

ok($other->silent(0.2), 'nobody else hears it');

$c->text('{"service":"second echo","message":1}');
is($c->text_in(), '{"service":"second echo","message":1}',
    'a second echo answers in its own name');

$c->text('{"service":"echo"}');
$c->text('{"service":"echo","message":"next"}');
is($c->text_in(), '{"service":"echo","message":"next"}',
    'where there is no content, nothing comes back');

my $private = Snorky->connect('/private');

$private->text('{"service":"echo","message":1}');
$private->text('{"service":"inner","message":2}');
is($private->text_in(), '{"service":"inner","message":2}',
    'in another registry is another echo');

$c->binary('{"service":"echo","message":"binary"}');
is(join(' ', map { $_ // '' } @{ $c->message_in() || {} }{qw/ op data /}),
    TEXT . ' {"service":"echo","message":"binary"}',
    'what comes in a binary frame goes back in a text frame');


# the order

$c->send(map { frame(TEXT, qq/{"service":"/
    . ($_ % 2 ? 'echo' : 'second echo') . qq/","message":$_}/) } 1 .. 2000);
is(join(',', map { (decode($c->text_in()) || {})->{message} // '' } 1 .. 2000),
    join(',', 1 .. 2000), 'two thousand come back in their order');

$c->send(map { frame(TEXT, $_) } '{"service":"echo","message":1}',
    '{"service":"messaging","message":{"command":"nothing","params":{}}}',
    '{"service":"echo","message":2}');
like(join(' ', map { $c->text_in() // '' } 1 .. 3),
    qr/"message":1\} .*Unknown command.* .*"message":2\}/,
    'also among the answers of other services');


# large ones

my $limit = 64 * 1024;
my $around = length '{"service":"echo","message":""}';
my $text = '"' . 'x' x ($limit - $around) . '"';

$c->text(qq/{"service":"echo","message":$text}/);
ok(($c->text_in() // '') eq qq/{"service":"echo","message":$text}/,
    'a message of the largest size comes back');

my $big = Snorky->connect('/big');

$text = '"' . join('', map { sprintf '%08x', $_ * 2654435761 % 2 ** 32 }
    1 .. 200000) . '"';

$big->text(qq/{"service":"echo","message":$text}/);
ok(($big->text_in() // '') eq qq/{"service":"echo","message":$text}/,
    'one of 1.6m as well, where that may be');


# over the backend

my $r = post('{"service":"echo","message":{"a":[1.0,"\u0041"]}}');

is($r->{status}, 200, 'a backend gets an answer');
is($r->{body}, '{"service":"echo","message":{"a":[1.0,"\u0041"]}}',
    'which is what it sent');

is(post('{"service":"echo","message":{"command":"nothing","params":{},'
    . '"callId":1}}')->{body}, '{"service":"echo","message":{"command":'
    . '"nothing","params":{},"callId":1}}', 'also when it looks like a call');
is(post('[{"service":"echo","message":1},{"service":"second echo","message":'
    . '[]},{"service":"echo","message":null}]')->{body},
    '[{"service":"echo","message":1},{"service":"second echo","message":[]},'
    . '{"service":"echo","message":null}]', 'and in a batch');
is(post('{"service":"inner","message":1}')->{status}, 404,
    'one of another registry is not found');
is(post('{"service":"echo"}')->{status}, 400,
    'an envelope without a content is malformed');


# the figures

my $before = counters();

$c->text('{"service":"echo","message":"12345"}');
$c->text_in();

my $after = counters();
my $len = length '{"service":"echo","message":"12345"}';

is(join(' ', map { $after->{$_} - $before->{$_} }
    qw/ messages_in messages_out bytes_in bytes_out errors publications
        deliveries /), "1 1 $len $len 0 0 0",
    'an echo is one message in and one out, and nothing else');

is(join(' ', map { $_->finish() } $c, $other, $private, $big),
    '1000 1000 1000 1000', 'all can close after it');


# --- helpers ----------------------------------------------------------------

sub post {
    my ($body) = @_;

    return backend_post('/backend', $body, key => 'swordfish');
}
