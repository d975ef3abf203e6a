use super::*;
use crate::enrich::{executable::Executables, procfs::ProcessDir, snapshot};

#[test]
fn shipped_program_is_told_with_place_owner_and_hash() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("/usr/bin/sleep");
    let sleep = Running::start(command.arg("1000").current_dir(dir.path()));
    let (process, executable) = ask(&sleep.question());
    let sleep_path = Path::new("/usr/bin/sleep");
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", sleep.0.id())).unwrap();
    let cgroup = cgroup::path(&cgroup);
    assert_eq!(
        process,
        ProcessFacts {
            process: sleep.key(),
            executable_path: bytes(sleep_path),
            script_path: None,
            working_directory: bytes(&dir.path().canonicalize().unwrap()),
            unit: cgroup.as_deref().and_then(cgroup::unit),
            container_id: cgroup.as_deref().and_then(cgroup::container),
            cgroup,
            user_name: Some("root".to_owned()),
            title: Some(b"/usr/bin/sleep\x001000\0".as_slice().into()),
            preloads: Vec::new(),
        }
    );
    let modified = fs::metadata(sleep_path).unwrap();
    assert_eq!(
        executable,
        ExecutableFacts {
            id: id(sleep_path),
            path: bytes(sleep_path),
            integrity: matches!(owner_of_sleep(), Owner::Package(_)).then_some(Integrity::Intact),
            owner: owner_of_sleep(),
            namesake: None,
            sha256: sha256sum(sleep_path),
            modified_unix_ns: Some(modified.mtime() * 1_000_000_000 + modified.mtime_nsec()),
            stat: Some(FileStat {
                uid: 0,
                user_name: Some("root".to_owned()),
                mode: modified.mode(),
                size: modified.len(),
                born_unix_ns: modified.created().ok().map(|born| {
                    let since = born.duration_since(std::time::UNIX_EPOCH).unwrap();
                    i64::try_from(since.as_nanos()).unwrap()
                }),
            }),
            known: None,
        }
    );
}

#[test]
fn deleted_program_is_hashed_through_its_process_under_the_identity_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let copy = copied_sleep(dir.path());
    let sleep = Running::start(Command::new(&copy).arg("1000"));
    let question = sleep.question();
    fs::remove_file(&copy).unwrap();
    assert_ne!(
        sleep.image(),
        question.executable.unwrap(),
        "deletion changes ctime"
    );
    let (process, executable) = ask(&question);
    assert_eq!(process.executable_path, bytes(&copy));
    assert_eq!(executable.id, question.executable.unwrap());
    assert_eq!(executable.path, bytes(&copy));
    assert_eq!(executable.sha256, sha256sum(Path::new("/usr/bin/sleep")));
    if owner_of_sleep() != Owner::Unknown("no package database") {
        assert_eq!(executable.owner, Owner::Unowned);
    }
}

#[test]
fn program_without_a_file_is_hashed_and_owned_by_nobody() {
    let sleep = memfd_sleep();
    let (process, executable) = ask(&sleep.question());
    assert_eq!(process.executable_path, bytes(Path::new("/memfd:up/date")));
    assert_eq!(executable.path, bytes(Path::new("/memfd:up/date")));
    assert_eq!(executable.sha256, sha256sum(Path::new("/usr/bin/sleep")));
    assert_ne!(executable.owner, owner_of_sleep());
    let exec = snapshot::image(&sleep.task()).unwrap();
    assert_eq!(&*exec.name, b"memfd:up/date");
    assert_eq!(exec.executable.nlink, 0);
}

#[test]
fn image_of_an_ended_process_is_reached_by_its_path_if_it_is_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let copy = copied_sleep(dir.path());
    let mut sleep = Running::start(Command::new(&copy).arg("1000"));
    let question = Enrich {
        filename: bytes(&copy).unwrap(),
        ..sleep.question()
    };
    sleep.end();
    let (process, executable) = ask(&question);
    assert_eq!(process.executable_path, None);
    assert_eq!(executable.path, bytes(&copy));
    assert_eq!(executable.sha256, sha256sum(&copy));

    fs::set_permissions(&copy, PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(ask(&question).1.sha256, Sha256::Missing("changed"));
    fs::remove_file(&copy).unwrap();
    assert_eq!(ask(&question).1.sha256, Sha256::Missing("gone"));
}

#[test]
fn pipe_or_device_in_place_of_a_program_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for path in [&*pipe, Path::new("/dev/zero")] {
        let question = Enrich {
            process: ProcessKey {
                tgid: u32::MAX >> 1,
                start_ns: 0,
            },
            uid: 0,
            executable: Some(id(path)),
            filename: bytes(path).unwrap(),
            file_wanted: true,
            script: None,
        };
        assert_eq!(ask(&question).1.sha256, Sha256::Missing("unreadable"));
    }
}

#[test]
fn bounds_of_hashing_hold_and_say_which() {
    let size = fs::metadata("/usr/bin/sleep").unwrap().len();
    let dir = tempfile::tempdir().unwrap();
    let copy = copied_sleep(dir.path());
    let (shipped, copied) = (
        Running::sleep(),
        Running::start(Command::new(&copy).arg("1000")),
    );
    let questions = [shipped.question(), copied.question(), shipped.question()];
    let hashes = |config: &config::Enrich| -> Vec<Sha256> {
        let answers = ask_with(config, &questions).into_iter();
        answers
            .filter_map(|answer| match answer {
                Answer::Executable(facts) => Some(facts.sha256),
                _ => None,
            })
            .collect()
    };
    let digest = sha256sum(&copy);
    let slow = config::Enrich {
        hash_bytes_per_second: 1,
        hash_burst_bytes: size + 1,
        ..config::Enrich::default()
    };
    // The third answer comes from memory and costs nothing.
    assert_eq!(
        hashes(&slow),
        [digest, Sha256::Missing("rate_limited"), digest]
    );
    let small = config::Enrich {
        hash_max_bytes: size - 1,
        ..config::Enrich::default()
    };
    assert_eq!(hashes(&small), [Sha256::Missing("too_large"); 3]);
}

#[test]
fn another_mount_namespace_neither_hides_an_owner_nor_lends_one() {
    let dir = tempfile::tempdir().unwrap();
    let evil = copied_sleep(dir.path());
    let (evil, covered) = (evil.to_str().unwrap(), "/usr/bin/tac");
    let isolated = |script: &str| {
        let mut command = Command::new("unshare");
        Running::start(command.args(["--mount", "sh", "-c", script, evil, covered]))
    };
    let may_unshare = Command::new("unshare").args(["--mount", "true"]).status();
    if !may_unshare.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no permission for a mount namespace");
        return;
    }
    let honest = isolated("exec /usr/bin/sleep 1000");
    honest.until_it_runs("/usr/bin/sleep");
    assert_eq!(ask(&honest.question()).1.owner, owner_of_sleep());

    let disguised = isolated("mount --bind \"$0\" \"$1\" && exec \"$1\" 1000");
    disguised.until_it_runs(covered);
    let (process, executable) = ask(&disguised.question());
    assert_eq!(process.executable_path, bytes(Path::new(covered)));
    assert_eq!(executable.path, None);
    assert_eq!(executable.sha256, sha256sum(Path::new("/usr/bin/sleep")));
    if owner_of_sleep() != Owner::Unknown("no package database") {
        assert_eq!(executable.owner, Owner::Unowned);
    }
}

/// systemd hides the host's `/tmp` from a service with `PrivateTmp=`: process 1 still sees it.
#[test]
fn what_process_1_sees_and_the_daemon_does_not_lies_on_the_host_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let program = copied_sleep(dir.path());
    let script = "mount -t tmpfs tmpfs /mnt && cp \"$0\" /mnt/program && exec /mnt/program 1000";
    let may_unshare = Command::new("unshare").args(["--mount", "true"]).status();
    if !may_unshare.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no permission for a mount namespace");
        return;
    }
    let mut command = Command::new("unshare");
    let running = Running::start(command.args(["--mount", "sh", "-c", script]).arg(&program));
    running.until_it_runs("/mnt/program");
    let (now, question) = (Instant::now(), running.question());
    let process = ProcessDir::open(running.key()).unwrap();
    let path_if_first = |first: &str| {
        let config = config::Enrich::default();
        let mut executables = Executables::with_view_of(first, &config, now).unwrap();
        let id = question.executable.unwrap();
        executables.image(id, Some(&process), b"", now).path
    };
    assert_eq!(path_if_first("self"), None);
    let first = running.0.id().to_string();
    assert_eq!(path_if_first(&first), bytes(Path::new("/mnt/program")));
}

#[test]
fn pipe_in_place_of_a_script_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let sleep = Running::sleep();
    let question = Enrich {
        script: bytes(&pipe),
        ..sleep.question()
    };
    // Two answers and none about a script.
    let (process, _) = ask(&question);
    assert_eq!(process.script_path, bytes(&pipe));
}
