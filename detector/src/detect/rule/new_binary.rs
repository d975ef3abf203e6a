//! `execution.new_binary`: an executable that no package knows.
//!
//! Evidence (shared by the rules about files): `path` and `path_class`; `age_at_exec_s` and `fresh`
//! from the file's ctime, which a user cannot set back; `web_service`, the web service above it;
//! `package_manager`; `from_snapshot`, it ran before the detector did. It is a warning below a web
//! service, in a place where programs do not belong, or fresh and run by a service's account; else
//! info. Package managers run unowned maintainer scripts and helpers while they work: info.
//!
//! False positives: software deployed by hand or by CI (info unless it lies in a web root), build
//! trees below a home folder, or in `/tmp` in a login session (info), tools a web application ships itself (an image converter in a
//! plug-in: a warning, rightly). A web service starting itself again is no news.
//!
//! An image already known to be in memory or deleted is told by those rules: nobody could own it.

use super::{Image, Verdict};
use crate::{
    detect::{lineage, path::PathClass, process::Suspicion},
    incident::FindingType,
    input::Owner,
};

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    let unowned = image.file.is_some_and(|file| file.owner == Owner::Unowned);
    if !unowned || image.exec.interpreter.is_some() || image.exec.executable.nlink == 0 {
        return None;
    }
    // The runtime of a service may be unowned (a node in /usr/local): that it starts workers is normal.
    let web = image.web_service.is_some() && !lineage::is_web_service(image.exec);
    let loud = web
        || image.class.is_odd() && !is_build(image)
        || image.is_fresh() && image.by_service_account();
    let severity = image.severity(loud);
    Some(Verdict {
        kind: FindingType::NewBinary,
        severity,
        evidence: image.evidence(),
        suspicion: Some(Suspicion::Unowned),
    })
}

/// Somebody who logged in compiles in `/tmp` (`configure` runs what it has just built).
fn is_build(image: &Image<'_>) -> bool {
    image.class == PathClass::WorldWritable
        && image.exec.loginuid.is_some()
        && image.web_service.is_none()
        && !image.by_service_account()
        && !hidden(image.path.unwrap_or_default())
}

fn hidden(path: &[u8]) -> bool {
    path.windows(2).any(|pair| pair == b"/.")
}
