//! One file per verb of the command line.

mod check;
mod findings;
mod incidents;
mod inventory;
mod manual;
mod outbox;
mod record;
mod replay;
mod run;
mod table;
mod test_alert;
mod watching;

use std::{
    io::{IsTerminal as _, Write as _},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use crate::{
    config::{self, Config},
    incident::Severity,
    runtime::RunError,
};

/// Exit code: it runs, but something is missing.
pub const DEGRADED: u8 = 1;
/// Exit code: it cannot run.
pub const CANNOT_RUN: u8 = 2;
/// Exit code: an essential probe was detached from outside, which only a new start can attach. `EX_TEMPFAIL` of sysexits.h.
pub const START_AGAIN: u8 = 75;

/// What the program ends with after this error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(RunError::Detached(_)) => START_AGAIN,
        _ => CANNOT_RUN,
    }
}

/// Notices from inside the kernel when something eats the machine, and whose fault it is.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  detector check                       what this kernel supports
  detector run                         watch this host; incidents as readable blocks
  detector run --output json | jq .    the same as CloudEvents, one JSON object a line
  detector run --for 60s               watch for a minute
  detector record day.rec --for 24h    write down what is seen, to be judged again
  detector replay day.rec --config my.toml
                                       what would have been said with these settings
  detector config default > my.toml    every setting, its default and the reason for it

Environment:
  DETECTOR_LOG   what is logged to stderr: error, warn, info (default), debug; see
                 the directives of tracing's EnvFilter"
)]
pub struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Watch this host, in the foreground, until SIGTERM or SIGINT
    Run(Run),
    /// Watch this host and write down everything that verdicts rest on
    ///
    /// The file holds command lines, and of programs that are looked into up to 512 bytes of each of their first
    /// packets; passwords are sometimes in both. It is made with mode 0600, for its owner alone; keep it like a
    /// password. No receiver is told anything; incidents are printed as `run` does. A quiet server takes about 1 MB an
    /// hour.
    Record(Record),
    /// Judge a recording again, and say what would have been said
    ///
    /// Needs no root and touches nothing. The same file and configuration give the same output, byte for byte, on
    /// any machine. Exit 0: replayed to its end; 1: the recording is torn or damaged and was replayed up to there.
    Replay(Replay),
    /// Say what this kernel and configuration support: exit 0 ready, 1 degraded, 2 cannot run
    Check(Configuration),
    /// What was found: list, show, report for a ticket, resolve, accept
    Incidents(incidents::Incidents),
    /// Signals that woke nobody
    Findings(findings::Findings),
    /// What waits for receivers, and what they refused
    Outbox(outbox::Outbox),
    /// Programs that no package owns and that ran here
    Inventory(inventory::Inventory),
    /// The configuration file
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Send a marked test incident, opened and resolved, through every receiver and say what came back:
    /// exit 0 if all took it, 1 if not
    TestAlert(TestAlert),
    /// Print the JSON Schema of everything that is sent
    Schema,
    /// Write manual pages and completions of shells into a folder; for packages
    #[command(hide = true)]
    Manual {
        /// The folder, made if it is not there
        folder: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Print every key with its default and the reason for it
    Default,
    /// Check a file and say what is wrong with it, by line and column
    Check(Configuration),
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct Configuration {
    /// Configuration file [default: /etc/detector/detector.toml where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct TestAlert {
    #[command(flatten)]
    configuration: Configuration,
    /// How loud the test is: `critical` wakes somebody
    #[arg(long, value_parser = severity, default_value = "critical")]
    severity: Severity,
}

/// What `run` and `record` have in common.
#[derive(Debug, Args)]
struct Watching {
    #[command(flatten)]
    configuration: Configuration,
    /// What goes to stdout: blocks for people, or CloudEvents, one JSON object a line
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// Stop by itself after this long, for example 90s, 10m or 24h
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Count destinations in this range as the outside world; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = range)]
    treat_as_remote: Vec<IpNet>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    watching: Watching,
    /// Also write down everything that verdicts rest on, in this new file (see `detector record --help`)
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Record {
    /// The new recording; a file that exists is never overwritten
    file: PathBuf,
    #[command(flatten)]
    watching: Watching,
    /// Stop before the file gets longer than this many bytes
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_RECORD_BYTES)]
    max_bytes: u64,
}

/// A week of a quiet server, or a day of a busy one.
const DEFAULT_RECORD_BYTES: u64 = 256 << 20;

#[derive(Debug, Args)]
struct Replay {
    /// The recording
    file: PathBuf,
    /// Judge by this configuration [default: the one that was in force when recording began]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What goes to stdout: a table for people, or CloudEvents, one JSON object a line
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// Show every incident whole, as it was when it was loudest
    #[arg(long)]
    explain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Readable blocks, with colour on a terminal
    Human,
    /// CloudEvents 1.0, newline-delimited JSON
    Json,
}

/// Does what the command line says.
///
/// # Errors
/// Whatever kept the verb from doing its work, with the file, key or probe named.
pub fn execute(line: CommandLine) -> anyhow::Result<ExitCode> {
    match line.verb {
        Verb::Run(options) => run::execute(options),
        Verb::Record(options) => record::execute(options),
        Verb::Replay(options) => replay::execute(&options),
        Verb::Check(configuration) => check::execute(load(&configuration)),
        Verb::Incidents(incidents) => incidents::execute(incidents),
        Verb::Findings(findings) => findings::execute(&findings),
        Verb::Outbox(outbox) => outbox::execute(outbox),
        Verb::Inventory(inventory) => inventory::execute(&inventory),
        Verb::Config { verb } => match verb {
            ConfigVerb::Default => {
                print!("{}", config::DEFAULT_TOML);
                Ok(ExitCode::SUCCESS)
            }
            ConfigVerb::Check(configuration) => {
                load(&configuration)?;
                println!("the configuration is valid");
                Ok(ExitCode::SUCCESS)
            }
        },
        Verb::TestAlert(options) => {
            log_to_stderr();
            test_alert::execute(&load(&options.configuration)?, options.severity)
        }
        Verb::Manual { folder } => manual::execute(&folder),
        Verb::Schema => {
            println!("{:#}", crate::event::schema());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn load(configuration: &Configuration) -> anyhow::Result<Config> {
    Ok(Config::load_or_default(configuration.config.as_deref())?)
}

/// Prints. A reader that has seen enough (`head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Now, ns since 1970.
fn unix_now_ns() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
}

/// A moment for people, to the second.
fn moment(unix_ns: i64) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(unix_ns))
        .expect("64-bit nanoseconds are within the years 1677 to 2262");
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The time between two moments, for people.
fn lasted(from_unix_ns: i64, to_unix_ns: i64) -> String {
    let seconds = to_unix_ns.saturating_sub(from_unix_ns).max(0) / 1_000_000_000;
    humantime::format_duration(Duration::from_secs(seconds.unsigned_abs())).to_string()
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("DETECTOR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn severity(name: &str) -> Result<Severity, String> {
    Severity::from_name(name).ok_or_else(|| "one of info, warning, critical".to_owned())
}

/// A range, or a single address as the range that holds only it.
fn range(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is neither a range such as 198.51.100.0/24 nor an address"))
}
