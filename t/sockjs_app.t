#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# SockJS and the application behind nginx.  A session is a client like any
# other, whichever of its requests comes to which worker, and if it has none:
# its calls are answered, it is asked about, told of, spoken to, and closed.

use strict;
use warnings;

use FindBin;
use List::Util qw/ shuffle /;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;
use Snorky::Events;
use Snorky::SockJS;


my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;
srand $seed;

my $calls = $ENV{TEST_SNORKY_CALLS} || 1500;
my $key = 'swordfish';

my @polling = qw/ xhr jsonp /;
my @streaming = qw/ xhr_streaming eventsource htmlfile /;
my @kinds = (@polling, @streaming, qw/ websocket lean /);

my $t = Test::Nginx->new()->has(qw/ http proxy realip upstream_keepalive /)
    ->plan(383);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 4m;
    snorky_drain %%DRAIN%%;
    snorky_close_timeout 1s;
    lingering_close off;

    snorky_service upstream app pass=/calls/;
    snorky_service upstream impatient pass=/calls/ timeout=100ms;
    snorky_service pubsub guarded;
    snorky_service pubsub messaging;

    snorky_authorize guarded publish /auth;
    snorky_authorize guarded subscribe /auth cache=1m;

    snorky_event /events connected disconnected subscribed unsubscribed;

    snorky_registry private {
        snorky_service upstream_backend app frontend=public/app;
        snorky_service pubsub_backend messaging frontend=public/messaging;
    }

    snorky_identity $cookie_user$arg_user;

    keepalive_requests 100000;
    add_header X-Worker $snorky_worker always;

    upstream application {
        server 127.0.0.1:%%PORT_8090%% max_fails=0;
        keepalive 8;
    }

    proxy_http_version 1.1;

    server {
        listen       %%PORT_8080%% reuseport;
        server_name  localhost;

        location /app {
            snorky_sockjs;
        }

        location /lean {
            snorky_sockjs;
            snorky_lean on;
        }

        location /hasty {
            snorky_sockjs;
            snorky_sockjs_disconnect_delay 300ms;
        }

        location /real {
            snorky_sockjs;
            set_real_ip_from 127.0.0.0/8;
            real_ip_header X-Real-IP;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }

        location /calls/ {
            internal;
            proxy_set_header Connection "";
            proxy_set_header X-Config %%CONFIG%%;
            proxy_set_header X-Addresses "$remote_addr $server_addr";
            proxy_set_header X-Port $remote_port;
            proxy_set_header X-Variables "$snorky_client $snorky_identity";
            proxy_pass http://application/$snorky_command;
        }

        location = /auth {
            internal;
            proxy_pass http://application;
        }

        location = /events {
            internal;
            proxy_pass http://application;
        }
    }
}

EOC

# what a message wants, and what its publisher is told then

my %told = (
    allow => 'null', rewrite => 'null', drop => 'null',
    deny => 'Not authorized', fail => 'Authorization failed',
);

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/events'  => { status => 204 },
    '/refused' => { status => 409, json => 'No!' },
    '/broken'  => { close => 1 },
    '/held'    => { hold => 1, json => 'late' },
    '/headers' => sub {
        my ($request) = @_;
        return { json => $request->{headers} };
    },
    '/mine' => sub {
        my ($request) = @_;
        my $params = $request->{json}{params};
        return { hold => $params->{name}, json => $params->{name} };
    },
    '/work' => sub {
        my ($request) = @_;
        my $params = $request->{json}{params};
        return { json => $params->{n}, delay => $params->{delay} };
    },
    '/auth' => sub {
        my ($request) = @_;
        my ($command, $params) = @{ $request->{json} }{qw/ command params /};

        return { status => 204 } if $command ne 'publish';

        my ($wish, $n, $hold) = @{ $params->{message} };

        return {
            %{ {
                allow   => { status => 204 },
                rewrite => { json => { params => {
                             message => [ 'rewritten', $n ] } } },
                drop    => { json => { drop => \1 } },
                deny    => { status => 403 },
                fail    => { status => 500 },
            }->{$wish} },
            $hold ? (hold => $hold) : (),
        };
    },
});

configure();
$t->run();
wait_until { @{ status_json()->{workers} } == 4 };

diag("seed $seed");

# a connection to each worker, for what is answered at once

my %kept = keep();

for my $kind (@kinds) {
    called($kind);
    left($kind);
    authorized($kind);
    interrupted($kind);
    told_of($kind);
    spoken_to($kind);
    real($kind);
}

without_request($_) for @polling;
absent($_) for @polling, @streaming;
many();
waits_while_blind();
identities();
dead();
restarted();


# --- calls ------------------------------------------------------------------

# who calls is told to the application; the address is that of who began

sub called {
    my ($kind) = @_;

    my $c = client($kind, user => 'anna', from => '127.0.0.3',
        host => '127.0.0.2');
    my $h = $c->rpc('app', 'headers', { a => 1 })->{data};

    like($h->{'x-snorky-client'}, qr/^[0-9a-f]+-[0-9a-f]+$/,
        "$kind: a client has an id");
    is(join(' ', map { $h->{"x-snorky-$_"} // 'none' }
        qw/ service command identity remote-addr /),
        'app headers anna 127.0.0.3', "$kind: and the application knows of it");
    is($h->{'x-variables'}, "$h->{'x-snorky-client'} anna",
        "$kind: as do variables");
    is("$h->{'x-addresses'} $h->{'x-port'}",
        "127.0.0.3 127.0.0.2 $c->{port}",
        "$kind: and those of its connection");
    is($c->rpc('app', 'headers', {})->{data}{'x-snorky-client'},
        $h->{'x-snorky-client'}, "$kind: it stays the same");

    is(answer($c->rpc('app', 'refused', {})), 'No!', "$kind: one is refused");
    is(answer($c->rpc('app', 'broken', {})), '502 Bad Gateway',
        "$kind: one fails");
    is(answer($c->rpc('impatient', 'held', {})), 'Timed out',
        "$kind: one takes too long");

    # all of one request are asked at once

    my @ids = $c->calls(map { [ app => 'mine', { name => $_ } ] } qw/ a b c /);

    ok($app->wait_for(3, '/mine', 'held'), "$kind: three at once");
    $app->release($_) for qw/ c a b /;
    is(answers($c, @ids), '"a" "b" "c"',
        "$kind: are answered");

    $c->leave();
    $app->release('/held');
    $app->forget();
}


# an end of its own cancels what it has asked

sub left {
    my ($kind) = @_;

    return if grep { $kind eq $_ } @polling;

    my $c = client($kind);

    $c->call('app', 'held', {}) for 1, 2;
    ok($app->wait_for(2, '/held', 'held'), "$kind: calls are on their way");

    $c->leave();
    ok($app->wait_for(2, '/held', 'left'),
        "$kind: they are cancelled when the client leaves");

    $app->release('/held');
    $app->forget();
}


# what is asked, and answered, while there is no request

sub without_request {
    my ($kind) = @_;

    my $c = client($kind);
    my @ids = $c->calls(map { [ app => 'held', { n => $_ } ] } 1 .. 3);

    ok($app->wait_for(3, '/held', 'held'), "$kind: calls without a request");
    is($app->release('/held'), 3, "$kind: are answered");
    ok((wait_until { $app->count('/held', 'answered') == 3 }),
        "$kind: by the application");
    is(answers($c, @ids), '"late" "late" "late"',
        "$kind: and the client gets them later");

    $c->leave();
    $app->forget();
}


sub absent {
    my ($kind) = @_;

    my $c = client($kind, prefix => '/hasty', user => 'eve');

    $c->call('app', 'headers', {});
    my $id = $c->reply()->{data}{'x-snorky-client'};

    $app->forget();
    $c->call('app', 'held', {});
    ok($app->wait_for(1, '/held', 'held'), "$kind: a call is on its way");

    $c->leave();
    ok($app->wait_for(1, '/held', 'left'),
        "$kind: it is cancelled when nobody comes for its answer");

    my $its = of_client($id);
    my ($e) = of_event('disconnected', $its->(told($app,
        sub { of_event('disconnected', $its->(@_)) }, '/events')));

    is($e->{identity}, 'eve',
        "$kind: and the application is told who has gone");
    is($c->{s}->send('late'), 404, "$kind: the session is no more");

    $app->release('/held');
    $app->forget();
}


# sessions of all kinds, calls of all of them at once

sub many {
    my @clients = map { client($kinds[$_ % @kinds], user => "u$_") } 1 .. 28;
    my ($sent, %left, @wrong) = (0);

    while ($sent < $calls) {
        for my $c (shuffle @clients) {
            my @calls = map { [ app => 'work', { n => ++$sent,
                delay => rand() < 0.3 ? 0 : rand 0.05 } ] } 1 .. 1 + rand 4;
            my @ids = $c->calls(@calls);

            $left{$c}{ $ids[$_] } = $calls[$_][2]{n} for 0 .. $#ids;
        }

        for my $c (shuffle @clients) {
            while (%{ $left{$c} } > (rand() < 0.5 ? 8 : 2)) {
                push @wrong, take($c, $left{$c});
                last if @wrong;
            }
        }

        last if @wrong;
    }

    for my $c (@clients) {
        while (!@wrong && %{ $left{$c} }) {
            push @wrong, take($c, $left{$c});
        }
    }

    is(join("\n", @wrong), '', "$sent calls are answered, each once");

    my %asked;
    $asked{ $_->{json}{params}{n} }++ for $app->requests('/work');

    is(join(' ', grep { ($asked{$_} // 0) != 1 } 1 .. $sent), '',
        'and are asked once');
    is(join(' ', map { @{ $_->{inbox} || [] } } @clients), '',
        'nobody gets anything else');

    my %workers = map { $_->{slot} => $_->{sessions} }
        @{ status_json()->{workers} };

    cmp_ok(scalar(grep { $_ } values %workers), '>', 1,
        'they live in more than one worker: ' . json(\%workers));

    $_->leave() for @clients;
    $app->forget();
}


sub take {
    my ($c, $left) = @_;

    my $m = $c->reply() or return "$c->{kind}: nothing, " . ($c->{why} // '');
    my $n = delete $left->{ $m->{callId} }
        // return "$c->{kind}: no call $m->{callId}";

    return if ($m->{data} // '') eq $n;
    return "$c->{kind}: " . json($m) . " to $n";
}


# A poll that waits in one worker, sends by all others: the answers come.

sub waits_while_blind {
    my $c = client('xhr');

    for my $round (1 .. 5) {
        ok($c->silent(0.05), 'a poll waits') if $round == 1;

        for my $worker (sort keys %kept) {
            $c->{through} = $worker;
            my $id = $c->call('app', 'work', { n => $worker + 0 });
            my $got = answer($c->reply($id));

            $got eq $worker or fail("round $round, worker $worker: $got");
        }
    }

    $c->leave();
    $app->forget();
}


# --- who is asked -----------------------------------------------------------

sub authorized {
    my ($kind) = @_;

    my $channel = "c$kind";
    my $listener = client($kinds[rand @kinds], user => 'listener');
    my $c = client($kind, user => 'otto');

    is(answer($listener->rpc('guarded', 'subscribe', { channel => $channel })),
        'null', "$kind: somebody listens");

    my @wishes = shuffle((keys %told) x 2);
    my $n = 0;
    my @ids = $c->calls(map { [ guarded => 'publish', { channel => $channel,
        message => [ $_, ++$n ] } ] } @wishes);

    is(join(', ', map { answer($c->reply($_)) } @ids),
        join(', ', @told{@wishes}), "$kind: each is decided on, in order");

    $n = 0;
    my @want = map { $n++; $_ eq 'allow' ? "allow $n"
                         : $_ eq 'rewrite' ? "rewritten $n" : () } @wishes;
    my @got = map { join ' ', @{ $listener->notification()->{message} } } @want;

    is(join(', ', @got), join(', ', @want), "$kind: and heard so");

    # what is kept is not asked for again

    $app->forget();

    for (1, 2) {
        $c->rpc('guarded', 'subscribe', { channel => "own $kind" });
        $c->rpc('guarded', 'unsubscribe', { channel => "own $kind" });
    }

    is($app->count('/auth'), 1, "$kind: an answer is kept");
    is($app->last('/auth')->{headers}{'x-snorky-identity'}, 'otto',
        "$kind: for its identity");

    # those behind wait, also with other requests

    $app->forget();

    my ($held, $denied, $allowed) = map { [ guarded => 'publish',
        { channel => $channel, message => $_ } ] }
        [ 'allow', 1, 'gate' ], [ 'deny', 2 ], [ 'allow', 3 ];

    my @done = $c->later($held, $denied);
    ok($app->wait_for(1, '/auth', 'held'), "$kind: one is not decided yet");
    push @done, $c->later($allowed);

    is($c->taken(0.1, @done), 0, "$kind: what is behind waits with it");
    is($app->count('/auth'), 1, "$kind: and is not asked about");

    $app->release('gate');
    is($c->taken(undef, @done), @done, "$kind: all is taken then");
    is(join(', ', map { answer($c->reply()) } 1 .. 3),
        'null, Not authorized, null', "$kind: in order");
    is(join(', ', map { join ' ', @{ $listener->notification()->{message} }
        [0, 1] } 1, 2), 'allow 1, allow 3', "$kind: and heard");

    $_->leave() for $c, $listener;
    $app->forget();
}


# It ends while it is asked about: its requests are answered, too.

sub interrupted {
    my ($kind) = @_;

    my $c = client($kind, user => "gone $kind");
    my @done = map { $c->later([ guarded => 'publish', { channel => 'x',
        message => [ 'allow', $_, "gate $_" ] } ]) } 1, 2;

    ok($app->wait_for(1, '/auth', 'held'), "$kind: one is not decided yet");

    is(backend('disconnect', { to => { identity => "gone $kind" },
        code => 4001 }), 'null', "$kind: the backend disconnects");
    is($c->close_in(), 4001, "$kind: who waits is closed");
    ok($app->wait_for(1, '/auth', 'left'), "$kind: nobody is asked any more");

    is(join(' ', map { status_of($_) } @done),
        join(' ', (404) x @done), "$kind: what waits is not taken");

    $c->leave();
    $app->release("gate $_") for 1, 2;
    $app->forget();
}


# --- what is told -----------------------------------------------------------

sub told_of {
    my ($kind) = @_;

    settled();
    $app->forget();

    my $c = client($kind, user => 'joe', from => '127.0.0.4');
    my $id = $c->rpc('app', 'headers', {})->{data}{'x-snorky-client'};

    $c->rpc('messaging', 'subscribe', { channel => 'told' });
    $c->rpc('messaging', 'unsubscribe', { channel => 'told' });
    $c->rpc('messaging', 'subscribe', { channel => 'other' });

    my $disconnected = $kind =~ /^(?:xhr|jsonp)$/;

    if ($disconnected) {
        is(backend('disconnect', { to => { client => $id } }), 'null',
            "$kind: the backend disconnects");
        is($c->close_in(), 1008, "$kind: and the client is told");

    } else {
        $c->leave();
    }

    my $its = of_client($id);

    told($app, sub { of_event('disconnected', $its->(@_)) }, '/events');
    my @e = $its->(events($app, '/events'));

    is(brief(@e), 'connected:joe subscribed:messaging:told:joe '
        . 'unsubscribed:messaging:told:joe subscribed:messaging:other:joe '
        . 'unsubscribed:messaging:other:joe disconnected:joe',
        "$kind: the application is told what happens");
    is(join(' ', grep { $_ ne '127.0.0.4' } map { $_->{address} } @e), '',
        "$kind: and of whom");

    $c->leave();
    $app->forget();
}


# of events, this client's; those of others may still come

sub of_client {
    my ($id) = @_;

    return sub { grep { $_->{client} eq $id } @_ };
}


# --- what the application sends ---------------------------------------------

sub spoken_to {
    my ($kind) = @_;

    my ($c, $d, $e) = map { client($kind, user => $_) } 'sue', 'sue', 'bob';
    my $id = $c->rpc('app', 'headers', {})->{data}{'x-snorky-client'};

    $c->rpc('messaging', 'subscribe', { channel => 'news' });

    is(backend('send', { to => { client => $id }, message => 'one' }), 'null',
        "$kind: something for one");
    is(backend('publish', { channel => 'news', message => 'two' },
        'messaging'), 'null', "$kind: for a channel");
    is(backend('send', { to => { identity => 'sue' }, message => 'three' }),
        'null', "$kind: for an identity");

    my @got = map { my $m = $c->notification(); ref $m ? $m->{message} : $m }
        1 .. 3;

    is("@got", 'one two three', "$kind: comes in one order");
    is($d->notification(), 'three', "$kind: to all that are meant");

    # what was sent before comes before the end

    my $reason = "go\"\\ \x{e9}";

    backend('send', { to => { client => $id }, message => 'last' });
    backend('disconnect', { to => { client => $id }, code => 4999,
        reason => $reason });
    backend('send', { to => { client => $id }, message => 'never' });

    is($c->notification(), 'last', "$kind: the last");
    is($c->close_in(), 4999, "$kind: then it is closed");
    is($c->{closed}{reason}, $reason, "$kind: with the reason");
    is(json([ $c->notifications() ]), '[]', "$kind: and gets no more");

    if ($c->{s}) {
        is($c->{s}->send('x'), 404, "$kind: nothing is taken of it");
        is($c->{s}->poll(), "c[4999,\"go\\\"\\\\ \xc3\xa9\"]",
            "$kind: who asks again is told again");
    }

    backend('disconnect', { to => { identity => 'sue' } });
    is($d->close_in(), 1008, "$kind: all of an identity are closed");
    is(answer($e->rpc('app', 'work', { n => 1 })), 1, "$kind: not others");
    is(backend('send', { to => { client => $id }, message => 1 }), 'null',
        "$kind: what is for who has gone goes nowhere");

    $_->leave() for $c, $d, $e;
    $app->forget();
}


# behind a proxy it is what realip found, for the first request

sub real {
    my ($kind) = @_;

    my $c = client($kind, prefix => '/real', user => 'real',
        headers => [ 'X-Real-IP: 192.0.2.7' ]);

    for (1, 2) {
        my $h = $c->rpc('app', 'headers', {})->{data};

        is("$h->{'x-snorky-remote-addr'} $h->{'x-addresses'}",
            '192.0.2.7 192.0.2.7 127.0.0.1', "$kind: the address of realip");

        $c->{s}{headers} = [ 'Cookie: user=real', 'X-Real-IP: 192.0.2.8' ]
            if $c->{s};
    }

    $c->leave();
    $app->forget();
}


# --- identities -------------------------------------------------------------

sub identities {
    my $anna = client('xhr', user => 'anna');
    my $eve = $anna->{s}->with(headers => [ 'Cookie: user=eve' ]);
    my $nobody = $anna->{s}->with(headers => []);

    is($eve->send('x'), 404, 'who has another identity does not find it');
    is($nobody->send('x'), 404, 'nor does who has none');
    is($eve->poll(), 'o', 'it has one of its own');
    is($nobody->poll(), 'o', 'so has who has none');

    my %who = (anna => $anna, eve => Framed::Session->of('xhr', $eve),
        nobody => Framed::Session->of('xhr', $nobody));
    my %id;

    for my $name (sort keys %who) {
        my $h = $who{$name}->rpc('app', 'headers', {})->{data};

        is($h->{'x-snorky-identity'}, $name eq 'nobody' ? undef : $name,
            "the session of $name");
        $id{ $h->{'x-snorky-client'} }++;
    }

    is(scalar keys %id, 3, 'they are three');

    backend('disconnect', { to => { identity => 'eve' } });
    is($who{eve}->close_in(), 1008, 'one is closed');
    is(answer($who{$_}->rpc('app', 'work', { n => 1 })), 1,
        "that of $_ is not") for qw/ anna nobody /;

    # a parameter does as well, in each request

    my $s = $anna->{s};
    my $path = $s->path('xhr_send');
    my $body = json([ request_of('app', 'headers', {}) ]);

    $nobody->raw('POST', "$path?user=anna", body => $body);
    is($nobody->response()->{status}, 204, 'an argument may tell');
    is($anna->reply()->{data}{'x-snorky-identity'}, 'anna', 'who it is');

    $_->leave() for values %who;
    $app->forget();
}


# --- the application goes, and nginx ----------------------------------------

sub dead {
    my @clients = map { client($_) } @kinds;

    my @ids = map { $_->call('app', 'held', {}) } @clients;
    $app->wait_for(scalar @ids, '/held', 'held') or die "no calls\n";
    $app->stop();

    is(join(' ', map { answer($clients[$_]->reply($ids[$_])) } 0 .. $#ids),
        join(' ', ('502 Bad Gateway') x @ids),
        'an application that dies answers nobody');

    is(join(' ', map { answer($_->rpc('app', 'work', { n => 1 })) } @clients),
        join(' ', ('502 Bad Gateway') x @ids), 'one that is dead neither');
    is(join(' ', map { answer($_->rpc('guarded', 'publish',
        { channel => 1, message => [ 'allow' ] })) } @clients),
        join(' ', ('Authorization failed') x @ids), 'nor does it allow');

    $app->start_again();

    is(join(' ', map { answer($_->rpc('app', 'work', { n => 1 })) } @clients),
        join(' ', (1) x @ids), 'when it is there again, it does');

    $_->leave() for @clients;
    $app->release('/held');
    $app->forget();
}


sub restarted {
    my @idle = map { client($_) } @kinds;
    my @busy = map { client($_) } @kinds;
    my @waits = map { client($_, user => 'waits') } @kinds;

    my @ids = map { $_->call('app', 'held', {}) } @busy;
    $app->wait_for(scalar @ids, '/held', 'held') or die "no calls\n";

    my @asked = map { $_->later([ guarded => 'publish', { channel => 1,
        message => [ 'allow', 1, 'gate' ] } ]) } @waits;
    $app->wait_for(scalar @ids, '/auth', 'held') or die "nobody is asked\n";

    my @behind = map { $_->later([ app => 'work', { n => 1 } ]) } @waits;

    # when their turn to be closed has come, so has that of all others

    my @last = map { Snorky::connect_to_worker($_->{slot}, '/app/websocket') }
        @{ status_json()->{workers} };

    # some wait with a request, others without

    $_->silent(0.02) for grep { $_->{kind} ne 'jsonp' } @busy, @waits;

    my %old = map { $_ => 1 } worker_pids($t);

    configure(config => 'new');
    $t->reload();
    %kept = ();

    wait_until { my @workers = @{ status_json()->{workers} };
                 4 == (grep { !$old{$_->{pid}} } @workers)
                 && !grep { $old{$_->{pid}} && !$_->{quitting} } @workers }
        or die "no new workers\n";

    is(join(' ', map { $_->close_in() // 'none' } @idle),
        join(' ', (1012) x @kinds), 'who waits for nothing is closed');
    is(join(' ', map { $_->close_in() // 'none' } @last), '1012 1012 1012 1012',
        'up to those that came last');
    is($app->count('/held', 'held'), scalar @kinds, 'calls go on');

    my $late = client('xhr_streaming');
    is($late->rpc('app', 'headers', {})->{data}{'x-config'}, 'new',
        'who comes is answered by new workers');

    $app->release('/held');
    is(join(' ', map { answer($busy[$_]->reply($ids[$_])) } 0 .. $#ids),
        join(' ', ('"late"') x @kinds), 'calls are answered');
    is(join(' ', map { $_->close_in() // 'none' } @busy),
        join(' ', (1012) x @kinds), 'before the client is closed');

    backend('send', { to => { identity => 'waits' }, message => 'hello' });
    is(join(' ', map { $_->notification() // 'nothing' } @waits),
        join(' ', ('hello') x @kinds), 'who waits is still spoken to');

    $app->release('gate');
    is(join(' ', map { answer($_->reply()) } @waits),
        join(' ', ('null') x @kinds), 'what is decided is done');
    is(join(' ', map { $_->close_in() // 'none' } @waits),
        join(' ', (1012) x @kinds), 'before the client is closed');
    is(join(' ', map { status_of($_) } @asked),
        join(' ', (204) x @asked), 'and has been taken');
    is(join(' ', map { status_of($_) } @behind),
        join(' ', (404) x @behind), 'what was behind has not');
    is($app->count('/work'), 0, 'nor is it done');

    ok((wait_until { my %now = processes($t);
        !grep { $old{$_} } keys %now } 20), 'old workers leave');

    is(answer($late->rpc('app', 'work', { n => 1 })), 1, 'new ones go on');
    $late->leave();

    ok((wait_until { counters()->{sessions} == 0 }), 'no session stays');
}


# ----------------------------------------------------------------------------

sub configure {
    my (%o) = @_;

    my %value = (drain => '100ms', config => 'old', %o);
    my $text = $conf;

    $text =~ s/%%\U$_%%/$value{$_}/g for keys %value;
    $t->write_file_expand('nginx.conf', at_level($t, 'info', $text));

    return;
}


sub keep {
    return map { $_->{slot} => Snorky::SockJS->new(prefix => '/app',
        worker => $_->{slot})->dial() } @{ status_json()->{workers} };
}


sub client {
    my ($kind, %o) = @_;

    my $user = delete $o{user};

    push @{ $o{headers} }, "Cookie: user=$user" if defined $user;

    my $class = $kind =~ /^(?:websocket|lean)$/ ? 'Framed::WebSocket'
                                                : 'Framed::Session';

    return $class->open($kind, %o);
}


sub answer {
    my ($m) = @_;

    return 'nothing' unless $m;
    return $m->{type} eq 'error' ? $m->{message} : json($m->{data});
}


# to these calls, in whatever order they come

sub answers {
    my ($c, @ids) = @_;

    my %answer;

    for (@ids) {
        my $m = $c->reply() or last;
        $answer{ $m->{callId} } = answer($m);
    }

    return join ' ', map { $answer{$_} // 'nothing' } @ids;
}


sub status_of {
    my ($request) = @_;

    my $r = $request->read_response();

    return $r ? $r->{status} : 'nothing';
}


sub request_of {
    my ($service, $command, $params, $id) = @_;

    return Snorky::request_text($service, $command, $params, $id // 1);
}


sub backend {
    my ($command, $params, $service) = @_;

    my $r = backend_post('/backend', envelope($service || 'app',
        { command => $command, params => $params, callId => 1 }),
        key => $key) or return 'no answer';
    my $m = ($r->{json} || {})->{message} or return "$r->{status} $r->{body}";

    return answer($m);
}


# --- clients ----------------------------------------------------------------

# What SockJS puts around messages, so that the rest is as with all others.

package Framed;

use base qw/ Snorky /;

use Snorky;
use Snorky::SockJS ();


sub message_in {
    my ($self, $timeout) = @_;

    my $deadline = $self->deadline($timeout);

    for (;;) {
        my $text = shift @{ $self->{messages} };
        return { data => $text } if defined $text;
        return undef if $self->{closed};

        my $frame = $self->sockjs_frame($deadline - Time::HiRes::time())
            // return undef;

        if ($frame =~ /^c/) {
            my ($code, $reason) = Snorky::SockJS::closing($frame);
            $self->{closed} = { code => $code, reason => $reason };
        }

        push @{ $self->{messages} }, map { utf8::encode($_); $_ }
            Snorky::SockJS::messages($frame);
    }
}


# several in one array; their numbers

sub calls {
    my ($self, @calls) = @_;

    my @ids = map { ++$self->{calls} } @calls;

    $self->array(map { Snorky::request_text(@{ $calls[$_] }, $ids[$_]) }
        0 .. $#calls);

    return @ids;
}


sub text {
    my ($self, $text) = @_;

    return $self->array($text);
}


sub array_of {
    return '[' . join(',', map { utf8::decode($_); json($_) } @_) . ']';
}


package Framed::WebSocket;

use parent -norequire, qw/ Framed /;

use Snorky;


sub open {
    my ($class, $kind, %o) = @_;

    my $prefix = delete $o{prefix} || ($kind eq 'lean' ? '/lean' : '/app');
    my $s = Snorky::SockJS->new(prefix => $prefix);
    my $self = Snorky->connect($s->path('websocket'), %o);

    @$self{qw/ kind messages port /} = ($kind, [], $self->{sock}->sockport());
    bless $self, $class;

    my $o = $self->sockjs_frame();
    die "$kind: no opening\n" unless ($o // '') eq 'o';

    return $self;
}


sub sockjs_frame {
    my ($self, $timeout) = @_;

    my $m = $self->Snorky::message_in($timeout) or return undef;

    return $m->{data};
}


sub array {
    my ($self, @texts) = @_;

    return $self->send(frame(TEXT, Framed::array_of(@texts)));
}


# nothing tells when these are taken

sub later {
    my ($self, @calls) = @_;

    $self->calls(@calls);

    return;
}


sub taken { return 0 }


sub leave {
    my ($self) = @_;

    return $self->reset();
}


package Framed::Session;

use parent -norequire, qw/ Framed /;

use Snorky;


sub open {
    my ($class, $kind, %o) = @_;

    my $self = $class->of($kind,
        Snorky::SockJS->new(prefix => '/app', %o));

    my $o = $self->sockjs_frame();
    die "$kind: no opening\n" unless ($o // '') eq 'o';

    return $self;
}


sub of {
    my ($class, $kind, $s) = @_;

    return bless {
        s        => $s,
        kind     => $kind,
        messages => [],
        timeout  => $Snorky::TIMEOUT,
    }, $class;
}


sub polls {
    my ($self) = @_;

    return $self->{kind} =~ /^(?:xhr|jsonp)$/;
}


# A request that has waited in vain goes on to wait.

sub sockjs_frame {
    my ($self, $timeout) = @_;

    my ($s, $kind) = @$self{qw/ s kind /};

    for (;;) {
        my $r = $self->{r} ||= $self->polls() ? $s->open($kind)
                                              : $s->stream($kind);
        $self->{port} ||= $r->{sock}->sockport();

        my $frame = $r->frame($timeout);

        $self->{why} = $r->{why};

        if (defined $frame) {
            delete $self->{r} if $self->polls() && $r->ended();
            return $frame;
        }

        return undef if $r->{why} eq 'timeout';

        delete $self->{r};

        return undef if $r->{why} ne 'end' || $self->polls();
    }
}


# to any worker

sub array {
    my ($self, @texts) = @_;

    my $text = Framed::array_of(@texts);
    my $s = $self->{s};

    if ($self->{kind} eq 'jsonp' || !%kept) {
        my $what = $self->{kind} eq 'jsonp' ? 'jsonp_send' : 'xhr_send';
        my $status = $s->post($what, $text);

        die "$self->{kind}: not taken: " . ($status // 'no answer') . "\n"
            unless $status && $status =~ /^20[04]$/;

        return;
    }

    my @workers = keys %kept;
    my $worker = $self->{through} // $workers[rand @workers];
    my $r = $kept{$worker}->request('POST', $s->path('xhr_send'),
        body => $text, headers => $s->{headers});

    die "$self->{kind}: not taken: " . ($r ? $r->{line} : 'no answer') . "\n"
        unless $r && $r->{status} == 204;

    return;
}


# the request, which has not been answered

sub later {
    my ($self, @calls) = @_;

    my @texts = map { Snorky::request_text(@$_, ++$self->{calls}) } @calls;

    return $self->{s}->ask('POST', $self->{s}->path('xhr_send'),
        body => Framed::array_of(@texts));
}


# how many of these have been

sub taken {
    my ($self, $timeout, @requests) = @_;

    return scalar grep { ($_->read_response($timeout) || { status => 0 })
        ->{status} == 204 } @requests;
}


sub leave {
    my ($self) = @_;

    my $r = delete $self->{r} or return;

    return $r->abort();
}
