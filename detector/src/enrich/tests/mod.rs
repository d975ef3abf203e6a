//! Real processes and real files, compared with what other tools say about them. Every process is ended
//! by the test that started it.

mod executable;
mod preload;
mod process;
mod snapshot;
mod socket;
mod worker;

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

use super::*;
use crate::{
    config,
    input::{
        Exec, Executable, ExecutableFacts, ExecutableId, FileStat, Integrity, Observed, Owner,
        ProcessFacts, ProcessKey, ScriptFacts, Sha256, Sockets,
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
        let end = Instant::now() + Duration::from_secs(30);
        let running = loop {
            match command.spawn() {
                Ok(child) => break Running(child),
                // Another test forked while the program was being written: its child still holds it open.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    assert!(Instant::now() < end, "busy for 30 s");
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        };
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
            file_wanted: true,
            filename: Box::default(),
            script: None,
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
    let (handle, mut answers) = Enricher::spawn(config, None).unwrap();
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

/// `sleep` in a memfd, executed through the descriptor.
fn memfd_sleep() -> Running {
    use rustix::fs::{MemfdFlags, memfd_create};
    let memfd = memfd_create("up/date", MemfdFlags::empty()).unwrap();
    rustix::io::write(&memfd, &fs::read("/usr/bin/sleep").unwrap()).unwrap();
    let path = format!("/proc/self/fd/{}", memfd.as_raw_fd());
    Running::start(Command::new(path).arg("1000"))
}
