//! A cgroup that floods a ring is kept to its share, the records of others get through, and what was kept out is
//! counted to the record and told with its name.

use std::process::Command;

use detector::{
    input::Loss,
    kernel::{Facts, Sizes},
    source::scan::Clock,
};
use detector_common::{event::connection::change, throttle::KEPT_OUT};
use tests::cgroup::Cgroup;

use super::cpu::THREADS_OF_AN_ACTOR;
use crate::{
    actor::{Actor, PROGRAM},
    tally::{Cut, DROPPED, Tally, count_of, cut, losses},
    watch::{DEFAULT_SIZES, Turn, Watch, connections, execs, skip, watch},
};

/// Rings that a flood fills in a moment; nobody drains them.
const SMALL: Sizes = Sizes {
    process_ring_bytes: 1 << 20,
    network_ring_bytes: 64 << 10,
    ..DEFAULT_SIZES
};

/// The independent source: rings that stay below half full, so that nobody is throttled.
const LARGE: Sizes = Sizes {
    process_ring_bytes: 16 << 20,
    network_ring_bytes: 4 << 20,
    ..DEFAULT_SIZES
};

fn cgroup(name: &str) -> Option<Cgroup> {
    let root = Facts::read().cgroup_v2?;
    Some(Cgroup::new(&root, name).expect("tests run as root"))
}

fn actor(inside: &Cgroup, arguments: &[&str]) -> Actor {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    Actor::start_command(inside.inside(&command))
}

/// Floods from one cgroup, then does `honest` in another, while nobody drains the small rings of the first watch.
/// Gives what both watches counted between the same two moments, what was kept out, and what is told of the flooder.
struct Flooded {
    cut: Cut,
    honest_pid: u32,
    small: Watch,
    flooder: Cgroup,
    honest: Cgroup,
}

fn flood(mut small: Watch, mut large: Watch, with: &[&str], honest_act: &[&str]) -> Flooded {
    let flooder = cgroup("flooder").expect("a plan with every probe needs a cgroup hierarchy");
    let honest = cgroup("honest").expect("as above");
    let now = || Clock::now().boot_ns;
    small.drain();
    let lost_before = losses(&small, KEPT_OUT);
    let after = now();
    let mut flooding = actor(&flooder, with);
    assert_eq!(flooding.says()["began"], true);
    assert!(flooding.says()["made"].as_u64() > Some(0));
    assert!(flooding.finish().success());
    let mut works = actor(&honest, honest_act);
    let honest_pid = works.pid();
    works.says();
    assert!(works.finish().success());
    // Threads are freed some milliseconds after they end.
    let last = Actor::start(["burn", "--ms", "1"]);
    let pid = last.pid();
    last.finish();
    large.bills(pid, THREADS_OF_AN_ACTOR + 1);
    // The end of a connection comes in an interrupt, which may be late.
    large.until("the end of the honest connection, if any", |records| {
        let last = connections(records, honest_pid).pop();
        last.is_none_or(|last| last.change == change::CLOSED)
            .then_some(())
    });
    let cut = cut(&mut small, &mut large, KEPT_OUT, lost_before, after);
    small.pass();
    let nothing = Tally::default();
    assert_eq!(losses(&small, DROPPED), nothing, "no ring was full");
    let both = losses(&large, DROPPED) + losses(&large, KEPT_OUT);
    assert_eq!(both, nothing, "the independent source is whole");
    Flooded {
        cut,
        honest_pid,
        small,
        flooder,
        honest,
    }
}

impl Flooded {
    /// Execs of the other cgroup that were seen all the same.
    fn honest_execs(&self) -> usize {
        execs(&self.small.records)
            .filter(|exec| exec.parent.tgid == self.honest_pid)
            .count()
    }

    /// What the pass told of a cgroup.
    fn told(&self, cgroup: &Cgroup) -> Option<&[Loss]> {
        let mut throttled = self.small.scan.throttled.iter();
        let throttled = throttled.find(|throttled| throttled.cgroup_id == cgroup.id())?;
        assert_eq!(throttled.cgroup.as_deref(), Some(cgroup.path().as_str()));
        Some(&throttled.losses)
    }
}

fn of(losses: Option<&[Loss]>, class: &str) -> u64 {
    count_of(losses.unwrap_or_default(), class)
}

#[test]
fn a_cgroup_that_floods_with_execs_cannot_push_out_those_of_another() {
    let small = watch!(SMALL, Turn::alone());
    let large = watch!(LARGE, Turn::Same);
    let flooded = flood(
        small,
        large,
        &["flood", "exec", "--count", "5000"],
        &["storm", "--count", "40", "/bin/true"],
    );
    // To the record, whoever made it: an entire machine's worth of two moments.
    flooded.cut.assert_whole();
    assert!(flooded.cut.lost.exec > 1_000, "{:?}", flooded.cut.lost);
    assert_eq!(
        (flooded.honest_execs(), flooded.told(&flooded.honest)),
        (40, None)
    );
    let told = flooded.told(&flooded.flooder);
    assert_eq!(of(told, "exec_throttled"), flooded.cut.lost.exec);
    let throttled = &flooded.small.scan.throttled[0];
    assert_eq!(throttled.cgroup_id, flooded.flooder.id(), "the worst first");
    assert!(throttled.unbilled_ns > 0, "the CPU time of ended threads");
}

#[test]
fn a_cgroup_that_floods_with_forks_cannot_push_out_the_execs_of_another() {
    let small = watch!(SMALL, Turn::alone());
    let large = watch!(LARGE, Turn::Same);
    let flooded = flood(
        small,
        large,
        &["flood", "fork", "--count", "8000"],
        &["storm", "--count", "40", "/bin/true"],
    );
    flooded.cut.assert_whole();
    assert_eq!(
        (flooded.honest_execs(), flooded.told(&flooded.honest)),
        (40, None)
    );
    let told = flooded.told(&flooded.flooder);
    let Tally {
        fork,
        exit,
        thread_end,
        ..
    } = flooded.cut.lost;
    assert!(fork > 1_000 && exit > 1_000 && thread_end > 1_000);
    assert_eq!(
        (
            of(told, "fork_throttled"),
            of(told, "exit_throttled"),
            of(told, "thread_end_throttled")
        ),
        (fork, exit, thread_end)
    );
}

#[test]
fn a_cgroup_that_floods_with_connections_cannot_push_out_those_of_another() {
    let small = watch!(SMALL, Turn::alone());
    let large = watch!(LARGE, Turn::Same);
    // A page of connections that somebody answers: attempt, answer and end.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let accepting = std::thread::spawn(move || listener.accept().map(drop));
    let flooded = flood(
        small,
        large,
        &["flood", "connect", "--count", "1500"],
        &["connect", &address],
    );
    accepting.join().expect("no panic").expect("it connects");
    flooded.cut.assert_whole();
    assert!(flooded.cut.lost.connection > 1_500);
    let changes = connections(&flooded.small.records, flooded.honest_pid);
    let changes: Vec<u32> = changes.iter().map(|it| it.change).collect();
    assert_eq!(
        (changes.as_slice(), flooded.told(&flooded.honest)),
        (
            [change::ATTEMPT, change::ESTABLISHED, change::CLOSED].as_slice(),
            None
        ),
        "missed: {:?}",
        flooded.small.scan.losses
    );
    let told = flooded.told(&flooded.flooder);
    assert_eq!(
        of(told, "connection_throttled"),
        flooded.cut.lost.connection
    );
}

#[test]
fn at_default_sizes_and_with_a_reader_twenty_thousand_forks_are_all_accounted_for() {
    let mut watch = watch!(DEFAULT_SIZES, Turn::alone());
    let Some(own) = cgroup("forks") else {
        return skip("no cgroup v2 hierarchy");
    };
    let mut bomb = actor(&own, &["flood", "fork", "--count", "20000"]);
    let parent = bomb.pid();
    let reading = std::thread::spawn(move || {
        assert_eq!(bomb.says()["began"], true);
        let made = bomb.says()["made"].as_u64();
        (made, bomb.finish().success())
    });
    while !reading.is_finished() {
        watch.drain();
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    assert_eq!(reading.join().expect("no panic"), (Some(20_000), true));
    watch.drain();
    watch.pass();
    let seen = crate::watch::forks(&watch.records);
    let seen = seen.filter(|fork| fork.parent.tgid == parent).count() as u64;
    let lost = losses(&watch, DROPPED).fork + losses(&watch, KEPT_OUT).fork;
    assert_eq!(seen + lost, 20_000);
}
