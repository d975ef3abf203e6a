//! `mutate`: whether every constant of the policy is held by a test that says what it is for.
//!
//! Each constant of `detect/` and `incident/` (thresholds, weights, windows, bounds, lists), each weight of a finding type and
//! each default of the configuration is changed in a copy of the workspace, up and down, and the tests run until the first one
//! breaks. What survives is a number that nobody would notice to be wrong. A constant whose change no test can see carries the
//! reason, `// mutate: …`, in the comment above it. It takes minutes to an hour, so it is for whoever
//! changes the policy and no part of any gate.

mod constant;
mod copy;
mod place;
mod switch;
mod trial;

use crate::bpf::{self, Logging};
use crate::exec::{self, Steps};
use crate::setup::{self, Needs};
use anyhow::{Result, anyhow, ensure};
use constant::Constant;
use place::Place;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trial::{Bench, Outcome};

/// Changes that are sooner built one by one, ten seconds each, than all at once.
const FEW: usize = 12;

#[derive(clap::Args)]
pub struct Args {
    /// Only constants whose path contains this, such as `respawn::LOOP`; again for more
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Say which constants there are and what would be done to them, and change nothing
    #[arg(long)]
    list: bool,
}

/// `cargo xtask mutate`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let wanted = |place: &Place| {
        args.only.is_empty() || args.only.iter().any(|name| place.path.contains(name))
    };
    let mut places = place::all(&exec::workspace())?;
    places.retain(wanted);
    ensure!(
        !places.is_empty(),
        "no constant has such a name; `--list` shows them"
    );
    if args.list {
        places.iter().for_each(|place| println!("{place}"));
        return Ok(ExitCode::SUCCESS);
    }
    // Who asks for one by its name wants to know, whatever its comment says.
    let (exempt, tried): (Vec<Place>, Vec<Place>) = places
        .into_iter()
        .partition(|place| args.only.is_empty() && place.constant.exempt.is_some());

    let changes: usize = tried
        .iter()
        .map(|place| place.constant.mutations.len())
        .sum();
    let mut steps = Steps::new(5 + changes);
    let toolchain = setup::run(&mut steps, setup, Needs::Build)?;
    let object = bpf::build(&mut steps, &toolchain, Logging::Off)?;
    let folder = exec::target_dir()?.join("mutate");
    let bench = Bench {
        copy: folder.join("workspace"),
        target: folder.join("target"),
        object,
    };
    let (tests, apart) = if changes > FEW {
        steps.begin("build all changes at once");
        let (tests, apart) = build_all(&bench, &tried)?;
        steps.describe(&format!("but for those of {} constants", apart.len()));
        (tests, apart)
    } else {
        steps.begin("build the copy");
        copy::sync(&exec::workspace(), &bench.copy)?;
        let all = tried.iter().map(|place| place.constant.item());
        (built(bench.build(false)?)?, all.collect())
    };
    steps.begin("try the tests without a change");
    unchanged(&mut steps, bench.run(&tests, Some(usize::MAX))?)?;

    let mut survivors = Vec::new();
    let is_apart = |place: &Place| place.is_text() || apart.contains(place.constant.item());
    for (first, place) in place::numbered(&tried).filter(|(_, place)| !is_apart(place)) {
        for (number, mutation) in (first..).zip(&place.constant.mutations) {
            steps.begin(place.title(mutation));
            let outcome = bench.run(&tests, Some(number))?;
            survivors.extend(judged(&mut steps, place.title(mutation), &outcome));
        }
    }

    steps.begin("build what is tried apart");
    copy::sync(&exec::workspace(), &bench.copy)?;
    built(bench.build(false)?)?;
    for place in tried.iter().filter(|place| is_apart(place)) {
        for mutation in &place.constant.mutations {
            steps.begin(place.title(mutation));
            let outcome = copy::with(&bench.copy, place, mutation, || bench.trial())?;
            survivors.extend(judged(&mut steps, place.title(mutation), &outcome));
        }
    }
    steps.end();

    for place in &exempt {
        let reason = place.constant.exempt.as_deref().unwrap_or_default();
        println!("not tried {}: {reason}", place.path);
    }
    for survivor in &survivors {
        println!("{survivor}");
    }
    let (constants, survived) = (tried.len(), survivors.len());
    println!("{constants} constants, {changes} changes, {survived} that no test noticed");
    Ok(if survivors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One build in which every change can be chosen, and the names of the constants that it does not hold.
fn build_all<'a>(bench: &Bench, places: &'a [Place]) -> Result<(PathBuf, BTreeSet<&'a str>)> {
    let workspace = exec::workspace();
    let mut apart: BTreeSet<&str> = BTreeSet::new();
    loop {
        copy::sync(&workspace, &bench.copy)?;
        switch_all(&workspace, bench, places, &apart)?;
        let errors = match bench.build(true)? {
            Ok(tests) => return Ok((tests, apart)),
            Err(errors) => errors,
        };
        let names = places.iter().map(|place| place.constant.item());
        let blamed = switch::blamed(&errors, names);
        let before = apart.len();
        apart.extend(blamed);
        ensure!(
            apart.len() > before,
            "the changed copy cannot be built:\n{errors}"
        );
    }
}

/// Writes the copy's sources with every change but those of `apart` built in.
fn switch_all(
    workspace: &Path,
    bench: &Bench,
    places: &[Place],
    apart: &BTreeSet<&str>,
) -> Result<()> {
    let switched =
        || place::numbered(places).filter(|(_, place)| !apart.contains(place.constant.item()));
    let scalars = switched().filter(|(_, place)| place.constant.is_scalar());
    let elsewhere: BTreeSet<&str> = scalars.map(|(_, place)| place.constant.item()).collect();
    let mut files = Vec::new();
    place::source_files(workspace, Path::new("detector/src"), true, &mut files)?;
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|of| of == "rs"))
    {
        let here: Vec<(usize, &Constant)> = switched()
            .filter(|(_, place)| place.file == *file)
            .map(|(first, place)| (first, &place.constant))
            .collect();
        let mut source = switch::source(&copy::read(workspace, file)?, &here, &elsewhere);
        if file.ends_with("src/lib.rs") {
            source += &switch::choice();
        }
        // A weight is no literal any more.
        if file.ends_with("incident/finding.rs") {
            source = source.replace("$weight:literal", "$weight:expr");
        }
        if copy::read(&bench.copy, file)? != source {
            copy::write(&bench.copy, &[(file.clone(), source)])?;
        }
    }
    Ok(())
}

fn built(tests: Result<PathBuf, String>) -> Result<PathBuf> {
    tests.map_err(|errors| anyhow!("the copy cannot be built:\n{errors}"))
}

/// Says how a trial ended; gives the line to repeat at the end when no test noticed the change.
fn judged(steps: &mut Steps, title: String, outcome: &Outcome) -> Option<String> {
    steps.describe(&told(outcome));
    (*outcome == Outcome::Survived).then(|| format!("{title}: {}", told(outcome)))
}

fn unchanged(steps: &mut Steps, outcome: Outcome) -> Result<()> {
    ensure!(
        outcome == Outcome::Survived,
        "without a change already: {}",
        told(&outcome)
    );
    steps.describe("all hold");
    Ok(())
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Broke(test) => format!("broke {test}"),
        Outcome::Survived => "SURVIVED".to_owned(),
        Outcome::Endless => "broke a test that does not end any more".to_owned(),
        Outcome::NotBuilt(words) => format!("does not compile: {words}"),
    }
}
