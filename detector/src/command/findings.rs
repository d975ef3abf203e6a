//! `detector findings`: signals that woke nobody.

use std::process::ExitCode;

use clap::Args;

use super::{Output, incidents::Common, print, table::Table};
use crate::{event::FindingData, state::StoredFinding};

#[derive(Debug, Args)]
pub(super) struct Findings {
    #[command(flatten)]
    common: Common,
    /// How many at most, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: u32,
}

/// Lists them, newest first.
pub(super) fn execute(findings: &Findings) -> anyhow::Result<ExitCode> {
    let stored = findings.common.desk(false)?.findings(findings.last)?;
    let text = match findings.common.output {
        Output::Json => stored
            .iter()
            .map(|one| String::from_utf8_lossy(&one.data).into_owned() + "\n")
            .collect(),
        Output::Human if stored.is_empty() => "nothing was found that is no incident\n".to_owned(),
        Output::Human => table(&stored),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn table(stored: &[StoredFinding]) -> String {
    let mut table = Table::new(["SEEN (UTC)", "SEVERITY", "TYPE", "PROCESS"]);
    for one in stored {
        let data: Option<FindingData> = serde_json::from_slice(&one.data).ok();
        let process = data.and_then(|data| data.finding.process);
        let process = process.map_or_else(String::new, |process| {
            let path = process.executable.unwrap_or(process.name);
            format!("{path} ({})", process.pid)
        });
        table.row([
            super::moment(one.at),
            one.severity.clone(),
            one.kind.clone(),
            process,
        ]);
    }
    table.to_string()
}
