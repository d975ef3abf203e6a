//! An incident as Markdown, for a ticket.
//!
//! The same payload as the block for a terminal, whole: nothing is cut. Text was escaped for terminals already;
//! here the characters that Markdown and HTML act on are escaped too, and commands stand in code blocks.

use std::fmt::Write as _;

use super::layout::{date_and_clock, duration, percent};
use crate::event::{FindingFields, IncidentData, ProcessFields};

/// The whole report.
pub fn markdown(data: &IncidentData) -> String {
    let incident = &data.incident;
    let mut out = format!(
        "# {} on {}: {}\n\n",
        incident.severity,
        plain(&data.host.name),
        plain(&incident.title)
    );
    if let Some(reason) = &data.event.reason {
        out += &format!("{}\n\n", plain(reason));
    }
    let since = data.event.start.as_deref().unwrap_or(&incident.opened_at);
    let end = incident.resolved_at.as_deref();
    let mut facts = vec![
        ("Incident", incident.id.clone()),
        ("Status", incident.status.clone()),
        ("First sign", date_and_clock(since)),
        ("Opened", date_and_clock(&incident.opened_at)),
    ];
    if let Some(end) = end {
        let lasted =
            duration(since, end).map_or_else(String::new, |lasted| format!(" (after {lasted})"));
        facts.push(("Resolved", date_and_clock(end) + &lasted));
    }
    facts.push(("Confidence", percent(incident.confidence)));
    if let Some(impact) = &incident.impact {
        let cost = format!(
            "{:.2} CPUs, {} of the host, for {:.0} s",
            impact.cpu_cores,
            percent(impact.cpu_share_of_host),
            impact.duration_s
        );
        facts.push(("Cost", cost));
    }
    facts.push(("Host", format!("{} ({})", data.host.name, data.host.id)));
    table(
        &mut out,
        ["", ""],
        facts
            .iter()
            .map(|(name, text)| [(*name).to_owned(), text.clone()]),
    );
    if let Some(process) = &data.process {
        out += "## Process\n\n";
        table(&mut out, ["", ""], about(process).into_iter());
    }
    out += "## Findings\n\n";
    let findings = incident.findings.iter().map(|finding| {
        [
            finding.kind.clone(),
            finding.severity.clone(),
            date_and_clock(&finding.first_seen),
            evidence(finding),
        ]
    });
    table(
        &mut out,
        ["Type", "Severity", "First seen", "Evidence"],
        findings,
    );
    if !incident.victims.is_empty() {
        out += "## Who waits\n\n";
        let victims = incident.victims.iter().map(|victim| {
            let name = victim.unit.clone().unwrap_or_else(|| victim.name.clone());
            [name, percent(victim.run_delay_share)]
        });
        table(
            &mut out,
            ["Who", "Share of its time spent waiting for a CPU"],
            victims,
        );
    }
    if let Some(detector) = &data.detector {
        out += "## Connections\n\n";
        let connections = detector.connections.iter().map(|connection| {
            [
                format!("{}({})", connection.process.name, connection.process.pid),
                format!(
                    "{} port {}",
                    connection.destination.ip, connection.destination.port
                ),
                connection.state.clone(),
                date_and_clock(&connection.first_seen),
            ]
        });
        table(
            &mut out,
            ["Process", "To", "State", "First seen"],
            connections,
        );
    }
    out += "## Timeline\n\n";
    let moments = incident
        .timeline
        .iter()
        .map(|moment| [date_and_clock(&moment.at), moment.what.clone()]);
    table(&mut out, ["When", "What"], moments);
    if let Some(loss) = &incident.loss {
        let _ = writeln!(
            out,
            "## Gap\n\n{} records were lost meanwhile: something may be missing.\n",
            loss.dropped
        );
    }
    if !incident.next_steps.is_empty() {
        out += "## Next steps\n\n";
        for (number, step) in incident.next_steps.iter().enumerate() {
            match step.split_once(": ") {
                Some((what, command)) => {
                    let fence = fence(command);
                    let _ = write!(
                        out,
                        "{}. {}\n\n   {fence}sh\n   {command}\n   {fence}\n\n",
                        number + 1,
                        plain(what)
                    );
                }
                None => {
                    let _ = write!(out, "{}. {}\n\n", number + 1, plain(step));
                }
            }
        }
    }
    out
}

fn about(process: &ProcessFields) -> Vec<[String; 2]> {
    let mut rows = vec![("Process", format!("{}({})", process.name, process.pid))];
    let mut add = |name, text: Option<String>| rows.extend(text.map(|text| (name, text)));
    add("Executable", process.executable.clone());
    add(
        "SHA-256",
        process.hash.as_ref().map(|hash| hash.sha256.clone()),
    );
    add("Command line", process.command_line.clone());
    add("Working directory", process.working_directory.clone());
    add(
        "User",
        process.user.as_ref().map(|user| match &user.name {
            Some(name) => format!("{name} ({})", user.id),
            None => user.id.clone(),
        }),
    );
    add("Unit", process.unit.clone());
    add(
        "Container",
        process
            .container
            .as_ref()
            .map(|container| container.id.clone()),
    );
    let lineage: Vec<String> = process
        .ancestors
        .iter()
        .rev()
        .map(|ancestor| format!("{}({})", ancestor.name, ancestor.pid))
        .collect();
    add(
        "Started by",
        (!lineage.is_empty()).then(|| lineage.join(" → ")),
    );
    add(
        "Package",
        process
            .executable_verdict
            .as_ref()
            .map(|verdict| match &verdict.owner_package {
                Some(package) => package.clone(),
                None if verdict.unowned == Some(true) => "none".to_owned(),
                None => "not known".to_owned(),
            }),
    );
    rows.into_iter()
        .map(|(name, text)| [name.to_owned(), text])
        .collect()
}

fn evidence(finding: &FindingFields) -> String {
    let mut words: Vec<String> = finding.accepted.iter().cloned().collect();
    words.extend(
        finding
            .evidence
            .iter()
            .map(|(key, value)| match value.as_str() {
                Some(text) => format!("{key} {text}"),
                None => format!("{key} {value}"),
            }),
    );
    words.join(", ")
}

/// A table whose cells are escaped.
fn table<const N: usize>(
    out: &mut String,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let _ = writeln!(out, "| {} |", head.join(" | "));
    let _ = writeln!(out, "|{}", "---|".repeat(N));
    for row in rows {
        let cells = row.map(|cell| plain(&cell));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
}

/// Text that Markdown and HTML show as it is.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(character);
            }
            _ => out.push(character),
        }
    }
    out
}

/// More backticks than the text has in a row.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}
