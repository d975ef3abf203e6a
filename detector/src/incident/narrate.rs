//! What a person is told: title, reason, timeline, next steps. Every byte from outside is escaped here.

use super::{
    Contact, ContactState, Culprit, Evidence, FileEvidence, Finding, FindingType, Imitates,
    Incident, Moment, Severity, Shape, Spoken, Subject, case::identity, score,
};
use crate::{
    detect::{excuse::Excuse, path, process::Process, world::World},
    event::text,
    input::{Exec, Integrity, Owner, PreloadFrom, ProcessKey},
};

/// Processes named in one command.
const MAX_PIDS: usize = 8;
/// Victims named in the reason.
const MAX_VICTIMS: usize = 3;
/// Bytes of an untrusted word in a title or timeline entry.
const WORD_BYTES: usize = 160;

fn word(bytes: &[u8]) -> String {
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
fn named(name: &[u8], key: ProcessKey) -> String {
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

fn how_it_ended(wait_status: Option<u32>) -> String {
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
        Evidence::Cpu(_) => vec![Moment {
            at_unix_ns: finding.first_seen_unix_ns,
            what: format!("{name} began to saturate the CPUs"),
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

/// The most specific culprit of its load.
fn blamed(incident: &Incident) -> Option<Culprit> {
    let culprit = |finding: &Finding| match &finding.evidence {
        Evidence::Cpu(cpu) => Some(cpu.culprit),
        _ => None,
    };
    incident.findings.iter().filter_map(culprit).min()
}

/// The nearest web service above the subject, `name(pid)`.
fn web_service(incident: &Incident) -> Option<String> {
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

/// Why, in sentences.
pub(super) fn reason(incident: &Incident) -> String {
    let mut sentences: Vec<String> = Vec::new();
    for finding in &incident.findings {
        let sentence = sentence(finding);
        if !sentence.is_empty() && !sentences.contains(&sentence) && sentences.len() < 8 {
            sentences.push(sentence);
        }
    }
    sentences.extend(suffering(incident));
    if incident.severity >= Severity::Critical {
        sentences.push(why_critical(incident));
    }
    sentences.join(" ")
}

/// Who pays for it: the worst three.
fn suffering(incident: &Incident) -> Option<String> {
    let mut victims: Vec<_> = incident.victims.iter().collect();
    victims.sort_by(|one, other| other.run_delay_share.total_cmp(&one.run_delay_share));
    let worst = victims.first()?.run_delay_share * 100.0;
    let mut names: Vec<String> = Vec::new();
    for victim in victims {
        let unit = victim.unit.as_ref().map(|unit| word(unit.as_bytes()));
        let name = unit.unwrap_or_else(|| victim.name.clone());
        if !names.contains(&name) && names.len() < MAX_VICTIMS {
            names.push(name);
        }
    }
    let names = names.join(", ");
    Some(format!(
        "Waiting for a CPU up to {worst:.0} % of the time they want one: {names}."
    ))
}

/// What makes it worth getting up.
fn why_critical(incident: &Incident) -> String {
    if let Some(why) = score::conclusive(&incident.findings) {
        return format!("Critical, because {why}.");
    }
    let agreeing = score::agreeing(&incident.findings);
    let kinds: Vec<&str> = agreeing.iter().filter_map(|class| class.counts()).collect();
    format!("Critical, because these agree: {}.", kinds.join("; "))
}

fn sentence(finding: &Finding) -> String {
    let name = finding
        .subject
        .as_deref()
        .map_or_else(String::new, |subject| named(&subject.name, subject.key));
    match &finding.evidence {
        Evidence::Cpu(cpu) => {
            let mut told = format!(
                "{name} used {:.2} CPUs, {:.0} % of the host, over the last {:.0} s.",
                cpu.cores,
                cpu.host_share * 100.0,
                cpu.window_s
            );
            if let (Some(rate), Some(usual)) = (cpu.accepts_per_s, cpu.usual_accepts_per_s) {
                told.push_str(&match finding.kind {
                    FindingType::TrafficSaturation => format!(
                        " It is traffic: {rate:.1} inbound connections/s where {usual:.1} are usual."
                    ),
                    _ => format!(
                        " It is not traffic: {rate:.1} inbound connections/s where {usual:.1} are usual."
                    ),
                });
            }
            if let Some(steal) = cpu.steal_share.filter(|share| *share >= 0.05) {
                told.push_str(&format!(
                    " The hypervisor gave {:.0} % of the CPUs to others meanwhile.",
                    steal * 100.0
                ));
            }
            told
        }
        Evidence::Steady(steady) => format!(
            "{name} has used {:.2} CPUs for {:.0} s without varying by more than {:.0} %{}.",
            steady.cores,
            steady.duration_s,
            steady.tolerance * 100.0,
            if steady.low_priority {
                ", at the lowest priority"
            } else {
                ""
            }
        ),
        Evidence::Steal(steal) => format!(
            "The hypervisor gave {:.0} % of the CPU time to others: a busy neighbour, or CPU credits that are used up; no process of this host.",
            steal.share * 100.0
        ),
        Evidence::Storm(storm) => format!(
            "{name} and its children made {:.0} processes and executed {:.0} programs a second, using {:.2} CPUs.",
            storm.forks_per_s, storm.execs_per_s, storm.cores
        ),
        Evidence::File(file) => file_sentence(finding, &name, file),
        Evidence::Indicators(matches) => {
            let words: Vec<&str> = matches.iter().map(|found| &*found.word).collect();
            format!("{name} carries marks of coin miners: {}.", words.join(", "))
        }
        Evidence::Masquerade(lie) => {
            let shown = word(&lie.shown);
            let whose = match &lie.imitates {
                Imitates::KernelThread => "like a kernel thread, and is none".to_owned(),
                Imitates::Package(package) => {
                    format!("like a program of package {}", word(package.as_bytes()))
                }
                Imitates::Program => "like another program".to_owned(),
                Imitates::Unknown => "by another name than its file's".to_owned(),
            };
            format!("{name} calls itself {shown}, {whose}.")
        }
        Evidence::Preload(preload) => {
            let from = match preload.from {
                PreloadFrom::Environment => "by LD_PRELOAD",
                PreloadFrom::SystemFile => "by /etc/ld.so.preload, like every program of this host",
            };
            let path = word(&preload.path);
            format!("{name} loads {path}, which belongs to no package, {from}.")
        }
        Evidence::Respawn(back) => {
            let by = format!("{}({})", word(&back.restarted_by), back.restarter_pid);
            let unit = back
                .unit
                .as_deref()
                .map(|unit| format!(" for {}", word(unit.as_bytes())));
            let times = match back.times {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            format!(
                "{name} is back {:.0} s after {}: {by} started it again{}; it ended {times} in ten minutes.",
                back.gone_ns as f64 / 1e9,
                how_it_ended(back.last_wait_status),
                unit.unwrap_or_default(),
            )
        }
        Evidence::Shell(shell) => format!("{} started the shell {name}.", word(&shell.web_service)),
        Evidence::Destination(to) => {
            let peer = std::net::SocketAddr::new(to.ip, to.port);
            format!("{name} reached out to {peer}.")
        }
        Evidence::ConnectionStorm(storm) => {
            let what = match storm.shape {
                Shape::Scan => format!("connected to {} addresses", storm.addresses),
                Shape::Failing => {
                    format!("failed {} of {} connections", storm.failed, storm.attempts)
                }
                Shape::Logins => format!(
                    "tried {} connections to port {} and the like",
                    storm.attempts, storm.port
                ),
            };
            format!("{name} {what} within {} s.", storm.window_s)
        }
        Evidence::Mining(mining) => {
            let peer = std::net::SocketAddr::new(mining.ip, mining.port);
            match &mining.spoken {
                Spoken::Stratum { methods, agent, .. } => {
                    let agent = agent
                        .as_deref()
                        .map_or_else(String::new, |agent| format!(" as {}", word(agent)));
                    let methods = methods.join(", ");
                    format!("{name} speaks a mining protocol ({methods}) with {peer}{agent}.")
                }
                Spoken::Tls { server_name } => format!(
                    "{name} asked {peer} for the mining pool {}; what it says is encrypted.",
                    word(server_name)
                ),
            }
        }
        Evidence::Loss(_) => String::new(),
    }
}

fn file_sentence(finding: &Finding, name: &str, file: &FileEvidence) -> String {
    let what = match finding.kind {
        FindingType::Fileless => "runs a program that exists in memory only",
        FindingType::DeletedExecutable => "runs a file that was deleted before it was executed",
        FindingType::NewScript if file.path_class.is_odd() => {
            "is a script in a place where programs do not belong"
        }
        FindingType::NewScript => "is a script that belongs to no package",
        FindingType::FromWritableDir => {
            "was executed from a folder that anybody or a web application can write to"
        }
        FindingType::ModifiedPackageFile => {
            let package = word(file.package.as_deref().unwrap_or_default().as_bytes());
            return format!("{name} is not what package {package} shipped: its file was changed.");
        }
        _ => "belongs to no package",
    };
    let new = matches!(
        finding.kind,
        FindingType::NewBinary | FindingType::NewScript
    );
    let written = match file.age_at_exec_s {
        Some(age_s) if file.fresh && new => {
            let by = writer(file.user_name.as_deref(), file.uid);
            let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
            format!(
                ", written {age_s} s before it was executed{by}{}",
                below(finding, file)
            )
        }
        _ => String::new(),
    };
    let excuse = match file.excuse {
        Some(Excuse::PackageManager) => " A package manager is at work.",
        Some(Excuse::ConfigurationManagement) => " Configuration management is at work.",
        Some(Excuse::Build) => " A build is at work.",
        Some(Excuse::AdministratorsPlace) => " Only root can have put it there.",
        None => "",
    };
    format!("{name} {what}{written}.{excuse}")
}

/// The owner of a file.
fn writer(name: Option<&str>, uid: Option<u32>) -> Option<String> {
    match (name, uid) {
        (Some(name), _) => Some(word(name.as_bytes())),
        (None, Some(uid)) => Some(format!("uid {uid}")),
        (None, None) => None,
    }
}

/// `, below php-fpm8.2(812)`: the root of its lineage ran already when the file was written.
fn below(finding: &Finding, file: &FileEvidence) -> String {
    let root = finding.subject.as_deref().map(|subject| &subject.group);
    let root = root.filter(|root| file.written_below == Some(root.key));
    root.map_or_else(String::new, |root| {
        format!(", below {}", named(&root.name, root.key))
    })
}

/// What to do, in order: look, stop without destroying, find the way in.
pub(super) fn next_steps(incident: &Incident, alive: &[ProcessKey], suspect: bool) -> Vec<String> {
    let Some(subject) = incident.subject.as_deref() else {
        return vec![
            "See it yourself, column st: vmstat 1 10".to_owned(),
            "Look at the CPU credits of this instance, or ask the provider; nothing to stop here"
                .to_owned(),
        ];
    };
    let pid = subject.key.tgid;
    let running = alive.contains(&subject.key);
    let unit = subject
        .facts
        .as_ref()
        .and_then(|facts| facts.unit.as_deref());
    let mut steps = Vec::new();
    if suspect {
        let pids: Vec<String> = alive
            .iter()
            .filter(|key| is_suspect_process(incident, **key))
            .take(MAX_PIDS)
            .map(|key| key.tgid.to_string())
            .collect();
        if !pids.is_empty() {
            let pids = pids.join(" ");
            steps.push(format!(
                "Freeze it, memory and all (do not kill it yet): kill -STOP {pids}"
            ));
        }
        if running {
            steps.push(format!(
                "Save the program, even if deleted: cp /proc/{pid}/exe /root/evidence-{pid} && sha256sum /root/evidence-{pid}"
            ));
            steps.push(format!("See whom it talks to: ss -tnp | grep 'pid={pid},'"));
        } else if let Some(path) = on_disk(subject) {
            steps.push(format!(
                "Save the program: cp -a {} /root/evidence-{pid}",
                text::shell_word(path)
            ));
        }
        if let Some(folder) = on_disk(subject).and_then(folder) {
            steps.push(format!(
                "See what else was dropped: ls -lac {}",
                text::shell_word(folder)
            ));
        }
        if let Some(web) = web_service(incident) {
            let at = jiff::Timestamp::from_nanosecond(i128::from(incident.started_unix_ns));
            let at = at.map_or_else(
                |_| "the beginning".to_owned(),
                |at| at.strftime("%H:%M:%S UTC").to_string(),
            );
            steps.push(format!(
                "Find the way in: read the access log of {web} in the minute before {at}"
            ));
        }
        let user = subject
            .facts
            .as_ref()
            .and_then(|facts| facts.user_name.as_deref());
        if let Some(user) = user {
            let user = text::shell_word(user.as_bytes());
            steps.push(format!(
                "Look for what would start it again: crontab -l -u {user}; ls -lact /etc/cron.d /etc/systemd/system | head"
            ));
        }
    } else {
        steps.push(if running {
            format!("Look at it: top -H -p {pid}")
        } else {
            "See what is running now: top -c -o %CPU".to_owned()
        });
        if let Some(unit) = unit {
            let unit = text::shell_word(unit.as_bytes());
            steps.push(format!("Look at its service: systemctl status {unit} && journalctl -u {unit} --since -15min"));
        }
        if running {
            steps.push(format!(
                "If it may wait, let others go first: renice -n 19 -p {pid}"
            ));
        }
    }
    if incident.severity >= Severity::Critical && unit.is_some() && suspect {
        let unit = text::shell_word(unit.unwrap_or_default().as_bytes());
        steps.push(format!(
            "If it comes back, stop where it comes from: systemctl stop {unit}"
        ));
    }
    steps
}

/// Members that are there because of a finding or descend from one; not shells of the web service.
fn is_suspect_process(incident: &Incident, key: ProcessKey) -> bool {
    let named = |finding: &&Finding| finding.process == Some(key);
    let mut about = incident.findings.iter().filter(named).peekable();
    about.peek().is_none() || about.any(|finding| finding.severity >= Severity::Warning)
}

fn on_disk(subject: &Subject) -> Option<&[u8]> {
    let gone = subject
        .image
        .as_ref()
        .is_some_and(|image| image.executable.nlink == 0);
    let packaged = subject.file.as_ref().is_some_and(|file| {
        matches!(file.owner, Owner::Package(_)) && file.integrity != Some(Integrity::Modified)
    });
    subject.path.as_deref().filter(|_| !gone && !packaged)
}

fn folder(path: &[u8]) -> Option<&[u8]> {
    let folder = path.strip_suffix(path::base_name(path))?;
    (folder.len() > 1).then_some(folder)
}
