//! What systemd's watchdog and the receiver hear when the state file cannot be used, and when the state hangs.

use std::{
    ffi::OsStr,
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};

use detector::{
    config::Config,
    event::{HeartbeatDetector, HostInfo},
    report::{Format, Report},
    source::scan::Clock,
};
use tests::recorder::Recorder;

use crate::{again, server::PATIENCE};

/// Passes after which a state that does nothing counts as hung.
const HUNG_PASSES: usize = 30;

/// A report as the loop has it, and what goes out.
struct Watched {
    report: Report,
    receiver: Recorder,
    socket: UnixDatagram,
    now: Clock,
    heard: usize,
}

impl Watched {
    fn start(state: &Path) -> Watched {
        let socket = again::folder("NOTIFY_SOCKET");
        let socket = UnixDatagram::bind(socket).expect("a new socket");
        socket.set_nonblocking(true).expect("a socket");
        let receiver = Recorder::kind();
        let text = format!(
            "[state]\npath = \"{}\"\n[sink.http]\nurl = \"{}\"\nevents = [\"heartbeat\", \"agent\"]\n",
            state.display(),
            receiver.url("/")
        );
        let config = Config::parse(Path::new("test.toml"), &text).expect("a configuration");
        let now = Clock::now();
        let started = Report::start(HostInfo::default(), &config, Format::Json, now);
        let (mut report, before) = started.expect("it starts");
        report.started(&before.trouble, now);
        Watched {
            report,
            receiver,
            socket,
            now,
            heard: 0,
        }
    }

    /// One pass, a second after the one before; whether systemd was told.
    fn pass(&mut self) -> bool {
        self.now.unix_ns += 1_000_000_000;
        self.report.state().tick(self.now.unix_ns);
        self.report.alive();
        let mut buffer = [0; 64];
        let mut told = false;
        while let Ok(length) = self.socket.recv(&mut buffer) {
            assert_eq!(&buffer[..length], b"WATCHDOG=1");
            told = true;
        }
        told
    }

    /// A heartbeat, as it arrives: whether the state is durable.
    async fn heartbeat(&mut self) -> bool {
        self.report
            .heartbeat(HeartbeatDetector::default(), self.now);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let requests = self.receiver.requests();
            let mut new = requests[self.heard..].iter();
            let beat = new.find(|request| request.body["type"] == "detector.heartbeat");
            if let Some(beat) = beat {
                self.heard = requests.len();
                let durable = &beat.body["data"]["detector"]["state_durable"];
                return durable.as_bool().expect("a heartbeat says so");
            }
            assert!(Instant::now() < deadline, "no heartbeat");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn variables(folder: &Path) -> [std::ffi::OsString; 2] {
    [folder.join("notify").into(), folder.join("state").into()]
}

fn passes(test: &str) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [socket, state] = variables(folder.path());
    again::passes(
        test,
        &[
            ("NOTIFY_SOCKET", &socket),
            ("WATCHDOG_USEC", OsStr::new("30000000")),
            ("STATE", &state),
        ],
    )
}

#[test]
fn a_state_in_memory_is_alive_and_said_to_be_degraded_until_its_file_is_in_use_again() {
    assert!(passes("watchdog::in_memory"));
}

#[test]
fn a_state_that_hangs_is_not_said_to_be_alive() {
    assert!(passes("watchdog::hung"));
}

#[tokio::test]
#[ignore = "started by a test above, with a socket"]
async fn in_memory() {
    let folder = again::folder("STATE");
    // What should be a folder is a file: nothing can be made in it.
    fs::write(&folder, "").expect("writable");
    let mut watched = Watched::start(&folder.join("state.db"));
    for _ in 0..2 * HUNG_PASSES {
        // The thread gets its turn, as it does within a second.
        assert!(!watched.heartbeat().await, "kept in memory");
        assert!(watched.pass());
    }
    let requests = watched.receiver.requests();
    let degraded = requests
        .iter()
        .filter(|request| request.body["type"] == "detector.agent.degraded");
    assert_eq!(degraded.count(), 1, "told once");
    fs::remove_file(&folder).expect("it is there");
    fs::create_dir(&folder).expect("writable");
    let deadline = Instant::now() + PATIENCE;
    while !watched.heartbeat().await {
        assert!(Instant::now() < deadline, "it is in use again");
        assert!(watched.pass());
    }
    assert!(folder.join("state.db").is_file());
}

#[tokio::test]
#[ignore = "started by a test above, with a socket"]
async fn hung() {
    let folder = again::folder("STATE");
    fs::create_dir(&folder).expect("writable");
    let path = folder.join("state.db");
    let mut watched = Watched::start(&path);
    assert!(watched.heartbeat().await);
    assert!(watched.pass());
    // Somebody else writes: the thread waits, for two seconds of the real clock.
    let other = rusqlite::Connection::open(&path).expect("the file is there");
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("nobody writes");
    watched
        .report
        .degraded("something to store", None, watched.now);
    let told: Vec<bool> = (0..3 * HUNG_PASSES).map(|_| watched.pass()).collect();
    // The first passes may find the thread at what it did before.
    let last = told.iter().rposition(|told| *told).expect("alive at first");
    assert!(
        (HUNG_PASSES - 2..HUNG_PASSES + 8).contains(&last),
        "{told:?}"
    );
    other.execute_batch("ROLLBACK").expect("its own");
    let deadline = Instant::now() + PATIENCE;
    while !watched.pass() {
        assert!(Instant::now() < deadline, "it goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
