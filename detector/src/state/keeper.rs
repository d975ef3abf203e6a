//! What the state thread knows, and what a batch of requests does to it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::sync::oneshot;

use super::{
    acceptance,
    finding::StoredFinding,
    handle::Record,
    inventory::{Program, from_hex},
    lane::{From, Given, Lane},
    outbox,
    repair::Place,
    store::{Changes, Store},
    worker::{Counters, Request, Show, Told},
};
use crate::{
    deliver::{Class, Settled},
    input::{Baseline, Destination},
};

/// Inventory, baselines and cursors wait this long for company, ns: they cost an fsync.
const FLUSH_NS: i64 = 5_000_000_000;
/// Findings that wait for company; in a storm of them the first say enough.
const MAX_FINDINGS: usize = 256;
/// Cursors are written after this long, ns: what is settled and not written comes again after a crash.
const CURSOR_NS: i64 = 1_000_000_000;
/// What is seen within this time of the first start ran before, ns: the snapshot takes seconds, hashing longer.
const FIRST_START_NS: i64 = 60_000_000_000;
/// Bounds by age are looked at this often, ns.
const HOUR_NS: i64 = 3_600_000_000_000;

/// What is written with company.
#[derive(Debug, Default)]
struct Waiting {
    programs: HashMap<Program, i64>,
    destinations: HashMap<Destination, i64>,
    baselines: HashMap<String, Baseline>,
    findings: Vec<StoredFinding>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        let Waiting {
            programs,
            destinations,
            baselines,
            findings,
        } = self;
        programs.is_empty()
            && destinations.is_empty()
            && baselines.is_empty()
            && findings.is_empty()
    }
}

/// The state.
pub(super) struct Keeper {
    pub(super) store: Store,
    pub(super) place: Place,
    pub(super) lanes: BTreeMap<String, Lane>,
    pub(super) counters: Arc<Counters>,
    pub(super) told: Vec<Told>,
    pub(super) now: i64,
    show: Show,
    /// What is first seen before it ran when the detector came to this host, ns since 1970.
    first_start_until: i64,
    waiting: Waiting,
    flushed: i64,
    cursors_written: i64,
    expired: i64,
    data_version: i64,
    closing: bool,
    declared_gap: u64,
}

impl Keeper {
    pub(super) fn new(
        store: Store,
        place: Place,
        sinks: &[String],
        counters: Arc<Counters>,
        show: Show,
        now: i64,
        is_new: bool,
    ) -> Keeper {
        let mut keeper = Keeper {
            store,
            place,
            lanes: sinks
                .iter()
                .map(|name| (name.clone(), Lane::default()))
                .collect(),
            counters,
            told: Vec::new(),
            now,
            show,
            first_start_until: if is_new { now + FIRST_START_NS } else { 0 },
            waiting: Waiting::default(),
            flushed: now,
            cursors_written: now,
            expired: 0,
            data_version: 0,
            closing: false,
            declared_gap: 0,
        };
        keeper.attach();
        keeper
    }

    /// Takes the database in `store` into use: cursors, counters, and what the command line left there.
    pub(super) fn attach(&mut self) {
        let names: Vec<String> = self.lanes.keys().cloned().collect();
        if let Err(error) = self.store.transact(|changes| changes.set_sinks(&names)) {
            self.degrade(&error);
            return;
        }
        let cursors = outbox::cursors(self.store.connection()).unwrap_or_default();
        for (name, cursor) in cursors {
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.cursor = lane.cursor.max(cursor);
                lane.again = true;
                let depth = outbox::depth(self.store.connection(), &name, lane.cursor);
                lane.depth = depth.unwrap_or(0);
            }
        }
        self.counters
            .is_durable
            .store(self.store.path().is_some(), Relaxed);
        self.look(true);
        self.count();
    }

    /// Does what a batch asks; gives whom to tell when it asked to end.
    pub(super) fn take(&mut self, batch: &mut Vec<Request>) -> Option<oneshot::Sender<()>> {
        let mut records = Vec::new();
        let mut ended = None;
        for request in batch.drain(..) {
            // Events in a row share a transaction.
            if !matches!(request, Request::Record(_)) {
                self.record(std::mem::take(&mut records));
            }
            match request {
                Request::Record(record) => records.push(*record),
                Request::Program(program) => {
                    self.waiting.programs.insert(program, self.now);
                }
                Request::Destination(to) => {
                    self.waiting.destinations.insert(to, self.now);
                }
                Request::Baseline(baseline) => {
                    let baselines = &mut self.waiting.baselines;
                    baselines.insert(baseline.identity.clone(), baseline);
                }
                Request::Finding(finding) => {
                    let findings = &mut self.waiting.findings;
                    if findings.len() < MAX_FINDINGS {
                        findings.push(finding);
                    }
                }
                Request::Next { sink, waiter } => {
                    if !self.lanes.contains_key(&sink) {
                        self.lanes.insert(sink.clone(), Lane::default());
                        self.attach();
                    }
                    let lane = self.lanes.get_mut(&sink).expect("made above");
                    lane.waiter = Some(waiter);
                }
                Request::Sinks(names) => {
                    self.lanes.retain(|name, _| names.contains(name));
                    self.attach();
                }
                Request::Settle { sink, given, how } => self.settle(&sink, given, &how),
                Request::Tick(now) => self.tick(now),
                Request::Close => self.closing = true,
                Request::Stop(reply) => {
                    self.flush();
                    ended = Some(reply);
                }
            }
        }
        self.record(records);
        // Before anybody is answered: who has an event finds it counted.
        self.count();
        self.serve();
        ended
    }

    /// Writes events, then shows and offers them.
    fn record(&mut self, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let (beats, events): (Vec<Record>, Vec<Record>) = records
            .into_iter()
            .partition(|record| record.event.class == Class::Heartbeat);
        if !events.is_empty() {
            let (now, has_sinks) = (self.now, !self.lanes.is_empty());
            self.commit(|changes| {
                for record in &events {
                    write(record, now, has_sinks, changes)?;
                }
                changes.squeeze()
            });
            for lane in self.lanes.values_mut() {
                lane.depth += events.len() as u64;
            }
        }
        for record in events.into_iter().chain(beats) {
            if record.event.class == Class::Heartbeat {
                for lane in self.lanes.values_mut() {
                    let replaced = lane.heartbeat.replace(record.event.clone());
                    self.counters
                        .superseded
                        .fetch_add(u64::from(replaced.is_some()), Relaxed);
                }
            }
            if let Some(text) = record.text {
                (self.show)(text);
            }
        }
        self.report_gap();
    }

    /// Applies changes, with the cursors that are ahead; where the database fails, to the next best one.
    fn commit(&mut self, changes: impl Fn(&mut Changes<'_>) -> rusqlite::Result<()>) {
        let ahead = self.lanes.iter().filter(|(_, lane)| lane.is_ahead);
        let ahead: Vec<(String, u64)> = ahead
            .map(|(name, lane)| (name.clone(), lane.cursor))
            .collect();
        // Twice: the file, and what is used in its place.
        for attempt in 0..2 {
            let done = self.store.transact(|open| {
                for (name, cursor) in &ahead {
                    open.advance(name, *cursor)?;
                }
                if !ahead.is_empty() {
                    open.sweep()?;
                }
                changes(open)
            });
            match done {
                Ok(()) => {
                    self.cursors_written = self.now;
                    for lane in self.lanes.values_mut() {
                        lane.is_ahead = false;
                    }
                    return;
                }
                Err(error) if attempt == 0 => self.degrade(&error),
                Err(error) => {
                    self.counters.lost.fetch_add(1, Relaxed);
                    tracing::error!(%error, "state lost: no database takes it");
                }
            }
        }
    }

    fn settle(&mut self, sink: &str, given: Vec<Given>, how: &Settled) {
        let Some(lane) = self.lanes.get_mut(sink) else {
            return;
        };
        for (from, event) in &given {
            match from {
                From::Outbox => {
                    lane.cursor = lane.cursor.max(event.sequence);
                    lane.is_ahead = true;
                    lane.depth = lane.depth.saturating_sub(1);
                }
                From::Page => {
                    lane.paged = lane.paged.max(event.sequence);
                    lane.depth = lane.depth.saturating_sub(1);
                }
                From::DeadLetter => {}
                From::Heartbeat => {
                    // A newer one may have come meanwhile.
                    if lane
                        .heartbeat
                        .as_ref()
                        .is_some_and(|beat| beat.sequence <= event.sequence)
                    {
                        lane.heartbeat = None;
                    }
                }
            }
        }
        let buried = matches!(how, Settled::Dead(_));
        let is_written = |(from, _): &Given| matches!(from, From::DeadLetter | From::Page);
        if !buried && !given.iter().any(is_written) {
            return;
        }
        let now = self.now;
        self.commit(|changes| {
            for (from, event) in given.iter().filter(|(from, _)| *from != From::Heartbeat) {
                match how {
                    Settled::Dead(reason) => changes.bury(sink, event, reason, now)?,
                    Settled::Delivered | Settled::Skipped if *from == From::DeadLetter => {
                        changes.unbury(sink, event.sequence)?;
                    }
                    Settled::Delivered | Settled::Skipped => {}
                }
                if *from == From::Page {
                    changes.settle_ahead(sink, event.sequence)?;
                }
            }
            changes.sweep()
        });
        self.count_dead();
    }

    /// Answers the workers that wait, as far as there is something.
    fn serve(&mut self) {
        let names: Vec<String> = self.lanes.keys().cloned().collect();
        for name in names {
            let Some(lane) = self.lanes.get_mut(&name) else {
                continue;
            };
            let Some(waiter) = lane.waiter.take() else {
                continue;
            };
            let given = self.next(&name, waiter.limit.max(1));
            let lane = self
                .lanes
                .get_mut(&name)
                .expect("lanes are made at the start");
            if !given.is_empty() {
                // A worker that ended meanwhile asks again when it is back: nothing is settled.
                let _ = waiter.reply.send(Some(given));
            } else if self.closing {
                let _ = waiter.reply.send(None);
            } else {
                lane.waiter = Some(waiter);
            }
        }
    }

    /// What comes next for a sink: pages, dead letters that are sent again, then the outbox, with the sign of life
    /// where its number puts it.
    fn next(&mut self, sink: &str, limit: usize) -> Vec<Given> {
        let lane = &self.lanes[sink];
        let (cursor, again, beat) = (lane.cursor, lane.again, lane.heartbeat.clone());
        let paged = lane.paged.max(cursor);
        let pages = self.whole(From::Page, |store| store.pages(sink, cursor, paged, limit));
        let mut given = Vec::new();
        if again {
            given.extend(self.whole(From::DeadLetter, |store| store.again(sink, limit)));
            if given.is_empty()
                && let Some(lane) = self.lanes.get_mut(sink)
            {
                lane.again = false;
            }
        }
        if given.is_empty() {
            given.extend(self.whole(From::Outbox, |store| store.after(sink, cursor, limit)));
            if let Some(beat) = beat {
                let at = given.partition_point(|(_, event)| event.sequence < beat.sequence);
                given.insert(at, (From::Heartbeat, beat));
            }
        }
        // A page whose turn it is needs no leave.
        let is_turn = |(_, page): &Given| given.first().is_some_and(|(_, first)| first == page);
        if pages.first().is_some_and(|first| !is_turn(first)) {
            given = pages;
        }
        given.truncate(limit);
        given
    }

    /// Reads events; damaged ones are given up and declared, and a database that cannot be read is replaced.
    fn whole(
        &mut self,
        from: From,
        read: impl Fn(&Store) -> rusqlite::Result<Vec<outbox::Stored>>,
    ) -> Vec<Given> {
        for _attempt in 0..2 {
            match read(&self.store) {
                Err(error) => self.degrade(&error),
                Ok(rows) => {
                    let mut given = Vec::new();
                    let mut damaged = Vec::new();
                    for row in rows {
                        match row {
                            outbox::Stored::Whole(event) => given.push((from, event)),
                            outbox::Stored::Damaged { sequence } => damaged.push(sequence),
                        }
                    }
                    if !damaged.is_empty() {
                        self.commit(|changes| changes.give_up(&damaged));
                        self.report_gap();
                    }
                    return given;
                }
            }
        }
        Vec::new()
    }

    fn tick(&mut self, now: i64) {
        self.now = now;
        let ahead = self.lanes.values().any(|lane| lane.is_ahead);
        if now - self.expired >= HOUR_NS {
            self.expired = now;
            self.commit(|changes| {
                changes.expire_events(now)?;
                changes.forget_incidents(now).map(drop)
            });
            self.recount();
            self.report_gap();
        }
        if !self.waiting.is_empty() && now - self.flushed >= FLUSH_NS
            || ahead && now - self.cursors_written >= CURSOR_NS
        {
            self.flush();
        }
        self.look(false);
        self.repair();
    }

    /// Writes what waits for company.
    pub(super) fn flush(&mut self) {
        self.flushed = self.now;
        let ahead = self.lanes.values().any(|lane| lane.is_ahead);
        if self.waiting.is_empty() && !ahead {
            return;
        }
        let Waiting {
            programs,
            destinations,
            baselines,
            findings,
        } = std::mem::take(&mut self.waiting);
        let now = self.now;
        let how = if now < self.first_start_until {
            "first_start"
        } else {
            "ran"
        };
        let forgotten = std::cell::Cell::new(0);
        self.commit(|changes| {
            let mut new = false;
            for (program, at) in &programs {
                new |= changes.saw_program(program, how, *at)?;
            }
            for (to, at) in &destinations {
                new |= changes.saw_destination(to, *at)?;
            }
            for baseline in baselines.values() {
                changes.put_baseline(baseline, now)?;
            }
            for finding in &findings {
                changes.put_finding(finding)?;
            }
            if !findings.is_empty() {
                changes.forget_findings(now)?;
            }
            if !baselines.is_empty() {
                changes.forget_baselines()?;
            }
            if new {
                forgotten.set(changes.forget_inventory(now)?);
            }
            Ok(())
        });
        self.counters.forgotten.fetch_add(forgotten.get(), Relaxed);
    }

    /// Looks whether the command line changed something.
    fn look(&mut self, always: bool) {
        let version: i64 = self
            .store
            .connection()
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .unwrap_or(self.data_version);
        if version == self.data_version && !always {
            return;
        }
        self.data_version = version;
        match acceptance::in_force(self.store.connection(), self.now) {
            Ok(accepted) => self.told.push(Told::Accepted(accepted)),
            Err(error) => tracing::warn!(%error, "acceptances cannot be read"),
        }
        let requests = self.store.transact(|changes| changes.take_requests());
        self.told
            .extend(requests.unwrap_or_default().into_iter().map(Told::Resolve));
        for lane in self.lanes.values_mut() {
            lane.again = true;
        }
        self.count_dead();
    }

    fn count_dead(&self) {
        let dead = self.store.dead_count().unwrap_or(0);
        self.counters.dead_letters.store(dead, Relaxed);
        let collapsed = self.store.collapsed().unwrap_or(0);
        self.counters.collapsed.store(collapsed, Relaxed);
    }

    fn report_gap(&mut self) {
        let collapsed = self.counters.collapsed.load(Relaxed);
        self.count_dead();
        if self.counters.collapsed.load(Relaxed) != collapsed {
            self.recount();
        }
        let gap = self.store.gap().unwrap_or_default();
        if let Some(gap) = gap.filter(|gap| gap.total > self.declared_gap) {
            self.declared_gap = gap.total;
            self.recount();
            self.told.push(Told::Gap(gap));
        }
    }

    pub(super) fn recount(&mut self) {
        for (name, lane) in &mut self.lanes {
            let depth = outbox::depth(self.store.connection(), name, lane.cursor);
            lane.depth = depth.unwrap_or(lane.depth);
        }
        self.count();
    }

    fn count(&self) {
        let depth = |lane: &Lane| lane.depth + u64::from(lane.heartbeat.is_some());
        let deepest = self.lanes.values().map(depth).max().unwrap_or(0);
        self.counters.depth.store(deepest, Relaxed);
    }
}

/// One event, with what belongs to it.
fn write(
    record: &Record,
    now: i64,
    has_sinks: bool,
    changes: &mut Changes<'_>,
) -> rusqlite::Result<()> {
    let is_page = match &record.incident {
        Some(incident) => changes.is_page(incident)?,
        None => false,
    };
    changes.queue(&record.event, now, has_sinks, is_page)?;
    if let Some(incident) = &record.incident {
        changes.put_incident(incident)?;
        let digest = incident.sha256.as_deref().and_then(from_hex);
        if let Some(digest) = digest.filter(|_| incident.severity != "info") {
            changes.accuse(&digest, now)?;
        }
    }
    match record.declares {
        Some(total) => changes.gap_declared(total),
        None => Ok(()),
    }
}
