use std::{collections::BTreeSet, path::Path};

use super::{kind::TYPES, *};
use crate::config::{Config, ConfigError};

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("d.toml"), text)
}

/// One of each type, with every key set.
const ALL: &str = r#"
[sink.http]
url = "https://a.example/"
mode = "batch"
min_severity = "warning"
events = ["incident", "agent", "finding", "heartbeat"]
timeout_ms = 1
retry_initial_ms = 1
retry_max_ms = 1
rate_per_s = 1
ca_file = "/a"
client_cert_file = "/b"
client_key_file = "/c"
proxy = "http://p.example:3128"
bearer_token_file = "/d"
[sink.alertmanager]
urls = ["http://a.example"]
labels = { customer = "acme" }
resend_s = 1
dead_mans_switch = true
silent_after_s = 1
username = "u"
password_file = "/p"
[sink.pagerduty]
routing_key_file = "/k"
url = "https://events.eu.pagerduty.com/v2/enqueue"
[sink.otlp]
url = "http://a.example:4318/v1/logs"
[sink.syslog]
url = "tls://a.example:6514"
facility = 16
message = "json"
[sink.nats]
urls = ["tls://a.example:4222"]
subject = "d"
credentials_file = "/a"
token_file = "/b"
username = "u"
password_file = "/p"
[sink.command]
program = ["/usr/bin/true", "a b"]
[sink.file]
path = "/var/log/d"
max_bytes = 65_536
keep = 0
"#;

#[test]
fn every_type_and_key_is_read_and_written_under_the_same_name() {
    let config = parse(ALL).unwrap();
    assert_eq!(config.sink.len(), TYPES.len());
    for (name, sink) in &config.sink {
        assert_eq!(
            sink.kind.name(),
            name,
            "a name that is a type needs no type"
        );
        let written = toml::Table::try_from(sink).unwrap();
        let written: BTreeSet<&str> = written.keys().map(String::as_str).collect();
        let known = TYPES.iter().find(|known| known.name == name).unwrap();
        let mut own: BTreeSet<&str> = known.own.iter().copied().collect();
        own.insert("type");
        let missing: Vec<_> = own.difference(&written).collect();
        assert_eq!(missing, Vec::<&&str>::new(), "{name}: named, but not a key");
        let groups: BTreeSet<&str> = [COMMON, TLS, WEB].concat().into_iter().collect();
        let own_written: BTreeSet<_> = written.difference(&groups).copied().collect();
        let strange: Vec<_> = own_written.difference(&own).collect();
        assert_eq!(strange, Vec::<&&str>::new(), "{name}: a key, but not named");
    }
    let written = toml::Table::try_from(&config.sink["http"]).unwrap();
    for key in [COMMON, TLS].concat() {
        assert!(written.contains_key(key), "{key}");
    }
    assert!(written.contains_key("proxy") && written.contains_key("bearer_token_file"));
}

#[test]
fn several_receivers_of_one_type_have_names_of_their_own() {
    let config = parse(
        "[sink.day]\ntype = \"http\"\nurl = \"http://a.example/\"\nevents = [\"incident\"]\n\
         [sink.night]\ntype = \"http\"\nurl = \"http://b.example/\"\nmin_severity = \"critical\"\n",
    )
    .unwrap();
    let url = |name: &str| match &config.sink[name].kind {
        Kind::Http(http) => http.url.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (url("day"), url("night")),
        (
            "http://a.example/".to_owned(),
            "http://b.example/".to_owned()
        )
    );
    assert_eq!(config.sink["day"].events(), [Class::Incident]);
    assert_eq!(config.sink["night"].events(), Class::ALL);
    assert_eq!(config.sink["night"].common.min_severity, Severity::Critical);
}

#[test]
fn what_is_wrong_is_named_with_key_line_and_column() {
    for (text, start) in [
        (
            "[sink.pager]\nurl = \"http://x/\"\n",
            "d.toml:1:7: `sink.pager`: `type` is missing: one of http, alertmanager,",
        ),
        (
            "[sink.pager]\ntype = \"smtp\"\n",
            "d.toml:2:8: `sink.pager.type`: no such type: one of http,",
        ),
        (
            "[sink.http]\nurl = \"http://x/\"\nrouting_key_file = \"/k\"\n",
            "d.toml:3:1: `sink.http.routing_key_file`: unknown key; a sink of type `http` has: url, mode, ca_file,",
        ),
        (
            "[sink.file]\npath = \"/x\"\nca_file = \"/k\"\n",
            "d.toml:3:1: `sink.file.ca_file`: unknown key; a sink of type `file` has: path, max_bytes, keep, min_severity,",
        ),
        (
            "[sink.http]\nurl = 1\n",
            "d.toml:2:7: `sink.http.url`: invalid type: integer `1`, expected a string",
        ),
        (
            "[sink.http]\nmode = \"batch\"\n",
            "d.toml:1:7: `sink.http`: missing field `url`",
        ),
        (
            "[sink.http]\nurl = \"http://x/\"\nmin_severity = \"high\"\n",
            "d.toml:3:16: `sink.http.min_severity`: unknown variant `high`, expected one of",
        ),
        (
            "[sink.\"a b\"]\ntype = \"http\"\n",
            "d.toml:1:7: `sink.a b`: a sink's name is",
        ),
        (
            "[sink]\nurl = 1\n",
            "d.toml:2:1: `sink.url`: must be a table [sink.url]",
        ),
        ("sink = 1\n", "d.toml:1:8: `sink`: must be tables"),
        (
            "[sink.http]\nurl = \"http://x/\"\nclient_cert_file = \"/c\"\n",
            "d.toml:3:20: `sink.http.client_cert_file`: needs client_key_file",
        ),
        (
            "[sink.http]\nurl = \"http://x/\"\nusername = \"u\"\n",
            "d.toml:3:12: `sink.http.username`: needs password_file",
        ),
        (
            "[sink.alertmanager]\nurls = []\n",
            "d.toml:2:8: `sink.alertmanager.urls`: must name 1 to 16",
        ),
        (
            "[sink.alertmanager]\nurls = [\"http://x\"]\nlabels = { severity = \"x\" }\n",
            "d.toml:3:10: `sink.alertmanager.labels`: `severity` is set by",
        ),
        (
            "[sink.syslog]\nurl = \"tcp://x.example\"\n",
            "d.toml:2:7: `sink.syslog.url`: must name host and port",
        ),
        (
            "[sink.nats]\nurls = [\"nats://x\"]\nsubject = \"a.*\"\n",
            "d.toml:3:11: `sink.nats.subject`: must be words",
        ),
        (
            "[sink.command]\nprogram = [\"mail\"]\n",
            "d.toml:2:11: `sink.command.program`: must begin with an absolute path",
        ),
        (
            "[sink.file]\npath = \"x\"\n",
            "d.toml:2:8: `sink.file.path`: must be absolute",
        ),
    ] {
        let message = parse(text).expect_err(text).to_string();
        assert!(message.starts_with(start), "{text}\n{message}");
    }
}
