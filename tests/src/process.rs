//! Processes that are somebody's: held by pidfd, ended exactly, never looked up by name.
//!
//! [`Owned`] is a child in its own process group: what it forks and leaves in that group ends with it. [`Known`]
//! is somebody else's child whose executable was checked. Neither signals a number that could meanwhile
//! mean another process: an `Owned`'s pid stays reserved until it is reaped, a `Known` has only its pidfd.

use crate::sys;
use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How long a process may take over a SIGTERM before it gets a SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// A child of ours, alone in a new process group. Dropping it ends the group.
#[derive(Debug)]
pub struct Owned {
    name: &'static str,
    child: Child,
    pid: Pid,
    pidfd: OwnedFd,
    status: Option<ExitStatus>,
}

impl Owned {
    /// Starts `command`, which gets `when_orphaned` should the calling thread die first.
    ///
    /// # Errors
    /// When the program cannot be started or has no pidfd (Linux before 5.3).
    pub fn start(name: &'static str, command: &mut Command, when_orphaned: Signal) -> Result<Self> {
        command.process_group(0);
        sys::die_with_parent(command, when_orphaned);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        let pid = Pid::from_child(&child);
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self {
                name,
                child,
                pid,
                pidfd,
                status: None,
            }),
            Err(error) => {
                child.kill().and_then(|()| child.wait())?;
                Err(error).with_context(|| format!("no pidfd for {name}"))
            }
        }
    }

    /// The standard streams and whatever else only the child itself has.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id, ours until it is reaped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        self.status.is_some() || exits_within(&self.pidfd, Duration::ZERO)
    }

    /// Sends `signal` to the child itself.
    ///
    /// # Errors
    /// When it is already reaped.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::pidfd_send_signal(&self.pidfd, signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits for the child's end by itself, ends what is left of its group and reaps it.
    ///
    /// # Errors
    /// When it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        ensure!(
            exits_within(&self.pidfd, patience),
            "{} (pid {}) still runs after {patience:?}",
            self.name,
            self.pid()
        );
        // The leader is dead but not reaped, so its number cannot yet name another group. ESRCH: none left.
        let _none_left = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    /// SIGTERM, patience, SIGKILL; then its group.
    ///
    /// # Errors
    /// When the child survives a SIGKILL for five seconds.
    pub fn end(&mut self) -> Result<ExitStatus> {
        if self.status.is_none() && !self.has_exited() {
            self.signal(Signal::TERM)?;
            if !exits_within(&self.pidfd, GRACE) {
                eprintln!("{} ignores SIGTERM; it gets SIGKILL", self.name);
                self.signal(Signal::KILL)?;
            }
        }
        self.wait(GRACE)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("cannot end {}: {error:#}", self.name);
        }
    }
}

/// Another process, identified by its executable and held by its pidfd. Dropping it ends nothing.
#[derive(Debug)]
pub struct Known {
    pid: u32,
    pidfd: OwnedFd,
}

impl Known {
    /// The process `pid`, if it lives and runs the very file `executable`.
    #[must_use]
    pub fn find(pid: u32, executable: &Path) -> Option<Self> {
        let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
        // First the pidfd, then the check: what is checked is what is held, or it has ended meanwhile.
        let pidfd = rustix::process::pidfd_open(raw, PidfdFlags::empty()).ok()?;
        let running = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        let wanted = fs::metadata(executable).ok()?;
        let same = (running.dev(), running.ino()) == (wanted.dev(), wanted.ino());
        let known = Self { pid, pidfd };
        (same && !known.has_exited()).then_some(known)
    }

    /// Its process id when it was found.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        exits_within(&self.pidfd, Duration::ZERO)
    }

    /// When it started, to a clock tick (10 ms).
    ///
    /// # Errors
    /// When it is gone.
    pub fn started(&self) -> Result<Instant> {
        let [start] = times(self.pid, [STARTTIME])?;
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let since_boot = Duration::new(
            u64::try_from(boot.tv_sec).unwrap_or(0),
            u32::try_from(boot.tv_nsec).unwrap_or(0),
        );
        let now = Instant::now();
        Ok(now
            .checked_sub(since_boot.saturating_sub(start))
            .unwrap_or(now))
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub fn kill(&self) {
        // ESRCH: it was faster.
        let _gone = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        if !exits_within(&self.pidfd, GRACE) {
            eprintln!("pid {} survives SIGKILL", self.pid);
        }
    }
}

/// Fields of proc_pid_stat(5), counted from 1.
const UTIME: usize = 14;
const STIME: usize = 15;
const STARTTIME: usize = 22;

/// CPU time of a process by its ticks, which lag by up to one for each thread.
///
/// # Errors
/// When it is gone.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let [user, system] = times(pid, [UTIME, STIME])?;
    Ok(user + system)
}

/// Times that the kernel tells of a process in ticks.
fn times<const N: usize>(pid: u32, fields: [usize; N]) -> Result<[Duration; N]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("pid {pid} is gone"))?;
    // The third field is the first after the parenthesised comm, which may contain anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let user_hz = rustix::param::clock_ticks_per_second() as f64;
    let mut times = [Duration::ZERO; N];
    for (time, field) in times.iter_mut().zip(fields) {
        let ticks = rest.split_whitespace().nth(field - 3);
        let ticks: Option<u64> = ticks.and_then(|ticks| ticks.parse().ok());
        let ticks = ticks.with_context(|| format!("field {field} of {stat:?} is no time"))?;
        *time = Duration::from_secs_f64(ticks as f64 / user_hz);
    }
    Ok(times)
}

/// Whether the process behind `pidfd` ends within `patience`: a pidfd is readable once it has.
fn exits_within(pidfd: &OwnedFd, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("the patience of a test fits a timespec");
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_owner_ends_the_whole_group() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!; wait"]);
        command.stdout(std::process::Stdio::piped());
        let mut owned = Owned::start("sh", &mut command, Signal::KILL).unwrap();
        let mut line = String::new();
        let stdout = owned.child().stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        let pid: i32 = line.trim().parse().unwrap();
        let grandchild =
            rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        assert!(!exits_within(&grandchild, Duration::ZERO));
        drop(owned);
        assert!(exits_within(&grandchild, Duration::from_secs(5)));
    }

    #[test]
    fn a_pid_with_another_executable_is_nobody_we_know() {
        let me = std::process::id();
        let executable = std::env::current_exe().unwrap();
        assert!(Known::find(me, &executable).is_some());
        assert!(Known::find(me, Path::new("/bin/sh")).is_none());
        assert!(Known::find(u32::MAX, &executable).is_none());
    }

    #[test]
    fn the_start_of_a_process_is_known_to_a_tick() {
        let before = Instant::now();
        let mut command = Command::new("sleep");
        command.arg("60");
        let owned = Owned::start("sleep", &mut command, Signal::KILL).unwrap();
        let executable = fs::canonicalize(format!("/proc/{}/exe", owned.pid())).unwrap();
        let known = Known::find(owned.pid(), &executable).unwrap();
        let started = known.started().unwrap();
        let off = started
            .saturating_duration_since(before)
            .max(before.saturating_duration_since(started));
        assert!(off < Duration::from_millis(500), "{off:?}");
    }
}
