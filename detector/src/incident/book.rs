//! The open incidents, and findings that wait for one.

use std::collections::VecDeque;

use detector_common::event::{Connection, connection::change};

use super::{
    Acceptance, Contact, ContactState, CpuEvidence, Culprit, Evidence, Finding, FindingType,
    Impact, Incident, Moment, Severity, Victim,
    case::{Case, MAX_VICTIMS},
    correlate,
    id::Ids,
    life::{MAX_RESOLVED, Past},
    lost::Losses,
    narrate,
    resume::excuse,
};
use crate::{
    detect::{
        blame::Waiting,
        hash::{Fixed, cache},
        network,
        size::Size,
        usage::Scope,
        world::World,
    },
    event::text,
    input::{ExecutableId, Loss, ProcessKey, Throttled},
    output::Output,
};

/// Most incidents open at a time.
const MAX_OPEN: usize = 256;
/// Info findings kept for an incident that may come.
const MAX_KEPT: usize = 256;
/// How long, ns.
const KEPT_NS: i64 = 600_000_000_000;
/// A kept finding of the same kind about the same file is not told again for this long, ns.
const REPEAT_NS: i64 = 600_000_000_000;

/// The incidents.
#[derive(Debug)]
pub struct Book {
    /// Findings for which there was no room.
    pub refused: u64,
    pub(super) cases: Vec<Case>,
    pub(super) resolved: VecDeque<Past>,
    ids: Ids,
    opened: u64,
    /// Some incident has something to tell, now or when its time comes. Most records change none, and need not look
    /// at each.
    pub(super) restless: bool,
    kept: VecDeque<Finding>,
    told: lru::LruCache<(FindingType, ExecutableId, u32), i64, Fixed>,
    losses: Losses,
    pub(super) acceptances: Vec<Acceptance>,
}

/// Whether a measurement says more than the known one: about something more specific, or of more.
fn is_clearer(new: CpuEvidence, known: CpuEvidence) -> bool {
    new.culprit < known.culprit || new.culprit == known.culprit && new.cores > known.cores
}

impl Book {
    /// No incidents; ids take their random bits from `seed`.
    pub fn new(seed: u64) -> Book {
        Book {
            refused: 0,
            cases: Vec::new(),
            resolved: VecDeque::new(),
            ids: Ids::new(seed),
            opened: 0,
            restless: false,
            kept: VecDeque::new(),
            told: cache(1_024),
            losses: Losses::default(),
            acceptances: Vec::new(),
        }
    }

    /// How full its tables are.
    pub fn sizes(&self) -> Vec<Size> {
        let Book {
            refused: _,
            cases,
            resolved,
            ids: _,
            opened: _,
            restless: _,
            kept,
            told,
            losses,
            acceptances: _, // what people said; bounded by whoever stores it
        } = self;
        let mut sizes = vec![
            Size::of("open incidents", cases.len(), MAX_OPEN),
            Size::of("resolved incidents", resolved.len(), MAX_RESOLVED),
            Size::of("findings kept", kept.len(), MAX_KEPT),
            Size::of("findings told", told.len(), told.cap().get()),
            losses.size(),
        ];
        sizes.extend(cases.iter().flat_map(Case::sizes));
        sizes
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.cases.len()
    }

    /// The severity of each that is open.
    pub fn severities(&self) -> impl Iterator<Item = Severity> {
        self.cases.iter().map(|case| case.incident.severity)
    }

    /// A rule found something. What follows from it is told by [`Book::flush`].
    pub fn report(&mut self, mut finding: Finding, world: &mut World, out: &mut Vec<Output>) {
        excuse(&mut finding, &self.acceptances);
        if let Some(at) = correlate::find(&self.cases, &finding, world) {
            self.cases[at].add(finding, world);
            self.restless = true;
        } else if finding.severity < Severity::Warning {
            self.keep(finding, out);
        } else if self.is_over(&finding, world) {
            out.push(Output::Finding(finding));
        } else if self.cases.len() >= MAX_OPEN {
            self.refused += 1;
            out.push(Output::Finding(finding));
        } else {
            self.open(finding, world);
        }
    }

    /// A verdict that came late, about a process whose incident is already history.
    fn is_over(&self, finding: &Finding, world: &World) -> bool {
        let process = finding.process.and_then(|key| world.table.get(key));
        process.is_some_and(|process| !process.is_alive())
            && self.knows_past(&narrate::group_key(finding), world.now_ns())
    }

    fn keep(&mut self, finding: Finding, out: &mut Vec<Output>) {
        let at_unix_ns = finding.last_seen_unix_ns;
        let subject = finding.subject.as_deref();
        let image = subject.and_then(|subject| Some((subject.file_id?, subject.image.as_ref()?)));
        let told =
            image.and_then(|(id, image)| self.told.put((finding.kind, id, image.uid), at_unix_ns));
        let repeated = told.is_some_and(|told_ns| at_unix_ns < told_ns.saturating_add(REPEAT_NS));
        while self.kept.len() >= MAX_KEPT
            || self
                .kept
                .front()
                .is_some_and(|oldest| oldest.last_seen_unix_ns.saturating_add(KEPT_NS) < at_unix_ns)
        {
            self.kept.pop_front();
        }
        if !repeated {
            out.push(Output::Finding(finding.clone()));
        }
        self.kept.push_back(finding);
    }

    fn open(&mut self, finding: Finding, world: &mut World) {
        let now_ns = world.now_ns();
        let now_unix_ns = world.unix_ns(now_ns);
        let group_key = narrate::group_key(&finding);
        let id = self.ids.next(now_unix_ns);
        let begun = Incident::begun(
            id,
            finding.severity,
            group_key,
            finding.first_seen_unix_ns,
            now_unix_ns,
        );
        let subject = finding.subject.as_deref().cloned().map(Box::new);
        let mut case = self.case(Incident { subject, ..begun }, now_ns);
        let mut attached = Vec::new();
        self.kept.retain(|kept| {
            let attaches = correlate::attaches(kept, &finding, world);
            if attaches {
                attached.push(kept.clone());
            }
            !attaches
        });
        for kept in attached {
            case.add(kept, world);
        }
        case.add(finding, world);
        self.losses.tell(&mut case, now_unix_ns, world);
        self.mention_predecessor(&mut case, now_ns, now_unix_ns);
        self.mention_ancestor(&mut case, world);
        self.cases.push(case);
        self.restless = true;
    }

    /// A case with nothing in it yet.
    pub(super) fn case(&mut self, incident: Incident, now_ns: u64) -> Case {
        self.opened += 1;
        Case {
            number: self.opened,
            incident,
            members: Vec::new(),
            groups: Vec::new(),
            executables: Vec::new(),
            scopes: Vec::new(),
            subject: None,
            began_ns: now_ns,
            sent_ns: now_ns,
            sent_severity: Severity::Info,
            told: false,
            grown: false,
            dirty: false,
            quiet_since_ns: None,
            returns: 0,
            blamed: None,
            asked: 0,
        }
    }

    /// Says that somebody above the subject is accused, too: the session was begun by a suspect.
    fn mention_ancestor(&self, case: &mut Case, world: &World) {
        let Some(subject) = &case.incident.subject else {
            return;
        };
        let accused = world.table.ancestors(subject.key).find_map(|above| {
            let other = self.cases.iter().find(|other| other.accuses(above.key))?;
            Some(narrate::descent(above, other.incident.id))
        });
        if let Some(what) = accused {
            let at_unix_ns = subject.start_unix_ns;
            case.note(Moment { at_unix_ns, what });
        }
    }

    /// Makes a child of a member a member, unless it begins a lineage group: a session or service below a
    /// suspect has guilt of its own, and would vanish in the suspect's incident.
    pub fn adopt(&mut self, number: u64, child: ProcessKey, world: &mut World) {
        if let Some(case) = self.cases.iter_mut().find(|case| case.number == number) {
            let process = world.table.get(child);
            let parent = process.and_then(|process| process.parent);
            let watched = parent
                .and_then(|parent| case.member(parent))
                .is_some_and(|member| member.watched);
            if watched && process.is_some_and(|process| process.group != child) {
                case.enlist(child, true, world);
            }
        }
    }

    /// A member became a service with a group of its own: it was only a descendant.
    pub fn leave(&mut self, key: ProcessKey, world: &mut World) {
        let Some(process) = world.table.get_mut(key) else {
            return;
        };
        let Some(number) = process.incident.take() else {
            return;
        };
        if let Some(case) = self.cases.iter_mut().find(|case| case.number == number) {
            case.members.retain(|member| member.key != key);
        }
    }

    /// A process runs a new image.
    pub fn ran(&mut self, key: ProcessKey, world: &World) {
        self.note(key, world, |process, image, at_unix_ns| Moment {
            at_unix_ns: image.map_or(at_unix_ns, |image| world.unix_ns(image.at_ns)),
            what: narrate::ran(process, image, world),
        });
    }

    /// A process ended.
    pub fn ended(&mut self, key: ProcessKey, world: &World) {
        self.note(key, world, |process, _, at_unix_ns| Moment {
            at_unix_ns,
            what: narrate::ended(process),
        });
    }

    fn note(
        &mut self,
        key: ProcessKey,
        world: &World,
        moment: impl Fn(&crate::detect::process::Process, Option<&crate::input::Exec>, i64) -> Moment,
    ) {
        let Some(process) = world.table.get(key) else {
            return;
        };
        let Some(number) = process.incident else {
            return;
        };
        let at_unix_ns = world.unix_ns(world.now_ns());
        if let Some(case) = self.cases.iter_mut().find(|case| case.number == number) {
            case.note(moment(process, process.image.as_deref(), at_unix_ns));
        }
    }

    /// A connection of a process changed.
    pub fn connected(&mut self, key: ProcessKey, connection: &Connection, world: &World) {
        let Some(process) = world.table.get(key) else {
            return;
        };
        let Some(number) = process.incident else {
            return;
        };
        let Some(case) = self.cases.iter_mut().find(|case| case.number == number) else {
            return;
        };
        let state = match connection.change {
            change::ATTEMPT => ContactState::Attempted,
            change::ESTABLISHED => ContactState::Established,
            change::FAILED => ContactState::Failed,
            change::CLOSED => ContactState::Closed,
            _ => return,
        };
        let closed = state == ContactState::Closed;
        let at_unix_ns = world.unix_ns(connection.header.time_ns);
        let ip = network::address(connection.remote);
        let contact = Contact {
            process: key,
            process_name: text::plain(process.short_name()),
            socket: connection.socket,
            ip,
            port: connection.remote_port,
            local_port: connection.local_port,
            outside: world.config.network.is_outside(ip),
            state,
            error: (connection.error != 0).then_some(connection.error),
            first_unix_ns: at_unix_ns,
            last_unix_ns: at_unix_ns,
            bytes_sent: closed.then_some(connection.bytes_sent),
            bytes_received: closed.then_some(connection.bytes_received),
        };
        let told = matches!(state, ContactState::Established | ContactState::Failed);
        if contact.outside && told {
            case.note(Moment {
                at_unix_ns,
                what: narrate::connected(&contact),
            });
        }
        case.contact(contact);
    }

    /// Facts about a process came in.
    pub fn learned(&mut self, key: ProcessKey) {
        self.restless = true;
        for case in &mut self.cases {
            case.dirty |= case.subject == Some(key);
        }
    }

    /// Facts about a file came in. An incident that nobody was told of yet may now turn out to be about the
    /// same content as another one: they become one.
    pub fn learned_file(&mut self, id: ExecutableId, world: &mut World) {
        let file = world.executables.get(id);
        for case in &mut self.cases {
            let subject = case.incident.subject.as_ref();
            case.dirty |= subject.is_some_and(|subject| subject.file_id == Some(id));
            self.restless |= case.dirty;
            if let Some(file) = file {
                case.know_file(id, file);
            }
        }
        if !self.acceptances.is_empty() {
            // What is accepted by hash is accepted although the hash came late.
            let cases = self.cases.iter_mut();
            for finding in cases.flat_map(|case| &mut case.incident.findings) {
                excuse(finding, &self.acceptances);
            }
        }
        let untold = |case: &Case| !case.told && case.executables.contains(&id);
        let Some(young) = self.cases.iter().position(untold) else {
            return;
        };
        let Some(digest) = correlate::digest(id, world) else {
            return;
        };
        let joined = self.cases.remove(young);
        let old = self
            .cases
            .iter_mut()
            .find(|case| case.has_content(digest, world));
        match old {
            Some(old) => old.absorb(joined, world),
            None => self.cases.insert(young, joined),
        }
        self.restless = true;
    }

    /// Whether this saturation is already part of an incident. A single process has to be the same
    /// one; what stands for several may change with every pass.
    pub fn is_saturated(
        &self,
        kind: FindingType,
        scope: Scope,
        process: ProcessKey,
        culprit: Culprit,
        world: &World,
    ) -> bool {
        self.cases.iter().any(|case| {
            let told = case.incident.findings.iter().any(|finding| {
                let about = culprit != Culprit::Process || finding.process == Some(process);
                finding.kind == kind && about
            });
            told && case.scopes.contains(&scope) && case.may_load(process, world)
        })
    }

    /// Saturation goes on.
    pub fn saturated(
        &mut self,
        scope: Scope,
        process: ProcessKey,
        evidence: CpuEvidence,
        impact: Impact,
        victims: &[Waiting],
        world: &World,
    ) {
        let several = evidence.culprit != Culprit::Process;
        let at = self
            .cases
            .iter()
            .position(|case| {
                several && case.scopes.contains(&scope) && case.may_load(process, world)
            })
            .or_else(|| {
                let has_it = |case: &Case| case.member(process).is_some();
                self.cases.iter().position(has_it)
            });
        let Some(at) = at else {
            return;
        };
        self.restless = true;
        // One load is one incident's: who was blamed for it before is so no longer.
        for case in &mut self.cases {
            case.scopes.retain(|known| *known != scope);
        }
        let case = &mut self.cases[at];
        case.scopes.push(scope);
        let until_unix_ns = impact.until_unix_ns;
        // What the program itself uses says more than what its group or cgroup does.
        let vaguer = case.blamed.is_some_and(|known| known < evidence.culprit);
        let clearer = case.blamed.is_none_or(|known| known > evidence.culprit);
        case.blamed = Some(
            case.blamed
                .map_or(evidence.culprit, |known| known.min(evidence.culprit)),
        );
        case.incident.impact = Some(match case.incident.impact {
            Some(worst) if vaguer || !clearer && worst.cpu_cores > impact.cpu_cores => Impact {
                until_unix_ns,
                ..worst
            },
            _ => impact,
        });
        for finding in &mut case.incident.findings {
            let about = several || finding.process == Some(process);
            if matches!(finding.evidence, Evidence::Cpu(_)) && about {
                finding.last_seen_unix_ns = until_unix_ns;
                if matches!(finding.evidence, Evidence::Cpu(known) if is_clearer(evidence, known)) {
                    finding.evidence = Evidence::Cpu(evidence);
                }
            }
        }
        for waiting in victims {
            let victims = &mut case.incident.victims;
            let known = victims
                .iter()
                .position(|known| known.group == waiting.group);
            let named = world.subject(waiting.group);
            let victim = Victim {
                group: waiting.group,
                name: named
                    .as_ref()
                    .map_or_else(String::new, |root| text::plain(&root.name)),
                unit: named
                    .as_ref()
                    .and_then(|root| root.facts.as_ref()?.unit.clone()),
                executable: named.and_then(|root| root.path),
                run_delay_share: waiting.run_delay_share,
            };
            match known {
                Some(at) => {
                    let worst = victims[at].run_delay_share.max(victim.run_delay_share);
                    victims[at] = Victim {
                        run_delay_share: worst,
                        ..victim
                    };
                }
                None if victims.len() < MAX_VICTIMS => {
                    victims.push(victim);
                    case.dirty = true;
                }
                None => {}
            }
        }
    }

    /// Whether an incident lasts as long as this load.
    pub fn has(&self, scope: Scope) -> bool {
        self.cases.iter().any(|case| case.scopes.contains(&scope))
    }

    /// A load other than saturation goes on: its incident lasts as long.
    pub fn goes_on(
        &mut self,
        scope: Scope,
        kind: FindingType,
        process: Option<ProcessKey>,
        world: &World,
    ) {
        let until_unix_ns = world.unix_ns(world.now_ns());
        for case in &mut self.cases {
            let mut findings = case.incident.findings.iter_mut();
            let about = |finding: &&mut Finding| finding.kind == kind && finding.process == process;
            if let Some(finding) = findings.find(about) {
                finding.last_seen_unix_ns = until_unix_ns;
                if !case.scopes.contains(&scope) {
                    case.scopes.push(scope);
                }
            }
        }
    }

    /// Saturation is over.
    pub fn cleared(&mut self, scope: Scope, world: &World) {
        for case in &mut self.cases {
            let before = case.scopes.len();
            case.scopes.retain(|known| *known != scope);
            if case.scopes.len() < before && case.scopes.is_empty() {
                case.calmed(world.unix_ns(world.now_ns()));
            }
        }
    }

    /// A pass declared losses. What was kept out of a ring because its cgroup had written its share is missing from the
    /// incidents of that cgroup only.
    pub fn lost(&mut self, losses: &[Loss], throttled: &[Throttled], world: &World) {
        let at_unix_ns = world.unix_ns(world.now_ns());
        self.losses
            .declare(losses, throttled, at_unix_ns, &mut self.cases, world);
    }
}
