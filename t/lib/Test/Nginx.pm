package Test::Nginx;

# Copyright (C) The ngx_snorky_module authors
#
# Starts an nginx for one test file: a directory of its own, ports nobody
# else has, a configuration, and at the end a look into the error log.
#
# This speaks the part of the interface of nginx's own test library (the
# nginx-tests repository, "lib/Test/Nginx.pm") that the tests here use, and
# obeys the same environment:
#
#   TEST_NGINX_BINARY        the nginx to run
#   TEST_NGINX_MODULES       where nginx's own dynamic modules are
#   TEST_NGINX_GLOBALS       added to %%TEST_GLOBALS%%: "load_module ...;"
#   TEST_NGINX_GLOBALS_HTTP  added to %%TEST_GLOBALS_HTTP%%
#   TEST_NGINX_VERBOSE       show requests and answers
#   TEST_NGINX_LEAVE         keep the directory
#   TEST_NGINX_CATLOG        print the error log at the end
#
# The tests put this directory last on the path, so where nginx-tests is on
# PERL5LIB that library is used, and nothing else changes.  For the same
# reason a test file must not refer to its $t from inside a named sub: the
# closing checks run when $t goes out of scope.
#
# It asks for more than nginx-tests does in two things: an [emerg] line fails
# a file as an [alert] does, and so does a report of UBSan or valgrind.

use strict;
use warnings;

use base qw/ Exporter /;

our @EXPORT = qw/ log_in log_out http http_get http_head port /;
our @EXPORT_OK = qw/ http_start http_end http_content /;

use File::Basename qw/ dirname /;
use File::Path qw/ remove_tree /;
use File::Spec ();
use File::Temp ();
use IO::Socket::INET ();
use POSIX qw/ WNOHANG /;
use Scalar::Util qw/ weaken /;
use Test::More ();
use Time::HiRes qw/ sleep time /;


use constant {
    START_TIMEOUT  => 30,       # seconds; sanitizers and valgrind are slow
    STOP_TIMEOUT   => 90,
    DAEMON_TIMEOUT => 5,
    HTTP_TIMEOUT   => 8,
};


our $NGINX = find_nginx();

my %ports;      # number in the test => { port, lock }
my %running;    # objects whose closing checks are still to be made


# nginx's modules by the sense of their configure switch

my %added = map { $_ => "--with-http_${_}_module" }
    qw/ auth_request dav flv gunzip mp4 random_index realip secure_link
        slice sub v2 v3 stub_status /;

$added{http_ssl} = '--with-http_ssl_module';
$added{perl} = '--with-http_perl_module';

my %default = map { $_ => "--without-http_${_}_module" }
    qw/ access auth_basic autoindex browser charset empty_gif fastcgi geo
        grpc gzip limit_conn limit_req map memcached mirror proxy referer
        rewrite scgi split_clients ssi upstream_hash upstream_ip_hash
        upstream_keepalive upstream_least_conn upstream_random
        upstream_zone userid uwsgi /;

$default{cache} = '--without-http-cache';
$default{http} = '--without-http';
$default{pcre} = '--without-pcre';


sub find_nginx {
    return $ENV{TEST_NGINX_BINARY} if defined $ENV{TEST_NGINX_BINARY};

    for my $dir (File::Spec->path(), qw{ /usr/sbin /usr/local/sbin }) {
        return "$dir/nginx" if -f "$dir/nginx" && -x _;
    }

    return '../nginx/objs/nginx';
}


sub new {
    my ($class) = @_;

    Test::More::BAIL_OUT("$NGINX cannot be run") unless -x $NGINX;

    my $dir = File::Temp::tempdir('nginx-test-XXXXXXXXXX', TMPDIR => 1);

    # a worker is "nobody" when the tests are run by root, and reads here

    chmod 0755, $dir if $> == 0;

    my $self = bless {
        _pid     => $$,
        _testdir => $dir,
        _alerts  => 1,
        _daemons => [],
    }, ref $class || $class;

    weaken($running{0 + $self} = $self);

    # a test that is interrupted stops its nginx; its children just end

    my $pid = $$;

    for my $signal (qw/ HUP INT TERM /) {
        $SIG{$signal} ||= sub { $pid == $$ ? exit 1 : POSIX::_exit(1) };
    }

    return $self;
}


sub DESTROY {
    my ($self) = @_;

    $self->finish();
}


END {
    local $?;

    $_->finish() for grep { defined } values %running;
}


# what is done once, when the test file is through

sub finish {
    my ($self) = @_;

    return if $self->{_pid} != $$ || !delete $running{0 + $self};

    local ($?, $@, $!);

    $self->stop();
    $self->stop_daemons();

    if (Test::More->builder()->expected_tests()) {
        my ($alerts, $reports) = $self->scan_log();
        my $builder = Test::More->builder();

        $builder->todo_start('alerts') unless $self->{_alerts};
        Test::More::is(join("\n", @$alerts), '', 'no alerts');
        $builder->todo_end() unless $self->{_alerts};

        Test::More::is(join("\n", @$reports), '', 'no sanitizer errors');
    }

    if ($ENV{TEST_NGINX_CATLOG}) {
        system('cat', "$self->{_testdir}/error.log");
    }

    remove_tree($self->{_testdir}, { safe => 0 })
        unless $ENV{TEST_NGINX_LEAVE};

    return;
}


# line by line, since a debug log may be larger than memory allows

sub scan_log {
    my ($self) = @_;
    my (@alerts, @reports);

    open my $f, '<', "$self->{_testdir}/error.log" or return ([], []);

    while (my $line = <$f>) {
        next unless $line =~ /\[(?:alert|emerg)\]|Sanitizer|runtime error:
                              |==\d+==\s(?:Invalid|.*uninitialised
                                           |.*\blost:\s[1-9])/x;
        chomp $line;

        if ($line =~ /\[(?:alert|emerg)\]/) {
            push @alerts, $line;

        } elsif ($line !~ /\[debug\]/) {
            push @reports, $line;
        }
    }

    close $f;

    # a log of thousand times the same line helps nobody

    for my $list (\@alerts, \@reports) {
        splice @$list, 50, @$list - 50, '...' if @$list > 50;
    }

    return (\@alerts, \@reports);
}


# --- what this nginx can do -------------------------------------------------

sub has {
    my ($self, @features) = @_;

    for my $feature (@features) {
        next if $self->has_module($feature) || $self->has_feature($feature);
        Test::More::plan(skip_all => "no $feature available");
    }

    return $self;
}


sub has_module {
    my ($self, $feature) = @_;

    my $args = $self->{_configure_args} //= `'$NGINX' -V 2>&1`;

    if (my $switch = $default{$feature}) {
        return $args !~ /\Q$switch\E(?!\S)/ ? 1 : 0;
    }

    if (my $switch = $added{$feature}) {
        return $args =~ /\Q$switch\E(?!\S)/ ? 1 : 0;
    }

    if ($feature eq 'stream' || $feature eq 'mail') {
        return $args =~ /--with-$feature(?:=dynamic)?(?!\S)/ ? 1 : 0;
    }

    return $args =~ /$feature/ ? 1 : 0;
}


sub has_feature {
    my ($self, $feature) = @_;

    return 1 if $feature =~ /^(?:symlink|unix|udp)$/;

    if ($feature =~ /^socket_ssl(?:_(sni|alpn))?$/) {
        my $extra = $1;

        return 0 unless eval { require IO::Socket::SSL; 1 };
        return 1 unless defined $extra;

        return $extra eq 'sni' ? IO::Socket::SSL->can_client_sni()
                               : IO::Socket::SSL->can_alpn();
    }

    return 0;
}


sub has_daemon {
    my ($self, $daemon) = @_;

    for my $dir (File::Spec->path()) {
        return $self if -f "$dir/$daemon" && -x _;
    }

    Test::More::plan(skip_all => "$daemon not found");

    return $self;
}


# two tests are added: no alerts, no sanitizer reports

sub plan {
    my ($self, $plan) = @_;

    Test::More::plan(tests => $plan + 2);

    return $self;
}


sub todo_alerts {
    my ($self) = @_;

    $self->{_alerts} = 0;

    return $self;
}


# --- files ------------------------------------------------------------------

sub testdir {
    my ($self) = @_;

    return $self->{_testdir};
}


sub read_file {
    my ($self, $name) = @_;
    local $/;

    open my $f, '<', "$self->{_testdir}/$name"
        or die "cannot read $name: $!\n";
    binmode $f;

    my $content = <$f>;
    close $f;

    return $content;
}


sub write_file {
    my ($self, $name, $content) = @_;

    open my $f, '>', "$self->{_testdir}/$name"
        or die "cannot write $name: $!\n";
    binmode $f;

    print $f $content;
    close $f or die "cannot write $name: $!\n";

    return $self;
}


sub write_file_expand {
    my ($self, $name, $content) = @_;

    my %value = (
        TEST_GLOBALS      => sub { $self->test_globals() },
        TEST_GLOBALS_HTTP => sub { $self->test_globals_http() },
        TESTDIR           => sub { $self->{_testdir} },
    );

    $content =~ s{%%([A-Z_]+)%%}{
        $value{$1} ? $value{$1}->() : "%%$1%%"
    }ge;

    $content =~ s/(?<=\b127\.0\.0\.1:)(8\d{3})/port($1)/ge;
    $content =~ s/%%PORT_(\d+)%%/port($1)/ge;
    $content =~ s/%%PORT_(\d+)_UDP%%/port($1, udp => 1)/ge;

    return $self->write_file($name, $content);
}


# The texts are made once: run() adds its own "pid" and "error_log" on
# the command line unless the configuration had them from here.

sub test_globals {
    my ($self) = @_;

    return $self->{_test_globals} //= $self->basics("\n")
        . ($ENV{TEST_NGINX_GLOBALS} || '')
        . $self->test_globals_modules();
}


sub test_globals_http {
    my ($self) = @_;

    my $dir = $self->{_testdir};

    return $self->{_test_globals_http} //= join "\n",
        "root $dir;",
        "access_log $dir/access.log;",
        "client_body_temp_path $dir/client_body_temp;",
        (map { "${_}_temp_path $dir/${_}_temp;" }
         grep { $self->has_module($_) } qw/ fastcgi proxy scgi uwsgi /),
        $ENV{TEST_NGINX_GLOBALS_HTTP} || '';
}


# nginx's own modules, where they were built as dynamic ones and are there

sub test_globals_modules {
    my ($self) = @_;

    my $dir = $ENV{TEST_NGINX_MODULES} // dirname($NGINX);
    my $text = '';

    for my $name (qw/ http_image_filter http_perl http_xslt_filter mail
                      stream /)
    {
        my ($switch) = $name =~ /^(?:http_)?([a-z]+)/;
        my $file = File::Spec->rel2abs($dir) . "/ngx_${name}_module.so";

        $text .= "load_module $file;\n"
            if -f $file && $self->has_module("$switch\\S*=dynamic");
    }

    return $text;
}


sub basics {
    my ($self, $separator) = @_;

    my $dir = $self->{_testdir};

    return join $separator,
        "pid $dir/nginx.pid;", "error_log $dir/error.log debug;", '';
}


# --- nginx itself -----------------------------------------------------------

sub command {
    my ($self, @args) = @_;

    my @cmd = ($NGINX, '-p', "$self->{_testdir}/", '-c', 'nginx.conf',
               '-e', 'error.log', @args);

    push @cmd, '-g', $self->basics(' ') unless $self->{_test_globals};

    return @cmd;
}


# the configuration has "daemon off", so that nginx is our own child

sub run {
    my ($self, $conf) = @_;

    if (defined $conf) {
        open my $f, '<', $conf or die "cannot read $conf: $!\n";
        local $/;
        $self->write_file_expand('nginx.conf', <$f>);
    }

    my @cmd = $self->command();
    my $pid = fork() // die "cannot fork: $!\n";

    if ($pid == 0) {
        { no warnings 'exec'; exec { $cmd[0] } @cmd; }
        POSIX::_exit(127);
    }

    if (!$self->waitforfile("$self->{_testdir}/nginx.pid", $pid)) {
        kill 'KILL', $pid;
        waitpid $pid, 0;
        die "cannot start nginx\n";
    }

    $self->{_started} = 1;

    return $self;
}


sub try_run {
    my ($self, $message) = @_;

    open my $stderr, '>&', \*STDERR or die "cannot dup stderr: $!\n";
    open STDERR, '>', File::Spec->devnull();

    my $ok = eval { $self->run(); 1 };

    open STDERR, '>&', $stderr;

    return $self if $ok;

    log_core('', $self->read_file('error.log'))
        if $ENV{TEST_NGINX_VERBOSE} && -f "$self->{_testdir}/error.log";

    Test::More::plan(skip_all => $message);

    return $self;
}


sub dump_config {
    my ($self) = @_;

    my $pid = open(my $out, '-|') // die "cannot fork: $!\n";

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        my @cmd = $self->command('-T');
        { no warnings 'exec'; exec { $cmd[0] } @cmd; }
        POSIX::_exit(127);
    }

    local $/;
    my $text = <$out>;
    close $out;

    return $text;
}


sub master {
    my ($self) = @_;

    my ($pid) = $self->read_file('nginx.pid') =~ /(\d+)/
        or die "no process id in nginx.pid\n";

    return $pid;
}


sub reload {
    my ($self) = @_;

    kill 'HUP', $self->master() if $self->{_started};

    return $self;
}


sub stop {
    my ($self) = @_;

    return $self unless $self->{_started};

    my $pid = eval { $self->master() };
    $self->{_started} = 0;

    if (defined $pid) {
        kill 'QUIT', $pid;

        if (!reaped($pid, STOP_TIMEOUT)) {
            kill 'TERM', $pid;
            waitpid $pid, 0;
        }
    }

    return $self;
}


sub reaped {
    my ($pid, $timeout) = @_;

    my $deadline = time() + $timeout;

    while (waitpid($pid, WNOHANG) == 0) {
        return 0 if time() > $deadline;
        sleep 0.02;
    }

    return 1;
}


# --- waiting ----------------------------------------------------------------

# true when there is something in the file; 0 when the process that is to write
# it has ended, undef when it takes too long

sub waitforfile {
    my ($self, $file, $pid) = @_;

    my $deadline = time() + START_TIMEOUT;

    while (time() < $deadline) {
        my $ended = defined $pid && waitpid($pid, WNOHANG) != 0;

        return 1 if -s $file;
        return 0 if $ended;

        sleep 0.02;
    }

    return undef;
}


sub waitforsocket {
    my ($self, $peer) = @_;

    my $deadline = time() + START_TIMEOUT;

    while (time() < $deadline) {
        return 1 if IO::Socket::INET->new(Proto => 'tcp', PeerAddr => $peer);
        sleep 0.05;
    }

    return undef;
}


# A port for the number that stands in the test: the same when it is free.
# The socket of the other protocol, held open, keeps tests that run at the
# same time from taking it.

sub port {
    my ($number, %opts) = @_;

    my $entry = $ports{$number} //= find_port($number, $opts{udp});

    return $opts{socket} ? $entry->{lock} : $entry->{port};
}


sub find_port {
    my ($number, $udp) = @_;

    my $base = $number - $number % 500;

    for my $try (0 .. 99) {
        my $port = $try ? $base + int rand 500 : $number;

        my $lock = bind_port($port, !$udp) or next;
        bind_port($port, $udp) or next;

        return { port => $port, lock => $lock };
    }

    die "no free port near $number\n";
}


sub bind_port {
    my ($port, $udp) = @_;

    return IO::Socket::INET->new(
        LocalAddr => "127.0.0.1:$port",
        Proto     => $udp ? 'udp' : 'tcp',
        $udp ? () : (Listen => 1, ReuseAddr => 1),
    );
}


# --- other processes --------------------------------------------------------

sub run_daemon {
    my ($self, $code, @args) = @_;

    my $pid = fork() // die "cannot fork: $!\n";

    if ($pid == 0) {
        if (ref $code eq 'CODE') {
            eval { $code->(@args); 1 } or warn $@;
        } else {
            exec $code, @args;
        }

        POSIX::_exit(0);
    }

    push @{ $self->{_daemons} }, $pid;

    return $self;
}


sub stop_daemons {
    my ($self) = @_;

    while (defined(my $pid = shift @{ $self->{_daemons} })) {
        kill 'TERM', $pid;
        next if reaped($pid, DAEMON_TIMEOUT);

        kill 'KILL', $pid;
        waitpid $pid, 0;
    }

    return $self;
}


# --- HTTP, a request as it is written ---------------------------------------

sub http_get {
    my ($url, %extra) = @_;

    return http("GET $url HTTP/1.0\r\nHost: localhost\r\n\r\n", %extra);
}


sub http_head {
    my ($url, %extra) = @_;

    return http("HEAD $url HTTP/1.0\r\nHost: localhost\r\n\r\n", %extra);
}


# the whole answer; undef when it did not come in time

sub http {
    my ($request, %extra) = @_;

    my $s = http_start($request, %extra);

    return $s if $extra{start} || !$s;
    return http_end($s, %extra);
}


sub http_start {
    my ($request, %extra) = @_;

    return in_time(sub {
        my $s = $extra{socket} || IO::Socket::INET->new(
            Proto    => 'tcp',
            PeerAddr => '127.0.0.1:' . port($extra{SSL} ? 8443 : 8080),
            %extra,
        ) or die "cannot connect to nginx: $!\n";

        if ($extra{SSL}) {
            require IO::Socket::SSL;
            IO::Socket::SSL->start_SSL($s, SSL_verify_mode => 0, %extra)
                or die "$IO::Socket::SSL::SSL_ERROR\n";
        }

        log_out($request);
        $s->print($request);

        sleep $extra{sleep} if $extra{sleep};
        return '' if $extra{aborted};

        if ($extra{body}) {
            log_out($extra{body});
            $s->print($extra{body});
        }

        return $s;
    });
}


sub http_end {
    my ($s) = @_;

    my $reply = in_time(sub {
        local $/;
        my $all = $s->getline();
        $s->close();
        return $all;
    });

    log_in($reply) if defined $reply;

    return $reply;
}


sub in_time {
    my ($code) = @_;

    my $result = eval {
        local $SIG{ALRM} = sub { die "timeout\n" };
        local $SIG{PIPE} = sub { die "broken pipe\n" };

        alarm HTTP_TIMEOUT;
        my $value = $code->();
        alarm 0;

        $value;
    };

    my $error = $@;
    alarm 0;

    log_in("died: $error") if $error;

    return $result;
}


# the body of an answer, with chunks put together

sub http_content {
    my ($text) = @_;

    return undef unless defined $text
        && $text =~ /\A(.*?)\r?\n\r?\n(.*)\z/s;

    my ($head, $body) = ($1, $2);

    return $body unless $head =~ /^transfer-encoding:\s*chunked/im;

    my $content = '';

    while ($body =~ /\G([0-9a-f]+)[^\n]*\n/gci) {
        my $len = hex $1 or return $content;

        $content .= substr $body, pos $body, $len;
        pos($body) += $len;
        $body =~ /\G\r?\n/gc;
    }

    return $content . '[no-last-chunk]';
}


# --- verbose output ---------------------------------------------------------

sub log_out { log_core('>>', @_); return }
sub log_in  { log_core('<<', @_); return }


sub log_core {
    my ($prefix, $text) = @_;

    return unless $ENV{TEST_NGINX_VERBOSE} && defined $text;

    my $rest = length($text) - 2048;
    $text = substr($text, 0, 2048) . "(and $rest bytes more)" if $rest > 0;

    for my $line (split /\n/, $text) {
        $line =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ge;
        print "# $prefix $line\n";
    }

    return;
}


1;
