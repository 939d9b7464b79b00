#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# docs/services.md against the sources and a running nginx: its configurations
# are valid, its tables have the commands, parameters, options, errors and
# dealers of the code, and its conversations happen word by word, with one
# worker and with several.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ time /;
use Time::Local qw/ timegm /;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;


my $root = "$FindBin::Bin/..";
my $page = slurp('docs/services.md');
my $code = join "\n", map { slurp($_) }
    map { s{^\Q$root\E/}{}r } glob("$root/src/*/*.c");

my ($server, @snippets) = blocks($page, 'nginx');
my @talks = conversations($page);

# services with their tables of commands and options in the code

my @services = qw/ pubsub pubsub_backend messaging chat cursors datasync
                   datasync_backend upstream upstream_backend echo /;
my @layouts = ([ 'one worker', 1 ], [ 'four workers', 4 ]);

# what <TIME> and the others stand for

my %form = (
    TIME   => qr/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d/,
    HANDLE => qr/\d{1,16}/,
    TOKEN  => qr/[a-z0-9]{32}/,
);

my $t = Test::Nginx->new()->has(qw/ http /)
    ->plan(1 + @snippets + 6 * @services + 2 + @layouts * (@talks + 1));


# configurations

for my $snippet (undef, @snippets) {
    $t->write_file_expand('nginx.conf', defined $snippet
        ? at_level($t, 'info', whole($snippet)) : configuration(1));

    my $said = $t->dump_config();
    my ($first) = ($snippet // $server) =~ /^\s*(\S.*)/;

    ok($said =~ /test is successful/ && $said !~ /\[warn\].*snorky/,
        "nginx takes \"$first\"") or diag($said =~ /^(nginx: .*)/mg);
}

unlink $t->testdir() . '/nginx.pid';


# tables

my $error = errors();

for my $service (@services) {
    my $section = section($page, $service);
    my $type = definition($service);

    my @rows = rows($section, 'command');
    my @options = map { /^`(\w+)=`/ } rows($section, 'option');

    is_deeply([ map { documented_commands($_) } @rows ],
        [ coded_commands($type) ],
        "$service: the commands of the code, with their parameters");
    is_deeply([ sort @options ], [ sort(coded_options($type)) ],
        'its options');
    is(join(' ', grep { !coded_default($_) } rows($section, 'option')), '',
        'with their defaults');
    is(join(', ', map { wrong_errors($_) } @rows), '', 'errors that exist');

    my %shown = map { $_ => 1 } map { /"type":"(\w+)"/g } talks($section);

    is(join(' ', grep { !$shown{$_} } notifications($section)), '',
        'an example of each notification');

    %shown = map { $_ => 1 } map { /"command":"(\w+)"/g } talks($section);

    is(join(' ', grep { my $names = (split / \| /)[0];
            !grep { $shown{$_} } spans($names) } @rows), '',
        'and of each command');
}

is_deeply([ sort map { /^`(\w+)`/ } rows(section($page, 'datasync'), 'kind') ],
    [ sort(dealer_kinds()) ], 'the kinds of dealers of the code');

is(join("\n", grep { length > 80 && !/^[|>]/ } prose($page)), '',
    'no line of prose is longer than 80 columns');


# conversations

for my $layout (@layouts) {
    my ($name, $workers) = @$layout;

    $t->write_file_expand('nginx.conf', configuration($workers));
    $t->run();

    my @slots;

    ok(wait_until {
        @slots = map { $_->{slot} } @{ status_json()->{workers} };
        @slots == $workers;
    }, "$name: nginx runs");

    for my $talk (@talks) {
        my ($heading, $text) = @$talk;
        my $wrong = eval { converse($text, @slots) } // $@;

        is($wrong, '', "$name: \"$heading\" happens as it is written");
    }

    $t->stop();
}


# --- the page ---------------------------------------------------------------

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


sub talks {
    my ($text) = @_;

    return blocks($text, 'snorky');
}


# each with the heading that it stands below

sub conversations {
    my ($text) = @_;

    my ($heading, @found) = ('');

    while ($text =~ /^(?:[#]{2,}\ (?<heading>.*)
                     |```snorky\n(?<talk>(?s:.*?))^```$)/xmg)
    {
        if (defined $+{heading}) {
            $heading = $+{heading};

        } else {
            push @found, [ $heading, $+{talk} ];
        }
    }

    return @found;
}


sub prose {
    my ($text) = @_;

    $text =~ s/^```.*?^```$//smg;

    return split /\n/, $text;
}


sub spans {
    my ($text) = @_;

    return $text =~ /`([^`]+)`/g;
}


# the text of a section of the first level

sub section {
    my ($text, $heading) = @_;

    my ($body) = $text =~ /^## \Q$heading\E\n(.*?)(?=^## |\z)/sm
        or die "no section \"$heading\"\n";

    return $body;
}


# the rows of the table whose first column is called so; none if there is none

sub rows {
    my ($text, $column) = @_;

    my ($table) = $text =~ /^\| \Q$column\E \|.*\n\|[-:| ]+\n((?:\|.*\n)*)/m
        or return;

    return map { s/^\| | \|$//gr } split /\n/, $table;
}


# "name(param,param)" of a row, for each of its names

sub documented_commands {
    my ($row) = @_;

    my ($names, $params) = split / \| /, $row;
    my $list = join ',', spans($params);

    return map { "$_($list)" } spans($names);
}


# the types of the notifications that a section describes, outside of examples

sub notifications {
    my ($text) = @_;

    $text = join "\n", prose($text);

    return $text =~ /`\{"type":"(\w+)"/g;
}


# --- the sources ------------------------------------------------------------

# the fields of a type of service

sub definition {
    my ($name) = @_;

    my ($fields) = $code =~ /^ngx_snorky_service_type_t\ +\w+\ =\ \{\n
        ([^}]*ngx_string\("\Q$name\E"\),[^}]*)\};/xm
        or die "no type of service $name\n";

    return { commands => 'NULL', options => 'NULL',
        $fields =~ /\.(commands|options)\s*= (\w+)/g };
}


# "name(param,param)", those with the same function side by side

sub coded_commands {
    my ($type) = @_;

    return if $type->{commands} eq 'NULL';

    my ($table) = $code =~ /^static\ ngx_snorky_command_t\ +
        \Q$type->{commands}\E\[\]\ =\ \{(.*?)^\};/xsm
        or die "no table $type->{commands}\n";

    my (@order, %names);

    while ($table =~ /\{\ ngx_string\("(\w+)"\),\s*(\w+),\s*(\w+)\ \}/xg) {
        my ($command, $list, $function) = ($1, $2, $3);
        my ($params) = $code =~ /ngx_str_t +\Q$list\E\[\] = \{(.*?)^\};/sm
            or die "no table $list\n";

        push @order, $function unless $names{$function};
        push @{ $names{$function} },
            "$command(" . join(',', $params =~ /"\??(\w+)"/g) . ')';
    }

    return map { @{ $names{$_} } } @order;
}


sub coded_options {
    my ($type) = @_;

    return if $type->{options} eq 'NULL';

    my ($table) = $code =~ /^static\ ngx_snorky_option_t\ +
        \Q$type->{options}\E\[\]\ =\ \{(.*?)^\};/xsm
        or die "no table $type->{options}\n";

    return $table =~ /ngx_string\("(\w+)"\)/g;
}


# Whether a row has the number that the code takes without the option; what
# is no number is not looked at.

sub coded_default {
    my ($row) = @_;

    my %unit = (s => 1000, k => 1024, m => 1024 * 1024);
    my ($option, $number, $unit) = $row =~ /^`(\w+)=` \| `(\d+)([skm]?)` \|/
        or return 1;

    # services may have an option of the same name

    for my $name ($code =~ /conf->$option = (NGX_SNORKY_\w+);/g) {
        my ($value) = $code =~ /define $name +\(?(\d+(?: \* \d+)*)/
            or next;

        my $product = 1;
        $product *= $_ for split / \* /, $value;

        return 1 if $product == $number * ($unit{$unit} // 1);
    }

    return 0;
}


# a pattern of all literals of the sources; an error may be filled in

sub errors {
    my %literal = map { s/\\//gr => 1 } $code =~ /"((?:[^"\\\n]|\\.)+)"/g;

    return join '|', map { s/\\%\\\*s/.+/gr } map { quotemeta }
        sort keys %literal;
}


# the errors in a row that the sources have not, or for another parameter

sub wrong_errors {
    my ($row) = @_;

    my @cells = split / \| /, $row;
    my %param = map { ucfirst($_) => 1 } spans($cells[1]);

    return grep { /^(\w+) too long$/ ? !$param{$1} : !/^(?:$error)$/ }
        spans($cells[3]);
}


sub dealer_kinds {
    my ($body) = $code =~ /^ngx_snorky_datasync_kind\([^;]*?\n\{(.*?)^\}/sm
        or die "no kinds of dealers\n";

    return $body =~ /ngx_strcmp\([^"]*"(\w+)"\)/g;
}


# --- nginx ------------------------------------------------------------------

# a part of http{} becomes a whole configuration

sub whole {
    my ($text) = @_;

    return "%%TEST_GLOBALS%%\ndaemon off;\nevents {\n}\n"
        . "http {\n%%TEST_GLOBALS_HTTP%%\n$text}\n";
}


# The page's server, and a service that tells when a conversation is over.

sub configuration {
    my ($workers) = @_;

    my $text = $server;

    $text =~ s/^http \{\n(.*)^\}\n/$1/sm or die "no http{} in the page\n";
    $text =~ s/^(\s*listen .*);/$1 reuseport;/m;
    $text =~ s/^(\s*location )/${1}= \/status { snorky_status; }\n$1/m;

    return at_level($t, 'info', "worker_processes $workers;\n" . whole(
        "snorky_service pubsub end;\nsnorky_drain 10ms;\n"
        . "add_header X-Worker \$snorky_worker always;\n$text"));
}


# --- conversations ----------------------------------------------------------

# Returns what is not as it is written, '' when all is.

sub converse {
    my ($text, @slots) = @_;

    my $talk = { bound => {}, clients => {}, slots => \@slots };
    my $number = 0;

    for my $line (split /\n/, $text) {
        $number++;

        next if $line =~ /^#/;

        my $wrong = say_or_hear($talk, $line);

        return "line $number: $line\n$wrong" if length $wrong;
    }

    return too_much($talk);
}


sub say_or_hear {
    my ($talk, $line) = @_;

    return $line =~ /^backend> (.+)$/ ? post($talk, $1)
         : $line =~ /^backend< (.+)$/ ? compare($talk, $1,
                                            delete $talk->{answer})
         : $line =~ /^([a-z]+(?:\.\d)?)> (.+)$/ ? speak($talk, $1, $2)
         : $line =~ /^([a-z]+(?:\.\d)?)< (.+)$/ ? compare($talk, $2,
                                            client($talk, $1)->text_in())
         : $line =~ /^([a-z]+(?:\.\d)?) leaves$/ ? leave($talk, $1)
         : 'this is no line of a conversation';
}


# Clients come when they are named first, one worker after the other.

sub client {
    my ($talk, $name) = @_;

    return $talk->{clients}{$name} if $talk->{clients}{$name};

    my ($user) = $name =~ /^(\w+)/;
    my $slot = shift @{ $talk->{slots} };

    push @{ $talk->{slots} }, $slot;

    return $talk->{clients}{$name} = connect_to_worker($slot,
        $user eq 'stranger' ? '/ws' : "/ws?user=$user");
}


sub speak {
    my ($talk, $name, $text) = @_;

    client($talk, $name)->text(fill_in($talk, $text));

    return '';
}


sub leave {
    my ($talk, $name) = @_;

    my $code = client($talk, $name)->finish();

    delete $talk->{clients}{$name};

    return ($code // 0) == 1000 ? '' : 'it did not end as it should';
}


sub post {
    my ($talk, $text) = @_;

    my $r = backend_post('/backend', fill_in($talk, $text),
        key => 'swordfish');

    return 'no answer' unless $r;

    $talk->{answer} = $r->{body};

    return $r->{status} == 200 ? '' : "it is answered with $r->{status}";
}


sub fill_in {
    my ($talk, $text) = @_;

    my $bound = $talk->{bound};

    $text =~ s{<([A-Z]+\d?)>}{ $bound->{$1} // die "what is <$1>?\n" }ge;

    return $text;
}


# A placeholder that has come before stands for the same, but for the time.

sub compare {
    my ($talk, $expected, $got) = @_;

    return 'nothing came' unless defined $got;

    my ($pattern, @names) = ('');

    for my $part (split /(<[A-Z]+\d?>)/, $expected) {
        my ($name) = $part =~ /^<([A-Z]+\d?)>$/;

        if (!defined $name || defined $talk->{bound}{$name}) {
            $pattern .= quotemeta($name ? $talk->{bound}{$name} : $part);
            next;
        }

        my $form = $form{ $name =~ s/\d$//r } or die "what is <$name>?\n";

        $pattern .= "($form)";
        push @names, $name;
    }

    my @values = $got =~ /^$pattern$/ or return "got: $got";

    for my $name (@names) {
        my $value = shift @values;

        if ($name eq 'TIME') {
            return "not now: $value" if abs(epoch($value) - time()) > 60;

        } else {
            $talk->{bound}{$name} = $value;
        }
    }

    return '';
}


sub epoch {
    my ($text) = @_;

    my ($year, $month, @rest) = $text =~ /\d+/g;
    my ($day, $hour, $minute, $second, undef, $hours, $minutes) = @rest;
    my $sign = $text =~ /-\d\d:\d\d$/ ? -1 : 1;

    return timegm($second, $minute, $hour, $day, $month - 1, $year)
        - $sign * ($hours * 60 + $minutes) * 60;
}


# Whatever was published before comes before what is published now.

sub too_much {
    my ($talk) = @_;

    return 'an answer of the backend is not told' if $talk->{answer};

    my %client = %{ $talk->{clients} };
    my ($last) = sort keys %client or return '';
    my @wrong;

    for my $name (sort keys %client) {
        my $reply = $client{$name}->rpc('end', 'subscribe', { channel => 1 });

        return "$name does not answer"
            unless ($reply->{type} // '') eq 'response';
    }

    $client{$last}->call('end', 'publish', { channel => 1, message => 1 });

    for my $name (sort keys %client) {
        for (;;) {
            my $text = $client{$name}->notification_text()
                // return "$name hears no end";

            last if $text =~ /^\{"service":"end"/;

            push @wrong, "$name< $text";
        }
    }

    $_->close_frame(1000) for values %client;

    return @wrong ? join "\n", 'more than that came:', @wrong : '';
}
