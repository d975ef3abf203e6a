//! The daemon beside a peer in the same run. Machines differ and drift; what the one costs for what the other does is steadier.

use super::{Measured, Peer, Row, load::Load, report};
use crate::markdown::table;

/// Of whom, under what, and how much of the peer's cost is allowed: what is promised in µs, divided by what the peer cost
/// where that was promised.
const ALLOWED: [(&str, Load, f64, f64); 2] = [
    (
        "libbpf-tools execsnoop",
        Load::Execs(500),
        4.0 / 19.0,
        2.0 / 11.0,
    ),
    (
        "bpftrace, connects",
        Load::Connects(2_000),
        1.0 / 8.6,
        0.6 / 3.9,
    ),
];
/// The same of an idle peer: 0.5 of 0.4 ms/s.
const IDLE: (&str, f64) = ("libbpf-tools execsnoop", 0.5 / 0.4);

/// As a table.
pub fn ratios(measured: &Measured) -> String {
    let mut rows = Vec::new();
    let mut push = |what: String, ours: Option<f64>, theirs: Option<f64>, allowed: f64| {
        let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        let verdict = match ratio {
            None => "not measured",
            Some(ratio) if ratio <= allowed => "met",
            Some(_) => "missed",
        };
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.2}"));
        rows.push(vec![
            what,
            shown(ours),
            shown(theirs),
            shown(ratio),
            format!("{allowed:.2}"),
            verdict.to_owned(),
        ]);
    };
    for (name, load, daemon, kernel) in ALLOWED {
        let ours = event(&measured.rows, load);
        let theirs = peer(measured, name).and_then(|rows| event(rows, load));
        let what =
            |part: &str| format!("{name}: one {}, {part}, µs", load.unit().unwrap_or("event"));
        push(
            what("daemon"),
            ours.map(|e| e.0),
            theirs.map(|e| e.0),
            daemon,
        );
        push(
            what("kernel"),
            ours.map(|e| e.1),
            theirs.map(|e| e.1),
            kernel,
        );
    }
    let idle = |rows: &[Row]| report::idle(rows).map(report::cpu_ms);
    let theirs = peer(measured, IDLE.0).and_then(idle);
    push(
        format!("{}: idle, ms/s", IDLE.0),
        idle(&measured.rows),
        theirs,
        IDLE.1,
    );
    let head = ["peer", "detector", "peer's", "ratio", "allowed", ""];
    table(&head, &rows)
}

fn peer<'a>(measured: &'a Measured, name: &str) -> Option<&'a [Row]> {
    let peer: &Peer = measured.peers.iter().find(|peer| peer.name == name)?;
    peer.rows.as_deref().ok()
}

fn event(rows: &[Row], load: Load) -> Option<(f64, f64)> {
    let row = rows.iter().find(|row| row.load == load)?;
    report::per_event(row, report::idle(rows))
}
