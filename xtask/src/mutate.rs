//! `mutate`: whether every constant of the policy is held by a test that says what it is for.
//!
//! Each constant of `detect/` and `incident/` (thresholds, weights, windows, bounds, lists), each weight of a finding type and
//! each default of the configuration is changed in a copy of the workspace, up and down, and the tests run until the first one
//! breaks. What survives is a number that nobody would notice to be wrong. A constant whose change no test can see carries the
//! reason, `// mutate: …`, in the comment above it. It takes an hour or two, so it is for whoever changes the policy.

mod constant;
mod copy;
mod switch;
mod trial;

use crate::bpf::{self, Logging};
use crate::exec::{self, Steps};
use crate::setup::{self, Needs};
use anyhow::{Context as _, Result, anyhow, ensure};
use constant::{Constant, Home, Mutation};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trial::{Bench, Outcome};

/// Where the policy is written, from the workspace's root.
const POLICY: [&str; 2] = ["detector/src/detect", "detector/src/incident"];
/// Defaults stand here with their reasons, and in the code. Changed in one place only, the test that compares the
/// two would notice each, whatever it is for.
const DEFAULTS: &str = "detector/src/config/default.toml";

#[derive(clap::Args)]
pub struct Args {
    /// Only constants whose path contains this, such as `respawn::LOOP`; again for more
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Say which constants there are and what would be done to them, and change nothing
    #[arg(long)]
    list: bool,
}

/// A constant and where it is.
struct Place {
    /// As in Rust: `detect::rule::respawn::LOOP`.
    path: String,
    /// From the workspace's root.
    file: PathBuf,
    constant: Constant,
}

/// `cargo xtask mutate`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let wanted = |place: &Place| {
        args.only.is_empty() || args.only.iter().any(|name| place.path.contains(name))
    };
    let mut places = find(&exec::workspace())?;
    places.retain(wanted);
    ensure!(
        !places.is_empty(),
        "no constant has such a name; `--list` shows them"
    );
    if args.list {
        places.iter().for_each(list);
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
    steps.begin("build all changes at once");
    let (tests, apart) = build_all(&bench, &tried)?;
    steps.describe(&format!("but for {} constants", apart.len()));
    steps.begin("try the tests without a change");
    unchanged(&mut steps, bench.run(&tests, Some(usize::MAX))?)?;

    let mut survivors = Vec::new();
    let mut judge = |steps: &mut Steps, title: String, outcome: &Outcome| {
        steps.describe(&told(outcome));
        if matches!(outcome, Outcome::Survived | Outcome::NotBuilt(_)) {
            survivors.push(format!("{title}: {}", told(outcome)));
        }
    };
    for (first, place) in numbered(&tried) {
        if apart.contains(place.constant.item()) || place.constant.home == Home::File {
            continue;
        }
        for (number, mutation) in (first..).zip(&place.constant.mutations) {
            steps.begin(title(place, mutation));
            let outcome = bench.run(&tests, Some(number))?;
            judge(&mut steps, title(place, mutation), &outcome);
        }
    }

    steps.begin("build what is tried apart");
    copy::sync(&exec::workspace(), &bench.copy)?;
    bench.build(false)?.map_err(|errors| anyhow!("{errors}"))?;
    for place in &tried {
        if !apart.contains(place.constant.item()) && place.constant.home != Home::File {
            continue;
        }
        for mutation in &place.constant.mutations {
            steps.begin(title(place, mutation));
            let outcome = with(&bench.copy, place, mutation, || {
                match bench.build(false)? {
                    Ok(tests) => bench.run(&tests, None),
                    Err(errors) => {
                        let error = errors.lines().find(|line| line.starts_with("error"));
                        Ok(Outcome::NotBuilt(
                            error.unwrap_or("no error said").to_owned(),
                        ))
                    }
                }
            })?;
            judge(&mut steps, title(place, mutation), &outcome);
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

/// Each constant with the number of its first change.
fn numbered(places: &[Place]) -> impl Iterator<Item = (usize, &Place)> {
    places.iter().scan(0, |next, place| {
        let first = *next;
        *next += place.constant.mutations.len();
        Some((first, place))
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
    let switched = || numbered(places).filter(|(_, place)| !apart.contains(place.constant.item()));
    let scalars = switched().filter(|(_, place)| place.constant.is_scalar());
    let elsewhere: BTreeSet<&str> = scalars.map(|(_, place)| place.constant.item()).collect();
    let mut files = Vec::new();
    source_files(workspace, Path::new("detector/src"), true, &mut files)?;
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|of| of == "rs"))
    {
        let here: Vec<(usize, &Constant)> = switched()
            .filter(|(_, place)| place.file == *file)
            .map(|(first, place)| (first, &place.constant))
            .collect();
        let mut source = switch::source(&read(workspace, file)?, &here, &elsewhere);
        if file.ends_with("src/lib.rs") {
            source += &switch::choice();
        }
        // A weight is no literal any more.
        if file.ends_with("incident/finding.rs") {
            source = source.replace("$weight:literal", "$weight:expr");
        }
        if read(&bench.copy, file)? != source {
            write(&bench.copy, &[(file.clone(), source)])?;
        }
    }
    Ok(())
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

/// All constants of the policy, in the order of their files.
fn find(workspace: &Path) -> Result<Vec<Place>> {
    let mut files = Vec::new();
    for folder in POLICY {
        source_files(workspace, Path::new(folder), false, &mut files)?;
    }
    files.sort();
    let mut places = Vec::new();
    for file in files {
        let source = read(workspace, &file)?;
        let constants = match file.extension().and_then(|of| of.to_str()) {
            Some("toml") => constant::of_toml_lists(&source),
            _ => {
                constant::of_rust(&source).with_context(|| format!("reading {}", file.display()))?
            }
        };
        places.extend(constants.into_iter().map(|constant| Place {
            path: format!("{}::{}", module(&file), constant.name),
            file: file.clone(),
            constant,
        }));
    }
    Ok(places)
}

/// Files below `folder`, with those of `tests` or without.
fn source_files(
    workspace: &Path,
    folder: &Path,
    tests: bool,
    files: &mut Vec<PathBuf>,
) -> Result<()> {
    let entries = workspace.join(folder).read_dir();
    for entry in entries.with_context(|| format!("reading {}", folder.display()))? {
        let name = entry?.file_name();
        let path = folder.join(&name);
        if workspace.join(&path).is_dir() {
            if tests || name != "tests" {
                source_files(workspace, &path, tests, files)?;
            }
        } else if tests || name != "tests.rs" && name != "testing.rs" {
            files.push(path);
        }
    }
    Ok(())
}

/// `detector/src/detect/rule/respawn.rs` is `detect::rule::respawn`.
fn module(file: &Path) -> String {
    let path = file.with_extension("");
    let inside = path.strip_prefix("detector/src").unwrap_or(&path);
    let parts = inside.iter().map(|part| part.to_string_lossy());
    parts
        .filter(|part| part != "mod")
        .collect::<Vec<_>>()
        .join("::")
}

/// Runs `trial` while the copy is changed.
fn with<T>(
    copy: &Path,
    place: &Place,
    mutation: &Mutation,
    trial: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let mut changed = vec![(
        place.file.clone(),
        edited(&read(copy, &place.file)?, &mutation.edits),
    )];
    if place.file.ends_with("detect/config.rs") {
        let (_, instead) = &mutation.edits[0];
        let defaults = read(copy, Path::new(DEFAULTS))?;
        changed.push((
            DEFAULTS.into(),
            with_default(&defaults, &place.constant.name, instead)?,
        ));
    }
    let before = changed
        .iter()
        .map(|(file, _)| Ok((file.clone(), read(copy, file)?)));
    let before = before.collect::<Result<Vec<_>>>()?;
    write(copy, &changed)?;
    let outcome = trial();
    write(copy, &before)?;
    outcome
}

/// The source with its edits done.
fn edited(source: &str, edits: &[(std::ops::Range<usize>, String)]) -> String {
    let mut changed = source.to_owned();
    for (range, instead) in edits.iter().rev() {
        changed.replace_range(range.clone(), instead);
    }
    changed
}

/// The configuration's defaults with another value of `key`.
fn with_default(defaults: &str, key: &str, value: &str) -> Result<String> {
    let lines = defaults.split_inclusive('\n');
    let start = lines
        .scan(0, |at, line| {
            *at += line.len();
            Some((*at - line.len(), line))
        })
        .find_map(|(at, line)| {
            line.strip_prefix(key)?
                .strip_prefix(" = ")
                .map(|rest| at + line.len() - rest.len())
        });
    let start = start.with_context(|| format!("{DEFAULTS} has no {key}"))?;
    let end = defaults[start..]
        .find('\n')
        .map_or(defaults.len(), |length| start + length);
    Ok(edited(defaults, &[(start..end, value.to_owned())]))
}

fn read(root: &Path, file: &Path) -> Result<String> {
    fs::read_to_string(root.join(file)).with_context(|| format!("reading {}", file.display()))
}

fn write(root: &Path, files: &[(PathBuf, String)]) -> Result<()> {
    for (file, text) in files {
        fs::write(root.join(file), text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

fn list(place: &Place) {
    let Constant {
        line,
        value,
        exempt,
        mutations,
        ..
    } = &place.constant;
    let what: Vec<&str> = mutations
        .iter()
        .map(|mutation| mutation.what.as_str())
        .collect();
    let what = match exempt {
        Some(reason) => format!("not tried: {reason}"),
        None => what.join(", "),
    };
    println!(
        "{} ({}:{line}) {value}  {what}",
        place.path,
        place.file.display()
    );
}

fn title(place: &Place, mutation: &Mutation) -> String {
    format!(
        "{} = {} {}",
        place.path, place.constant.value, mutation.what
    )
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Broke(test) => format!("broke {test}"),
        Outcome::Survived => "SURVIVED".to_owned(),
        Outcome::Endless => "broke a test that does not end any more".to_owned(),
        Outcome::NotBuilt(words) => format!("NOT BUILT: {words}"),
    }
}

#[cfg(test)]
mod tests;
