//! Whether somebody holds a lock on a file: `/proc/locks`.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Whether a process holds a write lock (POSIX or BSD) on `path`. A file that is not there has none. Only
/// the inode is compared: some file systems show another device there.
pub(super) fn is_held(path: &Path) -> bool {
    let Ok(lock) = fs::metadata(path) else {
        return false;
    };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    names(&locks, lock.ino())
}

/// `1: POSIX  ADVISORY  WRITE 4711 08:01:131 0 EOF`
fn names(locks: &str, inode: u64) -> bool {
    let end = format!(":{inode}");
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        words.contains(&"WRITE")
            && words
                .iter()
                .any(|word| word.ends_with(&end) && word.len() > end.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_found_by_its_inode_and_kind() {
        let locks = "1: POSIX  ADVISORY  WRITE 47 08:01:131 0 EOF\n2: FLOCK  ADVISORY  READ 9 08:01:7 0 EOF\n";
        assert!(names(locks, 131));
        for other in [31, 7, 47, 9] {
            assert!(!names(locks, other), "{other}");
        }
    }

    #[test]
    fn a_lock_of_ours_is_seen_until_it_is_dropped() {
        use rustix::fs::{FlockOperation, flock};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = fs::File::create(&path).unwrap();
        assert!(!is_held(&path));
        flock(&file, FlockOperation::LockExclusive).unwrap();
        assert!(is_held(&path));
        drop(file);
        assert!(!is_held(&path));
    }
}
