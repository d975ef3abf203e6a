//! Owner, integrity and hash of an executable or a script, through the process or through its path.

use std::{os::fd::OwnedFd, path::Path, time::Instant};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{
    cache::Cache,
    file::{self, Pinned},
    hash::{self, Bucket, Digests, Hasher},
    package::{Database, Digest, Shipped},
    path,
    procfs::ProcessDir,
};
use crate::{
    config,
    input::{
        ExecutableFacts, ExecutableId, FileStat, Integrity, NOT_REACHED, Owner, PACKAGES_CHANGE,
        Sha256,
    },
};

/// Finds facts about files, and remembers them.
#[derive(Debug)]
pub(super) struct Executables {
    cache: Cache,
    hasher: Hasher,
    packages: Database,
    /// The daemon's own view of the host, and that of process 1.
    views: Vec<HostView>,
}

/// A mount namespace whose paths are the host's.
///
/// systemd gives a sandboxed service one of its own, in which `/tmp` may be another one than everybody's
/// (`PrivateTmp=`). Process 1 has the view of all others. Only root can put something else into either.
#[derive(Debug)]
struct HostView {
    root: OwnedFd,
    /// What `/proc/PID/ns/mnt` leads to; `None`: not told to this user.
    mounts: Option<Vec<u8>>,
}

/// A process's view of the file system, compared with ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    /// The host's mount namespace, or the daemon's own: its paths are ours.
    Ours,
    /// Another mount namespace over the same root file system, as systemd makes for `PrivateTmp=`.
    OurRoot,
    /// Another root: a container or a chroot.
    Other,
}

impl Executables {
    /// Reads packages below `/`.
    ///
    /// # Errors
    /// The root folder cannot be opened.
    pub(super) fn new(config: &config::Enrich, now: Instant) -> std::io::Result<Executables> {
        Executables::with_view_of("1", config, now)
    }

    /// With the view of a process, as `/proc` names it, that counts as the host's besides our own.
    pub(super) fn with_view_of(
        first: &str,
        config: &config::Enrich,
        now: Instant,
    ) -> std::io::Result<Executables> {
        let bucket = Bucket::new(config.hash_bytes_per_second, config.hash_burst_bytes, now);
        Ok(Executables {
            cache: Cache::new(),
            hasher: Hasher::new(config.hash_max_bytes, bucket),
            packages: Database::open(Path::new("/")),
            views: host_views(first)?,
        })
    }

    /// Whether nothing is hashed until further notice.
    pub(super) fn rest(&mut self, rests: bool) {
        self.hasher.rest(rests);
    }

    /// Forgets what can be found out again.
    pub(super) fn forget(&mut self) {
        self.cache = Cache::new();
    }

    /// Facts about the image `id`: through the process that runs it, else at `filename`.
    pub(super) fn image(
        &mut self,
        id: ExecutableId,
        process: Option<&ProcessDir>,
        filename: &[u8],
        now: Instant,
    ) -> ExecutableFacts {
        let mut missing = hash::GONE;
        if let Some(process) = process {
            match Pinned::executable(process) {
                Ok(file) if file.is_image(&id, process) => {
                    return self.facts(id, &file, Some(process), now);
                }
                Ok(_) => missing = hash::CHANGED,
                Err(_) if process.verify().is_ok() => missing = hash::UNREADABLE,
                Err(_) => {}
            }
        }
        if let Some(known) = self.cache.get(&id) {
            return known.clone();
        }
        if filename.starts_with(b"/") && !path::is_descriptor(filename) {
            let at_path: Vec<Pinned> = self.at(filename, ResolveFlags::empty()).collect();
            if let Some(file) = at_path.iter().find(|file| file.is(&id, None)) {
                return self.facts(id, file, None, now);
            }
            if !at_path.is_empty() {
                missing = hash::CHANGED;
            }
        }
        ExecutableFacts {
            id,
            path: None,
            owner: Owner::Unknown(NOT_REACHED),
            integrity: None,
            namesake: None,
            sha256: missing,
            modified_unix_ns: None,
            stat: None,
            known: None,
        }
    }

    /// Facts about a script by its path, under its own identity; `None`: not reached, or not a regular
    /// file. What the interpreter was given is not known, so this is what lies there *now*.
    ///
    /// Only through a living process: after its end nobody knows in whose file system the path was
    /// meant, and a container's script would be taken for the host's of the same name.
    pub(super) fn script(
        &mut self,
        script: &[u8],
        process: &ProcessDir,
        now: Instant,
    ) -> Option<ExecutableFacts> {
        if !script.starts_with(b"/") || path::is_descriptor(script) {
            return None;
        }
        let root = process.pin("root").ok()?;
        let file = Pinned::below(root, script, ResolveFlags::empty()).ok()?;
        // Not a regular file, or one that reads differently for every reader.
        file.reader().ok()?;
        let mut facts = self.facts(file.id(), &file, Some(process), now);
        // A script can be replaced by a link to a shipped one while it runs. A link is as good as what
        // it leads to only if it is shipped itself.
        let linked = facts.path.as_deref() != Some(script);
        if linked
            && matches!(facts.owner, Owner::Package(_))
            && !matches!(self.packages.owner(script, now), Owner::Package(_))
        {
            facts.owner = Owner::Unknown("reached through a link");
        }
        process.verify().ok()?;
        Some(facts)
    }

    /// What `file` is, from memory as far as that cannot have changed.
    fn facts(
        &mut self,
        id: ExecutableId,
        file: &Pinned,
        process: Option<&ProcessDir>,
        now: Instant,
    ) -> ExecutableFacts {
        let known = self.cache.get(&id).cloned();
        let (path, owner) = self.place(file, process, now);
        let (sha256, integrity) = match known {
            Some(known) if is_final(&known, &owner) => (known.sha256, known.integrity),
            known => self.read(file, path.as_deref(), &owner, known, now),
        };
        let stat = file.stat();
        let namesake = match (&owner, &path) {
            (Owner::Unowned, Some(path)) => self.packages.namesake(path, now),
            _ => None,
        };
        let facts = ExecutableFacts {
            id,
            path: path.map(Into::into),
            owner,
            integrity,
            namesake,
            sha256,
            modified_unix_ns: stat
                .st_mtime
                .checked_mul(1_000_000_000)
                .and_then(|ns| ns.checked_add(stat.st_mtime_nsec as i64)),
            stat: Some(FileStat {
                uid: stat.st_uid,
                // Said by whoever knows the users.
                user_name: None,
                mode: stat.st_mode,
                size: stat.st_size as u64,
                born_unix_ns: file.born_unix_ns(),
            }),
            known: None,
        };
        self.cache.put(facts.clone());
        facts
    }

    /// Hash and integrity, in one reading where the file has to be read.
    fn read(
        &mut self,
        file: &Pinned,
        path: Option<&[u8]>,
        owner: &Owner,
        known: Option<ExecutableFacts>,
        now: Instant,
    ) -> (Sha256, Option<Integrity>) {
        let shipped = match (owner, path) {
            (Owner::Package(package), Some(path)) => Some(self.packages.shipped(package, path)),
            _ => None,
        };
        let with_md5 = matches!(
            shipped,
            Some(Shipped::Content {
                digest: Digest::Md5(_),
                ..
            })
        );
        let digests = match known.map(|known| known.sha256) {
            Some(sha256 @ Sha256::Digest(_)) if !with_md5 => sha256.into(),
            _ => self.hasher.hash(file, with_md5, now),
        };
        let integrity = shipped.map(|shipped| match integrity(&shipped, digests) {
            // Unpacked, but not yet listed: the old digest does not fit the new file.
            Integrity::Modified if self.packages.is_changing() => {
                Integrity::Unknown(PACKAGES_CHANGE)
            }
            told => told,
        });
        (digests.sha256, integrity)
    }

    /// Who ships an open file, as [`Executables::facts`] says it, without reading its content.
    pub(super) fn owner(&mut self, file: &Pinned, process: &ProcessDir, now: Instant) -> Owner {
        self.place(file, Some(process), now).1
    }

    /// Where the file lies on the host, and who ships it.
    ///
    /// Owned is only what runs from a path a package lists *and* lies at that path of the host, the
    /// same inode: a mount namespace of the attacker's own can show any file as `/usr/bin/ssh`.
    fn place(
        &mut self,
        file: &Pinned,
        process: Option<&ProcessDir>,
        now: Instant,
    ) -> (Option<Vec<u8>>, Owner) {
        let Ok(path) = file.real_path() else {
            return (None, Owner::Unknown("path unreadable"));
        };
        let is_there = self
            .at(&path, ResolveFlags::NO_SYMLINKS)
            .any(|there| file::id(there.stat()) == file.id() && there.stat().st_nlink > 0);
        if is_there {
            let owner = self.packages.owner(&path, now);
            return (Some(path), owner);
        }
        let view = process.map_or(View::Ours, |process| self.view(process));
        if view == View::Other {
            return (None, Owner::Unknown("other root file system"));
        }
        let owner = match self.packages.owner(&path, now) {
            // An update replaced it while it ran. To be at a listed path of our own mount namespace
            // takes root, so this is no way for an intruder to look shipped.
            Owner::Package(_) if file.stat().st_nlink == 0 && view == View::Ours => {
                Owner::Unknown("replaced since it started")
            }
            Owner::Package(_) => Owner::Unowned,
            other => other,
        };
        ((view == View::Ours).then_some(path), owner)
    }

    /// What lies at a path of the host, in each of its views.
    fn at(&self, path: &[u8], resolve: ResolveFlags) -> impl Iterator<Item = Pinned> {
        let views = self.views.iter();
        views.filter_map(move |view| Pinned::below(&view.root, path, resolve).ok())
    }

    fn view(&self, process: &ProcessDir) -> View {
        let theirs = process.link("ns/mnt").ok();
        if theirs.is_some() && self.views.iter().any(|view| view.mounts == theirs) {
            return View::Ours;
        }
        match process.pin("root") {
            Ok(root) if same_folder(&root, &self.views[0].root) => View::OurRoot,
            _ => View::Other,
        }
    }
}

/// The daemon's own view, and that of process 1 where both have the same root: in a container's chroot they have not.
fn host_views(first: &str) -> std::io::Result<Vec<HostView>> {
    let open = |process: &str| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let link = rustix::fs::readlink(format!("/proc/{process}/ns/mnt"), Vec::new());
        rustix::fs::open(format!("/proc/{process}/root"), flags, Mode::empty()).map(|root| {
            HostView {
                root,
                mounts: link.ok().map(|link| link.into_bytes()),
            }
        })
    };
    let own = open("self")?;
    let first = open(first).ok();
    let first =
        first.filter(|first| first.mounts != own.mounts && same_folder(&first.root, &own.root));
    Ok([own].into_iter().chain(first).collect())
}

fn same_folder(one: &OwnedFd, other: &OwnedFd) -> bool {
    let id = |folder| {
        let stat = rustix::fs::fstat(folder).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    id(one).is_some_and(|one| id(other) == Some(one))
}

/// Whether what is known of a file cannot get better: hashed, and compared with its package.
fn is_final(known: &ExecutableFacts, owner: &Owner) -> bool {
    let compared = match owner {
        Owner::Package(_) => !matches!(known.integrity, None | Some(Integrity::Unknown(_))),
        _ => known.integrity.is_none(),
    };
    known.owner == *owner && compared && matches!(known.sha256, Sha256::Digest(_))
}

/// Compares a content with the one that was shipped.
fn integrity(shipped: &Shipped, digests: Digests) -> Integrity {
    let (digest, configuration) = match *shipped {
        Shipped::Unknown(why) => return Integrity::Unknown(why),
        Shipped::Content {
            digest,
            configuration,
        } => (digest, configuration),
    };
    let sha256 = match digests.sha256 {
        Sha256::Missing(why) => return Integrity::Unknown(why),
        Sha256::Digest(sha256) => sha256,
    };
    let same = match digest {
        Digest::Md5(expected) => digests.md5 == Some(expected),
        Digest::Sha256(expected) => sha256 == expected,
    };
    match (same, configuration) {
        (true, _) => Integrity::Intact,
        (false, true) => Integrity::Edited,
        (false, false) => Integrity::Modified,
    }
}
