//! What a person said is fine: by content, by path and owner, or by unit, until it expires.
//!
//! An acceptance covers the finding types that its incident had and no others: that a shell below the web service is
//! fine does not make a miner there fine. What it covers is still found, still told, as `info` and with the
//! acceptance named.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Finding, FindingType};
use crate::{detect::interpreter, input::Sha256};

/// By what a thing is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcceptedBy {
    /// Content of the executable.
    Hash([u8; 32]),
    /// Where it lies and whose file it is. Of a script: whose account runs it, since only the interpreter's owner is known.
    Path {
        /// Path of the executable or script.
        #[serde(with = "serde_bytes")]
        path: Box<[u8]>,
        /// Owner of the file, or the account.
        uid: Option<u32>,
    },
    /// systemd unit.
    Unit(String),
}

impl AcceptedBy {
    /// Stable name.
    pub fn name(&self) -> &'static str {
        match self {
            AcceptedBy::Hash(_) => "hash",
            AcceptedBy::Path { .. } => "path",
            AcceptedBy::Unit(_) => "unit",
        }
    }
}

/// One acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Its number on this host.
    pub number: i64,
    /// What it is about.
    pub by: AcceptedBy,
    /// The finding types it covers.
    pub findings: Vec<FindingType>,
    /// Why, in the person's words.
    pub reason: String,
    /// The incident it was said about.
    pub incident: String,
    /// Until when, ns since 1970.
    pub expires_unix_ns: i64,
}

impl Acceptance {
    /// Whether it covers a finding.
    pub fn covers(&self, finding: &Finding) -> bool {
        let Some(subject) = finding.subject.as_deref() else {
            return false;
        };
        if finding.last_seen_unix_ns >= self.expires_unix_ns
            || !self.findings.contains(&finding.kind)
        {
            return false;
        }
        let image = subject.image.as_deref();
        let script = image.is_some_and(|image| interpreter::runs(image).file().is_some());
        match &self.by {
            // A script's hash would be its interpreter's: it would cover every script.
            AcceptedBy::Hash(hash) => subject
                .file
                .as_ref()
                .is_some_and(|file| !script && file.sha256 == Sha256::Digest(*hash)),
            AcceptedBy::Path { path, uid } => {
                let owner = match image {
                    Some(image) if !script => Some(image.executable.uid),
                    _ => subject.uid,
                };
                subject.path.as_deref() == Some(&**path) && owner == *uid
            }
            AcceptedBy::Unit(unit) => subject
                .facts
                .as_ref()
                .is_some_and(|facts| facts.unit.as_ref() == Some(unit)),
        }
    }
}

impl fmt::Display for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Acceptance {
            number, by, reason, ..
        } = self;
        write!(f, "accepted by {} (no. {number})", by.name())?;
        if reason.is_empty() {
            Ok(())
        } else {
            write!(f, ": {reason}")
        }
    }
}
