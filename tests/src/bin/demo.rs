//! The demo: plays the founding incident on this machine and tells what the daemon said about it.
//!
//! Exit code 0: caught, told truly and resolved. 1: not. 2: could not be played here. Everything it starts ends
//! with it, also after Ctrl-C; it leaves nothing behind.

use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;
use tests::scenario::{self, Options};
use tests::story::Story;
use tests::sys;

/// Plays an exploited web shop with a harmless stand-in and shows what detector says about it.
///
/// Needs root, nginx and php-fpm (their programs only; the system's services are not touched), and the
/// binaries `detector` and `stand-in` next to this one or named by DETECTOR_BIN and DETECTOR_STAND_IN.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// Threads the stand-in burns with [default: one for each CPU]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Percent of one CPU that each thread burns
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    duty: u8,
    /// Seconds the stand-in burns
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..=60))]
    seconds: u64,
    /// Port of the far end on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pool_port: u16,
    /// Also print every event as it came
    #[arg(long)]
    events: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = match Options::find() {
        Ok(options) => Options {
            threads: arguments.threads.unwrap_or(options.threads),
            duty_percent: arguments.duty,
            burn: Duration::from_secs(arguments.seconds),
            pool_port: arguments.pool_port,
            ..options
        },
        Err(error) => {
            eprintln!("the demo cannot run here:\n{error:#}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = sys::catch_interrupts() {
        eprintln!("cannot catch Ctrl-C, and would leave its servers running: {error}");
        return ExitCode::from(2);
    }
    let mut story = Story::to_stdout();
    story.opening(&options);
    match scenario::founding_incident_observed(&options, &mut |step| story.step(&step)) {
        Ok(report) => {
            story.closing(&report);
            if arguments.events {
                for seen in &report.events {
                    println!("{}", seen.event);
                }
            }
            if report.passed() {
                return ExitCode::SUCCESS;
            }
            eprintln!("\nwhat the daemon did: {}", report.daemon_account);
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("\nthe demo broke off: {error:#}");
            ExitCode::FAILURE
        }
    }
}
