//! `impact.cpu_steal`: the hypervisor gives this host's CPU time to others.
//!
//! A second counts when at least [`BUSY_SHARE`] of all CPU time was stolen (`/proc/stat`, column `steal`); the
//! sequential test needs nineteen of them where it is no habit. That is a busy neighbour, or an instance whose CPU
//! credits are used up: nothing on this host is to blame, and nothing here can be stopped, so it never counts
//! towards a page. It explains slowness that no process does, and a saturation that it overlaps names it.
//!
//! Evidence: `steal_share`. Where the kernel does not tell, there is no finding.
//!
//! False positives: hosts that are sold a part of a CPU show steal all day; that is a habit after three days.

use crate::{
    detect::{
        sequential::{Bank, Change, Identity, bank::Trial, model::STEAL, test::Look},
        window::{Pass, share},
    },
    incident::StealEvidence,
};

/// Part of all CPU time from which a second counts: below, nobody would notice.
const BUSY_SHARE: f64 = 0.1;

/// What the rule says after a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steal {
    /// It began or goes on.
    Stolen(StealEvidence),
    /// It is over.
    Over,
}

/// The rule's memory.
#[derive(Debug, Default)]
pub struct CpuSteal {
    trial: Trial,
}

impl CpuSteal {
    /// Judges a pass in which `stolen_ns` were given to others; `mean` is their share over the window.
    pub fn pass(
        &mut self,
        stolen_ns: Option<u64>,
        mean: Option<f64>,
        pass: Pass,
        bank: &mut Bank,
        look: Look,
    ) -> Option<Steal> {
        let busy = share(stolen_ns?, pass.capacity_ns()) >= BUSY_SHARE;
        let host = Identity::named(STEAL.name, b"host");
        let change = self.trial.look(bank, &STEAL, busy.then_some(host), look);
        if let Change::Closed { busy_s } = change {
            self.trial.settle(bank, busy_s, true);
            return Some(Steal::Over);
        }
        self.trial.test.is_open().then(|| {
            Steal::Stolen(StealEvidence {
                share: mean.unwrap_or_default(),
                since_ns: self.trial.test.since_ns(),
            })
        })
    }
}
