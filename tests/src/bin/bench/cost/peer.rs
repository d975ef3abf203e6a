//! Who else could be asked: programs of the distribution that tell execs and connections, or CPU time.
//!
//! Nothing is installed and nothing of the machine is changed for them: `tracefs`, which some need, is mounted in a
//! mount namespace of their own. auditd is left out: it reconfigures the audit subsystem of the whole machine.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use rustix::process::Signal;
use tests::process::Owned;

/// One that is known.
pub struct Known {
    /// What it is.
    pub name: &'static str,
    /// Where it may lie.
    places: &'static [&'static str],
    args: &'static [&'static str],
}

/// All of them.
pub const PEERS: [Known; 5] = [
    Known {
        name: "bpftrace, execs",
        places: &["/usr/bin/bpftrace"],
        args: &[
            "-e",
            "tracepoint:sched:sched_process_exec { printf(\"%d %s %s\\n\", pid, comm, str(args->filename)); }",
        ],
    },
    Known {
        name: "bpftrace, connects",
        places: &["/usr/bin/bpftrace"],
        args: &[
            "-e",
            "tracepoint:sock:inet_sock_set_state { printf(\"%d %s %d %d\\n\", pid, comm, args->dport, args->newstate); }",
        ],
    },
    Known {
        name: "libbpf-tools execsnoop",
        places: &["/usr/sbin/execsnoop", "/usr/bin/execsnoop"],
        args: &[],
    },
    Known {
        name: "libbpf-tools tcpstates",
        places: &["/usr/sbin/tcpstates", "/usr/bin/tcpstates"],
        args: &[],
    },
    Known {
        name: "top, once a second",
        places: &["/usr/bin/top"],
        args: &["-b", "-d", "1"],
    },
];

/// One that runs.
pub struct Running(Owned);

impl Known {
    /// Starts it, its output going nowhere, and waits until its programs, if it has any, are there.
    ///
    /// # Errors
    /// It is not installed, or ends at once.
    pub fn start(&self) -> Result<Running> {
        let place = self.places.iter().find(|place| Path::new(place).exists());
        let Some(place) = place else {
            bail!("not installed");
        };
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.arg("mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec \"$@\"");
        command.arg("sh").arg(place).args(self.args);
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let owned = Owned::start(self.name, &mut command, Signal::KILL)?;
        let running = Running(owned);
        // No peer says when it is ready. The slowest compiles its program for two seconds.
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && !running.has_exited() {
            std::thread::sleep(Duration::from_millis(100));
        }
        ensure!(!running.has_exited(), "it does not run here");
        Ok(running)
    }
}

impl Running {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Whether it ended by itself.
    pub fn has_exited(&self) -> bool {
        self.0.has_exited()
    }
}
