//! A page behind a thousand events that woke nobody, at a receiver that may get ten a second.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use detector::{config, deliver::Delivery, incident::Severity, state};
use tests::{
    faults::{NOW, PATIENCE, SINK, Story, memory, receiver},
    recorder::{Act, Recorder, loopback},
};
use tokio::time;

const WAITING: u64 = 1_000;
const RATE_PER_S: u32 = 10;

/// Subjects in the order in which they came.
async fn subjects(mode: &str) -> (usize, Vec<String>) {
    let folder = tempfile::tempdir_in(memory()).expect("a folder");
    let stored: Arc<AtomicU64> = Arc::default();
    let count = Arc::clone(&stored);
    let show = Box::new(move |_: Bytes| {
        count.fetch_add(1, Relaxed);
    });
    let path = folder.path().join("state.db");
    let sinks = [SINK.to_owned()];
    let config = config::State::default();
    let (mut handle, _before) = state::start(&path, &config, &sinks, show, NOW).expect("a thread");
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let came = Arc::clone(&log);
    let recorder = Recorder::forgetful(loopback(), move |_, request| {
        let subjects = request
            .events()
            .iter()
            .map(|event| event["subject"].to_string());
        came.lock().expect("no holder panics").extend(subjects);
        Act::Status(202)
    });
    let sinks = receiver(&recorder.url("/"), mode, RATE_PER_S);
    let delivery = Delivery::start(&sinks, |name| handle.feed(name)).expect("a sink that starts");
    let mut story = Story::new(1, 1, 4);
    story.severity = Severity::Warning;
    for _ in 0..WAITING {
        handle.record(story.event(NOW));
    }
    let deadline = Instant::now() + PATIENCE;
    while stored.load(Relaxed) < WAITING {
        assert!(Instant::now() < deadline, "they are stored");
        time::sleep(Duration::from_millis(5)).await;
    }
    story.severity = Severity::Critical;
    let before = log.lock().expect("no holder panics").len();
    let page = story.event(NOW);
    let subject = format!("{:?}", page.event.subject);
    handle.record(page);
    let has = |subject: &String| log.lock().expect("no holder panics").contains(subject);
    while !has(&subject) {
        assert!(Instant::now() < deadline, "the page comes");
        time::sleep(Duration::from_millis(5)).await;
    }
    drop(delivery);
    assert!(handle.stop(PATIENCE).await, "it ends");
    let came = log.lock().expect("no holder panics");
    let at = came.iter().position(|came| *came == subject);
    (before, came[..at.expect("it came")].to_vec())
}

#[tokio::test]
async fn a_page_comes_before_a_thousand_events_that_woke_nobody() {
    for mode in ["structured", "batch"] {
        let (before, came) = subjects(mode).await;
        eprintln!("{mode}: {before} had come, {} before the page", came.len());
        // What was being sent, and what came between counting and recording.
        let most = before + 2 * RATE_PER_S as usize;
        assert!(came.len() <= most, "{} came before it", came.len());
    }
}
