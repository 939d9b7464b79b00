#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# snorky_status: which format a client gets, by argument or by Accept, and
# the headers of each.  What JSON says is told by status.t, and what Prometheus
# gets by status_prometheus.t.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


# Accept headers, as lines of one request, and what they get

my $chrome = 'text/html,application/xhtml+xml,application/xml;q=0.9,'
    . 'image/avif,image/webp,image/apng,*/*;q=0.8,'
    . 'application/signed-exchange;v=b3;q=0.7';
my $firefox = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
my $safari = 'application/xml,application/xhtml+xml,text/html;q=0.9,'
    . 'text/plain;q=0.8,image/png,*/*;q=0.5';

my @accepted = (
    [ json => 'nothing' ],
    [ json => 'an empty one', '' ],
    [ json => 'anything', '*/*' ],

    # those who ask

    [ html => 'Chrome', $chrome ],
    [ html => 'Firefox', $firefox ],
    [ html => 'an old Safari', $safari ],
    [ html => 'lynx', 'text/html, text/plain, text/sgml, text/css, */*;q=0.01' ],
    [ json => 'jQuery', 'application/json, text/javascript, */*; q=0.01' ],
    [ json => 'axios', 'application/json, text/plain, */*' ],
    [ prometheus => 'Prometheus 2.42',
      'application/openmetrics-text;version=1.0.0;q=0.5,'
      . 'text/plain;version=0.0.4;q=0.4,*/*;q=0.1' ],
    [ prometheus => 'an older one',
      'application/openmetrics-text; version=0.0.1,'
      . 'text/plain;version=0.0.4;q=0.5,*/*;q=0.1' ],
    [ prometheus => 'one of the first', 'application/vnd.google.protobuf;'
      . 'proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,'
      . 'text/plain;version=0.0.4;q=0.3,application/json;schema='
      . '"prometheus/telemetry";version=0.0.2;q=0.2,*/*;q=0.1' ],
    [ prometheus => 'Prometheus 3',
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,'
      . 'application/openmetrics-text;version=0.0.1;q=0.5,'
      . 'text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,'
      . 'text/plain;version=0.0.4;q=0.3,*/*;q=0.2' ],
    [ prometheus => 'vmagent', 'text/plain;version=0.0.4;q=1,*/*;q=0.1' ],

    # single types

    [ json => 'JSON', 'application/json' ],
    [ html => 'HTML', 'text/html' ],
    [ prometheus => 'text', 'text/plain' ],
    [ prometheus => 'text of the version', 'text/plain;version=0.0.4' ],
    [ prometheus => 'a version in quotes', 'text/plain; version="0.0.4"' ],
    [ json => 'text of another version', 'text/plain;version=1.0.0' ],
    [ html => 'a charset', 'text/html;charset=utf-8' ],
    [ html => 'a type in capitals', 'Text/HTML' ],
    [ html => 'less of any application',
      'application/*;q=0.5, text/html;q=0.6' ],
    [ json => 'any application', 'application/*' ],
    [ html => 'any text', 'text/*' ],
    [ json => 'nothing that there is', 'image/png' ],
    [ json => 'a type that begins like one', 'text/htmlx, textx/html' ],
    [ json => 'a type that one begins like', 'text/htm, tex/html' ],

    # weights

    [ html => 'more of HTML', 'application/json;q=0.8, text/html;q=0.9' ],
    [ json => 'more of JSON', 'text/html;q=0.8, application/json;q=0.9' ],
    [ prometheus => 'more of text',
      'text/html;q=0.1, application/json;q=0.01, text/plain;q=0.101' ],
    [ html => 'a thousandth more', 'application/json;q=0.998,text/html;q=0.999' ],
    [ json => 'as much of all', 'text/plain, text/html, application/json' ],
    [ json => 'as much, in other words',
      'text/html;q=0.50, application/json;q=0.5' ],
    [ html => 'as much of the texts', 'text/plain, text/html' ],
    [ html => 'no JSON', 'application/json;q=0, */*;q=0.1' ],
    [ prometheus => 'neither JSON nor HTML',
      'application/json;q=0.000, */*, text/html;q=0.0' ],
    [ json => 'none at all', '*/*;q=0' ],
    [ json => 'nothing but no HTML', 'text/html;q=0' ],
    [ prometheus => 'a weight in capitals',
      'application/json;Q=0.1, text/plain;Q=0.2' ],
    [ html => 'a weight of 1.', 'application/json;q=0.999, text/html;q=1.' ],
    [ html => 'a weight of 1.000', 'application/json;q=0.99,text/html;q=1.000' ],

    # the closest one counts, wherever it stands

    [ html => 'a type before a range',
      'application/json;q=0.1, */*;q=0.9, text/plain;q=0.2' ],
    [ html => 'a range before a type',
      '*/*;q=0.9, text/plain;q=0.2, application/json;q=0.1' ],
    [ json => 'less of text than of others', '*/*;q=0.5, text/*;q=0.4' ],
    [ json => 'less of the version than of others',
      '*/*;q=0.5, text/plain;q=0.9, text/html;q=0.1,'
      . ' text/plain;version=0.0.4;q=0.4' ],
    [ prometheus => 'another version, not this one',
      'text/plain;version=1.0.0;q=0.1, text/plain, application/json;q=0.5' ],
    [ html => 'a type twice',
      'text/html;q=0.9, application/json;q=0.5, text/html;q=0.1' ],

    # several lines

    [ html => 'lines', 'application/json;q=0.5', 'text/html;q=0.6' ],
    [ json => 'lines, the other way', 'text/html;q=0.5',
      'application/json;q=0.6' ],
    [ prometheus => 'a line more', '*/*;q=0.1', '', 'text/plain' ],

    # blanks, and what must not be taken for something else

    [ html => 'blanks', " application/json ;\tq=0.1\t,\ttext/html ; q=0.2 " ],
    [ html => 'empty elements', ', ,text/html,,' ],
    [ json => 'an end in a quoted string',
      'image/png;x="a, text/html, ";q=0.1' ],
    [ json => 'an escaped quote', 'image/png;x="a\\", text/html;"' ],
    [ html => 'something behind a quoted string',
      'image/png;x="\\\\", text/html' ],
    [ html => 'a weight in a quoted string',
      'text/html;x=";q=0";q=0.9, application/json;q=0.5' ],
    [ json => 'an open string', 'image/png;x=", text/html' ],
    [ json => 'an escape at the end', 'image/png;x="\\' ],
    [ json => 'no type', '/, */, /html, text/, text, ;q=1, =' ],
    [ html => 'no type, and one', '/, text;q=1, text/html;q=0.1' ],
    [ prometheus => 'a word that ends in q',
      'text/plain;xq=0, application/json;q=0.5' ],
    (map { [ json => "a weight of \"$_\"", "text/html;q=$_, image/png" ] }
        '', '2', '1.001', '1.5', '-1', '+0.5', '.5', '0.1234', '0,9', 'x',
        '0.x', '0./', '0.-5', '0x1', '1e0', '"0.5"', '00.5', ' 0.5 5'),
    [ json => 'much', join ', ', map { "a/b$_;q=0.$_" } 1 .. 300 ],
    [ html => 'much, and HTML', join ', ', (map { "a/b$_;c=\"$_\"" } 1 .. 300),
      'text/html' ],
);

my %type = (
    json       => 'application/json',
    html       => 'text/html; charset=utf-8',
    prometheus => 'text/plain; version=0.0.4; charset=utf-8',
);

my @formats = sort keys %type;

my $t = Test::Nginx->new()->has(qw/ http ssi /)
    ->plan(@accepted + 13 * @formats + 20);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;

    charset_map koi8-r utf-8 {
        C0 D18E;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        large_client_header_buffers 4 32k;

        location /status {
            snorky_status;
        }

        location /charset {
            snorky_status;
            source_charset utf-8;
            charset koi8-r;
        }

        location /gzip {
            snorky_status;
            gzip on;
            gzip_min_length 1;
            gzip_types application/json text/plain;
        }

        location /rewritten {
            try_files /missing /status?$args;
        }

        location /page/ {
            alias %%TESTDIR%%/;
            ssi on;
        }
    }
}

EOC

$t->write_file('part.html', 'a <!--#include virtual="/status" --> b');
$t->write_file('prometheus.html',
    'a <!--#include virtual="/status?format=prometheus" --> b');
$t->write_file('wrong.html',
    'a <!--#include virtual="/status?format=xml" --> b');
$t->run();

my $r;


# by Accept

for my $case (@accepted) {
    my ($format, $name, @lines) = @$case;

    $r = get('/status', headers => [ map { "Accept: $_" } @lines ]);

    is($r->{headers}{'content-type'}, $type{$format}, "$name: $format");
}


# by the argument, which Accept does not change

my $page = slurp('src/http/ngx_snorky_status.html');

my %body = (
    json       => qr/^\{"version":"[\d.]+",.*\]\}\r\n\z/,
    html       => qr/^\Q$page\E\z/,
    prometheus => qr/^# HELP snorky_.*\nsnorky_\w+(?:\{.*\})? \d+\n\z/s,
);

my %other = (
    json => 'text/html', html => 'text/plain', prometheus => $firefox,
);

for my $format (@formats) {
    my $uri = "/status?format=$format";

    $r = get($uri, headers => [ "Accept: $other{$format}" ]);

    is("$r->{status} $r->{headers}{'content-type'}", "200 $type{$format}",
        "$format is given when it is asked for");
    is($r->{headers}{'content-length'}, length $r->{body}, 'with its length');
    like($r->{body}, $body{$format}, 'and all of it');
    is($r->{headers}{'cache-control'}, 'no-store', 'nobody may store it');
    is($r->{headers}{vary}, 'Accept', 'it depends on the client');

    is($r->{headers}{'content-security-policy'},
        $format ne 'html' ? undef
        : "default-src 'none'; script-src 'unsafe-inline'; "
        . "style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
        . "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
        $format eq 'html' ? 'it has a policy' : 'it needs no policy');
    is($r->{headers}{'x-content-type-options'},
        $format eq 'html' ? 'nosniff' : undef, 'and its type is what it says');

    my $h = Snorky->dial();
    my $head = $h->request('HEAD', $uri);

    is(alike($head), alike($r), 'HEAD gets the same head');
    is($h->request('GET', '/status')->{status}, 200, 'and nothing more');

    my $plain = get("/charset?format=$format");

    is($plain->{headers}{'content-type'}, $type{$format},
        'no charset is put behind its own');
    is($plain->{headers}{'content-length'}, length $plain->{body},
        'and it is not made another');

    my $gzip = get("/gzip?format=$format", headers => [
        'Accept-Encoding: gzip' ]);

    is($gzip->{headers}{'content-encoding'}, 'gzip', 'it can be compressed');

    $r = get("/rewritten?format=$format");
    is($r->{headers}{'content-type'}, $type{$format},
        'so it is after an internal redirect');
}


# other arguments

is(get("/status?format=$_")->{status}, 400, "there is no format \"$_\"")
    for '', 'xml', 'JSON', 'jso', 'jsonx', 'htm%6c', 'prometheus%20', 'json,';

$r = get('/status?format=xml&format=json');
is($r->{status}, 400, 'of two, the first one counts');

is(get("/status?$_", headers => [ 'Accept: text/html' ])
    ->{headers}{'content-type'}, $type{html}, "\"$_\" says nothing of it")
    for 'xformat=json', 'formats=json', 'format', 'a=format=json';

is(get("/status?$_")->{headers}{'content-type'}, $type{html},
    "\"$_\" does") for 'a=1&format=html', 'format=html&b', 'FORMAT=html';

is(Snorky->dial()->request('POST', '/status?format=html', body => 'x')
    ->{status}, 405, 'the page is for reading, too');


# a part of a page is not what the browser has asked for

my @browser = ("Accept: $firefox");

like(get('/page/part.html', headers => [ @browser ])->{body},
    qr/^a \{"version":.*\}\s* b$/s, 'a subrequest gets JSON');
like(get('/page/prometheus.html', headers => [ @browser ])->{body},
    qr/^a # HELP .* \d\n b$/s, 'or what it asks for');
like(get('/page/wrong.html', headers => [ @browser ])->{body},
    qr/^a .*400 Bad Request.* b$/s, 'if that exists');


# --- helpers ----------------------------------------------------------------

sub slurp {
    my ($name) = @_;
    local $/;

    open my $f, '<', "$FindBin::Bin/../$name" or die "cannot read $name: $!\n";

    return scalar <$f>;
}


# what a head says of an answer

sub alike {
    my ($answer) = @_;

    return join "\n", $answer->{line}, map { "$_: $answer->{headers}{$_}" }
        grep { !/^(?:date|connection)$/ } sort keys %{ $answer->{headers} };
}
