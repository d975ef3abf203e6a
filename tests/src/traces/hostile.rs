//! Every variant of a miner that the field knows, each on the host of a shop.

use super::{Case, Truth, scheduled, shelled_out};
use crate::trace::{Act, Image, Trace};

/// A documentation address: no pool lives there.
const POOL: [u8; 4] = [203, 0, 113, 7];

macro_rules! cases {
    ($($name:ident, $executable:literal, $load:literal, $seconds:literal, $story:literal;)+) => {
        pub(super) const CASES: &[Case] = &[$(Case {
            name: concat!("hostile-", stringify!($name)),
            story: $story,
            seconds: $seconds,
            truth: Truth::Hostile { executable: $executable, load: $load },
            make: $name,
        },)+];
    };
}

cases! {
    plain, "/var/www/shop/wp-content/uploads/kinsing", 1.0, 240,
        "a page drops a program that takes every CPU and talks to a pool";
    renamed, "/tmp/sshd", 1.0, 240,
        "the same, called like a service";
    hidden_path, "/var/tmp/.ICE-unix/.rsync/c", 1.0, 240,
        "the same, in a hidden folder";
    memfd, "/memfd:kthreadd", 1.0, 240,
        "the program never was a file";
    deleted, "/dev/shm/x", 1.0, 240,
        "the program was unlinked before it ran";
    throttled_50, "/tmp/.perf.c/worker", 0.5, 600,
        "half of the time on, half off";
    throttled_20, "/tmp/.perf.c/worker", 0.2, 900,
        "a fifth of the time on";
    ramping, "/tmp/ramp", 0.0, 720,
        "the load grows over five minutes";
    one_thread, "/tmp/one", 0.5, 240,
        "one of two CPUs";
    forked_swarm, "/tmp/swarm", 1.0, 240,
        "children that live for a third of a second do the work";
    respawned, "/tmp/again", 1.0, 240,
        "it dies every ten seconds and a loop starts it again";
    interpreter_only, "/tmp/m.py", 1.0, 240,
        "a script does the work, in an interpreter that a package owns";
    rewritten_argv, "/tmp/a", 1.0, 240,
        "it calls itself like a thread of the kernel";
    tick_dodging, "/tmp/tick", 0.95, 240,
        "it sleeps across every tick, so that tick-based accounting shows nothing";
    idle_class, "/tmp/polite", 1.0, 240,
        "nice 19 and SCHED_IDLE: only what others leave";
    from_cron, "/usr/local/bin/sysupdate", 1.0, 240,
        "persistence: a cron entry starts it without any network";
    from_cron_by_name, "/usr/local/bin/sysguard", 1.0, 240,
        "the same, under the name it has in public reports";
    behind_tls_port, "/tmp/.font-unix/fc", 0.5, 400,
        "half of the time on, in the language of a pool, at the port of the web";
    from_package, "/usr/bin/miner", 1.0, 240,
        "a package of the distribution, installed by who broke in: only what it says gives it away";
}

fn works(who: Act<'_>) {
    who.after_s(0.3)
        .mines(POOL, 3_333)
        .threads(2)
        .burns(2.0)
        .for_s(90.0);
}

/// Both CPUs for that share of every fifth of a second.
fn rations(who: Act<'_>, duty: f64, for_s: f64) {
    who.threads(2).throttles(2.0, duty, 0.2).for_s(for_s);
}

fn dropped(trace: &mut Trace, at_s: f64, image: Image) -> Act<'_> {
    shelled_out(trace, at_s, "./payload")
        .forks()
        .after_s(0.1)
        .runs(image)
}

fn plain(trace: &mut Trace, at_s: f64) {
    works(dropped(
        trace,
        at_s,
        Image::file("/var/www/shop/wp-content/uploads/kinsing"),
    ));
}

fn renamed(trace: &mut Trace, at_s: f64) {
    works(dropped(
        trace,
        at_s,
        Image::file("/tmp/sshd").args(&["/usr/sbin/sshd", "-D"]),
    ));
}

fn hidden_path(trace: &mut Trace, at_s: f64) {
    works(dropped(
        trace,
        at_s,
        Image::file("/var/tmp/.ICE-unix/.rsync/c"),
    ));
}

fn memfd(trace: &mut Trace, at_s: f64) {
    works(dropped(trace, at_s, Image::memfd("kthreadd")));
}

fn deleted(trace: &mut Trace, at_s: f64) {
    works(dropped(trace, at_s, Image::file("/dev/shm/x").deleted()));
}

fn throttled_50(trace: &mut Trace, at_s: f64) {
    let worker = dropped(trace, at_s, Image::file("/tmp/.perf.c/worker"));
    rations(worker.connects(POOL, 443), 0.5, 420.0);
}

fn throttled_20(trace: &mut Trace, at_s: f64) {
    let worker = dropped(trace, at_s, Image::file("/tmp/.perf.c/worker"));
    rations(worker.connects(POOL, 443), 0.2, 720.0);
}

fn ramping(trace: &mut Trace, at_s: f64) {
    let ramp = dropped(trace, at_s, Image::file("/tmp/ramp"));
    ramp.threads(2)
        .connects(POOL, 3_333)
        .ramps(2.0, 300.0)
        .for_s(540.0);
}

fn one_thread(trace: &mut Trace, at_s: f64) {
    let one = dropped(trace, at_s, Image::file("/tmp/one"));
    one.connects(POOL, 3_333).burns(1.0).for_s(90.0);
}

fn forked_swarm(trace: &mut Trace, at_s: f64) {
    let swarm = dropped(trace, at_s, Image::file("/tmp/swarm"));
    let swarm = swarm.connects(POOL, 3_333).id();
    for child in 0..540 {
        let since_s = 0.5 + f64::from(child / 2) * 0.333;
        trace
            .at(at_s + since_s)
            .of(swarm)
            .forks()
            .burns(1.0)
            .for_s(0.33);
    }
    trace.at(at_s + 91.0).of(swarm).exits(0);
}

fn respawned(trace: &mut Trace, at_s: f64) {
    let watchdog = shelled_out(trace, at_s, "./payload").id();
    for life in 0..9 {
        let again = trace
            .at(at_s + 0.2 + f64::from(life) * 10.5)
            .of(watchdog)
            .forks();
        let again = again
            .after_s(0.05)
            .runs(Image::file("/tmp/again").aged_s(2 + 10 * life as i64));
        again
            .connects(POOL, 3_333)
            .threads(2)
            .burns(2.0)
            .for_s(10.0);
    }
}

fn interpreter_only(trace: &mut Trace, at_s: f64) {
    works(dropped(
        trace,
        at_s,
        Image::script("/tmp/m.py", "/usr/bin/python3.11"),
    ));
}

fn rewritten_argv(trace: &mut Trace, at_s: f64) {
    let liar = dropped(trace, at_s, Image::file("/tmp/a"));
    works(liar.after_s(0.05).calls_itself("kworker/0:1"));
}

fn tick_dodging(trace: &mut Trace, at_s: f64) {
    let dodger = dropped(trace, at_s, Image::file("/tmp/tick"));
    dodger
        .threads(2)
        .connects(POOL, 3_333)
        .throttles(2.0, 0.95, 0.004)
        .for_s(90.0);
}

fn idle_class(trace: &mut Trace, at_s: f64) {
    works(
        dropped(trace, at_s, Image::file("/tmp/polite"))
            .nice(19)
            .idle_class(),
    );
}

fn from_cron(trace: &mut Trace, at_s: f64) {
    persistent(trace, at_s, "/usr/local/bin/sysupdate");
}

fn from_cron_by_name(trace: &mut Trace, at_s: f64) {
    persistent(trace, at_s, "/usr/local/bin/sysguard");
}

fn persistent(trace: &mut Trace, at_s: f64, path: &str) {
    let entry = scheduled(trace, at_s).forks().after_s(0.02);
    let image = Image::file(path).aged_s(6 * 3_600);
    entry.runs(image).threads(2).burns(2.0).for_s(90.0);
}

fn behind_tls_port(trace: &mut Trace, at_s: f64) {
    let worker = dropped(trace, at_s, Image::file("/tmp/.font-unix/fc"));
    rations(worker.mines(POOL, 443), 0.5, 240.0);
}

fn from_package(trace: &mut Trace, at_s: f64) {
    let entry = scheduled(trace, at_s).forks().after_s(0.02);
    let miner = entry.execs("/usr/bin/miner");
    miner
        .after_s(0.3)
        .mines(POOL, 443)
        .threads(2)
        .burns(2.0)
        .for_s(90.0);
}
