//! What is known about executables, and what was asked.
//!
//! Bounded, least recently used goes first. An identity is asked for once; again only when no answer
//! came by the deadline or the answer was that the process it was asked through is gone.

use std::sync::Arc;

use lru::LruCache;

use super::{
    hash::{Fixed, cache},
    size::Size,
};
use crate::input::{
    ExecutableFacts, ExecutableId, Integrity, NOT_REACHED, Owner, PACKAGES_CHANGE, Sha256,
};

#[derive(Clone, Debug)]
struct Entry {
    asked_ns: u64,
    facts: Option<Arc<ExecutableFacts>>,
}

/// The cache.
#[derive(Debug)]
pub struct Executables {
    entries: LruCache<ExecutableId, Entry, Fixed>,
    deadline_ns: u64,
}

impl Executables {
    /// An empty cache.
    pub fn new(capacity: usize, deadline_ns: u64) -> Executables {
        Executables {
            entries: cache(capacity),
            deadline_ns,
        }
    }

    /// How full it is.
    pub fn size(&self) -> Size {
        Size::of("executables", self.entries.len(), self.entries.cap().get())
    }

    /// What is known.
    pub fn get(&self, id: ExecutableId) -> Option<&Arc<ExecutableFacts>> {
        self.entries
            .peek(&id)
            .and_then(|entry| entry.facts.as_ref())
    }

    /// Notes a use; `true`: enrichment has to be asked.
    pub fn wants(&mut self, id: ExecutableId, now_ns: u64) -> bool {
        let deadline_ns = self.deadline_ns;
        match self.entries.get_mut(&id) {
            Some(entry) => {
                let unanswered = entry.facts.as_deref().is_none_or(is_no_answer);
                let ask = unanswered && now_ns >= entry.asked_ns.saturating_add(deadline_ns);
                if ask {
                    entry.asked_ns = now_ns;
                }
                ask
            }
            None => {
                let entry = Entry {
                    asked_ns: now_ns,
                    facts: None,
                };
                self.entries.put(id, entry);
                true
            }
        }
    }

    /// As [`Executables::wants`], for its hash: asked for again where only that is missing.
    pub fn wants_hash(&mut self, id: ExecutableId, now_ns: u64) -> bool {
        let missing = self
            .get(id)
            .is_some_and(|facts| matches!(facts.sha256, Sha256::Missing(_)));
        if !missing {
            return self.wants(id, now_ns);
        }
        let deadline_ns = self.deadline_ns;
        match self.entries.get_mut(&id) {
            Some(entry) if now_ns >= entry.asked_ns.saturating_add(deadline_ns) => {
                entry.asked_ns = now_ns;
                true
            }
            _ => false,
        }
    }

    /// Takes an answer; a worse one never replaces a better one. `true`: something is new.
    pub fn learn(&mut self, facts: &ExecutableFacts, now_ns: u64) -> bool {
        let old = self.entries.get(&facts.id).cloned();
        let mut merged = facts.clone();
        let mut asked_ns = now_ns;
        if let Some(entry) = old {
            asked_ns = entry.asked_ns;
            if let Some(known) = entry.facts {
                if matches!(merged.owner, Owner::Unknown(_)) {
                    merged.owner = known.owner.clone();
                }
                if matches!(merged.sha256, Sha256::Missing(_)) {
                    merged.sha256 = known.sha256;
                }
                if matches!(merged.integrity, None | Some(Integrity::Unknown(_)))
                    && merged.owner == known.owner
                {
                    merged.integrity = known.integrity.or(merged.integrity);
                }
                merged.namesake = merged.namesake.or_else(|| known.namesake.clone());
                merged.stat = merged.stat.or_else(|| known.stat.clone());
                merged.path = merged.path.or_else(|| known.path.clone());
                merged.modified_unix_ns = merged.modified_unix_ns.or(known.modified_unix_ns);
                merged.known = merged.known.or(known.known);
                if merged == *known {
                    return false;
                }
            }
        }
        let entry = Entry {
            asked_ns,
            facts: Some(Arc::new(merged)),
        };
        self.entries.put(facts.id, entry);
        true
    }
}

/// Whether an answer says that nobody could look, or not at that moment.
fn is_no_answer(facts: &ExecutableFacts) -> bool {
    facts.owner == Owner::Unknown(NOT_REACHED)
        || facts.integrity == Some(Integrity::Unknown(PACKAGES_CHANGE))
}
