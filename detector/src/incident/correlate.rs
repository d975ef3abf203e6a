//! Which findings belong together.
//!
//! In this order: the incident that already has the process; one with an ancestor or a descendant in the
//! same lineage group; one about the same executable, by identity or content, unless a package shipped it; one
//! of plain load in the same group; else a new one. Load is the careful case: that a busy php-fpm is an ancestor of a dropped program does not
//! make its traffic the program's doing, so load joins a suspect only where the culprit is a suspect,
//! descends from one, or is a mixed group that holds one. The same holds the other way round.

use super::{
    Culprit, Evidence, Finding,
    case::{Case, Member, identity},
};
use crate::{
    detect::{process::Process, world::World},
    input::{ExecutableId, ProcessKey, Sha256},
};

/// The case a finding belongs to.
pub(super) fn find(cases: &[Case], finding: &Finding, world: &World) -> Option<usize> {
    let key = finding.process?;
    let group = world.table.get(key).map(|process| process.group);
    let same_group = |case: &Case| group.is_some_and(|group| case.groups.contains(&group));
    let by_member = || cases.iter().position(|case| case.member(key).is_some());
    let by_lineage = || {
        cases
            .iter()
            .position(|case| same_group(case) && is_related(case, finding, key, world))
    };
    let by_file = || {
        let id = identity(finding)?;
        let content = digest(id, world);
        cases.iter().position(|case| {
            case.executables.contains(&id)
                || content.is_some_and(|content| case.has_content(content, world))
        })
    };
    let by_load = || {
        culprit(finding)?;
        let is_same_load = |case: &Case| !case.is_suspect() && same_group(case);
        cases.iter().position(is_same_load)
    };
    by_member()
        .or_else(by_lineage)
        .or_else(by_file)
        .or_else(by_load)
}

/// Content of an executable, once it is known.
pub(super) fn digest(id: ExecutableId, world: &World) -> Option<[u8; 32]> {
    match world.executables.get(id)?.sha256 {
        Sha256::Digest(digest) => Some(digest),
        Sha256::Missing(_) => None,
    }
}

/// Whether a finding belongs to a case of its lineage group.
fn is_related(case: &Case, finding: &Finding, key: ProcessKey, world: &World) -> bool {
    match (culprit(finding), case.is_suspect()) {
        (Some(Culprit::Group | Culprit::Cgroup), true) => true,
        (Some(_), true) => is_below(case, key, world),
        (Some(_), false) => false,
        (None, true) => {
            let watched = case.members.iter().filter(|member| member.watched);
            is_below(case, key, world) || is_above(key, watched, world)
        }
        (None, false) => {
            let mixed = case
                .incident
                .findings
                .iter()
                .any(|known| matches!(culprit(known), Some(Culprit::Group | Culprit::Cgroup)));
            mixed || is_above(key, case.members.iter(), world)
        }
    }
}

/// Whether a process descends from a watched member. One way up, and the members at each step: a way up from each member
/// was most of what an exec in a flood of suspects cost.
fn is_below(case: &Case, key: ProcessKey, world: &World) -> bool {
    let watched = |process: &Process| case.member(process.key).is_some_and(|own| own.watched);
    world.table.ancestors(key).any(watched)
}

/// Whether one of the members descends from a process. Nobody descends from one without children.
fn is_above<'a>(
    key: ProcessKey,
    mut members: impl Iterator<Item = &'a Member>,
    world: &World,
) -> bool {
    world.table.has_children(key) && members.any(|member| world.table.descends(member.key, key))
}

fn related(one: ProcessKey, other: ProcessKey, world: &World) -> bool {
    world.table.descends(one, other) || world.table.descends(other, one)
}

fn culprit(finding: &Finding) -> Option<Culprit> {
    match &finding.evidence {
        Evidence::Cpu(cpu) => Some(cpu.culprit),
        Evidence::Storm(_) => Some(Culprit::Group),
        _ => None,
    }
}

/// Whether an info finding that was kept belongs to what a new incident is about.
pub(super) fn attaches(kept: &Finding, opening: &Finding, world: &World) -> bool {
    let (Some(one), Some(other)) = (kept.process, opening.process) else {
        return false;
    };
    let same_file = || identity(kept).is_some() && identity(kept) == identity(opening);
    let group = |finding: &Finding| finding.subject.as_ref().map(|subject| subject.group.key);
    let lineage = || {
        culprit(opening).is_none() && group(kept) == group(opening) && related(one, other, world)
    };
    one == other || same_file() || lineage()
}
