//! Facts about this machine that decide what can be loaded. Reads, never judges.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    btf::Btf,
    offsets::Found,
    probe::{Hook, Probe},
};

/// Where the kernel keeps its own type information.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// What this machine offers.
#[derive(Debug)]
pub struct Facts {
    /// `uname -r`.
    pub kernel_release: String,
    /// Type information, or why there is none.
    pub types: Result<Types, String>,
    /// Effective capabilities, one bit each; 0 when unreadable.
    pub capabilities: u64,
    /// Bytes of memory this process may lock, where this kernel charges maps to that (before 5.11).
    pub locked_memory_bytes: Option<u64>,
    /// Where the cgroup v2 hierarchy is mounted.
    pub cgroup_v2: Option<PathBuf>,
    /// `/proc/pressure/cpu` can be read.
    pub pressure: bool,
    /// Value of `/sys/kernel/security/lockdown` in brackets, when the kernel has it.
    pub lockdown: Option<String>,
    /// Package database found.
    pub package_database: Option<&'static str>,
}

/// What BTF says.
#[derive(Debug)]
pub struct Types {
    /// Member offsets.
    pub found: Found,
    /// Probes whose hook this kernel has.
    pub hooks: Vec<Probe>,
}

/// Capabilities, by bit number (`include/uapi/linux/capability.h`).
pub mod capability {
    /// Names another user's processes.
    pub const SYS_PTRACE: u32 = 19;
    /// Root's catch-all; includes the BPF ones before 5.8.
    pub const SYS_ADMIN: u32 = 21;
    /// Looks into packets.
    pub const NET_ADMIN: u32 = 12;
    /// Raises limits, such as that of locked memory.
    pub const SYS_RESOURCE: u32 = 24;
    /// Reads files regardless of their mode: needed to hash other users' binaries.
    pub const DAC_READ_SEARCH: u32 = 2;
    /// Attaches tracing programs.
    pub const PERFMON: u32 = 38;
    /// Loads programs and makes maps.
    pub const BPF: u32 = 39;
}

impl Facts {
    /// Looks at this machine.
    pub fn read() -> Self {
        let exists = |path: &str| Path::new(path).exists();
        let kernel_release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        Facts {
            locked_memory_bytes: charges_locked_memory(&kernel_release).then(locked_memory_limit),
            kernel_release,
            types: Btf::read(Path::new(BTF_PATH))
                .map(|btf| Types::read(&btf))
                .map_err(|error| error.to_string()),
            capabilities: capabilities(
                &fs::read_to_string("/proc/self/status").unwrap_or_default(),
            ),
            cgroup_v2: fs::read_to_string("/proc/self/mounts")
                .ok()
                .and_then(|mounts| cgroup_v2(&mounts)),
            pressure: fs::read_to_string("/proc/pressure/cpu").is_ok(),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .ok()
                .and_then(|modes| Some(modes.split_once('[')?.1.split_once(']')?.0.to_owned())),
            package_database: [
                ("/var/lib/dpkg/info", "dpkg"),
                ("/var/lib/rpm", "rpm"),
                ("/usr/lib/sysimage/rpm", "rpm"),
            ]
            .into_iter()
            .find_map(|(path, name)| exists(path).then_some(name)),
        }
    }

    /// Whether the effective set has a capability; `CAP_SYS_ADMIN` stands for BPF and PERFMON too.
    pub fn can(&self, capability: u32) -> bool {
        let has = |bit: u32| self.capabilities >> bit & 1 == 1;
        has(capability)
            || (matches!(capability, capability::BPF | capability::PERFMON)
                && has(capability::SYS_ADMIN))
    }
}

impl Types {
    fn read(btf: &Btf) -> Self {
        let has_hook = |probe: &Probe| match probe.hook() {
            Hook::Tracepoint(name) => btf.has_typedef(&format!("btf_trace_{name}")),
            Hook::Packets => true,
            Hook::Iterator(name) => btf.member(&format!("bpf_iter__{name}"), "").is_some(),
        };
        Types {
            found: Found::read(btf),
            hooks: Probe::ALL.into_iter().filter(has_hook).collect(),
        }
    }
}

/// From 5.11 on maps are charged to the cgroup's memory.
fn charges_locked_memory(kernel_release: &str) -> bool {
    let mut numbers = kernel_release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    matches!((number(), number()), (Some(major), Some(minor)) if (major, minor) < (5, 11))
}

/// The hard limit: the soft one is raised to it.
fn locked_memory_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Memlock)
        .maximum
        .unwrap_or(u64::MAX)
}

/// Where the first cgroup v2 hierarchy of `/proc/self/mounts` is mounted.
fn cgroup_v2(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    })
}

/// `CapEff` of a `/proc/PID/status` text; 0 when it is not there.
fn capabilities(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_v2_mount_is_found_wherever_it_is() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(
            cgroup_v2(mounts),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(cgroup_v2("cgroup2"), None);
    }

    #[test]
    fn maps_are_locked_memory_before_5_11() {
        for (release, expected) in [
            ("5.10.0-33-cloud-amd64", true),
            ("5.4.0", true),
            ("4.18.0-553.el8_10.x86_64", true),
            ("5.11.0", false),
            ("6.1.0-31-amd64", false),
            ("10.0", false),
            ("unknown", false),
        ] {
            assert_eq!(charges_locked_memory(release), expected, "{release}");
        }
    }

    #[test]
    fn effective_capabilities_are_read_from_the_status_text() {
        let status = "CapPrm:\t0000000000000001\nCapEff:\t000000c000000000\n";
        assert_eq!(capabilities(status), 1 << 38 | 1 << 39);
        assert_eq!(capabilities(""), 0);
    }
}
