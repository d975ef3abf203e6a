//! The harmless stand-in for what an intruder leaves behind: it burns CPU and talks to loopback.
//!
//! It mines nothing. The work is meaningless arithmetic, what it submits is a constant, any address that is
//! not loopback is refused, and it ends by itself after `--for` seconds, whatever happens to the other side.

use clap::Parser;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests::burn::{self, Load};
use tests::conversation::{self, PoolAddress};
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
    /// Sleep across every scheduler tick, which hides the load from accounting by tick
    #[arg(long)]
    dodge_ticks: bool,
    /// Short-lived forked children that burn, kept at this number
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=256), requires = "child_ms")]
    children: u16,
    /// Milliseconds each child lives
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    child_ms: Option<u64>,
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
    if let Some(comm) = &arguments.rename {
        rustix::thread::set_name(comm)?;
    }
    if let Some(path) = &arguments.pid_file {
        write_pid(path)?;
    }
    let load = Load {
        duty_percent: arguments.duty,
        dodge_ticks: arguments.dodge_ticks,
    };
    for _ in 0..arguments.threads {
        // Unnamed, so that they inherit the name of the process.
        std::thread::Builder::new().spawn(move || burn::run(load, until))?;
    }
    if let Some(pool) = arguments.pool {
        std::thread::Builder::new().spawn(move || conversation::keep_talking(pool, until))?;
    }
    if let Some(child_ms) = arguments.child_ms {
        keep_children(
            usize::from(arguments.children),
            Duration::from_millis(child_ms),
            until,
        )?;
    }
    // Whatever the other threads are at: returning from `main` ends them.
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    Ok(())
}

/// Keeps `count` children burning until `until`, each for `life` at most, and reaps them all.
fn keep_children(count: usize, life: Duration, until: Instant) -> std::io::Result<()> {
    let mut running = 0;
    while Instant::now() < until || running > 0 {
        while running < count && Instant::now() < until {
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
