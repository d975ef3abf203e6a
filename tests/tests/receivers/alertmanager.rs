//! A real Alertmanager with the configuration of `docs/recipes/`, and a recorder where it pages.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use detector::{
    event::{CloudEvent, Data},
    incident::Severity,
    output::Change,
};
use serde_json::Value;
use tests::{
    http::{self, Request},
    process::Owned,
};

use tests::recorder::Recorder;

use crate::{
    events::{Host, send, sinks},
    server::{PATIENCE, find, free_port, start, until},
};

/// A member, and where it keeps its state until the test is over.
pub struct Alertmanager {
    port: u16,
    _process: Owned,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    /// A member whose pages go to `pager`; `cluster` are its own port and those of the others.
    pub async fn start(
        program: &Path,
        pager: &Recorder,
        cluster: Option<(u16, &[u16])>,
    ) -> Alertmanager {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, recipe(pager)).expect("writable");
        let port = free_port();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        match cluster {
            None => {
                command.arg("--cluster.listen-address=");
            }
            Some((own, others)) => {
                command.arg(format!("--cluster.listen-address=127.0.0.1:{own}"));
                command
                    .arg("--cluster.peer-timeout=1s")
                    .arg("--cluster.settle-timeout=1s");
                for other in others {
                    command.arg(format!("--cluster.peer=127.0.0.1:{other}"));
                }
            }
        }
        let process = start("alertmanager", &mut command, folder.path(), port).await;
        Alertmanager {
            port,
            _process: process,
            _folder: folder,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Labels of the alerts of that name that have not ended.
    pub fn alerts(&self, name: &str) -> Vec<Value> {
        let target = format!("/api/v2/alerts?filter=alertname%3D{name}");
        let request = Request {
            method: "GET",
            target: &target,
            headers: &[],
            body: b"",
        };
        let answer = http::send(
            ([127, 0, 0, 1], self.port).into(),
            request,
            Instant::now() + PATIENCE,
        );
        let body = answer.expect("an answer").body;
        let body = body.trim_start_matches(|c| c != '[');
        let end = body.rfind(']').map_or(body.len(), |end| end + 1);
        match serde_json::from_str(&body[..end]).expect("a list") {
            Value::Array(alerts) => alerts,
            other => panic!("{other}"),
        }
    }
}

/// `docs/recipes/alertmanager.yml` with waits of a second and our pager.
fn recipe(pager: &Recorder) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes/alertmanager.yml");
    let mut text = std::fs::read_to_string(path).expect("the recipe");
    for (theirs, ours) in [
        ("group_wait: 10s", "group_wait: 1s".to_owned()),
        ("group_interval: 1m", "group_interval: 1s".to_owned()),
        ("http://127.0.0.1:9/oncall", pager.url("/oncall")),
        ("http://127.0.0.1:9/office", pager.url("/office")),
    ] {
        assert!(text.contains(theirs), "{theirs}");
        text = text.replace(theirs, &ours);
    }
    text
}

/// Notifications at `path` about alerts of that name: status and hosts.
fn pages(pager: &Recorder, path: &str, name: &str) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    pager
        .requests()
        .iter()
        .filter(|request| request.path == path && request.body["commonLabels"]["alertname"] == name)
        .map(|request| {
            let alerts = request.body["alerts"].as_array().into_iter().flatten();
            let mut hosts: Vec<String> = alerts
                .map(|alert| text(&alert["labels"]["instance"]))
                .collect();
            hosts.sort();
            (text(&request.body["status"]), hosts)
        })
        .collect()
}

fn sink(members: &[&Alertmanager], more: &str) -> String {
    let urls: Vec<String> = members.iter().map(|member| member.url()).collect();
    format!(
        "[sink.alertmanager]\nurls = {urls:?}\nretry_initial_ms = 1\nretry_max_ms = 100\n{more}\n"
    )
}

#[tokio::test]
async fn incident_is_one_alert_through_opened_two_updates_and_resolved() {
    let Some(program) = find("prometheus-alertmanager") else {
        return;
    };
    let pager = Recorder::kind();
    let alertmanager = Alertmanager::start(&program, &pager, None).await;
    let sinks = sinks(&sink(&[&alertmanager], "labels = { customer = \"acme\" }"));
    let mut host = Host::new("web01");
    let hash = "ab".repeat(32);
    for (change, severity, sha256) in [
        (Change::Opened, Severity::Warning, None),
        (Change::Updated, Severity::Critical, None),
        (Change::Updated, Severity::Critical, Some(hash.as_str())),
    ] {
        send(&sinks, &host.incident("i-1", change, severity, sha256));
        until(|| sinks.depth() == 0).await;
        let labels = |alerts: &[Value]| -> Vec<(Value, Value)> {
            let pair = |alert: &Value| {
                let labels = &alert["labels"];
                (
                    labels["severity"].clone(),
                    labels["executable_sha256"].clone(),
                )
            };
            alerts.iter().map(pair).collect()
        };
        let expected = (
            severity.name().into(),
            sha256.map_or(Value::Null, Value::from),
        );
        until(|| labels(&alertmanager.alerts("DetectorIncident")) == [expected.clone()]).await;
    }
    let alert = &alertmanager.alerts("DetectorIncident")[0];
    assert_eq!(alert["labels"]["customer"], "acme");
    assert_eq!(alert["annotations"]["executable"], "/var/www/kworkerd");
    until(|| !pages(&pager, "/oncall", "DetectorIncident").is_empty()).await;
    send(
        &sinks,
        &host.incident("i-1", Change::Resolved, Severity::Critical, Some(&hash)),
    );
    until(|| alertmanager.alerts("DetectorIncident").is_empty()).await;
    let resolved = ("resolved".to_owned(), vec!["web01".to_owned()]);
    until(|| pages(&pager, "/oncall", "DetectorIncident").contains(&resolved)).await;
}

#[tokio::test]
async fn campaign_on_three_hosts_is_one_page_and_another_program_a_second() {
    let Some(program) = find("prometheus-alertmanager") else {
        return;
    };
    let pager = Recorder::kind();
    let alertmanager = Alertmanager::start(&program, &pager, None).await;
    let sinks = sinks(&sink(&[&alertmanager], ""));
    for (name, sha256) in [
        ("web01", "aa"),
        ("web02", "aa"),
        ("web03", "aa"),
        ("web09", "bb"),
    ] {
        let id = format!("i-{name}");
        send(
            &sinks,
            &Host::new(name).incident(&id, Change::Opened, Severity::Critical, Some(sha256)),
        );
    }
    // Under load the first page may come before the last host is heard of: then it is told again, with all of them.
    let page = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        pages(&pager, "/oncall", "DetectorIncident").contains(&("firing".to_owned(), hosts))
    };
    until(|| page(&["web01", "web02", "web03"]) && page(&["web09"])).await;
    let groups: BTreeSet<String> = pager
        .requests()
        .iter()
        .map(|request| request.body["groupLabels"].to_string())
        .collect();
    let group =
        |hash| format!(r#"{{"alertname":"DetectorIncident","executable_sha256":"{hash}"}}"#);
    assert_eq!(groups, BTreeSet::from([group("aa"), group("bb")]));
}

#[tokio::test]
async fn host_that_falls_silent_pages_and_one_that_lives_does_not() {
    let Some(program) = find("prometheus-alertmanager") else {
        return;
    };
    let pager = Recorder::kind();
    let alertmanager = Alertmanager::start(&program, &pager, None).await;
    let config = sink(
        &[&alertmanager],
        "dead_mans_switch = true\nsilent_after_s = 4",
    );
    let (living, dying) = (sinks(&config), sinks(&config));
    let (mut web01, mut web02) = (Host::new("web01"), Host::new("web02"));
    send(&living, &web01.heartbeat());
    send(&dying, &web02.heartbeat());
    let state = |host: &str| {
        let alerts = alertmanager.alerts("DetectorSilent");
        let alert = alerts
            .iter()
            .find(|alert| alert["labels"]["instance"] == host);
        alert.map(|alert| alert["status"]["state"].clone())
    };
    until(|| state("web01").is_some_and(|state| state == "suppressed")).await;
    until(|| state("web02").is_some_and(|state| state == "suppressed")).await;
    assert_eq!(pages(&pager, "/oncall", "DetectorSilent"), []);
    drop(dying);
    let silent = ("firing".to_owned(), vec!["web02".to_owned()]);
    let mut last = Instant::now();
    until(|| {
        if last.elapsed() > Duration::from_secs(1) {
            send(&living, &web01.heartbeat());
            last = Instant::now();
        }
        pages(&pager, "/oncall", "DetectorSilent").contains(&silent)
    })
    .await;
    let told: Vec<String> = pages(&pager, "/oncall", "DetectorSilent")
        .into_iter()
        .flat_map(|(_, hosts)| hosts)
        .collect();
    assert!(!told.contains(&"web01".to_owned()), "{told:?}");
    assert_eq!(pages(&pager, "/oncall", "DetectorHeartbeat"), []);
}

#[tokio::test]
async fn pair_pages_when_one_member_is_dead_and_the_other_hears_of_it_when_it_is_back() {
    let Some(program) = find("prometheus-alertmanager") else {
        return;
    };
    let pager = Recorder::kind();
    let (a, b) = (free_port(), free_port());
    let first = Alertmanager::start(&program, &pager, Some((a, &[b]))).await;
    let second = Alertmanager::start(&program, &pager, Some((b, &[a]))).await;
    let sinks = sinks(&sink(&[&first, &second], "resend_s = 1\ntimeout_ms = 1000"));
    let mut host = Host::new("web01");
    send(&sinks, &host.opened("i-1"));
    for member in [&first, &second] {
        until(|| member.alerts("DetectorIncident").len() == 1).await;
    }
    drop(first);
    let other: CloudEvent = host.opened("i-2");
    send(&sinks, &other);
    until(|| sinks.depth() == 0).await;
    until(|| second.alerts("DetectorIncident").len() == 2).await;
    let Data::Incident(data) = &other.data else {
        panic!("an incident");
    };
    until(|| {
        pager.requests().iter().any(|request| {
            let alerts = request.body["alerts"].as_array().into_iter().flatten();
            alerts
                .into_iter()
                .any(|alert| alert["labels"]["incident"] == data.incident.id.as_str())
        })
    })
    .await;
}
