//! The program `actor` at work: a child that does one known thing and says in JSON what it was.

use crate::process::Owned;
use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long one may take to end once it was told: what it runs may be many children.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// A running actor; ended when dropped.
#[derive(Debug)]
pub struct Actor {
    owned: Owned,
    lines: BufReader<ChildStdout>,
}

impl Actor {
    /// Starts any command that ends up as an actor.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command) -> Result<Actor> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut owned = Owned::start("actor", &mut command, Signal::KILL)?;
        let stdout = owned.child().stdout.take().context("stdout is a pipe")?;
        let lines = BufReader::new(stdout);
        Ok(Actor { owned, lines })
    }

    /// Starts one that goes on until it is told that it is enough, and waits until it has begun.
    ///
    /// # Errors
    /// It cannot be started, or says something else.
    pub fn begin(command: Command) -> Result<Actor> {
        let mut actor = Actor::start(command)?;
        let said = actor.says()?;
        ensure!(said["began"] == true, "the actor says {said}");
        Ok(actor)
    }

    /// Process id of what was started.
    pub fn pid(&self) -> u32 {
        self.owned.pid()
    }

    /// The next thing it says. The actor bounds its own life, so this ends.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn says(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the actor says {line:?}"))
    }

    /// Gives it a line.
    ///
    /// # Errors
    /// It reads no more.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.owned.child().stdin.as_mut();
        writeln!(stdin.context("its input has ended")?, "{line}")?;
        Ok(())
    }

    /// Ends its standard input: it is enough.
    pub fn enough(&mut self) {
        drop(self.owned.child().stdin.take());
    }

    /// The same, and waits for its end.
    ///
    /// # Errors
    /// It goes on.
    pub fn finish(mut self) -> Result<ExitStatus> {
        self.enough();
        self.owned.wait(ENDS_WITHIN)
    }
}
