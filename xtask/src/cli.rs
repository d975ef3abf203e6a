//! What `cargo xtask` understands, and the help that teaches it by example.

use crate::{bench, build, demo, dist, fuzz, mutate, run, setup, test, vm};
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  cargo xtask run                           set up, build, run the daemon here (needs root)
  cargo xtask run --for 30s --output json   the daemon's own options pass through
  cargo xtask test                          everything; what was skipped, and why, is named
  cargo xtask test exec -- --nocapture      the tests whose name contains `exec`
  cargo xtask lint                          rustfmt, clippy, unit and licences: all that review insists on
  cargo xtask bench detection --write docs  recall, precision, delays and false alarms, kept in docs/
  cargo xtask bench faults --write docs     kills, power failures and a day's outage, kept in docs/
  cargo xtask vm --kernel 5.10,7.x          the oldest and the newest kernel, emulated
  cargo xtask vm --arch aarch64 --few       each probe once on every kernel of another processor
  cargo xtask bench engine --write docs     inputs a second and memory of the engine, kept in docs/
  cargo xtask mutate --only respawn::       is each constant of that file held by a test? (slow)
  cargo xtask fuzz state --time 10m         anything as a state file; all targets without a name
  cargo xtask dist --check                  package, archive and sums; tried in a clean Debian
  cargo xtask dist --target aarch64-unknown-linux-gnu   for AWS Graviton and its like
  cargo xtask build --debug                 with logging from inside the probes
  cargo xtask --toolchain distro setup      the distribution's BPF compiler instead of rustup's nightly";

/// The command line.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
#[command(about = "Set up, build, run, test, lint, measure and demonstrate detector")]
pub struct Cli {
    #[command(flatten)]
    pub setup: setup::Args,
    #[command(subcommand)]
    pub verb: Verb,
}

/// One file per verb.
#[derive(Subcommand)]
pub enum Verb {
    /// Find a BPF toolchain, or install what is missing from one
    Setup,
    /// Build the kernel side and the daemon that embeds it
    Build(build::Args),
    /// Build, then run the daemon in the foreground
    Run(run::Args),
    /// Run all tests, or those whose name contains FILTER
    Test(test::Args),
    /// Check formatting, clippy, the service's unit and licences
    Lint,
    /// Measure what the documentation states, such as `bench detection`
    Bench(bench::Args),
    /// Change every constant of the policy, one at a time, and see which test breaks
    Mutate(mutate::Args),
    /// Feed what reads foreign bytes with anything, and see whether its promises hold
    Fuzz(fuzz::Args),
    /// Make the package and the archive that are handed to people, in target/dist
    Dist(dist::Args),
    /// Stage an attack on a small web site and watch the daemon notice
    Demo(demo::Args),
    /// Load every probe on other kernels, in an emulated machine
    Vm(vm::Args),
}
