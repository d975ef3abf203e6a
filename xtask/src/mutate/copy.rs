//! A copy of the workspace to change things in: the user's own files are read only.

use anyhow::{Context as _, Result};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

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
}
