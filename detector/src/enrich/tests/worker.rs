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

/// What is told of an executable.
fn told(answers: &mut tokio::sync::mpsc::Receiver<Answer>) -> ExecutableFacts {
    let mut answers = std::iter::from_fn(|| answers.blocking_recv());
    let facts = answers.find_map(|answer| match answer {
        Answer::Executable(facts) => Some(facts),
        _ => None,
    });
    facts.expect("an answer for each question")
}

#[test]
fn nothing_is_hashed_while_it_rests_and_what_was_not_is_hashed_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let copy = copied_sleep(dir.path());
    let sleep = Running::start(std::process::Command::new(&copy).arg("1000"));
    let (handle, mut answers) = Enricher::spawn(&config::Enrich::default(), None).unwrap();
    handle.rest(true);
    handle.enrich(sleep.question()).unwrap();
    let missing = Sha256::Missing("cpu_budget");
    let facts = told(&mut answers);
    assert_eq!((facts.sha256, facts.owner), (missing, Owner::Unowned));
    handle.rest(false);
    handle.enrich(sleep.question()).unwrap();
    assert_eq!(told(&mut answers).sha256, sha256sum(&copy));
}

#[test]
fn own_files_are_told_as_they_lie_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("detector.toml");
    std::fs::write(&path, "[enrich]\n").unwrap();
    let (handle, mut answers) = Enricher::spawn(&config::Enrich::default(), None).unwrap();
    let mut look = || {
        handle.own_files(path.clone());
        match answers.blocking_recv() {
            Some(Answer::OwnFiles(files)) => files,
            other => panic!("{other:?}"),
        }
    };
    let before = look();
    assert_eq!(before.program, crate::enrich::OwnProgram::Same);
    let Sha256::Digest(digest) = sha256sum(&path) else {
        panic!("it is there");
    };
    assert_eq!(before.config, Some(digest));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(look().config, None);
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
