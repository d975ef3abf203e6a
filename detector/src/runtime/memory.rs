//! The loop and the memory of the host: what earlier runs left, what is remembered, what the state tells.

use super::{Runtime, record};
use crate::{
    enrich, event,
    incident::Resolve,
    input::{ExecutableFacts, Input, Owner},
    source::scan::Clock,
    state::{self, Earlier, Recalled, Told},
};

impl Runtime {
    /// What was learned in earlier runs. Before the first pass.
    pub(super) fn learned(&mut self, before: &Recalled) {
        for baseline in &before.baselines {
            self.tell(Input::Baseline(baseline));
        }
        // In pieces that a recording's queue has room for.
        for known in before.destinations.chunks(256) {
            self.tell(Input::Destinations(known));
        }
    }

    /// Takes up what an earlier run left. After the first pass: then the engine knows the time and the processes.
    pub(super) fn recall(&mut self, recalled: Recalled, now: Clock) {
        let boot_id = self.report.boot_id().map(str::to_owned);
        for stored in recalled.open {
            let id = stored.id.clone();
            let Some(earlier) = Earlier::new(stored, boot_id.as_deref(), enrich::is_running) else {
                tracing::error!(
                    id,
                    "a stored incident is not of this version, and stays as it is"
                );
                continue;
            };
            if let Some(resumed) = &earlier.resumed {
                tracing::info!(id, "incident goes on");
                // Not acted on yet: the report has to know of it first.
                let (engine, outputs) = (&mut self.engine, &mut self.outputs);
                record::tell(Input::Resumed(resumed), &mut self.recorder, engine, outputs);
            }
            self.report.earlier(earlier, now);
        }
        for told in recalled.first {
            self.told(told);
        }
        self.act();
    }

    /// Does what the state tells.
    pub(super) fn told(&mut self, told: Told) {
        let now = Clock::now();
        match told {
            Told::Degraded(reason) => self.report.degraded(&reason, None, now),
            Told::Recovered(what) => tracing::info!(what, "state recovered"),
            Told::Gap(gap) => {
                let state::Gap {
                    from,
                    to,
                    events,
                    total,
                } = gap;
                let reason = format!(
                    "{events} events between numbers {from} and {to} were given up before every receiver had them: \
                     the outbox was over its size or age, or they were damaged"
                );
                self.report.degraded(&reason, Some(total), now);
            }
            Told::Accepted(acceptances) => {
                self.tell(Input::Accepted(now.boot_ns, &acceptances));
            }
            Told::Resolve(request) => match request.incident.parse() {
                Ok(id) => {
                    let reason = event::text::line(&request.reason).into_owned();
                    let resolve = Resolve { id, reason };
                    self.tell(Input::Resolve(now.boot_ns, &resolve));
                }
                Err(_) => tracing::warn!(id = request.incident, "no such incident to resolve"),
            },
        }
        self.act();
    }

    fn tell(&mut self, input: Input<'_>) {
        record::tell(
            input,
            &mut self.recorder,
            &mut self.engine,
            &mut self.outputs,
        );
    }

    /// Remembers a program that no package owns.
    pub(super) fn saw(&mut self, facts: &ExecutableFacts) {
        if facts.owner == Owner::Unowned
            && let Some(program) = state::program(facts)
        {
            self.report.state().saw_program(program);
        }
    }
}
