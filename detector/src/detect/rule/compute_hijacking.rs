//! `impact.compute_hijacking`: a program uses CPU time without varying, as miners under a throttle do.
//!
//! Judged per program (the processes of one executable in one lineage group) that uses at least
//! [`MIN_CORES`] of a CPU. A second is *steady* when the program's CPU time, or CPU time and waiting together (who is
//! throttled by the clock gets less done where he has to wait), differs from its mean of the last half minute by
//! at most [`TOLERANCE`]. Few programs are steady for four seconds of five; the sequential test alarms after 101
//! steady seconds of one without history. Requests make work uneven and a program sleep between them: whose load
//! goes up and down with the inbound connections, or who sleeps more than [`MAX_SWITCHES_PER_CPU_S`] times for a
//! second of CPU time, is serving somebody and is never more than info.
//!
//! Warning: who is suspect anyway (unowned and odd, fileless, deleted), who runs below a web service and is not the
//! service, and unowned programs outside of a login session. Everybody else is info: databases and monitoring are
//! steady. Who gives everybody else priority (nice 19, `SCHED_IDLE`) is told [`LOW_PRIORITY_BONUS`] nats
//! earlier: that is how one hides from the owner of the machine.
//!
//! Evidence: `cores`, `tolerance`, `processes`, `switches_per_cpu_s`, `low_priority`, `duration_s`.
//!
//! False positives: unowned servers and encoders under constant load, until it is their habit (three days).

use std::collections::BTreeMap;

use crate::{
    detect::{
        blame,
        hash::Map,
        lineage,
        process::Process,
        sequential::{Bank, Change, bank::Trial, model::STEADY, test::Look},
        size::Size,
        usage::Usage,
        world::World,
    },
    incident::{Severity, SteadyEvidence},
    input::{ExecutableId, Owner, ProcessKey},
};

/// CPUs used, below which nobody bothers: a miner of 15 % of one core earns nothing and harms nobody.
const MIN_CORES: f64 = 0.15;
/// Part of the mean by which a steady second may differ from it: a quota of a tenth of a second that falls on
/// either side of a pass is a tenth.
const TOLERANCE: f64 = 0.1;
/// Seconds over which the mean is taken: a slow rise is no variation.
const MEAN_S: f64 = 30.0;
/// Seconds until there is a mean worth comparing with.
const WARM_UP: u32 = 10;
/// Voluntary switches for a second of CPU time, above which somebody waits for others. A throttle that works 10 ms
/// at a time at 20 % switches 100 times; a server that spends 1 ms on a request, 1,000 times.
const MAX_SWITCHES_PER_CPU_S: f64 = 800.0;
/// Correlation with inbound connections, above which the load is theirs.
const MAX_CORRELATION: f64 = 0.5;
/// Nats the lowest priority is worth: twenty times likelier. Bounded by what the test can spare.
const LOW_PRIORITY_BONUS: f64 = 3.0;
/// Passes without work after which a program is forgotten.
const IDLE_PASSES: u32 = 60;
/// Most tests: on 64 CPUs 427 programs can use [`MIN_CORES`] in one pass. One that goes on is tested when there is
/// room.
const MAX_TEAMS: usize = 4_096;

/// The processes of one program in one group.
type Team = (ProcessKey, ExecutableId);

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    cores: f64,
    waiting: f64,
    switches: u64,
    processes: u32,
    low_priority: bool,
    /// The one that uses most, and how much, ns.
    top: Option<(u64, ProcessKey)>,
}

#[derive(Debug, Default)]
struct Steady {
    trial: Trial,
    /// Means of CPUs used, and of those used or waited for.
    used: Mean,
    wanted: Mean,
    accepts: Mean,
    /// Mean of the product of the deviations of CPUs and accepts.
    together: f64,
    switches: f64,
    seen: u32,
    idle: u32,
    told: Option<Severity>,
}

/// Exponentially weighted mean and variance.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    mean: f64,
    variance: f64,
}

impl Mean {
    /// Takes a value; gives how far it was from the mean before.
    fn add(&mut self, value: f64, weight: f64) -> f64 {
        let off = value - self.mean;
        self.mean += weight * off;
        self.variance = (1.0 - weight) * (self.variance + weight * off * off);
        off
    }

    fn is_near(&self, value: f64) -> bool {
        (value - self.mean).abs() <= TOLERANCE * self.mean
    }
}

/// What the rule says after a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Hijacking {
    /// The process that stands for the program.
    pub process: ProcessKey,
    /// How loud.
    pub severity: Severity,
    /// The numbers.
    pub evidence: SteadyEvidence,
}

/// The rule's memory: a test for each program that used [`MIN_CORES`] within a minute.
#[derive(Debug, Default)]
pub struct ComputeHijacking {
    teams: BTreeMap<Team, Steady>,
}

impl ComputeHijacking {
    /// How full it is.
    pub fn size(&self) -> Size {
        Size::of("tests of steadiness", self.teams.len(), MAX_TEAMS)
    }

    /// How many tests are going on.
    pub fn tests(&self) -> usize {
        self.teams.len()
    }

    /// Judges a pass in which `accepts` inbound connections a second came.
    pub fn pass(
        &mut self,
        usage: &Usage,
        world: &World,
        bank: &mut Bank,
        accepts: f64,
        look: Look,
    ) -> Vec<Hijacking> {
        let sums = sums(usage, world);
        for (team, sum) in &sums {
            if sum.cores >= MIN_CORES && self.teams.len() < MAX_TEAMS {
                self.teams.entry(*team).or_default();
            }
        }
        let mut found = Vec::new();
        for (team, steady) in &mut self.teams {
            let sum = sums.get(team).copied().unwrap_or_default();
            let process = sum.top.and_then(|(_, key)| world.table.get(key));
            let severity = process.map(|process| severity(process, world));
            let is_open = steady.look(sum, process, world, bank, accepts, look);
            let (Some(process), Some(mut severity), true) = (process, severity, is_open) else {
                continue;
            };
            if steady.serves() {
                severity = Severity::Info;
            }
            if steady.told.is_none_or(|told| told < severity) {
                steady.told = Some(severity);
                let process = process.key;
                let evidence = steady.evidence(sum, usage);
                found.push(Hijacking {
                    process,
                    severity,
                    evidence,
                });
            }
        }
        self.teams.retain(|_, steady| steady.idle < IDLE_PASSES);
        found
    }
}

impl Steady {
    /// Looks at a second; gives whether the alarm is on.
    fn look(
        &mut self,
        sum: Sum,
        process: Option<&Process>,
        world: &World,
        bank: &mut Bank,
        accepts: f64,
        look: Look,
    ) -> bool {
        self.idle = if sum.cores > 0.0 { 0 } else { self.idle + 1 };
        self.seen = self.seen.saturating_add(1);
        // The first seconds are averaged plainly.
        let weight = (1.0 / f64::from(self.seen)).max(1.0 / MEAN_S);
        let near = self.used.is_near(sum.cores) || self.wanted.is_near(sum.cores + sum.waiting);
        let enough = self.used.mean >= MIN_CORES;
        let off = self.used.add(sum.cores, weight);
        let _off = self.wanted.add(sum.cores + sum.waiting, weight);
        let accepts_off = self.accepts.add(accepts, weight);
        // As the variances: the way from nothing to the first value is no deviation.
        self.together = (1.0 - weight) * (self.together + weight * off * accepts_off);
        #[expect(clippy::cast_precision_loss, reason = "switches of a second")]
        let switches = sum.switches as f64;
        self.switches += weight * (switches - self.switches);
        if self.seen <= WARM_UP {
            return false;
        }
        let identity = process.map(|process| blame::identity(&STEADY, process, world));
        let busy = identity.filter(|_| near && enough);
        let bonus = if sum.low_priority {
            LOW_PRIORITY_BONUS
        } else {
            0.0
        };
        let look = Look {
            h: look.h - bonus,
            ..look
        };
        let innocent = self.told != Some(Severity::Warning);
        if let Change::Closed { busy_s } = self.trial.look(bank, &STEADY, busy, look) {
            self.trial.settle(bank, busy_s, innocent);
            self.told = None;
        }
        self.trial.test.is_open()
    }

    /// Whether the work is somebody else's request.
    fn serves(&self) -> bool {
        let per_cpu_s = self.switches / self.used.mean.max(1e-9);
        let spread = (self.used.variance * self.accepts.variance).sqrt();
        let follows = spread > 1e-12 && self.together / spread >= MAX_CORRELATION;
        per_cpu_s > MAX_SWITCHES_PER_CPU_S || follows
    }

    fn evidence(&self, sum: Sum, usage: &Usage) -> SteadyEvidence {
        let since_ns = self.trial.test.since_ns();
        SteadyEvidence {
            cores: self.used.mean,
            tolerance: TOLERANCE,
            processes: sum.processes,
            switches_per_cpu_s: self.switches / self.used.mean.max(1e-9),
            low_priority: sum.low_priority,
            since_ns,
            duration_s: super::cpu_saturation::seconds(usage.at_ns.saturating_sub(since_ns)),
        }
    }
}

fn sums(usage: &Usage, world: &World) -> Map<Team, Sum> {
    let mut sums: Map<Team, Sum> = Map::default();
    let elapsed_ns = usage.pass.elapsed_ns;
    for used in &usage.used {
        let Some(process) = world.table.get(used.process) else {
            continue;
        };
        let Some(image) = process.image.as_deref().filter(|_| !process.kernel_thread) else {
            continue;
        };
        let sum = sums.entry((used.group, image.executable.id)).or_default();
        sum.cores += crate::detect::window::share(used.totals.cpu_ns, elapsed_ns);
        sum.waiting += crate::detect::window::share(used.totals.run_delay_ns, elapsed_ns);
        sum.switches += used.totals.voluntary_switches;
        sum.processes += 1;
        sum.low_priority |= process.low_priority;
        if sum
            .top
            .is_none_or(|(most_ns, _)| used.totals.cpu_ns > most_ns)
        {
            sum.top = Some((used.totals.cpu_ns, used.process));
        }
    }
    sums
}

fn severity(process: &Process, world: &World) -> Severity {
    let Some(image) = process.image.as_deref() else {
        return Severity::Info;
    };
    let unowned = world
        .file(image)
        .is_some_and(|file| file.owner == Owner::Unowned);
    let of_service = |web: ProcessKey| {
        let service = world.table.get(web).and_then(|web| web.image.as_deref());
        service.is_some_and(|service| service.executable.id == image.executable.id)
    };
    let web_child = lineage::web_ancestor(&world.table, process.key)
        .is_some_and(|web| !of_service(web) && !lineage::is_web_service(image));
    let at_work = lineage::in_package_manager(&world.table, process.key)
        || lineage::in_session(&world.table, process.key);
    if process.is_accused() || web_child || unowned && !at_work {
        Severity::Warning
    } else {
        Severity::Info
    }
}
