//! The emulated machine's whole file system, as an initial RAM disk: the programs that were just built, those that
//! tests start, and the libraries that both need.

use super::userland::Userland;
use crate::exec;
use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const INIT: &str = include_str!("init.sh");
/// What tests start, by the names they use.
const PROGRAMS: [&str; 16] = [
    "bash", "cat", "chown", "dash", "mkfifo", "mount", "nsenter", "perl", "runuser", "setpriv",
    "setsid", "sleep", "tac", "true", "umount", "unshare",
];
const PASSWD: &str = "root:x:0:0:root:/root:/usr/bin/dash\n\
    www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n";
/// What cannot hold there: overlayfs is a module, and there are none; every file lies in a tmpfs; a bill is compared
/// with a clock to 2 %, and ticks are dodged, and emulated time is too coarse for both.
const SKIPPED: [&str; 4] = [
    "an_overlay_tells",
    "a_deleted_file_is_known",
    "a_reused_pid_is_billed",
    "context_switches_equal",
];

/// What was built for the machine.
pub struct Built {
    /// Where it lies: the dev profile's folder.
    pub folder: PathBuf,
    /// What takes symbols out of it.
    pub strip: String,
}

/// Builds the disk below `folder` and gives its path. `busybox` runs on this machine.
pub fn build(
    folder: &Path,
    built: &Built,
    userland: &Userland,
    busybox: &Path,
    filters: &[&str],
) -> Result<PathBuf> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for name in [
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "etc",
        "proc",
        "sys",
        "dev",
        "tmp",
        "run",
        "root",
        "var/tmp",
        "var/lib",
    ] {
        fs::create_dir_all(root.join(name))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    let disk = Disk {
        root: &root,
        userland,
        strip: &built.strip,
    };
    for name in ["detector", "stand-in", "actor"] {
        let program = built.folder.join(name);
        disk.take_stripped(&program, name)?;
        // Tests know some by the place where they were built.
        let there = disk.at(&program);
        fs::create_dir_all(there.parent().context("it lies in a folder")?)?;
        symlink(format!("/usr/bin/{name}"), there)?;
    }
    disk.take_stripped(
        &newest_test(&built.folder.join("deps"), "kernel-")?,
        "kernel-tests",
    )?;
    for name in PROGRAMS {
        let (here, there) = userland.program(name)?;
        disk.take(&here, &there)?;
    }
    symlink("dash", root.join("usr/bin/sh"))?;
    let inside = match userland {
        Userland::Own => busybox.to_owned(),
        Userland::Unpacked { .. } => userland.program("busybox")?.0,
    };
    fs::copy(inside, root.join("usr/bin/busybox"))?;
    fs::write(root.join("etc/passwd"), PASSWD)?;
    fs::write(root.join("etc/group"), GROUP)?;
    let skipped = SKIPPED.map(|name| format!("--skip {name}")).join(" ");
    let init = root.join("init");
    let filters = format!("{} {skipped}", filters.join(" "));
    fs::write(&init, INIT.replace("@FILTERS@", &filters))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    pack(&root, busybox, &folder.join("disk.cpio"))
}

struct Disk<'a> {
    root: &'a Path,
    userland: &'a Userland,
    strip: &'a str,
}

impl Disk<'_> {
    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A program of ours without its debug information: the disk lies in memory.
    fn take_stripped(&self, program: &Path, name: &str) -> Result<()> {
        let to = self.root.join("usr/bin").join(name);
        let mut strip = exec::command(self.strip);
        strip.arg("-o").arg(&to).arg(program);
        let status = exec::status(&mut strip)?;
        exec::check(&strip, status)?;
        self.take_libraries(program)
    }

    /// A program that lies `here`, under its name and in its place `there`.
    fn take(&self, here: &Path, there: &Path) -> Result<()> {
        let real = here.canonicalize()?;
        // What it is on this machine: a link to a program of another name, such as an alternative.
        let target = match self.userland {
            Userland::Own => real.as_path(),
            Userland::Unpacked { .. } => there,
        };
        self.copy(&real, target)?;
        let link = self.at(there);
        if !link.exists() {
            symlink(target, link)?;
        }
        self.take_libraries(&real)
    }

    fn take_libraries(&self, program: &Path) -> Result<()> {
        for (here, there) in self.userland.libraries(program)? {
            if !self.at(&there).exists() {
                self.copy(&here, &there)?;
            }
        }
        Ok(())
    }

    fn copy(&self, here: &Path, there: &Path) -> Result<()> {
        let to = self.at(there);
        fs::create_dir_all(to.parent().context("it lies in a folder")?)?;
        fs::copy(here, &to).with_context(|| format!("copying {}", here.display()))?;
        Ok(())
    }
}

/// The test program of that name that was built last.
fn newest_test(deps: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(deps).with_context(|| format!("reading {}", deps.display()))?;
    let tests = entries.flatten().filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(prefix) && !name.contains('.')
    });
    let newest = tests.max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok());
    let newest = newest.with_context(|| format!("no {prefix}* in {}", deps.display()))?;
    Ok(newest.path())
}

fn pack(root: &Path, busybox: &Path, disk: &Path) -> Result<PathBuf> {
    let file = fs::File::create(disk).with_context(|| format!("creating {}", disk.display()))?;
    let mut names = exec::command("find");
    names.arg(".").current_dir(root).stdout(Stdio::piped());
    let mut names = names.spawn().context("cannot run find")?;
    let mut cpio = exec::command(busybox);
    cpio.args(["cpio", "-o", "-H", "newc"]).current_dir(root);
    cpio.stdin(names.stdout.take().context("it has a pipe")?)
        .stdout(file)
        .stderr(Stdio::null());
    let status = exec::status(&mut cpio)?;
    exec::check(&cpio, status)?;
    names.wait().context("waiting for find")?;
    Ok(disk.to_owned())
}
