//! `bench delivery`: how long from the exec of a new program to its incident at the receiver.
//!
//! The real daemon with real probes, a receiver on loopback, and one intruder after the other, each with a program and a
//! session of its own. The origin is the kernel's time of the exec, as the event tells it; the end is the last byte
//! of the request. In between stands the moment at which the event was stored: it is printed then. Where a real
//! Alertmanager is installed it gets the same incidents, and is asked every millisecond whether it shows them.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{
    daemon::Daemon,
    foothold::{Foothold, Session},
    recorder::{Act, Recorder, loopback},
};

use crate::{alertmanager::Alertmanager, markdown::table, statistics::quantile};

/// Intruders that have done what they came for and are not yet cleared away.
const LINGERING: usize = 16;
/// Longest wait for one incident.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is promised, ms: half of all, and all but one in a hundred.
const HALF_MS: f64 = 100.0;
const ALMOST_ALL_MS: f64 = 1_000.0;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Incidents
    #[arg(long, default_value_t = 200)]
    incidents: usize,
    /// What the pauses between them are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where `delivery.md` is kept; nowhere when left out
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

/// One incident, ms.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// From the exec until it was stored.
    stored: f64,
    /// From then until it was received.
    sent: f64,
    /// From when it was stored until Alertmanager showed it.
    shown: Option<f64>,
}

impl Measured {
    fn whole(self) -> f64 {
        self.stored + self.sent
    }
}

/// When the event with an id was received.
type Received = Arc<(Mutex<HashMap<String, SystemTime>>, Condvar)>;

/// Measures, prints, and keeps.
pub fn execute(args: &Args) -> Result<ExitCode> {
    let program = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.with_context(|| format!("{name} names no program: run `cargo xtask bench delivery`"))
    };
    let stand_in = program("DETECTOR_STAND_IN")?;
    let received = Received::default();
    let log = Arc::clone(&received);
    let recorder = Recorder::forgetful(loopback(), move |_, request| {
        let mut seen = log.0.lock().expect("no holder panics");
        for event in request.events() {
            let id = event["id"].as_str().unwrap_or_default();
            seen.entry(id.to_owned()).or_insert(request.at);
        }
        log.1.notify_all();
        Act::Status(202)
    });
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("detector.toml");
    let alertmanager = Alertmanager::start(Instant::now() + PATIENCE)?;
    if alertmanager.is_none() {
        eprintln!("Alertmanager is not installed: measured without");
    }
    let its = alertmanager.as_ref().map(Alertmanager::section);
    let url = recorder.url("/");
    let text = format!("[sink.http]\nurl = \"{url}\"\n{}", its.unwrap_or_default());
    fs::write(&config, text)?;
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600))?;
    let mut command = Daemon::command(&program("DETECTOR_BIN")?);
    command.arg("--config").arg(&config);
    let mut daemon = Daemon::start(command)?;
    daemon.wait_ready(Instant::now() + PATIENCE)?;
    let mut random = fastrand::Rng::with_seed(args.seed);
    let mut measured = Vec::new();
    let mut intruders = VecDeque::new();
    for number in 1..=args.incidents {
        // Anywhere between two drains of the rings.
        std::thread::sleep(Duration::from_micros(random.u64(..100_000)));
        let (foothold, session, one) = one(&daemon, &stand_in, &received, alertmanager.as_ref())?;
        measured.push(one);
        // It ends by itself after a second; to end it takes runuser two.
        intruders.push_back((session, foothold));
        if intruders.len() > LINGERING {
            intruders.pop_front();
        }
        eprint!("\rincidents: {number} of {}", args.incidents);
    }
    eprintln!();
    ensure!(daemon.stop()?.success(), "the daemon fails at its end");
    let report = report(args, &measured);
    print!("{report}");
    if let Some(folder) = &args.write {
        let path = folder.join("delivery.md");
        fs::write(&path, report).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let whole: Vec<f64> = measured.iter().map(|one| one.whole()).collect();
    let within = |share, ms| quantile(&whole, share).is_some_and(|measured| measured <= ms);
    Ok(if within(0.5, HALF_MS) && within(0.99, ALMOST_ALL_MS) {
        ExitCode::SUCCESS
    } else {
        eprintln!("that is slower than promised");
        ExitCode::FAILURE
    })
}

/// One intruder.
fn one(
    daemon: &Daemon,
    stand_in: &Path,
    received: &Received,
    alertmanager: Option<&Alertmanager>,
) -> Result<(Foothold, Session, Measured)> {
    let foothold = Foothold::new(".bench-")?;
    let program = foothold.plant(stand_in, "worker")?;
    let path = program.to_str().context("a plain path")?;
    let first = daemon.events().len();
    let session = foothold.start(&[path, "--threads", "0", "--for", "1"])?;
    let deadline = Instant::now() + PATIENCE;
    let is_its = |event: &Value| {
        event["type"] == "detector.incident.opened"
            && event["data"]["process"]["executable"] == path
    };
    let seen = daemon.wait_event_from(first, deadline, is_its)?;
    let stored = SystemTime::now() - seen.at.elapsed();
    let id = seen.event["id"].as_str().context("an id")?;
    let incident = seen.event["subject"].as_str().context("an incident")?;
    if let Some(alertmanager) = alertmanager {
        alertmanager.wait_shown(incident, deadline)?;
    }
    let shown = SystemTime::now();
    let (times, news) = &**received;
    let times = times.lock().expect("no holder panics");
    let wait = news.wait_timeout_while(times, PATIENCE, |times| !times.contains_key(id));
    let (times, _) = wait.expect("no holder panics");
    let arrived = *times.get(id).context("it does not arrive")?;
    let executed = executed(&seen.event).context("no finding of an execution")?;
    let ms = |from: SystemTime, to: SystemTime| match to.duration_since(from) {
        Ok(passed) => passed.as_secs_f64() * 1e3,
        Err(error) => error.duration().as_secs_f64() * -1e3,
    };
    let measured = Measured {
        stored: ms(executed, stored),
        sent: ms(stored, arrived),
        shown: alertmanager.map(|_| ms(stored, shown)),
    };
    Ok((foothold, session, measured))
}

/// When the kernel saw the exec: what every finding about it was first seen at.
fn executed(event: &Value) -> Option<SystemTime> {
    let findings = event.pointer("/data/incident/findings")?.as_array()?;
    let of_exec = findings.iter().filter(|finding| {
        let kind = finding["type"].as_str().unwrap_or_default();
        kind.starts_with("execution.")
    });
    let times = of_exec.filter_map(|finding| finding["first_seen"].as_str()?.parse().ok());
    times.min().map(|at: jiff::Timestamp| SystemTime::from(at))
}

fn report(args: &Args, measured: &[Measured]) -> String {
    let row = |what: &str, of: fn(Measured) -> Option<f64>| {
        let values: Vec<f64> = measured.iter().filter_map(|one| of(*one)).collect();
        let ms = |share| quantile(&values, share).map_or("–".to_owned(), |ms| format!("{ms:.1}"));
        vec![what.to_owned(), ms(0.5), ms(0.9), ms(0.99), ms(1.0)]
    };
    let rows = [
        row("exec → stored", |one| Some(one.stored)),
        row("stored → received", |one| Some(one.sent)),
        row("**exec → received**", |one| Some(one.whole())),
        row("stored → shown by Alertmanager", |one| one.shown),
        row("**exec → shown by Alertmanager**", |one| {
            Some(one.stored + one.shown?)
        }),
        vec![
            "promised".to_owned(),
            format!("{HALF_MS:.0}"),
            String::new(),
            format!("{ALMOST_ALL_MS:.0}"),
            String::new(),
        ],
    ];
    format!(
        "# Delivery, measured\n\n\
         Written by `cargo xtask bench delivery --incidents {} --seed {}`: a new program of `www-data`'s is executed, the\n\
         real daemon opens an incident, a receiver of CloudEvents on loopback gets it. From the kernel's time of the exec to the\n\
         last byte of the request, ms, detector {}, {} CPUs. The rings are emptied every 50 ms, so half of that is the mean\n\
         wait for the next drain; then come the facts about the file (owner, age, hash), a transaction with its fsync, and one\n\
         request. A real Alertmanager gets the same incidents at the same time and is asked every millisecond whether its\n\
         interface shows them, which takes it and the two CPUs some time as well.\n\n{}\n```\n{}```\n",
        args.incidents,
        args.seed,
        env!("CARGO_PKG_VERSION"),
        std::thread::available_parallelism().map_or(1, usize::from),
        table(&["ms", "p50", "p90", "p99", "max"], &rows),
        histogram(&measured.iter().map(|one| one.whole()).collect::<Vec<_>>()),
    )
}

/// Bars of how many took so long, buckets growing by the square root of two.
fn histogram(values: &[f64]) -> String {
    const WIDEST: usize = 60;
    let bucket = |value: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "a small number")]
        let at = (value.max(1.0).log2() * 2.0).floor() as i32;
        at
    };
    let mut counts: std::collections::BTreeMap<i32, usize> = Default::default();
    for value in values {
        *counts.entry(bucket(*value)).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(1);
    let (Some(first), Some(last)) = (counts.keys().next(), counts.keys().next_back()) else {
        return String::new();
    };
    let mut out = String::new();
    for at in *first..=*last {
        let count = counts.get(&at).copied().unwrap_or(0);
        let (from, to) = (f64::from(at) / 2.0, f64::from(at + 1) / 2.0);
        let bar = "█".repeat((count * WIDEST).div_ceil(most));
        out += &format!(
            "{:>6.0} – {:>5.0} ms {count:>5} {bar}\n",
            from.exp2(),
            to.exp2()
        );
    }
    out
}
