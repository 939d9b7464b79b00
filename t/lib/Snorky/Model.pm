package Snorky::Model;

# Copyright (C) The ngx_snorky_module authors
#
# Random commands from many clients on all workers, against a model of the
# service that says what everyone must be told: each answer and each
# notification is compared with it, byte for byte where it is a client's own
# text.  A subclass is the model of one service:
#
#     begin()            makes its state
#     step($client)      chooses a command, changes the state, and says what
#                        is to be heard by call() and expect()
#     gone($client)      the client is being disconnected
#     noticed($client)   true when the server shows that it knows; optional
#     probe($client)     a last command, whose answer comes behind all else
#
# and a test does
#
#     my $model = Snorky::Model::Chat->new(port => port(8081));
#     $model->add($user, $slot) for ..;     # clients; the user may be undef
#     $model->calm(3000);                   # commands
#     is($model->complaints(), '', 'as the model says');
#
# Only one client speaks at a time, one command or several at once, so the
# order of all that happens is known.  Others may hear of it a bit later: what
# a client has still to hear stands in its { wanted }.  Before the answer to a
# command that has succeeded it must have heard all that was said before; the
# answer to one that fails may be faster than the log.
#
# What is wanted is told in pieces of JSON: a string is the JSON text itself,
# a hash an object with exactly these members, an array an array, and
#
#     unknown(qr/../, $check)   some text; wherever it occurs, the same one
#     one_of(@texts)            one of these
#     bag(@wanted)              an array in whatever order

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT_OK = qw/ unknown one_of bag members elements pick form
                     random_body start seed @KEYS /;

use IO::Select ();
use Time::HiRes qw/ time /;

use Test::Nginx;
use Snorky;


# --- JSON texts -------------------------------------------------------------

my $string = qr/"(?:[^"\\]++|\\.)*+"/s;

my $value = qr/
    (?<value>
        $string
      | \{ \s* (?: $string \s* : \s* (?&value) \s* (?: , \s* )? )*+ \}
      | \[ \s* (?: (?&value) \s* (?: , \s* )? )*+ \]
      | [-+.\w]++
    )
/x;


# an object's members: { name => text }; undef when it is none

sub members {
    my ($text) = @_;

    my %member;

    return undef unless defined $text && $text =~ /\G\{\s*/gc;

    while ($text =~ /\G"((?:[^"\\]++|\\.)*+)"\s*:\s*$value\s*(?:,\s*)?/gcs) {
        return undef if exists $member{$1};
        $member{$1} = $2;
    }

    return $text =~ /\G\}\z/ ? \%member : undef;
}


# the type of a message, a JSON text

sub kind {
    my ($text) = @_;

    my $envelope = members($text) || {};
    my $message = members($envelope->{message}) || {};

    return $message->{type} // '';
}


sub elements {
    my ($text) = @_;

    my @elements;

    return undef unless defined $text && $text =~ /\G\[\s*/gc;

    push @elements, $1 while $text =~ /\G$value\s*(?:,\s*)?/gc;

    return $text =~ /\G\]\z/ ? \@elements : undef;
}


# Keys, each in forms that mean the same value, in the order in which they
# are listed: by type, numbers by value, strings by code point.

our @KEYS = (
    [ 'null' ],
    [ 'false' ],
    [ 'true' ],
    [ '-1e400', '-10.0e399', '-0.1E+401' ],
    [ '0', '-0', '0.0', '0e7' ],
    [ '0.1', '1e-1', '0.10' ],
    [ '1', '1.0', '1e0', '10E-1', '0.1e+1' ],
    [ '12345678901234567890', '12345678901234567890.0',
      '1234567890123456789e1' ],
    [ '12345678901234567891', '12345678901234567891.00' ],
    [ '""' ],
    [ '"1"', '"\u0031"' ],
    [ '"a"', '"\u0061"' ],
    [ '"a b/c"', '"a b\/c"', '"\u0061 b\u002fc"' ],
    [ '"user1"', '"user\u0031"' ],
    [ '"user2"', '"\u0075ser2"' ],
    [ "\"\xc3\xa9\"", '"\u00e9"', '"\u00E9"' ],
    [ "\"\xf0\x9f\x98\x80\"", '"\ud83d\ude00"', '"\uD83D\uDE00"' ],
    [ '[1,2]', '[1.0,2]', '[1,20e-1]' ],
    [ '[2]', '[2.0]' ],
    [ '{"a":1,"b":2}', '{"b":2,"a":1}', '{"a":7,"b":2.0,"\u0061":1}' ],
    [ '{"b":[]}', '{"\u0062":[]}' ],
);

my @bodies = (
    'null', 'true', '0', '-0.0', '1.0', '1e400', '10E-2', '""', '"text"',
    '123456789012345678901234567890', '0.1000', '"\u00e9\n\/"',
    "\"\xe2\x82\xac\"", '"\ud83d"', '[]', '{}', '[1,[2.50,{"a":[]}]]',
    '{"b":1,"a":{"type":"error"},"b":2}', '"' . 'x' x 3000 . '"',
    '[' . join(',', 1 .. 200) . ']',
);


sub pick {
    return $_[rand @_];
}


# some text of this key

sub form {
    my ($key) = @_;

    return pick(@{ $KEYS[$key] });
}


sub random_body {
    return pick(@bodies);
}


# --- what is wanted ---------------------------------------------------------

sub unknown {
    my ($like, $check) = @_;

    return bless { like => $like, check => $check }, 'Snorky::Model::Unknown';
}


sub one_of {
    my (@texts) = @_;

    return bless [ @texts ], 'Snorky::Model::OneOf';
}


sub bag {
    my (@wanted) = @_;

    return bless [ @wanted ], 'Snorky::Model::Bag';
}


# A time, which is not before that of an earlier command.

sub timestamp {
    my ($self) = @_;

    my $moment = $self->{moment};

    return unknown(qr/^"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}
                      [-+]\d\d:\d\d"\z/x, sub {
        my ($text) = @_;

        my ($since, $last) = @{ $self->{latest} };

        return undef if $moment < $since;
        return "not after $last" if $moment > $since && $text lt $last;

        $self->{latest} = [ $moment, $text ];

        return undef;
    });
}


# Whether the text is what was wanted.  What it says about the unknown is
# collected, as [ unknown, text ].

sub matches {
    my ($want, $text, $found) = @_;

    my $kind = ref $want;

    return $want eq $text if !$kind;

    if ($kind eq 'HASH') {
        my $members = members($text) or return 0;

        return 0 if keys %$members != keys %$want;

        for my $name (keys %$want) {
            return 0 unless exists $members->{$name}
                && matches($want->{$name}, $members->{$name}, $found);
        }

        return 1;
    }

    if ($kind eq 'ARRAY') {
        my $elements = elements($text) or return 0;

        return 0 if @$elements != @$want;

        for my $i (0 .. $#$want) {
            return 0 unless matches($want->[$i], $elements->[$i], $found);
        }

        return 1;
    }

    return $want->matches($text, $found);
}


sub describe {
    my ($want) = @_;

    my $kind = ref $want;

    return $want if !$kind;

    return '{' . join(',', map { "\"$_\":" . describe($want->{$_}) }
        sort keys %$want) . '}' if $kind eq 'HASH';

    return '[' . join(',', map { describe($_) } @$want) . ']'
        if $kind eq 'ARRAY';

    return $want->describe();
}


# --- clients ----------------------------------------------------------------

sub new {
    my ($class, %o) = @_;

    my $self = bless {
        port     => port(8081),
        path     => '/ws',
        service  => 'messaging',    # or what call() is told
        clients  => [],
        limit    => 128,
        select   => IO::Select->new(),
        of       => {},             # client by its socket's number
        wrong    => [],
        recent   => [],
        commands => 0,
        heard    => 0,
        groups   => 0,
        moment   => 0,              # counts what clients do
        latest   => [ 0, '' ],      # time that was heard, and its moment
        %o,
    }, $class;

    $self->begin();

    return $self;
}


sub add {
    my ($self, $user, $slot) = @_;

    my $number = @{ $self->{clients} } + 1;

    my $client = {
        number => $number,
        name   => "client $number" . (defined $user ? " ($user)" : ''),
        path   => $self->{path} . (defined $user ? "?user=$user" : ''),
        me     => defined $user ? "\"$user\"" : undef,
        calls  => 0,
    };

    push @{ $self->{clients} }, $client;
    $self->attach($client, $slot);

    return $client;
}


sub attach {
    my ($self, $client, $slot) = @_;

    my %o = (port => $self->{port});

    my $c = $client->{c} = defined $slot
        ? connect_to_worker($slot, $client->{path}, %o)
        : Snorky->connect($client->{path}, %o);

    @$client{qw/ worker wanted answers expected got /}
        = ($c->header('X-Worker'), [], [], 0, 0);

    $self->{of}{fileno $c->{sock}} = $client;
    $self->{select}->add($c->{sock});

    return;
}


sub detach {
    my ($self, $client) = @_;

    my $c = delete $client->{c};

    delete $self->{of}{fileno $c->{sock}};
    $self->{select}->remove($c->{sock});

    return $c;
}


# Twenty clients, five on each worker.  Two have no identity, and some share
# one.

sub populate {
    my ($self, @workers) = @_;

    $self->add($_ > 18 ? undef : 'user' . $_ % 7,
        $workers[$_ % @workers]{slot}) for 1 .. 20;

    return wait_until { counters()->{sessions} == 20 };
}


sub connected {
    my ($self) = @_;

    return grep { $_->{c} } @{ $self->{clients} };
}


# --- saying -----------------------------------------------------------------

# A command, whose parameters are JSON texts by their names, and its answer:
# { data => wanted } or { error => text }.

sub call {
    my ($self, $client, $service, $command, $params, $answer) = @_;

    my $number = ++$client->{calls};
    my $id = rand() < 0.1 ? undef
           : rand() < 0.9 ? $number
           : pick("\"$number\"", "[$number.0]", "{\"a\":\"\\u0061\"}", '0.0');

    my $text = "{\"service\":\"$service\",\"message\":{"
        . "\"command\":\"$command\",\"params\":{"
        . join(',', map { "\"$_\":$params->{$_}" } pick(
            [ sort keys %$params ], [ reverse sort keys %$params ])->@*)
        . '}' . (defined $id ? ",\"callId\":$id" : '') . '}}';

    $self->remember("$client->{name} on $client->{worker}: $text");
    $self->{commands}++;
    $self->{moment}++;

    my $want = exists $answer->{error}
        ? { type => '"error"', callId => $id // 'null',
            message => json($answer->{error}) }
        : { type => '"response"', data => $answer->{data} // 'null',
            defined $id ? (callId => $id) : () };

    push @{ $client->{answers} }, {
        text    => $text,
        want    => { service => "\"$service\"", message => $want },
        failed  => exists $answer->{error} || $answer->{alone},
        after   => $client->{expected},
    };

    $client->{c}->text($text);

    return;
}


# what the client is to be told, after all that it is to be told already; the
# order of those of one group is not known

sub expect {
    my ($self, $client, $service, $want, $group) = @_;

    $client->{expected}++;

    push @{ $client->{wanted} }, {
        want  => { service => "\"$service\"", message => $want },
        group => $group || 0,
    };

    return;
}


sub group {
    my ($self) = @_;

    return ++$self->{groups};
}


# mistakes that are the same for all services

sub mistake {
    my ($self, $client, $service, $command, $params) = @_;

    my @names = sort keys %$params;
    my %wrong = %$params;

    if (rand() < 0.3) {
        return $self->call($client, $service, $command . 's', $params,
            { error => 'Unknown command' });

    } elsif (@names && rand() < 0.5) {
        delete $wrong{ pick(@names) };

    } else {
        $wrong{other} = 'null';
    }

    return $self->call($client, $service, $command, \%wrong,
        { error => 'Invalid params' });
}


# --- hearing ----------------------------------------------------------------

sub take {
    my ($self, $client) = @_;

    my $c = $client->{c};

    1 while $c->fill(0);

    while (my $m = $c->shift_message()) {
        $self->hear($client, $m->{data});
    }

    return unless $c->{closed} || $c->{eof};

    $self->wrong("$client->{name} was closed: "
        . ($c->{closed} ? "$c->{closed}{code} $c->{closed}{reason}"
                        : $c->{why})) unless $client->{leaving};

    $self->detach($client);

    return;
}


sub hear {
    my ($self, $client, $text) = @_;

    my $answers = $client->{answers};

    $self->{heard}++;

    if (kind($text) =~ /^"(?:response|error)"$/) {
        my $answer = shift @$answers
            or return $self->wrong("$client->{name}: an answer to nothing: "
                . $text);

        return $self->wrong("$client->{name}: the answer $text comes before "
            . describe($client->{wanted}[0]{want}))
            if !$answer->{failed} && $client->{got} < $answer->{after};

        return $self->compare($client, $text, $answer->{want},
            " to $answer->{text}");
    }

    return $self->wrong("$client->{name}: $text comes before the answer to "
        . $answers->[0]{text})
        if @$answers && $client->{got} >= $answers->[0]{after};

    return $self->notified($client, $text);
}


sub notified {
    my ($self, $client, $text) = @_;

    my $wanted = $client->{wanted};

    return $self->wrong("$client->{name}: unexpected $text") if !@$wanted;

    $client->{got}++;

    # in a group, the first that it can be

    my $group = $wanted->[0]{group};

    for (my $i = 0; $i == 0 || $i < @$wanted && $group
         && $wanted->[$i]{group} == $group; $i++)
    {
        my $found = [];

        next unless matches($wanted->[$i]{want}, $text, $found);

        splice @$wanted, $i, 1;

        return $self->found($client, $text, $found);
    }

    return $self->wrong("$client->{name}: $text instead of "
        . describe($wanted->[0]{want}));
}


sub compare {
    my ($self, $client, $text, $want, $what) = @_;

    my $found = [];

    return $self->wrong("$client->{name}: $text instead of "
        . describe($want) . $what) unless matches($want, $text, $found);

    return $self->found($client, $text, $found);
}


sub found {
    my ($self, $client, $text, $found) = @_;

    for (@$found) {
        my ($unknown, $is) = @$_;

        $unknown->{is} = $is;

        my $wrong = $unknown->{check} ? $unknown->{check}->($is) : undef;

        $self->wrong("$client->{name}: $text: $wrong") if defined $wrong;
    }

    return;
}


# Reads from all until the condition is true.

sub await {
    my ($self, $condition, $what) = @_;

    my $deadline = time() + $Snorky::TIMEOUT;

    until ($condition->()) {
        return 0 if @{ $self->{wrong} };

        my $left = $deadline - time();

        if ($left <= 0) {
            $self->wrong("too late: $what");
            $self->wrong("$_->{name} has not got "
                . describe($_->{wanted}[0]{want}))
                for grep { $_->{c} && @{ $_->{wanted} } }
                    @{ $self->{clients} };
            return 0;
        }

        $self->take($self->{of}{fileno $_})
            for $self->{select}->can_read($left < 0.02 ? $left : 0.02);
    }

    return !@{ $self->{wrong} };
}


# everybody has heard all that there is to hear

sub settle {
    my ($self) = @_;

    return $self->await(sub {
        return !grep { @{ $_->{wanted} } || @{ $_->{answers} } }
            $self->connected();
    }, 'all is heard');
}


# --- the run ----------------------------------------------------------------

sub calm {
    my ($self, $commands) = @_;

    my $end = $self->{commands} + $commands;

    while ($self->{commands} < $end && !@{ $self->{wrong} }) {
        my $client = pick(@{ $self->{clients} });
        my $dice = rand;

        if (!$client->{c}) {
            $self->attach($client) if $dice < 0.5;

        } elsif ($dice < 0.03) {
            $self->disconnect($client);

        } else {
            $self->step($client) for 1 .. ($dice < 0.3 ? 2 + rand 8 : 1);

            $self->await(sub { !@{ $client->{answers} } },
                "answers to $client->{name}");
        }

        $self->settle() if rand() < 0.05;
    }

    return $self->finish();
}


# An answer comes behind all that was said before, so that what comes unasked
# is noticed now.

sub finish {
    my ($self) = @_;

    for my $client ($self->connected()) {
        return 0 if @{ $self->{wrong} };

        $self->probe($client);
        $self->settle();
    }

    return !@{ $self->{wrong} };
}


# The client's end, after it has heard all; true when all others know it.

sub disconnect {
    my ($self, $client) = @_;

    $self->settle() or return 0;

    $self->gone($client);
    $self->{moment}++;

    if (rand() < 0.5) {
        $self->remember("$client->{name} closes");
        $client->{leaving} = 1;
        $client->{c}->close_frame(1000);
        $self->await(sub { !$client->{c} }, "$client->{name} is closed")
            or return 0;
        $client->{leaving} = 0;

    } else {
        $self->remember("$client->{name} resets");
        $self->detach($client)->reset();
    }

    $self->settle() or return 0;

    my $sessions = $self->connected();

    $self->await(sub { counters()->{sessions} == $sessions },
        "the server knows that $client->{name} is gone") or return 0;

    return $self->await(sub { $self->noticed($client) },
        "all know that $client->{name} is gone");
}


sub noticed {
    return 1;
}


# all leave

sub end {
    my ($self) = @_;

    $_->{leaving} = 1 for @{ $self->{clients} };
    $_->{c}->close_frame(1000) for $self->connected();

    # what they hear of each other no longer counts

    for my $client ($self->connected()) {
        my $c = $self->detach($client);
        $c->gone();
        $c->{sock}->close();
        @$client{qw/ wanted answers /} = ([], []);
    }

    return wait_until { counters()->{sessions} == 0 };
}


# --- complaints -------------------------------------------------------------

sub remember {
    my ($self, $text) = @_;

    my $recent = $self->{recent};

    push @$recent, length $text > 300 ? substr($text, 0, 300) . '...' : $text;
    shift @$recent if @$recent > 15;

    return;
}


sub wrong {
    my ($self, $text) = @_;

    push @{ $self->{wrong} }, $text if @{ $self->{wrong} } < 10;

    return;
}


sub complaints {
    my ($self) = @_;

    return '' unless @{ $self->{wrong} };

    return join "\n", @{ $self->{wrong} }, 'after:', @{ $self->{recent} };
}


# --- nginx ------------------------------------------------------------------

# the seed of this run, told by the test when something is wrong

sub seed {
    my $seed = $ENV{TEST_SNORKY_SEED} || int rand 2 ** 31;

    srand $seed;
    $ENV{TEST_SNORKY_SEED} = $seed;

    Test::More::note("TEST_SNORKY_SEED=$seed");

    return $seed;
}


# Starts nginx with this configuration, perhaps again; its status.

sub start {
    my ($t, %o) = @_;

    $t->stop() if -f $t->testdir() . '/nginx.pid';
    $t->write_file_expand('nginx.conf', configuration($t, %o));
    $t->run();

    my $workers = $o{workers} // 4;

    wait_until { $workers == @{ status_json()->{workers} } };

    return status_json();
}


# Options: services and private, lines for http{} and for the registry of the
# backend; http, others; workers, zone, module (not the usual one).  Port 8081
# has a socket for each worker, so that connections come to all of them.

sub configuration {
    my ($t, %o) = @_;

    $o{$_} //= '' for qw/ services http private /;
    $o{workers} //= 4;
    $o{zone} //= '4m';

    my $conf = at_level($t, 'info', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_processes $o{workers};

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;
    keepalive_requests 1000000;

    snorky_zone $o{zone};
    snorky_send_buffer 64m;
    snorky_publish_timeout 60s;

    $o{services}
    $o{http}

    snorky_registry private {
        snorky_service pubsub unused;
        $o{private}
    }

    add_header X-Worker \$snorky_worker always;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8081 reuseport;
        server_name  localhost;

        location /ws {
            snorky_websocket;
            snorky_identity \$arg_user;
        }

        location /backend {
            snorky_backend registry=private;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

    $conf =~ s/(load_module)\s+\S*ngx_snorky_module\.so;/$1 $o{module};/
        if defined $o{module};

    return $conf;
}


# --- pieces of what is wanted -----------------------------------------------

package Snorky::Model::Unknown;

sub matches {
    my ($self, $text, $found) = @_;

    return $self->{is} eq $text if defined $self->{is};
    return 0 unless $text =~ $self->{like};

    push @$found, [ $self, $text ];

    return 1;
}


sub describe {
    my ($self) = @_;

    return $self->{is} // $self->{like};
}


package Snorky::Model::OneOf;

sub matches {
    my ($self, $text) = @_;

    return scalar grep { $_ eq $text } @$self;
}


sub describe {
    my ($self) = @_;

    return '(' . join(' or ', @$self) . ')';
}


package Snorky::Model::Bag;

sub matches {
    my ($self, $text, $found) = @_;

    my $elements = Snorky::Model::elements($text) or return 0;

    return 0 if @$elements != @$self;

    my @left = @$self;

    for my $element (@$elements) {
        my ($i, @found);

        for (0 .. $#left) {
            $i = $_;
            @found = ();
            last if Snorky::Model::matches($left[$i], $element, \@found);
            undef $i;
        }

        return 0 if !defined $i;

        splice @left, $i, 1;
        push @$found, @found;
    }

    return 1;
}


sub describe {
    my ($self) = @_;

    return 'any order of ['
        . join(',', map { Snorky::Model::describe($_) } @$self) . ']';
}


1;
