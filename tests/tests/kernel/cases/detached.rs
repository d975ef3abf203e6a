//! A probe that is taken away from outside is missed in two ways. x86-64 only, as what takes it away.
#![cfg(target_arch = "x86_64")]

use std::{fs, time::Instant};

use tests::tampering;

use super::tampering::{reasons, wait};
use crate::{
    actor::Actor,
    program::{Intruder, soon, watching},
    watch::{Turn, obstacle, skip},
};

/// Descriptors of a process's BPF links of that type, in the order in which they were made.
fn links(pid: u32, kind: &str) -> Vec<i32> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(folder).expect("it runs");
    let link = |entry: fs::DirEntry| {
        let fd: i32 = entry.file_name().to_str()?.parse().ok()?;
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
        let field = |name: &str| {
            Some(
                info.lines()
                    .find_map(|line| line.strip_prefix(name))?
                    .trim(),
            )
        };
        let id: u32 = field("link_id:")?.parse().ok()?;
        (field("link_type:") == Some(kind)).then_some((id, fd))
    };
    let mut links: Vec<(u32, i32)> = entries.flatten().filter_map(link).collect();
    links.sort_unstable();
    links.into_iter().map(|(_, fd)| fd).collect()
}

#[test]
fn a_probe_that_is_detached_from_outside_is_named_and_its_silence_is_noticed() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    // Alone: what other tests lose would excuse the silence.
    let _alone = Turn::alone();
    let intruder = Intruder::new(b"kworkerd");
    let mut daemon = watching(["--for", "90s"]);
    // The order of `Probe::ALL`: exec, fork, exit, thread end, connection.
    let tracepoints = links(daemon.pid(), "raw_tracepoint");
    assert_eq!(tracepoints.len(), 5, "{tracepoints:?}");
    let refused = tampering::detach(daemon.pid(), tracepoints[1]);
    refused.expect_err("a link to a tracepoint cannot be detached by bpf(2)");
    tampering::close(daemon.pid(), tracepoints[1]).expect("tests run as root");
    // Somebody to listen to, and processes that live long enough to be missed.
    let _running = intruder.start(&["--for", "60"].map(AsRef::as_ref));
    let children = Actor::start(["children", "--ms", "4000", "--count", "6"]);
    let deadline = soon();
    let cgroup = loop {
        if let Some(link) = links(daemon.pid(), "cgroup").first() {
            break *link;
        }
        assert!(
            Instant::now() < deadline,
            "nobody is listened to: {}",
            daemon.account()
        );
        std::thread::yield_now();
    };
    tampering::detach(daemon.pid(), cgroup).expect("tests run as root");

    let mut expected = [
        wait(&daemon, "the probe `fork` was detached", soon()),
        wait(&daemon, "the probe `payload_out` was detached", soon()),
        wait(&daemon, "no record of a process that was started", soon()),
    ];
    assert!(children.finish().success());
    // How it ends says nothing: the descriptor that was closed under it is closed once more, or is another's by then.
    daemon.stop().expect("it stops");
    let mut told = reasons(&daemon);
    told.sort();
    expected.sort();
    assert_eq!(told, expected, "each once");
}
