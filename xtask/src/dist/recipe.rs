//! Whether the recipes do what they say: user data for cloud-init and the role for Ansible, in clean machines.
//!
//! Both get the package that was just made; what they are run with (cloud-init from Debian, ansible-core and ansible-lint from PyPI) is
//! installed in the machine or below `target/`, never on the host.

use super::lifecycle::{Packages, Trial};
use crate::exec::{self, Steps};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// Of the machine's Python, whose version decides which wheels fit: 3.11 takes this one and no later.
const ANSIBLE: &str = "ansible-core==2.19.3";
/// Accepts that version.
const LINT: &str = "ansible-lint==25.9.2";
/// The machine's Python.
const PYTHON: &str = "3.11";

/// The machine shares the host's network and has no disk: what cloud-init does to either by itself is left out.
const MODULES: &str = "network: {config: disabled}\\ndatasource_list: [NoCloud]\\ncloud_init_modules: [write-files]\\n\
                       cloud_config_modules: [runcmd]\\n\
                       cloud_final_modules: [package-update-upgrade-install, write-files-deferred, scripts-user]\\n";

/// A play with the role and every variable it has.
const PLAY: &str = "\
---
- name: Guard the host
  hosts: all
  become: false
  roles:
    - role: detector
      vars:
        detector_package_url: file://PACKAGE
        detector_package_checksum: sha256:SUM
        detector_settings:
          network:
            local_ranges: [10.0.0.0/8, 'fd00::/8']
        detector_receivers:
          archive:
            type: file
            path: /var/log/detector/events.ndjson
            max_bytes: 65536
          alertmanager:
            urls: ['http://127.0.0.1:9']
            labels: {customer: acme}
            username: detector
            password_file: /etc/detector/secrets/password
        detector_secrets:
          password: hunter2
        detector_hear_mining_protocols: true
";

/// Tries both.
pub fn check(steps: &mut Steps, packages: &Packages) -> Result<()> {
    let ansible = ansible(steps)?;
    for file in ["dist/cloud-init.yml", "dist/ansible"] {
        let mut copy = exec::command("cp");
        steps.run(
            copy.arg("-r")
                .arg(exec::workspace().join(file))
                .arg(&packages.folder),
        )?;
    }
    let sites = packages.folder.join("site-packages");
    if !sites.exists() {
        steps.run(exec::command("cp").arg("-rl").arg(&ansible).arg(&sites))?;
    }
    role(steps, packages)?;
    user_data(steps, packages)
}

/// The role, applied to the machine it runs on.
fn role(steps: &mut Steps, packages: &Packages) -> Result<()> {
    let mut trial = Trial::boot(steps, &packages.folder)?;
    let sum = sum(&trial, &packages.current)?;
    let play = PLAY
        .replace("PACKAGE", &packages.current)
        .replace("SUM", &sum);
    fs::write(packages.folder.join("play.yml"), &play).context("writing the play")?;
    let with = "cd /tmp && export PYTHONPATH=/packages/site-packages ANSIBLE_ROLES_PATH=/packages/ansible HOME=/root LC_ALL=C.UTF-8 ANSIBLE_NOCOLOR=1 \
                PATH=/packages/site-packages/bin:$PATH && ";
    let run = |options: &str| {
        format!(
            "{with} python3 -m ansible.cli.playbook -i localhost, -c local -e ansible_python_interpreter=/usr/bin/python3 {options} /packages/play.yml"
        )
    };
    trial.claim("the role's syntax is right", &run("--syntax-check"))?;
    trial.claim(
        "ansible-lint has nothing to say about the role",
        &format!("{with} python3 -m ansiblelint --offline --profile production --strict /packages/ansible/detector"),
    )?;
    trial.claim(
        "check mode works before anything is installed, and changes nothing",
        &format!("{} && ! test -e /usr/bin/detector", run("--check")),
    )?;
    trial.claim("the role is applied", &run(""))?;
    trial.claim(
        "it runs as configured, with the drop-in",
        "systemctl is-active detector && grep -q '^CapEff:.0000000000081004$' /proc/$(systemctl show -P MainPID detector)/status && \
         detector config check && stat -c '%U:%G %a' /etc/detector/secrets/password | grep -qx 'root:detector 640'",
    )?;
    trial
        .machine
        .wait("grep -q detector.agent.started /var/log/detector/events.ndjson")?;
    trial.claim(
        "applied again it changes nothing",
        &format!(
            "({}) | tee /tmp/again && grep -q 'changed=0 .*failed=0' /tmp/again",
            run("")
        ),
    )?;
    trial.claim(
        "check mode says so as well",
        &format!(
            "({}) | tee /tmp/check && grep -q 'changed=0 .*failed=0' /tmp/check",
            run("--check --diff")
        ),
    )?;
    let pid = trial.machine.run("systemctl show -P MainPID detector")?;
    let settings = |key: &str| {
        run(&format!(
            "-e '{{\"detector_settings\": {{\"detect\": {{\"{key}\": 2.5}}}}}}'"
        ))
    };
    let look = "sha256sum /etc/detector/detector.toml";
    let before = trial.machine.run(look)?;
    trial.claim(
        "a configuration that is wrong is not put in place",
        &format!("! ({})", settings("no_such_key")),
    )?;
    ensure!(
        trial.machine.run(look)? == before,
        "the configuration was replaced"
    );
    trial.claim(
        "one that is right is",
        &settings("false_alarms_per_30_days"),
    )?;
    ensure!(
        trial.machine.run(look)? != before,
        "the configuration was not replaced"
    );
    let after = trial.machine.run("systemctl show -P MainPID detector")?;
    ensure!(
        pid == after,
        "the service was restarted where reading again would do"
    );
    Ok(())
}

/// The user data, as cloud-init runs it on a first boot.
fn user_data(steps: &mut Steps, packages: &Packages) -> Result<()> {
    let mut trial = Trial::boot(steps, &packages.folder)?;
    trial.claim(
        "cloud-init is installed, for what the user data asks and nothing else",
        &format!(
            "mkdir -p /etc/cloud/cloud.cfg.d /var/lib/cloud/seed/nocloud && printf '{MODULES}' > /etc/cloud/cloud.cfg.d/99-test.cfg && \
             apt-get install -y --no-install-recommends cloud-init"
        ),
    )?;
    trial.claim(
        "the user data has cloud-init's schema",
        "cloud-init schema --config-file /packages/cloud-init.yml",
    )?;
    let sum = sum(&trial, &packages.current)?;
    let fill = format!(
        "sed -e 's|^\\( *url=\\).*|\\1file://{}|' -e 's|^\\( *sum=\\).*|\\1{sum}|' -e 's|https://escalation.example/events|http://127.0.0.1:9/|' \
         /packages/cloud-init.yml > /var/lib/cloud/seed/nocloud/user-data && echo 'instance-id: i-1' > /var/lib/cloud/seed/nocloud/meta-data",
        packages.current
    );
    trial.claim("its three values are filled in", &fill)?;
    for stage in [
        "init --local",
        "init",
        "modules --mode=config",
        "modules --mode=final",
    ] {
        trial.machine.run(&format!("cloud-init {stage} 2>&1"))?;
    }
    trial.claim(
        "after the first boot it runs as configured",
        "systemctl is-active detector && systemctl is-enabled detector && \
         stat -c '%U:%G %a' /etc/detector/detector.toml | grep -qx 'root:detector 640' && grep -q 127.0.0.1:9 /etc/detector/detector.toml && detector config check",
    )?;
    trial.claim("a package of another sum is not installed", "sed -i \"s/^sum=.*/sum=$(printf %064d 0)/\" /usr/local/sbin/install-detector && ! /usr/local/sbin/install-detector")
}

fn sum(trial: &Trial<'_>, package: &str) -> Result<String> {
    let sum = trial.machine.run(&format!("sha256sum {package}"))?;
    Ok(sum.split_whitespace().next().context("a sum")?.to_owned())
}

/// ansible-core and ansible-lint for the machine's Python, below `target/`.
fn ansible(steps: &mut Steps) -> Result<PathBuf> {
    let folder = exec::target_dir()?.join("ansible");
    let made = folder.with_extension("made");
    let wanted = format!("{ANSIBLE} {LINT} {PYTHON}");
    if fs::read_to_string(&made).is_ok_and(|found| found == wanted) {
        return Ok(folder);
    }
    let _ = fs::remove_dir_all(&folder);
    steps.note(format!(
        "{ANSIBLE} and {LINT} (PyPI), below {}",
        folder.display()
    ));
    let mut install = exec::command("python3");
    install.env("PIP_ROOT_USER_ACTION", "ignore").args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--python-version",
        PYTHON,
    ]);
    install
        .args(["--only-binary=:all:", "--target"])
        .arg(&folder)
        .args([ANSIBLE, LINT]);
    steps.run(&mut install)?;
    // The programs name the Python that installed them; the machine has its own.
    let mut adapt = exec::command("sh");
    adapt
        .current_dir(folder.join("bin"))
        .args(["-c", "sed -i '1s|^#!.*|#!/usr/bin/python3|' ansible*"]);
    steps.run(&mut adapt)?;
    write(&made, &wanted)?;
    Ok(folder)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
