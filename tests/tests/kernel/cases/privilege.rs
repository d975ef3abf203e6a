//! What the daemon may do as its service runs it, and what it sees from there.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
    time::Instant,
};

use tests::{
    daemon::{Daemon, STATE},
    service,
};

use crate::{
    program::{Intruder, detector, names, soon, watching},
    watch::{Turn, obstacle, skip},
};

/// `CAP_DAC_READ_SEARCH` and `CAP_SYS_PTRACE`: what is used as long as it watches.
const USED: u64 = 1 << 2 | 1 << 19;
/// `CAP_BPF`: kept where the kernel wants it for every call of bpf(2).
const BPF: u64 = 1 << 39;

/// The capability sets of every thread, by name: inheritable, permitted, effective, ambient.
fn capabilities(pid: u32) -> Vec<[u64; 4]> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of = |thread: std::io::Result<fs::DirEntry>| {
        let status = thread.and_then(|thread| fs::read_to_string(thread.path().join("status")));
        let status = status.expect("its threads live as long as it does");
        ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.expect("every kernel tells").trim(), 16).expect("a number")
        })
    };
    threads.map(of).collect()
}

/// Whether the kernel refuses every call of bpf(2) to whoever lacks `CAP_BPF`: before 5.19, where the setting says so.
fn bpf_is_for_the_capable() -> bool {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release.split('.').map_while(|number| number.parse().ok());
    let version: (u32, u32) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    let setting = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
    version < (5, 19) && setting.is_ok_and(|text| text.trim() != "0")
}

#[test]
fn as_its_service_it_finds_an_intruder_and_gives_up_what_loading_took() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    // Older than the daemon: then it is a lineage of its own, whatever the tests themselves descend from.
    let intruder = Intruder::new(b"kworkerd");
    let running = intruder.start(&["--threads", "2", "--for", "90"].map(AsRef::as_ref));
    let state = tempfile::tempdir().expect("a temporary folder");
    service::give(state.path()).expect("tests run as root");
    let mut command = Daemon::command(&detector());
    command.args(["--for", "80s"]).env(STATE, state.path());
    let command = service::unprivileged(&command, &[]);
    let mut daemon = Daemon::start(command).expect("it starts");
    daemon.wait_ready(soon()).expect("it watches");

    let left = USED | if bpf_is_for_the_capable() { BPF } else { 0 };
    let threads = capabilities(daemon.pid());
    assert!(
        threads.len() > 2,
        "the state and what may block have threads of their own"
    );
    assert_eq!(threads, vec![[0, left, left, 0]; threads.len()]);
    let file = fs::metadata(state.path().join("state.db")).expect("it keeps a state");
    assert_eq!((file.mode() & 0o7777, file.uid()), (0o600, service::UID));

    let degraded = daemon.wait_event(soon(), |event| event["type"] == "detector.agent.degraded");
    let degraded = degraded.expect("what is missing is told").event.to_string();
    assert!(degraded.contains("needs CAP_NET_ADMIN"), "{degraded}");

    let told = daemon.wait_event(soon(), |event| {
        names(event, running.pid())
            && event["data"]["incident"]["severity"] == "critical"
            && event["data"]["process"]["hash"].is_object()
    });
    let process = &told
        .unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()))
        .event["data"]["process"];
    assert_eq!(
        process["executable"],
        intruder.executable.to_str().expect("its name is text")
    );
    assert_eq!(process["user"]["id"], "33");
    assert!(daemon.stop().expect("it stops").success());
}

#[test]
fn a_program_that_it_starts_gets_none_of_its_capabilities() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    service::give(folder.path()).expect("tests run as root");
    let config = folder.path().join("detector.toml");
    let status = folder.path().join("status");
    let program = format!(
        "[sink.told]\ntype = \"command\"\nevents = [\"agent\"]\n\
         program = [\"/bin/sh\", \"-c\", 'cat > /dev/null; cat /proc/self/status > \"$0\".new; mv \"$0\".new \"$0\"', {:?}]\n",
        status.display().to_string()
    );
    fs::write(&config, program).expect("the folder is writable");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let mut daemon = watching(["--config".as_ref(), config.as_os_str()]);
    let deadline = soon();
    let text = loop {
        match fs::read_to_string(&status) {
            Ok(text) => break text,
            Err(_) => assert!(Instant::now() < deadline, "{}", daemon.account()),
        }
        std::thread::yield_now();
    };
    let sets: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("Cap") && !line.starts_with("CapBnd"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(sets, vec!["0000000000000000"; 4], "{text}");
    assert!(daemon.stop().expect("it stops").success());
}

/// What `/tmp`, `/home` and the rest look like under `PrivateTmp=`, `ProtectSystem=strict` and `ProtectHome=read-only`.
const SANDBOX: &str = "mount -o remount,bind,ro / && mount -t tmpfs tmpfs /var/tmp && exec \"$@\"";

#[test]
fn in_a_mount_namespace_of_its_own_it_names_files_as_the_host_does() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    // Both older than the daemon, so that their paths are known from /proc alone; one of them deleted.
    let deleted = Intruder::new(b"kworkerd");
    let other = Intruder::new(b"kthreadd");
    let start = |intruder: &Intruder| intruder.start(&["--for", "60"].map(AsRef::as_ref));
    let running = [start(&deleted), start(&other)];
    fs::remove_file(&deleted.executable).expect("it is ours");
    let mut sandbox = Command::new("unshare");
    sandbox.args(["--mount", "sh", "-c", SANDBOX, "sh"]);
    let mut daemon = Daemon::command(&detector());
    daemon.args(["--for", "60s"]);
    let daemon = service::unprivileged(&daemon, &[]);
    sandbox.arg(daemon.get_program()).args(daemon.get_args());
    let state = tempfile::tempdir_in("/dev/shm").expect("another mount, still writable");
    service::give(state.path()).expect("tests run as root");
    sandbox.env(STATE, state.path());
    let mut daemon = Daemon::start(sandbox).expect("it starts");
    daemon.wait_ready(soon()).expect("it watches");
    assert_ne!(
        fs::read_link(format!("/proc/{}/ns/mnt", daemon.pid())).expect("it runs"),
        fs::read_link("/proc/self/ns/mnt").expect("it is ours")
    );
    for (running, intruder) in running.iter().zip([&deleted, &other]) {
        let told = daemon.wait_event(soon(), |event| {
            names(event, running.pid()) && event["data"]["process"]["hash"].is_object()
        });
        let told = told.unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()));
        let executable = told.event["data"]["process"]["executable"].as_str();
        assert_eq!(
            executable.map(Path::new),
            Some(intruder.executable.as_path())
        );
    }
    assert!(daemon.stop().expect("it stops").success());
}
