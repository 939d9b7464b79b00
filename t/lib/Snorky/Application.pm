package Snorky::Application;

# Copyright (C) The ngx_snorky_module authors
#
# The application behind nginx: an HTTP server in a process of its own, that
# answers as it is told, right or wrong, and remembers what it was asked.
#
#     my $app = Snorky::Application->start(port => port(8090), answers => {
#         '/calls' => { rpc => 1 },           # add, echo, whoami, see rpc()
#         '/bad'   => { status => 403, type => 'text/plain', body => 'no' },
#         '/slow'  => { hold => 1, json => 'late' },
#         '/some'  => sub { my ($request) = @_; .. return { answer } },
#         '*'      => { close => 1 },         # all other paths; else 404
#     });
#
#   Start it before clients connect.  It ends with the test.
#
#   An answer:
#     status reason     200, and what fits to it
#     headers           [ 'Name: value', .. ]
#     type              of content; application/json where there is "json"
#     body | json | size    the bytes, a Perl value, or so many letters
#     length            what Content-Length says; undef: there is none, and
#                       the end of the connection is that of the body
#     chunks            1, or a list of pieces that is the body
#     cut               so many bytes of the body are sent, then it closes
#     raw               these bytes are all of the answer
#     before            these bytes before it (an interim response)
#     end               what is done then: keep (if HTTP allows it), close,
#                       reset, or stay: the connection is left as it is
#     close | reset     at once, without an answer
#     never             the request is not answered
#     hold              not before release(): 1, or a name for release()
#     delay             seconds that it takes
#     slow              bytes at a time, a millisecond between them
#     rpc               the body's command is obeyed
#     turns             [ answer, .. ] one for each request, then the last
#
#   A function may return any of these but another function.
#
#     $app->answer('/bad', { status => 200 })   another one from now on
#     $app->release('/slow')     all that is held there; ('/slow', 3): three;
#                                how many were
#     $app->requests('/bad')     what it was asked there, or anywhere: {
#         number connection method uri path args http headers body json time
#         state } with "held", "answered" or "left", the peer went before
#     $app->last('/bad')         the last of these
#     $app->count('/bad', 'held')          how many; of one state
#     $app->wait_for(3, '/bad', 'held')    until they are so many, or false
#     $app->connections()        { open accepted }
#     $app->forget()             requests so far; numbers go on
#     $app->stop()               nobody listens, all connections are closed
#     $app->start_again()        on the same port
#     $app->drop()               closes those that wait for a request
#     $app->pause() ->resume()   neither accepts nor reads meanwhile
#     $app->finish()             the process ends

use strict;
use warnings;

use Errno qw/ EAGAIN EINTR EWOULDBLOCK /;
use IO::Handle ();
use IO::Socket::INET ();
use POSIX ();
use Socket qw/ AF_UNIX IPPROTO_TCP PF_UNSPEC SOCK_STREAM SOL_SOCKET SO_LINGER
               TCP_NODELAY /;
use Time::HiRes qw/ time /;

use Snorky::Connection qw/ json decode /;
use Snorky::Server;


my %reason = (
    100 => 'Continue', 200 => 'OK', 201 => 'Created', 204 => 'No Content',
    301 => 'Moved Permanently', 302 => 'Found', 304 => 'Not Modified',
    400 => 'Bad Request', 401 => 'Unauthorized', 403 => 'Forbidden',
    404 => 'Not Found', 409 => 'Conflict', 413 => 'Payload Too Large',
    422 => 'Unprocessable Entity', 429 => 'Too Many Requests',
    500 => 'Internal Server Error', 502 => 'Bad Gateway',
    503 => 'Service Unavailable', 504 => 'Gateway Timeout',
);

my %running;

END { local $?; $_->finish() for values %running }


# --- the test's side --------------------------------------------------------

sub start {
    my ($class, %o) = @_;

    socketpair(my $ours, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC)
        or die "no socketpair: $!\n";

    my $pid = fork() // die "cannot fork: $!\n";

    if ($pid == 0) {
        eval { serve($its, %o); 1 } or print STDERR "application: $@";
        POSIX::_exit(0);
    }

    close $its;

    my $self = bless { pid => $pid, owner => $$, control => $ours }, $class;

    $ours->autoflush(1);
    $running{$pid} = $self;

    $self->order('start');

    return $self;
}


sub finish {
    my ($self) = @_;

    return if $self->{owner} != $$ || !delete $running{$self->{pid}};

    local ($?, $@, $!);

    close $self->{control};
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;

    return;
}


# An order, and what the application says to it; both are a line of JSON.

sub order {
    my ($self, @order) = @_;

    local $SIG{PIPE} = 'IGNORE';

    my $control = $self->{control};

    print $control json(\@order), "\n";

    my $line = <$control> // die "the application has died\n";
    my ($value, $error) = @{ decode($line) };

    die "the application: $error\n" if defined $error;

    return $value;
}


sub answer {
    my ($self, $path, $answer) = @_;

    return $self->order('answer', $path, $answer);
}


sub release {
    my ($self, $name, $n) = @_;

    return $self->order('release', $name, $n);
}


sub requests {
    my ($self, $path) = @_;

    return @{ $self->order('requests', $path) };
}


sub last {
    my ($self, $path) = @_;

    return $self->order('last', $path);
}


sub count {
    my ($self, $path, $state) = @_;

    return $self->order('count', $path, $state);
}


sub wait_for {
    my ($self, $n, $path, $state, $timeout) = @_;

    return wait_until(sub { $self->count($path, $state) >= $n }, $timeout);
}


sub connections { my ($self) = @_; return $self->order('connections') }
sub forget      { my ($self) = @_; return $self->order('forget') }
sub stop        { my ($self) = @_; return $self->order('stop') }
sub start_again { my ($self) = @_; return $self->order('start') }
sub drop        { my ($self) = @_; return $self->order('drop') }
sub pause       { my ($self) = @_; return $self->order('pause', 1) }
sub resume      { my ($self) = @_; return $self->order('pause', 0) }
sub pid         { my ($self) = @_; return $self->{pid} }


# --- the application --------------------------------------------------------

# What follows runs in the child only.  It ends when the test does, since
# then its end of the pair is closed.

my %order = (
    start       => \&order_start,
    stop        => \&order_stop,
    answer      => \&order_answer,
    release     => \&order_release,
    requests    => \&order_requests,
    last        => \&order_last,
    count       => \&order_count,
    connections => \&order_connections,
    forget      => \&order_forget,
    drop        => \&order_drop,
    pause       => \&order_pause,
);


sub serve {
    my ($control, %o) = @_;

    $SIG{$_} = 'DEFAULT' for qw/ HUP INT TERM QUIT __DIE__ /;
    $SIG{PIPE} = 'IGNORE';

    close_others(fileno $control);
    $control->blocking(0);

    my $answers = $o{answers};

    my $app = {
        port     => $o{port},
        address  => $o{address} || '127.0.0.1',
        answers  => ref $answers eq 'CODE' ? { '*' => $answers }
                                           : { %{ $answers || {} } },
        turn     => {},
        conns    => {},         # by descriptor
        accepted => 0,
        asked    => 0,
        requests => [],
        held     => [],
        timers   => [],
        control  => $control,
        orders   => '',
        replies  => '',
    };

    1 while turn_of($app);

    return;
}


# The clients of the test that were there before are not to stay open.  Perl
# counts who uses a descriptor, so that these must not become free, either.

sub close_others {
    my ($keep) = @_;

    opendir my $dir, '/proc/self/fd' or return;
    my @open = grep { /^\d+$/ && $_ > 2 && $_ != $keep } readdir $dir;
    closedir $dir;

    my $null = POSIX::open('/dev/null', POSIX::O_RDWR());

    for my $fd (@open) {
        POSIX::dup2($null, $fd) if readlink "/proc/self/fd/$fd";
    }

    return;
}


# one round of the loop; false at the end

sub turn_of {
    my ($app) = @_;

    my ($r, $w) = ('', '');
    my @conns = values %{ $app->{conns} };

    vec($r, fileno $app->{control}, 1) = 1;
    vec($w, fileno $app->{control}, 1) = 1 if length $app->{replies};

    if (!$app->{paused}) {
        vec($r, fileno $app->{listen}, 1) = 1 if $app->{listen};
        vec($r, $_->{fd}, 1) = 1 for grep { !$_->{eof} } @conns;
    }

    vec($w, $_->{fd}, 1) = 1 for grep { length $_->{out} && !$_->{slow} }
                                 @conns;

    my $first = $app->{timers}[0];
    my $wait = $first ? $first->{time} - time() : undef;

    $wait = 0 if defined $wait && $wait < 0;

    if (select($r, $w, undef, $wait) < 0) {
        die "select: $!\n" if $! != EINTR;
        return 1;
    }

    if (vec $r, fileno $app->{control}, 1) {
        take_orders($app) or return 0;
    }

    send_replies($app) if length $app->{replies};

    if ($app->{listen} && vec $r, fileno $app->{listen}, 1) {
        accept_all($app);
    }

    for my $conn (@conns) {
        read_from($app, $conn) if !$conn->{gone} && vec $r, $conn->{fd}, 1;
        write_to($app, $conn) if !$conn->{gone} && vec $w, $conn->{fd}, 1;
    }

    while (@{ $app->{timers} } && $app->{timers}[0]{time} <= time()) {
        shift(@{ $app->{timers} })->{code}->();
    }

    return 1;
}


sub timer {
    my ($app, $seconds, $code) = @_;

    my $timers = $app->{timers};
    my $time = time() + $seconds;
    my $i = @$timers;

    $i-- while $i && $timers->[$i - 1]{time} > $time;
    splice @$timers, $i, 0, { time => $time, code => $code };

    return;
}


# --- orders -----------------------------------------------------------------

sub take_orders {
    my ($app) = @_;

    my $n = sysread $app->{control}, $app->{orders}, 65536,
                    length $app->{orders};

    return $! == EAGAIN || $! == EINTR if !defined $n;
    return 0 if $n == 0;

    while ($app->{orders} =~ s/^([^\n]*)\n//) {
        my ($name, @args) = @{ decode($1) };
        my $value = eval { $order{$name}->($app, @args) };

        $app->{replies} .= json([ $value, $@ ? "$@" : undef ]) . "\n";
    }

    return 1;
}


sub send_replies {
    my ($app) = @_;

    my $n = syswrite $app->{control}, $app->{replies};

    substr $app->{replies}, 0, $n, '' if $n;

    return;
}


sub order_start {
    my ($app) = @_;

    return if $app->{listen};

    $app->{listen} = IO::Socket::INET->new(
        Proto => 'tcp', LocalAddr => $app->{address},
        LocalPort => $app->{port}, Listen => 1024, ReuseAddr => 1,
    ) or die "cannot listen on port $app->{port}: $@\n";

    $app->{listen}->blocking(0);

    return;
}


sub order_stop {
    my ($app) = @_;

    close delete $app->{listen} if $app->{listen};
    end_of($app, $_, 'close') for values %{ $app->{conns} };

    return;
}


sub order_answer {
    my ($app, $path, $answer) = @_;

    $app->{answers}{$path} = $answer;
    delete $app->{turn}{$path};

    return;
}


sub order_release {
    my ($app, $name, $n) = @_;

    my @match = grep { !defined $name || $_->{name} eq $name }
                @{ $app->{held} };

    splice @match, $n if defined $n && $n < @match;

    my %match = map { $_ => 1 } @match;

    $app->{held} = [ grep { !$match{$_} } @{ $app->{held} } ];

    $_->{code}->() for @match;

    return scalar @match;
}


sub asked_at {
    my ($app, $path) = @_;

    return grep { !defined $path || $_->{path} eq $path }
        @{ $app->{requests} };
}


sub order_requests {
    my ($app, $path) = @_;

    return [ asked_at($app, $path) ];
}


sub order_last {
    my ($app, $path) = @_;

    return (asked_at($app, $path))[-1];
}


sub order_count {
    my ($app, $path, $state) = @_;

    return scalar grep { !defined $state || $_->{state} eq $state }
        asked_at($app, $path);
}


sub order_connections {
    my ($app) = @_;

    return {
        open     => scalar keys %{ $app->{conns} },
        accepted => $app->{accepted},
    };
}


sub order_forget {
    my ($app) = @_;

    $app->{requests} = [];

    return;
}


sub order_drop {
    my ($app) = @_;

    end_of($app, $_, 'close') for grep { !$_->{request} && !length $_->{in} }
                                  values %{ $app->{conns} };

    return;
}


sub order_pause {
    my ($app, $paused) = @_;

    $app->{paused} = $paused;

    return;
}


# --- connections ------------------------------------------------------------

sub accept_all {
    my ($app) = @_;

    while (my $sock = $app->{listen}->accept()) {
        $sock->blocking(0);
        $sock->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);

        $app->{conns}{fileno $sock} = {
            sock   => $sock,
            fd     => fileno $sock,
            number => ++$app->{accepted},
            in     => '',
            out    => '',
        };
    }

    return;
}


sub read_from {
    my ($app, $conn) = @_;

    my $n = sysread $conn->{sock}, $conn->{in}, 65536, length $conn->{in};

    if (!defined $n) {
        return if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
        return end_of($app, $conn, 'close');
    }

    if ($n == 0) {
        return end_of($app, $conn, 'close');
    }

    take_request($app, $conn);

    return;
}


# The peer goes, or we do: a request that is not yet answered knows who.

sub end_of {
    my ($app, $conn, $how) = @_;

    my $request = delete $conn->{request};

    if ($request && $request->{state} eq 'held') {
        $request->{state} = 'left';
    }

    $conn->{sock}->setsockopt(SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0)
        if $how eq 'reset';

    $conn->{gone} = 1;
    delete $app->{conns}{$conn->{fd}};
    $conn->{sock}->close();

    return;
}


# The next request, when the one before has been answered and it is all here.

sub take_request {
    my ($app, $conn) = @_;

    return if $conn->{request} || $conn->{stays};

    if ($conn->{in} !~ /\r\n\r\n/) {
        return;
    }

    my ($head, $rest) = split /\r\n\r\n/, $conn->{in}, 2;
    my ($line, @lines) = split /\r\n/, $head;
    my ($method, $uri, $http) = $line =~ m{^(\S+) (\S+) HTTP/(1\.[01])$}
        or return end_of($app, $conn, 'reset');

    my %headers;

    for my $l (@lines) {
        my ($name, $value) = $l =~ /^([^:]+):\s*(.*?)\s*$/ or next;
        $name = lc $name;
        $headers{$name} = defined $headers{$name} ? "$headers{$name}, $value"
                                                  : $value;
    }

    my ($body, $used) = body_of(\%headers, $rest) or return;

    $conn->{in} = substr $rest, $used;

    my ($path, $args) = split /\?/, $uri, 2;

    my $request = $conn->{request} = {
        number     => ++$app->{asked},
        connection => $conn->{number},
        method     => $method,
        uri        => $uri,
        path       => $path,
        args       => $args,
        http       => $http,
        headers    => \%headers,
        body       => $body,
        json       => value_of($body),
        time       => time(),
        state      => 'held',
    };

    push @{ $app->{requests} }, $request;

    answer_request($app, $conn, $request);

    return;
}


# undef also for what cannot be told on, as 1e400

sub value_of {
    my ($body) = @_;

    my $value = decode(length $body ? $body : undef);

    return defined decode(json($value)) ? $value : undef;
}


# the body and the bytes that it took; nothing while it is not complete

sub body_of {
    my ($headers, $in) = @_;

    if (($headers->{'transfer-encoding'} || '') !~ /chunked/i) {
        my $length = $headers->{'content-length'} || 0;

        return if length $in < $length;
        return (substr($in, 0, $length), $length);
    }

    my $body = '';

    for (;;) {
        return unless $in =~ /\G([0-9a-f]+)[^\n]*\n/gci;

        my $size = hex $1;
        my $at = pos $in;

        return if length $in < $at + $size + 2;

        $body .= substr $in, $at, $size;
        pos($in) = $at + $size + 2;

        return ($body, pos $in) if $size == 0;
    }
}


# --- answers ----------------------------------------------------------------

sub answer_request {
    my ($app, $conn, $request) = @_;

    my $answers = $app->{answers};
    my $path = exists $answers->{$request->{path}} ? $request->{path} : '*';
    my $answer = $answers->{$path};

    $answer = $answer->($request) if ref $answer eq 'CODE';

    if ($answer && $answer->{turns}) {
        my $turns = $answer->{turns};
        my $turn = $app->{turn}{$path}++;

        $answer = $turns->[$turn < @$turns ? $turn : -1];
    }

    $answer ||= { status => 404, type => 'text/plain', body => 'no such path' };
    $answer = { %$answer, %{ rpc($request) } } if $answer->{rpc};

    return if $answer->{never};

    my $go = sub {
        respond($app, $conn, $request, $answer) unless $conn->{gone};
    };

    if ($answer->{hold}) {
        my $name = $answer->{hold} eq '1' ? $request->{path}
                                          : $answer->{hold};
        push @{ $app->{held} }, { name => $name, code => $go };

    } elsif ($answer->{delay}) {
        timer($app, $answer->{delay}, $go);

    } else {
        $go->();
    }

    return;
}


# What an application does with {"command","params"}: add (a, b), echo, and
# whoami, which tells the headers X-Snorky-..., with lower-case names.

sub rpc {
    my ($request) = @_;

    my $call = $request->{json};

    return { status => 400, body => '' } if ref $call ne 'HASH';

    my ($command, $params) = @$call{qw/ command params /};
    my $headers = $request->{headers};

    $params = {} if ref $params ne 'HASH';

    return { json => $params->{a} + $params->{b} } if $command eq 'add';
    return { json => $call->{params} } if $command eq 'echo';

    return { json => { map { $_ => $headers->{$_} }
                       grep { /^x-snorky-/ } keys %$headers } }
        if $command eq 'whoami';

    return { status => 404, json => { message => "no command $command" } };
}


sub respond {
    my ($app, $conn, $request, $answer) = @_;

    return end_of($app, $conn, 'close') if $answer->{close};
    return end_of($app, $conn, 'reset') if $answer->{reset};

    my $keep = $request->{http} eq '1.1';
    my $connection = $request->{headers}{connection} || '';

    $keep = 0 if $connection =~ /close/i;
    $keep = 1 if $connection =~ /keep-alive/i;

    my $bytes = $answer->{raw};

    $bytes = response($request, $answer, \$keep) unless defined $bytes;

    $conn->{out} = ($answer->{before} // '') . $bytes;
    $conn->{end} = $answer->{end} || ($keep ? 'keep' : 'close');
    $conn->{slow} = $answer->{slow};

    $conn->{slow} ? write_slowly($app, $conn) : write_to($app, $conn);

    return;
}


# The bytes of an answer; $$keep is cleared where it ends the connection.

sub response {
    my ($request, $answer, $keep) = @_;

    my $status = $answer->{status} || 200;
    my $type = $answer->{type};
    my $chunks = $answer->{chunks};

    my $body = exists $answer->{json} ? json($answer->{json})
             : ref $chunks ? join '', @$chunks
             : $answer->{size} ? 'x' x $answer->{size}
             : $answer->{body} // '';

    $type = 'application/json' if exists $answer->{json} && !defined $type;

    my @headers = @{ $answer->{headers} || [] };

    push @headers, "Content-Type: $type" if defined $type;

    my $sent = $request->{method} eq 'HEAD' || $status == 204
               || $status == 304 ? '' : $body;

    if ($chunks) {
        push @headers, 'Transfer-Encoding: chunked';
        $sent = join '', map { sprintf "%x\r\n%s\r\n", length $_, $_ }
                grep { length } ref $chunks ? @$chunks : $sent;
        $sent .= "0\r\n\r\n";

    } elsif (exists $answer->{length} && !defined $answer->{length}) {
        $$keep = 0;

    } elsif ($status != 204) {
        push @headers, 'Content-Length: '
            . ($answer->{length} // length $body);
    }

    if (defined $answer->{cut}) {
        $sent = substr $sent, 0, $answer->{cut};
        $$keep = 0;
    }

    $$keep = 0 if grep { /^connection:\s*close/i } @headers;

    push @headers, 'Connection: ' . ($$keep ? 'keep-alive' : 'close')
        unless grep { /^connection:/i } @headers;

    my $reason = $answer->{reason} // $reason{$status} // 'Unnamed';

    return join "\r\n", "HTTP/1.1 $status $reason", @headers, '', $sent;
}


sub write_to {
    my ($app, $conn, $most) = @_;

    while (length $conn->{out}) {
        my $n = syswrite $conn->{sock}, $conn->{out},
                         $most || length $conn->{out};

        if (!defined $n) {
            next if $! == EINTR;
            return if $! == EAGAIN || $! == EWOULDBLOCK;
            return end_of($app, $conn, 'close');
        }

        substr $conn->{out}, 0, $n, '';

        return if $most && length $conn->{out};
    }

    return if !$conn->{request};

    $conn->{request}{state} = 'answered';
    delete $conn->{request};

    my $end = $conn->{end};

    if ($end eq 'stay') {
        $conn->{stays} = 1;

    } elsif ($end ne 'keep') {
        end_of($app, $conn, $end);

    } else {
        take_request($app, $conn);
    }

    return;
}


sub write_slowly {
    my ($app, $conn) = @_;

    return if $conn->{gone};

    write_to($app, $conn, $conn->{slow});

    if ($conn->{gone} || !length $conn->{out}) {
        delete $conn->{slow};
        return;
    }

    timer($app, 0.001, sub { write_slowly($app, $conn) });

    return;
}


1;
