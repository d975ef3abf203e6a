//! One open incident and what is needed to carry it on: its members, scopes and what was sent.

use std::sync::Arc;

use super::{
    Contact, Culprit, Evidence, Finding, FindingType, Incident, MAX_PARTS, Moment, Severity,
    Subject, correlate, narrate, next_steps, reason, score,
};
use crate::{
    detect::{
        interpreter::{self, Runs},
        rule::{cpu_saturation::Scope, event_loss},
        size::Size,
        world::World,
    },
    input::{ExecutableFacts, ExecutableId, Integrity, Loss, Owner, ProcessKey},
};

/// Victims of one incident.
pub(super) const MAX_VICTIMS: usize = 16;
/// Loads that one incident can be about: every test of saturation, every storm, and the host.
const MAX_SCOPES: usize = 2_048;
/// The same words within this time speak of the same moment, ns.
const SAME_MOMENT_NS: u64 = 1_000_000_000;

/// A process of an incident.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) key: ProcessKey,
    /// The incident goes on while it lives: a suspect or what descends from one.
    pub(super) watched: bool,
}

#[derive(Debug)]
pub(super) struct Case {
    pub(super) number: u64,
    pub(super) incident: Incident,
    pub(super) members: Vec<Member>,
    pub(super) groups: Vec<ProcessKey>,
    pub(super) executables: Vec<ExecutableId>,
    /// Saturations that go on.
    pub(super) scopes: Vec<Scope>,
    pub(super) subject: Option<ProcessKey>,
    /// When it was opened, ns since boot.
    pub(super) began_ns: u64,
    pub(super) sent_ns: u64,
    pub(super) sent_severity: Severity,
    /// It was opened for the world to see.
    pub(super) told: bool,
    /// Findings came since the severity was looked at.
    pub(super) grown: bool,
    /// Something changed that a responder would act on.
    pub(super) dirty: bool,
    /// Since when nothing of it goes on.
    pub(super) quiet_since_ns: Option<u64>,
    /// Whose use of the CPUs the impact tells: the most specific culprit so far.
    pub(super) blamed: Option<Culprit>,
    /// How often the same was over and came back (see `life.rs`).
    pub(super) returns: u32,
    /// How often its hash was asked for.
    pub(super) asked: u8,
}

impl Case {
    pub(super) fn member(&self, key: ProcessKey) -> Option<&Member> {
        self.members.iter().find(|member| member.key == key)
    }

    /// How full one is.
    pub(super) fn sizes(&self) -> [Size; 8] {
        let Incident {
            findings,
            timeline,
            connections,
            victims,
            ..
        } = &self.incident;
        [
            Size::of("processes of an incident", self.members.len(), MAX_PARTS),
            Size::of("groups of an incident", self.groups.len(), MAX_PARTS),
            Size::of("files of an incident", self.executables.len(), MAX_PARTS),
            Size::of("loads of an incident", self.scopes.len(), MAX_SCOPES),
            Size::of("findings of an incident", findings.len(), MAX_PARTS),
            Size::of("timeline of an incident", timeline.len(), MAX_PARTS),
            Size::of("connections of an incident", connections.len(), MAX_PARTS),
            Size::of("victims of an incident", victims.len(), MAX_VICTIMS),
        ]
    }

    /// Whether it is about this very process, and not for its load.
    pub(super) fn accuses(&self, key: ProcessKey) -> bool {
        self.incident.findings.iter().any(|finding| {
            finding.process == Some(key)
                && finding.severity >= Severity::Warning
                && !finding.kind.is_load()
        })
    }

    /// Whether one of its processes runs in that cgroup.
    pub(super) fn is_in(&self, cgroup_id: u64, world: &World) -> bool {
        let mut processes = self.members.iter();
        processes.any(|member| {
            let process = world.table.get(member.key);
            process.is_some_and(|process| process.cgroup_id == Some(cgroup_id))
        })
    }

    /// Whether something in it is more than load.
    pub(super) fn is_suspect(&self) -> bool {
        self.members.iter().any(|member| member.watched)
    }

    /// Whether a load that `process` stands for can be this incident's: the load of a whole cgroup goes on when
    /// the suspects in it are dead, and is then somebody else's.
    pub(super) fn may_load(&self, process: ProcessKey, world: &World) -> bool {
        let alive = |key| {
            let process = world.table.get(key);
            process.is_some_and(|process| process.is_alive())
        };
        let mut watched = self.members.iter().filter(|member| member.watched);
        !self.is_suspect() || self.member(process).is_some() || watched.any(|own| alive(own.key))
    }

    /// Takes a process in; it is pinned in the table until the incident is over.
    pub(super) fn enlist(&mut self, key: ProcessKey, watched: bool, world: &mut World) {
        if let Some(member) = self.members.iter_mut().find(|member| member.key == key) {
            member.watched |= watched;
            return;
        }
        if self.members.len() >= MAX_PARTS && !self.drop_ended_member(world) {
            self.incident.truncated.processes += 1;
            return;
        }
        self.members.push(Member { key, watched });
        if let Some(process) = world.table.get_mut(key) {
            process.incident.get_or_insert(self.number);
        }
    }

    /// Makes room: an ended member that no finding is about is not needed to see the end.
    fn drop_ended_member(&mut self, world: &mut World) -> bool {
        let needed = |key: ProcessKey| {
            let named = self
                .incident
                .findings
                .iter()
                .any(|finding| finding.process == Some(key));
            named
                || world
                    .table
                    .get(key)
                    .is_some_and(|process| process.is_alive())
        };
        let Some(at) = self.members.iter().position(|member| !needed(member.key)) else {
            return false;
        };
        let member = self.members.remove(at);
        if let Some(process) = world.table.get_mut(member.key) {
            process.incident = None;
        }
        true
    }

    /// Adds a finding, or refreshes the one of the same kind about the same process.
    pub(super) fn add(&mut self, finding: Finding, world: &mut World) {
        for moment in narrate::moments(&finding, world) {
            self.note(moment);
        }
        if let Some(key) = finding.process {
            let watched = finding.severity >= Severity::Warning && finding.kind.accuses();
            let adopts = watched && self.member(key).is_none_or(|member| !member.watched);
            self.enlist(key, watched, world);
            if adopts {
                self.adopt_descendants(key, world);
            }
            if let Some(process) = world.table.get(key)
                && !self.groups.contains(&process.group)
                && self.groups.len() < MAX_PARTS
            {
                self.groups.push(process.group);
            }
        }
        // A compiler that a suspect and an administrator both use accuses neither.
        let accused = finding.severity >= Severity::Warning && !finding.kind.is_load();
        if let Some(id) = identity(&finding).filter(|_| accused)
            && !self.executables.contains(&id)
            && self.executables.len() < MAX_PARTS
        {
            self.executables.push(id);
        }
        self.grown = true;
        let incident = &mut self.incident;
        incident.started_unix_ns = incident.started_unix_ns.min(finding.first_seen_unix_ns);
        let known = incident
            .findings
            .iter_mut()
            .find(|known| known.kind == finding.kind && known.process == finding.process);
        if let Some(known) = known {
            known.last_seen_unix_ns = known.last_seen_unix_ns.max(finding.last_seen_unix_ns);
            let louder = finding.severity > known.severity;
            if louder || finding.severity == known.severity && is_fuller(&finding, known) {
                known.severity = finding.severity;
                known.evidence = finding.evidence;
                known.accepted = finding.accepted;
            }
            return;
        }
        let new_kind = incident
            .findings
            .iter()
            .all(|known| known.kind != finding.kind);
        self.dirty |= new_kind;
        if incident.findings.len() >= MAX_PARTS {
            incident.truncated.findings += 1;
        } else {
            incident.findings.push(finding);
        }
        self.choose_subject();
    }

    /// Whether one of its files has this content.
    pub(super) fn has_content(&self, digest: [u8; 32], world: &World) -> bool {
        let mut files = self.executables.iter();
        files.any(|id| correlate::digest(*id, world) == Some(digest))
    }

    /// Adds what is known about a file to the findings that came before it.
    pub(super) fn know_file(&mut self, id: ExecutableId, file: &Arc<ExecutableFacts>) {
        let subjects = self.incident.findings.iter_mut();
        for subject in subjects.filter_map(|finding| finding.subject.as_mut()) {
            if subject.file_id == Some(id) {
                Arc::make_mut(subject).file = Some(Arc::clone(file));
            }
        }
    }

    /// Takes over another incident that nobody was told of.
    pub(super) fn absorb(&mut self, other: Case, world: &mut World) {
        for member in other.members {
            if let Some(process) = world.table.get_mut(member.key)
                && process.incident == Some(other.number)
            {
                process.incident = None;
            }
            self.enlist(member.key, member.watched, world);
        }
        for finding in other.incident.findings {
            self.add(finding, world);
        }
        for moment in other.incident.timeline {
            self.note(moment);
        }
        for contact in other.incident.connections {
            self.contact(contact);
        }
        for scope in other.scopes {
            if !self.scopes.contains(&scope) {
                self.scopes.push(scope);
            }
        }
        if let Some(seen) = other.incident.loss {
            self.lost(&seen.losses, seen.from_unix_ns);
        }
        self.dirty = true;
    }

    fn adopt_descendants(&mut self, ancestor: ProcessKey, world: &mut World) {
        if !world.table.has_children(ancestor) {
            return;
        }
        // A service below it has a group, and guilt, of its own.
        let group = world.table.get(ancestor).map(|process| process.group);
        let mut descendants: Vec<ProcessKey> = world
            .table
            .iter()
            .filter(|process| Some(process.group) == group && process.is_alive())
            .filter(|process| world.table.descends(process.key, ancestor))
            .map(|process| process.key)
            .collect();
        descendants.sort();
        for key in descendants {
            self.enlist(key, true, world);
        }
    }

    /// The process of the finding that says most; execution before load, the older on a tie.
    fn choose_subject(&mut self) {
        let mut best: Option<(bool, Severity, f64, ProcessKey)> = None;
        for finding in &self.incident.findings {
            let Some(key) = finding.process else {
                continue;
            };
            let suspect = finding.kind.accuses() && finding.severity >= Severity::Warning;
            let rank = (suspect, finding.severity, finding.kind.weight(), key);
            let better = best.is_none_or(|(best_suspect, severity, weight, _)| {
                (suspect, finding.severity)
                    .cmp(&(best_suspect, severity))
                    .then(finding.kind.weight().total_cmp(&weight))
                    .is_gt()
            });
            if better {
                best = Some(rank);
            }
        }
        self.subject = best.map(|(_, _, _, key)| key);
    }

    /// Adds to the timeline. The same words within a second are one moment, the first: a load is often told of two scopes.
    pub(super) fn note(&mut self, moment: Moment) {
        let timeline = &mut self.incident.timeline;
        let same = |known: &&mut Moment| {
            known.what == moment.what
                && known.at_unix_ns.abs_diff(moment.at_unix_ns) < SAME_MOMENT_NS
        };
        if let Some(known) = timeline.iter_mut().find(same) {
            known.at_unix_ns = known.at_unix_ns.min(moment.at_unix_ns);
            return;
        }
        if timeline.len() >= MAX_PARTS {
            self.incident.truncated.timeline += 1;
        } else {
            timeline.push(moment);
        }
    }

    /// Nothing of it saturates any more. The program, its group and its cgroup are over within seconds of each
    /// other, and that is one moment: the last.
    pub(super) fn calmed(&mut self, at_unix_ns: i64) {
        let what = "the load is over";
        let last = self.incident.timeline.last_mut();
        if let Some(last) = last.filter(|last| last.what == what) {
            last.at_unix_ns = at_unix_ns;
            return;
        }
        let what = what.to_owned();
        self.note(Moment { at_unix_ns, what });
    }

    /// Adds or refreshes a connection.
    pub(super) fn contact(&mut self, contact: Contact) {
        let connections = &mut self.incident.connections;
        let known = connections.iter().position(|known| {
            known.socket == contact.socket
                && known.process == contact.process
                && (known.ip, known.port) == (contact.ip, contact.port)
        });
        match known {
            Some(at) => {
                let first_unix_ns = connections[at].first_unix_ns;
                connections[at] = Contact {
                    first_unix_ns,
                    ..contact
                };
            }
            None if connections.len() >= MAX_PARTS => self.incident.truncated.connections += 1,
            None => connections.push(contact),
        }
    }

    /// Declares losses.
    pub(super) fn lost(&mut self, losses: &[Loss], at_unix_ns: i64) {
        let seen = self.incident.loss.get_or_insert_with(|| super::LossSeen {
            losses: Vec::new(),
            from_unix_ns: at_unix_ns,
            to_unix_ns: at_unix_ns,
        });
        seen.from_unix_ns = seen.from_unix_ns.min(at_unix_ns);
        seen.to_unix_ns = seen.to_unix_ns.max(at_unix_ns);
        for loss in losses {
            event_loss::add(&mut seen.losses, *loss);
        }
    }

    /// Severity as the findings stand.
    pub(super) fn assess(&self) -> score::Assessment {
        let lost = self.incident.loss.as_ref().is_some_and(|seen| {
            seen.losses
                .iter()
                .any(|loss| event_loss::hides_something(loss.class))
        });
        score::assess(&self.incident.findings, lost)
    }

    /// Brings everything that is told up to date.
    pub(super) fn refresh(&mut self, world: &World) {
        let assessment = self.assess();
        let subject = self.subject.and_then(|key| world.subject(key));
        if let Some(subject) = subject {
            self.incident.subject = Some(Box::new(merge(subject, self.incident.subject.take())));
        }
        let incident = &mut self.incident;
        // It never falls while the incident goes on: a finding does not become untrue.
        incident.severity = incident.severity.max(assessment.severity);
        incident.confidence = assessment.confidence;
        incident.risk_score = assessment.risk_score;
        incident.timeline.sort_by_key(|moment| moment.at_unix_ns);
        incident.title = narrate::title(incident);
        incident.reason = reason::reason(incident);
        let alive: Vec<ProcessKey> = self
            .members
            .iter()
            .map(|member| member.key)
            .filter(|key| {
                world
                    .table
                    .get(*key)
                    .is_some_and(|process| process.is_alive())
            })
            .collect();
        incident.next_steps = next_steps::next_steps(
            incident,
            &alive,
            self.members.iter().any(|member| member.watched),
        );
    }
}

/// What was known is not forgotten because the process is gone.
fn merge(mut new: Subject, old: Option<Box<Subject>>) -> Subject {
    let Some(old) = old.filter(|old| old.key == new.key) else {
        return new;
    };
    if new.ancestors.len() < old.ancestors.len() {
        new.ancestors = old.ancestors;
        new.group = old.group;
    }
    if new.image == old.image {
        new.file_id = new.file_id.or(old.file_id);
        new.facts = new.facts.or(old.facts);
        new.file = new.file.or(old.file);
        new.path = new.path.or(old.path);
    }
    new
}

/// The file a finding is about, a script's own rather than its interpreter's, and nothing that a package
/// shipped: two logins that compress something have nothing to do with each other.
pub(super) fn identity(finding: &Finding) -> Option<ExecutableId> {
    let about_file = !matches!(
        finding.kind,
        FindingType::WebServerSpawnedShell | FindingType::EventLoss | FindingType::PreloadedLibrary
    );
    let subject = finding.subject.as_ref()?;
    let packaged = subject.file.as_ref().is_some_and(|file| {
        matches!(file.owner, Owner::Package(_)) && file.integrity != Some(Integrity::Modified)
    });
    // Code from no file has only its interpreter's identity, which half the host shares.
    let inline = subject
        .image
        .as_deref()
        .is_some_and(|image| matches!(interpreter::runs(image), Runs::Inline(_)));
    subject
        .file_id
        .filter(|_| about_file && !packaged && !inline)
}

/// Whether a finding says more than the known one of its kind: that the peer answered, how long the connection has
/// been open.
fn is_fuller(new: &Finding, known: &Finding) -> bool {
    match (&new.evidence, &known.evidence) {
        (Evidence::Destination(new), Evidence::Destination(known)) => {
            let same = (new.ip, new.port) == (known.ip, known.port);
            new.open_s > known.open_s || same && new.established && !known.established
        }
        _ => false,
    }
}
