//! The state file (`state/`): of any bytes, or a good one with some of them changed.

use std::{cell::RefCell, collections::BTreeMap, fs, path::Path, sync::LazyLock, time::Duration};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

use crate::{
    config,
    deliver::{Class, Event, Feed as _, Settled},
    state::{Before, Desk, Handle, Record, StoredIncident, Told, start},
};

/// A moment in 2026, ns since 1970.
const NOW: i64 = 1_790_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const SINK: &str = "s";

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        Builder::new_current_thread().enable_all().build().expect("a runtime")
    );
}

/// A good file, and what it delivers: made once.
static GOOD: LazyLock<(Vec<u8>, BTreeMap<u64, Bytes>)> = LazyLock::new(|| {
    let folder = super::folder();
    let bodies = on_runtime(filled(folder.path()));
    let file = fs::read(folder.path().join("state.db")).expect("it was made");
    (file, bodies)
});

fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}

/// The first byte chooses what the rest is: the file, or changes to a good one, four bytes each: where (little-endian), and what
/// is flipped there; nothing flipped cuts the file off.
///
/// Whatever the file: the state starts, keeps and gives out a new event, lets the command line look, and starts again. Of a
/// good file's events only those come that were written. A file whose damage shows only once the new event was written
/// into it may take it along when it is set aside: then that is told.
///
/// # Panics
/// A promise is broken.
pub fn state(bytes: &[u8]) {
    let Some((what, rest)) = bytes.split_first() else {
        return;
    };
    let (good, bodies) = &*GOOD;
    if what % 2 == 0 {
        return on_runtime(survives(rest, None));
    }
    let mut file = good.clone();
    for change in rest.chunks_exact(4) {
        if file.is_empty() {
            break;
        }
        let at = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize % file.len();
        match change[3] {
            0 => file.truncate(at),
            flipped => file[at] ^= flipped,
        }
    }
    on_runtime(survives(&file, Some(bodies)));
}

async fn survives(file: &[u8], bodies: Option<&BTreeMap<u64, Bytes>>) {
    let folder = super::folder();
    let path = folder.path().join("state.db");
    fs::write(&path, file).expect("a file in memory");
    let (mut handle, mut before) = begin(&path, NOW + SECOND);
    let (fresh, times) = deliver_one(&mut handle, &before, bodies).await;
    handle.tick(NOW + 2 * SECOND);
    assert!(handle.stop(PATIENCE).await, "it ends");
    let mut loss_is_told = false;
    while let Some(told) = before.told.recv().await {
        loss_is_told |= matches!(told, Told::Degraded(why) if why.contains("is lost"));
    }
    assert!(
        times == 1 || times == 0 && loss_is_told,
        "the new event came {times} times, and nothing was said"
    );

    look(&path);
    let (mut handle, before) = begin(&path, NOW + 3 * SECOND);
    assert!(before.last_sequence >= fresh, "a number comes twice");
    let (_, times) = deliver_one(&mut handle, &before, bodies).await;
    assert!(handle.stop(PATIENCE).await, "it ends");
    assert_eq!(times, 1, "the new event, now that the damage is gone");
}

fn begin(path: &Path, now: i64) -> (Handle, Before) {
    let sinks = [SINK.to_owned()];
    start(
        path,
        &config::State::default(),
        &sinks,
        Box::new(|_| {}),
        now,
    )
    .expect("a thread")
}

/// Records an event and takes everything out; gives the event's number, and how often it came.
async fn deliver_one(
    handle: &mut Handle,
    before: &Before,
    bodies: Option<&BTreeMap<u64, Bytes>>,
) -> (u64, usize) {
    let fresh = before.last_sequence + 1;
    assert!(fresh > (NOW / 1_000_000).unsigned_abs());
    let body = Bytes::from_static(b"fresh");
    handle.record(record(fresh, "fresh", body.clone()));
    handle.close().await;
    let mut feed = handle.feed(SINK);
    let mut times = 0;
    let all = async {
        while let Some(events) = feed.next(64).await {
            feed.settle(events.len(), Settled::Delivered).await;
            for event in events {
                if event.body == body {
                    times += usize::from(event.sequence == fresh);
                } else if let Some(bodies) = bodies {
                    let written = bodies.values().any(|body| *body == event.body);
                    assert!(written, "{} is not what was written", event.id);
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("it ends");
    (fresh, times)
}

/// As the command line does.
fn look(path: &Path) {
    let Ok(desk) = Desk::open(path, false) else {
        return;
    };
    let _ = (
        desk.incidents(100),
        desk.incident("i1"),
        desk.sinks(),
        desk.dead_letters(),
    );
    let _ = (
        desk.findings(100),
        desk.destinations(),
        desk.programs(),
        desk.is_requested("i1"),
    );
}

/// Makes a clean file with events and incidents in it; gives the bodies of the events by number.
pub(crate) async fn filled(folder: &Path) -> BTreeMap<u64, Bytes> {
    let (mut handle, before) = begin(&folder.join("state.db"), NOW);
    let mut bodies = BTreeMap::new();
    for number in 1..=12 {
        let sequence = before.last_sequence + number;
        let body = Bytes::from(vec![b'a' + (number % 26) as u8; 900 + number as usize]);
        bodies.insert(sequence, body.clone());
        handle.record(record(sequence, &format!("i{number}"), body));
    }
    handle.close().await;
    assert!(handle.stop(PATIENCE).await);
    // The last connection was closed: everything is in the one file.
    assert!(!folder.join("state.db-wal").exists());
    bodies
}

fn record(sequence: u64, incident: &str, body: Bytes) -> Record {
    let stored = StoredIncident {
        id: incident.to_owned(),
        status: "open".to_owned(),
        severity: "warning".to_owned(),
        title: "t".repeat(50),
        group_key: "g".to_owned(),
        opened: NOW,
        updated: NOW,
        resolved: None,
        executable: None,
        sha256: None,
        unit: None,
        boot_id: None,
        process: None,
        event: body.clone(),
    };
    Record {
        event: Event {
            sequence,
            id: format!("{incident}/{sequence}"),
            class: Class::Incident,
            severity: None,
            subject: incident.to_owned(),
            body,
        },
        incident: Some(stored),
        text: None,
        declares: None,
    }
}
