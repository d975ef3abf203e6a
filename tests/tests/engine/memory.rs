//! However many identities come, what the engine keeps stays the same, and a record of somebody known allocates a
//! few times at most.

use detector::{
    detect::{Config, Engine, Seed},
    input::{Input, OwnedInput},
    simulate::{Crowd, Storm},
};
use tests::heap;

/// Small tables are full sooner. The storms' thousand actors have room in both sizes.
const SMALL: usize = 1_536;
const LARGER: usize = 4_096;

/// Records until every table is full.
const FULL: u64 = 8_000;

fn introduced(storm: Storm, max_processes: usize) -> Engine {
    let config = Config {
        max_processes,
        max_executables: 512,
        ..Config::default()
    };
    let mut engine = Engine::new(config, Seed(1));
    let mut out = Vec::new();
    for input in storm.introduce() {
        engine.apply(input.borrow(), &mut out);
    }
    engine
}

/// Applies those records of a storm, and a pass after each thousand; bytes that the engine keeps more than before,
/// and allocations for a record.
fn applied(engine: &mut Engine, storm: Storm, records: std::ops::Range<u64>) -> (i64, f64) {
    let mut out = Vec::with_capacity(64);
    let (mut bytes, mut times) = (0, 0);
    let count = records.end - records.start;
    for n in records {
        let pass = (n % 1_000 == 0).then(|| Storm::pass(n));
        let record = storm.record(n);
        let before = heap::now();
        for input in pass.iter().chain([&record]) {
            engine.apply(input.borrow(), &mut out);
            out.clear();
        }
        let after = heap::now();
        bytes += after.live_bytes - before.live_bytes;
        times += after.times - before.times;
    }
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let a_record = times as f64 / count as f64;
    (bytes, a_record)
}

#[test]
fn twice_as_many_identities_take_no_more_memory() {
    for storm in Storm::ALL {
        let mut engine = introduced(storm, SMALL);
        let (kept, _) = applied(&mut engine, storm, 0..FULL);
        let (more, _) = applied(&mut engine, storm, FULL..2 * FULL);
        // Kept things differ in size by a few bytes: as many of them, a twentieth of slack.
        assert!(
            more < kept.max(100_000) / 20,
            "{}: {kept} bytes after {FULL} records, {more} more after as many again",
            storm.name()
        );
    }
}

#[test]
fn a_record_allocates_a_few_times_at_most() {
    // The process and its thread; the exec's three texts, itself, and one of them once more in the question about it.
    let most = [
        (Storm::Forks, 1.1),
        (Storm::Exits, 2.1),
        (Storm::Lives, 2.0),
        (Storm::Executables, 5.1),
        (Storm::Answered, 5.1),
        (Storm::Destinations, 1.0),
        (Storm::Listeners, 1.1),
        (Storm::ThreadEnds, 0.1),
    ];
    for (storm, most) in most {
        let mut engine = introduced(storm, LARGER);
        let _filled = applied(&mut engine, storm, 0..FULL);
        let (_, a_record) = applied(&mut engine, storm, FULL..2 * FULL);
        assert!(a_record <= most, "{}: {a_record}", storm.name());
    }
}

#[test]
fn a_pass_over_threads_that_are_known_allocates_nothing() {
    let allocations = |processes: u32| {
        let mut engine = Engine::new(Config::default(), Seed(1));
        let mut out = Vec::with_capacity(64);
        let mut last = 0;
        for scan in Crowd::new(processes).take(15) {
            let before = heap::now();
            engine.apply(Input::Scan(&scan), &mut out);
            last = heap::now().times - before.times;
        }
        last
    };
    let (few, many) = (allocations(1_000), allocations(4_000));
    assert_eq!((few, many), (0, 0));
}

/// A host as large as any, and then identities without end: what the engine says of its tables.
#[test]
fn no_table_grows_beyond_its_bound() {
    let mut engine = Engine::new(Config::default(), Seed(1));
    let mut out = Vec::new();
    for scan in Crowd::new(50_000).take(2) {
        engine.apply(Input::Scan(&scan), &mut out);
    }
    let mut turns = 0;
    for storm in Storm::ALL {
        // As many incidents as there can be are open by then: each finding is compared with all of them.
        let records = if storm == Storm::Dropped {
            3_000
        } else {
            33_000
        };
        for input in storm.introduce() {
            if !matches!(input, OwnedInput::Scan(_)) {
                engine.apply(input.borrow(), &mut out);
            }
        }
        for n in turns..turns + records {
            engine.apply(storm.record(n).borrow(), &mut out);
            out.clear();
        }
        turns += records;
        for size in engine.sizes() {
            assert!(size.holds(), "{}: {size:?}", storm.name());
        }
    }
    let full = |name: &str| {
        let sizes = engine.sizes();
        let size = sizes.iter().find(|size| size.table == name);
        size.map(|size| size.entries == size.bound)
    };
    for table in [
        "processes",
        "executables",
        "open incidents",
        "bills without a process",
    ] {
        assert_eq!(full(table), Some(true), "{table}");
    }
}
