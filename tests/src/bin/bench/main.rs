//! `cargo xtask bench`: figures that the documentation states, measured again. One file per bench.
//!
//! Each writes what it measured to standard output as a table, and to `docs/` where it is kept.

mod detection;
mod markdown;
mod plot;
mod statistics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

fn main() -> anyhow::Result<ExitCode> {
    match CommandLine::parse().bench {
        Bench::Detection(args) => detection::execute(&args),
    }
}
