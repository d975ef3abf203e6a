//! An intruder's foothold: a folder of `www-data`'s with programs in it, and the sessions that run them.
//!
//! Owns the folder and what was started from it: dropping a [`Session`] ends everything in its process group,
//! dropping a [`Foothold`] removes the folder. Every planted program differs from every other by its last bytes, so
//! that two tests never look like one campaign by hash. Sessions are made by `runuser`, which like cron, su and
//! sshd begins a lineage of its own whatever the tests were started from.

use crate::process::Owned;
use anyhow::{Context as _, Result};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// uid and gid of Debian's `www-data`.
pub const WWW_DATA: u32 = 33;

/// The folder.
#[derive(Debug)]
pub struct Foothold {
    folder: TempDir,
}

impl Foothold {
    /// A new folder below `/var/tmp` whose name begins with `prefix`; hidden, if that is a dot.
    ///
    /// # Errors
    /// When it cannot be created and given away.
    pub fn new(prefix: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in("/var/tmp")?;
        chown(folder.path(), Some(WWW_DATA), Some(WWW_DATA))
            .context("only root can give a folder to www-data")?;
        Ok(Self { folder })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Copies `program` under a new name, and makes it one of a kind.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn plant(&self, program: &Path, name: impl AsRef<OsStr>) -> Result<PathBuf> {
        let planted = self.write(name.as_ref(), &fs::read(program)?)?;
        // An ELF file may end with anything: its headers say what is loaded.
        let mark = format!("\n{}\n", planted.display());
        fs::OpenOptions::new()
            .append(true)
            .open(&planted)?
            .write_all(mark.as_bytes())?;
        Ok(planted)
    }

    /// Writes an executable script.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn script(&self, name: &str, text: &str) -> Result<PathBuf> {
        self.write(OsStr::new(name), text.as_bytes())
    }

    fn write(&self, name: &OsStr, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        chown(&path, Some(WWW_DATA), Some(WWW_DATA))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// A command of `user` in this folder, in a session of its own, for whoever wants to talk to it.
    pub fn command_of(&self, user: &str, command: &[impl AsRef<OsStr>]) -> Command {
        runuser(user, self.path(), command)
    }

    /// Runs a command as `www-data` in this folder, in a session of its own.
    ///
    /// # Errors
    /// When `runuser` cannot be started.
    pub fn start(&self, command: &[impl AsRef<OsStr>]) -> Result<Session> {
        Session::start("www-data", self.path(), command)
    }
}

/// With a few variables of the environment only.
fn runuser(user: &str, folder: &Path, command: &[impl AsRef<OsStr>]) -> Command {
    let mut runuser = Command::new("/usr/sbin/runuser");
    runuser.args(["-u", user, "--"]).args(command);
    runuser.env_clear();
    runuser.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    runuser.env("HOME", folder).env("TMPDIR", folder);
    runuser.current_dir(folder);
    runuser
}

/// What one user runs. Dropping it ends it.
#[derive(Debug)]
pub struct Session {
    process: Owned,
    /// Just before it began.
    pub started: Instant,
}

impl Session {
    /// Runs a command as `user`, without a terminal.
    ///
    /// # Errors
    /// When `runuser` cannot be started.
    pub fn start(user: &str, folder: &Path, command: &[impl AsRef<OsStr>]) -> Result<Self> {
        let mut runuser = runuser(user, folder, command);
        let (null, log) = (Stdio::null(), fs::File::create(folder.join("log"))?);
        runuser.stdin(null).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let process = Owned::start("runuser", &mut runuser, Signal::KILL)?;
        Ok(Self { process, started })
    }

    /// Process id of the session's maker, the parent of its first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.process.has_exited()
    }

    /// Waits until it ends by itself; whether with success.
    ///
    /// # Errors
    /// When it still runs at `deadline`.
    pub fn finish(&mut self, deadline: Instant) -> Result<bool> {
        let patience = deadline.saturating_duration_since(Instant::now());
        Ok(self.process.wait(patience)?.success())
    }
}
