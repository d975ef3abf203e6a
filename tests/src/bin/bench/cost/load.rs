//! What keeps the host busy while something is measured. Threads of this process, and what they start; bounded by
//! [`Running::stop`] and by dropping it.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing.
    Idle,
    /// This many threads that sleep.
    Sleepers(usize),
    /// 1,000 threads that sleep, 50 execs and 50 connections a second.
    Server,
    /// Programs started a second, each with its fork and its end; 0: as many as can be.
    Execs(u32),
    /// Connections opened and closed a second; 0: as many as can be.
    Connects(u32),
    /// Two threads that wake each other.
    Switches,
    /// A thread a CPU that computes.
    Burn,
}

impl Load {
    /// What the daemon's cost is told under.
    pub const PACED: [Load; 8] = [
        Load::Idle,
        Load::Sleepers(2_000),
        Load::Sleepers(10_000),
        Load::Server,
        Load::Execs(500),
        Load::Connects(2_000),
        Load::Switches,
        Load::Burn,
    ];
    /// What is run with and without it.
    pub const FULL_SPEED: [Load; 4] = [
        Load::Execs(0),
        Load::Connects(0),
        Load::Switches,
        Load::Burn,
    ];
    /// What peers are measured under.
    pub const COMPARED: [Load; 4] = [
        Load::Idle,
        Load::Sleepers(2_000),
        Load::Execs(500),
        Load::Connects(2_000),
    ];

    /// What people call it.
    pub fn name(self) -> String {
        match self {
            Load::Idle => "idle".to_owned(),
            Load::Sleepers(threads) => format!("{threads} sleeping tasks"),
            Load::Server => "1000 tasks, 50 execs/s, 50 connects/s".to_owned(),
            Load::Execs(0) => "execs".to_owned(),
            Load::Execs(rate) => format!("{rate} execs/s"),
            Load::Connects(0) => "connects".to_owned(),
            Load::Connects(rate) => format!("{rate} connects/s"),
            Load::Switches => "context switches".to_owned(),
            Load::Burn => "every CPU computes".to_owned(),
        }
    }

    /// What [`Running::done`] counts.
    pub fn unit(self) -> Option<&'static str> {
        match self {
            Load::Idle | Load::Sleepers(_) | Load::Server => None,
            Load::Execs(_) => Some("exec"),
            Load::Connects(_) => Some("connect"),
            Load::Switches => Some("switch"),
            Load::Burn => Some("round"),
        }
    }
}

/// A load that runs.
pub struct Running {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// A thread, a socket or a program cannot be had.
    pub fn start(load: Load) -> Result<Running> {
        let mut running = Running {
            stop: Arc::default(),
            done: Arc::default(),
            threads: Vec::new(),
        };
        match load {
            Load::Idle => {}
            Load::Sleepers(threads) => running.sleepers(threads)?,
            Load::Server => {
                running.sleepers(1_000)?;
                running.execs(50, 1)?;
                running.connects(50)?;
            }
            Load::Execs(0) => running.execs(0, 2)?,
            Load::Execs(rate) => running.execs(rate, 1)?,
            Load::Connects(rate) => running.connects(rate)?,
            Load::Switches => running.switches()?,
            Load::Burn => running.burn()?,
        }
        Ok(running)
    }

    /// How often it did what it does.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }

    /// One more thread. Loads need little stack, and some many threads.
    fn spawn(&mut self, body: impl FnOnce(&AtomicBool, &AtomicU64) + Send + 'static) -> Result<()> {
        let (stop, done) = (Arc::clone(&self.stop), Arc::clone(&self.done));
        let thread = thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || body(&stop, &done))
            .context("no more threads")?;
        self.threads.push(thread);
        Ok(())
    }

    fn sleepers(&mut self, threads: usize) -> Result<()> {
        for _ in 0..threads {
            self.spawn(|stop, _| {
                while !stop.load(Ordering::Relaxed) {
                    thread::park();
                }
            })?;
        }
        Ok(())
    }

    fn execs(&mut self, rate: u32, threads: u32) -> Result<()> {
        for _ in 0..threads {
            self.spawn(move |stop, done| {
                let mut pace = Pace::of(rate);
                while !stop.load(Ordering::Relaxed) {
                    let status = Command::new("/bin/true").stdin(Stdio::null()).status();
                    if status.is_ok_and(|status| status.success()) {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    pace.wait();
                }
            })?;
        }
        Ok(())
    }

    fn connects(&mut self, rate: u32) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        self.spawn(move |stop, _| {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                drop(stream);
            }
        })?;
        self.spawn(move |stop, done| {
            let mut pace = Pace::of(rate);
            while !stop.load(Ordering::Relaxed) {
                if let Ok(mut stream) = TcpStream::connect(address) {
                    // The other side closes first, so that its end keeps the port.
                    let _ = stream.read(&mut [0]);
                    let _ = stream.shutdown(Shutdown::Both);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                pace.wait();
            }
            // Whoever accepts looks whether it is over.
            drop(TcpStream::connect(address));
        })
    }

    fn switches(&mut self) -> Result<()> {
        let (mut here, mut there) = UnixStream::pair()?;
        self.spawn(move |_, _| {
            let mut byte = [0];
            while there.read_exact(&mut byte).is_ok() && there.write_all(&byte).is_ok() {}
        })?;
        self.spawn(move |stop, done| {
            let mut byte = [0];
            while !stop.load(Ordering::Relaxed)
                && here.write_all(&byte).is_ok()
                && here.read_exact(&mut byte).is_ok()
            {
                done.fetch_add(2, Ordering::Relaxed);
            }
        })
    }

    fn burn(&mut self) -> Result<()> {
        for _ in 0..thread::available_parallelism()?.get() {
            self.spawn(|stop, done| {
                while !stop.load(Ordering::Relaxed) {
                    let mut work = 0_u64;
                    for step in 0..100_000_u64 {
                        work = std::hint::black_box(work.wrapping_mul(31).wrapping_add(step));
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })?;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Keeps a rate without catching up in bursts.
struct Pace {
    every: Duration,
    next: Instant,
}

impl Pace {
    fn of(rate: u32) -> Pace {
        Pace {
            every: Duration::from_secs(1).checked_div(rate).unwrap_or_default(),
            next: Instant::now(),
        }
    }

    fn wait(&mut self) {
        if self.every.is_zero() {
            return;
        }
        self.next = (self.next + self.every).max(Instant::now() - self.every);
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
    }
}
