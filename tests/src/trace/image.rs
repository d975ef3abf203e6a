//! What a process runs: a file, a script, or nothing that has a name.

use detector::input::{Executable, ExecutableFacts, ExecutableId, Integrity, Owner, Sha256};
use sha2::{Digest as _, Sha256 as Hash};

use super::{BOOT_UNIX_S, SECOND};

/// Seconds from writing a file to executing it, where the script says nothing else.
const FRESH_S: i64 = 2;
/// When packages were installed: a year before boot.
const INSTALLED_UNIX_S: i64 = BOOT_UNIX_S - 365 * 86_400;
const TMPFS: u64 = 0x0102_1994;
const EXT4: u64 = 0xef53;

/// An image, described by its deviations from an ordinary file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub(super) path: String,
    pub(super) interpreter: Option<String>,
    pub(super) args: Vec<String>,
    memfd: bool,
    deleted: bool,
    owner: Option<String>,
    age_s: i64,
    changed_unix_s: i64,
    uid: u32,
}

impl Image {
    /// The file at `path`. Below a system folder a package owns it; elsewhere nobody does, and it is fresh.
    pub fn file(path: &str) -> Image {
        let system = ["/usr/", "/bin/", "/sbin/", "/lib/"];
        let packaged = system.iter().any(|folder| path.starts_with(folder))
            && !path.starts_with("/usr/local/");
        let name = path.rsplit('/').next().unwrap_or(path);
        Image {
            path: path.to_owned(),
            interpreter: None,
            args: vec![path.to_owned()],
            memfd: false,
            deleted: false,
            owner: packaged.then(|| name.to_owned()),
            age_s: FRESH_S,
            changed_unix_s: INSTALLED_UNIX_S,
            uid: 0,
        }
    }

    /// A script, run by an interpreter that a package owns.
    pub fn script(path: &str, interpreter: &str) -> Image {
        Image {
            interpreter: Some(interpreter.to_owned()),
            args: vec![interpreter.to_owned(), path.to_owned()],
            ..Image::file(path)
        }
    }

    /// A program that never was a file.
    pub fn memfd(name: &str) -> Image {
        Image {
            memfd: true,
            ..Image::file(&format!("/memfd:{name}"))
        }
    }

    /// The file was unlinked before it was executed.
    pub fn deleted(self) -> Image {
        Image {
            deleted: true,
            ..self
        }
    }

    /// argv.
    pub fn args(self, args: &[&str]) -> Image {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Image { args, ..self }
    }

    /// Seconds from its last change to its execution.
    pub fn aged_s(self, age_s: i64) -> Image {
        Image { age_s, ..self }
    }

    /// Executed at that time by that user, who wrote it if no package did.
    pub(super) fn at(self, at_ns: u64, uid: u32) -> Image {
        if self.owner.is_some() {
            return self;
        }
        let unix_s = BOOT_UNIX_S + i64::try_from(at_ns / SECOND).expect("days");
        Image {
            changed_unix_s: unix_s - self.age_s,
            uid,
            ..self
        }
    }

    /// The name in its folder: the script's for a script.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// What the kernel loads: the interpreter of a script.
    pub(super) fn loaded(&self) -> Image {
        match &self.interpreter {
            Some(interpreter) => Image::file(interpreter),
            None => self.clone(),
        }
    }

    pub(super) fn file_name(&self) -> Vec<u8> {
        let path = self.loaded().path;
        match path
            .strip_prefix('/')
            .filter(|name| name.starts_with("memfd:"))
        {
            Some(name) => name.into(),
            None => path.rsplit('/').next().unwrap_or(&path).into(),
        }
    }

    /// As passed to `execve`.
    pub(super) fn filename(&self) -> Vec<u8> {
        if self.memfd {
            b"/proc/self/fd/3".to_vec()
        } else {
            self.path.clone().into_bytes()
        }
    }

    pub(super) fn executable(&self) -> Executable {
        let loaded = self.loaded();
        Executable {
            id: loaded.id(),
            size: 1 << 20,
            mode: 0o100_755,
            nlink: u32::from(!loaded.memfd && !loaded.deleted),
            uid: loaded.uid,
            fs_magic: if loaded.memfd { TMPFS } else { EXT4 },
            overlay_upper: false,
        }
    }

    fn id(&self) -> ExecutableId {
        let digest = Hash::digest(format!("{} {}", self.path, self.changed_unix_s));
        let eight = digest.first_chunk().expect("32 bytes");
        ExecutableId {
            dev: if self.memfd { 1 } else { 2_049 },
            inode: u64::from_le_bytes(*eight) >> 24,
            ctime_sec: self.changed_unix_s,
            ctime_nsec: 0,
        }
    }

    /// What enrichment finds about the loaded file.
    pub(super) fn facts(&self) -> ExecutableFacts {
        self.loaded().file_facts()
    }

    /// What enrichment finds about the script, under its own identity; `None`: it is none.
    pub(super) fn script_facts(&self) -> Option<ExecutableFacts> {
        self.interpreter.as_ref().map(|_| self.file_facts())
    }

    fn file_facts(&self) -> ExecutableFacts {
        ExecutableFacts {
            id: self.id(),
            path: Some(self.path.clone().into_bytes().into()),
            owner: self.owner.clone().map_or(Owner::Unowned, Owner::Package),
            integrity: self.owner.as_ref().map(|_| Integrity::Intact),
            namesake: None,
            sha256: Sha256::Digest(Hash::digest(&self.path).into()),
            modified_unix_ns: Some(self.changed_unix_s * 1_000_000_000),
            stat: None,
            known: None,
        }
    }
}
