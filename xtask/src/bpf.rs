//! Builds the kernel side into `target/bpf/`, where `detector/build.rs` finds it.
//!
//! What cargo and rustc get is what `aya-build` would pass. The build has a target folder of its own, so that two versions of rustc do
//! not invalidate each other's work, and the object is replaced only when it changed, so that the daemon is not rebuilt for nothing.

use crate::exec::{self, Steps};
use crate::facts::{self, BPF_TARGET};
use crate::setup::Toolchain;
use crate::toolchain::Way;
use anyhow::{Context as _, Result, bail};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernel side's package, and the name of its binary.
pub const PACKAGE: &str = "detector-ebpf";
/// Its second binary.
const EMPTY: &str = "empty";

/// Whether the probes log through aya-log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    /// Shipped and tested: no log code in any probe.
    Off,
    /// For debugging the probes themselves.
    On,
}

/// Builds the object, checks it and returns its path.
pub fn build(steps: &mut Steps, toolchain: &Toolchain, logging: Logging) -> Result<PathBuf> {
    steps.begin(format!(
        "build the BPF object ({}, LLVM {})",
        toolchain.way, toolchain.llvm
    ));
    let mut cargo = cargo(toolchain, "build")?;
    if logging == Logging::On {
        cargo.args(["--features", "log"]);
    }
    steps.run(&mut cargo)?;

    place(EMPTY, &empty())?;
    let object = object(logging);
    place(PACKAGE, &object)?;
    Ok(object)
}

/// Checks what was built under a name, and puts it where it is looked for.
fn place(name: &str, object: &Path) -> Result<()> {
    let built = target_dir().join(BPF_TARGET).join("release").join(name);
    let bytes = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    check(&bytes).with_context(|| format!("{} cannot be used", built.display()))?;
    if fs::read(object).ok().as_ref() != Some(&bytes) {
        let folder = object.parent().expect("the object lies in target/bpf");
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        fs::write(object, &bytes).with_context(|| format!("writing {}", object.display()))?;
    }
    Ok(())
}

/// The same hooks, doing nothing: what `bench cost` compares with.
pub fn empty() -> PathBuf {
    exec::workspace().join("target/bpf/empty.o")
}

/// The toolchain's cargo with everything that a build, or a check, of the kernel side needs.
pub fn cargo(toolchain: &Toolchain, verb: &str) -> Result<Command> {
    let mut cargo = match toolchain.way {
        Way::Nightly => facts::nightly_command("cargo"),
        Way::Distro => exec::command(facts::DISTRO_CARGO),
    };
    // What the user set for the host's compiler is not meant for this one.
    for (name, _) in env::vars_os().filter(|(name, _)| is_for_the_host(name)) {
        cargo.env_remove(name);
    }
    cargo
        .args([
            verb,
            "--package",
            PACKAGE,
            "--release",
            "--target",
            BPF_TARGET,
            "--target-dir",
        ])
        .arg(target_dir());
    match toolchain.way {
        Way::Nightly => cargo.args(["-Z", "build-std=core"]),
        // aya-ebpf needs `asm_experimental_arch`; nothing else may use unstable features.
        Way::Distro => cargo
            .env("RUSTC", facts::DISTRO_RUSTC)
            .env("RUSTC_BOOTSTRAP", "aya_ebpf"),
    };
    let arch = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    // bpf-linker makes .BTF out of the debug information, which rustc therefore has to emit.
    cargo.env(
        "CARGO_ENCODED_RUSTFLAGS",
        [&arch, "-Cdebuginfo=2", "-Clink-arg=--btf"].join("\x1f"),
    );
    let linker_folder = toolchain
        .linker
        .parent()
        .context("the linker lies in no folder")?;
    cargo.env("PATH", exec::path_with(linker_folder)?);
    Ok(cargo)
}

/// Where the daemon's build script looks, and where the variant with logging lies beside it.
fn object(logging: Logging) -> PathBuf {
    exec::workspace().join("target/bpf").join(match logging {
        Logging::Off => "detector-ebpf.o",
        Logging::On => "detector-ebpf-log.o",
    })
}

fn target_dir() -> PathBuf {
    exec::workspace().join("target/bpf-build")
}

fn is_for_the_host(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    name.starts_with("RUSTC")
        || name.starts_with("CARGO_BUILD_")
        || name.starts_with("CARGO_PROFILE_")
        || name.starts_with("CARGO_TARGET_")
        || ["RUSTFLAGS", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"].contains(&name)
}

/// An object for the wrong machine, or without types, would fail only when the daemon loads it.
fn check(elf: &[u8]) -> Result<()> {
    const EM_BPF: u64 = 247;
    if !elf.starts_with(b"\x7fELF") || number(elf, 0x12, 2) != Some(EM_BPF) {
        bail!("it is no BPF object");
    }
    let names = section_names(elf).context("its section headers are cut short")?;
    for section in [".BTF", ".BTF.ext"] {
        if !names.contains(&section.as_bytes()) {
            bail!(
                "it has no {section} section: it contains no program, or its debug information \
                 was stripped before the linker saw it"
            );
        }
    }
    Ok(())
}

/// The names of a little-endian 64-bit ELF file's sections.
fn section_names(elf: &[u8]) -> Option<Vec<&[u8]>> {
    let table = number(elf, 0x28, 8)? as usize;
    let size = number(elf, 0x3a, 2)? as usize;
    let count = number(elf, 0x3c, 2)? as usize;
    let header = |index: usize| elf.get(table.checked_add(index * size)?..);
    let strings = number(header(number(elf, 0x3e, 2)? as usize)?, 0x18, 8)? as usize;
    let name = |index: usize| {
        let start = strings.checked_add(number(header(index)?, 0, 4)? as usize)?;
        elf.get(start..)?.split(|byte| *byte == 0).next()
    };
    (0..count).map(name).collect()
}

/// A little-endian number of `len` bytes.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + len)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

/// The object's path as the environment variable that overrides the build script's own choice.
pub fn hand_over(command: &mut Command, object: &Path, logging: Logging) {
    match logging {
        // The build script finds this one by itself. An unset variable keeps a plain `cargo build` from rebuilding.
        Logging::Off => command.env_remove("DETECTOR_BPF_OBJECT"),
        Logging::On => command.env("DETECTOR_BPF_OBJECT", object),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of an ELF file as the check looks at: a header, section headers, and their names.
    fn elf(machine: u8, sections: &[&str]) -> Vec<u8> {
        let strings_at = 0x40 + 0x40 * (sections.len() as u64 + 1);
        let mut names = Vec::new();
        let mut headers = Vec::new();
        for section in sections.iter().chain(&[".strtab"]) {
            let mut header = [0; 0x40];
            header[..4].copy_from_slice(&(names.len() as u32).to_le_bytes());
            header[0x18..0x20].copy_from_slice(&strings_at.to_le_bytes());
            headers.extend(header);
            names.extend([section.as_bytes(), b"\0"].concat());
        }
        let mut elf = vec![0; 0x40];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[0x12] = machine;
        (elf[0x28], elf[0x3a]) = (0x40, 0x40);
        (elf[0x3c], elf[0x3e]) = (sections.len() as u8 + 1, sections.len() as u8);
        [elf, headers, names].concat()
    }

    #[test]
    fn an_object_with_types_passes() {
        assert!(check(&elf(247, &[".text", ".BTF", ".BTF.ext"])).is_ok());
    }

    #[test]
    fn an_object_without_types_or_for_the_host_is_refused() {
        assert!(
            check(&elf(247, &[".text", ".rel.BTF", ".BTF.ext"])).is_err(),
            "only .rel.BTF"
        );
        assert!(check(&elf(62, &[".BTF", ".BTF.ext"])).is_err(), "x86-64");
        assert!(check(b"").is_err(), "empty");
        let whole = elf(247, &[".BTF", ".BTF.ext"]);
        assert!(check(&whole[..0x60]).is_err(), "cut short");
    }
}
