//! The daemon under observation: `detector run` as a child, and everything it says.
//!
//! Owns the child, one reader thread per stream, and the record: events in order with the moment of
//! arrival, lines on stdout that are no JSON (there should be none), and the tail of stderr. Bounded: events and
//! stray lines beyond the limits are counted, not kept. Every failure carries what the daemon said, because a
//! failed scenario is read by somebody who was not there.

use crate::process::Owned;
use crate::{service, sys};
use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Take};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Names the folder of the daemon's state, as systemd does.
pub const STATE: &str = "STATE_DIRECTORY";
/// What stderr contains once the daemon watches.
pub const READY: &str = "detector ready";

const MAX_EVENTS: usize = 100_000;
const MAX_STRAY_LINES: usize = 1_000;
const MAX_LINE_BYTES: u64 = 4 * 1024 * 1024;
const STDERR_TAIL_LINES: usize = 500;
/// How often a wait looks whether it should give up.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the daemon may drain after SIGTERM.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);
/// How long the readers may need for what is left in the pipes of a dead daemon.
const READ_REST_WITHIN: Duration = Duration::from_secs(2);

/// One event as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Position in the stream, from 0.
    pub index: usize,
    /// When the line was read.
    pub at: Instant,
    /// The CloudEvents object.
    pub event: Value,
}

/// A running `detector run`. Dropping it ends it: SIGTERM, five seconds, SIGKILL.
#[derive(Debug)]
pub struct Daemon {
    process: Owned,
    begun: Instant,
    shared: Arc<Shared>,
    /// Its state, unless the test gave it a folder; gone after the process.
    _state: Option<TempDir>,
}

#[derive(Debug, Default)]
struct Shared {
    record: Mutex<Record>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Record {
    events: Vec<Seen>,
    stray: Vec<String>,
    dropped: u64,
    stderr: VecDeque<String>,
    ready: Option<Instant>,
    open_streams: u8,
}

impl Daemon {
    /// `detector run --output json` with 127.0.0.0/8 as the outside world. Add arguments and environment to it.
    #[must_use]
    pub fn command(binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.args(["run", "--output", "json"]);
        command.args(["--treat-as-remote", "127.0.0.0/8"]);
        command
    }

    /// Starts `command` and reads along. It is killed should the calling thread end first.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(mut command: Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let has_state = command.get_envs().any(|(name, _)| name == STATE);
        let state = (!has_state).then(TempDir::new).transpose()?;
        if let Some(state) = &state {
            service::give(state.path())?;
            command.env(STATE, state.path());
        }
        let begun = Instant::now();
        let mut process = Owned::start("the daemon", &mut command, Signal::KILL)?;
        let shared = Arc::new(Shared::default());
        shared.lock().open_streams = 2;
        let child = process.child();
        let stdout = child.stdout.take().context("stdout is not a pipe")?;
        let stderr = child.stderr.take().context("stderr is not a pipe")?;
        for (name, read) in [
            (
                "daemon-stdout",
                reader(stdout, &shared, Record::hear_stdout),
            ),
            (
                "daemon-stderr",
                reader(stderr, &shared, Record::hear_stderr),
            ),
        ] {
            std::thread::Builder::new().name(name.into()).spawn(read)?;
        }
        Ok(Self {
            process,
            begun,
            shared,
            _state: state,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for [`READY`] on stderr; returns how long it took from the start.
    ///
    /// # Errors
    /// At the deadline, or when the daemon ends before.
    pub fn wait_ready(&self, deadline: Instant) -> Result<Duration> {
        self.wait(deadline, |record| record.ready)
            .map(|at| at.saturating_duration_since(self.begun))
            .with_context(|| format!("no `{READY}` on stderr"))
    }

    /// Waits for the first event, of those already seen and those to come, that satisfies `wanted`.
    ///
    /// # Errors
    /// At the deadline, or when the daemon ends before.
    pub fn wait_event(
        &self,
        deadline: Instant,
        wanted: impl FnMut(&Value) -> bool,
    ) -> Result<Seen> {
        self.wait_event_from(0, deadline, wanted)
    }

    /// Like [`Self::wait_event`], from position `first` in the stream on.
    ///
    /// # Errors
    /// At the deadline, or when the daemon ends before.
    pub fn wait_event_from(
        &self,
        first: usize,
        deadline: Instant,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Result<Seen> {
        let mut next = first;
        self.wait(deadline, |record| {
            let unseen = record.events.get(next..).unwrap_or_default();
            next = record.events.len().max(next);
            unseen.iter().find(|seen| wanted(&seen.event)).cloned()
        })
        .context("the event did not come")
    }

    /// What has come from position `first` on, waiting up to `patience` for the first of it.
    #[must_use]
    pub fn events_from(&self, first: usize, patience: Duration) -> Vec<Seen> {
        let deadline = Instant::now() + patience;
        let mut record = self.shared.lock();
        while record.events.len() <= first && record.open_streams > 0 && Instant::now() < deadline {
            record = self.shared.look_again(record, deadline);
        }
        record.events.get(first..).unwrap_or_default().to_vec()
    }

    /// All events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Seen> {
        self.shared.lock().events.clone()
    }

    /// Lines on stdout that were no JSON object. There should be none.
    #[must_use]
    pub fn stray_lines(&self) -> Vec<String> {
        self.shared.lock().stray.clone()
    }

    /// Lines beyond what is kept here (100,000 events, 1,000 stray lines).
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// The last 500 lines of stderr.
    #[must_use]
    pub fn stderr_tail(&self) -> Vec<String> {
        self.shared.lock().stderr.iter().cloned().collect()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        self.process.has_exited()
    }

    /// SIGTERM, and its exit status once it has drained. Everything it said is then in the record.
    ///
    /// # Errors
    /// When it does not end within 15 s (it is killed then), with what it said.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if !self.process.has_exited() {
            self.process.signal(Signal::TERM)?;
        }
        let status = self.ends_within(DRAIN_WITHIN);
        status.with_context(|| format!("SIGTERM did not end it; {}", self.account()))
    }

    /// Its exit status once it has ended by itself. Everything it said is then in the record.
    ///
    /// # Errors
    /// When it still runs after `patience`: it is killed then.
    pub fn ends_within(&mut self, patience: Duration) -> Result<ExitStatus> {
        let status = self.process.wait(patience);
        if status.is_err() {
            self.process.end()?;
        }
        let deadline = Instant::now() + READ_REST_WITHIN;
        let mut record = self.shared.lock();
        while record.open_streams > 0 && Instant::now() < deadline {
            record = self.shared.look_again(record, deadline);
        }
        drop(record);
        status
    }

    /// What the daemon said, for a failure that explains itself.
    #[must_use]
    pub fn account(&self) -> String {
        let record = self.shared.lock();
        let mut text = format!("it said {} events", record.events.len());
        for seen in record.events.iter().rev().take(20).rev() {
            let after = seen.at.saturating_duration_since(self.begun).as_secs_f64();
            let line = seen.event.to_string();
            let shown: String = line.chars().take(600).collect();
            text.push_str(&format!("\n  +{after:.1} s {shown}"));
        }
        if !record.stray.is_empty() {
            text.push_str(&format!(
                "\n--- no JSON on stdout\n{}",
                record.stray.join("\n")
            ));
        }
        text.push_str("\n--- end of stderr");
        for line in record.stderr.iter().rev().take(40).rev() {
            text.push_str(&format!("\n  {line}"));
        }
        text
    }

    fn wait<T>(&self, deadline: Instant, mut look: impl FnMut(&Record) -> Option<T>) -> Result<T> {
        let mut record = self.shared.lock();
        loop {
            if let Some(found) = look(&record) {
                return Ok(found);
            }
            let problem = if record.open_streams == 0 {
                "the daemon ended"
            } else if sys::interrupted() {
                "interrupted"
            } else if Instant::now() >= deadline {
                "out of time"
            } else {
                record = self.shared.look_again(record, deadline);
                continue;
            };
            drop(record);
            bail!("{problem}; {}", self.account());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no holder of this lock panics")
    }

    fn look_again<'a>(
        &self,
        record: MutexGuard<'a, Record>,
        deadline: Instant,
    ) -> MutexGuard<'a, Record> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.news
            .wait_timeout(record, left.min(LOOK_EVERY))
            .expect("no holder of this lock panics")
            .0
    }
}

impl Record {
    fn hear_stdout(&mut self, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(event @ Value::Object(_)) if self.events.len() < MAX_EVENTS => {
                let (index, at) = (self.events.len(), Instant::now());
                self.events.push(Seen { index, at, event });
            }
            Ok(Value::Object(_)) => self.dropped += 1,
            _ if self.stray.len() < MAX_STRAY_LINES => {
                self.stray.push(String::from_utf8_lossy(line).into_owned());
            }
            _ => self.dropped += 1,
        }
    }

    fn hear_stderr(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if self.ready.is_none() && line.contains(READY) {
            self.ready = Some(Instant::now());
        }
        if self.stderr.len() >= STDERR_TAIL_LINES {
            self.stderr.pop_front();
        }
        self.stderr.push_back(line.trim_end().to_owned());
    }
}

/// Reads `stream` to its end, line by line, into the record.
fn reader(
    stream: impl Read + Send + 'static,
    shared: &Arc<Shared>,
    hear: fn(&mut Record, &[u8]),
) -> Box<dyn FnOnce() + Send> {
    let shared = Arc::clone(shared);
    Box::new(move || {
        let mut stream: Take<_> = BufReader::new(stream).take(MAX_LINE_BYTES);
        let mut line = Vec::new();
        // A read error ends the record like an end of file does.
        while stream
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            hear(&mut shared.lock(), &line);
            shared.news.notify_all();
            line.clear();
            stream.set_limit(MAX_LINE_BYTES);
        }
        shared.lock().open_streams -= 1;
        shared.news.notify_all();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn shell(script: &str) -> Daemon {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Daemon::start(command).unwrap()
    }

    #[test]
    fn events_stray_lines_and_readiness_are_told_apart() {
        let mut daemon = shell(
            r#"echo '{"type":"a"}'; echo oops; echo 'x detector ready' >&2; echo '{"type":"b"}'; exec sleep 60"#,
        );
        daemon.wait_ready(soon()).unwrap();
        let seen = daemon
            .wait_event(soon(), |event| event["type"] == "b")
            .unwrap();
        assert_eq!(
            (seen.index, seen.event),
            (1, serde_json::json!({"type": "b"}))
        );
        assert_eq!(daemon.stray_lines(), ["oops\n"]);
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(daemon.stop().unwrap().signal(), Some(15));
    }

    #[test]
    fn a_daemon_that_ends_early_says_why_at_once() {
        let daemon = shell("echo 'no BTF here' >&2; exit 2");
        let error = format!("{:#}", daemon.wait_ready(soon()).unwrap_err());
        assert!(error.contains("the daemon ended"), "{error}");
        assert!(error.contains("no BTF here"), "{error}");
    }

    #[test]
    fn stop_waits_for_the_drain_and_keeps_the_last_words() {
        let mut daemon = shell(
            r#"trap 'echo "{\"type\":\"last\"}"; exit 0' TERM; echo "detector ready" >&2; while :; do sleep 0.05; done"#,
        );
        daemon.wait_ready(soon()).unwrap();
        assert_eq!(daemon.stop().unwrap().code(), Some(0));
        assert_eq!(daemon.events()[0].event["type"], "last");
    }
}
