#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The configuration: what nginx does not start with, what the module does
# where it is not asked for anything, and how it lives beside the rest.

use strict;
use warnings;
no warnings qw/ portable qw /;     # addresses, and commas in lists of words

use File::Temp ();
use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http access rewrite /)->plan(226);


# what is refused, and that it is told what and why

my $max = '64k';

refused('http', $_->[0], $_->[1]) for

    # the zone

    [ 'snorky_zone x', '"x"' ], [ 'snorky_zone -1', '"-1"' ],
    [ 'snorky_zone 0', '"0"' ], [ 'snorky_zone 32k', '"32k"' ],
    [ 'snorky_zone ""', '""' ], [ 'snorky_zone', 'number of arguments' ],
    [ 'snorky_zone 1m; snorky_zone 1m', 'duplicate' ],
    [ 'snorky_zone 1m log=', '"log="' ], [ 'snorky_zone 1m log=0', '"log=0"' ],
    [ 'snorky_zone 1m log=x', '"log=x"' ],
    [ 'snorky_zone 1m log=1m', '"log=1m"' ],
    [ 'snorky_zone 1m log=2m', '"log=2m"' ],
    [ 'snorky_zone 1m size=1m', '"size=1m"' ],
    [ 'snorky_zone 1m log=1020k', 'too small' ],

    # services

    [ 'snorky_service', 'number of arguments' ],
    [ 'snorky_service pubsub', 'number of arguments' ],
    [ 'snorky_service chatter a', 'unknown service type "chatter"' ],
    [ 'snorky_service Pubsub a', 'unknown service type "Pubsub"' ],
    [ 'snorky_service pubsub ""', 'name' ],
    [ "snorky_service pubsub \"\xff\"", 'name' ],
    [ 'snorky_service echo a; snorky_service echo a', 'duplicate.*"a"' ],
    [ 'snorky_service echo a; snorky_service pubsub a', 'duplicate.*"a"' ],
    [ 'snorky_service pubsub a publish', '"publish"' ],
    [ 'snorky_service pubsub a publish=', '"publish="' ],
    [ 'snorky_service pubsub a publish=some', '"publish=some"' ],
    [ 'snorky_service pubsub a Publish=all', '"Publish=all"' ],
    [ 'snorky_service pubsub a publish=all other=1', '"other=1"' ],
    [ 'snorky_service echo a publish=all', '"publish=all"' ],
    [ 'snorky_service pubsub_backend a', 'frontend.*"a"' ],
    [ 'snorky_service pubsub_backend a frontend=', 'service "a"' ],
    [ 'snorky_service pubsub_backend a frontend=b', 'service "a"' ],
    [ 'snorky_service pubsub_backend a frontend=public/b', 'service "a"' ],
    [ 'snorky_service pubsub_backend a frontend=a', 'service "a"' ],
    [ 'snorky_service pubsub_backend a frontend=b; snorky_service echo b',
      'service "a"' ],
    [ 'snorky_service pubsub b; snorky_service pubsub_backend a '
      . 'frontend=other/b', 'service "a"' ],
    [ 'snorky_service pubsub b; snorky_registry other { snorky_service pubsub '
      . 'b; } snorky_service pubsub_backend a frontend=b', 'ambiguous.*"a"' ],

    # registries

    [ 'snorky_registry { }', 'number of arguments' ],
    [ 'snorky_registry a b { }', 'number of arguments' ],
    [ 'snorky_registry a', 'no opening "\{"' ],
    [ 'snorky_registry a { snorky_zone 1m; }', '"snorky_zone"' ],
    [ 'snorky_registry a { server { } }', 'server|unexpected "\{"' ],
    [ 'snorky_registry a { snorky_service pubsub; }', 'number of arguments' ],
    [ 'snorky_registry a { snorky_service x y; }', 'type "x"' ],
    [ 'snorky_registry a { snorky_service echo b; snorky_service echo b; }',
      'duplicate.*"b".*"a"' ],
    [ 'snorky_registry a { include missing.conf; }', 'missing\.conf' ],

    # on the wrong level

    [ 'snorky_websocket', 'snorky_websocket' ],
    [ 'snorky_backend', 'snorky_backend' ],
    [ 'snorky_status', 'snorky_status' ],
    [ 'snorky_websocket_echo', 'snorky_websocket_echo' ],

    # times of the whole

    [ 'snorky_worker_timeout 0', 'snorky_worker_timeout' ],
    [ 'snorky_worker_timeout x', 'snorky_worker_timeout' ],
    [ 'snorky_drain x', 'snorky_drain' ],
    [ 'snorky_drain 1s; snorky_drain 1s', 'snorky_drain.*duplicate' ];

refused('http', "snorky_deflate $_->[0]",
        "\"$_->[1]\" in \"snorky_deflate\", it must be \"?$_->[2]") for
    [ 'yes', 'yes', 'on' ], [ 'off level=1', 'off', 'on' ],
    [ 'on level=0', 'level=0', 'level=1 to level=9' ],
    [ 'on level=10', 'level=10', 'level=1 to level=9' ],
    [ 'on level=', 'level=', 'level=1 to level=9' ],
    [ 'on window_bits=8', 'window_bits=8', 'window_bits=9 to window_bits=15' ],
    [ 'on window_bits=16', 'window_bits=16',
      'window_bits=9 to window_bits=15' ],
    [ 'on min_size=x', 'min_size=x', 'min_size=SIZE' ],
    [ 'on min_size=', 'min_size=', 'min_size=SIZE' ],
    [ 'on context_takeover=1', 'context_takeover=1', 'level=, window_bits=' ],
    [ 'on fast', 'fast', 'level=, window_bits=' ];

refused('http', $_->[0], $_->[1]) for
    [ 'snorky_deflate', 'number of arguments' ],
    [ 'snorky_deflate on; snorky_deflate off', 'snorky_deflate.*duplicate' ];

refused('server', $_->[0], $_->[1]) for
    [ 'snorky_zone 1m', 'snorky_zone' ],
    [ 'snorky_service echo a', 'snorky_service' ],
    [ 'snorky_registry a { }', 'snorky_registry' ],
    [ 'snorky_worker_timeout 1s', 'snorky_worker_timeout' ],
    [ 'snorky_drain 1s', 'snorky_drain' ],
    [ 'snorky_websocket', 'snorky_websocket' ];

refused('location', $_->[0], $_->[1]) for

    # handlers

    [ 'snorky_websocket registry=nowhere', '"nowhere"' ],
    [ 'snorky_websocket registry=', '"registry="' ],
    [ 'snorky_websocket private', '"private"' ],
    [ 'snorky_websocket registry=public x', 'number of arguments' ],
    [ 'snorky_websocket; snorky_websocket', 'snorky_websocket' ],
    [ 'snorky_websocket; snorky_websocket_echo', 'snorky_websocket_echo' ],
    [ 'snorky_websocket; snorky_status', 'snorky_status' ],
    [ 'snorky_backend; snorky_backend_key x; snorky_websocket',
      'snorky_websocket' ],
    [ 'proxy_pass http://127.0.0.1; snorky_websocket', 'snorky_websocket' ],
    [ 'snorky_websocket; proxy_pass http://127.0.0.1', 'both a snorky' ],
    [ 'snorky_websocket_echo x', 'number of arguments' ],
    [ 'snorky_status x', 'number of arguments' ],
    [ 'if ($arg_x) { snorky_websocket; }', 'snorky_websocket' ],

    # the backend's key

    [ 'snorky_backend', 'snorky_backend_key' ],
    [ 'snorky_backend; snorky_backend_key ""', 'snorky_backend_key' ],
    [ 'snorky_backend; snorky_backend_key', 'number of arguments' ],
    [ 'snorky_backend; snorky_backend_key $nothing_such', 'nothing_such' ],
    [ 'snorky_backend registry=nowhere; snorky_backend_key x', '"nowhere"' ],

    # what has a value

    [ 'snorky_identity $nothing_such', 'nothing_such' ],
    [ 'snorky_identity a; snorky_identity b', 'snorky_identity.*duplicate' ],
    [ 'snorky_origins', 'number of arguments' ],
    [ 'snorky_origins any; snorky_origins any', 'snorky_origins.*duplicate' ],
    [ 'snorky_origins ~[', '\[' ],
    [ 'snorky_websocket_protocol', 'number of arguments' ],
    [ 'snorky_websocket_protocol a; snorky_websocket_protocol b',
      'snorky_websocket_protocol.*duplicate' ],

    # the limits of connections

    (map { [ "snorky_max_connections $_", 'number of arguments' ] }
        '', '$host', '$host 1 2'),
    (map { [ "snorky_max_connections \$host $_", "connections \"$_\"" ] }
        qw/ 0 -1 x 1k 99999999999999999999 /),
    [ 'snorky_max_connections $host ""', 'connections ""' ],
    [ 'snorky_max_connections "" 1', 'empty key' ],
    [ 'snorky_max_connections $nothing_such 1', 'nothing_such' ],
    [ 'snorky_max_connections $host 1; snorky_max_connections $host 2',
      'snorky_max_connections.*duplicate' ],

    (map { my $name = $_; map { [ "$name $_", $name ] } qw/ 0 -1 x "" 1q /,
        "1; $name 2" }
        map { "snorky_$_" } qw/ max_message_size max_channel_size send_buffer
            max_depth max_subscriptions ping_timeout close_timeout /),
    (map { my $name = $_; map { [ "$name $_", $name ] } qw/ -1 x 1q /,
        "1; $name 2" }
        map { "snorky_$_" } qw/ ping_interval publish_timeout /);


# what is not

accepted($_->[0], $_->[1]) for
    [ '', '' ],
    [ 'snorky_zone 64k log=16k;', 'snorky_websocket;' ],
    [ 'snorky_zone 1m;', '' ],
    [ 'snorky_service pubsub_backend a frontend=b; snorky_service pubsub b;',
      '' ],
    [ 'snorky_registry a { } snorky_registry a { snorky_service echo b; }',
      'snorky_websocket registry=a;' ],
    [ 'snorky_registry a { include services.conf; }',
      'snorky_websocket registry=a;' ],
    [ 'snorky_registry public { snorky_service echo b; }',
      'snorky_websocket;' ],
    [ 'snorky_drain 0; snorky_worker_timeout 1;', 'snorky_status;' ],
    [ 'snorky_backend_key x;', 'snorky_backend;' ],
    [ '', 'snorky_ping_interval 0; snorky_publish_timeout 0;' ],
    [ '', 'snorky_websocket; if ($arg_x) { return 403; }' ],
    [ 'snorky_max_connections $host 1;', 'snorky_max_connections $host 2;'
      . 'snorky_max_connections $uri 2; snorky_max_connections all 99;' ],
    [ '', 'snorky_origins same https://*.example.com ~^https://x$;' ],
    [ 'snorky_max_depth 1; snorky_send_buffer 1;',
      'snorky_max_depth 2; snorky_send_buffer 2;' ];

like(nginx_t('', 'snorky_websocket;'),
    qr/\[warn\].*no "snorky_service" in registry "public"/,
    'a registry without services gets a warning');
unlike(nginx_t('', 'snorky_websocket_echo;'), qr/\[warn\]/,
    'but a raw echo needs none');


# where no directive stands, there is nothing

$t->write_file('index.html', 'index');
$t->write_file('file.txt', 'file');

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  snorky  '$snorky_transport$snorky_messages_in$snorky_identity.';
    access_log  %%TESTDIR%%/snorky.log snorky;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;
    }
}

EOC

$t->run();

is(get('/file.txt')->{body}, 'file', 'without a directive, nginx serves files');
is(Snorky->attempt('/file.txt')->status(), 200, 'and knows no WebSocket');
is(zones($t), 0, 'and there is no zone');
is((wait_until { -s $t->testdir() . '/snorky.log'
    && $t->read_file('snorky.log') =~ /^(.*)$/m && $1 }), '---.',
    'the variables are empty');


# directives that need none

replace($t, <<'EOC');

    snorky_max_depth 5;
    snorky_origins any;
    snorky_drain 10ms;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;
    }
EOC

is(zones($t), 0, 'a limit alone does not make a zone');
is(get('/file.txt')->{body}, 'file', 'nginx goes on serving files');


# a zone by default

replace($t, <<'EOC');

    snorky_drain 10ms;
    snorky_service echo echo;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /status {
            snorky_status;
        }
    }
EOC

is(zones($t), 1, 'with a service there is a zone');

my $s = status_json();

is("$s->{zone}{size} $s->{log}{size}", 16 * 2 ** 20 . ' ' . 8 * 2 ** 20,
    'of 16m, half of which is the log');
is(echoed('/ws', 'echo'), 'echo', 'that works');
is(get('/file.txt')->{body}, 'file', 'beside the files');


# registries, locations, and what stands beside

replace($t, <<'EOC');

    snorky_drain 10ms;
    snorky_zone 1m log=128k;

    snorky_service echo first;

    snorky_registry private {
        snorky_service echo secret;
    }

    snorky_service echo second;

    snorky_registry private {
        snorky_service echo "second secret";
    }

    snorky_registry public {
        snorky_service echo third;
    }

    snorky_backend_key swordfish;

    map $uri $nothing {
        default  "";
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            try_files $uri $uri/ =404;
        }

        location /ws {
            snorky_websocket;
        }

        location /private {
            snorky_websocket registry=private;

            location /private/public {
                snorky_websocket;
            }

            location /private/files/ {
                alias %%TESTDIR%%/;
            }
        }

        location /public {
            snorky_websocket registry=public;
        }

        location ~ ^/r/(?<name>.*)$ {
            snorky_websocket registry=private;
        }

        location = /exact {
            snorky_websocket;
        }

        location /if/ws {
            snorky_websocket registry=private;

            if ($arg_x) {
                set $y 1;
            }

            if ($arg_deny) {
                return 403;
            }
        }

        location /if/echo {
            snorky_websocket_echo;

            if ($arg_x) {
                set $y 1;
            }
        }

        location /if/limit {
            snorky_websocket;
            snorky_max_message_size 100;

            if ($arg_x) {
                set $y 1;
            }
        }

        location /if/backend {
            snorky_backend registry=private;

            if ($arg_x) {
                set $y 1;
            }
        }

        location /if/status {
            snorky_status;

            if ($arg_x) {
                set $y 1;
            }
        }

        location /except/ws {
            snorky_websocket;

            limit_except GET {
                deny all;
            }
        }

        location /except/backend {
            snorky_backend;

            limit_except POST {
                deny all;
            }
        }

        location /status {
            snorky_status;
        }
    }
EOC

$s = status_json();

is("$s->{zone}{size} $s->{log}{size}", 2 ** 20 . ' ' . 2 ** 17,
    'a zone and its log have the sizes that are given');
is(zones($t), 1, 'and there is one');

for my $case (
    [ '/ws', 'first', 1 ], [ '/ws', 'second', 1 ], [ '/ws', 'third', 1 ],
    [ '/ws', 'secret', 0 ], [ '/private', 'secret', 1 ],
    [ '/private', 'second secret', 1 ], [ '/private', 'first', 0 ],
    [ '/private/public', 'first', 1 ], [ '/private/public', 'secret', 0 ],
    [ '/public', 'first', 1 ], [ '/public', 'secret', 0 ],
    [ '/r/any/thing', 'secret', 1 ], [ '/exact', 'first', 1 ],
    [ '/ws/below', 'first', 1 ], [ '/ws?a=b', 'first', 1 ])
{
    my ($uri, $service, $is) = @$case;

    is(echoed($uri, $service), $is ? $service : undef,
        "$uri knows " . ($is ? '' : 'no ') . "\"$service\"");
}

is(get('/')->{body}, 'index', 'an index is served beside it');
is(get('/file.txt')->{body}, 'file', 'and a file');
is(get('/private/files/file.txt')->{body}, 'file', 'also from below it');
is(get('/missing')->{status}, 404, 'what is missing is so');
is(get('/exact/file.txt')->{status}, 404, 'also below an exact location');


# "if" and "limit_except" have configurations of their own

for my $x ('', '?x=1') {
    is(echoed("/if/ws$x", 'secret'), 'secret',
        "a location with an if has its registry: \"$x\"");
    is(echoed("/if/ws$x", 'first'), undef, 'and no other');

    my $c = Snorky->attempt("/if/echo$x");
    $c->text('raw');
    is($c->text_in(1), 'raw', 'a raw echo is one');

    $c = Snorky->attempt("/if/limit$x");
    $c->text('{"service":"first","message":"' . 'x' x 100 . '"}');
    is($c->close_in(2), 1009, 'a limit is kept');

    my $r = eval { backend_post("/if/backend$x",
        '{"service":"secret","message":1}', key => 'swordfish',
        timeout => 2) };
    is($r && $r->{body}, '{"service":"secret","message":1}',
        'a backend has its registry');

    is(get("/if/status$x")->{status}, 200, 'and a status is one');
}

is(Snorky->attempt('/if/ws?deny=1')->status(), 403, 'an if may refuse');
is(echoed('/except/ws', 'first'), 'first', 'limit_except lets a GET through');
is(Snorky->attempt('/except/ws', method => 'POST')->status(), 403,
    'and nothing else');
is(backend_post('/except/backend', '{"service":"first","message":1}',
    key => 'swordfish')->{status}, 200, 'or a POST');
is(Snorky->dial()->request('GET', '/except/backend')->{status}, 403,
    'and nothing else');


# and away with it

replace($t, <<'EOC');

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;
    }
EOC

is((wait_until { zones($t) == 0 }), 1, 'without a directive, the zone goes');
is(get('/file.txt')->{body}, 'file', 'and the files stay');


# --- helpers ----------------------------------------------------------------

# the content that comes back, or undef

sub echoed {
    my ($uri, $service) = @_;

    my $c = eval { Snorky->connect($uri) } or return "no WebSocket: $@";

    $c->text(envelope($service, $service));
    my $e = decode($c->text_in(0.5));
    $c->finish() unless $c->{eof};

    return $e ? $e->{message} : undef;
}


# another http{}, and the worker that has it

sub replace {
    my ($test, $http) = @_;

    my ($old) = worker_pids($test);

    $test->write_file_expand('nginx.conf', at_level($test, 'info',
        "%%TEST_GLOBALS%%\n\ndaemon off;\n\nevents {\n}\n\nhttp {\n"
        . "    %%TEST_GLOBALS_HTTP%%\n$http}\n"));

    $test->reload();

    wait_until { my @pids = worker_pids($test); @pids == 1 && $pids[0] != $old }
        or die "no new worker\n";

    return;
}


# how many pieces of memory of 64k and more the processes share; nginx's own
# counters need less

sub zones {
    my ($test) = @_;

    my ($pid) = worker_pids($test);
    my $n = 0;

    open my $f, '<', "/proc/$pid/maps" or die "no maps of $pid: $!\n";

    while (<$f>) {
        my ($from, $to) = /^([0-9a-f]+)-([0-9a-f]+) rw-s .*zero/ or next;
        $n++ if hex($to) - hex($from) >= 64 * 1024;
    }

    close $f;

    return $n;
}


sub refused {
    my ($level, $directive, $why) = @_;

    my $text = $directive =~ /\}$/ ? $directive : "$directive;";
    my $out = nginx_t($level eq 'http' ? $text : '',
        $level eq 'location' ? $text : '', $level eq 'server' ? $text : '');

    $directive =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ge;

    like($out, qr/\[emerg\].*$why.*\n.*test failed/,
        "$directive is refused in $level");
}


sub accepted {
    my ($http, $location) = @_;

    my $out = nginx_t($http, $location);

    is(join("\n", $out =~ /^(.*\[emerg\].*)$/mg, $out =~ /is successful/g),
        'is successful', "$http location { $location } is accepted");
}


# what "nginx -t" says

sub nginx_t {
    my ($http, $location, $server) = @_;

    my $dir = File::Temp::tempdir(CLEANUP => 1);
    my $globals = $ENV{TEST_NGINX_GLOBALS} || '';
    my $port = port(8081);

    $server = '' unless defined $server;

    my %file = (
        'services.conf' => 'snorky_service echo included;',
        'nginx.conf' => "$globals\nevents { }\nhttp { access_log off;\n"
            . "$http\nserver { listen 127.0.0.1:$port; $server\n"
            . "location / { $location } } }\n",
    );

    for my $name (keys %file) {
        open my $f, '>', "$dir/$name" or die "$name: $!\n";
        print $f $file{$name};
        close $f;
    }

    return scalar `$Test::Nginx::NGINX -t -p $dir/ -c nginx.conf \\
        -e stderr -g 'pid $dir/pid;' 2>&1`;
}
