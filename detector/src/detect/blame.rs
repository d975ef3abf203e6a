//! Whose fault a load is, and who pays for it.
//!
//! The blame goes to the most specific culprit that explains `culprit_share` of the load: one process, else
//! the processes of one executable, else the group, else the cgroup. Victims are the others that had to
//! wait: `run_delay / (run_delay + cpu)` over the window.

use std::collections::BTreeMap;

use super::{
    cpu::Totals,
    interpreter,
    process::Process,
    sequential::{Identity, Model},
    table::Table,
    usage::{Scope, Usage, Used},
    window::{Mean, share},
    world::World,
};
use crate::{
    incident::Culprit,
    input::{ExecutableId, Owner, ProcessKey},
};

/// Somebody who had to wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waiting {
    /// Root of the group.
    pub group: ProcessKey,
    /// Share of the time it wanted to run (0–1).
    pub run_delay_share: f64,
    /// Time waited over the window, ns.
    pub run_delay_ns: u64,
}

/// Waiting below this share is everyday life.
const VICTIM_SHARE: f64 = 0.2;
/// Waiting below this part of the window hurts nobody (a process that hardly runs).
const VICTIM_WAIT_SHARE: f64 = 0.05;
/// Victims named.
const MAX_VICTIMS: usize = 16;

/// Age of a file at its execution from which it belongs to the host, s: a week. A user cannot set a ctime back.
const ESTABLISHED_S: i64 = 7 * 86_400;

/// Whose habits the process has: see [`Identity`].
pub(super) fn identity(model: &Model, process: &Process, world: &World) -> Identity {
    if process.kernel_thread {
        return Identity::named(model.name, &process.comm);
    }
    let Some(image) = process.image.as_deref() else {
        // Nobody is known by a name of their own choice.
        let mut key = process.key.start_ns.to_le_bytes().to_vec();
        key.extend(process.key.tgid.to_le_bytes());
        return Identity::named(model.name, &key);
    };
    if let Some(operand) = interpreter::runs(image).file() {
        return Identity::named(model.name, world.path(process, image).unwrap_or(operand));
    }
    let file = world.file(image);
    let packaged = file.is_some_and(|file| matches!(file.owner, Owner::Package(_)));
    match file.and_then(|file| file.path.as_deref()) {
        Some(path) if packaged => Identity::packaged(model.name, path),
        _ => {
            let file = Identity::file(model.name, image.executable.id);
            let age_s = world.age_at_exec_s(image, image.executable.id);
            if age_s.is_some_and(|age_s| age_s >= ESTABLISHED_S) {
                file.established()
            } else {
                file
            }
        }
    }
}

/// Whose busy second it was: of the scope's programs the one that used most in this pass.
pub(super) fn busiest(
    model: &Model,
    scope: Scope,
    usage: &Usage,
    world: &World,
) -> Option<Identity> {
    let mut sums: BTreeMap<Option<ExecutableId>, (u64, ProcessKey)> = BTreeMap::new();
    for used in usage.used.iter().filter(|used| used.is_in(scope)) {
        let image = world.table.get(used.process)?.image.as_deref();
        let program = image.map(|image| image.executable.id);
        let (sum_ns, _) = sums.entry(program).or_insert((0, used.process));
        *sum_ns += used.totals.cpu_ns;
    }
    let (_, key) = sums.into_values().max_by_key(|(sum_ns, _)| *sum_ns)?;
    Some(identity(model, world.table.get(key)?, world))
}

/// The part of a load that is of the program this process runs (0–1).
pub(super) fn share_of_program(
    process: ProcessKey,
    scope: Scope,
    mean: Mean,
    usage: &Usage,
    world: &World,
) -> f64 {
    let program = |process: &Process| process.image.as_ref().map(|image| image.executable.id);
    let Some(wanted) = world.table.get(process).and_then(program) else {
        return 0.0;
    };
    let used_ns = usage
        .processes
        .sorted()
        .filter(|(key, _)| {
            let process = world.table.get(*key);
            process.is_some_and(|process| is_in(process, scope) && program(process) == Some(wanted))
        })
        .map(|(_, window)| window.mean().used.cpu_ns)
        .sum();
    share(used_ns, mean.used.cpu_ns)
}

fn is_in(process: &Process, scope: Scope) -> bool {
    Used::of(process, Totals::default()).is_in(scope)
}

/// The process that stands for a load, and what it stands for.
pub(super) fn blame(
    scope: Scope,
    mean: Mean,
    usage: &Usage,
    world: &World,
) -> (ProcessKey, Culprit) {
    let table = &world.table;
    let mut top: Option<(u64, ProcessKey)> = None;
    let mut images: BTreeMap<ExecutableId, (u64, ProcessKey)> = BTreeMap::new();
    for (key, window) in usage.processes.sorted() {
        let Some(process) = table.get(key) else {
            continue;
        };
        if !is_in(process, scope) {
            continue;
        }
        let used_ns = window.mean().used.cpu_ns;
        if top.is_none_or(|(most_ns, _)| used_ns > most_ns) {
            top = Some((used_ns, key));
        }
        if let Some(image) = &process.image {
            let (sum_ns, oldest) = images.entry(image.executable.id).or_insert((0, key));
            *sum_ns += used_ns;
            let rank = |key: ProcessKey| (!is_alive(table, key), key.start_ns);
            if rank(key) < rank(*oldest) {
                *oldest = key;
            }
        }
    }
    let enough = |used_ns: u64| share(used_ns, mean.used.cpu_ns) >= world.config.culprit_share;
    if let Some((_, key)) = top.filter(|(used_ns, _)| enough(*used_ns)) {
        return (key, Culprit::Process);
    }
    if let Some((_, key)) = images.into_values().find(|(used_ns, _)| enough(*used_ns)) {
        return (key, Culprit::Executable);
    }
    match (scope, top) {
        (Scope::Group(root) | Scope::Accused(root) | Scope::Storm(root), top) => {
            (top.map_or(root, |(_, key)| key), Culprit::Group)
        }
        (Scope::Cgroup(_) | Scope::Host, Some((_, key))) => (key, Culprit::Cgroup),
        (scope, None) => {
            let cgroup = match scope {
                Scope::Cgroup(cgroup) => Some(cgroup),
                _ => None,
            };
            let member = table
                .iter()
                .filter(|process| cgroup.is_some() && process.cgroup_id == cgroup)
                .map(|process| process.key)
                .min();
            let nobody = ProcessKey {
                tgid: 0,
                start_ns: 0,
            };
            (member.unwrap_or(nobody), Culprit::Cgroup)
        }
    }
}

/// Other groups, and what is left of the culprit's own group when one process is blamed.
pub(super) fn victims(
    scope: Scope,
    process: ProcessKey,
    culprit: Culprit,
    usage: &Usage,
    table: &Table,
) -> Vec<Waiting> {
    let own_group = table.get(process).map(|process| process.group);
    let mut victims: Vec<Waiting> = Vec::new();
    for (group, window) in usage.groups.sorted() {
        let mut mean = window.mean();
        if scope == Scope::Group(group) || own_group == Some(group) {
            let Some(own) = usage.processes.get(process) else {
                continue;
            };
            if culprit != Culprit::Process {
                continue;
            }
            let used = own.mean().used;
            mean.used.cpu_ns = mean.used.cpu_ns.saturating_sub(used.cpu_ns);
            mean.used.run_delay_ns = mean.used.run_delay_ns.saturating_sub(used.run_delay_ns);
        }
        let waited = share(mean.used.run_delay_ns, mean.elapsed_ns);
        let kernel = table.get(group).is_some_and(|root| root.kernel_thread);
        if mean.run_delay_share() >= VICTIM_SHARE && waited >= VICTIM_WAIT_SHARE && !kernel {
            victims.push(Waiting {
                group,
                run_delay_share: mean.run_delay_share(),
                run_delay_ns: mean.used.run_delay_ns,
            });
        }
    }
    victims.sort_by_key(|victim| (std::cmp::Reverse(victim.run_delay_ns), victim.group));
    victims.truncate(MAX_VICTIMS);
    victims
}

/// Whether it still runs, as far as known.
pub(super) fn is_alive(table: &Table, key: ProcessKey) -> bool {
    table.get(key).is_some_and(Process::is_alive)
}
