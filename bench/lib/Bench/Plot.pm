package Bench::Plot;

# Copyright (C) The ngx_snorky_module authors
#
# The chart: bars of CPU on one logarithmic scale, a group for a scenario; and
# below them latency against CPU for batch windows.  One SVG, with its own
# colours for light and dark.

use warnings;
use strict;

use Exporter qw/ import /;
use List::Util qw/ max min /;

use Bench::Report qw/ cost median number row_title rows value /;

our @EXPORT_OK = qw/ plot /;

my $WIDTH = 860;
my $LABELS = 270;	# the bars begin here
my $RIGHT = 70;		# for the last bar's figure
my $BAR = 19;
my $PANEL = 170;	# height of a panel of batch windows

# scenario, what a bar is, which rows

my @groups = (
	[ 'fanout', 'Fan-out to 1,000, 16 publications under way: per delivery' ],
	[ 'many', 'Fan-out to 10,000, 4 publications under way: per delivery' ],
	[ 'rate', 'Fan-out to 1,000, 100 publications per second: per delivery' ],
	[ 'channels', '10,000 channels of one subscriber: per publication' ],
	[ 'post', 'POST, 1,000 requests per second: per request' ],
	[ 'connect', 'Handshakes: per handshake' ],
);

my @panels = (
	[ 'batch', '100 publications per second to 1,000' ],
	[ 'batch_fast', '1,000 publications per second to 100' ],
);

my $style = <<'STYLE';
<style>
  text { font: 12px sans-serif; fill: #24292f; paint-order: stroke;
    stroke: #ffffff; stroke-width: 3px; }
  .title { font-weight: bold; }
  .head { font-size: 15px; font-weight: bold; }
  .axis { font-size: 11px; fill: #57606a; }
  .grid { stroke: #d0d7de; stroke-width: 1; }
  .line { stroke: #8c959f; stroke-width: 1.5; fill: none; }
  .back { fill: #ffffff; }
  .own { fill: #0969da; }
  .other { fill: #8c6d9e; }
  .floor { fill: #afb8c1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; stroke: #0d1117; }
    .axis { fill: #9da7b3; }
    .grid { stroke: #30363d; }
    .line { stroke: #6e7681; }
    .back { fill: #0d1117; }
    .own { fill: #4493f8; }
    .other { fill: #a58bb8; }
    .floor { fill: #6e7681; }
  }
</style>
STYLE

###############################################################################

sub escape {
	my ($text) = @_;

	$text =~ s/`//g;
	$text =~ s/&/&amp;/g;
	$text =~ s/</&lt;/g;
	return $text;
}

sub text {
	my ($x, $y, $text, $class, $anchor) = @_;

	return sprintf qq{<text x="%.1f" y="%.1f"%s%s>%s</text>\n}, $x, $y,
		$class ? qq{ class="$class"} : '',
		$anchor ? qq{ text-anchor="$anchor"} : '', escape($text);
}

sub stroke {
	my ($class, @xy) = @_;

	return sprintf qq{<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f"}
		. qq{ y2="%.1f"/>\n}, $class, @xy;
}

sub class {
	my ($server) = @_;

	return $server =~ /^snorky/ ? 'own'
		: $server =~ /^(?:writev|send|nginx)$/ ? 'floor' : 'other';
}

# 0.38, 5.3, 62: three digits at most

sub short {
	my ($v) = @_;
	return sprintf $v < 0.995 ? '%.2f' : $v < 19.95 ? '%.1f' : '%.0f', $v;
}

# what the bars show: title, then [ label, class, value ]

sub bars {
	my ($scenarios, $servers) = @_;

	my %by = map { $_->{name} => $_ } @$scenarios;
	my @bars;

	foreach (@groups) {
		my ($name, $title) = @$_;
		my $s = $by{$name} or next;

		my @rows = map {
			my $v = median(map { cost($s, $_) }
				@{$s->{results}{$_->{key}}});

			$v ? [ row_title($servers, $_),
				class($_->{server}), $v ] : ();
		} rows($s);

		push @bars, [ $title, @rows ] if @rows;
	}

	return @bars;
}

# the scale goes from a power of ten to another

sub draw_bars {
	my ($y, @bars) = @_;

	my @values = map { my (undef, @rows) = @$_; map { $_->[2] } @rows } @bars;
	my ($low, $high) = (floor10(min(@values) * 0.9), -floor10(1 / max(@values)));

	$high = $low + 1 if $high <= $low;

	my $scale = sub {
		return $LABELS + ($WIDTH - $LABELS - $RIGHT)
			* (log($_[0]) / log(10) - $low) / ($high - $low);
	};

	my $lines = sub {
		my ($from, $to) = @_;

		return map { my $x = $scale->(10 ** $_);
			stroke('grid', $x, $from, $x, $to) } $low .. $high;
	};

	my $text = '';

	foreach my $group (@bars) {
		my ($title, @rows) = @$group;

		$y += 24;
		$text .= text(16, $y, $title, 'title');
		$y += 7;
		$text .= join '', $lines->($y, $y + $BAR * @rows);

		foreach my $row (@rows) {
			my ($label, $class, $v) = @$row;

			$text .= text($LABELS - 8, $y + 13, $label, '', 'end')
				. sprintf(qq{<rect class="%s" x="%d" y="%.1f"}
				. qq{ width="%.1f" height="%d"/>\n}, $class,
				$LABELS, $y + 2, $scale->($v) - $LABELS,
				$BAR - 5)
				. text($scale->($v) + 5, $y + 13, short($v));

			$y += $BAR;
		}
	}

	foreach my $power ($low .. $high) {
		$text .= text($scale->(10 ** $power), $y + 16,
			10 ** $power . ' us', 'axis', 'middle');
	}

	return ($text, $y + 24);
}

sub floor10 {
	my ($v) = @_;

	my $power = log($v) / log(10);
	my $int = int $power;

	return $int > $power ? $int - 1 : $int;
}

###############################################################################

# 1, 2 or 5 times a power of ten, so that there are two to five steps

sub step {
	my ($max) = @_;

	my $power = 10 ** floor10($max);

	return $max / $power >= 5 ? 2 * $power
		: $max / $power >= 2 ? $power : $power / 2;
}

sub points {
	my ($s) = @_;

	return map {
		my $results = $s->{results}{$_->{key}};
		my ($label) = $_->{server} =~ /_(\d+)ms$/;

		my $x = median(map { cost($s, $_) } @$results);
		my $p50 = median(map { value($_, 'latency_us.p50') } @$results);

		defined $x && defined $p50
			? [ $label ? "$label ms" : 'none', $x, $p50 / 1000 ] : ();
	} rows($s);
}

sub draw_panel {
	my ($left, $width, $top, $title, @points) = @_;

	my ($x_step, $y_step) = map { my $i = $_;
		step(1.15 * max(map { $_->[$i] } @points)) } 1, 2;
	my ($x_max, $y_max) = map { my $i = $_->[0];
		$_->[1] * (1 + int(1.15 * max(map { $_->[$i] } @points)
			/ $_->[1])) } [ 1, $x_step ], [ 2, $y_step ];

	my $bottom = $top + $PANEL;
	my $x = sub { $left + $width * $_[0] / $x_max };
	my $y = sub { $bottom - $PANEL * $_[0] / $y_max };

	my $text = text($left, $top - 12, $title, 'title');

	for (my $v = 0; $v <= $x_max * 1.001; $v += $x_step) {
		$text .= stroke('grid', $x->($v), $top, $x->($v), $bottom)
			. text($x->($v), $bottom + 15, "$v", 'axis', 'middle');
	}

	for (my $v = 0; $v <= $y_max * 1.001; $v += $y_step) {
		$text .= stroke('grid', $left, $y->($v), $left + $width, $y->($v))
			. text($left - 6, $y->($v) + 4, "$v", 'axis', 'end');
	}

	$text .= text($left + $width / 2, $bottom + 31,
			'CPU per delivery, us', 'axis', 'middle')
		. sprintf(qq{<polyline class="line" points="%s"/>\n}, join ' ',
			map { sprintf '%.1f,%.1f', $x->($_->[1]), $y->($_->[2]) }
			@points);

	# from the lowest, each label at least a line above the last

	my $last = $bottom;

	foreach (sort { $a->[2] <=> $b->[2] } @points) {
		my ($label, $px, $py) = ($_->[0], $x->($_->[1]), $y->($_->[2]));

		$last = min($py - 6, $last - 13);

		$text .= sprintf(qq{<circle class="own" cx="%.1f" cy="%.1f"}
			. qq{ r="4"/>\n}, $px, $py) . text($px + 5, $last, $label);
	}

	return $text;
}

sub draw_panels {
	my ($scenarios, $y) = @_;

	my %by = map { $_->{name} => $_ } @$scenarios;
	my ($text, $n) = ('', 0);

	foreach (@panels) {
		my ($name, $title) = @$_;
		my @points = $by{$name} ? points($by{$name}) : ();

		next if @points < 2;

		$text .= draw_panel(60 + 420 * $n, 350, $y + 68, $title, @points);
		$n++;
	}

	return ('', $y) unless $n;

	return (text(16, $y + 28, 'Batch windows: the median latency in ms,'
			. ' against CPU', 'head') . $text,
		$y + 68 + $PANEL + 40);
}

###############################################################################

# nothing when there is nothing to draw

sub plot {
	my ($scenarios, $servers) = @_;

	my @bars = bars($scenarios, $servers);
	my ($y, $body) = (12, '');

	if (@bars) {
		$body = text(16, 28, 'CPU of the server, microseconds'
			. ' (logarithmic scale)', 'head');

		my ($text, $bottom) = draw_bars(32, @bars);

		$body .= $text;
		$y = $bottom;
	}

	my ($text, $height) = draw_panels($scenarios, $y);

	return '' if $body . $text eq '';

	return qq{<svg xmlns="http://www.w3.org/2000/svg" width="$WIDTH"}
		. qq{ height="$height" viewBox="0 0 $WIDTH $height">\n$style}
		. qq{<rect class="back" width="$WIDTH" height="$height"/>\n}
		. "$body$text</svg>\n";
}

1;
