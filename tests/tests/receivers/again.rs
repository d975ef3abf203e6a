//! A test of this binary once more, in a process of its own: what comes from the environment is read by the whole process.

use std::{ffi::OsStr, path::Path, process::Command};

/// Runs an ignored test with these variables; whether it passes. What it printed is shown.
pub fn passes(test: &str, variables: &[(&str, &OsStr)]) -> bool {
    let own = std::env::current_exe().expect("a test binary");
    let mut command = Command::new(own);
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .envs(variables.iter().copied());
    let output = command.output().expect("it starts");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    output.status.success() && ran
}

/// A folder that the test before handed over.
pub fn folder(variable: &str) -> std::path::PathBuf {
    let folder = std::env::var_os(variable).expect("started by the test above");
    Path::new(&folder).to_owned()
}
