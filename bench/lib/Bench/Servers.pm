package Bench::Servers;

# Copyright (C) The ngx_snorky_module authors
#
# The servers that are compared: how each is started, how the load generator
# speaks to it, whether it can be run here at all.  Owns their processes.
#
#     my $servers = Bench::Servers->new(%opt);
#     my $pid = $servers->start('nchan');     # takes connections; or it dies
#     $servers->load('nchan')                 # options of the load generator
#     $servers->stop($pid);
#     $servers->alerts('nchan')               # of its error log

use warnings;
use strict;

use File::Path qw/ make_path remove_tree /;
use IO::Socket::INET;
use POSIX qw/ WNOHANG /;
use Time::HiRes qw/ sleep /;

# The module's variants have "ws", what stands in the location of its
# WebSocket, and "workers".

my %servers = (
	snorky => {
		title => 'ngx_snorky_module',
	},
	snorky_2 => {
		title => 'ngx_snorky_module, 2 workers',
		workers => 2,
	},
	snorky_lean => {
		title => 'ngx_snorky_module, `snorky_lean on`',
		ws => 'snorky_lean on;',
	},
	snorky_deflate => {
		title => 'ngx_snorky_module, `snorky_deflate on`',
		ws => 'snorky_deflate on;',
	},
	snorky_5ms => {
		title => 'ngx_snorky_module, `snorky_batch_window 5ms`',
		ws => 'snorky_batch_window 5ms;',
	},
	snorky_20ms => {
		title => 'ngx_snorky_module, `snorky_batch_window 20ms`',
		ws => 'snorky_batch_window 20ms;',
	},
	snorky_50ms => {
		title => 'ngx_snorky_module, `snorky_batch_window 50ms`',
		ws => 'snorky_batch_window 50ms;',
	},
	nginx => {
		title => 'nginx, `return 200`',
		load => [qw/ dialect=http post_path=\/empty /],
	},
	nchan => {
		title => 'nchan',
		conf => 'nchan',
	},
	nchan_2 => {
		title => 'nchan, 2 workers',
		conf => 'nchan',
		workers => 2,
	},
	ws => {
		title => 'Node `ws`',
		port => 8605,
		load => [qw/ dialect=raw /],
	},
	writev => {
		title => 'batched floor, one `writev` per round',
		port => 8603,
		mode => 'writev',
	},
	send => {
		title => 'floor, one `send` per message',
		port => 8604,
		mode => 'send',
	},
);

# the two configurations, and what they are to the load generator

my %confs = (
	snorky => { port => 8601, module => 'module', load => [] },
	nchan => { port => 8602, module => 'nchan', load => ['dialect=nchan'] },
);

sub new {
	my ($class, %opt) = @_;

	my $self = bless {
		opt => \%opt,
		dir => "$opt{build}/bench",
		missing => {},
		running => {},
	}, $class;

	$self->{cores} = () = slurp('/proc/cpuinfo') =~ /^processor\s*:/mg;

	foreach my $name (sort keys %servers) {
		my $s = $servers{$name};

		if (!$s->{port}) {
			my $conf = $confs{$s->{conf} //= 'snorky'};

			$s->{port} = $conf->{port};
			$s->{load} //= $conf->{load};
			$s->{workers} //= 1;
			$s->{ws} //= '';
		}
	}

	return $self;
}

sub title {
	my ($self, $name) = @_;
	return $servers{$name}{title};
}

sub load {
	my ($self, $name) = @_;
	return ("port=$servers{$name}{port}", @{$servers{$name}{load} || []});
}

# one core for the server, another for the load; two workers need both

sub pin {
	my ($self, $name) = @_;

	return () if $self->{cores} < 2;
	return () if ($servers{$name}{workers} // 1) > 1;
	return qw/ taskset -c 0 /;
}

sub pin_load {
	my ($self) = @_;
	return $self->{cores} < 2 ? () : ('cpu=1');
}

# where nginx keeps its files

sub prefix {
	my ($self, $name) = @_;
	return "$self->{dir}/$name/";
}

sub command {
	my ($self, $name) = @_;

	my $s = $servers{$name};

	return ("$self->{dir}/floor", "port=$s->{port}", "mode=$s->{mode}",
		'ack=1') if $s->{mode};

	return ('node', "$self->{opt}{bench}/ws.js", $s->{port})
		if $name eq 'ws';

	my $globals = "daemon off; worker_processes $s->{workers};";

	$globals .= ' worker_cpu_affinity 01 10;'
		if $s->{workers} == 2 && $self->{cores} > 1;

	return ($self->{opt}{nginx}, '-p', $self->prefix($name),
		'-e', 'error.log', '-c', 'nginx.conf', '-g',
		"$globals load_module "
			. "$self->{opt}{$confs{$s->{conf}}{module}};");
}

# the files of nginx, anew

sub prepare {
	my ($self, $name) = @_;

	my $s = $servers{$name};
	my $prefix = $self->prefix($name);

	return unless $s->{conf};

	remove_tree($prefix);
	make_path($prefix);

	my $conf = slurp("$self->{opt}{bench}/nginx-$s->{conf}.conf");

	$conf =~ s/(listen\s+127\.0\.0\.1:)\d+/$1$s->{port}/;

	spew("$prefix/nginx.conf", $conf);
	spew("$prefix/ws.conf", "$s->{ws}\n");
}

# why it cannot be run, or nothing; each server is looked at once

sub missing {
	my ($self, $name) = @_;

	if (!exists $self->{missing}{$name}) {
		$self->{missing}{$name} = $self->look($name);

		warn "$servers{$name}{title} is left out:"
			. " $self->{missing}{$name}\n"
			if $self->{missing}{$name};
	}

	return $self->{missing}{$name};
}

# the titles of what was left out

sub absent {
	my ($self) = @_;

	return map { $servers{$_}{title} }
		grep { $self->{missing}{$_} } sort keys %{$self->{missing}};
}

sub look {
	my ($self, $name) = @_;

	my $s = $servers{$name};

	return '' if $s->{mode};

	if ($name eq 'ws') {
		return version('node', '--version') eq '' ? 'no node'
			: $self->ws_version() eq '' ? 'no ws in node_modules, "npm ci" installs it'
			: '';
	}

	my $file = $self->{opt}{$confs{$s->{conf}}{module}};

	return "no $file" unless -e $file;

	$self->prepare($name);

	my @command = $self->command($name);
	my $text = version(@command, '-t');

	return '' if $text =~ /test is successful/;
	return "it has no $1" if $text =~ /unknown directive "(snorky_\w+)"/;

	die "$servers{$name}{title}: $text\n";
}

sub ws_version {
	my ($self) = @_;

	my ($version) = slurp("$self->{opt}{root}/node_modules/ws/package.json")
		=~ /"version":\s*"([^"]+)"/;

	return $version // '';
}

# what a program prints, or nothing

sub version {
	my @command = @_;

	my $pid = open(my $fh, '-|') // die "fork(): $!\n";

	if ($pid == 0) {
		open STDERR, '>&', \*STDOUT;
		{ no warnings; exec @command; }
		POSIX::_exit(127);
	}

	my $text = do { local $/; <$fh> } // '';
	close $fh;
	chomp $text;

	return $text;
}

sub listening {
	my ($port) = @_;

	return IO::Socket::INET->new(Proto => 'tcp', PeerAddr => '127.0.0.1',
		PeerPort => $port);
}

# the master listens before it has workers, and those are to be measured

sub ready {
	my ($s, $pid) = @_;

	my @children = split ' ', slurp("/proc/$pid/task/$pid/children");

	return @children >= ($s->{workers} // 0) && listening($s->{port});
}

sub start {
	my ($self, $name) = @_;

	my $s = $servers{$name};

	# who has the port may be another run

	for (my $tries = 0; listening($s->{port}); $s->{port} += 10) {
		die "port $s->{port} is taken\n" if $tries++ == 10;
	}

	$self->prepare($name);

	my $pid = fork() // die "fork(): $!\n";

	if ($pid == 0) {
		exec $self->pin($name), $self->command($name)
			or POSIX::_exit(1);
	}

	$self->{running}{$pid} = 1;

	for (1 .. 200) {
		return $pid if ready($s, $pid);

		if (waitpid($pid, WNOHANG) == $pid) {
			delete $self->{running}{$pid};
			last;
		}

		sleep 0.02;
	}

	die "$s->{title} does not start\n"
		. slurp($self->prefix($name) . 'error.log');
}

sub stop {
	my ($self, $pid) = @_;

	kill 'TERM', $pid;

	for (1 .. 250) {
		if (waitpid($pid, WNOHANG) != 0) {
			delete $self->{running}{$pid};
			return;
		}

		sleep 0.02;
	}

	kill 'KILL', $pid;
	waitpid($pid, 0);
	delete $self->{running}{$pid};
}

sub stop_all {
	my ($self) = @_;
	$self->stop($_) foreach keys %{$self->{running}};
}

sub alerts {
	my ($self, $name) = @_;

	return grep { /\[(?:alert|crit|emerg)\]/ }
		split /^/, slurp($self->prefix($name) . 'error.log');
}

sub slurp {
	my ($file) = @_;

	open my $fh, '<', $file or return '';
	local $/;
	return scalar(<$fh>) // '';
}

sub spew {
	my ($file, $text) = @_;

	open my $fh, '>', $file or die "$file: $!\n";
	print $fh $text;
	close $fh or die "$file: $!\n";
}

1;
