//! Digests of dpkg: `PACKAGE.md5sums`, and for configuration files the `Conffiles` of `status`.
//!
//! Read when a file is compared, a few times in the life of a daemon: kept in memory they would take
//! 4 MiB. Both spell paths as the package did, before diversions.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use super::Dpkg;
use crate::enrich::package::{
    lock,
    shipped::{Digest, NO_DIGEST, Shipped, UNREADABLE},
};

/// Longest `md5sums` or `status` read, bytes: 64 times those of a large desktop.
const LIMIT_BYTES: u64 = 256 << 20;

impl Dpkg {
    /// What `package` (as [`Dpkg::owner`] names it) shipped at `path`.
    pub(in crate::enrich::package) fn shipped(&self, package: &str, path: &[u8]) -> Shipped {
        let Some(loaded) = &self.loaded else {
            return UNREADABLE;
        };
        let path = loaded.index.resolve(path);
        // The list kept the path from which another package diverted it.
        let path = loaded.diverted.get(&*path).map_or(&*path, |from| from);
        let same = |listed: &[u8]| *loaded.index.resolve(listed) == *path;
        let found = self
            .md5sums(package, &same)
            .and_then(|digest| match digest {
                Some(digest) => Ok(Some((digest, false))),
                None => Ok(self.conffile(package, &same)?.map(|digest| (digest, true))),
            });
        match found {
            Ok(Some((digest, configuration))) => Shipped::Content {
                digest,
                configuration,
            },
            Ok(None) => NO_DIGEST,
            Err(_) => UNREADABLE,
        }
    }

    /// `DIGEST  PATH` lines, the path without its first slash.
    fn md5sums(&self, package: &str, same: &dyn Fn(&[u8]) -> bool) -> io::Result<Option<Digest>> {
        let name = self.info().join(format!("{package}.md5sums"));
        let mut found = None;
        each_line(&name, |line| {
            let split = line.windows(2).position(|pair| pair == b"  ");
            let Some(at) = split else { return true };
            if same(&[b"/", &line[at + 2..]].concat()) {
                found = Digest::from_hex(&line[..at]);
                return false;
            }
            true
        })?;
        Ok(found)
    }

    /// `Conffiles:` of the package's paragraph: ` PATH DIGEST[ obsolete]`.
    fn conffile(&self, package: &str, same: &dyn Fn(&[u8]) -> bool) -> io::Result<Option<Digest>> {
        let plain_name = package.split(':').next().unwrap_or(package);
        let (mut ours, mut inside, mut found) = (false, false, None);
        each_line(&self.root.join("var/lib/dpkg/status"), |line| {
            if let Some(name) = line.strip_prefix(b"Package: ") {
                ours = name == plain_name.as_bytes();
            }
            if let Some(entry) = line.strip_prefix(b" ") {
                let mut words = entry.split(|byte| *byte == b' ');
                if ours && inside && words.next().is_some_and(same) {
                    found = words.next().and_then(Digest::from_hex);
                    return false;
                }
            } else {
                inside = line.starts_with(b"Conffiles:");
            }
            true
        })?;
        Ok(found)
    }

    /// Whether dpkg holds its lock: files are unpacked before they are listed.
    pub(in crate::enrich::package) fn is_changing(&self) -> bool {
        lock::is_held(&self.root.join("var/lib/dpkg/lock"))
    }
}

/// Calls `each` with every line until it says no. A file that is not there has no lines.
fn each_line(path: &Path, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::with_capacity(64 << 10, file.take(LIMIT_BYTES));
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if !each(line.strip_suffix(b"\n").unwrap_or(&line)) {
            return Ok(());
        }
        line.clear();
    }
    Ok(())
}
