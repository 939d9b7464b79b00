#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# demo/backend: each connector against nginx, on the way of its messages to a
# subscriber, in failure, and by the connections that it makes.  The page
# docs/backend.md: its configurations are those of the server here, all its
# other code is run, and each status of its table is got.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use FindBin;
use File::Spec ();
use POSIX ();
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Stop;


my $root = abs_path("$FindBin::Bin/..");
my $page = slurp("$root/docs/backend.md");

my %command = (
    sh   => [ 'sh', 'curl' ],
    py   => [ 'python3' ],
    mjs  => [ 'node' ],
    php  => [ 'php' ],
);

my @here = grep { my $l = $_; !grep { !there($_) } @{ $command{$l} } }
    qw/ sh py mjs php /;
my %here = map { $_ => 1 } @here;

# of those that take any command

my @full = grep { $_ ne 'sh' } @here;

# and of those that keep connections

my @keeping = grep { /^(?:py|mjs)$/ } @here;
my @others = grep { !/^(?:py|mjs)$/ } @here;

my $t = Test::Nginx->new()->has(qw/ http http_ssl access rewrite unix /)
    ->has_daemon('curl')->has_daemon('openssl')
    ->plan(28 * @here + 4 * @full + 9 * @keeping + 2 * @others
            + 10 * grep({ $_ eq 'sh' } @here) + 27);

my $dir = $t->testdir();
my $url = 'http://127.0.0.1:' . port(8080);

# what the shell of the test has is not for the programs

delete @ENV{grep { /_proxy$/i || /^SNORKY_|^SSL_CERT|^CURL/ } keys %ENV};

$ENV{PYTHONDONTWRITEBYTECODE} = 1;
$ENV{HOME} = $dir;

# the connectors are copied, as they are to be

mkdir "$dir/copy" or die "cannot make copy: $!\n";

for my $file (glob "$root/demo/backend/*") {
    my ($name) = $file =~ m{([^/]+)$};
    $t->write_file("copy/$name", slurp($file));
}

system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch "
    . "-subj /CN=example.com -addext subjectAltName=IP:127.0.0.1 "
    . "-keyout $dir/example.com.key -out $dir/example.com.crt "
    . ">>$dir/openssl.out 2>&1") == 0 or die "cannot make a certificate\n";

$t->write_file_expand('nginx.conf', configuration());
$t->run();

my $subscriber = Snorky->connect('/ws');
my %got;                # statuses
my $silences = 0;       # when something was to be heard

$subscriber->rpc('messaging', 'subscribe', { channel => 'news' });


# --- the page, from its beginning to its end --------------------------------

my ($post, $close, $unix, $connectors) = blocks('sh');
my ($answer) = blocks('json');
my ($sync, $python) = blocks('py');

is(scalar(() = $page =~ /^```\w/mg), 12, 'all blocks of the page are known');

is(shell($post), $answer =~ s/\n\z//r, 'a call with curl has its answer');
is(heard(), '"Hello!"', 'and is heard');

SKIP: {
    skip 'no Python', 4 unless $here{py};

    my $said = decode(script('py', $sync));

    is(json($said->{todos}), '[[1,"home","Wash up"]]',
        'DataSync: the page has what was committed before');

    my $client = Snorky->connect('/ws');

    is($client->rpc('datasync', 'acquireSubscription',
        { token => $said->{token} })->{type}, 'response',
        'and a token that can be acquired');
    is(json($client->notification()), '{"delta":{"data":{"id":2,'
        . '"list":"home","text":"Bake"},"model":"todo","type":"insert"},'
        . '"type":"delta"}', 'which brings what came after');
    $client->finish();

    my $joe = Snorky->connect('/ws?user=joe');

    shell($close);
    $joe->close_in();
    is("$joe->{closed}{code} $joe->{closed}{reason}", '4001 Logged out',
        'a client is closed');
}

is(shell($unix), $answer =~ s/\n\z//r, 'a Unix socket takes calls');
is(heard(), '"Hello!"', 'and they are heard');

SKIP: {
    skip 'not all languages are here', 4 unless @here == 4;

    is(shell($connectors), join('', ("null\n") x 3) =~ s/\n\z//r,
        'all connectors can be used from a shell');
    is(heard(), '{"text": "Hello!"}', 'what they send is heard');
    is(decode(heard()), slurp("$root/LICENSE"), 'also a whole file');
    is(heard() . heard() . heard(), '123', 'and what the others do');
}

SKIP: {
    skip 'no Python', 2 unless $here{py};

    is(script('py', $python), '', 'the example in Python has no complaints');
    is(join(' ', map { heard() } 0 .. 100),
        join(' ', "{\"text\":\"Caf\xc3\xa9 \xf0\x9f\x8e\x89\"}", 0 .. 99),
        'and does what it says');
}

SKIP: {
    skip 'no Node', 2 unless $here{mjs};

    is(script('mjs', blocks('js')), "null Unknown command\n"
        . 'true Unknown command', 'the example in Node is answered');
    is(join(' ', map { heard() } 1, 2),
        "{\"text\":\"Caf\xc3\xa9 \xf0\x9f\x8e\x89\"} 1", 'and heard');
}

SKIP: {
    skip 'no PHP', 2 unless $here{php};

    is(script('php', blocks('php')), 'Unknown command',
        'the example in PHP is answered');
    is(heard(), "{\"text\":\"Caf\xc3\xa9 \xf0\x9f\x8e\x89\"}", 'and heard');
}


# --- messages ---------------------------------------------------------------

my %message = (
    'quotes'      => '"\"a\" \\\\ \\\\\" /b/ \'c\' $HOME `d` %s"',
    'other lines' => '"a\nb\r\n\tc\u0001\u001f' . "\x7f" . '"',
    'languages'   => "\"Gr\xc3\xbc\xc3\x9fe, \xe6\x97\xa5\xe6\x9c\xac\"",
    'an emoji'    => "\"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80\"",
    'odd lines'   => "\"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85\xef\xbb\xbf\"",
    'structure'   => '{"a":{},"b":[],"":[[1,-2.5,true],{"}":"]"}],"c":null}',
    'a number'    => '9007199254740991',
    'null'        => 'null',
    'a long one'  => '"' . "\xe2\x82\xac" x 20000 . '"',
);

for my $l (@here) {
    for my $what (sort keys %message) {
        publish($l, $message{$what});
        is(heard(), $message{$what}, "$l: $what arrives as it was");
    }
}

# as the page says

my %number = (
    sh  => [ '9007199254740993', '12345678901234567890', '1.0' ],
    py  => [ '9007199254740993', '12345678901234567890', '1.0' ],
    mjs => [ '9007199254740992', '12345678901234567000', '1' ],
    php => [ '9007199254740993', '1.2345678901234567e+19', '1.0' ],
);

for my $l (@here) {
    publish($l, $_) for @{ $number{sh} };
    is(join(' ', map { heard() } 1 .. 3), join(' ', @{ $number{$l} }),
        "$l: large numbers are those of the language");
}


# --- refusals ---------------------------------------------------------------

for my $l (@here) {
    is(refused($l, uri => '/echo'), 'StatusError: HTTP status 404',
        "$l: an unknown service");
    is(refused($l, uri => '/nowhere'), 'StatusError: HTTP status 404',
        "$l: an unknown location");
    is(refused($l, key => 'catfish'), 'StatusError: HTTP status 401',
        "$l: a wrong key");
    is(refused($l, uri => '/denied'), 'StatusError: HTTP status 403',
        "$l: a wrong address");
    is(refused($l, message => '"' . 'x' x 66000 . '"'),
        'StatusError: HTTP status 413', "$l: a message that is too large");
    is(refused($l, uri => '/moved'), 'StatusError: HTTP status 307',
        "$l: the key goes nowhere else");
    like(refused($l, uri => "/$_"), qr/^3 .*HTTP status $_$/,
        "$l: $_, and who knows whether it was done") for 500, 502, 504;
    is(refused($l, channel => 'x' x 2000), 'ServiceError: Channel too long',
        "$l: an error of the service");
    is(join(' ', (run($l, uri => '/odd', key => 'sword"\\ fish',
        message => '"odd"'))[0, 1]), $l eq 'sh' ? '0 ' : '0 null',
        "$l: a key may have any characters");
    is(heard(), '"odd"', "$l: of all these, only the last is heard");
}

# a message that would be more than one

for my $json ('1,"message":2', '1},"params":{"channel":"news","message":2',
    '"', '"\\', '', ']', '[1', '1}}', '{"a":1},2', '"a","b"')
{
    is(join(' ', run('sh', message => $json)),
        '1  publish.sh: the message is no JSON', "sh: $json is no message")
        if $here{sh};
}

SKIP: {
    skip 'no shell', 4 unless $here{sh};

    is((run('sh', message => $_))[0], 1, "sh: nginx does not take $_")
        for '[1}', '1 2', '\"';

    my ($status) = run('sh', message => undef,
        input => "q\"\\ \n\t\0\x7f" . "\xc3\xa9%s\$1");
    is(heard(), '"q\"\\\\ \u000a\u0009\u0000' . "\x7f\xc3\xa9%s\$1\"",
        'sh: a text may have any characters');
}

$got{$_} = 1 for 401, 403, 404, 413;

for my $l (@full) {
    my @batch = batch($l);

    is($batch[0], 'response null, error Unknown command, response null',
        "$l: a batch has all answers");
    is(heard() . heard(), '12', "$l: and is done in order");
    is($batch[1], 'StatusError: HTTP status 404',
        "$l: or not at all");
}


# statuses that no connector can have

$got{post('/backend', '{')->{status}} = 1;
$got{Snorky->dial()->request('GET', '/backend')->{status}} = 1;

is(post('/backend', undef)->{status}, 400, 'a POST without a length is empty');
is(post('/backend', [ split /(?<=,)/, call_text(1) ])->{status}, 200,
    'a body may come in chunks');
heard();


# --- TLS --------------------------------------------------------------------

for my $l (@here) {
    my $at = 'https://127.0.0.1:' . port(8443);

    local $ENV{SSL_CERT_FILE} = "$dir/example.com.crt";
    local $ENV{NODE_EXTRA_CA_CERTS} = "$dir/example.com.crt";

    publish($l, '"TLS"', at => $at);
    is(heard(), '"TLS"', "$l: over TLS");

    delete @ENV{qw/ SSL_CERT_FILE NODE_EXTRA_CA_CERTS /};

    is((run($l, at => $at))[0], 3, "$l: not to whom has no certificate");
}


# --- no answer --------------------------------------------------------------

for my $l (@here) {
    my ($status, undef, $said) = run($l, at => 'http://127.0.0.1:'
        . port(8082));

    is($status, 3, "$l: nobody is there");
    like($said, qr/^(?:NoAnswer: |curl: .*\npublish\.sh: no answer$)/,
        "$l: and it says so");
}

my @workers = worker_pids($t);

stop_process(@workers);

my %late = map { $_ => start($_, message => "\"$_\"") } @here;

for my $l (@here) {
    is((ended($late{$l}))[0], 3, "$l: its time is over");
}

continue_process(@workers);

is(join(' ', sort map { heard() } @here), join(' ', sort map { "\"$_\"" }
    @here), 'and all of these are carried out later');


# --- overload ---------------------------------------------------------------

# One worker stands still with a subscriber, and so the log gets full.

my ($still) = @{ status_json()->{workers} };
my $there = connect_to_worker($still->{slot});

$there->rpc('messaging', 'subscribe', { channel => 'log' });
stop_process($still->{pid});

my $r;

do {
    $r = post('/fast', call_text('"' . 'x' x 4000 . '"', 'log'));
} while ($r->{status} == 200);

$got{503} = 1 if $r->{body} =~ /"error".*"Overloaded"/;

for my $l (@here) {
    is(refused($l, uri => '/fast', message => '"' . 'y' x 4000 . '"'),
        'ServiceError: Overloaded', "$l: Overloaded");
}

for my $l (@full) {
    is((batch($l, uri => '/fast', large => 1))[0], 'error Overloaded',
        "$l: a batch ends with that");
}

continue_process($still->{pid});
$there->finish();

is_deeply([ sort keys %got, 200 ], [ grep { !/^50[024]$/ } statuses() ],
    'every status of the page has been got');


# --- connections ------------------------------------------------------------

for my $l (@keeping) {
    is(join(' ', ended(driver($l, 'many', 1500))), '0 done ',
        "$l: fifteen hundred calls are made");
    is(join(' ', map { heard() } 1 .. 1500), join(' ', 1 .. 1500),
        "$l: each is done once, in order");

    # fetch() takes two in turn

    my @many = connections("$l-many", 1500);
    is_deeply(\@many, $l eq 'py' ? [ 1000, 500 ] : [ 750, 750 ],
        "$l: on one connection up to nginx's limit for one, or on two");

    is(join(' ', ended(driver($l, 'parallel', 400))), '0 done ',
        "$l: eight at a time");
    is(join(' ', sort { $a <=> $b } map { heard() } 1 .. 400),
        join(' ', 1 .. 400), "$l: each is done once");

    my @parallel = connections("$l-parallel", 400);
    cmp_ok(scalar @parallel, '<=', $l eq 'py' ? 8 : 16,
        "$l: on as many connections, or twice that");
}

for my $l (@others) {
    publish($l, $_, args => "$l-few") for 1, 2;
    is(heard() . heard(), '12', "$l: two calls");
    is_deeply([ connections("$l-few", 2) ], [ 1, 1 ],
        "$l: on a connection each");
}

# nginx ends connections that are idle, when it is reloaded

for my $l (@keeping) {
    my @old = worker_pids($t);
    my $driver = driver($l, 'reload', 2);

    is_deeply([ connections("$l-reload", 1) ], [ 1 ], "$l: a call");

    $t->reload();
    wait_until { my %is = map { $_ => 1 } worker_pids($t);
        !grep { $is{$_} } @old };

    unlink "$dir/wait";
    is(join(' ', ended($driver)), '0 done ', "$l: and one after a reload");
    is_deeply([ connections("$l-reload", 2) ], [ 1, 1 ],
        "$l: on another connection");
}


# --- configuration ----------------------------------------------------------

# the servers of the page, and more locations

sub configuration {
    my ($text, @servers) = blocks('nginx');

    $text =~ s/^(http \{\n)/$1%%TEST_GLOBALS_HTTP%%
        snorky_zone 4m;
        snorky_drain 10ms;
        snorky_worker_timeout 120s;
        snorky_registry other { snorky_service echo echo; }
        log_format connections '\$args \$connection \$connection_requests';
        access_log $dir\/connections.log connections;
        add_header X-Worker \$snorky_worker always;
    / or die "no http{} in the page\n";

    $text =~ s/^( +listen 127.0.0.1:8080;\n)/$1
        snorky_backend_key swordfish;

        location = \/echo { snorky_backend registry=other; }
        location = \/denied { snorky_backend registry=private; deny all; }
        location = \/moved { return 307 \/backend; }
        location = \/500 { return 500; }
        location = \/502 { return 502; }
        location = \/504 { return 504; }
        location = \/fast {
            snorky_backend registry=private;
            snorky_publish_timeout 100ms;
        }
        location = \/odd {
            snorky_backend registry=private;
            snorky_backend_key 'sword"\\\\ fish';
        }
        location = \/status { snorky_status; }
    /m or die "no server in the page\n";

    $text =~ s/^\}\n\z/@servers}\n/m;

    # addresses of the test's own

    $text =~ s{/run/snorky/}{$dir/};
    $text =~ s/listen 443 /listen 127.0.0.1:8443 /;
    $text =~ s{192\.0\.2\.0/24}{127.0.0.1};
    $text =~ s{(example\.com\.(?:crt|key))}{$dir/$1}g;

    return at_level($t, 'info', "%%TEST_GLOBALS%%\ndaemon off;\n"
        . "worker_processes 2;\nevents {\n}\n$text");
}


# --- the page ---------------------------------------------------------------

sub blocks {
    my ($language) = @_;

    $language = { py => 'python', mjs => 'js' }->{$language} // $language;

    return $page =~ /^```\Q$language\E\n(.*?)^```$/smg;
}


# the statuses of its table

sub statuses {
    my ($table) = $page =~ /^\| status \| what.*\n\|[-|]+\n((?:\|.*\n)+)/m
        or die "no table of statuses in the page\n";
    my %status = map { $_ => 1 }
        map { (split / \| /)[0] =~ /\b(\d{3})\b/g } split /\n/, $table;

    return sort keys %status;
}


sub shell {
    my ($text) = @_;

    $text =~ s/127\.0\.0\.1:8080/'127.0.0.1:' . port(8080)/ge;
    $text =~ s{/run/snorky/}{$dir/};

    my ($status, $out, $said) = ended(begin({ cwd => $root },
        'sh', '-ec', $text));

    diag($said) if $status;

    return $out;
}


sub script {
    my ($l, $text, @args) = @_;

    $t->write_file("copy/script.$l", $text);

    my ($status, $out, $said) = ended(begin({}, $command{$l}[0], "script.$l",
        @args));

    diag($said) if $status;

    return $out;
}


# --- connectors -------------------------------------------------------------

sub publish {
    my ($l, $message, %o) = @_;

    my ($status, undef, $said) = run($l, %o, message => $message);

    diag("$l: $said") if $status;

    return;
}


# what it says of a call that it must not make

sub refused {
    my ($l, %o) = @_;

    my ($status, $out, $said) = run($l, %o);

    $said =~ s/^publish\.sh: HTTP/StatusError: HTTP/;
    $said =~ s/^publish\.sh: \{.*"error".*"(.*)"\}\}$/ServiceError: $1/;

    return $status == 1 && !length $out ? $said : "$status $out $said";
}


sub run {
    return ended(start(@_));
}


sub start {
    my ($l, %o) = @_;

    my $channel = $o{channel} // 'news';
    my $message = exists $o{message} ? $o{message} : 1;
    my $program = { sh => 'publish.sh' }->{$l} // "snorky.$l";

    $o{input} //= '{"channel":' . json($channel) . ",\"message\":$message}"
        if $l ne 'sh';

    return begin(\%o, $command{$l}[0], $program, 'messaging_backend',
        $l ne 'sh' ? 'publish' : ($channel, $message // ()));
}


# Starts a program; its process and where its output goes.

my $programs;

sub begin {
    my ($o, @command) = @_;

    my $name = "$dir/program" . ++$programs;
    my $pid = fork() // die "cannot fork: $!\n";

    $t->write_file("program$programs.in", $o->{input} // '') if $pid == 0;

    return { pid => $pid, name => $name } if $pid;

    $ENV{SNORKY_URL} = ($o->{at} // $url) . ($o->{uri} // '/backend')
        . (defined $o->{args} ? "?$o->{args}" : '');
    $ENV{SNORKY_KEY} = $o->{key} // 'swordfish';

    chdir($o->{cwd} // "$dir/copy");
    open STDIN, '<', "$name.in";
    open STDOUT, '>', "$name.out";
    open STDERR, '>', "$name.err";

    {
        no warnings 'exec';
        exec @command;
    }

    POSIX::_exit(127);
}


# its exit status, output and complaints

sub ended {
    my ($program) = @_;

    waitpid $program->{pid}, 0;

    return ($? >> 8, map { s/\n\z//r } slurp("$program->{name}.out"),
        slurp("$program->{name}.err"));
}


# two calls with one that is refused between, then two and one that cannot be

sub batch {
    my ($l, %o) = @_;

    my %script = (py => <<'END', mjs => <<'END', php => <<'END');
import sys
from snorky import *

size = int(sys.argv[1])
call = lambda n, command="publish", service="messaging_backend": (
    service, command, {"channel": "news", "message": n})

for calls in ([call(1 if size == 1 else "y" * size), call(0, "nothing"),
               call(2)], [call(3), call(4, "publish", "nobody")]):
    try:
        print(", ".join(
            a["type"] + " " + (a.get("message") or "null")
            for a in Backend().batch(calls)))
    except SnorkyError as error:
        print(f"{type(error).__name__}: {error}")
END
import { Backend } from './snorky.mjs';

const size = Number(process.argv[2]);
const call = (message, command = 'publish', service = 'messaging_backend') =>
    [service, command, { channel: 'news', message }];

for (const calls of [[call(size === 1 ? 1 : 'y'.repeat(size)),
                      call(0, 'nothing'), call(2)],
                     [call(3), call(4, 'publish', 'nobody')]])
{
    console.log(await new Backend().batch(calls).then(
        (answers) => answers.map((a) => `${a.type} ${a.message ?? 'null'}`)
                            .join(', '),
        (error) => `${error.name}: ${error.message}`));
}
END
<?php

require 'snorky.php';

$size = (int) $argv[1];
$call = fn ($message, $command = 'publish', $service = 'messaging_backend') =>
    [$service, $command, ['channel' => 'news', 'message' => $message]];

foreach ([[$call($size === 1 ? 1 : str_repeat('y', $size)),
           $call(0, 'nothing'), $call(2)],
          [$call(3), $call(4, 'publish', 'nobody')]] as $calls) {
    try {
        echo implode(', ', array_map(
            fn ($a) => $a['type'] . ' ' . ($a['message'] ?? 'null'),
            (new Snorky\Backend())->batch($calls))), "\n";
    } catch (Snorky\SnorkyError $error) {
        echo substr($error::class, 7), ': ', $error->getMessage(), "\n";
    }
}
END

    $t->write_file("copy/batch.$l", $script{$l});

    my ($status, $out, $said) = ended(begin(\%o, $command{$l}[0], "batch.$l",
        $o{large} ? 4000 : 1));

    diag($said) if length $said;

    return split /\n/, $out;
}


# Many calls, one by one or at a time, or one before the file "wait" is gone
# and one after that.

sub driver {
    my ($l, $what, $count) = @_;

    my %script = (py => <<'END', mjs => <<'END');
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from snorky import Backend

backend = Backend(timeout=60)
what, count, wait = sys.argv[1:]
numbers = range(1, int(count) + 1)


def publish(n):
    if what == "reload" and n == 2:
        while os.path.exists(wait):
            time.sleep(0.02)
    backend.call("messaging_backend", "publish",
                 {"channel": "news", "message": n})


with ThreadPoolExecutor(8 if what == "parallel" else 1) as pool:
    list(pool.map(publish, numbers))

print("done")
END
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Backend } from './snorky.mjs';

const [what, count, wait] = process.argv.slice(2);
const backend = new Backend(undefined, undefined, 60000);
let next = 1;

async function publish() {
    while (next <= Number(count)) {
        const message = next++;
        while (what === 'reload' && message === 2 && existsSync(wait)) {
            await sleep(20);
        }
        await backend.call('messaging_backend', 'publish',
                           { channel: 'news', message });
    }
}

await Promise.all(Array.from({ length: what === 'parallel' ? 8 : 1 }, publish));
console.log('done');
END

    $t->write_file("copy/driver.$l", $script{$l});
    $t->write_file('wait', '');

    return begin({ args => "$l-$what" }, $command{$l}[0], "driver.$l", $what,
        $count, "$dir/wait");
}


# --- nginx ------------------------------------------------------------------

sub call_text {
    my ($message, $channel) = @_;

    return '{"service":"messaging_backend","message":{"command":"publish",'
        . '"params":{"channel":"' . ($channel // 'news')
        . "\",\"message\":$message},\"callId\":1}}";
}


sub post {
    my ($uri, $body) = @_;

    return backend_post($uri, $body, key => 'swordfish');
}


# the next message, as it has come; it is not waited for many times in vain

sub heard {
    my $text = $subscriber->notification_text($silences < 5 ? undef : 0)
        // "nothing: $subscriber->{why}";

    $silences++ if $text =~ /^nothing/;

    return $text =~ s/^\{"service":"messaging","message":\{"type":"message",
        "channel":"news","message":(.*)\}\}$/$1/sxr;
}


# How many requests each connection has had, of those with these arguments; the
# line of a request is there a moment after its answer.

sub connections {
    my ($args, $count) = @_;
    my @lines;

    wait_until {
        @lines = grep { /^\Q$args\E / } split /\n/,
            $t->read_file('connections.log');
        return @lines >= $count;
    };

    my (@order, %requests);

    for my $line (@lines) {
        my (undef, $connection, $n) = split / /, $line;

        push @order, $connection unless $requests{$connection};
        $requests{$connection} = $n;
    }

    return map { $requests{$_} } @order;
}


sub there {
    my ($name) = @_;

    return scalar grep { -x "$_/$name" } File::Spec->path();
}


sub slurp {
    my ($name) = @_;
    local $/;

    open my $f, '<', $name or die "cannot read $name: $!\n";
    return scalar <$f>;
}
