//! Tools that are built from source, once per machine, into the user's cache: `cargo clean` keeps them.
//!
//! `$XDG_CACHE_HOME/detector/tools/<name>-<version>[-llvm<N>]/bin/<name>`. Versions are pinned; another pin is another folder.

use crate::exec::{self, Steps};
use crate::toolchain::LINKER;
use anyhow::{Context as _, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of cargo-deny that is built when PATH has none.
const DENY: &str = "0.20.2";

/// The version of cargo-deb that is built when PATH has none.
const DEB: &str = "3.8.0";

/// The version of cargo-generate-rpm that is built when PATH has none.
const RPM: &str = "0.21.1";

/// The version of cargo-cyclonedx that is built when PATH has none.
const SBOM: &str = "0.5.9";

/// The version of cargo-fuzz that is built when PATH has none.
const FUZZ: &str = "0.13.2";

/// Every bpf-linker in the cache.
pub fn cached_linkers() -> Vec<PathBuf> {
    let entries = cache()
        .and_then(|cache| Ok(cache.read_dir()?))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .map(|entry| entry.path().join("bin/bpf-linker"))
        .filter(|path| path.is_file())
        .collect()
}

/// Builds bpf-linker against the LLVM whose files lie under `prefix`.
pub fn build_linker(steps: &mut Steps, llvm: u32, prefix: &Path) -> Result<()> {
    let mut install = install("bpf-linker", &linker_version(), &linker_root(llvm)?);
    // Without the prefix, llvm-sys finds the headers but not the library: "unable to find library -lLLVM".
    install.env("LLVM_PREFIX", prefix).args([
        "--no-default-features",
        "--features",
        &format!("llvm-{llvm}"),
    ]);
    steps.run(&mut install)
}

/// cargo-deny: the user's, or the cache's, or built now.
pub fn cargo_deny(steps: &mut Steps) -> Result<PathBuf> {
    tool(
        steps,
        "cargo-deny",
        DENY,
        "checks the licences",
        &["--no-default-features"],
    )
}

/// cargo-deb: the user's, or the cache's, or built now.
pub fn cargo_deb(steps: &mut Steps) -> Result<PathBuf> {
    tool(steps, "cargo-deb", DEB, "makes the Debian package", &[])
}

/// cargo-generate-rpm: the user's, or the cache's, or built now.
pub fn cargo_generate_rpm(steps: &mut Steps) -> Result<PathBuf> {
    tool(
        steps,
        "cargo-generate-rpm",
        RPM,
        "makes the rpm package",
        &[],
    )
}

/// cargo-cyclonedx: the user's, or the cache's, or built now.
pub fn cargo_cyclonedx(steps: &mut Steps) -> Result<PathBuf> {
    tool(
        steps,
        "cargo-cyclonedx",
        SBOM,
        "lists what the program is made of",
        &[],
    )
}

/// cargo-fuzz: the user's, or the cache's, or built now.
pub fn cargo_fuzz(steps: &mut Steps) -> Result<PathBuf> {
    tool(steps, "cargo-fuzz", FUZZ, "drives the fuzz targets", &[])
}

fn tool(
    steps: &mut Steps,
    name: &str,
    version: &str,
    why: &str,
    options: &[&str],
) -> Result<PathBuf> {
    if let Some(found) = exec::on_path(name) {
        return Ok(found);
    }
    let root = cache()?.join(format!("{name}-{version}"));
    let path = root.join("bin").join(name);
    if !path.is_file() {
        steps.note(format!(
            "building {name} {version} from source, once: it is not on PATH, and {why}"
        ));
        steps.run(install(name, version, &root).args(options))?;
    }
    Ok(path)
}

/// The pinned version of bpf-linker.
pub fn linker_version() -> String {
    let (major, minor, patch) = LINKER;
    format!("{major}.{minor}.{patch}")
}

fn linker_root(llvm: u32) -> Result<PathBuf> {
    Ok(cache()?.join(format!("bpf-linker-{}-llvm{llvm}", linker_version())))
}

fn install(name: &str, version: &str, root: &Path) -> Command {
    let mut command = exec::cargo();
    // A target folder of the user's is for this workspace; the tools' own is temporary.
    command
        .env_remove("CARGO_TARGET_DIR")
        .args(["install", name, "--version", version, "--locked", "--root"])
        .arg(root);
    command
}

fn cache() -> Result<PathBuf> {
    Ok(user_cache()?.join("tools"))
}

/// Where everything lies that is fetched or built once per machine.
pub fn user_cache() -> Result<PathBuf> {
    let xdg = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let cache = match xdg {
        Some(cache) => cache,
        None => {
            PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
                .join(".cache")
        }
    };
    Ok(cache.join("detector"))
}
