//! Whether systemd understands the service's unit, and how exposed it calls the service. Needs no running systemd.

use crate::exec::{self, Steps};
use crate::{apt, privilege};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The unit and its drop-ins, below the workspace.
pub const UNIT: &str = "dist/detector.service";
pub const DROP_IN: &str = "dist/mining-protocols.conf";

/// The program that the unit starts, where the package puts it.
pub const PROGRAM: &str = "/usr/bin/detector";

/// Exposure that `systemd-analyze security` may report at most, in tenths: 2.0 of 10.
const MOST_EXPOSED: &str = "20";

/// Checks the unit alone and with its drop-in.
pub fn check(steps: &mut Steps) -> Result<()> {
    if !has_systemd_analyze(steps)? {
        steps.note("NOT CHECKED: the service's unit. There is no systemd-analyze here");
        return Ok(());
    }
    let folder = exec::target_dir()?.join("unit");
    let drop_ins = folder.join("detector.service.d");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&drop_ins).with_context(|| format!("creating {}", drop_ins.display()))?;
    let unit = folder.join("detector.service");
    let text = fs::read_to_string(exec::workspace().join(UNIT)).context("reading the unit")?;
    // Only what is installed may be started; any program will do for the rest of the check.
    let text = text.replace(PROGRAM, "/bin/true");
    fs::write(&unit, text).with_context(|| format!("writing {}", unit.display()))?;

    verify(&unit)?;
    fs::copy(
        exec::workspace().join(DROP_IN),
        drop_ins.join("mining-protocols.conf"),
    )
    .context("copying the drop-in")?;
    verify(&unit)?;

    let mut security = exec::command("systemd-analyze");
    security
        .args(["security", "--offline=true", "--no-pager"])
        .arg(format!("--threshold={MOST_EXPOSED}"))
        .arg(UNIT);
    let output = security.output().context("cannot run systemd-analyze")?;
    let table = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("the unit is more exposed than {MOST_EXPOSED} tenths:\n{table}");
    }
    if let Some(verdict) = table.lines().last() {
        steps.note(verdict.trim_start_matches(['→', ' ']));
    }
    Ok(())
}

/// An unknown key is only a warning to systemd: here every word is an error.
fn verify(unit: &Path) -> Result<()> {
    let mut verify = Command::new("systemd-analyze");
    // The manual page comes with the package.
    verify.args(["verify", "--man=no"]).arg(unit);
    let output = verify.output().context("cannot run systemd-analyze")?;
    let said = [output.stdout, output.stderr].concat();
    if !output.status.success() || !said.is_empty() {
        bail!(
            "systemd does not accept the unit ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&said)
        );
    }
    Ok(())
}

fn has_systemd_analyze(steps: &mut Steps) -> Result<bool> {
    let is_there = || exec::on_path("systemd-analyze").is_some();
    if !is_there() && apt::is_here() && privilege::is_root() {
        steps.note("- systemd (apt): checks the service's unit; nothing of it is started");
        apt::install(steps, &["systemd".to_owned()])?;
    }
    Ok(is_there())
}
