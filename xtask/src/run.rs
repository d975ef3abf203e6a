//! `run`: builds, then becomes the daemon, so that signals and the exit code are its own.

use crate::bpf::Logging;
use crate::build;
use crate::exec::{self, Steps};
use crate::privilege;
use crate::setup::{self, Needs};
use anyhow::{Context as _, Result};
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

/// Names the folder of the daemon's state, as systemd does.
const STATE: &str = "STATE_DIRECTORY";
/// Built, but not allowed to run here.
const CANNOT_RUN: u8 = 2;

#[derive(clap::Args)]
pub struct Args {
    /// Options of `detector run`, such as `--for 30s`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    daemon: Vec<String>,
}

/// `cargo xtask run`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let mut steps = Steps::new(build::STEPS);
    let detector = build::daemon(&mut steps, setup, Needs::Build, Logging::Off, &["detector"])?
        .join("detector");
    steps.end();
    // A trial leaves nothing on the machine, and does not touch the state of an installed detector.
    let state = exec::workspace().join("target/state");
    let mut command = exec::command(&detector);
    command.arg("run").args(args.daemon).env(STATE, &state);
    if let Some(missing) = privilege::missing() {
        eprintln!("detector is built, but cannot run as this user: {missing}. Run it with:");
        eprintln!(
            "  sudo {STATE}={} {}",
            state.display(),
            exec::shown(&command)
        );
        return Ok(ExitCode::from(CANNOT_RUN));
    }
    Err(command.exec()).with_context(|| format!("cannot run {}", detector.display()))
}
