//! Building the daemon for another machine: what that needs, and what of it is missing here.
//!
//! The BPF object is the same for every little-endian machine. The daemon needs Rust's standard library for the target, and a C
//! compiler for SQLite, zstd and ring, which links it as well. Nothing is installed here; whatever is missing is named, all of it
//! at once.

use crate::exec::{self, Steps};
use crate::{apt, bpf, bpf::Logging};
use anyhow::{Result, bail};
use std::path::PathBuf;

/// A compiler for one target, all of whose parts are here.
pub struct Compiler {
    /// C compiler and linker.
    cc: String,
}

/// Looks for everything that `target` (a triple) takes.
pub fn compiler(target: &str) -> Result<Compiler> {
    let Some(machine) = target.strip_suffix("-unknown-linux-gnu") else {
        bail!("{target} is no Linux with the GNU C library (such as aarch64-unknown-linux-gnu)");
    };
    let cc = format!("{machine}-linux-gnu-gcc");
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
    if !missing.is_empty() {
        bail!(
            "it cannot be built for {target} here. Missing:\n  - {}",
            missing.join("\n  - ")
        );
    }
    Ok(Compiler { cc })
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
fn debian(machine: &str) -> &str {
    match machine {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    }
}

impl Compiler {
    /// Builds the daemon, as released, around the object that was built for this machine; gives the program.
    pub fn build(&self, steps: &mut Steps, target: &str) -> Result<PathBuf> {
        let mut cargo = exec::cargo();
        cargo.args([
            "build",
            "--release",
            "--bins",
            "--package",
            "detector",
            "--target",
            target,
        ]);
        let variable = target.to_uppercase().replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), &self.cc);
        cargo.env(format!("CC_{}", target.replace('-', "_")), &self.cc);
        bpf::hand_over(&mut cargo, &PathBuf::new(), Logging::Off);
        steps.run(&mut cargo)?;
        Ok(exec::target_dir()?.join(target).join("release/detector"))
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
