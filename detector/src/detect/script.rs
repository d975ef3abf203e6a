//! Which scripts were looked at lately, by path.
//!
//! A script has no identity in the record of an exec, so each would have to be asked for. The same
//! absolute path is asked for again after ten seconds only: a host that starts fifty shell scripts a second
//! asks a few times a second, and a script replaced in between is seen at its next run. A path counts within
//! one cgroup, because a container has files of its own; relative ones mean another file in every folder and
//! are always asked for. Bounded: least recently used first.

use super::{
    hash::{Fixed, cache},
    size::Size,
};
use crate::input::ExecutableId;

/// Paths remembered; a busy server runs a few hundred scripts.
const MAX: usize = 1_024;
/// How long an answer counts, ns.
const FRESH_NS: u64 = 10_000_000_000;

/// The scripts.
#[derive(Debug)]
pub struct Scripts {
    by_path: lru::LruCache<Place, Looked, Fixed>,
}

/// cgroup and path.
type Place = (Option<u64>, Box<[u8]>);

#[derive(Clone, Copy, Debug)]
struct Looked {
    at_ns: u64,
    id: ExecutableId,
}

impl Default for Scripts {
    fn default() -> Self {
        Scripts {
            by_path: cache(MAX),
        }
    }
}

impl Scripts {
    /// How full it is.
    pub fn size(&self) -> Size {
        Size::of("scripts", self.by_path.len(), MAX)
    }

    /// What lay at `path` a moment ago; `None`: enrichment has to be asked.
    pub fn get(
        &mut self,
        cgroup_id: Option<u64>,
        path: &[u8],
        now_ns: u64,
    ) -> Option<ExecutableId> {
        let looked = self.by_path.get(&(cgroup_id, path.into()))?;
        let fresh = now_ns < looked.at_ns.saturating_add(FRESH_NS);
        fresh.then_some(looked.id)
    }

    /// Somebody looked.
    pub fn looked(&mut self, cgroup_id: Option<u64>, path: &[u8], id: ExecutableId, now_ns: u64) {
        if path.starts_with(b"/") {
            let looked = Looked { at_ns: now_ns, id };
            self.by_path.put((cgroup_id, path.into()), looked);
        }
    }
}
