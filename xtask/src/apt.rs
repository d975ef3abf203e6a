//! Debian-like systems: what their package manager offers, has installed, and is asked to install.
//!
//! Installs only as root, never removes anything (`--no-remove`), never pulls in recommended packages, and updates the
//! package lists at most once per invocation.

use crate::exec::{self, Steps};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Lists older than this may name package files that mirrors no longer carry.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Every invocation's settings: the user sees what happens, and is asked nothing.
const INSTALL: &str = "apt-get install -y --no-install-recommends --no-remove";

/// Whether this is a system whose packages apt manages.
pub fn is_here() -> bool {
    exec::on_path("apt-get").is_some() && exec::on_path("apt-cache").is_some()
}

/// The versions that would be installed, for those of `packages` that can be had.
pub fn candidates<'a>(packages: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let policy = exec::query(
        Command::new("apt-cache")
            .env("LC_ALL", "C")
            .arg("policy")
            .args(packages),
    );
    parse_policy(&policy.unwrap_or_default())
}

/// The packages that one version of `package` depends on, alternatives included.
pub fn dependencies(package: &str) -> Vec<String> {
    let show = exec::query(Command::new("apt-cache").env("LC_ALL", "C").args([
        "show",
        "--no-all-versions",
        package,
    ]));
    parse_depends(&show.unwrap_or_default())
}

/// Those of `packages` that are installed.
pub fn installed<'a>(packages: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    // dpkg-query fails when it does not know one of the packages, but still prints the others.
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output();
    let Ok(output) = output else {
        return Vec::new();
    };
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    listed
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .map(str::to_owned)
        .collect()
}

/// The mirror of Debian itself that this machine uses, whatever release it is of.
///
/// Read from the sources, not from what was fetched by them: a machine may have no lists yet.
pub fn mirror() -> Result<String> {
    let parts = fs::read_dir("/etc/apt/sources.list.d");
    let parts = parts.into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    files.push("/etc/apt/sources.list".into());
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let mut mirrors = texts.filter_map(|text| find_mirror(&text));
    mirrors
        .next()
        .context("no source of apt's is a mirror of Debian")
}

/// The command that a user without root's rights is told to run.
pub fn by_hand(packages: &[String]) -> String {
    format!(
        "sudo apt-get update && sudo {INSTALL} {}",
        packages.join(" ")
    )
}

/// Brings the package lists up to date when there are none or they are old. Needs root.
pub fn refresh_lists(steps: &mut Steps) -> Result<()> {
    if lists_age().is_some_and(|age| age < STALE) {
        return Ok(());
    }
    steps.note("updating the package lists: there are none, or they are older than a day");
    steps.run(apt_get().arg("update"))
}

/// Installs `packages`. Needs root.
pub fn install(steps: &mut Steps, packages: &[String]) -> Result<()> {
    refresh_lists(steps)?;
    let mut words = INSTALL.split(' ').skip(1).collect::<Vec<_>>();
    words.extend(packages.iter().map(String::as_str));
    let mut install = apt_get();
    install.args(words);
    steps.close_line();
    if !exec::status(&mut install)?.success() {
        bail!(
            "{} failed. It may not remove packages: if it said that one would have to go, that is for you to decide. \
             If a package file was not found, run `apt-get update` and try again",
            exec::shown(&install)
        );
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = exec::command("apt-get");
    // Without a terminal of its own, dpkg prints no progress bars into a log.
    command.args(["-q", "-o", "Dpkg::Use-Pty=0"]);
    // RUNLEVEL is for sysvinit: in single-user mode no package starts its service. systemd is `services`' business.
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1")
        .env("PREVLEVEL", "N");
    command
}

/// How long ago the lists were updated; `None` without lists. Each update works in `partial`, and touches it.
fn lists_age() -> Option<Duration> {
    let lists = "/var/lib/apt/lists";
    let has_lists = fs::read_dir(lists)
        .ok()?
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("_dists_"));
    let updated = fs::metadata(format!("{lists}/partial"))
        .ok()?
        .modified()
        .ok()?;
    has_lists.then(|| {
        SystemTime::now()
            .duration_since(updated)
            .unwrap_or_default()
    })
}

/// `apt-cache policy`: a package's name at the margin, then indented facts. Packages without a candidate are left out.
fn parse_policy(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut package = "";
    for line in text.lines() {
        if !line.starts_with(' ') {
            package = line.trim_end_matches(':');
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ")
            && version != "(none)"
        {
            found.insert(package.to_owned(), version.to_owned());
        }
    }
    found
}

/// The package names in the `Depends:` line of `apt-cache show`.
pub fn parse_depends(text: &str) -> Vec<String> {
    let depends = text
        .lines()
        .find_map(|line| line.strip_prefix("Depends: "))
        .unwrap_or_default();
    let names = depends
        .split([',', '|'])
        .filter_map(|item| item.split_whitespace().next());
    names
        .map(|name| name.split(':').next().unwrap_or(name).to_owned())
        .collect()
}

/// The first address that ends in `/debian`, in either format of apt's sources.
fn find_mirror(text: &str) -> Option<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    let found = words.find(|word| {
        let is_address = word.starts_with("http://") || word.starts_with("https://");
        is_address && word.trim_end_matches('/').ends_with("/debian")
    })?;
    Some(found.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_candidate_cannot_be_had() {
        let policy = "llvm-22-dev:\n  Installed: (none)\n  Candidate: 1:22.1.8-1\n  Version table:\n     1:22.1.8-1 500\n\
                      llvm-23-dev:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        let expected = BTreeMap::from([("llvm-22-dev".to_owned(), "1:22.1.8-1".to_owned())]);
        assert_eq!(parse_policy(policy), expected);
    }

    #[test]
    fn dependencies_come_without_versions_and_architectures() {
        let show = "Package: p\nDepends: libc6 (>= 2.34), libllvm22, python3:any | python3-minimal\nSize: 1\n";
        assert_eq!(
            parse_depends(show),
            ["libc6", "libllvm22", "python3", "python3-minimal"]
        );
    }

    #[test]
    fn the_mirror_is_found_in_both_formats_and_not_in_comments() {
        let new = "Types: deb\n# http://old.example/debian\nURIs: http://mirror.example/debian/\nSuites: bookworm\n";
        let old = "deb https://mirror.example/debian bookworm main\n";
        let other = "deb https://packages.example/apt stable main\n";
        assert_eq!(
            find_mirror(new).as_deref(),
            Some("http://mirror.example/debian")
        );
        assert_eq!(
            find_mirror(old).as_deref(),
            Some("https://mirror.example/debian")
        );
        assert_eq!(find_mirror(other), None);
    }
}
