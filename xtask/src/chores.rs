//! The programs of an honest day's work, which the tests run flat out to see that nobody is paged for it.
//!
//! Packages without services: nothing of them runs unless a test starts it as its own child.

use crate::exec::Steps;
use crate::{apt, privilege};
use anyhow::Result;
use std::path::Path;

/// What must be there, by its path in a Debian-like system, and the package it comes in.
const PROGRAMS: [(&str, &str); 8] = [
    ("/usr/sbin/mariadbd", "mariadb-server-core"),
    ("/usr/bin/mariadb", "mariadb-client-core"),
    ("/usr/bin/convert", "imagemagick"),
    ("/usr/bin/xz", "xz-utils"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/python3", "python3-minimal"),
    ("/usr/bin/perl", "perl-base"),
    // No work, but what the metrics are for: Prometheus' own parser of them.
    (
        "/usr/lib/python3/dist-packages/prometheus_client/parser.py",
        "python3-prometheus-client",
    ),
];

/// Installs what is missing, where that can be done; the tests that need it say so where it cannot.
pub fn install(steps: &mut Steps) -> Result<()> {
    let missing = PROGRAMS
        .iter()
        .filter(|(path, _)| !Path::new(path).exists());
    let packages: Vec<String> = missing.map(|(_, package)| (*package).to_owned()).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let wanted = packages.join(", ");
    if apt::is_here() && privilege::is_root() {
        steps.note(format!(
            "- {wanted} (apt): honest work that must not page; only tests start it"
        ));
        return apt::install(steps, &packages);
    }
    let how = if apt::is_here() {
        apt::by_hand(&packages)
    } else {
        "this system's package manager".into()
    };
    steps.note(format!(
        "without {wanted}, the test of a busy day cannot run; install it with: {how}"
    ));
    Ok(())
}
