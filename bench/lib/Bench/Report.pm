package Bench::Report;

# Copyright (C) The ngx_snorky_module authors
#
# What the runs mean: medians, ratios within rounds, targets; and the report
# in Markdown.  Reads scenarios with their results, changes nothing.

use warnings;
use strict;

use Exporter qw/ import /;
use List::Util qw/ sum0 /;

our @EXPORT_OK = qw/ median value cost row_title rows failed number report
	readme /;

# of README's table: what it is called there, scenario, column, rows

my @figures = (
	[ 'CPU per delivery, 16 publications under way, us',
		'fanout', 'CPU us per delivery' ],
	[ 'CPU per delivery, 100 publications per second, us',
		'rate', 'CPU us per delivery' ],
	[ 'CPU per publication over HTTP, us',
		'post', 'CPU us per request' ],
	[ 'CPU per WebSocket handshake, us',
		'connect', 'CPU us per handshake' ],
	[ 'memory of an idle connection, bytes',
		'idle', 'Pss' ],
);

my @compared = qw/ snorky nchan ws /;

###############################################################################

sub median {
	my @v = sort { $a <=> $b } grep { defined } @_;

	return undef unless @v;
	return ($v[($#v - $#v % 2) / 2] + $v[($#v + $#v % 2) / 2]) / 2;
}

sub number {
	my ($format, $value) = @_;

	return '-' unless defined $value;

	my $text = sprintf $format, $value;

	if ($text =~ /^-?\d+$/) {
		1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
	}

	return $text;
}

# the median, and from where to where it went

sub spread {
	my ($format, @values) = @_;

	my @v = sort { $a <=> $b } grep { defined } @values;
	my $text = number($format, median(@v));

	return $text if @v < 2;
	return "$text (" . number($format, $v[0]) . '-'
		. number($format, $v[-1]) . ')';
}

# a member of a run's report, by its path

sub value {
	my ($r, $path) = @_;

	foreach my $name (split /\./, $path) {
		return undef unless ref $r eq 'HASH';
		$r = $r->{$name};
	}

	return $r;
}

sub values_of {
	my ($s, $key, $path) = @_;
	return map { value($_, $path) } @{$s->{results}{$key} || []};
}

# what the scenario is about

sub cost {
	my ($s, $r) = @_;
	return value($r, $s->{columns}[0][1]);
}

sub pairs {
	my ($s, $path, $key, $to) = @_;

	my @a = values_of($s, $key, $path);
	my @b = values_of($s, $to, $path);

	return grep { defined $_->[0] && defined $_->[1] }
		map { [ $a[$_], $b[$_] ] } 0 .. ($#a < $#b ? $#a : $#b);
}

sub ratio {
	return median(map { $_->[0] / $_->[1] } grep { $_->[1] } pairs(@_));
}

sub difference {
	return median(map { $_->[0] - $_->[1] } pairs(@_));
}

# rows that were run

sub rows {
	my ($s) = @_;
	return grep { $s->{results}{$_->{key}} } @{$s->{rows}};
}

sub row_title {
	my ($servers, $row) = @_;

	return $servers->title($row->{server})
		. ($row->{suffix} ? ", $row->{suffix}" : '');
}

sub failed {
	my ($s, @keys) = @_;

	my ($r) = grep { $_->{failure} } map { @{$s->{results}{$_} || []} } @keys;

	return $r ? $r->{failure} : '';
}

# what a server still owed when its time was over is late, not lost

sub late {
	my ($r) = @_;
	return ($r->{failure} // '') =~ /in time$/;
}

###############################################################################

sub line {
	return '| ' . join(' | ', @_) . " |\n";
}

sub cell {
	my ($s, $column, $key) = @_;

	my ($title, $path, $format, $factor) = @$column;

	# these are added up

	if ($format eq '%d') {
		my @counts = grep { defined } map { value($_, $path) }
			grep { !late($_) } @{$s->{results}{$key}};

		return @counts ? number('%d', sum0(@counts)) : '-';
	}

	my @values = map { defined $_ ? $_ * ($factor // 1) : undef }
		values_of($s, $key, $path);

	return spread($format, @values) if $column == $s->{columns}[0];
	return number($format, median(@values));
}

# without the columns that nobody has

sub table {
	my ($s, $servers) = @_;

	my @rows = rows($s);
	return "Nothing of it could be run.\n" unless @rows;

	my %title = map { $_->{key} => row_title($servers, $_) } @rows;
	my @to = grep { $title{$_} } @{$s->{to} || []};

	my @columns = grep {
		my $path = $_->[1];
		grep { defined } map { values_of($s, $_->{key}, $path) } @rows;
	} @{$s->{columns}};

	my $text = line('server', map({ $_->[0] } @columns),
			map { "x $title{$_}" } @to)
		. line('---', ('---:') x (@columns + @to));

	foreach my $key (map { $_->{key} } @rows) {
		my $failure = failed($s, $key);

		$text .= line($title{$key} . ($failure ? " (**$failure**)" : ''),
			map({ cell($s, $_, $key) } @columns),
			map { number('%.2f', ratio($s, $s->{columns}[0][1],
				$key, $_)) } @to);
	}

	return $text;
}

my %notes = (
	client => sub {
		my ($s) = @_;

		my @all = map { @$_ } values %{$s->{results}};

		my @busy = sort { $a <=> $b } grep { defined }
			map { $_->{client_busy} } @all;

		return '' unless @busy;

		return sprintf "\nThe load generator was busy %.2f to %.2f of"
			. " a core.\n", @busy[0, -1];
	},

	bystander => sub {
		my ($s) = @_;

		return '' unless grep { defined $_->{bystander_first}
			&& !$_->{bystander_first} }
			map { @$_ } values %{$s->{results}};

		return "\n**That client was not allowed to go before the load"
			. " generator**, so it waited for both.\n";
	},

	churn => sub {
		my ($s) = @_;

		my ($with, $without) = map { $s->{results}{$_} || [] }
			'snorky', 'snorky/nobody leaves';

		my $us = median(map {
			my ($a, $b) = ($with->[$_], $without->[$_]);
			my ($x, $y) = map { value($_, 'server_busy') } $a, $b;
			my $n = value($a, 'changes_per_s');

			defined $x && defined $y && $n
				? ($x - $y) * 1e6 / $n : undef;
		} 0 .. $#$with);

		return '' unless defined $us;
		return sprintf "\nThe difference is %.1f us of CPU per change;"
			. " two of three are new connections.\n", $us;
	},
);

###############################################################################

# a target's value, or undef

sub measured {
	my ($s, $target) = @_;

	my (undef, $kind, undef, $path, @keys) = @$target;

	return ratio($s, $path, @keys) if $kind =~ /^(?:ratio|at least)$/;

	my $v = $kind eq 'difference' ? difference($s, $path, @keys)
		: $kind eq 'hop' ? median(map { $_->[0] - $_->[1] }
			grep { defined $_->[0] && defined $_->[1] }
			map { [ value($_, "latency_us_other.$path"),
				value($_, "latency_us_same.$path") ] }
			@{$s->{results}{$keys[0]} || []})
		: median(values_of($s, $keys[0], $path));

	return defined $v && $kind ne 'value' ? $v / 1000 : $v;
}

# the last run of bench/million, which takes too long for each report

sub million {
	my ($m) = @_;

	my %n = map { $_ => number('%d', $m->{$_}) } qw/ connections pings
		nginx_bytes nginx_bytes_whole kernel_bytes machine_bytes /;
	my $lean = $m->{lean} ? ', `snorky_lean on`' : '';

	return <<"TEXT";

## $n{connections} connections

By `bench/million --record` on the same machine with nothing else running,
$m->{date}, nginx $m->{nginx}, ngx_snorky_module $m->{commit}: $m->{workers}
workers$lean, and as many processes of the load generator, since a process has
20,000 descriptors here.

- Subscribed to one channel in $m->{opened_seconds} s, and held for
  $m->{seconds} s.
- nginx took $m->{cores} of a core meanwhile; $n{pings} pings were answered.
- Bytes per connection: nginx $n{nginx_bytes}, with what its workers have from
  the start $n{nginx_bytes_whole}; the kernel, for both ends, $n{kernel_bytes};
  all that the machine gave, load generator and kernel included,
  $n{machine_bytes}.
- One publication then reached half of them in $m->{half_reached_seconds} s and
  all in $m->{reached_seconds} s; $m->{lost} were lost.
TEXT
}

sub targets_million {
	my ($m) = @_;

	my $name = number('%d', $m->{connections}) . ' connections';
	my $link = "[$name](#" . (lc $name =~ s/[^\w -]//gr =~ s/ /-/gr) . ')';

	return line($link, 'held with pings, seconds', 'at least 600',
			number('%d', $m->{seconds}),
			$m->{seconds} >= 600 ? 'met' : '**missed**')
		. line($link, 'cores of nginx meanwhile', 'at most 0.5',
			number('%.2f', $m->{cores}),
			$m->{cores} <= 0.5 ? 'met' : '**missed**')
		. line($link, 'without the one publication', '0',
			number('%d', $m->{lost}),
			$m->{lost} ? '**missed**' : 'met');
}

sub targets {
	my ($scenarios, $million) = @_;

	my @all = map { my $s = $_; map { [ $s, $_ ] } @{$s->{targets}} }
		@$scenarios;

	my $text = line('scenario', 'what', 'target', 'measured', '')
		. line('---', '---', '---:', '---:', '---');

	foreach (@all) {
		my ($s, $target) = @$_;
		my ($what, $kind, $limit, undef, @keys) = @$target;

		my $v = measured($s, $target);
		my $format = $kind eq 'value' ? '%.0f' : '%.2f';
		my $least = $kind eq 'at least';

		my $anchor = lc $s->{title} =~ s/[^\w -]//gr =~ s/ /-/gr;

		$text .= line("[$s->{title}](#$anchor)", $what,
			($least ? 'at least ' : 'at most ')
				. ($limit =~ /\D/ ? $limit : number('%d', $limit)),
			number($format, $v),
			failed($s, @keys) ? '**failed**'
				: !defined $v ? 'not measured'
				: ($least ? $v >= $limit : $v <= $limit) ? 'met'
				: '**missed**');
	}

	$text .= targets_million($million) if $million;

	my @runs = map { map { @$_ } values %{$_->{results}} } @$scenarios;
	my @kept = grep { !late($_) } @runs;

	my @sums = map { my $name = $_; sum0(map { $_->{$name} // 0 } @kept) }
		qw/ lost duplicated reordered other_order /;

	my $ours = grep { $_->{failure} && $_->{server} =~ /^snorky/ } @runs;

	return $text . line(scalar(@runs) . ' runs',
		'lost, duplicated, reordered, in another order than others',
		'0, 0, 0, 0', join(', ', map { number('%d', $_) } @sums),
		sum0(@sums) || $ours ? '**failed**' : 'met');
}

# README's figures: a hash of lines, without what was not measured

sub readme {
	my ($scenarios) = @_;

	my %by = map { $_->{name} => $_ } @$scenarios;
	my %lines;

	foreach (@figures) {
		my ($label, $name, $title) = @$_;

		my $s = $by{$name} or next;
		my ($column) = grep { $_->[0] eq $title } @{$s->{columns}};

		my @cells = map { $s->{results}{$_}
			? cell($s, $column, $_) =~ s/ \(.*//r : '-' } @compared;

		next if $cells[0] eq '-';

		$lines{$label} = line($label, @cells);
	}

	return \%lines;
}

# $facts: machine, versions, date, seconds, load_before, load_after, busy,
# absent, faults, chart, million

sub report {
	my ($scenarios, $servers, $facts) = @_;

	my $text = <<"TEXT";
# Benchmarks

[Documentation](README.md) |
previous: [comparison](comparison.md)

Written by `make bench`, which builds what is needed and runs `bench/run`: that
takes some minutes, and needs root only to install what is missing. All servers
run on one core and the load generator on another; two workers run on both.
Servers take turns in each round. Absolute figures differ from machine to
machine and from minute to minute: compare the ratios, each of which is the
median of the ratios within single rounds. "CPU" is user and system time of all
processes of the server, so it counts what the kernel does for the server's
calls. `make bench BENCH_FLAGS='--only=fanout,idle --rounds=1'` runs a part, and
leaves its report in `build/bench`.

The *floor* is a minimal epoll server (`bench/floor.c`) that parses no JSON and
sends a frame that it has built once: with one `writev` per subscriber and
round of the event loop, or with one `send` per message and subscriber. It
answers publications, as the module does. nchan runs on the same nginx, and
stores messages, which the module does not. `bench/ws.js` is a server of one
process with Node's `ws`, which sends and gets texts without JSON around them.

- Machine: $facts->{machine}.
- Versions: $facts->{versions}.
- Date: $facts->{date}, $facts->{seconds} seconds. Load average $facts->{load_before} before and
  $facts->{load_after} after; a run by itself brings it to about 2.
TEXT

	$text .= <<'TEXT' if $facts->{busy};
- **The machine was busy with other work.** A server that waits for its core
  finds its sockets full, and a send to those is cheap; rates and latencies say
  little.
TEXT

	$text .= '- Left out, because it was not there: '
		. join('; ', @{$facts->{absent}}) . ".\n"
		if @{$facts->{absent}};

	$text .= "- **Some runs failed; they are marked.**\n" if $facts->{faults};

	$text .= "\n![CPU per delivery, publication and handshake, and batch"
		. " windows]($facts->{chart})\n" if $facts->{chart};

	$text .= "\n## Targets\n\n" . targets($scenarios, $facts->{million});

	$text .= <<'TEXT';

What a server still owed when its time was over counts as late, not as lost; the
run is marked as failed.
TEXT

	foreach my $s (@$scenarios) {
		$text .= "\n## $s->{title}\n\n$s->{text}\n" . table($s, $servers);
		$text .= $notes{$s->{notes}}->($s) if $s->{notes};
		$text .= "\nRounds: $s->{rounds}. `load @{$s->{load}}`\n";
	}

	$text .= million($facts->{million}) if $facts->{million};

	return $text;
}

1;
