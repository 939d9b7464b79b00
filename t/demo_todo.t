#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The demo's to-do lists: the application by itself, many of its users at the
# same time, Snorky out of its reach; then the page, used by a headless
# Chromium in two windows: t/browser/todo.js has the cases.

use strict;
use warnings;

use FindBin;
use IO::Select ();
use IO::Socket::INET ();
use POSIX ();
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Demo;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
my $cases = 26;

my $t = demo($cases + 46);

run_demo($t);

my $dir = $t->testdir();
my ($todo, $pipe) = run_todo($t);


# what it takes and what it refuses

my $r = todos('Reef survey');

is($r->{status}, 200, 'the rows are there');
is($r->{headers}{'content-type'}, 'application/json', 'as JSON');
is($r->{headers}{'cache-control'}, 'no-store', 'for this once');
like($r->{json}{token}, qr/^[a-z0-9]{32}$/, 'with a token');
is_deeply($r->{json}{data}{lists}, [
    { list => 'Boat', total => 2, open => 1 },
    { list => 'Reef survey', total => 3, open => 2 },
], 'and the figures of all lists');
is_deeply([ titles($r) ], [ 'Check the tanks', 'Count the starfish',
    'Photograph the new anemone' ], 'the rows of one list');
is_deeply([ titles(todos('Reef survey', '&open=1')) ],
    [ 'Count the starfish', 'Photograph the new anemone' ],
    'those that are open');
is_deeply([ titles(todos('Nobody has this')) ], [],
    'a list that is not there is empty');

for my $case (
    [ 400, 'no list', GET => '/api/todos' ],
    [ 400, 'a list of blanks', GET => '/api/todos?list=+' ],
    [ 400, 'a long list', GET => '/api/todos?list=' . 'x' x 41 ],
    [ 404, 'another path', GET => '/api/todo' ],
    [ 404, 'no number', DELETE => '/api/todos/x' ],
    [ 404, 'no such row', DELETE => '/api/todos/999' ],
    [ 404, 'no such row to change', PATCH => '/api/todos/999', '{}' ],
    [ 405, 'a row on its own', GET => '/api/todos/1' ],
    [ 400, 'no JSON', POST => '/api/todos', '{' ],
    [ 400, 'no object', POST => '/api/todos', '[]' ],
    [ 400, 'no title', POST => '/api/todos', '{"list":"Boat"}' ],
    [ 400, 'a title that is no text', PATCH => '/api/todos/1', '{"title":1}' ],
    [ 400, 'half a character', PATCH => '/api/todos/1',
        '{"title":"\ud800"}' ],
    [ 400, 'half done', PATCH => '/api/todos/1', '{"done":1}' ],
    [ 400, 'another field', PATCH => '/api/todos/1', '{"id":2}' ],
    [ 413, 'too much', POST => '/api/todos', ' ' x 17000 ],
    [ 415, 'a form', POST => '/api/todos', 'list=Boat', 'text/plain' ],
) {
    my ($status, $name, @request) = @$case;
    is(api(@request)->{status}, $status, "$name: $status");
}


# Windows that come while four others change the rows of a list, and stay: each
# has its rows and applies what it is told, and so must have in the end what
# the database has.

note("seed $seed");
srand($seed);

$t->write_file('race', '');

my @writers = map { writer($_) } 1 .. 4;
my @windows;
my %decoded;        # most texts come to many windows

for my $n (1 .. 60) {
    push @windows, { open => $n % 2 };
    enter($windows[-1], $n);
    follow($_, 0) for @windows;
}

unlink "$dir/race";

is(join(' ', map { scalar <$_> } @writers), '1 1 1 1',
    'four users have changed what they wanted to');

my $last = todos('Race');

for my $open (0, 1) {
    my $rows = [ grep { !$open || !$_->{done} }
        @{ $last->{json}{data}{todos} } ];

    my @other = grep { $_ ne json($rows) } map { settle($_, $rows) }
        grep { $_->{open} == $open } @windows;

    is(scalar(@other), 0,
        'all windows have what the database has' . ($open ? ', open' : ''))
        or diag("TEST_SNORKY_SEED=$seed\n", json($rows), "\n", $other[0]);
}

$_->{ws}->finish() for @windows;

is(scalar(grep { api('DELETE', "/api/todos/$_->{id}")->{status} != 200 }
    @{ $last->{json}{data}{todos} }), 0, 'the list is cleared');


# a second application that reaches nobody at first

my $late = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1',
    ReuseAddr => 1) or die "cannot listen: $!\n";
my $late_port = $late->sockport();

close $late;

my ($alone, $alone_pipe) = run_todo($t, socket => "$dir/alone.sock",
    database => "$dir/alone.db", at => $late_port);

is(curl('GET', '/api/todos?list=Boat'),
    '503 {"error": "Snorky cannot be reached"}',
    'without Snorky there is no token, and so no answer');

my $begin = time();

is(curl('PATCH', '/api/todos/4', qq({"title":"Change $_"})),
    qq(200 {"id": 4, "list": "Boat", "title": "Change $_", "done": false}),
    'but a change is made') for 1 .. 3;

cmp_ok(time() - $begin, '<', 3, 'and does not wait for it');

$late = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1',
    LocalPort => $late_port, ReuseAddr => 1) or die "cannot listen: $!\n";

is(join(', ', map { $_->{newData}{title} } published($late)),
    'Change 1, Change 2, Change 3',
    'when it comes back, it is told of all of them in order');


# A change amid an authorization is in the rows, and no change is published
# before the one that was made before it is.

my $get = begin('GET', '/api/todos?list=Boat');
my ($authorizing, $authorize) = take($late);

is($authorize->{command}, 'authorizeSubscription', 'a window gets a token');

my $change = begin('PATCH', '/api/todos/4', '{"title":"Meanwhile"}');

answer((take($late))[0], 'null');
like(ended($change), qr/^200 .*"Meanwhile"/, 'a row is changed meanwhile');
answer($authorizing, '"token"');
like(ended($get), qr/^200 .*"Meanwhile"/, 'and the window has that change');

my @changes = map { begin('PATCH', '/api/todos/4', qq({"title":"Both $_"})) }
    1, 2;
my ($publishing, $first) = take($late);

ok(!IO::Select->new($late)->can_read(0.5),
    'two changes are not published at the same time');
answer($publishing, 'null');

my ($publishing_too, $second) = take($late);

answer($publishing_too, 'null');
like(ended($_), qr/^200 /, 'both are made') for @changes;
is_deeply($second->{params}{deltas}[0]{oldData},
    $first->{params}{deltas}[0]{newData}, 'one after the other');


# each ends with the pipe, and takes its socket with it

close $alone_pipe;
waitpid $alone, 0;

is($?, 0, 'the application ends with what holds its pipe');
ok(!-e "$dir/alone.sock", 'and takes its socket away');


browse($t, 'todo.js', $cases);

close $pipe;
waitpid $todo, 0;

is($t->read_file('todo.log') =~ s/^todo: publishDeltas: .*trying on\n//mgr
    =~ s/^todo: authorizeSubscription: .*\n//mgr, '',
    'the application has nothing to say but that Snorky was out of reach');


# --- requests ---------------------------------------------------------------

sub api {
    my ($method, $path, $body, $type) = @_;

    my $h = Snorky->dial();

    return $h->request($method, $path,
        defined $body ? (body => $body) : (),
        headers => [ 'Connection: close',
            defined $body ? 'Content-Type: ' . ($type || 'application/json')
                          : () ]);
}


sub todos {
    my ($list, $more) = @_;

    return api('GET', '/api/todos?list=' . ($list =~ s/ /%20/gr)
        . ($more // ''));
}


sub titles {
    my ($r) = @_;

    return map { $_->{title} } @{ $r->{json}{data}{todos} };
}


# "STATUS BODY" of the application that nginx does not know

sub curl {
    return ended(begin(@_));
}


sub begin {
    my ($method, $path, $body) = @_;

    open my $out, '-|', 'curl', '-s', '-m', 10, '--unix-socket',
        "$dir/alone.sock", '-X', $method, '-w', ' %{http_code}',
        defined $body ? ('-H', 'Content-Type: application/json', '-d', $body)
                      : (),
        "http://localhost$path" or die "cannot start curl: $!\n";

    return $out;
}


sub ended {
    my ($out) = @_;

    my $text = join '', <$out>;
    close $out;

    return $text =~ s/^(.*) (\d+)\z/$2 $1/sr;
}


# --- many at the same time --------------------------------------------------

# A process that changes rows of the list, its own and those of others, as long
# as there is a file "race", but not for ever.  It says at its end whether all
# went well: a row that somebody else has deleted is no failure.

sub writer {
    my ($n) = @_;

    my $pid = open(my $out, '-|') // die "cannot fork: $!\n";
    return $out if $pid;

    srand($seed + $n);

    my $failed = 0;
    my @ids;

    for my $step (0 .. 399) {
        last if !-e "$dir/race";

        @ids = map { $_->{id} } @{ todos('Race')->{json}{data}{todos} }
            if $step % 8 == 0;

        my $id = $ids[ rand @ids ];
        my $chance = rand();

        my $r = @ids < 4 || $chance < .2
            ? api('POST', '/api/todos', qq({"list":"Race","title":"$n.$step"}))
            : $chance < .5
            ? api('DELETE', "/api/todos/$id")
            : $chance < .75
            ? api('PATCH', "/api/todos/$id", qq({"title":"$n.$step"}))
            : api('PATCH', "/api/todos/$id", $chance < .88
                ? '{"done":true}' : '{"done":false}');

        $failed++ if !$r || $r->{status} !~ /^(?:200|201|404)$/;
    }

    syswrite STDOUT, $failed ? 0 : 1;
    POSIX::_exit(0);
}


# A window like that of the page: rows, then the token.

sub enter {
    my ($w, $n) = @_;

    my $r = todos('Race', $w->{open} ? '&open=1' : '');

    # sometimes it takes a while

    select undef, undef, undef, .03 if $n % 3 == 0;

    $w->{rows} = { map { $_->{id} => $_ } @{ $r->{json}{data}{todos} } };
    $w->{ws} = Snorky->connect('/ws');
    $w->{ws}->call('datasync', 'acquireSubscription',
        { token => $r->{json}{token} });

    return;
}


# Applies what comes, until nothing comes for so long.

sub follow {
    my ($w, $seconds) = @_;

    while (defined(my $text = $w->{ws}->text_in($seconds))) {
        my $message = ($decoded{$text} //= decode($text))->{message};

        die "no subscription: $text\n" if $message->{type} eq 'error';

        my $delta = $message->{delta} or next;
        next if $delta->{model} ne 'todo';

        my $row = $delta->{newData} // $delta->{data};

        if ($delta->{type} eq 'delete') {
            delete $w->{rows}{ $row->{id} };
        } else {
            $w->{rows}{ $row->{id} } = $row;
        }
    }

    return;
}


# its rows as JSON, once they are those that are expected

sub settle {
    my ($w, $expected) = @_;
    my $rows;

    wait_until {
        follow($w, 0.02);
        $rows = json([ map { $w->{rows}{$_} }
            sort { $a <=> $b } keys %{ $w->{rows} } ]);

        return $rows eq json($expected);
    } 5;

    return $rows;
}


# --- Snorky's part ----------------------------------------------------------

# Takes calls like the backend does, until three changes of tasks have come.

sub published {
    my ($listener) = @_;
    my @deltas;

    while (@deltas < 3) {
        my ($s, $call) = take($listener) or last;

        push @deltas, grep { $_->{model} eq 'todo' }
            @{ $call->{params}{deltas} };
        answer($s, 'null');
    }

    return @deltas;
}


# the next call: its connection, and what it is

sub take {
    my ($listener) = @_;
    my $text = '';

    IO::Select->new($listener)->can_read(10) or return;

    my $s = $listener->accept() or return;

    while ($text !~ /\r\n\r\n(.*)/s
           || length $1 < ($text =~ /^Content-Length: (\d+)/mi)[0])
    {
        sysread $s, $text, 65536, length $text or last;
    }

    return ($s, decode($text =~ s/.*?\r\n\r\n//sr)->{message});
}


sub answer {
    my ($s, $data) = @_;

    my $body = '{"service":"datasync_backend","message":'
        . qq({"type":"response","callId":1,"data":$data}});

    print $s "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body";
    close $s;

    return;
}
