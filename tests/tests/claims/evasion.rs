//! `docs/evasion.md`: every test it names is there.

use crate::source::{has_test, read};

/// Rows of the page's tables: the trick, and what stands in the last column.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    rows.filter_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (trick, last) = (cells.first()?, cells.last()?);
        let tests = last
            .split("<br>")
            .map(|test| test.trim().trim_matches(['`', ' ', '|']));
        Some(((*trick).to_owned(), tests.map(str::to_owned).collect()))
    })
    .filter(|(trick, _)| !trick.starts_with("trick"))
    .collect()
}

#[test]
fn every_trick_names_a_test_that_exists_or_says_that_there_is_none() {
    let page = read("docs/evasion.md");
    let rows = rows(&page);
    assert!(rows.len() > 25, "{} tricks", rows.len());
    let mut missing = Vec::new();
    for (trick, tests) in rows {
        for test in tests {
            let found = match test.rsplit_once("::") {
                Some((path, name)) => has_test(path, name),
                None => test == "none",
            };
            if !found {
                missing.push((trick.clone(), test));
            }
        }
    }
    assert_eq!(missing, []);
}

#[test]
fn what_has_no_test_is_not_called_found() {
    let page = read("docs/evasion.md");
    let boasts: Vec<&str> = page
        .lines()
        .filter(|line| line.ends_with("| none |") && line.contains("| **found**"))
        .collect();
    assert_eq!(boasts, Vec::<&str>::new());
}
