//! Finds what the stack is made of, and says all at once what is missing. It installs nothing.

use super::USER;
use anyhow::{Result, bail};
use std::fs;
use std::path::PathBuf;

/// Where the servers of Debian lie, also where PATH does not say so.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"];

/// The servers' programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    pub(super) nginx: PathBuf,
    pub(super) php_fpm: PathBuf,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Programs {
    /// Looks for nginx, php-fpm, root and the user `www-data`.
    ///
    /// # Errors
    /// Says everything that is missing, not only the first thing.
    pub fn find() -> Result<Self> {
        let mut missing = Vec::new();
        let nginx = in_path(|name| (name == "nginx").then(String::new));
        if nginx.is_none() {
            missing.push("nginx (Debian: apt-get install nginx-light)".to_owned());
        }
        // `php-fpm8.2`: the version is in the name; the highest wins, as text.
        let php_fpm = in_path(|name| {
            let version = name.strip_prefix("php-fpm")?;
            let is_version = version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            is_version.then(|| version.to_owned())
        });
        if php_fpm.is_none() {
            missing.push("php-fpm (Debian: apt-get install php-fpm)".to_owned());
        }
        if !rustix::process::geteuid().is_root() {
            missing.push(format!("root, so that the servers can become `{USER}`"));
        }
        let ids = ids_of(USER);
        if ids.is_none() {
            missing.push(format!("the user `{USER}` in /etc/passwd"));
        }
        match (nginx, php_fpm, ids) {
            (Some(nginx), Some(php_fpm), Some((uid, gid))) if missing.is_empty() => Ok(Self {
                nginx,
                php_fpm,
                uid,
                gid,
            }),
            _ => bail!("the web stack needs {}", missing.join("; ")),
        }
    }
}

/// The program for whose file name `rank` gives the highest text, in PATH and where servers lie.
fn in_path(rank: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    folders
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| {
            Some((
                rank(entry.as_ref().ok()?.file_name().to_str()?)?,
                entry.ok()?,
            ))
        })
        .max_by(|(a, _), (b, _)| a.cmp(b))
        .map(|(_, entry)| entry.path())
}

/// User and group id of `user` in /etc/passwd.
fn ids_of(user: &str) -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = passwd
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(user)).then_some(fields))?;
    let uid = fields.nth(1)?.parse().ok()?;
    Some((uid, fields.next()?.parse().ok()?))
}
