//! Over its budget the daemon gives up what it may, says so, and sees every exec nevertheless.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::{
    metrics::{Page, ask_socket},
    service,
};

use crate::{
    program::watching,
    watch::{Turn, obstacle, skip},
};

/// Half a minute over the budget, half a minute below it twice and more.
const PATIENCE: Duration = Duration::from_secs(75);

fn degraded(event: &Value) -> Option<&str> {
    let is = event["type"] == "detector.agent.degraded";
    is.then(|| event["data"]["event"]["reason"].as_str())?
}

/// A new program: a copy of `true` that no other is equal to.
fn program(folder: &Path, number: u32) -> PathBuf {
    let path = folder.join(format!("job-{number}"));
    fs::copy("/bin/true", &path).expect("there is room");
    let file = fs::OpenOptions::new().append(true).open(&path);
    file.and_then(|mut file| file.write_all(&number.to_le_bytes()))
        .expect("it is ours");
    path
}

fn value(page: &Page, key: &str) -> f64 {
    page.get(key)
        .unwrap_or_else(|| panic!("{key}: {}", page.text))
}

#[test]
fn a_storm_of_new_programs_over_the_budget_costs_hashes_and_no_exec_and_is_over_when_it_is() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    service::give(folder.path()).expect("tests run as root");
    let (config, socket) = (
        folder.path().join("detector.toml"),
        folder.path().join("metrics.sock"),
    );
    // What it uses when nothing happens is below half of that, and what a few hundred execs a second take is not.
    let text = format!(
        "[budget]\ncpu_share = 0.03\n\n[metrics]\nsocket = {:?}\n",
        socket.display().to_string()
    );
    fs::write(&config, text).expect("the folder is writable");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("it is ours");
    service::give(&config).expect("tests run as root");
    let mut daemon = watching(["--config".as_ref(), config.as_os_str()]);
    let before = ask_socket(&socket).expect("it answers");

    let begun = Instant::now();
    let mut ran = 0_u32;
    let given_up = loop {
        // Short enough between two looks to stop soon after it is told.
        for _ in 0..20 {
            let path = program(folder.path(), ran);
            let mut command = Command::new(&path);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            assert!(command.status().expect("it runs").success());
            fs::remove_file(path).expect("it is ours");
            ran += 1;
        }
        let events = daemon.events();
        let mut reasons = events.iter().filter_map(|seen| degraded(&seen.event));
        if let Some(reason) = reasons.find(|reason| reason.contains("budget.cpu_share")) {
            break reason.to_owned();
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{ran} programs: {}",
            daemon.account()
        );
    };
    assert!(given_up.contains("programs are not hashed"), "{given_up}");
    let page = ask_socket(&socket).expect("it answers");
    assert_eq!(value(&page, "detector_degraded{what=\"cpu_budget\"}"), 1.0);
    assert!(value(&page, "detector_budget_stage") >= 1.0);

    let over = daemon.wait_event(Instant::now() + 2 * PATIENCE, |event| {
        degraded(event).is_some_and(|reason| reason.ends_with("again: programs are hashed"))
    });
    over.unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()));
    let page = ask_socket(&socket).expect("it answers");
    assert_eq!(page.get("detector_degraded{what=\"cpu_budget\"}"), None);
    assert_eq!(value(&page, "detector_budget_stage"), 0.0);
    // Each program was seen, whatever was given up.
    let execs = "detector_events_total{class=\"exec\"}";
    assert!(value(&page, execs) - value(&before, execs) >= f64::from(ran));
    for lost in [
        "exec_dropped",
        "fork_dropped",
        "exit_dropped",
        "thread_end_dropped",
    ] {
        let lost = format!("detector_losses_total{{name=\"{lost}\"}}");
        assert_eq!(value(&page, &lost), 0.0, "{lost}");
    }
    assert!(daemon.stop().expect("it stops").success());
}
