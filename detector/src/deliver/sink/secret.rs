//! Secrets come from files: arguments and environments are readable by others and end in logs.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Longest secret, bytes.
const MAX_BYTES: u64 = 64 << 10;

/// A secret that is not used. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Cannot be read.
    #[error("cannot read {}", path.display())]
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
    /// Nothing in it, too long, or not one line of printable ASCII.
    #[error("{} does not hold one line of printable ASCII", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// The secret in `path`, white space around it cut.
pub(super) fn read(path: &Path) -> Result<String, SecretError> {
    let io = |source| SecretError::Read {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(SecretError::Exposed {
            path: path.into(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    let secret = bytes.trim_ascii();
    let well_formed = !secret.is_empty()
        && bytes.len() as u64 <= MAX_BYTES
        && secret.iter().all(|byte| (0x20..0x7f).contains(byte));
    match String::from_utf8(secret.to_vec()) {
        Ok(secret) if well_formed => Ok(secret),
        _ => Err(SecretError::Malformed { path: path.into() }),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

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
}
