//! A set of probes of a test's own, and what they saw.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use detector::{
    enrich::{Answer, Enricher},
    input::{Exec, Flow, Payload, ProcessKey, Scan},
    kernel::{Facts, Loaded, Plan, Sizes, Status, plan::Decision},
    output,
    source::{
        decode::Record,
        ring,
        scan::{Clock, Scanner},
    },
};
use detector_common::{counter::Counter, event};
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    fd::OwnedFd,
};

/// The sizes the daemon uses by default.
pub const DEFAULT_SIZES: Sizes = Sizes {
    process_ring_bytes: 2 << 20,
    network_ring_bytes: 1 << 20,
    open_sockets: 16_384,
    listening_ports: 1_024,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Probes in the kernel and everything they said so far.
pub struct Watch {
    loaded: Loaded,
    scanner: Scanner,
    /// In the order of each ring; process records before network records of one drain.
    pub records: Vec<Record>,
    /// The last pass.
    pub scan: Scan,
    _turn: Turn,
}

/// Tests that count events of the whole machine need the others to be quiet.
static OTHERS: RwLock<()> = RwLock::new(());

/// How a test shares the machine with the other tests.
pub enum Turn {
    /// With others.
    Shared { _held: RwLockReadGuard<'static, ()> },
    /// Alone.
    Alone {
        _held: RwLockWriteGuard<'static, ()>,
    },
    /// As another watch of the same test.
    Same,
}

impl Turn {
    /// Waits for tests that must be alone.
    pub fn shared() -> Self {
        Turn::Shared {
            _held: OTHERS.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Waits for all other tests.
    pub fn alone() -> Self {
        Turn::Alone {
            _held: OTHERS.write().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// Loads probes of the test's own, or says why the test is skipped and leaves it.
macro_rules! watch {
    () => {
        watch!($crate::watch::DEFAULT_SIZES, $crate::watch::Turn::shared())
    };
    ($sizes:expr, $turn:expr) => {
        watch!($sizes, $turn, |_, _| {})
    };
    ($sizes:expr, $turn:expr, $change:expr) => {{
        match $crate::watch::Watch::start($sizes, $turn, $change) {
            Ok(watch) => watch,
            Err(reason) => return $crate::watch::skip(&reason),
        }
    }};
}
pub(crate) use watch;

/// Says that the calling test cannot run here; fails where it could.
pub fn skip(reason: &str) {
    tests::skip::skipped(reason);
    assert!(
        std::env::var_os("DETECTOR_REQUIRE_KERNEL_TESTS").is_none(),
        "this machine can run kernel tests, yet: {reason}"
    );
}

/// Why no probe can be loaded here, if so.
pub fn obstacle() -> Option<String> {
    let plan = Plan::new(&Facts::read());
    plan.probes
        .iter()
        .find_map(|(probe, decision)| match decision {
            Decision::Skip(why) => Some(format!("{}: {why}", probe.name())),
            Decision::Load => None,
        })
}

impl Watch {
    /// Loads and attaches every probe, after `change` made the facts and the plan differ from this kernel's.
    pub fn start(
        sizes: Sizes,
        turn: Turn,
        change: impl FnOnce(&mut Facts, &mut Plan),
    ) -> Result<Self, String> {
        if let Some(why) = obstacle() {
            return Err(why);
        }
        let mut facts = Facts::read();
        let mut plan = Plan::new(&facts);
        change(&mut facts, &mut plan);
        let loaded = Loaded::new(&facts, &plan, sizes).map_err(|error| error.to_string())?;
        let missing: Vec<_> = Status::missing(&loaded.status).collect();
        if !missing.is_empty() {
            return Err(format!("{missing:?}"));
        }
        let mut watch = Watch {
            loaded,
            scanner: Scanner::default(),
            records: Vec::new(),
            scan: Scan::default(),
            _turn: turn,
        };
        watch.pass();
        Ok(watch)
    }

    /// Takes what is in the rings.
    pub fn drain(&mut self) {
        for ring in [&mut self.loaded.process_ring, &mut self.loaded.network_ring] {
            while ring::drain(ring, |record| self.records.push(record)).records == ring::BATCH {}
        }
    }

    /// Throws away what the ring of connections holds, as a daemon over its budget does; says how much.
    pub fn discard_connections(&mut self) -> usize {
        ring::discard(&mut self.loaded.network_ring)
    }

    /// One pass of the task iterator.
    pub fn pass(&mut self) {
        self.scanner
            .pass(&mut self.loaded, Clock::now(), &[], &mut self.scan)
            .expect("the pass succeeds");
    }

    /// What enrichment tells of the processes of the last pass: the answers of one snapshot.
    pub fn snapshot(&self) -> Vec<Answer> {
        let config = detector::config::Enrich {
            queue: 1 << 16,
            ..Default::default()
        };
        let (handle, mut answers) = Enricher::spawn(&config, None).expect("a thread can be had");
        let asked = handle.snapshot(self.scan.tasks.clone());
        asked.expect("the queue has room for one question");
        let mut told = Vec::new();
        while !matches!(told.last(), Some(Answer::SnapshotEnd { .. })) {
            told.push(answers.blocking_recv().expect("the thread lives"));
        }
        told
    }

    /// Looks into the packets of a process.
    pub fn look(&mut self, process: ProcessKey, packets: u32, older_flows: Vec<Flow>) {
        let wanted = output::Watch {
            process,
            packets_per_connection: packets,
            older_flows,
        };
        self.loaded
            .watch(&wanted)
            .expect("packets can be looked into");
    }

    /// Looks no longer.
    pub fn look_away(&mut self, process: ProcessKey) {
        self.loaded.unwatch(process).expect("the maps are there");
    }

    /// Whether packets are looked into.
    pub fn is_watching(&self) -> bool {
        self.loaded.is_watching()
    }

    /// The next record is to wake whoever waits.
    pub fn doze(&mut self) {
        self.loaded.doze().expect("the map can be written");
    }

    /// Who waits for both rings.
    pub fn sleeper(&self) -> Sleeper {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor is left");
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        for (ring, number) in [
            (&self.loaded.process_ring, 0),
            (&self.loaded.network_ring, 1),
        ] {
            epoll::add(&epoll, ring, epoll::EventData::new_u64(number), edges)
                .expect("a ring can be waited for");
        }
        Sleeper(epoll)
    }

    /// A loss counter.
    pub fn lost(&self, counter: Counter) -> u64 {
        self.loaded.counter(counter).expect("the map is readable")
    }

    /// Runs a probe missed because it was running already.
    pub fn missed_runs(&mut self) -> Option<u64> {
        self.loaded.missed_runs()
    }

    /// Drains until `found` finds something.
    pub fn until<T>(&mut self, what: &str, mut found: impl FnMut(&[Record]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.drain();
            if let Some(found) = found(&self.records) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "waited {PATIENCE:?} for {what}; lost {:?}, missed {:?}",
                Counter::ALL
                    .iter()
                    .map(|c| self.lost(*c))
                    .collect::<Vec<_>>(),
                self.missed_runs(),
            );
            // Records come without a wake-up: look again after the drain interval at the latest.
            let mut fds = [PollFd::new(&self.loaded.process_ring, PollFlags::IN)];
            let interval = Timespec {
                tv_sec: 0,
                tv_nsec: 20_000_000,
            };
            poll(&mut fds, Some(&interval)).expect("poll works on a ring");
        }
    }

    /// The first exec of a process that `wanted` accepts.
    pub fn exec(&mut self, tgid: u32, wanted: impl Fn(&Exec) -> bool) -> Exec {
        self.until("an exec record", |records| {
            execs(records)
                .find(|exec| exec.process.tgid == tgid && wanted(exec))
                .cloned()
        })
    }

    /// The bills of a process, once all its `threads` have one.
    pub fn bills(&mut self, tgid: u32, threads: usize) -> Vec<event::ThreadEnd> {
        self.until("the bills of a process", |records| {
            let bills = bills(records, |bill| bill.tgid == tgid);
            (bills.len() == threads).then_some(bills)
        })
    }
}

/// Fails unless as many were seen as there were, but for those of which the kernel says that it did not run the probe: it
/// runs none inside itself, so what happens in an interrupt of the program's own run is missed, and counted as that.
pub fn assert_all_seen(seen: u64, made: u64, missed: u64) {
    assert!(
        seen <= made && seen + missed >= made,
        "{seen} of {made} seen, {missed} missed"
    );
}

/// Waits for the rings, and is told only when the kernel side wakes it.
pub struct Sleeper(OwnedFd);

impl Sleeper {
    /// Whether it was woken since the last call, or is within this time.
    pub fn is_woken(&self, within: Duration) -> bool {
        let mut events = Vec::with_capacity(2);
        let within = Timespec::try_from(within).expect("seconds");
        epoll::wait(
            &self.0,
            rustix::buffer::spare_capacity(&mut events),
            Some(&within),
        )
        .expect("it can be waited for")
            > 0
    }
}

/// The exec records among others.
pub fn execs(records: &[Record]) -> impl Iterator<Item = &Exec> {
    records.iter().filter_map(|record| match record {
        Record::Exec(exec) => Some(&**exec),
        _ => None,
    })
}

/// The last bill of each thread among other records: the final one where it has come.
pub fn bills(
    records: &[Record],
    wanted: impl Fn(&event::ThreadEnd) -> bool,
) -> Vec<event::ThreadEnd> {
    let mut last = HashMap::new();
    for record in records {
        let bill = match record {
            Record::ThreadEnd(bill) => *bill,
            Record::Exit(exit) => exit.thread,
            _ => continue,
        };
        let known = last
            .entry((bill.pid, bill.start_boottime_ns))
            .or_insert(bill);
        if known.is_final == 0 {
            *known = bill;
        }
    }
    last.into_values().filter(wanted).collect()
}

/// The fork records among others.
pub fn forks(records: &[Record]) -> impl Iterator<Item = event::Fork> {
    records.iter().filter_map(|record| match record {
        Record::Fork(fork) => Some(*fork),
        _ => None,
    })
}

/// The packets of one process among others.
pub fn payloads(records: &[Record], tgid: u32) -> Vec<Payload> {
    records
        .iter()
        .filter_map(|record| match record {
            Record::Payload(payload) if payload.process.tgid == tgid => Some((**payload).clone()),
            _ => None,
        })
        .collect()
}

/// The connection records of one process among others.
pub fn connections(records: &[Record], tgid: u32) -> Vec<event::Connection> {
    records
        .iter()
        .filter_map(|record| match record {
            Record::Connection(change) if change.process.tgid == tgid => Some(*change),
            _ => None,
        })
        .collect()
}
