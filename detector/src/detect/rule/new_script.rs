//! `execution.new_script`: a script in a place where programs do not belong.
//!
//! The script counts, not its interpreter. Evidence as in `new_binary.rs`, for the script's path.
//! Scripts are not asked for ownership yet, so only the place and a web service above it are judged:
//! a warning when both agree, else info.
//!
//! False positives: administrators' scripts in `/tmp` (info); deployment hooks in a web root started
//! by the web application itself.

use super::{Image, Verdict};
use crate::incident::FindingType;

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    if image.exec.interpreter.is_none() || !image.class.is_odd() {
        return None;
    }
    let loud = image.web_service.is_some() && image.class.is_writable_dir();
    Some(Verdict {
        kind: FindingType::NewScript,
        severity: image.severity(loud),
        evidence: image.evidence(),
        suspicion: None,
    })
}
