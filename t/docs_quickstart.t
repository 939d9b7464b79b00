#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# docs/quickstart.md, followed from its beginning to its end: the files that it
# has one write, the lines for a shell, and its pages in a headless Chromium;
# t/browser/quickstart.js has the cases.  Ports and places are the test's own.
# What installs packages is not run.  The module of README.md, which has the
# same services, is another page here.

use strict;
use warnings;

use FindBin;
use POSIX ();
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Demo;
use Snorky::Docs;


my $root = "$FindBin::Bin/..";
my $cases = 19;

my %file = files(page('docs/quickstart.md'));
my @parts = grep { !/^load_module/ } texts('nginx');
my @lines = texts('sh');

my @stages = (
    [ 'the page', '' ],
    [ 'a chat', parts($parts[0], $parts[1]) ],
    [ 'data', parts(@parts[2, 3]) ],
    [ 'a login', parts($parts[4]) ],
);

my $t = demo($cases + @stages + 6)->has(qw/ auth_request /)
    ->has_daemon('python3');

my $dir = $t->testdir();


# what it has one write

is_deeply([ sort keys %file ], [ sort qw{ nginx.conf app.py login.py
    www/index.html www/chat.html www/todo.html www/private.html } ],
    'the files that are to be written');

my (undef, $mkdir, $start, $curl, @applications) = @lines;

is(shell($dir, "$mkdir pwd"), "$dir/hello\n", 'the directory is made');

$t->write_file("hello/$_", at_home($file{$_})) for keys %file;

mkdir "$dir/snorky";
$t->write_file('snorky/' . s{.*/}{}r, slurp($_)) for glob "$root/js/src/*.js";


# Its configuration, as it stands, and with what is added to it.

my $module = ($ENV{TEST_NGINX_GLOBALS} // '')
    =~ /load_module\s+(\S*ngx_snorky_module\.so);/ ? $1 : undef;

SKIP: {
    skip 'ngx_snorky_module is not a loaded one', 1 unless $module;

    $t->write_file('hello/nginx.conf', at_home($file{'nginx.conf'})
        =~ s{/usr/lib/nginx/modules/ngx_snorky_module\.so}{$module}r);

    like(shell("$dir/hello", ($start =~ s/\n//r) . ' -t 2>&1'),
        qr/test is successful/, 'nginx takes it as it stands');
}

my $conf = tested($file{'nginx.conf'});

for my $stage (@stages) {
    my ($name, $more) = @$stage;

    $conf = $more->($conf) if $more;
    $t->write_file_expand('nginx.conf', $conf);

    like($t->dump_config(), qr/test is successful/, "nginx takes it: $name");
}

unlink "$dir/nginx.pid";


# what it has one start, and see

is_deeply([ map { /^(python3 (?:app|login)\.py)$/m } @applications ],
    [ 'python3 app.py', 'python3 login.py' ], 'the applications');

$t->run_daemon(\&run_line, "$dir/hello", $_) for @applications;
$t->waitforsocket('127.0.0.1:' . port($_)) for 8000, 8001;

my @modules = grep { /^import / } map { $_->{text} } blocks('README.md');

is(scalar @modules, 1, 'README has one module');
$t->write_file('hello/www/readme.html', '<!doctype html>'
    . "<script type=\"module\">$modules[0]</script>\n");

$t->write_file('curl.sh', at_home($curl));
$t->run();

browse($t, 'quickstart.js', $cases);


# --- the page ---------------------------------------------------------------

sub texts {
    my ($language) = @_;

    return map { $_->{text} } grep { $_->{language} eq $language }
        blocks('docs/quickstart.md');
}


# a file is named in the text, and the next block is what is in it

sub files {
    my ($text) = @_;

    return $text =~ /`hello\/([\w.\/]+)`(?:(?!^```|`hello\/).)*
        ^```\w+\n(.*?)^```$/xsmg;
}


# What is to be added to the configuration: locations next to the other ones,
# all else next to the service.

sub parts {
    my @parts = @_;

    return sub {
        my ($conf) = @_;

        for my $part (@parts) {
            $part =~ /^location/ ? $conf =~ s/(?=^    \}\n\}\n\z)/$part/m
                                 : $conf =~ s/(?=^    server \{)/$part/m
                or die "no place for: $part\n";
        }

        return $conf;
    };
}


# --- the test's own places --------------------------------------------------

sub at_home {
    my ($text) = @_;

    $text =~ s/\b127\.0\.0\.1(:|", )(8\d{3})\b/"127.0.0.1$1" . port($2)/ge;
    $text =~ s{/usr/share/javascript/snorky/}{$dir/snorky/}g;

    return $text;
}


# the configuration as the test library has it: log, process id, temporary
# files and the module are its own

sub tested {
    my ($text) = @_;

    $text =~ s/^load_module .*/%%TEST_GLOBALS%%/m;
    $text =~ s/^(?:pid|error_log) .*\n//mg == 2
        or die "no \"pid\" and \"error_log\"\n";
    $text =~ s/^ +[a-z_]+_temp_path +temp;\n//mg == 5
        or die "not five temporary paths\n";
    $text =~ s/^http \{\n/http {\n%%TEST_GLOBALS_HTTP%%\n/m;
    $text =~ s/^ +root \Kwww;/hello\/www;/m or die "no \"root\"\n";
    $text =~ s{/usr/share/javascript/snorky/}{%%TESTDIR%%/snorky/};

    return $text;
}


# what a line says, in a directory

sub shell {
    my ($where, $line) = @_;

    $line =~ s{/usr/sbin/nginx}{$Test::Nginx::NGINX}g;

    return scalar `cd '$where'\n$line`;
}


sub run_line {
    my ($where, $line) = @_;

    chdir $where;
    open STDERR, '>', "$where/application.log";
    exec 'sh', '-c', "exec $line";
}
