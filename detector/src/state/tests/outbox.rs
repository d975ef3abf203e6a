//! Order, cursors, bounds and dead letters.

use std::collections::VecDeque;

use super::*;

#[tokio::test]
async fn a_dead_sink_blocks_no_other_and_finds_everything_when_it_is_back() {
    let mut bench = Bench::new(&["dead", "live"]);
    let (mut dead, mut live) = (bench.handle.feed("dead"), bench.handle.feed("live"));
    let first = bench.record(Class::Incident, "a");
    assert_eq!(next(&mut dead, 8).await, [first]);
    assert_eq!(next(&mut live, 8).await, [first]);
    live.settle(1, Settled::Delivered).await;
    let second = bench.record(Class::Agent, "");
    assert_eq!(next(&mut live, 8).await, [second]);
    live.settle(1, Settled::Delivered).await;
    let mut bench = bench.restart(&["dead", "live"]).await;
    let third = bench.record(Class::Incident, "a");
    assert!(third > second, "numbers go on after a restart");
    let mut live = bench.handle.feed("live");
    assert_eq!(next(&mut live, 8).await, [third]);
    let numbers = drain(&mut bench, "dead")
        .await
        .iter()
        .map(|e| e.sequence)
        .collect::<Vec<_>>();
    assert_eq!(numbers, [first, second, third]);
}

#[tokio::test]
async fn what_is_not_settled_comes_again_and_what_is_settled_never() {
    let mut bench = Bench::new(&["s"]);
    let numbers: Vec<u64> = (0..3).map(|_| bench.record(Class::Incident, "a")).collect();
    let mut feed = bench.handle.feed("s");
    assert_eq!(next(&mut feed, 2).await, numbers[..2]);
    assert_eq!(next(&mut feed, 2).await, numbers[..2]);
    feed.settle(1, Settled::Delivered).await;
    let bench = bench.restart(&["s"]).await;
    assert_eq!(next(&mut bench.handle.feed("s"), 9).await, numbers[1..]);
}

#[tokio::test]
async fn only_the_newest_heartbeat_waits_and_takes_its_place_by_number() {
    let mut bench = Bench::new(&["s"]);
    let first = bench.record(Class::Incident, "a");
    let _replaced = bench.record(Class::Heartbeat, "");
    let beat = bench.record(Class::Heartbeat, "");
    let last = bench.record(Class::Incident, "a");
    let mut feed = bench.handle.feed("s");
    assert_eq!(next(&mut feed, 9).await, [first, beat, last]);
    assert_eq!(bench.handle.health().superseded, 1);
    feed.settle(3, Settled::Delivered).await;
    let after = bench.record(Class::Incident, "a");
    assert_eq!(next(&mut feed, 9).await, [after]);
}

#[tokio::test]
async fn a_new_sink_begins_with_what_comes_and_a_removed_one_holds_nothing_back() {
    let mut bench = Bench::new(&["old"]);
    bench.record(Class::Incident, "a");
    let mut bench = bench.restart(&["new"]).await;
    let number = bench.record(Class::Incident, "b");
    assert_eq!(next(&mut bench.handle.feed("new"), 9).await, [number]);
    assert_eq!(bench.handle.health().depth, 1);
}

#[tokio::test]
async fn a_refused_event_is_a_dead_letter_that_can_be_sent_again() {
    let mut bench = Bench::new(&["s"]);
    let number = bench.record(Class::Incident, "a");
    let mut feed = bench.handle.feed("s");
    assert_eq!(next(&mut feed, 9).await, [number]);
    feed.settle(1, Settled::Dead("status 400".to_owned())).await;
    let younger = bench.record(Class::Incident, "b");
    assert_eq!(next(&mut feed, 9).await, [younger]);
    let desk = Desk::open(&bench.path(), true).expect("the file is there");
    let letter = DeadLetter {
        sink: "s".to_owned(),
        sequence: number,
        id: format!("a/{number}"),
        subject: "a".to_owned(),
        at: NOW,
        reason: "status 400".to_owned(),
        again: false,
    };
    assert_eq!(desk.dead_letters().expect("readable"), [letter]);
    assert_eq!(desk.resend(&format!("b/{younger}")).expect("writable"), 0);
    assert_eq!(desk.resend(&format!("a/{number}")).expect("writable"), 1);
    bench.tick(SECOND).await;
    assert_eq!(next(&mut feed, 9).await, [number]);
    feed.settle(1, Settled::Delivered).await;
    assert_eq!(next(&mut feed, 9).await, [younger]);
    assert_eq!(desk.dead_letters().expect("readable"), []);
}

#[tokio::test]
async fn updates_collapse_before_anything_is_lost_and_what_is_lost_is_declared() {
    let mut bench = Bench::small(&["away"]);
    let opened = bench.record_with(Class::Incident, "a", 1_000);
    // 1.5 MB of updates of one incident: no gap.
    for _ in 0..150 {
        bench.record_with(Class::Incident, "a", 10_000);
        // The queue to the thread is bounded, too.
        let mut feed = bench.handle.feed("away");
        assert_eq!(next(&mut feed, 1).await, [opened]);
    }
    assert!(
        bench.handle.health().collapsed > 40,
        "{:?}",
        bench.handle.health()
    );
    // 1.5 MB of incidents that say only one thing each: the oldest go.
    for number in 0..150 {
        bench.record_with(Class::Incident, &format!("i{number}"), 10_000);
        let mut feed = bench.handle.feed("away");
        next(&mut feed, 1).await;
    }
    let gap = bench.told(|told| matches!(told, Told::Gap(_))).await;
    let Told::Gap(gap) = gap else {
        unreachable!("asked for")
    };
    assert_eq!(
        gap.from, opened,
        "the first state of an incident with a later one goes first"
    );
    assert!(gap.events >= 1 && gap.to >= gap.from, "{gap:?}");
    // Declared by an event, it is not declared again.
    bench.sequence += 1;
    let sequence = bench.sequence;
    bench.handle.record(Record {
        event: event(sequence, Class::Agent, "", 100),
        incident: None,
        text: None,
        declares: Some(gap.total),
    });
    let left: Vec<u64> = drain(&mut bench, "away")
        .await
        .iter()
        .map(|e| e.sequence)
        .collect();
    let produced: Vec<u64> = (opened..=sequence).collect();
    assert!(left.is_sorted());
    let gone = produced.len() - left.len();
    let health = bench.handle.health();
    let desk = rusqlite::Connection::open(bench.path()).expect("the file is there");
    let total: i64 = desk
        .query_row(
            "SELECT value FROM meta WHERE key = 'gap_total'",
            [],
            |row| row.get(0),
        )
        .expect("a number");
    assert_eq!(
        gone as u64,
        health.collapsed + total.unsigned_abs(),
        "produced = delivered + collapsed + declared"
    );
    assert_eq!(left.last(), Some(&sequence));
}

/// Of each class some, and of incidents those that are told of once and those that go on.
const CROWD: [Class; 7] = [
    Class::Incident,
    Class::Finding,
    Class::Agent,
    Class::Incident,
    Class::Incident,
    Class::Finding,
    Class::Incident,
];

#[tokio::test]
async fn a_sink_that_keeps_up_loses_nothing_by_one_that_is_away() {
    let mut bench = Bench::small(&["away", "slow", "live"]);
    let (mut slow, mut live) = (bench.handle.feed("slow"), bench.handle.feed("live"));
    let mut waiting = VecDeque::new();
    // The outbox overflows some fifty times, with an event of each class.
    for (turn, class) in CROWD.into_iter().cycle().take(700).enumerate() {
        let subject = match class {
            Class::Incident if turn % 3 == 0 => format!("goes on {}", turn / 90),
            Class::Incident => format!("once {turn}"),
            _ => String::new(),
        };
        let number = bench.record_with(class, &subject, 10_000);
        assert_eq!(next(&mut live, 9).await, [number], "{class:?}");
        live.settle(1, Settled::Delivered).await;
        waiting.push_back((number, subject));
        // 400 KB behind, less than half: of an incident that goes on it may get the last state alone.
        while waiting.len() > 40 {
            let got = next(&mut slow, 1).await[0];
            slow.settle(1, Settled::Delivered).await;
            while let Some((number, subject)) = waiting.pop_front()
                && number != got
            {
                let is_later = |(_, later): &(u64, String)| *later == subject;
                assert!(
                    !subject.is_empty() && waiting.iter().any(is_later),
                    "{number} is lost"
                );
            }
        }
    }
    let health = bench.handle.health();
    assert!(
        health.collapsed > 0 && health.depth < 105,
        "the bound is kept: {health:?}"
    );
    let gap = bench.told(|told| matches!(told, Told::Gap(_))).await;
    assert!(matches!(gap, Told::Gap(gap) if gap.events > 0), "{gap:?}");
}

#[tokio::test]
async fn an_event_older_than_the_bound_is_given_up_and_declared() {
    let mut bench = Bench::new(&["away"]);
    let old = bench.record(Class::Incident, "a");
    assert_eq!(next(&mut bench.handle.feed("away"), 9).await, [old]);
    bench.tick(8 * 86_400 * SECOND).await;
    let gap = bench.told(|told| matches!(told, Told::Gap(_))).await;
    assert_eq!(
        gap,
        Told::Gap(Gap {
            from: old,
            to: old,
            events: 1,
            total: 1
        })
    );
    let young = bench.record(Class::Incident, "b");
    assert_eq!(next(&mut bench.handle.feed("away"), 9).await, [young]);
}

#[tokio::test]
async fn a_text_is_shown_once_its_event_is_stored() {
    let mut bench = Bench::new(&["s"]);
    bench.sequence += 1;
    bench.handle.record(Record {
        event: event(bench.sequence, Class::Incident, "a", 9),
        incident: None,
        text: Some(Bytes::from_static(b"text")),
        declares: None,
    });
    // Given to the sink means committed, and shown comes before given.
    assert_eq!(next(&mut bench.handle.feed("s"), 9).await, [bench.sequence]);
    assert_eq!(
        *bench.shown.lock().expect("nobody panics"),
        [Bytes::from_static(b"text")]
    );
    let file = rusqlite::Connection::open(bench.path()).expect("the file is there");
    let stored: i64 = file
        .query_row("SELECT sequence FROM event", [], |row| row.get(0))
        .expect("one event");
    assert_eq!(stored.unsigned_abs(), bench.sequence);
}
