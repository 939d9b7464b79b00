package Snorky::Deltas;

# Copyright (C) The ngx_snorky_module authors
#
# Publishers, authorizers and acquirers of a datasync service that run at the
# same time, on any workers, and judge in the end whether every subscription
# saw exactly the deltas that it is for.
#
#     my $race = Snorky::Deltas->new(port => port(8081));
#     $race->reference($slot);          # hears all, from before the first
#     $race->publisher(worker => 1, kind => 'http', window => 3, batch => 2);
#     $race->authorizer(worker => 2, kind => 'ws');
#     $race->subscription(at => 20, wait => 10, rivals => 1, cancel => 30,
#         from => [ slots ], to => [ slots ]);
#     $race->budget(500);               # so many publications more
#     $race->run(sub { condition }, $timeout);
#     $race->settle();                  # all is answered, all has arrived
#     is($race->complaints(), '', 'each once, in order');
#
#   new: ws private backend, the locations; service sync, the services; key;
#   size, of an addition to the data
#   publisher, authorizer: worker, none for any; kind ws|http
#   subscription: at which number of publications it is authorized, how many
#   it waits before it is acquired (by so many rivals at once, one of which
#   gets it), after how many it is cancelled (0: not); hold, not before this
#   is deleted; from, to: the workers of the authorization and of the clients
#
# The configuration has to have the dealers that are listed below.
#
# How it is judged.  The process numbers what it does: each sending, each
# receiving.  A client that has subscribed to everything before the first
# delta shows the order of all.  What another one gets must be that order as
# seen through its items, without a gap, from some place on: not before what
# was answered when its authorization was sent, and not behind what was sent
# when its authorization was answered.  What was answered when the acquisition
# was sent comes before the response to that.

use strict;
use warnings;

use IO::Select ();
use List::Util qw/ shuffle /;
use Time::HiRes qw/ sleep time /;

use Snorky;


# data is {"id":N,"v":0..7,"p":{"q":0..99,"s":"a".."z"}} in the models m and n

our $DEALERS = <<'EOC';
    snorky_dealer datasync all_m broadcast model=m;
    snorky_dealer datasync by_m simple model=m key=v;
    snorky_dealer datasync if_m filter model=m;
    snorky_dealer datasync all_n broadcast model=n;
    snorky_dealer datasync by_n simple model=n key=p.q;
    snorky_dealer datasync if_n filter model=n;
EOC


sub new {
    my ($class, %o) = @_;

    return bless {
        ws         => '/ws',
        private    => '/private',
        backend    => '/backend',
        key        => 'swordfish',
        service    => 'datasync',
        sync       => 'sync',
        callers    => [],
        publishers => [],
        tasks      => [],
        clients    => [],
        wrong      => [],
        seq        => 0,
        deltas     => [],       # by id
        calls      => 0,        # publications sent
        budget     => 0,
        size       => 0,        # of an addition to the data
        %o,
    }, $class;
}


sub wrong {
    my ($self, $text) = @_;

    push @{ $self->{wrong} }, $text if @{ $self->{wrong} } < 20;

    return;
}


# --- who calls --------------------------------------------------------------

sub authorizer {
    my ($self, %o) = @_;

    my $c = $self->connection(%o);
    my $caller = { %o, c => $c, calls => 0, waiting => {},
                   serves => $c->header('X-Worker') };

    push @{ $self->{callers} }, $caller;

    return $caller;
}


sub connection {
    my ($self, %o) = @_;

    my $deadline = time() + $Snorky::TIMEOUT * 3;

    if ($o{kind} eq 'ws') {
        return connect_to_worker($o{worker}, $self->{private},
            port => $self->{port}) if defined $o{worker};

        return Snorky->connect($self->{private}, port => $self->{port});
    }

    while (time() < $deadline) {
        my $c = eval { Snorky->dial(port => $self->{port}) } or next;
        my $r = $c->request('POST', $self->{backend}, body => '[]',
            key => $self->{key}, timeout => 2) or next;

        die "no backend: $r->{line}\n" if $r->{status} != 200;

        return $c if !defined $o{worker}
            || $c->header('X-Worker') == $o{worker};
    }

    die "no backend at worker $o{worker}\n";
}


sub publisher {
    my ($self, %o) = @_;

    my $publisher = $self->authorizer(window => 1, batch => 1, %o);

    pop @{ $self->{callers} };
    push @{ $self->{publishers} }, $publisher;

    return $publisher;
}


# the function gets the type of the reply and its text, and is called later

sub ask {
    my ($self, $caller, $command, $params, $done) = @_;

    my $id = ++$caller->{calls};
    my $text = "{\"service\":\"$self->{sync}\",\"message\":{\"command\":"
        . "\"$command\",\"params\":$params,\"callId\":$id}}";

    $caller->{waiting}{$id} = $done;

    return $caller->{c}->text($text) if $caller->{kind} eq 'ws';

    return $caller->{c}->send("POST $self->{backend} HTTP/1.1\r\n"
        . "Host: localhost\r\nX-Backend-Key: $self->{key}\r\n"
        . 'Content-Length: ' . length($text) . "\r\n\r\n$text");
}


# everything that has arrived

sub take_replies {
    my ($self, $caller) = @_;

    my $c = $caller->{c};

    1 while $c->fill(0);

    while (defined(my $text = shift_reply($caller))) {
        my ($type, $id, $value) = $text =~ /"message":\{"type":
            "(response|error)","callId":(\d+),"(?:data|message)":(.*)\}\}$/x;

        my $done = defined $id && delete $caller->{waiting}{$id};

        $done ? $done->($type, $value)
              : $self->wrong("not a reply: $text");
    }

    if (($c->{eof} || $c->{closed}) && !$caller->{gone}) {
        $caller->{gone} = 1;
        $self->wrong("a caller of worker $caller->{serves} has lost its "
            . 'connection');
    }

    return;
}


sub shift_reply {
    my ($caller) = @_;

    my $c = $caller->{c};

    if ($caller->{kind} eq 'ws') {
        my $m = $c->shift_message();
        return $m ? $m->{data} : undef;
    }

    my ($head) = $c->{in} =~ /^(.*?\r\n\r\n)/s or return undef;
    my ($size) = $head =~ /^Content-Length: (\d+)/mi;

    return undef if length $c->{in} < length($head) + ($size || 0);

    substr $c->{in}, 0, length $head, '';
    my $body = substr $c->{in}, 0, $size || 0, '';

    return $head =~ /^HTTP\/1\.1 200 / ? $body : "$head$body";
}


# --- publications -----------------------------------------------------------

sub budget {
    my ($self, $n) = @_;

    $self->{budget} += $n;

    return;
}


sub publish {
    my ($self, $publisher) = @_;

    my $n = 1 + int rand $publisher->{batch};
    my @deltas = map { $self->delta() } 1 .. $n;
    my $seq = ++$self->{seq};

    $_->{sent} = $seq for @deltas;
    $publisher->{out}++;
    $self->{budget}--;
    $self->{calls}++;

    $self->ask($publisher, 'publishDeltas', '{"deltas":['
        . join(',', map { $_->{text} } @deltas) . ']}', sub {
            my ($type, $value) = @_;

            my $answered = ++$self->{seq};

            $publisher->{out}--;
            $_->{acked} = $answered for @deltas;
            $self->wrong("a publication failed: $value") if $type eq 'error';
        });

    return;
}


sub delta {
    my ($self) = @_;

    my $id = @{ $self->{deltas} };
    my $type = (qw/ insert update update delete /)[rand 4];
    my $delta = { id => $id, type => $type, model => rand() < 0.7 ? 'm' : 'n' };

    for my $of ($type eq 'update' ? qw/ newData oldData / : 'data') {
        my $data = {
            v => int rand 8,
            q => int rand 100,
            s => chr(ord('a') + int rand 26),
        };

        $data->{text} = "{\"id\":$id,\"v\":$data->{v},\"p\":{\"q\":$data->{q}"
            . ($self->{size} ? ',"x":"' . 'x' x rand($self->{size}) . '"' : '')
            . ",\"s\":\"$data->{s}\"}}";
        $delta->{$of} = $data;
    }

    $delta->{text} = '{' . join(',', "\"type\":\"$type\"",
        "\"model\":\"$delta->{model}\"",
        map { "\"$_\":$delta->{$_}{text}" }
            grep { $delta->{$_} } qw/ data newData oldData /) . '}';

    push @{ $self->{deltas} }, $delta;

    return $delta;
}


# what an item makes of a delta: as sign() reads it, or undef

sub seen_by {
    my ($item, $delta) = @_;

    return undef if $item->{model} ne $delta->{model};

    my $test = $item->{test};
    my $model = $delta->{model};

    if ($delta->{type} ne 'update') {
        return undef unless $test->($delta->{data});
        return "$delta->{type} $model data $delta->{data}{text}";
    }

    my ($new, $old) = @{$delta}{qw/ newData oldData /};
    my $after = $test->($new);
    my $before = $test->($old);

    return $after && $before
        ? "update $model newData $new->{text} oldData $old->{text}"
        : $after ? "insert $model data $new->{text}"
        : $before ? "delete $model data $old->{text}"
        : undef;
}


# the same of a message; undef when it is no delta

sub sign {
    my ($text) = @_;

    my ($delta) = $text =~ /"message":\{"type":"delta","delta":(\{.*\})\}\}$/
        or return undef;

    my ($type) = $delta =~ /"type":"(\w+)"/;
    my ($model) = $delta =~ /"model":"(\w+)"/;

    my $sign = join ' ', $type // '', $model // '';

    for my $of (qw/ data newData oldData /) {
        my ($data) = $delta =~ /"$of":(\{"id":[^{}]*\{[^{}]*\}\})/ or next;
        $sign .= " $of $data";
    }

    return $sign;
}


# --- what subscriptions are for ---------------------------------------------

sub random_item {
    my ($self, $model) = @_;

    $model ||= rand() < 0.7 ? 'm' : 'n';

    my $kind = (qw/ all by by if if if /)[rand 6];
    my ($query, $test);

    if ($kind eq 'all') {
        ($query, $test) = ('null', sub { 1 });

    } elsif ($kind eq 'by') {
        my $field = $model eq 'm' ? 'v' : 'q';
        my $value = int rand($model eq 'm' ? 8 : 100);

        $query = number($value);
        $test = sub { $_[0]{$field} == $value };

    } else {
        ($query, $test) = filter(2);
    }

    return {
        model => $model,
        text  => "{\"dealer\":\"${kind}_$model\",\"query\":$query}",
        test  => $test,
    };
}


# a number has many texts

sub number {
    my ($value) = @_;

    return ($value, "$value.0", "${value}e0", $value * 10 . 'e-1')[rand 4];
}


sub filter {
    my ($depth) = @_;

    my $op = $depth && rand() < 0.4 ? (qw/ and or not /)[rand 3]
                                    : (qw/ == < <= > >= /)[rand 5];

    if ($op eq 'not') {
        my ($text, $test) = filter($depth - 1);
        return ("[\"not\",$text]", sub { !$test->(@_) });
    }

    if ($op =~ /^[ao]/) {
        my @of = map { [ filter($depth - 1) ] } 1 .. 2 + rand 2;
        my $text = "[\"$op\"," . join(',', map { $_->[0] } @of) . ']';

        return ($text, $op eq 'and'
            ? sub { my @d = @_; !grep { !$_->[1]->(@d) } @of }
            : sub { my @d = @_; !!grep { $_->[1]->(@d) } @of });
    }

    my $field = (qw/ v q s missing /)[rand 3.3];

    return ("[\"$op\",\"p.missing\",1]", sub { 0 }) if $field eq 'missing';

    my $path = $field eq 'v' ? 'v' : "p.$field";
    my $value = $field eq 's' ? chr(ord('a') + int rand 26)
              : int rand($field eq 'v' ? 8 : 100);
    my $text = $field eq 's' ? "\"$value\"" : number($value);

    return ("[\"$op\",\"$path\",$text]", sub {
        my $c = $field eq 's' ? $_[0]{s} cmp $value : $_[0]{$field} <=> $value;
        return $op eq '==' ? $c == 0 : $op eq '<' ? $c < 0
             : $op eq '<=' ? $c <= 0 : $op eq '>' ? $c > 0 : $c >= 0;
    });
}


# --- subscriptions ----------------------------------------------------------

sub subscription {
    my ($self, %o) = @_;

    my $task = {
        at     => 0,
        wait   => 0,
        rivals => 1,
        cancel => 0,
        %o,
        name   => 'subscription ' . (1 + @{ $self->{tasks} }),
        state  => 'new',
        run    => [],
    };

    $task->{items} ||= [ map { $self->random_item() } 1 .. 1 + int rand 3 ];
    $task->{clients} = [ map { $self->client($task) } 1 .. $task->{rivals} ];

    push @{ $self->{tasks} }, $task;

    return $task;
}


sub client {
    my ($self, $task) = @_;

    my $c = $task->{to}
        ? connect_to_worker($task->{to}, $self->{ws}, port => $self->{port})
        : Snorky->connect($self->{ws}, port => $self->{port});
    my $client = { c => $c, task => $task, serves => $c->header('X-Worker') };

    push @{ $self->{clients} }, $client;

    return $client;
}


sub reference {
    my ($self, $slot) = @_;

    my $caller = $self->authorizer(kind => 'ws');
    my $task = $self->subscription(items => [ map {
        { model => $_, text => "{\"dealer\":\"all_$_\",\"query\":null}",
          test => sub { 1 } } } qw/ m n / ],
        by => $caller, defined $slot ? (to => $slot) : ());

    $self->{reference} = $task;
    $self->run(sub { $task->{state} eq 'acquired' })
        or die "no subscription to begin with: "
            . join("\n", @{ $self->{wrong} }) . "\n";

    return;
}


# One step further, where it is time for it.

sub step {
    my ($self, $task) = @_;

    my $state = $task->{state};

    if ($state eq 'new' && $self->due($task->{at})) {
        $self->authorize($task);

    } elsif ($state eq 'authorized'
             && $self->due($task->{authorized} + $task->{wait})
             && !$task->{hold})
    {
        $self->acquire($task);

    } elsif ($state eq 'acquired' && $task->{cancel}
             && $self->due($task->{acquired} + $task->{cancel}))
    {
        $task->{state} = 'cancelling';
        $task->{cancel_sent} = ++$self->{seq};
        $self->tell($task->{client}, 'cancelSubscription', $task->{token}, 2);
    }

    return;
}


# where nothing more is published, all is due

sub due {
    my ($self, $calls) = @_;

    return $self->{settling} || $self->{calls} >= $calls;
}


sub authorize {
    my ($self, $task) = @_;

    my %from = map { $_ => 1 } @{ $task->{from} || [] };
    my ($caller) = $task->{by} || shuffle grep { !$_->{gone}
        && (!%from || $from{ $_->{serves} }) } @{ $self->{callers} };

    $task->{state} = 'authorizing';
    $task->{auth_sent} = ++$self->{seq};

    $self->ask($caller, 'authorizeSubscription', '{"items":['
        . join(',', map { $_->{text} } @{ $task->{items} }) . ']}', sub {
            my ($type, $value) = @_;

            $task->{auth_answered} = ++$self->{seq};
            $task->{authorized} = $self->{calls};
            $task->{state} = 'authorized';

            return $task->{token} = $1 if $value =~ /^"([a-z0-9]{32})"$/;

            $task->{state} = 'failed';
            $self->wrong("$task->{name}: no token: $value");
        });

    return;
}


sub tell {
    my ($self, $client, $command, $token, $id) = @_;

    $client->{c}->text("{\"service\":\"$self->{service}\",\"message\":{"
        . "\"command\":\"$command\",\"params\":{\"token\":\"$token\"},"
        . "\"callId\":$id}}");

    return;
}


sub acquire {
    my ($self, $task) = @_;

    $task->{state} = 'acquiring';
    $task->{acquire_sent} = ++$self->{seq};
    $self->tell($_, 'acquireSubscription', $task->{token}, 1)
        for @{ $task->{clients} };

    return;
}


sub message {
    my ($self, $client, $text) = @_;

    my $task = $client->{task};

    if (defined(my $sign = sign($text))) {
        return $self->wrong("$task->{name}: a delta for who has lost: $text")
            if $client->{lost};

        push @{ $client->{run} }, $sign;

    } elsif ($text =~ /"type":"response","callId":1,"data":null\}\}$/) {
        return $self->wrong("$task->{name}: acquired twice")
            if $task->{client};

        $task->{client} = $client;
        $client->{run} ||= [];
        $task->{run} = $client->{run};
        $task->{kept} = @{ $client->{run} };
        $task->{acquired} = $self->{calls};
        $task->{state} = 'acquired';

    } elsif ($text =~ /"callId":1,"message":"Subscription already acquired"/
             || $task->{cancel_sent}
                && $text =~ /"callId":1,"message":"No such subscription"/)
    {
        # a slow rival may be behind the winner's end

        $client->{lost} = 1;
        $self->wrong("$task->{name}: deltas for who is refused")
            if $client->{run};

    } elsif ($text =~ /"type":"response","callId":2,"data":null\}\}$/) {
        $task->{cancel_answered} = ++$self->{seq};
        $task->{state} = 'cancelled';

    } elsif ($text =~ /"callId":3,"message":"No such subscription"/) {
        $client->{flushed} = 1;

    } else {
        $self->wrong("$task->{name}: unexpected: $text");
    }

    return;
}


# --- the loop ---------------------------------------------------------------

sub run {
    my ($self, $condition, $timeout) = @_;

    my $deadline = time() + ($timeout || $Snorky::TIMEOUT * 6);

    while (time() < $deadline) {
        return 1 if $condition->();
        $self->round();
    }

    return $condition->() ? 1 : 0;
}


# until everything that may be published has been

sub spend {
    my ($self) = @_;

    return $self->run(sub { $self->{budget} <= 0
        && !grep { $_->{out} } @{ $self->{publishers} } });
}


sub round {
    my ($self) = @_;

    $self->step($_) for @{ $self->{tasks} };

    for my $publisher (grep { !$_->{gone} } @{ $self->{publishers} }) {
        $self->publish($publisher) while $self->{budget} > 0
            && ($publisher->{out} || 0) < $publisher->{window};
    }

    my %of;

    for my $side (qw/ callers publishers clients /) {
        $of{ fileno $_->{c}{sock} } = [ $_, $side ]
            for grep { !$_->{gone} } @{ $self->{$side} };
    }

    my $select = IO::Select->new(map { $_->[0]{c}{sock} } values %of);

    for my $sock ($select->can_read(0.05)) {
        my ($who, $side) = @{ $of{ fileno $sock } };
        $side eq 'clients' ? $self->take($who) : $self->take_replies($who);
    }

    return;
}


sub take {
    my ($self, $client) = @_;

    my $c = $client->{c};

    1 while $c->fill(0);

    while (my $m = $c->shift_message()) {
        $self->message($client, $m->{data});
    }

    if (($c->{eof} || $c->{closed}) && !$client->{gone}) {
        $client->{gone} = 1;
        $self->wrong("$client->{task}{name}: its client was closed: "
            . ($c->{closed} ? $c->{closed}{code} : $c->{why}));
    }

    return;
}


# Nothing more is published, and everything that is due has arrived; then
# each client asks once more, so that what comes too much has come as well.

sub settle {
    my ($self, $timeout) = @_;

    $self->spend() or $self->wrong('not all publications were answered');
    $self->{settling} = 1;

    my %end = (acquired => 1, cancelled => 1, failed => 1);

    $self->run(sub {
        !grep { !$end{ $_->{state} } || $_->{cancel}
                && $_->{state} eq 'acquired' } @{ $self->{tasks} };
    }, $timeout) or $self->wrong('not all subscriptions were acquired: '
        . join ', ', map { "$_->{name} $_->{state}" }
            grep { !$end{ $_->{state} } } @{ $self->{tasks} });

    # the order, in the messages of the first

    my $all = scalar @{ $self->{deltas} };

    $self->run(sub { @{ $self->{reference}{run} } >= $all }, $timeout)
        or $self->wrong('not all deltas have arrived');

    $self->order();

    $self->run(sub {
        !grep { $_->{state} eq 'acquired'
                && @{ $_->{run} } < @{ $self->due_to($_) } }
            @{ $self->{tasks} };
    }, $timeout);

    my @clients = grep { !$_->{gone} } @{ $self->{clients} };

    $self->tell($_, 'cancelSubscription', 'none', 3) for @clients;
    $self->run(sub { !grep { !$_->{flushed} && !$_->{gone} } @clients })
        or $self->wrong('not all clients were answered');

    return;
}


sub finish {
    my ($self) = @_;

    for my $side (qw/ callers publishers clients /) {
        for my $who (grep { !$_->{gone} } @{ $self->{$side} }) {
            ($who->{kind} || 'ws') eq 'ws' ? $who->{c}->finish()
                                           : $who->{c}{sock}->close();
        }
    }

    return;
}


# --- the judgement ----------------------------------------------------------

sub order {
    my ($self) = @_;

    my (@order, %known);
    my $newest = 0;

    for my $sign (@{ $self->{reference}{run} }) {
        my ($id) = $sign =~ /"id":(\d+)/;
        my $delta = defined $id ? $self->{deltas}[$id] : undef;

        if (!$delta || $known{$id}++) {
            $self->wrong('the order has ' . ($delta ? "$id twice" : $sign));
            next;
        }

        my ($own) = grep { defined } map { seen_by($_, $delta) }
            @{ $self->{reference}{items} };

        $self->wrong("changed: $sign") if $own ne $sign;
        push @order, $delta;
    }

    # what was answered before another was sent stands before it

    $_->{acked} //= 9 ** 15 for @order;

    for my $delta (@order) {
        $newest = $delta->{sent} if $delta->{sent} > $newest;
        $self->wrong("$delta->{id} stands behind a later one")
            if $delta->{acked} < $newest;
    }

    for my $i (1 .. $#order) {
        $self->wrong("the deltas of a call are not in their order")
            if $order[$i - 1]{sent} == $order[$i]{sent}
                && $order[$i - 1]{id} > $order[$i]{id};
    }

    return $self->{order} = \@order;
}


# Pairs of what the items see of it, and the place of that in the order.

sub view {
    my ($self, $task) = @_;

    return $task->{view} if $task->{view};

    my @view;

    for my $i (0 .. $#{ $self->{order} }) {
        for my $item (@{ $task->{items} }) {
            my $sign = seen_by($item, $self->{order}[$i]);
            push @view, [ $sign, $i ] if defined $sign;
        }
    }

    return $task->{view} = \@view;
}


# what it must have got at least

sub due_to {
    my ($self, $task) = @_;

    return $task->{due} ||= [ grep {
        $self->{order}[ $_->[1] ]{sent} > $task->{auth_answered}
    } @{ $self->view($task) } ];
}


sub complaints {
    my ($self) = @_;

    for my $task (grep { $_ != $self->{reference} } @{ $self->{tasks} }) {
        $self->judge($task) if $task->{state} =~ /^(?:acquired|cancelled)$/;
    }

    return join "\n", @{ $self->{wrong} };
}


sub judge {
    my ($self, $task) = @_;

    my $view = $self->view($task);
    my $order = $self->{order};
    my $run = $task->{run};
    my $name = "$task->{name} (" . scalar(@$run) . ' deltas)';

    # where it begins: a view's delta may look like none other, by its id

    my $from = @$view;

    if (@$run) {
        ($from) = grep { $view->[$_][0] eq $run->[0] } 0 .. $#$view;

        return $self->wrong("$name: not its own: $run->[0]")
            if !defined $from;

        # two items may see it alike: then it begins with the first
    }

    my $to = $from + @$run;

    for my $i (0 .. $#$run) {
        my $want = $view->[$from + $i];

        return $self->wrong("$name: at $i instead of "
            . ($want ? $want->[0] : 'nothing') . ": $run->[$i]")
            if !$want || $want->[0] ne $run->[$i];
    }

    if (@$run) {
        my $first = $order->[ $view->[$from][1] ];

        $self->wrong("$name: begins with $first->{id}, from before its "
            . 'authorization') if $first->{acked} < $task->{auth_sent};
    }

    # what must be there, and where

    my $end = $task->{cancel_sent} // 9 ** 15;

    for my $i (0 .. $#$view) {
        my $delta = $order->[ $view->[$i][1] ];
        my $has = $i >= $from && $i < $to;

        $self->wrong("$name: lacks $delta->{id}")
            if !$has && $delta->{sent} > $task->{auth_answered}
                && $delta->{acked} < $end;

        $self->wrong("$name: has $delta->{id} though it was cancelled")
            if $has && defined $task->{cancel_answered}
                && $delta->{sent} > $task->{cancel_answered};

        $self->wrong("$name: has $delta->{id} behind the response")
            if $has && $i - $from >= $task->{kept}
                && $delta->{acked} < $task->{acquire_sent};
    }

    return;
}


1;
