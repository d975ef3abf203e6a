//! The library of made-up nights and days: what must be found, and what must not wake anybody.
//!
//! Each case plays on the same small shop (two CPUs, nginx, php-fpm, mariadb, sshd, cron), whose load, and the
//! moment of what happens, differ by seed.

mod benign;
mod hostile;

use crate::trace::{Act, Image, Trace};

/// A trace, and what is true about it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Stable name.
    pub name: &'static str,
    /// What happens, in one line.
    pub story: &'static str,
    /// Length, seconds.
    pub seconds: u32,
    /// What is true.
    pub truth: Truth,
    make: fn(&mut Trace, f64),
}

/// What is true about a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Truth {
    /// Nobody is to be woken.
    Benign,
    /// Somebody is; this program is to blame.
    Hostile {
        /// Path of the executable, script or memfd.
        executable: &'static str,
        /// Share of the whole host that it takes from its first second on (0–1).
        load: f64,
    },
}

/// Everything, benign first.
pub fn all() -> impl Iterator<Item = &'static Case> {
    benign::CASES.iter().chain(hostile::CASES)
}

impl Case {
    /// The trace of that seed.
    pub fn trace(&self, seed: u64) -> Trace {
        let mut trace = shop(seed);
        (self.make)(&mut trace, onset_s(seed));
        trace
    }

    /// When the story begins, seconds from the trace's begin.
    pub fn onset_s(&self, seed: u64) -> f64 {
        onset_s(seed)
    }
}

/// Two minutes after the begin, give or take a second: no case may depend on how it meets the passes.
fn onset_s(seed: u64) -> f64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    (120_000.0 + 1_000.0 * rng.f64()).round() / 1_000.0
}

/// A shop on two CPUs that has run for a while.
fn shop(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut trace = Trace::new(seed);
    trace
        .service(
            "/usr/lib/systemd/systemd-journald",
            "systemd-journald.service",
        )
        .hums(0.005);
    trace.service("/usr/sbin/sshd", "ssh.service");
    trace.service("/usr/sbin/cron", "cron.service");
    let nginx = trace
        .service("/usr/sbin/nginx", "nginx.service")
        .listens(80, 3.0);
    nginx.hums(0.01 + 0.02 * rng.f64());
    trace
        .service("/usr/sbin/mariadbd", "mariadb.service")
        .threads(8)
        .hums(0.03 + 0.05 * rng.f64());
    let fpm = trace
        .service("/usr/sbin/php-fpm8.2", "php8.2-fpm.service")
        .id();
    for _ in 0..4 {
        let worker = trace.at(0.05).of(fpm).forks().user(33, "www-data");
        worker.hums(0.02 + 0.03 * rng.f64());
    }
    trace
}

/// A shell that a page of the shop starts: how nights begin, and thumbnails.
fn shelled_out<'a>(trace: &'a mut Trace, at_s: f64, command: &str) -> Act<'a> {
    trace.at(at_s);
    let shell = Image::file("/usr/bin/dash").args(&["sh", "-c", command]);
    trace.process("php-fpm8.2").forks().runs(shell)
}

/// A shell of somebody who logged in.
fn logged_in(trace: &mut Trace, at_s: f64) -> Act<'_> {
    trace.at(at_s);
    let session = trace.process("sshd").forks().unit("session-3.scope");
    session
        .user(1_000, "admin")
        .forks()
        .after_s(0.5)
        .execs("/usr/bin/bash")
}

/// A shell of a cron entry.
fn scheduled(trace: &mut Trace, at_s: f64) -> Act<'_> {
    trace.at(at_s);
    trace
        .process("cron")
        .forks()
        .forks()
        .after_s(0.01)
        .runs(Image::file("/usr/bin/dash").args(&["/bin/sh", "-c", "job"]))
}
