//! Debian's database: one list of paths per package in `/var/lib/dpkg/info`.
//!
//! Lists keep the spelling of the package (`merged.rs`). A diversion moves a file that another package
//! listed; both spellings count there too.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    index::{Builder, Index},
    listing::Listing,
    merged::Merged,
};

mod content;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;

/// How often a path that is not listed makes us look whether the lists changed.
const RECHECK: Duration = Duration::from_secs(2);

/// The lists of one host.
#[derive(Debug)]
pub(in crate::enrich) struct Dpkg {
    root: PathBuf,
    loaded: Option<Loaded>,
    checked_at: Option<Instant>,
}

#[derive(Debug)]
struct Loaded {
    /// mtime of the info directory before it was read, so that a change meanwhile is seen.
    version: (i64, i64),
    /// From where a diverted file now lies to where its package listed it.
    diverted: HashMap<Vec<u8>, Vec<u8>>,
    index: Index,
}

impl Listing for Dpkg {
    const RECHECK: Duration = RECHECK;

    /// Reads the lists unless they are as they were. A half-read database would call shipped files
    /// unowned, so on an error there is none.
    fn refresh(&mut self) {
        let result = self.version().and_then(|version| {
            if self.loaded.as_ref().is_some_and(|l| l.version == version) {
                return Ok(());
            }
            self.loaded = Some(self.load(version)?);
            Ok(())
        });
        if let Err(error) = result {
            tracing::warn!(%error, root = %self.root.display(), "cannot read the package database");
            self.loaded = None;
        }
    }

    fn index(&self) -> Option<&Index> {
        self.loaded.as_ref().map(|loaded| &loaded.index)
    }

    fn checked_at(&mut self) -> &mut Option<Instant> {
        &mut self.checked_at
    }
}

impl Dpkg {
    /// The database below `root`; read at the first question.
    pub(super) fn new(root: &Path) -> Dpkg {
        Dpkg {
            root: root.into(),
            loaded: None,
            checked_at: None,
        }
    }

    fn info(&self) -> PathBuf {
        self.root.join("var/lib/dpkg/info")
    }

    fn version(&self) -> io::Result<(i64, i64)> {
        let metadata = fs::metadata(self.info())?;
        Ok((metadata.mtime(), metadata.mtime_nsec()))
    }

    fn load(&self, version: (i64, i64)) -> io::Result<Loaded> {
        let mut builder = Builder::new(Merged::read(&self.root));
        let diversions = self.diversions(&builder)?;
        for entry in fs::read_dir(self.info())? {
            let name = entry?.file_name();
            let Some(package) = name.as_bytes().strip_suffix(b".list") else {
                continue;
            };
            let package = String::from_utf8_lossy(package);
            let list = match fs::read(self.info().join(OsStr::from_bytes(name.as_bytes()))) {
                Ok(list) => list,
                // Removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            builder.package(&package);
            let plain_name = package.split(':').next().unwrap_or(&package);
            for path in list.split(|byte| *byte == b'\n').filter(|p| p.len() > 1) {
                let path = builder.resolve(path);
                match diversions.get(&*path) {
                    Some(diversion) if diversion.by != plain_name => builder.path(&diversion.to),
                    _ => builder.path(&path),
                }
            }
        }
        Ok(Loaded {
            version,
            diverted: diversions
                .into_iter()
                .map(|(from, diversion)| (diversion.to, from))
                .collect(),
            index: builder.build(),
        })
    }

    /// Where files of other packages went, by their listed path.
    fn diversions(&self, builder: &Builder) -> io::Result<HashMap<Vec<u8>, Diversion>> {
        let text = match fs::read(self.root.join("var/lib/dpkg/diversions")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let entries = lines.chunks_exact(3).map(|lines| {
            let diversion = Diversion {
                to: builder.resolve(lines[1]).into_owned(),
                by: String::from_utf8_lossy(lines[2]).into_owned(),
            };
            (builder.resolve(lines[0]).into_owned(), diversion)
        });
        Ok(entries.collect())
    }
}

/// `dpkg-divert`: other packages' file lies at `to`; `by` alone (`:` for the administrator) keeps the
/// original path.
#[derive(Debug)]
struct Diversion {
    to: Vec<u8>,
    by: String,
}

#[cfg(test)]
mod tests;
