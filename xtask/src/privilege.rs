//! Whether this process may load BPF programs here, or else the reason why not.

use std::fs::{self, File};

const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// The kernel's own types, from which the daemon reads member offsets.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// `None` when kernel programs can be loaded; else what is missing, for a person.
pub fn missing() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !may_load(effective_capabilities(&status)) {
        return Some("it needs root, or CAP_BPF and CAP_PERFMON".into());
    }
    File::open(KERNEL_BTF)
        .err()
        .map(|error| format!("{KERNEL_BTF} cannot be read: {error}"))
}

/// Whether packages can be installed.
pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}

fn may_load(capabilities: u64) -> bool {
    let both = CAP_BPF | CAP_PERFMON;
    capabilities & both == both || capabilities & CAP_SYS_ADMIN != 0
}

/// None when the line is missing, which no kernel that can run this does.
fn effective_capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpf_alone_may_not_load_and_bpf_with_perfmon_may() {
        assert!(!may_load(CAP_BPF));
        assert!(may_load(CAP_BPF | CAP_PERFMON));
        assert!(may_load(CAP_SYS_ADMIN));
    }

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        let status =
            "CapPrm:\t000001ffffffffff\nCapEff:\t000000c000000000\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(effective_capabilities(status), CAP_BPF | CAP_PERFMON);
    }
}
