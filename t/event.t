#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# Events: what the application is told of clients and of their channels, as
# soon as it happens, without having asked.

use strict;
use warnings;

use FindBin;
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;
use Snorky::Events;


my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /)->plan(60);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 1m;

    snorky_service pubsub messaging;
    snorky_service pubsub 'quo"ted';
    snorky_service chat chat;
    snorky_service cursors cursors;
    snorky_service messaging names;
    snorky_service datasync sync;

    snorky_event /events connected disconnected subscribed;
    snorky_event /events unsubscribed occupied vacated;

    snorky_registry other {
        snorky_service pubsub messaging;
        snorky_event /other?a=b connected;
        snorky_event /some subscribed vacated;
    }

    snorky_registry quiet {
        snorky_service pubsub messaging;
    }

    snorky_registry private {
        snorky_service pubsub_backend messaging_backend
                       frontend=public/messaging;
        snorky_service pubsub own;
        snorky_event /private connected disconnected subscribed unsubscribed;
    }

    snorky_identity $http_x_user;

    add_header X-Client $snorky_client always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /denied {
            if ($http_x_deny) {
                return 403;
            }
            snorky_websocket;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /quiet {
            snorky_websocket registry=quiet;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }

        location ~ ^/(events|other|some|private)$ {
            internal;
            proxy_pass http://127.0.0.1:8090;
            proxy_set_header X-Server first;
            proxy_set_header X-Address $remote_addr;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        location /ws {
            snorky_websocket;
        }

        location /other/ws {
            snorky_websocket registry=other;
        }

        location ~ ^/(events|other|some)$ {
            internal;
            proxy_pass http://127.0.0.1:8090;
            proxy_set_header X-Server second;
        }
    }
}

EOC

my $app = Snorky::Application->start(port => port(8090), answers => {
    '*' => { status => 204 },
});

$t->run();


# --- what a client does -----------------------------------------------------

my @e = told($app, sub { @_ }, '/events');

is(brief(@e), 'reset', 'at first, no channel is occupied');
like($e[0]{sequence}, qr/^\d{16}$/, 'which has a sequence number');

settled();
$app->forget();

my $c = Snorky->connect('/ws', headers => [ 'X-User: j"oe' ]);

my ($e) = told($app, sub { @_ });
my $r = $app->last();

my $id = $c->header('X-Client');

is($e->{event}, 'connected', 'who comes is connected');
is($e->{client}, $id, 'the client is named as $snorky_client names it');
is($e->{identity}, 'j"oe', 'with its identity');
is($e->{address}, '127.0.0.1', 'and its address');
like($e->{time}, qr/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}[-+]\d\d:\d\d$/,
    'and the time');
is($e->{worker}, status_json()->{workers}[0]{generation},
    'and the generation of its worker');
is(join(' ', sort keys %$e), 'address client event identity request time '
    . 'worker', 'and nothing else');

is("$r->{method} $r->{path}", 'POST /events', 'it comes in a POST');
is($r->{headers}{'content-type'}, 'application/json', 'as JSON');
is($r->{headers}{'content-length'}, length $r->{body}, 'with its length');
is(join(' ', map { "$_=$r->{headers}{$_}" } grep { /^x-/ }
    sort keys %{ $r->{headers} }),
    'x-address=0.0.0.0 x-server=first x-snorky-event=batch',
    'and a header that says what it is');

my $channel = { b => [ 1.50, 100 ], a => "\x{e4}\n" };

does('occupied subscribed', sub {
    $c->rpc('messaging', 'subscribe', { channel => $channel });
}, 'who subscribes first has occupied the channel');

my ($occupied, $subscribed) = events($app);

is(json($subscribed->{channel}), json({ b => [ 1.5, 100 ], a => "\x{e4}\n" }),
    'the channel is JSON');
is($subscribed->{service}, 'messaging', 'it knows the service');
is($subscribed->{client}, $id, 'and the client');
is(join(' ', sort keys %$subscribed), 'address channel client event identity '
    . 'request service time worker', 'and what else is known of it');
is(json($occupied->{channel}), json($subscribed->{channel}),
    'the same channel is occupied');
is(join(' ', sort keys %$occupied),
    'channel event request sequence service time', 'by nobody in particular');

does('', sub {
    $c->rpc('messaging', 'subscribe', { channel => $channel });
    $c->rpc('messaging', 'subscribe', { channel => 'x' x 2000 });
    $c->rpc('messaging', 'unsubscribe', { channel => 'other' });
    $c->rpc('messaging', 'nonsense', {});
    $c->rpc('messaging', 'publish', { channel => 'o', message => 1 });
}, 'what changes nothing is not told');

does('unsubscribed vacated', sub {
    $c->rpc('messaging', 'unsubscribe', { channel => $channel });
}, 'the last who goes vacates the channel');

cmp_ok((events($app))[1]{sequence}, '>', $occupied->{sequence},
    'with a greater number');

does('occupied subscribed', sub {
    $c->rpc('quo"ted', 'subscribe', { channel => 'q' });
}, 'a service may have any name');

is((events($app))[0]{service}, 'quo"ted', 'which is told');

does('occupied subscribed', sub {
    $c->rpc('chat', 'join', { channel => 'room' });
}, 'rooms of chat are channels');
does('', sub { $c->rpc('chat', 'join', { channel => 'room' }) },
    'that one joins once');
does('occupied subscribed', sub {
    $c->rpc('cursors', 'join', { document => 7 });
}, 'documents of cursors are, too');
is((events($app))[1]{channel}, 7, 'by their names');

does('', sub {
    $c->rpc('names', 'register', { name => 'joe' });
}, 'names are not');


# --- others -----------------------------------------------------------------

my $d;

does('connected subscribed', sub {
    $d = Snorky->connect('/ws');
    $d->rpc('chat', 'join', { channel => 'room' });
    $d->rpc('quo"ted', 'subscribe', { channel => 'q' });
}, 'the second in a channel does not occupy it');

is((events($app))[0]{identity}, undef, 'who has no identity has null');

does('unsubscribed', sub {
    $d->rpc('quo"ted', 'unsubscribe', { channel => 'q' });
}, 'nor does it vacate it');

$app->forget();
$c->close_frame(1000);

@e = told($app, sub { of_event('disconnected', @_) });

is(brief(of_event([qw/ unsubscribed disconnected /], @e)),
    'unsubscribed:quo"ted:q:j"oe unsubscribed:chat:room:j"oe '
    . 'unsubscribed:cursors:7:j"oe disconnected:j"oe',
    'who leaves is out of its channels first');
is(brief(of_event('vacated', @e)), 'vacated:quo"ted:q vacated:chat:room '
    . 'vacated:cursors:7', 'which it has vacated');
is($e[-1]{client}, $id, 'and then it is disconnected');
is(join(' ', sort keys %{ $e[-1] }), 'address client event identity request '
    . 'time worker', 'with all that it had when it came');

does('disconnected', sub {
    $d->reset();
    wait_until { counters()->{sessions} == 0 };
}, 'so it is without a close frame');

does('', sub {
    Snorky->attempt('/denied', headers => [ 'X-Deny: 1' ]);
    Snorky->attempt('/ws', version => 12);
    my $echo = Snorky->connect('/echo');
    $echo->text('hi');
    $echo->text_in();
    $echo->finish();
    Snorky->connect('/quiet')->rpc('messaging', 'subscribe', { channel => 1 });
    backend_post('/backend', { service => 'messaging_backend', message => {
        command => 'publish', params => { channel => 1, message => 2 } } },
        key => 'swordfish');
    backend_post('/backend', { service => 'own', message => {
        command => 'subscribe', params => { channel => 1 } } },
        key => 'swordfish');
}, 'nothing is told of those who are refused, of echo, of backends, and where '
    . 'it is not wanted');


# --- registries, servers, directives ----------------------------------------

$app->forget();

$c = Snorky->connect('/ws', port => port(8081));
$c->rpc('messaging', 'subscribe', { channel => 'c' });
settled();

my %by;
push @{ $by{$_->{headers}{'x-server'}} }, map { $_->{event} } @{ $_->{json} }
    for $app->requests();

is(join(' ', @{ $by{second} }), 'connected subscribed',
    'a client of another server is told by that');
is(join(' ', @{ $by{first} }), 'occupied',
    'what is of all clients is told by the first');

$c->finish();
settled();

$app->forget();

$c = Snorky->connect('/other/ws', port => port(8081));
$c->rpc('messaging', 'subscribe', { channel => 'c' });
$c->rpc('messaging', 'unsubscribe', { channel => 'c' });
$c->finish();

settled();

is(brief(events($app, '/other')), 'connected', 'another registry tells that '
    . 'of which it is asked');
is(($app->requests('/other'))[0]{args}, 'a=b', 'to an URI with arguments');
is(brief(events($app, '/some')), 'subscribed:messaging:c vacated:messaging:c',
    'or to another one');
is(join(' ', sort map { $_->{headers}{'x-server'} } $app->requests()),
    'second second second', 'by the server that has it');

is(get('/events')->{status}, 404, 'clients have no access to the location');


# --- counters ---------------------------------------------------------------

my $before = counters();

$app->forget();
$c = Snorky->connect('/ws');
$c->finish();
settled();

my $after = counters();

is($after->{events_sent} - $before->{events_sent}, 2,
    'events that were taken are counted');
is($after->{asks} - $before->{asks}, scalar $app->requests(),
    'and so are the requests');
is("$after->{events_dropped} $after->{events_retried} $after->{asks_failed}",
    '0 0 0', 'none went wrong');
unlike($t->read_file('error.log'), qr/events for/, 'the log says nothing');

$t->stop();


# --- what is refused --------------------------------------------------------

refused('snorky_event;', 'invalid number of arguments');
refused('snorky_event /uri;', 'invalid number of arguments');
refused('snorky_event uri connected;', 'invalid uri "uri"');
refused('snorky_event "" connected;', 'invalid uri ""');
refused('snorky_event /uri bound;', 'unknown event "bound"');
refused('snorky_event /uri connected connected;',
    'duplicate event "connected"');
refused('snorky_registry r { snorky_event /uri; }',
    'invalid number of arguments');
refused('snorky_registry r { snorky_event /uri Connected; }',
    'unknown event "Connected"');
refused('snorky_event_queue 0;', 'greater than zero');
refused('snorky_event_timeout 0;', 'greater than zero');


# the events that a function's doing makes

sub does {
    my ($want, $code, $name) = @_;

    settled();
    $app->forget();
    $code->();
    settled();

    my %seen;
    my @names = grep { !$seen{$_}++ } map { $_->{event} } events($app);

    is("@names", $want, $name);
}


sub refused {
    my ($directive, $why) = @_;

    $t->write_file_expand('nginx.conf', <<"EOC");
%%TEST_GLOBALS%%
events {
}
http {
    %%TEST_GLOBALS_HTTP%%
    $directive
}
EOC

    # what this leaves in the error log is no failure

    my $log = $t->testdir() . '/error.log';
    my $size = -s $log;

    like($t->dump_config(), qr/\[emerg\].*\Q$why\E/, "$directive is refused");

    truncate $log, $size;
}
