//! `execution.web_server_spawned_shell`: a web service made a shell.
//!
//! Evidence: `web_service`, what made it; `markers`, words of its command line that fetch, decode or
//! hide programs. A warning with a marker, else info: `mail()`, image converters and cron hooks of web
//! applications run `sh -c` all day. It counts when something else agrees.
//!
//! False positives: build and deployment hooks in Node or Java services.

use super::{Image, Verdict};
use crate::{
    detect::{lineage, path},
    incident::{Evidence, FindingType, Severity, ShellEvidence},
};

const MARKERS: [&str; 14] = [
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
];

/// Judges an image: only a shell whose own parent is the web service, or a shell of it.
pub fn judge(image: &Image<'_>) -> Option<Verdict> {
    if !lineage::is_shell(image.exec) {
        return None;
    }
    let parent = image.world.table.get(image.process.parent?)?;
    let service = parent
        .image
        .as_deref()
        .filter(|exec| lineage::is_web_service(exec))?;
    let markers: Vec<&str> = MARKERS
        .into_iter()
        .filter(|marker| contains(&image.exec.args, marker.as_bytes()))
        .collect();
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
