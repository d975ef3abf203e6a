//! What keeps the host busy while something is measured: threads of this process, and programs that begin a lineage of
//! their own, as those of a service do. Bounded by [`Running::stop`] and by dropping it.
//!
//! What is exec'ed and connected by this program itself is a suspect's: no package owns it, and an incident notes what it
//! does. Most of a host's programs are none, so what an event costs is told for both.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::{fs::FileExt as _, net::UnixStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tests::process::Owned;

/// A program of the distribution's, by whose hand [`Load::Execs`] and [`Load::Connects`] come.
const SCRIPT: &str = include_str!("load.pl");

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing.
    Idle,
    /// This many threads that sleep.
    Sleepers(usize),
    /// 1,000 threads that sleep, 50 execs and 50 connections a second.
    Server,
    /// Programs started a second by an ordinary program, each with its fork and its end; 0: as many as can be.
    Execs(u32),
    /// Connections opened and closed a second by an ordinary program; 0: as many as can be.
    Connects(u32),
    /// Programs started a second by a suspect.
    SuspectExecs(u32),
    /// Connections opened and closed a second by a suspect.
    SuspectConnects(u32),
    /// Two threads that wake each other.
    Switches,
    /// A thread a CPU that computes.
    Burn,
}

impl Load {
    /// What the daemon's cost is told under.
    pub const PACED: [Load; 10] = [
        Load::Idle,
        Load::Sleepers(2_000),
        Load::Sleepers(10_000),
        Load::Server,
        Load::Execs(500),
        Load::Connects(2_000),
        Load::SuspectExecs(500),
        Load::SuspectConnects(2_000),
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
            Load::SuspectExecs(rate) => format!("{rate} execs/s of a suspect"),
            Load::SuspectConnects(rate) => format!("{rate} connects/s of a suspect"),
            Load::Switches => "context switches".to_owned(),
            Load::Burn => "every CPU computes".to_owned(),
        }
    }

    /// What [`Running::done`] counts.
    pub fn unit(self) -> Option<&'static str> {
        match self {
            Load::Idle | Load::Sleepers(_) | Load::Server => None,
            Load::Execs(_) | Load::SuspectExecs(_) => Some("exec"),
            Load::Connects(_) | Load::SuspectConnects(_) => Some("connect"),
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
    /// Programs, each with the file in which it counts.
    programs: Vec<(Owned, File)>,
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
            programs: Vec::new(),
        };
        match load {
            Load::Idle => {}
            Load::Sleepers(threads) => running.sleepers(threads)?,
            Load::Server => {
                running.sleepers(1_000)?;
                running.program("execs", 50)?;
                running.program("connects", 50)?;
            }
            Load::Execs(0) => {
                running.program("execs", 0)?;
                running.program("execs", 0)?;
            }
            Load::Execs(rate) => running.program("execs", rate)?,
            Load::Connects(rate) => running.program("connects", rate)?,
            Load::SuspectExecs(rate) => running.execs(rate)?,
            Load::SuspectConnects(rate) => running.connects(rate)?,
            Load::Switches => running.switches()?,
            Load::Burn => running.burn()?,
        }
        Ok(running)
    }

    /// How often it did what it does.
    pub fn done(&self) -> u64 {
        let of_programs = self.programs.iter().map(|(_, counts)| {
            let mut count = [0; 8];
            // Nothing is there before it has done anything.
            counts
                .read_exact_at(&mut count, 0)
                .map_or(0, |()| u64::from_le_bytes(count))
        });
        self.done.load(Ordering::Relaxed) + of_programs.sum::<u64>()
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
        for (program, _) in &mut self.programs {
            // A paced one has seen the end of its input. The others are killed: runuser would tell of any other signal.
            if program.wait(Duration::from_millis(200)).is_err() {
                let _ = program.signal(Signal::KILL);
            }
        }
        self.programs.clear();
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

    /// A program of the distribution's, in a session of its own, paced by this one.
    fn program(&mut self, what: &str, rate: u32) -> Result<()> {
        let pace = if rate == 0 { "full" } else { "paced" };
        let counts = tempfile::tempfile().context("a file to count in")?;
        let mut perl = Command::new("runuser");
        perl.args(["-u", "nobody", "--", "perl", "-e", SCRIPT, what, pace]);
        perl.stdin(Stdio::piped()).stdout(counts.try_clone()?);
        let mut program = Owned::start("perl", &mut perl, Signal::KILL)?;
        let input = program.child().stdin.take();
        self.programs.push((program, counts));
        let Some(mut input) = input.filter(|_| rate > 0) else {
            return Ok(());
        };
        self.spawn(move |stop, _| {
            let mut pace = Pace::of(rate);
            while !stop.load(Ordering::Relaxed) && input.write_all(b".").is_ok() {
                pace.wait();
            }
        })
    }

    fn execs(&mut self, rate: u32) -> Result<()> {
        self.spawn(move |stop, done| {
            let mut pace = Pace::of(rate);
            while !stop.load(Ordering::Relaxed) {
                let status = Command::new("/bin/true").stdin(Stdio::null()).status();
                if status.is_ok_and(|status| status.success()) {
                    done.fetch_add(1, Ordering::Relaxed);
                }
                pace.wait();
            }
        })
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
        self.next = (self.next + self.every).max(Instant::now() - self.every);
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
    }
}
