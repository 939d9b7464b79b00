#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# cursors: who points where in a document, and who is told; the same with one
# worker and with several, where each client has another one.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use File::Temp ();
use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http map /)->plan(2 * 312 + 12);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes %%WORKERS%%;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 4m;
    snorky_drain 10ms;

    snorky_service pubsub fence;

    snorky_service cursors text;
    snorky_service cursors other max_cursors=2;
    snorky_service cursors many max_cursors=500;

    snorky_registry second {
        snorky_service pubsub fence;
        snorky_service cursors text;
    }

    map $arg_user $user {
        default  $arg_user;
        quote    'q"\\';
    }

    add_header X-Worker $snorky_worker always;
    snorky_identity $user;

    server {
        listen       127.0.0.1:8080;

        # with a socket for each worker, connections come to all of them
        listen       127.0.0.1:8081 reuseport;

        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /second {
            snorky_websocket registry=second;
        }

        location /small {
            snorky_websocket;
            snorky_max_subscriptions 3;
            snorky_max_channel_size 10;
        }

        location /backend {
            snorky_backend;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

my $port = port(8081);
my $euro = "\xe2\x82\xac";

my $null = '{"type":"response","callId":1,"data":null}';

my ($where, @slots, $turn, $clients, $fencer, $fences);
my @handles;        # all that were given, in the order of giving

for my $workers (1, 4) {
    start($workers);

    commands();
    updates();
    leaving();
    one_identity_twice();
    as_sent();
    documents();
    private_handles();
    checks();
    max_cursors();
    parameters();
    limits();
    separate_services();
    backend();
    disconnection();
    order();
    at_once();
    public_handles();

    is(wait_until { counters()->{sessions} == 1 }, 1, "$where: all have gone");
    is(counters()->{subscriptions}, 0, "$where: with all that they had");
    is(scalar(() = $t->read_file('error.log') =~ /\[(?:warn|error|crit)\]/g),
        0, "$where: nothing of it is a warning");

    $fencer->finish();
    $t->stop();
}

configuration();


# --- the commands, text by text ---------------------------------------------

sub commands {
    my ($nobody, $p, $q, $away) = map { client($_) }
        undef, 'anna', 'otto', 'away';

    my $new = '"privateHandle":1,"document":"d","position":1,"status":2';

    for my $case ([ $nobody, 'Not authenticated' ], [ $p, '' ]) {
        my ($c, $join) = @$case;

        answers($c, 'join', '"document":"d"', $join,
            'a client without an identity cannot join') if $join;
        answers($c, 'leave', '"document":"d"', 'Not joined',
            'who has not joined cannot leave');
        answers($c, 'createCursor', $new, 'Not joined', 'nor have a cursor');
        answers($c, 'updateCursor', '"privateHandle":1,"newData":{}',
            'No such cursor', 'nor move one');
        answers($c, 'removeCursor', '"privateHandle":1', 'No such cursor',
            'nor remove one');
    }

    answers($p, 'join', '"document":"d"', listed(), 'who joins');
    answers($p, 'join', '"document":"d"', 'Already joined', 'joins once');
    answers($q, 'join', '"document":"d"', listed(), 'as does another');
    answers($away, 'join', '"document":"e"', listed(), 'or elsewhere');
    hear('nobody is told', $nobody => '', $p => '', $q => '', $away => '');

    my $one = create($p, '1', '"d"', '1', '2');

    is(heard($q), added(cursor($one, '"d"', '1', '2', '"anna"')),
        "$where: others hear of a new cursor");
    hear('but not its owner, nor who is elsewhere', $nobody => '', $p => '',
        $q => '', $away => '');
    answers($p, 'createCursor', $new, 'Reused handle', 'a handle is had once');

    my $two = create($p, '"2"', '"d"', '"p"', '"s"');
    my $his = create($q, '1', '"d"', 'null', 'null');

    isnt($one, $two, "$where: two cursors have two handles");
    isnt($one, $his, "$where: those of others are others");
    hear('each hears of the others', $away => '',
        $p => added(cursor($his, '"d"', 'null', 'null', '"otto"')),
        $q => added(cursor($two, '"d"', '"p"', '"s"', '"anna"')));

    my $late = client('late');

    is_deeply([ joined($late, '"d"') ], [ sort { $a cmp $b }
        cursor($one, '"d"', '1', '2', '"anna"'),
        cursor($two, '"d"', '"p"', '"s"', '"anna"'),
        cursor($his, '"d"', 'null', 'null', '"otto"') ],
        "$where: who joins later is told of all");
    hear('of which nobody is told', map { $_ => '' } $p, $q, $late, $away);

    answers($q, 'updateCursor', '"privateHandle":1,"newData":{"position":5}',
        $null, 'updateCursor returns null');
    hear('others hear the whole cursor', $q => '', $away => '',
        map { $_ => updated(cursor($his, '"d"', '5', 'null', '"otto"')) }
            $p, $late);
    answers($q, 'updateCursor', '"privateHandle":"2","newData":{"position":5}',
        'No such cursor', "another's cannot be moved");
    answers($q, 'removeCursor', '"privateHandle":"2"', 'No such cursor',
        'nor removed');
    answers($q, 'removeCursor', "\"privateHandle\":$one", 'No such cursor',
        'a public handle is no private one');
    answers($p, 'removeCursor', '"privateHandle":1', $null,
        'removeCursor returns null');
    hear('others are told', $p => '', $away => '',
        map { $_ => removed($one, '"d"') } $q, $late);
    answers($p, 'removeCursor', '"privateHandle":1', 'No such cursor',
        'a cursor is removed once');
    answers($p, 'updateCursor', '"privateHandle":1,"newData":{"position":5}',
        'No such cursor', 'and then moved no more');

    my $again = create($p, '1', '"d"', '0', '0');

    isnt($again, $one, "$where: its handle is free for another cursor");
    hear('that is new', $p => '', $away => '',
        map { $_ => added(cursor($again, '"d"', '0', '0', '"anna"')) }
            $q, $late);

    # without an id

    like(ask($p, 'text', 'createCursor', '{"privateHandle":3,"document":"d",'
        . '"position":1,"status":1}', undef),
        qr/^\{"type":"response","data":\d+\}$/,
        "$where: a call without an id is answered without");
    is(ask($p, 'text', 'removeCursor', '{"privateHandle":4}', undef),
        '{"type":"error","callId":null,"message":"No such cursor"}',
        "$where: an error with null");
    is(ask($p, 'text', 'removeCursor', '{"privateHandle":3}', '"\u0041"'),
        '{"type":"response","callId":"\u0041","data":null}',
        "$where: any other id comes back");

    answers($p, $_, '"document":"d"', 'Unknown command', "$_ is no command")
        for qw/ subscribe create CreateCursor /;

    ended($nobody, $p, $q, $late, $away);

    return;
}


# --- what an update may be --------------------------------------------------

sub updates {
    my ($p, $q) = both('anna', 'otto');
    my $handle = create($p, '1', '"d"', '"p0"', '"s0"');

    is(heard($q), added(cursor($handle, '"d"', '"p0"', '"s0"', '"anna"')),
        "$where: a cursor");

    for my $case (
        [ '{"position":1}', '1', '"s0"' ],
        [ '{"status":2.0}', '1', '2.0' ],
        [ '{"status":3,"position":4}', '4', '3' ],
        [ '{"x":1,"status":5,"publicHandle":7,"owner":"otto","document":"e",'
          . '"privateHandle":9}', '4', '5' ],
        [ '{"position":null}', 'null', '5' ],
        [ '{"position":1,"position":2}', '2', '5' ],
        [ '{"p\u006fsition":3,"stat\u0075s":[1]}', '3', '[1]' ],
        [ '{"Position":6,"status":{"position":8}}', '3', '{"position":8}' ],
        [ '{"position":3,"status":{"position":8}}', '3', '{"position":8}' ])
    {
        my ($data, $position, $status) = @$case;

        answers($p, 'updateCursor', "\"privateHandle\":1,\"newData\":$data",
            $null, "an update with $data");
        is(heard($q), updated(cursor($handle, '"d"', $position, $status,
            '"anna"')), "$where: sets position and status only");
    }

    # one without either of them has nothing to tell, and may do so

    answers($p, 'updateCursor', "\"privateHandle\":1,\"newData\":$_", $null,
        "an update with $_") for '{}', '{"x":1}';

    my $same = updated(cursor($handle, '"d"', '3', '{"position":8}',
        '"anna"'));

    like(heard($q), qr/^(?:\Q$same\E\n?){0,2}$/, "$where: changes nothing");

    for my $data (qw/ null true 1 "position" [] ["position",1]
        [{"position":1}] /)
    {
        answers($p, 'updateCursor', "\"privateHandle\":1,\"newData\":$data",
            'Invalid params', "an update cannot be $data");
    }

    hear('and is not', $p => '', $q => '');

    my $late = client('late');

    is_deeply([ joined($late, '"d"') ], [
        cursor($handle, '"d"', '3', '{"position":8}', '"anna"') ],
        "$where: who joins finds what was set last");

    ended($p, $q, $late);

    return;
}


# --- leaving ----------------------------------------------------------------

sub leaving {
    my ($p, $q) = both('anna', 'otto');

    answers($_, 'join', '"document":"e"', listed(), 'in another document, too')
        for $p, $q;

    my @in_d = map { create($p, $_, '"d"', $_, 0) } 1 .. 3;
    my $in_e = create($p, 4, '"e"', 4, 0);
    my $his = create($q, 1, '"d"', 1, 0);

    heard($_) for $p, $q;

    answers($p, 'leave', '"document":"d"', $null, 'leave returns null');

    is(join("\n", sort split /\n/, heard($q)), join("\n", sort
        map { removed($_, '"d"') } @in_d),
        "$where: one's cursors in the document go with one");
    hear('which one is not told oneself', $p => '', $q => '');
    answers($p, 'leave', '"document":"d"', 'Not joined', 'one leaves once');
    answers($p, 'createCursor', '"privateHandle":9,"document":"d","position":1'
        . ',"status":1', 'Not joined', 'and has no cursor there');
    answers($p, 'updateCursor', "\"privateHandle\":$_,\"newData\":{}",
        'No such cursor', "cursor $_ is no more") for 1 .. 3;
    answers($p, 'updateCursor', '"privateHandle":4,"newData":{"position":5}',
        $null, 'in other documents they stay');
    answers($q, 'updateCursor', '"privateHandle":1,"newData":{"position":5}',
        $null, "as do others' in this one");
    hear('of which one hears no more', $p => '',
        $q => updated(cursor($in_e, '"e"', '5', '0', '"anna"')));
    answers($p, 'join', '"document":"d"', listed(
        cursor($his, '"d"', '5', '0', '"otto"')),
        'who comes back finds the others');

    my $new = create($p, 1, '"d"', 1, 1);

    ok(!(grep { $_ == $new } @in_d), "$where: and may use his handles again");
    heard($q);

    # who has none leaves without a sound, and others hear him no more

    answers($q, 'removeCursor', '"privateHandle":1', $null, 'one has none');
    answers($q, 'leave', '"document":"d"', $null, 'and leaves');
    hear('of which nobody is told', $q => '', $p => removed($his, '"d"'));
    answers($p, 'leave', '"document":"d"', $null, 'the last leaves');
    hear('and nobody hears it', $p => '', $q => '');
    answers($q, 'join', '"document":"d"', listed(), 'nothing is left');

    ended($p, $q);

    return;
}


# --- several connections of one identity ------------------------------------

sub one_identity_twice {
    my ($p, $other) = both('anna', 'anna');

    my $one = create($p, '"h"', '"d"', 1, 1);

    is(heard($other), added(cursor($one, '"d"', 1, 1, '"anna"')),
        "$where: another connection of the same identity is another member");

    my $two = create($other, '"h"', '"d"', 2, 2);

    is(heard($p), added(cursor($two, '"d"', 2, 2, '"anna"')),
        "$where: with handles of its own");
    answers($other, 'updateCursor', '"privateHandle":"h","newData":'
        . '{"position":3}', $null, 'which means its own cursor');
    hear('that the first hears of', $other => '',
        $p => updated(cursor($two, '"d"', 3, 2, '"anna"')));
    ended($other);
    hear('also when it goes', $p => removed($two, '"d"'));
    answers($p, 'removeCursor', '"privateHandle":"h"', $null,
        'the cursor of the first stays');

    ended($p);

    return;
}


# --- byte for byte ----------------------------------------------------------

sub as_sent {
    my ($p, $q) = both('quote', "jos\xc3\xa9");
    my @values = (qw/ null true 1.0 -0 1e400 123456789012345678901234567890 ""
        "\u0041" "\ud800" {"b":1,"a":2,"b":3} [] {} [[1.50]]
        {"publicHandle":1} /, '[ 1 , 2 ]', '"\/"', "\"$euro\"",
        '"' . 'x' x 5000 . '"');
    my (@handles, %cursor);

    for my $i (0 .. $#values) {
        my $n = @handles;

        $handles[$n] = create($p, $n, '"d"', $values[$i], $values[-$i]);
        $cursor{$n} = cursor($handles[$n], '"d"', $values[$i], $values[-$i],
            '"q\"\\\\"');
        last if @handles == 16;
    }

    hear('positions and statuses of all kinds arrive as they were sent',
        $p => '', $q => join "\n", map { added($cursor{$_}) } 0 .. $#handles);

    for my $n (0 .. $#handles) {
        my ($position, $status) = @values[-$n - 1, $n - 3];

        answers($p, 'updateCursor', "\"privateHandle\":$n,\"newData\":"
            . "{\"position\":$position,\"status\":$status}", $null,
            'as does ' . substr "$position, $status", 0, 40);
        $cursor{$n} = cursor($handles[$n], '"d"', $position, $status,
            '"q\"\\\\"');
    }

    hear('in an update', $p => '', $q => join "\n",
        map { updated($cursor{$_}) } 0 .. $#handles);

    my $late = client('late');

    is_deeply([ joined($late, '"d"') ], [ sort values %cursor ],
        "$where: and in the list");

    my $jose = create($q, 1, '"d"', 1, 1);

    is(heard($p), added(cursor($jose, '"d"', 1, 1, "\"jos\xc3\xa9\"")),
        "$where: the owner is the identity");

    ended($p, $q, $late);

    return;
}


# --- documents are values ---------------------------------------------------

sub documents {
    my ($p, $q) = (client('anna'), client('otto'));

    for my $row (
        [ qw/ 1 1.0 1e0 10e-1 / ],
        [ qw/ "A" "\u0041" "A" "\u0041" / ],
        [ '{"a":1,"b":2}', '{"b":2,"a":1.0}', '{ "b" : 2 , "a" : 1 }',
          '{"\u0061":1,"b":3,"b":2}' ],
        [ qw/ 9007199254740993 9007199254740993.0 9007199254740993e0
          900719925474099300e-2 / ],
        [ 'null', 'null', 'null', 'null' ])
    {
        my ($one, $two, $three, $four) = @$row;

        answers($p, 'join', "\"document\":$one", listed(),
            "$one is a document");

        my $handle = create($p, 1, $four, 1, 1);

        is_deeply([ joined($q, $two) ], [
            cursor($handle, $two, 1, 1, '"anna"') ],
            "$where: $two is the same, and answered so");
        answers($q, 'join', "\"document\":$three", 'Already joined',
            "so is $three");

        my $his = create($q, 1, $three, 1, 1);

        is(heard($p), added(cursor($his, $three, 1, 1, '"otto"')),
            "$where: it is sent as he has it who caused it");
        answers($q, 'updateCursor', '"privateHandle":1,"newData":{"status":2}',
            $null, 'his cursor');
        answers($q, 'removeCursor', '"privateHandle":1', $null,
            'moves and goes');
        hear('where he has said it is', $q => '', $p => join "\n",
            updated(cursor($his, $three, 1, 2, '"otto"')),
            removed($his, $three));
        answers($p, 'leave', "\"document\":$three", $null,
            'it is left as well');
        hear('with the cursor there', $p => '',
            $q => removed($handle, $three));
        answers($p, 'removeCursor', '"privateHandle":1', 'No such cursor',
            'that is no more');
        answers($q, 'leave', "\"document\":$four", $null, 'in any writing');
    }

    # not the same

    my @different = (qw/ 0 1 true null false "" "1" [] [1] {} {"a":1} {"a":2}
        9007199254740992 9007199254740993 "a" "A" /);
    my (@wrong, @removed);

    for my $i (0 .. $#different) {
        my $document = $different[$i];

        ask($p, 'text', 'join', "{\"document\":$document}");

        my $handle = create($p, $i, $document, $i, 0);

        push @wrong, $document if "@{[ joined($q, $document) ]}"
            ne cursor($handle, $document, $i, 0, '"anna"');
        push @removed, removed($handle, $document);
    }

    is("@wrong", '', "$where: " . @different . ' documents have a cursor each');
    hear('of which each is told that joins', $p => '', $q => '');

    ended($p);

    is(join("\n", sort split /\n/, heard($q)), join("\n", sort @removed),
        "$where: and of the end of all");

    ended($q);

    return;
}


# --- private handles are values, too ----------------------------------------

sub private_handles {
    my ($p, $q) = both('anna', 'otto');

    for my $row (
        [ qw/ 1 1.0 1e0 / ],
        [ qw/ "A" "\u0041" "A" / ],
        [ '{"a":1,"b":2}', '{"b":2,"a":1.0}', '{ "\u0062" : 2 , "a" : 1 }' ],
        [ 'null', 'null', 'null' ],
        [ '[]', '[ ]', '[]' ])
    {
        my ($one, $two, $three) = @$row;
        my $handle = create($p, $one, '"d"', 1, 1);

        answers($p, 'createCursor', "\"privateHandle\":$two,\"document\":\"d\","
            . '"position":1,"status":1', 'Reused handle',
            "$two is the same handle as $one");
        answers($p, 'updateCursor', "\"privateHandle\":$two,\"newData\":"
            . '{"status":2}', $null, 'and moves the same cursor');
        answers($p, 'removeCursor', "\"privateHandle\":$three", $null,
            "as $three ends it");
        hear('that others hear of', $p => '', $q => join "\n",
            added(cursor($handle, '"d"', 1, 1, '"anna"')),
            updated(cursor($handle, '"d"', 1, 2, '"anna"')),
            removed($handle, '"d"'));
    }

    # not the same

    my @different = qw/ 0 1 true null false "" "1" [] [1] {} {"a":1}
        9007199254740992 9007199254740993 "a" "A" -1 /;
    my %handle = map { $_ => create($p, $_, '"d"', 1, 1) } @different;
    my @wrong;

    heard($q);

    for my $private (reverse @different) {
        ask($p, 'text', 'removeCursor', "{\"privateHandle\":$private}");
        push @wrong, $private if heard($q) ne removed($handle{$private}, '"d"');
    }

    is("@wrong", '', "$where: " . @different . ' handles are as many cursors');
    ended($p, $q);

    return;
}


# --- which error comes first ------------------------------------------------

sub checks {
    my ($p) = client('anna');
    my $new = '"position":1,"status":1';

    answers($p, 'join', '"document":"d"', listed(), 'who is in one document');
    create($p, $_, '"d"', 1, 1) for 1 .. 15;
    answers($p, 'createCursor', qq/"privateHandle":1,"document":"e",$new/,
        'Not joined', 'is told first that he is not in another');
    answers($p, 'createCursor', qq/"privateHandle":1,"document":"d",$new/,
        'Reused handle', 'then that he has used a handle');
    answers($p, 'join', '"document":"e"', listed(), 'in whatever document');
    answers($p, 'createCursor', qq/"privateHandle":1,"document":"e",$new/,
        'Reused handle', 'he has used it');
    create($p, 16, '"e"', 1, 1);
    answers($p, 'createCursor', qq/"privateHandle":1,"document":"f",$new/,
        'Not joined', 'also when he has as many as may be');
    answers($p, 'createCursor', qq/"privateHandle":1,"document":"d",$new/,
        'Reused handle', 'the handle is told first');
    answers($p, 'createCursor', qq/"privateHandle":17,"document":"d",$new/,
        'Too many cursors', 'and then the number');

    ended($p);

    return;
}


# --- how many ---------------------------------------------------------------

sub max_cursors {
    my ($p, $q) = both('anna', 'otto');
    my @handles = map { create($p, $_, '"d"', 1, 1) } 1 .. 16;

    is(scalar(my @lines = split /\n/, heard($q)), 16,
        "$where: by default a client may have 16 cursors");
    answers($p, 'createCursor', '"privateHandle":17,"document":"d",'
        . '"position":1,"status":1', 'Too many cursors', 'and no more');
    hear('of which nobody is told', $p => '', $q => '');
    create($q, 1, '"d"', 1, 1);
    heard($p);
    answers($p, 'removeCursor', '"privateHandle":5', $null,
        'others have their own; who removes one');
    create($p, 17, '"d"', 1, 1);
    answers($p, 'createCursor', '"privateHandle":18,"document":"d",'
        . '"position":1,"status":1', 'Too many cursors', 'may have another');
    answers($p, 'leave', '"document":"d"', $null, 'who leaves');
    answers($p, 'join', '"document":"e"', listed(), 'has none');
    create($p, $_, '"e"', 1, 1) for 1 .. 16;
    answers($p, 'createCursor', '"privateHandle":17,"document":"e",'
        . '"position":1,"status":1', 'Too many cursors',
        'and may have so many');

    # as many as the service says, in all documents together

    is(join(' ', map { result(ask($q, 'other', @$_)) }
        [ 'join', '{"document":1}' ], [ 'join', '{"document":2}' ],
        map { [ 'createCursor', "{\"privateHandle\":$_,\"document\":"
            . (1 + $_ % 2) . ',"position":1,"status":1}' ] } 1 .. 4),
        'response response response response Too many cursors '
        . 'Too many cursors', "$where: max_cursors=2 allows two");

    ended($p, $q);

    return;
}


# --- parameters -------------------------------------------------------------

sub parameters {
    my ($nobody, $p) = (client(), client('anna'));
    my $create = '"privateHandle":1,"document":"d","position":1';

    answers($p, 'join', '"document":"d"', listed(), 'someone');

    for my $case (
        [ 'join', qw/ [] null "d" {} {"document":1,"x":1} {"channel":1}
          ["d"] / ],
        [ 'leave', qw/ [] {} {"document":"d","status":1} / ],
        [ 'createCursor', '[]', '{}', "{$create}",
          "{$create,\"status\":1,\"x\":1}", "{$create,\"Status\":1}",
          '{"document":"d","position":1,"status":1}',
          '{"privateHandle":1,"document":"d","status":1}',
          '{"privateHandle":1,"position":1,"status":1}' ],
        [ 'updateCursor', qw/ [] {} {"privateHandle":1} {"newData":{}}
          {"privateHandle":1,"newData":{},"x":1}
          {"privateHandle":1,"position":1} / ],
        [ 'removeCursor', qw/ null {} {"privateHandle":1,"document":"d"}
          {"publicHandle":1} / ])
    {
        my ($command, @params) = @$case;

        for my $c ($nobody, $p) {
            my @wrong = grep { ask($c, 'text', $command, $_)
                ne error('Invalid params') } @params;

            is("@wrong", '', "$where: parameters that $command does not take");
        }
    }

    answers($p, 'createCursor', "\"position\":0,$create,\"st\\u0061tus\":1,"
        . '"document":"e","document":"f"', 'Not joined',
        'of duplicate parameters the last counts');
    answers($p, 'leave', '"document":"e","document":"d"', $null, 'always');
    hear('what was refused was not done', $p => '', $nobody => '');
    ended($nobody, $p);

    return;
}


# --- limits -----------------------------------------------------------------

sub limits {
    my ($small, $q) = (client('anna', '/small'), client('otto'));

    # the fence is a subscription, too

    answers($q, 'join', '"document":3', listed(), 'another');
    answers($small, 'join', '"document":1', listed(), 'a document');
    is(ask($small, 'other', 'join', '{"document":2}'), listed(),
        "$where: or one of another service is a subscription");
    create($small, $_, 1, 1, 1) for 1 .. 5;
    answers($small, 'join', '"document":3', 'Too many subscriptions',
        'of which there may be some, whatever cursors there are');
    answers($small, 'join', '"document":1', 'Already joined',
        'where one has joined, one has joined');
    create($q, 1, 3, 1, 1);
    hear('who was refused hears nothing', $small => '', $q => '');
    answers($small, 'leave', '"document":1', $null, 'who leaves one');
    is(scalar(my @cursors = joined($small, '3')), 1,
        "$where: may join another");
    answers($small, 'leave', '"document":3', $null, 'the end of it');

    # ten bytes

    answers($small, 'join', '"document":"12345678"', listed(),
        'a document may be so long');
    answers($small, $_->[0], '"document":"123456789"' . $_->[1],
        'Document too long', "but no longer: $_->[0]")
        for [ 'join', '' ], [ 'leave', '' ], [ 'createCursor',
            ',"privateHandle":1,"position":1,"status":1' ];
    create($small, '"12345678"', '"12345678"', '"' . 'p' x 100 . '"',
        '"' . 's' x 100 . '"');
    answers($small, $_->[0], '"privateHandle":"123456789"' . $_->[1],
        'PrivateHandle too long', "the same holds for a handle: $_->[0]")
        for [ 'createCursor',
              ',"document":"12345678","position":1,"status":1' ],
            [ 'updateCursor', ',"newData":{}' ], [ 'removeCursor', '' ];
    answers($q, 'join', '"document":"' . 'x' x 1022 . '"', listed(),
        'by default there are 1024 bytes');
    answers($q, 'join', '"document":"' . 'x' x 1023 . '"',
        'Document too long', 'and no more');

    # with the fence, and two from above, 128

    $q->send(map { frame(TEXT, request('text', 'join', qq/{"document":"n$_"}/))
        } 1 .. 126);
    is(join(' ', map { result(content('text', next_text($q))) } 1 .. 126),
        join(' ', ('response') x 125, 'Too many subscriptions'),
        "$where: by default there are 128 documents");

    ended($small, $q);

    return;
}


# --- services and registries ------------------------------------------------

sub separate_services {
    my ($p, $q) = both('anna', 'otto');
    my $far = client('far', '/second');
    my $new = '{"privateHandle":1,"document":"d","position":1,"status":1}';

    is(ask($_->[0], $_->[1], 'join', '{"document":"d"}'), listed(),
        "$where: in a service of one's own, one joins")
        for [ $p, 'other' ], [ $q, 'other' ], [ $far, 'text' ];

    my $here = create($p, 1, '"d"', '"here"', 1);

    like(ask($q, 'other', 'createCursor', $new),
        qr/^\{"type":"response","callId":1,"data":\d+\}$/,
        "$where: and has cursors");

    my ($handle) = ask($p, 'other', 'createCursor', $new) =~ /"data":(\d+)\}$/;

    is_deeply([ map { scalar split /\n/, $_ } heard($p), heard($q) ], [ 1, 2 ],
        "$where: both hear of all");
    is(ask($far, 'text', 'removeCursor', '{"privateHandle":1}'),
        error('No such cursor'), "$where: who is far has none");
    like(ask($far, 'text', 'createCursor', $new),
        qr/^\{"type":"response","callId":1,"data":\d+\}$/,
        "$where: until he makes one");
    hear('that is not heard here', $p => '', $q => '');
    is(ask($p, 'other', 'removeCursor', '{"privateHandle":1}'), $null,
        "$where: a cursor is removed in one service");
    hear('and not in the other', $p => '', $q => '{"service":"other",'
        . '"message":{"type":"cursorRemoved","cursor":{"publicHandle":'
        . ($handle // '') . ',"document":"d"}}}');
    is(ask($p, 'other', 'leave', '{"document":"d"}'), $null,
        "$where: a document is left in one service");
    answers($p, 'updateCursor', '"privateHandle":1,"newData":{"status":2}',
        $null, 'the cursor in the other is there');
    hear('as ever', $p => '',
        $q => updated(cursor($here, '"d"', '"here"', 2, '"anna"')));

    ended($p, $q, $far);

    return;
}


# --- a backend as a client --------------------------------------------------

sub backend {
    my ($p) = client('anna');

    answers($p, 'join', '"document":"d"', listed(), 'a client');

    my $r = backend_post('/backend?user=robot', '[' . join(',',
        request('text', 'join', '{"document":"d"}', 1),
        request('text', 'createCursor', '{"privateHandle":1,"document":"d",'
            . '"position":1.0,"status":2}', 1)) . ']',
        key => 'swordfish', port => $port);

    my ($handle) = $r->{body} =~ /"data":(\d+)\}\}\]$/;

    is($r->{body}, '[' . join(',', map { qq/{"service":"text","message":$_}/ }
        listed(), '{"type":"response","callId":1,"data":' . ($handle // '')
        . '}') . ']', "$where: a backend with an identity may have a cursor");
    is(heard($p), join("\n",
        added(cursor($handle, '"d"', '1.0', 2, '"robot"')),
        removed($handle, '"d"')), "$where: as long as it asks");

    $r = backend_post('/backend', request('text', 'join', '{"document":"d"}'),
        key => 'swordfish', port => $port);
    is($r->{body}, '{"service":"text","message":' . error('Not authenticated')
        . '}', "$where: one without is not let in");

    ended($p);

    return;
}


# --- who goes takes his cursors along ---------------------------------------

sub disconnection {
    my ($stays) = client('otto');

    ask($stays, 'text', 'join', "{\"document\":$_}") for 1 .. 3;
    my $his = create($stays, 1, 1, 1, 1);

    for my $way (qw/ finish reset half_close shut /) {
        my ($c) = client('anna');
        my @removed;

        ask($c, 'text', 'join', "{\"document\":$_}") for 1 .. 4;

        for my $n (1 .. 8) {
            my $document = 1 + $n % 4;
            my $handle = create($c, $n, $document, 1, 1);

            push @removed, removed($handle, $document) if $document < 4;
        }

        is(scalar(my @lines = split /\n/, heard($stays)), 6,
            "$where: who has cursors");

        $way eq 'shut' ? $c->{sock}->close() : $c->$way();
        gone(1);

        is(join("\n", sort split /\n/, heard($stays)),
            join("\n", sort @removed),
            "$where: and goes by $way, takes them along");

        my $next = client('next');

        is_deeply([ map { joined($next, $_) } 1 .. 4 ],
            [ cursor($his, 1, 1, 1, '"otto"') ],
            "$where: who comes then finds those of others");
        hear('and is not heard', $stays => '', $next => '');
        ended($next);
        hear('nor when he goes without one', $stays => '');
    }

    ended($stays);

    return;
}


# --- order ------------------------------------------------------------------

sub order {
    my ($p, $q) = both('anna', 'otto');
    my $new = '{"privateHandle":1,"document":"d","position":1,"status":1}';

    # in one write, the place in the row decides

    $q->send(map { frame(TEXT, $_) }
        request('text', 'createCursor', $new, 1),
        request('text', 'updateCursor',
            '{"privateHandle":1,"newData":{"position":2}}', 2),
        request('text', 'removeCursor', '{"privateHandle":1}', 3),
        request('text', 'updateCursor',
            '{"privateHandle":1,"newData":{"position":3}}', 4),
        request('text', 'createCursor', $new, 5),
        request('text', 'leave', '{"document":"d"}', 6),
        request('text', 'createCursor', $new, 7),
        request('text', 'join', '{"document":"d"}', 8));

    my @answers = map { decode(content('text', next_text($q))) } 1 .. 8;
    my ($one, $two) = map { $_->{data} // 0 } @answers[0, 4];

    is(join(' ', map { "$_->{callId}:" . ($_->{message} || $_->{type}) }
        @answers), '1:response 2:response 3:response 4:No such cursor '
        . '5:response 6:response 7:Not joined 8:response',
        "$where: calls are done in their order");
    hear('and heard so', $q => '', $p => join "\n",
        added(cursor($one, '"d"', 1, 1, '"otto"')),
        updated(cursor($one, '"d"', 2, 1, '"otto"')), removed($one, '"d"'),
        added(cursor($two, '"d"', 1, 1, '"otto"')), removed($two, '"d"'));

    ended($p, $q);

    return;
}


# --- several at the same time -----------------------------------------------

sub at_once {
    my @movers = map { client("m$_") } 1 .. 4;
    my $watcher = client('watcher');
    my $n = 100;
    my (@handles, %at, @wrong);

    ask($_, 'text', 'join', '{"document":"d"}') for $watcher, @movers;
    push @handles, create($_, 1, '"d"', 0, 0) for @movers;
    heard($_) for $watcher, @movers;

    for my $c (@movers) {
        $c->send(map { frame(TEXT, request('text', 'updateCursor',
            qq/{"privateHandle":1,"newData":{"position":$_}}/)) } 1 .. $n);
    }

    # each hears the others' n moves, and n answers

    my %stream;

    for my $i (0 .. $#movers) {
        for (1 .. $n * @movers) {
            my $text = next_text($movers[$i]);
            my ($handle) = $text =~ /"publicHandle":(\d+)/ or next;

            $stream{$i} .= "$text\n";
        }
    }

    # the watcher hears all; what each mover heard is that without his own

    my $all = '';
    $all .= (next_text($watcher)) . "\n" for 1 .. $n * @movers;

    for my $i (0 .. $#movers) {
        my $others = join '', grep { !/"publicHandle":$handles[$i],/ }
            split /^/, $all;

        push @wrong, $i if $others ne $stream{$i};
        push @wrong, "order of $i" if join(',', $all =~
            /"publicHandle":$handles[$i],"document":"d","position":(\d+)/g)
            ne join(',', 1 .. $n);
    }

    is("@wrong", '', "$where: all hear the moves of all in one order");
    hear('once', map { $_ => '' } @movers, $watcher);

    my $late = client('late');

    is_deeply([ joined($late, '"d"') ], [ sort map {
        cursor($handles[$_], '"d"', $n, 0, '"m' . ($_ + 1) . '"') }
        0 .. $#movers ], "$where: the last move of each is what remains");

    # all go at once

    $_->reset() for @movers;
    gone(scalar @movers);

    is(join("\n", sort split /\n/, heard($watcher)),
        join("\n", sort map { removed($_, '"d"') } @handles),
        "$where: when all go at once, each cursor is removed once");

    ended($watcher, $late);

    return;
}


# --- public handles ---------------------------------------------------------

sub public_handles {
    my @two = map { client($_) } qw/ anna otto /;
    my $bad = grep { !/^(?:0|[1-9]\d*)$/ || $_ >= 2 ** 53 } @handles;
    my (%seen, %step);

    is($bad, 0, "$where: all handles are integers that JavaScript can have");

    # in one document

    for my $c (@two) {
        ask($c, 'many', 'join', '{"document":"d"}');
        $c->send(map { frame(TEXT, request('many', 'createCursor',
            qq/{"privateHandle":$_,"document":"d","position":0,"status":0}/))
            } 1 .. 500);
    }

    my @numbers;

    for my $c (@two) {
        my @own;

        while (@own < 500) {
            my $text = next_text($c);

            last if $text eq 'nothing';

            push @own, $1 if $text =~ /"type":"response".*"data":(\d+)\}\}$/;
        }

        push @numbers, @own;
    }

    is(scalar(grep { !$seen{$_}++ } @numbers), 1000,
        "$where: a thousand cursors have as many handles");

    my $up = grep { $numbers[$_] > $numbers[$_ - 1] } 1 .. $#numbers;
    my $steps = grep { !$step{ $numbers[$_] - $numbers[$_ - 1] }++ }
        1 .. $#numbers;

    cmp_ok(abs($up - 500), '<', 100, "$where: they do not count up");
    is($steps, 999, "$where: nor go on by the same steps");

    @handles = ();
    ended(@two);

    return;
}


# --- what nginx does not start with -----------------------------------------

sub configuration {
    for my $option (qw/ max_cursors=0 max_cursors=x max_cursors=-1 max_cursors=
        max_cursors=16k max_cursors max=16 names=all /)
    {
        like(nginx_t("snorky_service cursors c $option;"),
            qr/\[emerg\].*"$option".*\n.*test failed/, "$option is refused");
    }

    like(nginx_t("snorky_service cursors c $_;"), qr/test is successful/,
        "\"$_\" is accepted") for '', 'max_cursors=1', 'max_cursors=1000';
    like(nginx_t('snorky_service chat c max_cursors=16;'),
        qr/\[emerg\].*"max_cursors=16".*\n.*test failed/,
        'a chat does not know it');

    return;
}


# --- helpers ----------------------------------------------------------------

sub start {
    my ($workers) = @_;

    (my $text = $conf) =~ s/%%WORKERS%%/$workers/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));
    $t->run();

    wait_until { @{ status_json()->{workers} } == $workers };

    $where = $workers == 1 ? '1 worker' : "$workers workers";
    @slots = map { $_->{slot} } @{ status_json()->{workers} };
    $turn = $clients = $fences = 0;
    $fencer = Snorky->connect('/ws');

    return;
}


# A client of the next worker.  It hears the fence: what is published there
# comes to all of them behind whatever was sent before.

sub client {
    my ($identity, $uri) = @_;

    $uri = ($uri || '/ws') . (defined $identity ? "?user=$identity" : '');

    my $c = connect_to_worker($slots[$turn++ % @slots], $uri, port => $port);

    $clients++;
    $c->rpc('fence', 'subscribe', { channel => 'f' });

    return $c;
}


# two in one document

sub both {
    my @two = map { client($_) } @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    answers($_, 'join', '"document":"d"', listed(), 'one joins') for @two;

    return @two;
}


sub request {
    my ($service, $command, $params, $id) = @_;

    $id = 1 if @_ < 4;

    return qq/{"service":"$service","message":{"command":"$command",/
        . qq/"params":$params/ . (defined $id ? qq/,"callId":$id/ : '') . '}}';
}


sub send_call {
    my ($c, @request) = @_;

    return $c->text(request(@request));
}


# the next message, but what the fence was told before; undef: the fence was
# told the n-th time

sub next_text {
    my ($c, $n) = @_;

    for (;;) {
        my $text = $c->text_in();

        return 'nothing' unless defined $text;
        return $text unless $text =~ /^\{"service":"fence","message":
            \{"type":"message","channel":"f","message":(\d+)\}\}$/x;
        return undef if defined $n && $1 == $n;
    }
}


# the content of the answer; what comes before it is kept for heard()

sub ask {
    my ($c, $service, @request) = @_;

    send_call($c, $service, @request);

    for (;;) {
        my $text = next_text($c);

        return content($service, $text) if $text eq 'nothing'
            || $text =~ /^\{"service":"$service","message":\{"type":"(?:response
                          |error)"/x;

        push @{ $c->{kept} }, $text;
    }
}


sub content {
    my ($service, $text) = @_;

    return $text =~ /^\{"service":"$service","message":(.*)\}$/s ? $1 : $text;
}


# "response" or the error

sub result {
    my ($content) = @_;

    my $m = decode($content);

    return $content unless ref $m eq 'HASH' && $m->{type};
    return $m->{type} eq 'error' ? $m->{message} : $m->{type};
}


sub error {
    my ($text) = @_;

    return qq/{"type":"error","callId":1,"message":"$text"}/;
}


sub cursor {
    my ($handle, $document, $position, $status, $owner) = @_;

    return qq/{"publicHandle":$handle,"document":$document,/
        . qq/"position":$position,"status":$status,"owner":$owner}/;
}


sub notice {
    my ($type, $cursor) = @_;

    return qq/{"service":"text","message":{"type":"$type","cursor":$cursor}}/;
}


sub added   { return notice('cursorAdded', $_[0]) }
sub updated { return notice('cursorUpdated', $_[0]) }


sub removed {
    my ($handle, $document) = @_;

    return notice('cursorRemoved',
        qq/{"publicHandle":$handle,"document":$document}/);
}


# the answer to a join

sub listed {
    my (@cursors) = @_;

    return '{"type":"response","callId":1,"data":{"cursors":['
        . join(',', @cursors) . ']}}';
}


# the cursors that one who joins is told of, sorted

sub joined {
    my ($c, $document) = @_;

    my $text = ask($c, 'text', 'join', "{\"document\":$document}");

    my ($list) = $text =~ /^\{"type":"response","callId":1,"data":
        \{"cursors":\[(.*)\]\}\}$/xs or return $text;

    my @cursors = sort split /(?<=\}),(?=\{"publicHandle":\d+,"document")/,
        $list;

    return @cursors;
}


# a new cursor's public handle

sub create {
    my ($c, $private, $document, $position, $status) = @_;

    my $text = ask($c, 'text', 'createCursor', qq/{"privateHandle":$private,/
        . qq/"document":$document,"position":$position,"status":$status}/);

    my ($handle) = $text =~ /^\{"type":"response","callId":1,"data":(.*)\}$/
        or die "$where: no cursor for $private in $document: $text\n";

    push @handles, $handle;

    return $handle;
}


# the answer of "text": a text, or the text of an error

sub answers {
    my ($c, $command, $params, $expected, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is(ask($c, 'text', $command, "{$params}"),
        $expected =~ /^\{/ ? $expected : error($expected), "$where: $name");

    return;
}


# what each client has heard by now, and nothing else: client => text, ...

sub hear {
    my ($name, @expected) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my (@got, @wanted);

    while (my ($c, $texts) = splice @expected, 0, 2) {
        push @got, heard($c);
        push @wanted, $texts;
    }

    is(join("\n\n", @got), join("\n\n", @wanted), "$where: $name");

    return;
}


# all that one client has been sent by now and has not been read

sub heard {
    my ($c) = @_;

    my @texts = splice @{ $c->{kept} };

    $fencer->rpc('fence', 'publish', { channel => 'f', message => ++$fences });

    while (defined(my $text = next_text($c, $fences))) {
        push @texts, $text;
        last if $text eq 'nothing';
    }

    return join "\n", @texts;
}


# closes them, and waits until nothing is left of them

sub ended {
    my (@clients) = @_;

    $_->finish() for @clients;

    return gone(scalar @clients);
}


sub gone {
    my ($n) = @_;

    $clients -= $n;

    wait_until { counters()->{sessions} == 1 + $clients }
        or die "clients that have gone are still there\n";

    return;
}


# what "nginx -t" says

sub nginx_t {
    my ($http) = @_;

    my $dir = File::Temp::tempdir(CLEANUP => 1);
    my $globals = $ENV{TEST_NGINX_GLOBALS} || '';

    open my $f, '>', "$dir/nginx.conf" or die "nginx.conf: $!\n";
    print $f "$globals\nevents { }\nhttp { access_log off;\n$http\n"
        . "server { listen 127.0.0.1:$port; } }\n";
    close $f;

    return scalar `$Test::Nginx::NGINX -t -p $dir/ -c nginx.conf \\
        -e stderr -g 'pid $dir/pid;' 2>&1`;
}
