//! kill −9 at random points of a program that records and delivers events: what it said to be durable arrives.
//!
//! The program ([`live`], run by `victim`) is the daemon's state and its worker for one receiver, without a kernel. It
//! says the number of every event it makes, and of every one that is stored, once it is. The receiver survives it. A
//! point is drawn in time while the file is opened and repaired, and in events stored or delivered afterwards, so that a
//! kill finds it in the middle of a transaction, of a checkpoint, or between an acknowledgement and its being remembered.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use detector::{
    config,
    deliver::Delivery,
    state::{self, Desk, Told},
};
use tokio::sync::Notify;

use super::{Arrivals, PATIENCE, SECOND, SINK, Story, progress, receiver};
use crate::recorder::{Act, Recorder, loopback};

/// Most events that are made and not yet stored: within what the state queues without dropping any.
const AHEAD: u64 = 16;
/// Events made together.
const PASS: u64 = 8;
/// Most events of one life before it is killed.
const EVENTS: u64 = 24;
/// Lives of one file: it keeps what incidents were, and is checked as a whole at each start.
const LIVES: u64 = 50;
/// Longest time between the last event that is waited for and the kill: a transaction with its fsync, and more.
const LATER: Duration = Duration::from_micros(2_000);

/// What is played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the state file is made. A kill leaves what was written whether it was synced or not, so that a file system
    /// in memory does as well as a disk and is faster.
    pub folder: PathBuf,
    /// Kills.
    pub rounds: u64,
    /// What the points are drawn from.
    pub seed: u64,
    /// `victim`.
    pub program: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Kills.
    pub rounds: u64,
    /// Kills before the first event was stored.
    pub early: u64,
    /// Events made.
    pub produced: u64,
    /// Of these, said to be durable.
    pub durable: u64,
    /// What the receiver got, repetitions included.
    pub arrived: u64,
    /// The same, each (source, id) once.
    pub distinct: u64,
    /// Events whose number had come under another id.
    pub renumbered: u64,
    /// Events that came after a later one of their incident.
    pub disordered: u64,
    /// What the program had to say about its file or a gap, which should be nothing.
    pub trouble: Vec<String>,
    /// Incidents whose stored state is not the one told last.
    pub torn: Vec<String>,
    /// Events that were durable and did not arrive.
    pub lost: Vec<u64>,
}

/// What one file went through.
#[derive(Debug, Default)]
struct Heard {
    produced: u64,
    durable: BTreeSet<u64>,
    trouble: Vec<String>,
}

/// Plays it.
///
/// # Errors
/// A program cannot be run, or one that is not killed fails.
pub fn play(plan: &Plan) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut random = fastrand::Rng::with_seed(plan.seed);
    while outcome.rounds < plan.rounds {
        let rounds = (plan.rounds - outcome.rounds).min(LIVES);
        one_file(plan, rounds, &mut random, &mut outcome)?;
        progress("kill -9", outcome.rounds, plan.rounds);
    }
    Ok(outcome)
}

/// A receiver, a state file, and one life after the other. The last one ends by itself when everything is delivered.
fn one_file(
    plan: &Plan,
    rounds: u64,
    random: &mut fastrand::Rng,
    outcome: &mut Outcome,
) -> Result<()> {
    let folder = tempfile::tempdir_in(&plan.folder)?;
    let path = folder.path().join("state.db");
    let arrivals: Arc<(Mutex<Arrivals>, Condvar)> = Arc::default();
    let log = Arc::clone(&arrivals);
    let recorder = Recorder::forgetful(loopback(), move |_, request| {
        let mut arrived = log.0.lock().expect("no holder panics");
        request
            .events()
            .iter()
            .for_each(|event| arrived.take(event));
        log.1.notify_all();
        Act::Status(202)
    });
    let arrived = || arrivals.0.lock().expect("no holder panics");
    let url = recorder.url("/");
    let mut heard = Heard::default();
    // How long a life takes to its first stored event.
    let mut start = Duration::from_millis(20);
    for _ in 0..rounds {
        let mut life = Life::begin(plan, &path, &url, u64::MAX)?;
        let before = heard.durable.len();
        match random.u8(..4) {
            0 => std::thread::sleep(start.mul_f64(random.f64())),
            1 => {
                // Until a request is answered, and not yet remembered.
                let total = arrived().total;
                let news = arrivals
                    .1
                    .wait_timeout_while(arrived(), PATIENCE, |now| now.total == total);
                drop(news.expect("no holder panics"));
                std::thread::sleep(LATER.mul_f64(random.f64()));
            }
            _ => {
                life.read(&mut heard, random.u64(..EVENTS));
                std::thread::sleep(LATER.mul_f64(random.f64()));
            }
        }
        life.kill(&mut heard)?;
        if let Some(first) = life.first {
            start = start.max(first);
        }
        outcome.early += u64::from(heard.durable.len() == before);
    }
    let mut last = Life::begin(plan, &path, &url, 0)?;
    last.read(&mut heard, u64::MAX);
    let status = last.child.wait()?;
    ensure!(status.success(), "the last life failed: {status}");
    let arrivals = arrived();
    let lost = heard
        .durable
        .iter()
        .filter(|number| !arrivals.has(**number));
    outcome.lost.extend(lost);
    outcome.rounds += rounds;
    outcome.produced += heard.produced;
    outcome.durable += heard.durable.len() as u64;
    outcome.arrived += arrivals.total;
    outcome.distinct += arrivals.distinct();
    outcome.renumbered += arrivals.renumbered;
    outcome.disordered += arrivals.disordered;
    outcome.trouble.extend(heard.trouble);
    outcome.torn.extend(torn(&path, &arrivals)?);
    Ok(())
}

/// Incidents of which something else is stored than what arrived last.
fn torn(path: &Path, arrivals: &Arrivals) -> Result<Vec<String>> {
    let desk = Desk::open(path, false)?;
    let mut torn = Vec::new();
    for incident in desk.incidents(u32::MAX)? {
        let incident = incident.context("an incident is damaged")?;
        let event: serde_json::Value = serde_json::from_slice(&incident.event)?;
        let number = event["sequence"]
            .as_str()
            .and_then(|text| text.parse().ok());
        if number != arrivals.last_of(&incident.id) {
            torn.push(incident.id);
        }
    }
    Ok(torn)
}

/// One run of the program.
struct Life {
    child: std::process::Child,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
    begun: Instant,
    /// From the begin to the first stored event.
    first: Option<Duration>,
}

impl Life {
    fn begin(plan: &Plan, path: &Path, url: &str, events: u64) -> Result<Life> {
        let begun = Instant::now();
        let mut child = Command::new(&plan.program)
            .arg(path)
            .arg(url)
            .arg(events.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", plan.program.display()))?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        Ok(Life {
            child,
            said: BufReader::new(stdout).lines(),
            begun,
            first: None,
        })
    }

    /// Takes in what it says until it has said so many events to be durable, or ends.
    fn read(&mut self, heard: &mut Heard, durable: u64) {
        let mut seen = 0;
        while seen < durable
            && let Some(Ok(line)) = self.said.next()
        {
            // A line that the kill cut short was not said.
            match line.split_once(' ') {
                Some(("produced", _)) => heard.produced += 1,
                Some(("durable", rest)) => {
                    let Some(number) = rest.strip_suffix('.') else {
                        continue;
                    };
                    seen += 1;
                    heard.durable.extend(number.parse::<u64>());
                    self.first.get_or_insert_with(|| self.begun.elapsed());
                }
                _ => heard.trouble.push(line),
            }
        }
    }

    fn kill(&mut self, heard: &mut Heard) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        // What it said before it died is in the pipe.
        self.read(heard, u64::MAX);
        Ok(())
    }
}

/// The program: records events as fast as they are stored, `events` of them, delivers them to `url`, and ends when
/// everything is delivered.
///
/// # Errors
/// It cannot start.
///
/// # Panics
/// Never, as long as the clock is after 1970.
pub fn live(path: &Path, url: &str, events: u64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stored = Arc::new((AtomicU64::new(0), Notify::new()));
        let count = Arc::clone(&stored);
        let show = Box::new(move |number: Bytes| {
            say(&[b"durable ", &number[..], b".\n"].concat());
            count.0.fetch_add(1, Relaxed);
            count.1.notify_one();
        });
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let mut now = i64::try_from(since.as_nanos())?;
        let sinks = [SINK.to_owned()];
        let (mut handle, mut before) =
            state::start(path, &config::State::default(), &sinks, show, now)?;
        for trouble in &before.trouble {
            say(format!("trouble {trouble}\n").as_bytes());
        }
        let sinks = receiver(url, "batch", 100_000);
        let delivery = Delivery::start(&sinks, |name| handle.feed(name))?;
        let mut story = Story::new(before.last_sequence, 7, 9);
        let mut made = 0;
        while made < events {
            // A pass of the daemon.
            for _ in 0..PASS {
                let record = story.event(now);
                say(format!("produced {}\n", record.event.sequence).as_bytes());
                handle.record(record);
            }
            made += PASS;
            now += SECOND;
            handle.tick(now);
            // The worker gets its turn, whether there is news or not.
            tokio::task::yield_now().await;
            while made - stored.0.load(Relaxed) > AHEAD {
                stored.1.notified().await;
            }
            while let Ok(told) = before.told.try_recv() {
                if !matches!(told, Told::Accepted(_)) {
                    say(format!("told {told:?}\n").as_bytes());
                }
            }
        }
        handle.close().await;
        delivery.stop(PATIENCE).await;
        ensure!(handle.stop(PATIENCE).await, "the state does not end");
        Ok(())
    })
}

/// One line in one write; nobody is there to read: the end.
fn say(line: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if stdout
        .write_all(line)
        .and_then(|()| stdout.flush())
        .is_err()
    {
        std::process::exit(1);
    }
}
