//! From what the engine knows to what goes out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    AgentFields, BootFields, CloudEvent, ConnectionFields, ContainerFields, CpuFields, Data,
    DestinationFields, DetectorFields, EventFields, FindingFields, HashFields, HostFields,
    HostInfo, ImpactFields, IncidentData, IncidentFields, LossFields, LossWindow, MomentFields,
    NetworkFields, OsFields, ProcessFields, ProcessIdFields, ProcessRef, Sequence, TechniqueFields,
    ThreatFields, TruncatedFields, UserFields, VerdictFields, VictimFields, WriterFields, loss,
    text, timestamp,
};
use crate::{
    detect::{excuse::Excuse, interpreter},
    incident::{
        Ancestor, Contact, Evidence, Finding, Imitates, Impact, Incident, LossSeen, Severity,
        Spoken, Status, Subject, technique_name,
    },
    input::{Exec, Integrity, Owner, PreloadFrom, ProcessKey, Sha256},
    output::Change,
};

/// The event of an incident's change.
pub fn from_incident(
    incident: &Incident,
    change: Change,
    host: &HostInfo,
    sequence: &mut Sequence,
) -> CloudEvent {
    let action = match change {
        Change::Opened => "opened",
        Change::Updated => "updated",
        Change::Resolved => "resolved",
    };
    let outside = incident.connections.iter().find(|contact| contact.outside);
    let destination = outside.map(destination).or_else(|| {
        incident
            .findings
            .iter()
            .find_map(|finding| match &finding.evidence {
                Evidence::Destination(to) => Some(DestinationFields {
                    ip: to.ip.to_string(),
                    port: to.port,
                }),
                Evidence::Mining(mining) => Some(DestinationFields {
                    ip: mining.ip.to_string(),
                    port: mining.port,
                }),
                _ => None,
            })
    });
    let data = IncidentData {
        timestamp: timestamp(incident.updated_unix_ns),
        event: EventFields {
            kind: "alert".to_owned(),
            action: action.to_owned(),
            severity: severity(incident.severity),
            risk_score: Some(incident.risk_score),
            reason: Some(incident.reason.clone()).filter(|reason| !reason.is_empty()),
            start: Some(timestamp(incident.started_unix_ns)),
            end: incident.resolved_unix_ns.map(timestamp),
        },
        host: self::host(host),
        cloud: host.cloud.clone(),
        agent: agent(host),
        incident: incident_fields(incident, host),
        process: incident
            .subject
            .as_deref()
            .map(|subject| process(subject, host)),
        network: destination.as_ref().map(|_| NetworkFields {
            transport: "tcp".to_owned(),
            direction: "egress".to_owned(),
            protocol: protocol(&incident.findings).map(str::to_owned),
        }),
        destination,
        detector: (!incident.connections.is_empty()).then(|| DetectorFields {
            connections: incident.connections.iter().map(connection).collect(),
        }),
        threat: threat(&incident.findings),
    };
    CloudEvent::wrap(
        &format!("detector.incident.{action}"),
        Some(incident.id.to_string()),
        incident.updated_unix_ns,
        host,
        sequence,
        Data::Incident(Box::new(data)),
    )
}

/// What was heard of the application's protocol.
fn protocol(findings: &[Finding]) -> Option<&'static str> {
    findings.iter().find_map(|finding| match &finding.evidence {
        Evidence::Mining(mining) => Some(match mining.spoken {
            Spoken::Stratum { .. } => "stratum",
            Spoken::Tls { .. } => "tls",
        }),
        _ => None,
    })
}

fn incident_fields(incident: &Incident, host: &HostInfo) -> IncidentFields {
    let truncated = incident.truncated;
    IncidentFields {
        id: incident.id.to_string(),
        status: match incident.status {
            Status::Open => "open".to_owned(),
            Status::Resolved => "resolved".to_owned(),
        },
        title: incident.title.clone(),
        severity: incident.severity.name().to_owned(),
        confidence: incident.confidence,
        group_key: incident.group_key.clone(),
        opened_at: timestamp(incident.opened_unix_ns),
        updated_at: timestamp(incident.updated_unix_ns),
        resolved_at: incident.resolved_unix_ns.map(timestamp),
        findings: incident
            .findings
            .iter()
            .map(|found| finding(found, host))
            .collect(),
        timeline: incident
            .timeline
            .iter()
            .map(|moment| MomentFields {
                at: timestamp(moment.at_unix_ns),
                what: moment.what.clone(),
            })
            .collect(),
        victims: incident
            .victims
            .iter()
            .map(|victim| VictimFields {
                name: victim.name.clone(),
                unit: victim.unit.as_deref().map(line),
                executable: victim.executable.as_deref().map(text::plain),
                run_delay_share: digits(victim.run_delay_share),
            })
            .collect(),
        impact: incident.impact.as_ref().map(impact),
        next_steps: incident.next_steps.clone(),
        loss: incident.loss.as_ref().map(loss),
        truncated: (truncated != crate::incident::Truncated::default()).then_some(
            TruncatedFields {
                findings: truncated.findings,
                timeline: truncated.timeline,
                connections: truncated.connections,
                processes: truncated.processes,
            },
        ),
    }
}

/// `event` of something that is no alert.
pub(super) fn plain_event(
    kind: &str,
    action: &str,
    severity: u8,
    reason: Option<&str>,
) -> EventFields {
    EventFields {
        kind: kind.to_owned(),
        action: action.to_owned(),
        severity,
        risk_score: None,
        reason: reason.map(line),
        start: None,
        end: None,
    }
}

pub(super) fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 25,
        Severity::Warning => 50,
        Severity::Critical => 90,
    }
}

pub(super) fn host(host: &HostInfo) -> HostFields {
    HostFields {
        id: line(&host.id),
        name: line(&host.name),
        boot: host
            .boot_id
            .as_deref()
            .map(|id| BootFields { id: line(id) }),
        os: host.kernel.as_deref().map(|kernel| OsFields {
            kernel: line(kernel),
        }),
        cpu: CpuFields {
            count: host.cpu_count,
        },
    }
}

pub(super) fn agent(host: &HostInfo) -> AgentFields {
    AgentFields {
        id: line(&host.agent_id),
        name: "detector".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

pub(super) fn finding(finding: &Finding, host: &HostInfo) -> FindingFields {
    FindingFields {
        kind: finding.kind.name().to_owned(),
        severity: finding.severity.name().to_owned(),
        first_seen: timestamp(finding.first_seen_unix_ns),
        last_seen: timestamp(finding.last_seen_unix_ns),
        process: finding.subject.as_deref().map(|subject| ProcessRef {
            entity_id: entity_id(subject.key, host),
            pid: subject.key.tgid,
            start: timestamp(subject.start_unix_ns),
            name: text::plain(&subject.name),
            executable: subject.path.as_deref().map(text::plain),
        }),
        evidence: evidence(&finding.evidence),
        accepted: finding.accepted.as_deref().map(line),
    }
}

fn evidence(evidence: &Evidence) -> BTreeMap<String, Value> {
    let value = match evidence {
        Evidence::Cpu(cpu) => json!({
            "culprit": cpu.culprit.name(),
            "cores": digits(cpu.cores),
            "host_share": digits(cpu.host_share),
            "window_s": digits(cpu.window_s),
            "steal_share": cpu.steal_share.map(digits),
            "accepts_per_s": cpu.accepts_per_s.map(digits),
            "usual_accepts_per_s": cpu.usual_accepts_per_s.map(digits),
        }),
        Evidence::Steady(steady) => json!({
            "cores": digits(steady.cores),
            "tolerance": digits(steady.tolerance),
            "processes": steady.processes,
            "switches_per_cpu_s": digits(steady.switches_per_cpu_s),
            "low_priority": steady.low_priority,
            "duration_s": digits(steady.duration_s),
        }),
        Evidence::Steal(steal) => json!({ "steal_share": digits(steal.share) }),
        Evidence::Storm(storm) => json!({
            "forks_per_s": digits(storm.forks_per_s),
            "execs_per_s": digits(storm.execs_per_s),
            "cores": digits(storm.cores),
        }),
        Evidence::File(file) => json!({
            "path": file.path.as_deref().map(text::plain),
            "path_class": file.path_class.name(),
            "age_at_exec_s": file.age_at_exec_s,
            "fresh": file.fresh,
            "web_service_pid": file.web_service.map(|key| key.tgid),
            "excuse": file.excuse.map(Excuse::name),
            "package": file.package.as_deref().map(line),
            "writer_uid": file.uid,
            "writer": file.user_name.as_deref().map(line),
            "written_below_pid": file.written_below.map(|key| key.tgid),
            "from_snapshot": file.from_snapshot,
        }),
        Evidence::Shell(shell) => json!({
            "web_service": text::plain(&shell.web_service),
            "markers": shell.markers,
        }),
        Evidence::Indicators(matches) => json!({
            "matches": matches.iter().map(|found| json!({
                "kind": found.kind.name(),
                "word": &*found.word,
                "source": &*found.source,
            })).collect::<Vec<Value>>(),
        }),
        Evidence::Masquerade(lie) => json!({
            "shown": text::plain(&lie.shown),
            "shown_in": lie.shown_in.name(),
            "imitates": lie.imitates.name(),
            "package": match &lie.imitates {
                Imitates::Package(package) => Some(line(package)),
                _ => None,
            },
            "path": lie.path.as_deref().map(text::plain),
        }),
        Evidence::Preload(preload) => json!({
            "path": text::plain(&preload.path),
            "path_class": preload.path_class.name(),
            "from": match preload.from {
                PreloadFrom::Environment => "LD_PRELOAD",
                PreloadFrom::SystemFile => "/etc/ld.so.preload",
            },
        }),
        Evidence::Respawn(back) => json!({
            "restarted_by": text::plain(&back.restarted_by),
            "restarted_by_pid": back.restarter_pid,
            "restarter": back.restarter.name(),
            "unit": back.unit.as_deref().map(line),
            "times": back.times,
            "gone_s": digits(seconds(back.gone_ns)),
            "last_wait_status": back.last_wait_status,
            "same": if back.same_identity { "identity" } else { "content" },
        }),
        Evidence::Mining(mining) => {
            let (protocol, dialect, methods, agent, server_name) = match &mining.spoken {
                Spoken::Stratum {
                    dialect,
                    methods,
                    agent,
                } => (
                    "stratum",
                    Some(dialect.name()),
                    Some(methods),
                    agent.as_deref().map(text::plain),
                    None,
                ),
                Spoken::Tls { server_name } => {
                    ("tls", None, None, None, Some(text::plain(server_name)))
                }
            };
            json!({
                "protocol": protocol,
                "dialect": dialect,
                "methods": methods,
                "agent": agent,
                "server_name": server_name,
                "ip": mining.ip.to_string(),
                "port": mining.port,
                "unowned": mining.unowned,
                "busy": mining.busy,
            })
        }
        Evidence::ConnectionStorm(storm) => json!({
            "shape": storm.shape.name(),
            "attempts": storm.attempts,
            "failed": storm.failed,
            "addresses": storm.addresses,
            "port": storm.port,
            "window_s": storm.window_s,
        }),
        Evidence::Destination(to) => json!({
            "ip": to.ip.to_string(),
            "port": to.port,
            "established": to.established,
            "odd": to.odd,
            "new": to.new,
            "open_s": to.open_s,
            "pool_port": to.pool_port,
        }),
        Evidence::Loss(losses) => loss::evidence(losses),
    };
    let Value::Object(fields) = value else {
        return BTreeMap::new();
    };
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect()
}

pub(super) fn process(subject: &Subject, host: &HostInfo) -> ProcessFields {
    let image = subject.image.as_deref();
    let facts = subject.facts.as_deref();
    let args = image
        .map(|image| text::arguments(&host.redactor.arguments(&image.args)))
        .unwrap_or_default();
    let digest = subject.file.as_ref().and_then(|file| match file.sha256 {
        Sha256::Digest(digest) => Some(HashFields {
            sha256: hex(&digest),
        }),
        Sha256::Missing(_) => None,
    });
    ProcessFields {
        entity_id: entity_id(subject.key, host),
        pid: subject.key.tgid,
        start: timestamp(subject.start_unix_ns),
        end: subject.ended_unix_ns.map(timestamp),
        name: text::plain(&subject.name),
        title: image.map(|image| text::plain(&host.redactor.text(text::until_nul(&image.comm)))),
        executable: subject.path.as_deref().map(text::plain),
        args_truncated: image.map(|image| image.args_total_bytes as usize > image.args.len()),
        command_line: (!args.is_empty()).then(|| args.join(" ")),
        args,
        working_directory: facts
            .and_then(|facts| facts.working_directory.as_deref().map(text::plain)),
        hash: digest,
        user: subject.uid.map(|uid| UserFields {
            id: uid.to_string(),
            name: facts.and_then(|facts| facts.user_name.as_deref().map(line)),
        }),
        group_leader: Some(reference(&subject.group, host)),
        parent: subject
            .ancestors
            .first()
            .map(|parent| reference(parent, host)),
        ancestors: subject
            .ancestors
            .iter()
            .map(|ancestor| reference(ancestor, host))
            .collect(),
        cgroup: facts.and_then(|facts| facts.cgroup.as_deref().map(line)),
        unit: facts.and_then(|facts| facts.unit.as_deref().map(line)),
        container: facts
            .and_then(|facts| facts.container_id.as_deref())
            .map(|id| ContainerFields { id: line(id) }),
        executable_verdict: image.map(|image| verdict(subject, image)),
    }
}

fn verdict(subject: &Subject, image: &Exec) -> VerdictFields {
    let file = subject.file.as_deref();
    let stat = file.and_then(|file| file.stat.as_ref());
    let memfd = image.executable.nlink == 0 && image.name.starts_with(b"memfd:");
    let runs = interpreter::runs(image);
    let operand = runs.file();
    // Of a script nobody looked at only the interpreter is known, which is not what matters.
    let loaded = operand.is_none().then_some(&image.executable);
    let id = subject.file_id;
    let integrity = file.and_then(|file| file.integrity);
    VerdictFields {
        owner_package: file.and_then(|file| match &file.owner {
            Owner::Package(name) => Some(line(name)),
            _ => None,
        }),
        unowned: file.and_then(|file| match file.owner {
            Owner::Unowned => Some(true),
            Owner::Package(_) => Some(false),
            Owner::Unknown(_) => None,
        }),
        owner_unknown: file.and_then(|file| match file.owner {
            Owner::Unknown(why) => Some(why.to_owned()),
            _ => None,
        }),
        integrity: integrity.and_then(|integrity| match integrity {
            Integrity::Intact => Some("intact".to_owned()),
            Integrity::Modified => Some("modified".to_owned()),
            Integrity::Edited => Some("edited".to_owned()),
            Integrity::Unknown(_) => None,
        }),
        integrity_unknown: integrity.and_then(|integrity| match integrity {
            Integrity::Unknown(why) => Some(why.to_owned()),
            _ => None,
        }),
        hash_missing: file.and_then(|file| match file.sha256 {
            Sha256::Missing(why) => Some(why.to_owned()),
            Sha256::Digest(_) => None,
        }),
        ctime: id.map(|id| {
            let ns = id.ctime_sec.saturating_mul(1_000_000_000);
            timestamp(ns.saturating_add(i64::from(id.ctime_nsec)))
        }),
        modified: file.and_then(|file| file.modified_unix_ns).map(timestamp),
        born: stat.and_then(|stat| stat.born_unix_ns).map(timestamp),
        age_at_exec_s: subject.age_at_exec_s,
        writer: stat
            .map(|stat| stat.uid)
            .or_else(|| loaded.map(|loaded| loaded.uid))
            .map(|uid| WriterFields {
                id: uid.to_string(),
                name: stat.and_then(|stat| stat.user_name.as_deref().map(line)),
                below_pid: subject.written_below.map(|key| key.tgid),
            }),
        memfd,
        deleted: image.executable.nlink == 0 && !memfd,
        path_class: subject.path_class.name().to_owned(),
        interpreter: operand.map(|_| {
            let path = image.interpreter.as_deref();
            text::plain(path.unwrap_or(&image.filename))
        }),
        script: operand.map(|operand| text::plain(subject.path.as_deref().unwrap_or(operand))),
        size: stat
            .map(|stat| stat.size)
            .or_else(|| loaded.map(|loaded| loaded.size)),
        mode: stat
            .map(|stat| stat.mode)
            .or_else(|| loaded.map(|loaded| loaded.mode))
            .map(|mode| format!("{:04o}", mode & 0o7777)),
    }
}

fn reference(ancestor: &Ancestor, host: &HostInfo) -> ProcessRef {
    ProcessRef {
        entity_id: entity_id(ancestor.key, host),
        pid: ancestor.key.tgid,
        start: timestamp(ancestor.start_unix_ns),
        name: text::plain(&ancestor.name),
        executable: ancestor.path.as_deref().map(text::plain),
    }
}

/// Boot, id and start: unique for ever.
fn entity_id(key: ProcessKey, host: &HostInfo) -> String {
    let boot = host.boot_id.as_deref().unwrap_or(&host.id);
    format!("{}-{}-{}", line(boot), key.tgid, key.start_ns)
}

fn connection(contact: &Contact) -> ConnectionFields {
    ConnectionFields {
        process: ProcessIdFields {
            pid: contact.process.tgid,
            name: contact.process_name.clone(),
        },
        destination: destination(contact),
        source_port: contact.local_port,
        outside: contact.outside,
        state: contact.state.name().to_owned(),
        error: contact.error,
        first_seen: timestamp(contact.first_unix_ns),
        last_seen: timestamp(contact.last_unix_ns),
        bytes_sent: contact.bytes_sent,
        bytes_received: contact.bytes_received,
    }
}

fn destination(contact: &Contact) -> DestinationFields {
    DestinationFields {
        ip: contact.ip.to_string(),
        port: contact.port,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration in seconds")]
fn impact(impact: &Impact) -> ImpactFields {
    let duration_ns = impact
        .until_unix_ns
        .saturating_sub(impact.since_unix_ns)
        .max(0);
    ImpactFields {
        cpu_cores: digits(impact.cpu_cores),
        cpu_share_of_host: digits(impact.cpu_share_of_host),
        duration_s: digits(duration_ns as f64 / 1e9),
        steal_share: impact.steal_share.map(digits),
        psi: impact.psi.map(digits),
        accepts_per_second: impact.accepts_per_second.map(digits),
    }
}

fn loss(seen: &LossSeen) -> LossFields {
    LossFields {
        dropped: seen.losses.iter().map(|loss| loss.count).sum(),
        by_class: seen
            .losses
            .iter()
            .map(|loss| (loss.class.to_owned(), loss.count))
            .collect(),
        window: LossWindow {
            from: timestamp(seen.from_unix_ns),
            to: timestamp(seen.to_unix_ns),
        },
    }
}

pub(super) fn threat(findings: &[Finding]) -> Option<ThreatFields> {
    let mut ids: Vec<&str> = findings
        .iter()
        .flat_map(|finding| finding.kind.techniques())
        .copied()
        .collect();
    ids.sort_unstable();
    ids.dedup();
    (!ids.is_empty()).then(|| ThreatFields {
        technique: ids
            .into_iter()
            .map(|id| TechniqueFields {
                id: id.to_owned(),
                name: technique_name(id).map(str::to_owned),
            })
            .collect(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a duration in seconds")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Three digits after the point: more would be noise.
fn digits(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn line(text: &str) -> String {
    text::line(text).into_owned()
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
