//! What keeps an honest server busy: a day's work in a few minutes, each piece with the real programs.
//!
//! Owns the folders and sessions of the work; all of it ends, and is removed, with its [`Chore`]. Nothing lasting
//! happens to the host: the database has a folder of its own, the package is installed into another root, nothing is
//! fetched. Each piece is about [`LASTS`] of as much CPU as it can get.

use crate::foothold::Session;
use anyhow::{Context as _, Result, ensure};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a piece of work goes on: longer than it takes the detector to call a load saturation.
pub const LASTS: Duration = Duration::from_secs(18);
/// What takes longer than this is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A piece of work.
#[derive(Clone, Copy, Debug)]
pub struct Chore {
    /// What it is called in a table.
    pub name: &'static str,
    user: &'static str,
    /// Where its folder is made.
    below: Place,
    /// Writes what it needs into its folder; gives the command.
    prepare: fn(&Path) -> Result<Vec<OsString>>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Scratch,
    /// Where an administrator works.
    Home,
}

/// A piece of work that goes on.
#[derive(Debug)]
pub struct Work {
    session: Session,
    // After the session: what runs ends before its folder is removed.
    folder: TempDir,
}

/// Everything that needs no web server.
pub const CHORES: &[Chore] = &[
    Chore {
        name: "xz -T0 of a large tree",
        user: "root",
        below: Place::Scratch,
        prepare: |_| {
            shell(
                "timeout 18 sh -c 'tar -cf - /usr 2>/dev/null | xz -T0 > /dev/null' || test $? = 124",
            )
        },
    },
    Chore {
        name: "mariadb query load",
        user: "backup",
        below: Place::Scratch,
        prepare: |folder| script(folder, "database.sh", DATABASE),
    },
    Chore {
        name: "apt-get install",
        user: "root",
        below: Place::Scratch,
        prepare: package,
    },
    Chore {
        name: "cargo build by an admin",
        user: "root",
        below: Place::Home,
        prepare: crates,
    },
    Chore {
        name: "openssl key generation",
        user: "root",
        below: Place::Scratch,
        prepare: |_| {
            shell(
                "for i in 1 2; do timeout 18 sh -c 'while :; do openssl genrsa -out /dev/null 8192; done' & done; wait",
            )
        },
    },
    Chore {
        name: "300 short cron jobs",
        user: "root",
        below: Place::Scratch,
        prepare: |folder| script(folder, "jobs.sh", JOBS),
    },
];

/// Needs `mariadbd` and its client; one socket in the folder, no network.
const DATABASE: &str = r#"
set -e
mariadb-install-db --no-defaults --datadir="$PWD/data" --auth-root-authentication-method=normal --skip-test-db
mariadbd --no-defaults --datadir="$PWD/data" --socket="$PWD/s" --skip-networking --skip-grant-tables &
until mariadb --no-defaults --socket="$PWD/s" -e 'select 1'; do sleep 0.2; done
query() { mariadb --no-defaults --socket="$PWD/s" "$@"; }
query -e 'create database shop; use shop; create table orders as select seq as id, md5(seq) as hash from seq_1_to_200000'
end=$(($(date +%s) + 18))
work() {
    while [ "$(date +%s)" -lt $end ]; do
        query shop -e "select count(*), max(hash) from orders where hash like '%7f$1%' or reverse(hash) like '%e$1%'"
    done
}
work 1 & one=$!
work 2 & two=$!
work 3 & wait $one $two $!
"#;

/// A third of a second's worth of work each, a few at a time, as when all hourly jobs begin together.
const JOBS: &str = r#"
i=0
while [ $i -lt 300 ]; do
    sh -c "head -c 12000000 /dev/zero | sha256sum; date" &
    i=$((i + 1))
    [ $((i % 4)) = 0 ] && wait
done
wait
"#;

/// What a package does when it is installed.
const POSTINST: &str = r#"#!/bin/sh
set -e
end=$(($(date +%s) + 16))
while [ "$(date +%s)" -lt $end ]; do
    head -c 60000000 /dev/zero | tr '\0' 'x' | xz -T0 -1 > /dev/null
    "$DPKG_ROOT/usr/lib/demo/helper"
done
"#;

/// `apt-get` with a root, a database and lists of its own: the host's are read by nobody, let alone written.
const APT: &str = r#"
set -e
mkdir -p adm/updates adm/info adm/triggers inst state/lists/partial cache/archives/partial
: > adm/status
: > adm/available
mkdir -p package/usr/lib/demo
cp /bin/true package/usr/lib/demo/helper
dpkg-deb --root-owner-group --build package demo.deb
exec apt-get -y -o Dir::State="$PWD/state" -o Dir::State::status="$PWD/adm/status" -o Dir::Cache="$PWD/cache" \
    -o Dir::Log="$PWD/state" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=/dev/null \
    -o DPkg::Options::=--admindir="$PWD/adm" -o DPkg::Options::=--instdir="$PWD/inst" \
    -o DPkg::Options::=--force-script-chrootless -o Debug::NoLocking=1 -o Dpkg::Use-Pty=0 install "$PWD/demo.deb"
"#;

const CONTROL: &str = "Package: detector-test-package\nVersion: 1.0\nArchitecture: all\n\
    Maintainer: Nobody <nobody@example.org>\nDescription: an empty package that takes its time\n";

fn package(folder: &Path) -> Result<Vec<OsString>> {
    let control = folder.join("package/DEBIAN");
    fs::create_dir_all(&control)?;
    fs::write(control.join("control"), CONTROL)?;
    let postinst = control.join("postinst");
    fs::write(&postinst, POSTINST)?;
    fs::set_permissions(&postinst, Permissions::from_mode(0o755))?;
    script(folder, "install.sh", APT)
}

/// A small crate with much to optimise, without dependencies; built again and again until the time is over.
fn crates(folder: &Path) -> Result<Vec<OsString>> {
    let source = folder.join("src");
    fs::create_dir_all(&source)?;
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"demo\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
    )?;
    fs::write(
        folder.join("build.rs"),
        "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }",
    )?;
    let mut main = String::from("fn main() {}\n");
    for n in 0..1_500 {
        main.push_str(&format!(
            "pub fn f{n}(words: &[String]) -> std::collections::BTreeMap<String, usize> {{\n    \
             words.iter().map(|word| (format!(\"{{word}}-{n}\"), word.len() + {n})).filter(|(_, size)| size % 3 == 0).collect()\n}}\n"
        ));
    }
    fs::write(source.join("main.rs"), main)?;
    let cargo = Path::new(env!("CARGO"));
    let bin = cargo.parent().context("cargo lies in no folder")?;
    let build = format!(
        "PATH={0}:$PATH; export PATH; HOME=/root; export HOME; end=$(($(date +%s) + 18)); \
         while [ $(date +%s) -lt $end ]; do cargo build --offline --release && rm -r target/release; done",
        bin.display()
    );
    shell(&build)
}

fn shell(text: &str) -> Result<Vec<OsString>> {
    Ok(["sh", "-c", text].map(OsString::from).to_vec())
}

fn script(folder: &Path, name: &str, text: &str) -> Result<Vec<OsString>> {
    fs::write(folder.join(name), text)?;
    Ok(vec!["sh".into(), name.into()])
}

impl Chore {
    /// Begins it.
    ///
    /// # Errors
    /// When its folder or session cannot be made.
    pub fn start(&self) -> Result<Work> {
        let below = match self.below {
            Place::Scratch => PathBuf::from("/var/tmp"),
            Place::Home => home().unwrap_or_else(|| "/var/tmp".into()),
        };
        let folder = tempfile::Builder::new()
            .prefix("detector-chore-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(below)?;
        let command = (self.prepare)(folder.path())?;
        if self.user != "root" {
            let status = std::process::Command::new("chown")
                .args([OsStr::new(self.user), folder.path().as_os_str()])
                .status()?;
            ensure!(status.success(), "there is no user {}", self.user);
        }
        let session = Session::start(self.user, folder.path(), &command)?;
        Ok(Work { session, folder })
    }
}

impl Work {
    /// Its session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Where it works.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it gets stuck or fails; then with what it printed.
    pub fn finish(&mut self) -> Result<()> {
        let done = self.session.finish(Instant::now() + STUCK_AFTER);
        let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let done = done.with_context(log)?;
        ensure!(done, "it failed: {}", log());
        Ok(())
    }
}

/// Root's home, where a build does not lie in a folder for everybody.
fn home() -> Option<PathBuf> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let root = passwd.lines().find(|line| line.starts_with("root:"))?;
    root.split(':').nth(5).map(PathBuf::from)
}
