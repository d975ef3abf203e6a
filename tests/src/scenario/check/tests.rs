//! A told story passes; each lie in it fails the check that is about it.

use super::super::{Planted, Timings};
use super::*;
use crate::daemon::Seen;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

const PATH: &str = "/var/tmp/shop/.x/kworkerd";

fn options() -> Options {
    Options {
        detector: PathBuf::new(),
        stand_in: PathBuf::new(),
        threads: 2,
        duty_percent: 100,
        burn: Duration::from_secs(30),
        pool_port: 0,
        daemon_arguments: Vec::new(),
        daemon_environment: Vec::new(),
        ready_within: Duration::from_secs(1),
        catch_within: Duration::from_secs(20),
        resolve_within: Duration::from_secs(60),
        total_within: Duration::from_secs(100),
    }
}

fn report() -> Report {
    let sha256 = "ab".repeat(32);
    let event = json!({
        "specversion": "1.0", "source": "here", "id": "1", "type": "detector.incident.opened",
        "data": {
            "incident": {"id": "i", "severity": "critical"},
            "process": {
                "pid": 42, "executable": PATH, "hash": {"sha256": sha256}, "user": {"id": "33"},
                "ancestors": [{"executable": "/usr/sbin/php-fpm8.2"}]
            },
            "destination": {"ip": "127.0.0.1", "port": 3333},
            "network": {"protocol": "stratum"}
        }
    });
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    Report {
        planted: Planted {
            executable: PATH.into(),
            sha256,
            pid: 42,
            uid: 33,
            started: Instant::now(),
        },
        pool: ([127, 0, 0, 1], 3333).into(),
        pool_said: Vec::new(),
        ready_after: Duration::from_secs(1),
        first_after_exploit: 0,
        events: vec![Seen {
            index: 0,
            at: Instant::now(),
            event,
        }],
        incident_ids: vec!["i".to_owned()],
        timings: Timings {
            opened: seconds(3),
            critical: seconds(5),
            ended: seconds(30),
            resolved: seconds(45),
        },
        checks: Vec::new(),
        daemon_account: String::new(),
    }
}

/// The claims that fail after `change`.
fn failures(change: impl FnOnce(&mut Report)) -> Vec<String> {
    let mut report = report();
    change(&mut report);
    let mut checks = story(&report, &options());
    checks.push(envelopes(&report, &[]));
    checks.retain(|check| !check.holds);
    checks.into_iter().map(|check| check.claim).collect()
}

fn data(report: &mut Report) -> &mut Value {
    &mut report.events[0].event["data"]
}

#[test]
fn a_true_story_passes() {
    assert_eq!(failures(|_| {}), Vec::<String>::new());
}

#[test]
fn each_lie_fails_its_own_check() {
    type Lie = fn(&mut Report);
    let lies: [(&str, Lie); 12] = [
        ("names the stand-in", |r| r.timings.opened = None),
        ("critical within", |r| {
            r.timings.critical = Some(Duration::from_secs(21));
        }),
        ("one incident", |r| r.incident_ids.push("j".to_owned())),
        ("process.pid", |r| data(r)["process"]["pid"] = json!(43)),
        ("process.executable", |r| {
            data(r)["process"]["executable"] = json!("/bin/sh");
        }),
        ("sha256", |r| data(r)["process"]["hash"] = json!({})),
        ("user.id", |r| data(r)["process"]["user"]["id"] = json!(0)),
        ("destination", |r| data(r)["destination"]["port"] = json!(1)),
        ("stratum", |r| data(r)["network"]["protocol"] = json!("tls")),
        ("php-fpm", |r| data(r)["process"]["ancestors"] = json!([])),
        ("resolved", |r| {
            r.timings.resolved = Some(Duration::from_secs(20));
        }),
        ("CloudEvents", |r| r.events[0].event["id"] = Value::Null),
    ];
    for (word, lie) in lies {
        if word == "stratum" && !sees_payload() {
            continue;
        }
        let failed = failures(lie);
        assert!(
            matches!(&failed[..], [claim] if claim.contains(word)),
            "{word}: {failed:?}"
        );
    }
}

#[test]
fn an_accused_web_server_fails_only_before_the_exploit() {
    let accuse =
        |report: &mut Report| data(report)["process"]["executable"] = json!("/usr/sbin/nginx");
    let about = |failed: Vec<String>| failed.iter().any(|claim| claim.contains("accuses"));
    assert!(!about(failures(accuse)));
    assert!(about(failures(|report| {
        accuse(report);
        report.first_after_exploit = 1;
    })));
}
