//! What was measured, as a page of the documentation.

use std::collections::BTreeMap;

use super::{
    Args, Measured, Peer, Row,
    load::Load,
    meter::{Runs, Spent},
    ratio,
};
use crate::{markdown::table, statistics::quantile};

const MIB: f64 = 1024.0 * 1024.0;

/// The page.
pub fn markdown(args: &Args, measured: &Measured) -> String {
    format!(
        "# What the daemon costs, measured\n\n\
         Written by `cargo xtask bench cost --seconds {} --rounds {} --pairs {}` on {}, Linux {},\n\
         release build, detector {}, no receiver. Nothing else ran but what the machine runs anyway.\n\n\
         *daemon*: CPU time of all its threads, from the scheduler (`schedstat`). *kernel*: what the kernel counts of our\n\
         programs in other processes' time while its statistics are on, less what programs of the same hooks cost that do\n\
         nothing and run beside them. *MiB*: proportional share of resident memory (`Pss`), the rings' pages included.\n\
         Medians of {} rounds, the loads in turns.\n\n\
         ## Against the budget\n\n{}\n\
         ## Beside peers\n\nWhat is promised was taken from what peers cost on another machine. The same ratios here; the peer's kernel part has \
         nothing\nsubtracted (about 0.3 µs an exec, 0.6 a connection).\n\n{}\n\
         ## Under load\n\nA connection is on loopback, so both its ends count: ten changes of state. A suspect's packets are looked into as\n\
         well, six each way, and its incident notes what it starts; the others are the distribution's `perl` in a session of its own.\n\n{}\n```\n{}```\n\n\
         ## One run of each program\n\nns, over all loads together. `task` runs once for each thread and pass.\n\n{}\n\
         ## What the load loses\n\nEach load at full speed, without the daemon and with it, in turns; two seconds each. What it loses \
         is told of each pair:\nthe median, and the best and worst. The machine's own noise is in it.\n\n{}\n\
         ## Peers\n\nOne round each, with the kernel's part as it is counted (nothing subtracted). Per event: what it takes over \
         idle, daemon\nand kernel.\n\n{}",
        args.seconds,
        args.rounds,
        args.pairs,
        cpus(),
        fs_line("/proc/sys/kernel/osrelease"),
        env!("CARGO_PKG_VERSION"),
        args.rounds,
        budget(measured),
        ratio::ratios(measured),
        loads(&measured.rows),
        bars(&measured.rows),
        programs(&measured.rows),
        pairs(measured),
        peers(&measured.peers),
    )
}

fn fs_line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

fn cpus() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cpus} CPUs ({})", crate::engine::cpu())
}

fn median(of: &[Spent], value: impl Fn(&Spent) -> f64) -> f64 {
    let values: Vec<f64> = of.iter().map(value).collect();
    quantile(&values, 0.5).unwrap_or(0.0)
}

/// What one event takes over idle, µs: the daemon, and the kernel.
pub fn per_event(row: &Row, idle: Option<&Row>) -> Option<(f64, f64)> {
    row.load.unit()?;
    if matches!(row.load, Load::Switches | Load::Burn) {
        return None;
    }
    let of = |row: &Row, value: fn(&Spent) -> f64| median(&row.spent, value);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let rate = median(&row.spent, |spent| {
        spent.done as f64 / spent.passed.as_secs_f64()
    });
    let over = |value: fn(&Spent) -> f64| {
        let idle = idle.map_or(0.0, |idle| of(idle, value));
        (of(row, value) - idle) * 1e3 / rate
    };
    Some((over(Spent::cpu_ms), over(Spent::kernel_ms)))
}

/// The row of a host that does nothing.
pub fn idle(rows: &[Row]) -> Option<&Row> {
    rows.iter().find(|row| row.load == Load::Idle)
}

fn loads(rows: &[Row]) -> String {
    let idle = idle(rows);
    let cells = |row: &Row| {
        let (daemon, kernel) = per_event(row, idle).map_or_else(
            || ("–".to_owned(), "–".to_owned()),
            |(daemon, kernel)| (format!("{daemon:.1}"), format!("{kernel:.2}")),
        );
        #[expect(clippy::cast_precision_loss, reason = "megabytes")]
        let resident = median(&row.spent, |spent| spent.resident as f64) / MIB;
        vec![
            row.load.name(),
            format!("{:.2}", median(&row.spent, Spent::cpu_ms)),
            format!("{:.2}", median(&row.spent, Spent::kernel_ms)),
            daemon,
            kernel,
            format!("{resident:.1}"),
        ]
    };
    let head = [
        "",
        "daemon ms/s",
        "kernel ms/s",
        "daemon µs an event",
        "kernel µs an event",
        "MiB",
    ];
    table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// CPU time of the processes, ms a second.
pub fn cpu_ms(row: &Row) -> f64 {
    median(&row.spent, Spent::cpu_ms)
}

/// Daemon and kernel, ms a second.
fn bars(rows: &[Row]) -> String {
    const WIDEST: f64 = 60.0;
    let whole = |row: &Row| {
        let cpu = median(&row.spent, Spent::cpu_ms);
        (cpu, median(&row.spent, Spent::kernel_ms))
    };
    let most = rows.iter().map(|row| whole(row).0 + whole(row).1);
    let most = most.fold(f64::MIN_POSITIVE, f64::max);
    let bar = |value: f64, with: &str| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "sixty at most"
        )]
        let wide = (value * WIDEST / most).ceil() as usize;
        with.repeat(wide)
    };
    let line = |row: &Row| {
        let (daemon, kernel) = whole(row);
        format!(
            "{:<40}{}{} {:.1} ms/s\n",
            row.load.name(),
            bar(daemon, "█"),
            bar(kernel, "░"),
            daemon + kernel
        )
    };
    let lines: String = rows.iter().map(line).collect();
    format!("{lines}{:<40}█ daemon ░ kernel\n", "")
}

/// Over all loads and rounds.
fn totals(rows: &[Row]) -> BTreeMap<String, Runs> {
    let mut totals = BTreeMap::<String, Runs>::new();
    let spent = rows.iter().flat_map(|row| &row.spent);
    for (name, runs) in spent.flat_map(|spent| &spent.runs) {
        let total = totals.entry(name.clone()).or_default();
        total.count += runs.count;
        total.ns += runs.ns;
    }
    totals
}

fn programs(rows: &[Row]) -> String {
    let last = rows.iter().filter_map(|row| row.spent.last()).next_back();
    let empty = last.map(|spent| spent.empty.clone()).unwrap_or_default();
    let ns = |value: Option<f64>| value.map_or("–".to_owned(), |ns| format!("{ns:.0}"));
    let cells = |(name, runs): (&String, &Runs)| {
        let nothing = empty.get(name).and_then(|runs| runs.mean());
        let net = runs.mean().zip(nothing).map(|(ns, nothing)| ns - nothing);
        vec![
            format!("`{name}`"),
            runs.count.to_string(),
            ns(runs.mean()),
            ns(nothing),
            ns(net),
        ]
    };
    let rows: Vec<_> = totals(rows).iter().map(cells).collect();
    table(&["program", "runs", "ns", "doing nothing", "net ns"], &rows)
}

fn pairs(measured: &Measured) -> String {
    let cells = |pair: &super::Pair| {
        let middle = |values: &[f64]| quantile(values, 0.5).unwrap_or(0.0);
        let lost = pair.lost();
        let percent = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:+.1} %"));
        vec![
            pair.load.name(),
            format!("{:.0}", middle(&pair.without)),
            format!("{:.0}", middle(&pair.with)),
            percent(quantile(&lost, 0.5)),
            percent(lost.first().copied()),
            percent(lost.last().copied()),
        ]
    };
    let head = ["a second", "without", "with", "lost", "least", "most"];
    table(&head, &measured.pairs.iter().map(cells).collect::<Vec<_>>())
}

fn peers(peers: &[Peer]) -> String {
    let mut rows = Vec::new();
    for peer in peers {
        match &peer.rows {
            Err(why) => rows.push(vec![
                peer.name.to_owned(),
                format!("({why})"),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
            ]),
            Ok(of) => {
                let idle = idle(of);
                for row in of {
                    let event = per_event(row, idle);
                    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
                    let resident = median(&row.spent, |spent| spent.resident as f64) / MIB;
                    rows.push(vec![
                        peer.name.to_owned(),
                        row.load.name(),
                        format!("{:.2}", median(&row.spent, Spent::cpu_ms)),
                        event.map_or("–".to_owned(), |(daemon, _)| format!("{daemon:.1}")),
                        event.map_or("–".to_owned(), |(_, kernel)| format!("{kernel:.2}")),
                        format!("{resident:.1}"),
                    ]);
                }
            }
        }
    }
    let head = [
        "peer",
        "load",
        "ms/s",
        "µs an event",
        "kernel µs an event",
        "MiB",
    ];
    table(&head, &rows)
}

/// What is promised, and what it is.
fn budget(measured: &Measured) -> String {
    let row = |load: Load| measured.rows.iter().find(|row| row.load == load);
    let daemon = |load: Load| row(load).map(|row| median(&row.spent, Spent::cpu_ms));
    let event = |load: Load| per_event(row(load)?, idle(&measured.rows));
    let totals = totals(&measured.rows);
    let empty = |name: &str| {
        let last = measured.rows.last()?.spent.last()?;
        last.empty.get(name)?.mean()
    };
    let net = |name: &str| Some(totals.get(name)?.mean()? - empty(name)?);
    let connect = event(Load::Connects(2_000));
    let exec = event(Load::Execs(500));
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let (resident, maps) = (
        // Before any load: tables that a crowd of tasks has filled keep their room.
        row(Load::Idle).and_then(|row| Some(row.spent.first()?.resident as f64 / MIB)),
        Some(measured.map_bytes as f64 / MIB),
    );
    let lost = |load: Load| {
        let pair = measured.pairs.iter().find(|pair| pair.load == load)?;
        quantile(&pair.lost(), 0.5)
    };
    let rows = [
        ("idle, ms/s", daemon(Load::Idle), 0.5),
        (
            "2,000 sleeping tasks, ms/s",
            daemon(Load::Sleepers(2_000)),
            1.0,
        ),
        (
            "1,000 tasks, 50 execs/s, 50 connects/s: ms/s",
            daemon(Load::Server),
            3.0,
        ),
        (
            "one exec with fork and end, daemon: µs",
            exec.map(|e| e.0),
            4.0,
        ),
        ("the same, kernel: µs", exec.map(|e| e.1), 2.0),
        (
            "program `exec`, net: µs a run",
            net("exec").map(|ns| ns / 1e3),
            1.2,
        ),
        ("one connect, daemon: µs", connect.map(|e| e.0), 1.0),
        ("the same, kernel: µs", connect.map(|e| e.1), 0.6),
        ("context switches: % lost", lost(Load::Switches), 0.5),
        ("resident before any load, MiB", resident, 20.0),
        ("maps in the kernel, MiB", maps, 16.0),
    ];
    let cells = |(what, value, at_most): &(&str, Option<f64>, f64)| {
        let verdict = match value {
            None => "not measured",
            Some(value) if value <= at_most => "met",
            Some(_) => "missed",
        };
        vec![
            (*what).to_owned(),
            value.map_or("–".to_owned(), |value| format!("{value:.2}")),
            format!("{at_most}"),
            verdict.to_owned(),
        ]
    };
    let rows: Vec<_> = rows.iter().map(cells).collect();
    table(&["", "measured", "budget", ""], &rows)
}
