//! Which constants the policy has, where they stand, and what they are called.

use super::constant::{self, Constant, Home, Mutation};
use super::copy;
use anyhow::{Context as _, Result};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where the policy is written, from the workspace's root.
const POLICY: [&str; 2] = ["detector/src/detect", "detector/src/incident"];

/// A constant and where it is.
pub struct Place {
    /// As in Rust: `detect::rule::respawn::LOOP`.
    pub path: String,
    /// From the workspace's root.
    pub file: PathBuf,
    pub constant: Constant,
}

impl Place {
    /// Whether no build with all changes can hold it: it is no Rust.
    pub fn is_text(&self) -> bool {
        self.constant.home == Home::File
    }

    /// What is tried, in a line.
    pub fn title(&self, mutation: &Mutation) -> String {
        format!("{} = {} {}", self.path, self.constant.value, mutation.what)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Constant {
            line,
            value,
            exempt,
            mutations,
            ..
        } = &self.constant;
        write!(
            f,
            "{} ({}:{line}) {value}  ",
            self.path,
            self.file.display()
        )?;
        match exempt {
            Some(reason) => write!(f, "not tried: {reason}"),
            None => {
                let what = mutations.iter().map(|mutation| mutation.what.as_str());
                f.write_str(&what.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Each constant with the number of its first change.
pub fn numbered(places: &[Place]) -> impl Iterator<Item = (usize, &Place)> {
    places.iter().scan(0, |next, place| {
        let first = *next;
        *next += place.constant.mutations.len();
        Some((first, place))
    })
}

/// All constants of the policy, in the order of their files.
pub fn all(workspace: &Path) -> Result<Vec<Place>> {
    let mut files = Vec::new();
    for folder in POLICY {
        source_files(workspace, Path::new(folder), false, &mut files)?;
    }
    files.sort();
    let mut places = Vec::new();
    for file in files {
        let source = copy::read(workspace, &file)?;
        let constants = match file.extension().and_then(|of| of.to_str()) {
            Some("toml") => constant::of_toml_lists(&source),
            _ => {
                constant::of_rust(&source).with_context(|| format!("reading {}", file.display()))?
            }
        };
        places.extend(constants.into_iter().map(|constant| Place {
            path: format!("{}::{}", module(&file), constant.name),
            file: file.clone(),
            constant,
        }));
    }
    Ok(places)
}

/// Files below `folder`, with those of `tests` or without.
pub fn source_files(
    workspace: &Path,
    folder: &Path,
    tests: bool,
    files: &mut Vec<PathBuf>,
) -> Result<()> {
    let entries = workspace.join(folder).read_dir();
    for entry in entries.with_context(|| format!("reading {}", folder.display()))? {
        let name = entry?.file_name();
        let path = folder.join(&name);
        if workspace.join(&path).is_dir() {
            if tests || name != "tests" {
                source_files(workspace, &path, tests, files)?;
            }
        } else if tests || name != "tests.rs" && name != "testing.rs" {
            files.push(path);
        }
    }
    Ok(())
}

/// `detector/src/detect/rule/respawn.rs` is `detect::rule::respawn`.
fn module(file: &Path) -> String {
    let path = file.with_extension("");
    let inside = path.strip_prefix("detector/src").unwrap_or(&path);
    let parts = inside.iter().map(|part| part.to_string_lossy());
    parts
        .filter(|part| part != "mod")
        .collect::<Vec<_>>()
        .join("::")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec;

    #[test]
    fn a_constant_is_called_by_its_path_in_rust() {
        for (file, path) in [
            (
                "detector/src/detect/rule/respawn.rs",
                "detect::rule::respawn",
            ),
            ("detector/src/incident/mod.rs", "incident"),
            ("detector/src/detect/indicators.toml", "detect::indicators"),
        ] {
            assert_eq!(module(Path::new(file)), path);
        }
    }

    /// Of this workspace: that tests and their helpers are left out, and that the reader still finds what there is.
    #[test]
    fn the_policy_of_this_workspace_is_found_without_its_tests() {
        let places = all(&exec::workspace()).expect("it is read");
        let paths: Vec<&str> = places.iter().map(|place| place.path.as_str()).collect();
        for known in [
            "detect::rule::respawn::LOOP",
            "detect::config::host_share",
            "detect::sequential::model::STORM.p_max",
            "detect::world::LOOKS_NS[2]",
            "detect::path::WORLD_WRITABLE",
            "incident::finding::MiningProtocol",
            "incident::MAX_PARTS",
        ] {
            assert!(paths.contains(&known), "{known}");
        }
        let of_tests = |place: &&Place| {
            let file = place.file.to_string_lossy();
            file.ends_with("tests.rs") || file.ends_with("testing.rs") || file.contains("/tests/")
        };
        assert_eq!(places.iter().filter(of_tests).count(), 0);
        assert!(
            !paths.contains(&"detect::sequential::bank::SECOND"),
            "in a test module"
        );
        let nothing = places
            .iter()
            .filter(|place| place.constant.mutations.is_empty());
        assert_eq!(nothing.count(), 0);
    }
}
