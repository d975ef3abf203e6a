//! What this process may do once everything is attached: less than it took to attach it.
//!
//! To load needs `CAP_BPF` and `CAP_PERFMON`; what follows reads maps, opens passes of an iterator that is loaded, and
//! looks at processes and files of others. Whoever takes over the daemon later cannot load programs with it any more.
//! The inheritable and ambient sets are emptied, so that a program it starts (the `command` receiver) gets nothing.
//!
//! Capabilities belong to a thread, and a thread has those of the one that made it: this is done before there is a second.

use rustix::{
    io,
    thread::{self, CapabilitySet, CapabilitySets},
};

use super::load::Loaded;

/// Gives up what is not used any more; returns what is left.
///
/// # Errors
/// The kernel refuses to take capabilities away, which it does to nobody.
pub fn shed(loaded: &mut Loaded) -> io::Result<CapabilitySet> {
    thread::clear_ambient_capability_set()?;
    let had = thread::capabilities(None)?.permitted;
    let mut kept = had & used(loaded.can_watch(), rustix::process::geteuid().is_root());
    limit(kept, had)?;
    // Before 5.19, where `kernel.unprivileged_bpf_disabled` is set, no call of bpf(2) works without, reading a map included.
    if !loaded.rehearse() {
        kept |= had & (CapabilitySet::BPF | CapabilitySet::SYS_ADMIN);
        if kept.contains(CapabilitySet::BPF) {
            // Before 5.8 it was part of the other one.
            kept.remove(CapabilitySet::SYS_ADMIN);
        }
    }
    limit(kept, kept)?;
    Ok(kept)
}

/// What the daemon uses as long as it runs.
fn used(watches_packets: bool, is_root: bool) -> CapabilitySet {
    // Names, descriptors, roots and images of other users' processes; their files, for hashing.
    let mut used = CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
    // Attaching to a cgroup is allowed each time anew.
    used.set(CapabilitySet::NET_ADMIN, watches_packets);
    // Root expects to write where it is told to: an archive in somebody else's folder.
    used.set(CapabilitySet::DAC_OVERRIDE, is_root);
    used
}

fn limit(effective: CapabilitySet, permitted: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets {
        effective,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, sets)
}

/// Names for people: `BPF PERFMON`; `none`.
pub fn names(capabilities: CapabilitySet) -> String {
    let names: Vec<&str> = capabilities.iter_names().map(|(name, _)| name).collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loads_programs_is_never_among_what_is_used_later() {
        assert_eq!(names(used(false, false)), "DAC_READ_SEARCH SYS_PTRACE");
        assert_eq!(
            names(used(true, false)),
            "DAC_READ_SEARCH NET_ADMIN SYS_PTRACE"
        );
        assert_eq!(
            names(used(false, true)),
            "DAC_OVERRIDE DAC_READ_SEARCH SYS_PTRACE"
        );
        assert_eq!(names(CapabilitySet::empty()), "none");
    }
}
