//! Opened, updated, resolved: when an incident is told, and when it is over.
//!
//! Below `critical` an opening waits until the facts about its executable are there, or for the first pass
//! half a second later: the first thing a receiver hears then says whose file it is, and the same content under two names is told once.
//!
//! An update needs a change a responder would act on: severity, a new kind of signal, a new victim, a
//! fact about the subject that became known. Updates are at least `update_interval_s` apart and the change
//! that came in between is sent when the time is over; only a rise in severity does not wait, and there are
//! at most two of those. What is a suspect's is over when every suspect and what descends from it is gone
//! and no saturation goes on, plus `resolve_after_s`;
//! plain load when saturation is over, plus
//! `load_resolve_after_s`.
//!
//! Resolved is final: what comes back, however soon, is a new incident under a new id, because
//! receivers treat a resolved key as closed. `group_key` is the same, and within ten minutes the timeline
//! names the one before. So that what flaps does not open again and again, each return within that time
//! doubles the wait until it is resolved, up to ten minutes.

use uuid::Uuid;

use super::{Book, Moment, Severity, case::Case};
use crate::{
    detect::world::World,
    output::{Change, Output},
};

/// Resolved incidents remembered; the oldest goes first.
pub(super) const MAX_RESOLVED: usize = 64;
/// What is back within this time is a return, ns.
const RETURN_NS: u64 = 600_000_000_000;
/// Longest wait for what returns until it is over, s.
const MAX_WAIT_S: u64 = 600;
/// How long an opening waits for facts about an executable, ns; they take milliseconds.
const FACTS_NS: u64 = 500_000_000;
/// How often a missing hash is asked for.
const MAX_HASH_REQUESTS: u8 = 3;

/// A resolved incident.
#[derive(Debug)]
pub(super) struct Past {
    group_key: String,
    id: Uuid,
    at_ns: u64,
    returns: u32,
}

impl Book {
    /// A pass is over: sends what waits, asks what is missing, ends what is over.
    pub fn tick(&mut self, world: &mut World, out: &mut Vec<Output>) {
        for case in &mut self.cases {
            case.ask_for_hash(world, out);
        }
        self.flush(world, out);
        let mut at = 0;
        while at < self.cases.len() {
            if self.cases[at].is_over(world) {
                self.end(at, None, world, out);
            } else {
                at += 1;
            }
        }
    }

    /// Sends the changes that need not or no longer wait.
    pub fn flush(&mut self, world: &mut World, out: &mut Vec<Output>) {
        if !self.restless {
            debug_assert!(!self.cases.iter().any(Case::is_restless));
            return;
        }
        self.drop_excused(world, out);
        let interval_ns = world.config.update_interval_s.saturating_mul(1_000_000_000);
        let now_ns = world.now_ns();
        for case in &mut self.cases {
            if !case.told {
                if case.awaits_facts(world) {
                    continue;
                }
                case.told = true;
                case.emit(Change::Opened, world, out);
                continue;
            }
            let rises =
                std::mem::take(&mut case.grown) && case.assess().severity > case.sent_severity;
            let due = now_ns.saturating_sub(case.sent_ns) >= interval_ns;
            if rises || case.dirty && due {
                case.emit(Change::Updated, world, out);
            }
        }
        self.restless = self.cases.iter().any(Case::is_restless);
    }

    /// What was accepted before anybody was told of it is no incident: its findings are for the record.
    fn drop_excused(&mut self, world: &mut World, out: &mut Vec<Output>) {
        let mut at = 0;
        while at < self.cases.len() {
            let case = &self.cases[at];
            let mut findings = case.incident.findings.iter();
            if case.told || findings.any(|finding| finding.severity >= Severity::Warning) {
                at += 1;
                continue;
            }
            let case = self.cases.remove(at);
            case.release(world);
            out.extend(case.incident.findings.into_iter().map(Output::Finding));
        }
    }

    pub(super) fn remember(&mut self, case: Case, at_ns: u64) {
        if self.resolved.len() >= MAX_RESOLVED {
            self.resolved.pop_front();
        }
        self.resolved.push_back(Past {
            group_key: case.incident.group_key,
            id: case.incident.id,
            at_ns,
            returns: case.returns,
        });
    }

    /// Whether an incident of this cause was resolved a short while ago.
    pub(super) fn knows_past(&self, group_key: &str, now_ns: u64) -> bool {
        self.past(group_key, now_ns).is_some()
    }

    fn past(&self, group_key: &str, now_ns: u64) -> Option<&Past> {
        let recent = |past: &&Past| now_ns.saturating_sub(past.at_ns) <= RETURN_NS;
        let mut past = self.resolved.iter().rev().filter(recent);
        past.find(|past| past.group_key == group_key)
    }

    pub(super) fn mention_predecessor(&self, case: &mut Case, now_ns: u64, now_unix_ns: i64) {
        if let Some(past) = self.past(&case.incident.group_key, now_ns) {
            let (id, seconds) = (past.id, now_ns.saturating_sub(past.at_ns) / 1_000_000_000);
            case.returns = past.returns.saturating_add(1);
            case.note(Moment {
                at_unix_ns: now_unix_ns,
                what: format!("it came back: incident {id} had been resolved {seconds} s before"),
            });
        }
    }
}

impl Case {
    pub(super) fn emit(&mut self, change: Change, world: &World, out: &mut Vec<Output>) {
        self.refresh(world);
        self.incident.updated_unix_ns = world.unix_ns(world.now_ns());
        self.sent_ns = world.now_ns();
        self.sent_severity = self.incident.severity;
        self.dirty = false;
        out.push(Output::Incident(change, Box::new(self.incident.clone())));
    }

    /// Whether it has something to tell, now or when its time comes.
    fn is_restless(&self) -> bool {
        !self.told || self.grown || self.dirty
    }

    /// Whether it can wait for what is not known about its executable yet.
    fn awaits_facts(&self, world: &World) -> bool {
        let subject = self.subject.and_then(|key| world.table.get(key));
        let image = subject.and_then(|process| process.image.as_deref());
        let unknown = image.is_some_and(|image| world.file(image).is_none());
        let waited_ns = world.now_ns().saturating_sub(self.began_ns);
        unknown && waited_ns < FACTS_NS && self.assess().severity < Severity::Critical
    }

    fn ask_for_hash(&mut self, world: &mut World, out: &mut Vec<Output>) {
        let subject = self.incident.subject.as_ref();
        let Some(id) = subject.and_then(|subject| subject.file_id) else {
            return;
        };
        let known = world
            .executables
            .get(id)
            .is_some_and(|file| matches!(file.sha256, crate::input::Sha256::Digest(_)));
        if known || self.asked >= MAX_HASH_REQUESTS {
            return;
        }
        let alive = self.members.iter().map(|member| member.key).find(|key| {
            world.table.get(*key).is_some_and(|process| {
                let image = process.image.as_deref();
                let runs_it = image.and_then(|image| world.main_id(process, image)) == Some(id);
                process.is_alive() && runs_it
            })
        });
        let now_ns = world.now_ns();
        if let Some(key) = alive
            && world.executables.wants_hash(id, now_ns)
        {
            self.asked += 1;
            world.enrich(key, true, out);
        }
    }

    fn is_over(&mut self, world: &World) -> bool {
        let gone = |key| {
            world
                .table
                .get(key)
                .is_none_or(|process| !process.is_alive())
        };
        let suspect = self.is_suspect();
        let quiet = self.scopes.is_empty()
            && self
                .members
                .iter()
                .filter(|member| member.watched)
                .all(|member| gone(member.key));
        if !quiet {
            self.quiet_since_ns = None;
            return false;
        }
        let now_ns = world.now_ns();
        let since_ns = *self.quiet_since_ns.get_or_insert(now_ns);
        let wait_s = if suspect {
            world.config.resolve_after_s
        } else {
            world.config.load_resolve_after_s
        };
        let doubled_s = wait_s.saturating_mul(1 << self.returns.min(6));
        let wait_s = doubled_s.min(MAX_WAIT_S.max(wait_s));
        now_ns.saturating_sub(since_ns) >= wait_s.saturating_mul(1_000_000_000)
    }

    pub(super) fn release(&self, world: &mut World) {
        for member in &self.members {
            if let Some(process) = world.table.get_mut(member.key)
                && process.incident == Some(self.number)
            {
                process.incident = None;
            }
        }
    }
}
