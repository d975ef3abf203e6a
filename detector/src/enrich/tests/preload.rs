use super::*;
use crate::{
    enrich::{executable::Executables, preload, procfs::ProcessDir},
    input::{Preload, PreloadFrom},
};

fn preloads(running: &Running) -> Vec<Preload> {
    let now = Instant::now();
    let mut executables = Executables::new(&config::Enrich::default(), now).unwrap();
    let process = ProcessDir::open(running.key()).unwrap();
    preload::find(&process, &mut executables, now)
}

#[test]
fn each_object_of_the_variable_is_told_with_its_owner_and_nothing_else_of_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let object = dir.join("hide.so");
    fs::copy("/usr/bin/sleep", &object).unwrap();
    let object = object.to_str().unwrap();
    let mut command = Command::new("/usr/bin/sleep");
    command
        .arg("1000")
        .current_dir(&dir)
        .env("SECRET", "hunter2")
        .env(
            "LD_PRELOAD",
            format!("{object}: ./hide.so libname.so /usr/bin/sleep"),
        )
        .stderr(Stdio::null());
    let running = Running::start(&mut command);
    let found = preloads(&running);
    let unowned = match owner_of_sleep() {
        Owner::Package(_) => Owner::Unowned,
        unknown => unknown,
    };
    let of = |path: &str, id, owner| Preload {
        from: PreloadFrom::Environment,
        path: path.as_bytes().into(),
        id,
        owner,
    };
    let object_id = Some(id(Path::new(object)));
    assert_eq!(
        found,
        [
            of(object, object_id, unowned.clone()),
            of("./hide.so", object_id, unowned),
            of("libname.so", None, Owner::Unknown("searched for by name")),
            of(
                "/usr/bin/sleep",
                Some(id(Path::new("/usr/bin/sleep"))),
                owner_of_sleep()
            ),
        ]
    );
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn a_process_without_the_variable_has_no_preloads() {
    assert_eq!(preloads(&Running::sleep()), []);
}
