//! The founding incident, rehearsed from end to end: exploit, burn, incident, end, resolution.
//!
//! Owns the order of events and the clock they are measured by: everything is told in seconds since the
//! stand-in *started* (from its start time in `/proc`, not from when somebody noticed). [`founding_incident`] fails
//! only where the rehearsal itself could not take place; a daemon that misses the incident, or tells it
//! wrongly, is a [`Report`] with failed checks. Bounded by [`Options::total_within`]; everything it starts is
//! ended on every way out.

mod check;
pub mod incident;

pub use check::Check;

use crate::daemon::{Daemon, Seen};
use crate::pool::{Pool, Said};
use crate::process::Known;
use crate::web_stack::{Programs, WebStack};
use crate::{service, sys};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Environment variable that names the daemon's binary.
pub const DETECTOR_BIN: &str = "DETECTOR_BIN";
/// Environment variable that names the stand-in's binary.
pub const DETECTOR_STAND_IN: &str = "DETECTOR_STAND_IN";

/// Honest page views before the exploit.
const PAGE_VIEWS: usize = 5;
/// How often the scenario looks at daemon and stand-in.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PLANTED_WITHIN: Duration = Duration::from_secs(5);

/// What to rehearse, and how long each party may take.
#[derive(Clone, Debug)]
pub struct Options {
    /// The daemon's binary.
    pub detector: PathBuf,
    /// The payload's binary.
    pub stand_in: PathBuf,
    /// Threads the stand-in burns with.
    pub threads: u16,
    /// Percent of one CPU that each thread burns.
    pub duty_percent: u8,
    /// How long it burns.
    pub burn: Duration,
    /// Port of the pool stub on 127.0.0.1; 0 takes a free one.
    pub pool_port: u16,
    /// Appended to the daemon's command line.
    pub daemon_arguments: Vec<OsString>,
    /// Added to the daemon's environment.
    pub daemon_environment: Vec<(OsString, OsString)>,
    /// From the daemon's start to `detector ready`.
    pub ready_within: Duration,
    /// From the burn's start to the incident.
    pub catch_within: Duration,
    /// From the stand-in's end to the resolution.
    pub resolve_within: Duration,
    /// From the exploit to the end of watching, whatever else is allowed.
    pub total_within: Duration,
}

impl Options {
    /// The demo's defaults, with binaries from [`DETECTOR_BIN`] and [`DETECTOR_STAND_IN`] or else from next to the
    /// running program.
    ///
    /// # Errors
    /// Names everything that is missing: root, the servers, the binaries.
    pub fn find() -> Result<Self> {
        let mut missing = Vec::new();
        if let Err(error) = Programs::find() {
            missing.push(format!("{error:#}"));
        }
        let mut binary = |variable: &str, name: &str| {
            let path = std::env::var_os(variable).map_or_else(|| beside(name), PathBuf::from);
            if !path.is_file() {
                let shown = path.display();
                missing.push(format!(
                    "no {name} at {shown}: build it, or say where it is with {variable}"
                ));
            }
            path
        };
        let detector = binary(DETECTOR_BIN, "detector");
        let stand_in = binary(DETECTOR_STAND_IN, "stand-in");
        ensure!(missing.is_empty(), "{}", missing.join("\n"));
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            detector,
            stand_in,
            threads: u16::try_from(cpus).unwrap_or(u16::MAX),
            duty_percent: 100,
            burn: Duration::from_secs(30),
            pool_port: 0,
            daemon_arguments: Vec::new(),
            daemon_environment: Vec::new(),
            ready_within: Duration::from_secs(20),
            catch_within: Duration::from_secs(20),
            resolve_within: Duration::from_secs(60),
            total_within: Duration::from_secs(140),
        })
    }
}

/// A moment of the rehearsal, for whoever watches.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// nginx and php-fpm answer.
    WebStackUp(SocketAddr),
    /// The stub listens.
    PoolUp(SocketAddr),
    /// The daemon watches, so long after its start.
    DaemonReady(Duration),
    /// Honest customers were served, so many pages.
    PagesViewed(usize),
    /// The exploit worked; the burn runs.
    Planted(&'a Planted),
    /// The daemon said something; whether it names the stand-in; time since the burn's start.
    Event(&'a Seen, bool, Duration),
    /// The stand-in ended by itself; time since the burn's start.
    StandInEnded(Duration),
}

/// The planted program as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Where the page wrote it.
    pub executable: PathBuf,
    /// Of the posted bytes, in hexadecimal.
    pub sha256: String,
    /// Its process id, verified against the executable.
    pub pid: u32,
    /// The pool's user id.
    pub uid: u32,
    /// When it started.
    pub started: Instant,
}

/// Times since the burn's start; `None` where it did not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// First event that names the stand-in.
    pub opened: Option<Duration>,
    /// First such event of severity `critical`.
    pub critical: Option<Duration>,
    /// The stand-in's end.
    pub ended: Option<Duration>,
    /// `detector.incident.resolved`.
    pub resolved: Option<Duration>,
}

/// Everything that came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was planted.
    pub planted: Planted,
    /// Where the stub listened.
    pub pool: SocketAddr,
    /// What it heard.
    pub pool_said: Vec<Said>,
    /// From the daemon's start to `detector ready`.
    pub ready_after: Duration,
    /// Position of the first event after the exploit.
    pub first_after_exploit: usize,
    /// Everything the daemon said, from its start to its end.
    pub events: Vec<Seen>,
    /// Ids of the incidents that name the stand-in, in order of appearance. One is right.
    pub incident_ids: Vec<String>,
    /// When what came.
    pub timings: Timings,
    /// What was verified.
    pub checks: Vec<Check>,
    /// What the daemon said, as text, for failures.
    pub daemon_account: String,
}

impl Report {
    /// Whether every check holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    /// The events of the first incident that names the stand-in, in order.
    pub fn incident_events(&self) -> impl DoubleEndedIterator<Item = &Value> {
        let id = self.incident_ids.first().map(String::as_str);
        let events = self.events.iter().map(|seen| &seen.event);
        events.filter(move |event| id.is_some() && incident::id(event) == id)
    }
}

/// [`founding_incident_observed`] without an observer.
///
/// # Errors
/// When the rehearsal could not take place.
pub fn founding_incident(options: &Options) -> Result<Report> {
    founding_incident_observed(options, &mut |_| {})
}

/// Plays the founding incident against a real daemon and reports what it said about it.
///
/// # Errors
/// When the rehearsal could not take place: a server, the daemon or the exploit failed, or somebody interrupted.
pub fn founding_incident_observed(
    options: &Options,
    observe: &mut dyn FnMut(Step<'_>),
) -> Result<Report> {
    let payload = std::fs::read(&options.stand_in)
        .with_context(|| format!("cannot read {}", options.stand_in.display()))?;
    let sha256 = hex(&Sha256::digest(&payload));

    let stack = WebStack::start()?;
    observe(Step::WebStackUp(stack.address()));
    let pool = Pool::start_on(options.pool_port)?;
    observe(Step::PoolUp(pool.address()));

    // Where systemd would put it: the rehearsal leaves nothing in /var/lib.
    let state = tempfile::Builder::new()
        .prefix("detector-demo-")
        .tempdir()?;
    service::give(state.path())?;
    let mut command = Daemon::command(&options.detector);
    command.env("STATE_DIRECTORY", state.path());
    command.env("RUNTIME_DIRECTORY", state.path());
    command.envs(options.daemon_environment.iter().cloned());
    command.args(&options.daemon_arguments);
    let mut daemon = Daemon::start(service::unprivileged(&command, &[service::NET_ADMIN]))?;
    let ready_after = daemon.wait_ready(Instant::now() + options.ready_within)?;
    observe(Step::DaemonReady(ready_after));

    for _ in 0..PAGE_VIEWS {
        stack.view_page()?;
    }
    observe(Step::PagesViewed(PAGE_VIEWS));

    let first_after_exploit = daemon.events().len();
    stack.exploit(&payload, &arguments(options, &stack, pool.address()))?;
    let process = stack.wait_for_planted(Instant::now() + PLANTED_WITHIN)?;
    let planted = Planted {
        executable: stack.planted(),
        sha256,
        pid: process.pid(),
        uid: stack.uid(),
        started: process.started()?,
    };
    observe(Step::Planted(&planted));

    let watch = Watch {
        options,
        daemon: &daemon,
        process: &process,
        planted: &planted,
    };
    let (timings, incident_ids) = watch.until_told(observe)?;
    // First the cause, then the witness: the daemon is still there to say what it sees last.
    let pool_said = pool.said();
    let stopped = daemon.stop();
    let mut report = Report {
        planted,
        pool: pool.address(),
        pool_said,
        ready_after,
        first_after_exploit,
        events: daemon.events(),
        incident_ids,
        timings,
        checks: Vec::new(),
        daemon_account: daemon.account(),
    };
    report.checks = check::all(&report, options, &stopped, &daemon);
    Ok(report)
}

/// The stand-in's command line, as an intruder's script would give it.
fn arguments(options: &Options, stack: &WebStack, pool: SocketAddr) -> Vec<String> {
    vec![
        format!("--threads={}", options.threads),
        format!("--duty={}", options.duty_percent),
        format!("--for={}", options.burn.as_secs()),
        format!("--pool=stratum+tcp://{pool}"),
        format!("--pid-file={}", stack.pid_file().display()),
    ]
}

struct Watch<'a> {
    options: &'a Options,
    daemon: &'a Daemon,
    process: &'a Known,
    planted: &'a Planted,
}

impl Watch<'_> {
    /// Follows daemon and stand-in until the incident is resolved or somebody is out of time.
    fn until_told(&self, observe: &mut dyn FnMut(Step<'_>)) -> Result<(Timings, Vec<String>)> {
        let mut timings = Timings::default();
        let mut ids: Vec<String> = Vec::new();
        let mut next = 0;
        loop {
            for seen in self.daemon.events_from(next, LOOK_EVERY) {
                next = seen.index + 1;
                let after = seen.at.saturating_duration_since(self.planted.started);
                let named = incident::names(&seen.event, self.planted);
                if named {
                    note(&mut timings, &mut ids, &seen.event, after);
                }
                observe(Step::Event(&seen, named, after));
            }
            let elapsed = self.planted.started.elapsed();
            if timings.ended.is_none() && self.process.has_exited() {
                timings.ended = Some(elapsed);
                observe(Step::StandInEnded(elapsed));
            }
            if sys::interrupted() {
                bail!("interrupted");
            }
            let missed = timings.opened.is_none() && elapsed > self.options.catch_within;
            let unresolved = timings
                .ended
                .is_some_and(|ended| elapsed > ended + self.options.resolve_within);
            let told = timings.resolved.is_some() && timings.ended.is_some();
            let gone = self.daemon.has_exited();
            if missed || unresolved || told || gone || elapsed > self.options.total_within {
                return Ok((timings, ids));
            }
        }
    }
}

/// Keeps the first moment of each kind. The first incident counts; a second one is a fault of its own.
fn note(timings: &mut Timings, ids: &mut Vec<String>, event: &Value, after: Duration) {
    let Some(id) = incident::id(event) else {
        return;
    };
    if !ids.iter().any(|known| known == id) {
        ids.push(id.to_owned());
    }
    timings.opened.get_or_insert(after);
    if incident::severity(event) == Some("critical") {
        timings.critical.get_or_insert(after);
    }
    if incident::kind(event) == Some(incident::RESOLVED) {
        timings.resolved.get_or_insert(after);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `name` next to the running program; tests run from a folder below.
fn beside(name: &str) -> PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    let folder = executable.parent().unwrap_or(Path::new("."));
    let folder = match folder.file_name() {
        Some(last) if last == "deps" => folder.parent().unwrap_or(folder),
        _ => folder,
    };
    folder.join(name)
}
