//! `bench flood`: the daemon as it is shipped, with the memory and the CPU that its unit gives it, under each flood.
//!
//! A daemon of its own for each row, since a peak is for ever. The tasks of the last rows are there before the daemon
//! starts, so that its first look at all of them is in the figures.

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::{
    actor::Actor,
    daemon::Daemon,
    flood::{self, Covered, Flood, Flooder},
    means::{self, Means, Used},
    service,
};

use super::markdown::{seconds, table};

/// Longest wait for the daemon's first look around.
const PATIENCE: Duration = Duration::from_secs(60);
/// Threads of one process: each is two areas of memory, of which a process has 65,530.
const THREADS_OF_ONE: u32 = 10_000;
/// Tasks that the rest of the machine may need.
const OTHERS: u32 = 4_000;
const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sleeping tasks of the last row
    #[arg(long, default_value_t = 50_000)]
    tasks: u32,
    /// Raise kernel.pid_max where it does not allow as many, until the bench ends
    #[arg(long)]
    raise_pid_max: bool,
    /// Leave the CPU unlimited: only the unit's memory
    #[arg(long)]
    any_cpu: bool,
    /// Only floods whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where `flood.md` is kept; nowhere when left out
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

/// What floods the daemon.
#[derive(Clone, Copy, Debug)]
enum With {
    Nothing,
    Events(&'static str, Flooder),
    Tasks(u32),
}

impl With {
    fn name(self) -> String {
        match self {
            With::Nothing => "none".to_owned(),
            With::Events(with, Flooder::AnotherCgroup) => with.to_owned(),
            With::Events(with, Flooder::SameCgroup) => format!("{with}, own cgroup"),
            With::Events(with, Flooder::Intruder) => format!("{with}, an intruder's"),
            With::Tasks(tasks) => format!("{tasks} sleeping tasks"),
        }
    }
}

struct Row {
    with: With,
    covered: Covered,
    used: Used,
}

/// Measures, prints, and keeps.
pub fn execute(args: &Args) -> Result<ExitCode> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "`bench flood` limits the daemon by cgroups: it needs root"
    );
    let floods = [
        With::Nothing,
        With::Events("fork", Flooder::AnotherCgroup),
        With::Events("exec", Flooder::AnotherCgroup),
        With::Events("connect", Flooder::AnotherCgroup),
        With::Events("fork", Flooder::SameCgroup),
        With::Events("exec", Flooder::SameCgroup),
        With::Events("connect", Flooder::SameCgroup),
        With::Events("exec", Flooder::Intruder),
        With::Tasks(args.tasks),
    ];
    let mut rows = Vec::new();
    for with in floods {
        let only = args.only.as_deref();
        if only.is_none_or(|only| with.name().contains(only)) {
            eprintln!("{}", with.name());
            rows.push(measure(args, with)?);
        }
    }
    let page = markdown(args, &rows)?;
    print!("{page}");
    if let Some(folder) = &args.write {
        let path = folder.join("flood.md");
        fs::write(&path, &page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let killed = rows.iter().any(|row| row.used.killed > 0);
    let missed = rows.iter().any(|row| row.covered.told.critical.is_none());
    Ok(match killed || missed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn program(variable: &str) -> Result<PathBuf> {
    let program = std::env::var_os(variable).map(PathBuf::from);
    program.with_context(|| format!("{variable} names no program: run `cargo xtask bench flood`"))
}

fn measure(args: &Args, with: With) -> Result<Row> {
    let (binary, stand_in) = (program("DETECTOR_BIN")?, program("DETECTOR_STAND_IN")?);
    let actor = binary.with_file_name("actor");
    let (_raised, sleepers) = match with {
        With::Tasks(tasks) => sleep(args, &actor, tasks)?,
        _ => (None, Vec::new()),
    };
    let means = Means::new(Some(means::memory_max()?), !args.any_cpu)?;
    let command = service::unprivileged(&Daemon::command(&binary), &[service::NET_ADMIN]);
    let mut daemon = Daemon::start(means.inside(&command))?;
    daemon.wait_ready(Instant::now() + PATIENCE)?;
    let covered = match with {
        With::Events(events, flooder) => {
            let threads = threads(events);
            let flood = Flood {
                events,
                threads,
                flooder,
            };
            flood::attack_under(&daemon, &stand_in, &actor, flood)?
        }
        With::Nothing | With::Tasks(_) => flood::attack_in_the_open(&daemon, &stand_in)?,
    };
    let used = means.used()?;
    ensure!(daemon.stop()?.success(), "the daemon fails at its end");
    for sleeper in sleepers {
        let status = sleeper.finish()?;
        ensure!(status.success(), "a sleeper: {status}");
    }
    Ok(Row {
        with,
        covered,
        used,
    })
}

/// Who runs programs waits for them most of the time: two threads get a few turns beside an attack that has every CPU.
fn threads(with: &str) -> u32 {
    match with {
        "exec" => 16,
        _ => 2,
    }
}

/// `kernel.pid_max`, put back when dropped.
struct Raised(String);

impl Drop for Raised {
    fn drop(&mut self) {
        if let Err(error) = fs::write(PID_MAX, &self.0) {
            eprintln!("{PID_MAX} was {}: {error}", self.0.trim());
        }
    }
}

fn sleep(args: &Args, actor: &PathBuf, tasks: u32) -> Result<(Option<Raised>, Vec<Actor>)> {
    let before = fs::read_to_string(PID_MAX)?;
    let needed = tasks + OTHERS;
    let enough = before.trim().parse::<u32>()? >= needed;
    ensure!(
        enough || args.raise_pid_max,
        "kernel.pid_max is {}: --raise-pid-max, or fewer --tasks",
        before.trim()
    );
    let raised = match enough {
        true => None,
        false => {
            fs::write(PID_MAX, needed.to_string())?;
            Some(Raised(before))
        }
    };
    let mut sleepers = Vec::new();
    let mut left = tasks;
    while left > 0 {
        let threads = left.min(THREADS_OF_ONE);
        let mut command = Command::new(actor);
        command.args(["sleep", "--threads", &threads.to_string()]);
        sleepers.push(Actor::begin(command)?);
        left -= threads;
    }
    Ok((raised, sleepers))
}

fn markdown(args: &Args, rows: &[Row]) -> Result<String> {
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let Row { covered, used, .. } = row;
            let after = |at: Option<Duration>| seconds(at.map(|at| at.as_secs_f64()));
            vec![
                row.with.name(),
                match row.with {
                    With::Events(..) => format!("{:.0}", covered.per_second),
                    _ => "–".to_owned(),
                },
                after(covered.told.opened),
                after(covered.told.critical),
                format!("{:.2}", covered.cores),
                used.peak_bytes.map_or("–".to_owned(), mib),
                mib(used.anonymous_bytes),
                used.killed.to_string(),
            ]
        })
        .collect();
    let head = [
        "flood",
        "a second",
        "opened, s",
        "critical, s",
        "CPUs",
        "peak, MiB",
        "own at the end, MiB",
        "killed",
    ];
    let cpu = match args.any_cpu {
        true => "any CPU".to_owned(),
        false => format!("{} % of a CPU", means::cpu_percent()?),
    };
    Ok(format!(
        "# The daemon under floods\n\n\
         Made by `cargo xtask bench flood`. The program as it is shipped, with what its unit gives it: {} MiB of memory, no swap, \
         {cpu}, a weight of {} where {} is usual.\nThe flood comes from a cgroup of its own or from the intruder's, as fast as {} CPUs can; the intruder at full speed is to be \
         found. Memory is what the\nkernel counts of the daemon's cgroup: its own, maps, page tables, and pages of files that it \
         was the first to read, which are given\nup when the limit is met.\n\n{}",
        means::memory_max()? >> 20,
        means::cpu_weight()?,
        means::WEIGHT,
        std::thread::available_parallelism()?,
        table(&head, &cells)
    ))
}
