//! Incidents over a restart: what an earlier run told joins what this one tells, or ends.

use super::{
    CloudEvent, Data, HostInfo, IncidentData, MomentFields, Sequence, from, text, timestamp,
};

/// Most findings, connections, victims and moments of one event.
const MAX: usize = crate::incident::MAX_PARTS;

/// Keeps in `now` what only `earlier` says about the same incident: the engine began anew with it.
pub fn merge(earlier: &IncidentData, now: &mut IncidentData) {
    let (old, new) = (&earlier.incident, &mut now.incident);
    if new.findings.is_empty() {
        new.title.clone_from(&old.title);
        new.confidence = old.confidence;
        now.event.reason.clone_from(&earlier.event.reason);
        now.event.risk_score = earlier.event.risk_score;
    }
    if now
        .process
        .as_ref()
        .is_none_or(|process| process.executable_verdict.is_none())
    {
        now.process.clone_from(&earlier.process);
    }
    if now.destination.is_none() {
        now.destination.clone_from(&earlier.destination);
        now.network.clone_from(&earlier.network);
    }
    if now.threat.is_none() {
        now.threat.clone_from(&earlier.threat);
    }
    if new.impact.is_none() {
        new.impact.clone_from(&old.impact);
    }
    if new.next_steps.is_empty() {
        new.next_steps.clone_from(&old.next_steps);
    }
    prepend(&mut new.findings, &old.findings, |a, b| {
        let about = |finding: &super::FindingFields| {
            finding
                .process
                .as_ref()
                .map(|process| process.entity_id.clone())
        };
        a.kind == b.kind && about(a) == about(b)
    });
    prepend(&mut new.timeline, &old.timeline, |a, b| a == b);
    new.timeline.sort_by(|a, b| a.at.cmp(&b.at));
    prepend(&mut new.victims, &old.victims, |a, b| {
        a.name == b.name && a.unit == b.unit
    });
    let old = earlier
        .detector
        .iter()
        .flat_map(|detector| &detector.connections);
    let old: Vec<_> = old.cloned().collect();
    if !old.is_empty() {
        let detector = now.detector.get_or_insert_with(|| super::DetectorFields {
            connections: Vec::new(),
        });
        prepend(&mut detector.connections, &old, |a, b| {
            (&a.process, &a.destination, a.source_port)
                == (&b.process, &b.destination, b.source_port)
        });
    }
}

/// Puts those of `old` that are not in `new` before it, as far as there is room.
fn prepend<T: Clone>(new: &mut Vec<T>, old: &[T], same: impl Fn(&T, &T) -> bool) {
    let missing = old
        .iter()
        .filter(|old| !new.iter().any(|new| same(old, new)));
    let room = MAX.saturating_sub(new.len());
    let missing: Vec<T> = missing.take(room).cloned().collect();
    new.splice(0..0, missing);
}

/// `detector.incident.resolved` of an incident that nobody can follow any more.
pub fn ended(
    mut data: IncidentData,
    reason: &str,
    at_unix_ns: i64,
    host: &HostInfo,
    sequence: &mut Sequence,
) -> CloudEvent {
    let at = timestamp(at_unix_ns);
    data.timestamp.clone_from(&at);
    data.event.action = "resolved".to_owned();
    data.event.end = Some(at.clone());
    data.event.reason = Some(text::line(reason).into_owned());
    data.host = from::host(host);
    data.agent = from::agent(host);
    data.incident.status = "resolved".to_owned();
    data.incident.updated_at.clone_from(&at);
    data.incident.resolved_at = Some(at.clone());
    data.incident.next_steps = Vec::new();
    if data.incident.timeline.len() < MAX {
        let what = text::line(reason).into_owned();
        data.incident.timeline.push(MomentFields { at, what });
    }
    CloudEvent::wrap(
        "detector.incident.resolved",
        Some(data.incident.id.clone()),
        at_unix_ns,
        host,
        sequence,
        Data::Incident(Box::new(data)),
    )
}

#[cfg(test)]
mod tests;
