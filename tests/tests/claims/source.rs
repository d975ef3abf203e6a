//! The source as text.

use std::{fs, path::PathBuf};

/// The workspace.
pub fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = manifest
        .parent()
        .expect("the package lies in the workspace");
    root.to_owned()
}

/// A file of the workspace.
pub fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a file of the workspace has a test of that name.
pub fn has_test(path: &str, name: &str) -> bool {
    let text = read(path);
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        match line {
            line if line.starts_with("#[test]") || line.starts_with("#[tokio::test") => {
                is_test = true;
            }
            line if line.starts_with("#[") => {}
            line => {
                let line = line.strip_prefix("async ").unwrap_or(line);
                let named = line
                    .strip_prefix("fn ")
                    .and_then(|line| line.split_once('('));
                if is_test && named.is_some_and(|(named, _)| named == name) {
                    return true;
                }
                is_test = false;
            }
        }
    }
    false
}

/// Every Rust file below a folder of the workspace, by its path in the workspace.
pub fn files(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let entries = fs::read_dir(root().join(folder)).expect("it is a folder");
    for entry in entries.map(|entry| entry.expect("it is readable")) {
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files.extend(self::files(&name));
        } else if name.ends_with(".rs") {
            files.push(name);
        }
    }
    files
}

#[test]
fn a_test_is_told_from_another_function_of_that_name() {
    let path = "tests/tests/claims/source.rs";
    assert!(has_test(
        path,
        "a_test_is_told_from_another_function_of_that_name"
    ));
    assert!(!has_test(path, "has_test"));
    assert!(!has_test(path, "a_test"));
}
