//! `vm`: boots Debian's cloud kernels in an emulated machine, loads every probe there and runs kernel tests.
//!
//! Software emulation, because a machine that is itself virtual seldom lends its hardware to another: what is slow
//! there means nothing, what fails does. Nothing is installed: emulator and kernels are unpacked into the user's cache,
//! and the machine is one initial RAM disk that is gone when it powers off.

mod image;
mod kernel;
mod machine;
mod packages;
mod report;

use crate::bpf::{self, Logging};
use crate::exec::{self, Steps};
use crate::setup::{self, Needs};
use anyhow::{Context as _, Result, bail};
use kernel::KERNELS;
pub use report::{Outcome, table};
use std::path::PathBuf;
use std::process::ExitCode;

/// Which tests run in the machine: whole names, or parts of them, as libtest takes them.
pub struct Tests {
    /// For people.
    name: &'static str,
    filters: &'static [&'static str],
    /// Longest time that one machine may take, seconds.
    seconds: u64,
}

/// What reads kernel memory, and one incident from end to end.
const ALL: Tests = Tests {
    name: "all",
    filters: &[
        "connection::",
        "cpu::",
        "exec::",
        "exit::",
        "fork::",
        "listener::",
        "mining::",
        "payload::",
        "scenario::a_burner",
        "throttle::a_cgroup",
    ],
    seconds: 2_400,
};

/// Each probe once, against an independent source.
pub const FEW: Tests = Tests {
    name: "few",
    filters: &[
        "connection::an_ipv4",
        "connection::inbound",
        "cpu::a_burner",
        "exec::an_exec_record",
        "exec::names_and_arguments",
        "exit::an_exit_record",
        "fork::an_orphan",
        "mining::an_intruder_that_speaks_moneros",
        "scenario::a_burner",
        "throttle::a_cgroup_that_floods_with_connections",
    ],
    seconds: 600,
};

#[derive(clap::Args)]
pub struct Args {
    /// Which kernels: 5.10, 6.1, 6.12, 7.x or all; several with commas
    #[arg(long, default_value = "all", value_delimiter = ',')]
    kernel: Vec<String>,
    /// Each probe once instead of all kernel tests
    #[arg(long)]
    few: bool,
    /// Also write the table into DIRECTORY/kernel-support.md
    #[arg(long, value_name = "DIRECTORY")]
    write: Option<PathBuf>,
}

/// `cargo xtask vm`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let kernels = kernel::named(&args.kernel)?;
    let tests = if args.few { FEW } else { ALL };
    let mut steps = Steps::new(5 + kernels.len());
    let toolchain = setup::run(&mut steps, setup, Needs::Test)?;
    let object = bpf::build(&mut steps, &toolchain, Logging::Off)?;
    steps.begin("compile the daemon, the stand-in and the kernel tests");
    let mut build = exec::cargo();
    build.args(["build", "--all-targets", "-p", "detector", "-p", "tests"]);
    bpf::hand_over(&mut build, &object, Logging::Off);
    steps.run(&mut build)?;
    let outcomes = boot(&mut steps, &kernels, &tests)?;
    let table = table(&outcomes);
    println!("{table}");
    if let Some(folder) = args.write {
        report::write(&folder, &outcomes)?;
    }
    let good = outcomes.iter().all(Outcome::is_good);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The oldest and the newest kernel.
pub fn ends() -> [&'static kernel::Kernel; 2] {
    [&KERNELS[0], &KERNELS[KERNELS.len() - 1]]
}

/// Boots each kernel with the programs that were built in the dev profile.
pub fn boot(
    steps: &mut Steps,
    kernels: &[&'static kernel::Kernel],
    tests: &Tests,
) -> Result<Vec<Outcome>> {
    if kernels.is_empty() {
        return Ok(Vec::new());
    }
    steps.begin("fetch emulator and kernels");
    let emulator = machine::Emulator::get(steps)?;
    let images = kernels
        .iter()
        .map(|kernel| Ok((*kernel, kernel.fetch(steps)?)))
        .collect::<Result<Vec<_>>>()?;
    steps.begin(format!("make the RAM disk ({} tests)", tests.name));
    let folder = exec::target_dir()?.join("vm");
    let disk = image::build(&folder, emulator.busybox(), tests.filters)?;
    let mut outcomes = Vec::new();
    for (kernel, image) in images {
        steps.begin(format!("boot {} ({})", kernel.name, kernel.suite));
        let log = folder.join(format!("{}.log", kernel.name));
        let said = emulator.run(&image, &disk, tests.seconds, &log)?;
        let outcome = report::read(kernel, &said)
            .with_context(|| format!("what the machine said is in {}", log.display()))?;
        steps.note(outcome.summary());
        outcomes.push(outcome);
    }
    steps.end();
    Ok(outcomes)
}

/// Why this cannot be done here, if so.
pub fn obstacle() -> Option<&'static str> {
    if std::env::consts::ARCH != "x86_64" {
        return Some("the machine is emulated for x86_64 only");
    }
    (!crate::apt::is_here())
        .then_some("emulator and kernels are Debian packages, and there is no apt")
}

/// A clear error where it cannot.
fn require_apt() -> Result<()> {
    match obstacle() {
        Some(why) => bail!("{why}"),
        None => Ok(()),
    }
}
