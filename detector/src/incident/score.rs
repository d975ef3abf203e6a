//! How loud and how sure: from named weights, nothing learned.
//!
//! Each finding type has a weight (`finding.rs`): the chance that it means harm, told at `warning` and
//! by itself. Distinct types combine as independent chances, `1 − Π(1 − w)`; info counts for a third. That
//! is the confidence; a loss in the window lowers it to four fifths.
//!
//! `critical` needs two classes that count and agree ([`Class::counts`]), each with a finding of at least
//! `warning`, or one finding that is conclusive ([`conclusive`]). So an administrator's compile job
//! (unowned but info, saturating) and a busy packaged program stay `warning`, and so do traffic, a noisy
//! neighbour and a service that crashes in a loop, which are support.

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
    let severity = if conclusive(findings).is_some() || agreeing(findings).len() >= 2 {
        Severity::Critical
    } else {
        let loudest = findings.iter().map(|finding| finding.severity).max();
        loudest.unwrap_or(Severity::Info).min(Severity::Warning)
    };
    let innocent: f64 = loudest_of_each_type(findings)
        .into_iter()
        .map(|(kind, severity)| {
            let factor = if severity >= Severity::Warning {
                1.0
            } else {
                INFO_FACTOR
            };
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

/// The classes that agree: each counts and has a finding of at least `warning`.
pub(super) fn agreeing(findings: &[Finding]) -> Vec<Class> {
    let mut classes: Vec<Class> = findings
        .iter()
        .filter(|finding| finding.severity >= Severity::Warning)
        .map(|finding| finding.kind.class())
        .filter(|class| class.counts().is_some())
        .collect();
    classes.sort();
    classes.dedup();
    classes
}

/// What is enough alone, in words.
pub(super) fn conclusive(findings: &[Finding]) -> Option<&'static str> {
    let loud = findings
        .iter()
        .filter(|finding| finding.severity >= Severity::Warning);
    loud.filter_map(|finding| match &finding.evidence {
        Evidence::File(file)
            if finding.kind == FindingType::Fileless && file.web_service.is_some() =>
        {
            Some("no web service has a reason to run a program that was never a file")
        }
        Evidence::Mining(mining) if mining.unowned => {
            Some("a program that belongs to no package speaks a mining protocol")
        }
        Evidence::Mining(mining) if mining.busy => {
            Some("it keeps a CPU busy and speaks a mining protocol")
        }
        _ => None,
    })
    .next()
}

fn loudest_of_each_type(findings: &[Finding]) -> BTreeMap<FindingType, Severity> {
    let mut loudest: BTreeMap<FindingType, Severity> = BTreeMap::new();
    for finding in findings {
        let severity = loudest.entry(finding.kind).or_insert(finding.severity);
        *severity = (*severity).max(finding.severity);
    }
    loudest
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detect::path::PathClass, incident::FileEvidence, input::ProcessKey};

    fn finding(kind: FindingType, severity: Severity, below_web: bool) -> Finding {
        let web = ProcessKey {
            tgid: 800,
            start_ns: 1,
        };
        Finding {
            kind,
            severity,
            process: None,
            subject: None,
            first_seen_unix_ns: 0,
            last_seen_unix_ns: 0,
            evidence: Evidence::File(FileEvidence {
                path: None,
                path_class: PathClass::Unknown,
                age_at_exec_s: None,
                fresh: false,
                written_below: None,
                uid: None,
                user_name: None,
                package: None,
                web_service: below_web.then_some(web),
                excuse: None,
                from_snapshot: false,
            }),
            accepted: None,
        }
    }

    fn assessment(severity: Severity, confidence: f64, risk_score: u8) -> Assessment {
        Assessment {
            severity,
            confidence,
            risk_score,
        }
    }

    /// `(findings, lost, expected)`. Confidence and score by hand from the weights in `finding.rs`.
    #[test]
    fn severity_confidence_and_risk_follow_from_the_weights() {
        use FindingType::{
            CpuSaturation as Cpu, EventLoss, Fileless, FromWritableDir as Writable,
            NewBinary as Binary, NewDestination as Peer, WebServerSpawnedShell as Shell,
        };
        use Severity::{Critical, Info, Warning};
        type Row<'a> = (&'a [(FindingType, Severity, bool)], bool, Assessment);
        let table: &[Row] = &[
            (&[], false, assessment(Info, 0.0, 0)),
            // 0.45; 40 + 29 × 0.45
            (
                &[(Cpu, Warning, false)],
                false,
                assessment(Warning, 0.45, 53),
            ),
            // info is a third of its weight: 0.55 × 0.3
            (&[(Binary, Info, false)], false, assessment(Info, 0.17, 6)),
            // an administrator's build: 1 − (1 − 0.45)(1 − 0.55 × 0.3)
            (
                &[(Cpu, Warning, false), (Binary, Info, false)],
                false,
                assessment(Warning, 0.54, 56),
            ),
            // two findings of one class rest on one fact: 1 − (1 − 0.55)(1 − 0.45)
            (
                &[(Binary, Warning, true), (Writable, Warning, true)],
                false,
                assessment(Warning, 0.75, 62),
            ),
            // two classes agree: 1 − (1 − 0.55)(1 − 0.45)
            (
                &[(Binary, Warning, false), (Cpu, Warning, false)],
                false,
                assessment(Critical, 0.75, 93),
            ),
            // the same with a loss in the window
            (
                &[(Binary, Warning, false), (Cpu, Warning, false)],
                true,
                assessment(Critical, 0.6, 93),
            ),
            (
                &[(Binary, Warning, false), (Peer, Warning, false)],
                false,
                assessment(Critical, 0.78, 93),
            ),
            // a type counts once, at its loudest
            (
                &[
                    (Shell, Info, false),
                    (Shell, Warning, false),
                    (Shell, Info, false),
                ],
                false,
                assessment(Warning, 0.5, 55),
            ),
            // conclusive only below a web service, and not where the rule itself excuses it
            (
                &[(Fileless, Warning, true)],
                false,
                assessment(Critical, 0.8, 94),
            ),
            (
                &[(Fileless, Warning, false)],
                false,
                assessment(Warning, 0.8, 63),
            ),
            (&[(Fileless, Info, true)], false, assessment(Info, 0.24, 9)),
            // what the detector lost is no harm
            (
                &[(EventLoss, Warning, false), (Cpu, Warning, false)],
                false,
                assessment(Warning, 0.45, 53),
            ),
        ];
        for (findings, lost, expected) in table {
            let judged: Vec<Finding> = findings
                .iter()
                .map(|(kind, severity, below_web)| finding(*kind, *severity, *below_web))
                .collect();
            assert_eq!(assess(&judged, *lost), *expected, "{findings:?}");
        }
    }

    /// What a responder reads as confidence where one warning is all there is.
    #[test]
    fn alone_a_pools_language_says_most_and_traffic_and_steal_least() {
        let alone: Vec<(&str, f64)> = FindingType::ALL
            .iter()
            .map(|kind| {
                let judged = assess(&[finding(*kind, Severity::Warning, false)], false);
                (kind.name(), judged.confidence)
            })
            .collect();
        let expected = [
            ("impact.cpu_saturation", 0.45),
            ("impact.compute_hijacking", 0.5),
            ("impact.traffic_saturation", 0.05),
            ("impact.cpu_steal", 0.05),
            ("impact.process_storm", 0.35),
            ("execution.new_binary", 0.55),
            ("execution.new_script", 0.45),
            ("execution.fileless", 0.8),
            ("execution.deleted_executable", 0.7),
            ("execution.modified_package_file", 0.65),
            ("execution.from_writable_dir", 0.45),
            ("execution.web_server_spawned_shell", 0.5),
            ("execution.known_indicator", 0.6),
            ("defense_evasion.masqueraded_name", 0.65),
            ("defense_evasion.preloaded_library", 0.55),
            ("persistence.respawn", 0.5),
            ("c2.mining_protocol", 0.85),
            ("c2.connection_storm", 0.6),
            ("c2.new_destination", 0.5),
            ("agent.event_loss", 0.0),
        ];
        assert_eq!(alone, expected);
    }

    #[test]
    fn every_weight_is_a_chance_and_only_what_never_counts_may_weigh_nothing() {
        for kind in FindingType::ALL {
            let weight = kind.weight();
            assert!((0.0..1.0).contains(&weight), "{kind:?}");
            assert!(weight > 0.0 || kind.class().counts().is_none(), "{kind:?}");
        }
    }
}
