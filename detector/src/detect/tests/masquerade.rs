//! Who calls himself what.

use detector_common::event::Task;

use crate::{
    detect::testing::{
        Bench, INIT, argv, child_of, facts, file_id, process_facts, said, task, web,
    },
    incident::{
        Evidence, FindingType,
        FindingType::MasqueradedName,
        Imitates, Severity,
        Severity::{Info, Warning},
        ShownIn,
    },
    input::{ExecutableFacts, Input, Owner, ProcessFacts, ProcessKey},
};

/// The masquerades said, with where they show and what they imitate.
fn lies(bench: &mut Bench) -> Vec<(Severity, ShownIn, Imitates)> {
    said(bench);
    let mut lies: Vec<_> = bench
        .incidents()
        .iter()
        .flat_map(|(_, incident)| incident.findings.iter())
        .chain(bench.findings())
        .filter_map(|finding| match &finding.evidence {
            Evidence::Masquerade(lie) if finding.kind == MasqueradedName => {
                Some((finding.severity, lie.shown_in, lie.imitates.clone()))
            }
            _ => None,
        })
        .collect();
    lies.dedup();
    lies
}

fn titled(bench: &mut Bench, of: ProcessKey, path: &str, title: &str) {
    let now_ns = bench.now_ns;
    let facts = ProcessFacts {
        executable_path: Some(path.as_bytes().into()),
        title: Some(title.as_bytes().into()),
        ..process_facts(of)
    };
    bench.apply(Input::Process(now_ns, &facts));
}

fn renamed(bench: &mut Bench, of: ProcessKey, name: &str) {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    bench.load = vec![Task {
        comm,
        ..task(of, 1)
    }];
    bench.second();
}

#[test]
fn a_kernel_threads_name_is_a_lie_wherever_a_process_shows_it() {
    let kernel = |shown_in| vec![(Warning, shown_in, Imitates::KernelThread)];
    let mut bench = Bench::new();
    child_of(&mut bench, INIT, "/opt/x/kswapd0", |_| {});
    assert_eq!(lies(&mut bench), kernel(ShownIn::FileName));

    let mut bench = Bench::new();
    child_of(&mut bench, INIT, "/usr/bin/perl", |exec| {
        argv(exec, &["[kworker/0:1]"])
    });
    bench.packaged("/usr/bin/perl");
    assert_eq!(lies(&mut bench), kernel(ShownIn::Argument0));

    let mut bench = Bench::new();
    let child = child_of(&mut bench, INIT, "/usr/bin/perl", |exec| {
        argv(exec, &["perl", "/x.pl"])
    });
    bench.packaged("/usr/bin/perl");
    renamed(&mut bench, child, "kworker/u8:2");
    assert_eq!(lies(&mut bench), kernel(ShownIn::Comm));

    let mut bench = Bench::new();
    let child = child_of(&mut bench, INIT, "/usr/bin/perl", |exec| {
        argv(exec, &["perl", "/x.pl"])
    });
    bench.packaged("/usr/bin/perl");
    titled(&mut bench, child, "/usr/bin/perl", "[rcu_sched]");
    assert_eq!(lies(&mut bench), kernel(ShownIn::Title));
}

#[test]
fn what_ps_shows_in_brackets_is_a_kernel_threads_name_only_there() {
    for (name, is_lie) in [
        ("[migration/0]", true),
        ("[rcu_preempt]", true),
        ("[watchdogd]", true),
        ("migration/0", false),
        ("[php]", false),
    ] {
        let mut bench = Bench::new();
        child_of(&mut bench, INIT, "/usr/bin/perl", |exec| {
            argv(exec, &[name])
        });
        bench.packaged("/usr/bin/perl");
        assert_eq!(!lies(&mut bench).is_empty(), is_lie, "{name}");
    }
}

#[test]
fn a_kernel_thread_and_names_that_only_begin_alike_are_no_lies() {
    for path in [
        "/usr/bin/kworklog",
        "/usr/bin/migration",
        "/usr/bin/rcutorture",
        "/usr/bin/watchdog",
    ] {
        let mut bench = Bench::new();
        child_of(&mut bench, INIT, path, |_| {});
        bench.packaged(path);
        assert_eq!(lies(&mut bench), [], "{path}");
    }
    let mut bench = Bench::new();
    let of = crate::detect::testing::key(30, 10_000_000_001);
    let mut thread = crate::detect::testing::kernel_thread(of, 1);
    thread.comm = *b"kworker/0:1\0\0\0\0\0";
    bench.load = vec![thread];
    assert_eq!(lies(&mut bench), []);
}

fn namesake(path: &str) -> ExecutableFacts {
    ExecutableFacts {
        namesake: Some("openssh-server".to_owned()),
        ..facts(file_id(path), path, Owner::Unowned)
    }
}

#[test]
fn a_packaged_programs_name_is_a_lie_in_tmp_and_none_in_a_home_folder() {
    for (path, uid, expected) in [
        (
            "/var/tmp/sshd",
            33,
            vec![(
                Warning,
                ShownIn::FileName,
                Imitates::Package("openssh-server".to_owned()),
            )],
        ),
        ("/home/anna/src/openssh/sshd", 1_000, vec![]),
    ] {
        let mut bench = Bench::new();
        child_of(&mut bench, INIT, path, |exec| exec.uid = uid);
        bench.file(&namesake(path));
        assert_eq!(lies(&mut bench), expected, "{path}");
    }
}

#[test]
fn daemons_that_write_their_own_name_into_their_title_are_left_alone() {
    for (path, args, title) in [
        ("/usr/sbin/nginx", vec!["nginx"], "nginx: worker process"),
        (
            "/usr/sbin/php-fpm8.2",
            vec!["php-fpm"],
            "php-fpm: pool shop",
        ),
        (
            "/usr/lib/postgresql/15/bin/postgres",
            vec!["postgres", "-D", "/x"],
            "postgres: writer",
        ),
        ("/usr/sbin/sshd", vec!["sshd", "-D"], "sshd: anna@pts/0"),
        ("/opt/app/bin/worker", vec!["worker"], "worker: idle"),
    ] {
        let mut bench = Bench::new();
        let child = child_of(&mut bench, INIT, path, |exec| argv(exec, &args));
        if path.starts_with("/opt") {
            bench.unowned(path);
        } else {
            bench.packaged(path);
        }
        titled(&mut bench, child, path, title);
        assert_eq!(lies(&mut bench), [], "{path}");
    }
}

#[test]
fn an_unowned_program_under_another_programs_title_is_a_warning_and_under_a_new_one_info() {
    for (title, expected) in [
        (
            "/usr/sbin/crond -n",
            vec![(Warning, ShownIn::Title, Imitates::Program)],
        ),
        ("-bash", vec![(Warning, ShownIn::Title, Imitates::Program)]),
        (
            "some service",
            vec![(Info, ShownIn::Title, Imitates::Unknown)],
        ),
        ("/opt/app/x --quiet", vec![]),
    ] {
        let mut bench = Bench::new();
        let child = child_of(&mut bench, INIT, "/opt/app/xr", |_| {});
        bench.unowned("/opt/app/xr");
        titled(&mut bench, child, "/opt/app/xr", title);
        let found = lies(&mut bench);
        if title.starts_with("/opt") {
            assert_eq!(found, [(Info, ShownIn::Title, Imitates::Unknown)]);
        } else {
            assert_eq!(found, expected, "{title}");
        }
    }
}

#[test]
fn a_suspects_command_line_is_looked_at_again_when_it_had_time_to_change_it() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    let child = child_of(&mut bench, web, "/opt/app/x", |exec| exec.uid = 33);
    bench.unowned("/opt/app/x");
    titled(&mut bench, child, "/opt/app/x", "/opt/app/x");
    let before = bench.requests().len();
    bench.burn(40, &[(child, 1_000_000)]);
    let again: Vec<bool> = bench.requests()[before..]
        .iter()
        .map(|ask| ask.file_wanted)
        .collect();
    assert_eq!(again, [false, false], "3 s and 30 s after its exec");
    titled(&mut bench, child, "/opt/app/x", "nginx: worker process");
    let kinds: Vec<FindingType> = said(&mut bench).iter().map(|(kind, _)| *kind).collect();
    assert!(kinds.contains(&MasqueradedName), "{kinds:?}");
}

#[test]
fn it_is_looked_at_again_after_three_seconds_half_a_minute_and_five_minutes() {
    let mut bench = Bench::new();
    let begun_ns = bench.now_ns;
    let web = web(&mut bench);
    let child = child_of(&mut bench, web, "/opt/app/x", |exec| exec.uid = 33);
    bench.unowned("/opt/app/x");
    titled(&mut bench, child, "/opt/app/x", "/opt/app/x");
    let mut looked_s = Vec::new();
    for _ in 0..700 {
        let before = bench.requests().len();
        bench.burn(1, &[(child, 1_000_000)]);
        if bench.requests().len() > before {
            looked_s.push((bench.now_ns - begun_ns) / 1_000_000_000);
        }
    }
    // It was executed a moment after a pass.
    assert_eq!(looked_s, [4, 31, 301]);
}

#[test]
fn what_runs_on_every_server_is_borrowed_where_nobody_knows_the_package() {
    for name in ["sshd", "cron", "systemd", "nginx", "bash"] {
        let path = format!("/var/tmp/{name}");
        let mut bench = Bench::new();
        child_of(&mut bench, INIT, &path, |exec| exec.uid = 33);
        bench.unowned(&path);
        let expected = vec![(Warning, ShownIn::FileName, Imitates::Program)];
        assert_eq!(lies(&mut bench), expected, "{name}");
    }
}
