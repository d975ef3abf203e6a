//! What becomes of a machine when the package is installed, upgraded and removed.

use super::machine::{self, Machine};
use super::needs;
use crate::exec::Steps;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};

/// Everything the daemon says, in a file of its own.
const CONFIGURATION: &str = "umask 027; printf '[sink.archive]\\ntype = \"file\"\\npath = \"/var/log/detector/events.ndjson\"\\n' \
                             > /etc/detector/detector.toml && chgrp detector /etc/detector/detector.toml && systemctl restart detector";
const ARCHIVED: &str = "/var/log/detector/events.ndjson";

/// One package and an earlier version of it, as a machine sees them.
pub struct Packages {
    /// What a machine sees as `/packages`.
    pub folder: PathBuf,
    pub earlier: String,
    pub current: String,
}

impl Packages {
    /// Both lie in `folder`.
    pub fn new(folder: &Path, earlier: &Path, current: &Path) -> Result<Self> {
        let name = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.map(|name| format!("/packages/{name}"))
                .context("a package's name is text")
        };
        Ok(Self {
            folder: folder.to_owned(),
            earlier: name(earlier)?,
            current: name(current)?,
        })
    }
}

/// A machine, and what was found to hold in it.
pub struct Trial<'a> {
    pub machine: Machine,
    steps: &'a mut Steps,
}

impl<'a> Trial<'a> {
    /// Boots a clean machine.
    pub fn boot(steps: &'a mut Steps, packages: &Path) -> Result<Self> {
        let root = machine::root(steps)?;
        let machine = Machine::boot(&root, packages)?;
        Ok(Self { machine, steps })
    }

    /// Says what a line of shell shows; an error when it fails.
    pub fn claim(&mut self, name: &str, line: &str) -> Result<()> {
        let held = self.machine.run(line);
        held.with_context(|| format!("does not hold: {name}"))?;
        self.holds(name);
        Ok(())
    }

    /// Says what was found to hold.
    fn holds(&mut self, name: &str) {
        self.steps.note(format!("✓ {name}"));
    }

    /// What has to hold once it is installed, by whatever package manager.
    fn installed(&mut self) -> Result<()> {
        self.claim(
            "its service is ready and starts at boot",
            "systemctl is-active detector && systemctl is-enabled detector",
        )?;
        self.claim(
            "it runs as its user, without what loading took",
            "p=$(systemctl show -P MainPID detector); test \"$(stat -c %U /proc/$p)\" = detector && grep -q '^CapEff:.0000000000080004$' /proc/$p/status && grep -q '^Seccomp:.2$' /proc/$p/status",
        )?;
        self.claim(
            "configuration, state and log have their owners and modes",
            "test \"$(stat -c '%U:%G %a' /etc/detector /var/lib/detector /var/lib/detector/state.db /var/log/detector | tr '\\n' ' ')\" = \
             'root:detector 750 detector:detector 700 detector:detector 600 detector:detector 750 '",
        )?;
        self.claim(
            "manual page, completions and bill of materials are there",
            "test -s \"$(ls /usr/share/man/man1/detector.1*)\" && test -s /usr/share/bash-completion/completions/detector && \
             ls /usr/share/doc/detector/detector.cdx.json*",
        )?;
        self.claim(
            "it takes a configuration that its group may read",
            CONFIGURATION,
        )
    }

    /// Upgrades with a line of shell; the state and every event outlive it.
    fn upgraded(&mut self, upgrade: &str) -> Result<()> {
        let look = "systemctl show -P MainPID detector; stat -c %i /var/lib/detector/state.db";
        let before = self.machine.run(look)?;
        self.claim("it upgrades", upgrade)?;
        self.claim(
            "its service is ready again",
            "systemctl is-active detector && systemctl is-enabled detector",
        )?;
        let after = self.machine.run(look)?;
        let (old, new): (Vec<&str>, Vec<&str>) =
            (before.lines().collect(), after.lines().collect());
        ensure!(
            old[0] != new[0],
            "the old program still runs after the upgrade"
        );
        ensure!(
            old[1] == new[1],
            "the state is another one after the upgrade"
        );
        self.machine.wait(&format!(
            "test $(grep -c detector.agent.started {ARCHIVED}) = 2"
        ))?;
        self.claim(
            "the end of the old program and the start of the new one are told, no event twice",
            &format!(
                "test $(grep -c detector.agent.stopped {ARCHIVED}) = 1 && \
                 test -z \"$(grep -o '\"id\":\"[^\"]*/[0-9]*\"' {ARCHIVED} | sort | uniq -d)\""
            ),
        )
    }

    /// What has to hold once it is removed.
    fn removed(&mut self) -> Result<()> {
        self.claim(
            "nothing of it runs",
            "! pgrep -x detector && ! systemctl is-active detector",
        )?;
        self.claim(
            "configuration and state stay",
            "test -s /etc/detector/detector.toml && test -s /var/lib/detector/state.db",
        )
    }
}

/// Goes through it with apt.
pub fn debian(steps: &mut Steps, packages: &Packages) -> Result<()> {
    let install = |package: &str| format!("apt-get install -y --no-install-recommends {package}");
    let mut trial = Trial::boot(steps, &packages.folder)?;
    trial.claim("it installs", &install(&packages.earlier))?;
    trial.installed()?;
    trial.upgraded(&install(&packages.current))?;
    trial.claim("it is removed", "apt-get remove -y detector")?;
    trial.removed()?;
    let again = format!(
        "{} && systemctl is-active detector",
        install(&packages.current)
    );
    trial.claim("it is installed again", &again)?;
    trial.claim("it is purged", "apt-get purge -y detector")?;
    trial.claim("nothing of it runs", "! pgrep -x detector")?;
    trial.claim(
        "nothing of it is left",
        "test -z \"$(find / -xdev -name '*detector*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/packages/*' -print)\" && \
         ! getent passwd detector && ! getent group detector",
    )
}

/// Goes through it with rpm. The machine is a Debian, whose rpm knows nothing of what is installed: what the package needs is
/// looked at instead of resolved.
pub fn red_hat(steps: &mut Steps, packages: &Packages, deb: &Packages) -> Result<()> {
    let rpm = "rpm --force-debian --nodeps";
    let mut trial = Trial::boot(steps, &packages.folder)?;
    let listed = trial
        .machine
        .run(&format!("rpm -qpl {}", packages.current))?;
    let debian = trial.machine.run(&format!(
        "dpkg-deb --fsys-tarfile {} | tar --list",
        deb.current
    ))?;
    ensure!(
        files(&listed) == files(&debian),
        "the packages have different files:\n{listed}\n\n{debian}"
    );
    trial.holds("it has the files of the Debian package");
    let needs = trial
        .machine
        .run(&format!("rpm -qp --requires {}", packages.current))?;
    let (major, minor) = needs::glibc(&needs)?;
    ensure!(
        ["shadow-utils", "systemd", "/bin/sh"]
            .iter()
            .all(|need| needs.lines().any(|line| line == *need)),
        "it does not say what its scripts need:\n{needs}"
    );
    trial.holds(&format!(
        "it needs a C library of version {major}.{minor}, and what its scripts call"
    ));

    trial.claim(
        "it installs",
        &format!("{rpm} --install {}", packages.earlier),
    )?;
    trial.claim("every file is as packed", "rpm --verify --nodeps detector")?;
    trial.installed()?;
    trial.upgraded(&format!("{rpm} --upgrade {}", packages.current))?;
    trial.claim("it is removed", &format!("{rpm} --erase detector"))?;
    trial.removed()?;
    trial.claim(
        "nothing else of it is left",
        "test -z \"$(find / -xdev -name '*detector*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/packages/*' \
         -not -path '/etc/detector*' -not -path '/var/lib/detector*' -not -path '/var/log/detector*' -print)\"",
    )?;
    let again = format!(
        "{rpm} --install {} && systemctl is-active detector",
        packages.current
    );
    trial.claim("it is installed again, and takes up its state", &again)?;
    trial.machine.wait(&format!(
        "test $(grep -c detector.agent.started {ARCHIVED}) = 3"
    ))
}

/// What a package brings, by what it is, wherever its system looks for it.
fn files(list: &str) -> Vec<String> {
    let mut files: Vec<String> = list
        .lines()
        .filter(|line| !line.ends_with('/'))
        .filter_map(|line| line.rsplit('/').next())
        .filter(|name| !name.is_empty() && *name != "changelog.Debian.gz")
        .map(|name| match name {
            // The text of the one licence, under Debian's name for it.
            "copyright" => "LICENSE-MIT".to_owned(),
            name => name.trim_end_matches(".gz").to_owned(),
        })
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_compared_by_what_they_are() {
        let rpm = "/usr/bin/detector\n/usr/share/licenses/detector/LICENSE-MIT\n/usr/share/man/man1/detector.1\n";
        let deb = "./\n./usr/\n./usr/bin/\n./usr/share/man/man1/detector.1.gz\n./usr/bin/detector\n./usr/share/doc/detector/copyright\n";
        assert_eq!(files(rpm), ["LICENSE-MIT", "detector", "detector.1"]);
        assert_eq!(files(rpm), files(deb));
    }
}
