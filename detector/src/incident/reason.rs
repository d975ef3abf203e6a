//! Why an incident is told, in sentences: one for each kind of evidence, who pays, and what makes it critical.

use super::{
    Evidence, FileEvidence, Finding, FindingType, Imitates, Incident, Severity, Shape, Spoken,
    narrate::{how_it_ended, named, whose_load, word},
    score,
};
use crate::{detect::excuse::Excuse, input::PreloadFrom};

/// Victims named.
const MAX_VICTIMS: usize = 3;

/// All of it.
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
        let name = unit.unwrap_or_else(|| match victim.name.as_str() {
            "" => format!("process {}", victim.group.tgid),
            name => name.to_owned(),
        });
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

pub(super) fn sentence(finding: &Finding) -> String {
    let name = finding
        .subject
        .as_deref()
        .map_or_else(String::new, |subject| named(&subject.name, subject.key));
    match &finding.evidence {
        Evidence::Cpu(cpu) => {
            let who = whose_load("The", &name, cpu.culprit);
            let mut told = format!(
                "{who} used {:.2} CPUs, {:.0} % of the host, over the last {:.0} s.",
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
            let new = if to.new {
                ", where it never connected before"
            } else {
                ""
            };
            match to.open_s {
                Some(open_s) => {
                    format!("{name} has been connected to {peer}{new} for {open_s} s.")
                }
                None => format!("{name} reached out to {peer}{new}."),
            }
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
