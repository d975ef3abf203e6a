//! Real processes and real files, compared with what other tools say about them. Every process is ended
//! by the test that started it.

use std::{
    fs,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use detector_common::event;

use super::{snapshot::SnapshotError, *};
use crate::{
    config,
    input::{
        Exec, Executable, ExecutableFacts, ExecutableId, Observed, Owner, ProcessFacts, ProcessKey,
        Sha256,
    },
    output::Enrich,
};

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
        let running = Running(command.spawn().expect("the program starts"));
        // `spawn` returns in the middle of the exec, before the new arguments are in place.
        let cmdline = format!("/proc/{}/cmdline", running.0.id());
        until("arguments", || {
            fs::read(&cmdline).is_ok_and(|args| !args.is_empty())
        });
        running
    }

    fn sleep() -> Running {
        Running::start(Command::new("/usr/bin/sleep").arg("1000"))
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    fn until_it_runs(&self, path: &str) {
        let link = format!("/proc/{}/exe", self.0.id());
        until(path, || {
            fs::read_link(&link).is_ok_and(|exe| exe == Path::new(path))
        });
    }

    fn key(&self) -> ProcessKey {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let ticks = stat
            .rsplit(") ")
            .next()
            .unwrap()
            .split(' ')
            .nth(19)
            .unwrap();
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        ProcessKey {
            tgid: self.0.id(),
            start_ns: ticks.parse::<u64>().unwrap() * tick_ns,
        }
    }

    /// Identity of the image, as the kernel would have reported it by now.
    fn image(&self) -> ExecutableId {
        id(Path::new(&format!("/proc/{}/exe", self.0.id())))
    }

    fn question(&self) -> Enrich {
        Enrich {
            process: self.key(),
            uid: 0,
            executable: Some(self.image()),
            filename: Box::default(),
            script: false,
        }
    }

    fn task(&self) -> event::Task {
        let process = self.key();
        let process = event::Process {
            start_boottime_ns: process.start_ns,
            tgid: process.tgid,
            reserved: 0,
        };
        event::Task {
            process,
            parent: event::Process {
                start_boottime_ns: 5,
                tgid: std::process::id(),
                reserved: 0,
            },
            start_boottime_ns: process.start_boottime_ns,
            cpu_ns: 0,
            run_delay_ns: 0,
            voluntary_switches: 0,
            involuntary_switches: 0,
            cgroup_id: 7,
            pid: process.tgid,
            flags: 0,
            uid: 33,
            policy: 3,
            static_prio: 130,
            reserved: 0,
            comm: [0; 16],
        }
    }
}

/// Waits on a condition, with a deadline.
fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "waited 30 s for {what}");
        std::thread::yield_now();
    }
}

fn id(path: &Path) -> ExecutableId {
    let stat = fs::metadata(path).unwrap();
    ExecutableId {
        dev: stat.dev(),
        inode: stat.ino(),
        ctime_sec: stat.ctime(),
        ctime_nsec: stat.ctime_nsec() as u32,
    }
}

fn sha256sum(path: &Path) -> Sha256 {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let digest: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    Sha256::Digest(digest.try_into().unwrap())
}

/// All answers to these questions, by a thread of their own.
fn ask_with(config: &config::Enrich, questions: &[Enrich]) -> Vec<Answer> {
    let (handle, mut answers) = Enricher::spawn(config).unwrap();
    for question in questions {
        handle.enrich(question.clone()).unwrap();
    }
    drop(handle);
    std::iter::from_fn(|| answers.blocking_recv()).collect()
}

fn ask(question: &Enrich) -> (ProcessFacts, ExecutableFacts) {
    let config = config::Enrich::default();
    match &ask_with(&config, std::slice::from_ref(question))[..] {
        [Answer::Process(process), Answer::Executable(executable)] => {
            (process.clone(), executable.clone())
        }
        other => panic!("{other:?}"),
    }
}

/// A copy of `sleep` that no package owns.
fn copied_sleep(dir: &Path) -> std::path::PathBuf {
    let copy = dir.join("kworkerd");
    fs::copy("/usr/bin/sleep", &copy).unwrap();
    copy
}

fn bytes(path: &Path) -> Option<Box<[u8]>> {
    Some(path.as_os_str().as_encoded_bytes().into())
}

/// The package of `sleep`, where there is a database.
fn owner_of_sleep() -> Owner {
    let output = Command::new("dpkg").args(["-S", "/bin/sleep"]).output();
    match output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
    {
        Some(text) if text.contains(": ") => {
            Owner::Package(text.split(": ").next().unwrap().to_owned())
        }
        _ => Owner::Unknown("no package database"),
    }
}

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
        }
    );
    let modified = fs::metadata(sleep_path).unwrap();
    assert_eq!(
        executable,
        ExecutableFacts {
            id: id(sleep_path),
            path: bytes(sleep_path),
            owner: owner_of_sleep(),
            sha256: sha256sum(sleep_path),
            modified_unix_ns: Some(modified.mtime() * 1_000_000_000 + modified.mtime_nsec()),
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

/// `sleep` in a memfd, executed through the descriptor.
fn memfd_sleep() -> Running {
    use rustix::fs::{MemfdFlags, memfd_create};
    let memfd = memfd_create("up/date", MemfdFlags::empty()).unwrap();
    rustix::io::write(&memfd, &fs::read("/usr/bin/sleep").unwrap()).unwrap();
    let path = format!("/proc/self/fd/{}", memfd.as_raw_fd());
    Running::start(Command::new(path).arg("1000"))
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
            script: false,
        };
        assert_eq!(ask(&question).1.sha256, Sha256::Missing("unreadable"));
        let script = Enrich {
            script: true,
            ..question
        };
        assert_eq!(
            ask(&script).1.sha256,
            Sha256::Missing("gone"),
            "one answer, no script"
        );
    }
}

#[test]
fn own_files_of_the_detector_are_not_reached_through_self() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("innocent");
    std::os::unix::fs::symlink("/proc/self/status", &link).unwrap();
    let sleep = Running::sleep();
    for path in [&*link, Path::new("/proc/self/exe"), Path::new("/dev/fd/0")] {
        let question = Enrich {
            filename: bytes(path).unwrap(),
            script: true,
            ..sleep.question()
        };
        let (process, interpreter) = ask(&question);
        assert_eq!(process.script_path, bytes(path));
        assert_eq!(interpreter.path, bytes(Path::new("/usr/bin/sleep")));
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
        filename: (*b"x/../s.sh").into(),
        script: true,
        ..running.question()
    };
    let answers = ask_with(&config::Enrich::default(), &[question]);
    let [
        Answer::Process(process),
        Answer::Executable(interpreter),
        Answer::Executable(found),
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
        filename: (*b"not-there.sh").into(),
        script: true,
        ..sleep.question()
    };
    assert_eq!(ask(&question).0.script_path, None);
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

#[test]
fn snapshot_tells_what_the_exec_would_have_told() {
    let long = "x".repeat(3000);
    let sleep = Running::start(Command::new("/bin/sh").args(["-c", "read line", &long]));
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let task = sleep.task();
    let exec = snapshot::image(&task).unwrap();
    let stat = fs::metadata(&shell).unwrap();
    let magic = Command::new("stat")
        .args(["-f", "-c", "%t"])
        .arg(&shell)
        .output()
        .unwrap();
    let magic = String::from_utf8(magic.stdout).unwrap();
    let args = format!("/bin/sh\0-c\0read line\0{long}\0");
    let of_us = |name: &str| -> Option<u32> {
        let text = fs::read_to_string(format!("/proc/self/{name}")).ok()?;
        text.trim().parse().ok().filter(|id| *id != u32::MAX)
    };
    let session = rustix::process::getsid(None)
        .unwrap()
        .as_raw_nonzero()
        .get();
    assert_eq!(
        exec,
        Exec {
            at_ns: task.process.start_boottime_ns,
            observed: Observed::Snapshot,
            process: sleep.key(),
            parent: ProcessKey {
                tgid: std::process::id(),
                start_ns: 5,
            },
            old_pid: sleep.0.id(),
            executable: Executable {
                id: id(&shell),
                size: stat.len(),
                mode: stat.mode(),
                nlink: stat.nlink() as u32,
                uid: stat.uid(),
                fs_magic: u64::from_str_radix(magic.trim(), 16).unwrap(),
                overlay_upper: false,
            },
            name: shell.file_name().unwrap().as_encoded_bytes().into(),
            filename: bytes(&shell).unwrap(),
            filename_truncated: false,
            interpreter: None,
            args: args.as_bytes()[..1024].into(),
            args_total_bytes: args.len() as u32,
            comm: *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            uid: 33,
            gid: rustix::process::getgid().as_raw(),
            loginuid: of_us("loginuid"),
            audit_session: of_us("sessionid"),
            session: Some(session as u32),
            namespace_pid: Some(sleep.0.id()),
            cgroup_id: Some(7),
            policy: 3,
            nice: Some(10),
        }
    );
}

#[test]
fn snapshot_counts_the_processes_it_missed_and_skips_what_is_none() {
    let mut ended = Running::sleep();
    let alive = Running::sleep();
    let (gone, here) = (ended.task(), alive.task());
    ended.end();
    let thread = event::Task {
        pid: here.pid + 1,
        ..here
    };
    let of_the_kernel = event::Task {
        flags: event::task::PF_KTHREAD,
        ..here
    };
    let (handle, mut answers) = Enricher::spawn(&config::Enrich::default()).unwrap();
    handle
        .snapshot(vec![gone, thread, of_the_kernel, here])
        .unwrap();
    drop(handle);
    let answers: Vec<Answer> = std::iter::from_fn(|| answers.blocking_recv()).collect();
    let expected = snapshot::image(&here).unwrap();
    assert_eq!(
        answers,
        [
            Answer::Snapshot(Box::new(expected)),
            Answer::SnapshotEnd { told: 1, missed: 1 }
        ]
    );
}

#[test]
fn full_queue_drops_and_counts_every_question_it_does_not_take() {
    let sleep = Running::sleep();
    let config = config::Enrich {
        queue: 1,
        ..config::Enrich::default()
    };
    let (handle, mut answers) = Enricher::spawn(&config).unwrap();
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
    let (handle, answers) = Enricher::spawn(&config::Enrich::default()).unwrap();
    drop(answers);
    until("the thread's end", || {
        handle.enrich(sleep.question()).is_err() && handle.dropped() >= 2
    });
}
