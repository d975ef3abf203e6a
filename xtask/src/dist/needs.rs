//! Which libraries a program needs, in rpm's words, and how old the C library may be.

use crate::exec;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The C library of Red Hat's systems of version 9, Amazon's of 2023, and what the `.deb` for another machine asks for.
const GLIBC: (u32, u32) = (2, 34);

/// Says so of programs that cannot be run here.
pub fn script() -> PathBuf {
    exec::workspace().join("xtask/src/dist/requires.sh")
}

/// Fails if a program for another machine needs a newer C library than its packages ask for.
pub fn check(program: &Path) -> Result<()> {
    let mut ask = exec::command(script());
    ask.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut asked = ask.spawn().context("cannot run requires.sh")?;
    let input = asked.stdin.take().context("it has a pipe")?;
    std::io::Write::write_all(&mut { input }, program.as_os_str().as_encoded_bytes())?;
    let output = asked.wait_with_output()?;
    exec::check(&ask, output.status)?;
    glibc(&String::from_utf8_lossy(&output.stdout))
        .map(drop)
        .with_context(|| format!("{} cannot be packed", program.display()))
}

/// The newest version of the C library that `needs` names; fails if that is newer than what every supported system has.
pub fn glibc(needs: &str) -> Result<(u32, u32)> {
    let newest = newest_glibc(needs).context("it does not say which C library it needs")?;
    ensure!(
        newest <= GLIBC,
        "it needs a C library of version {newest:?}, newer than {GLIBC:?}:\n{needs}"
    );
    Ok(newest)
}

/// The newest `libc.so.6(GLIBC_2.34)` among what it needs.
fn newest_glibc(needs: &str) -> Option<(u32, u32)> {
    let versions = needs.lines().filter_map(|line| {
        let (major, minor) = line
            .split_once("(GLIBC_")?
            .1
            .split_once(')')?
            .0
            .split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_newest_version_of_the_c_library_counts() {
        let needs = "/bin/sh\nlibc.so.6()(64bit)\nlibc.so.6(GLIBC_2.9)(64bit)\nlibc.so.6(GLIBC_2.34)(64bit)\nlibc.so.6(GLIBC_2.2.5)(64bit)\n";
        assert_eq!(newest_glibc(needs), Some((2, 34)));
        assert_eq!(newest_glibc("/bin/sh\n"), None);
        assert_eq!(glibc(needs).ok(), Some((2, 34)));
        let newer = glibc("libc.so.6(GLIBC_2.39)(64bit)\n").expect_err("too new");
        assert!(newer.to_string().contains("(2, 39)"), "{newer}");
    }

    #[test]
    fn a_program_is_asked_for_its_libraries_without_running_it() {
        let own = std::env::current_exe().expect("this program has a path");
        let listed = exec::query(exec::command("sh").arg("-c").arg(format!(
            "printf '%s\\n/etc/passwd' {} | {}",
            own.display(),
            script().display()
        )));
        let listed = listed.expect("readelf is here");
        let linked = exec::query(exec::command("ldd").arg(&own)).expect("ldd is here");
        // The loader is named by its path.
        let by_ldd: Vec<&str> = linked
            .lines()
            .filter_map(|line| line.trim().split_once(" => ").map(|(name, _)| name))
            .collect();
        let named = |library: &str| listed.contains(&format!("{library}()(64bit)\n"));
        assert!(by_ldd.contains(&"libc.so.6"), "{linked}");
        assert!(
            by_ldd.iter().all(|library| named(library)),
            "{listed}{linked}"
        );
        assert!(newest_glibc(&listed).is_some(), "{listed}");
    }

    #[test]
    fn the_debian_package_for_another_machine_asks_for_that_c_library() {
        let manifest = exec::workspace().join("detector/Cargo.toml");
        let manifest = fs::read_to_string(manifest).expect("the daemon has one");
        let (major, minor) = GLIBC;
        let asked = format!("depends = \"libc6 (>= {major}.{minor}), passwd\"");
        assert!(manifest.contains(&asked), "no {asked}");
    }
}
