//! Tells the rehearsal to somebody who has never seen the daemon: plain words, one line a fact.
//!
//! Owns the wording and the colours. What the daemon says quotes an attacker, so every value is escaped
//! before it reaches a terminal, whatever the daemon already did. What an event does not say is left out, not
//! invented.

mod value;

use crate::scenario::incident::{self, destinations, lineage, number, text};
use crate::scenario::{Options, Report, Step};
use serde_json::Value;
use std::io::{IsTerminal as _, Write};
use std::time::Duration;
use value::{cpu, plain, shown, some, stamp, written};

/// Where the story goes, with or without colour.
#[derive(Debug)]
pub struct Story<W> {
    out: W,
    colour: bool,
    told: bool,
}

#[derive(Clone, Copy)]
enum Tone {
    Good,
    Bad,
    Warn,
    Quiet,
    Strong,
}

impl Story<std::io::Stdout> {
    /// To standard output, coloured on a terminal unless `NO_COLOR` is set.
    #[must_use]
    pub fn to_stdout() -> Self {
        let out = std::io::stdout();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = out.is_terminal() && wanted;
        Self::new(out, colour)
    }
}

impl<W: Write> Story<W> {
    /// To `out`.
    pub fn new(out: W, colour: bool) -> Self {
        Self {
            out,
            colour,
            told: false,
        }
    }

    /// What is going to happen.
    pub fn opening(&mut self, options: &Options) {
        self.line("One night at a web shop, in fast motion.");
        self.line("");
        self.line("  A plugin of the shop has a hole. Somebody posts a program through it; the program takes");
        self.line("  every CPU and calls home, and the site crawls. The daemon has to say so within seconds.");
        let quiet = format!(
            "  The program is a harmless stand-in ({} threads at {} % for {} s), the Internet is 127.0.0.0/8.",
            options.threads,
            options.duty_percent,
            options.burn.as_secs()
        );
        let quiet = self.paint(Tone::Quiet, &quiet);
        self.line(&quiet);
        self.line("");
    }

    /// One step, as it happens.
    pub fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::WebStackUp(address) => {
                self.happens(
                    "        ",
                    &format!("the shop is up: nginx and php-fpm as www-data on {address}"),
                );
            }
            Step::PoolUp(address) => {
                self.happens("        ", &format!("the far end listens on {address}"));
            }
            Step::DaemonReady(after) => {
                let text = format!(
                    "detector watches, {:.1} s after its start",
                    after.as_secs_f64()
                );
                self.happens("        ", &text);
            }
            Step::PagesViewed(count) => {
                self.happens("        ", &format!("{count} customers look at the shop"));
            }
            Step::Planted(planted) => {
                let text = format!(
                    "exploited: {} runs as pid {}, uid {}",
                    planted.executable.display(),
                    planted.pid,
                    planted.uid
                );
                let text = self.paint(Tone::Strong, &plain(&text));
                self.happens("+ 0.0 s ", &text);
            }
            Step::Event(seen, named, after) => self.event(&seen.event, *named, *after),
            Step::StandInEnded(after) => {
                self.happens(&stamp(*after), "the stand-in has ended by itself");
            }
        }
    }

    fn event(&mut self, event: &Value, named: bool, after: Duration) {
        let Some(kind) = incident::kind(event) else {
            return;
        };
        let what = kind.rsplit('.').next().unwrap_or(kind);
        let severity = incident::severity(event).unwrap_or("?");
        let title = text(event, "/incident/title").unwrap_or("(no title)");
        let line = format!(
            "incident {} [{}] {}",
            plain(what),
            plain(severity),
            plain(title)
        );
        if !named {
            let line = self.paint(Tone::Quiet, &format!("{line} (about something else)"));
            self.happens(&stamp(after), &line);
            return;
        }
        let tone = match (what, severity) {
            ("resolved", _) => Tone::Good,
            (_, "critical") => Tone::Bad,
            _ => Tone::Warn,
        };
        let line = self.paint(tone, &line);
        self.happens(&stamp(after), &line);
        // The whole story once: at the first page, which is when somebody is woken.
        if severity == "critical" && what != "resolved" && !self.told {
            self.told = true;
            self.block(event);
        }
    }

    /// What the first responder gets to read.
    fn block(&mut self, event: &Value) {
        self.line("");
        let fact = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value));
        let one = |pointer: &str| text(event, pointer).map(plain);
        let host = one("/host/name")
            .map(|host| format!("{host}: "))
            .unwrap_or_default();
        let title = one("/incident/title").unwrap_or_default();
        let head = one("/incident/severity").unwrap_or_default().to_uppercase();
        let head = self.paint(Tone::Bad, &format!(" {head} "));
        let title = self.paint(Tone::Strong, &format!("{host}{title}"));
        self.line(&format!("  ┏━{head}{title}"));

        let mut ancestors = lineage(event);
        ancestors.reverse();
        let ancestors = ancestors.iter().map(|name| plain(name)).collect::<Vec<_>>();
        let user = match (one("/process/user/name"), number(event, "/process/user/id")) {
            (Some(name), Some(id)) => Some(format!("{name} (uid {id})")),
            (name, id) => name.or(id.map(|id| format!("uid {id}"))),
        };
        let talks = destinations(event)
            .iter()
            .map(|to| plain(to))
            .collect::<Vec<_>>();
        let facts = [
            fact("program", one("/process/executable")),
            fact("sha256", one("/process/hash/sha256")),
            fact("runs as", user),
            fact("lineage", some(ancestors.join(" → "))),
            fact("talks to", some(talks.join(", "))),
            fact("speaks", one("/network/protocol")),
            fact("CPU", cpu(event)),
            fact("written", written(event)),
            fact(
                "confidence",
                shown(event.pointer("/data/incident/confidence")),
            ),
            fact("reason", one("/event/reason")),
        ];
        for (name, value) in facts.into_iter().flatten() {
            self.fact(&name, &value);
        }
        self.list(
            event,
            "victims",
            "/data/incident/victims",
            &["unit", "executable", "run_delay_share"],
        );
        self.list(
            event,
            "signals",
            "/data/incident/findings",
            &["severity", "type"],
        );
        self.list(
            event,
            "timeline",
            "/data/incident/timeline",
            &["at", "what"],
        );
        self.list(
            event,
            "techniques",
            "/data/threat/technique",
            &["id", "name"],
        );
        self.list(event, "next", "/data/incident/next_steps", &[]);
        self.line("  ┗━");
        self.line("");
    }

    /// An array below `pointer`: objects by `fields`, everything else as it is.
    fn list(&mut self, event: &Value, name: &str, pointer: &str, fields: &[&str]) {
        let items = event.pointer(pointer).and_then(Value::as_array);
        for (index, item) in items.into_iter().flatten().enumerate() {
            let parts: Vec<String> = match item {
                Value::Object(object) => fields
                    .iter()
                    .filter_map(|field| shown(object.get(*field)))
                    .collect(),
                other => shown(Some(other)).into_iter().collect(),
            };
            self.fact(if index == 0 { name } else { "" }, &parts.join("  "));
        }
    }

    /// What was verified, and when what came.
    pub fn closing(&mut self, report: &Report) {
        self.line("");
        for check in &report.checks {
            let (mark, tone) = if check.holds {
                ("✓", Tone::Good)
            } else {
                ("✗", Tone::Bad)
            };
            let mark = self.paint(tone, mark);
            // A claim often says the value itself; a measurement is worth repeating.
            let found = match (check.holds, check.found.as_str()) {
                (true, found) if check.claim.contains(found) => String::new(),
                (true, found) => format!(" ({})", plain(found)),
                (false, "") => ": found nothing".to_owned(),
                (false, found) => format!(": found {}", plain(found)),
            };
            self.line(&format!("  {mark} {}{found}", plain(&check.claim)));
        }
        let seconds = |at: Option<Duration>| {
            at.map_or_else(
                || "never".to_owned(),
                |at| format!("{:.1} s", at.as_secs_f64()),
            )
        };
        let timings = &report.timings;
        self.line("");
        self.line(&format!(
            "  from the burn's start: opened {}, critical {}, stand-in ended {}, resolved {}",
            seconds(timings.opened),
            seconds(timings.critical),
            seconds(timings.ended),
            seconds(timings.resolved)
        ));
        let submits = report
            .pool_said
            .iter()
            .filter(|said| said.method() == Some("submit"));
        let logins = report
            .pool_said
            .iter()
            .filter(|said| said.method() == Some("login"));
        let heard = format!(
            "  the far end heard {} login(s) and {} submit(s)",
            logins.count(),
            submits.count()
        );
        let heard = self.paint(Tone::Quiet, &heard);
        self.line(&heard);
        let (tone, verdict) = if report.passed() {
            (Tone::Good, "caught")
        } else {
            (Tone::Bad, "not as it should be")
        };
        let verdict = self.paint(tone, verdict);
        self.line(&format!("  {verdict}"));
    }

    fn fact(&mut self, name: &str, value: &str) {
        let name = self.paint(Tone::Quiet, &format!("{name:<10}"));
        self.line(&format!("  ┃ {name} {value}"));
    }

    fn happens(&mut self, stamp: &str, text: &str) {
        let stamp = self.paint(Tone::Quiet, stamp);
        self.line(&format!("  {stamp} {text}"));
    }

    /// A story nobody can hear (a closed pipe) is still played to its end and judged by the exit code.
    fn line(&mut self, text: &str) {
        let _unheard = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Warn => "33",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_block_tells_what_is_there_and_no_more() {
        let event = json!({"type": "detector.incident.opened", "data": {
            "host": {"name": "web03"},
            "incident": {
                "severity": "critical", "title": "a\u{1b}[2Jb",
                "impact": {"cpu_cores": 1.98, "cpu_share_of_host": 0.99, "duration_s": 15},
                "findings": [{"type": "execution.new_binary", "severity": "warning"}],
                "next_steps": ["detector contain X"]
            },
            "process": {"executable": "/x", "parent": {"executable": "/bin/sh"}, "user": {"id": "33", "name": "www-data"}}
        }});
        let mut out = Vec::new();
        Story::new(&mut out, false).event(&event, true, Duration::from_millis(3_240));
        let text = String::from_utf8(out).unwrap();
        let expected = "  + 3.2 s  incident opened [critical] a\\u{1b}[2Jb

  ┏━ CRITICAL web03: a\\u{1b}[2Jb
  ┃ program    /x
  ┃ runs as    www-data (uid 33)
  ┃ lineage    /bin/sh → /x
  ┃ CPU        1.98 cores, 99 % of the host, for 15 s
  ┃ signals    warning  execution.new_binary
  ┃ next       detector contain X
  ┗━

";
        assert_eq!(text, expected);
    }
}
