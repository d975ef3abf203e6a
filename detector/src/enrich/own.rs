//! The daemon's own files as they lie on the disk now.

use std::{
    fs::File,
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use sha2::{Digest as _, Sha256};

use super::{executable::Executables, file::Pinned, procfs::ProcessDir};
use crate::input::{ExecutableFacts, ExecutableId};

/// As much of a configuration as is looked at; what is longer is refused anyway.
const CONFIG_BYTES: u64 = 1 << 20;

/// How they look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFiles {
    /// SHA-256 of the configuration; `None`: it is not there, or cannot be read.
    pub config: Option<[u8; 32]>,
    /// What lies where the program was started from.
    pub program: OwnProgram,
}

/// What lies where the program was started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnProgram {
    /// The file that runs.
    Same,
    /// Another one.
    Other(ExecutableId),
    /// Nothing.
    Missing,
}

/// The program that runs, and what lies at its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFacts {
    /// What runs.
    pub running: ExecutableFacts,
    /// What lies there; `None`: nothing that could be started.
    pub there: Option<ExecutableFacts>,
}

/// This process, and where its program lay when it was started.
#[derive(Debug)]
pub(super) struct Own {
    process: ProcessDir,
    path: PathBuf,
    running: ExecutableId,
}

impl Own {
    /// `None`: `/proc` does not show this process.
    pub(super) fn new() -> Option<Own> {
        let process = ProcessDir::own().ok()?;
        let running = Pinned::executable(&process).ok()?.id();
        let path = std::fs::read_link("/proc/self/exe").ok()?;
        Some(Own {
            process,
            path,
            running,
        })
    }

    pub(super) fn look(&self, config: &Path) -> OwnFiles {
        OwnFiles {
            config: digest(config),
            program: self.program(),
        }
    }

    fn program(&self) -> OwnProgram {
        let file = |path: &Path| std::fs::metadata(path).ok();
        use std::os::unix::fs::MetadataExt as _;
        let Some(there) = file(&self.path) else {
            return OwnProgram::Missing;
        };
        // A program that runs cannot be written to (ETXTBSY): the same inode is the same content.
        if (there.dev(), there.ino()) == (self.running.dev, self.running.inode) {
            return OwnProgram::Same;
        }
        OwnProgram::Other(ExecutableId {
            dev: there.dev(),
            inode: there.ino(),
            ctime_sec: there.ctime(),
            ctime_nsec: there.ctime_nsec() as u32,
        })
    }

    /// Who ships it, and what is in it.
    pub(super) fn facts(&self, executables: &mut Executables, now: Instant) -> OwnFacts {
        let path = self.path.as_os_str().as_bytes();
        let process = Some(&self.process);
        OwnFacts {
            running: executables.image(self.running, process, b"", now),
            there: executables.script(path, &self.process, now),
        }
    }
}

fn digest(path: &Path) -> Option<[u8; 32]> {
    let mut text = Vec::new();
    let file = File::open(path).ok()?;
    file.take(CONFIG_BYTES).read_to_end(&mut text).ok()?;
    Some(Sha256::digest(&text).into())
}
