//! User names from `/etc/passwd`. No NSS: it may ask the network, and hang with it.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

/// Longest file read, bytes: 100,000 users.
const LIMIT_BYTES: u64 = 8 << 20;

/// Names by user id, read again when the file changed.
#[derive(Debug)]
pub(super) struct Users {
    path: PathBuf,
    version: Option<Version>,
    names: HashMap<u32, String>,
}

/// Device, inode, size and mtime: tools replace the file by renaming, editors write it in place.
type Version = (u64, u64, u64, i64, i64);

impl Users {
    pub(super) fn new(path: impl Into<PathBuf>) -> Users {
        Users {
            path: path.into(),
            version: None,
            names: HashMap::new(),
        }
    }

    /// The name of `uid`. The first line of an id counts, as in libc.
    pub(super) fn name(&mut self, uid: u32) -> Option<String> {
        let version = fs::metadata(&self.path).ok().map(|m| {
            let modified = (m.mtime(), m.mtime_nsec());
            (m.dev(), m.ino(), m.size(), modified.0, modified.1)
        });
        if version != self.version {
            self.names = self.read();
            self.version = version;
        }
        self.names.get(&uid).cloned()
    }

    fn read(&self) -> HashMap<u32, String> {
        let mut bytes = Vec::new();
        // Unreadable: nobody has a name, which is said as `None`.
        let _ = File::open(&self.path).and_then(|f| f.take(LIMIT_BYTES).read_to_end(&mut bytes));
        let mut names = HashMap::new();
        for line in String::from_utf8_lossy(&bytes).lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else {
                continue;
            };
            if let (false, Ok(uid)) = (name.is_empty(), uid.parse()) {
                names.entry(uid).or_insert_with(|| name.to_owned());
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_line_of_an_id_names_it_and_broken_lines_name_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        fs::write(
            &path,
            "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\n\n+::::::\nbad:x:-1:0\n\
             www-data:x:33:33:www:/var/www:/usr/sbin/nologin\nshort:x\n",
        )
        .unwrap();
        let mut users = Users::new(&path);
        assert_eq!(users.name(0).as_deref(), Some("root"));
        assert_eq!(users.name(33).as_deref(), Some("www-data"));
        assert_eq!(users.name(1), None);
        assert_eq!(users.names.len(), 2);
    }

    #[test]
    fn changed_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        let mut users = Users::new(&path);
        assert_eq!(users.name(33), None);
        fs::write(&path, "www:x:33:33\n").unwrap();
        assert_eq!(users.name(33).as_deref(), Some("www"));
        fs::write(&path, "apache:x:33:33\n").unwrap();
        assert_eq!(users.name(33).as_deref(), Some("apache"));
        fs::remove_file(&path).unwrap();
        assert_eq!(users.name(33), None);
    }
}
