#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# HTTP/2: backend and status are served as over HTTP/1.1, and a WebSocket is
# refused in good order, as nginx has no way to open it there.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http v2 /)->has_daemon('curl');

plan(skip_all => 'curl knows no HTTP/2')
    unless `curl -V 2>/dev/null` =~ /^Features:.*\bHTTP2\b/m;

$t->plan(29);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_drain 10ms;

    snorky_service pubsub messaging;
    snorky_service echo echo;

    snorky_max_message_size 4m;
    snorky_backend_key swordfish;
    client_max_body_size 16m;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 http2;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /backend {
            snorky_backend;
        }

        location /file {
            snorky_backend;
            client_body_in_file_only clean;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

my $dir = $t->testdir();
my $url = 'http://127.0.0.1:' . port(8081);
my $key = '-H X-Backend-Key:swordfish';
my $one = '{"service":"echo","message":1}';
my $r;

my $subscriber = Snorky->connect('/ws');
$subscriber->rpc('messaging', 'subscribe', { channel => 'c' });


# the backend

$r = curl('/backend', $one, $key);
is("$r->{status} $r->{body}", "200 $one", 'a POST over HTTP/2 is answered');
is($r->{headers}{'content-type'}, 'application/json', 'as JSON');

$r = curl('/backend', envelope('messaging', { command => 'publish',
    params => { channel => 'c', message => 'over HTTP/2' }, callId => 1 }),
    $key);
is($r->{body}, '{"service":"messaging","message":{"type":"response",'
    . '"callId":1,"data":null}}', 'a call is done');
is(($subscriber->notification() || {})->{message}, 'over HTTP/2',
    'and its message heard');

$r = curl('/backend', "[$one,$one]", $key);
is("$r->{status} $r->{body}", "200 [$one,$one]", 'a batch is answered');

# without bodies: nginx resets a stream whose body it does not read, and curl
# may take that for a failure

is(curl('/backend', '')->{status}, 401, 'without a key it is 401');
is(curl('/backend', '', '-H X-Backend-Key:x')->{status}, 401,
    'and with a wrong one');
is(curl('/backend', '{', $key)->{status}, 400, 'what is malformed is 400');
is(curl('/backend', '', $key)->{status}, 400, 'an empty body, too');
is(curl('/backend', '{"service":"nobody","message":1}', $key)->{status}, 404,
    'an unknown service is 404');

$r = curl('/backend', undef, $key);
is("$r->{status} $r->{headers}{allow}", '405 POST', 'GET is not allowed');

my $large = '{"service":"echo","message":"'
    . join('', map { sprintf '%08x', $_ * 2654435761 % 2 ** 32 } 1 .. 200000)
    . '"}';

$r = curl('/backend', $large, $key);
ok($r->{body} eq $large, 'a message of 1.6m is answered');
$r = curl('/file', $large, $key);
ok($r->{body} eq $large, 'also when it has been in a file');
$r = curl('/backend', '[' . join(',', ($large) x 5) . ']', "$key "
    . '--limit-rate 8m');
ok($r->{body} eq '[' . join(',', ($large) x 5) . ']',
    'also when it is read slowly, and more than a window');


# the status

$r = curl('/status');
is("$r->{status} $r->{headers}{'content-type'}", '200 application/json',
    'there is a status');
is(ref decode($r->{body}), 'HASH', 'which is JSON');
is(curl('/status', undef, '--head')->{status}, 200, 'or the head of it');
is(curl('/status', '')->{status}, 405, 'and nothing for a POST');


# no WebSocket

my $upgrade = '-H Sec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ== '
    . '-H Sec-WebSocket-Version:13';

for my $uri (qw{ /ws /echo }) {
    $r = curl($uri, undef, $upgrade);
    is($r->{status}, 426, "a WebSocket at $uri is refused");
    is($r->{headers}{'sec-websocket-version'}, 13, 'with the version');
    is($r->{headers}{upgrade}, undef,
        'but no Upgrade, which HTTP/2 does not have');
}

is(curl('/ws', undef, "$upgrade -H Origin:http://elsewhere.example")->{status},
    426, 'whatever its origin');
is(curl('/ws', '', $upgrade)->{status}, 405, 'or method, which is told first');

is(counters()->{rejected_handshake}, 4, 'these are counted');
is(counters()->{sessions}, 1, 'and are no sessions');
is($subscriber->finish(), 1000, 'the real one has seen nothing of it');


# --- helpers ----------------------------------------------------------------

sub curl {
    my ($uri, $body, $options) = @_;

    $options = '' unless defined $options;

    if (defined $body) {
        open my $f, '>', "$dir/body" or die "body: $!\n";
        print $f $body;
        close $f;

        $options .= " --data-binary \@$dir/body";
    }

    system("curl -s -m 10 --http2-prior-knowledge -o $dir/out -D $dir/head "
        . "$options $url$uri") == 0 or return { status => "curl: $?",
        headers => {}, body => '' };

    my ($head, $out) = map {
        local $/;
        open my $f, '<', "$dir/$_" or die "$_: $!\n";
        my $text = <$f>;
        close $f;
        defined $text ? $text : '';
    } qw/ head out /;

    my ($status) = $head =~ m{^HTTP/2 (\d+)};
    my %headers = $head =~ /^([^:\r\n]+):[ ]*([^\r\n]*)/mg;

    return { status => $status || $head, headers => \%headers, body => $out };
}
