//! One input in, what follows out.

mod image;
mod load;
mod network;

use std::sync::Arc;

use detector_common::event::{Exit, Fork, Task, ThreadEnd};

use load::Load;

use super::{
    config::Config,
    destination::Destinations,
    host::HostWindow,
    listener::Served,
    pending::{Pending, Queue},
    process::{ParentFrom, Process},
    rule::{
        connection_storm::ConnectionStorm, event_loss::EventLoss,
        preloaded_library::PreloadedLibrary, respawn::Respawns,
    },
    size::Size,
    watch::Watches,
    window::Pass,
    world::World,
};
use crate::{
    incident::{Book, Evidence, Finding, FindingType, Severity},
    input::{
        Baseline, Exec, ExecutableFacts, Input, Observed, ProcessFacts, ProcessKey, Scan,
        ScriptFacts,
    },
    output::Output,
};

/// Where identifiers take their random bits from. Two engines with one seed give the same ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

/// What the engine had to forget or refuse, since it began. Only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Ended processes forgotten before their time.
    pub dead_forgotten: u64,
    /// Live processes forgotten.
    pub live_forgotten: u64,
    /// Threads' final bills that no process claimed.
    pub thread_ends_unclaimed: u64,
    /// Images that were judged no further because too many waited for facts.
    pub verdicts_dropped: u64,
    /// Findings for which no incident could be opened: too many were open.
    pub incidents_refused: u64,
    /// Listeners whose inbound connections are not told from others': too many listened.
    pub listeners_refused: u64,
    /// Connections to the outside that were not remembered.
    pub flows_refused: u64,
    /// Times that a process's packets should have been looked into and were not.
    pub watches_refused: u64,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    world: World,
    host: HostWindow,
    load: Load,
    loss: EventLoss,
    preloads: PreloadedLibrary,
    respawns: Respawns,
    pending: Queue,
    watches: Watches,
    connections: ConnectionStorm,
    destinations: Destinations,
    book: Book,
}

impl Engine {
    /// Knows nothing yet.
    pub fn new(config: Config, seed: Seed) -> Engine {
        Engine {
            host: HostWindow::new(config.window_s as usize),
            load: Load::new(&config),
            loss: EventLoss::default(),
            preloads: PreloadedLibrary::default(),
            respawns: Respawns::default(),
            pending: Queue::default(),
            watches: Watches::default(),
            connections: ConnectionStorm::default(),
            destinations: Destinations::default(),
            book: Book::new(seed.0),
            world: World::new(config),
        }
    }

    /// Takes one input; appends what follows from it.
    pub fn apply(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Fork(fork) => self.fork(&fork),
            Input::Exec(exec) => self.exec(exec, out),
            Input::Exit(exit) => self.exit(&exit, out),
            Input::ThreadEnd(end) => self.thread_end(&end, out),
            Input::Connection(connection) => self.connection(&connection, out),
            Input::Scan(scan) => self.scan(scan, out),
            Input::Payload(payload) => self.payload(payload, out),
            Input::Sockets(at_ns, sockets) => self.sockets(at_ns, sockets, out),
            Input::Process(at_ns, facts) => self.process_facts(at_ns, facts, out),
            Input::Executable(at_ns, facts) => self.executable_facts(at_ns, facts, out),
            Input::Script(at_ns, facts) => self.script_facts(at_ns, facts, out),
            Input::Baseline(stored) => self.load.bank.load(stored),
            Input::Destinations(known) => self.destinations.load(known),
            Input::Accepted(at_ns, acceptances) => {
                self.world.advance(at_ns);
                self.book.accept(acceptances, &mut self.world, out);
            }
            Input::Resolve(at_ns, resolve) => {
                self.world.advance(at_ns);
                self.book.resolve(resolve, &mut self.world, out);
            }
            Input::Resumed(resumed) => self.book.resume(resumed, &mut self.world),
        }
    }

    /// Replaces the numbers; what was judged stays judged. The sizes of tables and the length of the
    /// window stay as they were at the start.
    pub fn reconfigure(&mut self, config: Config) {
        let window_s = self.world.config.window_s;
        self.world.config = Config { window_s, ..config };
    }

    /// What was forgotten or refused.
    pub fn counters(&self) -> Counters {
        Counters {
            dead_forgotten: self.world.table.forgotten.dead,
            live_forgotten: self.world.table.forgotten.idle,
            thread_ends_unclaimed: self.world.unclaimed_dropped,
            verdicts_dropped: self.pending.dropped,
            incidents_refused: self.book.refused,
            listeners_refused: self.world.listeners.refused,
            flows_refused: self.watches.flows_refused,
            watches_refused: self.watches.refused,
        }
    }

    /// How full each table is, and how full it can be.
    pub fn sizes(&self) -> Vec<Size> {
        let Engine {
            world,
            host,
            load,
            loss,
            preloads,
            respawns,
            pending,
            watches,
            connections,
            destinations,
            book,
        } = self;
        let most = world.config.max_processes;
        let mut sizes = world.sizes();
        sizes.extend(load.sizes(most));
        sizes.extend(watches.sizes(most));
        sizes.extend(respawns.sizes());
        sizes.extend(connections.sizes());
        sizes.extend(destinations.sizes());
        sizes.extend([host.size(), preloads.size(), pending.size()]);
        sizes.extend(loss.sizes());
        sizes.extend(book.sizes());
        sizes
    }

    /// One process as known, for views.
    pub fn process(&self, key: ProcessKey) -> Option<&Process> {
        self.world.table.get(key)
    }

    /// All processes as known, in no useful order.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.world.table.iter()
    }

    /// How many processes are known.
    pub fn process_count(&self) -> usize {
        self.world.table.len()
    }

    /// What a process accepted on the ports it listens on. `None`: on none, as far as known.
    pub fn served(&self, key: ProcessKey) -> Option<Served> {
        self.world.listeners.of_process(key)
    }

    /// What was learned since it was last told: before the end.
    pub fn baselines(&mut self) -> Vec<Baseline> {
        self.load.bank.changed()
    }

    /// How many incidents are open.
    pub fn open_incidents(&self) -> usize {
        self.book.open_count()
    }

    /// The severity of each incident that is open.
    pub fn open_severities(&self) -> impl Iterator<Item = Severity> {
        self.book.severities()
    }

    fn fork(&mut self, fork: &Fork) {
        self.world.advance(fork.header.time_ns);
        let (parent, child) = (fork.parent.into(), fork.child.into());
        self.ensure_parent(parent);
        self.world.ensure_child(child, parent, ParentFrom::Fork);
        if let Some(process) = self.world.table.get(child) {
            self.load.storms.forked(process.group);
        }
        let incident = self
            .world
            .table
            .get(parent)
            .and_then(|process| process.incident);
        if let Some(number) = incident {
            self.book.adopt(number, child, &mut self.world);
        }
    }

    fn ensure_parent(&mut self, parent: ProcessKey) {
        if parent.tgid != 0 {
            self.world.ensure(parent);
        }
    }

    fn exec(&mut self, exec: &Exec, out: &mut Vec<Output>) {
        let live = exec.observed == Observed::Live;
        if live {
            self.world.advance(exec.at_ns);
        }
        self.ensure_parent(exec.parent);
        self.world
            .ensure_child(exec.process, exec.parent, ParentFrom::Exec);
        let passes = self.world.passes;
        let is_live = |process: &Process| {
            let image = process.image.as_ref();
            image.is_some_and(|image| image.observed == Observed::Live)
        };
        if !live && self.process(exec.process).is_some_and(is_live) {
            return; // the snapshot came later than the exec it raced with
        }
        let image = Arc::new(exec.clone());
        self.world.table.charge(exec.process, |process| {
            if live {
                process.cpu.exec_by(exec.process, exec.old_pid, &passes);
            }
            process.run(Arc::clone(&image));
        });
        self.watches.forget(exec.process);
        for moved in self.world.table.regroup_service(exec.process) {
            self.book.leave(moved, &mut self.world);
        }
        if live && let Some(process) = self.world.table.get(exec.process) {
            self.load.storms.executed(process.group);
        }
        let now_ns = self.world.now_ns();
        let wants = self.world.executables.wants(exec.executable.id, now_ns);
        let wants_script = self.world.wants_script(exec.process);
        if wants || wants_script {
            self.world.enrich(exec.process, wants, out);
        }
        self.book.ran(exec.process, &self.world);
        let pending = Pending {
            process: exec.process,
            image,
            since_ns: now_ns,
            late: false,
            said: Vec::new(),
        };
        self.judge(pending, out);
    }

    fn report(
        &mut self,
        process: ProcessKey,
        kind: FindingType,
        severity: Severity,
        evidence: Evidence,
        out: &mut Vec<Output>,
    ) {
        let at_unix_ns = self.world.unix_ns(self.world.now_ns());
        let first_seen_unix_ns = match &evidence {
            Evidence::Cpu(cpu) => self.world.unix_ns(cpu.since_ns),
            Evidence::Steady(steady) => self.world.unix_ns(steady.since_ns),
            Evidence::Steal(steal) => self.world.unix_ns(steal.since_ns),
            Evidence::Storm(storm) => self.world.unix_ns(storm.since_ns),
            _ => at_unix_ns,
        };
        let finding = Finding {
            kind,
            severity,
            process: Some(process),
            subject: self.world.subject(process).map(Arc::new),
            first_seen_unix_ns,
            last_seen_unix_ns: at_unix_ns,
            evidence,
            accepted: None,
        };
        self.book.report(finding, &mut self.world, out);
    }

    fn exit(&mut self, exit: &Exit, out: &mut Vec<Output>) {
        self.world.advance(exit.header.time_ns);
        let key = exit.process.into();
        self.world
            .ensure_child(key, exit.parent.into(), ParentFrom::Seen);
        let process = self.world.ensure(key);
        process.uid.get_or_insert(exit.uid);
        if process.image.is_none() {
            process.comm = exit.comm;
        }
        if process.cgroup_id.is_none() && exit.cgroup_id != 0 {
            process.cgroup_id = Some(exit.cgroup_id);
        }
        self.world.thread_ended(&exit.thread);
        self.ended(key, exit.header.time_ns, Some(exit.wait_status), out);
    }

    fn ended(
        &mut self,
        key: ProcessKey,
        at_ns: u64,
        wait_status: Option<u32>,
        out: &mut Vec<Output>,
    ) {
        if self.world.table.end(key, at_ns, wait_status) {
            self.watches.ended(key, out);
            if let Some(process) = self.world.table.get(key) {
                self.respawns.ended(process, &self.world);
            }
            self.book.ended(key, &self.world);
        }
    }

    fn thread_end(&mut self, end: &ThreadEnd, out: &mut Vec<Output>) {
        self.world.advance(end.header.time_ns);
        if let Some(key) = self.world.thread_ended(end) {
            self.ended(key, end.header.time_ns, None, out);
        }
    }

    fn process_facts(&mut self, at_ns: u64, facts: &ProcessFacts, out: &mut Vec<Output>) {
        self.world.advance(at_ns);
        let Some(process) = self.world.table.get_mut(facts.process) else {
            return;
        };
        process.facts = Some(Arc::new(facts.clone()));
        process.facts_current = true;
        self.book.learned(facts.process);
        for pending in self
            .pending
            .take(|pending| pending.process == facts.process)
        {
            self.judge(pending, out);
        }
        self.judge_name(facts.process, out);
        if let Some((severity, evidence)) = self.preloads.judge(facts, &self.world) {
            let kind = FindingType::PreloadedLibrary;
            self.report(facts.process, kind, severity, evidence, out);
        }
        self.book.flush(&mut self.world, out);
    }

    fn script_facts(&mut self, at_ns: u64, facts: &ScriptFacts, out: &mut Vec<Output>) {
        self.world.advance(at_ns);
        self.world.executables.learn(&facts.file, at_ns);
        if self.world.runs_script(facts, at_ns) {
            let waits = |pending: &Pending| pending.process == facts.process;
            for pending in self.pending.take(waits) {
                self.judge(pending, out);
            }
            self.book.learned(facts.process);
        }
        self.book.flush(&mut self.world, out);
    }

    fn executable_facts(&mut self, at_ns: u64, facts: &ExecutableFacts, out: &mut Vec<Output>) {
        self.world.advance(at_ns);
        if self.world.executables.learn(facts, at_ns) {
            self.book.learned_file(facts.id, &mut self.world);
        }
        let waits = |pending: &Pending| pending.image.executable.id == facts.id;
        for pending in self.pending.take(waits) {
            self.judge(pending, out);
        }
        self.book.flush(&mut self.world, out);
    }

    fn scan(&mut self, scan: &Scan, out: &mut Vec<Output>) {
        self.world.advance(scan.at_ns);
        self.world.set_wall_clock(scan.at_ns, scan.unix_ns);
        let last_ns = self.world.passes.last_ns;
        let elapsed_ns = last_ns.map(|last_ns| scan.at_ns.saturating_sub(last_ns));
        let busy_ns =
            elapsed_ns.map(|elapsed_ns| share_of(elapsed_ns, self.world.config.enrich_core_share));
        for task in &scan.tasks {
            self.task(task, busy_ns, out);
        }
        let pass = Pass {
            elapsed_ns: elapsed_ns.unwrap_or(0),
            cpus: scan.cpus.max(1),
        };
        let World {
            listeners, table, ..
        } = &mut self.world;
        listeners.pass(&scan.accepts, pass, table);
        self.watches.pass(pass.elapsed_ns, table, scan.at_ns, out);
        match elapsed_ns {
            None => self.baseline(scan),
            Some(0) => {}
            Some(_) => {
                self.world.passes.last_ns = Some(scan.at_ns);
                self.host.pass(scan.host, pass);
                self.judge_load(scan, pass, out);
            }
        }
        self.book.lost(&scan.losses, &scan.throttled, &self.world);
        if let Some(losses) = self.loss.pass(scan.at_ns, &scan.losses, &scan.throttled) {
            out.push(Output::Finding(Finding {
                kind: FindingType::EventLoss,
                severity: Severity::Info,
                process: None,
                subject: None,
                first_seen_unix_ns: scan.unix_ns,
                last_seen_unix_ns: scan.unix_ns,
                evidence: Evidence::Loss(losses),
                accepted: None,
            }));
        }
        let now_ns = self.world.now_ns();
        let config = &self.world.config;
        let first = elapsed_ns.is_none();
        let due = self.pending.take(|pending| {
            let late = pending.is_late(now_ns, config);
            first || late && !pending.late || pending.is_over(now_ns)
        });
        for pending in due {
            self.judge(pending, out);
        }
        self.world.expire_unclaimed();
        self.book.tick(&mut self.world, out);
        let kept_ns = self.world.config.dead_kept_s.saturating_mul(1_000_000_000);
        self.world.table.purge(now_ns.saturating_sub(kept_ns));
    }

    fn baseline(&mut self, scan: &Scan) {
        self.world.passes.first_ns = Some(scan.at_ns);
        self.world.passes.last_ns = Some(scan.at_ns);
        self.host.baseline(scan.host);
        self.world.table.regroup();
        for process in self.world.table.iter_mut() {
            let _before_the_first_pass = process.cpu.close_interval(scan.at_ns);
        }
    }

    fn task(&mut self, task: &Task, busy_ns: Option<u64>, out: &mut Vec<Output>) {
        let key = ProcessKey::from(task.process);
        let passes = self.world.passes;
        let see = |process: &mut Process| {
            let renamed = process.seen(task, &passes);
            let busy = busy_ns.is_some_and(|busy_ns| process.cpu.interval.cpu_ns >= busy_ns);
            (renamed, busy, process.suspicion.is_some())
        };
        let see_child = |process: &mut Process| process.parent.is_some().then(|| see(process));
        let table = &mut self.world.table;
        // One lookup for nearly every thread of nearly every pass.
        let seen = table.charge(key, see_child).flatten().or_else(|| {
            let parent = task.parent.into();
            self.world.ensure_child(key, parent, ParentFrom::Seen);
            self.world.table.charge(key, see)
        });
        let Some((renamed, busy, suspect)) = seen else {
            return;
        };
        if busy {
            self.ask_for_busy(key, out);
        }
        if busy || suspect {
            self.world.look_again(key, busy, out);
        }
        if renamed {
            self.judge_name(key, out);
        }
    }

    /// Who uses much is worth naming exactly. What it runs is asked for again until there is an answer: under a flood of
    /// programs questions are dropped.
    fn ask_for_busy(&mut self, key: ProcessKey, out: &mut Vec<Output>) {
        let Some(process) = self.world.table.get(key) else {
            return;
        };
        let unnamed = !process.asked && !process.facts_current;
        let id = process.image.as_ref().map(|image| image.executable.id);
        let now_ns = self.world.now_ns();
        let with = id.is_some_and(|id| self.world.executables.wants(id, now_ns));
        if unnamed || with {
            self.world.enrich(key, with, out);
        }
    }
}

/// `share` of `whole_ns`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share (0–1) of a short interval"
)]
fn share_of(whole_ns: u64, share: f64) -> u64 {
    (whole_ns as f64 * share) as u64
}
