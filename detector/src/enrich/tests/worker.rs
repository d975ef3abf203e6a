use super::*;

#[test]
fn full_queue_drops_and_counts_every_question_it_does_not_take() {
    let sleep = Running::sleep();
    let config = config::Enrich {
        queue: 1,
        ..config::Enrich::default()
    };
    let (handle, mut answers) = Enricher::spawn(&config, None).unwrap();
    let question = Enrich {
        executable: None,
        ..sleep.question()
    };
    let sent = 100;
    let taken = (0..sent)
        .filter(|_| handle.enrich(question.clone()).is_ok())
        .count();
    // One waits, one is being answered, and one answer waits to be read.
    assert!(taken <= 3, "{taken} taken");
    assert_eq!(handle.dropped(), (sent - taken) as u64);
    drop(handle);
    let answered = std::iter::from_fn(|| answers.blocking_recv()).count();
    assert_eq!(answered, taken);
}

#[test]
fn thread_ends_with_its_reader() {
    let sleep = Running::sleep();
    let (handle, answers) = Enricher::spawn(&config::Enrich::default(), None).unwrap();
    drop(answers);
    until("the thread's end", || {
        handle.enrich(sleep.question()).is_err() && handle.dropped() >= 2
    });
}
