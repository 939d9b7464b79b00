#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# What the application has said is kept for a time: for the same command,
# identity and channel, and for nothing else.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;


my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /)->plan(59);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 2m;
    snorky_drain 10ms;

    snorky_service pubsub messaging;
    snorky_service pubsub brief;
    snorky_service pubsub few;
    snorky_service pubsub shared;
    snorky_service messaging names;
    snorky_service upstream shop pass=/shop;

    snorky_authorize messaging publish /auth cache=10m;
    snorky_authorize messaging subscribe /auth cache=10m;
    snorky_authorize brief publish /auth cache=100ms;
    snorky_authorize few publish /auth cache=10m entries=3;
    snorky_authorize shared * /auth cache=10m;
    snorky_authorize names * /auth cache=10m;
    snorky_authorize shop * /auth cache=10m;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            snorky_identity $arg_id;
        }

        location /backend {
            snorky_backend;
            snorky_backend_key swordfish;
            snorky_identity $arg_id;
        }

        location = /auth {
            internal;
            proxy_pass http://127.0.0.1:8090;
        }

        location = /shop {
            internal;
            return 204;
        }

        location /status {
            snorky_status;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            snorky_identity $arg_id;
        }

        location = /auth {
            internal;
            proxy_pass http://127.0.0.1:8090;
        }
    }
}

EOC

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/auth' => { status => 204 },
});

$t->run();

my $joe = Snorky->connect('/ws?id=joe');
my $asked = 0;


# a yes is kept

says('null', asks(1), $joe, 'messaging', { channel => 'a' },
    'the first call is asked about');
says('null', asks(0), $joe, 'messaging', { channel => 'a' },
    'the next one is not');

$app->answer('/auth', { status => 403 });

says('null', asks(0), $joe, 'messaging', { channel => 'a' },
    'whatever the application would say now');
says('null', asks(0), Snorky->connect('/ws?id=joe'), 'messaging',
    { channel => 'a' }, 'nor that of another client of this identity');

$joe->text('{"service":"messaging","message":{"command":"publish","params":'
    . '{"message":1,"channel":"\u0061"}}}');
is(json($joe->reply()) . $app->count(), '{"data":null,"type":"response"}1',
    'nor one whose channel is written in another way');


# for nothing else

says('Not authorized', asks(1), Snorky->connect('/ws?id=jo'), 'messaging',
    { channel => 'a' }, 'for another identity it is');
says('Not authorized', asks(1), Snorky->connect('/ws'), 'messaging',
    { channel => 'a' }, 'for none, too');
says('Not authorized', asks(1), $joe, 'messaging', { channel => 'b' },
    'for another channel');
says('Not authorized', asks(1), $joe, 'messaging', { channel => ['a'] },
    'for an array of it');
says('Not authorized', asks(1), $joe, 'shared', { channel => 'a' },
    'for another service');
is(outcome($joe, 'messaging', 'subscribe', { channel => 'a' }),
    'Not authorized', 'for another command');
is(asked(), 1, 'it is asked about, too');
says('Not authorized', asks(1), Snorky->connect('/ws?id=joe',
    port => port(8081)), 'messaging', { channel => 'a' },
    'for a client of another server');

# what stands side by side in a key can't be told apart by length alone

says('Not authorized', asks(1), Snorky->connect('/ws?id=joe%22a'), 'messaging',
    { channel => 'a' }, 'for a longer identity');


# a no is kept

says('Not authorized', asks(0), $joe, 'messaging', { channel => 'b' },
    'a no (403) is kept');

$app->answer('/auth', { status => 401 });
says('Not authorized', asks(1), $joe, 'messaging', { channel => 'c' },
    'so is');
$app->answer('/auth', { status => 204 });
says('Not authorized', asks(0), $joe, 'messaging', { channel => 'c' },
    'one of 401');


# what is not

my $n = 0;

for ([ { status => 500 }, 'Authorization failed', 'a failure' ],
    [ { close => 1 }, 'Authorization failed', 'no answer' ],
    [ { status => 302 }, 'Authorization failed', 'a redirection' ],
    [ { json => [] }, 'Authorization failed', 'bad JSON' ],
    [ { size => 70000 }, 'Authorization failed', 'an answer too large' ],
    [ { json => {} }, 'null', 'an empty object' ],
    [ { json => { drop => \1 } }, 'null', 'what is dropped' ],
    [ { json => { params => { message => 1 } } }, 'null',
      'what has other parameters' ])
{
    my ($answer, $outcome, $name) = @$_;
    my $params = { channel => 'not ' . $n++ };

    $app->answer('/auth', $answer);
    is(outcome($joe, 'messaging', 'publish', { %$params, message => 1 }),
        $outcome, "$name ...");

    asked();
    $app->answer('/auth', { status => 204 });
    says('null', asks(1), $joe, 'messaging', $params, '... is not kept');
}


# other commands of one policy

$app->answer('/auth', { turns => [ { status => 204 }, { status => 403 } ] });
is(outcome($joe, 'shared', 'subscribe', { channel => 'x' }), 'null',
    'of a policy for all commands');
is(outcome($joe, 'shared', 'unsubscribe', { channel => 'x' }),
    'Not authorized', 'each is asked about');
is(outcome($joe, 'shared', 'unsubscribe', { channel => 'x' }) . asked(),
    'Not authorized2', 'and kept for itself');


# a command without a channel, and other names for it

$app->answer('/auth', { status => 204 });

for (1 .. 2) {
    outcome($joe, 'names', 'registerParticipant', { name => "joe $_" });
    outcome($joe, 'names', 'send', { sender => "joe $_", dest => 'joe 2',
        body => $_ });
    outcome($joe, 'names', 'listParticipants', {});
}

is(asked(), 4, 'what counts of a call is the name, or the receiver');

for my $params ({ channel => 1, a => 1 }, { a => 2, channel => 1 }, { a => 1 },
    { a => 2 }, { channel => 'x' x 2000 }, { channel => 'x' x 2000 })
{
    outcome($joe, 'shop', 'order', $params);
}

is(asked(), 4, 'calls of upstream services likewise, if it is not too long');

outcome($joe, 'shop', "ord\0er", { a => 1 });
outcome($joe, 'shop', "ord\0er", { a => 1 });
is(asked(), 1, 'whatever the command');


# the backend

my $body = envelope('messaging', { command => 'publish', callId => 1,
    params => { channel => 'a', message => 1 } });

like(backend_post('/backend?id=joe', $body, key => 'swordfish')->{body},
    qr/"data":null/, 'a backend of the same identity');
is(asked(), 0, 'is not asked about either');


# so many

says('null', asks(1), $joe, 'few', { channel => $_ }, "the ${_}th of three")
    for 1 .. 3;
says('null', asks(0), $joe, 'few', { channel => 1 }, 'the first is there');
says('null', asks(1), $joe, 'few', { channel => 4 }, 'a fourth one');
says('null', asks(0), $joe, 'few', { channel => $_ }, "leaves the ${_}th")
    for 1, 3;
says('null', asks(1), $joe, 'few', { channel => 2 },
    'but not the one that was not used for longest');
says('null', asks(0), $joe, 'few', { channel => 3 },
    'which takes the place of the next of these');
says('null', asks(1), $joe, 'few', { channel => 4 }, 'and so on');


# so long

says('null', asks(1), $joe, 'brief', { channel => 1 }, 'for a short time');

my $cached = counters()->{authorized_cached};
my $before = $app->count();

$app->answer('/auth', { status => 403 });

ok(wait_until { outcome($joe, 'brief', 'publish', { channel => 1,
    message => 1 }) eq 'Not authorized' }, 'a yes does not last longer');
is($app->count() - $before, 1, 'it was asked for once more');


# the figures

my $figures = counters();

outcome($joe, 'messaging', 'publish', { channel => 'a', message => 1 });
outcome($joe, 'messaging', 'publish', { channel => 'c', message => 1 });

my $after = counters();

is(join(' ', map { $after->{$_} - $figures->{$_} } qw/ authorized unauthorized
    authorized_cached asks /), '1 1 2 0', 'what was kept is counted');


# many waited for the same

$app->forget();
$app->answer('/auth', { hold => 1, status => 204 });
asked();

my @many = map { Snorky->connect('/ws?id=many') } 1 .. 10;

$_->call('messaging', 'publish', { channel => 'many', message => 1 })
    for @many;
ok($app->wait_for(10, '/auth', 'held'), 'who comes before the answer asks');
$app->release('/auth');
is(join(' ', map { ($_->reply() || {})->{type} // '' } @many),
    join(' ', ('response') x 10), 'all get one');


# a reload

asked();
$app->answer('/auth', { status => 204 });

my %old = map { $_ => 1 } worker_pids($t);

$t->reload();
wait_until { my @now = worker_pids($t); @now == 1 && !$old{$now[0]} };

$joe = Snorky->connect('/ws?id=joe');
says('null', asks(1), $joe, 'messaging', { channel => 'a' },
    'after a reload nothing is known');
says('null', asks(0), $joe, 'messaging', { channel => 'a' }, 'until it is');


# --- helpers ----------------------------------------------------------------

sub asks { return $_[0] }


# questions since the last time

sub asked {
    my $n = $app->count();
    my $more = $n - $asked;

    $asked = $n;

    return $more;
}


# a publication, what comes of it, and how often it is asked about

sub says {
    my ($outcome, $asks, $c, $service, $params, $name) = @_;

    asked();

    my $got = outcome($c, $service, 'publish', { %$params, message => 1 });

    is("$got " . asked(), "$outcome $asks", $name);

    return;
}


sub outcome {
    my ($client, @call) = @_;

    my $m = $client->rpc(@call);

    return 'nothing' unless $m;
    return $m->{type} eq 'error' ? $m->{message} : json($m->{data});
}
