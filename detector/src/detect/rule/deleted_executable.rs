//! `execution.deleted_executable`: the file had no name left when it was executed.
//!
//! Evidence: the link count at exec, from the kernel. Droppers delete themselves so that nobody can
//! look at the file; `/proc/PID/exe` still can.
//!
//! False positives: a service that was upgraded and not restarted runs a deleted file too, but was
//! executed before: only seen in the snapshot at start, hence info there. A package manager replacing
//! a program in the instant of its exec.

use super::{Image, Verdict, fileless};
use crate::{
    detect::{excuse::Excuse, process::Suspicion},
    incident::{FindingType, Severity},
    input::Observed,
};

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    if image.exec.executable.nlink != 0 || fileless::is_memfd(image.exec) {
        return None;
    }
    let upgrade =
        image.exec.observed == Observed::Snapshot || image.excuse() == Some(Excuse::PackageManager);
    let odd = image.loaded.class.is_odd();
    let loud = odd || !upgrade;
    Some(Verdict {
        kind: FindingType::DeletedExecutable,
        severity: if loud {
            Severity::Warning
        } else {
            Severity::Info
        },
        evidence: image.evidence(&image.loaded),
        suspicion: loud.then_some(Suspicion::Deleted),
    })
}
