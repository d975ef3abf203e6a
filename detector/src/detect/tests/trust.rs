//! What a package says, what excuses, what was preloaded, what miners are known by.

use crate::{
    detect::testing::{
        BOOT_UNIX_S, Bench, INIT, argv, child_of, exec, facts, file_id, key, process_facts, said,
        web,
    },
    incident::{
        FindingType::{
            CpuSaturation, FromWritableDir, KnownIndicator, ModifiedPackageFile, NewBinary,
            NewScript, PreloadedLibrary,
        },
        Severity::{Critical, Info, Warning},
    },
    input::{
        ExecutableFacts, FileStat, Input, Integrity, Owner, Preload, PreloadFrom, ProcessFacts,
        ProcessKey,
    },
};

fn packaged(path: &str, integrity: Integrity) -> ExecutableFacts {
    ExecutableFacts {
        integrity: Some(integrity),
        ..facts(file_id(path), path, Owner::Package("openssl".to_owned()))
    }
}

fn unowned(path: &str, uid: u32, mode: u32) -> ExecutableFacts {
    ExecutableFacts {
        stat: Some(FileStat {
            uid,
            user_name: None,
            mode,
            size: 1,
            born_unix_ns: None,
        }),
        ..facts(file_id(path), path, Owner::Unowned)
    }
}

#[test]
fn a_packaged_program_with_another_content_is_a_warning_and_an_intact_or_untold_one_is_nothing() {
    for (integrity, expected) in [
        (Integrity::Modified, vec![(ModifiedPackageFile, Warning)]),
        (Integrity::Edited, vec![(ModifiedPackageFile, Info)]),
        (Integrity::Intact, vec![]),
        (Integrity::Unknown("too_large"), vec![]),
    ] {
        let mut bench = Bench::new();
        child_of(&mut bench, INIT, "/usr/bin/openssl", |_| {});
        bench.file(&packaged("/usr/bin/openssl", integrity));
        assert_eq!(said(&mut bench), expected, "{integrity:?}");
    }
}

#[test]
fn a_file_that_is_being_unpacked_is_asked_for_again() {
    let mut bench = Bench::new();
    child_of(&mut bench, INIT, "/usr/bin/openssl", |_| {});
    let changing = Integrity::Unknown(crate::input::PACKAGES_CHANGE);
    bench.file(&packaged("/usr/bin/openssl", changing));
    (0..3).for_each(|_| bench.second());
    let before = bench.requests().len();
    bench.exec(&exec(key(901, bench.now_ns), INIT, "/usr/bin/openssl"));
    assert_eq!(bench.requests().len(), before + 1);
}

#[test]
fn what_only_root_can_have_installed_is_excused_even_below_a_web_service() {
    let path = "/usr/local/bin/convert";
    for (file, expected) in [
        (unowned(path, 0, 0o100_755), Info),
        (unowned(path, 33, 0o100_755), Warning),
        (unowned(path, 0, 0o100_777), Warning),
    ] {
        let mut bench = Bench::new();
        let web = web(&mut bench);
        child_of(&mut bench, web, path, |exec| exec.uid = 33);
        bench.file(&file);
        assert_eq!(said(&mut bench), [(NewBinary, expected)], "{file:?}");
    }
}

#[test]
fn an_excused_program_that_saturates_does_not_page() {
    let path = "/usr/local/bin/convert";
    let mut bench = Bench::new();
    let web = web(&mut bench);
    let child = child_of(&mut bench, web, path, |exec| exec.uid = 33);
    bench.file(&unowned(path, 0, 0o100_755));
    bench.burn(12, &[(child, 2_000_000_000)]);
    assert_eq!(
        said(&mut bench),
        [(CpuSaturation, Warning), (NewBinary, Info)]
    );
    let loudest = bench
        .incidents()
        .iter()
        .map(|(_, incident)| incident.severity)
        .max();
    assert_eq!(loudest, Some(Warning));
}

#[test]
fn configuration_management_excuses_where_it_is_proven() {
    let below = |agent: &str, owner: Owner| {
        let mut bench = Bench::new();
        let parent = key(800, 10_000_000_001);
        bench.fork(INIT, parent);
        bench.exec(&exec(parent, INIT, agent));
        bench.file(&facts(file_id(agent), agent, owner));
        child_of(&mut bench, parent, "/tmp/x/setup", |exec| exec.uid = 101);
        bench.unowned("/tmp/x/setup");
        said(&mut bench)
    };
    let packaged = Owner::Package("puppet-agent".to_owned());
    let agent = "/opt/puppetlabs/puppet/bin/puppet";
    let quiet = [(NewBinary, Info), (FromWritableDir, Info)];
    assert_eq!(below(agent, packaged), quiet);
    let loud = below("/tmp/puppet", Owner::Unowned);
    assert!(loud.contains(&(NewBinary, Warning)), "{loud:?}");
}

#[test]
fn a_build_excuses_a_person_and_not_a_service() {
    let below = |uid: u32| {
        let mut bench = Bench::new();
        let make = key(800, 10_000_000_001);
        bench.run(INIT, make, "/usr/bin/make");
        child_of(&mut bench, make, "/var/tmp/x/conftest", |exec| {
            exec.uid = uid
        });
        bench.unowned("/var/tmp/x/conftest");
        said(&mut bench)
    };
    assert_eq!(below(0), [(NewBinary, Info), (FromWritableDir, Info)]);
    assert_eq!(
        below(33),
        [(NewBinary, Warning), (FromWritableDir, Warning)]
    );
}

#[test]
fn a_package_manager_that_is_not_root_excuses_nothing() {
    let mut bench = Bench::new();
    let web = web(&mut bench);
    let apt = key(850, 10_000_000_500);
    bench.fork(web, apt);
    let mut dpkg = exec(apt, web, "/usr/bin/dpkg");
    dpkg.uid = 33;
    bench.exec(&dpkg);
    bench.packaged("/usr/bin/dpkg");
    child_of(&mut bench, apt, "/dev/shm/x", |exec| exec.uid = 33);
    bench.unowned("/dev/shm/x");
    let found = said(&mut bench);
    assert!(found.contains(&(NewBinary, Warning)), "{found:?}");
}

#[test]
fn maintainer_scripts_are_no_news() {
    let mut bench = Bench::new();
    let apt = key(800, 10_000_000_001);
    bench.run(INIT, apt, "/usr/bin/dpkg");
    let path = "/var/lib/dpkg/info/x.postinst";
    let child = child_of(&mut bench, apt, path, |exec| {
        exec.interpreter = Some(b"/bin/sh".as_slice().into());
        exec.name = b"dash".as_slice().into();
        exec.executable.id = file_id("/bin/dash");
    });
    bench.packaged("/bin/dash");
    bench.script(child, path, unowned(path, 0, 0o100_755));
    assert_eq!(said(&mut bench), []);
}

fn preloading(of: ProcessKey, from: PreloadFrom, path: &str, owner: Owner) -> ProcessFacts {
    ProcessFacts {
        executable_path: Some(b"/usr/bin/sleep".as_slice().into()),
        preloads: vec![Preload {
            from,
            path: path.as_bytes().into(),
            id: Some(file_id(path)),
            owner,
        }],
        ..process_facts(of)
    }
}

#[test]
fn an_unowned_preload_is_told_once_and_a_packaged_one_never() {
    use PreloadFrom::{Environment, SystemFile};
    let owned = || Owner::Package("libjemalloc2".to_owned());
    for (from, path, owner, expected) in [
        (
            Environment,
            "/dev/shm/h.so",
            Owner::Unowned,
            vec![(PreloadedLibrary, Warning)],
        ),
        (
            Environment,
            "/opt/h.so",
            Owner::Unowned,
            vec![(PreloadedLibrary, Info)],
        ),
        (
            SystemFile,
            "/opt/h.so",
            Owner::Unowned,
            vec![(PreloadedLibrary, Warning)],
        ),
        (Environment, "/dev/shm/h.so", owned(), vec![]),
        (Environment, "/opt/h.so", Owner::Unknown("x"), vec![]),
    ] {
        let mut bench = Bench::new();
        let of = key(900, 10_000_000_001);
        bench.run(INIT, of, "/usr/bin/sleep");
        let facts = preloading(of, from, path, owner);
        for _ in 0..3 {
            let now_ns = bench.now_ns;
            bench.apply(Input::Process(now_ns, &facts));
        }
        let told = bench.findings().len()
            + bench
                .incidents()
                .iter()
                .filter(|(change, _)| *change == crate::output::Change::Opened)
                .count();
        assert_eq!(told, expected.len(), "{from:?} {path}");
        assert_eq!(said(&mut bench), expected, "{from:?} {path}");
    }
}

#[test]
fn marks_of_miners_on_a_packaged_program_are_info_and_add_confidence() {
    let confidence = |args: &[&str]| {
        let mut bench = Bench::new();
        let child = child_of(&mut bench, INIT, "/usr/bin/busy", |exec| argv(exec, args));
        bench.packaged("/usr/bin/busy");
        bench.burn(12, &[(child, 2_000_000_000)]);
        let found = said(&mut bench);
        let incidents = bench.incidents();
        let (_, incident) = incidents.last().expect("saturation");
        (found, incident.severity, incident.confidence)
    };
    let (found, severity, plain) = confidence(&["busy"]);
    assert_eq!((found, severity), (vec![(CpuSaturation, Warning)], Warning));
    let (found, severity, marked) = confidence(&["busy", "-o", "stratum+tcp://p:3333"]);
    assert_eq!(found, [(CpuSaturation, Warning), (KnownIndicator, Info)]);
    assert_eq!(severity, Warning);
    assert!(marked > plain, "{marked} {plain}");
}

#[test]
fn an_unowned_program_with_the_name_of_a_miner_warns_and_pages_once_it_saturates() {
    // From cron, in a place of the administrator's, hours old: nothing else speaks against it.
    let said_of = |path: &str| {
        let mut bench = Bench::new();
        let child = child_of(&mut bench, INIT, path, |_| {});
        bench.unowned(path);
        let at_start = said(&mut bench);
        bench.burn(12, &[(child, 2_000_000_000)]);
        let incidents = bench.incidents();
        let (_, incident) = incidents.last().expect("saturation");
        (at_start, incident.severity)
    };
    let ordinary = said_of("/usr/local/bin/backup");
    assert_eq!(ordinary, (vec![(NewBinary, Info)], Warning));
    let named = said_of("/usr/local/bin/sysguard");
    let at_start = vec![(NewBinary, Info), (KnownIndicator, Warning)];
    assert_eq!(named, (at_start, Critical));
}

#[test]
fn a_fresh_script_keeps_its_excuse_in_words() {
    let path = "/opt/app/run.sh";
    let mut bench = Bench::new();
    let child = child_of(&mut bench, INIT, "/bin/dash", |exec| {
        argv(exec, &["sh", path])
    });
    bench.packaged("/bin/dash");
    let mut file = unowned(path, 0, 0o100_755);
    file.id.ctime_sec = BOOT_UNIX_S + 5;
    bench.script(child, path, file);
    assert_eq!(said(&mut bench), [(NewScript, Info)]);
    let findings = bench.findings();
    let crate::incident::Evidence::File(evidence) = &findings[0].evidence else {
        panic!("{findings:?}");
    };
    let excuse = evidence.excuse.map(crate::detect::excuse::Excuse::name);
    assert_eq!(
        (excuse, evidence.fresh, evidence.uid),
        (Some("administrators_place"), true, Some(0))
    );
}
