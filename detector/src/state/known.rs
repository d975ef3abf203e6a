//! What this host is used to, for the enrich thread: a read-only connection of its own.
//!
//! Where there is no file, nothing is known. A file that was replaced is opened again.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Instant, SystemTime},
};

use rusqlite::{Connection, OpenFlags};

use super::{
    inventory::{self, Program},
    open,
};
use crate::input::{ExecutableFacts, Known, Sha256};

/// How often a file that could not be opened is tried again, seconds.
const RETRY_S: u64 = 30;

/// Asks the file.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    trust_after_ns: i64,
    open: Option<(u64, Connection)>,
    tried: Option<Instant>,
}

impl Memory {
    pub(super) fn new(path: PathBuf, trust_after_ns: i64) -> Memory {
        Memory {
            path,
            trust_after_ns,
            open: None,
            tried: None,
        }
    }

    /// Whether the host is used to the program that `facts` are about.
    pub fn known(&mut self, facts: &ExecutableFacts) -> Option<Known> {
        let program = program(facts)?;
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()?;
        let now = i64::try_from(now.as_nanos()).ok()?;
        let trust_after_ns = self.trust_after_ns;
        match inventory::known(self.connection()?, &program, now, trust_after_ns) {
            Ok(known) => known,
            Err(error) => {
                tracing::debug!(%error, "inventory cannot be read");
                self.open = None;
                None
            }
        }
    }

    fn connection(&mut self) -> Option<&Connection> {
        let inode = fs::metadata(&self.path).ok()?.ino();
        if self
            .open
            .as_ref()
            .is_none_or(|(opened, _)| *opened != inode)
        {
            let lately = self
                .tried
                .is_some_and(|tried| tried.elapsed().as_secs() < RETRY_S);
            if self.open.is_none() && lately {
                return None;
            }
            self.tried = Some(Instant::now());
            let opened = open::connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY);
            self.open = opened.ok().map(|connection| (inode, connection));
        }
        self.open.as_ref().map(|(_, connection)| connection)
    }
}

/// The program in the inventory's terms; `None`: its content or place is not known.
pub fn program(facts: &ExecutableFacts) -> Option<Program> {
    match (&facts.path, facts.sha256) {
        (Some(path), Sha256::Digest(sha256)) => Some(Program {
            sha256,
            path: path.clone(),
        }),
        _ => None,
    }
}
