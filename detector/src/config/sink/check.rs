//! Values that cannot work, found before the daemon starts with them.

use super::{Kind, Sink};
use crate::config::section::{Problem, between, problem as wrong};

/// The first value that cannot work: its key and why.
pub(in crate::config) fn problem(name: &str, sink: &Sink) -> Problem {
    let key = |key: &str| format!("sink.{name}.{key}");
    common(&key, sink)
        .or_else(|| pairs(&key, sink))
        .or_else(|| kind(&key, sink))
}

fn common(key: &dyn Fn(&str) -> String, sink: &Sink) -> Problem {
    let common = &sink.common;
    if common.retry_max_ms < common.retry_initial_ms {
        return wrong(
            &key("retry_max_ms"),
            format!(
                "is less than retry_initial_ms ({})",
                common.retry_initial_ms
            ),
        );
    }
    let range = |name: &str, value, low, high| between(&key(name), value, low, high);
    range("timeout_ms", common.timeout_ms, 1, 300_000)
        .or_else(|| range("retry_initial_ms", common.retry_initial_ms, 1, 3_600_000))
        .or_else(|| range("retry_max_ms", common.retry_max_ms, 1, 3_600_000))
        .or_else(|| range("rate_per_s", u64::from(common.rate_per_s), 1, 100_000))
}

/// Keys that mean nothing without each other, or too much together.
fn pairs(key: &dyn Fn(&str) -> String, sink: &Sink) -> Problem {
    let (tls, web) = (&sink.tls, &sink.web);
    match (&tls.client_cert_file, &tls.client_key_file) {
        (Some(_), None) => return wrong(&key("client_cert_file"), "needs client_key_file"),
        (None, Some(_)) => return wrong(&key("client_key_file"), "needs client_cert_file"),
        _ => {}
    }
    let (mut user, mut password) = (&web.username, &web.password_file);
    if let Kind::Nats(nats) = &sink.kind {
        (user, password) = (&nats.username, &nats.password_file);
    }
    match (user, password) {
        (Some(_), None) => return wrong(&key("username"), "needs password_file"),
        (None, Some(_)) => return wrong(&key("password_file"), "needs username"),
        (Some(_), Some(_)) if web.bearer_token_file.is_some() => {
            return wrong(&key("bearer_token_file"), "excludes username");
        }
        _ => {}
    }
    web.proxy
        .as_ref()
        .and_then(|proxy| url(&key("proxy"), proxy, &["http", "https"]))
}

fn kind(key: &dyn Fn(&str) -> String, sink: &Sink) -> Problem {
    const WEB: &[&str] = &["http", "https"];
    match &sink.kind {
        Kind::Http(http) => url(&key("url"), &http.url, WEB),
        Kind::Otlp(otlp) => url(&key("url"), &otlp.url, WEB),
        Kind::Pagerduty(pagerduty) => url(&key("url"), &pagerduty.url, WEB),
        Kind::Alertmanager(alertmanager) => urls(&key("urls"), &alertmanager.urls, WEB)
            .or_else(|| between(&key("resend_s"), alertmanager.resend_s, 1, 3600))
            .or_else(|| between(&key("silent_after_s"), alertmanager.silent_after_s, 1, 3600))
            .or_else(|| labels(&key("labels"), alertmanager.labels.keys())),
        Kind::Nats(nats) => urls(&key("urls"), &nats.urls, &["nats", "tls"])
            .or_else(|| subject(&key("subject"), &nats.subject)),
        Kind::Syslog(syslog) => {
            if !syslog.url.starts_with("unix:///") {
                let problem = url(&key("url"), &syslog.url, &["tcp", "tls", "unix"]);
                if problem.is_some() {
                    return problem;
                }
                let parsed = reqwest::Url::parse(&syslog.url).ok();
                if parsed.is_none_or(|url| url.host_str().is_none() || url.port().is_none()) {
                    return wrong(&key("url"), "must name host and port");
                }
            }
            between(&key("facility"), u64::from(syslog.facility), 0, 23)
        }
        Kind::Command(command) => match command.program.first() {
            Some(program) if program.starts_with('/') => None,
            _ => wrong(&key("program"), "must begin with an absolute path"),
        },
        Kind::File(file) => {
            if !file.path.is_absolute() {
                return wrong(&key("path"), "must be absolute");
            }
            between(&key("max_bytes"), file.max_bytes, 1 << 16, 1 << 40)
                .or_else(|| between(&key("keep"), u64::from(file.keep), 0, 100))
        }
    }
}

fn urls(key: &str, all: &[String], schemes: &[&str]) -> Problem {
    if all.is_empty() || all.len() > 16 {
        return wrong(key, "must name 1 to 16 addresses");
    }
    all.iter().find_map(|one| url(key, one, schemes))
}

fn url(key: &str, text: &str, schemes: &[&str]) -> Problem {
    match reqwest::Url::parse(text) {
        Err(error) => wrong(key, format!("not a URL: {error}")),
        Ok(url) if !schemes.contains(&url.scheme()) => {
            let schemes: Vec<String> = schemes.iter().map(|name| format!("{name}://")).collect();
            wrong(key, format!("must begin with {}", schemes.join(" or ")))
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => wrong(
            key,
            "holds credentials, which would end in logs: use the key that names a file",
        ),
        Ok(_) => None,
    }
}

/// Labels of ours would be overwritten, and Alertmanager refuses names that are none.
fn labels<'a>(key: &str, mut names: impl Iterator<Item = &'a String>) -> Problem {
    const OURS: [&str; 5] = [
        "alertname",
        "severity",
        "instance",
        "incident",
        "executable_sha256",
    ];
    names.find_map(|name| {
        let mut chars = name.chars();
        let begins = chars
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !begins || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return wrong(key, format!("`{name}` is no label name"));
        }
        OURS.contains(&name.as_str())
            .then(|| (key.to_owned(), format!("`{name}` is set by the detector")))
    })
}

fn subject(key: &str, subject: &str) -> Problem {
    let token = |token: &str| {
        !token.is_empty()
            && token
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"*>".contains(&b))
    };
    if subject.split('.').all(token) {
        return None;
    }
    wrong(key, "must be words joined by dots, without wildcards")
}
