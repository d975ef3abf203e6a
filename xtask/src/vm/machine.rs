//! The emulator, and one run of it.

use super::arch::Arch;
use super::packages::Archive;
use crate::exec::{self, Steps};
use anyhow::{Context as _, Result};
use std::env::consts::ARCH;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Room for the disk, and for the programs in it.
const MEMORY_MB: u32 = 2_048;

/// QEMU and busybox: this machine's own, or unpacked into the cache.
pub struct Emulator {
    arch: Arch,
    qemu: PathBuf,
    busybox: PathBuf,
    /// Where both were unpacked.
    root: Option<PathBuf>,
}

impl Emulator {
    /// Finds or fetches that of `arch`.
    pub fn get(steps: &mut Steps, arch: Arch) -> Result<Emulator> {
        let name = format!("qemu-system-{}", arch.name());
        if let (Some(qemu), Some(busybox)) = (exec::on_path(&name), static_busybox()) {
            return Ok(Emulator {
                arch,
                qemu,
                busybox,
                root: None,
            });
        }
        super::require_apt()?;
        let archive = Archive::own()?;
        let package = arch.emulator();
        let packages = [package, "busybox-static"];
        let why = "the machine, and its first program";
        let root = archive.with_dependencies(steps, package, &packages, why)?;
        let ours = |name: &str, installed: Option<PathBuf>| {
            let unpacked = ["usr/bin", "bin"].map(|folder| root.join(folder).join(name));
            let unpacked = unpacked.into_iter().find(|path| path.is_file());
            unpacked
                .or(installed)
                .with_context(|| format!("no {name} in {}", root.display()))
        };
        Ok(Emulator {
            arch,
            qemu: ours(&name, exec::on_path(&name))?,
            busybox: ours("busybox", static_busybox())?,
            root: Some(root),
        })
    }

    /// A busybox of this machine's that needs no libraries.
    pub fn busybox(&self) -> &Path {
        &self.busybox
    }

    /// Boots `kernel` with `disk`, for `seconds` at most; gives what came over the serial line, and keeps it in `log`.
    pub fn run(&self, kernel: &Path, disk: &Path, seconds: u64, log: &Path) -> Result<String> {
        let output =
            fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let mut command = exec::command(&self.qemu);
        if let Some(root) = &self.root {
            let libraries = ["usr/lib", "lib"].map(|folder| {
                let folder = root.join(folder).join(format!("{ARCH}-linux-gnu"));
                folder.into_os_string()
            });
            command.env("LD_LIBRARY_PATH", libraries.join(&OsString::from(":")));
            for folder in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(root.join(folder));
            }
        }
        command
            .args(self.arch.machine())
            .args(["-accel", "tcg,thread=multi", "-smp", "2"])
            .args([
                "-m",
                &MEMORY_MB.to_string(),
                "-nographic",
                "-no-reboot",
                "-nic",
                "none",
            ])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(disk)
            .arg("-append")
            .arg(format!(
                "console={} quiet panic=-1 rdinit=/init",
                self.arch.console()
            ))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // A machine that does not end in time says so by what is missing at the end of its log.
        exec::status_within(&mut command, Duration::from_secs(seconds))?;
        let said = fs::read(log).with_context(|| format!("reading {}", log.display()))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

/// busybox, if it is one that runs in an empty file system.
fn static_busybox() -> Option<PathBuf> {
    let path = exec::on_path("busybox")?;
    // `ldd` fails on a program without an interpreter.
    let linked = exec::query(Command::new("ldd").arg(&path));
    linked
        .is_none_or(|listed| !listed.contains("=>"))
        .then_some(path)
}
