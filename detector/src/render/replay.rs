//! What a replay came to: a line for each incident, loudest state first said.

use std::fmt::Write as _;

use super::{
    Style,
    layout::{Paint, date_and_clock, duration},
};
use crate::event::{CloudEvent, Data, IncidentData};

/// One incident over its life.
#[derive(Clone, Debug)]
struct Life {
    /// As it was when it was loudest; the last such state.
    loudest: Box<IncidentData>,
    /// When it first was critical.
    paged_at: Option<String>,
    resolved_at: Option<String>,
}

/// Collects incidents; everything else passes by.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    lives: Vec<Life>,
}

fn rank(severity: &str) -> u8 {
    match severity {
        "critical" => 2,
        "warning" => 1,
        _ => 0,
    }
}

impl Lives {
    /// Takes an event in.
    pub fn add(&mut self, event: CloudEvent) {
        let Data::Incident(data) = event.data else {
            return;
        };
        let resolved_at = data.incident.resolved_at.clone();
        let critical = data.incident.severity == "critical";
        let known = |life: &&mut Life| life.loudest.incident.id == data.incident.id;
        match self.lives.iter_mut().rev().find(known) {
            Some(life) => {
                life.resolved_at = resolved_at;
                if critical && life.paged_at.is_none() {
                    life.paged_at = Some(event.time);
                }
                // The end adds nothing to show but its time.
                let louder = rank(&data.incident.severity) >= rank(&life.loudest.incident.severity);
                if louder && life.resolved_at.is_none() {
                    life.loudest = data;
                }
            }
            None => self.lives.push(Life {
                loudest: data,
                paged_at: critical.then_some(event.time),
                resolved_at,
            }),
        }
    }

    /// The table; with `explain` also every incident whole.
    pub fn table(&self, style: Style, explain: bool) -> String {
        let paint = Paint::new(style.colour);
        let mut out = String::new();
        let mut say = |line: &str| {
            out.push_str(line.trim_end());
            out.push('\n');
        };
        if !self.lives.is_empty() {
            let head = format!(
                "{:<23} {:<8} {:<8} {:<10} WHAT",
                "OPENED", "SEVERITY", "PAGES", "LASTS"
            );
            say(&paint.dim(&head));
        }
        for life in &self.lives {
            let incident = &life.loudest.incident;
            let opened = &incident.opened_at;
            let start = life.loudest.event.start.as_ref().unwrap_or(opened);
            let pages = life.paged_at.as_ref().map(|at| {
                let after = duration(start, at).unwrap_or_default();
                format!("+{after}")
            });
            let lasts = life
                .resolved_at
                .as_ref()
                .and_then(|end| duration(start, end));
            let word = paint.severity(&incident.severity, &format!("{:<8}", incident.severity));
            say(&format!(
                "{:<23} {word} {:<8} {:<10} {}",
                date_and_clock(opened),
                pages.as_deref().unwrap_or("-"),
                lasts.as_deref().unwrap_or("goes on"),
                incident.title
            ));
            let findings: Vec<&str> = super::distinct(&incident.findings);
            say(&paint.dim(&format!("{:<53}{}", "", findings.join(", "))));
        }
        let count = |severity: &str| {
            let same = |life: &&Life| life.loudest.incident.severity == severity;
            self.lives.iter().filter(same).count()
        };
        let mut total = String::new();
        write!(
            total,
            "{} incidents: {} would have paged (critical), {} warning, {} info",
            self.lives.len(),
            count("critical"),
            count("warning"),
            count("info")
        )
        .expect("writing to a string succeeds");
        say(&total);
        if explain {
            for life in &self.lives {
                say("");
                say(&super::incident(&life.loudest, style));
            }
        }
        out
    }
}
