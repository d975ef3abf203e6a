//! kill -9 of a real process that records events, at any point: what was said to be durable arrives.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::*;

/// Says which file the child writes.
const FILE: &str = "DETECTOR_TEST_STATE_FILE";
const CHILD: &str = "state::tests::kill::writes_until_it_is_killed";
/// Kills in one run; `DETECTOR_TEST_KILLS` asks for more.
const KILLS: u32 = 200;

/// The child: records events as fast as they are stored, and says the number of each once it is.
#[test]
#[ignore = "started by the test below, to be killed"]
fn writes_until_it_is_killed() {
    let path = std::env::var_os(FILE).expect("started by the test below");
    let stored = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&stored);
    let show = Box::new(move |text: Bytes| {
        count.fetch_add(1, Relaxed);
        let mut stdout = std::io::stdout().lock();
        let line = [b"durable ", &text[..], b"\n"].concat();
        stdout
            .write_all(&line)
            .and_then(|()| stdout.flush())
            .expect("the parent reads");
    });
    let sinks = ["s".to_owned()];
    let (mut handle, before) =
        start(Path::new(&path), &config(), &sinks, show, NOW).expect("a thread");
    assert_eq!(before.trouble, Vec::<String>::new());
    for sequence in before.last_sequence + 1.. {
        // As many as the queue takes without dropping any.
        while sequence - before.last_sequence > stored.load(Relaxed) + 200 {
            std::thread::yield_now();
        }
        handle.record(Record {
            event: event(
                sequence,
                Class::Incident,
                &format!("i{}", sequence % 7),
                700,
            ),
            incident: None,
            text: Some(sequence.to_string().into()),
            declares: None,
        });
        if sequence.is_multiple_of(16) {
            handle.tick(NOW);
        }
    }
}

#[tokio::test]
async fn what_was_durable_before_kill_9_arrives_afterwards_and_only_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let kills = std::env::var("DETECTOR_TEST_KILLS").ok();
    let kills = kills.map_or(KILLS, |kills| kills.parse().expect("a number"));
    let mut durable = BTreeSet::new();
    let mut delivered = BTreeSet::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..kills {
        let mut child = in_a_process(CHILD, &[], &[(FILE, &path)])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this binary runs");
        // From "before the first event" to "in the middle of a checkpoint": after so many lines, at once.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let lines = random % 40;
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut seen = 0;
        let take = |line: std::io::Result<String>, durable: &mut BTreeSet<u64>| {
            let number = line.ok()?.strip_prefix("durable ")?.parse().ok()?;
            Some(durable.insert(number))
        };
        while seen < lines
            && let Some(line) = stdout.next()
        {
            seen += u64::from(take(line, &mut durable).is_some());
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        // What it said before it died is in the pipe.
        for line in stdout {
            take(line, &mut durable);
        }
        // Every tenth time a part is delivered in between.
        if round % 10 == 9 {
            let (handle, before) =
                start(&path, &config(), &["s".to_owned()], Box::new(|_| {}), NOW)
                    .expect("a thread");
            assert_eq!(before.trouble, Vec::<String>::new());
            let mut feed = handle.feed("s");
            for _ in 0..3 {
                let events = feed.next(50).await.unwrap_or_default();
                let numbers: Vec<u64> = events.iter().map(|event| event.sequence).collect();
                for number in &numbers {
                    assert!(
                        delivered.insert(*number),
                        "{number} came twice although it was settled"
                    );
                }
                feed.settle(numbers.len(), Settled::Delivered).await;
            }
            assert!(handle.stop(PATIENCE).await);
        }
    }
    let mut bench = Bench::with(folder, &["s"], NOW, &config());
    for event in drain(&mut bench, "s").await {
        let number = event.sequence;
        assert!(
            delivered.insert(number),
            "{number} came twice although it was settled"
        );
    }
    let lost: Vec<_> = durable.difference(&delivered).collect();
    assert_eq!(
        lost,
        Vec::<&u64>::new(),
        "of {} durable events",
        durable.len()
    );
    assert!(
        durable.len() > kills as usize,
        "{} events in {kills} kills",
        durable.len()
    );
    eprintln!(
        "{kills} kills, {} durable events, {} delivered",
        durable.len(),
        delivered.len()
    );
}
