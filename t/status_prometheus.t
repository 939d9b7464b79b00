#!/usr/bin/perl

# Copyright (C) The ngx_snorky_module authors
#
# snorky_status for Prometheus: what its parsers read is what JSON says, figure
# by figure and under the names of docs/operating.md, with two workers, with
# one that stands still, and over a reload.  And docs/grafana.json, which asks
# for no metric that is not there.

use strict;
use warnings;

use FindBin;
use JSON::PP ();
use Test::More;

BEGIN { push @INC, "$FindBin::Bin/lib" }

use Test::Nginx;
use Snorky;
use Snorky::Client;


my $parser = Snorky::Client::prometheus()
    or plan(skip_all => 'no prometheus_client of Python');

my $operating = slurp('docs/operating.md');
my ($promised) = $operating =~ /^## The status\n(.*?)^## /sm;

my $t = Test::Nginx->new()->has(qw/ http /)->plan(44);

$t->write_file_expand('nginx.conf', at_level($t, 'info', <<'EOC'));

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    snorky_zone 4m log=1m;
    snorky_drain 100ms;
    snorky_worker_timeout 3s;

    snorky_service pubsub messaging;
    snorky_service messaging names;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        add_header X-Worker $snorky_worker always;

        lingering_timeout 1s;

        location /ws {
            snorky_websocket;
        }

        location /echo {
            snorky_websocket_echo;
        }

        location /sockjs {
            snorky_sockjs;
            snorky_sockjs_disconnect_delay 3s;
        }

        location /backend {
            snorky_backend;
            snorky_backend_key swordfish;
        }

        location /status {
            snorky_status;
        }
    }
}

EOC

$t->run();

wait_until { @{ status_json()->{workers} } == 2 };

my $asked;


# at first

my %family = %{ scrape() };

is_deeply(samples(\%family), expected(reading()), 'at first, all is as in JSON');

is(join(' ', grep { $promised !~ /`\Q$_\E[`{]/ } sort keys %family), '',
    'every metric is described');

is(join(' ', map { $family{$_}{type} }
        grep { /_total$/ } sort keys %family),
    join(' ', ('counter') x grep { /_total$/ } keys %family),
    'what ends in "_total" is a counter');
is(join(' ', map { $family{$_}{type} }
        grep { !/_total$/ } sort keys %family),
    join(' ', ('gauge') x grep { !/_total$/ } keys %family),
    'and all else a gauge');

my %kind = (%{ kinds('Gauges, of now', 'gauge') },
    %{ kinds('Counters, since', 'counter') });

is(join(' ', grep { $family{$_}{type} ne $kind{$_} } sort keys %kind), '',
    'as docs/operating.md has it');

is(join("\n", grep { $family{$_}{help} !~ /^[A-Z][^\n]+\.$/ } keys %family), '',
    'the help of each is a sentence');


# something to count

my ($one, $two) = map { $_->{slot} }
    sort { $a->{slot} <=> $b->{slot} } @{ status_json()->{workers} };

my $p = connect_to_worker($one, '/ws');
my $q = connect_to_worker($two, '/ws');
my $r = connect_to_worker($two, '/ws');
my $e = connect_to_worker($two, '/echo');

$p->rpc('messaging', 'subscribe', { channel => $_ }) for 'a' .. 'e', 'both';
$_->rpc('messaging', 'subscribe', { channel => 'both' }) for $q, $r;
$p->rpc('names', 'registerParticipant', { name => 'somebody' });
$p->rpc('messaging', 'publish', { channel => 'both', message => 1 }) for 1 .. 7;
$q->rpc('messaging', 'publish', { channel => 'both', message => 1 });
$p->rpc('messaging', 'unsubscribe', {}) for 1 .. 4;
$p->text('{') for 1 .. 5;
$p->rpc('messaging', 'nothing', {});
$e->text('x' x 1000);
backend_post('/backend', '{"service":"messaging","message":1}',
    key => 'swordfish') for 1 .. 9;
Snorky->attempt('/ws', origin => 'http://elsewhere.example') for 1 .. 2;
Snorky->attempt('/ws', version => 8) for 1 .. 3;

for my $end (sub { $_[0]->text("\xff") }, sub { $_[0]->send(frame(3, '')) },
    sub { $_[0]->reset() })
{
    my $c = Snorky->connect('/ws');
    $c->{mute} = 1;
    $end->($c);
}

Snorky->dial()->request('POST', "/sockjs/000/$_/xhr", body => '')
    for qw/ aaa bbb ccc /;

wait_until { counters()->{sessions} == 7 };

my $figures = reading();

ok($figures->{total}{$_} > 0, "there is something to count as $_")
    for qw/ sessions_websocket sessions_echo sessions_sockjs subscriptions
            channels connections messages_in messages_out bytes_in bytes_out
            publications deliveries backend_requests malformed errors
            bells_sent bells_received rejected_origin rejected_handshake
            closed_lost closed_protocol closed_invalid /;

my $samples = samples(scrape());

is_deeply($samples, expected($figures), 'then, all is as in JSON');

is(sum($samples, 'snorky_worker_sessions'), $samples->{snorky_sessions},
    'the sessions of the workers are all that there are');
is(sum($samples, 'snorky_worker_publications_total'),
    $samples->{snorky_publications_total}, 'so are their publications');
is(sum($samples, 'snorky_connections_closed_total')
    + $samples->{snorky_sessions}, $samples->{snorky_connections_total},
    'who came is there, or has gone for some reason');


# a worker that stands still, when nothing is on its way out any more

wait_until { counters()->{sessions_sockjs} == 0 };

$asked = ask($one);

my ($pid) = map { $_->{pid} } grep { $_->{slot} == $two }
    @{ reading()->{workers} };

kill 'STOP', $pid;
$p->rpc('messaging', 'publish', { channel => 'z', message => 'x' x 50000 });

$figures = reading();
$samples = samples(scrape());

is_deeply($samples, expected($figures), 'when a worker stops, all is as in JSON');
ok($samples->{"snorky_worker_log_lag_bytes{slot=$two}"} > 50000,
    'it lags behind');

wait_until { grep { $_->{state} eq 'lost' } @{ reading()->{workers} } };

$figures = reading();
$samples = samples(scrape());

is_deeply($samples, expected($figures), 'when it is lost, all is as in JSON');
is(join(' ', map { $samples->{"snorky_worker_up{slot=$_}"} } $one, $two), '1 0',
    'it is not up');

kill 'CONT', $pid;
wait_until { !grep { $_->{state} eq 'lost' } @{ reading()->{workers} } };
undef $asked;
$_->close_in() && $_->gone() for $q, $r, $e;


# a reload: counters do not fall, and no scrape fails

my %old = map { $_ => 1 } worker_pids($t);
my $before = totals();
my ($last, $falls, $scrapes) = ($before, '', 0);

$t->reload();

my $done = wait_until {
    my $now = totals();

    $falls .= join ' ', grep { $now->{$_} < $last->{$_} } keys %$last;
    $last = $now;
    $scrapes++;

    !$p->shift_message() && $p->fill(0);

    !grep { $old{$_->{pid}} } @{ status_json()->{workers} };
};

is($done, 1, 'after a reload the old workers are gone');
is($falls, '', 'no total has fallen');
is(join(' ', sort keys %$last), join(' ', sort keys %$before),
    'none is missing');

wait_until { @{ reading()->{workers} } == 2 };

is_deeply(samples(scrape()), expected(reading()),
    'with the new workers, all is as in JSON');


# what docs/operating.md tells Prometheus to ask for

my ($config) = $operating =~ /^```yaml\n(scrape_configs:.*?)^```$/sm;
my ($path) = $config =~ /^ +metrics_path: (\S+)$/m;

like(get($path, headers => [ 'Accept: application/openmetrics-text;'
    . 'version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1' ])
    ->{body}, qr/^# HELP /, 'Prometheus gets its text as it is told to');


# the dashboard

my $dashboard = JSON::PP->new()->utf8()->decode(slurp('docs/grafana.json'));

is(complaints($dashboard), '', 'the dashboard is one for Grafana');
is(join("\n", map { wrong($_) } expressions($dashboard)), '',
    'it asks for what there is, in the right way');

my %asked = map { $_ => 1 } map { /\bsnorky_\w+/g } expressions($dashboard);

is(join(' ', grep { !/_info$/ && !$asked{$_} } sort keys %family), '',
    'and leaves nothing out');


# --- helpers ----------------------------------------------------------------

sub slurp {
    my ($name) = @_;
    local $/;

    open my $f, '<', "$FindBin::Bin/../$name" or die "cannot read $name: $!\n";

    return scalar <$f>;
}


# a connection to that worker which is kept

sub ask {
    my ($slot) = @_;

    return wait_until {
        my $h = Snorky->dial();
        my $answer = $h->request('GET', '/status');

        $answer && $answer->{headers}{'x-worker'} == $slot && $h;
    } || die "no connection to worker $slot\n";
}


# from the worker that is asked, or any

sub status {
    my ($format) = @_;

    my $r = ($asked || Snorky->dial())->request('GET',
        "/status?format=$format");

    die "no status\n" unless $r && $r->{status} == 200;

    return $r;
}


# the JSON once nothing changes any more, without who answers

sub reading {
    my $last = '';

    return wait_until {
        my $now = status('json')->{json};

        delete @$now{qw/ pid worker /};

        my $same = $last eq json($now);
        $last = json($now);

        $same && $now;
    } || die "it changes all the time\n";
}


# the metrics as the parsers read them

sub scrape {
    $t->write_file('metrics.txt', status('prometheus')->{body});

    my $read = `@$parser @{[ $t->testdir() ]}/metrics.txt 2>&1`;

    return eval { JSON::PP->new()->utf8()->decode($read) } || die $read;
}


# { name{label=value,...} => value }

sub samples {
    my ($families) = @_;
    my %found;

    for my $family (keys %$families) {
        for my $sample (@{ $families->{$family}{samples} }) {
            my ($name, $labels, $value) = @$sample;

            $found{$name . label(%$labels)} = $value;
        }
    }

    return \%found;
}


sub label {
    my (%labels) = @_;

    return '' unless %labels;
    return '{' . join(',', map { "$_=$labels{$_}" } sort keys %labels) . '}';
}


# The same of the JSON, by the names in docs/operating.md.

sub expected {
    my ($s) = @_;

    my %found = (
        'snorky_build_info'
            . label(version => $s->{version}, nginx => $s->{nginx}) => 1,
    );

    for my $figure (keys %{ described() }) {
        my $metric = described()->{$figure} =~ s/"//gr;

        $found{$metric} = $figure =~ /^(zone|log)\.(\w+)$/ ? $s->{$1}{$2}
                                                           : $s->{total}{$figure};
    }

    for my $w (@{ $s->{workers} }) {
        my $slot = label(slot => $w->{slot});

        $found{'snorky_worker_info' . label(map { $_ => $w->{$_} }
            qw/ slot pid generation /)} = 1;

        $found{"snorky_worker_up$slot"} = $w->{state} eq 'live' ? 1 : 0;
        $found{"snorky_worker_quitting$slot"} = $w->{quitting} ? 1 : 0;
        $found{"snorky_worker_log_lag_bytes$slot"} = $w->{lag};
        $found{"snorky_worker_sessions$slot"} = $w->{sessions};
        $found{"snorky_worker_publications_total$slot"} = $w->{publications};
        $found{"snorky_worker_deliveries_total$slot"} = $w->{deliveries};
    }

    return \%found;
}


# { figure => metric }, of the zone, the log and the total

sub described {
    my %found;

    for my $row ($promised =~ /^\| (`.*)/mg) {
        my ($figures, $metrics) = split / \| /, $row;
        my @metrics = $metrics =~ /`([^`]+)`/g;

        next if $metrics eq '-' || $metrics =~ /^`snorky_(?:build|worker)_/;

        $found{$_} = shift @metrics for $figures =~ /`([^`]+)`/g;
    }

    return \%found;
}


# { metric => kind } of the table below these words

sub kinds {
    my ($words, $kind) = @_;

    my ($table) = $promised =~ /^$words.*?\n\n(.*?)\n\n/sm;

    return { map { $_ => $kind } map { (split / \| /)[1] =~ /`(snorky_\w+)/g }
        $table =~ /^(\| `.*)/mg };
}


sub sum {
    my ($samples, $metric) = @_;

    my $sum = 0;
    $sum += $samples->{$_} for grep { /^\Q$metric\E\{/ } keys %$samples;

    return $sum;
}


# the counters that are no single worker's, read without the parser's help

sub totals {
    return { status('prometheus')->{body}
        =~ /^(snorky_(?!worker_)\w+_total(?:\{.*\})?) (\d+)$/mg };
}


# --- Grafana ----------------------------------------------------------------

# what Grafana would not take, or not show

sub complaints {
    my ($d) = @_;
    my (@wrong, %id, %taken);

    push @wrong, "no $_" for grep { !defined $d->{$_} || $d->{$_} eq '' }
        qw/ title uid schemaVersion panels templating time refresh version /;

    push @wrong, 'the schema is not of Grafana 9'
        if $d->{schemaVersion} < 36 || $d->{schemaVersion} > 39;

    my %variable = map { $_->{name} => $_ } @{ $d->{templating}{list} };

    push @wrong, 'no variable for the data source'
        unless ($variable{datasource}{type} // '') eq 'datasource'
            && $variable{datasource}{query} eq 'prometheus';

    for my $v (grep { $_->{type} eq 'query' } values %variable) {
        push @wrong, "$v->{name} has not the data source"
            if $v->{datasource}{uid} ne '${datasource}';
        push @wrong, "$v->{name} asks for nothing that there is"
            if $v->{definition} ne $v->{query}{query}
                || $v->{definition} !~ /^label_values\((snorky_\w+)/
                || !$family{$1};
    }

    for my $panel (@{ $d->{panels} }) {
        my ($title, $at) = @$panel{qw/ title gridPos /};

        push @wrong, "$title: no or another's id"
            if !$panel->{id} || $id{$panel->{id}}++;
        push @wrong, "$title: not in the grid" if $at->{x} + $at->{w} > 24;

        for my $x ($at->{x} .. $at->{x} + $at->{w} - 1) {
            push @wrong, map { "$title: in the place of another" }
                grep { $taken{"$x $_"}++ } $at->{y} .. $at->{y} + $at->{h} - 1;
        }

        next if $panel->{type} eq 'row';

        push @wrong, "$title: an unknown type"
            if $panel->{type} !~ /^(?:timeseries|stat)$/;
        push @wrong, "$title: no unit"
            unless $panel->{fieldConfig}{defaults}{unit};

        my %ref;

        for my $target ($panel, @{ $panel->{targets} }) {
            push @wrong, "$title: not the data source"
                if $target->{datasource}{type} ne 'prometheus'
                    || $target->{datasource}{uid} ne '${datasource}';
        }

        push @wrong, map { "$title: no or another's refId" }
            grep { !$_->{refId} || $ref{$_->{refId}}++ } @{ $panel->{targets} };
        push @wrong, map { "$title: an unknown variable $_" }
            grep { !$variable{$_} && !/^__rate_interval$/ }
            map { $_->{expr} =~ /\$(\w+)/g } @{ $panel->{targets} };

        # what the legend tells is what the sum keeps

        push @wrong, map { "$title: $_->{legendFormat}" }
            grep { join(', ', $_->{legendFormat} =~ /\{\{(\w+)\}\}/g)
                   ne join ', ', $_->{expr} =~ /^sum by \((.*?)\)/ }
            @{ $panel->{targets} };
    }

    return join "\n", @wrong;
}


sub expressions {
    my ($d) = @_;

    return map { $_->{expr} } map { @{ $_->{targets} || [] } }
        @{ $d->{panels} };
}


# what is wrong with an expression

sub wrong {
    my ($expr) = @_;

    my @by = map { split /, / } $expr =~ /\bby \(([^)]*)\)/g;
    my @wrong;

    while ($expr =~ /\b(snorky_\w+)\{([^}]*)\}(\[\$__rate_interval\])?/g) {
        my ($metric, $matchers, $range, $at) = ($1, $2, $3, $-[0]);

        push @wrong, "no $metric" unless $family{$metric};
        push @wrong, "$metric is for all jobs"
            if $matchers ne 'job="$job",instance=~"$instance"';
        push @wrong, "$metric is no rate, or the rate of a gauge"
            if ($metric =~ /_total$/ ? 1 : 0) != ($range ? 1 : 0)
                || $range
                && substr($expr, 0, $at) !~ /(?:rate|increase)\($/;

        my %label = map { $_ => 1 } 'instance',
            map { keys %{ $_->[1] } } @{ $family{$metric}{samples} || [] };

        push @wrong, map { "$metric has no label $_" } grep { !$label{$_} } @by;
    }

    push @wrong, 'something is asked for in another way'
        if (() = $expr =~ /snorky_/g)
           != (() = $expr =~ /\bsnorky_\w+\{[^}]*\}/g);
    push @wrong, 'brackets' if ($expr =~ tr/(//) != ($expr =~ tr/)//);

    return map { "$expr: $_" } @wrong;
}
