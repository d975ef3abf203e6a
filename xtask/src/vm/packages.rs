//! Debian packages that are unpacked into the user's cache, never installed.
//!
//! A suite has package lists of its own there, for one architecture; the mirror and its keys are those that this machine uses
//! already. `$XDG_CACHE_HOME/detector/vm/{<suite>-<architecture>,packages}`.

use super::arch::Arch;
use crate::exec::{self, Steps};
use crate::{apt, tools};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// A kernel is looked for again after this long.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Packages of one suite, or of this machine's own sources.
pub struct Archive {
    folder: PathBuf,
    /// Suite and architecture.
    foreign: Option<(&'static str, Arch)>,
}

impl Archive {
    /// Another suite than the machine's, or another architecture.
    pub fn of_suite(suite: &'static str, arch: Arch) -> Result<Archive> {
        let folder = cache()?.join(format!("{suite}-{}", arch.debian()));
        fs::create_dir_all(folder.join("lists/partial"))
            .with_context(|| format!("creating {}", folder.display()))?;
        let mirror = apt::mirror()?;
        let source = format!(
            "deb [arch={} signed-by={KEYRING}] {mirror} {suite} main\n",
            arch.debian()
        );
        fs::write(folder.join("sources.list"), source)?;
        // Nothing of it is installed anywhere.
        fs::write(folder.join("status"), "")?;
        Ok(Archive {
            folder,
            foreign: Some((suite, arch)),
        })
    }

    /// This machine's sources.
    pub fn own() -> Result<Archive> {
        let folder = cache()?.join("packages");
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Archive {
            folder,
            foreign: None,
        })
    }

    /// Brings the lists of the suite up to date when they are older than a day.
    pub fn refresh(&self, steps: &mut Steps) -> Result<()> {
        let stamp = self.folder.join("refreshed");
        let age = fs::metadata(&stamp)
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age < STALE) {
            return Ok(());
        }
        steps.run(self.apt("apt-get").args(["-q", "-q", "update"]))?;
        fs::write(stamp, "").context("noting when the lists were fetched")
    }

    /// What the newest version of a package depends on.
    pub fn depends(&self, package: &str) -> Result<Vec<String>> {
        let mut show = self.apt("apt-cache");
        show.args(["show", "--no-all-versions", package]);
        let shown = exec::query(&mut show)
            .with_context(|| format!("there is no package {package} in {:?}", self.foreign))?;
        Ok(apt::parse_depends(&shown))
    }

    /// The folder a package of the suite is unpacked in.
    pub fn unpacked(&self, steps: &mut Steps, package: &str) -> Result<PathBuf> {
        let folder = self.folder.join(package);
        if folder.join("complete").is_file() {
            return Ok(folder);
        }
        fs::create_dir_all(&folder)?;
        let mut download = self.apt("apt-get");
        download.args(["-q", "-q", "download", package]);
        steps.run(download.current_dir(&folder))?;
        for file in debs(&folder)? {
            extract(steps, &file, &folder)?;
            fs::remove_file(file)?;
        }
        fs::write(folder.join("complete"), "")?;
        Ok(folder)
    }

    /// A folder of that name with packages and whatever they need that is not installed.
    pub fn with_dependencies(
        &self,
        steps: &mut Steps,
        name: &str,
        packages: &[&str],
        why: &str,
    ) -> Result<PathBuf> {
        let root = self.folder.join(name);
        if root.join("complete").is_file() {
            return Ok(root);
        }
        steps.note(format!(
            "unpacking {} into {}, once: {why}",
            packages.join(" "),
            root.display()
        ));
        let archives = self.folder.join("archives");
        for folder in [&root, &archives.join("partial")] {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let mut download = self.apt("apt-get");
        download
            .args([
                "-q",
                "-q",
                "-y",
                "--no-install-recommends",
                "--download-only",
            ])
            .args(["-o", "Debug::NoLocking=1", "-o"])
            .arg(format!("Dir::Cache::archives={}", archives.display()))
            .arg("install")
            .args(packages);
        steps.run(&mut download)?;
        for file in debs(&archives)? {
            extract(steps, &file, &root)?;
        }
        fs::remove_dir_all(&archives)?;
        fs::write(root.join("complete"), "")?;
        Ok(root)
    }

    /// apt, with lists of its own unless they are this machine's.
    fn apt(&self, program: &str) -> Command {
        let mut command = exec::command(program);
        // What is in the user's cache, apt's own user need not be able to read.
        command.args(["-o", "APT::Sandbox::User=root"]);
        let Some((_, arch)) = self.foreign else {
            return command;
        };
        let at = |name: &str| self.folder.join(name).display().to_string();
        for option in [
            format!("APT::Architecture={}", arch.debian()),
            format!("APT::Architectures={}", arch.debian()),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Cache::pkgcache=".to_owned(),
            "Dir::Cache::srcpkgcache=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

fn debs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            found.push(path);
        }
    }
    if found.is_empty() {
        bail!("no package was downloaded into {}", folder.display());
    }
    Ok(found)
}

fn extract(steps: &mut Steps, deb: &Path, folder: &Path) -> Result<()> {
    steps.run(exec::command("dpkg-deb").arg("-x").arg(deb).arg(folder))
}

fn cache() -> Result<PathBuf> {
    Ok(tools::user_cache()?.join("vm"))
}
