//! Looks at the machine: which compilers, linkers and packages are there. Decides nothing and changes nothing.
//!
//! Fast, because every verb begins with it: apt is asked only when something turned out to be missing.

use crate::apt;
use crate::exec;
use crate::toolchain::{Apt, DISTRO_CONFLICTS, DISTRO_PACKAGES, Facts, Linker, Nightly};
use crate::tools;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rustc and cargo of way 2: the distribution's, never a shim of rustup's.
pub const DISTRO_RUSTC: &str = "/usr/bin/rustc";
pub const DISTRO_CARGO: &str = "/usr/bin/cargo";

/// The kernel side's target. Big-endian machines are not supported.
pub const BPF_TARGET: &str = "bpfel-unknown-none";

/// Versions of LLVM for which the pinned bpf-linker can be built: it has a feature for each.
const LLVMS: std::ops::RangeInclusive<u32> = 21..=23;

/// Everything except what apt offers.
pub fn gather() -> Facts {
    Facts {
        cc: exec::on_path("cc").is_some(),
        nightly: nightly(),
        distro_llvm: distro_llvm(),
        linkers: linkers(),
        llvm_dev: LLVMS.filter(|llvm| has_llvm_dev(*llvm)).collect(),
        apt: None,
    }
}

/// What apt offers, if this system has it.
pub fn gather_apt() -> Option<Apt> {
    if !apt::is_here() {
        return None;
    }
    let llvm_dev_packages = LLVMS
        .map(|llvm| (llvm, format!("llvm-{llvm}-dev")))
        .collect::<Vec<_>>();
    let names = llvm_dev_packages
        .iter()
        .map(|(_, name)| name.as_str())
        .chain(DISTRO_PACKAGES);
    let candidates = apt::candidates(names);
    let llvm_dev = llvm_dev_packages
        .iter()
        .filter(|(_, name)| candidates.contains_key(name))
        .map(|(llvm, _)| *llvm);
    let all_there = DISTRO_PACKAGES
        .iter()
        .all(|package| candidates.contains_key(*package));
    let rustc = candidates
        .get(DISTRO_PACKAGES[0])
        .and_then(|version| version_of(version))
        .filter(|_| all_there);
    Some(Apt {
        llvm_dev: llvm_dev.collect(),
        distro_llvm: rustc
            .filter(|version| *version >= (1, 95, 0))
            .and_then(packaged_llvm),
        conflicts: apt::installed(DISTRO_CONFLICTS),
    })
}

/// Where Debian's packages put this LLVM; `llvm-sys` and `llvm-config` call it the prefix.
pub fn llvm_prefix(llvm: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{llvm}"))
}

/// A command of rustup's nightly. Never downloads a toolchain that is not there.
pub fn nightly_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = exec::command("rustup");
    command
        .env("RUSTUP_AUTO_INSTALL", "0")
        .args(["run", "nightly"])
        .arg(program);
    command
}

fn nightly() -> Option<Nightly> {
    let llvm = llvm_of_rustc(&exec::query(nightly_command("rustc").arg("-vV"))?)?;
    let sysroot = exec::query(nightly_command("rustc").args(["--print", "sysroot"]))?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    Some(Nightly {
        llvm,
        rust_src: core.is_file(),
        refused: None,
    })
}

fn distro_llvm() -> Option<u32> {
    let rustc = || Command::new(DISTRO_RUSTC);
    let llvm = llvm_of_rustc(&exec::query(rustc().arg("-vV"))?)?;
    let libraries =
        exec::query(rustc().args(["--print", "target-libdir", "--target", BPF_TARGET]))?;
    let mut files = Path::new(libraries.trim()).read_dir().ok()?.flatten();
    let has_core = files.any(|file| file.file_name().to_string_lossy().starts_with("libcore-"));
    (has_core && Path::new(DISTRO_CARGO).is_file()).then_some(llvm)
}

fn linkers() -> Vec<Linker> {
    let paths = exec::on_path("bpf-linker")
        .into_iter()
        .chain(tools::cached_linkers());
    paths.filter_map(linker).collect()
}

/// Runs it: one whose LLVM was removed from the system since does not count.
fn linker(path: PathBuf) -> Option<Linker> {
    let version = exec::query(Command::new(&path).arg("--version"))?;
    // LLVM answers this before it reads an input, whether it is linked statically or not.
    let llvm = exec::query(Command::new(&path).args([
        "--llvm-args=--version",
        "-o",
        "/dev/null",
        "/dev/null",
    ]))?;
    let llvm = llvm.split("LLVM version ").nth(1).and_then(version_of)?.0;
    Some(Linker {
        version: version_of(version.strip_prefix("bpf-linker ")?)?,
        llvm,
        path,
    })
}

/// Headers and the shared library, which the runtime package alone does not bring.
fn has_llvm_dev(llvm: u32) -> bool {
    let prefix = llvm_prefix(llvm);
    prefix.join("include/llvm-c/Core.h").is_file() && prefix.join("lib/libLLVM.so").exists()
}

/// LLVM's major version in `rustc -vV`.
fn llvm_of_rustc(verbose_version: &str) -> Option<u32> {
    verbose_version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .and_then(version_of)
        .map(|version| version.0)
}

/// Which LLVM the packaged rustc of that version is linked against: its library package depends on `libllvmN`.
fn packaged_llvm((major, minor, _): (u32, u32, u32)) -> Option<u32> {
    let dependencies = apt::dependencies(&format!("libstd-rust-web-{major}.{minor}"));
    let llvms = dependencies
        .iter()
        .filter_map(|name| name.strip_prefix("libllvm")?.parse().ok());
    llvms.collect::<BTreeSet<u32>>().pop_last()
}

/// The first three numbers of a version; a Debian epoch is skipped, and a missing number counts as zero.
fn version_of(text: &str) -> Option<(u32, u32, u32)> {
    let text = text
        .trim()
        .split(|c: char| c.is_whitespace() || "+-~".contains(c))
        .next()?;
    let text = text
        .split_once(':')
        .map_or(text, |(_epoch, version)| version);
    let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok());
    let major = numbers.next()??;
    let mut next = || numbers.next().flatten().unwrap_or(0);
    Some((major, next(), next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_epoch_suffix_and_gaps() {
        assert_eq!(version_of("1:22.1.8-1~deb12u1"), Some((22, 1, 8)));
        assert_eq!(version_of("1.96.0+dfsg1-1~deb12u2"), Some((1, 96, 0)));
        assert_eq!(version_of("0.13.0\n"), Some((0, 13, 0)));
        assert_eq!(version_of("22.1"), Some((22, 1, 0)));
        assert_eq!(version_of("unknown"), None);
    }

    #[test]
    fn rustc_names_its_llvm() {
        assert_eq!(
            llvm_of_rustc("rustc 1.97.0-nightly\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n"),
            Some(22)
        );
        assert_eq!(llvm_of_rustc("rustc 1.97.0 (cranelift)\n"), None);
    }
}
