//! Answers what the engine asks about processes and files: paths, units, users, owners, hashes.
//!
//! Everything here reads `/proc` and disk and may block, so it runs on one thread of its own behind
//! bounded queues ([`worker`]); a question that finds the queue full is dropped and counted, never
//! waited for. Every answer is about a *verified* subject: a process is checked by (tgid, start)
//! before and after it was read, a file by (device, inode, ctime) on the descriptor that is read.
//! What cannot be verified is `None` or a reason, never a guess.
//!
//! Paths were chosen by an attacker. They are opened without blocking and without following the
//! kernel's magic links, devices and pipes are never opened for reading, and amounts are bounded.
//! It refuses the network (no NSS, no LDAP) and running any program.

mod cache;
pub mod cgroup;
mod executable;
mod file;
mod hash;
mod mount;
mod own;
mod package;
mod path;
mod preload;
mod process;
mod procfs;
pub mod snapshot;
mod socket;
mod user;
pub mod worker;

pub use own::{OwnFacts, OwnFiles, OwnProgram};
#[cfg(any(test, fuzzing))]
pub use package::{fuzz_dpkg, fuzz_rpm};
pub use procfs::ProcessError;
pub use worker::{Answer, Enricher, Handle, LOSS, Refused};

use crate::input::ProcessKey;

/// Whether a process still runs: that one, not a later one of the same id.
pub fn is_running(process: ProcessKey) -> bool {
    procfs::ProcessDir::open(process).is_ok()
}

#[cfg(test)]
mod tests;
