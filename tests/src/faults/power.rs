//! Power that fails at any moment: what was said to be durable is there when the machine is back, or given up and declared.
//!
//! The daemon's state plays a day of starts, events, deliveries, refusals and ends on a disk that remembers
//! ([`super::disk`]). From the tape come as many disks as wanted, each as a failure at another moment may leave it
//! ([`super::image`]), and the daemon's state starts on each. The power may fail again while it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use detector::{
    config,
    deliver::{Event, Feed as _, Settled},
    state::{self, Desk, Handle, Told},
};
use fastrand::Rng;
use tokio::{sync::Notify, time::timeout};

use super::{
    NOW, PATIENCE, SECOND, SINK, Story,
    disk::{self, Recording, Said, Step, Tape},
    image::{Disk, Files},
    progress,
};

const FILE: &str = "state.db";
/// Starts in a played day, and events of each.
const STARTS: u64 = 3;
const EVENTS: u64 = 300;
/// Of so many failures one is followed by another while the state starts again.
const TWICE: u64 = 4;

/// What is played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where files are made; nothing depends on what it really syncs.
    pub folder: PathBuf,
    /// Moments at which the power fails.
    pub failures: u64,
    /// What they are drawn from.
    pub seed: u64,
    /// Bound of the outbox: [`ROOMY`] or [`CROWDED`].
    pub outbox_bytes: u64,
}

/// Nothing has to be given up.
pub const ROOMY: u64 = 64 << 20;
/// About 60 events: updates collapse, and others are given up.
pub const CROWDED: u64 = 96 << 10;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Failures, those while it started again included.
    pub failures: u64,
    /// Steps of the tape, writes and syncs among them.
    pub steps: usize,
    /// Writes.
    pub writes: usize,
    /// Syncs.
    pub syncs: usize,
    /// Durable events, summed over failures.
    pub durable: u64,
    /// Of these, collapsed or given up and counted.
    pub given_up: u64,
    /// Events found undelivered afterwards, summed over failures.
    pub found: u64,
    /// What was not as promised.
    pub broken: Vec<String>,
}

/// What is true at one moment.
#[derive(Clone, Debug, Default)]
struct Truth {
    durable: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
}

impl Truth {
    fn hear(&mut self, step: &Step) {
        match step {
            Step::Said(Said::Durable(number)) => drop(self.durable.insert(*number)),
            Step::Said(Said::Delivered(number)) => drop(self.delivered.insert(*number)),
            _ => {}
        }
    }
}

/// Bodies of everything that was made, by number.
type Made = BTreeMap<u64, Bytes>;

/// Plays a day, and the failures.
///
/// # Errors
/// The machine fails otherwise.
pub fn play(plan: &Plan) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let mut random = Rng::with_seed(plan.seed);
    let (tape, made) = runtime.block_on(record(plan, &mut random))?;
    let is = |wanted: fn(&Step) -> bool| tape.steps.iter().filter(|step| wanted(step)).count();
    let mut outcome = Outcome {
        steps: tape.steps.len(),
        writes: is(|step| matches!(step, Step::Write { .. })),
        syncs: is(|step| matches!(step, Step::Sync { .. })),
        ..Outcome::default()
    };
    let mut moments: Vec<usize> = (0..plan.failures)
        .map(|_| random.usize(..=tape.steps.len()))
        .collect();
    moments.sort_unstable();
    let (mut disk, mut truth) = (Disk::new(&tape), Truth::default());
    let mut at = 0;
    for (number, moment) in (1..).zip(moments) {
        for step in &tape.steps[at..moment] {
            disk.advance(step);
            truth.hear(step);
        }
        at = moment;
        let files = disk.fail(&mut random);
        let again = number % TWICE == 0;
        let check = check(plan, &files, &truth, &made, again, &mut outcome);
        let second = runtime.block_on(check)?;
        if let Some(tape) = second {
            let (mut disk, mut truth) = (Disk::new(&tape), truth.clone());
            for step in &tape.steps[..random.usize(..=tape.steps.len())] {
                disk.advance(step);
                truth.hear(step);
            }
            let files = disk.fail(&mut random);
            let check = check_again(plan, &files, &truth, &made, &mut outcome);
            runtime.block_on(check)?;
        }
        progress("power failures", number, plan.failures);
    }
    Ok(outcome)
}

fn config(plan: &Plan) -> config::State {
    config::State {
        outbox_max_bytes: plan.outbox_bytes,
        ..config::State::default()
    }
}

/// A day on a disk that remembers.
async fn record(plan: &Plan, random: &mut Rng) -> Result<(Tape, Made)> {
    let folder = tempfile::tempdir_in(&plan.folder)?;
    let recording = Recording::begin(folder.path())?;
    let path = folder.path().join(FILE);
    let mut made = Made::new();
    for start in 0..STARTS {
        let stored = Arc::new(Notify::new());
        let news = Arc::clone(&stored);
        let show = Box::new(move |number: Bytes| {
            let number = std::str::from_utf8(&number)
                .ok()
                .and_then(|n| n.parse().ok());
            disk::say(Said::Durable(number.expect("a story shows numbers")));
            news.notify_one();
        });
        let mut now = NOW + start.cast_signed() * 3_600 * SECOND;
        let (mut handle, mut before) =
            state::start(&path, &config(plan), &[SINK.to_owned()], show, now)?;
        ensure!(before.trouble.is_empty(), "{:?}", before.trouble);
        let mut story = Story::new(before.last_sequence, 5, 12);
        let mut feed = handle.feed(SINK);
        let last = before.last_sequence + EVENTS;
        while story.last() < last {
            // A few together, as a pass makes them.
            for _ in 0..random.u8(1..6) {
                let record = story.event(now);
                made.insert(record.event.sequence, record.event.body.clone());
                handle.record(record);
            }
            timeout(PATIENCE, stored.notified()).await?;
            now += SECOND;
            handle.tick(now);
            while let Ok(told) = before.told.try_recv() {
                if let Told::Gap(gap) = told {
                    let record = story.declaration(gap.total, now);
                    made.insert(record.event.sequence, record.event.body.clone());
                    handle.record(record);
                }
            }
            let crowded = plan.outbox_bytes < ROOMY;
            if !crowded || random.u8(..16) == 0 {
                let events = timeout(PATIENCE, feed.next(6)).await?;
                deliver(&mut feed, &events.unwrap_or_default(), random).await;
            }
        }
        ensure!(handle.stop(PATIENCE).await, "the state does not end");
    }
    Ok((recording.end(), made))
}

/// The receiver takes the events, or now and then refuses one for good.
async fn deliver(feed: &mut state::OutboxFeed, events: &[Event], random: &mut Rng) {
    if events.len() == 1 && random.u8(..4) == 0 {
        feed.settle(1, Settled::Dead("status 400".to_owned())).await;
        return;
    }
    for event in events {
        disk::say(Said::Delivered(event.sequence));
    }
    feed.settle(events.len(), Settled::Delivered).await;
}

/// What the state finds on a disk.
struct Found {
    events: Vec<Event>,
    /// Incidents that are stored as open.
    open: Vec<state::StoredIncident>,
    dead: BTreeSet<u64>,
    last_sequence: u64,
    trouble: Vec<String>,
    /// Events that collapsed or were given up, as counted in the file.
    given_up: u64,
}

/// Starts on what a failure left, and holds it against the truth. With `again` on a disk that remembers, whose tape it
/// gives.
async fn check(
    plan: &Plan,
    files: &Files,
    truth: &Truth,
    made: &Made,
    again: bool,
    outcome: &mut Outcome,
) -> Result<Option<Tape>> {
    let folder = tempfile::tempdir_in(&plan.folder)?;
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes)?;
    }
    // What was in the shared memory is gone; a file of that name may hold anything.
    fs::write(folder.path().join(format!("{FILE}-shm")), [0xa5; 32 << 10])?;
    let recording = again.then(|| Recording::begin(folder.path())).transpose()?;
    let found = find(plan, &folder.path().join(FILE)).await?;
    judge(plan, &found, truth, made, outcome);
    Ok(recording.map(Recording::end))
}

async fn check_again(
    plan: &Plan,
    files: &Files,
    truth: &Truth,
    made: &Made,
    outcome: &mut Outcome,
) -> Result<()> {
    check(plan, files, truth, made, false, outcome)
        .await
        .map(drop)
}

async fn find(plan: &Plan, path: &Path) -> Result<Found> {
    // A clock that went back: the numbers go on by what is stored alone.
    let (mut handle, before) = state::start(
        path,
        &config(plan),
        &[SINK.to_owned()],
        Box::new(|_| {}),
        NOW,
    )?;
    let events = drain(&mut handle).await?;
    let durable = handle.health().is_durable;
    ensure!(handle.stop(PATIENCE).await, "the state does not end");
    let mut trouble = before.trouble.clone();
    if !durable {
        trouble.push("it goes on in memory".to_owned());
    }
    let letters = Desk::open(path, false)?.dead_letters()?;
    Ok(Found {
        events,
        open: before.open,
        dead: letters.iter().map(|letter| letter.sequence).collect(),
        last_sequence: before.last_sequence,
        trouble,
        given_up: given_up(path)?,
    })
}

/// Everything that waits, delivered.
async fn drain(handle: &mut Handle) -> Result<Vec<Event>> {
    handle.close().await;
    let mut feed = handle.feed(SINK);
    let mut all = Vec::new();
    while let Some(events) = timeout(PATIENCE, feed.next(64))
        .await
        .context("what waits does not come")?
    {
        for event in &events {
            disk::say(Said::Delivered(event.sequence));
        }
        feed.settle(events.len(), Settled::Delivered).await;
        all.extend(events);
    }
    Ok(all)
}

/// Events that the file says to have collapsed or to be given up.
fn given_up(path: &Path) -> Result<u64> {
    let file = rusqlite::Connection::open(path)?;
    let sum: Option<i64> = file.query_row(
        "SELECT sum(value) FROM meta WHERE key IN ('gap_total', 'collapsed')",
        [],
        |row| row.get(0),
    )?;
    Ok(sum.unwrap_or(0).unsigned_abs())
}

fn judge(plan: &Plan, found: &Found, truth: &Truth, made: &Made, outcome: &mut Outcome) {
    outcome.failures += 1;
    outcome.durable += truth.durable.len() as u64;
    outcome.found += found.events.len() as u64;
    let mut broken = |what: String| outcome.broken.push(what);
    for trouble in &found.trouble {
        broken(trouble.clone());
    }
    let mut numbers = BTreeSet::new();
    // A page goes before what waits: order is owed within an incident.
    let mut last_of: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &found.events {
        if !numbers.insert(event.sequence) {
            broken(format!("{} comes twice", event.id));
        }
        if let Some(last) = last_of.insert(&event.subject, event.sequence)
            && !event.subject.is_empty()
            && last > event.sequence
        {
            broken(format!("{} comes after number {last}", event.id));
        }
        if made.get(&event.sequence) != Some(&event.body) {
            broken(format!("{} is not what was made", event.id));
        }
    }
    let there = |number: &u64| {
        truth.delivered.contains(number) || found.dead.contains(number) || numbers.contains(number)
    };
    let missing: Vec<u64> = truth
        .durable
        .iter()
        .filter(|n| !there(n))
        .copied()
        .collect();
    let missed = missing.len() as u64;
    let allowed = if plan.outbox_bytes < ROOMY {
        found.given_up
    } else {
        0
    };
    if missed > allowed {
        broken(format!("{allowed} given up, and missing: {missing:?}"));
    }
    if truth.durable.last() > Some(&found.last_sequence) {
        broken(format!("{} is numbered again", found.last_sequence));
    }
    for incident in &found.open {
        if !made.values().any(|body| *body == incident.event) {
            broken(format!("incident {} is not what was made", incident.id));
        }
    }
    outcome.given_up += missed;
}
