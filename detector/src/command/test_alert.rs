//! `detector test-alert`: a marked test incident, opened and resolved, through every receiver, and what came back.

use std::{
    hash::{BuildHasher as _, RandomState},
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use serde_json::json;
use tokio::time;
use uuid::{Builder, Uuid};

use crate::{
    config::{self, Config},
    deliver::{
        Class, Event,
        sink::{self, Reply},
    },
    event::{Drill, Sequence},
    host,
    incident::Severity,
    output::Change,
};

/// What became of one step at one receiver.
struct Told<'a> {
    name: &'a str,
    kind: &'static str,
    step: &'static str,
    taken: Option<bool>,
    took: Duration,
    answer: String,
}

/// Sends the test and prints a table, or JSON lines into a pipe.
pub fn execute(config: &Config, severity: Severity) -> anyhow::Result<ExitCode> {
    if config.sink.is_empty() {
        anyhow::bail!("no receiver is configured; `detector config default` shows how");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let events = events(config, severity)?;
    let told = runtime.block_on(async {
        let tests = config
            .sink
            .iter()
            .map(|(name, sink)| test(name, sink, &events));
        // All at once: somebody waits for this.
        let told: Vec<Vec<Told<'_>>> = futures_util::future::join_all(tests).await;
        told.into_iter().flatten().collect::<Vec<_>>()
    });
    print(&told)?;
    let all = told.iter().all(|told| told.taken != Some(false));
    Ok(ExitCode::from(u8::from(!all)))
}

/// Opened now, resolved a second later.
fn events(config: &Config, severity: Severity) -> anyhow::Result<[(&'static str, Event); 2]> {
    let host = host::info();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now_ns = i64::try_from(now.as_nanos()).context("the clock is beyond the year 2262")?;
    let millis = u64::try_from(now.as_millis()).context("the clock is wrong")?;
    // The standard library's keys are random; identifiers need no more.
    let keys = RandomState::new();
    let mut random = [0; 10];
    random[..8].copy_from_slice(&keys.hash_one(now).to_be_bytes());
    random[8..].copy_from_slice(&keys.hash_one(millis).to_be_bytes()[..2]);
    let id: Uuid = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    let drill = Drill {
        incident: id.to_string(),
        severity,
        opened_unix_ns: now_ns,
    };
    let host = crate::event::HostInfo {
        redactor: config.privacy.redactor(),
        ..host
    };
    // Ids hold the incident's own, so that numbers of another run are no matter.
    let mut sequence = Sequence::after(millis);
    let opened = drill.event(Change::Opened, now_ns, &host, &mut sequence);
    let resolved = drill.event(
        Change::Resolved,
        now_ns + 1_000_000_000,
        &host,
        &mut sequence,
    );
    Ok([
        ("opened", Event::new(&opened)),
        ("resolved", Event::new(&resolved)),
    ])
}

async fn test<'a>(
    name: &'a str,
    config: &config::Sink,
    events: &[(&'static str, Event)],
) -> Vec<Told<'a>> {
    let kind = config.kind.name();
    let told = |step, taken, took, answer| Told {
        name,
        kind,
        step,
        taken,
        took,
        answer,
    };
    if !config.events().contains(&Class::Incident) {
        let why = "not asked: it gets no incidents".to_owned();
        return vec![told("-", None, Duration::ZERO, why)];
    }
    let mut sink = match sink::build(config) {
        Ok(sink) => sink,
        Err(error) => return vec![told("-", Some(false), Duration::ZERO, error.to_string())],
    };
    let limit = Duration::from_millis(config.common.timeout_ms);
    let mut out = Vec::new();
    for (step, event) in events {
        let begin = time::Instant::now();
        let attempt = time::timeout(limit, sink.send(std::slice::from_ref(event))).await;
        let reply = attempt.unwrap_or_else(|_| Reply::Retry {
            after: None,
            reason: format!("no answer within {limit:?}"),
        });
        let (taken, answer) = match reply {
            Reply::Delivered(answer) => (true, answer),
            Reply::Retry { reason, .. } => (false, reason),
            Reply::Refused(reason) | Reply::PartlyRefused(reason) => {
                (false, format!("refused: {reason}"))
            }
        };
        out.push(told(step, Some(taken), begin.elapsed(), answer));
    }
    out
}

fn print(told: &[Told<'_>]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if !out.is_terminal() {
        for told in told {
            let line = json!({
                "sink": told.name,
                "type": told.kind,
                "step": told.step,
                "taken": told.taken,
                "took_ms": told.took.as_millis() as u64,
                "answer": told.answer,
            });
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    let width = told
        .iter()
        .map(|told| told.name.len())
        .max()
        .unwrap_or(0)
        .max(4);
    writeln!(
        out,
        "{:<width$}  {:<12}  {:<8}  {:<5}  {:>8}  answer",
        "sink", "type", "step", "taken", "ms"
    )?;
    for told in told {
        let taken = match told.taken {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        writeln!(
            out,
            "{:<width$}  {:<12}  {:<8}  {taken:<5}  {:>8}  {}",
            told.name,
            told.kind,
            told.step,
            told.took.as_millis(),
            // A line each; a pipe gets all of it.
            told.answer.chars().take(120).collect::<String>()
        )?;
    }
    Ok(())
}
