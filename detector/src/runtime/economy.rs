//! The loop keeps itself within its budget.

use rustix::time::{ClockId, clock_gettime};

use super::Runtime;
use crate::{
    budget::{Order, Stage, Use},
    kernel,
    reread::Reread,
    source::scan::Clock,
    vitals,
};

fn measure(statm: &mut Reread) -> Use {
    let own = vitals::with(statm.read().unwrap_or_default());
    let now = clock_gettime(ClockId::Monotonic);
    Use {
        at_ns: u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or(0),
        cpu_ns: u64::try_from(own.cpu.as_nanos()).unwrap_or(u64::MAX),
        memory_bytes: own.anonymous_bytes,
    }
}

impl Runtime {
    /// After a pass.
    pub(super) fn economize(&mut self, now: Clock) {
        let measured = measure(&mut self.statm);
        let orders = self.budget.pass(measured, &self.limits);
        for order in orders.into_iter().flatten() {
            self.follow(order, now);
        }
    }

    fn follow(&mut self, order: Order, now: Clock) {
        match order {
            Order::GiveUp(stage, share) => {
                self.enter(stage);
                let what = match stage {
                    Stage::Full => return,
                    Stage::NoHashes => "programs are not hashed",
                    Stage::NoNetwork => "programs are not hashed and connections not looked at",
                };
                let reason = format!(
                    "over its budget (budget.cpu_share): it used {share:.2} of a CPU where {} is allowed; {what} until there \
                     is room",
                    self.limits.cpu_share
                );
                self.report.degraded(&reason, None, now);
            }
            Order::TakeUp(stage) => {
                self.enter(stage);
                let reason = match stage {
                    Stage::Full => "within its budget again: programs are hashed",
                    _ => {
                        "within its budget again: connections are looked at; programs are not hashed yet"
                    }
                };
                self.report.degraded(reason, None, now);
            }
            Order::Shrink => {
                self.enricher.forget();
                kernel::give_memory_back();
                let reason = format!(
                    "over its budget (budget.memory_bytes): {} bytes are in use where {} are allowed; what can be had \
                     again was freed",
                    vitals::own().anonymous_bytes,
                    self.limits.memory_bytes
                );
                self.report.degraded(&reason, None, now);
            }
            Order::Roomy => tracing::info!("memory is within its budget again"),
        }
    }

    fn enter(&mut self, stage: Stage) {
        self.enricher.rest(stage >= Stage::NoHashes);
        if stage >= Stage::NoNetwork {
            self.loaded.unwatch_all();
        }
    }
}
