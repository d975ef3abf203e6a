//! `bench`: builds the benches in the release profile, then becomes the one that was asked for.
//!
//! Which there are, and their options, the program itself says: `cargo xtask bench --help`. One file each in
//! `tests/src/bin/bench/`.

use crate::bpf::{self, Logging};
use crate::build;
use crate::exec::{self, Steps};
use crate::setup::{self, Needs};
use anyhow::{Context as _, Result};
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Which bench, and its options, such as `detection --runs 10`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    bench: Vec<String>,
}

/// `cargo xtask bench`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let mut steps = Steps::new(build::STEPS);
    let folder = build::daemon(
        &mut steps,
        setup,
        Needs::Build,
        Logging::Off,
        &["detector", "tests"],
    )?;
    steps.end();
    let bench = folder.join("bench");
    let mut command = exec::command(&bench);
    command.args(args.bench);
    command
        .current_dir(exec::workspace())
        .env("DETECTOR_EMPTY_OBJECT", bpf::empty())
        .env("DETECTOR_BIN", folder.join("detector"))
        .env("DETECTOR_STAND_IN", folder.join("stand-in"));
    Err(command.exec()).with_context(|| format!("cannot run {}", bench.display()))
}
