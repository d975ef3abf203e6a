//! What explains an unknown file so that nobody has to get up.
//!
//! An accusation may rest on a name; an excuse has to be proven, because an intruder would like to have
//! it: the program that excuses must lie in a system folder or belong to a package, belong to root, run as
//! root, and not be deleted. Below a web service only two things excuse: a package manager that runs as
//! root, and a place where nobody but root can have put the file.
//!
//! Excused is not unseen: the finding is kept at `info`, and says why.

use super::{
    interpreter,
    path::{PathClass, classify},
    process::Process,
    rule::{Image, View},
    world::World,
};
use crate::input::{Exec, Owner};

/// Why an unknown file is no reason to get up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Excuse {
    /// A package manager is at work above it.
    PackageManager,
    /// Configuration management is at work above it.
    ConfigurationManagement,
    /// A compiler or build tool is at work above it, for a person or root.
    Build,
    /// Only root can have put it where it lies: `/usr/local`, `/opt`, owned and writable by root alone.
    AdministratorsPlace,
}

impl Excuse {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Excuse::PackageManager => "package_manager",
            Excuse::ConfigurationManagement => "configuration_management",
            Excuse::Build => "build",
            Excuse::AdministratorsPlace => "administrators_place",
        }
    }
}

const CONFIGURATION_MANAGEMENT: [&[u8]; 13] = [
    b"puppet",
    b"puppet-agent",
    b"chef-client",
    b"chef-infra-client",
    b"cinc-client",
    b"salt-minion",
    b"salt-call",
    b"ansible-pull",
    b"ansible-playbook",
    b"cf-agent",
    b"cloud-init",
    b"mgmt",
    b"rudder",
];
const BUILD_TOOLS: [&[u8]; 16] = [
    b"make",
    b"gmake",
    b"ninja",
    b"cmake",
    b"ctest",
    b"meson",
    b"cargo",
    b"rustc",
    b"go",
    b"gcc",
    b"cc",
    b"g++",
    b"clang",
    b"dpkg-buildpackage",
    b"rpmbuild",
    b"debuild",
];
const ADMINISTRATORS: [&[u8]; 2] = [b"/usr/local/", b"/opt/"];
/// `S_IWGRP | S_IWOTH`
const OTHERS_WRITE: u32 = 0o022;

/// The strongest excuse of an image.
pub fn find(image: &Image<'_>) -> Option<Excuse> {
    let (own, world) = (image.process, image.world);
    let (mut is_managed, mut is_built) = (false, false);
    for process in std::iter::once(own).chain(world.table.ancestors(own.key)) {
        if process.roles.package_manager {
            return Some(Excuse::PackageManager);
        }
        let Some(exec) = process.image.as_deref() else {
            continue;
        };
        match process.roles.may_excuse {
            Some(Excuse::ConfigurationManagement) if exec.uid == 0 => {
                is_managed = is_managed || is_proven(world, process, exec);
            }
            Some(Excuse::Build) if process.key != own.key => {
                is_built = is_built || is_proven(world, process, exec);
            }
            _ => {}
        }
    }
    let packaged = image.views().all(View::is_packaged);
    if !packaged && image.views().all(is_administrators) {
        return Some(Excuse::AdministratorsPlace);
    }
    if image.web_service.is_some() {
        return None;
    }
    if is_managed {
        return Some(Excuse::ConfigurationManagement);
    }
    (is_built && !image.by_service_account()).then_some(Excuse::Build)
}

/// Whether the file lies where only root installs, and only root could have written it. Packaged and
/// system files need no excuse, and take none away.
fn is_administrators(view: &View<'_>) -> bool {
    if view.is_packaged() {
        return true;
    }
    let Some(facts) = view.facts else {
        return false;
    };
    let path = facts.path.as_deref().unwrap_or_default();
    let by_root = facts
        .stat
        .as_ref()
        .is_some_and(|stat| stat.uid == 0 && stat.mode & OTHERS_WRITE == 0);
    by_root
        && classify(path) == PathClass::Other
        && ADMINISTRATORS.iter().any(|folder| path.starts_with(folder))
}

/// What a program of that name would excuse, if it is proven to be that program.
pub(super) fn by_name(name: &[u8]) -> Option<Excuse> {
    if CONFIGURATION_MANAGEMENT.contains(&name) {
        Some(Excuse::ConfigurationManagement)
    } else {
        BUILD_TOOLS.contains(&name).then_some(Excuse::Build)
    }
}

/// Whether a process really is what its name says: the file that matters belongs to a package, or lies in a system folder
/// and, as far as that is known, belongs to root.
fn is_proven(world: &World, process: &Process, exec: &Exec) -> bool {
    if exec.executable.nlink == 0 {
        return false;
    }
    let operand = interpreter::runs(exec).file();
    let packaged = |owner: Option<&Owner>| matches!(owner, Some(Owner::Package(_)));
    let facts = match operand {
        Some(_) => world.script(process, exec),
        None => world.file(exec),
    };
    if packaged(facts.map(|facts| &facts.owner)) {
        return true;
    }
    let system = |path: &[u8]| classify(path) == PathClass::System;
    exec.executable.uid == 0
        && (exec.interpreter.is_some() || system(&exec.filename))
        && operand.is_none_or(system)
        && exec.interpreter.as_deref().is_none_or(system)
}
