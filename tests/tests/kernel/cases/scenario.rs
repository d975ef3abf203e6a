//! Whole stories on a real stack.

use tests::scenario::{Options, founding_incident};

use crate::{
    program::{Intruder, names, soon, watching},
    watch::{Turn, obstacle, skip},
};

#[test]
fn the_founding_incident_is_caught_told_truly_and_resolved() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let mut options = match Options::find() {
        Ok(options) => options,
        Err(error) => return skip(&format!("{error:#}")),
    };
    options.burn = std::time::Duration::from_secs(20);
    let report = founding_incident(&options).expect("the rehearsal takes place");
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.holds).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{}", report.daemon_account);

    let validator = jsonschema::validator_for(&detector::event::schema()).expect("a schema");
    for seen in &report.events {
        let errors: Vec<String> = validator
            .iter_errors(&seen.event)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?} in {:#}", seen.event);
    }
}

#[test]
fn a_burner_older_than_the_daemon_is_found() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let intruder = Intruder::new(b"kworkerd");
    let running = intruder.start(&["--threads", "2", "--for", "90"].map(AsRef::as_ref));
    let mut daemon = watching(["--for", "80s"]);
    let event = daemon.wait_event(soon(), |event| {
        names(event, running.pid()) && event["data"]["incident"]["severity"] == "critical"
    });
    let event = event
        .unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()))
        .event;
    assert_eq!(
        event["data"]["process"]["executable"],
        intruder.executable.to_str().expect("its name is text")
    );
    assert_eq!(event["data"]["process"]["user"]["id"], "33");
    assert!(daemon.stop().expect("it stops").success());
}
