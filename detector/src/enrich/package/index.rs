//! A set of paths with an owner each, small enough to keep: 12 bytes a path.
//!
//! A path is kept as a 64-bit SipHash with keys drawn at start. Paths are an attacker's to choose, and
//! without the keys nobody can look for one that collides with a listed path; by chance that happens once
//! in 10¹⁴ questions at 120,000 paths.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
};

use super::merged::Merged;

/// Collects paths.
#[derive(Debug)]
pub(super) struct Builder {
    keys: RandomState,
    merged: Merged,
    entries: Vec<(u64, u32)>,
    names: Vec<Box<str>>,
}

impl Builder {
    /// Of a host with these links.
    pub(super) fn new(merged: Merged) -> Builder {
        Builder {
            keys: RandomState::new(),
            merged,
            entries: Vec::new(),
            names: Vec::new(),
        }
    }

    /// Begins the paths of a package.
    pub(super) fn package(&mut self, name: &str) {
        self.names.push(name.into());
    }

    /// The path at which a listed one lies.
    pub(super) fn resolve<'p>(&self, listed: &'p [u8]) -> Cow<'p, [u8]> {
        self.merged.resolve(listed)
    }

    /// A path of the package begun last, as it lies.
    pub(super) fn path(&mut self, path: &[u8]) {
        let package = self
            .names
            .len()
            .checked_sub(1)
            .expect("a package was begun");
        self.entries
            .push((self.keys.hash_one(path), package as u32));
    }

    /// Sorted for lookup. Of several owners (files equal in all architectures) the first stays.
    pub(super) fn build(mut self) -> Index {
        self.entries.sort_unstable();
        self.entries.dedup_by_key(|(hash, _)| *hash);
        Index {
            keys: self.keys,
            merged: self.merged,
            hashes: self.entries.iter().map(|(hash, _)| *hash).collect(),
            owners: self.entries.iter().map(|(_, owner)| *owner).collect(),
            names: self.names.into(),
        }
    }
}

/// Owners by path.
#[derive(Debug)]
pub(super) struct Index {
    keys: RandomState,
    merged: Merged,
    hashes: Box<[u64]>,
    owners: Box<[u32]>,
    names: Box<[Box<str>]>,
}

impl Index {
    /// The path at which a listed one lies.
    pub(super) fn resolve<'p>(&self, listed: &'p [u8]) -> Cow<'p, [u8]> {
        self.merged.resolve(listed)
    }

    /// The package that lists `path`, in whatever spelling.
    pub(super) fn get(&self, path: &[u8]) -> Option<&str> {
        let key = self.keys.hash_one(&*self.resolve(path));
        let at = self.hashes.binary_search(&key).ok()?;
        Some(&self.names[self.owners[at] as usize])
    }

    /// Paths known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Memory held, bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.len() + 16).sum();
        self.hashes.len() * 8 + self.owners.len() * 4 + names
    }
}
