//! What a person is told at a glance: title and timeline. Every byte from outside is escaped here.
//!
//! Why it was told is in `reason.rs`, what to do in `next_steps.rs`.

use super::{
    Contact, ContactState, Culprit, Evidence, Finding, FindingType, Incident, Moment, Shape,
    Spoken, case::identity, reason::sentence,
};
use crate::{
    detect::{process::Process, world::World},
    event::text,
    input::{Exec, ProcessKey},
};

/// Bytes of an untrusted word in a title or timeline entry.
const WORD_BYTES: usize = 160;

pub(super) fn word(bytes: &[u8]) -> String {
    let text::Escaped {
        mut text,
        truncated,
    } = text::escape(bytes, WORD_BYTES);
    if truncated {
        text.push('…');
    }
    text
}

/// `name(pid)`.
pub(super) fn named(name: &[u8], key: ProcessKey) -> String {
    format!("{}({})", word(name), key.tgid)
}

/// The same for incidents of one cause on one host.
pub(super) fn group_key(finding: &Finding) -> String {
    let subject = finding.subject.as_deref();
    let path = subject.and_then(|subject| subject.path.as_deref());
    match (finding.kind, identity(finding), path) {
        (kind, _, Some(path)) if kind.is_load() => format!("load:{}", word(path)),
        (FindingType::CpuSteal, ..) => "load:hypervisor".to_owned(),
        (kind, _, None) if kind.is_load() => {
            format!(
                "load:{}",
                subject.map_or_else(String::new, |subject| word(&subject.name))
            )
        }
        (_, Some(id), _) => format!(
            "file:{}:{}:{}.{}",
            id.dev, id.inode, id.ctime_sec, id.ctime_nsec
        ),
        (kind, None, Some(path)) => format!("{}:{}", kind.name(), word(path)),
        (kind, None, None) => kind.name().to_owned(),
    }
}

/// A process ran something.
pub(super) fn ran(process: &Process, image: Option<&Exec>, world: &World) -> String {
    let path = image.and_then(|image| world.path(process, image).or(Some(&image.filename)));
    let what = word(path.unwrap_or(process.short_name()));
    let parent = process.parent.and_then(|parent| world.table.get(parent));
    match parent {
        Some(parent) => format!(
            "{} started {what} as process {}",
            named(parent.short_name(), parent.key),
            process.key.tgid
        ),
        None => format!("{what} started as process {}", process.key.tgid),
    }
}

/// It descends from somebody accused elsewhere.
pub(super) fn descent(above: &Process, incident: uuid::Uuid) -> String {
    let name = named(above.short_name(), above.key);
    format!("it was started below {name}, which incident {incident} is about")
}

/// A process ended.
pub(super) fn ended(process: &Process) -> String {
    let name = named(process.short_name(), process.key);
    match process.ended.and_then(|ended| ended.wait_status) {
        Some(status) if status & 0x7f != 0 => {
            format!("{name} was ended by signal {}", status & 0x7f)
        }
        Some(status) => format!("{name} exited with code {}", (status >> 8) & 0xff),
        None => format!("{name} is gone"),
    }
}

pub(super) fn how_it_ended(wait_status: Option<u32>) -> String {
    match wait_status {
        Some(status) if status & 0x7f != 0 => format!("signal {} ended it", status & 0x7f),
        Some(status) => format!("it exited with code {}", (status >> 8) & 0xff),
        None => "its end".to_owned(),
    }
}

/// A connection came about, or did not.
pub(super) fn connected(contact: &Contact) -> String {
    let verb = match contact.state {
        ContactState::Failed => "could not reach",
        _ => "connected to",
    };
    let peer = std::net::SocketAddr::new(contact.ip, contact.port);
    format!(
        "{}({}) {verb} {peer}",
        contact.process_name, contact.process.tgid
    )
}

/// Timeline entries of a finding.
pub(super) fn moments(finding: &Finding, world: &World) -> Vec<Moment> {
    let Some(subject) = &finding.subject else {
        let steal = matches!(finding.evidence, Evidence::Steal(_));
        let what = "the hypervisor began to give the CPUs to others".to_owned();
        let at_unix_ns = finding.first_seen_unix_ns;
        return steal
            .then_some(Moment { at_unix_ns, what })
            .into_iter()
            .collect();
    };
    let name = named(&subject.name, subject.key);
    match &finding.evidence {
        Evidence::File(_) | Evidence::Shell(_) | Evidence::Indicators(_) => {
            let Some(process) = world.table.get(subject.key) else {
                return Vec::new();
            };
            let at_unix_ns = subject
                .image
                .as_ref()
                .map_or(finding.first_seen_unix_ns, |image| {
                    world.unix_ns(image.at_ns)
                });
            vec![Moment {
                at_unix_ns,
                what: ran(process, subject.image.as_deref(), world),
            }]
        }
        Evidence::Cpu(cpu) => vec![Moment {
            at_unix_ns: finding.first_seen_unix_ns,
            what: format!(
                "{} began to saturate the CPUs",
                whose_load("the", &name, cpu.culprit)
            ),
        }],
        Evidence::Masquerade(lie) => vec![Moment {
            at_unix_ns: finding.first_seen_unix_ns,
            what: format!("{name} was seen to call itself {}", word(&lie.shown)),
        }],
        Evidence::Preload(preload) => vec![Moment {
            at_unix_ns: finding.first_seen_unix_ns,
            what: format!("{name} was seen to have loaded {}", word(&preload.path)),
        }],
        Evidence::Respawn(_) => vec![Moment {
            at_unix_ns: finding.first_seen_unix_ns,
            what: sentence(finding),
        }],
        Evidence::Mining(mining) => {
            let peer = std::net::SocketAddr::new(mining.ip, mining.port);
            let what = match &mining.spoken {
                Spoken::Stratum { .. } => format!("{name} spoke a mining protocol with {peer}"),
                Spoken::Tls { server_name } => {
                    format!("{name} asked {peer} for {} by TLS", word(server_name))
                }
            };
            vec![Moment {
                at_unix_ns: finding.first_seen_unix_ns,
                what,
            }]
        }
        Evidence::Steady(_) => vec![Moment {
            at_unix_ns: finding.first_seen_unix_ns,
            what: format!("{name} began to use CPU time without variation"),
        }],
        Evidence::Storm(_) => vec![Moment {
            at_unix_ns: finding.first_seen_unix_ns,
            what: format!("{name} began to make many processes"),
        }],
        Evidence::Steal(_) => Vec::new(),
        Evidence::ConnectionStorm(storm) => vec![Moment {
            at_unix_ns: finding.first_seen_unix_ns,
            what: match storm.shape {
                Shape::Scan => format!("{name} began to connect to very many"),
                Shape::Failing => format!("{name} began to fail to connect again and again"),
                Shape::Logins => format!("{name} began to knock at login ports"),
            },
        }],
        // The connection itself tells (`connected`).
        Evidence::Destination(_) | Evidence::Loss(_) => Vec::new(),
    }
}

/// What kind of thing the subject is, from the findings about it.
fn kind_of(incident: &Incident) -> Option<&'static str> {
    let said = |kind: FindingType| {
        incident.findings.iter().any(|finding| {
            finding.kind == kind
                && finding.process == incident.subject.as_ref().map(|subject| subject.key)
        })
    };
    [
        (FindingType::Fileless, "in-memory program"),
        (FindingType::DeletedExecutable, "deleted program"),
        (FindingType::ModifiedPackageFile, "modified program"),
        (FindingType::NewBinary, "unpackaged program"),
        (FindingType::NewScript, "script"),
        (FindingType::FromWritableDir, "program"),
        (FindingType::WebServerSpawnedShell, "shell"),
        (FindingType::MasqueradedName, "disguised program"),
    ]
    .into_iter()
    .find_map(|(kind, name)| said(kind).then_some(name))
}

/// One line.
pub(super) fn title(incident: &Incident) -> String {
    let Some(subject) = &incident.subject else {
        let stolen = incident.findings.iter().find_map(|finding| {
            let Evidence::Steal(steal) = finding.evidence else {
                return None;
            };
            Some(steal.share * 100.0)
        });
        return stolen.map_or_else(
            || "something saturates the CPUs".to_owned(),
            |percent| {
                format!("the hypervisor gives {percent:.0} % of this host's CPU time to others")
            },
        );
    };
    let mut title = match kind_of(incident) {
        Some(kind) => format!("{kind} {}", word(&subject.name)),
        None => word(&subject.name),
    };
    if let Some(web) = web_service(incident) {
        title.push_str(&format!(" started by {web}"));
    }
    let mut does = Vec::new();
    if let Some(impact) = &incident.impact {
        let cpus = impact.cpu_cores / impact.cpu_share_of_host.max(1e-9);
        let uses = match blamed(incident) {
            Some(Culprit::Group) => "is in a lineage group that uses",
            Some(Culprit::Cgroup) => "is in a cgroup that uses",
            _ => "uses",
        };
        does.push(format!(
            "{uses} {:.2} of {:.0} CPUs",
            impact.cpu_cores, cpus
        ));
    } else if incident
        .findings
        .iter()
        .any(|finding| finding.kind == FindingType::CpuSaturation)
    {
        does.push("saturates the CPUs".to_owned());
    }
    for finding in &incident.findings {
        let told = match &finding.evidence {
            Evidence::Cpu(cpu) if finding.kind == FindingType::TrafficSaturation => {
                let rate = cpu.accepts_per_s.unwrap_or_default();
                Some(format!("serves {rate:.0} connections/s"))
            }
            Evidence::Steady(steady) if incident.impact.is_none() => Some(format!(
                "steadily uses {:.0} % of a CPU",
                steady.cores * 100.0
            )),
            Evidence::Storm(storm) => Some(format!("makes {:.0} processes/s", storm.forks_per_s)),
            _ => None,
        };
        if let Some(told) = told
            && !does.contains(&told)
            && does.len() < 3
        {
            does.push(told);
        }
    }
    let outside = incident
        .findings
        .iter()
        .find_map(|finding| match &finding.evidence {
            Evidence::Destination(to) => Some(std::net::SocketAddr::new(to.ip, to.port)),
            _ => None,
        });
    let pool = incident
        .findings
        .iter()
        .find_map(|finding| match &finding.evidence {
            Evidence::Mining(mining) if matches!(mining.spoken, Spoken::Stratum { .. }) => {
                Some(std::net::SocketAddr::new(mining.ip, mining.port))
            }
            _ => None,
        });
    match (pool, outside) {
        (Some(pool), _) => does.push(format!("mines for {pool}")),
        (None, Some(peer)) => does.push(format!("talks to {peer}")),
        (None, None) => {}
    }
    if !does.is_empty() {
        title.push(' ');
        title.push_str(&does.join(" and "));
    }
    title
}

/// Who used it: a process, or what it stands for. `article` is that of a sentence's beginning or its middle.
pub(super) fn whose_load(article: &str, name: &str, culprit: Culprit) -> String {
    match culprit {
        Culprit::Process => name.to_owned(),
        Culprit::Executable => format!("{name} and others of its program"),
        Culprit::Group => format!("{article} lineage group of {name}"),
        Culprit::Cgroup => format!("{article} cgroup of {name}"),
    }
}

/// The most specific culprit of its load.
fn blamed(incident: &Incident) -> Option<Culprit> {
    let culprit = |finding: &Finding| match &finding.evidence {
        Evidence::Cpu(cpu) => Some(cpu.culprit),
        _ => None,
    };
    incident.findings.iter().filter_map(culprit).min()
}

/// The nearest web service above the subject, `name(pid)`.
pub(super) fn web_service(incident: &Incident) -> Option<String> {
    let subject = incident.subject.as_ref()?;
    let web = incident
        .findings
        .iter()
        .find_map(|finding| match &finding.evidence {
            Evidence::File(file) => file.web_service,
            _ => None,
        })?;
    let service = subject
        .ancestors
        .iter()
        .find(|ancestor| ancestor.key == web)?;
    Some(named(&service.name, service.key))
}
