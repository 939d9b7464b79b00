#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# snorky_authorize in the configuration: what nginx does not start with, and
# what it takes.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(48);

my $services = 'snorky_service pubsub p; snorky_service upstream u pass=/u; '
    . 'snorky_service echo e; snorky_registry r { snorky_service pubsub q; '
    . 'snorky_service pubsub p; }';


refused("snorky_authorize $_->[0]", $_->[1]) for

    [ '', 'number of arguments' ], [ 'p', 'number of arguments' ],
    [ 'p publish', 'number of arguments' ],

    # the service and the command

    [ 'x publish /a', 'no such service in "snorky_authorize x publish"' ],
    [ 'q publish /a', 'no such service in "snorky_authorize q publish"' ],
    [ 'r/x publish /a', 'no such service in "snorky_authorize r/x publish"' ],
    [ 'x/p publish /a', 'no such service in "snorky_authorize x/p publish"' ],
    [ '"" publish /a', 'no such service' ],
    [ '* publish /a', 'no such service in "snorky_authorize \* publish"' ],
    [ 'p nothing /a', 'unknown command in "snorky_authorize p nothing"' ],
    [ 'p Publish /a', 'unknown command in "snorky_authorize p Publish"' ],
    [ 'p "" /a', 'unknown command' ],
    [ 'p ** /a', 'unknown command in "snorky_authorize p \*\*"' ],
    [ 'e x /a', 'a service without commands in "snorky_authorize e x"' ],
    [ 'e * /a', 'a service without commands in "snorky_authorize e \*"' ],

    # twice

    (map { [ "$_ /b", 'duplicate command in "snorky_authorize' ] }
        'p publish /a; snorky_authorize p publish',
        'p * /a; snorky_authorize p *',
        'p subscribe /a; snorky_authorize p join',
        'p leave /a; snorky_authorize p unsubscribe',
        'u x /a; snorky_authorize u x',
        'p join /a; snorky_authorize public/p join'),

    # what is asked

    (map { [ "p publish $_", 'it must be a uri or a variable' ] }
        'auth', '""', '$', 'http://localhost/', '@auth', 'x$uri'),
    [ 'p publish $nothing_such', 'unknown "nothing_such" variable' ],

    # options

    (map { [ "p publish /a $_->[0]", "invalid value \"\Q$_->[0]\E\" in "
        . "\"snorky_authorize\", it must be $_->[1]" ] }
        (map { [ $_, 'cache=, entries=, response= or timeout=' ] }
            'cache', 'other=1', 'Cache=1s'),
        (map { [ $_, 'cache=TIME' ] }
            'cache=', 'cache=0', 'cache=x', 'cache=-1'),
        (map { [ $_, 'timeout=TIME' ] } 'timeout=0', 'timeout='),
        (map { [ $_, 'entries=NUMBER' ] } 'entries=0', 'entries=x'),
        (map { [ $_, 'response=SIZE' ] } 'response=0', 'response=x')),
    [ 'p publish $uri cache=1s', 'it must be left out with a variable' ];

refused("snorky_registry r { snorky_authorize $_->[0] }", $_->[1]) for
    [ 'p publish;', 'invalid number of arguments in "snorky_authorize"' ],
    [ 'u x /a;', 'no such service in "snorky_authorize u x"' ];

accepted($_) for
    'snorky_authorize p * /a; snorky_authorize p publish /b?x=1 cache=1m '
        . 'entries=1 timeout=10ms response=1;',
    'snorky_authorize u "any thing" $uri$args; snorky_authorize u * /u;',
    'snorky_authorize r/p * /a; snorky_authorize p * /a; '
        . 'snorky_registry r { snorky_authorize q publish /a; '
        . 'snorky_authorize public/u * /a; }',
    "include $FindBin::Bin/../CHANGES.none*; snorky_authorize p join /a; "
        . 'snorky_authorize p leave /b;';


# --- helpers ----------------------------------------------------------------

sub refused {
    my ($text, $why) = @_;

    $text .= ';' unless $text =~ /\}$/;

    like(tested($text), qr/\[emerg\] .*$why/, "$text is refused");

    return;
}


sub accepted {
    my ($text) = @_;

    my $said = tested($text);

    ok($said =~ /test is successful/ && $said !~ /\[(?:warn|emerg)\]/,
        "$text is taken") or diag($said =~ /^(nginx: .*)/mg);

    return;
}


# what "nginx -t" says; the policy stands before its services

sub tested {
    my ($text) = @_;

    my $dir = File::Temp::tempdir(CLEANUP => 1);
    my $globals = $ENV{TEST_NGINX_GLOBALS} || '';
    my $port = port(8080);

    open my $f, '>', "$dir/nginx.conf" or die "nginx.conf: $!\n";
    print $f "$globals\nevents { }\nhttp { access_log off;\n$text\n$services\n"
        . "server { listen 127.0.0.1:$port; location / { snorky_websocket; } "
        . "} }\n";
    close $f;

    return scalar `$Test::Nginx::NGINX -t -p $dir/ -c nginx.conf \\
        -e stderr -g 'pid $dir/pid;' 2>&1`;
}
