//! The daemon as its unit runs it: a user of its own, few capabilities, and no way to more.
//!
//! What systemd does for `User=`, `AmbientCapabilities=` and `CapabilityBoundingSet=`, `setpriv` of util-linux does here.

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

/// A user and a group that no file and no process of the machine belongs to.
pub const UID: u32 = 64_321;

/// What `dist/detector.service` grants, in the words of setpriv.
pub const GRANTED: [&str; 4] = ["bpf", "perfmon", "sys_ptrace", "dac_read_search"];

/// What its drop-in for mining protocols grants besides.
pub const NET_ADMIN: &str = "net_admin";

/// `command` as the service's user, with [`GRANTED`] and `more`. Without root's rights it stays as it is: whoever runs the
/// tests then has what the kernel needs, or they are skipped.
#[must_use]
pub fn unprivileged(command: &Command, more: &[&str]) -> Command {
    let mut service = if rustix::process::geteuid().is_root() {
        let capabilities = |sign: &str| {
            let names = GRANTED.iter().chain(more);
            let names: Vec<String> = names.map(|name| format!("{sign}{name}")).collect();
            names.join(",")
        };
        let mut setpriv = Command::new("setpriv");
        setpriv
            .arg(format!("--reuid={UID}"))
            .arg(format!("--regid={UID}"))
            .args(["--clear-groups", "--no-new-privs"])
            .arg(format!("--inh-caps=-all,{}", capabilities("+")))
            .arg(format!("--ambient-caps=-all,{}", capabilities("+")))
            .arg(format!("--bounding-set=-all,{}", capabilities("+")))
            .arg(command.get_program());
        setpriv
    } else {
        Command::new(command.get_program())
    };
    service.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => service.env(name, value),
            None => service.env_remove(name),
        };
    }
    service
}

/// Gives a folder to the service's user, as `StateDirectory=` does.
///
/// # Errors
/// It cannot be given away, by root.
pub fn give(folder: &Path) -> std::io::Result<()> {
    match rustix::process::geteuid().is_root() {
        true => chown(folder, Some(UID), Some(UID)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_run_with_is_what_the_unit_and_its_drop_in_grant() {
        let granted = |unit: &str| {
            let keys = ["AmbientCapabilities=", "CapabilityBoundingSet="];
            keys.map(|key| {
                let line = unit.lines().find_map(|line| line.strip_prefix(key));
                let names = line.unwrap_or_default().split_whitespace();
                names
                    .map(|name| name.trim_start_matches("CAP_").to_lowercase())
                    .collect::<Vec<_>>()
            })
        };
        let service = include_str!("../../dist/detector.service");
        let drop_in = include_str!("../../dist/mining-protocols.conf");
        assert_eq!(granted(service), [GRANTED, GRANTED]);
        assert_eq!(granted(drop_in), [[NET_ADMIN], [NET_ADMIN]]);
    }
}
