//! Adds up what `cargo test` prints. Pure: lines in, counts out.

use std::collections::BTreeSet;
use std::fmt;

/// The counts over all test binaries.
///
/// A kernel test that cannot run here prints `SKIPPED <name>: <reason>` and returns; libtest, which knows no such outcome, counts
/// it as passed. It is moved from there to the skipped ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    ok: u64,
    failed: u64,
    ignored: u64,
    skipped: BTreeSet<String>,
}

impl Summary {
    /// Takes in one line of output, from either stream.
    pub fn line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.ok += count(result, "passed");
            self.failed += count(result, "failed");
            self.ignored += count(result, "ignored");
        } else if let Some((_, skipped)) = line.split_once("SKIPPED ")
            && let Some((name, _reason)) = skipped.split_once(": ")
            && !name.contains(' ')
        {
            // Not only at the margin: libtest may have begun the line with `test <name> ... `.
            self.skipped.insert(name.to_owned());
        }
    }

    /// Whether any test failed.
    pub fn has_failures(&self) -> bool {
        self.failed > 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.skipped.len() as u64;
        let passed = self.ok.saturating_sub(skipped);
        write!(
            f,
            "{passed} passed, {} failed, {} skipped",
            self.failed,
            self.ignored + skipped
        )
    }
}

/// Hides what passing tests print, except that they were skipped, and the tables of what they measured.
///
/// libtest swallows it by default, and with it the `SKIPPED` lines. `--show-output` has it print everything between a line
/// `successes:` and the result; this takes out the rest again.
#[derive(Debug, Default)]
pub struct QuietSuccesses {
    inside: bool,
}

impl QuietSuccesses {
    /// Whether to show this line of standard output.
    pub fn shows(&mut self, line: &str) -> bool {
        match line {
            "successes:" => self.inside = true,
            "failures:" => self.inside = false,
            _ if line.starts_with("test result: ") => self.inside = false,
            _ => {}
        }
        !self.inside || line.starts_with("SKIPPED ") || line.starts_with("| ")
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(result: &str, word: &str) -> u64 {
    let parts = result.split(['.', ';']);
    let mut numbers = parts.filter_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok());
    numbers.next().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(text: &str) -> Summary {
        let mut summary = Summary::default();
        text.lines().for_each(|line| summary.line(line));
        summary
    }

    #[test]
    fn results_of_all_binaries_are_added_up() {
        let text = "running 3 tests\ntest a ... ok\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s\n";
        assert_eq!(summary(text).to_string(), "13 passed, 2 failed, 1 skipped");
        assert!(summary(text).has_failures());
    }

    #[test]
    fn a_skipped_test_is_counted_once_and_not_as_passed() {
        let text = "SKIPPED exec_is_seen: no CAP_BPF\ntest exec_is_seen ... SKIPPED exec_is_seen: no CAP_BPF\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(summary(text).to_string(), "1 passed, 0 failed, 1 skipped");
        assert!(!summary(text).has_failures());
    }

    #[test]
    fn of_what_passing_tests_print_only_skips_and_tables_are_shown() {
        let text = "running 2 tests\ntest a ... ok\n\nsuccesses:\n\n---- a stdout ----\nnoise\n| delay | 9 s |\nSKIPPED a: no CAP_BPF\n\n\
            successes:\n    a\n\nfailures:\n\n---- b stdout ----\nassertion\n\nfailures:\n    b\n\n\
            test result: FAILED. 1 passed; 1 failed\n";
        let mut quiet = QuietSuccesses::default();
        let shown = text
            .lines()
            .filter(|line| quiet.shows(line))
            .collect::<Vec<_>>();
        let expected = "running 2 tests\ntest a ... ok\n\n| delay | 9 s |\nSKIPPED a: no CAP_BPF\n\
            failures:\n\n---- b stdout ----\nassertion\n\nfailures:\n    b\n\n\
            test result: FAILED. 1 passed; 1 failed";
        assert_eq!(shown.join("\n"), expected);
    }

    #[test]
    fn no_output_is_no_test() {
        assert_eq!(summary("").to_string(), "0 passed, 0 failed, 0 skipped");
    }
}
