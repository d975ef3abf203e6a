use super::*;
use crate::enrich::snapshot;

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
    let stat_of_us = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, after_name) = stat_of_us.rsplit_once(')').unwrap();
    let session: u32 = after_name.split(' ').nth(4).unwrap().parse().unwrap();
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
            // 0: the session began before this pid namespace, as init's own may.
            session: Some(session).filter(|session| *session != 0),
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
    let (handle, mut answers) = Enricher::spawn(&config::Enrich::default(), None).unwrap();
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
            Answer::Sockets(Sockets::default()),
            Answer::SnapshotEnd { told: 1, missed: 1 }
        ]
    );
}
