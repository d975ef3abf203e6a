//! An incident as a block of text for a tired person.
//!
//! Owns layout and colour, nothing else: the input is the event's payload, whose text is already
//! escaped (`event/text.rs`), so the same function shows a fresh incident and a stored one. About 100
//! columns; commands are never broken, so that they can be copied.
#![deny(clippy::disallowed_methods)]

use std::fmt::Write;

use crate::event::{
    ConnectionFields, FindingFields, ImpactFields, IncidentData, MomentFields, ProcessFields,
    VerdictFields,
};

mod layout;
mod replay;
pub mod report;

#[cfg(test)]
mod tests;

pub use replay::Lives;

use layout::{Paint, clock, count, date_and_clock, duration, percent, wrap};

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours.
    pub colour: bool,
}

/// Columns of a block.
const WIDTH: usize = 100;
/// Lines of one part; the event has the rest.
const MAX_LINES: usize = 10;
/// Characters of a command line: two lines and a half. The event has up to a kilobyte.
const MAX_COMMAND: usize = 240;

/// The whole incident.
pub fn incident(data: &IncidentData, style: Style) -> String {
    let paint = Paint::new(style.colour);
    let incident = &data.incident;
    let mut out = String::new();
    let badge = paint.severity(&incident.severity, &incident.severity.to_uppercase());
    let state = if incident.status == "resolved" {
        " (resolved)"
    } else {
        ""
    };
    push(
        &mut out,
        &format!("{badge}{state}  {}", paint.bold(&incident.title)),
    );
    push(
        &mut out,
        &paint.dim(&format!(
            "  {} · since {} · confidence {} · {}",
            data.host.name,
            date_and_clock(data.event.start.as_deref().unwrap_or(&incident.opened_at)),
            percent(incident.confidence),
            incident.id
        )),
    );
    if let Some(process) = &data.process {
        for (name, text) in about(process) {
            field(&mut out, &paint, name, &text);
        }
    }
    if let Some(impact) = &incident.impact {
        field(&mut out, &paint, "cost", &cost(impact, data.host.cpu.count));
    }
    let victims: Vec<String> = incident
        .victims
        .iter()
        .map(|victim| {
            let name = victim.unit.as_deref().unwrap_or(&victim.name);
            format!(
                "{name} waits {} of its time",
                percent(victim.run_delay_share)
            )
        })
        .collect();
    list(&mut out, &paint, "victims", &victims);
    let connections = data
        .detector
        .as_ref()
        .map(|detector| detector.connections.as_slice());
    let connections: Vec<String> = connections
        .unwrap_or_default()
        .iter()
        .map(connection)
        .collect();
    list(&mut out, &paint, "network", &connections);
    let evidence: Vec<String> = incident.findings.iter().map(finding).collect();
    list(&mut out, &paint, "evidence", &evidence);
    let timeline: Vec<String> = incident.timeline.iter().map(moment).collect();
    list(&mut out, &paint, "timeline", &timeline);
    if let Some(loss) = &incident.loss {
        let classes: Vec<String> = loss
            .by_class
            .iter()
            .map(|(class, count)| format!("{class} {count}"))
            .collect();
        let text = format!(
            "{} records were lost meanwhile ({}): something may be missing",
            loss.dropped,
            classes.join(", ")
        );
        field(&mut out, &paint, "gap", &paint.warn(&text));
    }
    if incident.truncated.is_some() {
        field(
            &mut out,
            &paint,
            "note",
            "there was more than fits; the event says how much",
        );
    }
    for (number, step) in incident.next_steps.iter().enumerate() {
        let label = if number == 0 { "next" } else { "" };
        let text = match step.split_once(": ") {
            Some((what, command)) => {
                format!("{}. {what}:\n     {}", number + 1, paint.bold(command))
            }
            None => format!("{}. {step}", number + 1),
        };
        raw(&mut out, &paint, label, &text);
    }
    out
}

/// One line for an update.
pub fn updated(data: &IncidentData, style: Style) -> String {
    let paint = Paint::new(style.colour);
    let incident = &data.incident;
    let badge = paint.severity(&incident.severity, &incident.severity.to_uppercase());
    let kinds: Vec<&str> = distinct(&incident.findings);
    format!(
        "{badge} updated  {} [{}]  {}",
        incident.title,
        kinds.join(", "),
        paint.dim(&incident.id)
    )
}

/// One line for the end.
pub fn resolved(data: &IncidentData, style: Style) -> String {
    let paint = Paint::new(style.colour);
    let incident = &data.incident;
    let lasted = match (&data.event.start, &incident.resolved_at) {
        (Some(start), Some(end)) => duration(start, end),
        _ => None,
    };
    let lasted = lasted.map_or_else(String::new, |lasted| format!(" after {lasted}"));
    format!(
        "{}{lasted}  {}  {}",
        paint.good("RESOLVED"),
        incident.title,
        paint.dim(&incident.id)
    )
}

fn distinct(findings: &[FindingFields]) -> Vec<&str> {
    let mut kinds: Vec<&str> = findings
        .iter()
        .map(|finding| finding.kind.as_str())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn about(process: &ProcessFields) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let path = process.executable.as_deref().unwrap_or(&process.name);
    let mut what = path.to_owned();
    if let Some(verdict) = &process.executable_verdict {
        write!(what, " ({})", judged(verdict)).expect("writing to a string succeeds");
    }
    lines.push(("what", what));
    let mut who = String::new();
    if let Some(user) = &process.user {
        match &user.name {
            Some(name) => write!(who, "{name} (uid {})", user.id),
            None => write!(who, "uid {}", user.id),
        }
        .expect("writing to a string succeeds");
    }
    for (label, value) in [
        ("unit", &process.unit),
        ("in", &process.working_directory),
        (
            "container",
            &process
                .container
                .as_ref()
                .map(|container| container.id.clone()),
        ),
    ] {
        if let Some(value) = value {
            let comma = if who.is_empty() { "" } else { ", " };
            write!(who, "{comma}{label} {value}").expect("writing to a string succeeds");
        }
    }
    if !who.is_empty() {
        lines.push(("who", who));
    }
    lines.push(("lineage", lineage(process)));
    if let Some(command) = &process.command_line {
        let shown: String = command.chars().take(MAX_COMMAND).collect();
        let whole = shown.len() == command.len() && process.args_truncated != Some(true);
        let cut = if whole { "" } else { " …" };
        lines.push(("command", format!("{shown}{cut}")));
    }
    if let Some(hash) = &process.hash {
        lines.push(("sha256", hash.sha256.clone()));
    }
    lines
}

fn judged(verdict: &VerdictFields) -> String {
    let mut parts = Vec::new();
    match (&verdict.owner_package, verdict.unowned) {
        (Some(package), _) => {
            let changed = match verdict.integrity.as_deref() {
                Some("modified") => ", but not as shipped",
                Some("intact") => ", as shipped",
                _ => "",
            };
            parts.push(format!("package {package}{changed}"));
        }
        (None, Some(true)) => parts.push("of no package".to_owned()),
        _ => parts.push("owner not known".to_owned()),
    }
    if verdict.memfd {
        parts.push("in memory only".to_owned());
    }
    if verdict.deleted {
        parts.push("deleted".to_owned());
    }
    if let Some(age_s) = verdict
        .age_at_exec_s
        .filter(|age_s| (0..86_400).contains(age_s))
    {
        let writer = verdict.writer.as_ref().map(|writer| {
            let who = writer.name.clone();
            format!(
                " by {}",
                who.unwrap_or_else(|| format!("uid {}", writer.id))
            )
        });
        let writer = writer.unwrap_or_default();
        parts.push(format!("changed {age_s} s before it ran{writer}"));
    }
    parts.join(", ")
}

fn lineage(process: &ProcessFields) -> String {
    let mut chain: Vec<String> = process
        .ancestors
        .iter()
        .filter(|ancestor| ancestor.pid > 1)
        .take(8)
        .map(|ancestor| format!("{}({})", ancestor.name, ancestor.pid))
        .collect();
    chain.reverse();
    chain.push(format!("{}({})", process.name, process.pid));
    chain.join(" → ")
}

fn cost(impact: &ImpactFields, cpus: u32) -> String {
    let mut text = format!(
        "{:.2} of {cpus} CPUs ({} of the host) for {:.0} s",
        impact.cpu_cores,
        percent(impact.cpu_share_of_host),
        impact.duration_s
    );
    if let Some(accepts) = impact.accepts_per_second {
        write!(text, "; it accepted {accepts:.1} connections/s")
            .expect("writing to a string succeeds");
    }
    if let Some(psi) = impact.psi {
        write!(text, "; something waits {} of the time", percent(psi))
            .expect("writing to a string succeeds");
    }
    if let Some(steal) = impact.steal_share.filter(|steal| *steal >= 0.01) {
        write!(text, "; the hypervisor took {}", percent(steal))
            .expect("writing to a string succeeds");
    }
    text
}

fn connection(connection: &ConnectionFields) -> String {
    let ip = &connection.destination.ip;
    let peer = if ip.contains(':') {
        format!("[{ip}]:{}", connection.destination.port)
    } else {
        format!("{ip}:{}", connection.destination.port)
    };
    let side = if connection.outside {
        "outside"
    } else {
        "inside"
    };
    let bytes = match (connection.bytes_sent, connection.bytes_received) {
        (Some(sent), Some(received)) => format!(", {sent} B out, {received} B in"),
        _ => String::new(),
    };
    format!(
        "{}({}) → {peer} {} ({side}{bytes})",
        connection.process.name, connection.process.pid, connection.state
    )
}

fn finding(finding: &FindingFields) -> String {
    let process = finding
        .process
        .as_ref()
        .map_or_else(String::new, |process| {
            format!("  {}({})", process.name, process.pid)
        });
    format!("{:<8} {}{process}", finding.severity, finding.kind)
}

fn moment(moment: &MomentFields) -> String {
    format!("{} {}", clock(&moment.at), moment.what)
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// A labelled text, wrapped.
fn field(out: &mut String, paint: &Paint, label: &str, text: &str) {
    for (number, line) in wrap(text, WIDTH - 11).into_iter().enumerate() {
        raw(out, paint, if number == 0 { label } else { "" }, &line);
    }
}

fn raw(out: &mut String, paint: &Paint, label: &str, text: &str) {
    let mut first = true;
    for line in text.split('\n') {
        let label = if first { label } else { "" };
        push(
            out,
            &format!("  {} {line}", paint.dim(&format!("{label:>8}"))),
        );
        first = false;
    }
}

fn list(out: &mut String, paint: &Paint, label: &str, lines: &[String]) {
    for (number, line) in lines.iter().take(MAX_LINES).enumerate() {
        field(out, paint, if number == 0 { label } else { "" }, line);
    }
    if lines.len() > MAX_LINES {
        raw(out, paint, "", &count(lines.len() - MAX_LINES, "more"));
    }
}
