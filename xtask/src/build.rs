//! `build`: the kernel side, then the daemon that embeds it.

use crate::bpf::{self, Logging};
use crate::exec::{self, Steps};
use crate::setup::{self, Needs};
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    /// Optimised, as shipped (the default)
    #[arg(long, conflicts_with = "debug")]
    release: bool,
    /// Quick to build, and the probes log
    #[arg(long)]
    debug: bool,
}

/// `cargo xtask build`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let mut steps = Steps::new(STEPS);
    let logging = if args.debug && !args.release {
        Logging::On
    } else {
        Logging::Off
    };
    let detector =
        daemon(&mut steps, setup, Needs::Build, logging, &["detector"])?.join("detector");
    steps.note(format!("{}", detector.display()));
    steps.end();
    Ok(ExitCode::SUCCESS)
}

/// How many steps [`daemon`] takes.
pub const STEPS: usize = 3;

/// Sets up and builds `packages`, in the release profile unless the probes are to log. Returns the binaries' folder.
pub fn daemon(
    steps: &mut Steps,
    setup: setup::Args,
    needs: Needs,
    logging: Logging,
    packages: &[&str],
) -> Result<PathBuf> {
    let toolchain = setup::run(steps, setup, needs)?;
    let object = bpf::build(steps, &toolchain, logging)?;
    let profile = if logging == Logging::On {
        "debug"
    } else {
        "release"
    };
    steps.begin(format!("build {} ({profile})", packages.join(" and ")));
    let mut cargo = exec::cargo();
    cargo.args(["build", "--bins"]);
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    if profile == "release" {
        cargo.arg("--release");
    } else {
        cargo.args(["--features", "detector/bpf-log"]);
    }
    bpf::hand_over(&mut cargo, &object, logging);
    steps.run(&mut cargo)?;
    Ok(exec::target_dir()?.join(profile))
}
