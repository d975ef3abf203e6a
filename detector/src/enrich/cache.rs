//! What is known about executables, by identity. Bounded: the least recently used one goes.

use std::num::NonZeroUsize;

use crate::input::{ExecutableFacts, ExecutableId};

/// A busy host runs a few hundred different programs; 4,096 entries take about 1 MiB.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Least recently used facts go first.
#[derive(Debug)]
pub(super) struct Cache(lru::LruCache<ExecutableId, ExecutableFacts>);

impl Cache {
    pub(super) fn new() -> Cache {
        Cache(lru::LruCache::new(CAPACITY))
    }

    pub(super) fn get(&mut self, id: &ExecutableId) -> Option<&ExecutableFacts> {
        self.0.get(id)
    }

    pub(super) fn put(&mut self, facts: ExecutableFacts) {
        self.0.put(facts.id, facts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Owner, Sha256};

    fn facts(inode: u64) -> ExecutableFacts {
        ExecutableFacts {
            id: ExecutableId {
                dev: 1,
                inode,
                ctime_sec: 2,
                ctime_nsec: 3,
            },
            path: None,
            owner: Owner::Unowned,
            integrity: None,
            namesake: None,
            sha256: Sha256::Missing("gone"),
            modified_unix_ns: None,
            stat: None,
            known: None,
        }
    }

    #[test]
    fn full_cache_forgets_the_least_recently_used() {
        let mut cache = Cache::new();
        let capacity = CAPACITY.get() as u64;
        (0..capacity).for_each(|inode| cache.put(facts(inode)));
        assert_eq!(cache.get(&facts(0).id), Some(&facts(0)));
        cache.put(facts(capacity));
        assert_eq!(cache.get(&facts(1).id), None);
        assert_eq!(cache.get(&facts(0).id), Some(&facts(0)));
    }
}
