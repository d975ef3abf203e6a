//! What the host as a whole told over the window: time stolen by the hypervisor, CPU pressure.

use std::collections::VecDeque;

use super::{
    size::Size,
    window::{Pass, share},
};
use crate::input::Host;

#[derive(Clone, Copy, Debug)]
struct Delta {
    steal_ns: Option<u64>,
    pressure_ns: Option<u64>,
    pass: Pass,
}

/// The last passes, oldest first.
#[derive(Debug)]
pub struct HostWindow {
    last: Option<Host>,
    deltas: VecDeque<Delta>,
    length: usize,
}

impl HostWindow {
    /// No passes yet.
    pub fn new(length: usize) -> HostWindow {
        HostWindow {
            last: None,
            deltas: VecDeque::new(),
            length: length.max(1),
        }
    }

    /// How full it is.
    pub fn size(&self) -> Size {
        Size::of("passes of the host", self.deltas.len(), self.length)
    }

    /// The first pass.
    pub fn baseline(&mut self, host: Host) {
        self.last = Some(host);
    }

    /// A further pass.
    pub fn pass(&mut self, host: Host, pass: Pass) {
        let last = self.last.replace(host).unwrap_or_default();
        let delta = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        self.deltas.push_back(Delta {
            steal_ns: delta(host.steal_ns, last.steal_ns),
            pressure_ns: delta(host.pressure_ns, last.pressure_ns),
            pass,
        });
        if self.deltas.len() > self.length {
            self.deltas.pop_front();
        }
    }

    /// CPU time that the hypervisor gave to others in the last pass, ns.
    pub fn stolen_ns(&self) -> Option<u64> {
        self.deltas.back()?.steal_ns
    }

    /// Share of all CPUs that the hypervisor gave to others (0–1).
    pub fn steal_share(&self) -> Option<f64> {
        self.mean(|delta| Some((delta.steal_ns?, delta.pass.capacity_ns())))
    }

    /// Share of time in which some task waited for a CPU (0–1).
    pub fn pressure_share(&self) -> Option<f64> {
        self.mean(|delta| Some((delta.pressure_ns?, delta.pass.elapsed_ns)))
    }

    fn mean(&self, of: impl Fn(&Delta) -> Option<(u64, u64)>) -> Option<f64> {
        let known: Vec<_> = self.deltas.iter().filter_map(of).collect();
        let part = known.iter().map(|(part, _)| part).sum();
        let whole = known.iter().map(|(_, whole)| whole).sum();
        (whole > 0).then(|| share(part, whole).min(1.0))
    }
}
