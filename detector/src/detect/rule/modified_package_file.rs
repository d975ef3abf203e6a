//! `execution.modified_package_file`: a packaged program or script whose content is not the shipped one.
//!
//! Evidence (as in `new_binary.rs`), and `package`: its digest of the file is another one. Only root writes
//! there, so somebody is root, or an administrator patched the file. A warning; info while a package
//! manager is at work, and for configuration files (`/etc/cron.daily/x`), which may be changed.
//!
//! False positives: a program overwritten on purpose (a vendor's hot fix copied over it).

use super::{Image, Verdict};
use crate::{
    detect::process::Suspicion,
    incident::{FindingType, Severity},
    input::Integrity,
};

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    let integrity = |integrity| {
        image.views().find(|view| {
            view.facts
                .is_some_and(|facts| facts.integrity == Some(integrity))
        })
    };
    let (view, modified) = match integrity(Integrity::Modified) {
        Some(view) => (view, true),
        None => (integrity(Integrity::Edited)?, false),
    };
    let severity = image.severity(modified);
    Some(Verdict {
        kind: FindingType::ModifiedPackageFile,
        severity,
        evidence: image.evidence(view),
        suspicion: (severity >= Severity::Warning).then_some(Suspicion::Modified),
    })
}
