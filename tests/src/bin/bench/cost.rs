//! `bench cost`: what the daemon takes from the host it guards.
//!
//! The real daemon, release build, under one load after the other; programs of the same hooks that do nothing run
//! beside it, and what they cost is subtracted from what the probes cost. Then each load at full speed, with the daemon and
//! without, in turns. What peers are installed is measured by the same rule.

mod load;
mod meter;
mod peer;
mod ratio;
mod report;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tests::daemon::Daemon;

use load::{Load, Running};
use meter::{Meter, Spent};

/// Longest wait for the daemon's first look around.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Measurements of each load; medians are told
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Pairs with and without the daemon, of each load at full speed
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Only loads whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where `cost.md` is kept; nowhere when left out
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

/// One load, under which a monitor ran.
#[derive(Clone, Debug)]
pub struct Row {
    load: Load,
    /// What it was measured to cost, one a round.
    spent: Vec<Spent>,
}

/// One load at full speed: how much got done a second, with and without the daemon, in pairs.
#[derive(Clone, Debug)]
pub struct Pair {
    load: Load,
    without: Vec<f64>,
    with: Vec<f64>,
}

impl Pair {
    /// What each pair lost to the daemon, percent, the least first.
    fn lost(&self) -> Vec<f64> {
        let pairs = self.without.iter().zip(&self.with);
        let mut lost: Vec<f64> = pairs.map(|(a, b)| (1.0 - b / a) * 100.0).collect();
        lost.sort_by(f64::total_cmp);
        lost
    }
}

/// A peer, and what it costs under the loads it has a name for.
#[derive(Clone, Debug)]
pub struct Peer {
    name: &'static str,
    /// What came of it, or why nothing did.
    rows: Result<Vec<Row>, String>,
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Measured {
    /// Kernel memory of the daemon's maps, bytes.
    map_bytes: u64,
    rows: Vec<Row>,
    pairs: Vec<Pair>,
    peers: Vec<Peer>,
}

/// Measures, prints, and keeps.
pub fn execute(args: &Args) -> Result<ExitCode> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "`bench cost` loads programs into the kernel: it needs root"
    );
    let wanted = |load: &Load| {
        let only = args.only.as_deref();
        only.is_none_or(|only| load.name().contains(only))
    };
    let (map_bytes, rows) = watched(args, &wanted)?;
    let measured = Measured {
        map_bytes,
        rows,
        pairs: pairs(args, &wanted)?,
        peers: peers(args, &wanted)?,
    };
    let page = report::markdown(args, &measured);
    print!("{page}");
    if let Some(folder) = &args.write {
        let path = folder.join("cost.md");
        fs::write(&path, &page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A daemon as it is shipped, that has looked around.
fn daemon() -> Result<Daemon> {
    let program = std::env::var_os("DETECTOR_BIN");
    let program = program.context("DETECTOR_BIN names no program: run `cargo xtask bench cost`")?;
    let daemon = Daemon::start(Daemon::command(&PathBuf::from(program)))?;
    daemon.wait_ready(std::time::Instant::now() + PATIENCE)?;
    Ok(daemon)
}

/// The daemon under each load, the loads in turns.
fn watched(args: &Args, wanted: &dyn Fn(&Load) -> bool) -> Result<(u64, Vec<Row>)> {
    let before = meter::ids()?;
    let mut daemon = daemon()?;
    let mut meter = Meter::new(daemon.pid(), &before)?;
    let map_bytes = meter.map_bytes()?;
    let empty = meter::Empty::attach()?;
    let loads = Load::PACED.into_iter().filter(wanted);
    let mut rows: Vec<Row> = loads
        .map(|load| Row {
            load,
            spent: Vec::new(),
        })
        .collect();
    for round in 1..=args.rounds {
        for row in &mut rows {
            eprintln!("round {round} of {}: {}", args.rounds, row.load.name());
            row.spent
                .push(measure(args, row.load, &mut meter, Some(&empty))?);
        }
    }
    ensure!(daemon.stop()?.success(), "the daemon fails at its end");
    Ok((map_bytes, rows))
}

/// One load, for as long as was asked for, after it has settled.
fn measure(
    args: &Args,
    load: Load,
    meter: &mut Meter,
    empty: Option<&meter::Empty>,
) -> Result<Spent> {
    let running = Running::start(load)?;
    // What a load begins with (2,000 threads) is not what it costs, and a host that turns busy has things to say.
    std::thread::sleep(Duration::from_secs(2));
    let from = meter.read(empty)?;
    let done = running.done();
    std::thread::sleep(Duration::from_secs(args.seconds));
    let mut spent = meter.read(empty)?.since(&from);
    spent.done = running.done() - done;
    running.stop();
    Ok(spent)
}

/// Each load at full speed, without and with the daemon, in turns.
fn pairs(args: &Args, wanted: &dyn Fn(&Load) -> bool) -> Result<Vec<Pair>> {
    let loads = Load::FULL_SPEED.into_iter().filter(wanted);
    let mut pairs: Vec<Pair> = loads
        .map(|load| Pair {
            load,
            without: Vec::new(),
            with: Vec::new(),
        })
        .collect();
    for number in 0..args.pairs {
        eprintln!("pair {} of {}", number + 1, args.pairs);
        // Who is first changes, so that what drifts hits both.
        for with in [number % 2 == 0, number % 2 != 0] {
            let mut daemon = with.then(daemon).transpose()?;
            for pair in &mut pairs {
                let speed = speed(pair.load)?;
                match with {
                    true => pair.with.push(speed),
                    false => pair.without.push(speed),
                }
            }
            if let Some(daemon) = &mut daemon {
                ensure!(daemon.stop()?.success(), "the daemon fails at its end");
            }
        }
    }
    Ok(pairs)
}

/// What gets done a second.
fn speed(load: Load) -> Result<f64> {
    const SETTLE: Duration = Duration::from_millis(300);
    const MEASURE: Duration = Duration::from_secs(2);
    let running = Running::start(load)?;
    std::thread::sleep(SETTLE);
    let (from, begun) = (running.done(), std::time::Instant::now());
    std::thread::sleep(MEASURE);
    #[expect(clippy::cast_precision_loss, reason = "a few million")]
    let done = (running.done() - from) as f64;
    let speed = done / begun.elapsed().as_secs_f64();
    running.stop();
    Ok(speed)
}

/// Each peer that is there, under the loads that say most.
fn peers(args: &Args, wanted: &dyn Fn(&Load) -> bool) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for known in peer::PEERS {
        eprintln!("peer {}", known.name);
        let before = meter::ids()?;
        let rows = match known.start() {
            Err(why) => Err(why.to_string()),
            Ok(running) => {
                let mut meter = Meter::new(running.pid(), &before)?;
                let mut rows = Vec::new();
                for load in Load::COMPARED.into_iter().filter(wanted) {
                    let spent = measure(args, load, &mut meter, None)?;
                    rows.push(Row {
                        load,
                        spent: vec![spent],
                    });
                }
                match running.has_exited() {
                    true => Err("it ended by itself".to_owned()),
                    false => Ok(rows),
                }
            }
        };
        peers.push(Peer {
            name: known.name,
            rows,
        });
    }
    Ok(peers)
}
