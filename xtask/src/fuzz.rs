//! `fuzz`: libFuzzer on the targets of `detector/src/fuzzing/`, each for a while, with what broke written down.
//!
//! Every target is built with AddressSanitizer by rustup's nightly (libFuzzer needs its flags) and begins with its kept corpus in
//! `fuzz/corpus/`, which the tests play as well. What is found while it runs goes to `target/fuzz/`; `--keep` takes over the inputs
//! that reach what the kept ones do not. An input that breaks a promise is in `target/fuzz/artifacts/`, with the line that
//! plays it again. No gate runs this for long: it is for whoever changes what reads foreign bytes.

use crate::bpf::{self, Logging};
use crate::exec::{self, Steps};
use crate::setup::{self, Needs};
use crate::{apt, facts, tools};
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// One input may take this long, seconds; a hundred times what the slowest takes.
const INPUT_S: u32 = 20;
/// One input may take this much memory, MiB.
const MEMORY_MIB: u32 = 2048;
/// Longest input made, bytes. Past the longest record, path and line, short enough for thousands of runs a second.
const INPUT_BYTES: u32 = 8192;
/// Targets whose threads end by themselves: one that is still being taken down when an input is done would be called a
/// leak (once in 9,600 inputs, and not again with that input).
const ENDS_LATE: [&str; 1] = ["state"];
/// What is kept of what was ever found, for each target: every clone and every run of the tests carries it.
const KEPT_INPUT_BYTES: u64 = 2048;
const KEPT_INPUTS: usize = 48;
/// What is left of a target's time is not worth less: each run begins with its whole corpus.
const SHORTEST_RUN: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Args {
    /// Only these; without any, all of them
    targets: Vec<String>,
    /// CPU time each gets, such as 60s or 10m
    #[arg(long, default_value = "60s", value_parser = duration)]
    time: Duration,
    /// Take over what was found now or before, where it reaches code that the kept corpus does not
    #[arg(long)]
    keep: bool,
}

/// `cargo xtask fuzz`.
pub fn verb(setup: setup::Args, args: Args) -> Result<ExitCode> {
    let all = targets()?;
    for name in &args.targets {
        let names = all
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        ensure!(
            all.contains(name),
            "no target is called {name}; there are: {names}"
        );
    }
    let chosen = all
        .into_iter()
        .filter(|name| args.targets.is_empty() || args.targets.contains(name));
    let chosen: Vec<String> = chosen.collect();
    let mut steps = Steps::new(3 + chosen.len() * (1 + usize::from(args.keep)));
    let toolchain = setup::run(&mut steps, setup, Needs::Build)?;
    bpf::build(&mut steps, &toolchain, Logging::Off)?;

    steps.begin("build the fuzz targets");
    if exec::on_path("c++").is_none() {
        steps.note("- g++ (apt): libFuzzer is C++");
        apt::install(&mut steps, &["g++".to_owned()])?;
    }
    let bench = Bench::new(tools::cargo_fuzz(&mut steps)?)?;
    steps.run(&mut bench.cargo("build"))?;

    let mut broken = Vec::new();
    for name in &chosen {
        steps.begin(format!(
            "fuzz {name} for {} s of CPU time",
            args.time.as_secs()
        ));
        steps.close_line();
        let (used, held) = bench.spend(name, args.time)?;
        steps.note(format!("{name}: {} s of CPU time", used.as_secs()));
        if !held {
            broken.push(name.as_str());
        }
    }
    if args.keep {
        for name in &chosen {
            steps.begin(format!("keep what {name} found"));
            let kept = bench.keep(&mut steps, name)?;
            steps.note(format!("{kept} inputs taken over"));
        }
    }
    steps.end();
    if !broken.is_empty() {
        let folder = bench.folder.join("artifacts");
        bail!(
            "promises are broken: {}. The inputs are in {}",
            broken.join(", "),
            folder.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Every target has a program of its name.
fn targets() -> Result<BTreeSet<String>> {
    let folder = exec::workspace().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    Ok(entries
        .flatten()
        .filter_map(|entry| stem(entry.path()))
        .collect())
}

/// cargo-fuzz, and where its things lie.
struct Bench {
    cargo_fuzz: PathBuf,
    folder: PathBuf,
    corpora: PathBuf,
}

impl Bench {
    fn new(cargo_fuzz: PathBuf) -> Result<Self> {
        let nightly = exec::query(facts::nightly_command("rustc").arg("--version"));
        nightly.context("fuzzing needs rustup's nightly (`rustup toolchain install nightly`)")?;
        Ok(Self {
            cargo_fuzz,
            folder: exec::target_dir()?.join("fuzz"),
            corpora: exec::workspace().join("fuzz/corpus"),
        })
    }

    /// A verb of cargo-fuzz, with nightly's cargo and rustc.
    fn cargo(&self, verb: &str) -> Command {
        let mut cargo = facts::nightly_command(&self.cargo_fuzz);
        cargo
            .args([verb, "--fuzz-dir", "fuzz", "--target-dir"])
            .arg(&self.folder);
        cargo
    }

    fn found(&self, name: &str) -> PathBuf {
        self.folder.join("corpus").join(name)
    }

    /// Runs one target until it has had that much CPU time, on however busy a machine: libFuzzer itself counts by the
    /// clock on the wall. What it used, cargo's look at the build included, and whether its promises held.
    fn spend(&self, name: &str, time: Duration) -> Result<(Duration, bool)> {
        let before = cpu_time_of_children()?;
        let mut used = Duration::ZERO;
        while used < time {
            let left = (time - used).max(SHORTEST_RUN);
            let held = exec::status(&mut self.run(name, left)?)?.success();
            used = cpu_time_of_children()? - before;
            if !held {
                return Ok((used, false));
            }
        }
        Ok((used, true))
    }

    /// Runs one target for a while; what it finds goes to the first corpus.
    fn run(&self, name: &str, time: Duration) -> Result<Command> {
        let found = self.found(name);
        let artifacts = self.folder.join("artifacts").join(name);
        for folder in [&found, &artifacts] {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let mut cargo = self.cargo("run");
        cargo
            .arg(name)
            .arg(found)
            .arg(self.corpora.join(name))
            .arg("--");
        cargo.arg(format!("-max_total_time={}", time.as_secs()));
        cargo.arg(format!("-timeout={INPUT_S}"));
        cargo.arg(format!("-rss_limit_mb={MEMORY_MIB}"));
        cargo.arg(format!("-max_len={INPUT_BYTES}"));
        let mut prefix = OsString::from("-artifact_prefix=");
        prefix.push(artifacts.join(""));
        cargo.arg(prefix).arg("-print_final_stats=1");
        if ENDS_LATE.contains(&name) {
            cargo.arg("-detect_leaks=0");
        }
        let dictionary = exec::workspace().join(format!("fuzz/dictionaries/{name}.dict"));
        if dictionary.is_file() {
            cargo.arg(format!("-dict={}", dictionary.display()));
        }
        Ok(cargo)
    }

    /// Takes over the short inputs that add something; how many.
    fn keep(&self, steps: &mut Steps, name: &str) -> Result<usize> {
        let short = self.folder.join("short").join(name);
        let _ = fs::remove_dir_all(&short);
        fs::create_dir_all(&short).with_context(|| format!("creating {}", short.display()))?;
        for (path, bytes) in files(&self.found(name))? {
            if bytes <= KEPT_INPUT_BYTES {
                let copy = short.join(path.file_name().context("a file has a name")?);
                fs::copy(&path, copy).with_context(|| format!("copying {}", path.display()))?;
            }
        }
        let corpus = self.corpora.join(name);
        let before: BTreeSet<PathBuf> = files(&corpus)?.into_iter().map(|(path, _)| path).collect();
        let mut merge = self.cargo("run");
        merge
            .arg(name)
            .arg(&corpus)
            .arg(&short)
            .args(["--", "-merge=1"]);
        steps.run(&mut merge)?;
        let room = KEPT_INPUTS.saturating_sub(before.iter().filter(|path| is_found(path)).count());
        let mut added = files(&corpus)?;
        added.retain(|(path, _)| !before.contains(path));
        added.sort_by_key(|(path, bytes)| (*bytes, path.clone()));
        // Of all lengths: the shortest alone reach little.
        let every = added.len().div_ceil(room.max(1)).max(1);
        let (kept, others): (Vec<_>, Vec<_>) = added
            .iter()
            .enumerate()
            .partition(|(at, _)| room > 0 && at % every == 0);
        for (_, (path, _)) in others {
            fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(kept.len())
    }
}

/// CPU time of the programs that this one started and has waited for, theirs included, to 10 ms.
fn cpu_time_of_children() -> Result<Duration> {
    /// `cutime` and `cstime` after the name, which is in brackets; proc_pid_stat(5).
    const FIELDS: [usize; 2] = [13, 14];
    /// `USER_HZ`, in which the kernel tells times whatever its own tick is.
    const TICKS_MS: u64 = 10;
    let stat = fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
    let (_, fields) = stat
        .rsplit_once(')')
        .context("/proc/self/stat has a name")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let ticks = FIELDS.iter().map(|at| fields.get(*at)?.parse::<u64>().ok());
    let ticks: Option<u64> = ticks.sum();
    let ticks = ticks.context("/proc/self/stat has times")?;
    Ok(Duration::from_millis(ticks * TICKS_MS))
}

/// Whether libFuzzer named it, by its content (SHA-1), and nobody by what it is.
fn is_found(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.len() == 40 && name.iter().all(u8::is_ascii_hexdigit)
}

/// Files of a folder and their sizes, bytes.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let sized = |entry: fs::DirEntry| Ok((entry.path(), entry.metadata()?.len()));
    entries.map(|entry| sized(entry?)).collect()
}

/// `90`, `90s`, `10m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => return Err(format!("`{other}` is neither s, m nor h")),
    };
    let number: u32 = digits
        .parse()
        .map_err(|error| format!("`{digits}`: {error}"))?;
    Ok(Duration::from_secs(u64::from(number) * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_a_bare_number_is_seconds() {
        let seconds = |text| duration(text).map(|time| time.as_secs());
        assert_eq!(
            [seconds("90"), seconds("90s"), seconds("10m"), seconds("2h")],
            [Ok(90), Ok(90), Ok(600), Ok(7200)]
        );
        for wrong in ["", "m", "1d", "-1s", "1.5m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_cpu_time_of_children_is_what_they_used() -> Result<()> {
        let before = cpu_time_of_children()?;
        // `times` tells user and system time of the shell itself and of what it started.
        let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; times";
        let told = exec::query(exec::command("sh").args(["-c", burn])).context("a shell")?;
        let used = (cpu_time_of_children()? - before).as_secs_f64();
        let second = |text: &str| -> Option<f64> {
            let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
            Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
        };
        let told: Option<f64> = told.split_ascii_whitespace().map(second).sum();
        let told = told.context("times")?;
        assert!(told > 0.05, "{told}");
        // Each of four times is cut to 10 ms, and other tests may end children of theirs meanwhile.
        assert!(used >= told - 0.05, "{used} of {told}");
        Ok(())
    }

    #[test]
    fn every_dictionary_belongs_to_a_target() {
        let targets = targets().unwrap_or_default();
        assert!(!targets.is_empty());
        for (path, _) in files(&exec::workspace().join("fuzz/dictionaries")).unwrap_or_default() {
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            assert!(targets.contains(name), "{}", path.display());
        }
    }
}
