use super::*;
use crate::enrich::{
    procfs,
    snapshot::{self, SnapshotError},
};

#[test]
fn another_image_than_the_one_asked_about_is_not_told() {
    let sleep = Running::sleep();
    let mut question = sleep.question();
    let asked = question.executable.as_mut().unwrap();
    asked.ctime_nsec ^= 1;
    let (process, executable) = ask(&question);
    assert_eq!(process.executable_path, None);
    assert!(process.working_directory.is_some());
    assert_eq!(executable.sha256, Sha256::Missing("changed"));
    assert_eq!(executable.path, None);
    assert_eq!(executable.owner, Owner::Unknown("file not reached"));
}

#[test]
fn reused_process_id_answers_nothing_about_the_later_process() {
    let sleep = Running::sleep();
    let mut question = sleep.question();
    question.process.start_ns -= 1_000_000_000;
    let (process, executable) = ask(&question);
    assert_eq!(
        process,
        ProcessFacts {
            process: question.process,
            executable_path: None,
            script_path: None,
            working_directory: None,
            cgroup: None,
            unit: None,
            container_id: None,
            user_name: Some("root".to_owned()),
            title: None,
            preloads: Vec::new(),
        }
    );
    assert_eq!(executable.sha256, Sha256::Missing("gone"));
    let mut task = sleep.task();
    task.process.start_boottime_ns -= 1_000_000_000;
    assert!(matches!(
        snapshot::image(&task),
        Err(SnapshotError::Process(procfs::ProcessError::Reused { .. }))
    ));
}

#[test]
fn own_files_of_the_detector_are_not_reached_through_self() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("innocent");
    std::os::unix::fs::symlink("/proc/self/status", &link).unwrap();
    let sleep = Running::sleep();
    for path in [&*link, Path::new("/proc/self/exe"), Path::new("/dev/fd/0")] {
        let question = Enrich {
            script: bytes(path),
            ..sleep.question()
        };
        let (process, interpreter) = ask(&question);
        assert_eq!(process.script_path, bytes(path));
        assert_eq!(interpreter.path, bytes(Path::new("/usr/bin/sleep")));
    }
}

#[test]
fn script_is_told_under_its_own_identity_beside_its_interpreter() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let script = dir.join("s.sh");
    fs::write(&script, "#!/bin/sh\nread line\n").unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let running = Running::start(Command::new("./s.sh").current_dir(&dir));
    running.until_it_runs(shell.to_str().unwrap());
    let question = Enrich {
        script: Some((*b"x/../s.sh").into()),
        ..running.question()
    };
    let answers = ask_with(&config::Enrich::default(), &[question]);
    let [
        Answer::Process(process),
        Answer::Executable(interpreter),
        Answer::Script(ScriptFacts { file: found, .. }),
    ] = &answers[..]
    else {
        panic!("{answers:?}");
    };
    assert_eq!(process.script_path, bytes(&script));
    assert_eq!(interpreter.path, bytes(&shell));
    assert_eq!((found.id, &found.path), (id(&script), &bytes(&script)));
    assert_eq!(found.sha256, sha256sum(&script));
    assert_ne!(found.owner, owner_of_sleep());
}

#[test]
fn relative_script_that_is_not_there_has_no_path() {
    let sleep = Running::sleep();
    let question = Enrich {
        script: Some((*b"not-there.sh").into()),
        ..sleep.question()
    };
    assert_eq!(ask(&question).0.script_path, None);
}

#[test]
fn script_that_became_a_link_to_a_shipped_one_is_not_taken_for_shipped() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().canonicalize().unwrap().join("s.sh");
    fs::write(&script, "#!/bin/sh\nread line\n").unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let running = Running::start(&mut Command::new(&script));
    let question = Enrich {
        script: bytes(&script),
        ..running.question()
    };
    let descriptors = format!("/proc/{}/fd", running.0.id());
    until("the shell to open its script", || {
        fs::read_dir(&descriptors).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|e| fs::read_link(e.path()).ok().as_ref() == Some(&script))
            })
        })
    });
    fs::remove_file(&script).unwrap();
    std::os::unix::fs::symlink("/usr/bin/sleep", &script).unwrap();
    let answers = ask_with(&config::Enrich::default(), &[question]);
    let Some(Answer::Script(told)) = answers.last() else {
        panic!("{answers:?}");
    };
    let facts = &told.file;
    assert_eq!(told.process, running.key());
    assert_eq!(facts.path, bytes(Path::new("/usr/bin/sleep")));
    assert!(matches!(facts.owner, Owner::Unknown(_)), "{facts:?}");
}
