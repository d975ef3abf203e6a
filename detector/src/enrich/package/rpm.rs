//! The rpm database: which package lists a path, and with what digest.
//!
//! `rpmdb.sqlite` (RHEL 9, Amazon Linux 2023, Fedora) is read; ndb (`Packages.db`: SUSE) and BerkeleyDB
//! (`Packages`: RHEL 8, Amazon Linux 2) are named as what cannot be told. Never written to, no
//! lock taken. Only paths are kept, 12 bytes each; digests are read again when a file is compared.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    index::{Builder, Index},
    listing::Listing,
    lock,
    merged::Merged,
    shipped::{Digest, NO_DIGEST, Shipped, UNREADABLE},
};

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod header;
mod sqlite;

#[cfg(test)]
mod tests;

use header::{Header, Malformed};

/// How often a path that is not listed makes us look whether the database changed. It changes once per
/// package of a transaction, and reading it takes about 0.5 s on a host with 1,500 packages.
const RECHECK: Duration = Duration::from_secs(5);
/// Where the database may lie below the root.
const FOLDERS: [&str; 2] = ["usr/lib/sysimage/rpm", "var/lib/rpm"];
/// Formats that are not read, by their file.
const UNREAD: [(&str, &str); 2] = [
    ("Packages.db", "rpm database in ndb format"),
    ("Packages", "rpm database in BerkeleyDB format"),
];

/// The database cannot be read.
#[derive(Debug, thiserror::Error)]
enum RpmError {
    #[error("cannot read the rpm database")]
    Sqlite(#[from] rusqlite::Error),
    #[error("cannot read the rpm database")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Header(#[from] Malformed),
}

/// The database of one host.
#[derive(Debug)]
pub(in crate::enrich) struct Rpm {
    root: PathBuf,
    file: PathBuf,
    loaded: Option<Loaded>,
    checked_at: Option<Instant>,
}

#[derive(Debug)]
struct Loaded {
    version: Version,
    index: Index,
    /// Number of the package's header, by the package's name.
    numbers: HashMap<Box<str>, u32>,
}

/// Size and mtime of the database and of its write-ahead log.
type Version = [Option<(u64, i64, i64)>; 2];

impl Listing for Rpm {
    const RECHECK: Duration = RECHECK;

    /// Reads the database unless it is as it was. A half-read one would call shipped files unowned, so on
    /// an error there is none.
    fn refresh(&mut self) {
        let version = self.version();
        if self.loaded.as_ref().is_some_and(|l| l.version == version) {
            return;
        }
        self.loaded = match self.load(version) {
            Ok(loaded) => Some(loaded),
            Err(error) => {
                let file = self.file.display();
                tracing::warn!(%error, %file, "cannot read the package database");
                None
            }
        };
    }

    fn index(&self) -> Option<&Index> {
        self.loaded.as_ref().map(|loaded| &loaded.index)
    }

    fn checked_at(&mut self) -> &mut Option<Instant> {
        &mut self.checked_at
    }
}

impl Rpm {
    /// The database below `root`; read at the first question. `None`: there is none; `Err`: of a format
    /// that is not understood.
    pub(super) fn find(root: &Path) -> Option<Result<Rpm, &'static str>> {
        let found = |name: &str| {
            let mut files = FOLDERS.iter().map(|folder| root.join(folder).join(name));
            files.find(|file| file.is_file())
        };
        let Some(file) = found("rpmdb.sqlite") else {
            let unread = |(name, why)| found(name).map(|_| Err(why));
            return UNREAD.into_iter().find_map(unread);
        };
        Some(Ok(Rpm {
            root: root.into(),
            file,
            loaded: None,
            checked_at: None,
        }))
    }

    /// What `package` (as [`Rpm::owner`] names it) shipped at `path`.
    pub(super) fn shipped(&self, package: &str, path: &[u8]) -> Shipped {
        let Some(loaded) = &self.loaded else {
            return UNREADABLE;
        };
        let Some(number) = loaded.numbers.get(package) else {
            return NO_DIGEST;
        };
        let path = loaded.index.resolve(path);
        let mut shipped = NO_DIGEST;
        let read = sqlite::headers(&self.file, Some(*number), |_, blob| {
            let header = Header::parse(blob)?;
            let algorithm = header.digest_algorithm();
            header.each_file(|file| {
                let listed = [file.folder, file.name].concat();
                if loaded.index.resolve(&listed) != path {
                    return;
                }
                shipped = match (algorithm, file.digest.and_then(Digest::from_hex)) {
                    (None, _) => Shipped::Unknown("digest algorithm not supported"),
                    (Some(_), None) => NO_DIGEST,
                    (Some(_), Some(digest)) => Shipped::Content {
                        digest,
                        configuration: file.is_configuration(),
                    },
                };
            })?;
            Ok(())
        });
        if read.is_err() { UNREADABLE } else { shipped }
    }

    /// Whether rpm holds its lock: files are unpacked before they are listed.
    pub(super) fn is_changing(&self) -> bool {
        let folder = self.file.parent().unwrap_or(&self.root);
        lock::is_held(&folder.join(".rpm.lock"))
    }

    fn version(&self) -> Version {
        let mut log = self.file.as_os_str().to_owned();
        log.push("-wal");
        [&*self.file, Path::new(&log)].map(|file| {
            let stat = fs::metadata(file).ok()?;
            Some((stat.size(), stat.mtime(), stat.mtime_nsec()))
        })
    }

    fn load(&self, version: Version) -> Result<Loaded, RpmError> {
        let mut builder = Builder::new(Merged::read(&self.root));
        let mut numbers = HashMap::new();
        sqlite::headers(&self.file, None, |number, blob| {
            let header = Header::parse(blob)?;
            let Some(package) = header.label() else {
                return Ok(()); // a signing key is kept as a package without files
            };
            builder.package(&package);
            numbers.insert(package.into(), number);
            header.each_file(|file| {
                if file.is_installed() {
                    let listed = [file.folder, file.name].concat();
                    let path = builder.resolve(&listed);
                    builder.path(&path);
                }
            })?;
            Ok(())
        })?;
        Ok(Loaded {
            version,
            index: builder.build(),
            numbers,
        })
    }
}
