//! `execution.from_writable_dir`: a program in a folder that everybody or a web application writes to.
//!
//! Folders: `/tmp`, `/var/tmp`, `/dev/shm`, `/run/user`, upload, cache, plug-in and theme folders of web
//! applications, hidden folders. Evidence as in `new_binary.rs`. A warning in a web application's
//! folder, below a web service, or when a service's account runs it; else info.
//!
//! False positives: installers that unpack into `/tmp` (info when a person or root runs them).

use super::{Image, Verdict};
use crate::{detect::path::PathClass, incident::FindingType};

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    let script = image.exec.interpreter.is_some();
    if script || !image.class.is_writable_dir() || image.is_packaged() {
        return None;
    }
    // A package may ship files below a web root; nobody ships them in /tmp.
    if image.class != PathClass::WorldWritable && !image.settled {
        return None;
    }
    let loud = image.class == PathClass::WebWritable
        || image.web_service.is_some()
        || image.by_service_account();
    Some(Verdict {
        kind: FindingType::FromWritableDir,
        severity: image.severity(loud),
        evidence: image.evidence(),
        suspicion: None,
    })
}
