//! The program itself before receivers: `detector test-alert`, run as somebody would by hand.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use tests::recorder::{Act, Recorder};

use crate::server::free_port;

/// The daemon's binary; `cargo xtask test` names it.
fn detector() -> PathBuf {
    let path = std::env::var_os("DETECTOR_BIN").map(PathBuf::from);
    path.expect("DETECTOR_BIN names the daemon: run the tests by `cargo xtask test`")
}

/// Exit code and the lines of standard output.
fn test_alert(folder: &Path, config: &str) -> (Option<i32>, Vec<Value>) {
    let path = folder.join("detector.toml");
    fs::write(&path, config).expect("writable");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("ours");
    let mut command = Command::new(detector());
    let output = command
        .arg("test-alert")
        .arg("--config")
        .arg(path)
        .output()
        .expect("it starts");
    let text = String::from_utf8(output.stdout).expect("it speaks UTF-8");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON lines"));
    (output.status.code(), lines.collect())
}

/// Sink, step, taken.
fn shown(lines: &[Value]) -> Vec<(&str, &str, Option<bool>)> {
    let mut out = Vec::new();
    for line in lines {
        let (sink, step) = (line["sink"].as_str(), line["step"].as_str());
        out.push((
            sink.expect("a name"),
            step.expect("a step"),
            line["taken"].as_bool(),
        ));
    }
    out
}

#[test]
fn test_alert_says_for_each_receiver_what_came_back_and_its_exit_code_whether_all_took_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = Recorder::kind();
    let bad = Recorder::start(|_, _| Act::Status(403));
    let file = folder.path().join("events");
    let sound = format!(
        "[sink.http]\nurl = \"{}\"\n[sink.archive]\ntype = \"file\"\npath = \"{}\"\n\
         [sink.beats]\ntype = \"http\"\nurl = \"{}\"\nevents = [\"heartbeat\"]\n",
        good.url("/"),
        file.display(),
        good.url("/"),
    );
    let (code, lines) = test_alert(folder.path(), &sound);
    assert_eq!(
        shown(&lines),
        [
            ("archive", "opened", Some(true)),
            ("archive", "resolved", Some(true)),
            ("beats", "-", None),
            ("http", "opened", Some(true)),
            ("http", "resolved", Some(true)),
        ]
    );
    assert_eq!(code, Some(0));
    let requests = good.requests();
    let told = |number: usize| {
        (
            requests[number].body["type"].clone(),
            requests[number].body["subject"].clone(),
        )
    };
    assert_eq!(told(0).0, "detector.incident.opened");
    assert_eq!(told(1).0, "detector.incident.resolved");
    assert_eq!(told(0).1, told(1).1, "one incident");
    let title = requests[0].body["data"]["incident"]["title"]
        .as_str()
        .expect("a title");
    assert!(
        title.starts_with("TEST alert of the detector on "),
        "{title}"
    );
    assert_eq!(
        fs::read_to_string(file).expect("the file").lines().count(),
        2
    );

    let broken = format!(
        "{sound}[sink.refusing]\ntype = \"http\"\nurl = \"{}\"\n[sink.gone]\ntype = \"syslog\"\nurl = \"tcp://127.0.0.1:{}\"\n\
         [sink.pagerduty]\nrouting_key_file = \"/nowhere/key\"\n",
        bad.url("/"),
        free_port(),
    );
    let (code, lines) = test_alert(folder.path(), &broken);
    assert_eq!(code, Some(1));
    let answer = |sink: &str| {
        let line = lines
            .iter()
            .find(|line| line["sink"] == sink)
            .expect("a line");
        (
            line["taken"].as_bool(),
            line["answer"].as_str().expect("an answer").to_owned(),
        )
    };
    assert_eq!(
        answer("refusing"),
        (Some(false), "refused: status 403: {}".to_owned())
    );
    assert_eq!(
        answer("gone"),
        (Some(false), "Connection refused (os error 111)".to_owned())
    );
    assert_eq!(
        answer("pagerduty"),
        (
            Some(false),
            "cannot read /nowhere/key: No such file or directory (os error 2)".to_owned()
        )
    );
}
