//! What is handed to people, from what was built: a tar archive, a `.deb`, a `.rpm`, and their SHA-256 sums.
//!
//! The packages' content, user, folders and scripts are described where cargo-deb and cargo-generate-rpm look for them:
//! `[package.metadata.deb]` and `[package.metadata.generate-rpm]` of `detector/Cargo.toml`, `dist/deb/` and `dist/rpm/`.

use super::needs;
use crate::exec::{self, Steps};
use crate::{tools, unit};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What lies beside the program in the archive.
const BESIDE: [&str; 6] = [
    unit::UNIT,
    unit::DROP_IN,
    "README.md",
    "SECURITY.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

/// `detector-<version>-<arch>-linux.tar.gz`: one folder of the same name.
pub fn archive(
    steps: &mut Steps,
    arch: &str,
    detector: &Path,
    folders: [&Path; 2],
    dist: &Path,
) -> Result<PathBuf> {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("detector-{version}-{arch}-linux");
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
    for folder in folders {
        steps.run(exec::command("cp").arg("-r").arg(folder).arg(&root))?;
    }
    // The same files give the same archive, whoever packs them.
    let packed = dist.join(format!("{name}.tar.gz"));
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
    Ok(packed)
}

/// Packs what was built for Debian; `version` instead of the program's.
pub fn deb(
    steps: &mut Steps,
    folder: &Path,
    target: Option<&str>,
    version: Option<&str>,
) -> Result<PathBuf> {
    let mut pack = exec::command(tools::cargo_deb(steps)?);
    pack.args([
        "--package",
        "detector",
        "--no-build",
        "--no-strip",
        "--output",
    ])
    .arg(folder);
    if let Some(target) = target {
        pack.args(["--target", target, "--variant", "cross"]);
    }
    if let Some(version) = version {
        pack.args(["--deb-version", version]);
    }
    made(steps, &mut pack, folder, "deb")
}

/// Packs what was built for Red Hat's systems; `version` instead of the program's.
pub fn rpm(
    steps: &mut Steps,
    folder: &Path,
    target: Option<&str>,
    version: Option<&str>,
) -> Result<PathBuf> {
    let mut pack = exec::command(tools::cargo_generate_rpm(steps)?);
    pack.args(["generate-rpm", "--package", "detector", "--auto-req"]);
    // By ldd, whether or not this machine has rpm's own tools: the same package everywhere.
    match target {
        None => pack.arg("builtin"),
        Some(_) => pack.arg(needs::script()),
    };
    pack.arg("--target-dir")
        .arg(exec::target_dir()?)
        .arg("--output")
        .arg(folder);
    if let Some(target) = target {
        pack.args(["--target", target]);
    }
    if let Some(version) = version {
        pack.arg(format!("--set-metadata=version = \"{version}\""));
    }
    made(steps, &mut pack, folder, "rpm")
}

/// The package that `pack` makes in `folder`.
fn made(steps: &mut Steps, pack: &mut Command, folder: &Path, end: &str) -> Result<PathBuf> {
    let packages = || -> Result<Vec<PathBuf>> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        let paths = entries.flatten().map(|entry| entry.path());
        Ok(paths
            .filter(|path| path.extension().is_some_and(|found| found == end))
            .collect())
    };
    let before = packages()?;
    steps.run(pack)?;
    let made = packages()?.into_iter().find(|path| !before.contains(path));
    made.with_context(|| format!("{} made no .{end}", exec::shown(pack)))
}

/// `SHA256SUMS`, in the format that `sha256sum --check` reads.
pub fn sums(steps: &mut Steps, dist: &Path, files: &[PathBuf]) -> Result<()> {
    let names = files.iter().filter_map(|path| path.file_name());
    let mut sum = exec::command("sha256sum");
    sum.current_dir(dist).args(names);
    let output = sum.output().context("cannot run sha256sum")?;
    exec::check(&sum, output.status)?;
    fs::write(dist.join("SHA256SUMS"), output.stdout).context("writing SHA256SUMS")?;
    let mut check = exec::command("sha256sum");
    steps.run(
        check
            .current_dir(dist)
            .args(["--check", "--quiet", "SHA256SUMS"]),
    )
}
