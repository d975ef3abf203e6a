//! Who else could have written a file that a privileged process obeys.
//!
//! Only a process with rights of its own is choosy: what an ordinary user replays or checks harms nobody, and a
//! umask of 002 (Ubuntu's, for users) makes every file of his writable by a group that is his alone.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// A file or folder that others than its owner may write.
#[derive(Debug, PartialEq, Eq)]
pub struct Writable {
    /// It.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// It is the folder the file lies in: whoever may write there can put another file in its place.
    pub is_folder: bool,
}

impl fmt::Display for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Writable { path, mode, .. } = self;
        let path = path.display();
        if self.is_folder {
            write!(f, "lies in {path}, which ")?;
        }
        write!(
            f,
            "is writable by its group or by everybody (mode {mode:04o}): whoever can write it can silence the \
             detector; run `chmod go-w {path}`"
        )
    }
}

/// Whether this process may do what others may not: it is root, or has a capability.
pub(crate) fn is_privileged() -> bool {
    let sets = rustix::thread::capabilities(None);
    rustix::process::geteuid().is_root() || sets.is_ok_and(|sets| !sets.effective.is_empty())
}

/// What others may write: the file, else the folder it lies in or is linked to from. In a folder with the sticky bit
/// (`/tmp`) nobody can replace the file of another.
///
/// # Errors
/// The file or its folder cannot be looked at.
pub(crate) fn writable(path: &Path, file: &File) -> io::Result<Option<Writable>> {
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Ok(Some(Writable {
            path: path.to_owned(),
            mode,
            is_folder: false,
        }));
    }
    // A pipe of the shell's (`<(…)`) lies in no folder.
    let real = fs::canonicalize(path).ok();
    let folders = [Some(path), real.as_deref()].into_iter().flatten();
    for folder in folders.filter_map(Path::parent) {
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        let mode = fs::metadata(folder)?.mode() & 0o7777;
        if mode & 0o022 != 0 && mode & 0o1000 == 0 {
            return Ok(Some(Writable {
                path: folder.to_owned(),
                mode,
                is_folder: true,
            }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn file_or_folder_that_others_may_write_is_named_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.toml");
        fs::write(&path, "").unwrap();
        let look = |file_mode, folder_mode| {
            set_mode(&path, file_mode);
            set_mode(dir.path(), folder_mode);
            writable(&path, &File::open(&path).unwrap()).unwrap()
        };
        let file = |mode| {
            Some(Writable {
                path: path.clone(),
                mode,
                is_folder: false,
            })
        };
        let folder = |mode| {
            Some(Writable {
                path: dir.path().to_owned(),
                mode,
                is_folder: true,
            })
        };
        assert_eq!(look(0o644, 0o755), None);
        assert_eq!(look(0o664, 0o755), file(0o664));
        assert_eq!(look(0o602, 0o755), file(0o602));
        assert_eq!(look(0o600, 0o775), folder(0o775));
        assert_eq!(look(0o600, 0o703), folder(0o703));
        // Nobody can replace the file of another there.
        assert_eq!(look(0o600, 0o1777), None);
    }

    #[test]
    fn folder_that_a_link_leads_to_counts_as_well() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (link, path) = (from.path().join("d.toml"), to.path().join("d.toml"));
        fs::write(&path, "").unwrap();
        set_mode(&path, 0o600);
        symlink(&path, &link).unwrap();
        set_mode(to.path(), 0o777);
        let found = writable(&link, &File::open(&link).unwrap()).unwrap();
        let found = found.expect("anybody may replace it");
        assert_eq!(
            found.to_string(),
            format!(
                "lies in {0}, which is writable by its group or by everybody (mode 0777): whoever can write it can \
                 silence the detector; run `chmod go-w {0}`",
                to.path().display()
            )
        );
    }
}
