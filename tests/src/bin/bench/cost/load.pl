# What an ordinary program does: starts programs, or connects. `perl -e THIS execs|connects paced|full`
# Paced, it acts once for each byte on standard input, until its end; else as fast as it can, for a minute at most.
# Standard output is a file that holds how often it did, as a number of 8 bytes.
use strict;
use Socket;
my ($what, $pace) = @ARGV;
alarm 60 if $pace eq 'full';

my $done = 0;
sub did { sysseek(STDOUT, 0, 0); syswrite(STDOUT, pack('Q<', ++$done)); }
sub may { return 1 if $pace eq 'full'; return sysread(STDIN, my $token, 1); }

sub start {
    my $pid = fork // die "fork: $!";
    if ($pid == 0) { exec '/bin/true' or die "exec: $!"; }
    waitpid $pid, 0;
    did() if $? == 0;
}

if ($what eq 'execs') {
    start() while may();
    exit;
}
socket(my $listener, AF_INET, SOCK_STREAM, 0) or die "socket: $!";
bind($listener, sockaddr_in(0, INADDR_LOOPBACK)) or die "bind: $!";
listen($listener, 128) or die "listen: $!";
my $address = getsockname $listener;
my $server = fork // die "fork: $!";
if ($server == 0) {
    close STDIN;
    alarm 60 if $pace eq 'full';
    # The other side closes first, so that its end keeps the port.
    while (accept(my $client, $listener)) { close $client; }
    exit;
}
while (may()) {
    socket(my $client, AF_INET, SOCK_STREAM, 0) or die "socket: $!";
    connect($client, $address) or die "connect: $!";
    sysread($client, my $end, 1);
    close $client;
    did();
}
kill 'TERM', $server;
