//! `execution.from_writable_dir`: a program in a folder that everybody or a web application writes to.
//!
//! Folders: `/tmp`, `/var/tmp`, `/dev/shm`, `/run/user`, upload, cache, plug-in and theme folders of web
//! applications, hidden folders. Evidence as in `new_binary.rs`. A warning in a web application's
//! folder, below a web service, or when a service's account runs it; else info.
//!
//! False positives: installers that unpack into `/tmp` (info when a person or root runs them).

use super::{Image, Verdict, View};
use crate::{detect::path::PathClass, incident::FindingType};

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    let view = image.views().find(|view| is_misplaced(view))?;
    let loud = view.class == PathClass::WebWritable
        || image.web_service.is_some()
        || image.by_service_account();
    Some(Verdict {
        kind: FindingType::FromWritableDir,
        severity: image.severity(loud && !view.is_known()),
        evidence: image.evidence(view),
        suspicion: None,
    })
}

fn is_misplaced(view: &View<'_>) -> bool {
    if view.script || !view.class.is_writable_dir() || view.is_packaged() {
        return false;
    }
    // A package may ship files below a web root; nobody ships them in /tmp.
    view.class == PathClass::WorldWritable || view.settled
}
