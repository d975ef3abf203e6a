//! `execution.fileless`: a program that never had a name in any folder (`memfd_create`, `fexecve`).
//!
//! Evidence: the kernel's own view at exec (no links, a name that begins `memfd:`), so it needs no
//! facts and cannot be late. The same is a descriptor handed to the dynamic loader (`ld.so /proc/self/fd/3`). A web service above it makes it conclusive (see `incident/score.rs`).
//!
//! False positives: runc and crun copy themselves into a memfd before they enter a container
//! (`memfd:runc_cloned:…`, `memfd:crun…`, always root): info. Some language runtimes and updaters
//! unpack helpers this way.

use super::{Image, Verdict};
use crate::{
    detect::{
        interpreter::{Runs, is_descriptor},
        process::Suspicion,
    },
    incident::{FindingType, Severity},
};

/// Whether the kernel says so.
pub fn is_memfd(exec: &crate::input::Exec) -> bool {
    exec.executable.nlink == 0 && exec.name.starts_with(b"memfd:")
}

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    let mapped = matches!(image.runs, Runs::Loaded(path) if is_descriptor(path));
    if !is_memfd(image.exec) && !mapped {
        return None;
    }
    let runtime = image.exec.name.starts_with(b"memfd:runc_cloned")
        || image.exec.name.starts_with(b"memfd:crun");
    let known = runtime && image.exec.uid == 0 && image.web_service.is_none();
    Some(Verdict {
        kind: FindingType::Fileless,
        severity: if known {
            Severity::Info
        } else {
            Severity::Warning
        },
        evidence: image.evidence(image.main()),
        suspicion: (!known).then_some(Suspicion::Fileless),
    })
}
