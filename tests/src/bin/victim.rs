//! `victim STATE_FILE RECEIVER_URL EVENTS`: the program that [`tests::faults::kill`] kills.

use std::path::PathBuf;

use clap::Parser;

/// Records events and delivers them until it is killed, or all are delivered.
#[derive(Parser)]
struct Arguments {
    /// The state file
    path: PathBuf,
    /// The receiver
    url: String,
    /// Events to make
    events: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tests::faults::kill::live(&arguments.path, &arguments.url, arguments.events)
}
