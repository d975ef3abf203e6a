//! Which superblock a mount shows: `/proc/PID/mountinfo`.
//!
//! The kernel side reports `i_sb->s_dev`. On btrfs and on an overlay over several file systems
//! `stat(2)` gives another device for the same file; `mountinfo` gives the superblock's.

use super::procfs::ProcessDir;
use rustix::fd::{AsFd, AsRawFd};

/// Longest table read, bytes: 10,000 mounts have about 1.5 MiB.
const LIMIT_BYTES: usize = 4 << 20;

/// Device of the superblock behind an open file, in the mounts of `process` or else our own.
pub(super) fn superblock_dev(file: impl AsFd, process: Option<&ProcessDir>) -> Option<u64> {
    let fd = file.as_fd().as_raw_fd();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let mount_id = info
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))?
        .trim();
    let table = match process {
        Some(process) => process.read("mountinfo", LIMIT_BYTES).ok()?,
        None => std::fs::read("/proc/self/mountinfo").ok()?,
    };
    device_of(&String::from_utf8_lossy(&table), mount_id)
}

fn device_of(table: &str, mount_id: &str) -> Option<u64> {
    let device = table.lines().find_map(|line| {
        let mut fields = line.split(' ');
        (fields.next() == Some(mount_id)).then(|| fields.nth(1))?
    })?;
    let (major, minor) = device.split_once(':')?;
    Some(rustix::fs::makedev(
        major.parse().ok()?,
        minor.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_is_found_by_mount_id() {
        let table = "21 1 0:19 / /proc rw - proc proc rw\n212 1 259:2 /a /b rw - ext4 /dev/x rw\n";
        assert_eq!(device_of(table, "212"), Some(rustix::fs::makedev(259, 2)));
        assert_eq!(device_of(table, "2"), None);
    }

    #[test]
    fn superblock_of_a_plain_file_is_its_device() {
        use std::os::unix::fs::MetadataExt;
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let expected = file.metadata().unwrap().dev();
        assert_eq!(superblock_dev(&file, None), Some(expected));
    }
}
