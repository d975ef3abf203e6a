//! Hash tables with a fixed seed: the same inputs give the same outputs, iteration order included.
//!
//! Keys are process ids, start times and inode numbers, some of them a dozen times per record, so the hash is one
//! that takes 2 ns and not the default's 20. Somebody who could choose keys to collide would make lookups slower, and
//! nothing else; every table is bounded.

use std::hash::Hash;

/// The fixed hasher.
pub type Fixed = rustc_hash::FxBuildHasher;
/// A map with the fixed hasher.
pub type Map<K, V> = rustc_hash::FxHashMap<K, V>;
/// A set with the fixed hasher.
pub type Set<K> = rustc_hash::FxHashSet<K>;

/// An empty cache of at most `capacity` entries.
pub fn cache<K: Hash + Eq, V>(capacity: usize) -> lru::LruCache<K, V, Fixed> {
    let capacity = std::num::NonZeroUsize::new(capacity).unwrap_or(std::num::NonZeroUsize::MIN);
    lru::LruCache::with_hasher(capacity, Fixed::default())
}
