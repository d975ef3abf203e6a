//! What came of the plan.

use super::probe::Probe;

/// Every probe with its state.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// In load order.
    pub probes: Vec<(Probe, State)>,
}

/// State of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Runs in the kernel.
    Attached,
    /// Loaded and tried; attached when it is needed.
    Standby,
    /// Was not tried, and why.
    Skipped(String),
    /// The kernel refused it: its error and the verifier's last words.
    Refused(String),
}

impl State {
    /// Whether it does its work, or will when asked.
    pub fn works(&self) -> bool {
        matches!(self, State::Attached | State::Standby)
    }
}

impl Status {
    /// Essential probes that do not run, with the reason.
    pub fn missing_essentials(&self) -> Vec<(Probe, &str)> {
        self.missing()
            .filter(|(probe, _)| probe.is_essential())
            .collect()
    }

    /// All probes that run.
    pub fn attached(&self) -> impl Iterator<Item = Probe> {
        let runs = |(probe, state): &(Probe, State)| (*state == State::Attached).then_some(*probe);
        self.probes.iter().filter_map(runs)
    }

    /// All probes that do not run, with the reason.
    pub fn missing(&self) -> impl Iterator<Item = (Probe, &str)> {
        self.probes.iter().filter_map(|(probe, state)| match state {
            State::Attached | State::Standby => None,
            State::Skipped(reason) | State::Refused(reason) => Some((*probe, reason.as_str())),
        })
    }
}
