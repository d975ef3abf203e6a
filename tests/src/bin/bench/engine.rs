//! `bench engine`: how many inputs a second the engine takes on one core, and what it keeps.
//!
//! An input is what the engine is told: a record, or the entry of one thread in the pass of a second. Inputs are
//! made before the clock runs; the clock is the thread's own CPU time, so that neighbours on the machine do not
//! count. What the engine says is dropped while it runs, as whoever acts on it would.

mod case;
mod report;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use detector::{detect::Engine, input::OwnedInput};
use tests::heap::{self, cpu_time};

use case::{Case, cases};
pub use report::cpu;

/// Inputs made at a time: what is made is read once, as from a ring.
const BATCH: u64 = 16_384;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds of CPU time that each case is measured for
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where `engine-cost.md` is kept; nowhere when left out
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

/// What was measured of a case.
#[derive(Debug)]
struct Measured {
    case: Case,
    inputs: u64,
    passes: u64,
    spent: Duration,
    /// Incidents open at the end.
    incidents: usize,
    /// On the heap: at the end, and the most that was. Bytes.
    kept: i64,
    peak: i64,
}

/// Measures, prints, and keeps.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let wanted = |case: &Case| {
        let only = args.only.as_deref();
        only.is_none_or(|only| case.name.contains(only))
    };
    let measured: Vec<Measured> = cases()
        .into_iter()
        .filter(wanted)
        .map(|case| {
            eprintln!("{}", case.name);
            measure(case, Duration::from_secs_f64(args.seconds))
        })
        .collect();
    let report = report::markdown(args, &measured);
    print!("{report}");
    if let Some(folder) = &args.write {
        let path = folder.join("engine-cost.md");
        fs::write(&path, &report).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What counts as inputs of one: itself, and each thread of a pass.
fn inputs(input: &OwnedInput) -> u64 {
    match input {
        OwnedInput::Scan(scan) => 1 + scan.tasks.len() as u64,
        _ => 1,
    }
}

fn measure(case: Case, at_least: Duration) -> Measured {
    let mut stream = (case.stream)();
    let mut warm_up = case.warm_up;
    let mut batch = Vec::new();
    let mut out = Vec::new();
    let before = heap::now();
    let mut engine = Engine::new(case.config.clone(), detector::detect::Seed(1));
    let mut engine_bytes = heap::now().live_bytes - before.live_bytes;
    let mut peak = engine_bytes;
    let (mut counted, mut passes, mut spent) = (0, 0, Duration::ZERO);
    while spent < at_least {
        let mut size = 0;
        while size < BATCH {
            let input = stream.next().expect("endless");
            size += inputs(&input);
            batch.push(input);
        }
        let (made, scans) = (heap::now(), scans(&batch));
        heap::begin_peak();
        let began = cpu_time();
        for input in &batch {
            engine.apply(input.borrow(), &mut out);
            out.clear();
        }
        let took = cpu_time() - began;
        let after = heap::now();
        peak = peak.max(engine_bytes + after.peak_bytes - made.live_bytes);
        engine_bytes += after.live_bytes - made.live_bytes;
        batch.clear();
        if warm_up > 0 {
            warm_up = warm_up.saturating_sub(size);
            continue;
        }
        counted += size;
        passes += scans;
        spent += took;
    }
    Measured {
        inputs: counted,
        passes,
        spent,
        incidents: engine.open_incidents(),
        kept: engine_bytes,
        peak,
        case,
    }
}

fn scans(batch: &[OwnedInput]) -> u64 {
    let scans = batch
        .iter()
        .filter(|input| matches!(input, OwnedInput::Scan(_)));
    scans.count() as u64
}
