#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The demo's application in Node: what it answers to nginx, and its end; then
# its page, used by a headless Chromium in several windows, which start it,
# kill it and start it again: t/browser/demo_app.js has the cases.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Demo;


my $cases = 29;

my $t = demo($cases + 15);

my $socket = $t->testdir() . '/app.sock';
my ($app, $pipe) = run_app($t);

run_demo($t, events => 1);


# what clients get of it

my $ada = Snorky->connect('/ws?user=Ada');
my $admin = Snorky->connect('/ws?user=admin');

is(answer($ada, 'app', 'add', { a => 2, b => 40 }), 42, 'it adds');
is(answer($ada, 'app', 'add', { a => 2, b => '40' }), 'Two numbers, please',
    'but numbers only');
is(answer($ada, 'app', 'toString', {}), 'Unknown command',
    'there are no other commands than those that nginx knows');

for my $channel ('"announcements"', '"\u0061nnouncements"') {
    is(publish($ada, $channel), 'Not authorized',
        "who is not admin may not publish to $channel");
}

is(publish($ada, '"Announcements"'), undef, 'but to another channel');
is(publish($admin, '"announcements"'), undef, 'as admin may to this one');
is(publish($admin, '"events"'), 'Not authorized',
    'but not even admin makes events up');

$_->finish() for $ada, $admin;


# what it gets

for my $path (qw{ /app/call /app/policy /app/events }) {
    is(Snorky->dial()->request('POST', $path, body => '[]',
        headers => [ 'Connection: close' ])->{status}, 404,
        "nobody but nginx itself reaches $path");
}


# its end

close $pipe;
waitpid $app, 0;

is($?, 0, 'the application ends with what holds its pipe');
ok(!-e $socket, 'and takes its socket away');


browse($t, 'demo_app.js', $cases);


# the end of nginx, which waits for the application to take the last events

($app, $pipe) = run_app($t);
$t->stop();

is_deeply(decode($t->read_file('app.json'))->{online}, {},
    'the application is told of all who go when nginx ends');

close $pipe;
waitpid $app, 0;


# an answer's data, or the error's text

sub answer {
    my ($c, $service, $command, $params) = @_;

    return result($c->rpc($service, $command, $params));
}


# the channel as JSON

sub publish {
    my ($c, $channel) = @_;

    my $text = '{"command":"publish","callId":0,"params":'
        . qq({"channel":$channel,"message":1}});

    $c->text(envelope('news', \$text));

    return result($c->reply(0));
}


sub result {
    my ($message) = @_;

    return $message->{type} eq 'error' ? $message->{message}
                                       : $message->{data};
}
