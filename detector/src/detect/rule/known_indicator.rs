//! `execution.known_indicator`: a name or an argument that coin miners are known by.
//!
//! Evidence: `matches`, what was found and which public list has it (`indicators.toml`). Always info: it
//! adds to the confidence of an incident that rests on something else and tells the responder what it may
//! be. Names are an attacker's to choose, and an administrator's article about miners has them, too.
//!
//! False positives: `grep stratum+tcp://`, a package that is a miner on purpose.

use super::{Image, Verdict};
use crate::incident::{Evidence, FindingType, Severity};

/// Judges an image.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    let names = [
        image.main().name(),
        &image.exec.name,
        crate::detect::path::base_name(&image.exec.filename),
    ];
    let matches = image.world.indicators.find(names, &image.exec.args);
    (!matches.is_empty()).then_some(Verdict {
        kind: FindingType::KnownIndicator,
        severity: Severity::Info,
        evidence: Evidence::Indicators(matches),
        suspicion: None,
    })
}
