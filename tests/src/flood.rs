//! The real attack while something floods the daemon: how soon it is found, and what the daemon spends meanwhile.

use crate::actor::Actor;
use crate::cgroup::Cgroup;
use crate::daemon::Daemon;
use crate::foothold::Foothold;
use crate::process;
use crate::told::{Suspect, Told};
use anyhow::{Context as _, Result, ensure};
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

/// After this an attack is over, whatever was found.
const LIMIT: Duration = Duration::from_secs(30);
/// A flood lasts as long as the attack that it is to cover, and never longer.
const FLOOD_MS: &str = "40000";

/// A flood.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// `fork`, `exec` or `connect`.
    pub events: &'static str,
    /// How many threads make them.
    pub threads: u32,
    /// Who makes them.
    pub flooder: Flooder,
}

/// Who floods.
#[derive(Clone, Copy, Debug)]
pub enum Flooder {
    /// Root in a cgroup of its own: nobody accuses the flooder, but what it runs is suspect each time.
    AnotherCgroup,
    /// Root in the cgroup that the attack runs in.
    SameCgroup,
    /// An intruder in that cgroup, whose flooder is suspect, too.
    Intruder,
}

/// What came of an attack, and what the daemon spent meanwhile.
#[derive(Clone, Debug)]
pub struct Covered {
    /// What was told of the attack.
    pub told: Told,
    /// Events a second that the flood made.
    pub per_second: f64,
    /// CPUs that the daemon used.
    pub cores: f64,
}

/// Starts an intruder at full speed and follows the daemon until it is critical.
///
/// # Errors
/// It cannot be started.
fn attack(daemon: &Daemon, stand_in: &Path, name: &str) -> Result<Told> {
    let foothold = Foothold::new(".cache-")?;
    let planted = foothold.plant(stand_in, name)?;
    let command = [
        planted.as_os_str(),
        "--threads=2".as_ref(),
        "--for=60".as_ref(),
    ];
    let session = foothold.start(&command)?;
    let suspect = Suspect {
        folder: foothold.path().to_string_lossy().into_owned(),
        pid: session.pid(),
        started: session.started,
    };
    let mut next = 0;
    loop {
        next += daemon.events_from(next, Duration::from_millis(100)).len();
        let told = suspect.told(&daemon.events());
        let over = suspect.started.elapsed() > LIMIT || daemon.has_exited();
        if told.critical.is_some() || over {
            return Ok(told);
        }
    }
}

/// Attacks under nothing.
///
/// # Errors
/// The attack cannot be started, or the daemon has ended.
pub fn attack_in_the_open(daemon: &Daemon, stand_in: &Path) -> Result<Covered> {
    spent(daemon, || Ok((attack(daemon, stand_in, "quiet")?, 0.0)))
}

/// Floods until the attack is found.
///
/// # Errors
/// The flood or the attack cannot be started, or the daemon has ended.
pub fn attack_under(
    daemon: &Daemon,
    stand_in: &Path,
    actor: &Path,
    flood: Flood,
) -> Result<Covered> {
    let foothold = Foothold::new(".flood-")?;
    let (user, program) = match flood.flooder {
        Flooder::Intruder => ("www-data", foothold.plant(actor, "flooder")?),
        Flooder::AnotherCgroup | Flooder::SameCgroup => ("root", actor.to_owned()),
    };
    let threads = flood.threads.to_string();
    let mut command = vec![program.as_os_str()];
    command.extend(["flood", flood.events, "--shortest"].map(OsStr::new));
    command.extend(["--count", "40000000", "--ms", FLOOD_MS].map(OsStr::new));
    command.extend(["--threads", &threads].map(OsStr::new));
    let command = foothold.command_of(user, &command);
    let cgroup = match flood.flooder {
        Flooder::AnotherCgroup => Some(cgroup()?),
        Flooder::SameCgroup | Flooder::Intruder => None,
    };
    let mut actor = Actor::begin(match &cgroup {
        Some(cgroup) => cgroup.inside(&command),
        None => command,
    })?;
    spent(daemon, || {
        let begun = Instant::now();
        let told = attack(daemon, stand_in, flood.events)?;
        let elapsed = begun.elapsed().as_secs_f64();
        actor.enough();
        let made = actor.says()?["made"].as_u64().context("it counts")?;
        let status = actor.finish()?;
        ensure!(status.success(), "the flooder: {status}");
        Ok((told, made as f64 / elapsed))
    })
}

fn cgroup() -> Result<Cgroup> {
    let root = detector::kernel::Facts::read().cgroup_v2;
    Cgroup::new(&root.context("no cgroup v2 is mounted")?, "flood")
}

fn spent(daemon: &Daemon, act: impl FnOnce() -> Result<(Told, f64)>) -> Result<Covered> {
    let used = || {
        process::cpu_time(daemon.pid())
            .with_context(|| format!("the daemon ended: {}", daemon.account()))
    };
    let (begun, before) = (Instant::now(), used()?);
    let (told, per_second) = act()?;
    Ok(Covered {
        told,
        per_second,
        cores: (used()? - before).as_secs_f64() / begun.elapsed().as_secs_f64(),
    })
}
