#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# A request gives memory back at its upgrade, and nobody sees it: what the
# log has of it at the end is what it had at the beginning.
#
# A sanitizer's build takes memory for each thing on its own, so there is
# nothing to give back there.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()
    ->has(qw/ http rewrite map geo auth_request limit_conn /);

# what is logged, with every name that there is

my @names = qw/ request uri host remote_addr status http_upgrade
    http_sec_websocket_protocol http_user_agent http_referer http_cookie
    cookie_a cookie_d http_x_forwarded_for http_authorization
    http_content_type proxy_add_x_forwarded_for snorky_identity
    sent_http_upgrade sent_http_sec_websocket_accept
    sent_http_sec_websocket_protocol sent_http_x_made sent_http_link
    mapped located asked chosen limit_conn_status /;

push @names, map { "http_x_$_" } 1, 2, 5, 9, 16, 21, 40;

my $format = join "\n        ", map { "'$_=\$$_|'" } @names;

# pools of requests and of connections

my @pools = ('', map { my $size = $_; map { "request_pool_size $size; "
    . "connection_pool_size $_;" } 256, 512, '1k', '8k' } qw/ 1k 3k 4k 4352 4480
    4608 5k 6k 8k /);

my $servers = join '', map { my $port = 8080 + $_; <<"EOC" } 0 .. $#pools;

    server {
        listen       127.0.0.1:$port;
        server_name  localhost;

        $pools[$_]
        large_client_header_buffers 4 16k;

        location /ws {
            set \$chosen "chosen \$http_x_1";
            auth_request /ask;
            auth_request_set \$asked "\$uri for \$http_x_1";
            limit_conn keys 1000;
            add_header X-Made "made of \$http_x_2" always;
            add_header X-Set \$chosen always;
            add_header Link "<\$uri>" always;
            expires -1;
            snorky_websocket;
            snorky_websocket_protocol b c;
        }

        location /bare {
            snorky_websocket;
        }

        location = /ask {
            return 204;
        }

        location /status {
            snorky_status;
        }
    }
EOC

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections  2048;
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  all  escape=none
        %%FORMAT%%;

    access_log  %%TESTDIR%%/all.log  all;

    map $http_x_1 $mapped {
        default   "mapped $http_x_1";
    }

    geo $located {
        default       nowhere;
        127.0.0.0/8   here;
    }

    limit_conn_zone  $http_x_1  zone=keys:1m;

    snorky_zone 1m;
    snorky_service echo echo;
    snorky_identity $cookie_a;

    snorky_close_timeout 1s;
    lingering_timeout 1s;

    %%SERVERS%%
}

EOC

$conf =~ s/%%FORMAT%%/$format/;
$conf =~ s/%%SERVERS%%/$servers/;

$t->plan(2 * @pools + 1);
$t->write_file_expand('nginx.conf', at_level($t, 'info', $conf));
$t->run();


# Each of these is opened twice: one ends at once, the other when all have
# come, and both must have the same line.

my @heads = (
    [],
    (map { my $n = $_; [ map { header($_) } 1 .. $n ] }
        1, 5, 8, 9, 10, 13, 15, 16, 18, 21, 40),
    [ map { header($_, 900) } 1 .. 10 ],
    [ 'Cookie: a=1; b=2', 'Cookie: c=3', 'Cookie: d=4' ],
    [ 'X-Forwarded-For: 192.0.2.1', 'X-Forwarded-For: 192.0.2.2' ],
    [ 'Cookie: c=3', 'X-Forwarded-For: 192.0.2.1', map { header($_) } 1 .. 8 ],
    [ 'Sec-WebSocket-Protocol: a', 'Sec-WebSocket-Protocol: b',
      'Sec-WebSocket-Protocol: c' ],
    [ 'Authorization: Basic dXNlcjpwYXNz', 'Range: bytes=0-1',
      'If-None-Match: "x"', 'Via: 1.1 other', 'Referer: http://a.example/',
      'User-Agent: t', 'Accept: */*', 'Accept-Language: en', 'Cookie: a=1',
      'X-Forwarded-For: 192.0.2.1', 'Content-Type: text/plain' ],
);

for my $i (0 .. $#pools) {
    my @port = (port => port(8080 + $i));
    my (%first, @open);

    for my $h (0 .. $#heads) {
        for my $path (qw{ /ws /bare }) {
            my @args = ("$path?head=$h,$i", @port, headers => $heads[$h]);

            Snorky->connect(@args)->finish();
            push @open, Snorky->connect(@args);
        }
    }

    # whatever is free is used by others

    $_->text(envelope('echo', 'y')) for @open;
    get('/none', @port, headers => $_) for @heads;
    $_->text(envelope('echo', 'x' x 2000)) for @open;
    $_->finish() for @open;

    my $lines = wait_until {
        my @found = $t->read_file('all.log')
            =~ m{^(request=GET /(?:ws|bare)\?head=\d+,$i .*)$}mg;
        @found == 4 * @heads && \@found;
    };

    for my $line (@$lines) {
        my ($key) = $line =~ /^request=GET (\S+)/;
        push @{ $first{$key} }, $line;
    }

    my $at = $pools[$i] || 'pools as they are';

    is(join("\n", map { @{ $first{$_} } } grep { $first{$_}[0]
        ne $first{$_}[1] } sort keys %first), '', "$at: the line is the same");

    is(join("\n", map { my ($path, $h) = m{^/(\w+)\?head=(\d+)};
        wrong($path, $heads[$h], $first{$_}[1]) } sort keys %first), '',
        "$at: all that was sent is in it");
}


is(wait_until { counters()->{sessions} == 0 }, 1, 'all are gone');


# --- helpers ----------------------------------------------------------------

sub header {
    my ($n, $len) = @_;

    return "X-$n: value $n " . 'v' x ($len || 3);
}


# what stands in a line that should not, or the other way round

sub wrong {
    my ($path, $head, $line) = @_;

    my %value = map { split /=/, $_, 2 } split /\|/, $line;
    my %sent;

    for my $h (@$head) {
        my ($name, $text) = $h =~ /^([^:]+): (.*)$/;
        push @{ $sent{'http_' . lc $name =~ tr/-/_/r} }, $text;
    }

    my $x1 = $sent{http_x_1} ? $sent{http_x_1}[0] : '';
    my $x2 = $sent{http_x_2} ? $sent{http_x_2}[0] : '';

    my %want = (
        (map { $_ => '' } grep { /^http_|^asked|^chosen|^sent_http_x/ } @names),
        uri => "/$path",
        status => 101,
        http_upgrade => 'websocket',
        sent_http_upgrade => 'websocket',
        sent_http_sec_websocket_accept => 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
        mapped => "mapped $x1",
        located => 'here',
    );

    if ($path eq 'ws') {
        $want{chosen} = "chosen $x1";
        $want{asked} = "/ask for $x1";
        $want{sent_http_x_made} = "made of $x2";
        $want{sent_http_link} = '</ws>';
    }

    for my $name (grep { exists $value{$_} } keys %sent) {
        $want{$name} = join $name eq 'http_cookie' ? '; ' : ', ',
            @{ $sent{$name} };
    }

    $want{proxy_add_x_forwarded_for} = join ', ',
        @{ $sent{http_x_forwarded_for} || [] }, '127.0.0.1';

    # before 1.23, that is the first line only

    my $one = $sent{http_sec_websocket_protocol};

    $want{http_sec_websocket_protocol} = $one->[0]
        if $one && $value{http_sec_websocket_protocol} eq $one->[0];

    return map { "$path $_: '$value{$_}' is not '$want{$_}'" }
        grep { $value{$_} ne $want{$_} } sort keys %want;
}
