//! Whether the probes still hang where they were attached.
//!
//! A probe hangs by its link for as long as the daemon holds its descriptor. Root can close it from outside (a debugger), or
//! detach it where the kernel allows that (cgroups). Both show in `/proc/self/fdinfo`; asking bpf(2) for links by number
//! would take `CAP_SYS_ADMIN`.

use std::{collections::BTreeSet, fs, os::fd::RawFd};

use super::{Loaded, fdinfo};

/// What `/proc/self/fd` says of a link.
const IS_LINK: &str = "anon_inode:bpf_link";

/// The links there were after attaching.
#[derive(Debug, Default)]
pub struct Links {
    held: Vec<Link>,
    told: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    fd: RawFd,
    id: u64,
    program: String,
    /// It is one to a cgroup, and was detached there.
    detached: bool,
}

impl Links {
    /// Those held now.
    pub fn held(loaded: &Loaded) -> Links {
        Links {
            held: links(loaded),
            told: BTreeSet::new(),
        }
    }

    /// Programs that no longer hang where they did, each once.
    pub fn gone(&mut self, loaded: &Loaded) -> Vec<String> {
        let now = links(loaded);
        let closed = self.held.iter().filter(|link| {
            let same = |other: &&Link| (other.fd, other.id) == (link.fd, link.id);
            now.iter().find(same).is_none()
        });
        let detached = now.iter().filter(|link| link.detached);
        let gone: Vec<String> = closed
            .chain(detached)
            .map(|link| link.program.clone())
            .collect();
        gone.into_iter()
            .filter(|program| self.told.insert(program.clone()))
            .collect()
    }

    /// Whether one was told.
    pub fn are_missing(&self) -> bool {
        !self.told.is_empty()
    }
}

fn links(loaded: &Loaded) -> Vec<Link> {
    let programs = loaded.program_ids();
    let name = |id: u64| {
        let named = programs.iter().find(|(_, known)| *known == id);
        named.map_or_else(|| format!("program {id}"), |(name, _)| name.clone())
    };
    let descriptors = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    descriptors
        .filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == IS_LINK))
        .filter_map(|entry| {
            let fd = entry.file_name().to_str()?.parse().ok()?;
            let text = fdinfo::read(fd)?;
            Some(Link {
                fd,
                id: fdinfo::number(&text, "link_id")?,
                program: name(fdinfo::number(&text, "prog_id")?),
                detached: fdinfo::number(&text, "cgroup_id") == Some(0),
            })
        })
        .collect()
}
