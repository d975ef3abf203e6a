//! `detector inventory`: programs that no package owns and that ran here.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Output, incidents::Common, print, table::Table};
use crate::{event::text, event::timestamp, state::ProgramSeen};

#[derive(Debug, Args)]
pub(super) struct Inventory {
    #[command(flatten)]
    common: Common,
}

/// Lists them, most recently seen first.
pub(super) fn execute(inventory: &Inventory) -> anyhow::Result<ExitCode> {
    let programs = inventory.common.desk(false)?.programs()?;
    if inventory.common.output == Output::Json {
        print(&programs.iter().map(line).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new([
        "FIRST SEEN (UTC)",
        "LAST SEEN (UTC)",
        "HOW",
        "INCIDENT (UTC)",
        "SHA-256",
        "PATH",
    ]);
    for seen in &programs {
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
    print(&if programs.is_empty() {
        "no program without a package was seen yet\n".to_owned()
    } else {
        table.to_string()
    })?;
    Ok(ExitCode::SUCCESS)
}

fn line(seen: &ProgramSeen) -> String {
    json!({
        "path": text::plain(&seen.program.path),
        "sha256": crate::event::hex(&seen.program.sha256),
        "first_seen": timestamp(seen.first_seen),
        "last_seen": timestamp(seen.last_seen),
        "how": seen.how,
        "last_incident": seen.last_incident.map(timestamp),
    })
    .to_string()
        + "\n"
}
