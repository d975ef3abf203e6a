//! A recording in the making: the loop hands over bytes, a thread of its own compresses and writes them.
//!
//! The loop never waits: a batch that finds the queue full is dropped and its inputs counted as [`LOSS`]. The
//! file belongs to root alone (0600): command lines are inside, and passwords that nothing gives away may be in them.

use std::{
    borrow::Cow,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use super::{
    Header, RecordingError, Totals, Writer,
    writer::{at_ns, encode},
};
use crate::{
    event::Redactor,
    input::{Exec, Input},
};

/// Name of the loss: inputs that are not in the recording.
pub const LOSS: &str = "record_dropped";
/// Batches that may wait. One is a second, or [`BATCH_BYTES`] in a storm.
const QUEUE: usize = 64;
/// A batch is handed over when it is this long: 64 of them bound the memory to 16 MiB.
const BATCH_BYTES: usize = 256 << 10;

/// How a recording goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Inputs are written.
    Going,
    /// It has its full length; later inputs are not wanted and are no loss.
    Full,
    /// The disk refused; [`Recorder::finish`] says why.
    Failed,
}

/// Inputs on their way to the thread.
#[derive(Debug, Default)]
struct Batch {
    records: Vec<(Vec<u8>, Option<u64>)>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: AtomicU8,
    dropped: AtomicU64,
}

/// Hands inputs over.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    redactor: Redactor,
    batch: Batch,
    sender: SyncSender<Batch>,
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Totals, RecordingError>>,
}

impl Recorder {
    /// Begins a recording in a new file; one that exists is never overwritten.
    ///
    /// # Errors
    /// The file exists or cannot be made, or there is no thread to be had.
    pub fn spawn(path: &Path, header: &Header, max_bytes: u64) -> Result<Self, RecordingError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Self::over(file, path, header, max_bytes)
    }

    fn over(
        file: File,
        path: &Path,
        header: &Header,
        max_bytes: u64,
    ) -> Result<Self, RecordingError> {
        let writer = Writer::new(file, header, max_bytes)?;
        let (sender, batches) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || {
                let result = write(writer, &batches, &theirs);
                if result.is_err() {
                    theirs.state.store(State::Failed as u8, Ordering::Relaxed);
                }
                result
            })?;
        Ok(Recorder {
            path: path.to_owned(),
            redactor: header.host.redactor.clone(),
            batch: Batch::default(),
            sender,
            shared,
            thread,
        })
    }

    /// Where it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds what the engine is about to be told, without the secrets in its command lines.
    pub fn push(&mut self, input: Input<'_>) {
        if self.state() != State::Going {
            return;
        }
        let redacted;
        let input = match input {
            Input::Exec(exec) => match self.redactor.arguments(&exec.args) {
                Cow::Borrowed(_) => input,
                Cow::Owned(args) => {
                    let cut = exec.args_total_bytes.saturating_sub(exec.args.len() as u32);
                    redacted = Exec {
                        args_total_bytes: args.len() as u32 + cut,
                        args: args.into(),
                        ..exec.clone()
                    };
                    Input::Exec(&redacted)
                }
            },
            other => other,
        };
        let record = encode(input);
        let at_ns = at_ns(input);
        self.batch.bytes += record.len();
        self.batch.records.push((record, at_ns));
        if at_ns.is_some() || self.batch.bytes >= BATCH_BYTES {
            self.hand_over();
        }
    }

    /// How it goes.
    pub fn state(&self) -> State {
        match self.shared.state.load(Ordering::Relaxed) {
            full if full == State::Full as u8 => State::Full,
            failed if failed == State::Failed as u8 => State::Failed,
            _ => State::Going,
        }
    }

    /// Inputs that are not in it though they should be. Only grows.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes what waits, and closes the file. Waits for the disk.
    ///
    /// # Errors
    /// The disk refused, now or earlier.
    pub fn finish(mut self) -> Result<Totals, RecordingError> {
        self.hand_over();
        drop(self.sender);
        self.thread.join().unwrap_or_else(|_| {
            let panicked = io::Error::other("the thread that writes the recording panicked");
            Err(panicked.into())
        })
    }

    fn hand_over(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if let Err(refused) = self.sender.try_send(batch) {
            let (std::sync::mpsc::TrySendError::Full(batch)
            | std::sync::mpsc::TrySendError::Disconnected(batch)) = refused;
            if self.state() == State::Going {
                let lost = batch.records.len() as u64;
                self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
            }
        }
    }
}

fn write(
    mut writer: Writer<File>,
    batches: &Receiver<Batch>,
    shared: &Shared,
) -> Result<Totals, RecordingError> {
    while let Ok(batch) = batches.recv() {
        for (record, at_ns) in &batch.records {
            writer.push_encoded(record, *at_ns)?;
        }
        if writer.is_full() {
            shared.state.store(State::Full as u8, Ordering::Relaxed);
            break;
        }
    }
    let (file, totals) = writer.finish()?;
    file.sync_all()?;
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::fd::OwnedFd};

    use super::*;
    use crate::{
        input::Scan,
        recording::{Reader, tests::header},
    };

    #[test]
    fn each_input_that_finds_the_thread_busy_is_counted_and_the_rest_is_in_the_file() {
        // A pipe that nobody reads yet holds 64 KiB; then the thread waits, as for a disk that hangs.
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let file = File::from(OwnedFd::from(writer));
        let mut recorder =
            Recorder::over(file, Path::new("pipe"), &header(), u64::MAX).expect("a thread");
        let mut random = fastrand::Rng::with_seed(7);
        let pushed = 4_000;
        for second in 0..pushed {
            let mut scan = Scan {
                at_ns: second * 1_000_000_000,
                ..Scan::default()
            };
            // Eight bytes that compress to nothing less, a thousand times.
            scan.accepts.resize_with(1_000, || crate::input::Accepts {
                key: detector_common::event::connection::ListenKey {
                    network_namespace: random.u32(..),
                    port: random.u32(..),
                },
                count: random.u64(..),
            });
            recorder.push(Input::Scan(&scan));
        }
        let dropped = recorder.dropped();
        assert!(dropped > 3_000, "{dropped}");
        let all = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| bytes)
        });
        // A pipe cannot be synced.
        assert!(recorder.finish().is_err());
        let bytes = all.join().expect("no panic").expect("a pipe");
        let read = Reader::new(bytes.as_slice()).expect("whole").count() as u64;
        assert_eq!(read + dropped, pushed);
    }
}
