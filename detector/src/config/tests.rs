use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{
    sink::{Http as HttpSink, Kind as SinkKind},
    *,
};

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("d.toml"), text)
}

fn message(text: &str) -> String {
    parse(text).expect_err("refused").to_string()
}

/// Every leaf as a dotted key.
fn leaves(value: &toml::Value, prefix: &str, out: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                leaves(value, &format!("{prefix}.{key}"), out);
            }
        }
        _ => out.push(prefix.trim_start_matches('.').to_owned()),
    }
}

#[test]
fn default_file_says_what_the_program_does() {
    assert_eq!(parse(DEFAULT_TOML).unwrap(), Config::default());
}

#[test]
fn default_file_names_every_key() {
    let (mut written, mut all) = (Vec::new(), Vec::new());
    leaves(&toml::from_str(DEFAULT_TOML).unwrap(), "", &mut written);
    let defaults = toml::Value::try_from(Config::default()).unwrap();
    leaves(&defaults, "", &mut all);
    written.sort();
    all.sort();
    assert_eq!(written, all);
}

#[test]
fn commented_sinks_of_the_default_file_hold_their_defaults() {
    let is_key = |line: &str| {
        line.starts_with('[')
            || line.split(" = ").next().is_some_and(|key| {
                key != line && key.chars().all(|c| c == '_' || c.is_ascii_lowercase())
            })
    };
    let text: String = DEFAULT_TOML
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|line| is_key(line))
                .unwrap_or(line)
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let found = parse(&text).unwrap();
    let mut expected = Config::default();
    let mut http = Sink::new(SinkKind::Http(HttpSink {
        url: "https://escalation.example/events".to_owned(),
        mode: Mode::Structured,
    }));
    http.tls = Tls {
        ca_file: Some("/etc/detector/ca.pem".into()),
        client_cert_file: Some("/etc/detector/client.pem".into()),
        client_key_file: Some("/etc/detector/client.key".into()),
    };
    http.web.proxy = Some("http://proxy.example:3128".to_owned());
    http.web.bearer_token_file = Some("/etc/detector/token".into());
    expected.sink.insert("http".to_owned(), http);
    // What is required, alone: everything else that is written has to be its default.
    for (name, required) in [
        (
            "alertmanager",
            "urls = [\"http://am1.example:9093\", \"http://am2.example:9093\"]",
        ),
        (
            "archive",
            "type = \"file\"\npath = \"/var/log/detector/events.ndjson\"",
        ),
    ] {
        let mut alone = parse(&format!("[sink.{name}]\n{required}\n")).unwrap();
        expected.sink.append(&mut alone.sink);
    }
    assert_eq!(found, expected);
}

#[test]
fn unknown_key_is_named_with_line_and_column() {
    let text = "[enrich]\n  hash_max_byte = 1\n";
    assert_eq!(
        message(text),
        "d.toml:2:3: `enrich.hash_max_byte`: unknown field `hash_max_byte`, expected one of \
         `hash_max_bytes`, `hash_bytes_per_second`, `hash_burst_bytes`, `queue`\n  \
         |\n2 |   hash_max_byte = 1\n  |   ^^^^^^^^^^^^^"
    );
}

#[test]
fn unknown_section_is_named_with_its_line() {
    let message = message("\n[enrichment]\nqueue = 1\n");
    assert!(
        message.starts_with("d.toml:2:2: `enrichment`: unknown field"),
        "{message}"
    );
}

#[test]
fn wrong_type_is_named_with_its_key() {
    let message = message("[kernel]\nscan_interval_ms = \"1s\"\n");
    assert!(
        message.starts_with(
            "d.toml:2:20: `kernel.scan_interval_ms`: invalid type: string \"1s\", expected u64"
        ),
        "{message}"
    );
}

#[test]
fn wrong_range_in_a_list_is_named_with_its_key() {
    let message = message("[network]\nlocal_ranges = [\n  \"10.0.0.0/8\",\n  \"10.0.0/8\",\n]\n");
    assert!(
        message.starts_with("d.toml:4:3: `network.local_ranges`: invalid"),
        "{message}"
    );
}

#[test]
fn broken_syntax_is_named_with_its_line() {
    assert!(message("[kernel]\nqueue =\n").starts_with("d.toml:2:"));
}

#[test]
fn values_that_cannot_work_are_named_with_key_and_line() {
    for (text, start) in [
        (
            "[kernel]\nprocess_ring_bytes = 5000000\n",
            "d.toml:2:22: `kernel.process_ring_bytes`: 5000000 is not a power of two",
        ),
        (
            "[kernel]\nnetwork_ring_bytes = 512\n",
            "d.toml:2:22: `kernel.network_ring_bytes`: 512 is not a power of two",
        ),
        (
            "[kernel]\nnetwork_ring_bytes = 1073741824\n",
            "d.toml:2:22: `kernel.network_ring_bytes`: 1073741824 is more than 256 MiB",
        ),
        (
            "[kernel]\nscan_interval_ms = 0\n",
            "d.toml:2:20: `kernel.scan_interval_ms`: 0 is not between",
        ),
        (
            "[enrich]\nhash_max_bytes = 1_000_000_000\n",
            "d.toml:1:1: `enrich.hash_burst_bytes`: must be at least hash_max_bytes (1000000000)",
        ),
        (
            "[privacy]\nredact = [\"(\"]\n",
            "d.toml:2:10: `privacy.redact`: \"(\" cannot be used",
        ),
        (
            "[heartbeat]\nping_url = \"ping\"\n",
            "d.toml:2:12: `heartbeat.ping_url`: not a URL",
        ),
        (
            "[budget]\ncpu_share = 0.0\n",
            "d.toml:2:13: `budget.cpu_share`: 0 is not between 0.001 and 64",
        ),
        (
            "[budget]\nmemory_bytes = 1000\n",
            "d.toml:2:16: `budget.memory_bytes`: 1000 is less than 8 MiB",
        ),
        (
            "[metrics]\nlisten = \"0.0.0.0:9465\"\n",
            "d.toml:2:10: `metrics.listen`: 0.0.0.0 is not a loopback address",
        ),
        (
            "[metrics]\nlisten = \"[fe80::1]:9465\"\n",
            "d.toml:2:10: `metrics.listen`: fe80::1 is not a loopback address",
        ),
        (
            "[metrics]\nlisten = \"localhost\"\n",
            "d.toml:2:10: `metrics.listen`: invalid socket address syntax",
        ),
        (
            "[metrics]\nsocket = \"metrics.sock\"\n",
            "d.toml:2:10: `metrics.socket`: must be absolute",
        ),
        (
            "[sink.http]\nurl = \"events\"\n",
            "d.toml:2:7: `sink.http.url`: not a URL",
        ),
        (
            "[sink.http]\nurl = \"ftp://x/\"\n",
            "d.toml:2:7: `sink.http.url`: must begin with",
        ),
        (
            "[sink.http]\nurl = \"https://a:b@x/\"\n",
            "d.toml:2:7: `sink.http.url`: holds credentials",
        ),
        (
            "sink.http = { url = \"http://x/\", retry_max_ms = 1 }\n",
            "d.toml:1:49: `sink.http.retry_max_ms`: is less than retry_initial_ms (500)",
        ),
    ] {
        let message = message(text);
        assert!(message.starts_with(start), "{text}\n{message}");
    }
}

#[test]
fn missing_file_is_an_error_only_when_it_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.toml");
    assert!(matches!(
        Config::load_or_default(Some(&path)),
        Err(ConfigError::Missing { .. })
    ));
    assert_eq!(Config::load_optional(&path).unwrap(), Config::default());
}

#[test]
fn privileged_process_refuses_a_file_that_others_may_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("detector.toml");
    fs::write(&path, "[enrich]\nqueue = 7\n").unwrap();
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let error = read(&path, true).expect_err("refused");
        assert!(matches!(error, ConfigError::Writable { by, .. } if by.mode == mode));
        assert!(read(&path, false).unwrap().is_some(), "it decides nothing");
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(Config::load(&path).unwrap().enrich.queue, 7);
}

#[test]
fn endless_file_is_refused() {
    assert!(matches!(
        Config::load(Path::new("/dev/zero")),
        Err(ConfigError::TooLong { .. } | ConfigError::Writable { .. } | ConfigError::Read { .. })
    ));
}
