//! `dist`: what is handed to people, in `target/dist/`: a `.deb`, a tar archive, and their SHA-256 sums.
//!
//! The package's content, user, folders and scripts are described where cargo-deb looks for them: `[package.metadata.deb]` of
//! `detector/Cargo.toml` and `dist/deb/`. Manual pages and completions are written by the program itself, from its command line.

mod lifecycle;
mod machine;

use crate::bpf::Logging;
use crate::exec::{self, Steps};
use crate::setup::{self, Needs};
use crate::{build, tools, unit};
use anyhow::{Context as _, Result};
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A version before any other, of the same content: what is upgraded from.
const EARLIER: &str = "0.0.0-1";

/// What lies beside the program in the archive.
const BESIDE: [&str; 6] = [
    unit::UNIT,
    unit::DROP_IN,
    "README.md",
    "SECURITY.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

#[derive(clap::Args)]
pub struct Args {
    /// Then install, upgrade, remove and purge the package in a clean Debian with systemd (needs root)
    #[arg(long)]
    check: bool,
}

/// `cargo xtask dist`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let mut steps = Steps::new(build::STEPS + 4 + usize::from(args.check));
    let folder = build::daemon(&mut steps, setup, Needs::Build, Logging::Off, &["detector"])?;
    let detector = folder.join("detector");
    let dist = exec::target_dir()?.join("dist");
    let _ = fs::remove_dir_all(&dist);
    fs::create_dir_all(&dist).with_context(|| format!("creating {}", dist.display()))?;

    steps.begin("check the service's unit");
    unit::check(&mut steps)?;

    steps.begin("write manual pages and completions");
    let manual = exec::target_dir()?.join("manual");
    let _ = fs::remove_dir_all(&manual);
    steps.run(exec::command(&detector).arg("manual").arg(&manual))?;

    steps.begin("pack");
    let mut archive = archive(&mut steps, &detector, &manual, &dist)?;
    let deb = debian_package(&mut steps, &dist, &[])?;
    archive.push(deb.clone());

    steps.begin("sum up");
    sums(&mut steps, &dist, &archive)?;
    for path in archive {
        steps.note(format!("{}", path.display()));
    }
    if args.check {
        steps.begin("try the package in a clean machine");
        let packages = exec::target_dir()?.join("packages");
        let _ = fs::remove_dir_all(&packages);
        fs::create_dir_all(&packages)
            .with_context(|| format!("creating {}", packages.display()))?;
        let earlier = debian_package(&mut steps, &packages, &["--deb-version", EARLIER])?;
        let current = packages.join(name(&deb)?);
        fs::copy(&deb, &current).with_context(|| format!("copying {}", deb.display()))?;
        lifecycle::check(&mut steps, &packages, &name(&earlier)?, &name(&current)?)?;
    }
    steps.end();
    Ok(ExitCode::SUCCESS)
}

/// `detector-<version>-<arch>-linux.tar.gz`: one folder of the same name.
fn archive(steps: &mut Steps, detector: &Path, manual: &Path, dist: &Path) -> Result<Vec<PathBuf>> {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("detector-{version}-{ARCH}-linux");
    let staging = exec::target_dir()?.join("archive");
    let _ = fs::remove_dir_all(&staging);
    let root = staging.join(&name);
    fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
    let mut files = vec![detector.to_owned()];
    files.extend(BESIDE.map(|path| exec::workspace().join(path)));
    for file in files {
        let name = file.file_name().context("a file has a name")?;
        fs::copy(&file, root.join(name)).with_context(|| format!("copying {}", file.display()))?;
    }
    let packed = dist.join(format!("{name}.tar.gz"));
    steps.run(
        exec::command("cp")
            .args(["-r"])
            .arg(manual)
            .arg(root.join("manual")),
    )?;
    // The same files give the same archive, whoever packs them.
    steps.run(
        exec::command("tar")
            .args([
                "--create",
                "--gzip",
                "--sort=name",
                "--owner=0",
                "--group=0",
            ])
            .args(["--numeric-owner", "--mode=go-w", "--file"])
            .arg(&packed)
            .arg("--directory")
            .arg(&staging)
            .arg(&name),
    )?;
    Ok(vec![packed])
}

/// Packs what was built; `options` are cargo-deb's.
fn debian_package(steps: &mut Steps, folder: &Path, options: &[&str]) -> Result<PathBuf> {
    let deb = tools::cargo_deb(steps)?;
    let mut pack = exec::command(&deb);
    pack.args([
        "--package",
        "detector",
        "--no-build",
        "--no-strip",
        "--output",
    ])
    .arg(folder)
    .args(options);
    steps.run(&mut pack)?;
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let made = paths.find(|path| path.extension().is_some_and(|end| end == "deb"));
    made.context("cargo-deb made no package")
}

fn name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    Ok(name.context("a package's name is text")?.to_owned())
}

/// `SHA256SUMS`, in the format that `sha256sum --check` reads.
fn sums(steps: &mut Steps, dist: &Path, files: &[PathBuf]) -> Result<()> {
    let names = files.iter().filter_map(|path| path.file_name());
    let mut sum = exec::command("sha256sum");
    sum.current_dir(dist).args(names);
    let output = sum.output().context("cannot run sha256sum")?;
    exec::check(&sum, output.status)?;
    fs::write(dist.join("SHA256SUMS"), output.stdout).context("writing SHA256SUMS")?;
    steps.run(exec::command("sha256sum").current_dir(dist).args([
        "--check",
        "--quiet",
        "SHA256SUMS",
    ]))
}
