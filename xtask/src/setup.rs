//! `setup`: completes the BPF toolchain and what a verb needs besides, and says before it installs something what and why.
//!
//! Facts (`facts`) → plan (`toolchain`, pure) → apply (here). System packages are installed by root only; anybody else is told
//! the command. Nothing is ever removed, no Rust toolchain is installed, and a complete machine is left untouched, offline.

use crate::exec::{self, Steps};
use crate::services::KeepStopped;
use crate::toolchain::{self, Choice, Facts, Plan, Step, Way};
use crate::{apt, chores, facts, privilege, tools};
use anyhow::{Result, anyhow, bail};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// rustup's server answers within seconds or, behind some firewalls, never.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, clap::Args)]
pub struct Args {
    /// Which compiler builds the kernel side
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        env = "DETECTOR_BPF_TOOLCHAIN"
    )]
    toolchain: Choice,
}

/// What a verb needs besides the toolchain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Build,
    /// The web server of the scenarios and the receivers of events if they can be had: without, tests are skipped, by name.
    Test,
    /// The web server; there is no demo without.
    Demo,
}

/// A complete BPF toolchain.
pub struct Toolchain {
    pub way: Way,
    /// LLVM's major version.
    pub llvm: u32,
    /// The linker's own path.
    pub linker: PathBuf,
}

/// `cargo xtask setup`.
pub fn verb(args: Args) -> Result<ExitCode> {
    let mut steps = Steps::new(1);
    let toolchain = run(&mut steps, args, Needs::Build)?;
    steps.note(format!("linker: {}", toolchain.linker.display()));
    steps.end();
    Ok(ExitCode::SUCCESS)
}

/// The first step of every verb.
pub fn run(steps: &mut Steps, args: Args, needs: Needs) -> Result<Toolchain> {
    steps.begin("set up");
    if needs != Needs::Build {
        web_server(steps, needs)?;
    }
    if needs == Needs::Test {
        chores::install(steps)?;
        receivers(steps)?;
    }
    let toolchain = bpf_toolchain(steps, args.toolchain)?;
    steps.describe(&format!("({}, LLVM {})", toolchain.way, toolchain.llvm));
    Ok(toolchain)
}

fn bpf_toolchain(steps: &mut Steps, choice: Choice) -> Result<Toolchain> {
    let mut refused = None;
    // A look, an installation, a look; and once more when rustup refuses and another plan is needed.
    for _ in 0..3 {
        let mut facts = facts::gather();
        if let Some(nightly) = &mut facts.nightly {
            nightly.refused = refused.clone();
        }
        let plan = match toolchain::plan(&facts, choice) {
            Ok(plan) if plan.steps.is_empty() => plan,
            _ => look_closer(steps, &mut facts, choice)?,
        };
        if let (Some(linker), []) = (plan.linker, plan.steps.as_slice()) {
            return Ok(Toolchain {
                way: plan.way,
                llvm: plan.llvm,
                linker,
            });
        }
        let tried_rust_src = plan.steps.contains(&Step::AddRustSrc);
        if let Some(reason) = apply(steps, plan.steps)? {
            refused = Some(reason);
        } else if tried_rust_src {
            // Counts only if the next look does not find it: then somebody deleted it behind rustup's back.
            refused = Some("rustup says that it is there, but its files are not".into());
        }
    }
    bail!(
        "the BPF toolchain is still incomplete after everything was installed; this is a defect of `cargo xtask setup`"
    )
}

/// Something is missing: asks apt, which takes its time, and plans again.
fn look_closer(steps: &mut Steps, facts: &mut Facts, choice: Choice) -> Result<Plan> {
    if apt::is_here() && privilege::is_root() {
        apt::refresh_lists(steps)?;
    }
    facts.apt = facts::gather_apt();
    toolchain::plan(facts, choice).map_err(|refusal| anyhow!(refusal))
}

/// Carries out a plan. `Some(reason)` when rustup would not add rust-src, which asks for another plan.
fn apply(steps: &mut Steps, plan: Vec<Step>) -> Result<Option<String>> {
    steps.note("the BPF toolchain is incomplete; to be installed:");
    for step in &plan {
        steps.note(format!("- {}", explain(step)));
    }
    let packages = plan.iter().filter_map(|step| match step {
        Step::Install { packages, .. } => Some(packages),
        Step::AddRustSrc | Step::BuildLinker { .. } => None,
    });
    let packages = packages.flatten().cloned().collect::<Vec<_>>();
    // First rustup, which anybody may use: when it refuses, another plan needs other packages.
    if plan.contains(&Step::AddRustSrc)
        && let Some(refused) = add_rust_src(steps)?
    {
        steps.note(format!("rustup could not add rust-src: {refused}"));
        return Ok(Some(refused));
    }
    if !packages.is_empty() && !privilege::is_root() {
        bail!(
            "only root can install packages. Run this, then try again:\n  {}",
            apt::by_hand(&packages)
        );
    }
    if !packages.is_empty() {
        apt::install(steps, &packages)?;
    }
    for step in plan {
        if let Step::BuildLinker { llvm } = step {
            tools::build_linker(steps, llvm, &facts::llvm_prefix(llvm))?;
        }
    }
    Ok(None)
}

fn explain(step: &Step) -> String {
    match step {
        Step::Install { packages, why } => format!("{} (apt): {why}", packages.join(" ")),
        Step::AddRustSrc => {
            "rust-src (rustup): nightly builds `core` for the BPF target from its source".into()
        }
        Step::BuildLinker { llvm } => format!(
            "bpf-linker {} for LLVM {llvm} (built from source, some minutes, once): links the kernel side's bitcode",
            tools::linker_version()
        ),
    }
}

fn add_rust_src(steps: &mut Steps) -> Result<Option<String>> {
    steps.close_line();
    let mut add = exec::command("rustup");
    add.args(["component", "add", "rust-src", "--toolchain", "nightly"]);
    Ok(match exec::status_within(&mut add, RUSTUP_LIMIT)? {
        Some(status) if status.success() => None,
        Some(status) => Some(format!("`{}` failed ({status})", exec::shown(&add))),
        None => Some(format!("no answer within {} s", RUSTUP_LIMIT.as_secs())),
    })
}

/// nginx and php-fpm as programs, and for tests rpm, which makes real databases in temporary folders. The demo and the scenarios run them as their own children, never as the system's services.
fn web_server(steps: &mut Steps, needs: Needs) -> Result<()> {
    let mut packages = Vec::new();
    if !has_program("nginx") {
        packages.push("nginx".to_owned());
    }
    if !has_program("php-fpm") {
        packages.push("php-fpm".to_owned());
    }
    if needs == Needs::Test && !has_program("rpmbuild") {
        packages.push("rpm".to_owned());
    }
    if packages.is_empty() {
        return Ok(());
    }
    let wanted = packages.join(" and ");
    if apt::is_here() && privilege::is_root() {
        steps.note(format!("- {wanted} (apt): what the demo and the scenarios attack and the tests compare with; services stay stopped"));
        let stopped = KeepStopped::begin(steps);
        let installed = apt::install(steps, &packages);
        stopped.end(steps)?;
        return installed;
    }
    let how = if apt::is_here() {
        format!(
            "only root can install packages:\n  {}",
            apt::by_hand(&packages)
        )
    } else {
        "install it with this system's package manager".into()
    };
    match needs {
        Needs::Demo => bail!("{wanted} is missing; {how}"),
        Needs::Build | Needs::Test => steps.note(format!(
            "without {wanted}, the tests that need it are skipped; {how}"
        )),
    }
    Ok(())
}

/// The real receivers that the tests of the sinks start as their own children, and the packages they come in.
const RECEIVERS: [(&str, &[&str]); 3] = [
    ("prometheus-alertmanager", &["prometheus-alertmanager"]),
    ("rsyslogd", &["rsyslog", "rsyslog-gnutls"]),
    ("nats-server", &["nats-server"]),
];

/// Whether every receiver is there: then a test that skips itself for want of one is a failure.
pub fn has_receivers() -> bool {
    RECEIVERS.iter().all(|(program, _)| has_program(program))
}

/// Installs what can be had of them. A distribution may lack one, or have another syslog daemon that would have to go: the
/// tests that need it are then skipped, by name.
fn receivers(steps: &mut Steps) -> Result<()> {
    let missing = RECEIVERS
        .iter()
        .filter(|(program, _)| !has_program(program));
    let missing: Vec<&str> = missing
        .flat_map(|(_, packages)| *packages)
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !apt::is_here() || !privilege::is_root() {
        steps.note(format!(
            "without {}, the tests of the sinks that need them are skipped; only root can install packages",
            missing.join(", ")
        ));
        return Ok(());
    }
    apt::refresh_lists(steps)?;
    let candidates = apt::candidates(missing.iter().copied());
    let packages: Vec<String> = missing
        .into_iter()
        .filter(|package| candidates.contains_key(*package))
        .map(str::to_owned)
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    steps.note(format!(
        "- {} (apt): receivers that the tests of the sinks start themselves; their services stay stopped",
        packages.join(" ")
    ));
    let stopped = KeepStopped::begin(steps);
    let installed = apt::install(steps, &packages);
    stopped.end(steps)?;
    if let Err(error) = installed {
        steps.note(format!("the tests that need them are skipped: {error:#}"));
    }
    Ok(())
}

/// Servers lie in folders that an ordinary user's PATH often lacks; php-fpm's name ends with its version on Debian.
fn has_program(prefix: &str) -> bool {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let names = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    names.map(|entry| entry.file_name()).any(|name| {
        let rest = name.to_str().and_then(|name| name.strip_prefix(prefix));
        rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    })
}
