//! `execution.new_binary`: an executable that no package knows.
//!
//! The loaded file and, behind the dynamic loader, the file it maps. Evidence (shared by the rules about
//! files): `path` and `path_class`; `age_at_exec_s` and `fresh` from the file's ctime, which a user cannot
//! set back; `writer`, the owner of the file, and `written_below`, the root of the lineage group that
//! already ran when it was changed; `web_service`, the web service above it; `excuse`; `from_snapshot`, it
//! ran before the detector did. It is a warning below a web service, in a place where programs do not
//! belong, or fresh and run by a service's account; else info. What is excused (`excuse.rs`), or known from
//! this host's inventory, is info.
//!
//! False positives: software deployed by hand or by CI (info unless it lies in a web root), build
//! trees below a home folder, or in `/tmp` in a login session (info), tools a web application ships itself
//! (an image converter in a plug-in: a warning, rightly). A web service starting itself again is no news.
//!
//! An image already known to be in memory or deleted is told by those rules: nobody could own it.

use super::{Image, Verdict, View};
use crate::{
    detect::{lineage, process::Suspicion},
    incident::FindingType,
};

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    if image.exec.executable.nlink == 0 {
        return None;
    }
    let (view, severity) = image
        .views()
        .filter(|view| !view.script && view.is_unowned())
        .map(|view| {
            (
                view,
                image.severity(!view.is_known() && is_loud(image, view)),
            )
        })
        .max_by_key(|(_, severity)| *severity)?;
    Some(Verdict {
        kind: FindingType::NewBinary,
        severity,
        evidence: image.evidence(view),
        suspicion: Some(Suspicion::Unowned),
    })
}

fn is_loud(image: &Image<'_>, view: &View<'_>) -> bool {
    // The runtime of a service may be unowned (a node in /usr/local): that it starts workers is normal.
    let web = image.web_service.is_some() && !lineage::is_web_service(image.exec);
    web || view.class.is_odd() && !image.is_build_in_tmp(view)
        || image.is_fresh(view) && image.by_service_account()
}
