//! `vm`: boots Debian's cloud kernels in an emulated machine, loads every probe there and runs kernel tests.
//!
//! Software emulation, because a machine that is itself virtual seldom lends its hardware to another: what is slow
//! there means nothing, what fails does. Nothing is installed: emulator and kernels are unpacked into the user's cache,
//! and the machine is one initial RAM disk that is gone when it powers off.

mod arch;
mod image;
mod kernel;
mod machine;
mod packages;
mod report;
mod userland;

use crate::bpf::{self, Logging};
use crate::cross::{self, Compiler};
use crate::exec::{self, Steps};
use crate::setup::{self, Needs};
use anyhow::{Context as _, Result, bail};
pub use arch::Arch;
use image::Built;
use kernel::KERNELS;
pub use report::{Outcome, table};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use userland::Userland;

/// Which tests run in the machine: whole names, or parts of them, as libtest takes them.
pub struct Tests {
    /// For people.
    name: &'static str,
    filters: &'static [&'static str],
    /// Longest time that one machine may take, seconds; on x86-64.
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
    /// For which machines, this one without; several with commas
    #[arg(long, value_delimiter = ',')]
    arch: Vec<Arch>,
    /// Each probe once instead of all kernel tests
    #[arg(long)]
    few: bool,
    /// Also write the table into DIRECTORY/kernel-support.md; rows of other kernels there stay
    #[arg(long, value_name = "DIRECTORY")]
    write: Option<PathBuf>,
}

/// `cargo xtask vm`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let kernels = kernel::named(&args.kernel)?;
    let tests = if args.few { FEW } else { ALL };
    let archs = match args.arch.as_slice() {
        [] => vec![Arch::own().context("this machine is of no kind that is emulated")?],
        archs => archs.to_vec(),
    };
    // What is missing for any of them is said before anything is built.
    let compilers = archs.iter().map(|arch| compiler(*arch));
    let compilers = compilers.collect::<Result<Vec<_>>>()?;
    let mut steps = Steps::new(2 + archs.len() * (3 + kernels.len()));
    let toolchain = setup::run(&mut steps, setup, Needs::Test)?;
    let object = bpf::build(&mut steps, &toolchain, Logging::Off)?;
    let mut outcomes = Vec::new();
    for (arch, compiler) in archs.iter().zip(&compilers) {
        steps.begin(format!(
            "compile the daemon, the stand-in and the kernel tests ({})",
            arch.name()
        ));
        let built = build(&mut steps, compiler.as_ref(), &object)?;
        outcomes.extend(boot(&mut steps, *arch, &built, &kernels, &tests)?);
    }
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

/// What builds for another machine; this one needs none.
fn compiler(arch: Arch) -> Result<Option<Compiler>> {
    let target = format!("{}-unknown-linux-gnu", arch.name());
    (!arch.is_own())
        .then(|| cross::compiler(&target))
        .transpose()
}

/// Builds, in the dev profile, what the machine runs.
fn build(steps: &mut Steps, compiler: Option<&Compiler>, object: &Path) -> Result<Built> {
    let Some(compiler) = compiler else {
        let mut build = exec::cargo();
        // As `test` builds it, so that neither builds for the other again.
        build.args(["build", "--all-targets", "-p", "detector", "-p", "tests"]);
        bpf::hand_over(&mut build, object, Logging::Off);
        steps.run(&mut build)?;
        return own();
    };
    let mut build = compiler.build();
    build.args(["-p", "detector", "-p", "tests", "--test", "kernel"]);
    build.args(["detector", "stand-in", "actor"].map(|name| format!("--bin={name}")));
    steps.run(&mut build)?;
    Ok(Built {
        folder: compiler.built("debug")?,
        strip: compiler.strip(),
    })
}

/// What was built in the dev profile for this machine.
pub fn own() -> Result<Built> {
    Ok(Built {
        folder: exec::target_dir()?.join("debug"),
        strip: "strip".to_owned(),
    })
}

/// The oldest and the newest kernel.
pub fn ends() -> [&'static kernel::Kernel; 2] {
    [&KERNELS[0], &KERNELS[KERNELS.len() - 1]]
}

/// Boots each kernel of a machine with the programs that were built for it.
pub fn boot(
    steps: &mut Steps,
    arch: Arch,
    built: &Built,
    kernels: &[&'static kernel::Kernel],
    tests: &Tests,
) -> Result<Vec<Outcome>> {
    require_apt()?;
    steps.begin(format!("fetch emulator and kernels ({})", arch.debian()));
    let emulator = machine::Emulator::get(steps, arch)?;
    let userland = Userland::get(steps, arch)?;
    let images = kernels
        .iter()
        .map(|kernel| Ok((*kernel, kernel.fetch(steps, arch)?)))
        .collect::<Result<Vec<_>>>()?;
    steps.begin(format!("make the RAM disk ({} tests)", tests.name));
    let folder = exec::target_dir()?.join("vm").join(arch.debian());
    let disk = image::build(&folder, built, &userland, emulator.busybox(), tests.filters)?;
    let mut outcomes = Vec::new();
    for (kernel, image) in images {
        steps.begin(format!(
            "boot {} ({}, {})",
            kernel.name,
            kernel.suite,
            arch.debian()
        ));
        let log = folder.join(format!("{}.log", kernel.name));
        let seconds = tests.seconds * arch.patience();
        let said = emulator.run(&image, &disk, seconds, &log)?;
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
