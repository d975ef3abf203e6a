//! Keeps services stopped that a package would start when it is installed: a build must not open ports.
//!
//! nginx, php-fpm, Alertmanager, rsyslog and nats-server are wanted as programs that tests and the demo run themselves, as
//! their own children and on ports of their own. Under systemd their units are masked until the next boot at most
//! (`--runtime`) while apt runs, then unmasked; without it, apt runs as in single-user mode. They are disabled in either case.
//! Services that were there before are left alone, and whatever starts in spite of this is stopped, and named.

use crate::exec::{self, Steps};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is undone when apt has finished.
pub struct KeepStopped {
    /// Units that did not exist before.
    units: Vec<&'static str>,
    /// systemd runs, and has them masked while apt runs.
    masked: bool,
    /// The services' processes from before, which are none of our business.
    running_before: BTreeMap<u32, PathBuf>,
}

/// Units of the packages that `setup` may install on request; the version in php-fpm's is the distribution's.
const UNITS: [&str; 9] = [
    "nginx.service",
    "php8.1-fpm.service",
    "php8.2-fpm.service",
    "php8.3-fpm.service",
    "php8.4-fpm.service",
    "php8.5-fpm.service",
    "prometheus-alertmanager.service",
    "rsyslog.service",
    "nats-server.service",
];

impl KeepStopped {
    /// To be called before apt runs.
    pub fn begin(steps: &mut Steps) -> Self {
        let units = UNITS
            .into_iter()
            .filter(|unit| !unit_exists(unit))
            .collect::<Vec<_>>();
        let has_systemd = Path::new("/run/systemd/system").is_dir();
        let masked = has_systemd && systemctl(&["mask", "--runtime"], &units);
        if has_systemd && !masked {
            steps.note("systemd would not mask the units of the packages: their services may start for a moment");
        }
        Self {
            units,
            masked,
            running_before: running(),
        }
    }

    /// To be called after apt ran, whether it succeeded or not.
    pub fn end(self, steps: &mut Steps) -> Result<()> {
        if self.masked && !systemctl(&["unmask", "--runtime"], &self.units) {
            bail!(
                "systemd would not unmask {} again; do so by hand",
                self.units.join(" ")
            );
        }
        let new = self
            .units
            .into_iter()
            .filter(|unit| unit_exists(unit))
            .collect::<Vec<_>>();
        // Works without systemd too, on the links that would start them at the next boot.
        if !new.is_empty() && systemctl(&["disable"], &new) {
            steps.note(format!(
                "{} will not start at boot either",
                new.join(" and ")
            ));
        }
        for (pid, exe) in running()
            .into_iter()
            .filter(|(pid, _)| !self.running_before.contains_key(pid))
        {
            steps.note(format!(
                "stopping {} (process {pid}), which its package started",
                exe.display()
            ));
            // It may have gone by itself; the end of its master process takes the workers along.
            let _ = exec::query(Command::new("kill").arg(pid.to_string()));
        }
        Ok(())
    }
}

fn systemctl(verb: &[&str], units: &[&str]) -> bool {
    exec::query(
        Command::new("systemctl")
            .args(verb)
            .arg("--quiet")
            .args(units),
    )
    .is_some()
}

/// Processes whose executable is one of the services' programs. Processes that end meanwhile are left out.
fn running() -> BTreeMap<u32, PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let exes = pids.filter_map(|pid| Some((pid, fs::read_link(format!("/proc/{pid}/exe")).ok()?)));
    exes.filter(|(_, exe)| is_service(exe)).collect()
}

fn is_service(exe: &Path) -> bool {
    let Some(name) = exe.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    const OTHERS: [&str; 4] = [
        "nginx",
        "prometheus-alertmanager",
        "rsyslogd",
        "nats-server",
    ];
    let packaged = exe.starts_with("/usr/sbin") || exe.starts_with("/usr/bin");
    packaged && (OTHERS.contains(&name) || name.starts_with("php-fpm"))
}

fn unit_exists(unit: &str) -> bool {
    [
        "/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/etc/systemd/system",
    ]
    .iter()
    .any(|folder| Path::new(folder).join(unit).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_packaged_server_counts_as_a_service() {
        assert!(is_service(Path::new("/usr/sbin/php-fpm8.2")));
        assert!(is_service(Path::new("/usr/bin/prometheus-alertmanager")));
        assert!(!is_service(Path::new("/usr/sbin/sshd")));
        assert!(!is_service(Path::new("/home/me/nginx")));
    }
}
