//! What the daemon may use, as its unit sets it: memory and CPU in cgroups of its own, of either version.
//!
//! systemd does this with `MemoryMax=`, `MemorySwapMax=0`, `CPUQuota=` and `CPUWeight=`; here the figures are read from
//! `dist/detector.service` and written where the kernel takes them. The group counts what no process can count of itself:
//! maps, page tables, sockets, and the pages of files that it was the first to read.

use crate::cgroup::Cgroup;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

const UNIT: &str = include_str!("../../dist/detector.service");
/// Of `cpu.cfs_period_us` and `cpu.max`, µs: the kernel's own default.
const PERIOD_US: u64 = 100_000;
/// `cpu.weight` of who asks for nothing.
pub const WEIGHT: u64 = 100;
/// The same in `cpu.shares`, as systemd translates one into the other.
const SHARES: u64 = 1_024;

/// Cgroups with the unit's limits. Dropping it removes them, once what ran in them is gone.
#[derive(Debug)]
pub struct Means {
    /// `None`: the memory is not limited.
    memory: Option<Controlled>,
    cpu: Controlled,
}

/// What was used of the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The most there ever was, bytes, pages of files included. `None`: the kernel does not tell (`memory.peak` came with
    /// Linux 5.19).
    pub peak_bytes: Option<u64>,
    /// How much of what there is now is nobody's file: programs' own memory, bytes.
    pub anonymous_bytes: u64,
    /// Processes killed because nothing could be given up.
    pub killed: u64,
}

/// A group, and one controller of it. In the second version one group has them all.
#[derive(Debug)]
struct Controlled {
    folder: PathBuf,
    version: Version,
    group: Rc<Cgroup>,
    _enabled: Option<Enabled>,
}

/// A controller that was switched on for the groups below the root of the second version; off again when dropped.
#[derive(Debug)]
struct Enabled {
    file: PathBuf,
    controller: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Means {
    /// Groups with this memory or any, with the unit's share of a CPU or any, and with the unit's weight.
    ///
    /// # Errors
    /// No such controller is mounted, or it refuses.
    pub fn new(memory_bytes: Option<u64>, limits_cpu: bool) -> Result<Means> {
        let cpu = Controlled::new("cpu", None)?;
        let memory = memory_bytes.map(|bytes| memory(bytes, &cpu)).transpose()?;
        let weight = cpu_weight()?;
        let quota_us = PERIOD_US * cpu_percent()? / 100;
        match cpu.version {
            Version::Two => cpu.write("cpu.weight", &weight.to_string())?,
            Version::One => cpu.write("cpu.shares", &(weight * SHARES / WEIGHT).to_string())?,
        }
        if limits_cpu {
            match cpu.version {
                Version::Two => cpu.write("cpu.max", &format!("{quota_us} {PERIOD_US}"))?,
                Version::One => cpu.write("cpu.cfs_quota_us", &quota_us.to_string())?,
            }
        }
        Ok(Means { memory, cpu })
    }

    /// The same command, with these means.
    #[must_use]
    pub fn inside(&self, command: &Command) -> Command {
        let inside = self.cpu.group.inside(command);
        match &self.memory {
            Some(memory) if !Rc::ptr_eq(&memory.group, &self.cpu.group) => {
                memory.group.inside(&inside)
            }
            _ => inside,
        }
    }

    /// What was used so far of the memory that is limited.
    ///
    /// # Errors
    /// The kernel does not tell, or it is not limited.
    pub fn used(&self) -> Result<Used> {
        let memory = self.memory.as_ref().context("any memory is allowed")?;
        let number = |file: &str| -> Result<u64> { Ok(memory.read(file)?.trim().parse()?) };
        Ok(match memory.version {
            Version::Two => Used {
                peak_bytes: number("memory.peak").ok(),
                anonymous_bytes: memory.field("memory.stat", "anon")?,
                killed: memory.field("memory.events", "oom_kill")?,
            },
            Version::One => Used {
                peak_bytes: Some(number("memory.max_usage_in_bytes")?),
                anonymous_bytes: memory.field("memory.stat", "rss")?,
                killed: memory.field("memory.oom_control", "oom_kill")?,
            },
        })
    }
}

/// A group with this memory, and no swap.
fn memory(bytes: u64, beside: &Controlled) -> Result<Controlled> {
    let memory = Controlled::new("memory", Some(beside))?;
    let bytes = bytes.to_string();
    match memory.version {
        Version::Two => {
            memory.write("memory.max", &bytes)?;
            // No such file: the kernel knows no swap.
            let _without = memory.write("memory.swap.max", "0");
        }
        Version::One => {
            memory.write("memory.limit_in_bytes", &bytes)?;
            // Memory and swap together; no such file: the kernel does not account for swap.
            let _without = memory.write("memory.memsw.limit_in_bytes", &bytes);
        }
    }
    Ok(memory)
}

impl Controlled {
    /// A new group below the root of whatever hierarchy has that controller; the one beside it, if that has it, too.
    fn new(controller: &'static str, beside: Option<&Controlled>) -> Result<Controlled> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let (root, version) = mounts
            .lines()
            .find_map(|mount| hierarchy(mount, controller))
            .with_context(|| format!("no cgroup hierarchy has the controller {controller}"))?;
        let enabled = match version {
            Version::Two => Enabled::new(&root, controller)?,
            Version::One => None,
        };
        let group = match beside {
            Some(beside) if version == Version::Two && beside.version == version => {
                Rc::clone(&beside.group)
            }
            _ => Rc::new(Cgroup::new(&root, &format!("detector-{controller}"))?),
        };
        let folder = root.join(group.path().trim_start_matches('/'));
        Ok(Controlled {
            folder,
            version,
            group,
            _enabled: enabled,
        })
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.folder.join(file);
        fs::write(&path, value)
            .with_context(|| format!("cannot write {value} to {}", path.display()))
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn field(&self, file: &str, name: &str) -> Result<u64> {
        let text = self.read(file)?;
        let value = text.lines().find_map(|line| {
            let (field, value) = line.split_once(' ')?;
            (field == name).then_some(value)
        });
        Ok(value
            .with_context(|| format!("{file} has no {name}"))?
            .parse()?)
    }
}

impl Enabled {
    /// `None`: it was on.
    fn new(root: &Path, controller: &'static str) -> Result<Option<Enabled>> {
        let file = root.join("cgroup.subtree_control");
        let on = fs::read_to_string(&file)?;
        if on.split_whitespace().any(|name| name == controller) {
            return Ok(None);
        }
        fs::write(&file, format!("+{controller}"))
            .with_context(|| format!("cannot switch on {controller} in {}", file.display()))?;
        Ok(Some(Enabled { file, controller }))
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, format!("-{}", self.controller)) {
            eprintln!(
                "{} stays in {}: {error}",
                self.controller,
                self.file.display()
            );
        }
    }
}

/// Where a hierarchy with that controller is mounted, if this line of `/proc/self/mounts` is one.
fn hierarchy(mount: &str, controller: &str) -> Option<(PathBuf, Version)> {
    let mut fields = mount.split(' ').skip(1);
    let (path, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
    let has = |list: &str, separator| list.trim().split(separator).any(|name| name == controller);
    let version = match kind {
        "cgroup" if has(options, ',') => Version::One,
        "cgroup2" => {
            let known = fs::read_to_string(Path::new(path).join("cgroup.controllers")).ok()?;
            has(&known, ' ').then_some(Version::Two)?
        }
        _ => return None,
    };
    Some((path.into(), version))
}

fn setting(key: &str) -> Result<&'static str> {
    let mut lines = UNIT.lines();
    lines
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .with_context(|| format!("the unit has no {key}"))
}

/// `MemoryMax=` of the unit, bytes.
///
/// # Errors
/// It is not written in MiB.
pub fn memory_max() -> Result<u64> {
    match setting("MemoryMax")?.strip_suffix('M') {
        Some(mib) => Ok(mib.parse::<u64>()? << 20),
        None => bail!("MemoryMax= of the unit is not in MiB"),
    }
}

/// `CPUQuota=` of the unit, percent of one CPU.
///
/// # Errors
/// It is no percentage.
pub fn cpu_percent() -> Result<u64> {
    let percent = setting("CPUQuota")?.strip_suffix('%');
    Ok(percent
        .context("CPUQuota= of the unit is no percentage")?
        .parse()?)
}

/// `CPUWeight=` of the unit.
///
/// # Errors
/// It is no number.
pub fn cpu_weight() -> Result<u64> {
    Ok(setting("CPUWeight")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_that_the_unit_promises() {
        assert_eq!(memory_max().expect("it is set"), 64 << 20);
        assert_eq!(cpu_percent().expect("it is set"), 25);
        assert_eq!(cpu_weight().expect("it is set"), 500);
    }

    #[test]
    fn first_version_is_found_by_its_mount_options() {
        let mount = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0";
        let found = Some(("/sys/fs/cgroup/cpu,cpuacct".into(), Version::One));
        assert_eq!(hierarchy(mount, "cpu"), found);
        assert_eq!(hierarchy(mount, "memory"), None);
    }
}
