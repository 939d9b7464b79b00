#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# README.md and docs/ against the sources and a running nginx: configurations
# are valid, every directive, variable, error, close code, log message and
# field of the status is described and none that does not exist, links lead
# somewhere, and what README tells a new user to do works.

use strict;
use warnings;

use File::Basename qw/ dirname /;
use File::Glob qw/ :bsd_glob /;
use File::Spec ();
use FindBin;
use IO::Select ();
use Test::More;
use Time::HiRes qw/ time /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $root = "$FindBin::Bin/..";

my @pages = ("README.md", map { s{^\Q$root\E/}{}r }
    sort glob "$root/docs/*.md");
my %page = map { $_ => slurp($_) } @pages;
my $all = join "\n", map { $page{$_} } @pages;

my @sources = map { s{^\Q$root\E/}{}r }
    sort glob("$root/src/*/*.[ch]"), "$root/ngx_snorky_module.c";
my %source = map { $_ => slurp($_) } @sources;
my $code = join "\n", map { $source{$_} } @sources;

# with a module of its own: t/module.t; run as it is: t/backend_connectors.t;
# followed step by step: t/docs_quickstart.t

my @blocks = map { my $p = $_; map { [ $p, $_ ] } blocks($page{$p}, 'nginx') }
    grep { !m{^docs/(?:service-types|backend|quickstart)\.md$} } @pages;

my $t = Test::Nginx->new()->has(qw/ http http_ssl proxy map /)
    ->has_daemon('curl')->plan(@blocks + 36);


# configurations

make_certificate($t, 'example.com');
$t->write_file('users', "joe:{PLAIN}secret\n");
mkdir $t->testdir() . '/logs';

for my $block (@blocks) {
    my ($where, $text) = @$block;

    $t->write_file_expand('nginx.conf', complete($text));

    my $said = $t->dump_config();
    my ($first) = $text =~ /^\s*(\S.*)/;

    ok($said =~ /test is successful/ && $said !~ /\[warn\].*snorky/,
        "$where: nginx takes \"$first\"")
        or diag($said =~ /^(nginx: .*)/m, "\n", $text);
}

unlink $t->testdir() . '/nginx.pid';


# directives

my %directive = directives($source{'ngx_snorky_module.c'});
my %described = described($page{'docs/directives.md'});

is_deeply([ sort keys %described ], [ sort keys %directive ],
    'every directive is described, and no other');

for my $what (qw/ contexts default /) {
    is_deeply(
        { map { $_ => $described{$_}{$what} } keys %directive },
        { map { $_ => $directive{$_}{$what} // $described{$_}{$what} }
            keys %directive },
        "the $what of every directive is what the code has");
}

is(join(' ', grep { $described{$_}{syntax} !~ /^\Q$_\E[ ;]/ }
    sort keys %described), '', 'the syntax begins with the directive');

my @variables = $source{'src/http/ngx_snorky_peer.c'}
    =~ /\{ ngx_string\("(snorky_\w+)"\)/g;

is_deeply([ sort $page{'docs/directives.md'} =~ /^\| `\$(snorky_\w+)` \|/mg ],
    [ sort @variables ], 'every variable is described, and no other');

is(unknown([ $all =~ /(?<!ngx_)(?<![\$\w])(snorky_\w+)/g ],
    keys %directive, 'snorky_fault', metric_names()), '',
    'no directive or metric is named that does not exist');
is(unknown([ $all =~ /\$(snorky_\w+)/g ], @variables), '',
    'nor a variable');

is_deeply([ sort map { /^`(\w+)`/ } rows($page{'docs/directives.md'},
        'snorky_service', 'type') ],
    [ sort map { /ngx_string\("(\w+)"\)/ }
        $code =~ /ngx_snorky_service_type_t +ngx_snorky_\w+ = \{([^}]*)\}/g ],
    'every type of service is described, and no other');


# errors, close codes

my $protocol = $page{'docs/protocol.md'};
my %error = map { $_ => 1 } call_errors();
my @general = map { /^`([^`]+)`/ } rows($protocol, 'Errors', 'text');

is(join("\n", grep { !$error{$_} } @general), '',
    'no error of a call is described that does not exist');

# those of single services stand with these

my %spelt = map { $_ => 1 } @general, spans($page{'docs/services.md'});

is(join("\n", grep { !$spelt{$_} } sort keys %error), '',
    'every error of a call is described');

is(unknown([ map { (split / \| /)[2] =~ /`([^`]+)`/g }
        map { rows($protocol, $_, 'command') } 'pubsub', 'pubsub_backend' ],
    keys %error), '', 'commands have errors that exist');

is_deeply([ commands($protocol, 'pubsub') ],
    [ table('ngx_snorky_pubsub_commands') ], 'the commands of pubsub');
is_deeply([ commands($protocol, 'pubsub_backend') ],
    [ table('ngx_snorky_pubsub_backend_commands') ],
    'and those of pubsub_backend');

is_deeply([ documented_reasons($protocol) ], [ reasons() ],
    'every close code and reason of the server is described, and no other');


# the error log

my %message = messages();
my $operating = $page{'docs/operating.md'};
my %told = map { $_ => 1 } map { s/\s+/ /gr } spans($operating),
    spans($page{'docs/directives.md'}),
    spans($page{'docs/service-types.md'});

is(join("\n", grep { !$told{$_} } sort keys %message), '',
    'every message in the error log is described');

my %level = map { my ($level, $text) = split / \| /; $text =~ s/^`|`$//g;
        $text => $level }
    rows($operating, 'Messages in the error log', 'level');

is_deeply(\%level, { map { $_ => $message{$_} } keys %level },
    'with its level, and none that does not exist');


# the status

my %metric = metrics();

is_deeply({ map { documented_metrics($_) } status_rows($operating) },
    { map { $_ => $metric{$_} } grep { !/\W/ } keys %metric },
    'every figure of the status is described, with its metric, and no other');

is_deeply({ map { documented_metrics($_) }
        grep { /^`(?:zone|log)\./ } rows($operating, 'The status', 'field') },
    { map { $_ => $metric{$_} } grep { /^(?:zone|log)\./ } keys %metric },
    'and so are those of the zone and its log');


# what is named in the text

is(unknown([ $all =~ /\b((?:ngx|NGX)_(?:snorky|SNORKY)\w*)/g ],
    (map { m{(\w+)\.\w+$} } @sources), $code =~ /\b(\w+)\b/g), '',
    'all names of the code exist');

is(join(' ', grep { !-e "$root/$_" }
    $all =~ m{`((?:src|util|bench|t|docs|demo)/[\w./]+)`}g), '',
    'all files exist');

is(unknown([ $all =~ /(?:`|^ {4})make ([a-z][a-z-]*)/mg ],
    slurp('Makefile') =~ /^([a-z-]+):/mg), '', 'all targets of make exist');

my @order = map { "docs/$_" }
    $page{'docs/README.md'} =~ /^\d+\. \[[\w-]+\]\(([\w-]+\.md)\)/mg;

is_deeply([ sort 'README.md', 'docs/README.md', @order ], [ sort @pages ],
    'the index has every page');
is(join(' ', map { $order[$_] }
    grep { neighbours($page{$order[$_]}) ne beside($_) } 0 .. $#order),
    '', 'every page leads to the index and to its neighbours');

my @broken = map { broken_links($_) } @pages;

is("@broken", '', 'all links lead somewhere');

my ($version) = $code =~ /define NGX_SNORKY_VERSION +"([^"]+)"/;

like($page{'README.md'}, qr/version \Q$version\E,/, 'the version in README');
like(slurp('CHANGES'), qr/^\s*Changes with ngx_snorky_module \Q$version\E\s/,
    'the version in CHANGES');

is(join("\n", map { figures($page{$_}, $page{'docs/benchmarks.md'}) }
        'README.md', 'docs/comparison.md'), '',
    'README and the comparison have the figures of docs/benchmarks.md');

like($page{'docs/benchmarks.md'},
    qr/^\| \d+ runs \|.* \| 0, 0, 0, 0 \| 0, 0, 0, 0 \| met \|$/m,
    'nothing was lost when they were measured');


# what README tells to do

my $readme = $page{'README.md'};
my $port = port(8080);

my ($conf) = grep { /^http/m } blocks($readme, 'nginx');
my ($snippet) = blocks($readme, 'js');
my ($curl) = grep { /^curl / } blocks($readme, 'sh');
my ($seen, $answered) = blocks($readme, 'json');

s/\b127\.0\.0\.1:8080\b/127.0.0.1:$port/g for $snippet, $curl;

$t->write_file_expand('nginx.conf', complete($conf));
$t->run();

chomp($answered, $curl);
my @seen = split /\n/, $seen;

SKIP: {
    my @node = node($t, $snippet);
    skip 'no node, or no WebSocket in it', 3 unless @node;

    my $pid = open my $browser, '-|', @node or die "cannot start node: $!\n";
    binmode $browser;

    my @lines = map { next_line($browser) } @seen;

    is_deeply(\@lines, \@seen, 'the snippet prints what README says');

    is(`$curl 2>/dev/null`, $answered, 'the line of curl gets its answer');
    is(next_line($browser), '{"service":"messaging","message":'
        . '{"type":"message","channel":"news",'
        . '"message":"Hello from the backend!"}}',
        'and the snippet hears what it posts');

    kill 'KILL', $pid;
    close $browser;
}

my $plain = Snorky->connect('/ws');

is_deeply($plain->rpc('messaging_backend', 'publish',
        { channel => 'news', message => 1 }, timeout => 1) // 'nothing',
    'nothing', 'the service of the backend is hidden from clients');
$plain->finish();

like(curl_status($curl), qr/^200$/, 'its status is 200');
like(curl_status($curl =~ s/swordfish/catfish/r), qr/^401$/,
    'with a wrong key it is 401');

my ($request) = blocks($protocol, 'http');
my ($head, $body) = split /\n\n/, $request, 2;
chomp $body;

like($head, qr/^Content-Length: ${\ length $body}$/m,
    'the request in docs/protocol.md has its length');

my $answer = Snorky->dial()->request('POST', '/backend', body => $body,
    headers => [ grep { !/^Content-Length/ } (split /\n/, $head)[1 .. 3] ]);

is($answer->{body}, $answered, 'and gets this answer, too');


# --- Markdown ---------------------------------------------------------------

sub slurp {
    my ($name) = @_;
    local $/;

    open my $f, '<', "$root/$name" or die "cannot read $name: $!\n";

    return scalar <$f>;
}


# the blocks of one language

sub blocks {
    my ($text, $language) = @_;

    return $text =~ /^```\Q$language\E\n(.*?)^```$/smg;
}


# the code in running text and tables

sub spans {
    my ($text) = @_;

    $text =~ s/^```.*?^```$//smg;

    return $text =~ /`([^`]+)`/g;
}


sub section {
    my ($text, $heading) = @_;

    my ($marks, $body) = $text =~ /^(#+) \Q$heading\E\n(.*)/sm
        or die "no section \"$heading\"\n";
    my $depth = length $marks;

    $body =~ s/^#{1,$depth} .*//sm;

    return $body;
}


# the rows of the table whose first column is called so

sub rows {
    my ($text, $heading, $column) = @_;

    my ($table) = section($text, $heading)
        =~ /^\| \Q$column\E \|.*\n\|[-:| ]+\n((?:\|.*\n)*)/m
        or die "no table \"$column\" in \"$heading\"\n";

    return map { s/^\| | \|$//gr } split /\n/, $table;
}


# those of gauges and counters

sub status_rows {
    my ($text) = @_;

    my ($tables) = section($text, 'The status')
        =~ /^Gauges,(.*)^What to watch/sm or die "no gauges\n";

    return map { s/^\| //r } $tables =~ /^\| `.*/mg;
}


# { figure => metric } of a row, whose lists are as long; "-": JSON only

sub documented_metrics {
    my ($row) = @_;

    my ($figures, $metrics) = split / \| /, $row;
    my @metrics = spans($metrics);

    return map { $_ => shift @metrics } spans($figures);
}


# as GitHub makes them

sub anchors {
    my ($text) = @_;

    $text =~ s/^```.*?^```$//smg;

    return map { my $h = lc; $h =~ s/[^\w\- ]//g; $h =~ tr/ /-/; $h }
        $text =~ /^#+ (.*)/mg;
}


# what stands below a page's title, and what should

sub neighbours {
    my ($text) = @_;

    my ($line) = $text =~ /\A# .*\n\n((?:\S.*\n)+)\n/ or return 'none';

    return $line =~ s/\s+/ /gr =~ s/ $//r;
}


sub beside {
    my ($n) = @_;

    my $link = sub { my $name = $_[0] =~ s{^docs/}{}r;
        '[' . $name =~ s/\.md$//r . "]($name)" };

    return join ' | ', '[Documentation](README.md)',
        $n > 0 ? 'previous: ' . $link->($order[$n - 1]) : (),
        $n < $#order ? 'next: ' . $link->($order[$n + 1]) : ();
}


sub broken_links {
    my ($name) = @_;

    my $text = $page{$name} =~ s/^```.*?^```$//smgr;
    my @broken;

    for my $link ($text =~ /\]\(([^)]+)\)/g) {
        next if $link =~ /^https?:/;

        my ($file, $anchor) = split /#/, $link, 2;

        my $target = $name;
        $target = File::Spec->canonpath(
            (dirname($name) eq '.' ? '' : dirname($name) . '/') . $file)
            if length $file;

        push @broken, "$name: $link"
            if !-e "$root/$target" || defined $anchor
            && !grep { $_ eq $anchor } anchors(slurp($target));
    }

    return @broken;
}


# --- configurations ---------------------------------------------------------

# the names of the directives that a text has at its outermost level

sub outermost {
    my ($text) = @_;

    my ($depth, @names, $inside) = (0);

    while ($text =~ /\G(?: \s+ | \#.* | (?<q>"[^"]*"|'[^']*')
        | (?<end>[;{}]) | (?<word>(?:\$\{|[^\s;{}"'])+) )/xg)
    {
        if (defined $+{end}) {
            $depth += $+{end} eq '{' ? 1 : $+{end} eq '}' ? -1 : 0;
            $inside = 0;

        } elsif (defined $+{word} || defined $+{q}) {
            push @names, $+{word} if $depth == 0 && !$inside;
            $inside = 1;
        }
    }

    return @names;
}


my %outer;

BEGIN {
    %outer = (
        main   => { map { $_ => 1 } qw/ load_module events http
                    worker_processes worker_rlimit_nofile
                    worker_shutdown_timeout / },
        http   => { map { $_ => 1 } qw/ server map log_format limit_conn_zone
                    limit_req_zone snorky_zone snorky_service
                    snorky_registry / },
        server => { map { $_ => 1 } qw/ location connection_pool_size / },
    );
}


# what is a part of a configuration becomes a whole one

sub complete {
    my ($text) = @_;

    my @names = outermost($text);
    my ($level) = grep { my $l = $_; grep { $outer{$l}{$_} } @names }
        qw/ main http server /;
    $level ||= 'location';

    $text =~ s/^load_module .*\n//mg;

    # any port of the test's own will do

    $text =~ s/(\blisten\s+)(?:127\.0\.0\.1:)?(\d+)/
        $1 . '127.0.0.1:' . ($2 == 443 ? 8443 : 8080)/ge;

    $text = "location \/ {\n$text}\n" if $level eq 'location';
    $text = "server {\nlisten 127.0.0.1:8080;\n$text}\n"
        if $level eq 'location' || $level eq 'server';

    $text = "snorky_service pubsub messaging;\n$text"
        unless $level eq 'main' || $text =~ /^\s*snorky_service/m;
    $text = "snorky_registry private { snorky_service echo e; }\n$text"
        if $text =~ /registry=private/ && $text !~ /snorky_registry private/;

    $text = "http {\n$text}\n" if $level ne 'main';
    $text .= "http {\n}\n" unless $text =~ /^http \{/m;
    $text =~ s/^http \{\n/http {\n%%TEST_GLOBALS_HTTP%%\n/m;
    $text = "events {\n}\n$text" unless $text =~ /^events /m;

    return "%%TEST_GLOBALS%%\ndaemon off;\n$text";
}


# --- the sources ------------------------------------------------------------

# { name => { contexts, default } } of the table of directives

sub directives {
    my ($text) = @_;

    my ($table) = $text =~ /ngx_snorky_commands\[\] = \{(.*?)ngx_null_command/s
        or die "no table of directives\n";

    $table =~ s/#if \(NGX_SNORKY_FAULTS\).*?#endif//s;

    my %value = defaults($text);
    my %found;

    while ($table =~ /\{\ ngx_string\("(\w+)"\),\s*([\w|]+),\s*(\w+),
        \s*\w+,\s*(?:offsetof\(\w+,\s*([\w.]+)\)|0),/xg)
    {
        my ($name, $flags, $set, $field) = ($1, $2, $3, $4);

        my @contexts = map { $flags =~ /NGX_HTTP_$_->[0]_CONF/ ? $_->[1] : () }
            [ MAIN => 'http' ], [ SRV => 'server' ], [ LOC => 'location' ];

        # known to the block's own handler

        push @contexts, 'snorky_registry'
            if $name =~ /^snorky_(?:authorize|dealer|event|service)$/;

        $found{$name} = {
            contexts => "@contexts",
            default  => defined $field ? $value{$field} : undef,
        };
    }

    my ($zone) = $text =~ /define NGX_SNORKY_ZONE_SIZE +\(([\d *]+)\)/;

    $found{snorky_zone}{default} = product($zone);

    return %found;
}


sub defaults {
    my ($text) = @_;

    my %value;

    while ($text =~ /ngx_conf_(?:merge|init)_\w+_value\(\s*(?:conf|smcf)->
        ([\w.]+),\s*(?:prev->[\w.]+,\s*)?([\d *]+)\)/xg)
    {
        $value{$1} = product($2);
    }

    return %value;
}


sub product {
    my ($text) = @_;

    my $n = 1;
    $n *= $_ for split /\s*\*\s*/, $text;

    return $n;
}


# the same of docs/directives.md; sizes in bytes, times in milliseconds

sub described {
    my ($text) = @_;

    my %unit = (k => 1024, m => 1024 * 1024, s => 1000, ms => 1);
    my %found;

    while ($text =~ /^\#\#\ (snorky_\w+)\n\n
        -\ \*\*Syntax:\*\*\ `(.+)`\n
        -\ \*\*Default:\*\*\ (?:none|`\1\ (\S+);`)\n
        -\ \*\*Context:\*\*\ (.+)\n/xmg)
    {
        my ($name, $syntax, $default, $contexts) = ($1, $2, $3, $4);

        $default = $1 * ($2 ? $unit{$2} : 1)
            if defined $default && $default =~ /^(\d+)(k|m|s|ms)?$/;

        $found{$name} = {
            syntax   => $syntax,
            default  => $default,
            contexts => join(' ', $contexts =~ /`(\w+)`/g),
        };
    }

    return %found;
}


# the figures of the status: { name in JSON => metric }, undef for none

sub metrics {
    my ($table) = $source{'src/http/ngx_snorky_status_figure.c'};

    my %prefix = (zone_field => 'zone.', log_field => 'log.',
        worker_field => 'worker ', field => '', part => '');
    my %found;

    while ($table =~ /ngx_snorky_status_(\w+)\(([\w.]+),\s*
        (?:"(\w+)"|NULL),(?:\s*"(\w+)=\\"(\w+)\\"")?/xg)
    {
        my ($kind, $name, $metric, $label, $value) = ($1, $2, $3, $4, $5);

        $metric = "snorky_$metric" if defined $metric;
        $metric .= qq({$label="$value"}) if defined $label;

        $found{$prefix{$kind} . $name} = $metric;
    }

    return %found;
}


sub metric_names {
    my %metric = metrics();

    return $source{'src/http/ngx_snorky_status_prometheus.c'}
            =~ /TYPE (snorky_\w+) /g,
        map { s/\{.*//r } grep { defined } values %metric;
}


# commands with their parameters, sorted

sub commands {
    my ($text, $service) = @_;

    my @found;

    for my $row (rows($text, $service, 'command')) {
        my ($names, $params) = split / \| /, $row;
        my $list = join ',', $params =~ /`(\w+)`/g;

        push @found, map { "$_($list)" } $names =~ /`(\w+)`/g;
    }

    return sort @found;
}


sub table {
    my ($name) = @_;

    my ($text) = $code =~ /ngx_snorky_command_t +$name\[\] = \{(.*?)^\};/sm
        or die "no table $name\n";
    my @found;

    while ($text =~ /\{ ngx_string\("(\w+)"\),\s*(\w+),/g) {
        my ($command, $list) = ($1, $2);
        my ($params) = $code =~ /ngx_str_t +$list\[\] = \{(.*?)^\};/sm;

        push @found, "$command(" . join(',', $params =~ /"(\w+)"/g) . ')';
    }

    return sort @found;
}


# "code reason" of every close frame that the server makes up

# those that have a name are looked up

sub reasons {
    my %number = $code =~ /define (NGX_SNORKY_(?:WS|HUB)_\w+) +(\d{4})\b/g;
    my %text = $code =~ /define (NGX_SNORKY_\w+) +("[^"]+")/g;
    my %found;

    (my $code = $code)
        =~ s/\bngx_snorky_hub_reason\([\w>-]+\)/NGX_SNORKY_HUB_AT_ONCE/g;
    $code =~ s/\b(NGX_SNORKY_\w+)\b/$text{$1} \/\/ $1/ge;

    for my $call ('session_close', 'hub_close_sessions', 'ws_end_stop',
        'ws_fail', 'ws_in_fail')
    {
        while ($code =~ /ngx_snorky_$call\(\s*[^,;()]+,\s*(\w+),
            \s*"([^"]+)"\)/xg)
        {
            my ($number, $reason) = ($number{$1} // $1, $2);

            $found{"$number " . ($reason =~ s/%\w/.../r)} = 1;
        }
    }

    # those that the parser keeps in a variable all are protocol errors

    $found{"1002 $_"} = 1
        for $source{'src/proto/ngx_snorky_ws_frame.c'}
            =~ /(?:return|reason =) "([^"]+)"/g;

    return sort keys %found;
}


sub documented_reasons {
    my ($text) = @_;

    my @found;

    for my $row (rows($text, 'Close codes', 'code')) {
        my ($number, $reason) = $row =~ /^(\d+) \| `([^`]+)`/ or next;
        push @found, "$number $reason";
    }

    my ($list) = section($text, 'Close codes')
        =~ /^1002 has one of the reasons (.*?)\n\n/sm
        or die "no reasons of 1002\n";

    push @found, map { "1002 $_" } spans($list);

    return sort @found;
}


# { text => level }, with three dots for what is filled in

# what calls are answered with: said at once, or returned by the functions
# that look at a parameter; "NAME too long" is made of the parameter's name

sub call_errors {
    my @found = $code =~ /ngx_snorky_call_error\([^;"]*"([^"]+)"\)/g;

    my ($backend) = $source{'src/services/ngx_snorky_datasync_backend.c'};

    while ($backend =~ /^static const char \*\n(\w+).*?^\}/msg) {
        push @found, $& =~ /return "([^"]+)"/g;
    }

    push @found, 'Channel too long' if $code =~ /"%\*s too long"/;
    push @found, 'No dealer for model "M"'
        if $backend =~ /"No dealer for model /;

    return @found;
}


sub messages {
    my %name = (ERR => 'error');
    my %found;

    while ($code =~ /ngx_(?:conf_)?log_error\(\s*NGX_LOG_(\w+),\s*[^;"]*?
        ((?:"(?:[^"\\]|\\.)*"\s*)+)/xg)
    {
        my ($level, $literals) = ($1, $2);

        my $text = join '', $literals =~ /"((?:[^"\\]|\\.)*)"/g;

        $text =~ s/\\"/"/g;
        $text =~ s/%(?:V|s|P|u?[iLz])/.../g;

        # an error of the library for regular expressions

        next if $text eq '...';

        $found{$text} = $name{$level} // lc $level;
    }

    return %found;
}


sub unknown {
    my ($names, @known) = @_;

    my %known = map { $_ => 1 } @known;
    my %missing = map { $_ => 1 } grep { !$known{$_} } @$names;

    return join ' ', sort keys %missing;
}


# --- figures ----------------------------------------------------------------

# what a page has otherwise, as it should be

sub figures {
    my ($text, $benchmarks) = @_;

    my @all = ('ngx_snorky_module', 'nchan', 'Node `ws`');

    my @wanted = (
        [ 'CPU per delivery, 16 publications under way, us',
          'Fan-out, closed loop', 'CPU us per delivery', @all ],
        [ 'CPU per delivery, 100 publications per second, us',
          'Fan-out at a fixed rate', 'CPU us per delivery', @all ],
        [ 'CPU per publication over HTTP, us',
          'Publishing over HTTP', 'CPU us per request', @all[0, 1] ],
        [ 'CPU per WebSocket handshake, us',
          'Handshakes', 'CPU us per handshake', @all ],
        [ 'memory of an idle connection, bytes',
          'Memory of an idle connection, one channel', 'Pss', @all ],
    );

    my @wrong;

    for my $w (@wanted) {
        my ($label, $heading, $column, @servers) = @$w;

        my @cells = map { measured($benchmarks, $heading, $column, $_) }
            @servers;

        my $row = join ' | ', $label, @cells, ('-') x (@all - @cells);

        push @wrong, "| $row |" if index($text, "\n| $row |\n") < 0;
    }

    return @wrong;
}


sub measured {
    my ($text, $heading, $column, $server) = @_;

    my $section = section($text, $heading);

    my ($first) = $section =~ /^\| (server \| .*) \|$/m
        or die "no table in \"$heading\"\n";
    my ($row) = $section =~ /^\| (\Q$server\E \| .*) \|$/m
        or die "no \"$server\" in \"$heading\"\n";

    my %cell;
    @cell{ split / \| /, $first } = split / \| /, $row;

    return $cell{$column} =~ s/ \(.*//r;
}


# --- what README tells to do ------------------------------------------------

# how to run a script as a browser would: Node has WebSocket since 22

sub node {
    my ($t, $script) = @_;

    my ($major) = (`node --version 2>/dev/null` || '') =~ /^v(\d+)/
        or return;

    if ($major < 22) {
        my $ws = "$root/node_modules/ws";

        return unless -d $ws;

        $script = "globalThis.WebSocket = require('"
            . File::Spec->rel2abs($ws) . "');\n$script";
    }

    $t->write_file('snippet.js', $script);

    return ('node', $t->testdir() . '/snippet.js');
}


# without its end; undef when none comes in time

sub next_line {
    my ($pipe) = @_;

    my $deadline = time() + $Snorky::TIMEOUT;
    my $line = '';

    for (;;) {
        my $left = $deadline - time();

        return undef if $left <= 0 || !IO::Select->new($pipe)->can_read($left);
        return undef unless sysread $pipe, my $char, 1;
        return $line if $char eq "\n";

        $line .= $char;
    }
}


sub curl_status {
    my ($line) = @_;

    $line =~ s/^curl /curl -s -o \/dev\/null -w '%{http_code}' /;

    return scalar `$line`;
}
