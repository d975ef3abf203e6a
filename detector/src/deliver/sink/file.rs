//! A file of NDJSON: one event a line, rotated by size (`path`, `path.1`, …, `path.<keep>`).
//!
//! Delivered means on the disk (`fdatasync`). A line that could not be written whole is cut off again, so that a full
//! disk leaves no half of one, and one that a crash left is ended by a line break. A file that somebody else rotated or
//! removed is opened anew. Refuses to follow a symbolic link at `path`, since it writes as root.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{Capacity, Reply, Sink};
use crate::{
    config,
    deliver::{Event, feed::Pending},
};

/// Appends to a file.
pub(super) struct File {
    place: Place,
    open: Option<fs::File>,
}

/// Where, and how much of it.
#[derive(Clone)]
struct Place {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
}

impl File {
    pub(super) fn new(kind: &config::FileSink) -> File {
        File {
            place: Place {
                path: kind.path.clone(),
                max_bytes: kind.max_bytes,
                keep: kind.keep,
            },
            open: None,
        }
    }
}

impl Sink for File {
    fn capacity(&self) -> Capacity {
        Capacity::BATCH
    }

    fn send<'a>(&'a mut self, events: &'a [Event]) -> Pending<'a, Reply> {
        let mut lines = Vec::new();
        for event in events {
            lines.extend_from_slice(&event.body);
            lines.push(b'\n');
        }
        let (place, open) = (self.place.clone(), self.open.take());
        Box::pin(async move {
            // A disk may take seconds: not in the loop's thread.
            let write = tokio::task::spawn_blocking(move || place.append(open, &lines));
            match write.await {
                Ok(Ok(file)) => {
                    self.open = Some(file);
                    Reply::Delivered(format!("written to {}", self.place.path.display()))
                }
                Ok(Err(error)) => Reply::retry(format!("{}: {error}", self.place.path.display())),
                Err(error) => Reply::retry(format!("the writing thread ended: {error}")),
            }
        })
    }
}

impl Place {
    /// Appends whole lines and gives the file for the next time.
    fn append(&self, open: Option<fs::File>, lines: &[u8]) -> io::Result<fs::File> {
        let mut file = match open {
            Some(file) if same(&file, &self.path) => file,
            _ => self.open()?,
        };
        let size = file.metadata()?.len();
        if size > 0 && size.saturating_add(lines.len() as u64) > self.max_bytes {
            self.rotate()?;
            file = self.open()?;
        }
        let size = file.metadata()?.len();
        if let Err(error) = file.write_all(lines).and_then(|()| file.sync_data()) {
            file.set_len(size)?;
            return Err(error);
        }
        Ok(file)
    }

    fn open(&self) -> io::Result<fs::File> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if metadata.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(file)
    }

    /// `path` becomes `path.1`, that `path.2`, and so on; the last is overwritten.
    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".{number}"));
            PathBuf::from(path)
        };
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.keep).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))
    }
}

/// Whether the path still names this file.
fn same(file: &fs::File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

#[cfg(test)]
mod tests;
