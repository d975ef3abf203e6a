//! `bench faults`: what the delivery guarantee holds against, in full length.
//!
//! The daemon's own state and worker, a receiver that survives; see `tests/src/faults/`. Exit code 1: a promise was
//! broken.

use std::{fmt::Write as _, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use tests::faults::{
    kill, memory,
    outage::{self, burst, day},
    power,
};

use crate::markdown::table;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// kill -9 at so many random points
    #[arg(long, default_value_t = 10_000)]
    rounds: u64,
    /// Power failures at so many random moments; half as many again with an outbox that is too small
    #[arg(long, default_value_t = 10_000)]
    failures: u64,
    /// Simulated hours without a receiver, at ten events a second
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// Events in one second
    #[arg(long, default_value_t = 10_000)]
    burst: u64,
    /// Events a second that the receiver may get after the outage and in the burst
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// What points and moments are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where state files are made; in memory when left out
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Where `faults.md` is kept; nowhere when left out
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

/// Rows of a closing table, and whether everything held.
struct Closing {
    rows: Vec<Vec<String>>,
    holds: bool,
}

impl Closing {
    fn row(&mut self, what: &str, count: impl ToString) {
        self.rows.push(vec![what.to_owned(), count.to_string()]);
    }

    /// A count that must be nothing.
    fn nothing(&mut self, what: &str, count: impl ToString + PartialEq<u64>) {
        self.holds &= count == 0;
        self.row(&format!("**{what}**"), count);
    }

    /// Prints it under its title, and adds it to the report.
    fn print(self, title: &str, report: &mut String) -> bool {
        let text = format!("\n## {title}\n\n{}", table(&["", "count"], &self.rows));
        println!("{text}");
        *report += &text;
        self.holds
    }
}

fn closing() -> Closing {
    Closing {
        rows: Vec::new(),
        holds: true,
    }
}

/// Plays everything and prints what came of it.
pub fn execute(args: &Args) -> Result<ExitCode> {
    let mut holds = true;
    let mut report = head(args);
    if args.rounds > 0 {
        holds &= kills(args, &mut report)?;
    }
    if args.failures > 0 {
        let title = "Power failures";
        holds &= failures(args, title, args.failures, power::ROOMY, &mut report)?;
        let title = "Power failures, outbox of 96 KiB";
        holds &= failures(args, title, args.failures / 2, power::CROWDED, &mut report)?;
    }
    if args.hours > 0 {
        let plan = plan(args, args.hours * 36_000, 10);
        let title = format!("{} h without a receiver, 10 events a second", args.hours);
        holds &= outage(&day(&plan)?, &title, &plan, &mut report);
    }
    if args.burst > 0 {
        let plan = plan(args, args.burst, args.burst);
        let title = "Burst of one second";
        holds &= outage(&burst(&plan)?, title, &plan, &mut report);
    }
    if let Some(folder) = &args.write {
        let path = folder.join("faults.md");
        fs::write(&path, report).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(match holds {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What is measured, and how to do it again.
fn head(args: &Args) -> String {
    let mut out = String::from("# Faults, and what arrived\n\n");
    let written = writeln!(
        out,
        "Written by `cargo xtask bench faults --rounds {} --failures {} --hours {} --burst {} --rate {} --seed {}`, detector {}:\n\
         the daemon's own state file and worker, without a kernel, before a receiver on loopback that survives. Rows in bold must\n\
         be nothing: what was produced is delivered, collapsed into a later state of its incident, or declared as given up, and\n\
         incidents are told in order. The clock of the outage is simulated, the writes are real.",
        args.rounds,
        args.failures,
        args.hours,
        args.burst,
        args.rate,
        args.seed,
        env!("CARGO_PKG_VERSION"),
    );
    written.expect("text takes text");
    out
}

fn folder(args: &Args) -> PathBuf {
    args.folder.clone().unwrap_or_else(memory)
}

fn kills(args: &Args, report: &mut String) -> Result<bool> {
    let own = std::env::current_exe()?;
    let beside = own.parent().context("a program lies in a folder")?;
    let outcome = kill::play(&kill::Plan {
        folder: folder(args),
        rounds: args.rounds,
        seed: args.seed,
        program: beside.join("victim"),
    })?;
    let mut closing = closing();
    closing.row("rounds", outcome.rounds);
    closing.row("of these before the first event was stored", outcome.early);
    closing.row("events produced", outcome.produced);
    closing.row("declared durable", outcome.durable);
    closing.row("arrived", outcome.arrived);
    closing.row("arrived, after dedup by (source, id)", outcome.distinct);
    closing.row(
        "duplicates before dedup",
        outcome.arrived - outcome.distinct,
    );
    closing.nothing("duplicates after dedup", outcome.renumbered);
    closing.nothing("out of order within an incident", outcome.disordered);
    closing.nothing(
        "incidents whose state is not what was told",
        outcome.torn.len() as u64,
    );
    closing.nothing(
        "complaints about the state file",
        outcome.trouble.len() as u64,
    );
    closing.nothing("durable and lost", outcome.lost.len() as u64);
    Ok(closing.print("kill −9", report))
}

fn failures(
    args: &Args,
    title: &str,
    failures: u64,
    outbox_bytes: u64,
    report: &mut String,
) -> Result<bool> {
    let outcome = power::play(&power::Plan {
        folder: folder(args),
        failures,
        seed: args.seed,
        outbox_bytes,
    })?;
    let mut closing = closing();
    closing.row("failures, those during recovery included", outcome.failures);
    closing.row("within so many writes", outcome.writes);
    closing.row("and syncs", outcome.syncs);
    closing.row("durable events, summed over failures", outcome.durable);
    closing.row(
        "of these collapsed or given up, and counted",
        outcome.given_up,
    );
    closing.row("found undelivered and delivered", outcome.found);
    closing.nothing("promises broken", outcome.broken.len() as u64);
    for broken in outcome.broken.iter().take(10) {
        eprintln!("{broken}");
    }
    Ok(closing.print(title, report))
}

fn plan(args: &Args, events: u64, per_s: u64) -> outage::Plan {
    outage::Plan {
        folder: folder(args),
        events,
        per_s,
        outbox_bytes: 64 << 20,
        rate_per_s: args.rate,
    }
}

fn outage(
    outcome: &outage::Outcome,
    title: &str,
    plan: &outage::Plan,
    report: &mut String,
) -> bool {
    let arrivals = &outcome.arrivals;
    let mut closing = closing();
    closing.row("events produced", outcome.produced);
    closing.row("most that waited at a time", outcome.deepest);
    closing.row("delivered", arrivals.distinct());
    closing.row("updates that collapsed into a later one", outcome.collapsed);
    closing.row("given up and declared", outcome.declared);
    closing.row(
        "dropped before they were stored, and counted",
        outcome.dropped,
    );
    closing.nothing("unaccounted for", outcome.unaccounted().unsigned_abs());
    closing.nothing("out of order within an incident", arrivals.disordered);
    let seconds = |time: std::time::Duration| format!("{:.1}", time.as_secs_f64());
    closing.row("making and storing them took, s", seconds(outcome.making));
    closing.row("delivering them took, s", seconds(outcome.took));
    closing.row("events a second that were allowed", plan.rate_per_s);
    // Half a second of it: how long a request may lie between worker and receiver.
    let is_over = outcome.above_rate > f64::from(plan.rate_per_s) / 2.0;
    closing.nothing("faster than allowed", u64::from(is_over));
    closing.print(title, report)
}
