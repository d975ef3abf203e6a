//! The programs that tests start in the emulated machine, and their libraries: this machine's own where it has the same
//! processor, else Debian's for the other one, unpacked into the user's cache.

use super::arch::Arch;
use super::packages::Archive;
use crate::exec::{self, Steps};
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whose programs: its C library has to be as new as the one that ours are linked to here, or newer.
const SUITE: &str = "trixie";
/// What holds the programs that tests start, besides what these need.
const PACKAGES: [&str; 8] = [
    "bash",
    "busybox-static",
    "coreutils",
    "dash",
    "libgcc-s1",
    "mount",
    "perl-base",
    "util-linux",
];

/// Where they come from.
pub enum Userland {
    /// This machine.
    Own,
    /// Debian for another one.
    Unpacked {
        /// Their root folder.
        root: PathBuf,
        /// The machine.
        arch: Arch,
    },
}

impl Userland {
    /// Fetched unless this machine or the cache has it.
    pub fn get(steps: &mut Steps, arch: Arch) -> Result<Userland> {
        if arch.is_own() {
            return Ok(Userland::Own);
        }
        let archive = Archive::of_suite(SUITE, arch)?;
        archive.refresh(steps)?;
        let why = "kernel tests start them";
        let root = archive.with_dependencies(steps, "root", &PACKAGES, why)?;
        Ok(Userland::Unpacked { root, arch })
    }

    /// A program by name: where it lies here, and where it shall lie there.
    pub fn program(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let found = match self {
            Userland::Own => exec::on_path(name).map(|path| (path.clone(), path)),
            Userland::Unpacked { root, .. } => ["usr/bin", "usr/sbin"]
                .map(|folder| Path::new(folder).join(name))
                .into_iter()
                .find(|path| root.join(path).is_file())
                .map(|path| (root.join(&path), Path::new("/").join(path))),
        };
        found.with_context(|| format!("there is no {name}, and kernel tests start it"))
    }

    /// The libraries that a program needs, in the same two places; of another machine's, which cannot be asked, all.
    pub fn libraries(&self, program: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
        match self {
            Userland::Own => {
                let listed = exec::query(Command::new("ldd").arg(program)).unwrap_or_default();
                let libraries = libraries(&listed).into_iter();
                Ok(libraries.map(|path| (path.clone(), path)).collect())
            }
            Userland::Unpacked { root, arch } => {
                let mut all = Vec::new();
                for folder in [
                    Path::new("usr/lib").to_owned(),
                    Path::new("usr/lib").join(arch.libraries()),
                ] {
                    let entries = root.join(&folder);
                    let entries = entries
                        .read_dir()
                        .with_context(|| format!("reading {}", entries.display()))?;
                    for entry in entries.flatten() {
                        let there = Path::new("/").join(&folder).join(entry.file_name());
                        if is_library(&there) && entry.path().is_file() {
                            all.push((entry.path(), there));
                        }
                    }
                }
                Ok(all)
            }
        }
    }
}

/// `libc.so.6`, `ld-linux-aarch64.so.1`.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains(".so.") || name.ends_with(".so")
}

/// The paths in what `ldd` prints.
fn libraries(listed: &str) -> BTreeSet<PathBuf> {
    let words = listed.split_whitespace();
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_that_ldd_resolved() {
        let listed = "\tlinux-vdso.so.1 (0x00007f)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(libraries(listed), paths.map(PathBuf::from).into());
        assert_eq!(libraries("\tstatically linked\n"), BTreeSet::new());
    }

    #[test]
    fn a_foreign_programs_libraries_are_all_that_were_unpacked() {
        let folder = std::env::temp_dir().join(format!("userland-{}", std::process::id()));
        let file = |path: &str| {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("it is below one")).expect("its folder");
            std::fs::write(path, "").expect("a file");
        };
        for path in [
            "usr/bin/bash",
            "usr/sbin/runuser",
            "usr/lib/ld-linux-aarch64.so.1",
            "usr/lib/os-release",
            "usr/lib/aarch64-linux-gnu/libc.so.6",
            "usr/lib/aarch64-linux-gnu/gconv/ISO.so",
        ] {
            file(path);
        }
        let userland = Userland::Unpacked {
            root: folder.clone(),
            arch: Arch::Aarch64,
        };
        let there = |program: &str| userland.program(program).map(|(_, there)| there).ok();
        assert_eq!(there("bash"), Some("/usr/bin/bash".into()));
        assert_eq!(there("runuser"), Some("/usr/sbin/runuser".into()));
        assert_eq!(there("perl"), None);
        let libraries = userland
            .libraries(Path::new("/any"))
            .expect("they are read");
        let there: Vec<_> = libraries.into_iter().map(|(_, there)| there).collect();
        let expected = [
            "/usr/lib/ld-linux-aarch64.so.1",
            "/usr/lib/aarch64-linux-gnu/libc.so.6",
        ];
        assert_eq!(there, expected.map(PathBuf::from));
        std::fs::remove_dir_all(folder).expect("it is removed");
    }
}
