//! `persistence.respawn`: a program is back after its death.
//!
//! The same identity, or the same content under another one, and somebody who restarts it. Two stories:
//! - a *suspect* (an image with a warning) that was ended by a signal and is back, or that ended by
//!   itself and was started again twice within ten minutes by something else than a web service (which
//!   starts its tools for every request): a warning.
//! - a *packaged service* that the service manager starts again after a third failure within ten
//!   minutes: a crash loop, a warning with the same evidence. It is nobody's attack.
//!
//! Its class is support: it says nothing by itself that the verdict on the program does not say already,
//! and never counts towards a page.
//!
//! Evidence: `times` it came back within ten minutes, `gone_s`, `restarted_by` (name and kind), how it
//! ended before, `same` (identity or content). Forked children that share an image do not count: only the
//! process that executed it.
//!
//! Bounded: 1,024 programs, least recently ended first.
//!
//! False positives: a watchdog of an unpackaged service in a place where programs do not belong.

use crate::{
    detect::{
        hash::{Fixed, cache},
        process::Process,
        size::Size,
        table::Table,
        world::World,
    },
    incident::{RespawnEvidence, Restarter, Severity},
    input::{Exec, ExecutableId, ProcessKey, Sha256},
};

/// Programs remembered.
const MAX_PROGRAMS: usize = 1_024;
/// How long a return counts, ns: ten runs of a cron entry.
const WINDOW_NS: u64 = 600_000_000_000;
/// Ends remembered of one program.
const MAX_ENDS: usize = 16;
/// Failures of a service that are a loop.
const LOOP: usize = 3;

/// One end of a program.
#[derive(Clone, Copy, Debug)]
struct End {
    at_ns: u64,
    wait_status: Option<u32>,
}

impl End {
    fn by_signal(self) -> bool {
        self.wait_status.is_some_and(|status| status & 0x7f != 0)
    }

    fn failed(self) -> bool {
        self.wait_status.is_some_and(|status| status != 0)
    }
}

/// How a program ended lately.
#[derive(Clone, Debug)]
struct Past {
    ends: Vec<End>,
    id: ExecutableId,
}

/// What ended, by identity.
#[derive(Debug)]
pub struct Respawns {
    programs: lru::LruCache<ExecutableId, Past, Fixed>,
    contents: lru::LruCache<[u8; 32], ExecutableId, Fixed>,
}

impl Default for Respawns {
    fn default() -> Self {
        Respawns {
            programs: cache(MAX_PROGRAMS),
            contents: cache(MAX_PROGRAMS),
        }
    }
}

impl Respawns {
    /// How full it is.
    pub fn sizes(&self) -> [Size; 3] {
        let Respawns { programs, contents } = self;
        let ends = programs.iter().map(|(_, past)| past.ends.len()).max();
        [
            Size::of("programs that may come back", programs.len(), MAX_PROGRAMS),
            Size::of("their contents", contents.len(), MAX_PROGRAMS),
            Size::of("ends of one", ends.unwrap_or(0), MAX_ENDS),
        ]
    }

    /// A process ended: remembered if it is one that may come back.
    pub fn ended(&mut self, process: &Process, world: &World) {
        let Some((image, ended)) = process.image.as_deref().zip(process.ended) else {
            return;
        };
        let Some(id) = world.main_id(process, image) else {
            return;
        };
        let executed_it = image.process == process.key;
        let suspect = is_suspect(process);
        let end = End {
            at_ns: ended.at_ns,
            wait_status: ended.wait_status,
        };
        let service = end.failed() && process.parent.is_some_and(is_service_manager);
        if !executed_it || !suspect && !service {
            return;
        }
        if let Some(Sha256::Digest(digest)) = world.executables.get(id).map(|file| file.sha256) {
            self.contents.put(digest, id);
        }
        let past = self.programs.get_or_insert_mut(id, || Past {
            ends: Vec::new(),
            id,
        });
        if past.ends.len() >= MAX_ENDS {
            past.ends.remove(0);
        }
        past.ends.push(end);
    }

    /// An image is judged: whether it is one that came back.
    pub fn judge(
        &mut self,
        process: &Process,
        image: &Exec,
        world: &World,
    ) -> Option<(Severity, RespawnEvidence)> {
        let id = world.main_id(process, image)?;
        let content = world.executables.get(id).map(|file| file.sha256);
        let known = match content {
            Some(Sha256::Digest(digest)) => self.contents.peek(&digest).copied(),
            _ => None,
        };
        let past = match (self.programs.peek(&id), known) {
            (Some(past), _) => past,
            (None, Some(known)) => self.programs.peek(&known)?,
            (None, None) => return None,
        };
        let since_ns = image.at_ns.saturating_sub(WINDOW_NS);
        let ends: Vec<End> = past
            .ends
            .iter()
            .copied()
            .filter(|end| (since_ns..=image.at_ns).contains(&end.at_ns))
            .collect();
        let last = *ends.last()?;
        let (restarter, by) = restarter(&world.table, process)?;
        let suspect = is_suspect(process);
        let severity = if suspect {
            let use_of_a_tool = restarter == Restarter::WebService && !last.by_signal();
            let back = last.by_signal() || ends.len() >= 2;
            (back && !use_of_a_tool).then_some(Severity::Warning)?
        } else {
            let failures = ends.iter().filter(|end| end.failed()).count();
            let in_a_loop = restarter == Restarter::ServiceManager && failures >= LOOP;
            in_a_loop.then_some(Severity::Warning)?
        };
        let evidence = RespawnEvidence {
            restarter,
            restarted_by: by.short_name().into(),
            restarter_pid: by.key.tgid,
            unit: process.facts.as_ref().and_then(|facts| facts.unit.clone()),
            times: u32::try_from(ends.len()).unwrap_or(u32::MAX),
            gone_ns: image.at_ns.saturating_sub(last.at_ns),
            last_wait_status: last.wait_status,
            same_identity: past.id == id,
        };
        Some((severity, evidence))
    }
}

fn is_suspect(process: &Process) -> bool {
    process
        .suspicion
        .is_some_and(|(_, severity)| severity >= Severity::Warning)
}

fn is_service_manager(key: ProcessKey) -> bool {
    key.tgid == 1
}

/// Who starts it: the nearest ancestor that says why, else the parent.
fn restarter<'t>(table: &'t Table, process: &Process) -> Option<(Restarter, &'t Process)> {
    // cron → sh -c → program; a shell that loops stays the parent itself.
    let near = || table.ancestors(process.key).take(3);
    if let Some(cron) = near().find(|above| above.roles.job_starter) {
        return Some((Restarter::Cron, cron));
    }
    let parent = near().next()?;
    let kind = if is_service_manager(parent.key) {
        Restarter::ServiceManager
    } else if parent.roles.web_service {
        Restarter::WebService
    } else {
        Restarter::Process
    };
    Some((kind, parent))
}
