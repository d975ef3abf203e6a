//! One trial: build the copy, run its tests until the first one breaks.

use super::switch::CHOICE;
use crate::exec;
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The tests of one build take three seconds, those that simulate half a minute, on two CPUs; a change can make one endless.
const LIMIT: Duration = Duration::from_secs(300);

/// What is run, in this order: most changes break a test of the first line within a second. The tests of what only
/// carries events (outbox, receivers, files of `/proc`) know nothing of policy.
const STAGES: [&[&str]; 3] = [
    &["detect::", "incident::"],
    &[
        "event::",
        "render::",
        "config::",
        "judge::",
        "recording::",
        "report::",
    ],
    &["simulate::"],
];

/// How a trial ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This test failed, the first that did.
    Broke(String),
    /// Every test held.
    Survived,
    /// A test did not end.
    Endless,
    /// The compiler noticed, before any test (an index of a test lies outside of a shorter array): its first words.
    NotBuilt(String),
}

/// Where trials take place.
pub struct Bench {
    /// The copy of the workspace.
    pub copy: PathBuf,
    /// Its own target folder, kept from run to run.
    pub target: PathBuf,
    /// The BPF object that the daemon embeds.
    pub object: PathBuf,
}

impl Bench {
    /// The path of the daemon's unit tests, or what the compiler says against it.
    pub fn build(&self, optimised: bool) -> Result<Result<PathBuf, String>> {
        let mut cargo = exec::cargo();
        cargo
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.target)
            // The copy has none of its own.
            .env("DETECTOR_BPF_OBJECT", &self.object)
            .args([
                "test",
                "--package",
                "detector",
                "--lib",
                "--no-run",
                "--quiet",
            ])
            .args(["--message-format", "json-render-diagnostics"])
            // Nobody reads a backtrace here, and linking takes a second less.
            .args(["--config", "profile.dev.package.detector.debug=0"]);
        if optimised {
            cargo.args(["--config", "profile.dev.package.detector.opt-level=1"]);
        }
        let output = cargo
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", exec::shown(&cargo)))?;
        if !output.status.success() {
            return Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        let built = messages.lines().rev().find_map(executable);
        built
            .map(|path| Ok(path.into()))
            .context("cargo names no test program")
    }

    /// Builds the copy as it is and runs its tests.
    pub fn trial(&self) -> Result<Outcome> {
        match self.build(false)? {
            Ok(tests) => self.run(&tests, None),
            Err(errors) => {
                let error = errors.lines().find(|line| line.starts_with("error"));
                let error = error.unwrap_or("no error said").to_owned();
                Ok(Outcome::NotBuilt(error))
            }
        }
    }

    /// Runs `tests` until the first one breaks. `choice`: the change that is tried, where all are built in.
    pub fn run(&self, tests: &Path, choice: Option<usize>) -> Result<Outcome> {
        for filters in STAGES {
            let mut command = Command::new(tests);
            command
                .args(filters)
                .current_dir(self.copy.join("detector"));
            if let Some(choice) = choice {
                // The file of defaults is a text that does not follow: its own tests would notice each.
                let same = "default_file";
                command
                    .env(CHOICE, choice.to_string())
                    .args(["--skip", same]);
            }
            let outcome = until_one_breaks(&mut command)?;
            if outcome != Outcome::Survived {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Survived)
    }
}

/// The program that a message of cargo names.
fn executable(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(r#""executable":""#)?;
    rest.split_once('"').map(|(path, _)| path)
}

fn until_one_breaks(command: &mut Command) -> Result<Outcome> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", exec::shown(command)))?;
    let outcome = watch(&mut child);
    // It may have ended by itself.
    let _ = child.kill();
    child.wait()?;
    outcome
}

/// Reads what the tests say until one fails, all have ended, or time is up.
fn watch(child: &mut Child) -> Result<Outcome> {
    let said = child.stdout.take().context("the tests' output is piped")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + LIMIT;
    loop {
        let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Ok(Outcome::Endless),
            Err(RecvTimeoutError::Disconnected) => bail!("the tests ended without a result"),
        };
        if let Some(test) = failed(&line) {
            return Ok(Outcome::Broke(test.to_owned()));
        }
        if line.starts_with("test result: ok") {
            return Ok(Outcome::Survived);
        }
    }
}

/// The test that a line of libtest's says has failed.
fn failed(line: &str) -> Option<&str> {
    let name = line.strip_prefix("test ")?.strip_suffix("FAILED")?;
    name.split_once(" ... ")
        .map(|(name, _)| name.trim_end_matches(" - should panic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_of_a_failed_test_names_it() {
        let lines = [
            "test detect::tests::storm::a_worm_is_told ... FAILED",
            "test detect::tests::storm::a_crawler_is_not ... ok",
            "test result: FAILED. 1 passed; 1 failed",
            "running 2 tests",
        ];
        let named = lines.map(failed);
        assert_eq!(
            named,
            [
                Some("detect::tests::storm::a_worm_is_told"),
                None,
                None,
                None
            ]
        );
    }

    #[test]
    fn the_test_program_is_the_one_cargo_names() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/debug/deps/detector-1","fresh":true}"#;
        assert_eq!(executable(message), Some("/t/debug/deps/detector-1"));
        assert_eq!(executable(r#"{"executable":null}"#), None);
    }

    #[test]
    fn tests_that_fail_are_named_and_those_that_hold_survive() {
        let said = |text: &str| {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", "printf '%b' \"$0\"", text])
                .stdout(Stdio::piped());
            let mut child = shell.spawn().expect("there is a shell");
            let outcome = watch(&mut child);
            child.wait().expect("it ended");
            outcome.ok()
        };
        assert_eq!(
            said("running 2 tests\\ntest a ... ok\\ntest b ... FAILED\\n"),
            Some(Outcome::Broke("b".to_owned()))
        );
        assert_eq!(
            said("test a ... ok\\ntest result: ok. 1 passed; 0 failed\\n"),
            Some(Outcome::Survived)
        );
        assert_eq!(said("test a ... "), None);
    }
}
