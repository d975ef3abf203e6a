//! Building for another machine: what that needs, and what of it is missing here.
//!
//! The BPF object is the same for every little-endian machine. The daemon needs Rust's standard library for the target, and a C
//! compiler for SQLite, zstd and ring, which links it as well. Nothing is installed here; whatever is missing is named, all of it
//! at once.

use crate::bpf::{self, Logging};
use crate::{apt, exec};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A compiler for one target, all of whose parts are here.
pub struct Compiler {
    /// A triple.
    target: String,
    /// What the names of its tools begin with, such as `aarch64-linux-gnu`.
    prefix: String,
}

/// Looks for everything that `target` (a triple) takes.
pub fn compiler(target: &str) -> Result<Compiler> {
    let Some(machine) = target.strip_suffix("-unknown-linux-gnu") else {
        bail!("{target} is no Linux with the GNU C library (such as aarch64-unknown-linux-gnu)");
    };
    let prefix = format!("{machine}-linux-gnu");
    let cc = format!("{prefix}-gcc");
    let mut missing = Vec::new();
    if !has_standard_library(target) {
        missing.push(format!(
            "Rust's standard library for {target}, of this very compiler: `rustup target add {target}`"
        ));
    }
    if exec::on_path(&cc).is_none() {
        let how = match apt::is_here() {
            true => format!(
                ": `apt-get install gcc-{}-linux-gnu libc6-dev-{}-cross`",
                machine.replace('_', "-"),
                debian(machine)
            ),
            false => String::new(),
        };
        missing.push(format!(
            "a C compiler that makes programs for it, {cc}{how}"
        ));
    }
    if exec::on_path("readelf").is_none() {
        missing.push("readelf (binutils), which tells what libraries the program needs".to_owned());
    }
    if !missing.is_empty() {
        bail!(
            "it cannot be built for {target} here. Missing:\n  - {}",
            missing.join("\n  - ")
        );
    }
    Ok(Compiler {
        target: target.to_owned(),
        prefix,
    })
}

/// Whether rustc can link programs for `target`.
fn has_standard_library(target: &str) -> bool {
    let mut print = exec::command("rustc");
    print.args(["--print", "target-libdir", "--target", target]);
    let folder = exec::query(&mut print).map(|folder| PathBuf::from(folder.trim()));
    let entries = folder.and_then(|folder| folder.read_dir().ok());
    let mut entries = entries.into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

/// Debian's word for a machine.
pub fn debian(machine: &str) -> &str {
    match machine {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    }
}

impl Compiler {
    /// `cargo build` for the target, around the BPF object that was built for this machine.
    pub fn build(&self) -> Command {
        let mut cargo = exec::cargo();
        cargo.args(["build", "--target", &self.target]);
        let cc = format!("{}-gcc", self.prefix);
        let target = self.target.replace('-', "_");
        cargo.env(
            format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()),
            &cc,
        );
        cargo.env(format!("CC_{target}"), &cc);
        bpf::hand_over(&mut cargo, Path::new(""), Logging::Off);
        cargo
    }

    /// Where what was built lies; `profile` is the folder's name.
    pub fn built(&self, profile: &str) -> Result<PathBuf> {
        Ok(exec::target_dir()?.join(&self.target).join(profile))
    }

    /// What takes symbols out of programs for it.
    pub fn strip(&self) -> String {
        format!("{}-strip", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let error = compiler("riscv64-unknown-linux-gnu")
            .err()
            .expect("nobody has that one")
            .to_string();
        for part in [
            "rustup target add riscv64-unknown-linux-gnu",
            "riscv64-linux-gnu-gcc",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let error = compiler("x86_64-pc-windows-gnu")
            .err()
            .expect("no Linux")
            .to_string();
        assert!(error.contains("is no Linux"), "{error}");
    }
}
