#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# upstream: the application need not speak HTTP.  Whatever nginx has a "pass"
# for may answer calls: FastCGI, SCGI, uwsgi, gRPC, and njs inside of nginx.

use strict;
use warnings;

use FindBin;
use IO::Select ();
use IO::Socket::INET ();
use POSIX ();
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()
    ->has(qw/ http fastcgi scgi uwsgi grpc http_v2 /)->plan(3 * 8 + 2 + 4);

my $njs = "$ENV{TEST_NGINX_MODULES}/ngx_http_js_module.so";
my %njs = -f $njs ? (
    load   => "load_module $njs;",
    import => 'js_import app.js;',
    location => 'location /js { internal; js_content app.answer; }',
) : ();

$t->write_file('app.js', <<'EOJ');

function answer(r) {
    var call = JSON.parse(r.requestText);

    if (call.command === 'later') {
        setTimeout(function () { tell(r, call); }, 1);
        return;
    }

    if (call.command === 'fail') {
        r.headersOut['Content-Type'] = 'text/plain';
        r.return(409, 'No!');
        return;
    }

    tell(r, call);
}

function tell(r, call) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(200, JSON.stringify({ body: call,
        by: r.headersIn['X-Snorky-Identity'],
        client: r.variables.snorky_client }));
}

export default { answer };
EOJ

$t->write_file_expand('nginx.conf',
    <<'EOC' =~ s/%%NJS_(\w+)%%/$njs{lc $1} \/\/ ''/ger);

%%TEST_GLOBALS%%
%%NJS_LOAD%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 1m;
    snorky_drain 10ms;

    snorky_service upstream fastcgi pass=/fastcgi?a=b;
    snorky_service upstream scgi pass=/scgi?a=b;
    snorky_service upstream uwsgi pass=/uwsgi?a=b;
    snorky_service upstream grpc pass=/grpc;
    snorky_service upstream js pass=/js;

    %%NJS_IMPORT%%

    snorky_identity $arg_user;

    server {
        listen       %%PORT_8080%%;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /fastcgi {
            internal;
            fastcgi_pass 127.0.0.1:%%PORT_8090%%;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_param DOCUMENT_URI $document_uri;
            fastcgi_param SERVER_PROTOCOL $server_protocol;
            fastcgi_param REQUEST_SCHEME $scheme;
            fastcgi_param REMOTE_ADDR $remote_addr;
            fastcgi_param REMOTE_PORT $remote_port;
            fastcgi_param SERVER_ADDR $server_addr;
            fastcgi_param SERVER_PORT $server_port;
            fastcgi_param SERVER_NAME $server_name;
        }

        location /scgi {
            internal;
            scgi_pass 127.0.0.1:%%PORT_8091%%;
            scgi_param REQUEST_METHOD $request_method;
            scgi_param QUERY_STRING $query_string;
            scgi_param CONTENT_LENGTH $content_length;
            scgi_param CONTENT_TYPE $content_type;
            scgi_param REMOTE_ADDR $remote_addr;
            scgi_param SERVER_PORT $server_port;
        }

        location /uwsgi {
            internal;
            uwsgi_pass 127.0.0.1:%%PORT_8092%%;
            uwsgi_param REQUEST_METHOD $request_method;
            uwsgi_param QUERY_STRING $query_string;
            uwsgi_param CONTENT_LENGTH $content_length;
            uwsgi_param CONTENT_TYPE $content_type;
            uwsgi_param REMOTE_ADDR $remote_addr;
            uwsgi_param SERVER_PORT $server_port;
        }

        location /grpc {
            internal;
            grpc_pass grpc://127.0.0.1:%%PORT_8081%%;
        }

        %%NJS_LOCATION%%
    }

    # HTTP/2 is what gRPC speaks

    server {
        listen       127.0.0.1:%%PORT_8081%% http2;

        location / {
            fastcgi_pass 127.0.0.1:%%PORT_8090%%;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param SERVER_PROTOCOL $server_protocol;
        }
    }
}

EOC

my $pid = application(map { port($_) } 8090 .. 8092);

$t->run();

for my $kind (qw/ fastcgi scgi uwsgi /) {
    my $c = Snorky->connect('/ws?user=anna', from => '127.0.0.3');
    my $got = $c->rpc($kind, 'tell', { a => 1 })->{data};

    is($got->{body}, '{"command":"tell","params":{"a":1},"callId":1}',
        "$kind: the application gets the call");
    is(join(' ', map { $got->{params}{"HTTP_X_SNORKY_$_"} // '-' }
        qw/ SERVICE COMMAND IDENTITY REMOTE_ADDR /),
        "$kind tell anna 127.0.0.3", "$kind: and who it is from");
    is(join(' ', map { $got->{params}{$_} // '-' } qw/ REQUEST_METHOD
        QUERY_STRING CONTENT_LENGTH CONTENT_TYPE REMOTE_ADDR SERVER_PORT /),
        'POST a=b ' . length($got->{body}) . ' application/json 127.0.0.3 '
        . port(8080), "$kind: with the usual variables");
    is(join(' ', grep { /^HTTP_/ && !/^HTTP_X_SNORKY_/ }
        sort keys %{ $got->{params} }), 'HTTP_CONTENT_LENGTH HTTP_CONTENT_TYPE',
        "$kind: and no other headers");

    is($c->rpc($kind, 'fail', {})->{message}, 'No!',
        "$kind: it may refuse");
    is($c->rpc($kind, 'long', {})->{data}, 'x' x 50000,
        "$kind: or say much");
    is($c->rpc($kind, 'die', {})->{message}, '502 Bad Gateway',
        "$kind: or die");
    is($c->rpc($kind, 'tell', {})->{type}, 'response',
        "$kind: the next call is answered");

    $c->finish();
}

my $c = Snorky->connect('/ws?user=anna');
my $got = $c->rpc('grpc', 'tell', { a => 1 })->{data};

is($got->{body}, '{"command":"tell","params":{"a":1},"callId":1}',
    'grpc: the application gets the call');
is(join(' ', map { $got->{params}{$_} // '-' } qw/ SERVER_PROTOCOL
    HTTP_X_SNORKY_COMMAND HTTP_X_SNORKY_IDENTITY /), 'HTTP/2.0 tell anna',
    'grpc: and who it is from');

SKIP: {
    skip 'no njs', 4 unless %njs;

    $got = $c->rpc('js', 'tell', { a => 1 })->{data};

    is_deeply($got->{body},
        { command => 'tell', params => { a => 1 }, callId => 2 },
        'js: a function of nginx gets the call');
    like("$got->{by} $got->{client}", qr/^anna [0-9a-f]+-[0-9a-f]+$/,
        'js: and who it is from');
    is($c->rpc('js', 'later', {})->{data}{by}, 'anna',
        'js: it may take its time');
    is($c->rpc('js', 'fail', {})->{message}, 'No!', 'js: or refuse');
}

kill 'KILL', $pid;
waitpid $pid, 0;

$t->stop();


# --- the application --------------------------------------------------------

# It serves one connection after the other.

sub application {
    my @ports = @_;

    my @listen = map {
        IO::Socket::INET->new(Proto => 'tcp', LocalAddr => '127.0.0.1',
            LocalPort => $_, Listen => 16, ReuseAddr => 1)
            or die "cannot listen on port $_: $@\n"
    } @ports;

    my $child = fork() // die "cannot fork: $!\n";

    return $child if $child;

    $SIG{PIPE} = 'IGNORE';
    my $select = IO::Select->new(@listen);

    for (;;) {
        for my $listen ($select->can_read()) {
            my $s = $listen->accept() or next;

            my ($kind) = grep { $listen == $listen[$_] } 0 .. $#listen;

            eval { (\&fastcgi, \&scgi, \&uwsgi)[$kind]->($s) };
            close $s;
        }
    }
}


sub fastcgi {
    my ($s) = @_;

    my ($stream, $body, %params) = ('', '');

    for (;;) {
        my (undef, $type, undef, $length, $padding)
            = unpack 'CCnnC', bytes($s, 8);
        my $data = bytes($s, $length);

        bytes($s, $padding);

        $stream .= $data if $type == 4;
        $body .= $data if $type == 5;

        last if $type == 5 && $length == 0;
    }

    while (length $stream) {
        my @length;

        for (1, 2) {
            my $n = unpack 'C', $stream;
            push @length, $n < 128 ? unpack 'C', substr $stream, 0, 1, ''
                : 0x7fffffff & unpack 'N', substr $stream, 0, 4, '';
        }

        my $name = substr $stream, 0, $length[0], '';
        $params{$name} = substr $stream, 0, $length[1], '';
    }

    my $answer = answer(\%params, $body) // return;

    for my $piece ($answer =~ /.{1,8000}/gs, '') {
        print $s pack('CCnnCC', 1, 6, 1, length $piece, 0, 0), $piece;
    }

    print $s pack('CCnnCC NC x3', 1, 3, 1, 8, 0, 0, 0, 0);
    $s->flush();

    return;
}


sub scgi {
    my ($s) = @_;

    my $length = '';

    while ((my $c = bytes($s, 1)) ne ':') {
        $length .= $c;
    }

    my %params = bytes($s, $length) =~ /([^\0]*)\0([^\0]*)\0/g;

    bytes($s, 1);

    my $body = bytes($s, $params{CONTENT_LENGTH});

    print $s answer(\%params, $body) // return;
    $s->flush();

    return;
}


sub uwsgi {
    my ($s) = @_;

    my (undef, $length) = unpack 'CvC', bytes($s, 4);
    my %params = unpack '(v/a v/a)*', bytes($s, $length);
    my $body = bytes($s, $params{CONTENT_LENGTH});

    print $s answer(\%params, $body) // return;
    $s->flush();

    return;
}


sub answer {
    my ($params, $body) = @_;

    my $json = "Content-Type: application/json\r\n";

    for ($params->{HTTP_X_SNORKY_COMMAND}) {
        return undef if /die/;
        return "Status: 403 Forbidden\r\n$json\r\n\"No!\"" if /fail/;
        return "Status: 200 OK\r\n$json\r\n\"" . 'x' x 50000 . '"' if /long/;
    }

    return "Status: 200 OK\r\n$json\r\n"
        . json({ params => $params, body => $body });
}


sub bytes {
    my ($s, $n) = @_;

    my $got = '';

    while (length $got < $n) {
        sysread $s, $got, $n - length $got, length $got or die "eof\n";
    }

    return $got;
}
