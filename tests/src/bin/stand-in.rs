//! The harmless stand-in for what an intruder leaves behind: it burns CPU and talks to loopback.
//!
//! It mines nothing. The work is meaningless arithmetic, what it submits is a constant, any address that is
//! not loopback is refused, and it ends by itself after `--for` seconds, whatever happens to the other side.

use clap::Parser;
use std::ffi::CString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests::burn::{self, Load};
use tests::conversation::{self, Dialect, PoolAddress};
use tests::disguise;
use tests::sys;

/// Burns CPU for a bounded time and, where asked, sounds like a miner on loopback. Mines nothing.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// Threads that burn; 0 for none
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Share of one CPU that each thread burns, in percent
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(..=100))]
    duty: u8,
    /// Seconds after which it ends by itself
    #[arg(long = "for", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Loopback address to talk to: 127.0.0.1:PORT or stratum+tcp://127.0.0.1:PORT
    #[arg(long)]
    pool: Option<PoolAddress>,
    /// How to talk to it
    #[arg(long, value_enum, default_value_t)]
    dialect: Dialect,
    /// Sleep across every scheduler tick, which hides the load from accounting by tick
    #[arg(long)]
    dodge_ticks: bool,
    /// Seconds in which the load grows from nothing to its full height
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=600))]
    ramp: u64,
    /// Short-lived forked children that burn, kept at this number
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=256), requires = "child_ms")]
    children: u16,
    /// Milliseconds each child lives; of several, one after the other
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=60_000))]
    child_ms: Vec<u64>,
    /// Start again as a program without a file, or with one that is deleted
    #[arg(long = "become")]
    becomes: Option<Disguise>,
    /// Delete the program's file once it runs
    #[arg(long)]
    unlink: bool,
    /// Overwrite the command line that others see with this
    #[arg(long)]
    argv: Option<String>,
    /// Name to go by (`comm`, at most 15 bytes)
    #[arg(long)]
    rename: Option<CString>,
    /// Write the process id here, whole or not at all
    #[arg(long)]
    pid_file: Option<PathBuf>,
    /// Die with the process that started this one
    #[arg(long)]
    parent_death_signal: bool,
}

/// What to start again as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Disguise {
    /// A copy in memory that never was in any folder.
    Memfd,
    /// This file, deleted before it is executed.
    Deleted,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let until = Instant::now() + Duration::from_secs(arguments.seconds);
    match run(&arguments, until) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stand-in: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, until: Instant) -> std::io::Result<()> {
    if arguments.parent_death_signal {
        let parent = rustix::process::getppid();
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // Adopted meanwhile: the signal would never come.
        if rustix::process::getppid() != parent {
            return Ok(());
        }
    }
    if let Some(disguise) = arguments.becomes {
        return Err(become_again(disguise));
    }
    if arguments.unlink {
        std::fs::remove_file(std::env::current_exe()?)?;
    }
    if let Some(text) = &arguments.argv {
        disguise::rewrite_arguments(text.as_bytes())?;
    }
    if let Some(comm) = &arguments.rename {
        rustix::thread::set_name(comm)?;
    }
    if let Some(path) = &arguments.pid_file {
        write_pid(path)?;
    }
    let load = Load {
        duty_percent: arguments.duty,
        dodge_ticks: arguments.dodge_ticks,
        ramp: Duration::from_secs(arguments.ramp),
    };
    for _ in 0..arguments.threads {
        // Unnamed, so that they inherit the name of the process.
        std::thread::Builder::new().spawn(move || burn::run(load, until))?;
    }
    if let Some(pool) = arguments.pool {
        let dialect = arguments.dialect;
        std::thread::Builder::new()
            .spawn(move || conversation::keep_talking(pool, dialect, until))?;
    }
    if !arguments.child_ms.is_empty() {
        let lives = arguments
            .child_ms
            .iter()
            .copied()
            .map(Duration::from_millis);
        keep_children(usize::from(arguments.children), lives.cycle(), until)?;
    }
    // Whatever the other threads are at: returning from `main` ends them.
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    Ok(())
}

/// Becomes the same program with the same arguments in another guise; returns only if that failed.
fn become_again(disguise: Disguise) -> std::io::Error {
    let again = || -> std::io::Result<std::convert::Infallible> {
        let this = std::env::current_exe()?;
        let program = match disguise {
            Disguise::Memfd => disguise::in_memory(&this, "kworker/0:1")?,
            Disguise::Deleted => disguise::deleted(&this)?,
        };
        let arguments = std::env::args_os().skip(1);
        let arguments = arguments.filter(|arg| !arg.as_encoded_bytes().starts_with(b"--become="));
        Err(std::process::Command::new(program).args(arguments).exec())
    };
    match again() {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// Keeps `count` children burning until `until`, each for the next of `lives` at most, and reaps them all.
fn keep_children(
    count: usize,
    mut lives: impl Iterator<Item = Duration>,
    until: Instant,
) -> std::io::Result<()> {
    let mut running = 0;
    while Instant::now() < until || running > 0 {
        while running < count && Instant::now() < until {
            let life = lives.next().unwrap_or_default();
            sys::fork_burning_child(until.min(Instant::now() + life))?;
            running += 1;
        }
        if running == 0 {
            break;
        }
        // Blocks at most for the life of a child.
        match rustix::process::wait(rustix::process::WaitOptions::empty()) {
            Ok(_) => running -= 1,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A reader sees the whole number or no file: written aside, then renamed.
fn write_pid(path: &Path) -> std::io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    std::fs::write(&aside, format!("{}\n", std::process::id()))?;
    std::fs::rename(&aside, path)
}
