//! `execution.new_script`: a script that no package knows, or in a place where programs do not belong.
//!
//! The script counts, not its interpreter, however it is run: `./x.sh`, `sh x.sh`, `python3 x.py`. Evidence
//! as in `new_binary.rs`, for the script. A warning where a web service runs it out of a folder that web
//! applications or everybody write to, or where it is fresh and a service's account runs it below a web
//! service; else info. Where it cannot be looked at in time (its process was too short), only the place is
//! judged.
//!
//! False positives: administrators' scripts (info); deployment hooks in a web root started by the web
//! application itself. Maintainer scripts of packages are not told at all.

use super::{Image, Verdict, View};
use crate::{
    detect::{excuse::Excuse, process::Suspicion},
    incident::{FindingType, Severity},
};

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    let script = |view: &&View<'_>| view.script && view.settled;
    let view = image.operand.as_ref().filter(script)?;
    let odd = view.class.is_odd();
    let told = view.is_unowned() || odd && !view.is_packaged();
    if !told || !odd && image.excuse() == Some(Excuse::PackageManager) {
        return None;
    }
    let web = image.web_service.is_some();
    let dropped = view.is_unowned() && image.is_fresh(view) && image.by_service_account();
    let loud = web && !view.is_known() && (view.class.is_writable_dir() || dropped);
    let severity = image.severity(loud);
    Some(Verdict {
        kind: FindingType::NewScript,
        severity,
        evidence: image.evidence(view),
        suspicion: (view.is_unowned() && severity >= Severity::Warning)
            .then_some(Suspicion::Unowned),
    })
}
