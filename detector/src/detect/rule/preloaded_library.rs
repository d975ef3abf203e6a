//! `defense_evasion.preloaded_library`: the dynamic loader loads an object that no package knows, before
//! all others.
//!
//! From `LD_PRELOAD` of a process that was looked at, or from `/etc/ld.so.preload`, which reaches every
//! process of the host: this is how miners hide from `ps` and `top`. Evidence: `path`, `path_class`, `from`.
//! A warning from `/etc/ld.so.preload`, out of a folder where programs do not belong, below a web service or
//! for a service's account; else info. Each object is told once per file and lineage group, the system-wide
//! one once; both again after it was forgotten (256 are remembered).
//!
//! False positives: allocators and profilers installed by hand (`/usr/local/lib/libjemalloc.so`).

use crate::{
    detect::{
        hash::{Fixed, cache},
        lineage,
        path::classify,
        size::Size,
        world::World,
    },
    incident::{Evidence, PreloadEvidence, Severity},
    input::{ExecutableId, Owner, PreloadFrom, ProcessFacts, ProcessKey},
};

/// Objects remembered.
const MAX_TOLD: usize = 256;

/// What has been said.
#[derive(Debug)]
pub struct PreloadedLibrary {
    told: lru::LruCache<(ExecutableId, Option<ProcessKey>), (), Fixed>,
}

impl Default for PreloadedLibrary {
    fn default() -> Self {
        PreloadedLibrary {
            told: cache(MAX_TOLD),
        }
    }
}

impl PreloadedLibrary {
    /// How full it is.
    pub fn size(&self) -> Size {
        Size::of("preloaded objects", self.told.len(), MAX_TOLD)
    }

    /// Judges what was found in a process.
    pub fn judge(&mut self, facts: &ProcessFacts, world: &World) -> Option<(Severity, Evidence)> {
        let process = world.table.get(facts.process)?;
        let mut verdicts = facts.preloads.iter().filter_map(|preload| {
            let id = preload.id.filter(|_| preload.owner == Owner::Unowned)?;
            let group = (preload.from == PreloadFrom::Environment).then_some(process.group);
            if self.told.put((id, group), ()).is_some() {
                return None;
            }
            let class = classify(&preload.path);
            let service = process.uid.is_some_and(|uid| (1..1_000).contains(&uid));
            let loud = preload.from == PreloadFrom::SystemFile
                || class.is_odd()
                || service
                || lineage::web_ancestor(&world.table, process.key).is_some();
            let severity = if loud {
                Severity::Warning
            } else {
                Severity::Info
            };
            let evidence = PreloadEvidence {
                path: preload.path.clone(),
                path_class: class,
                from: preload.from,
            };
            Some((severity, Evidence::Preload(evidence)))
        });
        let first = verdicts.next();
        verdicts.fold(first, |loudest, other| match loudest {
            Some(known) if known.0 >= other.0 => Some(known),
            _ => Some(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        detect::{Config, testing::process_facts},
        input::Preload,
    };

    #[test]
    fn what_was_told_is_remembered_of_two_hundred_and_fifty_six_objects() {
        let mut world = World::new(Config::default());
        let of = ProcessKey {
            tgid: 900,
            start_ns: 1,
        };
        let _process = world.ensure(of);
        let mut rule = PreloadedLibrary::default();
        let mut told = |inode: u64| {
            let facts = ProcessFacts {
                preloads: vec![Preload {
                    from: PreloadFrom::SystemFile,
                    path: b"/opt/h.so".as_slice().into(),
                    id: Some(ExecutableId {
                        dev: 1,
                        inode,
                        ctime_sec: 0,
                        ctime_nsec: 0,
                    }),
                    owner: Owner::Unowned,
                }],
                ..process_facts(of)
            };
            rule.judge(&facts, &world).is_some()
        };
        assert!((0..257).all(&mut told));
        assert_eq!((told(1), told(0)), (false, true));
    }
}
