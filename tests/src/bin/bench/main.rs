//! `cargo xtask bench`: figures that the documentation states, measured again. One file per bench.
//!
//! Each writes what it measured to standard output as a table, and to `docs/` where it is kept.

mod alertmanager;
mod cost;
mod delivery;
mod detection;
mod engine;
mod faults;
mod flood;
mod markdown;
mod plot;
mod statistics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static HEAP: tests::heap::Counting = tests::heap::Counting;

/// Measures detector.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct CommandLine {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Recall, precision, delays and false alarms on made-up traces and simulated host-days
    Detection(detection::Args),
    /// Inputs a second and memory of the engine, on one core
    Engine(engine::Args),
    /// CPU time and memory of the daemon and its probes, against the budget and against peers
    Cost(cost::Args),
    /// From the exec of a new program to its incident at the receiver, with the real daemon
    Delivery(delivery::Args),
    /// Kills, power failures, a day without a receiver, a burst: produced = delivered + declared lost
    Faults(faults::Args),
    /// The daemon with its unit's memory and CPU, under floods that are to hide an attack
    Flood(flood::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    match CommandLine::parse().bench {
        Bench::Detection(args) => detection::execute(&args),
        Bench::Engine(args) => engine::execute(&args),
        Bench::Cost(args) => cost::execute(&args),
        Bench::Delivery(args) => delivery::execute(&args),
        Bench::Faults(args) => faults::execute(&args),
        Bench::Flood(args) => flood::execute(&args),
    }
}
