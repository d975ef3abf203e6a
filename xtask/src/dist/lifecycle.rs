//! What becomes of a machine when the package is installed, upgraded, removed and purged.

use super::machine::{self, Machine};
use crate::exec::Steps;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;

const INSTALL: &str = "apt-get install -y --no-install-recommends";
/// Everything the daemon says, in a file of its own.
const CONFIGURATION: &str = "umask 027; printf '[sink.archive]\\ntype = \"file\"\\npath = \"/var/log/detector/events.ndjson\"\\n' \
                             > /etc/detector/detector.toml && chgrp detector /etc/detector/detector.toml && systemctl restart detector";
const ARCHIVED: &str = "/var/log/detector/events.ndjson";

/// Goes through it with the package and one of an earlier version of it, both in `packages`.
pub fn check(steps: &mut Steps, packages: &Path, earlier: &str, current: &str) -> Result<()> {
    let root = machine::root(steps)?;
    let machine = Machine::boot(&root, packages)?;
    let mut claim = |name: &str, line: &str| -> Result<()> {
        machine
            .run(line)
            .with_context(|| format!("does not hold: {name}"))?;
        steps.note(format!("✓ {name}"));
        Ok(())
    };
    claim("it installs", &format!("{INSTALL} /packages/{earlier}"))?;
    claim(
        "its service is ready and starts at boot",
        "systemctl is-active detector && systemctl is-enabled detector",
    )?;
    claim(
        "it runs as its user, without what loading took",
        "p=$(systemctl show -P MainPID detector); test \"$(stat -c %U /proc/$p)\" = detector && grep -q '^CapEff:.0000000000080004$' /proc/$p/status && grep -q '^Seccomp:.2$' /proc/$p/status",
    )?;
    claim(
        "configuration, state and log have their owners and modes",
        "test \"$(stat -c '%U:%G %a' /etc/detector /var/lib/detector /var/lib/detector/state.db /var/log/detector | tr '\\n' ' ')\" = \
         'root:detector 750 detector:detector 700 detector:detector 600 detector:detector 750 '",
    )?;
    claim(
        "manual page and completions are there",
        "test -s /usr/share/man/man1/detector.1.gz && test -s /usr/share/bash-completion/completions/detector",
    )?;
    claim(
        "it takes a configuration that its group may read",
        CONFIGURATION,
    )?;

    let before =
        machine.run("systemctl show -P MainPID detector; stat -c %i /var/lib/detector/state.db")?;
    claim("it upgrades", &format!("{INSTALL} /packages/{current}"))?;
    claim("its service is ready again", "systemctl is-active detector")?;
    let after =
        machine.run("systemctl show -P MainPID detector; stat -c %i /var/lib/detector/state.db")?;
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    ensure!(
        old[0] != new[0],
        "the old program still runs after the upgrade"
    );
    ensure!(
        old[1] == new[1],
        "the state is another one after the upgrade"
    );
    machine.wait(&format!(
        "test $(grep -c detector.agent.started {ARCHIVED}) = 2"
    ))?;
    claim(
        "the end of the old program and the start of the new one are told, no event twice",
        &format!(
            "test $(grep -c detector.agent.stopped {ARCHIVED}) = 1 && \
             test -z \"$(grep -o '\"id\":\"[^\"]*/[0-9]*\"' {ARCHIVED} | sort | uniq -d)\""
        ),
    )?;

    claim("it is removed", "apt-get remove -y detector")?;
    claim(
        "nothing of it runs",
        "! pgrep -x detector && ! systemctl is-active detector",
    )?;
    claim(
        "configuration and state stay",
        "test -s /etc/detector/detector.toml && test -s /var/lib/detector/state.db",
    )?;
    claim(
        "it is installed again",
        &format!("{INSTALL} /packages/{current} && systemctl is-active detector"),
    )?;
    claim("it is purged", "apt-get purge -y detector")?;
    claim("nothing of it runs", "! pgrep -x detector")?;
    claim(
        "nothing of it is left",
        "test -z \"$(find / -xdev -name '*detector*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/packages/*' -print)\" && \
         ! getent passwd detector && ! getent group detector",
    )?;
    Ok(())
}
