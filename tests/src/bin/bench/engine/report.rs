//! What was measured, as a page of the documentation.

use super::{Args, Measured, case::Kind};
use crate::markdown::table;

/// What each table is about.
const PARTS: [(Kind, &str, &str); 4] = [
    (
        Kind::Mix,
        "A server at work",
        "The figure to compare a host with: the programs of a small web shop (`full speed`: with a miner, so that \
         incidents are\nopen), 400 threads more that run in each second, 25 programs started and ended, 100 outbound \
         connections, and the\npass. On such a host the engine takes one pass a second.",
    ),
    (
        Kind::Crowd,
        "Passes over many processes",
        "Each process has a lineage group and a cgroup of its own, which is the worst case. Those that do not run cost \
         memory\nand no time.",
    ),
    (
        Kind::Scenario,
        "Passes over a handful of threads",
        "Simulated hosts after 4,000 seconds. What a pass costs whatever it holds dominates here: with incidents open, \
         a few\nmicroseconds once a second. `inputs/s` says little on such a host; `µs a pass` is the figure.",
    ),
    (
        Kind::Storm,
        "Records about identities that never come twice",
        "100,000 records are a second, and end with a pass. Every table is full soon: each record also forgets \
         something.\n`lives` are fork, exec, exit and last bill; `executables` are execs of programs that nobody \
         answers about, `answered`\nthose of which a package is said to own them; `dropped` are unowned programs in \
         `/dev/shm`, each in a session of its\nown and each answered, while the most incidents there can be (256) are \
         open: each finding is compared with all of\nthem; `accused` are the runs of one such program by one suspect, fork, exec, exit and last bill, all of \
         one incident.\nAn exec is the dearest record: it is kept whole, judged by every rule about images, and asked \
         about.\n`suspect` are destinations of one program with an incident; \
         `listeners` begin and cease to listen.",
    ),
];

/// The page.
pub fn markdown(args: &Args, measured: &[Measured]) -> String {
    let head = [
        "",
        "inputs a pass",
        "M inputs/s",
        "ns an input",
        "µs a pass",
        "incidents",
        "MiB",
        "peak MiB",
    ];
    let mut out = format!(
        "# What the engine costs, measured\n\n\
         Written by `cargo xtask bench engine --seconds {}` on one CPU ({}), release build, detector {}.\n\n\
         An input is what the engine is told: a record of the kernel, a fact from enrichment, or the entry of one \
         thread in\nthe pass of a second. Inputs are made before the clock runs, by `detector/src/simulate/`, 16,384 \
         at a time; the clock is\nthe thread's own CPU time. What the engine says is dropped as it comes. Memory is \
         what the engine holds on the heap,\nat the end and at most (`tests/src/heap.rs` counts); what the allocator \
         keeps besides is not in it. Caches are warmer\nthan those of a daemon that sleeps between passes.\n",
        args.seconds,
        cpu(),
        env!("CARGO_PKG_VERSION"),
    );
    for (kind, title, about) in PARTS {
        let of_kind = measured
            .iter()
            .filter(|measured| measured.case.kind == kind);
        let rows: Vec<Vec<String>> = of_kind.map(row).collect();
        if !rows.is_empty() {
            out += &format!("\n## {title}\n\n{about}\n\n{}", table(&head, &rows));
        }
    }
    out
}

/// What kind of CPU this is.
pub fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "figures of three digits")]
fn row(of: &Measured) -> Vec<String> {
    let seconds = of.spent.as_secs_f64();
    let (inputs, passes) = (of.inputs as f64, of.passes as f64);
    let mib = |bytes: i64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let a_pass = |value: f64, digits: usize| {
        if of.passes == 0 || of.case.kind == Kind::Storm {
            "–".to_owned()
        } else {
            format!("{:.digits$}", value / passes)
        }
    };
    vec![
        of.case.name.clone(),
        a_pass(inputs, 0),
        format!("{:.2}", inputs / seconds / 1e6),
        format!("{:.0}", seconds / inputs * 1e9),
        a_pass(seconds * 1e6, 1),
        of.incidents.to_string(),
        mib(of.kept),
        mib(of.peak),
    ]
}
