//! Exit records against what `wait(2)` reports.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus},
};

use detector::source::decode::Record;
use detector_common::event::Exit;

use super::cpu::THREADS_OF_AN_ACTOR;
use crate::{actor::Actor, watch::watch};

fn exits(records: &[Record], tgid: u32) -> Option<Exit> {
    records.iter().find_map(|record| match record {
        Record::Exit(exit) if exit.process.tgid == tgid => Some(*exit),
        _ => None,
    })
}

#[test]
fn an_exit_record_has_the_wait_status_of_wait() {
    let mut watch = watch!();
    for end in ["exit 0", "exit 7", "kill -TERM $$", "kill -KILL $$"] {
        let mut command = Command::new("sh");
        command.args(["-c", end]);
        let actor = Actor::start_command(command);
        let pid = actor.pid();
        let waited: ExitStatus = actor.finish();
        let exit = watch.until("the exit record", |records| exits(records, pid));
        assert_eq!(exit.wait_status.cast_signed(), waited.into_raw(), "{end}");
        assert_eq!(exit.parent.tgid, std::process::id(), "{end}");
        assert!(
            exit.process.start_boottime_ns < exit.header.time_ns,
            "{end}"
        );
    }
}

#[test]
fn a_process_of_many_threads_exits_once() {
    let mut watch = watch!();
    let mut actor = Actor::start(["burn", "--ms", "5", "--threads", "16"]);
    let pid = actor.pid();
    actor.says();
    actor.finish();
    watch.bills(pid, THREADS_OF_AN_ACTOR + 16);
    let exits: Vec<_> = watch
        .records
        .iter()
        .filter(|record| matches!(record, Record::Exit(exit) if exit.process.tgid == pid))
        .collect();
    assert_eq!(exits.len(), 1, "{exits:?}");
}
