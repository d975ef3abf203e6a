//! `defense_evasion.masqueraded_name`: a process that calls itself something it is not.
//!
//! Three lies, strongest first:
//! - a *kernel thread's* name (`[kworker/0:1]`, `kworkerd`, `kswapd0`) on a process that executed a file:
//!   kernel threads never do. In whatever is shown: file name, argv[0], `comm`, the command line of now.
//!   A warning for everybody, packaged or not: `perl` with `$0 = "[kworker]"` is the classic.
//! - *another program's* name in argv[0], `comm` or the command line of now (`sshd`, `crond`, `nginx`).
//!   Daemons rewrite their titles, but to their own name. A warning where the file that matters is not
//!   packaged; an unlisted new title of such a file is info.
//! - a *packaged program's* file name on a file no package owns, in a place where programs do not belong,
//!   below a web service or for a service's account: a warning. Elsewhere (a program somebody built at
//!   home) it is nothing.
//!
//! Evidence: `shown` and where (`shown_in`), `imitates`, `path`.
//!
//! False positives: a user's program that is called `kworker…` for fun; software in a home folder that
//! sets its title to another daemon's name.

use super::{Image, Verdict, View};
use crate::{
    detect::{interpreter::Runs, lineage, path::base_name},
    event::text::until_nul,
    incident::{Evidence, FindingType, Imitates, MasqueradeEvidence, Severity, ShownIn},
};

/// Beginnings of kernel threads' names that are nobody else's, even without brackets.
const KERNEL: [&[u8]; 14] = [
    b"kworker",
    b"kthreadd",
    b"ksoftirqd",
    b"kswapd",
    b"khugepaged",
    b"kcompactd",
    b"kdevtmpfs",
    b"kthrotld",
    b"kblockd",
    b"kintegrityd",
    b"kauditd",
    b"khungtaskd",
    b"oom_reaper",
    b"cpuhp/",
];
/// Those that are only in brackets, as `ps` shows kernel threads.
const KERNEL_BRACKETED: [&[u8]; 24] = [
    b"migration/",
    b"rcu",
    b"watchdog",
    b"idle_inject/",
    b"irq/",
    b"jbd2/",
    b"ext4-",
    b"xfs",
    b"scsi_",
    b"ata_sff",
    b"md",
    b"netns",
    b"writeback",
    b"ksmd",
    b"crypto",
    b"bioset",
    b"mm_percpu",
    b"slub_",
    b"inet_frag",
    b"edac",
    b"devfreq",
    b"kpsmoused",
    b"card0-crtc",
    b"nfs",
];
/// Programs whose names intruders borrow: they run on nearly every server, and nobody looks twice.
const BORROWED: [&[u8]; 30] = [
    b"sshd",
    b"crond",
    b"cron",
    b"atd",
    b"init",
    b"systemd",
    b"systemd-logind",
    b"systemd-journald",
    b"systemd-udevd",
    b"systemd-networkd",
    b"systemd-resolved",
    b"systemd-timesyncd",
    b"dbus-daemon",
    b"rsyslogd",
    b"syslogd",
    b"auditd",
    b"chronyd",
    b"ntpd",
    b"agetty",
    b"udevd",
    b"polkitd",
    b"irqbalance",
    b"snapd",
    b"apache2",
    b"httpd",
    b"nginx",
    b"mysqld",
    b"mariadbd",
    b"postgres",
    b"bash",
];

/// Judges an image by what it shows at this moment.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    kernel_thread(image)
        .or_else(|| file_name(image))
        .or_else(|| other_program(image))
}

/// Everything a process shows of itself.
fn shown<'a>(image: &Image<'a>) -> impl Iterator<Item = (ShownIn, &'a [u8])> {
    let exec = image.exec;
    let memfd = exec.name.strip_prefix(b"memfd:").unwrap_or(&exec.name);
    let argument0 = until_nul(&exec.args);
    let own = image
        .process
        .image
        .as_deref()
        .is_some_and(|own| std::ptr::eq(own, exec));
    let title = image
        .process
        .facts
        .as_deref()
        .filter(|_| own && image.process.facts_current)
        .and_then(|facts| facts.title.as_deref())
        .map(until_nul);
    let comm = own.then(|| until_nul(&image.process.comm));
    [
        (ShownIn::FileName, Some(memfd)),
        (ShownIn::Argument0, Some(argument0)),
        (ShownIn::Comm, comm),
        (ShownIn::Title, title),
    ]
    .into_iter()
    .filter_map(|(place, name)| Some((place, name.filter(|name| !name.is_empty())?)))
}

fn kernel_thread(image: &Image<'_>) -> Option<Verdict> {
    let packaged = image.loaded.is_packaged();
    let (place, name) = shown(image).find(|(place, name)| {
        // A package may ship a program of that name; then it is its own.
        let own = packaged && (*place == ShownIn::FileName || base_name(name) == &*image.exec.name);
        !own && is_kernel_like(name)
    })?;
    Some(verdict(
        image,
        place,
        name,
        Imitates::KernelThread,
        Severity::Warning,
    ))
}

/// Whether `ps` would show it as a kernel thread, or nearly.
fn is_kernel_like(name: &[u8]) -> bool {
    let begins = |stems: &[&[u8]], name: &[u8]| stems.iter().any(|stem| name.starts_with(stem));
    let bracketed = name
        .strip_prefix(b"[")
        .and_then(|name| name.strip_suffix(b"]"));
    match bracketed {
        Some(inner) => begins(&KERNEL, inner) || begins(&KERNEL_BRACKETED, inner),
        None => begins(&KERNEL, name) || begins(&KERNEL, base_name(name)),
    }
}

fn file_name(image: &Image<'_>) -> Option<Verdict> {
    let is_lie = |view: &&View<'_>| {
        let place = view.class.is_odd() && !image.is_build_in_tmp(view);
        let web = image.web_service.is_some() && !lineage::is_web_service(image.exec);
        let loud = place || web || image.by_service_account();
        !view.script && view.is_unowned() && loud && image.excuse().is_none()
    };
    image.views().filter(is_lie).find_map(|view| {
        let package = view.facts.and_then(|facts| facts.namesake.clone());
        let name = view.name();
        let imitates = match package {
            Some(package) => Imitates::Package(package),
            None if BORROWED.contains(&name) => Imitates::Program,
            None => return None,
        };
        Some(verdict(
            image,
            ShownIn::FileName,
            name,
            imitates,
            Severity::Warning,
        ))
    })
}

fn other_program(image: &Image<'_>) -> Option<Verdict> {
    let untrusted = match image.runs {
        Runs::Inline(_) => image.web_service.is_some() || image.by_service_account(),
        _ => image.views().any(View::is_unowned) || image.exec.executable.nlink == 0,
    };
    if !untrusted {
        return None;
    }
    let exec = image.exec;
    let files = [
        base_name(image.main().path.unwrap_or_default()),
        base_name(&exec.filename),
        &*exec.name,
    ];
    let argument0 = base_name(first_word(until_nul(&exec.args)));
    let lie = |place: ShownIn, name: &[u8]| {
        let name = base_name(first_word(name));
        let own = files.iter().any(|file| is_variant(file, name))
            || place != ShownIn::Argument0 && is_variant(argument0, name);
        !own && place != ShownIn::FileName
    };
    let lies = || shown(image).filter(|(place, name)| lie(*place, name));
    let borrowed = lies().find(|(_, name)| {
        let name = base_name(first_word(name));
        BORROWED.contains(&name.strip_prefix(b"-").unwrap_or(name))
    });
    if let Some((place, name)) = borrowed {
        return Some(verdict(
            image,
            place,
            name,
            Imitates::Program,
            Severity::Warning,
        ));
    }
    // Threads name themselves; a command line changes only where somebody overwrote it.
    let (place, name) = lies().find(|(place, _)| *place == ShownIn::Title)?;
    Some(verdict(
        image,
        place,
        name,
        Imitates::Unknown,
        Severity::Info,
    ))
}

/// `nginx` of `nginx: worker process`.
fn first_word(title: &[u8]) -> &[u8] {
    let title = title.strip_prefix(b"[").unwrap_or(title);
    let end = title
        .iter()
        .position(|byte| matches!(byte, b':' | b' ' | b']'));
    &title[..end.unwrap_or(title.len())]
}

/// `php-fpm` and `php-fpm8.2`, `sshd` and `sshd-session`, and what `comm` cuts at 15 bytes.
fn is_variant(one: &[u8], other: &[u8]) -> bool {
    let (short, long) = if one.len() < other.len() {
        (one, other)
    } else {
        (other, one)
    };
    short.len() >= 2 && long.starts_with(short)
}

fn verdict(
    image: &Image<'_>,
    shown_in: ShownIn,
    shown: &[u8],
    imitates: Imitates,
    severity: Severity,
) -> Verdict {
    Verdict {
        kind: FindingType::MasqueradedName,
        severity,
        evidence: Evidence::Masquerade(MasqueradeEvidence {
            shown: shown.into(),
            shown_in,
            imitates,
            path: image.main().path.map(Into::into),
        }),
        suspicion: None,
    }
}
