#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# messaging: names, who may have which, and messages from name to name; the
# same with one worker and with several, where each client has another one.

use strict;
use warnings;
no warnings qw/ qw /;     # commas in lists of words are meant

use File::Temp ();
use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $t = Test::Nginx->new()->has(qw/ http map /)->plan(2 * 199 + 19);

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

    snorky_service messaging people;
    snorky_service messaging others names=all;
    snorky_service messaging closed names=none;
    snorky_service messaging own names=identity;
    snorky_service messaging nicks "names=^[a-z]{2,8}\d?$";
    snorky_service messaging loose names=\.[a-z]é;

    snorky_registry second {
        snorky_service pubsub fence;
        snorky_service messaging people;
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
            snorky_max_subscriptions 4;
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
my $smile = "\xf0\x9f\x98\x80";

my $null = '{"type":"response","callId":1,"data":null}';

# each row is one name

my @equal = (
    [ qw/ 0 -0 0.0 0e5 / ],
    [ qw/ 1 1.0 1e0 10e-1 / ],
    [ qw/ 9007199254740993 9007199254740993.0 9.007199254740993e15 / ],
    [ qw/ 1e400 10e399 0.1E+401 / ],
    [ '"A"', '"\u0041"' ],
    [ "\"$smile/\"", '"\ud83d\ude00\/"' ],
    [ '[1,2]', '[ 1.0 , 2e0 ]' ],
    [ '{"a":1,"b":2}', '{ "b" : 2.0 , "a" : 1 }', '{"\u0061":1,"b":2}',
      '{"a":5,"b":2,"a":1}' ],
    [ 'null', ' null ' ],
    [ '{}', '{ }' ],
);

# in the order in which they are listed

my @sorted = (
    qw/ null false true /,
    qw/ -1e99999999999999999999 -1e400 -100 -99.5 -1 -0.5 -1e-400 0 1e-400 0.1
        0.10000000000000000001 0.5 1 1.5 2 9 10 9007199254740992
        9007199254740993 123456789012345678901234567890 1e400
        1e99999999999999999999 /,
    qw/ "" "\u0000" "\u0000a" "\u0001" "\b" "\t" "\n" "\u001f" /,
    '" "', qw/ "\"" "#" "\/" "0" "1" "10" "2" "A" "B" "Z" "[]" "\\\\" "a"
        "a\u0000" "aa" "b" "null" "{}" "\u007f" "\u0080" /,
    "\"\xc3\xa9\"", qw/ "\u07ff" "\u0800" /, "\"$euro\"",
    qw/ "\ud7ff" "\ud800" "\udfff" "\ue000" "\uffff" /,
    "\"$smile\"", '"\ud83d\ude01"', '"\udbff\udfff"', '[]', '{}'
);

my ($where, @slots, $turn, $clients, $fencer, $fences);


for my $workers (1, 4) {
    start($workers);

    commands();
    delivery();
    equal_names();
    sorted_names();
    parameters();
    policies();
    limits();
    separate_services();
    backend();
    disconnection();
    many_names();

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
    my ($p, $q) = (client(), client());

    answers($p, 'listParticipants', '{}',
        '{"type":"response","callId":1,"data":[]}', 'at first there is nobody');
    answers($p, 'registerParticipant', '{"name":"anna"}', $null,
        'registerParticipant returns null');
    answers($p, 'registerParticipant', '{"name":"anna"}',
        'Name already registered', 'a name can be had once');
    answers($q, 'registerParticipant', '{"name":"anna"}',
        'Name already registered', 'by one client');
    answers($q, 'registerParticipant', '{"name":"otto"}', $null,
        'who may have another');
    answers($q, 'registerParticipant', '{"name":"Anna"}', $null,
        'or two, or one that differs little');
    answers($p, 'listParticipants', '{}', '{"type":"response","callId":1,'
        . '"data":["Anna","anna","otto"]}', 'all names are listed');
    answers($q, 'listParticipants', '{}', '{"type":"response","callId":1,'
        . '"data":["Anna","anna","otto"]}', 'to all');

    answers($p, 'unregisterParticipant', '{"name":"nobody"}',
        'Unknown participant', 'a name that nobody has is unknown');
    answers($p, 'unregisterParticipant', '{"name":"otto"}',
        'Invalid participant', "another's cannot be given up");
    answers($q, 'unregisterParticipant', '{"name":"otto"}', $null,
        'but by its owner');
    answers($q, 'unregisterParticipant', '{"name":"otto"}',
        'Unknown participant', 'once');
    answers($p, 'registerParticipant', '{"name":"otto"}', $null,
        'then another may have it');
    answers($q, 'unregisterParticipant', '{"name":"otto"}',
        'Invalid participant', 'and it is his');

    # send: the sender first

    answers($p, 'send', '{"sender":"x","dest":"y","body":1}',
        'Invalid sender', 'an unknown sender is told first');
    answers($p, 'send', '{"sender":"x","dest":"Anna","body":1}',
        'Invalid sender', 'also when there is whom to send to');
    answers($p, 'send', '{"sender":"Anna","dest":"anna","body":1}',
        'Invalid sender', "so is another's name");
    answers($p, 'send', '{"sender":"Anna","dest":"y","body":1}',
        'Invalid sender', 'before anything else');
    answers($p, 'send', '{"sender":"anna","dest":"y","body":1}',
        'Unknown destination', 'then the destination');
    answers($p, 'send', '{"sender":"anna","dest":"Anna","body":1}', $null,
        'send returns null');
    hear('the owner of the name hears it, and nobody else', $p => '',
        $q => message('"anna"', '"Anna"', 1));

    answers($q, 'unregisterParticipant', '{"name":"Anna"}', $null,
        'who gives his last name up');
    answers($q, 'send', '{"sender":"Anna","dest":"anna","body":1}',
        'Invalid sender', 'can send no more');
    answers($p, 'send', '{"sender":"anna","dest":"Anna","body":1}',
        'Unknown destination', 'nor be reached');

    # without an id

    is(ask($p, 'people', 'registerParticipant', '{"name":"x"}', undef),
        '{"type":"response","data":null}',
        "$where: a call without an id is answered without");
    is(ask($p, 'people', 'registerParticipant', '{"name":"x"}', undef),
        '{"type":"error","callId":null,"message":"Name already registered"}',
        "$where: an error with null");
    is(ask($p, 'people', 'listParticipants', '{}', '[1.0]'),
        '{"type":"response","callId":[1.0],"data":["anna","otto","x"]}',
        "$where: any other id comes back");

    answers($p, $_, '{}', 'Unknown command', "$_ is no command")
        for qw/ join register list ListParticipants /;

    hear('none of this is told to anybody', $p => '', $q => '');
    ended($p, $q);

    return;
}


# --- messages ---------------------------------------------------------------

sub delivery {
    my ($p, $q, $c) = (client('anna'), client(), client());

    answers($p, 'registerParticipant', '{"name":"a"}', $null, 'one');
    answers($p, 'registerParticipant', '{"name":"a2"}', $null,
        'with two names');
    answers($q, 'registerParticipant', '{"name":"b"}', $null, 'another');
    answers($c, 'registerParticipant', '{"name":"c"}', $null, 'and a third');

    # to oneself

    send_call($p, 'people', 'send', '{"sender":"a","dest":"a2","body":"self"}');
    is(next_text($p), message('"a"', '"a2"', '"self"'),
        "$where: who writes to another name of his own gets it");
    is(next_text($p), '{"service":"people","message":' . $null . '}',
        "$where: before the response");
    send_call($p, 'people', 'send', '{"sender":"a","dest":"a","body":"same"}');
    is(next_text($p), message('"a"', '"a"', '"same"'),
        "$where: a name may write to itself");
    is(next_text($p), '{"service":"people","message":' . $null . '}',
        "$where: likewise");

    # in a row, with what else the clients do

    $p->send(map { frame(TEXT, $_) }
        request('people', 'send', '{"sender":"a","dest":"new","body":1}'),
        request('people', 'registerParticipant', '{"name":"new"}', 2),
        request('people', 'send', '{"sender":"new","dest":"new","body":3}', 3),
        request('people', 'unregisterParticipant', '{"name":"new"}', 4),
        request('people', 'send', '{"sender":"a","dest":"new","body":5}', 5),
        request('people', 'send', '{"sender":"a","dest":"b","body":6}', 6));

    is(join("\n", map { next_text($p) } 1 .. 7), join("\n",
        (map { qq/{"service":"people","message":$_}/ }
            error('Unknown destination'),
            '{"type":"response","callId":2,"data":null}'),
        message('"new"', '"new"', 3),
        (map { qq/{"service":"people","message":$_}/ }
            '{"type":"response","callId":3,"data":null}',
            '{"type":"response","callId":4,"data":null}',
            error('Unknown destination', 5),
            '{"type":"response","callId":6,"data":null}')),
        "$where: each call finds what those before it have left");
    hear('and others get what is for them', $p => '', $c => '',
        $q => message('"a"', '"b"', 6));

    # as it was sent

    my @bodies = (qw/ null true 1.0 -0 1e400 123456789012345678901234567890 ""
        "\u0041" "\ud800" "\/" {"b":1,"a":2,"b":3} [] {} [[1.50]]
        {"type":"error"} /, '[ 1 , 2 ]', "\"$euro\"", '"' . 'x' x 20000 . '"');
    my @wrong = grep { ask($p, 'people', 'send',
        qq/{"sender":"a","dest":"b","body":$_}/) ne $null } @bodies;

    is("@wrong", '', "$where: bodies of all kinds can be sent");
    hear('and arrive byte for byte', $p => '', $c => '',
        $q => join "\n", map { message('"a"', '"b"', $_) } @bodies);

    # the order of many, from two at once

    my $n = 100;

    $p->send(map { frame(TEXT, request('people', 'send',
        qq/{"sender":"a","dest":"b","body":["a",$_]}/, $_)) } 1 .. $n);
    $c->send(map { frame(TEXT, request('people', 'send',
        qq/{"sender":"c","dest":"b","body":["c",$_]}/, $_)) } 1 .. $n);

    my %answered = map { my $from = $_;
        $from => join ',', map { my $m = decode(next_text($from));
            $m ? $m->{message}{callId} : '?' } 1 .. $n } $p, $c;

    is(join(' ', map { $answered{$_} } $p, $c),
        join(' ', (join ',', 1 .. $n) x 2),
        "$where: the calls of two are answered in their order");

    my @got = map { decode(next_text($q))->{message}{body} } 1 .. 2 * $n;

    for my $from (qw/ a c /) {
        is(join(',', map { $_->[1] } grep { $_->[0] eq $from } @got),
            join(',', 1 .. $n), "$where: what $from wrote arrives in order");
    }

    hear('once', $p => '', $q => '', $c => '');
    ended($p, $q, $c);

    return;
}


# --- names that are equal ---------------------------------------------------

sub equal_names {
    my ($p, $q) = (client(), client());

    for my $row (@equal) {
        my ($first, @others) = @$row;

        (my $plain = $first) =~ s/^ +| +$//g;

        is(join(' ', map { result(ask($_->[0], 'people',
            'registerParticipant', qq/{"name":$_->[1]}/)) }
            [ $p, $first ], map { ([ $q, $_ ], [ $p, $_ ]) } @others),
            join(' ', 'response', ('Name already registered') x (2 * @others)),
            "$where: $first is one name, however it is written");

        is(ask($q, 'people', 'listParticipants', '{}'),
            qq/{"type":"response","callId":1,"data":[$plain]}/,
            "$where: it is listed as it was registered");

        my @wrong = grep { ask($p, 'people', 'send',
            qq/{"sender":$_->[0],"dest":$_->[1],"body":1}/) ne $null }
            map { ([ $first, $_ ], [ $_, $first ]) } @others;

        is("@wrong", '', "$where: whoever writes it is its owner");

        (my $heard = heard($p)) =~ s/(":) +| +(,")/$1 || $2/ge;

        is($heard, join("\n", map { (message($plain, $_, 1),
            message($_, $plain, 1)) } map { s/^ +| +$//gr } @others),
            "$where: and is reached, as the sender writes both");

        is(join(' ', map { result(ask($_, 'people', 'unregisterParticipant',
            qq/{"name":$others[-1]}/)) } $q, $p, $p),
            'Invalid participant response Unknown participant',
            "$where: its owner may give it up as he likes");
    }

    ended($p, $q);

    return;
}


# --- all names, in order ----------------------------------------------------

sub sorted_names {
    my @clients = map { client() } 1 .. 3;

    # neither in order nor against it

    my @mixed = map { $sorted[$_ * 37 % @sorted] } 0 .. $#sorted;
    my %seen;

    is(scalar(grep { !$seen{$_}++ } @mixed), scalar(@sorted),
        "$where: " . @sorted . ' names');

    my @wrong = grep { ask($clients[length($_) % 3], 'people',
        'registerParticipant', qq/{"name":$_}/) ne $null } @mixed;

    is("@wrong", '', "$where: can be registered by three clients");
    answers($clients[0], 'listParticipants', '{}',
        '{"type":"response","callId":1,"data":[' . join(',', @sorted) . ']}',
        'and are listed in the order of their values');

    # without every other one

    my %odd = map { $sorted[$_] => $_ % 2 } 0 .. $#sorted;

    @wrong = grep { ask($clients[length($_) % 3], 'people',
        'unregisterParticipant', qq/{"name":$_}/) ne $null }
        grep { $odd{$_} } @mixed;

    is("@wrong", '', "$where: half of them is given up");
    answers($clients[1], 'listParticipants', '{}',
        '{"type":"response","callId":1,"data":['
        . join(',', grep { !$odd{$_} } @sorted) . ']}',
        'and is listed no more');

    ended(@clients);

    return;
}


# --- parameters -------------------------------------------------------------

sub parameters {
    my ($p) = client();

    answers($p, 'registerParticipant', '{"name":"p"}', $null, 'someone');

    for my $case (
        [ 'registerParticipant', qw/ [] null "p" {} {"name":"q","x":1}
          {"Name":"q"} ["q"] / ],
        [ 'unregisterParticipant', qw/ [] {} {"name":"p","x":1} {"nam":"p"} / ],
        [ 'listParticipants', qw/ [] null 1 {"name":"p"} {"":1} / ],
        [ 'send', qw/ {} {"sender":"p","dest":"p"} {"sender":"p","body":1}
          {"dest":"p","body":1} {"sender":"p","dest":"p","body":1,"x":1}
          {"sender":"x","dest":"y","body":1,"x":1} ["p","p",1] / ])
    {
        my ($command, @params) = @$case;
        my @wrong = grep { ask($p, 'people', $command, $_)
            ne error('Invalid params') } @params;

        is("@wrong", '', "$where: parameters that $command does not take");
    }

    answers($p, 'registerParticipant', '{"name":"q","n\u0061me":"r"}', $null,
        'of duplicate parameters');
    answers($p, 'listParticipants', '{}', '{"type":"response","callId":1,'
        . '"data":["p","r"]}', 'the last counts');
    hear('what was refused was not done', $p => '');

    ended($p);

    return;
}


# --- who may have which name ------------------------------------------------

sub policies {
    my ($nobody, $anna, $other, $quote, $jose) = map { client($_) }
        undef, 'anna', 'anna', 'quote', "jos\xc3\xa9";

    my $no = 'Name not allowed';
    my $taken = 'Name already registered';

    for my $case (
        [ 'all', 'others', 'response',
          map { [ $nobody, $_ ] } '"anna"', 1, 'null' ],
        [ 'none', 'closed', $no,
          [ $nobody, '"anna"' ], [ $anna, '"anna"' ], [ $anna, '""' ],
          [ $anna, 1 ], [ $anna, 'null' ] ],
        [ 'identity, for others', 'own', $no,
          [ $nobody, '"anna"' ], [ $nobody, '""' ], [ $nobody, 'null' ],
          [ $anna, '"otto"' ], [ $anna, '"Anna"' ], [ $anna, '"anna "' ],
          [ $anna, '["anna"]' ], [ $anna, 'null' ], [ $jose, '"jose"' ],
          [ $quote, '"q"' ] ],
        [ "identity, for one's own", 'own', 'response',
          [ $anna, '"anna"' ], [ $jose, '"jos\u00e9"' ],
          [ $quote, '"\u0071\"\\\\"' ] ],
        [ 'identity, for one that is taken', 'own', $taken,
          [ $anna, '"\u0061nna"' ], [ $other, '"anna"' ],
          [ $nobody, '"anna"' ], [ $quote, '"anna"' ] ],
        [ 'a regex that matches', 'nicks', 'response',
          [ $nobody, '"anna"' ], [ $nobody, '"an"' ], [ $anna, '"otto5"' ],
          [ $anna, '"abcdefgh"' ], [ $anna, '"\u0062o\u0062"' ] ],
        [ 'a regex that does not match', 'nicks', $no,
          [ $nobody, '"a"' ], [ $nobody, '""' ], [ $anna, '"Anna"' ],
          [ $anna, '"abcdefghi"' ], [ $anna, '"anna55"' ],
          [ $anna, '"xan na"' ], [ $anna, '"an\u0000na"' ], [ $anna, '55' ],
          [ $anna, 'null' ], [ $anna, 'true' ], [ $anna, '["annb"]' ],
          [ $anna, '{"ab":"ab"}' ], [ $nobody, '"jos\u00e9"' ] ],
        [ 'a regex, for a name that is taken', 'nicks', $taken,
          [ $other, '"anna"' ], [ $anna, '"b\u006fb"' ] ],
        [ 'a regex that matches somewhere', 'loose', 'response',
          [ $nobody, "\".a\xc3\xa9\"" ], [ $nobody, '"x.b\u00e9y"' ],
          [ $nobody, '"\u0000.c\u00e9"' ] ],
        [ 'a regex that matches nowhere', 'loose', $no,
          [ $nobody, '"xa\u00e9"' ], [ $nobody, '".a"' ],
          [ $nobody, '".A\u00e9"' ], [ $nobody, '[".a\u00e9"]' ] ])
    {
        my ($name, $service, $result, @tries) = @$case;
        my @wrong = grep { result(ask($_->[0], $service,
            'registerParticipant', qq/{"name":$_->[1]}/)) ne $result } @tries;

        is(join(' ', map { $_->[1] } @wrong), '',
            "$where: names=$name: $result");
    }

    is(ask($nobody, 'closed', 'listParticipants', '{}'),
        '{"type":"response","callId":1,"data":[]}',
        "$where: who was refused is not listed");
    is(ask($nobody, 'own', 'listParticipants', '{}'),
        '{"type":"response","callId":1,"data":["anna","jos\u00e9",'
        . '"\u0071\"\\\\"]}', "$where: who was not is");
    is(ask($nobody, 'closed', 'send', '{"sender":"a","dest":"b","body":1}'),
        error('Invalid sender'), "$where: where nobody is, nobody can send");
    is(ask($nobody, 'closed', 'unregisterParticipant', '{"name":"anna"}'),
        error('Unknown participant'), "$where: nor give anything up");

    # the next connection of an identity may have the name when it is free

    is(result(ask($other, 'own', 'unregisterParticipant', '{"name":"anna"}')),
        'Invalid participant',
        "$where: a name is the connection's, not the identity's");
    ended($anna);
    is(ask($other, 'own', 'registerParticipant', '{"name":"anna"}'), $null,
        "$where: when that goes, another of the identity may have it");

    ended($nobody, $other, $quote, $jose);

    return;
}


# --- limits -----------------------------------------------------------------

sub limits {
    my ($small, $other) = (client(undef, '/small'), client());

    # the fence is a subscription, too

    is(join(' ', map { result(ask($small, $_ % 2 ? 'people' : 'others',
        'registerParticipant', qq/{"name":$_}/)) } 1 .. 3),
        'response response response', "$where: names are subscriptions");
    answers($small, 'registerParticipant', '{"name":5}',
        'Too many subscriptions', 'of which there may be some');
    is(result(ask($small, 'fence', 'subscribe', '{"channel":1}')),
        'Too many subscriptions', "$where: together with those of others");
    answers($small, 'registerParticipant', '{"name":1}',
        'Name already registered', 'to a name that is taken, it is taken');
    answers($other, 'listParticipants', '{}',
        '{"type":"response","callId":1,"data":[1,3]}',
        'what was refused is not listed');
    answers($other, 'registerParticipant', '{"name":5}', $null,
        'and free for others');
    answers($small, 'unregisterParticipant', '{"name":3}', $null,
        'who gives one up');
    answers($small, 'registerParticipant', '{"name":7}', $null,
        'may have another');
    answers($small, 'registerParticipant', '{"name":9}',
        'Too many subscriptions', 'but one');
    answers($small, 'unregisterParticipant', '{"name":7}', $null,
        'that is free again');

    # ten bytes

    answers($small, 'registerParticipant', '{"name":"12345678"}', $null,
        'a name may be so long');
    answers($small, 'registerParticipant', '{"name":"123456789"}',
        'Name too long', 'and no longer');
    answers($small, 'unregisterParticipant', '{"name":"123456789"}',
        'Name too long', 'whatever the call');
    answers($small, 'send', '{"sender":"123456789","dest":"b","body":1}',
        'Sender too long', 'the sender, too');
    answers($small, 'send', '{"sender":"12345678","dest":"123456789",'
        . '"body":1}', 'Dest too long', 'and the destination');
    answers($small, 'registerParticipant', '{"name":"1\u003234567"}',
        'Name too long', 'measured as it is written');
    answers($other, 'registerParticipant', '{"name":"123456789"}', $null,
        'others have their own limits');
    answers($other, 'send', '{"sender":"123456789","dest":"12345678",'
        . '"body":"more than ten bytes"}', $null, 'and may be heard');
    hear('whole', $other => '', $small => message('"123456789"', '"12345678"',
        '"more than ten bytes"'));
    answers($other, 'registerParticipant', '{"name":"' . 'x' x 1022 . '"}',
        $null, 'by default a name has up to 1024 bytes');
    answers($other, 'registerParticipant', '{"name":"' . 'x' x 1023 . '"}',
        'Name too long', 'and no more');

    ended($small, $other);

    return;
}


# --- services and registries ------------------------------------------------

sub separate_services {
    my ($p, $q, $second) = (client(), client(), client(undef, '/second'));

    is(join(' ', map { result(ask($_->[0], $_->[1], 'registerParticipant',
        '{"name":"x"}')) } [ $p, 'people' ], [ $q, 'others' ],
        [ $second, 'people' ]), 'response response response',
        "$where: a name can be had once in each service");
    is(join(' ', map { result(ask($_->[0], $_->[1], 'registerParticipant',
        '{"name":"x"}')) } [ $q, 'people' ], [ $p, 'others' ]),
        join(' ', ('Name already registered') x 2), "$where: and not twice");
    is(join(' ', map { result(ask($_->[0], $_->[1], 'registerParticipant',
        qq/{"name":"$_->[2]"}/)) } [ $p, 'people', 'only people' ],
        [ $q, 'others', 'only others' ], [ $second, 'people', 'only second' ]),
        'response response response', "$where: each has its own names");
    is(join(' ', map { join ',', @{ decode(ask($_->[0], $_->[1],
        'listParticipants', '{}'))->{data} } } [ $q, 'people' ],
        [ $p, 'others' ], [ $second, 'people' ]),
        'only people,x only others,x only second,x', "$where: and its list");
    is(join(', ', map { result(ask($p, 'people', 'send',
        qq/{"sender":"x","dest":"only $_","body":1}/)) }
        qw/ others second /), 'Unknown destination, Unknown destination',
        "$where: which others do not reach");
    is(join(' ', map { result(ask(@$_, 'unregisterParticipant',
        '{"name":"x"}')) } [ $q, 'people' ], [ $p, 'others' ]),
        'Invalid participant Invalid participant',
        "$where: whose names are of no use elsewhere");
    is(result(ask($second, 'people', 'unregisterParticipant',
        '{"name":"x"}')), 'response', "$where: one is given up");
    is(result(ask($p, 'people', 'send',
        '{"sender":"only people","dest":"x","body":1}')), 'response',
        "$where: and its namesakes stay");
    hear('nobody hears what is for others', $q => '',
        $p => message('"only people"', '"x"', 1));
    ended($p, $q, $second);

    return;
}


# --- a backend as a client --------------------------------------------------

sub backend {
    my ($p) = client();

    answers($p, 'registerParticipant', '{"name":"a"}', $null, 'a client');

    my $r = backend_post('/backend', '[' . join(',',
        request('people', 'registerParticipant', '{"name":"backend"}', 1),
        request('people', 'send',
            '{"sender":"backend","dest":"a","body":1.0}', 2),
        request('people', 'listParticipants', '{}', 3)) . ']',
        key => 'swordfish', port => $port);

    is($r->{body}, '[' . join(',', map { qq/{"service":"people","message":$_}/ }
        $null, '{"type":"response","callId":2,"data":null}',
        '{"type":"response","callId":3,"data":["a","backend"]}') . ']',
        "$where: a backend may have a name as long as it asks");
    hear('and write', $p => message('"backend"', '"a"', '1.0'));
    answers($p, 'listParticipants', '{}',
        '{"type":"response","callId":1,"data":["a"]}',
        'then its name is free');

    ended($p);

    return;
}


# --- names end with the connection ------------------------------------------

sub disconnection {
    my ($stays, $heir) = (client(), client());

    answers($stays, 'registerParticipant', '{"name":"stays"}', $null,
        'one stays');

    for my $way (qw/ finish reset half_close shut /) {
        my ($c) = client();

        is(join(' ', map { result(ask($c, 'people', 'registerParticipant',
            qq/{"name":$_}/)) } '"x"', 1, '[1]'), 'response response response',
            "$where: who has three names");

        $way eq 'shut' ? $c->{sock}->close() : $c->$way();
        gone(1);

        answers($heir, 'listParticipants', '{}', '{"type":"response",'
            . '"callId":1,"data":["stays"]}', "and goes by $way, loses them");
        answers($heir, 'registerParticipant', '{"name":1.0}', $null,
            'they are free for another');
        answers($stays, 'send', '{"sender":"stays","dest":1,"body":1}', $null,
            'who is reached');
        answers($stays, 'send', '{"sender":"stays","dest":"x","body":1}',
            'Unknown destination', 'unlike the one who had them');
        hear('now', $stays => '', $heir => message('"stays"', 1, 1));
        answers($heir, 'unregisterParticipant', '{"name":1}', $null,
            'and may give them up');
    }

    ended($stays, $heir);

    return;
}


# --- as many as a client may have -------------------------------------------

sub many_names {
    my ($p, $q) = (client(), client());

    # with the fence, 128

    $p->send(map { frame(TEXT, request('people', 'registerParticipant',
        qq/{"name":$_}/, $_)) } 1 .. 128);

    is(join(' ', map { result(content('people', next_text($p))) } 1 .. 128),
        join(' ', ('response') x 127, 'Too many subscriptions'),
        "$where: a client may have many names");
    answers($q, 'listParticipants', '{}', '{"type":"response","callId":1,'
        . '"data":[' . join(',', 1 .. 127) . ']}', 'which all see');
    answers($q, 'registerParticipant', '{"name":"b"}', $null, 'another');

    my @wrong = grep { ask($q, 'people', 'send',
        qq/{"sender":"b","dest":$_,"body":0}/) ne $null } 1 .. 127;

    is("@wrong", '', "$where: may write to each");
    hear('and its owner hears all', $q => '',
        $p => join "\n", map { message('"b"', $_, 0) } 1 .. 127);

    ended($p);
    answers($q, 'listParticipants', '{}', '{"type":"response","callId":1,'
        . '"data":["b"]}', 'when he goes, they all are free');
    ended($q);

    return;
}


# --- what nginx does not start with -----------------------------------------

sub configuration {
    for my $case (
        [ 'names=[', 'names=\[' ], [ 'names=(', 'names=\(' ],
        [ 'names=*', 'names=\*' ], [ 'names=', 'names=' ],
        [ 'names', 'names' ], [ 'name=all', 'name=all' ],
        [ 'publish=all', 'publish=all' ],
        [ 'names=all other=1', 'other=1' ] )
    {
        my ($option, $shown) = @$case;

        like(nginx_t("snorky_service messaging m $option;"),
            qr/\[emerg\].*"$shown".*\n.*test failed/, "$option is refused");
    }

    like(nginx_t("snorky_service messaging m $_;"), qr/test is successful/,
        "$_ is accepted")
        for '', 'names=all', 'names=none', 'names=identity', 'names=a',
            'names=^(anna|otto)$', '"names=^[a-z]{1,5}; x$"', 'names=.';

    like(nginx_t('snorky_service messaging m; snorky_service messaging m;'),
        qr/\[emerg\].*duplicate.*"m"/, 'a name of a service is had once');
    like(nginx_t('snorky_service messaging;'),
        qr/\[emerg\].*number of arguments/, 'and needed');
    like(nginx_t('snorky_service messaging m; '
        . 'snorky_service pubsub_backend b frontend=m;'),
        qr/\[emerg\].*service "b"/, 'messaging is no pubsub');

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
    my ($text, $id) = @_;

    $id = 1 unless defined $id;

    return qq/{"type":"error","callId":$id,"message":"$text"}/;
}


sub message {
    my ($sender, $dest, $body) = @_;

    return '{"service":"people","message":{"type":"message","sender":'
        . qq/$sender,"dest":$dest,"body":$body}}/;
}


# the answer of "people": a text, or the text of an error

sub answers {
    my ($c, $command, $params, $expected, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is(ask($c, 'people', $command, $params),
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
