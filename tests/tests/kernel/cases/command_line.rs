//! What the program says when it cannot do what it was asked.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, Output},
};

use crate::program::detector;

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it speaks UTF-8");
    (status.code(), text(stdout) + &text(stderr))
}

#[test]
fn without_capabilities_it_names_what_it_needs_and_exits_with_2() {
    if !rustix::process::geteuid().is_root() {
        return crate::watch::skip("only root can become nobody");
    }
    // Where nobody can reach it.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open).expect("it is ours");
    let program = folder.path().join("detector");
    fs::copy(detector(), &program).expect("the folder is writable");
    let (code, said) = run(Command::new(&program)
        .arg("run")
        .current_dir("/")
        .uid(65_534)
        .gid(65_534));
    assert_eq!(code, Some(2), "{said}");
    for needed in [
        "exec (new binaries and scripts): needs CAP_BPF",
        "CAP_PERFMON",
        "root",
    ] {
        assert!(said.contains(needed), "{said}");
    }
    let (code, said) = run(Command::new(&program)
        .arg("check")
        .current_dir("/")
        .uid(65_534)
        .gid(65_534));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("needs CAP_BPF"), "{said}");
}

#[test]
fn a_wrong_key_is_named_with_line_and_column() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("my.toml");
    fs::write(&config, "[kernel]\ndrain_interval = 50\n").expect("the folder is writable");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let (code, said) = run(Command::new(detector())
        .args(["config", "check", "--config"])
        .arg(&config));
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("my.toml:2:1: `kernel.drain_interval`"),
        "{said}"
    );
}

#[test]
fn a_folder_that_others_may_write_makes_its_configuration_refused_by_root_alone() {
    if !rustix::process::geteuid().is_root() {
        return crate::watch::skip("only root can become nobody");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("my.toml");
    fs::write(&config, "").expect("the folder is writable");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), open).expect("it is ours");
    let program = folder.path().join("detector");
    fs::copy(detector(), &program).expect("the folder is writable");
    let check = || {
        let mut command = Command::new(&program);
        command.args(["config", "check", "--config"]).arg(&config);
        command
    };
    let (code, said) = run(&mut check());
    let named = format!("lies in {}, which is writable", folder.path().display());
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains(&named) && said.contains("mode 0777"),
        "{said}"
    );
    let (code, said) = run(check().current_dir("/").uid(65_534).gid(65_534));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_default_configuration_it_prints_is_valid() {
    let (code, text) = run(Command::new(detector()).args(["config", "default"]));
    assert_eq!(code, Some(0));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("default.toml");
    fs::write(&config, text).expect("the folder is writable");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let (code, said) = run(Command::new(detector())
        .args(["config", "check", "--config"])
        .arg(&config));
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "the configuration is valid\n")
    );
}
