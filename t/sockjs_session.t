#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# The life of a SockJS session: opened by its first request, given what is
# sent to it, told why it is closed.  All of it twice: where each request comes
# to the worker that the session lives in, and where each comes to another.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::SockJS;


my $t = Test::Nginx->new()->has(qw/ http /);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 8m;
    snorky_drain 100ms;
    snorky_max_message_size 256k;
    snorky_identity $http_x_name;
    snorky_service echo echo;
    snorky_service pubsub messaging;
    snorky_service chat chat;

    add_header X-Worker $snorky_worker always;

    server {
        listen       127.0.0.1:8080 reuseport;
        listen       127.0.0.1:8081 reuseport sndbuf=16k;
        server_name  localhost;

        location /echo {
            snorky_sockjs_echo;
        }

        location /limited {
            snorky_sockjs_echo;
            snorky_sockjs_response_limit 4096;
        }

        location /beating {
            snorky_sockjs_echo;
            snorky_sockjs_heartbeat 100ms;
        }

        location /hasty {
            snorky_sockjs;
            snorky_sockjs_disconnect_delay 300ms;
        }

        location /close {
            snorky_sockjs_close;
            snorky_sockjs_disconnect_delay 500ms;
        }

        location /small {
            snorky_sockjs;
            snorky_send_buffer 4k;
        }

        location /small_echo {
            snorky_sockjs_echo;
            snorky_send_buffer 4k;
        }

        location /few {
            snorky_sockjs_echo;
            snorky_sockjs_sessions 3;
            snorky_sockjs_disconnect_delay 300ms;
        }

        location /counted {
            snorky_sockjs;
            snorky_max_connections $http_x_user 1;
        }

        location /services {
            snorky_sockjs;
        }

        location /ws {
            snorky_websocket;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run()->plan(197);

for my $spread (0, 1) {
    my $where = $spread ? 'elsewhere' : 'here';

    opening($where, $spread);
    messages_out($where, $spread);
    others($where, $spread);
    streaming($where, $spread);
    aborted($where, $spread);
    torn($where, $spread);
    going_away($where, $spread);
    beating($where, $spread);
    absent($where, $spread);
    too_slow($where, $spread);
    bursts($where, $spread);
    full($where, $spread);
    parcels($where, $spread);
    limits($where, $spread);
    services($where, $spread);
}

quitting();


# a session, and the same one asked by way of the n-th worker

sub session {
    my ($prefix, %o) = @_;

    return Snorky::SockJS->new(prefix => $prefix, worker => 0, %o);
}


sub by {
    my ($s, $n) = @_;

    return $s->with(worker => $n);
}


sub closed_by {
    my ($frame, $code, $reason, $name) = @_;

    is($frame, qq{c[$code,"$reason"]}, $name);
}


sub opening {
    my ($where, $spread) = @_;

    my $s = session('/echo');
    my $other = by($s, $spread);

    is($other->send('x'), 404, "$where: no session, no messages");
    is($s->poll(), 'o', "$where: the first poll opens");
    is($other->send('a', 'b'), 204, "$where: messages are taken");
    is($other->poll(), 'a["a","b"]', "$where: and come back in one frame");
    is($other->post('xhr_send', '[]'), 204, "$where: no message is fine");

    # another session's messages are not ours

    my $stranger = session('/echo');
    is($stranger->poll('jsonp'), 'o', "$where: another session");
    is($stranger->send('y'), 204, "$where: has its own messages");
    is(by($stranger, $spread * 2)->poll('jsonp'), 'a["y"]',
        "$where: and gets them");

    # one id in another location is another session

    my $namesake = $s->with(prefix => '/limited');
    is($namesake->send('z'), 404, "$where: sessions are the location's");
}


sub messages_out {
    my ($where, $spread) = @_;

    my $s = session('/echo');
    is($s->poll(), 'o', "$where: open");

    # a poll that waits gets what comes

    my $poll = by($s, $spread)->open('xhr');
    is($poll->frame(0.2), undef, "$where: a poll waits");
    is($poll->{why}, 'timeout', "$where: without an answer");
    is(by($s, $spread * 2)->send('late'), 204, "$where: a message");
    is($poll->frame(), 'a["late"]', "$where: ends the poll");
    ok($poll->ended(), "$where: at once");

    # a long one, in more letters than one

    my $long = join '', map { chr 32 + $_ % 90 } 1 .. 150_000;
    is(by($s, $spread)->send($long, "\x{2028}\x{ffff}\t\0"), 204,
        "$where: large ones are taken");
    is_deeply([ map { [ messages(by($s, $_)->poll()) ] } $spread * 2, $spread ],
        [ [ $long ], [ "\x{2028}\x{ffff}\t\0" ] ],
        "$where: and come back, a response's worth at a time");
}


sub others {
    my ($where, $spread) = @_;

    my $s = session('/echo');
    my $first = $s->stream('xhr_streaming');
    is($first->frame(), 'o', "$where: a stream opens");

    for my $kind ('xhr', 'xhr_streaming', 'eventsource', 'jsonp') {
        my $second = by($s, $spread)->open($kind);
        $second->{kind} = $kind;
        $second->read_prelude() if $kind =~ /stream|source/;
        closed_by($second->frame(), 2010, 'Another connection still open',
            "$where: a second receiver ($kind) is refused");
    }

    is(by($s, $spread)->send('still'), 204, "$where: the first");
    is($first->frame(), 'a["still"]', "$where: goes on");
}


sub streaming {
    my ($where, $spread) = @_;

    for my $kind ('xhr_streaming', 'eventsource', 'htmlfile') {
        my $s = session('/limited');
        my $r = by($s, 0)->stream($kind);
        my $frame = $r->frame();
        my $bytes = length $r->{raw};
        my $n = 0;

        is($frame, 'o', "$where: $kind opens");

        my $text = 'x' x 128;

        while (defined $frame && $n < 100) {
            by($s, $spread)->send($text) == 204 or last;
            $frame = $r->frame(2) // last;
            $n++ if $frame eq qq{a["$text"]};
            $bytes += length $r->{raw};
            last if $bytes >= 4096;
        }

        ok($bytes >= 4096 && $r->ended(),
            "$where: $kind ends when it has enough");
        cmp_ok($bytes, '<', 4096 + 200, "$where: not much later");

        # what came meanwhile is for the next one

        is(by($s, $spread)->send('more'), 204, "$where: a message");
        $r = by($s, $spread * 2)->stream($kind);
        is($r->frame(), 'a["more"]', "$where: is for the next $kind");
    }
}


sub aborted {
    my ($where, $spread) = @_;

    for my $kind ('xhr', 'xhr_streaming') {
        my $s = session('/echo');
        is($s->poll(), 'o', "$where: open");

        my $lost = counters()->{closed_lost};

        my $r = by($s, $spread)->open($kind);
        $r->read_prelude() if $kind ne 'xhr';
        $r->frame(0.1);
        $r->abort();

        wait_until { counters()->{closed_lost} > $lost };

        closed_by(by($s, $spread * 2)->poll(), 1002, 'Connection interrupted',
            "$where: whose $kind was aborted is told");
        is($s->send('x'), 404, "$where: and can't send");
    }
}


# who has not had all of an ended response gets nothing of what came behind it

sub torn {
    my ($where, $spread) = @_;

    my $s = session('/echo', port => port(8081), rcvbuf => 16384);
    is($s->poll(), 'o', "$where: open");

    my $lost = counters()->{closed_lost};
    my $r = by($s, $spread)->stream('xhr_streaming');

    is(by($s, $spread)->send($_ x 250_000), 204, "$where: a long message")
        for 'a', 'b';

    $r->abort();

    wait_until { counters()->{closed_lost} > $lost };

    closed_by(by($s, $spread * 2)->poll(), 1002, 'Connection interrupted',
        "$where: nothing comes behind a gap");
}


sub going_away {
    my ($where, $spread) = @_;

    # nobody else's session is to end meanwhile

    wait_until { counters()->{sessions_sockjs} == 0 };

    my $s = session('/close');
    is($s->poll(), 'o', "$where: opened");

    for my $n (0, 1) {
        closed_by(by($s, $spread * $n)->poll(), 3000, 'Go away!',
            "$where: and closed, as each poll is told");
    }

    my $r = session('/close')->stream('eventsource');
    is($r->frame(), 'o', "$where: a stream is opened");
    closed_by($r->frame(), 3000, 'Go away!', "$where: and closed");
    ok($r->ended(), "$where: at once");

    # then its name is free again

    wait_until { counters()->{sessions_sockjs} == 0 };

    is($s->poll(), 'o', "$where: later it may be opened again");

    # who asks again and again must not keep it, and a worker that is to end

    is(wait_until { by($s, $spread)->poll() eq 'o' }, 1,
        "$where: so it is for who never ceased to ask");
}


sub beating {
    my ($where, $spread) = @_;

    my $s = session('/beating');
    my $r = by($s, $spread)->stream('xhr_streaming');

    is($r->frame(), 'o', "$where: open");
    is_deeply([ map { $r->frame() } 1 .. 3 ], [ 'h', 'h', 'h' ],
        "$where: heartbeats in a stream");
    $r->abort();

    $s = session('/beating');
    is($s->poll(), 'o', "$where: open");
    is(by($s, $spread)->poll(), 'h', "$where: a heartbeat ends a poll");
    is(by($s, $spread)->send('x'), 204, "$where: which is no end");
    is(by($s, $spread)->poll(), 'a["x"]', "$where: of the session");
}


sub absent {
    my ($where, $spread) = @_;

    my $had = counters();
    my $s = session('/hasty');

    is(by($s, $spread)->poll(), 'o', "$where: open");

    wait_until { counters()->{closed_lost} > $had->{closed_lost} };

    is($s->send('x'), 404, "$where: who does not come back is forgotten");
    is(by($s, 0)->poll(), 'o', "$where: and may begin anew");
}


sub too_slow {
    my ($where, $spread) = @_;

    my $s = session('/small');
    is($s->poll(), 'o', "$where: open");

    my $text = envelope('messaging', { command => 'subscribe', params =>
        { channel => "slow $spread" }, callId => 1 });
    is(by($s, $spread)->send($text), 204, "$where: subscribed");
    like(by($s, $spread)->poll(), qr/^a\[".*response/, "$where: indeed");

    my $publisher = Snorky->connect('/ws');

    $publisher->rpc('messaging', 'publish',
        { channel => "slow $spread", message => 'x' x 100 }) for 1 .. 50;
    $publisher->finish();

    closed_by(by($s, $spread)->poll(), 1013, 'too slow',
        "$where: what grows too much is closed");
}


# our answers are not taken: then nothing more is asked

# one round of the event loop may bring more than may wait

sub bursts {
    my ($where, $spread) = @_;

    my $s = session('/small');
    my $call = sub { Snorky::request_text('messaging', @_) };

    $s->poll();
    $s->send($call->('subscribe', { channel => 'burst' }, 1));
    $s->receive(1);

    my $r = by($s, $spread)->stream('xhr_streaming');
    my $n = 40;

    my $publisher = Snorky->connect('/ws');
    $publisher->send(map { frame(TEXT, $call->('publish',
        { channel => 'burst', message => 'x' x 1000 }, $_)) } 1 .. $n);

    is(scalar(() = $r->messages($n)), $n,
        "$where: who takes what comes is not too slow");

    $r->abort();
    $publisher->finish();

    return;
}


sub full {
    my ($where, $spread) = @_;

    my $s = session('/small_echo');
    is($s->poll(), 'o', "$where: open");

    my @texts = map { "$_ " . 'x' x 1000 } 1 .. 20;

    my $post = by($s, $spread)->ask('POST', $s->path('xhr_send'),
        body => json(\@texts));
    is($post->read_response(0.3), undef, "$where: a parcel waits");

    my @got = by($s, $spread * 2)->receive(20);
    is_deeply(\@got, \@texts, "$where: until its answers are taken");
    is($post->read_response()->{status}, 204, "$where: then it is answered");
}


# several at once: in the order of their coming, each answered

sub parcels {
    my ($where, $spread) = @_;

    my $s = session('/small_echo');
    is($s->poll(), 'o', "$where: open");

    my @posts = map { by($s, $spread)->ask('POST', $s->path('xhr_send'),
        body => json($_)) } [ map { 'y' x 900 } 1 .. 4 ];

    is($posts[0]->read_response(0.2), undef, "$where: the first one waits");

    push @posts, map { by($s, $spread)->ask('POST', $s->path('xhr_send'),
        body => json([ "$_" ])) } 1 .. 15;

    is($posts[15]->read_response(0.2), undef, "$where: so do others");
    is(by($s, $spread)->send('z'), 503, "$where: but not any number");

    my @got = by($s, $spread)->receive(4 + 15);
    is(join(' ', sort grep { !/y/ } @got), join(' ', sort 1 .. 15),
        "$where: those that wait are dealt with");
    is(join(' ', map { $_->read_response()->{status} } @posts),
        join(' ', map { 204 } @posts), "$where: and answered");
}


sub limits {
    my ($where, $spread) = @_;

    my @s = map { session('/few') } 1 .. 4;

    is_deeply([ map { $s[$_]->with(worker => $spread * $_)->poll() // 'no' }
                0 .. 3 ], [ 'o', 'o', 'o', 'no' ],
        "$where: sessions are counted");
    is($s[3]->response()->{status} // 503, 503, "$where: as unavailable");

    wait_until { (session('/few')->poll() // '') eq 'o' };
    pass("$where: and there is room again");

    my @users = map {
        session('/counted', headers => [ "X-User: $where" ])
    } 1 .. 2;

    is($users[0]->poll(), 'o', "$where: one");
    is(by($users[1], $spread)->poll(), undef, "$where: is enough");

    # not the place that only remembers

    my $r = by($users[0], $spread)->open('xhr');
    $r->frame(0.1);
    $r->abort();
    ok((wait_until { ($users[1]->poll() // '') eq 'o' }),
        "$where: another when the one has gone");
}


sub services {
    my ($where, $spread) = @_;

    my $member = Snorky->connect('/ws', headers => [ 'X-Name: anna' ]);
    my $channel = "room $where";

    $member->rpc('chat', 'join', { channel => $channel });

    my $s = session('/services', headers => [ 'X-Name: otto' ]);
    is($s->poll(), 'o', "$where: a client of services");

    my $join = envelope('chat', { command => 'join', params =>
        { channel => $channel }, callId => 7 });

    is(by($s, $spread)->send($join), 204, "$where: says something");

    my ($reply) = map { decode($_)->{message} } messages($s->poll());
    is($reply->{callId}, 7, "$where: and is answered");
    is($member->notification()->{status}, 'joined',
        "$where: others see it come");

    my $stream = by($s, $spread)->stream('xhr_streaming');
    $member->rpc('chat', 'send', { channel => $channel, body => 'hello' });
    like($stream->frame(), qr/hello/, "$where: it hears others");

    # who has another identity is not the session's client

    my $stranger = $s->with(headers => [ 'X-Name: eve' ]);
    is($stranger->send('x'), 404, "$where: identity is part of its name");

    $stream->abort();
    $member->notification();

    is($member->notification()->{status}, 'left',
        "$where: and others see it go");
    $member->finish();
}


# last, for the workers are others then

sub quitting {

    my ($poll, $stream, $away) = map { session('/echo') } 1 .. 3;

    is($_->poll(), 'o', 'open') for $poll, $stream, $away;

    my $p = by($poll, 1)->open('xhr');
    my $r = by($stream, 1)->stream('xhr_streaming');
    is($p->frame(0.1), undef, 'nothing yet');

    $t->reload();

    closed_by(last_frame($poll, $p), 1012, 'service restart',
        'a reload closes: a poll is told');
    closed_by(last_frame($stream, $r), 1012, 'service restart',
        'a stream is told');
    ok($r->ended(), 'and ends');

    closed_by($away->with(worker => undef)->poll(), 1012, 'service restart',
        'who comes later is told by a new worker');

    ok((wait_until { counters()->{sessions_sockjs} == 0 }),
        'no session is left');
}


# a worker that quits before the session's may end the response before: then
# the next request is told

sub last_frame {
    my ($s, $r) = @_;

    my $frame = $r->frame();

    return $frame if !defined $frame || $frame ne 'h';
    return $s->with(worker => undef)->poll();
}
