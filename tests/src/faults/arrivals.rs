//! What a receiver got: once by (source, id), and in which order.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

/// Everything that arrived.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// (source, id) of each event.
    seen: HashSet<(String, String)>,
    numbers: BTreeSet<u64>,
    /// Number of the last event of each incident.
    last: HashMap<String, u64>,
    /// With repetitions.
    pub total: u64,
    /// Events whose number had come under another id.
    pub renumbered: u64,
    /// Events that came, for the first time, after a later one of their incident.
    pub disordered: u64,
}

impl Arrivals {
    /// One event came.
    ///
    /// # Panics
    /// It is no CloudEvent of ours.
    pub fn take(&mut self, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let number: u64 = text("sequence").parse().expect("our events are numbered");
        self.total += 1;
        if !self.seen.insert((text("source"), text("id"))) {
            return;
        }
        self.renumbered += u64::from(!self.numbers.insert(number));
        let subject = text("subject");
        if subject.is_empty() {
            return;
        }
        let last = self.last.entry(subject).or_default();
        self.disordered += u64::from(number <= *last);
        *last = number.max(*last);
    }

    /// Events after those seen before were dropped.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.seen.len() as u64
    }

    /// What came more than once.
    #[must_use]
    pub fn repetitions(&self) -> u64 {
        self.total - self.distinct()
    }

    /// Whether the event with this number came.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }

    /// Number of the last event of an incident.
    #[must_use]
    pub fn last_of(&self, incident: &str) -> Option<u64> {
        self.last.get(incident).copied()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_repetition_is_dropped_and_a_step_back_is_counted() {
        let mut arrivals = Arrivals::default();
        let event = |subject: &str, number: u64| {
            json!({"source": "h", "id": format!("{subject}/{number}"), "subject": subject,
                   "sequence": number.to_string()})
        };
        for (subject, number) in [("a", 1), ("b", 2), ("a", 3), ("a", 1), ("a", 4), ("b", 3)] {
            arrivals.take(&event(subject, number));
        }
        arrivals.take(&event("b", 1));
        let told = (arrivals.total, arrivals.distinct(), arrivals.repetitions());
        assert_eq!(told, (7, 6, 1));
        assert_eq!((arrivals.renumbered, arrivals.disordered), (2, 1));
        assert_eq!(arrivals.last_of("a"), Some(4));
        assert!(arrivals.has(4) && !arrivals.has(5));
    }
}
