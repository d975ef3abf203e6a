//! `lint`: formatting, lock files, clippy for both sides, the service's unit and licences. Warnings are errors.

use crate::bpf::{self, Logging, PACKAGE};
use crate::exec::{self, Steps};
use crate::setup::{self, Needs, Toolchain};
use crate::toolchain::Way;
use crate::{facts, tools, unit};
use anyhow::{Context as _, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Fetching the advisory database takes seconds or, behind some firewalls, for ever.
const ADVISORIES_LIMIT: Duration = Duration::from_secs(60);

/// `cargo xtask lint`.
pub fn verb(setup: setup::Args) -> Result<ExitCode> {
    let mut steps = Steps::new(9);
    let toolchain = setup::run(&mut steps, setup, Needs::Build)?;

    steps.begin("check the formatting");
    steps
        .run(exec::cargo().args(["fmt", "--all", "--", "--check"]))
        .context("`cargo fmt --all` repairs it")?;
    // Outside the workspace. Clippy would need libFuzzer, and there is nothing but a line a target.
    steps.run(exec::cargo().args([
        "fmt",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--",
        "--check",
    ]))?;

    steps.begin("check that the lock files know every dependency");
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let tree = [
            "tree",
            "--locked",
            "--depth",
            "0",
            "--manifest-path",
            manifest,
        ];
        steps
            .run(exec::cargo().args(tree))
            .with_context(|| format!("`cargo metadata --manifest-path {manifest}` repairs it"))?;
    }

    // The daemon embeds the object: without it there is nothing for clippy to look at.
    let object = bpf::build(&mut steps, &toolchain, Logging::Off)?;

    steps.begin("clippy for the host's side");
    let mut clippy = exec::cargo();
    clippy.args([
        "clippy",
        "--workspace",
        "--exclude",
        PACKAGE,
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    bpf::hand_over(&mut clippy, &object, Logging::Off);
    steps.run(&mut clippy)?;

    steps.begin("clippy for the kernel side");
    kernel_side(&mut steps, &toolchain)?;

    steps.begin("check the service's unit");
    unit::check(&mut steps)?;

    steps.begin("check licences, bans and sources");
    let deny = tools::cargo_deny(&mut steps)?;
    steps.run(exec::command(&deny).args(["check", "licenses", "bans", "sources"]))?;

    steps.begin("check security advisories");
    advisories(&mut steps, &deny)?;
    steps.end();
    Ok(ExitCode::SUCCESS)
}

/// For the BPF target where the toolchain has a clippy for it; else with the host's clippy for the host's target.
fn kernel_side(steps: &mut Steps, toolchain: &Toolchain) -> Result<()> {
    let has_clippy =
        || exec::query(facts::nightly_command("cargo").args(["clippy", "--version"])).is_some();
    let mut clippy = if toolchain.way == Way::Nightly && has_clippy() {
        bpf::cargo(toolchain, "clippy")?
    } else {
        steps.note("this BPF toolchain has no clippy: using the host's, for the host's target");
        let mut clippy = exec::cargo();
        clippy.args(["clippy", "--package", PACKAGE]);
        clippy
    };
    steps.run(clippy.args(["--", "-D", "warnings"]))
}

/// Advisories come from a database in the network. What cannot be checked is said, and fails nothing.
fn advisories(steps: &mut Steps, deny: &Path) -> Result<()> {
    steps.close_line();
    let mut fetch = Command::new(deny);
    fetch.current_dir(exec::workspace()).args(["fetch", "db"]);
    let fetched = exec::status_within(&mut fetch, ADVISORIES_LIMIT)?;
    if !fetched.is_some_and(|status| status.success()) {
        if !has_database() {
            steps.note("NOT CHECKED: security advisories. Their database could not be fetched");
            return Ok(());
        }
        steps.note("the advisory database could not be fetched: checking against the last one");
    }
    steps.run(exec::command(deny).args(["check", "--disable-fetch", "advisories"]))
}

/// Whether cargo-deny fetched its database before; what it leaves when it fails is empty.
fn has_database() -> bool {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let databases = home.and_then(|home| home.join("advisory-dbs").read_dir().ok());
    let mut databases = databases.into_iter().flatten().flatten();
    databases.any(|database| database.path().join("crates").is_dir())
}
