//! `agent.event_loss`: records were lost, so something may be missing from the picture.
//!
//! Evidence: how many of each class since the last such finding, and which cgroups flooded where the kernel kept their
//! records out of a filling ring. Said at the first loss and then once
//! a minute while it goes on; each incident whose time overlaps it says so itself. Losses that only
//! shorten a record (arguments that could not be read) are declared but do not lower confidence.
//!
//! False positives: a fork storm of a build or a load test loses records without any ill will.

use crate::{
    detect::size::Size,
    incident::LossEvidence,
    input::{Loss, Throttled},
};

/// Between two findings while losses go on, ns.
const REPEAT_NS: u64 = 60_000_000_000;
/// Classes kept apart; more are added up under the last.
const MAX_CLASSES: usize = 32;
/// Cgroups kept apart; those that come later are not named, their losses count all the same.
const MAX_CGROUPS: usize = 32;

/// Losses not told yet.
#[derive(Debug, Default)]
pub struct EventLoss {
    pending: LossEvidence,
    told_ns: Option<u64>,
}

impl EventLoss {
    /// How full it is.
    pub fn sizes(&self) -> [Size; 2] {
        let LossEvidence { losses, throttled } = &self.pending;
        [
            Size::of("losses to tell", losses.len(), MAX_CLASSES),
            Size::of("throttled cgroups to tell", throttled.len(), MAX_CGROUPS),
        ]
    }

    /// Takes the losses of one pass; returns what is to be told now.
    pub fn pass(
        &mut self,
        at_ns: u64,
        losses: &[Loss],
        throttled: &[Throttled],
    ) -> Option<LossEvidence> {
        for loss in losses {
            add(&mut self.pending.losses, *loss);
        }
        for cgroup in throttled {
            add_cgroup(&mut self.pending.throttled, cgroup);
        }
        let quiet = self
            .told_ns
            .is_some_and(|told_ns| at_ns < told_ns.saturating_add(REPEAT_NS));
        if self.pending.losses.is_empty() || quiet {
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

/// Adds what one cgroup lost to a list with one entry per cgroup.
fn add_cgroup(throttled: &mut Vec<Throttled>, cgroup: &Throttled) {
    let full = throttled.len() >= MAX_CGROUPS;
    let same = throttled
        .iter_mut()
        .find(|known| known.cgroup_id == cgroup.cgroup_id);
    match same {
        Some(known) => {
            for loss in &cgroup.losses {
                add(&mut known.losses, *loss);
            }
            known.unbilled_ns = known.unbilled_ns.saturating_add(cgroup.unbilled_ns);
        }
        None if full => {}
        None => throttled.push(cgroup.clone()),
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

    /// What is told of losses alone.
    fn told(rule: &mut EventLoss, at_ns: u64, losses: &[Loss]) -> Option<Vec<Loss>> {
        let told = rule.pass(at_ns, losses, &[])?;
        assert_eq!(told.throttled, []);
        Some(told.losses)
    }

    #[test]
    fn a_storm_is_told_once_a_minute_with_every_count() {
        let mut rule = EventLoss::default();
        let second = 1_000_000_000;
        assert_eq!(
            told(&mut rule, second, &[loss("exec_dropped", 3)]),
            Some(vec![loss("exec_dropped", 3)])
        );
        assert_eq!(
            told(&mut rule, 2 * second, &[loss("exec_dropped", 4)]),
            None
        );
        assert_eq!(
            told(&mut rule, 3 * second, &[loss("fork_dropped", 1)]),
            None
        );
        assert_eq!(
            told(&mut rule, 61 * second, &[loss("exec_dropped", 1)]),
            Some(vec![loss("exec_dropped", 5), loss("fork_dropped", 1)])
        );
        assert_eq!(told(&mut rule, 200 * second, &[]), None);
    }

    #[test]
    fn what_goes_on_is_told_again_after_a_minute_and_not_before() {
        let second = 1_000_000_000;
        let again = |after_ns: u64| {
            let mut rule = EventLoss::default();
            let _first = told(&mut rule, second, &[loss("exec_dropped", 1)]);
            told(&mut rule, second + after_ns, &[loss("exec_dropped", 2)])
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

    #[test]
    fn who_floods_is_named_once_with_all_it_lost_and_only_with_its_own_finding() {
        let second = 1_000_000_000;
        let flood = |cgroup_id: u64, execs: u64| Throttled {
            cgroup_id,
            cgroup: Some(format!("/{cgroup_id}")),
            losses: vec![loss("exec_throttled", execs)],
            unbilled_ns: 10,
        };
        let mut rule = EventLoss::default();
        let losses = [loss("exec_throttled", 3)];
        let first = rule.pass(second, &losses, &[flood(7, 3)]);
        let _later = rule.pass(2 * second, &losses, &[flood(7, 3)]);
        let again = rule.pass(61 * second, &losses, &[flood(7, 2), flood(8, 1)]);
        let told = |evidence: Option<LossEvidence>| evidence.expect("it is due").throttled;
        assert_eq!(told(first), [flood(7, 3)]);
        let seven = Throttled {
            unbilled_ns: 20,
            ..flood(7, 5)
        };
        assert_eq!(told(again), [seven, flood(8, 1)]);
    }

    #[test]
    fn beyond_thirty_two_cgroups_no_more_are_named() {
        let mut rule = EventLoss::default();
        let cgroups: Vec<Throttled> = (0..40)
            .map(|cgroup_id| Throttled {
                cgroup_id,
                cgroup: None,
                losses: vec![loss("fork_throttled", 1)],
                unbilled_ns: 0,
            })
            .collect();
        let told = rule.pass(1, &[loss("fork_throttled", 40)], &cgroups);
        assert_eq!(told.map(|told| told.throttled.len()), Some(32));
    }
}
