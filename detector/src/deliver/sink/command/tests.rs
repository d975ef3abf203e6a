use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::deliver::testing::{event, quick};

/// A sink that runs this script of sh.
fn sink(dir: &Path, script: &str, timeout_ms: u64) -> Command {
    let path = dir.join("program");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    let kind = config::CommandSink {
        program: vec![path.display().to_string(), "$HOME; a b".to_owned()],
    };
    let mut config = quick(config::SinkKind::Command(kind.clone()));
    config.common.timeout_ms = timeout_ms;
    Command::new(&kind, &config).unwrap()
}

#[tokio::test]
async fn program_gets_the_event_its_arguments_and_nothing_of_our_environment() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let script = format!(
        "{{ cat; echo \"$#:$1\"; env | grep -v ^PWD= | sort; }} > {} 2>&1; echo thanks",
        out.display()
    );
    let mut command = sink(dir.path(), &script, 30_000);
    let reply = command.send(&[event("a")]).await;
    assert_eq!(reply, Reply::Delivered("exit status: 0: thanks".to_owned()));
    assert_eq!(
        fs::read_to_string(out).unwrap(),
        "{\"id\":\"a\"}\n1:$HOME; a b\nDETECTOR_EVENT_ID=a\nDETECTOR_SUBJECT=incident of a\n\
         PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
    );
}

#[tokio::test]
async fn exit_code_decides_and_output_without_end_does_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    for (script, expected) in [
        ("exit 65", Reply::Refused("exit status: 65".to_owned())),
        ("echo no >&2; exit 1", Reply::retry("exit status: 1: no")),
        ("kill -9 $$", Reply::retry("signal: 9 (SIGKILL)")),
        (
            "head -c 1000000 /dev/zero; exit 0",
            Reply::Delivered(format!("exit status: 0: {}", r"\x00".repeat(1024))),
        ),
    ] {
        let mut command = sink(dir.path(), script, 30_000);
        assert_eq!(command.send(&[event("a")]).await, expected, "{script}");
    }
}

#[tokio::test]
async fn program_that_hangs_ends_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("sleep 300 & echo $! > {}; wait", pid.display());
    let mut command = sink(dir.path(), &script, 500);
    let reply = command.send(&[event("a")]).await;
    assert!(matches!(reply, Reply::Retry { .. }), "{reply:?}");
    let grandchild: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let gone = || {
        // Ended, or waiting for init to reap it.
        fs::read_to_string(format!("/proc/{grandchild}/stat"))
            .map_or(true, |stat| stat.contains(") Z "))
    };
    crate::deliver::testing::until(gone).await;
}

#[test]
fn program_that_others_may_change_or_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    let reason = |mode| {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        check(&path).map_err(|error| error.to_string())
    };
    let message = |reason: &str| Err(format!("cannot run {}: {reason}", path.display()));
    assert_eq!(reason(0o755), Ok(()));
    assert_eq!(reason(0o644), message("not an executable file"));
    assert_eq!(reason(0o777), message("others may change it"));
    fs::remove_file(&path).unwrap();
    assert_eq!(
        check(&path).map_err(|error| error.to_string()),
        message("No such file or directory (os error 2)")
    );
}
