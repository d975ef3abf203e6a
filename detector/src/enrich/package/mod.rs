//! Which package a path belongs to, if the host has a package database that can be read.
//!
//! Says what the database *lists*; that the file which runs is the one that lies there is for the
//! caller to prove.

mod dpkg;
mod index;

use std::{path::Path, time::Instant};

use dpkg::Dpkg;

use crate::input::Owner;

/// The host's package database.
#[derive(Debug)]
pub(super) enum Database {
    /// Debian and its children.
    Dpkg(Box<Dpkg>),
    /// None that can be read, and why.
    Missing(&'static str),
}

impl Database {
    /// Looks below `root` (the host's is `/`).
    pub(super) fn open(root: &Path) -> Database {
        if root.join("var/lib/dpkg/info").is_dir() {
            return Database::Dpkg(Box::new(Dpkg::new(root)));
        }
        let rpm = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
        if rpm.iter().any(|dir| root.join(dir).is_dir()) {
            return Database::Missing("rpm not supported yet");
        }
        Database::Missing("no package database")
    }

    /// Who ships `path` (absolute, without symbolic links).
    pub(super) fn owner(&mut self, path: &[u8], now: Instant) -> Owner {
        match self {
            Database::Dpkg(dpkg) => dpkg.owner(path, now),
            Database::Missing(reason) => Owner::Unknown(reason),
        }
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
        std::fs::create_dir_all(dir.path().join("var/lib/rpm")).unwrap();
        assert_eq!(owner(dir.path()), Owner::Unknown("rpm not supported yet"));
    }
}
