//! Every name of a loss: where it is caused in a test, or why it cannot be.

use std::collections::BTreeSet;

use detector_common::counter::Counter;

use crate::source::{files, has_test, read};

/// What proves a name.
#[derive(Clone, Copy)]
enum Proof {
    /// This test causes exactly that loss and compares the count: a file and a function.
    Test(&'static str, &'static str),
    /// Nothing that a test may do causes it.
    None(#[expect(dead_code, reason = "for whoever reads the table")] &'static str),
}

use Proof::{None, Test};

const FULL_RING: Proof = Test(
    "tests/tests/kernel/cases/loss.rs",
    "a_full_ring_counts_every_lost_record_by_kind",
);
const UNREADABLE: Proof = Test(
    "tests/tests/kernel/cases/loss.rs",
    "each_exec_whose_arguments_or_path_cannot_be_read_is_counted_and_told_without",
);
const FORKS: Proof = Test(
    "tests/tests/kernel/cases/throttle.rs",
    "a_cgroup_that_floods_with_forks_cannot_push_out_the_execs_of_another",
);

/// Exhaustive: a new counter of the kernel side does not compile until its proof is named.
fn of_kernel(counter: Counter) -> Proof {
    match counter {
        Counter::ExecDropped
        | Counter::ForkDropped
        | Counter::ExitDropped
        | Counter::ThreadEndDropped
        | Counter::ConnectionDropped => FULL_RING,
        Counter::PayloadDropped => Test(
            "tests/tests/kernel/cases/payload.rs",
            "a_full_ring_counts_every_lost_packet",
        ),
        Counter::SocketTableFull => Test(
            "tests/tests/kernel/cases/loss.rs",
            "each_connection_that_the_table_of_open_sockets_refuses_is_counted",
        ),
        Counter::ListenTableFull => Test(
            "tests/tests/kernel/cases/loss.rs",
            "each_inbound_connection_to_a_port_beyond_the_table_is_counted",
        ),
        Counter::ArgsUnreadable | Counter::PathUnreadable => UNREADABLE,
        Counter::TaskFilterFull => None(
            "the table makes room by itself: it refuses an entry only for want of kernel memory",
        ),
        Counter::ExecThrottled => Test(
            "tests/tests/kernel/cases/throttle.rs",
            "a_cgroup_that_floods_with_execs_cannot_push_out_those_of_another",
        ),
        Counter::ForkThrottled | Counter::ExitThrottled | Counter::ThreadEndThrottled => FORKS,
        Counter::ConnectionThrottled => Test(
            "tests/tests/kernel/cases/throttle.rs",
            "a_cgroup_that_floods_with_connections_cannot_push_out_those_of_another",
        ),
    }
}

/// Those of the daemon.
const OF_DAEMON: &[(&str, Proof)] = &[
    (
        "probe_missed",
        None(
            "an interrupt must hit a probe while it runs on that CPU, and its own event the same probe",
        ),
    ),
    (
        "counter_unreadable",
        None("a map that was made can be read for as long as it is held"),
    ),
    (
        "record_malformed",
        Test(
            "detector/src/source/ring.rs",
            "each_record_that_cannot_be_decoded_is_counted_and_those_around_it_are_taken",
        ),
    ),
    (
        "record_dropped",
        Test(
            "detector/src/recording/recorder.rs",
            "each_input_that_finds_the_thread_busy_is_counted_and_the_rest_is_in_the_file",
        ),
    ),
    (
        "enrich_dropped",
        Test(
            "detector/src/enrich/tests/worker.rs",
            "full_queue_drops_and_counts_every_question_it_does_not_take",
        ),
    ),
    (
        "stdout_dropped",
        Test(
            "detector/src/deliver/sink/stdout.rs",
            "each_text_that_finds_the_queue_full_is_counted",
        ),
    ),
    (
        "event_dead_lettered",
        Test(
            "detector/src/deliver/worker/tests.rs",
            "refused_incident_is_told_once_and_a_refused_word_about_the_detector_never",
        ),
    ),
    (
        "state_dropped",
        Test(
            "detector/src/state/handle.rs",
            "while_the_disk_hangs_eight_mebibytes_wait_and_what_goes_is_counted_the_least_first",
        ),
    ),
    (
        "inventory_forgotten",
        Test(
            "detector/src/state/tests/remember.rs",
            "each_destination_that_newer_ones_push_out_is_counted",
        ),
    ),
    (
        "process_forgotten",
        Test(
            "detector/src/detect/tests/bounds.rs",
            "fifty_thousand_processes_fit_into_the_table_and_the_rest_is_counted",
        ),
    ),
    (
        "thread_end_unclaimed",
        Test(
            "detector/src/detect/tests/bounds.rs",
            "four_thousand_bills_wait_for_their_process_and_the_next_is_counted",
        ),
    ),
    (
        "verdict_dropped",
        Test(
            "detector/src/detect/tests/bounds.rs",
            "a_thousand_images_wait_for_facts_and_then_the_oldest_goes",
        ),
    ),
    (
        "flow_refused",
        Test(
            "detector/src/detect/tests/watch.rs",
            "sixteen_thousand_connections_are_remembered_of_them_256_of_one_process",
        ),
    ),
    (
        "watch_refused",
        Test(
            "detector/src/detect/tests/mining.rs",
            "places_are_kept_for_those_who_connect",
        ),
    ),
    (
        "connection_shed",
        Test(
            "tests/tests/kernel/cases/loss.rs",
            "each_record_of_a_connection_that_is_thrown_away_is_counted",
        ),
    ),
    (
        "listener_refused",
        Test(
            "detector/src/detect/tests/listener.rs",
            "a_thousand_ports_are_bounded_and_refusals_counted",
        ),
    ),
    (
        "incident_refused",
        Test(
            "detector/src/detect/tests/bounds.rs",
            "open_incidents_are_bounded_and_refusals_are_told",
        ),
    ),
];

/// How the names of losses end; those of reasons and verdicts (`gone`, `too_large`) do not.
const ENDINGS: [&str; 9] = [
    "_dropped",
    "_throttled",
    "_refused",
    "_forgotten",
    "_unclaimed",
    "_malformed",
    "_unreadable",
    "_missed",
    "_dead_lettered",
];

fn proofs() -> Vec<(&'static str, Proof)> {
    let of_kernel = Counter::ALL
        .iter()
        .map(|counter| (counter.name(), of_kernel(*counter)));
    of_kernel.chain(OF_DAEMON.iter().copied()).collect()
}

/// The first column of the table of losses, a name each.
fn documented() -> BTreeSet<String> {
    let text = read("ARCHITECTURE.md");
    let (_, section) = text
        .split_once("## Losses by name")
        .expect("the section is there");
    let section = section
        .split_once("\n## ")
        .map_or(section, |(section, _)| section);
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| row.split('|').nth(1))
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect()
}

#[test]
fn every_loss_is_proved_by_a_test_that_exists() {
    let missing: Vec<_> = proofs()
        .into_iter()
        .filter_map(|(name, proof)| match proof {
            Test(path, test) if !has_test(path, test) => Some((name, path, test)),
            Test(..) | None(_) => Option::None,
        })
        .collect();
    assert_eq!(missing, []);
}

#[test]
fn every_loss_is_in_the_table_of_losses_and_nothing_else_is() {
    let proved: BTreeSet<String> = proofs()
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(documented(), proved);
}

#[test]
fn every_name_in_the_daemon_that_ends_like_a_loss_is_one() {
    let known: BTreeSet<&str> = proofs().into_iter().map(|(name, _)| name).collect();
    let mut unknown = BTreeSet::new();
    for path in files("detector/src") {
        let text = read(&path);
        // What tests make up is no name of the daemon's.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        if path.contains("/tests") {
            continue;
        }
        for literal in text.split('"').skip(1).step_by(2) {
            let is_name = literal
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let ends = ENDINGS.iter().any(|ending| literal.ends_with(ending));
            if is_name && ends && !known.contains(literal) {
                unknown.insert((path.clone(), literal.to_owned()));
            }
        }
    }
    assert_eq!(unknown, BTreeSet::new());
}
