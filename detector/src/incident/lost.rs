//! Which losses belong to which incident: those that were declared while it was open, and those of the minute before.

use std::collections::VecDeque;

use super::case::Case;
use crate::{
    detect::{size::Size, world::World},
    input::{Loss, Throttled},
};

/// Losses remembered for incidents that open after them.
const MAX_LOSSES: usize = 1_024;
/// How long, ns.
const LOSS_NS: i64 = 60_000_000_000;

/// Losses of late, oldest first.
#[derive(Debug, Default)]
pub(super) struct Losses(VecDeque<Lost>);

/// A loss that may belong to an incident that opens later.
#[derive(Clone, Copy, Debug)]
struct Lost {
    at_unix_ns: i64,
    loss: Loss,
    /// It was throttled: only records of this cgroup are missing. `None`: anybody's.
    cgroup_id: Option<u64>,
}

impl Losses {
    /// How full it is.
    pub(super) fn size(&self) -> Size {
        Size::of("losses of late", self.0.len(), MAX_LOSSES)
    }

    /// A pass declared losses: those that concern an open incident are told to it, and all are remembered.
    pub(super) fn declare(
        &mut self,
        losses: &[Loss],
        throttled: &[Throttled],
        at_unix_ns: i64,
        cases: &mut [Case],
        world: &World,
    ) {
        for lost in attribute(losses, throttled, at_unix_ns) {
            if self.0.len() >= MAX_LOSSES {
                self.0.pop_front();
            }
            self.0.push_back(lost);
            for case in &mut *cases {
                lost.tell(case, world);
            }
        }
    }

    /// Tells an incident that opens now what was lost shortly before.
    pub(super) fn tell(&mut self, case: &mut Case, now_unix_ns: i64, world: &World) {
        self.0
            .retain(|lost| lost.at_unix_ns.saturating_add(LOSS_NS) >= now_unix_ns);
        for lost in &self.0 {
            lost.tell(case, world);
        }
    }
}

impl Lost {
    /// Tells an incident of it, if records of its cgroups can be missing.
    fn tell(&self, case: &mut Case, world: &World) {
        let concerns = self
            .cgroup_id
            .is_none_or(|cgroup_id| case.is_in(cgroup_id, world));
        if concerns {
            case.lost(&[self.loss], self.at_unix_ns);
        }
    }
}

/// Whose each loss of a pass was: what no throttled cgroup accounts for may be anybody's.
fn attribute(
    losses: &[Loss],
    throttled: &[Throttled],
    at_unix_ns: i64,
) -> impl Iterator<Item = Lost> {
    let of_cgroups = throttled.iter().flat_map(move |throttled| {
        let lost = move |loss: &Loss| Lost {
            at_unix_ns,
            loss: *loss,
            cgroup_id: Some(throttled.cgroup_id),
        };
        throttled.losses.iter().map(lost)
    });
    let of_anybody = losses.iter().filter_map(move |loss| {
        let same = |other: &&Loss| other.class == loss.class;
        let named = throttled.iter().flat_map(|throttled| &throttled.losses);
        let named: u64 = named.filter(same).map(|named| named.count).sum();
        let count = loss.count.saturating_sub(named);
        (count > 0).then_some(Lost {
            at_unix_ns,
            loss: Loss { count, ..*loss },
            cgroup_id: None,
        })
    });
    of_anybody.chain(of_cgroups)
}
