//! The daemon's program, and suspicious programs for it to find.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::{daemon::Daemon, means::Means, process::Known, service};

/// Linux 7 in an emulated machine takes 16 s to load the probes, and more than twice that while two threads burn.
const LOADED_WITHIN: Duration = Duration::from_secs(120);
/// uid and gid of Debian's `www-data`.
const WWW_DATA: u32 = 33;

/// The daemon's binary; `cargo xtask test` names it.
pub fn detector() -> PathBuf {
    let path = std::env::var_os("DETECTOR_BIN").map(PathBuf::from);
    path.expect("DETECTOR_BIN names the daemon: run the tests by `cargo xtask test`")
}

/// The daemon, watching, as its service and with everything it can use.
pub fn watching(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Daemon {
    watch(service(arguments))
}

/// The same, with what its unit gives it.
pub fn watching_with(
    means: &Means,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Daemon {
    watch(means.inside(&service(arguments)))
}

fn service(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Daemon::command(&detector());
    command.args(arguments);
    service::unprivileged(&command, &[service::NET_ADMIN])
}

fn watch(command: Command) -> Daemon {
    let daemon = Daemon::start(command).expect("it starts");
    let loaded = Instant::now() + LOADED_WITHIN;
    daemon.wait_ready(loaded).expect("it watches");
    daemon
}

/// A deadline that no working daemon misses.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// The stand-in under any name in a hidden folder, run as `www-data` and adopted by init: a lineage of its own,
/// whatever the tests themselves were started from. Each has a content of its own, too: the same content is
/// the same incident, and tests run side by side.
pub struct Intruder {
    folder: tempfile::TempDir,
    /// The copy.
    pub executable: PathBuf,
}

impl Intruder {
    /// Puts one in place.
    pub fn new(name: &[u8]) -> Self {
        let stand_in = std::env::var_os("DETECTOR_STAND_IN").expect("`cargo xtask test` names it");
        let intruder = Self::copy(Path::new(&stand_in), name);
        // Behind the end of an ELF file: nobody loads it.
        let mark = intruder.folder.path().as_os_str().as_bytes();
        let file = fs::OpenOptions::new()
            .append(true)
            .open(&intruder.executable);
        file.and_then(|mut file| file.write_all(mark))
            .expect("it is ours");
        intruder
    }

    /// Puts the content of this one in place elsewhere.
    pub fn again(&self, name: &[u8]) -> Self {
        Self::copy(&self.executable, name)
    }

    fn copy(of: &Path, name: &[u8]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(".intruder-")
            .tempdir_in("/var/tmp")
            .expect("a temporary folder");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("it is ours");
        chown(folder.path(), Some(WWW_DATA), Some(WWW_DATA)).expect("tests run as root");
        let executable = folder.path().join(OsStr::from_bytes(name));
        fs::copy(of, &executable).expect("the folder is writable");
        Intruder { folder, executable }
    }

    /// Starts it; gives it back once it runs, to be ended when the guard is dropped.
    pub fn start(&self, arguments: &[&OsStr]) -> Running {
        let pid_file = self.folder.path().join("pid");
        let status = Command::new("setsid")
            .arg("--fork")
            .arg(&self.executable)
            .arg("--pid-file")
            .arg(&pid_file)
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .uid(WWW_DATA)
            .gid(WWW_DATA)
            .status();
        assert!(status.expect("util-linux is there").success());
        let deadline = soon();
        loop {
            let pid = fs::read_to_string(&pid_file).ok();
            let pid = pid.and_then(|text| text.trim().parse().ok());
            if let Some(known) = pid.and_then(|pid| Known::find(pid, &self.executable)) {
                return Running(known);
            }
            assert!(Instant::now() < deadline, "the intruder does not start");
            std::thread::yield_now();
        }
    }
}

/// A running intruder; dropping it ends it.
pub struct Running(Known);

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// Whether an event is about an incident whose process has this id.
pub fn names(event: &Value, pid: u32) -> bool {
    event["data"]["process"]["pid"] == pid
}
