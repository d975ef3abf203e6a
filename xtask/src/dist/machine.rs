//! A clean Debian with systemd as its first process, in namespaces of its own: where packages are tried.
//!
//! The root is made once (debootstrap, from the machine's own mirror) and never written to: what happens in a machine goes
//! into an overlay in memory and is gone with it. Nothing of the host is changed, and the machine has the host's kernel: the
//! daemon loads its probes there for real.

use crate::exec::{self, Steps};
use crate::{apt, privilege};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The distribution, and what it needs besides the essentials to be a machine.
const SUITE: &str = "bookworm";
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,procps,rpm,python3,python3-apt,curl,ca-certificates";
/// Ten times what a boot takes.
const BOOT: Duration = Duration::from_secs(60);

/// A running machine. Dropping it ends it.
pub struct Machine {
    nspawn: Child,
    /// Its first process, as the host numbers it.
    first: u32,
}

impl Machine {
    /// Boots one; `packages` is shown there as `/packages`.
    pub fn boot(root: &Path, packages: &Path) -> Result<Self> {
        let mut command = exec::command("systemd-nspawn");
        command
            .args([
                "--quiet",
                "--boot",
                "--register=no",
                "--keep-unit",
                "--console=pipe",
            ])
            .args(["--volatile=overlay", "--capability=all"])
            .args(["--system-call-filter=bpf", "--bind-ro=/sys/kernel/btf"])
            .arg(format!("--bind-ro={}:/packages", packages.display()))
            .arg("--directory")
            .arg(root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut nspawn = command.spawn().context("cannot run systemd-nspawn")?;
        let children = format!("/proc/{0}/task/{0}/children", nspawn.id());
        let deadline = Instant::now() + BOOT;
        loop {
            let text = fs::read_to_string(&children).unwrap_or_default();
            let first = text
                .split_whitespace()
                .next()
                .and_then(|pid| pid.parse().ok());
            if let Some(first) = first {
                let machine = |nspawn| Self { nspawn, first };
                if booted(first) {
                    return Ok(machine(nspawn));
                }
            }
            if let Some(status) = nspawn.try_wait()? {
                bail!("the machine did not boot ({status})");
            }
            if Instant::now() > deadline {
                nspawn.kill()?;
                nspawn.wait()?;
                bail!("the machine did not boot within {} s", BOOT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs a line of shell in it, and gives back what it printed.
    pub fn run(&self, line: &str) -> Result<String> {
        let output = inside(self.first, line)
            .output()
            .context("cannot run nsenter")?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(
            output.status.success(),
            "`{line}` failed ({}):\n{said}",
            output.status
        );
        Ok(said.trim().to_owned())
    }

    /// Waits until a line of shell succeeds.
    pub fn wait(&self, line: &str) -> Result<()> {
        let deadline = Instant::now() + BOOT;
        loop {
            match self.run(line) {
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
                Ok(_) => return Ok(()),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With its first process every other one ends, and nspawn by itself; it would outlive a killed nspawn.
        let _ = exec::query(Command::new("kill").args(["-KILL", &self.first.to_string()]));
        let _ = self.nspawn.wait();
    }
}

fn booted(first: u32) -> bool {
    let line = "systemctl is-system-running | grep -qE 'running|degraded'";
    exec::query(&mut inside(first, line)).is_some()
}

fn inside(first: u32, line: &str) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--target={first}"))
        .args(["--all", "sh", "-c", line])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C");
    command
}

/// The root of such machines; made if it is not there.
pub fn root(steps: &mut Steps) -> Result<PathBuf> {
    ensure!(
        apt::is_here() && privilege::is_root(),
        "trying the package needs root on a Debian-like system"
    );
    let needed = [
        ("debootstrap", "debootstrap"),
        ("systemd-nspawn", "systemd-container"),
    ];
    let missing = needed
        .iter()
        .filter(|(program, _)| exec::on_path(program).is_none());
    let missing: Vec<String> = missing.map(|(_, package)| (*package).to_owned()).collect();
    if !missing.is_empty() {
        steps.note(format!(
            "- {} (apt): a clean machine to try the package in",
            missing.join(" ")
        ));
        apt::install(steps, &missing)?;
    }
    let root = exec::target_dir()?.join("machine").join(SUITE);
    let made = root.with_extension("made");
    if fs::read_to_string(&made).is_ok_and(|found| found == PACKAGES) {
        return Ok(root);
    }
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
    let mirror = apt::mirror()?;
    steps.note(format!("making a clean {SUITE}, once"));
    let mut make = exec::command("debootstrap");
    make.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE])
        .arg(&root)
        .arg(mirror)
        .stdout(Stdio::null());
    steps.run(&mut make)?;
    fs::write(&made, PACKAGES).with_context(|| format!("writing {}", made.display()))?;
    Ok(root)
}
