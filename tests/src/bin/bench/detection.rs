//! `bench detection`: what is found, how soon, and what is said in vain.
//!
//! Everything is seeded and without a clock, so the same command gives the same figures on any machine. What is
//! measured is the engine with its default settings, from the kernel's records to the event.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Context as _;
use detector::{
    detect::sequential::{lorden_s, threshold},
    incident::Severity,
    simulate::{Scenario, watch},
};
use tests::{
    outcome::{Life, Outcome},
    trace::{BOOT_UNIX_S, START_NS},
    traces::{self, Case, Truth},
};

use crate::{
    markdown::{seconds, table},
    plot,
    statistics::{poisson, quantile, wilson},
};

/// Share of busy seconds before and after a host is taken over, and the number of sequences on a host.
const BEFORE: f64 = 0.05;
const AFTER: f64 = 0.95;
const SCOPES: usize = 300;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runs of each trace, each with another seed
    #[arg(long, default_value_t = 40)]
    runs: u64,
    /// Days simulated of each benign host
    #[arg(long, default_value_t = 10)]
    days: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where `detection.md` and `detection.svg` are kept; nowhere when left out
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

/// One run of a trace.
#[derive(Clone, Debug, Default)]
struct Run {
    /// First incident of at least `warning` that names the culprit, s after the begin.
    found_s: Option<f64>,
    /// First critical one.
    paged_s: Option<f64>,
    /// First one that says that CPU time is taken.
    impact_s: Option<f64>,
    /// Incidents that name the culprit.
    incidents: usize,
    /// Critical ones that do not, and all critical ones of a benign trace.
    false_pages: usize,
    warnings: usize,
}

/// All runs of one case.
#[derive(Debug)]
pub struct Measured {
    /// The case.
    pub case: &'static Case,
    runs: Vec<Run>,
}

impl Measured {
    fn delays(&self, of: impl Fn(&Run) -> Option<f64>) -> Vec<f64> {
        self.runs.iter().filter_map(of).collect()
    }

    /// Delays until it is named, until somebody is woken, and until CPU time is said to be taken; s.
    pub fn curves(&self) -> [Vec<f64>; 3] {
        [
            self.delays(|run| run.found_s),
            self.delays(|run| run.paged_s),
            self.delays(|run| run.impact_s),
        ]
    }
}

/// One simulated benign host.
#[derive(Clone, Copy, Debug)]
struct Days {
    scenario: Scenario,
    days: u64,
    pages: u64,
    warnings: usize,
}

/// Lorden's bound for a host that is taken over, s.
pub fn bound_s() -> f64 {
    lorden_s(BEFORE, AFTER, threshold(SCOPES, 1.0))
}

/// Measures, prints, and keeps.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let cases: Vec<&Case> = traces::all().collect();
    let jobs: Vec<(&Case, u64)> = cases
        .iter()
        .flat_map(|case| (0..args.runs).map(|run| (*case, args.seed + run)))
        .collect();
    let runs = all("traces", &jobs, |(case, seed)| run(case, *seed));
    let per_case = usize::try_from(args.runs)?;
    let measured: Vec<Measured> = cases
        .into_iter()
        .zip(runs.chunks(per_case.max(1)))
        .map(|(case, runs)| Measured {
            case,
            runs: runs.to_vec(),
        })
        .collect();
    // A day at a time: hosts are independent, and so is progress.
    let hosts: Vec<(Scenario, u64)> = Scenario::BENIGN
        .iter()
        .flat_map(|scenario| (0..4).map(|host| (*scenario, args.seed + host)))
        .collect();
    let days = args.days.div_ceil(4);
    let simulated = all("simulated hosts", &hosts, |(scenario, seed)| {
        let tally = watch(*scenario, *seed, days * 86_400, |_| false);
        Days {
            scenario: *scenario,
            days,
            pages: tally.pages,
            warnings: tally.alarms(0, Severity::Warning),
        }
    });
    let report = report(args, &measured, &simulated);
    print!("{report}");
    if let Some(folder) = &args.write {
        let keep = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        keep("detection.md", &report)?;
        keep("detection.svg", &plot::delays(&measured, bound_s()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Does the jobs on every CPU; results in the jobs' order.
fn all<J: Sync, R: Send>(what: &str, jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = || {
            let mut mine = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(at) else {
                    return mine;
                };
                mine.push((at, work(job)));
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                eprint!("\r{what}: {done} of {}", jobs.len());
            }
        };
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().expect("a worker that panics has said so"))
            .collect()
    });
    eprintln!();
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

fn run(case: &Case, seed: u64) -> Run {
    let outcome = Outcome::of_trace(case.trace(seed), case.seconds);
    let onset_s = case.onset_s(seed);
    let names = |life: &Life| match case.truth {
        Truth::Benign => false,
        Truth::Hostile { executable, .. } => life.programs.contains(executable),
    };
    let first = |at: fn(&Life) -> &Option<String>| {
        let times = outcome.lives.iter().filter(|life| names(life));
        let times = times.filter_map(|life| at(life).as_deref().map(|at| since_s(at) - onset_s));
        times.min_by(f64::total_cmp)
    };
    let lives = outcome.lives.iter();
    Run {
        found_s: first(|life| &life.warned_at),
        paged_s: first(|life| &life.paged_at),
        impact_s: first(|life| &life.impact_at),
        incidents: lives.clone().filter(|life| names(life)).count(),
        false_pages: lives
            .clone()
            .filter(|life| life.paged_at.is_some() && !names(life))
            .count(),
        warnings: lives
            .filter(|life| life.warned_at.is_some() && !names(life))
            .count(),
    }
}

/// Seconds from the trace's begin.
#[expect(clippy::cast_precision_loss, reason = "seconds of a trace")]
fn since_s(time: &str) -> f64 {
    let at: jiff::Timestamp = time.parse().expect("events carry RFC 3339");
    let begin_ns = i128::from(BOOT_UNIX_S) * 1_000_000_000 + i128::from(START_NS);
    (at.as_nanosecond() - begin_ns) as f64 / 1e9
}

fn report(args: &Args, measured: &[Measured], simulated: &[Days]) -> String {
    let is_hostile = |of: &&Measured| of.case.truth != Truth::Benign;
    let hostile: Vec<&Measured> = measured.iter().filter(is_hostile).collect();
    let benign: Vec<&Measured> = measured.iter().filter(|of| !is_hostile(of)).collect();
    let of_hostile = || hostile.iter().flat_map(|of| &of.runs);
    let runs = of_hostile().count();
    let found = of_hostile().filter(|run| run.found_s.is_some()).count();
    let paged = of_hostile().filter(|run| run.paged_s.is_some()).count();
    let false_pages: usize = measured
        .iter()
        .flat_map(|of| &of.runs)
        .map(|run| run.false_pages)
        .sum();
    let full: Vec<f64> = hostile
        .iter()
        .filter(|of| matches!(of.case.truth, Truth::Hostile { load, .. } if load >= 0.9))
        .flat_map(|of| of.delays(|run| run.impact_s))
        .collect();
    let host_days: u64 = simulated.iter().map(|days| days.days).sum();
    let pages: u64 = simulated.iter().map(|days| days.pages).sum();
    let (low, high) = poisson(pages);
    #[expect(clippy::cast_precision_loss, reason = "days")]
    let per_30 = |count: f64| count / host_days.max(1) as f64 * 30.0;
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let pages = pages as f64;
    let full_speed = format!(
        "{} / {}",
        seconds(quantile(&full, 0.5)),
        seconds(quantile(&full, 0.99))
    );
    let totals = vec![
        vec![
            "recall: named by a warning or more".into(),
            share(found, runs),
        ],
        vec!["recall: somebody is woken".into(), share(paged, runs)],
        vec![
            "precision of pages".into(),
            share(paged, paged + false_pages),
        ],
        vec![
            "full speed: CPU time said to be taken, s, median / p99".into(),
            full_speed,
        ],
        vec![
            "no test can be faster on CPU time alone (Lorden), s".into(),
            seconds(Some(bound_s())),
        ],
        vec![
            format!("false pages per host and 30 days, in {host_days} simulated host-days"),
            format!(
                "{:.2} ({:.2}–{:.2})",
                per_30(pages),
                per_30(low),
                per_30(high)
            ),
        ],
    ];
    format!(
        "# Detection, measured\n\n\
         Written by `cargo xtask bench detection --runs {} --days {} --seed {}`: made-up traces and simulated hosts\n\
         (`tests/src/traces.rs`, `detector/src/simulate/`), default settings, detector {}. The same command gives the\n\
         same figures. Intervals are 95 %; runs of a trace differ by background load and by the moment only, so they speak of\n\
         that and not of the world. Delays are seconds from the exploit; the load begins up to half a second later.\n\n{}\n![Delays by variant](detection.svg)\n\n\
         ## Hostile\n\n{}\n## Benign\n\n{}\n## Simulated hosts\n\n{}",
        args.runs,
        args.days,
        args.seed,
        env!("CARGO_PKG_VERSION"),
        table(&["", "measured"], &totals),
        table(
            &[
                "trace",
                "runs",
                "named",
                "woken",
                "incidents",
                "named, s",
                "p99",
                "woken, s",
                "p99",
                "CPU, s",
                "p99"
            ],
            &hostile
                .iter()
                .map(|of| of.hostile_row())
                .collect::<Vec<_>>()
        ),
        table(
            &["trace", "runs", "pages", "warnings in a run", "story"],
            &benign.iter().map(|of| of.benign_row()).collect::<Vec<_>>()
        ),
        table(
            &["host", "days", "pages", "warnings a day"],
            &days_rows(simulated)
        ),
    )
}

#[expect(clippy::cast_precision_loss, reason = "thousands of runs at most")]
fn share(hits: usize, of: usize) -> String {
    let (low, high) = wilson(hits, of);
    let value = hits as f64 / of.max(1) as f64;
    format!("{value:.3} ({low:.3}–{high:.3})")
}

impl Measured {
    fn hostile_row(&self) -> Vec<String> {
        let mut row = vec![
            self.case
                .name
                .trim_start_matches("hostile-")
                .replace('_', " "),
            self.runs.len().to_string(),
            self.delays(|run| run.found_s).len().to_string(),
            self.delays(|run| run.paged_s).len().to_string(),
            format!("{:.1}", self.mean(|run| run.incidents)),
        ];
        for delays in self.curves() {
            row.push(seconds(quantile(&delays, 0.5)));
            row.push(seconds(quantile(&delays, 0.99)));
        }
        row
    }

    fn benign_row(&self) -> Vec<String> {
        vec![
            self.case
                .name
                .trim_start_matches("benign-")
                .replace('_', " "),
            self.runs.len().to_string(),
            self.runs
                .iter()
                .map(|run| run.false_pages)
                .sum::<usize>()
                .to_string(),
            format!("{:.1}", self.mean(|run| run.warnings)),
            self.case.story.to_owned(),
        ]
    }

    #[expect(clippy::cast_precision_loss, reason = "thousands of runs at most")]
    fn mean(&self, of: impl Fn(&Run) -> usize) -> f64 {
        self.runs.iter().map(of).sum::<usize>() as f64 / self.runs.len().max(1) as f64
    }
}

fn days_rows(simulated: &[Days]) -> Vec<Vec<String>> {
    Scenario::BENIGN
        .iter()
        .map(|scenario| {
            let mine = || simulated.iter().filter(|days| days.scenario == *scenario);
            let days: u64 = mine().map(|days| days.days).sum();
            let warnings: usize = mine().map(|days| days.warnings).sum();
            #[expect(clippy::cast_precision_loss, reason = "days")]
            let a_day = warnings as f64 / days.max(1) as f64;
            vec![
                scenario.name().replace('_', " "),
                days.to_string(),
                mine().map(|days| days.pages).sum::<u64>().to_string(),
                format!("{a_day:.2}"),
            ]
        })
        .collect()
}
