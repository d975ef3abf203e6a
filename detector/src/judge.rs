//! Inputs → events, without a clock, a kernel or a disk: what replay, golden tests and benches share.
//!
//! What the engine asks for is not answered: the answers are among the inputs, or there are none.
#![deny(clippy::disallowed_methods)]

use crate::{
    detect::{Config, Engine, Seed},
    event::{self, CloudEvent, HostInfo, Sequence},
    input::Input,
    output::Output,
    recording::Header,
};

/// An engine whose outputs become the events that would have been sent, numbered from 1.
#[derive(Debug)]
pub struct Judge {
    engine: Engine,
    host: HostInfo,
    sequence: Sequence,
    outputs: Vec<Output>,
    errands: Vec<Output>,
}

impl Judge {
    /// Knows nothing yet.
    pub fn new(config: Config, seed: Seed, host: HostInfo) -> Self {
        Judge {
            engine: Engine::new(config, seed),
            host,
            sequence: Sequence::after(0),
            outputs: Vec::new(),
            errands: Vec::new(),
        }
    }

    /// For the inputs after `header`, with its seed, under `config`.
    pub fn of_recording(header: &Header, config: Config) -> Self {
        Judge::new(config, Seed(header.seed), header.host.clone())
    }

    /// Takes one input and tells what would have been sent.
    pub fn apply(&mut self, input: Input<'_>, mut tell: impl FnMut(CloudEvent)) {
        self.errands.clear();
        self.engine.apply(input, &mut self.outputs);
        let (host, sequence) = (&self.host, &mut self.sequence);
        for output in self.outputs.drain(..) {
            match output {
                Output::Incident(change, incident) => {
                    tell(event::from_incident(&incident, change, host, sequence));
                }
                Output::Finding(finding) => {
                    let data = event::finding_data(&finding, host);
                    tell(event::finding(
                        finding.last_seen_unix_ns,
                        data,
                        host,
                        sequence,
                    ));
                }
                errand => self.errands.push(errand),
            }
        }
    }

    /// What the last input made the engine ask of the world, for whoever plays the world.
    pub fn errands(&mut self) -> impl Iterator<Item = Output> {
        self.errands.drain(..)
    }

    /// The engine, for its counters.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}
