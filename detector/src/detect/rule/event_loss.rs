//! `agent.event_loss`: records were lost, so something may be missing from the picture.
//!
//! Evidence: how many of each class since the last such finding. Said at the first loss and then once
//! a minute while it goes on; each incident whose time overlaps it says so itself. Losses that only
//! shorten a record (arguments that could not be read) are declared but do not lower confidence.
//!
//! False positives: a fork storm of a build or a load test loses records without any ill will.

use crate::{detect::size::Size, input::Loss};

/// Between two findings while losses go on, ns.
const REPEAT_NS: u64 = 60_000_000_000;
/// Classes kept apart; more are added up under the last.
const MAX_CLASSES: usize = 32;

/// Losses not told yet.
#[derive(Debug, Default)]
pub struct EventLoss {
    pending: Vec<Loss>,
    told_ns: Option<u64>,
}

impl EventLoss {
    /// How full it is.
    pub fn size(&self) -> Size {
        Size::of("losses to tell", self.pending.len(), MAX_CLASSES)
    }

    /// Takes the losses of one pass; returns what is to be told now.
    pub fn pass(&mut self, at_ns: u64, losses: &[Loss]) -> Option<Vec<Loss>> {
        for loss in losses {
            add(&mut self.pending, *loss);
        }
        let quiet = self
            .told_ns
            .is_some_and(|told_ns| at_ns < told_ns.saturating_add(REPEAT_NS));
        if self.pending.is_empty() || quiet {
            return None;
        }
        self.told_ns = Some(at_ns);
        Some(std::mem::take(&mut self.pending))
    }
}

/// Adds one loss to a list with one entry per class.
pub fn add(losses: &mut Vec<Loss>, loss: Loss) {
    let full = losses.len() >= MAX_CLASSES;
    let same = losses.iter_mut().find(|known| known.class == loss.class);
    match same {
        Some(known) => known.count = known.count.saturating_add(loss.count),
        None if full => {
            let last = losses.last_mut().expect("full is not empty");
            last.count = last.count.saturating_add(loss.count);
        }
        None => losses.push(loss),
    }
}

/// Whether a class means that something was not seen at all.
pub fn hides_something(class: &str) -> bool {
    !matches!(
        class,
        "args_unreadable"
            | "path_unreadable"
            | "task_filter_full"
            | "state_dropped"
            | "inventory_forgotten"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(class: &'static str, count: u64) -> Loss {
        Loss { class, count }
    }

    #[test]
    fn a_storm_is_told_once_a_minute_with_every_count() {
        let mut rule = EventLoss::default();
        let second = 1_000_000_000;
        assert_eq!(
            rule.pass(second, &[loss("exec_dropped", 3)]),
            Some(vec![loss("exec_dropped", 3)])
        );
        assert_eq!(rule.pass(2 * second, &[loss("exec_dropped", 4)]), None);
        assert_eq!(rule.pass(3 * second, &[loss("fork_dropped", 1)]), None);
        assert_eq!(
            rule.pass(61 * second, &[loss("exec_dropped", 1)]),
            Some(vec![loss("exec_dropped", 5), loss("fork_dropped", 1)])
        );
        assert_eq!(rule.pass(200 * second, &[]), None);
    }

    #[test]
    fn what_goes_on_is_told_again_after_a_minute_and_not_before() {
        let second = 1_000_000_000;
        let again = |after_ns: u64| {
            let mut rule = EventLoss::default();
            let _first = rule.pass(second, &[loss("exec_dropped", 1)]);
            rule.pass(second + after_ns, &[loss("exec_dropped", 2)])
        };
        assert_eq!(again(60 * second - 1), None);
        assert_eq!(again(60 * second), Some(vec![loss("exec_dropped", 2)]));
    }

    #[test]
    fn beyond_thirty_two_classes_the_rest_is_added_to_the_last() {
        let names: Vec<&'static str> = "abcdefghijklmnopqrstuvwxyzABCDEFGH"
            .split("")
            .filter(|name| !name.is_empty())
            .collect();
        let mut losses = Vec::new();
        for name in &names {
            add(&mut losses, loss(name, 1));
        }
        assert_eq!((names.len(), losses.len()), (34, 32));
        assert_eq!(losses.last(), Some(&loss("F", 3)));
    }
}
