//! Who counts as having had to wait: the numbers of `blame.rs`.

use std::sync::Arc;

use crate::{
    detect::{
        Config,
        blame::{self, Waiting},
        cpu::Totals,
        sequential::model::SATURATION,
        table::Table,
        testing::{BOOT_UNIX_S, SECOND, exec, facts, key},
        usage::{Scope, Usage},
        window::Pass,
        world::World,
    },
    incident::Culprit,
    input::{Owner, ProcessKey},
};

const MS: u64 = 1_000_000;

fn culprit() -> ProcessKey {
    key(900, SECOND)
}

/// The victims of a second in which each process of its own group ran and waited for so many ms.
fn victims(second: &[(ProcessKey, u64, u64)]) -> Vec<Waiting> {
    let mut table = Table::new(64);
    let mut usage = Usage::new(10);
    let all = [&[(culprit(), 1_000, 0)], second].concat();
    for (of, ran_ms, waited_ms) in all {
        table.ensure(of, SECOND);
        table.charge(of, |process| {
            process.cpu.interval = Totals {
                cpu_ns: ran_ms * MS,
                run_delay_ns: waited_ms * MS,
                voluntary_switches: 0,
            };
        });
    }
    let pass = Pass {
        elapsed_ns: SECOND,
        cpus: 2,
    };
    usage.close(2 * SECOND, pass, &mut table);
    let scope = Scope::Group(culprit());
    blame::victims(scope, culprit(), Culprit::Group, &usage, &table)
}

#[test]
fn who_waits_for_a_fifth_of_what_it_wants_is_a_victim_and_below_is_none() {
    let of = key(901, SECOND);
    let victim = Waiting {
        group: of,
        run_delay_share: 0.2,
        run_delay_ns: 200 * MS,
    };
    assert_eq!(victims(&[(of, 800, 200)]), [victim]);
    assert_eq!(victims(&[(of, 801, 199)]), []);
}

#[test]
fn who_waits_for_a_twentieth_of_the_time_is_a_victim_and_below_is_none() {
    let of = key(901, SECOND);
    let victim = Waiting {
        group: of,
        run_delay_share: 1.0,
        run_delay_ns: 50 * MS,
    };
    assert_eq!(victims(&[(of, 0, 50)]), [victim]);
    // Something of its own, or it would be too little to be looked at.
    assert_eq!(victims(&[(of, 100, 49)]), []);
}

#[test]
fn a_file_nobody_changed_for_a_week_belongs_to_the_host() {
    let is_established = |age_s: i64| {
        let mut world = World::new(Config::default());
        world.set_wall_clock(0, BOOT_UNIX_S * 1_000_000_000);
        let of = key(900, 100 * SECOND);
        let mut image = exec(of, key(1, 0), "/opt/x");
        image.at_ns = of.start_ns;
        image.executable.id.ctime_sec = BOOT_UNIX_S + 100 - age_s;
        let id = image.executable.id;
        let _new = world.executables.wants(id, SECOND);
        let _known = world
            .executables
            .learn(&facts(id, "/opt/x", Owner::Unowned), SECOND);
        world.ensure(of).run(Arc::new(image));
        let process = world.table.get(of).expect("made known above");
        blame::identity(&SATURATION, process, &world).is_established()
    };
    assert_eq!([604_799, 604_800].map(is_established), [false, true]);
}

#[test]
fn the_sixteen_that_waited_longest_are_named() {
    let waiting: Vec<_> = (0..20)
        .map(|n: u32| (key(901 + n, SECOND), 0, 100 + u64::from(n)))
        .collect();
    let named: Vec<u32> = victims(&waiting)
        .iter()
        .map(|victim| victim.group.tgid)
        .collect();
    let expected: Vec<u32> = (905..=920).rev().collect();
    assert_eq!(named, expected);
}
