//! Who belongs together, and whose child something is.
//!
//! A *lineage group* is the exec tree under one service, login or cron entry. Its root is the topmost
//! ancestor whose parent is process 1, the kernel's thread maker or unknown; children of session and
//! job starters (sshd, cron, su, …) begin a group of their own, and so does a system's web service
//! that is started by something else than a web service. Web services and package managers are
//! recognised by executable, never by `comm`. Package managers excuse things, so they must lie in a
//! system folder and belong to root; starters split a load, so they must belong to root and lie where
//! programs do; web services accuse, so a name is enough.

use super::{
    excuse::{self, Excuse},
    interpreter, path,
    process::Process,
    table::Table,
};
use crate::input::{Exec, ProcessKey};

/// Programs whose children start a session or a job.
const STARTERS: [&[u8]; 16] = [
    b"sshd",
    b"sshd-session",
    b"dropbear",
    b"login",
    b"agetty",
    b"cron",
    b"crond",
    b"anacron",
    b"atd",
    b"systemd",
    b"su",
    b"sudo",
    b"runuser",
    b"containerd-shim-runc-v2",
    b"conmon",
    b"tmux",
];
/// Web services by exact name, and by prefix.
const WEB_NAMES: [&[u8]; 10] = [
    b"apache2",
    b"nginx",
    b"litespeed",
    b"openlitespeed",
    b"caddy",
    b"sw-engine-fpm",
    b"node",
    b"java",
    b"uwsgi",
    b"php-cgi",
];
const WEB_PREFIXES: [&[u8]; 7] = [
    b"php-fpm",
    b"php-cgi",
    b"lsphp",
    b"httpd",
    b"frankenphp",
    b"gunicorn",
    b"openlitespeed",
];
const PACKAGE_MANAGERS: [&[u8]; 16] = [
    b"apt",
    b"apt-get",
    b"aptitude",
    b"apt.systemd.daily",
    b"dpkg",
    b"dpkg-deb",
    b"unattended-upgrade",
    b"unattended-upgrades",
    b"dnf",
    b"dnf-3",
    b"dnf5",
    b"microdnf",
    b"yum",
    b"rpm",
    b"zypper",
    b"packagekitd",
];
/// Programs whose children are somebody who logged in.
const SESSIONS: [&[u8]; 8] = [
    b"sshd",
    b"sshd-session",
    b"dropbear",
    b"login",
    b"agetty",
    b"su",
    b"sudo",
    b"tmux",
];
const SHELLS: [&[u8]; 9] = [
    b"sh", b"bash", b"dash", b"ash", b"zsh", b"ksh", b"ksh93", b"fish", b"busybox",
];

/// The name of what runs: a script's own, else the executable's.
pub fn image_name(image: &Exec) -> &[u8] {
    match interpreter::runs(image).file() {
        Some(operand) if !operand.is_empty() => path::base_name(operand),
        _ if image.name.is_empty() => path::base_name(&image.filename),
        _ => &image.name,
    }
}

/// Whether an image is a web service by the name of its executable, its path or its script.
pub fn is_web_service(image: &Exec) -> bool {
    let web = |name: &[u8]| {
        WEB_NAMES.contains(&name)
            || WEB_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || name.ends_with(b".fcgi")
    };
    let operand = || interpreter::runs(image).file().map(path::base_name);
    web(&image.name) || web(path::base_name(&image.filename)) || operand().is_some_and(web)
}

/// Whether an image is a shell.
pub fn is_shell(image: &Exec) -> bool {
    let name: &[u8] = if image.name.is_empty() {
        path::base_name(&image.filename)
    } else {
        &image.name
    };
    SHELLS.contains(&name)
}

/// Whether an image is a package manager's own program, at work: as root, or it changes nothing.
pub fn is_package_manager(image: &Exec) -> bool {
    let system = |path: &[u8]| path::classify(path) == path::PathClass::System;
    let operand = interpreter::runs(image).file();
    let name = operand.map_or_else(|| image_name(image), path::base_name);
    let named = PACKAGE_MANAGERS.contains(&name)
        || operand.is_none() && PACKAGE_MANAGERS.contains(&path::base_name(&image.filename));
    named
        && image.uid == 0
        && system(&image.filename)
        && image.interpreter.as_deref().is_none_or(system)
        && operand.is_none_or(system)
        && image.executable.uid == 0
        && image.executable.nlink > 0
}

/// What an image is by its names. Worked out once, when it begins to run: of ancestors it is asked at every exec,
/// and telling takes as many comparisons as there are names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// [`is_web_service`].
    pub web_service: bool,
    /// [`is_system_web_service`].
    pub system_web_service: bool,
    /// [`is_package_manager`].
    pub package_manager: bool,
    /// What it would excuse, were it proven to be what its name says.
    pub may_excuse: Option<Excuse>,
    /// Its children are jobs of a time table.
    pub job_starter: bool,
    /// Its children are somebody who logged in.
    login: bool,
    /// Its children begin groups of their own.
    starter: bool,
}

impl Roles {
    /// Of that image.
    pub fn of(image: &Exec) -> Roles {
        let jobs: [&[u8]; 5] = [b"cron", b"crond", b"anacron", b"atd", b"fcron"];
        let name = image_name(image);
        let by_root = image.executable.uid == 0;
        let class = path::classify(&image.filename);
        let web_service = is_web_service(image);
        Roles {
            web_service,
            system_web_service: web_service && is_system_web_service(image),
            package_manager: is_package_manager(image),
            may_excuse: excuse::by_name(name),
            job_starter: jobs.contains(&name),
            login: SESSIONS.contains(&name) && class == path::PathClass::System && by_root,
            // Groups are judged as a whole, so the name alone does not do: a program called `cron` would hide its
            // load in its children.
            starter: STARTERS.contains(&name)
                && !class.is_odd()
                && by_root
                && image.executable.nlink > 0,
        }
    }
}

/// Whether an image of a web service lies where the system's own programs lie: then the process is a
/// service, wherever it was started from.
pub fn is_system_web_service(image: &Exec) -> bool {
    is_web_service(image)
        && path::classify(&image.filename) == path::PathClass::System
        && interpreter::runs(image)
            .file()
            .is_none_or(|operand| path::classify(operand) == path::PathClass::System)
        && image.executable.uid == 0
        && image.executable.nlink > 0
}

/// Whether the children of a process begin groups of their own.
pub fn children_start_groups(process: &Process) -> bool {
    process.key.tgid <= 2 || process.roles.starter
}

/// The nearest web service above a process.
pub fn web_ancestor(table: &Table, key: ProcessKey) -> Option<ProcessKey> {
    table
        .ancestors(key)
        .find(|process| process.roles.web_service)
        .map(|process| process.key)
}

/// Whether a package manager is above a process, or is the process.
pub fn in_package_manager(table: &Table, key: ProcessKey) -> bool {
    table
        .get(key)
        .into_iter()
        .chain(table.ancestors(key))
        .any(|process| process.roles.package_manager)
}

/// Whether somebody who logged in started it: below a login program of the system, and not below a web service.
pub fn in_session(table: &Table, key: ProcessKey) -> bool {
    table.ancestors(key).any(|process| process.roles.login) && web_ancestor(table, key).is_none()
}
