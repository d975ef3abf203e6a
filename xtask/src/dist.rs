//! `dist`: what is handed to people, in `target/dist/`: a `.deb`, a `.rpm`, a tar archive, a bill of materials, and their
//! SHA-256 sums.
//!
//! Manual pages and completions are written by the program itself, from its command line; the BPF object inside it is the same
//! for every machine.

mod lifecycle;
mod machine;
mod needs;
mod pack;
mod recipe;
mod sbom;

use crate::bpf::Logging;
use crate::exec::{self, Steps};
use crate::setup::{self, Needs};
use crate::{build, cross, unit};
use anyhow::{Context as _, Result};
use lifecycle::Packages;
use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// A version before any other, of the same content: what is upgraded from.
const EARLIER: &str = "0.0.0";

#[derive(clap::Args)]
pub struct Args {
    /// For another machine than this one, such as aarch64-unknown-linux-gnu
    #[arg(long, value_name = "TRIPLE", conflicts_with = "check")]
    target: Option<String>,
    /// Then install, upgrade and remove the packages in clean machines with systemd, and try the recipes there (needs root)
    #[arg(long)]
    check: bool,
}

/// `cargo xtask dist`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let mut steps = Steps::new(build::STEPS + 5 + 3 * usize::from(args.check));
    let host = format!("{ARCH}-unknown-linux-gnu");
    let target = args.target.filter(|target| *target != host);
    let compiler = target.as_deref().map(cross::compiler).transpose()?;
    let folder = build::daemon(&mut steps, setup, Needs::Build, Logging::Off, &["detector"])?;
    // This machine's writes the manual, whomever the packages are for.
    let native = folder.join("detector");
    let detector = match &compiler {
        Some(compiler) => {
            let mut cross = compiler.build();
            cross.args(["--release", "--bins", "--package", "detector"]);
            steps.run(&mut cross)?;
            let detector = compiler.built("release")?.join("detector");
            needs::check(&detector)?;
            detector
        }
        None => native.clone(),
    };
    let dist = exec::target_dir()?.join("dist");
    let _ = fs::remove_dir_all(&dist);
    fs::create_dir_all(&dist).with_context(|| format!("creating {}", dist.display()))?;

    steps.begin("check the service's unit");
    unit::check(&mut steps)?;

    steps.begin("write manual pages and completions");
    let manual = exec::target_dir()?.join("manual");
    let _ = fs::remove_dir_all(&manual);
    steps.run(exec::command(&native).arg("manual").arg(&manual))?;

    steps.begin("list what it is made of");
    let folder = exec::target_dir()?.join("sbom");
    let (sbom, crates) = sbom::write(&mut steps, &folder, target.as_deref().unwrap_or(&host))?;
    steps.note(format!(
        "{crates} crates of others, each as the lock file has it"
    ));

    steps.begin("pack");
    let arch = target
        .as_deref()
        .and_then(|target| target.split('-').next())
        .unwrap_or(ARCH);
    let deb = pack::deb(&mut steps, &dist, target.as_deref(), None)?;
    let rpm = pack::rpm(&mut steps, &dist, target.as_deref(), None)?;
    let listed = dist.join(sbom::NAME);
    fs::copy(&sbom, &listed).with_context(|| format!("copying {}", sbom.display()))?;
    let archive = pack::archive(&mut steps, arch, &detector, [&manual, &folder], &dist)?;
    let made = [archive, deb.clone(), rpm.clone(), listed];

    steps.begin("sum up");
    pack::sums(&mut steps, &dist, &made)?;
    for path in made {
        steps.note(format!("{}", path.display()));
    }
    if args.check {
        check(&mut steps, &deb, &rpm)?;
    }
    steps.end();
    Ok(ExitCode::SUCCESS)
}

/// Goes through the life of both packages, each in a machine of its own, and applies the recipes in a third.
fn check(steps: &mut Steps, deb: &Path, rpm: &Path) -> Result<()> {
    let shown = exec::target_dir()?.join("packages");
    let _ = fs::remove_dir_all(&shown);
    fs::create_dir_all(&shown).with_context(|| format!("creating {}", shown.display()))?;
    let packages = |earlier: &Path, current: &Path| -> Result<Packages> {
        let copy = shown.join(current.file_name().context("a package has a name")?);
        fs::copy(current, &copy).with_context(|| format!("copying {}", current.display()))?;
        Packages::new(&shown, earlier, &copy)
    };
    steps.begin("try the Debian package in a clean machine");
    let earlier = pack::deb(
        steps,
        &exec::target_dir()?.join("packages"),
        None,
        Some(&format!("{EARLIER}-1")),
    )?;
    let deb = packages(&earlier, deb)?;
    lifecycle::debian(steps, &deb)?;
    steps.begin("try the rpm package in a clean machine");
    let earlier = pack::rpm(
        steps,
        &exec::target_dir()?.join("packages"),
        None,
        Some(EARLIER),
    )?;
    let rpm = packages(&earlier, rpm)?;
    lifecycle::red_hat(steps, &rpm, &deb)?;
    steps.begin("try the recipes in a clean machine");
    recipe::check(steps, &deb)
}
