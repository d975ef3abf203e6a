//! Losses by name: what grew since the last look, and the totals since the start.

use std::collections::BTreeMap;

use detector_common::counter::Counter;

use crate::{
    deliver::{self, sink::stdout},
    enrich,
    input::Loss,
    recording, state,
};

/// Stable name of records of connections that were not looked at to stay within the budget.
pub const SHED: &str = "connection_shed";

/// Losses that the daemon itself counts. Those that the kernel side counts are [`Counter::ALL`].
const OWN: [&str; 17] = [
    "probe_missed",
    "counter_unreadable",
    recording::LOSS,
    "record_malformed",
    enrich::LOSS,
    stdout::LOSS,
    deliver::LOSS_DEAD_LETTERED,
    state::LOSS,
    state::LOSS_INVENTORY,
    "process_forgotten",
    "thread_end_unclaimed",
    "verdict_dropped",
    "flow_refused",
    "watch_refused",
    SHED,
    "listener_refused",
    "incident_refused",
];

/// Every name there is.
pub fn names() -> impl Iterator<Item = &'static str> {
    let kernel = Counter::ALL.iter().map(|counter| counter.name());
    kernel.chain(OWN)
}

/// Keeps totals.
#[derive(Debug, Default)]
pub struct Losses {
    seen: BTreeMap<&'static str, u64>,
    totals: BTreeMap<&'static str, u64>,
}

impl Losses {
    /// What counters that only grow have gained since the last call.
    pub fn since_last(&mut self, counters: &[(&'static str, u64)]) -> Vec<Loss> {
        let gained = |&(class, now): &(&'static str, u64)| {
            let last = self.seen.insert(class, now).unwrap_or(0);
            let count = now.saturating_sub(last);
            (count > 0).then_some(Loss { class, count })
        };
        counters.iter().filter_map(gained).collect()
    }

    /// Adds to the totals.
    pub fn add(&mut self, loss: &Loss) {
        *self.totals.entry(loss.class).or_default() += loss.count;
    }

    /// What was lost under one name.
    pub fn total(&self, class: &str) -> u64 {
        self.totals.get(class).copied().unwrap_or(0)
    }

    /// Everything added, by class.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let own = |(class, count): (&&str, &u64)| ((*class).to_owned(), *count);
        self.totals.iter().map(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first column of the table "Losses by name".
    #[test]
    fn names_are_those_that_the_architecture_lists() {
        let text = include_str!("../../ARCHITECTURE.md");
        let (_, table) = text.split_once("\n| name | lost | where |\n").unwrap();
        let rows = table.lines().take_while(|line| line.starts_with('|'));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let listed: std::collections::BTreeSet<&str> = quoted.collect();
        assert_eq!(names().collect::<std::collections::BTreeSet<_>>(), listed);
    }

    #[test]
    fn only_what_grew_is_a_loss() {
        let mut losses = Losses::default();
        assert_eq!(
            losses.since_last(&[("a", 2), ("b", 0)]),
            [Loss {
                class: "a",
                count: 2
            }]
        );
        assert_eq!(
            losses.since_last(&[("a", 2), ("b", 3)]),
            [Loss {
                class: "b",
                count: 3
            }]
        );
        losses.add(&Loss {
            class: "a",
            count: 2,
        });
        losses.add(&Loss {
            class: "a",
            count: 5,
        });
        assert_eq!(losses.totals(), BTreeMap::from([("a".to_owned(), 7)]));
    }
}
