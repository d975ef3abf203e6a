//! Rules of load: what a pass says about who uses the CPUs, and what becomes of it.

use super::Engine;
use crate::{
    detect::{
        config::Config,
        rule::{
            compute_hijacking::{ComputeHijacking, Hijacking},
            cpu_saturation::{CpuSaturation, Signal},
            cpu_steal::{CpuSteal, Steal},
            process_storm::{self, ProcessStorm},
            traffic_saturation::{self, Inbound},
        },
        sequential::{self, Bank, test::Look},
        size::Size,
        usage::{Scope, Usage},
        window::Pass,
    },
    incident::{CpuEvidence, Evidence, Finding, FindingType, Impact, Severity},
    input::{ProcessKey, Scan},
    output::Output,
};

/// What the rules of load remember.
#[derive(Debug)]
pub(super) struct Load {
    usage: Usage,
    pub(super) bank: Bank,
    saturation: CpuSaturation,
    hijacking: ComputeHijacking,
    pub(super) storms: ProcessStorm,
    steal: CpuSteal,
    inbound: Inbound,
}

impl Load {
    pub(super) fn new(config: &Config) -> Load {
        Load {
            usage: Usage::new(config.window_s as usize),
            bank: Bank::default(),
            saturation: CpuSaturation::default(),
            hijacking: ComputeHijacking::default(),
            storms: ProcessStorm::default(),
            steal: CpuSteal::default(),
            inbound: Inbound::default(),
        }
    }

    /// How full the tables are. `most` is how many processes there can be.
    pub(super) fn sizes(&self, most: usize) -> Vec<Size> {
        let Load {
            usage,
            bank,
            saturation,
            hijacking,
            storms,
            steal: _,
            inbound,
        } = self;
        let mut sizes = usage.sizes(most);
        sizes.extend(saturation.sizes());
        sizes.extend(storms.sizes());
        sizes.extend([bank.size(), hijacking.size(), inbound.size()]);
        sizes
    }

    /// All tests of one host share its budget; steal is one of them.
    fn look(&self, at_ns: u64, pass: Pass, config: &Config) -> Look {
        let tests = 1 + self.saturation.tests() + self.hijacking.tests() + self.storms.tests();
        Look {
            at_ns,
            elapsed_ns: pass.elapsed_ns,
            h: sequential::threshold(tests, config.false_alarms_per_30_days),
            clear_s: config.clear_after_s,
        }
    }
}

impl Engine {
    pub(super) fn judge_load(&mut self, scan: &Scan, pass: Pass, out: &mut Vec<Output>) {
        let Engine {
            load, world, host, ..
        } = self;
        load.usage.close(scan.at_ns, pass, &mut world.table);
        load.bank.advance(scan.at_ns, scan.unix_ns);
        let look = load.look(scan.at_ns, pass, &world.config);
        let accepts: u64 = scan.accepts.iter().map(|accepts| accepts.count).sum();
        // A backup that saturates says nothing about how many customers are usual.
        let serves = |key| world.table.get(key).is_some_and(traffic_saturation::serves);
        let rush = load.saturation.is_open(serves);
        load.inbound.pass(accepts, pass, rush);
        let saturation = load
            .saturation
            .pass(&load.usage, world, &mut load.bank, look);
        let accepts_per_s = traffic_saturation::per_s(accepts, pass.elapsed_ns);
        let hijacking =
            load.hijacking
                .pass(&load.usage, world, &mut load.bank, accepts_per_s, look);
        let storms = load.storms.pass(&load.usage, world, &mut load.bank, look);
        let (stolen_ns, mean) = (host.stolen_ns(), host.steal_share());
        let steal = load.steal.pass(stolen_ns, mean, pass, &mut load.bank, look);
        let baselines = load.bank.due();
        for signal in saturation {
            self.saturation(signal, scan.at_ns, out);
        }
        for Hijacking {
            process,
            severity,
            evidence,
        } in hijacking
        {
            let kind = FindingType::ComputeHijacking;
            self.world.enrich(process, false, out);
            self.report(process, kind, severity, Evidence::Steady(evidence), out);
            self.long_lived(process, out);
        }
        for signal in storms {
            self.storm(signal, out);
        }
        if let Some(steal) = steal {
            self.steal(steal, out);
        }
        out.extend(baselines.into_iter().map(Output::Baseline));
    }

    fn saturation(&mut self, signal: Signal, at_ns: u64, out: &mut Vec<Output>) {
        let (scope, process, mut evidence, victims) = match signal {
            Signal::Saturated {
                scope,
                process,
                evidence,
                victims,
            } => (scope, process, evidence, victims),
            Signal::Cleared { scope } => return self.book.cleared(scope, &self.world),
        };
        evidence.steal_share = self.host.steal_share();
        let kind = self.traffic_or_not(process, &mut evidence);
        if !self
            .book
            .is_saturated(kind, scope, process, evidence.culprit, &self.world)
        {
            let severity = Severity::Warning;
            self.report(process, kind, severity, Evidence::Cpu(evidence), out);
            if kind == FindingType::CpuSaturation {
                self.long_lived(process, out);
            }
        }
        let impact = Impact {
            cpu_cores: evidence.cores,
            cpu_share_of_host: evidence.host_share,
            since_unix_ns: self.world.unix_ns(evidence.since_ns),
            until_unix_ns: self.world.unix_ns(at_ns),
            steal_share: self.host.steal_share(),
            psi: self.host.pressure_share(),
            accepts_per_second: self.world.served(process).map(|served| served.per_second),
        };
        for victim in &victims {
            self.world.enrich(victim.group, false, out);
        }
        self.book
            .saturated(scope, process, evidence, impact, &victims, &self.world);
    }

    /// Whether a saturation is traffic; says in the evidence how many connections there are.
    fn traffic_or_not(&self, process: ProcessKey, evidence: &mut CpuEvidence) -> FindingType {
        let process = self.world.table.get(process);
        if !process.is_some_and(traffic_saturation::serves) {
            return FindingType::CpuSaturation;
        }
        let inbound = &self.load.inbound;
        evidence.accepts_per_s = Some(inbound.per_s());
        evidence.usual_accepts_per_s = inbound.usual_per_s();
        if inbound.is_rush() {
            FindingType::TrafficSaturation
        } else {
            FindingType::CpuSaturation
        }
    }

    fn storm(&mut self, signal: process_storm::Signal, out: &mut Vec<Output>) {
        let kind = FindingType::ProcessStorm;
        match signal {
            process_storm::Signal::Storms {
                group,
                severity,
                evidence,
                new,
            } => {
                if new {
                    self.world.enrich(group, false, out);
                    self.report(group, kind, severity, Evidence::Storm(evidence), out);
                }
                let scope = Scope::Storm(group);
                self.book.goes_on(scope, kind, Some(group), &self.world);
            }
            process_storm::Signal::Over { group } => {
                self.book.cleared(Scope::Storm(group), &self.world);
            }
        }
    }

    fn steal(&mut self, steal: Steal, out: &mut Vec<Output>) {
        let kind = FindingType::CpuSteal;
        let evidence = match steal {
            Steal::Stolen(evidence) => evidence,
            Steal::Over => return self.book.cleared(Scope::Host, &self.world),
        };
        if !self.book.has(Scope::Host) {
            let at_unix_ns = self.world.unix_ns(self.world.now_ns());
            let finding = Finding {
                kind,
                severity: Severity::Warning,
                process: None,
                subject: None,
                first_seen_unix_ns: self.world.unix_ns(evidence.since_ns),
                last_seen_unix_ns: at_unix_ns,
                evidence: Evidence::Steal(evidence),
                accepted: None,
            };
            self.book.report(finding, &mut self.world, out);
        }
        self.book.goes_on(Scope::Host, kind, None, &self.world);
    }
}
