#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The configuration of datasync: dealers and services that nginx does not start
# with, and those that it does.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http /)->plan(65);

my $service = 'snorky_service datasync s;';

refused($_->[0], $_->[1]) for
    [ "$service snorky_dealer", 'number of arguments' ],
    [ "$service snorky_dealer s", 'number of arguments|snorky_dealer' ],
    [ "$service snorky_dealer s d", 'number of arguments|snorky_dealer' ],
    [ "$service snorky_dealer x d broadcast model=m", 'no such.*dealer x ' ],
    [ "$service snorky_dealer x/s d broadcast model=m",
      'no such.*dealer x/s ' ],
    [ "$service snorky_dealer private/s d broadcast model=m",
      'no such.*dealer private/s ' ],
    [ 'snorky_dealer s d broadcast model=m', 'no such.*dealer s ' ],
    [ 'snorky_service pubsub s; snorky_dealer s d broadcast model=m',
      'no such.*dealer s ' ],
    [ "$service snorky_service datasync_backend b frontend=s; "
      . 'snorky_dealer b d broadcast model=m', 'no such.*dealer b ' ],
    [ "$service snorky_dealer s \"\" broadcast model=m", 'dealer name ""' ],
    [ "$service snorky_dealer s \xff broadcast model=m", 'dealer name' ],
    [ "$service snorky_dealer s d broadcast model=\xff", 'invalid model' ],
    [ "$service snorky_dealer s d simple model=m key=\xff", 'invalid key' ],
    [ "$service snorky_dealer s d broad model=m", 'kind .*"broad"' ],
    [ "$service snorky_dealer s d Broadcast model=m",
      'kind .*"Broadcast"' ],
    [ "$service snorky_dealer s d \"\" model=m", 'kind .*""' ],
    [ "$service snorky_dealer s d broadcast", 'no "model="' ],
    [ "$service snorky_dealer s d simple key=a", 'no "model="' ],
    [ "$service snorky_dealer s d broadcast model=", 'invalid model' ],
    [ "$service snorky_dealer s d broadcast m", 'invalid.*"m"' ],
    [ "$service snorky_dealer s d broadcast Model=m",
      'invalid.*"Model=m"' ],
    [ "$service snorky_dealer s d broadcast model=m x=1",
      'invalid.*"x=1"' ],
    [ "$service snorky_dealer s d broadcast model=m model=n",
      'invalid.*"model=n"' ],
    [ "$service snorky_dealer s d simple model=m", 'no "key="' ],
    [ "$service snorky_dealer s d simple model=m key=", 'invalid key' ],
    [ "$service snorky_dealer s d simple model=m key=.a", 'invalid key' ],
    [ "$service snorky_dealer s d simple model=m key=a..b", 'invalid key' ],
    [ "$service snorky_dealer s d simple model=m key=a key=b",
      'invalid.*"key=b"' ],
    [ "$service snorky_dealer s d broadcast model=m key=a",
      'unexpected "key="' ],
    [ "$service snorky_dealer s d filter model=m key=a",
      'unexpected "key="' ],
    [ "$service snorky_dealer s d broadcast model=m; snorky_dealer s d "
      . 'broadcast model=m', 'duplicate dealer "d"' ],
    [ "$service snorky_dealer s d broadcast model=m; snorky_dealer public/s d "
      . 'filter model=n', 'duplicate dealer "d"' ],
    [ "$service snorky_registry r { snorky_dealer x d broadcast model=m; }",
      'no such.*dealer x ' ],
    [ 'snorky_service datasync s timeout=0', 'timeout=0' ],
    [ 'snorky_service datasync s timeout=x', 'timeout=x' ],
    [ 'snorky_service datasync s timeout=', 'timeout=' ],
    [ 'snorky_service datasync s timeout=-1', 'timeout=-1' ],
    [ 'snorky_service datasync s pending_max=0', 'pending_max=0' ],
    [ 'snorky_service datasync s pending_max=x', 'pending_max=x' ],
    [ 'snorky_service datasync s pending_max=', 'pending_max=' ],
    [ 'snorky_service datasync s publish=all', '"publish=all"' ],
    [ 'snorky_service datasync s model=m', '"model=m"' ],
    [ 'snorky_service datasync s frontend=s', '"frontend=s"' ],
    [ 'snorky_service datasync_backend b', 'frontend.*"b"' ],
    [ 'snorky_service datasync_backend b frontend=s', 'service "b"' ],
    [ 'snorky_service datasync_backend b frontend=b', 'service "b"' ],
    [ 'snorky_service pubsub s; snorky_service datasync_backend b frontend=s',
      'service "b"' ],
    [ "$service snorky_service pubsub_backend b frontend=s", 'service "b"' ],
    [ "$service snorky_service datasync_backend b frontend=s timeout=1s",
      '"timeout=1s"' ];

refused('snorky_dealer s d broadcast model=m', 'snorky_dealer', $_)
    for qw/ server location /;

accepted($_) for
    "$service",
    "$service snorky_dealer s d broadcast model=m;",
    "snorky_dealer s d broadcast model=m; $service",
    "$service snorky_dealer public/s d broadcast model=m;",
    "$service snorky_dealer s d simple model=m key=a.b.c;",
    "$service snorky_dealer s d simple key=a model=m;",
    "$service snorky_dealer s d filter model=m; snorky_dealer s e filter "
        . 'model=m;',
    "$service snorky_service datasync z; snorky_dealer s d broadcast model=m; "
        . 'snorky_dealer z d simple model=n key=b;',
    "$service snorky_registry r { $service } snorky_dealer s d broadcast "
        . 'model=m;',
    "snorky_registry r { snorky_dealer s d broadcast model=m; $service }",
    "$service snorky_registry r { snorky_dealer s d broadcast model=m; }",
    "$service snorky_registry r { $service snorky_dealer r/s d broadcast "
        . 'model=m; } snorky_dealer public/s d broadcast model=m;',
    'snorky_service datasync s timeout=500ms pending_max=64k;',
    'snorky_service datasync_backend b frontend=s; '
        . 'snorky_service datasync s;';


# --- helpers ----------------------------------------------------------------

sub refused {
    my ($directive, $why, $level) = @_;

    my $text = $directive =~ /[};]$/ ? $directive : "$directive;";

    my $out = nginx_t($text, $level || 'http');

    $directive =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ge;

    like($out, qr/\[emerg\].*(?:$why).*\n.*test failed/, "refused: $directive");

    return;
}


sub accepted {
    my ($text) = @_;

    my $out = nginx_t($text, 'http');

    is(join("\n", $out =~ /^(.*\[emerg\].*)$/mg, $out =~ /is successful/g),
        'is successful', "accepted: $text");

    return;
}


sub nginx_t {
    my ($text, $level) = @_;

    my $dir = File::Temp::tempdir(CLEANUP => 1);
    my $globals = $ENV{TEST_NGINX_GLOBALS} || '';
    my $port = port(8081);
    my %at = (http => '', server => '', location => '', $level => $text);

    open my $f, '>', "$dir/nginx.conf" or die "$dir/nginx.conf: $!\n";
    print $f "$globals\nevents { }\nhttp { access_log off;\n$at{http}\n"
        . "server { listen 127.0.0.1:$port; $at{server}\n"
        . "location / { $at{location} } } }\n";
    close $f;

    return scalar `$Test::Nginx::NGINX -t -p $dir/ -c nginx.conf \\
        -e stderr -g 'pid $dir/pid;' 2>&1`;
}
