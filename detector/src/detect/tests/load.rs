//! Load that no threshold sees, load that is nobody's fault, and load that explains itself.

use detector_common::event::connection::ListenKey;

use crate::{
    detect::testing::{Bench, SECOND, exec, key, process, task},
    incident::{
        Class, Evidence, Finding,
        FindingType::{
            self, ComputeHijacking, CpuSaturation, CpuSteal, ProcessStorm, TrafficSaturation,
        },
        Severity::{self, Info, Warning},
    },
    input::{Accepts, Host, ProcessKey},
    output::Change,
};

const T: u64 = 10 * SECOND + 1;
const MS: u64 = 1_000_000;
const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};

/// A load of one process, second by second.
struct Load {
    of: ProcessKey,
    prio: i32,
    policy: u32,
    switches_per_s: u64,
}

impl Load {
    fn of(of: ProcessKey) -> Load {
        Load {
            of,
            prio: 120,
            policy: 0,
            switches_per_s: 20,
        }
    }

    /// A second of that many ns.
    fn second(&self, bench: &mut Bench, ns: u64) {
        let at = bench
            .load
            .iter()
            .position(|task| task.process == process(self.of));
        let at = at.unwrap_or_else(|| {
            bench.load.push(task(self.of, 0));
            bench.load.len() - 1
        });
        bench.load[at].cpu_ns += ns;
        bench.load[at].voluntary_switches += self.switches_per_s;
        bench.load[at].static_prio = self.prio;
        bench.load[at].policy = self.policy;
        bench.second();
    }
}

/// The first finding of a kind, wherever it was told.
fn first(bench: &Bench, kind: FindingType) -> Option<Finding> {
    let incidents = bench.incidents();
    let told = incidents
        .iter()
        .flat_map(|(_, incident)| &incident.findings);
    let mut all = told.chain(bench.findings());
    all.find(|finding| finding.kind == kind).cloned()
}

/// Seconds until a kind is found, at that loudness.
fn until(
    bench: &mut Bench,
    kind: FindingType,
    most: u64,
    mut second: impl FnMut(&mut Bench, u64),
) -> Option<(u64, Severity)> {
    (1..=most).find_map(|n| {
        second(bench, n);
        first(bench, kind).map(|finding| (n, finding.severity))
    })
}

fn web(bench: &mut Bench) -> ProcessKey {
    let web = key(800, T);
    bench.run(INIT, web, "/usr/sbin/php-fpm8.2");
    web
}

/// A program nobody packaged that php-fpm started.
fn dropped(bench: &mut Bench) -> ProcessKey {
    let web = web(bench);
    let miner = key(900, T + 1);
    bench.fork(web, miner);
    bench.exec(&exec(miner, web, "/var/www/shop/wp-content/uploads/.x/m"));
    bench.unowned("/var/www/shop/wp-content/uploads/.x/m");
    miner
}

/// Unequal seconds, the same each time: between nothing and twice the mean.
fn uneven(n: u64, mean_ns: u64) -> u64 {
    let x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    2 * mean_ns * x / (1 << 24)
}

#[test]
fn a_throttled_miner_is_found_in_time_although_no_threshold_is_crossed() {
    for (duty, at_most_s) in [(20, 600), (50, 300), (100, 300), (15, 600)] {
        let mut bench = Bench::new();
        bench.cpus = 8;
        let load = Load::of(dropped(&mut bench));
        let found = until(&mut bench, ComputeHijacking, at_most_s, |bench, n| {
            // A quota that falls on either side of a pass.
            let quantum = [0, 0, 0, 1, 0, 0, 2, 1][n as usize % 8];
            load.second(bench, duty * 10 * MS + duty * MS * quantum / 4);
        });
        assert_eq!(found, Some((111, Warning)), "{duty} %");
        assert_eq!(first(&bench, CpuSaturation), None, "{duty} %");
    }
}

#[test]
fn a_tenth_of_a_cpu_is_not_worth_a_word() {
    let mut bench = Bench::new();
    let load = Load::of(dropped(&mut bench));
    let found = until(&mut bench, ComputeHijacking, 900, |bench, _| {
        load.second(bench, 100 * MS)
    });
    assert_eq!(found, None);
}

#[test]
fn a_miner_that_goes_last_is_found_earlier() {
    let mut bench = Bench::new();
    let load = Load {
        prio: 139,
        ..Load::of(dropped(&mut bench))
    };
    let found = until(&mut bench, ComputeHijacking, 300, |bench, _| {
        load.second(bench, 300 * MS)
    });
    assert_eq!(found, Some((97, Warning)));
    let Some(Evidence::Steady(steady)) =
        first(&bench, ComputeHijacking).map(|found| found.evidence)
    else {
        panic!("steady evidence");
    };
    assert!(
        steady.low_priority && (steady.cores - 0.3).abs() < 0.01,
        "{steady:?}"
    );
}

#[test]
fn nice_19_and_sched_idle_go_last_and_what_is_next_to_them_does_not() {
    for (prio, policy, expected_s) in [(139, 0, 97), (120, 5, 97), (138, 0, 111), (120, 3, 111)] {
        let mut bench = Bench::new();
        let load = Load {
            prio,
            policy,
            ..Load::of(dropped(&mut bench))
        };
        let found = until(&mut bench, ComputeHijacking, 300, |bench, _| {
            load.second(bench, 300 * MS)
        });
        assert_eq!(found, Some((expected_s, Warning)), "{prio}, {policy}");
    }
}

#[test]
fn a_load_that_differs_from_its_mean_by_an_eighth_is_not_steady_and_by_a_twelfth_is() {
    let found = |off_ms: u64| {
        let mut bench = Bench::new();
        let load = Load::of(dropped(&mut bench));
        until(&mut bench, ComputeHijacking, 600, |bench, n| {
            load.second(bench, (300 + off_ms - n % 2 * 2 * off_ms) * MS)
        })
        .is_some()
    };
    assert_eq!((found(38), found(25)), (false, true));
}

#[test]
fn a_throttled_miner_below_a_web_service_is_one_critical_incident() {
    let mut bench = Bench::new();
    let load = Load::of(dropped(&mut bench));
    for _ in 0..130 {
        load.second(&mut bench, 300 * MS);
    }
    let incidents = bench.incidents();
    let (_, last) = incidents.last().expect("told");
    assert_eq!(bench.engine.open_incidents(), 1);
    assert_eq!(last.severity, Severity::Critical);
    assert!(
        last.title.ends_with("steadily uses 30 % of a CPU"),
        "{}",
        last.title
    );
}

#[test]
fn a_program_of_a_package_that_works_steadily_is_info() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.run(INIT, of, "/usr/sbin/mariadbd");
    let load = Load::of(of);
    let found = until(&mut bench, ComputeHijacking, 300, |bench, _| {
        load.second(bench, 300 * MS)
    });
    assert_eq!(found, Some((111, Info)));
    assert_eq!(bench.incidents(), []);
}

#[test]
fn a_program_of_a_package_below_a_web_service_is_a_warning_and_the_service_is_none() {
    for (path, expected) in [("/usr/bin/perl", Warning), ("/usr/sbin/php-fpm8.2", Info)] {
        let mut bench = Bench::new();
        let web = web(&mut bench);
        let child = key(900, T + 1);
        bench.run(web, child, path);
        let load = Load::of(child);
        let found = until(&mut bench, ComputeHijacking, 300, |bench, _| {
            load.second(bench, 300 * MS)
        });
        assert_eq!(found, Some((111, expected)), "{path}");
    }
}

#[test]
fn what_somebody_who_logged_in_builds_is_info() {
    let mut bench = Bench::new();
    let (sshd, shell, build) = (key(700, T), key(701, T + 1), key(702, T + 2));
    bench.run(INIT, sshd, "/usr/sbin/sshd");
    bench.run(sshd, shell, "/bin/bash");
    bench.fork(shell, build);
    bench.exec(&exec(build, shell, "/home/dev/.cargo/bin/rustc"));
    bench.unowned("/home/dev/.cargo/bin/rustc");
    let load = Load::of(build);
    let found = until(&mut bench, ComputeHijacking, 300, |bench, _| {
        load.second(bench, SECOND / 2)
    });
    assert_eq!(found, Some((111, Info)));
}

#[test]
fn uneven_work_is_not_steady() {
    let mut bench = Bench::new();
    let load = Load::of(dropped(&mut bench));
    let found = until(&mut bench, ComputeHijacking, 3_600, |bench, n| {
        load.second(bench, uneven(n, 300 * MS));
    });
    assert_eq!(found, None);
}

#[test]
fn who_sleeps_between_requests_or_follows_them_is_info() {
    let mut bench = Bench::new();
    let load = Load {
        switches_per_s: 300,
        ..Load::of(dropped(&mut bench))
    };
    let found = until(&mut bench, ComputeHijacking, 300, |bench, _| {
        load.second(bench, 300 * MS)
    });
    assert_eq!(
        found,
        Some((111, Info)),
        "1,000 switches for a second of CPU time"
    );

    let mut bench = Bench::new();
    let load = Load::of(dropped(&mut bench));
    let found = until(&mut bench, ComputeHijacking, 300, |bench, n| {
        let requests = 100 + uneven(n, 8);
        accept(bench, requests);
        load.second(bench, requests * 3 * MS);
    });
    assert_eq!(found, Some((111, Info)), "as many ms as requests");
}

#[test]
fn customers_who_come_and_go_by_themselves_do_not_excuse_a_steady_miner() {
    let mut bench = Bench::new();
    let load = Load::of(dropped(&mut bench));
    let found = until(&mut bench, ComputeHijacking, 300, |bench, n| {
        accept(bench, 100 + n % 2);
        load.second(bench, (300 + n % 4 / 2) * MS);
    });
    assert_eq!(found, Some((111, Warning)));
}

fn accept(bench: &mut Bench, count: u64) {
    bench.accepts = vec![Accepts {
        key: ListenKey {
            network_namespace: 0,
            port: 443,
        },
        count,
    }];
}

/// A web service whose customers come ten times as often from second 700 on, or do not.
fn rush(bench: &mut Bench, connections: u64) -> Finding {
    let web = web(bench);
    let load = Load {
        switches_per_s: 2_000,
        ..Load::of(web)
    };
    for n in 0..700 {
        accept(bench, 4);
        load.second(bench, uneven(n, 100 * MS));
    }
    for _ in 0..12 {
        accept(bench, connections);
        load.second(bench, 19 * SECOND / 10);
    }
    let incidents = bench.incidents();
    let (_, incident) = incidents.last().expect("saturated");
    assert_eq!(incident.severity, Warning);
    incident.findings[0].clone()
}

#[test]
fn a_web_service_saturated_by_customers_is_traffic_and_not_an_attack() {
    let mut bench = Bench::new();
    let found = rush(&mut bench, 40);
    assert_eq!(
        (found.kind, found.kind.class()),
        (TrafficSaturation, Class::Support)
    );
    let Evidence::Cpu(cpu) = found.evidence else {
        panic!("{found:?}");
    };
    assert_eq!(
        (cpu.accepts_per_s, cpu.usual_accepts_per_s),
        (Some(40.0), Some(4.0))
    );
    let title = &bench.incidents().last().expect("told").1.title;
    assert_eq!(
        title,
        "php-fpm8.2 uses 1.90 of 2 CPUs and serves 40 connections/s"
    );
}

#[test]
fn the_same_load_without_customers_is_saturation_and_says_that_it_is_not_traffic() {
    let mut bench = Bench::new();
    let found = rush(&mut bench, 5);
    assert_eq!(found.kind, CpuSaturation);
    let reason = &bench.incidents().last().expect("told").1.reason;
    assert!(
        reason.contains("It is not traffic: 5.0 inbound connections/s where 4.0 are usual."),
        "{reason}"
    );
}

#[test]
fn load_that_outlasts_its_traffic_is_saturation_after_all() {
    let mut bench = Bench::new();
    let _traffic = rush(&mut bench, 40);
    let load = Load {
        switches_per_s: 2_000,
        ..Load::of(key(800, T))
    };
    for _ in 0..20 {
        accept(&mut bench, 4);
        load.second(&mut bench, 19 * SECOND / 10);
    }
    let incidents = bench.incidents();
    let (_, last) = incidents.last().expect("told");
    let kinds: Vec<_> = last.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [TrafficSaturation, CpuSaturation]);
    assert_eq!(bench.engine.open_incidents(), 1);
}

#[test]
fn a_dropped_program_is_not_excused_by_customers() {
    let mut bench = Bench::new();
    let miner = dropped(&mut bench);
    for _ in 0..700 {
        accept(&mut bench, 4);
        bench.second();
    }
    for _ in 0..12 {
        accept(&mut bench, 400);
        Load::of(miner).second(&mut bench, 19 * SECOND / 10);
    }
    assert!(first(&bench, CpuSaturation).is_some() && first(&bench, TrafficSaturation).is_none());
}

fn stolen(bench: &mut Bench, percent: u64) {
    let before_ns = bench.host.steal_ns.unwrap_or(0);
    let capacity_ns = u64::from(bench.cpus) * SECOND;
    bench.host = Host {
        steal_ns: Some(before_ns + capacity_ns * percent / 100),
        ..bench.host
    };
    bench.second();
}

#[test]
fn stolen_cpus_are_a_warning_of_their_own_that_blames_nobody_and_ends() {
    let mut bench = Bench::new();
    stolen(&mut bench, 0);
    let found = until(&mut bench, CpuSteal, 60, |bench, _| stolen(bench, 30));
    assert_eq!(found, Some((19, Warning)));
    for _ in 0..80 {
        stolen(&mut bench, 0);
    }
    let incidents = bench.incidents();
    let told: Vec<_> = incidents.iter().map(|(change, _)| *change).collect();
    assert_eq!(told, [Change::Opened, Change::Resolved]);
    let (_, incident) = incidents[0];
    assert_eq!(
        incident.title,
        "the hypervisor gives 30 % of this host's CPU time to others"
    );
    assert_eq!(
        (incident.subject.as_deref(), &*incident.group_key),
        (None, "load:hypervisor")
    );
}

#[test]
fn a_twentieth_stolen_is_everyday_life_and_without_a_counter_nothing_is_said() {
    let mut bench = Bench::new();
    stolen(&mut bench, 0);
    assert_eq!(
        until(&mut bench, CpuSteal, 600, |bench, _| stolen(bench, 9)),
        None
    );
    let mut bench = Bench::new();
    assert_eq!(
        until(&mut bench, CpuSteal, 60, |bench, _| bench.second()),
        None
    );
}

#[test]
fn a_tenth_stolen_is_noticed() {
    let mut bench = Bench::new();
    stolen(&mut bench, 0);
    let found = until(&mut bench, CpuSteal, 60, |bench, _| stolen(bench, 10));
    assert_eq!(found, Some((19, Warning)));
}

#[test]
fn from_eight_hundred_switches_for_a_second_of_cpu_time_on_somebody_is_served() {
    for (switches_per_s, expected) in [(200, Warning), (201, Info)] {
        let mut bench = Bench::new();
        let load = Load {
            switches_per_s,
            ..Load::of(dropped(&mut bench))
        };
        let found = until(&mut bench, ComputeHijacking, 300, |bench, _| {
            load.second(bench, 250 * MS)
        });
        assert_eq!(found, Some((111, expected)), "{switches_per_s}");
    }
}

#[test]
fn a_saturation_names_what_was_stolen_meanwhile() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.run(INIT, of, "/usr/bin/convert");
    stolen(&mut bench, 0);
    for n in 1..=12 {
        bench.load = vec![task(of, n * SECOND)];
        stolen(&mut bench, 20);
    }
    let Some(Evidence::Cpu(cpu)) = first(&bench, CpuSaturation).map(|found| found.evidence) else {
        panic!("saturated");
    };
    assert!(
        cpu.steal_share
            .is_some_and(|share| (share - 0.2).abs() < 0.01),
        "{cpu:?}"
    );
}

/// A second in which a process makes that many children that end at once.
fn storm(bench: &mut Bench, of: ProcessKey, children: u32, path: &str) {
    for n in 0..children {
        let child = key(10_000 + n, bench.now_ns + 1 + u64::from(n));
        bench.run(of, child, path);
        bench.exit(child, 0);
    }
    bench.second();
}

#[test]
fn a_service_that_makes_a_hundred_processes_a_second_is_a_storm() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    let found = until(&mut bench, ProcessStorm, 60, |bench, _| {
        storm(bench, web, 100, "/usr/bin/true")
    });
    assert_eq!(found, Some((15, Warning)));
    let found = first(&bench, ProcessStorm).expect("a storm");
    let Evidence::Storm(storm) = found.evidence else {
        panic!("{found:?}");
    };
    assert_eq!(
        (storm.forks_per_s.round(), storm.execs_per_s.round()),
        (100.0, 100.0)
    );
    assert_eq!(found.process, Some(web));
    for _ in 0..90 {
        bench.second();
    }
    assert_eq!(bench.engine.open_incidents(), 0, "over when it is over");
}

#[test]
fn three_hundred_jobs_at_once_and_forty_a_second_are_no_storm() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    for _ in 0..5 {
        storm(&mut bench, web, 300, "/usr/bin/true");
        for _ in 0..60 {
            bench.second();
        }
    }
    for _ in 0..60 {
        storm(&mut bench, web, 49, "/usr/bin/true");
    }
    assert_eq!(first(&bench, ProcessStorm), None);
}

#[test]
fn a_build_of_somebody_who_logged_in_is_info() {
    let mut bench = Bench::new();
    let (sshd, shell) = (key(700, T), key(701, T + 1));
    bench.run(INIT, sshd, "/usr/sbin/sshd");
    bench.run(sshd, shell, "/bin/bash");
    let found = until(&mut bench, ProcessStorm, 60, |bench, _| {
        storm(bench, shell, 100, "/usr/bin/cc")
    });
    assert_eq!(found, Some((15, Info)));
    assert_eq!(bench.incidents(), []);
}

#[test]
fn fifty_processes_a_second_are_a_storm_and_the_mean_is_taken_over_ten_seconds() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    let found = until(&mut bench, ProcessStorm, 60, |bench, n| {
        storm(bench, web, if n == 1 { 100 } else { 50 }, "/usr/bin/true")
    });
    assert_eq!(found, Some((15, Warning)));
    let Some(Evidence::Storm(storm)) = first(&bench, ProcessStorm).map(|found| found.evidence)
    else {
        panic!("a storm");
    };
    // 50 + 51 × 0.9^14: the service's own start counts.
    assert_eq!((storm.forks_per_s * 10.0).round(), 617.0);
}
