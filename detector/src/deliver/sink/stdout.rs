//! Standard output: NDJSON for a pipe, blocks for people.
//!
//! A thread of its own writes, because whoever reads the pipe may stop reading. Never makes the
//! caller wait: when the queue is full the text is dropped and counted. A closed pipe ends the
//! thread; what is sent afterwards counts as dropped.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, SyncSender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;

/// Stable name of the loss.
pub const LOSS: &str = "stdout_dropped";

/// Texts that may wait: a burst of incidents while a terminal scrolls.
const QUEUE: usize = 1024;

/// A running writer.
#[derive(Debug)]
pub struct Stdout {
    texts: SyncSender<Bytes>,
    dropped: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Stdout {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn spawn() -> io::Result<Self> {
        Self::over(|| io::stdout().lock())
    }

    fn over<W: io::Write>(open: impl FnOnce() -> W + Send + 'static) -> io::Result<Self> {
        let (texts, queue) = mpsc::sync_channel::<Bytes>(QUEUE);
        let thread = std::thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || {
                let mut stdout = open();
                for text in queue {
                    // One write a text, flushed: a reader must not wait for a buffer to fill.
                    if let Err(error) = stdout.write_all(&text).and_then(|()| stdout.flush()) {
                        tracing::error!(%error, "standard output is closed");
                        return;
                    }
                }
            })?;
        Ok(Stdout {
            texts,
            dropped: Arc::default(),
            thread,
        })
    }

    /// Queues texts, from another thread. Never blocks. The writer ends when this is dropped, too.
    pub fn sender(&self) -> impl FnMut(Bytes) + Send + 'static {
        let (texts, dropped) = (self.texts.clone(), Arc::clone(&self.dropped));
        move |text| {
            if texts.try_send(text).is_err() {
                dropped.fetch_add(1, Relaxed);
            }
        }
    }

    /// Texts lost so far, to be reported as [`LOSS`].
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Writes what is queued, for at most `patience`; gives what was lost in all.
    pub fn shutdown(self, patience: Duration) -> u64 {
        drop(self.texts);
        let deadline = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        self.dropped.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_that_finds_the_queue_full_is_counted() {
        // A pipe that nobody reads yet: one page, and the first text is longer.
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let stdout = Stdout::over(|| writer).expect("a thread");
        let mut send = stdout.sender();
        let long = Bytes::from(vec![b'x'; 1 << 20]);
        for _ in 0..QUEUE + 200 {
            send(long.clone());
        }
        let dropped = stdout.dropped();
        drop(send);
        let all = std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        let patience = Duration::from_secs(60);
        assert_eq!(stdout.shutdown(patience), dropped, "and none after that");
        let written = all.join().expect("no panic").expect("a pipe") >> 20;
        assert_eq!(written + dropped, QUEUE as u64 + 200);
        assert!((199..=200).contains(&dropped), "{dropped}");
    }
}
