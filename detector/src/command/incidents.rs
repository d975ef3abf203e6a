//! `detector incidents`: what was found, and what a person says about it.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::{Configuration, Output, print, table::Table};
use crate::{
    event::{CloudEvent, Data, IncidentData, ProcessFields, text},
    incident::{Acceptance, AcceptedBy, FindingType},
    render::{self, Style, report},
    state::{self, Desk, Request, StoredIncident},
};

/// Incidents listed.
const LISTED: u32 = 200;
/// Characters of an id in a table: the millisecond it was opened in.
const SHORT_ID: usize = 13;

#[derive(Debug, Args)]
pub(super) struct Incidents {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    common: Common,
}

/// What every verb about stored things takes.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) configuration: Configuration,
    /// For people, or JSON, one object a line
    #[arg(long, value_enum, default_value_t = Output::Human, global = true)]
    pub(super) output: Output,
}

impl Common {
    /// The state file that the configuration names.
    pub(super) fn desk(&self, write: bool) -> anyhow::Result<Desk> {
        let config = super::load(&self.configuration)?;
        let path = state::path(config.state.path.as_deref());
        Ok(Desk::open(&path, write)?)
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Everything about one incident
    Show(Id),
    /// The whole incident as Markdown, for a ticket
    Report(Id),
    /// Say that it is over; the running detector tells every receiver within a few seconds
    Resolve {
        #[command(flatten)]
        id: Id,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Say that it is fine: the same thing is `info` from now on, for as long as that holds
    Accept {
        #[command(flatten)]
        id: Id,
        /// By what it is recognised: the content of the program (default), its path and owner, or its unit
        #[arg(long, value_enum)]
        by: Option<By>,
        /// For how long
        #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "90d")]
        duration: Duration,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct Id {
    /// Its id, or the beginning of it
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// SHA-256 of the program
    Hash,
    /// Path, and owner of the file
    Path,
    /// systemd unit
    Unit,
}

/// Does what the verb says.
pub(super) fn execute(incidents: Incidents) -> anyhow::Result<ExitCode> {
    let Incidents { verb, common } = incidents;
    match verb {
        None => list(&common)?,
        Some(Verb::Show(id)) => show(&common, &id.id)?,
        Some(Verb::Report(id)) => {
            let stored = common.desk(false)?.incident(&id.id)?;
            print(&report::markdown(&data(&stored)?))?;
        }
        Some(Verb::Resolve { id, reason }) => resolve(&common, &id.id, reason)?,
        Some(Verb::Accept {
            id,
            by,
            duration,
            reason,
        }) => {
            accept(&common, &id.id, by, duration, reason)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(common: &Common) -> anyhow::Result<()> {
    let incidents = common.desk(false)?.incidents(LISTED)?;
    if common.output == Output::Json {
        return print(&incidents.iter().flatten().map(line).collect::<String>());
    }
    let mut table = Table::new(["ID", "STATUS", "SEVERITY", "OPENED (UTC)", "LASTED", "WHAT"]);
    let now = super::unix_now_ns();
    for incident in &incidents {
        match incident {
            Some(incident) => table.row([
                incident.id.chars().take(SHORT_ID).collect(),
                incident.status.clone(),
                incident.severity.clone(),
                super::moment(incident.opened),
                super::lasted(incident.opened, incident.resolved.unwrap_or(now)),
                incident.title.clone(),
            ]),
            None => {
                table.row(["", "", "", "", "", "(damaged in the state file)"].map(str::to_owned))
            }
        }
    }
    if incidents.is_empty() {
        return print("no incidents\n");
    }
    print(&table.to_string())
}

fn show(common: &Common, id: &str) -> anyhow::Result<()> {
    let stored = common.desk(false)?.incident(id)?;
    if common.output == Output::Json {
        return print(&line(&stored));
    }
    let colour = std::io::IsTerminal::is_terminal(&std::io::stdout());
    print(&render::incident(&data(&stored)?, Style { colour }))
}

fn resolve(common: &Common, id: &str, reason: String) -> anyhow::Result<()> {
    let desk = common.desk(true)?;
    let stored = desk.incident(id)?;
    if stored.status == "resolved" {
        bail!("incident {} is resolved already", stored.id);
    }
    let request = Request {
        incident: stored.id,
        reason: text::line(&reason).into_owned(),
    };
    desk.request(&request, super::unix_now_ns())?;
    print(&format!(
        "incident {} will be resolved by the running detector, or when it starts\n",
        request.incident
    ))
}

fn accept(
    common: &Common,
    id: &str,
    by: Option<By>,
    duration: Duration,
    reason: String,
) -> anyhow::Result<()> {
    let desk = common.desk(true)?;
    let stored = desk.incident(id)?;
    let data = data(&stored)?;
    let findings: Vec<FindingType> = data
        .incident
        .findings
        .iter()
        .filter_map(|finding| FindingType::from_name(&finding.kind))
        .collect();
    let process = data.process.as_ref();
    let process =
        process.context("the incident is about no single process: nothing can be accepted")?;
    let now = super::unix_now_ns();
    let expires_unix_ns = i64::try_from(duration.as_nanos())
        .ok()
        .and_then(|ns| now.checked_add(ns))
        .context("--for is longer than time lasts")?;
    let acceptance = Acceptance {
        number: 0,
        by: recognised(process, by)?,
        findings,
        reason: text::line(&reason).into_owned(),
        incident: stored.id,
        expires_unix_ns,
    };
    let number = desk.accept(&acceptance, now)?;
    let kinds: Vec<&str> = acceptance.findings.iter().map(|kind| kind.name()).collect();
    print(&format!(
        "accepted by {} as no. {number} until {}: {} will be info\n",
        acceptance.by.name(),
        super::moment(expires_unix_ns),
        kinds.join(", ")
    ))
}

/// What the acceptance is about: as asked, else the content, else the path.
fn recognised(process: &ProcessFields, by: Option<By>) -> anyhow::Result<AcceptedBy> {
    let verdict = process.executable_verdict.as_ref();
    let script = verdict.is_some_and(|verdict| verdict.interpreter.is_some());
    let hash = process.hash.as_ref().filter(|_| !script);
    let by = by.unwrap_or(if hash.is_some() { By::Hash } else { By::Path });
    Ok(match by {
        By::Hash if script => {
            bail!(
                "it is a script: the hash is its interpreter's and would cover every script; use --by path"
            )
        }
        By::Hash => {
            let hash =
                hash.context("the program could not be hashed; use --by path or --by unit")?;
            AcceptedBy::Hash(state::from_hex(&hash.sha256).context("the hash is damaged")?)
        }
        By::Path => {
            let path = process.executable.as_deref();
            let path = path.context("its path is not known; use --by hash or --by unit")?;
            let user = process.user.as_ref().and_then(|user| user.id.parse().ok());
            AcceptedBy::Path {
                path: text::unescape(path)
                    .context(
                        "its path was cut or has bytes that cannot be told back; use --by hash",
                    )?
                    .into(),
                uid: match verdict.and_then(|verdict| verdict.writer.as_ref()) {
                    Some(writer) if !script => writer.id.parse().ok(),
                    _ => user,
                },
            }
        }
        By::Unit => {
            let unit = process.unit.clone();
            let unit = unit.context("it belongs to no unit; use --by hash or --by path")?;
            let unit = text::unescape(&unit).and_then(|unit| String::from_utf8(unit).ok());
            AcceptedBy::Unit(unit.context("its unit was cut; use --by hash or --by path")?)
        }
    })
}

fn data(stored: &StoredIncident) -> anyhow::Result<IncidentData> {
    let event: CloudEvent = serde_json::from_slice(&stored.event)
        .with_context(|| format!("incident {} was stored by another version", stored.id))?;
    match event.data {
        Data::Incident(data) => Ok(*data),
        _ => bail!("incident {} holds another event", stored.id),
    }
}

fn line(stored: &StoredIncident) -> String {
    String::from_utf8_lossy(&stored.event).into_owned() + "\n"
}
