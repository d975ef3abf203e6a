//! The stack itself, with a script in place of the stand-in: real servers, real user change, real end.

use super::*;

/// Root, nginx and php-fpm are not everywhere; what is missing is printed.
fn stack() -> Option<WebStack> {
    if let Err(missing) = Programs::find() {
        crate::skip::skipped(&format!("{missing:#}"));
        return None;
    }
    Some(WebStack::start().unwrap())
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_posted_program_runs_as_the_pools_user_and_ends_with_the_stack() {
    let Some(stack) = stack() else { return };
    // A copy of sleep(1): a program that writes no pid, so the test does it for it.
    let payload = fs::read("/bin/sleep").unwrap();
    stack.exploit(&payload, &["60".to_owned()]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let planted = loop {
        let running = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Known::find(pid, &stack.planted())
        });
        if let Some(known) = running {
            break known;
        }
        assert!(Instant::now() < deadline, "it never ran; {}", stack.logs());
        std::thread::sleep(RETRY_AFTER);
    };
    fs::write(stack.pid_file(), format!("{}\n", planted.pid())).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", planted.pid())).unwrap();
    let uids = status.lines().find(|line| line.starts_with("Uid:"));
    let uid = stack.uid();
    assert_eq!(uids, Some(&*format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}")));
    assert!(stack.wait_for_planted(deadline).is_ok());

    let (masters, directory) = (stack.masters(), stack.directory.path().to_owned());
    drop(stack);
    assert!(
        planted.has_exited(),
        "the planted program outlives the stack"
    );
    assert_eq!(masters.map(alive), [false, false]);
    assert!(!directory.exists());
}

#[test]
fn without_the_secret_the_page_is_no_hole() {
    let Some(mut stack) = stack() else { return };
    stack.secret = "0".repeat(32);
    let error = stack.exploit(b"#!/bin/sh\n", &[]).unwrap_err();
    assert!(format!("{error:#}").contains("answers 403"), "{error:#}");
    assert!(!stack.planted().exists());
}

#[test]
fn two_stacks_do_not_meet() {
    let (Some(one), Some(two)) = (stack(), stack()) else {
        return;
    };
    assert_ne!(one.address(), two.address());
    assert_eq!(one.view_page().unwrap().status, 200);
    assert_eq!(two.view_page().unwrap().status, 200);
}
