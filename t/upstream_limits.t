#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# upstream and upstream_backend: each limit, what it answers, what it counts,
# and that it is no smaller than it says.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Application;


my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /)->plan(120);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    snorky_zone 2m log=512k;
    snorky_drain 10ms;

    snorky_service upstream app pass=/app/;
    snorky_service upstream quick pass=/app/ timeout=100ms;
    snorky_service upstream quicker pass=/app/ timeout=1ms;
    snorky_service upstream byte pass=/app/ response=1;
    snorky_service upstream kilo pass=/app/ response=1k;
    snorky_service upstream mega pass=/app/ response=200k;
    snorky_service upstream capped pass=/capped;
    snorky_service upstream listed pass=/app/ commands=ok;
    snorky_service pubsub news;
    snorky_service echo echo;

    snorky_registry private {
        snorky_service upstream app pass=/app/;
        snorky_service upstream_backend back frontend=public/app;
    }

    snorky_identity $arg_user;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 sndbuf=4k;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            snorky_send_buffer 4m;
        }

        location /one {
            snorky_websocket;
            snorky_max_calls 1;
        }

        location /three {
            snorky_websocket;
            snorky_max_calls 3;
        }

        location /small {
            snorky_websocket;
            snorky_max_message_size 100;
            snorky_max_depth 5;
        }

        location /large {
            snorky_websocket;
            snorky_max_message_size 1m;
        }

        location /slow {
            snorky_websocket;
            snorky_send_buffer 64k;
        }

        location /app/ {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_8090%%/$snorky_command;
            proxy_buffer_size 4k;
            proxy_buffers 4 4k;
            proxy_busy_buffers_size 8k;
            proxy_max_temp_file_size 0;
        }

        location /capped {
            internal;
            client_max_body_size 100;
            default_type application/json;
            proxy_pass http://127.0.0.1:%%PORT_8090%%/ok;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
            snorky_max_message_size 1m;
            snorky_max_calls 1;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

my $app = Snorky::Application->start(port => port(8090), answers => {
    '/ok'   => { json => 'ok' },
    '/wait' => { hold => 1, json => 'late' },
    '/bad'  => { status => 500 },
    '/'     => { json => 'none' },
});

$t->run();

calls();
time_limit();
responses();
questions();
texts();
backend();
slow_client();

is(wait_until { counters()->{sessions} == 0 }, 1, 'all have gone');
is(counters()->{calls}, 0, 'no call is left');

$t->stop();


# --- snorky_max_calls -------------------------------------------------------

sub calls {
    for my $case ([ '/ws', 16 ], [ '/one', 1 ], [ '/three', 3 ]) {
        my ($path, $most) = @$case;
        my ($c, $d) = map { Snorky->connect($path) } 1, 2;
        my $before = counters();

        $app->forget();

        $c->call('app', 'wait', {}) for 1 .. $most;
        is($app->wait_for($most, '/wait', 'held'), 1,
            "$path: a client may have $most calls under way");
        is(counters()->{calls} - $before->{calls}, $most,
            "$path: the status tells of them");

        is_deeply($c->rpc('app', 'ok', {}), { type => 'error',
            callId => $most + 1, message => 'Too many calls' },
            "$path: one more is too many");
        is($c->rpc('kilo', 'ok', {})->{message}, 'Too many calls',
            "$path: also of another service");
        is($app->count('/ok'), 0, "$path: the application is not asked");
        is($c->rpc('listed', 'no', {})->{message}, 'Unknown command',
            "$path: what is wrong anyway is told first");

        $c->text(envelope('echo', 1));
        is($c->text_in(), envelope('echo', 1),
            "$path: what is answered at once goes on");
        is($c->rpc('news', 'subscribe', { channel => 1 })->{type}, 'response',
            "$path: calls, too");
        is($d->rpc('app', 'ok', {})->{data}, 'ok',
            "$path: and so do other clients");

        my $now = counters();

        is($now->{calls_rejected} - $before->{calls_rejected}, 2,
            "$path: those that are refused are counted");
        is($now->{calls_deferred} - $before->{calls_deferred}, $most + 1,
            "$path: and not as such that wait");

        # one that is answered makes room for one

        is($app->release('/wait', 1), 1, "$path: one is answered");
        is($c->reply()->{data}, 'late', "$path: and there is room again");
        is($c->rpc('app', 'bad', {})->{message}, '500 Internal Server Error',
            "$path: for one that fails");
        is($c->rpc('app', 'ok', {})->{data}, 'ok', "$path: or not");

        $c->reset();
        $d->finish();
        is($app->wait_for($most - 1, '/wait', 'left'), 1,
            "$path: when the client goes all are given up");
        is(wait_until { counters()->{calls} == 0 }, 1, "$path: and none left");
        $app->release('/wait');
    }

    return;
}


# --- timeout= ---------------------------------------------------------------

sub time_limit {
    my $c = Snorky->connect('/ws');
    my $before = counters();

    $app->forget();

    my $begin = time();
    my $reply = $c->rpc('quick', 'wait', {});
    my $took = time() - $begin;

    is($reply->{message}, 'Timed out', 'timeout= is the end of a call');
    cmp_ok($took, '>=', 0.099, 'and not before it');
    is($app->wait_for(1, '/wait', 'left'), 1, 'the question is given up');

    $c->call('quick', 'wait', {}, callId => "a$_") for 1 .. 16;

    my %replies = map { my $r = $c->reply(); $r->{callId} => $r->{message} }
                  1 .. 16;

    is_deeply(\%replies, { map { ("a$_" => 'Timed out') } 1 .. 16 },
        'each of several has its own');

    # one whose answer and end are close together is answered once

    $c->call('quicker', 'ok', {}, callId => $_) for 1 .. 10;

    my @ids = map { $c->reply()->{callId} } 1 .. 10;

    is_deeply([ sort { $a <=> $b } @ids ], [ 1 .. 10 ],
        'the last moment makes no second answer');

    $c->text(envelope('echo', 1));
    is($c->text_in(), envelope('echo', 1), 'nor one that comes later');

    my $now = counters();

    cmp_ok($now->{calls_timed_out} - $before->{calls_timed_out}, '>=', 17,
        'they are counted');
    is($now->{calls_cancelled}, $before->{calls_cancelled},
        'and not as cancelled');
    is($c->rpc('app', 'ok', {})->{data}, 'ok', 'the client goes on');

    $app->release('/wait');
    $c->finish();

    return;
}


# --- response= --------------------------------------------------------------

sub responses {
    my $c = Snorky->connect('/ws');
    my $before = counters();
    my %most = (byte => 1, kilo => 1024, app => 65536, mega => 204800);

    for my $service (qw/ byte kilo app mega /) {
        my $most = $most{$service};
        my $digits = '1' x $most;

        for my $how ({ }, { chunks => [ $digits =~ /.{1,10000}/gs ] },
                     { length => undef })
        {
            $app->answer('/size', { type => 'application/json',
                                    body => $digits, %$how });
            is(length($c->ask($service, 'size')), length(
                "{\"type\":\"response\",\"callId\":1,\"data\":}") + $most,
                "$service: $most bytes are taken");

            $how = { chunks => [ $digits =~ /.{1,10000}/gs, '1' ] }
                if $how->{chunks};
            $app->answer('/size', { type => 'application/json',
                                    body => "${digits}1", %$how });
            is($c->ask($service, 'size'), '{"type":"error","callId":1,'
                . '"message":"Response too large"}',
                "$service: one more is not");
        }
    }

    my $now = counters();

    is($now->{asks_failed} - $before->{asks_failed}, 12,
        'questions that are answered with too much have failed');

    like($t->read_file('error.log'), 
        qr{\[error\].* service "kilo": the answer at "/app/" is larger },
        'the log tells of it');

    $c->finish();

    return;
}


# --- what the client sends --------------------------------------------------

sub questions {
    my $c = Snorky->connect('/small');
    my $before = counters();

    is($c->ask('app', 'ok', '[[]]' =~ s/^\[(.*)\]$/{"a":$1}/r),
        '{"type":"response","callId":1,"data":"ok"}',
        'snorky_max_depth is that of the whole message');
    $c->text('{"service":"app","message":{"command":"ok","params":'
        . '{"a":[[[]]]},"callId":1}}');
    is($c->rpc('app', 'ok', {})->{data}, 'ok', 'what is deeper is discarded');
    is(counters()->{malformed} - $before->{malformed}, 1, 'and counted');

    $app->forget();
    $c->text('{"service":"app","message":{"command":"ok","params":{"a":"'
        . 'x' x 100 . '"},"callId":1}}');
    is($c->close_in(), 1009, 'snorky_max_message_size ends the connection');
    is($app->count(), 0, 'and nobody is asked');

    my $large = Snorky->connect('/large');
    my $text = 'x' x 300000;

    is($large->ask('app', 'ok', "{\"a\":\"$text\"}"),
        '{"type":"response","callId":1,"data":"ok"}',
        'a question may be as long as a message');
    is(length($app->last('/ok')->{body}), length($text)
        + length('{"command":"ok","params":{"a":""},"callId":1}'),
        'and comes whole');

    my $room = 100 - length '{"command":"ok","params":{"a":""},"callId":1}';

    is($large->ask('capped', 'ok', '{"a":"' . 'x' x $room . '"}'),
        '{"type":"response","callId":1,"data":"ok"}',
        'client_max_body_size is the most');
    is($large->ask('capped', 'ok', '{"a":"' . 'x' x ++$room . '"}'),
        '{"type":"error","callId":1,"message":"413 Content Too Large"}',
        'that the location takes');

    $large->finish();

    return;
}


# --- bytes of texts, depth --------------------------------------------------

sub texts {
    my $c = Snorky->connect('/ws');

    $app->answer('/deep', { type => 'application/json',
        body => '[' x 64 . ']' x 64 });
    like($c->ask('app', 'deep'), qr/"data":\[{64}\]{64}\}$/,
        'an answer may nest 64 deep');
    $app->answer('/deep', { type => 'application/json',
        body => '[' x 65 . ']' x 65 });
    like($c->ask('app', 'deep'), qr/"Bad response"/, 'and no deeper');
    $app->answer('/deep', { type => 'application/json',
        body => '[' x 30000 . ']' x 30000 });
    like($c->ask('app', 'deep'), qr/"Bad response"/, 'or much deeper');
    $app->answer('/deep', { type => 'application/json', status => 400,
        body => '{"message":"a","b":' . '[' x 65 . ']' x 65 . '}' });
    like($c->ask('app', 'deep'), qr/"400 Bad Request"/,
        'nor may that of a failure');

    $app->answer('/long', { status => 400, json => 'x' x 60000 });
    is(json_message($c->ask('app', 'long')), 'x' x 255,
        'the text of an error has 255 bytes');
    $app->answer('/long', { status => 400, type => 'application/json',
        body => '"' . '\u0001' x 300 . '"' });
    is(json_message($c->ask('app', 'long')), '\u0001' x 255,
        'of what it means');

    $c->finish();

    return;
}


# --- the backend ------------------------------------------------------------

sub backend {
    my $c = Snorky->connect('/ws?user=anna');
    my $post = sub {
        my ($service, $command, $params) = @_;

        return backend_post('/backend', envelope($service,
            \"{\"command\":\"$command\",\"params\":$params,\"callId\":1}"),
            key => 'swordfish');
    };

    # a quarter of the log, with the record's head and the name

    my ($least, $most) = (0, 200000);

    while ($most - $least > 1) {
        my $size = int(($least + $most) / 2);
        my $r = $post->('back', 'send', '{"to":{"identity":"anna"},"message":"'
            . 'x' x $size . '"}');

        if ($r->{body} =~ /"data":null/) {
            $least = $size;
            is(length($c->text_in()), $size + length envelope('app', ''),
                'a message comes') if $size > 130000;

        } else {
            $most = $size;
            like($r->{body}, qr/"Message too large"/, 'one is too large')
                if $size < 132000;
        }

        $c->text_in() if $least == $size && $size <= 130000;
    }

    cmp_ok($least, '>', 130500, 'a message may have a quarter of the log');
    cmp_ok($least, '<', 131072, 'and no more');

    # its own calls: one at a time, so that it never has too many

    my @calls = map { envelope('app',
        { command => 'ok', params => {}, callId => $_ }) } 1 .. 20;

    my $r = backend_post('/backend', '[' . join(',', @calls) . ']',
        key => 'swordfish');

    is(scalar(() = $r->{body} =~ /"data":"ok"/g), 20,
        'a batch has one call under way at a time');

    $c->finish();

    return;
}


# who does not read what he asked for

sub slow_client {
    my $c = Snorky->connect('/slow', rcvbuf => 4096, port => port(8081));
    my $before = counters();

    $app->answer('/much', { json => 'x' x 60000 });

    $c->call('app', 'much', {}) for 1 .. 16;

    is(wait_until { counters()->{closed_slow} > $before->{closed_slow} }, 1,
        'a client that does not read what it has asked for is closed');
    is(counters()->{calls}, 0, 'and its calls are given up');
    $c->reset();

    return;
}


# --- clients ----------------------------------------------------------------

# the message of the answer

sub Snorky::ask {
    my ($c, $service, $command, $params) = @_;

    $params //= '{}';

    $c->text("{\"service\":\"$service\",\"message\":{\"command\":\"$command\","
        . "\"params\":$params,\"callId\":1}}");

    my $text = $c->text_in() // return '';

    return $text =~ s/^\{"service":"\w+","message":(.*)\}$/$1/sr;
}


sub json_message {
    my ($text) = @_;

    return ($text =~ /"message":"(.*)"\}$/)[0];
}
