//! `detector outbox`: what waits for receivers, and what they refused.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, incidents::Common, print, table::Table};

#[derive(Debug, Args)]
pub(super) struct Outbox {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How far each receiver is
    List,
    /// What receivers refused for good, and why
    Dead,
    /// Send a dead letter again
    Resend {
        /// The event's id or number, or `all`
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Does what the verb says.
pub(super) fn execute(outbox: Outbox) -> anyhow::Result<ExitCode> {
    let Outbox { verb, common } = outbox;
    match verb.unwrap_or(Verb::List) {
        Verb::List => list(&common)?,
        Verb::Dead => dead(&common)?,
        Verb::Resend { id } => {
            let count = common.desk(true)?.resend(&id)?;
            if count == 0 {
                bail!("no dead letter {id:?}; `detector outbox dead` lists them");
            }
            print(&format!(
                "{count} dead letters will be sent again by the running detector, or when it starts\n"
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(common: &Common) -> anyhow::Result<()> {
    let sinks = common.desk(false)?.sinks()?;
    if common.output == Output::Json {
        let line = |sink: &crate::state::SinkState| {
            json!({"sink": sink.name, "settled_up_to": sink.cursor, "waiting": sink.waiting, "dead_letters": sink.dead})
                .to_string()
                + "\n"
        };
        return print(&sinks.iter().map(line).collect::<String>());
    }
    let mut table = Table::new(["SINK", "WAITING", "DEAD", "SETTLED UP TO"]);
    for sink in &sinks {
        let number = |number: u64| number.to_string();
        table.row([
            sink.name.clone(),
            number(sink.waiting),
            number(sink.dead),
            number(sink.cursor),
        ]);
    }
    if sinks.is_empty() {
        return print("no receiver is configured: events are printed and stored only\n");
    }
    print(&table.to_string())
}

fn dead(common: &Common) -> anyhow::Result<()> {
    let letters = common.desk(false)?.dead_letters()?;
    if common.output == Output::Json {
        let line = |letter: &crate::state::DeadLetter| {
            json!({
                "sink": letter.sink,
                "sequence": letter.sequence,
                "id": letter.id,
                "subject": letter.subject,
                "refused_at": crate::event::timestamp(letter.at),
                "reason": letter.reason,
                "waits_to_be_sent_again": letter.again,
            })
            .to_string()
                + "\n"
        };
        return print(&letters.iter().map(line).collect::<String>());
    }
    let mut table = Table::new(["SINK", "REFUSED (UTC)", "ID", "REASON"]);
    for letter in &letters {
        let again = if letter.again {
            "(will be sent again) "
        } else {
            ""
        };
        table.row([
            letter.sink.clone(),
            super::moment(letter.at),
            letter.id.clone(),
            format!("{again}{}", letter.reason),
        ]);
    }
    if letters.is_empty() {
        return print("no dead letters\n");
    }
    print(&table.to_string())
}
