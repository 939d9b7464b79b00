#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The raw echo: every message comes back as it was, whatever is in it, up to
# the size that is configured and in as many fragments as one likes.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(28);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_service echo echo;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 sndbuf=16k;
        server_name  localhost;

        location /echo {
            snorky_websocket_echo;
        }

        location /big {
            snorky_websocket_echo;
            snorky_max_message_size 4m;
            snorky_send_buffer 16m;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my ($c, $m, $n);


# as it was

$c = Snorky->connect('/echo');

for my $text ('', 'x', 'no JSON', '{"service":"echo","message":1}', "\x00",
    "\xe2\x82\xac", "\r\n\r\n", ' ' x 1000)
{
    $c->text($text);
    $m = $c->message_in();
    is($m && "$m->{op} $m->{data}", TEXT . " $text",
        'the text ' . json(substr $text, 0, 40) . ' comes back');
}

my $all = join '', map { chr } 0 .. 255;

for my $data ('', "\x00", "\xff\xfe\xfd", $all, $all x 200) {
    $c->binary($data);
    $m = $c->message_in();
    ok($m && $m->{op} == BINARY && $m->{data} eq $data,
        length($data) . ' bytes of binary come back');
}

$c->text('a');
$c->binary('b');
$c->text('c');
is(join(' ', map { join '', @{ $c->message_in() }{qw/ op data /} } 1 .. 3),
    '1a 2b 1c', 'text and binary may be mixed');


# in 65,536 fragments

$c = Snorky->connect('/echo');

my @letters = ('a' .. 'z');
my $text = join '', map { $letters[$_ % 26] } 0 .. 65535;

$c->send(frame(TEXT, 'a', fin => 0),
    (map { frame(CONT, $letters[$_ % 26], fin => 0) } 1 .. 65534),
    frame(CONT, $letters[65535 % 26]));
$m = $c->message_in();
ok($m && $m->{data} eq $text, 'a text in 65,536 fragments comes back');

$c->send(frame(BINARY, '', fin => 0),
    (map { frame(CONT, '', fin => 0) } 1 .. 65534), frame(CONT, 'end'));
$m = $c->message_in();
is($m && "$m->{op} $m->{data}", '2 end',
    'empty fragments cost nothing, whatever their number');

$c->send(frame(TEXT, 'a', fin => 0),
    (map { (frame(CONT, 'b', fin => 0), frame(PING, $_)) } 1 .. 1000),
    frame(CONT, 'c'));
$m = $c->message_in();
is($m && $m->{data}, 'a' . 'b' x 1000 . 'c',
    'pings may stand between all fragments');


# large ones

my $mega = join '', map { sprintf '%08x', $_ * 2654435761 % 2 ** 32 }
    1 .. 131072;

$c = Snorky->connect('/big');

$c->text($mega);
$m = $c->message_in();
ok($m && $m->{data} eq $mega, 'a text of 1m comes back');

$c->binary($mega x 4);
$m = $c->message_in();
ok($m && $m->{data} eq $mega x 4, 'a message of the limit of 4m comes back');

$c->send(frame(BINARY, substr($mega, 0, 1000), fin => 0),
    (map { frame(CONT, substr($mega, $_ * 1000, 1000), fin => 0) }
     1 .. 1047), frame(CONT, substr($mega, 1048000)));
$m = $c->message_in();
ok($m && $m->{data} eq $mega, 'a message of 1m in fragments comes back');

$c->send(map { frame(TEXT, $mega) } 1 .. 8);
is(scalar(grep { ($c->text_in() // '') eq $mega } 1 .. 8), 8,
    'eight large messages in a row come back');

# ... written in many parts, since the socket takes little at a time

my $narrow = Snorky->connect('/big', port => port(8081), rcvbuf => 8192);
$narrow->send(map { frame(BINARY, $mega) } 1 .. 4);
is(scalar(grep { ($narrow->text_in() // '') eq $mega } 1 .. 4), 4,
    'large messages pass through a small socket');
undef $narrow;

$c->send(frame(BINARY, '', claim => 4 * 2 ** 20 + 1));
is($c->close_in(), 1009, 'one byte more than the limit is refused');


# no rate is kept

$c = Snorky->connect('/echo');
$c->send(map { frame(TEXT, "message $_") } 1 .. 20000);
is(scalar(grep { ($c->text_in() // '') eq "message $_" } 1 .. 20000), 20000,
    'twenty thousand messages at once come back in their order');

my @clients = map { Snorky->connect('/echo') } 1 .. 20;
my %got;

for my $i (0 .. $#clients) {
    $clients[$i]{name} = $i;
    $clients[$i]->send(map { frame(TEXT, "$i $_") } 1 .. 500);
}

gather(10, sub {
    my ($client, $got) = @_;
    my $want = $client->{name} . ' ' . (($got{$client->{name}} // 0) + 1);
    $got{$client->{name}}++ if $got eq $want;
    return !grep { ($got{$_} // 0) < 500 } 0 .. $#clients;
}, @clients);

is(scalar(grep { ($got{$_} // 0) == 500 } 0 .. $#clients), 20,
    'twenty clients at once get their own messages');


# the figures

undef @clients;
undef $c;

is(wait_until { counters()->{sessions_echo} == 0 }, 1,
    'no session is left behind');

my $before = counters();

$c = Snorky->connect('/echo');
$c->text('12345');
$c->text_in();

$n = counters();

is("$n->{sessions} $n->{sessions_echo} $n->{sessions_websocket}", '1 1 0',
    'a session of the raw echo is counted as one');
is(join(' ', map { $n->{$_} - $before->{$_} }
    qw/ connections messages_in messages_out malformed /), '1 1 1 0',
    'its messages are counted');
