//! `demo`: builds everything in the release profile, then becomes the demo of the `tests` package.

use crate::bpf::Logging;
use crate::build;
use crate::exec::{self, Steps};
use crate::privilege;
use crate::setup::{self, Needs};
use anyhow::{Context as _, Result};
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

/// Built, but not allowed to run here.
const CANNOT_RUN: u8 = 2;

#[derive(clap::Args)]
pub struct Args {
    /// Options of the demo itself
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    demo: Vec<String>,
}

/// `cargo xtask demo`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let mut steps = Steps::new(build::STEPS);
    let folder = build::daemon(
        &mut steps,
        setup,
        Needs::Demo,
        Logging::Off,
        &["detector", "tests"],
    )?;
    steps.end();
    let demo = folder.join("demo");
    let mut command = exec::command(&demo);
    command.args(args.demo);
    command
        .env("DETECTOR_BIN", folder.join("detector"))
        .env("DETECTOR_STAND_IN", folder.join("stand-in"));
    if let Some(missing) = privilege::missing() {
        eprintln!("the demo is built, but cannot run as this user: {missing}. Run it with:");
        eprintln!("  sudo --preserve-env cargo xtask demo");
        return Ok(ExitCode::from(CANNOT_RUN));
    }
    Err(command.exec()).with_context(|| format!("cannot run {}", demo.display()))
}
