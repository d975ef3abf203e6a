//! `execution.web_server_spawned_shell`: a web service made a shell, or an interpreter that runs code from
//! no file.
//!
//! Evidence: `web_service`, what made it; `markers`, words of its command line that fetch, decode or
//! hide programs, and `(standard input)`, `(descriptor)` where the code came that way: `curl … | sh` below
//! a web service's shell. A warning with a marker, else info: `mail()`, image converters and cron hooks of
//! web applications run `sh -c` all day. It counts when something else agrees.
//!
//! False positives: build and deployment hooks in Node or Java services.

use super::{Image, Verdict};
use crate::{
    detect::{
        interpreter::{Inline, Runs},
        lineage, path,
        process::Process,
    },
    incident::{Evidence, FindingType, Severity, ShellEvidence},
};

const MARKERS: [&str; 18] = [
    "curl ",
    "wget ",
    "/dev/tcp/",
    "/dev/udp/",
    "base64 ",
    "chmod +x",
    "chmod 755",
    "chmod 777",
    "/dev/shm",
    "nohup ",
    "setsid ",
    "mkfifo ",
    "nc -e",
    "stratum+",
    "fsockopen",
    "socket.socket",
    "IO::Socket",
    "pty.spawn",
];

/// Judges an image: a shell whose own parent is the web service; code from no file also one shell below.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    // A runtime that is a web service itself (`node`) starts its workers as it likes.
    let inline = match image.runs {
        Runs::Inline(inline) if !lineage::is_web_service(image.exec) => Some(inline),
        _ => None,
    };
    let shell = lineage::is_shell(image.exec);
    if !shell && inline.is_none() {
        return None;
    }
    let above = |key| image.world.table.get(key);
    let is_web = |process: &&Process| process.roles.web_service;
    let parent = above(image.process.parent?)?;
    let direct = Some(parent).filter(is_web);
    let parent_is_shell = parent.image.as_deref().is_some_and(lineage::is_shell);
    // A shell's own children inherit its image until they execute something.
    let below_shell = || {
        parent
            .parent
            .and_then(above)
            .filter(is_web)
            .filter(|_| parent_is_shell && inline.is_some())
    };
    let (parent, direct) = match direct {
        Some(parent) => (parent, true),
        None => (below_shell()?, false),
    };
    let service = parent.image.as_deref()?;
    let mut markers: Vec<&str> = MARKERS
        .into_iter()
        .filter(|marker| contains(&image.exec.args, marker.as_bytes()))
        .collect();
    match inline {
        Some(Inline::Stdin) => markers.push("(standard input)"),
        Some(Inline::Descriptor) => markers.push("(descriptor)"),
        Some(Inline::Beyond) => markers.push("(behind a long command line)"),
        Some(Inline::Argument) | None => {}
    }
    if !direct && markers.is_empty() {
        return None;
    }
    let web_service = image.world.path(parent, service).unwrap_or(&service.name);
    Some(Verdict {
        kind: FindingType::WebServerSpawnedShell,
        severity: if markers.is_empty() {
            Severity::Info
        } else {
            Severity::Warning
        },
        evidence: Evidence::Shell(ShellEvidence {
            web_service: if web_service.is_empty() {
                path::base_name(&service.filename).into()
            } else {
                web_service.into()
            },
            markers,
        }),
        suspicion: None,
    })
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
