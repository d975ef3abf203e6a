//! Scripts and the loader: the file that was given is the one that counts.

use crate::{
    detect::testing::{BOOT_UNIX_S, Bench, INIT, argv, child_of, facts, file_id, said, web},
    incident::{
        FindingType::{Fileless, FromWritableDir, NewBinary, NewScript, WebServerSpawnedShell},
        Severity::{Info, Warning},
    },
    input::{Exec, ExecutableFacts, FileStat, Owner},
};

/// What enrichment finds at `path`: changed five seconds after boot by `uid`.
fn fresh(path: &str, owner: Owner, uid: u32) -> ExecutableFacts {
    let mut id = file_id(path);
    id.ctime_sec = BOOT_UNIX_S + 5;
    ExecutableFacts {
        stat: Some(FileStat {
            uid,
            user_name: Some("www-data".to_owned()),
            mode: 0o100_644,
            size: 100,
            born_unix_ns: None,
        }),
        ..facts(id, path, owner)
    }
}

fn as_www(exec: &mut Exec) {
    exec.uid = 33;
}

#[test]
fn a_script_given_to_an_interpreter_is_judged_by_its_own_place() {
    for (interpreter, args) in [
        (
            "/usr/bin/python3.11",
            ["python3", "-u", "/var/www/x/wp-content/uploads/a.py"],
        ),
        (
            "/usr/bin/perl",
            ["perl", "-w", "/var/www/x/wp-content/uploads/a.pl"],
        ),
        (
            "/usr/bin/php8.2",
            ["php", "-n", "/var/www/x/wp-content/uploads/a.php"],
        ),
    ] {
        let mut bench = Bench::new();
        let web = web(&mut bench);
        child_of(&mut bench, web, interpreter, |exec| {
            argv(exec, &args);
            as_www(exec);
        });
        bench.packaged(interpreter);
        assert_eq!(said(&mut bench), [(NewScript, Warning)], "{interpreter}");
    }
}

#[test]
fn a_packaged_script_says_nothing_wherever_it_is_run() {
    let mut bench = Bench::new();
    let path = "/usr/share/app/job.py";
    let child = child_of(&mut bench, INIT, "/usr/bin/python3.11", |exec| {
        argv(exec, &["python3", path]);
    });
    bench.packaged("/usr/bin/python3.11");
    bench.script(
        child,
        path,
        fresh(path, Owner::Package("app".to_owned()), 0),
    );
    assert_eq!(said(&mut bench), []);
}

#[test]
fn an_unowned_script_of_an_administrator_is_info_and_a_dropped_one_below_a_web_service_a_warning() {
    let path = "/srv/app/job.py";
    let mut bench = Bench::new();
    let child = child_of(&mut bench, INIT, "/usr/bin/python3.11", |exec| {
        argv(exec, &["python3", path]);
    });
    bench.packaged("/usr/bin/python3.11");
    bench.script(child, path, fresh(path, Owner::Unowned, 0));
    assert_eq!(said(&mut bench), [(NewScript, Info)]);

    let mut bench = Bench::new();
    let web = web(&mut bench);
    let child = child_of(&mut bench, web, "/usr/bin/python3.11", |exec| {
        argv(exec, &["python3", path]);
        as_www(exec);
    });
    bench.packaged("/usr/bin/python3.11");
    bench.script(child, path, fresh(path, Owner::Unowned, 33));
    assert_eq!(said(&mut bench), [(NewScript, Warning)]);
    let incidents = bench.incidents();
    let (_, incident) = incidents.last().expect("a warning opens one");
    let subject = incident.subject.as_deref().expect("a process");
    assert_eq!(&*subject.name, b"job.py");
    assert_eq!(
        subject.file_id.map(|id| id.inode),
        Some(file_id(path).inode)
    );
    assert_eq!(
        incident.reason,
        "job.py(900) is a script that belongs to no package, written 5 s before it was executed by www-data."
    );
}

#[test]
fn a_packaged_script_does_not_excuse_an_interpreter_in_tmp() {
    let mut bench = Bench::new();
    let path = "/usr/share/app/job.sh";
    let child = child_of(&mut bench, INIT, "/tmp/bash", |exec| {
        argv(exec, &["bash", path]);
        as_www(exec);
    });
    bench.unowned("/tmp/bash");
    bench.script(
        child,
        path,
        fresh(path, Owner::Package("app".to_owned()), 0),
    );
    let found = said(&mut bench);
    assert!(found.contains(&(NewBinary, Warning)), "{found:?}");
    assert!(
        !found.iter().any(|(kind, _)| *kind == NewScript),
        "{found:?}"
    );
}

#[test]
fn a_program_behind_the_dynamic_loader_is_judged_as_a_program() {
    let loader = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
    let mut bench = Bench::new();
    let child = child_of(&mut bench, INIT, loader, |exec| {
        argv(exec, &["ld.so", "/var/tmp/x"]);
        as_www(exec);
    });
    bench.packaged(loader);
    bench.script(child, "/var/tmp/x", fresh("/var/tmp/x", Owner::Unowned, 33));
    assert_eq!(
        said(&mut bench),
        [(NewBinary, Warning), (FromWritableDir, Warning)]
    );

    let mut bench = Bench::new();
    child_of(&mut bench, INIT, loader, |exec| {
        argv(exec, &["ld.so", "/proc/self/fd/3"])
    });
    bench.packaged(loader);
    assert_eq!(said(&mut bench), [(Fileless, Warning)]);
}

#[test]
fn code_on_standard_input_below_a_web_services_shell_is_a_warning() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    let shell = child_of(&mut bench, web, "/bin/dash", |exec| {
        argv(exec, &["sh", "-c", "true | sh"]);
    });
    let inner = crate::detect::testing::key(901, shell.start_ns + 1_000);
    bench.fork(shell, inner);
    let mut exec = crate::detect::testing::exec(inner, shell, "/bin/dash");
    argv(&mut exec, &["sh"]);
    bench.exec(&exec);
    bench.packaged("/bin/dash");
    assert_eq!(
        said(&mut bench),
        [
            (WebServerSpawnedShell, Info),
            (WebServerSpawnedShell, Warning)
        ]
    );
}

#[test]
fn the_same_script_is_asked_for_once_in_ten_seconds_and_every_time_below_a_web_service() {
    let asked = |web_below: bool| {
        let mut bench = Bench::new();
        let parent = if web_below { web(&mut bench) } else { INIT };
        let path = "/usr/local/bin/job.sh";
        bench.packaged("/bin/dash");
        let mut count = 0;
        for n in 0..4 {
            let child = crate::detect::testing::key(900 + n, bench.now_ns);
            let before = bench.requests().len();
            bench.fork(parent, child);
            let mut exec = crate::detect::testing::exec(child, parent, "/bin/dash");
            argv(&mut exec, &["sh", path]);
            bench.exec(&exec);
            let new = bench.requests()[before..]
                .iter()
                .filter(|ask| ask.script.is_some())
                .count();
            if new > 0 {
                count += 1;
                bench.script(child, path, fresh(path, Owner::Unowned, 0));
            }
            for _ in 0..4 {
                bench.second();
            }
        }
        count
    };
    // At 0, 4 and 8 s it is known; at 12 s it is looked at again.
    assert_eq!((asked(false), asked(true)), (2, 4));
}
