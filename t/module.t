#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Service types of other modules: the counter of t/module/counter, which was
# built outside of this tree with the installed header; what is refused of
# such a module; and that docs/service-types.md quotes what is there.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use List::Util qw/ sum /;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $dir = $ENV{TEST_SNORKY_FOREIGN};

plan(skip_all => 'no TEST_SNORKY_FOREIGN, a directory with the modules')
    unless $dir && -f "$dir/ngx_http_counter_module.so";

my $root = "$FindBin::Bin/..";
my $own = $ENV{TEST_NGINX_GLOBALS} // '';
my $counter = "load_module $dir/ngx_http_counter_module.so;";
my $refused = "load_module $dir/ngx_http_refused_module.so;";
my $newer = "$dir/ngx_http_newer_module.so";

# what SNORKY_REFUSED stands for in t/module/refused

my @refusals = (
    undef,
    'invalid name "" of a service type',
    'invalid name "a b" of a service type',
    'duplicate service type "pubsub"',
    'service type "bad" has none of "commands", "call" and "message"',
    'the table of commands of service type "bad" is empty',
    'service type "bad" has more than one of "commands", "call" and "message"',
    'a command of service type "bad" has no name',
    'duplicate command "good" of service type "bad"',
    'command "do" of service type "bad" has no params',
    'command "do" of service type "bad" has no handler',
    'command "do" of service type "bad" has more than 8 params',
    'a param of command "do" of service type "bad" has no name',
    'a param of command "do" of service type "bad" has no name',
    'duplicate param "a" of command "do" of service type "bad"',
    'option "x" of service type "bad" has no "set"',
    'an option of service type "bad" has no name',
    'duplicate service type "counter"',
);

my @options = (
    [ '', '' ],
    [ 'most=1 longest=1d', '' ],
    [ 'most=0', 'invalid number in option "most=0" of service "c"' ],
    [ 'longest=x', 'invalid time in option "longest=x" of service "c"' ],
    [ 'least=1', 'unknown name in option "least=1" of service "c"' ],
    [ 'longest=25h', '"longest=" is more than a day in service "c"' ],
);

my $page = slurp("$root/docs/service-types.md");
my @quoted = quoted($page);
my @layouts = ([ 'one worker', 1 ], [ 'four workers', 4 ]);

my $t = Test::Nginx->new()->has(qw/ http /)->plan(
    @refusals + 5 + 2 * @options + @quoted + 2 + @layouts * 46 + 29)
    ->todo_alerts();


# --- what is refused --------------------------------------------------------

for my $n (0 .. $#refusals) {
    my $why = $refusals[$n];

    local $ENV{SNORKY_REFUSED} = $n;

    my $said = nginx_t("$own $counter $refused", 'snorky_service echo e;');

    defined $why
        ? like($said, qr/\[emerg\].*$why$(?!.*successful)/sm, "refused: $why")
        : like($said, qr/successful/, 'a type that is right is taken');
}

SKIP: {
    skip 'no module with a newer header', 1 unless -f $newer;

    like(nginx_t("$own load_module $newer;", ''), qr/\[emerg\].*service\ type
        \ "counter"\ is\ of\ API\ version\ 1000,\ this\ module\ has\ \d+$/xm,
        'refused: a type with a header of another version, and another look');
}

SKIP: {
    skip 'ngx_snorky_module is not a loaded one', 2
        unless $own =~ /load_module\s+\S*ngx_snorky_module\.so;/;

    like(nginx_t("$counter $own", ''),
        qr/\[emerg\].*dlopen.*counter.*undefined symbol: ngx_snorky_\w+/,
        'a module that is loaded before ours is told what it lacks');
    like(nginx_t($own =~ s/load_module\s+\S*ngx_snorky_module\.so;//r
        . $counter, ''),
        qr/\[emerg\].*dlopen.*counter.*undefined symbol: ngx_snorky_\w+/,
        'and so is one without ours');
}

like(nginx_t($own, 'snorky_service counter c;'),
    qr/unknown service type "counter"/,
    'without its module, the type is not known');
like(nginx_t("$own $counter", 'snorky_service count c;'),
    qr/unknown service type "count"/, 'a type has its whole name');

for my $o (@options) {
    my ($text, $why) = @$o;

    for my $place ('', 'snorky_registry r') {
        my $line = "snorky_service counter c $text;";

        like(nginx_t("$own $counter", $place ? "$place { $line }" : $line),
            $why ? qr/\[emerg\].*\Q$why\E/ : qr/successful/,
            "options \"$text\" in " . ($place ? 'a registry' : 'http'));
    }
}


# --- what is told of it -----------------------------------------------------

for my $q (@quoted) {
    my ($language, $text) = @$q;
    my ($first) = $text =~ /^\s*(\S.*)/;

    if ($language eq 'nginx') {
        like(nginx_t("$own $counter", $text), qr/successful/,
            "nginx takes \"$first\"");
        next;
    }

    my $file = $language eq 'c'
        ? "$root/t/module/counter/ngx_http_counter_module.c"
        : "$root/t/module/counter/config";

    isnt(index(slurp($file), $text), -1, "quoted as it is: \"$first\"");
}


my @talk = $page =~ /^```text\n(.*?)^```$/smg;

start($t, 4);

for my $talk (@talk) {
    my %who;
    my @wrong;

    for my $line (split /\n/, $talk) {
        my ($name, $way, $text) = $line =~ /^(\w+)(?:([<>])| leaves$) ?(.*)/
            or die "what is \"$line\"?\n";

        my $c = $who{$name} //= client();

        if (!$way) {
            $c->finish();
            next;
        }

        $way eq '>' ? $c->text($text) : push @wrong,
            grep { $_ ne $text } $c->text_in() // 'nothing';

        # the next one may be on another worker: this call waits by then

        wait_until { waiting_in('hands') } if $text =~ /"wait"/;
    }

    is(join("\n", @wrong), '', 'the conversation happens word by word');
}

$t->stop();


# --- the counter ------------------------------------------------------------

for my $layout (@layouts) {
    my ($name, $workers) = @$layout;

    start($t, $workers);

    my @slots = map { $_->{slot} } @{ status_json()->{workers} };

    is(scalar @slots, $workers, "$name: nginx runs");

    my ($anne, $bob, $carl) = map { client($slots[$_ % @slots]) } 0 .. 2;


    # adding, and what others see of it

    is(data($anne, 'get', { counter => 'x' }), 0, "$name: nothing yet");
    is(data($anne, 'add', { counter => 'x' }), 1, "$name: an amount of one");
    is(data($anne, 'add', { counter => 'x', amount => 5 }), 6,
        "$name: or of more");
    is(data($bob, 'add', { counter => 'x', amount => 10 }), 16,
        "$name: another adds");
    is(data($carl, 'get', { counter => 'x' }), 16, "$name: a third sees it");
    is(data($carl, 'get', { counter => 'y' }), 0,
        "$name: another counter has nothing");
    is(data($carl, 'get', { counter => 'x' }, 'second'), 0,
        "$name: nor has another service");
    is(data($carl, 'add', \'{"counter":{"a":[1.0]}}'), 1,
        "$name: a name is any value");
    is(data($bob, 'get', \'{"counter": { "a": [1] } }'), 1,
        "$name: that is the same however it is written");


    # what is wrong

    is(error($anne, @$_), $_->[-1], "$name: $_->[-1], " . json($_->[1])) for
        [ 'add', { counter => 'x', amount => 0 }, 'Invalid amount' ],
        [ 'add', { counter => 'x', amount => -1 }, 'Invalid amount' ],
        [ 'add', { counter => 'x', amount => '1' }, 'Invalid amount' ],
        [ 'add', { counter => 'x', amount => 10 ** 9 }, 'Invalid amount' ],
        [ 'add', { counter => 'x', much => 1 }, 'Invalid params' ],
        [ 'add', { amount => 1 }, 'Invalid params' ],
        [ 'get', {}, 'Invalid params' ],
        [ 'add', { counter => 'z' x 1024 }, 'Counter too long' ],
        [ 'unwatch', { counter => 'x' }, 'Not watched' ],
        [ 'wait', { counter => 'x' }, 'Invalid params' ],
        [ 'wait', { counter => 'x', value => 1.5 }, 'Invalid value' ],
        [ 'wait', { counter => 'x', value => 1, timeout => 0 },
          'Invalid timeout' ],
        [ 'reset', { counter => 'x' }, 'Unknown command' ];

    # 3 of "most=4" are there

    data($anne, 'add', { counter => 'y' }) for 1 .. 2;
    is(error($anne, 'add', { counter => 'y' }), 'Too many additions',
        "$name: a client may add most= times");
    is(data($bob, 'get', { counter => 'y' }), 2, "$name: and not more");


    # watching

    is(data($carl, 'watch', { counter => 'x' }), 16,
        "$name: who watches gets the total");
    is(error($carl, 'watch', { counter => 'x' }), 'Already watched',
        "$name: once");

    data($bob, 'add', { counter => 'x', amount => 4 });

    is_deeply($carl->notification(),
        { type => 'changed', counter => 'x', by => 4 },
        "$name: and then what is added");

    $anne->finish();

    is_deeply([ map { $_->{by} } map { $carl->notification() } 1 .. 2 ],
        [ -1, -5 ], "$name: what a client has added goes with it");
    is(data($carl, 'get', { counter => 'x' }), 14, "$name: and counts no more");
    is(data($carl, 'get', { counter => 'y' }), 0, "$name: in any counter");

    is(data($carl, 'unwatch', { counter => 'x' }), undef,
        "$name: who watches no more");
    is(data($bob, 'add', { counter => 'x' }), 15, "$name: (something)");
    is(data($carl, 'get', { counter => 'x' }), 15, "$name: (more)");
    is(scalar($carl->notifications()), 0, "$name: hears no more");


    # waiting

    is(data($carl, 'wait', { counter => 'x', value => 15 }), 15,
        "$name: a value that has been reached is not waited for");

    my $first = $carl->call('counter', 'wait', { counter => 'x', value => 20 });
    my $second = $carl->call('counter', 'wait',
        \'{"counter":"x","value":17}');
    my $other = $carl->call('counter', 'wait', { counter => 'y', value => 1 });

    is(waiting($carl), 3, "$name: others are, while more calls are answered");

    data($bob, 'add', { counter => 'x', amount => 2 });
    is($carl->reply($second)->{data}, 17,
        "$name: the answer comes when it is reached");
    is(waiting($carl), 2, "$name: and not before");

    my $dora = client($slots[-1]);

    data($dora, 'add', { counter => 'x', amount => 30 });
    is($carl->reply($first)->{data}, 47,
        "$name: or passed, by whichever worker");

    is(error($carl, 'wait', { counter => 'y', value => 9, timeout => 50 }),
        'Timed out', "$name: a call need not wait for ever");
    is(waiting($carl), 1, "$name: and is forgotten then");

    # three more, with one that waits

    $carl->call('counter', 'wait', { counter => 'y', value => $_ }) for 2, 3;
    is(error($carl, 'wait', { counter => 'y', value => 4 }),
        'Too many calls', "$name: a client may wait so many times");

    my $here = client($carl->header('X-Worker'));

    $carl->reset();
    ok(wait_until { waiting($here) == 0 },
        "$name: who leaves waits no more");
    is(clients($t), 3, "$name: the clients of all workers are counted");

    $_->finish() for $bob, $dora, $here;

    ok(wait_until { my $s = status_json(); $s->{zone}{records} == 0
        && $s->{total}{sessions} == 0 }, "$name: nothing is left");

    $t->stop();
}


# --- reload -----------------------------------------------------------------

start($t, 2);

my ($anne, $bob, $carl) = map { client() } 1 .. 3;

data($anne, 'add', { counter => 'x', amount => 5 });
my $id = $bob->call('counter', 'wait', { counter => 'x', value => 8 });
my $late = $carl->call('counter', 'wait',
    { counter => 'x', value => 100, timeout => 500 });

ok(wait_until { my $r = data(client(), 'get', { counter => 'x' }); $r == 5 },
    'before a reload');

my @old = serving();

reload($t, 2, @old);

is($anne->close_in(), 1012, 'who waits for nothing is closed');

my $dora = client();

is(data($dora, 'add', { counter => 'x', amount => 9 }), 9,
    'the new workers count on, without who has left');
is($bob->reply($id)->{data}, 9,
    'a call that waits is answered by the old worker');
is($bob->close_in(), 1012, 'and then its client is closed');
is($carl->reply($late)->{message}, 'Timed out',
    'one that waits in vain has its time');
is($carl->close_in(), 1012, 'and is closed, too');


# the module goes, while a call waits, and comes again

my $last = $dora->call('counter', 'wait',
    { counter => 'x', value => 100, timeout => 300 });
ok(wait_until { waiting($dora) == 1 }, 'a call waits');

@old = serving();
reload($t, 2, @old, 'gone');

is($dora->reply($last)->{message}, 'Timed out',
    'a module that is gone serves its last calls');
is($dora->close_in(), 1012, 'until the old worker ends');

my $eve = client(undef, '/echo');

$eve->text(envelope('echo', 1));
is($eve->text_in(), envelope('echo', 1), 'the others are served');

@old = serving();
reload($t, 2, @old);

my $fred = client();
is(data($fred, 'add', { counter => 'x' }), 1, 'a module may come back');

SKIP: {
    skip 'ngx_snorky_module is not a loaded one', 2
        unless $own =~ /load_module\s+\S*ngx_snorky_module\.so;/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info',
        configuration(2, 'alone'))
        =~ s/load_module\s+\S*ngx_snorky_module\.so;//r);
    $t->reload();

    ok(wait_until { $t->read_file('error.log') =~ /\[emerg\].*service\ type
        \ "counter"\ needs\ ngx_snorky_module,\ which\ is\ not\ loaded$/xm },
        'at a reload, a module is told that ours is missing');
    is(data($fred, 'add', { counter => 'x' }), 2,
        'and the old configuration stays');
}

$t->stop();


# --- a client that is too slow for its answers ------------------------------

start($t, 2);

my $slow = Snorky->connect('/slow', port => port(8082), rcvbuf => 4096);
my $text = 'x' x 60000;
my $near = connect_to_worker($slow->header('X-Worker'), '/ws',
    port => port(8081));

for my $n (1 .. 8) {
    $slow->call('counter', 'wait', { counter => 'x', value => 3 },
        callId => "$n $text");
}

ok(wait_until { waiting($near) == 8 }, 'many calls with long answers wait');

data($near, 'add', { counter => 'x', amount => 3 });

is(waiting($near), 0, 'are answered');
is(counters()->{closed_slow}, 1, 'too fast for their client');
is(data($near, 'get', { counter => 'x' }), 3, 'which ends alone');

$slow->reset();


# --- what is done for calls that wait leaves no memory behind ---------------

my @pair = @{ status_json()->{workers} };

$bob = client($pair[0]{slot});
$id = $bob->call('second', 'wait', { counter => 'x', value => 1000 });

$anne = client($pair[1]{slot});
data($anne, 'add', { counter => 'x' }, 'second') for 1 .. 20;

my $resident = resident($t, $pair[0]{pid});

is((grep { $_ != ($anne->rpc('second', 'add', { counter => 'x' })->{data}
    // 0) } 21 .. 1000) + 0, 0, 'a thousand additions');
is($bob->reply($id)->{data}, 1000, 'are looked at one by one');

SKIP: {
    skip 'no figures of the memory', 1 unless defined $resident;

    cmp_ok(resident($t, $pair[0]{pid}) - $resident, '<', 4096,
        'in the same memory, where no message comes');
}

$t->stop();


# --- the death of a worker --------------------------------------------------

start($t, 2);

my @workers = @{ status_json()->{workers} };

$anne = client($workers[0]{slot});
$bob = client($workers[1]{slot});

data($anne, 'add', { counter => 'x', amount => 5 });
is(data($bob, 'watch', { counter => 'x' }), 5, 'an addition by one worker');

$anne->call('counter', 'wait', { counter => 'x', value => 100 });
ok(wait_until { waiting($anne) == 1 }, 'where a call waits');

$id = $bob->call('counter', 'wait', { counter => 'x', value => 7 });

kill 'KILL', $workers[0]{pid};

is($anne->gone(), 1, 'that dies');
is_deeply($bob->notification(),
    { type => 'changed', counter => 'x', by => -5 },
    'is taken back by the other');

$carl = client();

is(data($carl, 'add', { counter => 'x', amount => 6 }), 6,
    'which does not count it any more');
is(data($carl, 'add', { counter => 'x' }), 7, 'until it is');
is($bob->reply($id)->{data}, 7, 'what another waits for');
is(clients($t), 2, 'and the clients are those that are there');

$t->stop();

is(other_alerts($t, qr/exited on signal 9|needs ngx_snorky_module/), '',
    'nothing else is alarming');


# --- helpers ----------------------------------------------------------------

sub configuration {
    my ($workers, $what) = @_;

    $what //= '';

    my $load = $what eq 'gone' ? '' : $counter;
    my $services = $what eq 'gone' ? '' : 'snorky_service counter counter '
        . 'most=4; snorky_service counter second most=1000; '
        . 'snorky_service counter hands;';

    my $conf = <<"EOC";

%%TEST_GLOBALS%%
$load

daemon off;
worker_processes $workers;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 1m;
    snorky_drain 10ms;
    snorky_max_calls 3;
    $services

    snorky_registry echoes {
        snorky_service echo echo;
    }

    add_header X-Worker \$snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 reuseport;
        listen       127.0.0.1:8082 sndbuf=4k;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /slow {
            snorky_websocket;
            snorky_max_calls 8;
            snorky_send_buffer 64k;
        }

        location /echo {
            snorky_websocket registry=echoes;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

    $conf = "%%TEST_GLOBALS%%\n$load\ndaemon off;\n"
        . "events {\n}\nhttp {\n}\n"
        if $what eq 'alone';

    return $conf;
}


sub start {
    my ($test, $workers) = @_;

    $test->write_file_expand('nginx.conf', at_level($test, 'info',
        configuration($workers)));
    $test->run();

    wait_until { scalar @{ status_json()->{workers} } == $workers };

    return;
}


sub reload {
    my ($test, $workers, @rest) = @_;

    my $what = $rest[-1] =~ /^\d+$/ ? undef : pop @rest;
    my %was = map { $_ => 1 } @rest;

    $test->write_file_expand('nginx.conf', at_level($test, 'info',
        configuration($workers, $what)));
    $test->reload();

    wait_until { my @now = serving();
        @now == $workers && !grep { $was{$_} } @now }
        or die "no new workers\n";

    return;
}


# the workers that do not drain

sub serving {
    return map { $_->{pid} } grep { !$_->{quitting} }
        @{ status_json()->{workers} };
}


sub client {
    my ($slot, $path) = @_;

    $path //= '/ws';

    return Snorky->connect($path, port => port(8081)) unless defined $slot;
    return connect_to_worker($slot, $path, port => port(8081));
}


# the data of the response, or the whole of what else comes

sub data {
    my ($c, $command, $params, $service) = @_;

    my $m = $c->rpc($service // 'counter', $command, $params);

    return $m && $m->{type} eq 'response' ? $m->{data} : json($m);
}


sub error {
    my ($c, $command, $params) = @_;

    my $m = $c->rpc('counter', $command, $params);

    return $m && $m->{type} eq 'error' ? $m->{message} : json($m);
}


# the calls that wait in the client's worker

sub waiting {
    my ($c) = @_;

    return data($c, 'info', {})->{waiting};
}


# whether a call of the service waits in any worker

sub waiting_in {
    my ($service) = @_;

    my (%seen, $found);
    my $workers = @{ status_json()->{workers} };

    for my $try (1 .. 100) {
        my $c = client();

        $found ||= data($c, 'info', {}, $service)->{waiting};
        $seen{ $c->header('X-Worker') } = 1;
        $c->finish();

        last if $found || keys %seen == $workers;
    }

    return $found;
}


# those that all workers count

sub clients {
    my ($test) = @_;

    my %count;
    my $workers = @{ status_json()->{workers} };

    wait_until {
        my $c = client();
        $count{ $c->header('X-Worker') } = data($c, 'info', {})->{clients} - 1;
        $c->finish();

        keys %count == $workers;
    };

    return sum(values %count);
}


sub nginx_t {
    my ($globals, $http) = @_;

    my $tmp = File::Temp::tempdir(CLEANUP => 1);
    my $port = port(8080);

    mkdir "$tmp/logs";

    $http = "http { $http }" unless $http =~ /^http \{/m;
    $http =~ s/(\blisten\s+)[\d.:]+/${1}127.0.0.1:$port/g;

    # what is quoted as a whole file has a line of its own for each module

    $http =~ s/^load_module .*\n//mg;
    $http = "events { }\n$http" unless $http =~ /^events /m;

    open my $f, '>', "$tmp/nginx.conf" or die "nginx.conf: $!\n";
    print $f "$globals\n$http\n";
    close $f;

    return scalar `$Test::Nginx::NGINX -t -p $tmp/ -c nginx.conf \\
        -e stderr -g 'pid $tmp/pid;' 2>&1`;
}


# the blocks of docs/service-types.md that are of the module's own files, and
# configurations

sub quoted {
    my ($text) = @_;

    my @found;

    while ($text =~ /^```(\w+)\n(.*?)^```$/smg) {
        my ($language, $block) = ($1, $2);

        push @found, [ $language, $block ]
            if $language =~ /^(?:c|nginx|config)$/;
    }

    return @found;
}


sub slurp {
    my ($name) = @_;
    local $/;

    open my $f, '<', $name or die "cannot read $name: $!\n";

    return scalar <$f>;
}
