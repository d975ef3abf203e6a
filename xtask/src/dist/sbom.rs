//! What the program is made of: a bill of materials (CycloneDX, JSON), by cargo-cyclonedx, checked against cargo.

use crate::exec::{self, Steps};
use crate::tools;
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The one of the daemon, wherever it lies.
pub const NAME: &str = "detector.cdx.json";
/// What cargo-cyclonedx calls what it lays beside every package's Cargo.toml.
const BESIDE: &str = "detector.cdx";
/// Where the sources are said to have lain: whoever built it shows no paths of their own.
const SOURCES: &str = "/usr/src/detector";

/// Writes it to `folder`; gives the file and how many crates of others it lists.
pub fn write(steps: &mut Steps, folder: &Path, target: &str) -> Result<(PathBuf, usize)> {
    let tool = tools::cargo_cyclonedx(steps)?;
    let workspace = exec::workspace();
    let mut list = exec::command(tool);
    list.args([
        "cyclonedx",
        "--quiet",
        "--format",
        "json",
        "--spec-version",
        "1.5",
    ]);
    list.args(["--target", target, "--override-filename", BESIDE]);
    list.arg("--manifest-path")
        .arg(workspace.join("detector/Cargo.toml"));
    // The same sources give the same file.
    list.env("SOURCE_DATE_EPOCH", "0");
    let listed = steps.run(&mut list);
    let mut text = Ok(String::new());
    for entry in fs::read_dir(&workspace)
        .context("reading the workspace")?
        .flatten()
    {
        let beside = entry.path().join(format!("{BESIDE}.json"));
        if !beside.is_file() {
            continue;
        }
        if entry.file_name() == "detector" {
            text = fs::read_to_string(&beside);
        }
        fs::remove_file(&beside).with_context(|| format!("removing {}", beside.display()))?;
    }
    listed?;
    let text = text.context("reading the bill of materials")?;
    let text = text.replace(&workspace.display().to_string(), SOURCES);
    let crates = locked(target)?;
    let missing: Vec<&String> = crates
        .iter()
        .filter(|purl| !text.contains(&format!("\"{purl}\"")))
        .collect();
    ensure!(
        missing.is_empty(),
        "the bill of materials lacks {missing:?}"
    );
    ensure!(!crates.is_empty(), "cargo names no dependency");
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let path = folder.join(NAME);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok((path, crates.len()))
}

/// Every crate of a registry that is linked into the program or runs while it is built, as cargo resolves the lock file:
/// `pkg:cargo/libc@0.2.1`.
fn locked(target: &str) -> Result<BTreeSet<String>> {
    let mut tree = exec::cargo();
    tree.args([
        "tree",
        "--locked",
        "--package",
        "detector",
        "--edges",
        "normal,build",
        "--target",
        target,
    ]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    let output = tree.output().context("cannot run cargo tree")?;
    exec::check(&tree, output.status)?;
    let text = String::from_utf8_lossy(&output.stdout);
    // `libc v0.2.1`, `serde_derive v1.0.1 (proc-macro)`, and what lies here: `detector v0.1.0 (/path)`.
    let purl = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        let is_here = words.next().is_some_and(|word| word.starts_with("(/"));
        (!is_here).then(|| format!("pkg:cargo/{name}@{version}"))
    };
    Ok(text.lines().filter_map(purl).collect())
}
