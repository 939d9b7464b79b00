package Bench::Scenarios;

# Copyright (C) The ngx_snorky_module authors
#
# What is measured, as data:
#
#   name      for --only
#   servers   rows of the table: a name of Bench::Servers, or
#             [ name, what is different, more options of the load ... ];
#             a row's key is "name" or "name/what is different"
#   load      options of the load generator for all rows
#   rounds    how often each row is run
#   columns   of the table: [ title, path in the load's report, format,
#             factor ]; of the first one the spread is shown, too, and it is
#             what "to" gives the ratios of: rows
#   targets   [ what, kind, limit, path, row, row ], where kind is
#             "ratio" or "difference" of the first row to the second, or
#             "value" of one row or "hop" of one (what another worker adds)
#   expect    of a row, the member of the report without which the run has
#             failed
#   notes     lines below the table, by Bench::Report

use warnings;
use strict;

my @faults = (
	[ 'lost', 'lost', '%d' ],
	[ 'duplicated', 'duplicated', '%d' ],
	[ 'reordered', 'reordered', '%d' ],
);

my @latency = (
	[ 'p50 ms', 'latency_us.p50', '%.2f', 1e-3 ],
	[ 'p99 ms', 'latency_us.p99', '%.2f', 1e-3 ],
	[ 'p99.9 ms', 'latency_us.p999', '%.2f', 1e-3 ],
);

my @fanout = (
	[ 'CPU us per delivery', 'server_us_per_delivery', '%.2f' ],
	[ 'deliveries/s', 'deliveries_per_s', '%.0f' ],
	[ 'server busy', 'server_busy', '%.2f' ],
	@latency,
	@faults,
);

my @memory = (
	[ 'Pss', 'bytes_per_connection.pss', '%.0f' ],
	[ 'private', 'bytes_per_connection.private', '%.0f' ],
	[ 'Pss after a publication', 'bytes_after_publication.pss', '%.0f' ],
	[ 'kernel', 'bytes_per_connection.kernel', '%.0f' ],
	[ 'Pss before any, MB', 'pss_before', '%.1f', 1e-6 ],
	@faults,
);

my @memory_targets = (
	[ 'Pss per connection, bytes', 'value', 6656,
		'bytes_per_connection.pss', 'snorky' ],
	[ 'the same with `snorky_lean on`', 'value', 1228,
		'bytes_per_connection.pss', 'snorky_lean' ],
);

my @windows = qw/ snorky snorky_5ms snorky_20ms snorky_50ms /;

my @scenarios = (
	{
		name => 'fanout',
		title => 'Fan-out, closed loop',
		text => <<'TEXT',
1,000 subscribers on one channel, payloads of 128 bytes, one publisher that has
at most 16 publications under way; a publication is complete when every
subscriber has it. With two workers, the second shares its core with the load
generator.
TEXT
		servers => [qw/ snorky snorky_2 nchan ws writev send /],
		load => [qw/ scenario=fanout n=1000 size=128 window=16
			seconds=2 warmup=1 limit=30 /],
		rounds => 3,
		columns => \@fanout,
		to => [qw/ writev nchan /],
		targets => [
			[ 'CPU per delivery, to the batched floor', 'ratio',
				1.3, 'server_us_per_delivery',
				qw/ snorky writev / ],
			[ 'CPU per delivery, 2 workers to 1', 'ratio',
				1.1, 'server_us_per_delivery',
				qw/ snorky_2 snorky / ],
		],
		notes => 'client',
	},
	{
		name => 'many',
		title => 'Fan-out to many, closed loop',
		text => <<'TEXT',
The same with 10,000 subscribers, and 4 publications under way.
TEXT
		servers => [qw/ snorky writev /],
		load => [qw/ scenario=fanout n=10000 size=128 window=4
			seconds=2 warmup=1 limit=30 /],
		rounds => 3,
		columns => \@fanout,
		to => [qw/ writev /],
		targets => [
			[ 'CPU per delivery, to the batched floor', 'ratio',
				1.3, 'server_us_per_delivery',
				qw/ snorky writev / ],
		],
		notes => 'client',
	},
	{
		name => 'rate',
		title => 'Fan-out at a fixed rate',
		text => <<'TEXT',
1,000 subscribers with 100 publications per second: there is nothing to batch.
The latency counts from when a publication was due. With two workers, the last
columns tell those subscribers that are on the publisher's worker from those on
the other; one worker shares its core with the load generator, so the difference
is more than the hop.
TEXT
		servers => ['snorky', [ 'snorky_2', '', 'mark=X-Worker' ],
			qw/ nchan ws writev send /],
		load => [qw/ scenario=fanout n=1000 size=128 rate=100
			seconds=3 warmup=1 limit=30 /],
		rounds => 3,
		columns => [ @fanout,
			[ 'same worker, p50 ms', 'latency_us_same.p50',
				'%.2f', 1e-3 ],
			[ 'p99 ms of these', 'latency_us_same.p99',
				'%.2f', 1e-3 ],
			[ 'other worker, p50 ms', 'latency_us_other.p50',
				'%.2f', 1e-3 ],
			[ 'p99 ms of those', 'latency_us_other.p99',
				'%.2f', 1e-3 ],
		],
		to => [qw/ send nchan /],
		targets => [
			[ 'CPU per delivery, to the floor of one `send`',
				'ratio', 1.1, 'server_us_per_delivery',
				qw/ snorky send / ],
			[ 'p99, more than that floor\'s, ms', 'difference',
				0.5, 'latency_us.p99', qw/ snorky send / ],
			[ 'another worker adds to p50, ms', 'hop', 0.3,
				'p50', 'snorky_2' ],
			[ 'another worker adds to p99, ms', 'hop', 1,
				'p99', 'snorky_2' ],
		],
		expect => { snorky_2 => 'latency_us_other' },
		notes => 'client',
	},
	{
		name => 'fair',
		title => 'Beside a fan-out',
		text => <<'TEXT',
How long a client waits that is no part of the fan-out: it asks for an empty
page on a connection of its own, 2 ms after each answer, while 10,000
subscribers get publications: 4 are under way, or 10 per second come one by one.
It waits for the rest of a round of the server's event loop, so its longest wait
is about the longest round. In a round the module writes 256 sockets of those
that have got something to send, and begins no further publication, of its log
or of one client's input, after 16,384 deliveries. The client is a process that
goes before the load generator on its core; its own delay is how late it woke
from its pauses.
TEXT
		servers => [qw/ snorky nchan /,
			map { [ $_, '10 per second', 'rate=10' ] }
				qw/ snorky nchan / ],
		load => [qw/ scenario=fanout n=10000 size=128 window=4
			bystander=1 seconds=1 warmup=1 limit=30 /],
		rounds => 2,
		columns => [
			[ 'longest wait, ms', 'bystander_us.max', '%.2f',
				1e-3 ],
			[ 'p99 ms', 'bystander_us.p99', '%.2f', 1e-3 ],
			[ 'p50 ms', 'bystander_us.p50', '%.2f', 1e-3 ],
			[ 'longest own delay, ms', 'bystander_late_us.max',
				'%.2f', 1e-3 ],
			[ 'deliveries/s', 'deliveries_per_s', '%.0f' ],
			[ 'server busy', 'server_busy', '%.2f' ],
			@faults,
		],
		expect => { map { $_ => 'bystander_us' }
			map { $_, "$_/10 per second" } qw/ snorky nchan / },
		notes => 'bystander',
	},
	{
		name => 'channels',
		title => 'Channels of one subscriber',
		text => <<'TEXT',
10,000 channels with one subscriber each; the publisher goes round them. Over
WebSocket he has 16 publications under way, over POST one request. nchan's
publishers cannot change their channel on a WebSocket, so it is compared over
POST. The cost includes the publisher's answer.
TEXT
		servers => ['snorky', 'writev',
			map { [ $_, 'POST', 'post=1' ] }
				qw/ snorky nchan snorky_2 nchan_2 /],
		load => [qw/ scenario=fanout n=10000 channels=10000 size=128
			window=16 seconds=2 warmup=1 limit=30 /],
		rounds => 2,
		columns => [
			[ 'CPU us per publication', 'server_us_per_publish',
				'%.2f' ],
			[ 'publications/s', 'publishes_per_s', '%.0f' ],
			[ 'server busy', 'server_busy', '%.2f' ],
			@latency,
			@faults,
		],
		to => ['writev', 'nchan/POST'],
		targets => [
			[ 'CPU per publication, to the floor', 'ratio', 1.5,
				'server_us_per_publish', qw/ snorky writev / ],
			[ 'CPU per publication over POST, to nchan', 'ratio',
				1, 'server_us_per_publish', 'snorky/POST',
				'nchan/POST' ],
			[ 'the same, both with 2 workers', 'ratio',
				1, 'server_us_per_publish', 'snorky_2/POST',
				'nchan_2/POST' ],
		],
		notes => 'client',
	},
	{
		name => 'post',
		title => 'Publishing over HTTP',
		text => <<'TEXT',
1,000 POST requests per second on one connection that is kept alive, each with
one publication of 128 bytes or with an array of 100, to a channel without
subscribers. The same body that nginx itself answers with `return 200` tells
what the request costs without the publication.
TEXT
		servers => ['snorky', 'nchan', 'nginx',
			[ 'snorky', 'batches of 100', 'batch=100' ]],
		load => [qw/ scenario=fanout n=0 post=1 rate=1000 size=128
			seconds=2 warmup=1 limit=30 /],
		rounds => 3,
		columns => [
			[ 'CPU us per request', 'server_us_per_request',
				'%.1f' ],
			[ 'CPU us per publication', 'server_us_per_publish',
				'%.2f' ],
			[ 'server busy', 'server_busy', '%.2f' ],
			[ 'p50 us', 'ack_us.p50', '%.0f' ],
			[ 'p99 us', 'ack_us.p99', '%.0f' ],
		],
		to => [qw/ nginx nchan /],
		targets => [
			[ 'CPU per request, to `return 200`', 'ratio', 1.5,
				'server_us_per_request', qw/ snorky nginx / ],
			[ 'a batch of 100, to a batch of 1', 'ratio', 5,
				'server_us_per_request',
				'snorky/batches of 100', 'snorky' ],
		],
	},
	{
		name => 'connect',
		title => 'Handshakes',
		text => <<'TEXT',
64 handshakes under way; each connection is reset as soon as it is open. The
line of nginx is a plain request on a new connection.
TEXT
		servers => [qw/ snorky snorky_lean nchan ws nginx /],
		load => [qw/ scenario=connect inflight=64 seconds=2 warmup=0
			limit=30 /],
		rounds => 3,
		columns => [
			[ 'CPU us per handshake', 'server_us_per_handshake',
				'%.1f' ],
			[ 'handshakes/s', 'handshakes_per_s', '%.0f' ],
			[ 'server busy', 'server_busy', '%.2f' ],
		],
		to => [qw/ nginx nchan /],
		targets => [
			[ 'handshakes per second of CPU, to `return 200`',
				'at least', 0.9, 'server_us_per_handshake',
				qw/ nginx snorky / ],
		],
	},
	{
		name => 'idle',
		title => 'Memory of an idle connection, one channel',
		text => <<'TEXT',
18,000 subscribed connections, since nginx closes new ones when fewer than a
sixteenth of its 20,000 are free. Bytes of user space per connection, of the
master and the worker together (difference before and after); nginx has made its
table of `worker_connections` before that. The kernel's column holds slab and
socket buffers of both ends, and what else the machine did meanwhile. At the end
one publication reaches all of them.
TEXT
		servers => [qw/ snorky snorky_lean nchan ws /],
		load => [qw/ scenario=idle n=18000 settle=500
			seconds=1 limit=60 /],
		rounds => 2,
		columns => \@memory,
		to => [qw/ nchan /],
		targets => \@memory_targets,
	},
	{
		name => 'idle_each',
		title => 'Memory of an idle connection, a channel each',
		text => <<'TEXT',
The same with 18,000 channels of one subscriber, and a publication to each.
TEXT
		servers => [qw/ snorky snorky_lean nchan /],
		load => [qw/ scenario=idle n=18000 channels=18000
			post=1 settle=500 seconds=1 limit=60 /],
		rounds => 3,
		columns => \@memory,
		to => [qw/ nchan /],
		targets => \@memory_targets,
	},
	{
		name => 'batch',
		title => 'Batch windows, 100 publications per second',
		text => <<'TEXT',
1,000 subscribers on one channel: what `snorky_batch_window` saves, and what it
adds to the latency.
TEXT
		servers => \@windows,
		load => [qw/ scenario=fanout n=1000 size=128 rate=100
			seconds=2 warmup=1 limit=30 /],
		rounds => 2,
		columns => \@fanout,
		to => [qw/ snorky /],
		notes => 'client',
	},
	{
		name => 'batch_fast',
		title => 'Batch windows, 1,000 publications per second',
		text => <<'TEXT',
The same number of deliveries: 100 subscribers on one channel.
TEXT
		servers => \@windows,
		load => [qw/ scenario=fanout n=100 size=128 rate=1000
			seconds=2 warmup=1 limit=30 /],
		rounds => 2,
		columns => \@fanout,
		to => [qw/ snorky /],
		notes => 'client',
	},
	{
		name => 'deflate',
		title => 'Compression',
		text => <<'TEXT',
Fan-out, closed loop, of JSON texts of 1,024 bytes to 1,000 subscribers that
offer permessage-deflate: with it, and without.
TEXT
		servers => [qw/ snorky_deflate snorky /],
		load => [qw/ scenario=fanout n=1000 size=1024 text=json
			deflate=1 window=16 seconds=2 warmup=1 limit=30 /],
		rounds => 3,
		columns => [ @fanout,
			[ 'bytes on the wire per delivery',
				'bytes_per_delivery', '%.0f' ],
		],
		to => [qw/ snorky /],
		targets => [
			[ 'CPU per delivery, compressed to plain', 'ratio',
				1.3, 'server_us_per_delivery',
				qw/ snorky_deflate snorky / ],
		],
		expect => { snorky_deflate => 'compressed' },
		notes => 'client',
	},
	{
		name => 'churn',
		title => 'Coming and going',
		text => <<'TEXT',
1,000 subscribers on 10 channels with 100 publications per second, while 1,000
times per second one of half of them leaves its channel and comes back, closes
and connects again, or breaks its connection and connects again. Each must get
all that is published between its subscription and its leave, once and in order.
TEXT
		servers => [ 'snorky',
			[ 'snorky', 'nobody leaves', 'scenario=fanout',
				'churn=0' ]],
		load => [qw/ scenario=churn n=1000 channels=10 size=128
			rate=100 churn=1000 seconds=2 warmup=1 limit=30 /],
		rounds => 2,
		columns => [
			[ 'CPU us per delivery', 'server_us_per_delivery',
				'%.2f' ],
			[ 'changes/s', 'changes_per_s', '%.0f' ],
			[ 'server busy', 'server_busy', '%.3f' ],
			@latency,
			@faults,
		],
		notes => 'churn',
	},
);

sub all {
	return map { complete($_) } @scenarios;
}

# rows in their long form

sub complete {
	my ($s) = @_;

	$s->{results} = {};
	$s->{targets} ||= [];
	$s->{rows} = [];

	foreach my $row (@{$s->{servers}}) {
		my ($server, $suffix, @load) = ref $row ? @$row : $row;

		push @{$s->{rows}}, {
			key => $suffix ? "$server/$suffix" : $server,
			server => $server,
			suffix => $suffix // '',
			load => \@load,
		};
	}

	return $s;
}

1;
