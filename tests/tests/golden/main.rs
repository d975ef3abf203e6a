//! Whole incidents, compared with stored ones: of the library of traces, and of recordings of real runs.
//!
//! `UPDATE_GOLDEN=1 cargo test -p tests --test golden` stores what is said now; the difference is then reviewed as any
//! other change. What a case must not do, whatever is stored, is asserted beside the comparison.

use std::{fs, path::PathBuf};

use detector::{
    config::Config,
    detect::Seed,
    judge::Judge,
    render::{Lives, Style},
    source::replay::Replay,
};
use tests::{
    outcome::{Life, Outcome},
    trace,
    traces::{self, Truth},
};

/// What the table shows: one that pages, one that warns.
const TABLE: [&str; 2] = ["benign-backup", "hostile-memfd"];

/// Recorded runs that must wake nobody; the others must.
const BENIGN_RECORDINGS: [&str; 1] = ["busy_day"];

/// Of the stored traces; any would do.
const SEED: u64 = 1;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Compares with `golden/NAME`, or stores it.
fn agrees(name: &str, now: &str) -> Result<(), String> {
    let path = folder("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, now).expect("the folder is there");
        return Ok(());
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let difference = stored
        .lines()
        .zip(now.lines())
        .enumerate()
        .find(|(_, (a, b))| a != b);
    match difference {
        Some((at, (stored, now))) => {
            let line = at + 1;
            Err(format!(
                "{name}: line {line}:\n  stored {stored}\n  now    {now}"
            ))
        }
        None if stored.lines().count() == now.lines().count() => Ok(()),
        None => Err(format!("{name}: another number of lines")),
    }
}

fn all_agree(results: impl Iterator<Item = Result<(), String>>) {
    let wrong: Vec<String> = results.filter_map(Result::err).collect();
    assert!(
        wrong.is_empty(),
        "UPDATE_GOLDEN=1 stores what is said now, to be reviewed:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn incidents_of_the_library_are_as_stored() {
    all_agree(traces::all().map(|case| {
        let outcome = Outcome::of_trace(case.trace(SEED), case.seconds);
        agrees(&format!("{}.json", case.name), &outcome.text())
    }));
}

#[test]
fn nobody_is_woken_by_what_is_benign_and_every_hostile_one_is_named() {
    for case in traces::all() {
        let outcome = Outcome::of_trace(case.trace(SEED), case.seconds);
        let titles = |life: &Life| life.last.incident.title.clone();
        match case.truth {
            Truth::Benign => {
                let paged = outcome.lives.iter().filter(|life| life.paged_at.is_some());
                let paged: Vec<String> = paged.map(titles).collect();
                assert_eq!(paged, Vec::<String>::new(), "{}", case.name);
            }
            Truth::Hostile { executable, .. } => {
                let names =
                    |life: &&Life| life.warned_at.is_some() && life.programs.contains(executable);
                let named = outcome.lives.iter().filter(names).count();
                let said: Vec<String> = outcome.lives.iter().map(titles).collect();
                assert!(
                    named >= 1,
                    "{}: {executable} is in none of {said:?}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn the_same_trace_is_judged_the_same_twice() {
    for case in traces::all() {
        let once = Outcome::of_trace(case.trace(SEED), case.seconds).text();
        let again = Outcome::of_trace(case.trace(SEED), case.seconds).text();
        assert_eq!(once, again, "{}", case.name);
    }
}

#[test]
fn incidents_of_recorded_runs_are_as_stored() {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder("recordings"))
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "version-1"))
        .collect();
    paths.sort();
    all_agree(paths.iter().map(|path| {
        let mut source = Replay::open(path).expect("a recording");
        let header = source.header().clone();
        let config = header.recorded_config().expect("settings of this version");
        let mut judge = Judge::of_recording(&header, header.engine_config(&config));
        let mut outcome = Outcome::default();
        for input in &mut source {
            let input = input.expect("whole");
            judge.apply(input.borrow(), |event| outcome.add(event));
        }
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        assert_eq!(
            source.skipped().count,
            0,
            "{name}: {:?}",
            source.skipped().first
        );
        let pages = outcome.lives.iter().filter(|life| life.paged_at.is_some());
        let benign = BENIGN_RECORDINGS.contains(&name.as_str());
        assert_eq!(pages.count() == 0, benign, "{name} pages");
        agrees(&format!("recorded-{name}.json"), &outcome.text())
    }));
}

#[test]
fn the_table_of_a_replay_is_as_stored() {
    let mut lives = Lives::default();
    for case in traces::all().filter(|case| TABLE.contains(&case.name)) {
        let host = trace::host(2);
        let mut judge = Judge::new(Config::default().for_engine(&[]), Seed(7), host);
        let play = case.trace(SEED).play(case.seconds);
        play.drive(&mut judge, |event| lives.add(event));
    }
    let table = lives.table(Style::default(), true);
    all_agree(std::iter::once(agrees("table.txt", &table)));
}
