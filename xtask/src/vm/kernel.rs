//! Which kernels, and where they come from: Debian's cloud kernels, newest of each suite.

use super::arch::Arch;
use super::packages::Archive;
use crate::exec::Steps;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// A kernel of one suite.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    /// As it is asked for.
    pub name: &'static str,
    /// Debian's suite.
    pub suite: &'static str,
}

/// Oldest first.
pub const KERNELS: [Kernel; 4] = [
    Kernel {
        name: "5.10",
        suite: "bullseye",
    },
    Kernel {
        name: "6.1",
        suite: "bookworm",
    },
    Kernel {
        name: "6.12",
        suite: "trixie",
    },
    Kernel {
        name: "7.x",
        suite: "sid",
    },
];

/// Those of these names; `all` is every one.
pub fn named(names: &[String]) -> Result<Vec<&'static Kernel>> {
    if names.iter().any(|name| name == "all") {
        return Ok(KERNELS.iter().collect());
    }
    let known = || KERNELS.map(|kernel| kernel.name).join(", ");
    names
        .iter()
        .map(|name| {
            let found = KERNELS.iter().find(|kernel| kernel.name == name);
            found.with_context(|| format!("no kernel {name}: there are {} and all", known()))
        })
        .collect()
}

impl Kernel {
    /// Its image for `arch`, fetched unless the cache has it.
    pub fn fetch(&self, steps: &mut Steps, arch: Arch) -> Result<PathBuf> {
        super::require_apt()?;
        let archive = Archive::of_suite(self.suite, arch)?;
        archive.refresh(steps)?;
        // The package that always depends on the newest.
        let newest = format!("linux-image-cloud-{}", arch.debian());
        let image = archive
            .depends(&newest)?
            .into_iter()
            .find(|name| name.starts_with("linux-image-"))
            .with_context(|| format!("{newest} of {} depends on no image", self.suite))?;
        // From 7.x on, the image itself is in a package of its own.
        let split = archive.depends(&image)?;
        let package = split
            .into_iter()
            .find(|name| name.starts_with("linux-binary-"))
            .unwrap_or(image);
        let folder = archive.unpacked(steps, &package)?;
        find(&folder).with_context(|| format!("{package} holds no vmlinuz"))
    }
}

/// `boot/vmlinuz-*`, or `usr/lib/modules/*/vmlinuz`.
fn find(folder: &Path) -> Result<PathBuf> {
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let in_boot = entries(folder.join("boot"))
        .map(|entry| entry.path())
        .find(|path| name(path).starts_with("vmlinuz"));
    let in_modules = || {
        entries(folder.join("usr/lib/modules"))
            .map(|entry| entry.path().join("vmlinuz"))
            .find(|path| path.is_file())
    };
    match in_boot.or_else(in_modules) {
        Some(path) => Ok(path),
        None => bail!("no image in {}", folder.display()),
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kernel_is_refused_with_those_there_are() {
        let error = named(&["4.19".to_owned()]).expect_err("it is none of them");
        assert_eq!(
            error.to_string(),
            "no kernel 4.19: there are 5.10, 6.1, 6.12, 7.x and all"
        );
        let asked = ["7.x".to_owned(), "5.10".to_owned()];
        let names: Vec<_> = named(&asked).expect("both are known");
        assert_eq!(names, [&KERNELS[3], &KERNELS[0]]);
    }
}
