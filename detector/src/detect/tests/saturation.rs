//! From what on a load counts, on whom the blame stays, and when it is over: the numbers of the rules of load.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    detect::{
        Config,
        cpu::Totals,
        process::{ParentFrom, Suspicion},
        rule::{
            compute_hijacking::ComputeHijacking,
            cpu_saturation::{CpuSaturation, Signal},
        },
        sequential::{Bank, test::Look, threshold},
        testing::{INIT, SECOND, exec, key},
        usage::Usage,
        window::Pass,
        world::World,
    },
    incident::{Culprit, Severity},
    input::ProcessKey,
};

const MS: u64 = 1_000_000;
const GROUP: ProcessKey = ProcessKey {
    tgid: 800,
    start_ns: SECOND,
};

/// A host of two CPUs, looked at by one rule.
struct Host {
    world: World,
    usage: Usage,
    bank: Bank,
    second: u64,
    /// How many ms some wait for a CPU in each second in which they run.
    waits: BTreeMap<ProcessKey, u64>,
}

impl Host {
    fn new() -> Host {
        Host {
            world: World::new(Config::default()),
            usage: Usage::new(10),
            bank: Bank::default(),
            second: 100,
            waits: BTreeMap::new(),
        }
    }

    /// A program of the group, by its number.
    fn program(&mut self, tgid: u32) -> ProcessKey {
        let of = key(tgid, SECOND + u64::from(tgid));
        self.world.ensure_child(GROUP, INIT, ParentFrom::Fork);
        self.world.ensure_child(of, GROUP, ParentFrom::Fork);
        let image = exec(of, GROUP, &format!("/opt/{tgid}"));
        self.world.ensure(of).run(Arc::new(image));
        of
    }

    /// A second in which each uses so many ms; what the rules are to look at.
    fn pass(&mut self, busy: &[(ProcessKey, u64)]) -> Look {
        for (of, ms) in busy {
            let totals = Totals {
                cpu_ns: ms * MS,
                run_delay_ns: self.waits.get(of).copied().unwrap_or(0) * MS,
                ..Totals::default()
            };
            self.world.ensure(*of);
            let table = &mut self.world.table;
            table.charge(*of, |process| process.cpu.interval = totals);
        }
        self.second += 1;
        let at_ns = self.second * SECOND;
        self.world.advance(at_ns);
        self.bank
            .advance(at_ns, i64::try_from(at_ns).expect("small"));
        let pass = Pass {
            elapsed_ns: SECOND,
            cpus: 2,
        };
        self.usage.close(at_ns, pass, &mut self.world.table);
        Look {
            at_ns,
            elapsed_ns: SECOND,
            h: threshold(1, 1.0),
            clear_s: 10,
        }
    }

    /// A program of which something is known, as loud as that.
    fn suspect(&mut self, tgid: u32, severity: Severity) -> ProcessKey {
        let of = self.program(tgid);
        self.world.ensure(of).suspicion = Some((Suspicion::Unowned, severity));
        of
    }

    fn saturation(&mut self, rule: &mut CpuSaturation, busy: &[(ProcessKey, u64)]) -> Vec<Signal> {
        let look = self.pass(busy);
        rule.pass(&self.usage, &self.world, &mut self.bank, look)
    }
}

/// Whom a pass blames.
fn blamed(signals: &[Signal]) -> Vec<(ProcessKey, Culprit)> {
    let all = signals.iter().filter_map(|signal| match signal {
        Signal::Saturated {
            process, evidence, ..
        } => Some((*process, evidence.culprit)),
        Signal::Cleared { .. } => None,
    });
    all.collect()
}

#[test]
fn a_second_counts_from_four_fifths_of_two_fifths_of_all_cpus_on() {
    let told = |ms: u64| {
        let (mut host, mut rule) = (Host::new(), CpuSaturation::default());
        let of = host.program(900);
        (1..=60).find(|_| !host.saturation(&mut rule, &[(of, ms)]).is_empty())
    };
    // 0.8 × 0.4 × 2 CPUs = 640 ms, but for rounding.
    assert_eq!([639, 641].map(told), [None, Some(10)]);
}

#[test]
fn the_blame_stays_while_half_of_the_load_is_still_the_same_programs() {
    let after = |ms: u64| {
        let (mut host, mut rule) = (Host::new(), CpuSaturation::default());
        let (one, other) = (host.program(900), host.program(901));
        for _ in 0..12 {
            host.saturation(&mut rule, &[(one, 2_000)]);
        }
        let mut signals = Vec::new();
        for _ in 0..12 {
            signals = host.saturation(&mut rule, &[(one, ms), (other, 2_000 - ms)]);
        }
        (one, other, blamed(&signals))
    };
    let (one, _, kept) = after(1_000);
    assert_eq!(kept, [(one, Culprit::Process)]);
    let (_, other, moved) = after(999);
    assert_eq!(moved, [(other, Culprit::Group)]);
}

#[test]
fn a_load_whose_culprit_is_dead_is_over_after_three_idle_seconds() {
    let over_after = |dies: bool| {
        let (mut host, mut rule) = (Host::new(), CpuSaturation::default());
        let of = host.program(900);
        for _ in 0..12 {
            host.saturation(&mut rule, &[(of, 2_000)]);
        }
        if dies {
            host.world.table.end(of, host.second * SECOND, Some(9));
        }
        (1..=60).find(|_| {
            let signals = host.saturation(&mut rule, &[]);
            signals
                .iter()
                .any(|signal| matches!(signal, Signal::Cleared { .. }))
        })
    };
    assert_eq!(over_after(true), Some(3));
    assert_eq!(over_after(false), Some(21), "the test's own windows");
}

#[test]
fn a_program_that_did_nothing_for_a_minute_is_no_longer_compared_with_itself() {
    let (mut host, mut rule) = (Host::new(), ComputeHijacking::default());
    let of = host.program(900);
    let mut tests = |busy: &[(ProcessKey, u64)]| {
        let look = host.pass(busy);
        let _found = rule.pass(&host.usage, &host.world, &mut host.bank, 0.0, look);
        rule.tests()
    };
    assert_eq!(tests(&[(of, 500)]), 1);
    let left: Vec<usize> = (1..=60).map(|_| tests(&[])).collect();
    assert_eq!((left[58], left[59]), (1, 0));
}

/// When a program is found whose CPU time of second `n` is `ms(n)` while `accepts(n)` connections come.
fn steady(ms: impl Fn(u64) -> f64, accepts: impl Fn(u64) -> f64) -> Option<(u64, bool)> {
    let (mut host, mut rule) = (Host::new(), ComputeHijacking::default());
    let of = host.program(900);
    host.world.ensure(of).suspicion = Some((Suspicion::Unowned, Severity::Warning));
    (1..=200).find_map(|n| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "milliseconds of a second"
        )]
        let look = host.pass(&[(of, ms(n) as u64)]);
        let found = rule.pass(&host.usage, &host.world, &mut host.bank, accepts(n), look);
        let first = found.first()?;
        Some((n, first.severity >= Severity::Warning))
    })
}

#[test]
fn a_rise_by_a_quarter_of_a_percent_a_second_is_steady_and_by_half_a_percent_is_not() {
    let rising = |part: f64| {
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let ms = move |n: u64| 300.0 * (part * n as f64).exp();
        steady(ms, |_| 0.0).is_some()
    };
    assert_eq!([0.0027, 0.005].map(rising), [true, false]);
}

#[test]
fn load_that_follows_connections_with_a_correlation_of_a_half_is_theirs() {
    let found = |own: f64, theirs: f64| {
        let sign = |up: bool| if up { 1.0 } else { -1.0 };
        let ms = move |n: u64| 300.0 + theirs * sign(n.is_multiple_of(2)) + own * sign(n % 4 < 2);
        steady(ms, |n| 10.0 + sign(n.is_multiple_of(2))).map(|(_, warns)| warns)
    };
    // Correlations of 0.45 and 0.65.
    assert_eq!(found(16.0, 8.0), Some(true));
    assert_eq!(found(14.0, 12.0), Some(false));
}

#[test]
fn one_process_is_named_from_seven_tenths_of_its_groups_load_on() {
    let named = |ms: u64| {
        let (mut host, mut rule) = (Host::new(), CpuSaturation::default());
        let (one, other) = (host.program(900), host.program(901));
        let mut signals = Vec::new();
        for _ in 0..12 {
            signals = host.saturation(&mut rule, &[(one, ms), (other, 2_000 - ms)]);
        }
        blamed(&signals)
    };
    let one = key(900, SECOND + 900);
    assert_eq!(named(1_400), [(one, Culprit::Process)]);
    assert_eq!(named(1_399), [(one, Culprit::Group)]);
}

/// When a program is told that gets `ms` and waits for `waited_ms` in each second, and how many CPUs it is said to use.
fn crowded(severity: Severity, ms: u64, waited_ms: u64) -> Option<(u64, f64)> {
    let (mut host, mut rule) = (Host::new(), CpuSaturation::default());
    let of = host.suspect(900, severity);
    host.waits.insert(of, waited_ms);
    (1..=60).find_map(|n| match host.saturation(&mut rule, &[(of, ms)])[..] {
        [
            Signal::Saturated {
                process,
                ref evidence,
                ..
            },
        ] => {
            assert_eq!((process, evidence.culprit), (of, Culprit::Process));
            Some((n, evidence.cores))
        }
        _ => None,
    })
}

#[test]
fn on_a_crowded_host_an_accused_program_is_judged_by_what_it_wants() {
    assert_eq!(
        crowded(Severity::Warning, 350, 1_650),
        Some((10, 0.35)),
        "it is told what it got"
    );
    assert_eq!(
        crowded(Severity::Info, 350, 1_650),
        None,
        "of anybody else it would make a culprit of a victim"
    );
    // 0.8 × 0.4 × 2 CPUs = 640 ms, but for rounding; a quarter of it must be had.
    let wants = |wanted_ms: u64| crowded(Severity::Warning, 200, wanted_ms - 200).is_some();
    assert_eq!([639, 641].map(wants), [false, true]);
    let gets = |ms| crowded(Severity::Warning, ms, 1_650).is_some();
    assert_eq!([159, 161].map(gets), [false, true]);
}

#[test]
fn many_small_accused_programs_are_judged_together() {
    let (mut host, mut rule) = (Host::new(), CpuSaturation::default());
    let swarm = [900, 901, 902, 903].map(|tgid| host.suspect(tgid, Severity::Warning));
    let mut signals = Vec::new();
    for of in swarm {
        host.waits.insert(of, 900);
    }
    for _ in 0..10 {
        signals = host.saturation(&mut rule, &swarm.map(|of| (of, 101)));
    }
    assert_eq!(blamed(&signals), [(swarm[0], Culprit::Group)]);
}

#[test]
fn an_accused_program_is_blamed_apart_from_the_rest_of_its_group_that_takes_more() {
    let (mut host, mut rule) = (Host::new(), CpuSaturation::default());
    let flood = host.program(900);
    for _ in 0..12 {
        host.saturation(&mut rule, &[(flood, 2_000)]);
    }
    let attack = host.suspect(901, Severity::Warning);
    host.waits.insert(attack, 1_500);
    let told = (1..=60).find(|_| {
        let signals = host.saturation(&mut rule, &[(flood, 1_500), (attack, 400)]);
        let both = [(flood, Culprit::Process), (attack, Culprit::Process)];
        blamed(&signals) == both
    });
    assert_eq!(told, Some(10));
}

#[test]
fn a_group_whose_load_is_its_accused_programs_is_told_once() {
    let (mut host, mut rule) = (Host::new(), CpuSaturation::default());
    let attack = host.suspect(900, Severity::Warning);
    for (ms, waited_ms) in [(2_000, 0), (300, 1_700), (2_000, 0)] {
        host.waits.insert(attack, waited_ms);
        for n in 0..30 {
            let signals = host.saturation(&mut rule, &[(attack, ms)]);
            assert!(
                blamed(&signals).len() <= 1,
                "{ms} ms, second {n}: {signals:?}"
            );
        }
        let signals = host.saturation(&mut rule, &[(attack, ms)]);
        assert_eq!(blamed(&signals), [(attack, Culprit::Process)], "{ms} ms");
    }
}
