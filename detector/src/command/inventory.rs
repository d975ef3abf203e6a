//! `detector inventory`: programs that no package owns and that ran here; where packaged programs connected to.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{Output, incidents::Common, print, table::Table};
use crate::{
    event::{text, timestamp},
    input::KnownDestination,
    state::ProgramSeen,
};

#[derive(Debug, Args)]
pub(super) struct Inventory {
    #[command(flatten)]
    common: Common,
    /// Where packaged programs connected to, instead of programs
    #[arg(long)]
    destinations: bool,
}

/// Lists them, most recently seen first.
pub(super) fn execute(inventory: &Inventory) -> anyhow::Result<ExitCode> {
    let desk = inventory.common.desk(false)?;
    let is_json = inventory.common.output == Output::Json;
    let text = if inventory.destinations {
        let mut known = desk.destinations()?;
        known.reverse();
        if is_json {
            lines(known.iter().map(destination))
        } else {
            destinations(&known)
        }
    } else {
        let programs = desk.programs()?;
        if is_json {
            lines(programs.iter().map(program))
        } else {
            table(&programs)
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn table(programs: &[ProgramSeen]) -> String {
    if programs.is_empty() {
        return "no program without a package was seen yet\n".to_owned();
    }
    let mut table = Table::new([
        "FIRST SEEN (UTC)",
        "LAST SEEN (UTC)",
        "HOW",
        "INCIDENT (UTC)",
        "SHA-256",
        "PATH",
    ]);
    for seen in programs {
        let hash = crate::event::hex(&seen.program.sha256);
        table.row([
            super::moment(seen.first_seen),
            super::moment(seen.last_seen),
            seen.how.clone(),
            seen.last_incident
                .map_or_else(|| "none".to_owned(), super::moment),
            hash.chars().take(16).collect(),
            text::plain(&seen.program.path),
        ]);
    }
    table.to_string()
}

fn destinations(known: &[KnownDestination]) -> String {
    if known.is_empty() {
        return "no packaged program connected to the outside yet\n".to_owned();
    }
    let mut table = Table::new([
        "FIRST SEEN (UTC)",
        "LAST SEEN (UTC)",
        "NETWORK",
        "PORT",
        "PROGRAM",
    ]);
    for seen in known {
        table.row([
            super::moment(seen.first_seen_unix_ns),
            super::moment(seen.last_seen_unix_ns),
            seen.destination.network.to_string(),
            seen.destination.port.to_string(),
            seen.destination.identity.clone(),
        ]);
    }
    table.to_string()
}

fn lines(rows: impl Iterator<Item = Value>) -> String {
    rows.map(|row| format!("{row}\n")).collect()
}

fn destination(seen: &KnownDestination) -> Value {
    json!({
        "program": seen.destination.identity,
        "network": seen.destination.network.to_string(),
        "port": seen.destination.port,
        "first_seen": timestamp(seen.first_seen_unix_ns),
        "last_seen": timestamp(seen.last_seen_unix_ns),
    })
}

fn program(seen: &ProgramSeen) -> Value {
    json!({
        "path": text::plain(&seen.program.path),
        "sha256": crate::event::hex(&seen.program.sha256),
        "first_seen": timestamp(seen.first_seen),
        "last_seen": timestamp(seen.last_seen),
        "how": seen.how,
        "last_incident": seen.last_incident.map(timestamp),
    })
}
