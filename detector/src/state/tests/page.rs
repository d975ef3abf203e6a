//! Pages go before what waits, and every incident keeps its order.

use std::collections::BTreeSet;

use super::*;

fn state(id: &str, severity: &str, status: &str) -> StoredIncident {
    StoredIncident {
        id: id.to_owned(),
        status: status.to_owned(),
        severity: severity.to_owned(),
        title: "x".to_owned(),
        group_key: "x".to_owned(),
        opened: NOW,
        updated: NOW,
        resolved: (status == "resolved").then_some(NOW),
        executable: None,
        sha256: None,
        unit: None,
        boot_id: None,
        process: None,
        event: Bytes::from_static(b"{}"),
    }
}

impl Bench {
    /// An incident has a new state; gives the number of its event.
    fn state(&mut self, id: &str, severity: &str, status: &str, bytes: usize) -> u64 {
        self.sequence += 1;
        self.handle.record(Record {
            event: event(self.sequence, Class::Incident, id, bytes),
            incident: Some(state(id, severity, status)),
            text: None,
            declares: None,
        });
        self.sequence
    }

    /// A number from the file, after the end.
    async fn ended(self, query: &str) -> i64 {
        let path = self.path();
        assert!(self.handle.stop(PATIENCE).await, "it ends");
        let file = rusqlite::Connection::open(path).expect("the file is there");
        file.query_row(query, [], |row| row.get(0))
            .expect("a number")
    }

    /// Waits until so many events wait for the slowest sink.
    async fn depth(&self, expected: usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.handle.health().depth != expected as u64 {
            let health = self.handle.health();
            assert!(
                tokio::time::Instant::now() < deadline,
                "{health:?}, not {expected}"
            );
            tokio::task::yield_now().await;
        }
    }
}

/// What each of two sinks gets of seven events: numbers from 0.
const STORY: [(&str, &str, &str); 7] = [
    ("a", "warning", "open"),
    ("b", "warning", "open"),
    ("a", "warning", "open"),
    ("b", "critical", "open"),
    ("c", "critical", "open"),
    ("c", "critical", "resolved"),
    ("b", "critical", "open"),
];

#[tokio::test]
async fn a_page_takes_along_its_incident_and_leaves_behind_what_woke_nobody() {
    let mut bench = Bench::new(&["dead", "slow"]);
    let first = bench.sequence + 1;
    for (id, severity, status) in STORY {
        bench.state(id, severity, status, 100);
    }
    let numbers = |from_0: &[u64]| from_0.iter().map(|n| first + n).collect::<Vec<u64>>();
    let mut slow = bench.handle.feed("slow");
    assert_eq!(next(&mut slow, 9).await, numbers(&[1, 3, 4]));
    assert_eq!(next(&mut slow, 2).await, numbers(&[1, 3]), "it asks again");
    slow.settle(1, Settled::Delivered).await;
    assert_eq!(next(&mut slow, 1).await, numbers(&[3]));
    slow.settle(1, Settled::Delivered).await;
    // A restart repeats no page, and forgets none.
    let bench = bench.restart(&["dead", "slow"]).await;
    let mut slow = bench.handle.feed("slow");
    // The dead one's.
    bench.depth(7).await;
    assert_eq!(next(&mut slow, 9).await, numbers(&[4]));
    slow.settle(1, Settled::Skipped).await;
    assert_eq!(next(&mut slow, 3).await, numbers(&[0, 2, 5]));
    slow.settle(2, Settled::Delivered).await;
    assert_eq!(next(&mut slow, 9).await, numbers(&[5, 6]));
    slow.settle(2, Settled::Delivered).await;
    // The other one has its own place.
    let mut bench = bench;
    let got = drain(&mut bench, "dead").await;
    let got: Vec<u64> = got.iter().map(|event| event.sequence).collect();
    assert_eq!(got, numbers(&[1, 3, 4, 0, 2, 5, 6]));
    let rows = "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM ahead)";
    assert_eq!(bench.ended(rows).await, 0);
}

#[tokio::test]
async fn a_page_that_is_next_anyway_moves_the_cursor_and_costs_nothing() {
    let mut bench = Bench::new(&["s"]);
    let page = bench.state("a", "critical", "open", 100);
    let after = bench.state("b", "warning", "open", 100);
    let mut feed = bench.handle.feed("s");
    assert_eq!(next(&mut feed, 1).await, [page]);
    feed.settle(1, Settled::Delivered).await;
    assert_eq!(next(&mut feed, 1).await, [after]);
    let cursor = bench.ended("SELECT cursor FROM sink").await;
    assert_eq!(cursor.unsigned_abs(), page);
}

#[tokio::test]
async fn a_refused_page_is_a_dead_letter_and_does_not_come_again() {
    let mut bench = Bench::new(&["s"]);
    let quiet = bench.state("a", "warning", "open", 100);
    let page = bench.state("b", "critical", "open", 100);
    let mut feed = bench.handle.feed("s");
    assert_eq!(next(&mut feed, 9).await, [page]);
    feed.settle(1, Settled::Dead("400".to_owned())).await;
    assert_eq!(next(&mut feed, 9).await, [quiet]);
    bench.depth(1).await;
    assert_eq!(bench.handle.health().dead_letters, 1);
}

#[tokio::test]
async fn where_a_page_collapses_what_is_left_of_its_incident_goes_first() {
    let mut bench = Bench::small(&["away"]);
    let quiet = bench.state("q", "warning", "open", 10_000);
    let opened = bench.state("a", "warning", "open", 10_000);
    bench.state("a", "critical", "open", 10_000);
    let mut last = 0;
    while bench.handle.health().collapsed == 0 {
        last = bench.state("a", "critical", "open", 10_000);
        // The queue to the thread is bounded, too.
        assert_eq!(next(&mut bench.handle.feed("away"), 1).await, [opened]);
    }
    let mut feed = bench.handle.feed("away");
    let first = next(&mut feed, 500).await;
    assert_eq!(first[0], opened);
    assert!(
        first.len() == 2 && first[1] > opened && first[1] <= last,
        "{first:?}"
    );
    feed.settle(2, Settled::Delivered).await;
    assert_eq!(next(&mut feed, 1).await, [quiet]);
}

/// The rule, as one reads it: no cursors.
#[derive(Default)]
struct Model {
    /// Number, incident, whether it is a page.
    events: Vec<(u64, String, bool)>,
    critical: BTreeSet<String>,
    settled: BTreeSet<u64>,
}

impl Model {
    fn record(&mut self, number: u64, id: &str, severity: &str) {
        let is_page = match severity {
            "critical" => self.critical.insert(id.to_owned()),
            _ => {
                self.critical.remove(id);
                false
            }
        };
        self.events.push((number, id.to_owned(), is_page));
    }

    /// What comes next, and whether it does so by number.
    fn next(&self, limit: usize) -> (Vec<u64>, bool) {
        let waiting = self
            .events
            .iter()
            .filter(|(number, _, _)| !self.settled.contains(number));
        let waiting: Vec<_> = waiting.collect();
        let mut pages: Vec<u64> = Vec::new();
        for (page, id, _) in waiting.iter().filter(|(_, _, is_page)| *is_page) {
            let of_it = waiting
                .iter()
                .filter(|(number, of, _)| of == id && number <= page);
            let new = of_it
                .map(|(number, _, _)| *number)
                .filter(|number| !pages.contains(number));
            let new: Vec<u64> = new.collect();
            pages.extend(new);
        }
        let all = waiting.iter().map(|(number, _, _)| *number);
        let mut all: Vec<u64> = all.collect();
        let by_number = pages.first().is_none_or(|page| all[0] == *page);
        if !by_number {
            all = pages;
        }
        all.truncate(limit);
        (all, by_number)
    }
}

#[tokio::test]
async fn whatever_happens_each_sink_gets_what_the_rule_says() {
    for seed in 0..24 {
        let mut random = fastrand::Rng::with_seed(seed);
        let names = ["one", "two"];
        let mut bench = Bench::new(&names);
        let mut models = [Model::default(), Model::default()];
        let mut pages_first = 0;
        for _ in 0..120 {
            match random.u8(..10) {
                0..5 => {
                    let id = random
                        .choice(["a", "b", "c", "d", "e", "f"])
                        .expect("one of six");
                    let severity = if random.u8(..4) == 0 {
                        "critical"
                    } else {
                        "warning"
                    };
                    let number = bench.state(id, severity, "open", 100);
                    models
                        .iter_mut()
                        .for_each(|model| model.record(number, id, severity));
                }
                5..9 => {
                    let at = random.usize(..2);
                    let limit = random.usize(1..6);
                    let (expected, by_number) = models[at].next(limit);
                    pages_first += usize::from(!by_number);
                    if expected.is_empty() {
                        continue;
                    }
                    let mut feed = bench.handle.feed(names[at]);
                    assert_eq!(next(&mut feed, limit).await, expected, "seed {seed}");
                    let count = random.usize(..=expected.len());
                    feed.settle(count, Settled::Delivered).await;
                    models[at].settled.extend(&expected[..count]);
                }
                _ => bench = bench.restart(&names).await,
            }
            let depth = models
                .iter()
                .map(|model| model.events.len() - model.settled.len());
            bench.depth(depth.max().unwrap_or(0)).await;
        }
        assert!(pages_first > 0, "seed {seed}");
    }
}
