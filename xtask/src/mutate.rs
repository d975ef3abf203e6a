//! `mutate`: whether every constant of the policy is held by a test that says what it is for.
//!
//! Each constant of `detect/` and `incident/` (thresholds, weights, windows, bounds, lists), each weight of a finding type and
//! each default of the configuration is changed in a copy of the workspace, up and down, and the tests run until the first one
//! breaks. What survives is a number that nobody would notice to be wrong. A constant whose change no test can see carries the
//! reason, `// mutate: …`, in the comment above it. It takes an hour or two, so it is for whoever changes the policy.

mod constant;
mod copy;
mod trial;

use crate::bpf::{self, Logging};
use crate::exec::{self, Steps};
use crate::setup::{self, Needs};
use anyhow::{Context as _, Result, bail, ensure};
use constant::{Constant, Mutation};
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
    let mut steps = Steps::new(3 + changes);
    let toolchain = setup::run(&mut steps, setup, Needs::Build)?;
    let object = bpf::build(&mut steps, &toolchain, Logging::Off)?;
    let folder = exec::target_dir()?.join("mutate");
    let bench = Bench {
        copy: folder.join("workspace"),
        target: folder.join("target"),
        object,
    };
    steps.begin("try the tests without a change");
    copy::sync(&exec::workspace(), &bench.copy)?;
    match bench.trial()? {
        Outcome::Survived => steps.describe("all hold"),
        other => bail!("without a change already: {}", told(&other)),
    }

    let mut survivors = Vec::new();
    for place in &tried {
        for mutation in &place.constant.mutations {
            steps.begin(title(place, mutation));
            let outcome = with(&bench.copy, place, mutation, || bench.trial())?;
            steps.describe(&told(&outcome));
            if matches!(outcome, Outcome::Survived | Outcome::NotBuilt(_)) {
                survivors.push(format!("{}: {}", title(place, mutation), told(&outcome)));
            }
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

/// All constants of the policy, in the order of their files.
fn find(workspace: &Path) -> Result<Vec<Place>> {
    let mut files = Vec::new();
    for folder in POLICY {
        policy_files(workspace, Path::new(folder), &mut files)?;
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

/// Files below `folder` that are no tests.
fn policy_files(workspace: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = workspace.join(folder).read_dir();
    for entry in entries.with_context(|| format!("reading {}", folder.display()))? {
        let name = entry?.file_name();
        let path = folder.join(&name);
        if workspace.join(&path).is_dir() {
            if name != "tests" {
                policy_files(workspace, &path, files)?;
            }
        } else if name != "tests.rs" && name != "testing.rs" {
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
