//! Receivers as children of a test: found, started on free ports of loopback, waited for, ended.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tests::process::Owned;

/// What a condition may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program, or a skip that names it.
pub fn find(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
    let found = folders
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("DETECTOR_REQUIRE_RECEIVERS").is_none(),
            "{name} should be installed"
        );
        tests::skip::skipped(&format!("{name} is not installed"));
    }
    found
}

/// A port that was free a moment ago. What a receiver is told must be known before it starts.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    listener.local_addr().expect("it listens").port()
}

/// Starts a receiver, whose output goes to `folder`, and waits until it listens on `port`.
pub async fn start(name: &'static str, command: &mut Command, folder: &Path, port: u16) -> Owned {
    let log = folder.join(format!("{name}.log"));
    let output = fs::File::options()
        .create(true)
        .append(true)
        .open(&log)
        .expect("a log");
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a second handle"))
        .stderr(output)
        .current_dir(folder);
    let owned = Owned::start(name, command, Signal::KILL).expect("it starts");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    until(|| {
        assert!(
            !owned.has_exited(),
            "{name} ended: {}",
            fs::read_to_string(&log).unwrap_or_default()
        );
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    })
    .await;
    owned
}

/// Waits on a condition, with a deadline, while the sinks go on working.
pub async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
