//! What the machine said, as a table and as `kernel-support.md`.

use super::kernel::{KERNELS, Kernel};
use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What came of one kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// As it was asked for.
    pub name: &'static str,
    /// `uname -r`.
    pub release: String,
    /// Each probe's name, and its state in a word.
    pub probes: Vec<(String, String)>,
    /// What `detector check` calls degraded, and reasons of probes that do not work.
    pub lost: Vec<String>,
    /// Tests that passed.
    pub passed: u32,
    /// Names of those that did not.
    pub failed: Vec<String>,
    /// All tests were run.
    pub complete: bool,
}

/// Takes apart what came over the serial line.
pub fn read(kernel: &'static Kernel, said: &str) -> Result<Outcome> {
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    let release = lines
        .iter()
        .find_map(|line| line.split_once("@@ kernel ").map(|(_, release)| release))
        .context("the kernel did not start its first program")?;
    let after = |mark: &str| {
        let at = lines.iter().position(|line| line.contains(mark));
        at.map_or(&[][..], |at| &lines[at + 1..])
    };
    let until_mark = |lines: &[&str]| lines.iter().position(|line| line.contains("@@ "));
    let checked = after("@@ check");
    let checked = &checked[..until_mark(checked).unwrap_or(checked.len())];
    let mut probes = Vec::new();
    let mut lost = Vec::new();
    let states = checked.iter().skip_while(|line| !line.starts_with("probe"));
    for line in states.skip(1) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("degraded:"), _) => lost.push(line.replace("degraded:", "").trim().to_owned()),
            // A reason is indented below its probe.
            (Some(_), _) if line.starts_with(' ') => lost.push(line.trim().to_owned()),
            (Some(name), Some(state))
                if ["attached", "ready", "skipped", "refused"].contains(&state) =>
            {
                probes.push((name.to_owned(), state.to_owned()));
            }
            _ => {}
        }
    }
    let tests = after("@@ tests");
    let result = tests.iter().find(|line| line.starts_with("test result:"));
    let passed = result.and_then(|line| number_before(line, "passed"));
    // Twice: with what each said, and as a list. The list comes last.
    let listed = tests.iter().rposition(|line| *line == "failures:");
    let failed = listed.map_or(Vec::new(), |at| {
        let names = tests[at + 1..]
            .iter()
            .take_while(|line| line.starts_with("    "));
        names.map(|line| line.trim().to_owned()).collect()
    });
    Ok(Outcome {
        name: kernel.name,
        release: release.trim().to_owned(),
        probes,
        lost,
        passed: passed.unwrap_or(0),
        failed,
        complete: passed.is_some(),
    })
}

fn number_before(line: &str, word: &str) -> Option<u32> {
    let before = line.split(word).next()?;
    before.split_whitespace().last()?.parse().ok()
}

impl Outcome {
    /// Every probe works and every test passed.
    pub fn is_good(&self) -> bool {
        let works = |state: &str| ["attached", "ready"].contains(&state);
        self.complete
            && self.failed.is_empty()
            && !self.probes.is_empty()
            && self.probes.iter().all(|(_, state)| works(state))
    }

    /// One line.
    pub fn summary(&self) -> String {
        let mut line = format!("{}: {}", self.release, self.tests());
        for (probe, state) in &self.probes {
            if !["attached", "ready"].contains(&state.as_str()) {
                let _ = write!(line, ", {probe} {state}");
            }
        }
        line
    }

    fn tests(&self) -> String {
        match (self.complete, self.failed.as_slice()) {
            (false, _) => "tests did not end".to_owned(),
            (true, []) => format!("{} passed", self.passed),
            (true, failed) => format!("{} passed, {} failed", self.passed, failed.len()),
        }
    }
}

/// Kernel by probe, and the tests, in Markdown that is readable on a terminal.
pub fn table(outcomes: &[Outcome]) -> String {
    let lines = failures(outcomes);
    let lines = lines.iter().map(|line| format!("{line}\n"));
    laid_out(&rows(outcomes)) + &lines.collect::<String>()
}

/// The head of the table and a row for each kernel.
fn rows(outcomes: &[Outcome]) -> Vec<Vec<String>> {
    let probes = outcomes.iter().map(|outcome| &outcome.probes);
    let longest = probes.max_by_key(|probes| probes.len());
    let names: Vec<&str> = longest
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let mut rows = vec![row(
        ["kernel"].into_iter().chain(names.iter().copied()),
        "tests",
    )];
    for outcome in outcomes {
        let state = |name: &str| {
            let found = outcome.probes.iter().find(|(probe, _)| probe == name);
            found.map_or("–", |(_, state)| state.as_str())
        };
        let cells = [outcome.release.as_str()].into_iter();
        rows.push(row(
            cells.chain(names.iter().map(|name| state(name))),
            &outcome.tests(),
        ));
    }
    rows
}

fn row<'a>(cells: impl Iterator<Item = &'a str>, last: &'a str) -> Vec<String> {
    cells.chain([last]).map(str::to_owned).collect()
}

fn laid_out(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            rows.iter()
                .map(|row| row[at].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if number == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "| {} |", rules.join(" | "));
        }
    }
    text
}

fn failures(outcomes: &[Outcome]) -> Vec<String> {
    let failed = |outcome: &Outcome| -> Vec<String> {
        let names = outcome.failed.iter();
        names
            .map(|name| format!("{}: failed: {name}", outcome.release))
            .collect()
    };
    outcomes.iter().flat_map(failed).collect()
}

fn losses(outcomes: &[Outcome]) -> Vec<String> {
    let lost = |outcome: &Outcome| -> Vec<String> {
        let lost = outcome.lost.iter();
        // The RAM disk has none.
        let lost = lost.filter(|lost| !lost.contains("package database"));
        lost.map(|lost| format!("- {}: {lost}", outcome.release))
            .collect()
    };
    outcomes.iter().flat_map(lost).collect()
}

/// Which machine and which of the kernels a release such as `5.10.0-32-cloud-amd64` is.
fn place(release: &str) -> Option<(&str, usize)> {
    let (_, machine) = release.rsplit_once("-cloud-")?;
    // `7.x` is any that begins with 7.
    let is_of = |kernel: &Kernel| match kernel.name.strip_suffix('x') {
        Some(major) => release.starts_with(major),
        None => release.starts_with(&format!("{}.", kernel.name)),
    };
    Some((machine, KERNELS.iter().position(is_of)?))
}

/// What a line below the table is about.
fn release_of(line: &str) -> &str {
    let line = line.trim_start_matches("- ");
    line.split_once(':').map_or("", |(release, _)| release)
}

/// What an earlier run wrote about kernels that this one has no outcome of: rows of the table, and lines below it.
fn of_others(before: &str, outcomes: &[Outcome]) -> (Vec<Vec<String>>, Vec<String>) {
    let own: Vec<_> = outcomes.iter().map(|it| place(&it.release)).collect();
    let is_others = |release: &str| {
        let place = place(release);
        place.is_some() && !own.contains(&place)
    };
    let (table, _) = before.split_once("\n## ").unwrap_or((before, ""));
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for line in table.lines() {
        if let Some(cells) = line.strip_prefix("| ") {
            let cells = cells.trim_end_matches('|').split('|');
            let cells: Vec<String> = cells.map(|cell| cell.trim().to_owned()).collect();
            rows.extend(is_others(&cells[0]).then_some(cells));
        } else if is_others(release_of(line)) {
            lines.push(line.to_owned());
        }
    }
    (rows, lines)
}

const HEAD: &str = include_str!("head.md");
const TAIL: &str = include_str!("tail.md");

/// Writes `kernel-support.md` into `folder`. What stands there about kernels that were not tried now stays.
pub fn write(folder: &Path, outcomes: &[Outcome]) -> Result<()> {
    let path = folder.join("kernel-support.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, page(&before, outcomes)).with_context(|| format!("writing {}", path.display()))
}

fn page(before: &str, outcomes: &[Outcome]) -> String {
    let mut rows = rows(outcomes);
    let (others, lines) = of_others(before, outcomes);
    // Of the same probes only.
    let columns = rows[0].len();
    rows.extend(others.into_iter().filter(|row| row.len() == columns));
    rows[1..].sort_by(|one, other| place(&one[0]).cmp(&place(&other[0])));
    let mut lines = [failures(outcomes), losses(outcomes), lines].concat();
    let order = |line: &String| {
        let place = place(release_of(line));
        (
            line.starts_with("- "),
            place.map(|(machine, kernel)| (machine.to_owned(), kernel)),
        )
    };
    lines.sort_by_cached_key(order);
    let mut text = format!("{HEAD}\n{}", laid_out(&rows));
    if !lines.is_empty() {
        text.push('\n');
    }
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    text + TAIL
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "SeaBIOS\r\n\u{1b}[2J@@ kernel 5.10.0-32-cloud-amd64\r\n@@ check\r\n\
        kernel         5.10.0-32-cloud-amd64\r\n\r\nprobe       state      for\r\n\
        exec        refused    new binaries and scripts\r\n            Invalid argument\r\n\
        task        attached   CPU time of running processes\r\n\
        payload     ready      mining protocols\r\n\r\ndegraded: no package database\r\n\r\nready, degraded\r\n\
        @@ tests\r\ntest cases::a ... ok\r\ntest cases::b ... actor: No such file\r\nFAILED\r\n\r\nfailures:\r\n\r\n\
        ---- cases::b stdout ----\r\nno\r\n\r\nfailures:\r\n    cases::b\r\n\r\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out; finished in 3.00s\r\n@@ end\r\n";

    #[test]
    fn what_a_machine_says_becomes_an_outcome() {
        let outcome = read(&KERNELS[0], SAID).expect("it booted");
        let pair = |name: &str, state: &str| (name.to_owned(), state.to_owned());
        let expected = Outcome {
            name: "5.10",
            release: "5.10.0-32-cloud-amd64".to_owned(),
            probes: vec![
                pair("exec", "refused"),
                pair("task", "attached"),
                pair("payload", "ready"),
            ],
            lost: vec![
                "Invalid argument".to_owned(),
                "no package database".to_owned(),
            ],
            passed: 1,
            failed: vec!["cases::b".to_owned()],
            complete: true,
        };
        assert_eq!(outcome, expected);
        assert!(!outcome.is_good());
        assert_eq!(
            table(&[outcome]),
            "| kernel                | exec    | task     | payload | tests              |\n\
             | --------------------- | ------- | -------- | ------- | ------------------ |\n\
             | 5.10.0-32-cloud-amd64 | refused | attached | ready   | 1 passed, 1 failed |\n\
             5.10.0-32-cloud-amd64: failed: cases::b\n"
        );
    }

    #[test]
    fn a_page_keeps_what_was_seen_of_other_kernels() {
        let page_of = |before: &str, release: &str| {
            let said = SAID.replace("5.10.0-32-cloud-amd64", release);
            page(before, &[read(&KERNELS[0], &said).expect("it booted")])
        };
        let releases = [
            "6.1.0-50-cloud-amd64",
            "6.12.1-cloud-amd64",
            "7.2-cloud-arm64",
        ];
        let one_by_one = |order: [usize; 3]| {
            order
                .into_iter()
                .fold(String::new(), |before, at| page_of(&before, releases[at]))
        };
        let all = one_by_one([0, 1, 2]);
        assert_eq!(all, one_by_one([2, 1, 0]), "in any order");
        assert_eq!(all, page_of(&all, releases[1]), "and again");
        for release in releases {
            // The row, the test that failed, and what is lost.
            assert_eq!(all.matches(release).count(), 3, "{all}");
        }
        let newer = page_of(&all, "6.1.0-51-cloud-amd64");
        assert!(!newer.contains("6.1.0-50"), "{newer}");
        assert!(newer.contains("6.12.1-cloud-amd64"), "{newer}");
    }

    #[test]
    fn a_machine_that_stops_in_the_middle_is_no_success() {
        let (half, _) = SAID.split_once("test cases::b").expect("it is in it");
        let outcome = read(&KERNELS[0], half).expect("it booted");
        assert_eq!((outcome.complete, outcome.is_good()), (false, false));
        let nothing = read(&KERNELS[0], "SeaBIOS").expect_err("nothing was started");
        assert_eq!(
            nothing.to_string(),
            "the kernel did not start its first program"
        );
    }
}
