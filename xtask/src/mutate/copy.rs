//! A copy of the workspace to change things in: the user's own files are read only.

use super::constant::Mutation;
use super::place::Place;
use anyhow::{Context as _, Result};
use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Defaults stand here with their reasons, and in the code. Changed in one place only, the test that compares the
/// two would notice each, whatever it is for.
const DEFAULTS: &str = "detector/src/config/default.toml";

/// What is no source: what cargo builds, and whatever hides.
fn is_source(name: &OsString) -> bool {
    name != "target" && !name.as_encoded_bytes().starts_with(b".")
}

/// Makes `to` the same as `from`. A file that is the same already is not written, or cargo would compile it again.
pub fn sync(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    let listed = |folder: &Path| -> Result<Vec<OsString>> {
        let entries = folder.read_dir();
        let entries = entries.with_context(|| format!("reading {}", folder.display()))?;
        let names = entries.map(|entry| Ok(entry?.file_name()));
        names
            .filter(|name| name.as_ref().is_ok_and(is_source))
            .collect()
    };
    let wanted = listed(from)?;
    for name in listed(to)? {
        let old = to.join(&name);
        if wanted.contains(&name) {
            continue;
        }
        let removed = if old.is_dir() {
            fs::remove_dir_all(&old)
        } else {
            fs::remove_file(&old)
        };
        removed.with_context(|| format!("removing {}", old.display()))?;
    }
    for name in wanted {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            sync(&from, &to)?;
            continue;
        }
        let wanted = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
        if fs::read(&to).ok().as_ref() != Some(&wanted) {
            fs::write(&to, wanted).with_context(|| format!("writing {}", to.display()))?;
        }
    }
    Ok(())
}

/// Runs `trial` while the copy is changed.
pub fn with<T>(
    copy: &Path,
    place: &Place,
    mutation: &Mutation,
    trial: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let mut changed = vec![(
        place.file.clone(),
        edited(&read(copy, &place.file)?, &mutation.edits),
    )];
    if place.file.ends_with("detect/config.rs") {
        let (_, instead) = &mutation.edits[0];
        let defaults = read(copy, Path::new(DEFAULTS))?;
        changed.push((
            DEFAULTS.into(),
            with_default(&defaults, &place.constant.name, instead)?,
        ));
    }
    let before = changed
        .iter()
        .map(|(file, _)| Ok((file.clone(), read(copy, file)?)));
    let before = before.collect::<Result<Vec<_>>>()?;
    write(copy, &changed)?;
    let outcome = trial();
    write(copy, &before)?;
    outcome
}

/// The source with its edits done.
pub fn edited(source: &str, edits: &[(Range<usize>, String)]) -> String {
    let mut changed = source.to_owned();
    for (range, instead) in edits.iter().rev() {
        changed.replace_range(range.clone(), instead);
    }
    changed
}

/// The configuration's defaults with another value of `key`.
fn with_default(defaults: &str, key: &str, value: &str) -> Result<String> {
    let lines = defaults.split_inclusive('\n');
    let start = lines
        .scan(0, |at, line| {
            *at += line.len();
            Some((*at - line.len(), line))
        })
        .find_map(|(at, line)| {
            line.strip_prefix(key)?
                .strip_prefix(" = ")
                .map(|rest| at + line.len() - rest.len())
        });
    let start = start.with_context(|| format!("{DEFAULTS} has no {key}"))?;
    let end = defaults[start..]
        .find('\n')
        .map_or(defaults.len(), |length| start + length);
    Ok(edited(defaults, &[(start..end, value.to_owned())]))
}

/// A file below `root`.
pub fn read(root: &Path, file: &Path) -> Result<String> {
    fs::read_to_string(root.join(file)).with_context(|| format!("reading {}", file.display()))
}

/// Writes files below `root`.
pub fn write(root: &Path, files: &[(PathBuf, String)]) -> Result<()> {
    for (file, text) in files {
        fs::write(root.join(file), text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_what_it_is_of_and_leaves_what_is_the_same() {
        let folder = std::env::temp_dir().join(format!("detector-copy-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().expect("inside the folder")).expect("created");
            fs::write(path, text).expect("written");
        };
        let read = |path: &str| fs::read_to_string(to.join(path)).ok();
        write(&from.join("src/a.rs"), "a");
        write(&from.join("src/b.rs"), "b");
        write(&from.join("target/big"), "built");
        sync(&from, &to).expect("copied");
        let first = fs::metadata(to.join("src/a.rs")).and_then(|of| of.modified());

        write(&to.join("src/b.rs"), "changed");
        write(&to.join("src/old.rs"), "gone in the original");
        sync(&from, &to).expect("copied again");

        let second = fs::metadata(to.join("src/a.rs")).and_then(|of| of.modified());
        assert_eq!(first.ok(), second.ok(), "not written again");
        assert_eq!(
            ["src/a.rs", "src/b.rs", "src/old.rs", "target/big"].map(read),
            [Some("a".to_owned()), Some("b".to_owned()), None, None]
        );
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_default_is_changed_in_its_line_alone() {
        let defaults =
            "# window_s = 3 is too short\nmax_window_s = 4\nwindow_s = 10\nclear_after_s = 10\n";
        let changed = with_default(defaults, "window_s", "20");
        assert_eq!(
            changed.ok().as_deref(),
            Some(
                "# window_s = 3 is too short\nmax_window_s = 4\nwindow_s = 20\nclear_after_s = 10\n"
            )
        );
        assert!(with_default(defaults, "absent", "20").is_err());
    }
}
