//! Hash tables with a fixed seed: the same inputs give the same outputs, iteration order included.
//!
//! Keys are process ids, start times and inode numbers. Somebody who could choose them to collide
//! would make lookups slower, and nothing else; every table is bounded.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{BuildHasherDefault, Hash},
};

/// The fixed hasher.
pub type Fixed = BuildHasherDefault<DefaultHasher>;
/// A map with the fixed hasher.
pub type Map<K, V> = std::collections::HashMap<K, V, Fixed>;

/// An empty cache of at most `capacity` entries.
pub fn cache<K: Hash + Eq, V>(capacity: usize) -> lru::LruCache<K, V, Fixed> {
    let capacity = std::num::NonZeroUsize::new(capacity).unwrap_or(std::num::NonZeroUsize::MIN);
    lru::LruCache::with_hasher(capacity, Fixed::default())
}
