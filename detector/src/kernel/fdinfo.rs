//! `/proc/self/fdinfo`: what the kernel says of a descriptor, without a call of bpf(2) and without a capability.

use std::{fs, os::fd::RawFd};

/// The text of one descriptor.
pub(super) fn read(fd: RawFd) -> Option<String> {
    fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()
}

/// A number in it, by its name.
pub(super) fn number(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        (field == name).then_some(value)
    });
    value?.trim().parse().ok()
}
