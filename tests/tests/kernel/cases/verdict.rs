//! Verdicts about real processes: interpreters, the loader, disguises, preloads, changed packages.
//!
//! What is run is `sleep`-like and harmless. Files are copies in folders of their own; the machine's own are
//! covered by mounts in a namespace of the test's, never changed.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tests::daemon::Daemon;

use crate::{
    program::{Intruder, detector, names, soon, watching},
    watch::{obstacle, skip},
};

/// uid and gid of Debian's `www-data`.
const WWW_DATA: u32 = 33;

/// A folder in `/var/tmp` that belongs to `www-data`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix("verdict-")
        .tempdir_in("/var/tmp")
        .expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    chown(folder.path(), Some(WWW_DATA), Some(WWW_DATA)).expect("tests run as root");
    folder
}

/// A copy of `program` under another name.
fn copy(program: &str, to: PathBuf) -> PathBuf {
    fs::copy(program, &to).expect("the folder is writable");
    chown(&to, Some(WWW_DATA), Some(WWW_DATA)).expect("tests run as root");
    to
}

/// A shell adopted by init that waits for a word and becomes a suspect: a lineage of its own, whatever the
/// tests were started from, and an exec that the daemon sees live. Dropping it ends its session.
struct Suspect {
    folder: tempfile::TempDir,
    pid: Pid,
}

impl Suspect {
    /// `script` gets the word as `$go` and the arguments as `$@`.
    fn wait(uid: u32, script: &str, arguments: &[&Path]) -> Suspect {
        let folder = folder();
        let (pid_file, fifo) = (folder.path().join("pid"), folder.path().join("go"));
        let made = Command::new("mkfifo").arg(&fifo).status();
        assert!(made.expect("coreutils are there").success());
        chown(&fifo, Some(uid), Some(uid)).expect("tests run as root");
        let whole = format!("echo $$ > \"$0\"; read -r go < \"$1\"; shift; {script}");
        let status = Command::new("setsid")
            .args(["--fork", "sh", "-c", &whole])
            .args([&pid_file, &fifo])
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .uid(uid)
            .gid(uid)
            .status();
        assert!(status.expect("util-linux is there").success());
        let deadline = soon();
        let pid = loop {
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            let pid = text
                .ends_with('\n')
                .then(|| text.trim().parse().ok())
                .flatten();
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                break pid;
            }
            assert!(Instant::now() < deadline, "the suspect does not start");
            std::thread::yield_now();
        };
        Suspect { folder, pid }
    }

    /// Gives the word.
    fn go(&self, word: &str) {
        fs::write(self.folder.path().join("go"), format!("{word}\n")).expect("it waits");
    }

    /// A pipe that nobody ever writes to.
    fn never(folder: &Path) -> PathBuf {
        let fifo = folder.join("never");
        let made = Command::new("mkfifo")
            .args(["-m", "666"])
            .arg(&fifo)
            .status();
        assert!(made.expect("coreutils are there").success());
        fifo
    }
}

impl Drop for Suspect {
    fn drop(&mut self) {
        // Its session is ours: `setsid` made it, and its leader lives or was never reaped by anybody else.
        let _ = kill_process_group(self.pid, Signal::KILL);
    }
}

/// The first event with a finding of this type whose process is `executable`, and that finding.
fn wait_finding(daemon: &Daemon, executable: &Path, kind: &str) -> (Value, Value) {
    let found = |event: &Value| -> Option<Value> {
        let findings = event["data"]["incident"]["findings"].as_array()?;
        let executable = executable.to_str()?;
        let of_it = |finding: &&Value| {
            finding["type"] == kind && finding["process"]["executable"] == executable
        };
        findings.iter().find(of_it).cloned()
    };
    let seen = daemon.wait_event(soon(), |event| found(event).is_some());
    let event = seen
        .unwrap_or_else(|error| panic!("{kind}: {error:#}: {}", daemon.account()))
        .event;
    let finding = found(&event).expect("it was waited for");
    (event, finding)
}

#[test]
fn a_script_below_a_web_service_is_named_and_not_its_interpreter() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let folder = folder();
    // A web service by the name of its executable.
    let service = copy("/bin/dash", folder.path().join("php-fpm"));
    let script = folder.path().join("job.sh");
    let never = Suspect::never(folder.path());
    fs::write(&script, format!("read -r line < {}\n", never.display()))
        .expect("the folder is writable");
    chown(&script, Some(WWW_DATA), Some(WWW_DATA)).expect("tests run as root");
    let suspect = Suspect::wait(
        WWW_DATA,
        "exec \"$1\" -c '/bin/sh -e \"$0\"; :' \"$2\"",
        &[&service, &script],
    );
    let mut daemon = watching(["--for", "60s"]);
    suspect.go("now");
    // The incident itself is about the false web service: that is of no package either, and older.
    let (_, finding) = wait_finding(&daemon, &script, "execution.new_script");
    assert_eq!(finding["severity"], "warning");
    assert_eq!(finding["evidence"]["writer"], "www-data");
    assert_eq!(finding["evidence"]["path"], script.to_str().expect("text"));
    assert!(daemon.stop().expect("it stops").success());
}

#[test]
fn a_program_behind_the_dynamic_loader_is_the_one_that_is_named() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let Some(loader) = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
        .into_iter()
        .find(|path| Path::new(path).exists())
    else {
        return skip("no dynamic loader where it is expected");
    };
    let folder = folder();
    let program = copy("/usr/bin/sleep", folder.path().join("tool"));
    let suspect = Suspect::wait(
        WWW_DATA,
        "exec \"$1\" --argv0 sleep \"$2\" 60",
        &[Path::new(loader), &program],
    );
    let mut daemon = watching(["--for", "60s"]);
    suspect.go("now");
    let (event, finding) = wait_finding(&daemon, &program, "execution.new_binary");
    assert_eq!(finding["severity"], "warning");
    assert_eq!(finding["evidence"]["path"], program.to_str().expect("text"));
    assert!(
        names(&event, suspect.pid.as_raw_nonzero().get().unsigned_abs()),
        "{event:#}"
    );
    assert!(daemon.stop().expect("it stops").success());
}

#[test]
fn a_command_line_overwritten_with_a_kernel_threads_name_is_seen() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let intruder = Intruder::new(b"tool");
    let suspect = Suspect::wait(
        WWW_DATA,
        "exec \"$1\" --argv '[kworker/0:1]' --duty 10 --for 60",
        &[&intruder.executable],
    );
    let mut daemon = watching(["--for", "60s"]);
    suspect.go("now");
    let kind = "defense_evasion.masqueraded_name";
    let (_, finding) = wait_finding(&daemon, &intruder.executable, kind);
    assert_eq!(finding["evidence"]["shown_in"], "title");
    assert_eq!(finding["evidence"]["imitates"], "kernel_thread");
    assert_eq!(finding["evidence"]["shown"], "[kworker/0:1]");
    assert!(daemon.stop().expect("it stops").success());
}

#[test]
fn an_object_that_no_package_knows_is_seen_where_it_is_preloaded() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let folder = folder();
    let Some(library) = [
        "/lib/x86_64-linux-gnu/libm.so.6",
        "/lib/aarch64-linux-gnu/libm.so.6",
    ]
    .into_iter()
    .find(|path| Path::new(path).exists()) else {
        return skip("no library where it is expected");
    };
    let object = copy(library, folder.path().join("hide.so"));
    let program = copy("/usr/bin/sleep", folder.path().join("tool"));
    let suspect = Suspect::wait(
        WWW_DATA,
        "LD_PRELOAD=\"$1\" exec \"$2\" 60",
        &[&object, &program],
    );
    let mut daemon = watching(["--for", "60s"]);
    suspect.go("now");
    let kind = "defense_evasion.preloaded_library";
    let (_, finding) = wait_finding(&daemon, &program, kind);
    assert_eq!(finding["severity"], "warning");
    assert_eq!(finding["evidence"]["path"], object.to_str().expect("text"));
    assert_eq!(finding["evidence"]["from"], "LD_PRELOAD");
    assert!(daemon.stop().expect("it stops").success());
}

#[test]
fn a_packaged_program_with_another_content_is_seen() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let packaged = Command::new("dpkg").args(["-S", "/usr/bin/tac"]).output();
    if !packaged.is_ok_and(|output| output.status.success()) {
        return skip("no dpkg that owns /usr/bin/tac");
    }
    // The changed copy lies at the packaged path in a mount namespace of the daemon's own.
    let folder = folder();
    let changed = copy("/usr/bin/tac", folder.path().join("changed"));
    chown(&changed, Some(0), Some(0)).expect("tests run as root");
    let mut bytes = fs::read(&changed).expect("it is ours");
    bytes.push(0);
    fs::write(&changed, bytes).expect("it is ours");
    let never = Suspect::never(folder.path());
    let suspect = Suspect::wait(
        0,
        "exec nsenter --mount=/proc/$go/ns/mnt /usr/bin/tac \"$1\"",
        &[&never],
    );
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" /usr/bin/tac && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(&changed);
    let daemon = Daemon::command(&detector());
    command.arg(daemon.get_program()).args(daemon.get_args());
    let mut daemon = Daemon::start(command).expect("it starts");
    daemon.wait_ready(soon()).expect("it watches");

    suspect.go(&daemon.pid().to_string());
    let kind = "execution.modified_package_file";
    let (event, finding) = wait_finding(&daemon, Path::new("/usr/bin/tac"), kind);
    assert_eq!(finding["severity"], "warning");
    assert_eq!(finding["evidence"]["package"], "coreutils");
    let verdict = &event["data"]["process"]["executable_verdict"];
    assert_eq!(verdict["owner_package"], "coreutils");
    assert_eq!(verdict["integrity"], "modified");
    assert!(daemon.stop().expect("it stops").success());
}
