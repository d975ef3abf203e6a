//! `execution.known_indicator`: a name or an argument that coin miners are known by.
//!
//! Evidence: `matches`, what was found and which public list has it (`indicators.toml`). A warning where no package
//! owns the program and nothing excuses it: never a page by itself, one where the host is harmed as well. Else info:
//! it adds to the confidence of an incident that rests on something else and tells the responder what it may be.
//! Names are an attacker's to choose, and an administrator's article about miners has them, too.
//!
//! False positives: a script of the administrator's own that looks for miners by their arguments.

use super::{Image, Verdict};
use crate::incident::{Evidence, FindingType};

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    let names = [
        image.main().name(),
        &image.exec.name,
        crate::detect::path::base_name(&image.exec.filename),
    ];
    let matches = image.world.indicators.find(names, &image.exec.args);
    let main = image.main();
    // Who owns it decides how loud it is, and it is said once.
    (!matches.is_empty() && main.settled).then(|| Verdict {
        kind: FindingType::KnownIndicator,
        severity: image.severity(main.is_unowned() && !main.is_known()),
        evidence: Evidence::Indicators(matches),
        suspicion: None,
    })
}
