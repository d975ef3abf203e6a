//! The loop takes what the rings hold: a batch at a time, so that a flood stops nothing else.

use std::time::{Duration, Instant};

use super::{Runtime, record};
use crate::{
    budget::Stage,
    source::{
        decode::Record,
        doze::{Doze, Step},
        ring::{self, Drained},
        timer::Timer,
    },
};

/// How long a pass may wait for what the rings hold. It comes once a second, and every rule of load counts passes.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Rings that held more than a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) processes: bool,
    network: bool,
}

impl Left {
    pub(super) fn is_any(self) -> bool {
        self.processes || self.network
    }
}

impl Runtime {
    /// Takes what the rings hold, for as long as a pass may wait for it. Returns how many there were.
    pub(super) fn catch_up(&mut self) -> usize {
        let begun = Instant::now();
        let mut taken = self.drain();
        while self.left.is_any() && begun.elapsed() < CATCH_UP {
            taken += self.drain();
        }
        taken
    }

    /// Takes a batch of what the rings hold: processes before connections, so that who connects is known.
    /// Returns how many there were.
    pub(super) fn drain(&mut self) -> usize {
        let (engine, outputs) = (&mut self.engine, &mut self.outputs);
        let recorder = &mut self.recorder;
        let (records, integrity) = (&mut self.tally.records, &mut self.integrity);
        let (begun, mut last_ns) = (Instant::now(), None);
        let mut apply = |record: Record| {
            records.count(&record);
            integrity.record(&record);
            last_ns = Some(record.at_ns());
            record::tell(record.input(), recorder, engine, outputs);
        };
        let processes = ring::drain(&mut self.loaded.process_ring, &mut apply);
        let network = &mut self.loaded.network_ring;
        let (network, shed) = match self.budget.stage() {
            Stage::NoNetwork => (Drained::default(), ring::discard(network)),
            _ => (ring::drain(network, &mut apply), 0),
        };
        self.shed += shed as u64;
        self.malformed += (processes.malformed + network.malformed) as u64;
        self.last_kernel_event_ns = last_ns.or(self.last_kernel_event_ns);
        #[cfg(feature = "bpf-log")]
        self.loaded.flush_log();
        self.tally.drain.add(begun.elapsed());
        self.act();
        let network = network.taken() + shed;
        self.left = Left {
            processes: processes.taken() >= ring::BATCH,
            network: network >= ring::BATCH,
        };
        processes.taken() + network
    }

    /// Drains because a ring asked for it, or held more than a batch.
    pub(super) fn drain_between(&mut self, timer: &Timer, doze: &mut Doze) -> std::io::Result<()> {
        let taken = self.drain();
        self.rest(timer, doze.drained(taken), doze)
    }

    /// Lets the timer of the rings sleep while nothing comes.
    pub(super) fn rest(
        &mut self,
        timer: &Timer,
        step: Step,
        doze: &mut Doze,
    ) -> std::io::Result<()> {
        match step {
            Step::None => Ok(()),
            Step::StartTimer => timer.start(),
            Step::StopTimer => timer.stop(),
            Step::AskToBeWoken => {
                if let Err(error) = self.loaded.doze() {
                    tracing::debug!(%error, "the rings are drained by the timer alone");
                    doze.forbid();
                }
                Ok(())
            }
        }
    }
}
