//! The command line: parses, runs, maps errors to exit codes.

use std::process::ExitCode;

use clap::Parser as _;
use detector::command::{self, CommandLine};

fn main() -> ExitCode {
    match command::execute(CommandLine::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("detector: {error:#}");
            ExitCode::from(command::exit_code(&error))
        }
    }
}
