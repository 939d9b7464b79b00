#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# chat: who is in a channel, what is said there, and who is told; the same
# with one worker and with several, where each client has another one, and in
# several time zones.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;
use Time::Local qw/ timegm /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http map /)->plan(2 * 284 + 3);

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

    snorky_service chat room;
    snorky_service chat other;

    snorky_registry second {
        snorky_service pubsub fence;
        snorky_service chat room;
    }

    map $arg_user $user {
        default  $arg_user;
        quote    'q"\\';
        control  "a\tb";
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

# what nginx knows of time zones it has from the system

my @zones = -f '/usr/share/zoneinfo/Asia/Kolkata'
    ? ('UTC', 'Asia/Kolkata') : ('UTC0', 'IST-5:30');

my ($where, @slots, $turn, $clients, $fencer, $fences);

# all timestamps, each with when it can have been at the earliest, and when it
# was read

my ($since, @times);

for my $layout ([ 1, $zones[0], '+00:00' ], [ 4, $zones[1], '+05:30' ]) {
    my ($workers, $zone, $offset) = @$layout;

    start($workers, $zone);

    commands();
    members();
    one_identity_twice();
    reading();
    bodies();
    channels();
    identities();
    order();
    at_once();
    parameters();
    limits();
    separate_services();
    backend();
    disconnection();
    timestamps($offset);

    is(wait_until { counters()->{sessions} == 1 }, 1, "$where: all have gone");
    is(counters()->{subscriptions}, 0, "$where: with all that they had");
    is(scalar(() = $t->read_file('error.log') =~ /\[(?:warn|error|crit)\]/g),
        0, "$where: nothing of it is a warning");

    $fencer->finish();
    $t->stop();
}

# west of Greenwich, by an odd number of minutes

start(1, 'XXX3:30');
timestamps('-03:30');
$fencer->finish();


# --- the commands, text by text ---------------------------------------------

sub commands {
    my ($nobody, $p, $q) = map { client($_) } undef, 'anna', 'otto';

    answers($nobody, 'join', '"c"', 'Not authenticated',
        'a client without an identity cannot join');
    answers($nobody, 'leave', '"c"', 'Not joined', 'so it cannot leave');
    answers($nobody, 'send', '"c","body":1', 'Not joined', 'nor say anything');
    answers($nobody, 'read', '"c"', $null, 'that it has read is no error');

    answers($p, 'leave', '"c"', 'Not joined',
        'who has not joined cannot leave');
    answers($p, 'send', '"c","body":1', 'Not joined', 'nor say anything');
    answers($p, 'read', '"c"', $null, 'but may have read');
    answers($p, 'join', '"c"', members_text('"anna"'),
        'who joins is a member');
    answers($p, 'join', '"c"', 'Already joined', 'once');
    answers($q, 'send', '"c","body":1', 'Not joined',
        'that another is, is of no use');
    answers($q, 'leave', '"c"', 'Not joined', 'for whatever');
    hear('nobody is told of what was refused', $nobody => '', $p => '',
        $q => '');

    answers($q, 'join', '"c"', members_text('"anna","otto"'),
        'who joins later is told of both');
    hear('and the first is told of him, but not he himself', $nobody => '',
        $p => presence('otto', '"c"', 'joined'), $q => '');
    answers($q, 'join', '"c"', 'Already joined', 'again');
    answers($nobody, 'join', '"c"', 'Not authenticated', 'and again');
    hear('which nobody is told', $nobody => '', $p => '', $q => '');

    say_all($p, '"c"', '"hello"');
    hear('what one says, the members hear', $nobody => '', $p => '',
        $q => message('anna', '"c"', '"hello"'));
    say_all($q, '"c"', '"hello too"');
    hear('whoever says it', $nobody => '', $q => '',
        $p => message('otto', '"c"', '"hello too"'));

    answers($p, 'leave', '"c"', $null, 'who leaves gets null');
    hear('and the other is told', $nobody => '', $p => '',
        $q => presence('anna', '"c"', 'left'));
    answers($p, 'leave', '"c"', 'Not joined', 'one can leave once');
    answers($p, 'send', '"c","body":1', 'Not joined', 'and say no more');
    say_all($q, '"c"', '"alone"');
    hear('nor hear', $nobody => '', $p => '', $q => '');

    # without an id

    is(ask($p, 'room', 'join', '{"channel":"c"}', undef),
        '{"type":"response","data":{"members":["otto","anna"]}}',
        "$where: a call without an id is answered without");
    is(ask($p, 'room', 'join', '{"channel":"c"}', undef),
        '{"type":"error","callId":null,"message":"Already joined"}',
        "$where: an error with null");
    is(ask($p, 'room', 'read', '{"channel":"c"}', '{"b":1.0,"a":2}'),
        '{"type":"response","callId":{"b":1.0,"a":2},"data":null}',
        "$where: any other id comes back");
    hear('and one may come back', $nobody => '', $p => '',
        $q => presence('anna', '"c"', 'joined'));

    answers($p, $_, '"c"', 'Unknown command', "$_ is no command")
        for qw/ subscribe publish Join members /;

    ended($nobody);
    ended($p);
    hear('who goes has left', $q => presence('anna', '"c"', 'left'));
    ended($q);

    return;
}


# --- the list of members ----------------------------------------------------

sub members {
    my @names = qw/ m z a M k b 9 aa /;
    my @members = map { client($_) } @names;
    my $text = '';

    for my $i (0 .. $#names) {
        $text .= ($i ? ',' : '') . "\"$names[$i]\"";
        answers($members[$i], 'join', '"list"', members_text($text),
            "members are listed in the order of joining: $text");
    }

    hear('each hears of those who came later', map { my $i = $_;
        ($members[$i] => join "\n", map { presence($_, '"list"', 'joined') }
            @names[$i + 1 .. $#names]) } 0 .. $#names);

    answers($members[2], 'leave', '"list"', $null, 'one leaves');
    answers($members[0], 'leave', '"list"', $null, 'and another');
    answers($members[2], 'join', '"list"',
        members_text('"z","M","k","b","9","aa","a"'),
        'who comes back is the last');

    hear('and all hear of it in one order',
        $members[0] => presence('a', '"list"', 'left'),
        $members[2] => '',
        map { $_ => join "\n", presence('a', '"list"', 'left'),
            presence('m', '"list"', 'left'),
            presence('a', '"list"', 'joined') } @members[1, 3 .. $#members]);

    ended(@members);

    return;
}


# --- several connections of one identity ------------------------------------

sub one_identity_twice {
    my ($p, $other, $q, $third) = map { client($_) }
        qw/ anna anna otto anna /;

    answers($p, 'join', '"c"', members_text('"anna"'), 'an identity');
    answers($q, 'join', '"c"', members_text('"anna","otto"'), 'and another');
    answers($other, 'leave', '"c"', 'Not joined',
        'a second connection has not joined');
    answers($other, 'send', '"c","body":1', 'Not joined', 'by the first');
    answers($other, 'join', '"c"', members_text('"anna","otto"'),
        'when it joins, the identity is there once');
    answers($other, 'join', '"c"', 'Already joined', 'it joins once, too');
    hear('nobody is told', $other => '', $q => '', $third => '',
        $p => presence('otto', '"c"', 'joined'));

    say_all($p, '"c"', 1);
    hear('all its connections hear what is said', $p => '', $third => '',
        map { $_ => message('anna', '"c"', 1) } $other, $q);
    say_all($q, '"c"', 2);
    hear('by whomever', $q => '', $third => '',
        map { $_ => message('otto', '"c"', 2) } $p, $other);

    answers($p, 'leave', '"c"', $null, 'when the first leaves');
    hear('the identity is still there', map { $_ => '' } $p, $other, $q,
        $third);
    answers($third, 'join', '"c"', members_text('"anna","otto"'),
        'at its place');
    ended($other);
    hear('also when the second goes', $p => '', $q => '', $third => '');
    answers($third, 'leave', '"c"', $null, 'when the last leaves');
    hear('it has left', $p => '', $q => presence('anna', '"c"', 'left'),
        $third => '');
    answers($p, 'join', '"c"', members_text('"otto","anna"'),
        'and may join again');
    hear('as a new member', $p => '', $third => '',
        $q => presence('anna', '"c"', 'joined'));

    # the last one goes

    answers($third, 'join', '"c"', members_text('"otto","anna"'), 'two');
    ended($p);
    hear('of whom one goes', $q => '', $third => '');
    ended($third);
    hear('and the other', $q => presence('anna', '"c"', 'left'));

    ended($q);

    return;
}


# --- what has been read -----------------------------------------------------

sub reading {
    my ($nobody, $p, $p2, $p3, $away, $q) = map { client($_) }
        undef, ('anna') x 4, 'otto';

    answers($_, 'join', '"c"', members_text('"anna"'), 'one identity')
        for $p, $p2, $p3;
    answers($away, 'join', '"d"', members_text('"anna"'),
        'one connection elsewhere');
    answers($q, 'join', '"c"', members_text('"anna","otto"'), 'another');
    hear('they know', map { $_ => presence('otto', '"c"', 'joined') }
        $p, $p2, $p3);

    my $read = notice('{"type":"read","channel":"c","timestamp":T}');

    answers($p, 'read', '"c"', $null, 'who has read');
    hear('tells his other connections in the channel', $p => '',
        $p2 => $read, $p3 => $read, $away => '', $q => '', $nobody => '');
    answers($away, 'read', '"c"', $null, 'also if he is not in it');
    hear('as all of them', (map { $_ => $read } $p, $p2, $p3), $away => '',
        $q => '', $nobody => '');
    answers($q, 'read', '"c"', $null, 'who has no other connection');
    answers($nobody, 'read', '"c"', $null, 'or no identity');
    answers($p, 'read', '"nowhere"', $null, 'or where nobody is');
    hear('tells nobody', map { $_ => '' } $nobody, $p, $p2, $p3, $away, $q);

    answers($p3, 'leave', '"c"', $null, 'who has left the channel');
    answers($p, 'read', '"c"', $null, 'when another reads');
    hear('is not told', $p => '', $p2 => $read, $p3 => '', $away => '',
        $q => '');

    ended($nobody, $p, $p2, $p3, $away, $q);

    return;
}


# --- what is said, byte for byte --------------------------------------------

sub bodies {
    my ($p, $q) = (client('anna'), client('otto'));

    answers($p, 'join', '"c"', members_text('"anna"'), 'one');
    answers($q, 'join', '"c"', members_text('"anna","otto"'), 'and another');

    my @bodies = (qw/ null true 1.0 -0 1e400 123456789012345678901234567890 ""
        "\u0041" "\ud800" {"b":1,"a":2,"b":3} [] {} [[1.50]]
        {"type":"error"} "\"timestamp\":" /, '[ 1 , 2 ]', '"\/"',
        "\"$euro\"", '"' . 'x' x 20000 . '"');

    my @wrong = grep { ask($q, 'room', 'send',
        qq/{"channel":"c","body":$_}/) ne $null } @bodies;
    my @heard = map { message('otto', '"c"', $_) } @bodies;

    is("@wrong", '', "$where: bodies of all kinds can be sent");
    hear('and arrive as they were sent', $q => join("\n", @heard),
        $p => join "\n", presence('otto', '"c"', 'joined'), @heard);

    ended($p, $q);

    return;
}


# --- channels are values ----------------------------------------------------

sub channels {
    my ($p, $p2, $q) = map { client($_) } qw/ anna anna otto /;

    for my $row (
        [ qw/ 1 1.0 1e0 10e-1 / ],
        [ qw/ "A" "\u0041" "\u0041" "A" / ],
        [ '{"a":1,"b":2}', '{"b":2,"a":1.0}', '{ "b" : 2 , "a" : 1 }',
          '{"\u0061":1,"b":3,"b":2}' ],
        [ qw/ 9007199254740993 9007199254740993.0 9007199254740993e0
          900719925474099300e-2 / ],
        [ 'null', 'null', 'null', 'null' ])
    {
        my ($one, $two, $three, $four) = @$row;

        answers($p, 'join', $one, members_text('"anna"'), "$one is a channel");
        answers($q, 'join', $two, members_text('"anna","otto"'),
            "$two is the same");
        answers($p, 'join', $three, 'Already joined', "so is $three");
        answers($p2, 'join', $four, members_text('"anna","otto"'),
            "and $four");
        answers($q, 'send', "$three,\"body\":1", $null, 'say something');
        answers($q, 'send', "$four,\"body\":2", $null, 'in any writing');
        hear('it is sent as he has it who caused it',
            $p => join("\n", presence('otto', $two, 'joined'),
                message('otto', $three, 1), message('otto', $four, 2)),
            $p2 => join("\n", message('otto', $three, 1),
                message('otto', $four, 2)),
            $q => join "\n", message('otto', $three, 1),
                message('otto', $four, 2));
        answers($p, 'read', $two, $null, 'read in one writing');
        hear('is told so', $p => '', $q => '', $p2 => notice(
            qq/{"type":"read","channel":$two,"timestamp":T}/));
        answers($q, 'leave', $four, $null, 'left in another');
        hear('likewise', $q => '', map { $_ => presence('otto', $four, 'left') }
            $p, $p2);
        answers($_, 'leave', $two, $null, 'all leave') for $p, $p2;
    }

    # not the same

    my @different = (qw/ 0 1 true null false "" "1" [] [1] {} {"a":1} {"a":2}
        9007199254740992 9007199254740993 "a" "A" /);
    my @wrong = grep { ask($p, 'room', 'join', qq/{"channel":$_}/)
        ne members_text('"anna"') } @different;

    is("@wrong", '', "$where: " . @different . ' channels can be joined');

    @wrong = grep { ask($q, 'room', 'join', qq/{"channel":$_}/)
        ne members_text('"anna","otto"') } @different;

    is("@wrong", '', "$where: by others, too");
    hear('each for itself', $q => '',
        $p => join "\n", map { presence('otto', $_, 'joined') } @different);

    ended($p, $p2);

    is(join("\n", sort split /\n/, heard($q)),
        join("\n", sort map { presence('anna', $_, 'left') } @different),
        "$where: who goes has left them all, as he had written them");

    ended($q);

    return;
}


# --- identities of all kinds ------------------------------------------------

sub identities {
    my @names = ('quote', 'control', "jos\xc3\xa9", 'null', '%41', 'x' x 200);
    my %json = (quote => '"q\"\\\\"', control => '"a\tb"');
    my $text = '';
    my ($first, @others) = map { client($_) } 'first', @names;
    my @told;

    answers($first, 'join', '"c"', members_text('"first"'), 'someone');

    for my $i (0 .. $#names) {
        my $json = $json{ $names[$i] } || "\"$names[$i]\"";
        my $members = ask($others[$i], 'room', 'join', '{"channel":"c"}');

        $text .= ",$json";

        # an escape may be written otherwise

        is(json(decode($members)->{data}),
            json(decode("{\"members\":[\"first\"$text]}")),
            "$where: $json is an identity");
        push @told, $json;
    }

    # the time is no JSON any more

    my @heard = map { decode(s/"timestamp":T/"timestamp":0/r) }
        split /\n/, heard($first);

    is(join("\n", map { json([ @{ $_->{message} }{qw/ from status / } ]) }
        @heard), join("\n", map { json([ decode($_), 'joined' ]) } @told),
        "$where: by which others know it");

    ended(@others, $first);

    # none

    my ($empty) = client('');

    answers($empty, 'join', '"c"', 'Not authenticated',
        'an empty text is no identity');
    ended($empty);

    return;
}


# --- order ------------------------------------------------------------------

sub order {
    my ($p, $q) = (client('anna'), client('otto'));

    answers($p, 'join', '"c"', members_text('"anna"'), 'one');

    # in one write, the place in the row decides

    $q->send(map { frame(TEXT, $_) }
        request('room', 'send', '{"channel":"c","body":1}', 1),
        request('room', 'join', '{"channel":"c"}', 2),
        request('room', 'send', '{"channel":"c","body":2}', 3),
        request('room', 'leave', '{"channel":"c"}', 4),
        request('room', 'send', '{"channel":"c","body":3}', 5),
        request('room', 'join', '{"channel":"c"}', 6),
        request('room', 'send', '{"channel":"c","body":4}', 7),
        request('room', 'leave', '{"channel":"c"}', 8));

    is(join("\n", map { next_text($q) } 1 .. 10), join("\n", map {
        /^\{"service"/ ? $_ : notice($_) }
        error('Not joined', 1), members_text('"anna","otto"', 2),
        message('otto', '"c"', 2), response(3), response(4),
        error('Not joined', 5), members_text('"anna","otto"', 6),
        message('otto', '"c"', 4), response(7), response(8)),
        "$where: one hears between joining and leaving, before the answers");
    hear('and is heard in between', $q => '', $p => join "\n",
        presence('otto', '"c"', 'joined'), message('otto', '"c"', 2),
        presence('otto', '"c"', 'left'), presence('otto', '"c"', 'joined'),
        message('otto', '"c"', 4), presence('otto', '"c"', 'left'));

    # what many say at the same time, all hear in the same order

    my @all = ($p, $q, map { client("m$_") } 1 .. 4);
    my $n = 50;

    ask($_, 'room', 'join', '{"channel":"c"}') for @all[1 .. $#all];
    heard($_) for @all;

    for my $c (@all) {
        $c->send(map { frame(TEXT, request('room', 'send',
            qq/{"channel":"c","body":$_}/)) } 1 .. $n);
    }

    my (%heard, %answers);

    for my $c (@all) {
        for (1 .. $n * @all + $n) {
            my $text = next_text($c);

            $text eq notice($null) ? $answers{$c}++
                                   : push @{ $heard{$c} }, $text;
        }
    }

    my %streams = map { join("\n", @{ $heard{$_} }) => 1 } @all;
    my ($stream) = keys %streams;
    my $wrong = 0;

    is(join(' ', map { $answers{$_} } @all), join(' ', ($n) x @all),
        "$where: what six say at once is answered");
    is(scalar keys %streams, 1, "$where: all hear it in one order");

    for my $who ('anna', 'otto', map { "m$_" } 1 .. 4) {
        my @mine = $stream =~ /"from":"$who","channel":"c","body":(\d+)/g;
        $wrong++ if "@mine" ne join ' ', 1 .. $n;
    }

    is($wrong, 0, "$where: that is each one's own");
    hear('and nothing twice', map { $_ => '' } @all);
    ended(@all);

    return;
}


# --- connections of one identity that come and go at the same time ----------

sub at_once {
    my ($p) = client('anna');
    my $wrong = '';

    answers($p, 'join', '"c"', members_text('"anna"'), 'a witness');

    for my $round (1 .. 10) {
        my @twins = map { client('otto') } 1 .. 4;

        send_call($_, 'room', 'join', '{"channel":"c"}') for @twins;

        for my $c (@twins) {
            my $text = next_text($c);
            $wrong .= "$round: $text\n"
                if $text ne notice(members_text('"anna","otto"'));
        }

        for my $what ('joined', 'left') {
            if ($what eq 'left') {
                if ($round % 2) {
                    send_call($_, 'room', 'leave', '{"channel":"c"}')
                        for @twins;
                    next_text($_) for @twins;
                    ended(@twins);

                } else {
                    $_->reset() for @twins;
                    gone(scalar @twins);
                }
            }

            my $heard = heard($p);
            $wrong .= "$round: $heard\n"
                if $heard ne presence('otto', '"c"', $what);
        }
    }

    is($wrong, '', "$where: four connections of one identity that come or go "
        . 'at once join once and leave once');
    ended($p);

    return;
}


# --- parameters -------------------------------------------------------------

sub parameters {
    my ($nobody, $p) = (client(), client('anna'));

    for my $case (
        [ 'join', qw/ [] null "c" {} {"channel":1,"x":1} {"Channel":1}
          ["c"] / ],
        [ 'leave', qw/ [] {} {"channel":"c","body":1} / ],
        [ 'send', qw/ {} {"channel":"c"} {"body":1} ["c",1]
          {"channel":"c","message":1} {"channel":"c","body":1,"from":"x"} / ],
        [ 'read', qw/ [] {} {"channel":"c","timestamp":1} / ])
    {
        my ($command, @params) = @$case;

        for my $c ($nobody, $p) {
            my @wrong = grep { ask($c, 'room', $command, $_)
                ne error('Invalid params') } @params;

            is("@wrong", '', "$where: parameters that $command does not take");
        }
    }

    is(ask($p, 'room', 'join', '{"channel":"x","ch\u0061nnel":"y"}'),
        members_text('"anna"'), "$where: of duplicate parameters");
    answers($p, 'leave', '"x"', 'Not joined', 'the first does not count');
    answers($p, 'leave', '"y"', $null, 'but the last');
    hear('what was refused was not done', $p => '', $nobody => '');
    ended($nobody, $p);

    return;
}


# --- limits -----------------------------------------------------------------

sub limits {
    my ($small, $q) = (client('anna', '/small'), client('otto'));

    # the fence is a subscription, too

    answers($q, 'join', '3', members_text('"otto"'), 'another');
    answers($small, 'join', '1', members_text('"anna"'), 'a channel');
    is(ask($small, 'other', 'join', '{"channel":2}'), members_text('"anna"'),
        "$where: or one of another service is a subscription");
    answers($small, 'join', '3', 'Too many subscriptions',
        'of which there may be some');
    answers($small, 'join', '1', 'Already joined',
        'where one has joined, one has joined');
    hear('of what was refused nobody is told', $small => '', $q => '');
    answers($small, 'leave', '1', $null, 'who leaves one');
    answers($small, 'join', '3', members_text('"otto","anna"'),
        'may join another');
    hear('and others are told', $small => '',
        $q => presence('anna', '3', 'joined'));
    answers($small, 'leave', '3', $null, 'the end of it');

    # ten bytes

    answers($small, 'join', '"12345678"', members_text('"anna"'),
        'a channel may be so long');
    answers($small, 'leave', '"12345678"', $null, 'and be left');
    answers($small, $_->[0], '"123456789"' . $_->[1], 'Channel too long',
        "but no longer: $_->[0]")
        for [ 'join', '' ], [ 'leave', '' ], [ 'send', ',"body":1' ],
            [ 'read', '' ];
    answers($q, 'join', '"' . 'x' x 1022 . '"', members_text('"otto"'),
        'by default it has up to 1024 bytes');
    answers($q, 'join', '"' . 'x' x 1023 . '"', 'Channel too long',
        'and no more');
    hear('that was all', $small => '', $q => presence('anna', '3', 'left'));

    # with the fence, and two from above, 128

    $q->send(map { frame(TEXT, request('room', 'join', qq/{"channel":"n$_"}/))
        } 1 .. 126);
    is(join(' ', map { result(content('room', next_text($q))) } 1 .. 126),
        join(' ', ('response') x 125, 'Too many subscriptions'),
        "$where: by default there are 128");

    ended($small, $q);

    return;
}


# --- services and registries ------------------------------------------------

sub separate_services {
    my ($p, $q, $far) = (client('anna'), client('otto'),
        client('far', '/second'));

    answers($p, 'join', '"c"', members_text('"anna"'), 'in one service');
    is(ask($q, 'other', 'join', '{"channel":"c"}'), members_text('"otto"'),
        "$where: and in another, there is one member each");
    is(ask($far, 'room', 'join', '{"channel":"c"}'), members_text('"far"'),
        "$where: as in another registry");
    is(ask($q, 'room', 'send', '{"channel":"c","body":1}'),
        error('Not joined'), "$where: who has joined there is not here");
    say_all($p, '"c"', 'null');
    is(ask($q, 'other', 'send', '{"channel":"c","body":2}'), $null,
        "$where: one may talk to oneself");
    hear('nobody hears the others', $p => '', $q => '{"service":"other",'
        . '"message":{"type":"message","from":"otto","channel":"c","body":2,'
        . '"timestamp":T}}');
    is(ask($far, 'room', 'leave', '{"channel":"c"}'), $null,
        "$where: what is the next answer there, too");

    ended($p, $q, $far);

    return;
}


# --- a backend as a client --------------------------------------------------

sub backend {
    my ($p) = client('anna');

    answers($p, 'join', '"c"', members_text('"anna"'), 'a client');

    my @calls = (request('room', 'join', '{"channel":"c"}', 1),
        request('room', 'send', '{"channel":"c","body":1.0}', 2),
        request('room', 'read', '{"channel":"c"}', 3));
    my $batch = '[' . join(',', @calls) . ']';

    my $r = backend_post('/backend', $batch, key => 'swordfish',
        port => $port);

    is($r->{body}, '[' . join(',', map { notice($_) }
        error('Not authenticated'), error('Not joined', 2), response(3)) . ']',
        "$where: a backend without an identity is not let in");

    $r = backend_post('/backend?user=robot', $batch, key => 'swordfish',
        port => $port);

    is($r->{body}, '[' . join(',', map { notice($_) }
        members_text('"anna","robot"'), response(2), response(3)) . ']',
        "$where: one that has one joins as long as it asks");

    # its request ends behind its answer

    wait_until { status_json()->{zone}{records} == 1 };

    hear('which is heard', $p => join "\n", presence('robot', '"c"', 'joined'),
        message('robot', '"c"', '1.0'), presence('robot', '"c"', 'left'));

    ended($p);

    return;
}


# --- who goes has left ------------------------------------------------------

sub disconnection {
    my ($stays, $p2) = (client('otto'), client('anna'));
    my $listed = '"otto"';

    answers($stays, 'join', qq/"c$_"/, members_text('"otto"'), 'one stays')
        for 1 .. 3;

    for my $way (qw/ finish reset half_close shut /) {
        my ($c) = client('anna');

        is(ask($c, 'room', 'join', qq/{"channel":"c$_"}/),
            members_text('"otto","anna"'), "$where: one joins") for 1 .. 3;

        # the identity stays in one of them

        answers($p2, 'join', '"c2"', members_text('"otto","anna"'),
            'with another connection');
        hear('which is told', $p2 => '',
            $stays => join "\n", map { presence('anna', qq/"c$_"/, 'joined') }
                1 .. 3);

        $way eq 'shut' ? $c->{sock}->close() : $c->$way();
        gone(1);

        is(join("\n", sort split /\n/, heard($stays)),
            join("\n", map { presence('anna', qq/"c$_"/, 'left') } 1, 3),
            "$where: and goes by $way");
        answers($p2, 'leave', '"c2"', $null, 'then the other leaves');
        hear('and has left', $stays => presence('anna', '"c2"', 'left'),
            $p2 => '');
        answers($p2, 'join', '"c1"', members_text('"otto","anna"'),
            'one may come back');
        answers($p2, 'leave', '"c1"', $null, 'and leave');
        hear('as ever', $p2 => '', $stays => join "\n", map {
            presence('anna', '"c1"', $_) } qw/ joined left /);
    }

    # the last one of a channel

    ended($stays);
    answers($p2, 'join', '"c1"', members_text('"anna"'),
        'when all have gone, nobody is listed');
    hear('and nobody is told', $p2 => '');
    ended($p2);

    return;
}


# --- the time ---------------------------------------------------------------

sub timestamps {
    my ($offset) = @_;

    my @two = map { client($_) } qw/ anna otto /;
    my (@wrong, %micro);
    my $last = 0;

    ask($_, 'room', 'join', '{"channel":"c"}') for @two;
    hear('two come', $two[0] => presence('otto', '"c"', 'joined'),
        $two[1] => '');

    # one after the other

    for my $i (1 .. 100) {
        $since = time();

        send_call($two[$i % 2], 'room', 'send',
            qq/{"channel":"c","body":$i}/);

        for my $c (@two) {
            1 until next_text($c) =~ /"body":$i,|^nothing/;
        }

        push @wrong, "two times of one message: $times[-2][0], $times[-1][0]"
            if $times[-2][0] ne $times[-1][0];
        push @wrong, "$times[-1][0] comes after $last"
            if $times[-1][0] lt $last;

        $last = $times[-1][0];
    }

    for my $seen (@times) {
        my ($text, $before, $after) = @$seen;
        my ($time, $zone) = seconds($text);

        push @wrong, $text
            if !defined $time || $zone ne $offset
                || $time < $before - 1e-5 || $time > $after + 1e-5;

        $micro{ $1 % 1000 }++ if $text =~ /\.(\d+)/;
    }

    is(join("\n", @wrong), '', "$where: " . @times
        . ' times are right, and in the local zone');
    cmp_ok(scalar keys %micro, '>', 20, "$where: they have microseconds");

    @times = ();
    ended(@two);

    return;
}


# the time of a timestamp, and its offset

sub seconds {
    my ($text) = @_;

    my ($year, $month, $day, $h, $m, $s, $zone, $sign, $hours, $minutes) =
        $text =~ /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d\.\d{6})
                  (([+-])(\d\d):(\d\d))$/x or return;

    my $ahead = ($hours * 60 + $minutes) * ($sign eq '-' ? -60 : 60);

    return (timegm(0, $m, $h, $day, $month - 1, $year) + $s - $ahead, $zone);
}


# --- helpers ----------------------------------------------------------------

sub start {
    my ($workers, $zone) = @_;

    (my $text = $conf) =~ s/%%WORKERS%%/$workers/;

    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));

    {
        local $ENV{TZ} = $zone;
        $t->run();
    }

    wait_until { @{ status_json()->{workers} } == $workers };

    $where = ($workers == 1 ? '1 worker' : "$workers workers") . ", $zone";
    @slots = map { $_->{slot} } @{ status_json()->{workers} };
    $turn = $clients = $fences = 0;
    $since = time();
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


# The next message, but what the fence was told before; undef: the fence was
# told the n-th time.  A time, which is looked at in the end, is T here.

sub next_text {
    my ($c, $n) = @_;

    for (;;) {
        my $text = $c->text_in();

        return 'nothing' unless defined $text;

        if ($text =~ /^\{"service":"fence","message":
            \{"type":"message","channel":"f","message":(\d+)\}\}$/x)
        {
            return undef if defined $n && $1 == $n;
            next;
        }

        push @times, [ $1, $since, time() ]
            if $text =~ s/"timestamp":"([^"]*)"\}\}$/"timestamp":T}}/;

        return $text;
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


sub notice   { return qq/{"service":"room","message":$_[0]}/ }
sub response { return qq/{"type":"response","callId":$_[0],"data":null}/ }


# "response" or the error

sub result {
    my ($content) = @_;

    my $m = decode($content);

    return $content unless ref $m eq 'HASH' && $m->{type};
    return $m->{type} eq 'error' ? $m->{message} : $m->{type};
}


sub error {
    my ($text, $id) = @_;

    $id = 1 unless defined $id;

    return qq/{"type":"error","callId":$id,"message":"$text"}/;
}


sub members_text {
    my ($members, $id) = @_;

    $id = 1 unless defined $id;

    return qq/{"type":"response","callId":$id,"data":{"members":[$members]}}/;
}


sub presence {
    my ($who, $channel, $status) = @_;

    return notice(qq/{"type":"presence","from":"$who","channel":$channel,/
        . qq/"status":"$status","timestamp":T}/);
}


sub message {
    my ($who, $channel, $body) = @_;

    return notice(qq/{"type":"message","from":"$who","channel":$channel,/
        . qq/"body":$body,"timestamp":T}/);
}


# the answer of "room" to a call with a channel and perhaps more: a text, or
# the text of an error

sub answers {
    my ($c, $command, $channel, $expected, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is(ask($c, 'room', $command, qq/{"channel":$channel}/),
        $expected =~ /^\{/ ? $expected : error($expected), "$where: $name");

    return;
}


# who says something hears it, before the answer

sub say_all {
    my ($c, $channel, $body) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    send_call($c, 'room', 'send', qq/{"channel":$channel,"body":$body}/);

    my $text = next_text($c);

    like($text, qr/^\{"service":"room","message":\{"type":"message",
        "from":"[^"]+","channel":\Q$channel\E,"body":\Q$body\E,
        "timestamp":T\}\}$/x, "$where: who says something hears it");
    is(next_text($c), notice($null), "$where: before the answer");

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
