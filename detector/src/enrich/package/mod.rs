//! Which package a path belongs to, if the host has a package database that can be read.
//!
//! Says what the database *lists*; that the file which runs is the one that lies there is for the
//! caller to prove.

mod dpkg;
mod index;
mod listing;
mod lock;
mod merged;
mod rpm;
mod shipped;

use std::{path::Path, time::Instant};

use dpkg::Dpkg;
use listing::Listing;
use rpm::Rpm;
pub(super) use shipped::{Digest, Shipped};
#[cfg(any(test, fuzzing))]
pub use {dpkg::fuzzing::run as fuzz_dpkg, rpm::fuzzing::run as fuzz_rpm};

use crate::input::Owner;

/// Where packages put programs that are run by name.
const PROGRAM_FOLDERS: [&[u8]; 5] = [
    b"/usr/bin/",
    b"/usr/sbin/",
    b"/usr/lib/systemd/",
    b"/usr/lib/openssh/",
    b"/usr/libexec/",
];

/// The host's package database.
#[derive(Debug)]
pub(super) enum Database {
    /// Debian and its children.
    Dpkg(Box<Dpkg>),
    /// Red Hat, SUSE and their children.
    Rpm(Box<Rpm>),
    /// None that can be read, and why.
    Missing(&'static str),
}

impl Database {
    /// Looks below `root` (the host's is `/`).
    pub(super) fn open(root: &Path) -> Database {
        if root.join("var/lib/dpkg/info").is_dir() {
            return Database::Dpkg(Box::new(Dpkg::new(root)));
        }
        match Rpm::find(root) {
            Some(Ok(rpm)) => Database::Rpm(Box::new(rpm)),
            Some(Err(why)) => Database::Missing(why),
            None => Database::Missing("no package database"),
        }
    }

    /// Who ships `path` (absolute, without symbolic links).
    pub(super) fn owner(&mut self, path: &[u8], now: Instant) -> Owner {
        match self {
            Database::Dpkg(dpkg) => dpkg.owner(path, now),
            Database::Rpm(rpm) => rpm.owner(path, now),
            Database::Missing(reason) => Owner::Unknown(reason),
        }
    }

    /// What `package` shipped at `path`, both as [`Database::owner`] has them.
    pub(super) fn shipped(&self, package: &str, path: &[u8]) -> Shipped {
        match self {
            Database::Dpkg(dpkg) => dpkg.shipped(package, path),
            Database::Rpm(rpm) => rpm.shipped(package, path),
            Database::Missing(reason) => Shipped::Unknown(reason),
        }
    }

    /// Whether a package manager is changing files now.
    pub(super) fn is_changing(&self) -> bool {
        match self {
            Database::Dpkg(dpkg) => dpkg.is_changing(),
            Database::Rpm(rpm) => rpm.is_changing(),
            Database::Missing(_) => false,
        }
    }

    /// A package that ships a program with the name of `path` where programs belong.
    pub(super) fn namesake(&mut self, path: &[u8], now: Instant) -> Option<String> {
        let name = path.rsplit(|byte| *byte == b'/').next()?;
        PROGRAM_FOLDERS
            .iter()
            .find_map(|folder| match self.owner(&[folder, name].concat(), now) {
                Owner::Package(package) => Some(package),
                _ => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_without_a_readable_database_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let owner = |root: &Path| Database::open(root).owner(b"/usr/bin/x", now);
        assert_eq!(owner(dir.path()), Owner::Unknown("no package database"));
        let rpm = dir.path().join("var/lib/rpm");
        std::fs::create_dir_all(&rpm).unwrap();
        assert_eq!(owner(dir.path()), Owner::Unknown("no package database"));
        std::fs::write(rpm.join("Packages"), "").unwrap();
        assert_eq!(
            owner(dir.path()),
            Owner::Unknown("rpm database in BerkeleyDB format")
        );
    }
}
