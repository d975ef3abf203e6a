//! Runs other programs, and says which step is under way.
//!
//! Every child gets an environment without what the cargo around this program put into it: those variables make
//! build scripts believe that something changed (so that `cargo build` and `cargo xtask build` rebuild each other's work), or
//! point a second toolchain at the first one's compiler. Output streams through untouched, on the child's own streams.

use anyhow::{Context as _, Result, bail};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The steps of one verb, a line each on standard error: `[2/5] build the BPF object (4.1 s)`.
pub struct Steps {
    total: usize,
    current: usize,
    title: String,
    started: Instant,
    /// The title's line has no end yet: nothing else was printed since.
    open: bool,
    colour: bool,
}

impl Steps {
    /// Announces nothing yet; `total` is what the verb promises to go through.
    pub fn new(total: usize) -> Self {
        let colour = std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self {
            total,
            current: 0,
            title: String::new(),
            started: Instant::now(),
            open: false,
            colour,
        }
    }

    /// Ends the step before, if any, and announces the next one.
    pub fn begin(&mut self, title: impl Into<String>) {
        self.end();
        self.current += 1;
        self.title = title.into();
        self.started = Instant::now();
        self.open = true;
        eprint!("{}", self.label());
        // Standard error is unbuffered; a failing terminal is no reason to fail a build.
        let _ = std::io::stderr().flush();
    }

    /// Adds to the announced title what was found out since.
    pub fn describe(&mut self, more: &str) {
        if self.open {
            eprint!(" {more}");
        }
        self.title.push(' ');
        self.title.push_str(more);
    }

    /// One line of explanation below the step's title.
    pub fn note(&mut self, text: impl AsRef<str>) {
        self.close_line();
        eprintln!("      {}", text.as_ref());
    }

    /// Runs `command` with its output streaming through, and fails when it does.
    pub fn run(&mut self, command: &mut Command) -> Result<()> {
        self.close_line();
        let status = status(command)?;
        check(command, status)
    }

    /// Ends the step with its duration. Idempotent.
    pub fn end(&mut self) {
        let seconds = self.started.elapsed().as_secs_f32();
        if self.open {
            eprintln!(" ({seconds:.1} s)");
            self.open = false;
        } else if !self.title.is_empty() {
            eprintln!("{} ({seconds:.1} s)", self.label());
        }
        self.title.clear();
    }

    /// For printing anything else: ends the title's line if it is still open.
    pub fn close_line(&mut self) {
        if std::mem::take(&mut self.open) {
            eprintln!(" ...");
        }
    }

    fn label(&self) -> String {
        let (bold, plain) = if self.colour {
            ("\x1b[1;36m", "\x1b[0m")
        } else {
            ("", "")
        };
        format!(
            "{bold}[{}/{}]{plain} {}",
            self.current, self.total, self.title
        )
    }
}

impl Drop for Steps {
    /// An error leaves the step unfinished; its message starts on a line of its own.
    fn drop(&mut self) {
        self.close_line();
    }
}

/// The workspace's root folder. Cargo says where it is now: a checkout that was moved or copied with its target
/// folder is not compiled again, and the path of the compilation would be another's.
pub fn workspace() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR");
    let xtask = xtask.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask)
        .parent()
        .expect("xtask lies in the workspace's root folder")
        .to_owned()
}

/// Cargo's target folder for the host: the one this program was built into, wherever the user's settings put it.
pub fn target_dir() -> Result<PathBuf> {
    let exe = env::current_exe().context("finding this program's own path")?;
    let target = exe
        .ancestors()
        .nth(2)
        .context("this program lies in no target folder")?;
    Ok(target.to_owned())
}

/// A command in the workspace's root, in the user's environment.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace());
    for (name, _) in env::vars_os() {
        if is_leaked(&name) {
            command.env_remove(name);
        }
    }
    command
}

/// The cargo that runs this program, for everything on the host's side.
pub fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// What a command prints on standard output, or `None` when it cannot be run or fails. For looking at the machine.
pub fn query(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` with its output streaming through.
pub fn status(command: &mut Command) -> Result<ExitStatus> {
    command
        .status()
        .with_context(|| format!("cannot run {}", shown(command)))
}

/// Runs `command` for at most `limit`, then kills it.
pub fn status_within(command: &mut Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Turns a failure into an error that names the command, so that it can be repeated by hand.
pub fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// A command as one would type it, without its environment.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The first file of that name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// PATH with `folder` in front.
pub fn path_with(folder: &Path) -> Result<OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&rest));
    env::join_paths(folders).context("a folder on PATH contains a colon")
}

/// Whether the cargo around this program set this variable for it, rather than the user for everything.
fn is_leaked(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || [
            "CARGO",
            "CARGO_BIN_NAME",
            "CARGO_CRATE_NAME",
            "CARGO_PRIMARY_PACKAGE",
            "OUT_DIR",
        ]
        .contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_set_for_this_program_leaks_and_what_the_user_set_does_not() {
        for leaked in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "OUT_DIR"] {
            assert!(is_leaked(OsStr::new(leaked)), "{leaked}");
        }
        for kept in [
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_TERM_COLOR",
            "RUSTUP_TOOLCHAIN",
            "PATH",
        ] {
            assert!(!is_leaked(OsStr::new(kept)), "{kept}");
        }
    }

    #[test]
    fn a_command_past_its_limit_is_killed() {
        let status = status_within(Command::new("sleep").arg("60"), Duration::from_millis(100));
        assert!(matches!(status, Ok(None)), "{status:?}");
    }
}
