//! What must be true of the story the daemon told, each as a claim with what was found instead.
//!
//! A fact may arrive with any event of the incident (a hash takes a moment), so a check holds if one of them
//! carries it; what is shown on failure is everything the incident said instead.

use super::incident::{self, destinations, lineage, number, text};
use super::{Options, Report};
use crate::daemon::Daemon;
use anyhow::Result;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::ExitStatus;
use std::time::Duration;

/// One verified claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What should be so.
    pub claim: String,
    /// Whether it is.
    pub holds: bool,
    /// What was found.
    pub found: String,
}

pub(super) fn all(
    report: &Report,
    options: &Options,
    stopped: &Result<ExitStatus>,
    daemon: &Daemon,
) -> Vec<Check> {
    let mut checks = story(report, options);
    checks.push(envelopes(report, &daemon.stray_lines()));
    checks.push(Check {
        claim: "SIGTERM drains the daemon, which exits with 0".into(),
        holds: stopped.as_ref().is_ok_and(ExitStatus::success),
        found: match stopped {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        },
    });
    checks
}

/// Everything about the incident itself.
fn story(report: &Report, options: &Options) -> Vec<Check> {
    let (planted, timings) = (&report.planted, &report.timings);
    let catch = options.catch_within.as_secs();
    let within = |at: Option<Duration>| at.is_some_and(|at| at <= options.catch_within);
    let mut checks = vec![
        Check {
            claim: format!("an incident names the stand-in within {catch} s of the burn's start"),
            holds: within(timings.opened),
            found: seconds(timings.opened),
        },
        Check {
            claim: format!("it is critical within {catch} s of the burn's start"),
            holds: within(timings.critical),
            found: seconds(timings.critical),
        },
        Check {
            claim: "it is one incident, not several".into(),
            holds: report.incident_ids.len() == 1,
            found: format!("{:?}", report.incident_ids),
        },
    ];
    let mut fact = |claim: String, wanted: &str, found: &dyn Fn(&Value) -> Vec<String>| {
        let all: BTreeSet<String> = report.incident_events().flat_map(found).collect();
        checks.push(Check {
            claim,
            holds: all.contains(wanted),
            found: all.into_iter().collect::<Vec<_>>().join(", "),
        });
    };
    let pid = planted.pid.to_string();
    fact(format!("process.pid is {pid}"), &pid, &|event| {
        let pid = number(event, "/process/pid");
        pid.map(|pid| pid.to_string()).into_iter().collect()
    });
    let path = planted.executable.to_string_lossy();
    let claim = format!("process.executable is {path}");
    fact(claim, &path, &|event| {
        one(text(event, "/process/executable"))
    });
    let claim = "process.hash.sha256 is that of the posted file".to_owned();
    fact(claim, &planted.sha256, &|event| {
        one(text(event, "/process/hash/sha256"))
    });
    let uid = planted.uid.to_string();
    fact(format!("process.user.id is {uid}"), &uid, &|event| {
        let uid = number(event, "/process/user/id");
        uid.map(|uid| uid.to_string()).into_iter().collect()
    });
    let pool = report.pool.to_string();
    let claim = format!("a destination is {pool}, where the stub listens");
    fact(claim, &pool, &destinations);
    if sees_payload() {
        let claim = "network.protocol is stratum, by what it says and not by the port".to_owned();
        fact(claim, "stratum", &|event| {
            one(text(event, "/network/protocol"))
        });
    }

    let ancestors: BTreeSet<String> = report.incident_events().flat_map(lineage).collect();
    checks.push(Check {
        claim: "php-fpm is among the ancestors".into(),
        holds: ancestors.iter().any(|ancestor| is_php_fpm(ancestor)),
        found: ancestors.into_iter().collect::<Vec<_>>().join(", "),
    });
    checks.push(quiet_before(report));
    checks.push(resolved(report, options));
    checks
}

/// Whether the daemon can look at what a suspect says: its program hangs in the tree of cgroup v2.
fn sees_payload() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut kinds = mounts.lines().filter_map(|mount| mount.split(' ').nth(2));
    kinds.any(|kind| kind == "cgroup2")
}

/// Serving pages is not an incident.
fn quiet_before(report: &Report) -> Check {
    let before = report.events.iter().take(report.first_after_exploit);
    let accused: Vec<&str> = before
        .map(|seen| &seen.event)
        .filter(|event| incident::kind(event).is_some())
        .filter_map(|event| text(event, "/process/executable"))
        .filter(|executable| is_php_fpm(executable) || executable.ends_with("/nginx"))
        .collect();
    Check {
        claim: "no incident accuses the web server before the exploit".into(),
        holds: accused.is_empty(),
        found: accused.join(", "),
    }
}

fn resolved(report: &Report, options: &Options) -> Check {
    let limit = options.resolve_within;
    let (ended, resolved) = (report.timings.ended, report.timings.resolved);
    let claim = format!(
        "it is resolved after the stand-in's end, within {} s",
        limit.as_secs()
    );
    let (holds, found) = match (ended, resolved) {
        (None, _) => (false, "the stand-in did not end while watched".to_owned()),
        (Some(_), None) => (false, "not resolved".to_owned()),
        (Some(ended), Some(resolved)) => (
            // The end is seen by looking, up to a look later than the daemon may have seen it.
            resolved + 2 * super::LOOK_EVERY >= ended && resolved <= ended + limit,
            format!(
                "{:+.1} s after its end",
                resolved.as_secs_f64() - ended.as_secs_f64()
            ),
        ),
    };
    Check {
        claim,
        holds,
        found,
    }
}

/// The envelope of every line on stdout.
fn envelopes(report: &Report, stray: &[String]) -> Check {
    let mut seen_ids = BTreeSet::new();
    let mut faults: Vec<String> = stray.iter().map(|line| format!("{line:?}")).collect();
    for seen in &report.events {
        let field = |name: &str| seen.event.get(name).and_then(Value::as_str);
        let id = (field("source"), field("id"));
        if field("specversion") != Some("1.0") || id.0.is_none() || id.1.is_none() {
            faults.push(format!("event {} is no CloudEvent", seen.index));
        } else if !seen_ids.insert(id) {
            faults.push(format!("event {} repeats {id:?}", seen.index));
        }
    }
    faults.truncate(5);
    Check {
        claim: "stdout carries CloudEvents objects with unique ids, and nothing else".into(),
        holds: faults.is_empty() && !report.events.is_empty(),
        found: if faults.is_empty() {
            format!("{} events", report.events.len())
        } else {
            faults.join("; ")
        },
    }
}

fn is_php_fpm(executable: &str) -> bool {
    let name = executable.rsplit('/').next().unwrap_or(executable);
    name.starts_with("php-fpm")
}

fn one(text: Option<&str>) -> Vec<String> {
    text.map(str::to_owned).into_iter().collect()
}

fn seconds(at: Option<Duration>) -> String {
    at.map_or_else(
        || "never".to_owned(),
        |at| format!("{:.1} s", at.as_secs_f64()),
    )
}

#[cfg(test)]
mod tests;
