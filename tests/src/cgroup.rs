//! A cgroup of a test's own: made for it, and gone with everything in it.

use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long what was killed may take to be gone.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);

/// Below the root of the cgroup v2 hierarchy. Dropping it ends what runs in it and removes it.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    id: u64,
}

impl Cgroup {
    /// A new one whose name begins with `name`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(root: &Path, name: &str) -> Result<Self> {
        let folder = root.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let id = fs::metadata(&folder)?.ino();
        Ok(Self { folder, id })
    }

    /// As the kernel numbers it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its path below the root.
    #[must_use]
    pub fn path(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        format!("/{}", name.to_string_lossy())
    }

    /// The same command, run inside.
    #[must_use]
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("/bin/sh");
        inside
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&self.folder)
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let deadline = Instant::now() + EMPTY_WITHIN;
        // Before 5.14 there is no such file: whoever started something ends it.
        let _unknown = fs::write(self.folder.join("cgroup.kill"), "1");
        while let Err(error) = fs::remove_dir(&self.folder) {
            if Instant::now() > deadline {
                eprintln!("cannot remove {}: {error}", self.folder.display());
                return;
            }
            std::thread::yield_now();
        }
    }
}
