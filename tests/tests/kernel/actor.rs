//! A child that does one known thing and says what it was.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tests::process::Owned;

/// The program of the acts.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_actor");

/// A running actor; ended when dropped.
pub struct Actor {
    owned: Owned,
    lines: BufReader<ChildStdout>,
}

impl Actor {
    /// Starts the actor program.
    pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(args);
        Self::start_command(command)
    }

    /// Starts any command that ends up as an actor.
    pub fn start_command(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut owned = Owned::start("actor", &mut command, Signal::KILL).expect("it starts");
        let stdout = owned.child().stdout.take().expect("stdout is a pipe");
        Actor {
            owned,
            lines: BufReader::new(stdout),
        }
    }

    /// Process id of what was started.
    pub fn pid(&self) -> u32 {
        self.owned.pid()
    }

    /// The next thing it says. The actor bounds its own life, so this ends.
    pub fn says(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the pipe is open");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Gives it a line.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.owned.child().stdin.as_mut().expect("it is a pipe");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// Ends its standard input.
    pub fn enough(&mut self) {
        drop(self.owned.child().stdin.take());
    }

    /// Lets it go on to its end, and reaps it.
    pub fn finish(mut self) -> ExitStatus {
        drop(self.owned.child().stdin.take());
        self.owned
            .wait(Duration::from_secs(120))
            .expect("it ends in time")
    }
}
