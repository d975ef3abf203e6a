//! How loud and how sure: from named weights, nothing learned.
//!
//! Each finding type has a weight (`finding.rs`): the chance that it means harm, told at `warning` and
//! by itself. Distinct types combine as independent chances, `1 − Π(1 − w)`; info counts for a third. That
//! is the confidence; a loss in the window lowers it to four fifths.
//!
//! `critical` needs two classes that agree (impact, execution, command and control), each with a finding of
//! at least `warning`, or one conclusive finding: a program without a file below a web service. So an
//! administrator's compile job (unowned but info, saturating) and a busy packaged program stay `warning`.

use std::collections::BTreeMap;

use super::{Class, Evidence, Finding, FindingType, Severity};

/// The result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Assessment {
    pub(super) severity: Severity,
    pub(super) confidence: f64,
    pub(super) risk_score: u8,
}

/// Part of its weight that an info finding keeps.
const INFO_FACTOR: f64 = 0.3;
/// What is left of the confidence when records were lost.
const LOSS_FACTOR: f64 = 0.8;

/// Judges findings that belong together.
pub(super) fn assess(findings: &[Finding], lost: bool) -> Assessment {
    let mut loudest: BTreeMap<FindingType, Severity> = BTreeMap::new();
    for finding in findings {
        let severity = loudest.entry(finding.kind).or_insert(finding.severity);
        *severity = (*severity).max(finding.severity);
    }
    let strong = |severity: Severity| severity >= Severity::Warning;
    let mut classes: Vec<Class> = loudest
        .iter()
        .filter(|(kind, severity)| strong(**severity) && kind.class() != Class::Agent)
        .map(|(kind, _)| kind.class())
        .collect();
    classes.sort();
    classes.dedup();
    let severity = if classes.len() >= 2 || findings.iter().any(is_conclusive) {
        Severity::Critical
    } else if classes.is_empty() {
        Severity::Info
    } else {
        Severity::Warning
    };
    let innocent: f64 = loudest
        .iter()
        .map(|(kind, severity)| {
            let factor = if strong(*severity) { 1.0 } else { INFO_FACTOR };
            1.0 - kind.weight() * factor
        })
        .product();
    let sure = 1.0 - innocent;
    let (low, high) = match severity {
        Severity::Info => (0.0, 39.0),
        Severity::Warning => (40.0, 69.0),
        Severity::Critical => (70.0, 100.0),
    };
    Assessment {
        severity,
        confidence: round(if lost { sure * LOSS_FACTOR } else { sure }),
        risk_score: points(low + (high - low) * sure),
    }
}

fn is_conclusive(finding: &Finding) -> bool {
    let below_web = matches!(&finding.evidence, Evidence::File(file) if file.web_service.is_some());
    finding.kind == FindingType::Fileless && finding.severity >= Severity::Warning && below_web
}

/// Two digits are all the precision there is.
fn round(chance: f64) -> f64 {
    (chance * 100.0).round() / 100.0
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0–100"
)]
fn points(score: f64) -> u8 {
    score.clamp(0.0, 100.0).round() as u8
}
