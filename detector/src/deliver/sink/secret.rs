//! Secrets come from files: arguments and environments are readable by others and end in logs.
//!
//! A path that begins with `$CREDENTIALS_DIRECTORY/` lies where systemd puts the service's credentials
//! (`LoadCredential=`). A secret that everybody may read is refused, and where the process is privileged any file that
//! others may write or replace. [`Files`] tells when one was replaced.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::config::{Writable, guard};

/// Longest secret, key or bundle of certificates, bytes: the authorities of a distribution have 220 KiB.
const MAX_BYTES: u64 = 1 << 20;
/// How a path into systemd's credentials begins.
const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY";

/// A secret that is not used. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Everybody may read it, so it is no secret.
    #[error(
        "{} can be read or written by everybody (mode {mode:04o}): run `chmod o-rwx {}` and replace the secret",
        path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others may replace it, and so decide whom the detector talks to.
    #[error("{} {by}", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// What they may write.
        by: Writable,
    },
    /// Nothing in it, too long, or not one line of printable ASCII.
    #[error("{} does not hold one line of printable ASCII", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// A credential is asked for where systemd gave none.
    #[error("{}: systemd gave this process no credentials ($CREDENTIALS_DIRECTORY is not set)", path.display())]
    NoCredentials {
        /// As configured.
        path: PathBuf,
    },
}

/// Where the file lies.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, SecretError> {
    let Ok(name) = path.strip_prefix(CREDENTIALS) else {
        return Ok(path.to_owned());
    };
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(folder) => Ok(Path::new(&folder).join(name)),
        None => Err(SecretError::NoCredentials { path: path.into() }),
    }
}

/// The secret in `path`, white space around it cut.
pub(super) fn read(path: &Path) -> Result<String, SecretError> {
    let bytes = read_private(path)?;
    let secret = bytes.trim_ascii();
    let well_formed = !secret.is_empty() && secret.iter().all(|byte| (0x20..0x7f).contains(byte));
    match String::from_utf8(secret.to_vec()) {
        Ok(secret) if well_formed => Ok(secret),
        _ => Err(SecretError::Malformed { path: path.into() }),
    }
}

/// A file that not everybody may read, such as a key.
pub(super) fn read_private(path: &Path) -> Result<Vec<u8>, SecretError> {
    read_whole(path, true)
}

/// A file that everybody may read, such as a certificate.
pub(super) fn read_public(path: &Path) -> Result<Vec<u8>, SecretError> {
    read_whole(path, false)
}

fn read_whole(path: &Path, private: bool) -> Result<Vec<u8>, SecretError> {
    let path = &resolve(path)?;
    let io = |source| SecretError::Read {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o7777;
    if private && mode & 0o007 != 0 {
        return Err(SecretError::Exposed {
            path: path.into(),
            mode,
        });
    }
    if guard::is_privileged()
        && let Some(by) = guard::writable(path, &file).map_err(io)?
    {
        return Err(SecretError::Writable {
            path: path.into(),
            by,
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

/// Files whose content is in use, to notice when they are replaced: an expiring certificate and a rotated token
/// must not need a restart.
#[derive(Debug, Default)]
pub(super) struct Files {
    seen: Vec<(PathBuf, Option<Stamp>)>,
}

/// What changes when a file is replaced or rewritten: device, inode, size, change time (s, ns).
type Stamp = (u64, u64, u64, i64, i64);

impl Files {
    /// Remembers the files as they are now, before they are read.
    pub(super) fn new<'p>(paths: impl IntoIterator<Item = &'p Option<PathBuf>>) -> Files {
        let paths = paths.into_iter().flatten();
        let seen = paths.map(|path| (path.clone(), stamp(path))).collect();
        Files { seen }
    }

    /// Whether any is another one than last time it was asked. Costs one `stat` a file.
    pub(super) fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.seen {
            let now = stamp(path);
            changed |= now != *seen;
            *seen = now;
        }
        changed
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(resolve(path).ok()?).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secret_is_trimmed_and_refused_when_exposed_or_malformed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let read = |mode, text: &[u8]| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            super::read(&path)
        };
        assert_eq!(read(0o600, b" abc\n").unwrap(), "abc");
        assert_eq!(read(0o640, b"abc").unwrap(), "abc");
        // An ordinary user's secret is his own business.
        if guard::is_privileged() {
            assert!(matches!(
                read(0o660, b"abc"),
                Err(SecretError::Writable { by, .. }) if by.mode == 0o660
            ));
        }
        assert!(matches!(
            read(0o644, b"abc"),
            Err(SecretError::Exposed { mode: 0o644, .. })
        ));
        for text in [&b""[..], b"\n", b"a\nb", b"\xff"] {
            assert!(matches!(
                read(0o600, text),
                Err(SecretError::Malformed { .. })
            ));
        }
    }

    #[test]
    fn credential_without_systemd_is_an_error_that_says_so() {
        // Nothing sets the variable where tests run; changing the environment would race with other tests.
        assert!(std::env::var_os("CREDENTIALS_DIRECTORY").is_none());
        let error = read(Path::new("$CREDENTIALS_DIRECTORY/token")).expect_err("no such folder");
        assert!(
            matches!(error, SecretError::NoCredentials { .. }),
            "{error}"
        );
    }

    #[test]
    fn replaced_file_is_noticed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let mut files = Files::new([&Some(path.clone()), &None]);
        assert!(!files.changed());
        fs::write(&path, "a").unwrap();
        assert!(files.changed());
        assert!(!files.changed());
        fs::write(dir.path().join("new"), "b").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(files.changed());
        assert!(!files.changed());
    }
}
