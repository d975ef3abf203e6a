//! Losses by name: what grew since the last look, and the totals since the start.

use std::collections::BTreeMap;

use crate::input::Loss;

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

    /// Everything added, by class.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let own = |(class, count): (&&str, &u64)| ((*class).to_owned(), *count);
        self.totals.iter().map(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
