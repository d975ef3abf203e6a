//! Tricks of `docs/evasion.md` that have no other home: each told as it is, or the agent still finds what follows.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest as _, Sha256};

use super::exec::as_shown;
use crate::{
    actor::{Actor, PROGRAM},
    program::{Intruder, names, soon, watching},
    watch::{Turn, obstacle, skip, watch},
};

#[test]
fn a_program_run_through_proc_self_fd_is_still_the_right_file() {
    let mut watch = watch!();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec 9< \"$0\"; exec /proc/self/fd/9 show", PROGRAM]);
    let mut actor = Actor::start_command(command);
    let shown = actor.says();
    let exec = watch.exec(actor.pid(), |exec| *exec.filename == *b"/proc/self/fd/9");
    assert_eq!(as_shown(&exec), shown);
    assert_eq!(exec.name.as_ref(), b"actor");
    assert!(actor.finish().success());
}

#[test]
fn a_setuid_program_is_told_with_who_runs_it_and_whose_file_it_is() {
    let mut watch = watch!();
    let folder = tempfile::tempdir_in("/var/tmp").expect("a temporary folder");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open).expect("it is ours");
    let program = folder.path().join("helper");
    fs::copy(PROGRAM, &program).expect("it is writable");
    chown(&program, Some(0), Some(0)).expect("tests run as root");
    let setuid = fs::Permissions::from_mode(0o4755);
    fs::set_permissions(&program, setuid).expect("it is ours");
    let mut command = Command::new(&program);
    command.arg("show").uid(33).gid(33);
    let mut actor = Actor::start_command(command);
    let shown = actor.says();
    let exec = watch.exec(actor.pid(), |exec| exec.executable.mode & 0o4000 != 0);
    assert_eq!(as_shown(&exec), shown);
    assert_eq!((exec.uid, exec.executable.uid), (33, 0));
    assert!(actor.finish().success());
}

fn sha256(file: &Path) -> String {
    let digest = Sha256::digest(fs::read(file).expect("it is readable"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_program_swapped_for_another_as_soon_as_it_runs_is_told_with_its_own_hash_or_none() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let intruder = Intruder::new(b"swapped");
    let innocent = intruder.executable.with_file_name("innocent");
    fs::copy("/bin/true", &innocent).expect("the folder is writable");
    let (own, other) = (sha256(&intruder.executable), sha256(&innocent));
    let mut daemon = watching(["--for", "80s"]);
    let running = intruder.start(&["--threads", "2", "--for", "60"].map(AsRef::as_ref));
    fs::rename(&innocent, &intruder.executable).expect("the folder is writable");
    let told = daemon.wait_event(soon(), |event| {
        names(event, running.pid()) && event["data"]["incident"]["severity"] == "critical"
    });
    let event = told
        .unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()))
        .event;
    let hash = event["data"]["process"]["hash"]["sha256"].as_str();
    println!("told with {hash:?}; its own is {own}");
    assert!(hash.is_none_or(|hash| hash == own), "{other} is the other");
    assert!(daemon.stop().expect("it stops").success());
}

#[test]
fn a_hard_link_is_told_under_the_name_it_runs_by_and_with_the_hash_of_its_content() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let mut intruder = Intruder::new(b"linked");
    let link = intruder.executable.with_file_name("logrotate");
    fs::hard_link(&intruder.executable, &link).expect("one file system");
    let own = sha256(&intruder.executable);
    intruder.executable.clone_from(&link);
    let mut daemon = watching(["--for", "80s"]);
    let running = intruder.start(&["--threads", "2", "--for", "60"].map(AsRef::as_ref));
    let told = daemon.wait_event(soon(), |event| {
        names(event, running.pid())
            && event["data"]["incident"]["severity"] == "critical"
            && event["data"]["process"]["hash"].is_object()
    });
    let event = told
        .unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()))
        .event;
    let process = &event["data"]["process"];
    assert_eq!(process["executable"], link.to_str().expect("text"));
    assert_eq!(process["hash"]["sha256"], own);
    assert!(daemon.stop().expect("it stops").success());
}

/// CPU time of a process, in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields = fields.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[test]
fn what_begins_while_the_agent_is_stopped_is_found_once_it_goes_on() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let intruder = Intruder::new(b"patient");
    let mut daemon = watching(["--for", "80s"]);
    let agent = Pid::from_raw(i32::try_from(daemon.pid()).expect("small")).expect("not 0");
    kill_process(agent, Signal::STOP).expect("it is ours");
    let running = intruder.start(&["--threads", "2", "--for", "60"].map(AsRef::as_ref));
    let deadline = soon();
    // Five seconds of two threads' work that nobody watched.
    while ticks(running.pid()) < 5 * rustix::param::clock_ticks_per_second() {
        assert!(std::time::Instant::now() < deadline, "it does not burn");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    kill_process(agent, Signal::CONT).expect("it is ours");
    let told = daemon.wait_event(soon(), |event| {
        names(event, running.pid()) && event["data"]["incident"]["severity"] == "critical"
    });
    told.unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()));
    assert!(daemon.stop().expect("it stops").success());
}
