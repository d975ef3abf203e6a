//! Exec records against `/proc` and `stat(2)` of the process itself.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    process::Command,
};

use detector::input::Exec;
use serde_json::{Value, json};

use crate::{
    actor::{Actor, PROGRAM},
    watch::watch,
};

const TMPFS_MAGIC: u64 = 0x0102_1994;

/// The record in the words of the actor's `show`.
pub(super) fn as_shown(exec: &Exec) -> Value {
    let user_hz = rustix::param::clock_ticks_per_second();
    let trim = |name: &[u8; 16]| name.split(|b| *b == 0).next().map(<[u8]>::to_vec);
    json!({
        "pid": exec.process.tgid,
        "ppid": exec.parent.tgid,
        "uid": exec.uid,
        "gid": exec.gid,
        "namespace_pid": exec.namespace_pid,
        // /proc says 0 for a session that began before this pid namespace, as init's own may.
        "session": exec.session.unwrap_or(0),
        "nice": exec.nice,
        "start_ticks": exec.process.start_ns / (1_000_000_000 / user_hz),
        "policy": exec.policy,
        // /proc says 2^32 - 1 where none is set.
        "loginuid": exec.loginuid.unwrap_or(u32::MAX),
        "audit_session": exec.audit_session.unwrap_or(u32::MAX),
        "dev": exec.executable.id.dev,
        "inode": exec.executable.id.inode,
        "ctime_sec": exec.executable.id.ctime_sec,
        "ctime_nsec": exec.executable.id.ctime_nsec,
        "nlink": exec.executable.nlink,
        "mode": exec.executable.mode,
        "size": exec.executable.size,
        "file_uid": exec.executable.uid,
        "fs_magic": exec.executable.fs_magic,
        "comm": trim(&exec.comm),
        "cmdline": exec.args,
    })
}

#[test]
fn an_exec_record_equals_proc_and_stat_in_every_field() {
    let mut watch = watch!();
    let mut actor = Actor::start(["show", "--", "a b", "", "c\n"]);
    let shown = actor.says();
    let exec = watch.exec(actor.pid(), |_| true);
    assert_eq!(as_shown(&exec), shown);
    assert_eq!(exec.args_total_bytes as usize, exec.args.len());
    assert_eq!(exec.filename.as_ref(), PROGRAM.as_bytes());
    assert_eq!(
        (exec.name.as_ref(), &exec.interpreter),
        (&b"actor"[..], &None)
    );
    assert_eq!(exec.old_pid, actor.pid());
    assert!(actor.finish().success());
}

#[test]
fn a_script_is_the_filename_and_its_interpreter_the_loaded_file() {
    let mut watch = watch!();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("job.sh");
    fs::write(&script, "#!/bin/sh -e\nread line\n").expect("it is writable");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let actor = Actor::start_command(Command::new(&script));
    let exec = watch.exec(actor.pid(), |_| true);
    assert_eq!(exec.filename.as_ref(), script.as_os_str().as_bytes());
    assert_eq!(exec.interpreter.as_deref(), Some(&b"/bin/sh"[..]));
    let shell = rustix::fs::stat("/bin/sh").expect("there is a shell");
    assert_eq!(
        (exec.executable.id.dev, exec.executable.id.inode),
        (shell.st_dev, shell.st_ino)
    );
    let cmdline = fs::read(format!("/proc/{}/cmdline", actor.pid())).expect("it waits for input");
    assert_eq!(exec.args.as_ref(), cmdline);
    actor.finish();
}

#[test]
fn a_memfd_is_known_by_file_system_links_and_name() {
    let mut watch = watch!();
    let mut actor = Actor::start(["memfd"]);
    let shown = actor.says();
    let exec = watch.exec(actor.pid(), |exec| exec.executable.nlink == 0);
    assert_eq!(as_shown(&exec), shown);
    assert_eq!(exec.executable.fs_magic, TMPFS_MAGIC);
    assert_eq!(exec.name.as_ref(), b"memfd:kworker/0:1");
    assert!(actor.finish().success());
}

#[test]
fn a_deleted_file_is_known_by_its_links_and_keeps_its_identity() {
    let mut watch = watch!();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut actor = Actor::start([OsStr::new("deleted"), folder.path().as_os_str()]);
    let shown = actor.says();
    let exec = watch.exec(actor.pid(), |exec| exec.executable.nlink == 0);
    assert_eq!(as_shown(&exec), shown);
    assert_ne!(exec.executable.fs_magic, TMPFS_MAGIC);
    assert_eq!(exec.name.as_ref(), b"gone");
    assert!(actor.finish().success());
}

#[test]
fn an_execveat_without_a_path_is_still_the_right_file() {
    let mut watch = watch!();
    let mut actor = Actor::start(["execveat"]);
    let shown = actor.says();
    let exec = watch.exec(actor.pid(), |exec| exec.filename.starts_with(b"/dev/fd/"));
    assert_eq!(as_shown(&exec), shown);
    assert_eq!(exec.name.as_ref(), b"actor");
    assert!(actor.finish().success());
}

#[test]
fn a_long_argv_is_cut_and_says_how_long_it_was() {
    let mut watch = watch!();
    // 2 MiB of stack allow for about 1.5 MB of arguments.
    let mut args = vec!["show".to_owned(), "--".to_owned()];
    args.extend((0..150).map(|n| format!("{n:010000}")));
    let mut actor = Actor::start(&args);
    let shown = actor.says();
    let cmdline: Vec<u8> =
        serde_json::from_value(shown["cmdline"].clone()).expect("bytes were shown");
    let exec = watch.exec(actor.pid(), |_| true);
    assert_eq!(exec.args_total_bytes as usize, cmdline.len());
    assert_eq!(exec.args.as_ref(), &cmdline[..1024]);
    assert!(actor.finish().success());
}

#[test]
fn names_and_arguments_keep_every_byte() {
    let mut watch = watch!();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hostile = b"\xff\xfe\n\x1b[31m{\"\xe2\x80\xae \\";
    let program = folder.path().join(OsStr::from_bytes(hostile));
    fs::copy(PROGRAM, &program).expect("the folder is writable");
    let all: Vec<u8> = (1..=255).collect();
    let mut command = Command::new(&program);
    command.args([
        OsStr::new("show"),
        OsStr::new("--"),
        OsStr::from_bytes(&all),
    ]);
    let mut actor = Actor::start_command(command);
    let shown = actor.says();
    let exec = watch.exec(actor.pid(), |_| true);
    assert_eq!(as_shown(&exec), shown);
    assert_eq!(exec.name.as_ref(), hostile);
    assert_eq!(exec.filename.as_ref(), program.as_os_str().as_bytes());
    assert!(exec.args.ends_with(&[&all[..], &[0]].concat()));
    assert!(actor.finish().success());
}

#[test]
fn a_path_longer_than_its_slot_says_so() {
    let mut watch = watch!();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let deep = folder.path().join("d".repeat(200)).join("e".repeat(200));
    fs::create_dir_all(&deep).expect("the folder is writable");
    let program = deep.join("actor");
    fs::copy(PROGRAM, &program).expect("the folder is writable");
    let mut command = Command::new(&program);
    command.arg("show");
    let mut actor = Actor::start_command(command);
    actor.says();
    let exec = watch.exec(actor.pid(), |_| true);
    let path = program.as_os_str().as_bytes();
    assert!(exec.filename_truncated);
    assert_eq!(exec.filename.as_ref(), &path[..255]);
    assert_eq!(exec.name.as_ref(), b"actor");
    assert!(actor.finish().success());
}

#[test]
fn an_exec_from_another_thread_keeps_the_process_and_names_the_thread() {
    let mut watch = watch!();
    let mut actor = Actor::start(["exec-from-thread", "--ms", "1"]);
    let shown = actor.says();
    let first = watch.exec(actor.pid(), |exec| exec.old_pid == exec.process.tgid);
    let second = watch.exec(actor.pid(), |exec| exec.old_pid != exec.process.tgid);
    assert_eq!(second.process, first.process);
    assert_eq!(as_shown(&second), shown);
    assert!(actor.finish().success());
}

#[test]
fn a_process_in_a_pid_namespace_has_both_ids() {
    let mut watch = watch!();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", PROGRAM, "show"]);
    let mut actor = Actor::start_command(command);
    actor.says();
    let parent = actor.pid();
    let exec = watch.until("the exec in the namespace", |records| {
        crate::watch::execs(records)
            .find(|exec| exec.parent.tgid == parent && exec.name.as_ref() == b"actor")
            .cloned()
    });
    let status = fs::read_to_string(format!("/proc/{}/status", exec.process.tgid))
        .expect("it waits for input");
    let ids: Vec<u32> = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .expect("the kernel has pid namespaces")
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect();
    assert_eq!(
        vec![exec.process.tgid, exec.namespace_pid.unwrap_or(0)],
        ids
    );
    assert!(actor.finish().success());
}

#[test]
fn an_overlay_tells_what_was_written_from_what_was_shipped() {
    let mut watch = watch!();
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(folder.path().join(name)).expect("the folder is writable");
    }
    fs::copy(PROGRAM, folder.path().join("lower/shipped")).expect("the folder is writable");
    // A mount namespace of its own: the mount is gone with the process.
    let script = "cd \"$1\" && mount -t overlay overlay \
                  -o lowerdir=lower,upperdir=upper,workdir=work merged && \
                  cp merged/shipped merged/written && \
                  merged/shipped show < /dev/null && exec merged/written show";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(folder.path());
    let mut actor = Actor::start_command(command);
    actor.says();
    actor.says();
    let mut upper = |name: &str| {
        watch.until(name, |records| {
            crate::watch::execs(records)
                .find(|exec| exec.filename.as_ref() == format!("merged/{name}").as_bytes())
                .map(|exec| exec.executable.overlay_upper)
        })
    };
    assert_eq!((upper("shipped"), upper("written")), (false, true));
    assert!(actor.finish().success());
}
