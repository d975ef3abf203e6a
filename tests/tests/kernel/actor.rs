//! [`tests::actor::Actor`] for tests, which have nothing to do where it fails.

use std::{
    ffi::OsStr,
    process::{Command, ExitStatus},
};

use serde_json::Value;
use tests::actor;

/// The program of the acts.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_actor");

/// A running actor; ended when dropped.
pub struct Actor(actor::Actor);

impl Actor {
    /// Starts the actor program.
    pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(args);
        Self::start_command(command)
    }

    /// Starts any command that ends up as an actor.
    pub fn start_command(command: Command) -> Self {
        Actor(actor::Actor::start(command).expect("it starts"))
    }

    /// Process id of what was started.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// The next thing it says.
    pub fn says(&mut self) -> Value {
        self.0.says().expect("it speaks JSON")
    }

    /// Gives it a line.
    pub fn tell(&mut self, line: &str) {
        self.0.tell(line).expect("it reads");
    }

    /// Lets it go on to its end, and reaps it.
    pub fn finish(self) -> ExitStatus {
        self.0.finish().expect("it ends in time")
    }
}
