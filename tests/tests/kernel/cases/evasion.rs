//! Tricks of `docs/evasion.md` that have no other home: each told as it is, or the agent still finds what follows.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tests::{
    daemon::Daemon,
    foothold::{Foothold, Session},
    scenario::DETECTOR_STAND_IN,
    told::Suspect,
};

use super::exec::as_shown;
use crate::{
    actor::{Actor, PROGRAM},
    program::{soon, watching},
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

/// The stand-in in a folder of `www-data`'s.
struct Planted {
    foothold: Foothold,
    program: PathBuf,
}

impl Planted {
    fn new(name: &str) -> Planted {
        let stand_in = std::env::var_os(DETECTOR_STAND_IN).expect("`cargo xtask test` names it");
        let foothold = Foothold::new(".cache-").expect("a folder");
        let program = foothold.plant(Path::new(&stand_in), name);
        Planted {
            program: program.expect("it is planted"),
            foothold,
        }
    }

    /// Runs a program of the folder at full speed; gives its id once it runs.
    fn start(&self, program: &Path) -> (Session, u32) {
        let pid_file = self.foothold.path().join("pid");
        let mut command = vec![program.as_os_str().to_owned()];
        command.extend(["--threads=2", "--for=60", "--pid-file"].map(Into::into));
        command.push(pid_file.clone().into_os_string());
        let session = self.foothold.start(&command).expect("it starts");
        let deadline = soon();
        loop {
            let pid = fs::read_to_string(&pid_file).unwrap_or_default();
            if let Ok(pid) = pid.trim().parse() {
                return (session, pid);
            }
            assert!(Instant::now() < deadline, "it does not start");
            std::thread::yield_now();
        }
    }

    /// The last event of its incident once that is critical and `enough`.
    fn wait(&self, daemon: &Daemon, session: &Session, enough: impl Fn(&Value) -> bool) -> Value {
        let suspect = Suspect {
            folder: self.foothold.path().to_str().expect("text").to_owned(),
            pid: session.pid(),
            started: session.started,
        };
        let (mut next, deadline) = (0, soon());
        loop {
            next += daemon.events_from(next, Duration::from_millis(100)).len();
            let told = suspect.told(&daemon.events());
            if told.critical.is_some() && enough(&told.last) {
                return told.last;
            }
            let over = Instant::now() > deadline || daemon.has_exited();
            assert!(!over, "{told:?}: {}", daemon.account());
        }
    }
}

fn hash(event: &Value) -> Option<&str> {
    event["data"]["process"]["hash"]["sha256"].as_str()
}

#[test]
fn a_program_swapped_for_another_as_soon_as_it_runs_is_told_with_its_own_hash_or_none() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let planted = Planted::new("swapped");
    let innocent = planted.program.with_file_name("innocent");
    fs::copy("/bin/true", &innocent).expect("the folder is writable");
    let own = sha256(&planted.program);
    let mut daemon = watching(["--for", "80s"]);
    let (session, _) = planted.start(&planted.program);
    fs::rename(&innocent, &planted.program).expect("the folder is writable");
    let event = planted.wait(&daemon, &session, |_| true);
    assert!(hash(&event).is_none_or(|hash| hash == own), "{event:#}");
    assert!(daemon.stop().expect("it stops").success());
}

#[test]
fn a_hard_link_is_told_under_the_name_it_runs_by_and_with_the_hash_of_its_content() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let planted = Planted::new("linked");
    let link = planted.program.with_file_name("logrotate");
    fs::hard_link(&planted.program, &link).expect("one file system");
    let own = sha256(&planted.program);
    let mut daemon = watching(["--for", "80s"]);
    let (session, pid) = planted.start(&link);
    let event = planted.wait(&daemon, &session, |event| hash(event).is_some());
    let process = &event["data"]["process"];
    assert_eq!(process["pid"], pid);
    assert_eq!(process["executable"], link.to_str().expect("text"));
    assert_eq!(hash(&event), Some(own.as_str()));
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
    let planted = Planted::new("patient");
    let mut daemon = watching(["--for", "80s"]);
    let agent = Pid::from_raw(i32::try_from(daemon.pid()).expect("small")).expect("not 0");
    kill_process(agent, Signal::STOP).expect("it is ours");
    let (session, pid) = planted.start(&planted.program);
    let deadline = soon();
    // Four seconds of CPU time that nobody watched.
    while ticks(pid) < 4 * rustix::param::clock_ticks_per_second() {
        assert!(Instant::now() < deadline, "it does not burn");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    kill_process(agent, Signal::CONT).expect("it is ours");
    let event = planted.wait(&daemon, &session, |_| true);
    assert_eq!(event["data"]["process"]["pid"], pid);
    assert!(daemon.stop().expect("it stops").success());
}
