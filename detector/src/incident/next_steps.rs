//! What to do, in order: look, stop without destroying, find the way in.

use super::{Finding, Incident, Severity, Subject, narrate::web_service};
use crate::{
    detect::path,
    event::text,
    input::{Integrity, Owner, ProcessKey},
};

/// Processes named in one command.
const MAX_PIDS: usize = 8;

/// Commands for a person, in order. `alive`: the members that still run.
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
