//! `execution.new_script`: a script that no package knows, or in a place where programs do not belong.
//!
//! The script counts, not its interpreter, however it is run: `./x.sh`, `sh x.sh`, `python3 x.py`. Evidence
//! as in `new_binary.rs`, for the script. A warning where a web service runs it out of a folder that web
//! applications or everybody write to, where it is fresh and a service's account runs it below a web
//! service, or where a service's account runs it, below whatever, from a hidden folder (a job in `/var/tmp` is none);
//! else info. Where it cannot be looked at in time (its process was too short), only the place is judged.
//!
//! False positives: administrators' scripts (info); deployment hooks in a web root started by the web
//! application itself. A web application's own cron entries (`php /var/www/…/wp-cron.php`) are info.
//! Maintainer scripts of packages are not told at all.

use super::{Image, Verdict, View};
use crate::{
    detect::{
        excuse::Excuse,
        path::{self, PathClass},
        process::Suspicion,
    },
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
    let hidden = view.class == PathClass::Hidden
        || view.class == PathClass::WorldWritable && view.path.is_some_and(path::has_hidden_part);
    let by_service = view.is_unowned() && image.by_service_account();
    let dropped = by_service && (hidden || web && image.is_fresh(view));
    let loud = !view.is_known() && (web && view.class.is_writable_dir() || dropped);
    let severity = image.severity(loud);
    Some(Verdict {
        kind: FindingType::NewScript,
        severity,
        evidence: image.evidence(view),
        suspicion: (view.is_unowned() && severity >= Severity::Warning)
            .then_some(Suspicion::Unowned),
    })
}
