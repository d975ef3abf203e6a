//! `test`: all tests of the workspace in one profile, so that everything compiles once, and one line that adds them up.
//!
//! Tests that load kernel programs or start the daemon find it through `DETECTOR_BIN` and `DETECTOR_STAND_IN`. Where this process may load
//! kernel programs, `DETECTOR_REQUIRE_KERNEL_TESTS=1` turns a skipped kernel test into a failed one; where the receivers of events are
//! installed, `DETECTOR_REQUIRE_RECEIVERS=1` does so for the tests of the sinks. At the end the oldest and the newest kernel are booted, see
//! `vm`; what cannot be fetched for that is named and fails nothing.

use crate::bpf::{self, Logging, PACKAGE};
use crate::exec::{self, Steps};
use crate::privilege;
use crate::setup::{self, Needs};
use crate::summary::{QuietSuccesses, Summary};
use crate::vm;
use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};

#[derive(clap::Args)]
pub struct Args {
    /// Run only tests whose name contains this
    filter: Option<String>,
    /// Options of the test binaries, such as `--nocapture`
    #[arg(last = true)]
    libtest: Vec<String>,
}

/// `cargo xtask test`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    // A filter names tests of this machine's kernel; without root, the distribution's packages are not to be had.
    let emulated = match vm::obstacle() {
        None if args.filter.is_none() && privilege::is_root() => vm::Arch::own(),
        _ => None,
    };
    let mut steps = Steps::new(5 + emulated.map_or(0, |_| 2 + vm::ends().len()));
    let toolchain = setup::run(&mut steps, setup, Needs::Test)?;
    let object = bpf::build(&mut steps, &toolchain, Logging::Off)?;

    steps.begin("compile the daemon, the stand-in and the tests");
    // Binaries and tests in one go: cargo then settles on one set of features for what they share.
    let mut build = exec::cargo();
    build.args(["build", "--all-targets"]).args(HOST);
    bpf::hand_over(&mut build, &object, Logging::Off);
    steps.run(&mut build)?;

    steps.begin("run the tests");
    let folder = exec::target_dir()?.join("debug");
    let mut tests = exec::cargo();
    tests.args(["test", "--no-fail-fast"]).args(HOST);
    tests
        .env("DETECTOR_BIN", folder.join("detector"))
        .env("DETECTOR_STAND_IN", folder.join("stand-in"));
    bpf::hand_over(&mut tests, &object, Logging::Off);
    match privilege::missing() {
        None => tests.env("DETECTOR_REQUIRE_KERNEL_TESTS", "1"),
        Some(missing) => {
            steps.note(format!("kernel tests will be skipped: {missing}"));
            tests.env_remove("DETECTOR_REQUIRE_KERNEL_TESTS")
        }
    };
    match setup::has_receivers() {
        true => tests.env("DETECTOR_REQUIRE_RECEIVERS", "1"),
        false => tests.env_remove("DETECTOR_REQUIRE_RECEIVERS"),
    };
    let mut summary = Summary::default();
    let mut succeeded = run(&mut steps, &mut tests, &args, &mut summary)?;

    // Apart: the features it shares with the others would have it compiled a second time.
    steps.begin("run the tests of xtask itself");
    let mut own = exec::cargo();
    own.args(["test", "--no-fail-fast", "--package", "xtask"]);
    succeeded &= run(&mut steps, &mut own, &args, &mut summary)?;
    let boot = |arch| vm::boot(&mut steps, arch, &vm::own()?, &vm::ends(), &vm::FEW);
    let outcomes = emulated.map_or_else(|| Ok(Vec::new()), boot);
    let outcomes = outcomes.unwrap_or_else(|error| {
        steps.note(format!("other kernels were not tried: {error:#}"));
        Vec::new()
    });
    steps.end();
    if !outcomes.is_empty() {
        println!("{}", vm::table(&outcomes));
        succeeded &= outcomes.iter().all(vm::Outcome::is_good);
    }

    println!("{summary}");
    Ok(if succeeded && !summary.has_failures() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Every package that is built for the host, except this program.
const HOST: [&str; 5] = ["--workspace", "--exclude", PACKAGE, "--exclude", "xtask"];

/// Runs `cargo test`, shows its output line by line and takes it in. Returns whether it succeeded.
fn run(
    steps: &mut Steps,
    command: &mut Command,
    args: &Args,
    summary: &mut Summary,
) -> Result<bool> {
    steps.close_line();
    command.args(&args.filter).arg("--").args(&args.libtest);
    let wants_output = args.libtest.iter().any(|arg| arg == "--show-output");
    if !wants_output {
        command.arg("--show-output");
    }
    // One pipe for both streams keeps their lines in order.
    let (output, writer) = std::io::pipe().context("creating a pipe")?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", exec::shown(command)))?;
    // The command keeps its ends of the pipe, which would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut quiet = QuietSuccesses::default();
    let mut terminal = std::io::stdout();
    for bytes in BufReader::new(output).split(b'\n') {
        let bytes = bytes.context("reading the tests' output")?;
        let line = String::from_utf8_lossy(&bytes);
        summary.line(&line);
        if quiet.shows(&line) || wants_output {
            // Unchanged, if it is invalid UTF-8. A closed terminal is no reason to stop the tests.
            let _ = terminal.write_all(&[bytes.as_slice(), b"\n"].concat());
        }
    }
    Ok(child.wait()?.success())
}
