//! A program of this host that gets the event on its standard input: the way to whatever has no sink of its own.
//!
//! No shell, a clean environment, a process group of its own that ends with the time limit. Exit code 0 is delivered, 65
//! (`EX_DATAERR`) refuses the event for good, anything else is tried again. It refuses a program that others than root
//! and the detector's own user may change, since it runs with the detector's rights.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process,
};

use super::{Reply, Sink, SinkError};
use crate::{
    config,
    deliver::{Event, feed::Pending},
};

/// `EX_DATAERR` of sysexits.h: the input is wrong and will be next time.
const REFUSED: i32 = 65;
/// How much of what it prints is kept, bytes; the rest is read and forgotten, so that it does not hang.
const OUTPUT_BYTES: usize = 1024;

/// Runs a program for each event.
pub(super) struct Command {
    program: PathBuf,
    arguments: Vec<String>,
    limit: Duration,
}

/// A process group that ends with this value: what hangs, and what it has started.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // ESRCH: all have ended by themselves.
            let _ = rustix::process::kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Command {
    pub(super) fn new(
        kind: &config::CommandSink,
        config: &config::Sink,
    ) -> Result<Command, SinkError> {
        let (program, arguments) = kind
            .program
            .split_first()
            .expect("the configuration is checked");
        let program = PathBuf::from(program);
        check(&program)?;
        Ok(Command {
            program,
            arguments: arguments.to_vec(),
            limit: Duration::from_millis(config.common.timeout_ms),
        })
    }

    async fn run(&self, event: &Event) -> Reply {
        let mut command = process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DETECTOR_EVENT_ID", &event.id)
            .env("DETECTOR_SUBJECT", &event.subject)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Reply::retry(format!("{}: {error}", self.program.display())),
        };
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = Group(leader);
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let talk = async {
            let write = async {
                if let Some(mut stdin) = stdin {
                    // It may end without having read everything: its exit code says whether that is well.
                    let _ = stdin.write_all(&event.body).await;
                    let _ = stdin.write_all(b"\n").await;
                }
            };
            let ((), said, complained, status) =
                tokio::join!(write, beginning(stdout), beginning(stderr), child.wait());
            (said, complained, status)
        };
        match tokio::time::timeout(self.limit, talk).await {
            Ok((said, complained, Ok(status))) => {
                drop(group);
                reply(status, &said, &complained)
            }
            Ok((.., Err(error))) => Reply::retry(format!("cannot wait for it: {error}")),
            Err(_) => Reply::retry(format!("still ran after {:?} and was killed", self.limit)),
        }
    }
}

impl Sink for Command {
    fn send<'a>(&'a mut self, events: &'a [Event]) -> Pending<'a, Reply> {
        Box::pin(async move {
            let mut last = Reply::Delivered("nothing to tell".to_owned());
            for event in events {
                last = self.run(event).await;
                if !matches!(last, Reply::Delivered(_)) {
                    break;
                }
            }
            last
        })
    }
}

fn reply(status: ExitStatus, said: &[u8], complained: &[u8]) -> Reply {
    let shown = if complained.is_empty() {
        said
    } else {
        complained
    };
    let words = match shown.trim_ascii() {
        b"" => status.to_string(),
        shown => format!("{status}: {}", shown.escape_ascii()),
    };
    match status.code() {
        Some(0) => Reply::Delivered(words),
        Some(REFUSED) => Reply::Refused(words),
        _ => Reply::retry(words),
    }
}

async fn beginning(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    let Some(mut stream) = stream else {
        return kept;
    };
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_BYTES - kept.len();
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
    kept
}

fn check(program: &Path) -> Result<(), SinkError> {
    let fail = |reason: String| SinkError::Program {
        path: program.to_owned(),
        reason,
    };
    let metadata = std::fs::metadata(program).map_err(|error| fail(error.to_string()))?;
    if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
        return Err(fail("not an executable file".to_owned()));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.mode() & 0o022 != 0 || ![0, own].contains(&metadata.uid()) {
        return Err(fail("others may change it".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
