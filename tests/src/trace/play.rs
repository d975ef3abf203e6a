//! The trace as inputs: what happens when, who gets the CPUs, the answers to the engine's questions, and the packets it
//! asks to see.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use detector::{
    event::CloudEvent,
    input::{
        Accepts, Host, Listener, Observed, OwnedInput, Payload, ProcessKey, Scan, ScriptFacts,
        Sockets,
    },
    judge::Judge,
    output::{Enrich, Output},
};
use detector_common::event::connection::{ListenKey, change};

use super::{
    BOOT_UNIX_S, SECOND, START_NS, Trace,
    cpu::{Wish, share},
    pool,
    record::{self, Totals},
};

/// The enrich thread answers after this long, ns: a look at `/proc` and at a package list.
const ANSWER_NS: u64 = 5_000_000;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    Fork(usize),
    Exec(usize, usize),
    Exit(usize),
    Contact(usize, usize, u32),
    Listen(usize),
    Packet(Payload),
    Pass,
    Told(OwnedInput),
}

/// Inputs of a trace, in order of time. Questions are answered by [`Play::answer`].
#[derive(Debug)]
pub struct Play {
    trace: Trace,
    /// By time, then by order of being added.
    due: BTreeMap<(u64, u64), Event>,
    added: u64,
    now_ns: u64,
    ready: VecDeque<OwnedInput>,
    totals: Vec<Vec<Totals>>,
    told: Vec<u64>,
    noise: Vec<(fastrand::Rng, Vec<f64>)>,
    accepts: BTreeMap<u16, f64>,
    watched: BTreeSet<ProcessKey>,
    first_pass_done: bool,
    end_ns: u64,
}

impl Play {
    pub(super) fn new(trace: Trace, seconds: u32) -> Play {
        let processes = &trace.processes;
        let mut play = Play {
            due: BTreeMap::new(),
            added: 0,
            now_ns: START_NS,
            ready: VecDeque::new(),
            totals: processes
                .iter()
                .map(|process| vec![Totals::default(); process.threads as usize])
                .collect(),
            told: vec![0; processes.len()],
            noise: processes
                .iter()
                .enumerate()
                .map(|(at, process)| {
                    let seed = trace.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at as u64;
                    (
                        fastrand::Rng::with_seed(seed),
                        vec![0.0; process.loads.len()],
                    )
                })
                .collect(),
            accepts: BTreeMap::new(),
            watched: BTreeSet::new(),
            first_pass_done: false,
            end_ns: START_NS + u64::from(seconds) * SECOND,
            trace,
        };
        play.plan();
        play
    }

    fn plan(&mut self) {
        let mut events = Vec::new();
        let mut connections = 0;
        for (who, process) in self.trace.processes.iter().enumerate() {
            let born_ns = process.key.start_ns;
            if born_ns >= START_NS {
                events.push((born_ns, Event::Fork(who)));
            }
            for (at, (at_ns, _)) in process.images.iter().enumerate() {
                // A child's first image is its parent's: it did not execute it.
                let inherited = at == 0 && process.parent != 0;
                if *at_ns >= START_NS && !inherited {
                    events.push((*at_ns, Event::Exec(who, at)));
                }
            }
            for contact in &process.contacts {
                let after = |ns: u64| contact.at_ns + ns;
                let number = connections;
                connections += 1;
                events.push((contact.at_ns, Event::Contact(who, number, change::ATTEMPT)));
                if contact.answers {
                    let end_ns = process.end.map_or(u64::MAX, |(end_ns, _)| end_ns);
                    events.push((
                        after(20_000_000),
                        Event::Contact(who, number, change::ESTABLISHED),
                    ));
                    if contact.mines {
                        let said = pool::packets(process, number, contact, end_ns.min(self.end_ns));
                        events.extend(said.into_iter().map(|p| (p.at_ns, Event::Packet(p))));
                    }
                    events.push((end_ns, Event::Contact(who, number, change::CLOSED)));
                } else {
                    events.push((
                        after(3 * SECOND),
                        Event::Contact(who, number, change::FAILED),
                    ));
                }
            }
            if let Some(listens) = &process.listens
                && listens.at_ns > START_NS
            {
                events.push((listens.at_ns, Event::Listen(who)));
            }
            if let Some((end_ns, _)) = process.end {
                events.push((end_ns, Event::Exit(who)));
            }
        }
        let mut pass_ns = START_NS;
        while pass_ns <= self.end_ns {
            events.push((pass_ns, Event::Pass));
            pass_ns += SECOND;
        }
        for (at_ns, event) in events {
            if at_ns <= self.end_ns {
                self.add(at_ns, event);
            }
        }
    }

    fn add(&mut self, at_ns: u64, event: Event) {
        self.due.insert((at_ns, self.added), event);
        self.added += 1;
    }

    /// Drives a judge to the end of the trace.
    pub fn drive(mut self, judge: &mut Judge, mut tell: impl FnMut(CloudEvent)) {
        while let Some(input) = self.next() {
            judge.apply(input.borrow(), &mut tell);
            for errand in judge.errands() {
                match errand {
                    Output::Enrich(question) => self.answer(&question),
                    Output::Watch(watch) => drop(self.watched.insert(watch.process)),
                    Output::Unwatch(process) => drop(self.watched.remove(&process)),
                    _ => {}
                }
            }
        }
    }

    /// A question of the engine, asked after the last input.
    pub fn answer(&mut self, question: &Enrich) {
        let asked = |process: &super::Process| process.key == question.process;
        let Some(process) = self.trace.processes.iter().find(|process| asked(process)) else {
            return;
        };
        let told_ns = self.now_ns + ANSWER_NS;
        let image = process.image_at(told_ns);
        let file = process.images.iter().map(|(_, image)| image);
        let file = question
            .executable
            .and_then(|id| file.rev().find(|image| image.executable().id == id));
        let mut answers = Vec::new();
        if let Some(file) = file {
            answers.push(OwnedInput::Executable(told_ns, Box::new(file.facts())));
        }
        if process.lives_at(told_ns) {
            if let Some(file) = image.and_then(super::Image::script_facts) {
                let path = file.path.clone().expect("a script lies somewhere");
                let process = process.key;
                let script = ScriptFacts {
                    process,
                    path,
                    file,
                };
                answers.push(OwnedInput::Script(told_ns, Box::new(script)));
            }
            let facts = record::facts(process, image);
            answers.push(OwnedInput::Process(told_ns, Box::new(facts)));
        }
        for answer in answers {
            self.add(told_ns, Event::Told(answer));
        }
    }

    fn parent(&self, who: usize, at_ns: u64) -> ProcessKey {
        let parent = &self.trace.processes[self.trace.processes[who].parent];
        if parent.lives_at(at_ns) || parent.key.start_ns > at_ns {
            parent.key
        } else {
            // An orphan is process 1's.
            self.trace.processes[0].key
        }
    }

    fn happen(&mut self, at_ns: u64, event: Event) {
        match event {
            Event::Fork(who) => {
                let process = &self.trace.processes[who];
                let parent = self.trace.processes[process.parent].key;
                let fork = record::fork(parent, process.key);
                self.ready.push_back(OwnedInput::Fork(fork));
            }
            Event::Exec(who, image) => {
                let exec = self.exec(who, image, at_ns, Observed::Live);
                self.ready.push_back(exec);
            }
            Event::Exit(who) => self.exit(who, at_ns),
            Event::Contact(who, number, change) => {
                let process = &self.trace.processes[who];
                let before: usize = self.trace.processes[..who]
                    .iter()
                    .map(|p| p.contacts.len())
                    .sum();
                let contact = process.contacts[number - before];
                let duration_ns = at_ns.saturating_sub(contact.at_ns);
                let record = record::connection(
                    process,
                    number,
                    contact.ip,
                    contact.port,
                    change,
                    at_ns,
                    duration_ns,
                );
                self.ready.push_back(OwnedInput::Connection(record));
            }
            Event::Listen(who) => {
                let process = &self.trace.processes[who];
                let port = process.listens.as_ref().expect("it listens").port;
                let record = record::listen(process, port, at_ns);
                self.ready.push_back(OwnedInput::Connection(record));
            }
            // Nobody sees the packets of who is not watched.
            Event::Packet(packet) => {
                if self.watched.contains(&packet.process) {
                    self.ready.push_back(OwnedInput::Payload(Box::new(packet)));
                }
            }
            Event::Pass => self.pass(at_ns),
            Event::Told(input) => self.ready.push_back(input),
        }
    }

    fn exec(&self, who: usize, image: usize, at_ns: u64, observed: Observed) -> OwnedInput {
        let process = &self.trace.processes[who];
        let (_, image) = &process.images[image];
        let parent = self.parent(who, at_ns);
        OwnedInput::Exec(Box::new(record::exec(
            process, parent, image, at_ns, observed,
        )))
    }

    fn exit(&mut self, who: usize, at_ns: u64) {
        let process = &self.trace.processes[who];
        let totals = &self.totals[who];
        let parent = self.parent(who, at_ns);
        let (_, wait_status) = process.end.expect("it ends");
        let end = |thread: usize| {
            let number = u32::try_from(thread).expect("few");
            OwnedInput::ThreadEnd(record::thread_end(
                process,
                number,
                totals[thread],
                at_ns,
                true,
            ))
        };
        for thread in 1..totals.len() {
            self.ready.push_back(end(thread));
        }
        let exit = record::exit(process, parent, wait_status, totals[0], at_ns);
        self.ready.push_back(OwnedInput::Exit(exit));
        self.ready.push_back(end(0));
    }

    /// What the pass at that moment sees, and then who gets the CPUs until the next one.
    fn pass(&mut self, at_ns: u64) {
        let mut tasks = Vec::new();
        for (who, process) in self.trace.processes.iter().enumerate() {
            let totals = &self.totals[who];
            let spent: u64 = totals.iter().map(|t| t.cpu_ns + t.run_delay_ns).sum();
            let is_new = self.told[who] == 0 && (!self.first_pass_done || spent > 0);
            if !process.lives_at(at_ns) || !is_new && spent == self.told[who] {
                continue;
            }
            self.told[who] = spent;
            let parent = self.parent(who, at_ns);
            for (thread, totals) in totals.iter().enumerate() {
                let thread = u32::try_from(thread).expect("few");
                tasks.push(record::task(process, parent, thread, *totals, at_ns));
            }
        }
        let accepts = std::mem::take(&mut self.accepts).into_iter();
        let scan = Scan {
            at_ns,
            unix_ns: BOOT_UNIX_S * 1_000_000_000 + i64::try_from(at_ns).expect("days"),
            cpus: self.trace.cpus,
            tasks,
            accepts: accepts
                .filter(|(_, count)| *count >= 1.0)
                .map(|(port, count)| Accepts {
                    key: key(port),
                    count: count as u64,
                })
                .collect(),
            host: Host {
                steal_ns: Some(0),
                pressure_ns: None,
            },
            losses: Vec::new(),
            throttled: Vec::new(),
        };
        self.ready.push_back(OwnedInput::Scan(Box::new(scan)));
        if !self.first_pass_done {
            self.first_pass_done = true;
            self.snapshot(at_ns);
        }
        self.spend(at_ns);
    }

    /// Processes and sockets older than the detector.
    fn snapshot(&mut self, at_ns: u64) {
        let mut listeners = Vec::new();
        for who in 0..self.trace.processes.len() {
            let process = &self.trace.processes[who];
            if process.key.start_ns >= START_NS {
                continue;
            }
            if let Some(listens) = process.listens.as_ref().filter(|l| l.at_ns <= START_NS) {
                listeners.push(Listener {
                    key: key(listens.port),
                    process: process.key,
                });
            }
            let images = &process.images;
            if let Some(image) = images.iter().rposition(|(from_ns, _)| *from_ns < START_NS) {
                let exec = self.exec(who, image, process.key.start_ns, Observed::Snapshot);
                self.ready.push_back(exec);
            }
        }
        let sockets = Sockets {
            listeners,
            flows: Vec::new(),
        };
        self.ready
            .push_back(OwnedInput::Sockets(at_ns, Box::new(sockets)));
    }

    /// Charges the second that begins now.
    fn spend(&mut self, at_ns: u64) {
        let wishes: Vec<Wish> = self
            .trace
            .processes
            .iter()
            .zip(&mut self.noise)
            .map(|(process, (rng, states))| Wish {
                wanted_s: process.wanted_s(at_ns, rng, states),
                threads: f64::from(process.threads),
                low: process.nice >= 19 || process.policy == 5,
            })
            .collect();
        for (who, share) in share(&wishes, f64::from(self.trace.cpus))
            .into_iter()
            .enumerate()
        {
            let count = self.totals[who].len() as u64;
            let busy = share.got_s / f64::from(self.trace.processes[who].threads);
            for totals in &mut self.totals[who] {
                totals.cpu_ns += super::ns(share.got_s) / count;
                totals.run_delay_ns += super::ns(share.waited_s) / count;
                // Who uses its CPU up is interrupted; who does not goes to sleep by itself.
                let (own, taken) = if busy > 0.9 { (0, 25) } else { (40, 2) };
                if share.got_s > 0.0 {
                    totals.voluntary += own;
                    totals.involuntary += taken;
                }
            }
        }
        for process in &self.trace.processes {
            if let Some(listens) = &process.listens {
                let going =
                    |(from_ns, to_ns, _): &&(u64, u64, f64)| (*from_ns..*to_ns).contains(&at_ns);
                let rate: f64 = listens
                    .visits
                    .iter()
                    .filter(going)
                    .map(|(_, _, rate)| rate)
                    .sum();
                *self.accepts.entry(listens.port).or_default() += rate;
            }
        }
    }
}

impl super::Process {
    fn wanted_s(&self, at_ns: u64, rng: &mut fastrand::Rng, states: &mut [f64]) -> f64 {
        let end_ns = self.end.map_or(u64::MAX, |(end_ns, _)| end_ns);
        let wanted: f64 = self
            .loads
            .iter()
            .zip(states)
            .map(|(load, state)| {
                let lived = super::Load {
                    to_ns: load.to_ns.min(end_ns),
                    ..*load
                };
                lived.wanted_s(at_ns, state, normal(rng))
            })
            .sum();
        wanted.min(f64::from(self.threads))
    }
}

impl Iterator for Play {
    type Item = OwnedInput;

    fn next(&mut self) -> Option<OwnedInput> {
        loop {
            if let Some(input) = self.ready.pop_front() {
                return Some(input);
            }
            let ((at_ns, _), event) = self.due.pop_first()?;
            self.now_ns = at_ns;
            self.happen(at_ns, event);
        }
    }
}

fn key(port: u16) -> ListenKey {
    ListenKey {
        network_namespace: record::NETWORK_NAMESPACE,
        port: u32::from(port),
    }
}

/// Box and Muller's.
fn normal(rng: &mut fastrand::Rng) -> f64 {
    let (a, b) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}
