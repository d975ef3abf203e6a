//! A receiver that misbehaves in every way there is, before the outbox as it runs in the daemon: state file, worker,
//! HTTP. Produced = delivered + refused + collapsed + declared, in order within an incident; and neither a healthy
//! receiver beside it nor who makes the events waits for it.

mod bad;
mod tls;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use detector::{
    config::{self, Config},
    deliver::{Counters, Delivery},
    state::{self, Desk, Told},
};
use tests::{
    faults::{Arrivals, NOW, PATIENCE, SECOND, Story, memory},
    recorder::{Act, Recorder, loopback},
};
use tokio::{sync::mpsc, time};

use self::{
    bad::{Bad, QUICK, SLOW, Trouble},
    tls::Certificate,
};

/// Events of one case: some 750 KiB.
const EVENTS: u64 = 576;
/// Events made at a time, as many as the incidents that go on side by side.
const PASS: u64 = 32;
const STEPS: u32 = 6;
/// Holds a third of the events.
const CROWDED: u64 = 256 << 10;
const ROOMY: u64 = 64 << 20;

struct Case {
    name: &'static str,
    trouble: Trouble,
    /// The detector is started again halfway.
    restarts: bool,
}

const fn case(name: &'static str, trouble: Trouble) -> Case {
    Case {
        name,
        trouble,
        restarts: false,
    }
}

const CASES: [Case; 19] = [
    case("away", Trouble::Away),
    case("flapping", Trouble::Flaps(2)),
    case("500", Trouble::Always(Act::Status(500))),
    case("503", Trouble::Always(Act::Status(503))),
    case("redirect", Trouble::Always(Act::Status(302))),
    case("429 with Retry-After", Trouble::Always(Act::Busy)),
    case("reset after the request", Trouble::Always(Act::Reset)),
    case("closed after the request", Trouble::Always(Act::Hangup)),
    case("silent", Trouble::Always(Act::Silence)),
    case("an answer by the byte, too slow", Trouble::Always(SLOW)),
    case("an answer by the byte", Trouble::InTurn(&[QUICK])),
    case("half a body", Trouble::InTurn(&[Act::HalfABody])),
    case(
        "something else each time",
        Trouble::InTurn(&[
            Act::Status(500),
            Act::Status(202),
            Act::Reset,
            QUICK,
            Act::Hangup,
            Act::HalfABody,
            Act::Status(503),
        ]),
    ),
    case("400", Trouble::Refuses),
    Case {
        name: "500, and the detector starts again meanwhile",
        trouble: Trouble::Always(Act::Status(500)),
        restarts: true,
    },
    Case {
        name: "reset, and the detector starts again meanwhile",
        trouble: Trouble::Always(Act::Reset),
        restarts: true,
    },
    case(
        "certificate of a stranger",
        Trouble::Shows(Certificate::Foreign),
    ),
    case(
        "certificate for another name",
        Trouble::Shows(Certificate::Misnamed),
    ),
    case("expired certificate", Trouble::Shows(Certificate::Expired)),
];

/// The loop of the daemon, as far as the state is concerned.
struct Producer {
    story: Story,
    now: i64,
    made: u64,
    declared: u64,
    deepest: u64,
    disk: u64,
    restarted: bool,
}

/// One run of the detector.
struct Run {
    handle: state::Handle,
    told: mpsc::Receiver<Told>,
    delivery: Delivery,
}

impl Run {
    fn begin(
        path: &Path,
        config: &config::State,
        sinks: &BTreeMap<String, config::Sink>,
        stored: &Arc<AtomicU64>,
        now: i64,
    ) -> Run {
        let count = Arc::clone(stored);
        let show = Box::new(move |_: Bytes| {
            count.fetch_add(1, Relaxed);
        });
        let names: Vec<String> = sinks.keys().cloned().collect();
        let (handle, before) = state::start(path, config, &names, show, now).expect("a thread");
        assert_eq!(before.trouble, Vec::<String>::new());
        let delivery = Delivery::start(sinks, |name| handle.feed(name)).expect("sinks that start");
        Run {
            told: before.told,
            handle,
            delivery,
        }
    }

    fn counters(&self, of: &str) -> Counters {
        let mut all = self.delivery.counters();
        all.find(|(name, _)| *name == of).expect("configured").1
    }

    /// Ends it as SIGTERM does, with what waits left for the next one.
    async fn end(mut self) {
        self.handle.close().await;
        self.delivery.stop(Duration::from_millis(50)).await;
        assert!(self.handle.stop(PATIENCE).await, "the state does not end");
    }
}

impl Producer {
    /// Makes a pass of events.
    fn pass(&mut self, run: &mut Run) {
        for _ in 0..PASS {
            run.handle.record(self.story.event(self.now));
        }
        self.made += PASS;
        self.tick(run);
    }

    fn tick(&mut self, run: &mut Run) {
        self.now += SECOND;
        run.handle.tick(self.now);
        while let Ok(told) = run.told.try_recv() {
            match told {
                Told::Gap(gap) => {
                    run.handle
                        .record(self.story.declaration(gap.total, self.now));
                    self.declared = gap.total;
                    self.made += 1;
                }
                Told::Accepted(_) => {}
                other => panic!("{other:?}"),
            }
        }
        self.deepest = self.deepest.max(run.handle.health().depth);
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        time::sleep(Duration::from_millis(2)).await;
    }
}

/// Bytes of the files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let sizes = entries.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len()));
    sizes.sum()
}

/// Events given up, as the file says.
fn given_up(path: &Path) -> u64 {
    let file = rusqlite::Connection::open(path).expect("the state file");
    let total = "SELECT coalesce(max(value), 0) FROM meta WHERE key = 'gap_total'";
    let total: i64 = file
        .query_row(total, [], |row| row.get(0))
        .expect("a number");
    total.unsigned_abs()
}

async fn play(case: &Case, mode: &str) {
    let folder = tempfile::tempdir_in(memory()).expect("a folder");
    let path = folder.path().join("state.db");
    let mut bad = Bad::start(case.trouble);
    let arrivals: Arc<Mutex<Arrivals>> = Arc::default();
    let log = Arc::clone(&arrivals);
    let good = Recorder::forgetful(loopback(), move |_, request| {
        let mut arrivals = log.lock().expect("no holder panics");
        request
            .events()
            .iter()
            .for_each(|event| arrivals.take(event));
        Act::Status(202)
    });
    let text = format!(
        "{}[sink.good]\ntype = \"http\"\nmode = \"batch\"\nurl = \"{}\"\nrate_per_s = 100000\n",
        bad.section(mode, folder.path()),
        good.url("/"),
    );
    let sinks = Config::parse(Path::new("test.toml"), &text)
        .expect("every key is known")
        .sink;
    let config = config::State {
        // Nothing is given up that a receiver is just taking: it would be counted twice.
        outbox_max_bytes: if bad.takes() { ROOMY } else { CROWDED },
        ..config::State::default()
    };
    let stored: Arc<AtomicU64> = Arc::default();
    let mut run = Run::begin(&path, &config, &sinks, &stored, NOW);
    let mut producer = Producer {
        story: Story::new(1, PASS as usize, STEPS),
        now: NOW,
        made: 0,
        declared: 0,
        deepest: 0,
        disk: 0,
        restarted: false,
    };
    let good_has = || arrivals.lock().expect("no holder panics").distinct();

    while producer.made < EVENTS {
        producer.pass(&mut run);
        // Stored, shown and with the healthy one, whatever the other does.
        let made = producer.made;
        until("the healthy receiver", || good_has() >= made).await;
        assert!(stored.load(Relaxed) >= made);
        producer.disk = producer.disk.max(size(folder.path()));
        bad.flap().await;
        if case.restarts && !producer.restarted && made > EVENTS / 2 {
            producer.restarted = true;
            run.end().await;
            run = Run::begin(&path, &config, &sinks, &stored, producer.now);
        }
    }
    if matches!(bad.trouble, Trouble::Flaps(_)) {
        until("attempts", || run.counters("bad").retried > 2).await;
    }
    while producer.declared < given_up(&path) || stored.load(Relaxed) < producer.made {
        producer.tick(&mut run);
        time::sleep(Duration::from_millis(2)).await;
    }
    if !bad.takes() {
        // What was given up while it was on its way would be counted twice: not the one after the next.
        let before = run.counters("bad").retried;
        until("attempts", || run.counters("bad").retried > before + 1).await;
        assert_eq!(bad.log().taken.len(), 0);
    }
    bad.mend().await;
    let deadline = Instant::now() + PATIENCE;
    while run.handle.health().depth > 0 || stored.load(Relaxed) < producer.made {
        assert!(
            Instant::now() < deadline,
            "{:?} still wait",
            run.handle.health()
        );
        producer.tick(&mut run);
        time::sleep(Duration::from_millis(2)).await;
    }
    let collapsed = run.handle.health().collapsed;
    let dropped = run.handle.losses()[0].1;
    run.end().await;

    let log = bad.log();
    let Producer {
        story,
        declared,
        deepest,
        disk,
        ..
    } = producer;
    let produced = story.last() - 1;
    eprintln!(
        "{}, {mode}: {produced} produced = {} delivered + {} refused + {collapsed} collapsed + {declared} declared; {} requests, {} events twice; at most {deepest} waited, {} KiB on disk",
        case.name,
        log.taken.len(),
        log.refused.len(),
        log.requests,
        log.read.repetitions(),
        disk >> 10,
    );
    assert_eq!(dropped, 0);
    let accounted = (log.taken.len() + log.refused.len()) as u64 + collapsed + declared;
    assert_eq!(produced, accounted);
    assert_eq!((log.read.renumbered, log.read.disordered), (0, 0));
    let arrivals = arrivals.lock().expect("no holder panics");
    assert_eq!(
        (
            arrivals.distinct(),
            arrivals.renumbered,
            arrivals.disordered
        ),
        (produced, 0, 0)
    );
    let desk = Desk::open(&path, false).expect("the state file");
    let dead = desk.dead_letters().expect("readable");
    let dead: BTreeSet<u64> = dead.into_iter().map(|letter| letter.sequence).collect();
    assert_eq!(dead, log.refused);
    assert_eq!(!dead.is_empty(), matches!(case.trouble, Trouble::Refuses));
    if !bad.takes() {
        assert!(collapsed + declared > 0, "the outbox was too small for all");
        // An event has more than 1,200 bytes. On disk: as much again for indices and incidents, and the log.
        assert!(deepest < CROWDED / 1_200 + PASS, "{deepest} waited");
        assert!(disk < 8 << 20, "{disk} bytes on disk");
    }
}

#[test]
fn whatever_a_receiver_does_the_account_is_exact_and_nobody_waits_for_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    for case in &CASES {
        for mode in ["structured", "batch"] {
            runtime.block_on(play(case, mode));
        }
    }
}
