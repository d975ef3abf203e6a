//! `detector check`: loads every probe for real, says what came of it, and unloads.

use std::{io::IsTerminal as _, process::ExitCode};

use rustix::thread::CapabilitySet;

use super::{CANNOT_RUN, DEGRADED};
use crate::{
    config::Config,
    kernel::{Facts, Loaded, Plan, Probe, Sizes, State, plan::Decision, privilege},
};

/// Prints what works and what is lost.
pub fn execute(config: anyhow::Result<Config>) -> anyhow::Result<ExitCode> {
    let paint = Paint(std::io::stdout().is_terminal());
    let facts = Facts::read();
    let plan = Plan::new(&facts);
    println!("kernel         {}", facts.kernel_release);
    println!("runs as        {}", runs_as(&facts));
    if let Some(mode) = facts.lockdown.as_deref().filter(|mode| *mode != "none") {
        println!("lockdown       {mode}");
    }
    match facts.package_database {
        Some(name) => println!("packages       {name}"),
        None => println!("packages       {}", paint.yellow("none found")),
    }
    let config = match config {
        Ok(config) => {
            println!("configuration  {}", paint.green("valid"));
            Some(config)
        }
        Err(error) => {
            println!("configuration  {}", paint.red(&format!("{error:#}")));
            None
        }
    };
    println!();

    let sizes = Sizes::from(&config.clone().unwrap_or_default().kernel);
    let states = states(&facts, &plan, sizes);
    println!("probe       state      for");
    for (probe, state) in &states {
        let (word, reason) = match state {
            State::Attached => (paint.green("attached"), ""),
            State::Standby => (paint.green("ready   "), ""),
            State::Skipped(reason) => (paint.red("skipped "), reason.as_str()),
            State::Refused(reason) => (paint.red("refused "), reason.as_str()),
        };
        println!("{:<12}{word}   {}", probe.name(), probe.purpose());
        if !reason.is_empty() {
            println!("{:<12}{reason}", "");
        }
    }

    let missing = |essential: bool| {
        states
            .iter()
            .any(|(probe, state)| !state.works() && probe.is_essential() == essential)
    };
    if !plan.degraded.is_empty() {
        println!();
        for sentence in &plan.degraded {
            println!("{} {sentence}", paint.yellow("degraded:"));
        }
    }
    println!();
    let (verdict, code) = if config.is_none() || missing(true) {
        (paint.red("cannot run"), CANNOT_RUN)
    } else if missing(false) || !plan.degraded.is_empty() {
        (paint.yellow("ready, degraded"), DEGRADED)
    } else {
        (paint.green("ready"), 0)
    };
    println!("{verdict}");
    Ok(ExitCode::from(code))
}

/// The user and what it may do.
fn runs_as(facts: &Facts) -> String {
    let uid = rustix::process::geteuid();
    let capabilities = CapabilitySet::from_bits_retain(facts.capabilities);
    match uid.is_root() {
        // Usually all of them.
        true => "root".to_owned(),
        false => format!(
            "uid {uid} with capabilities {}",
            privilege::names(capabilities)
        ),
    }
}

/// What comes of the plan: tried for real, unless the essentials are known to be missing.
fn states(facts: &Facts, plan: &Plan, sizes: Sizes) -> Vec<(Probe, State)> {
    let all = |state: &dyn Fn(&Decision) -> State| {
        let told = |(probe, decision): &(Probe, Decision)| (*probe, state(decision));
        plan.probes.iter().map(told).collect()
    };
    if !plan.skipped_essentials().is_empty() {
        return all(&|decision| match decision {
            Decision::Skip(why) => State::Skipped(why.clone()),
            Decision::Load => State::Skipped("others that are needed are missing".into()),
        });
    }
    match Loaded::new(facts, plan, sizes) {
        Ok(loaded) => loaded.status.probes.clone(),
        Err(error) => all(&|_| State::Refused(error.to_string())),
    }
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn in_colour(self, code: u8, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    fn red(self, text: &str) -> String {
        self.in_colour(31, text)
    }

    fn green(self, text: &str) -> String {
        self.in_colour(32, text)
    }

    fn yellow(self, text: &str) -> String {
        self.in_colour(33, text)
    }
}
