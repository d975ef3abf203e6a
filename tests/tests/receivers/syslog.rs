//! A real rsyslogd: RFC 5424 with octet counting over TCP and TLS, restarted in the middle.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use tests::process::Owned;

use crate::{
    events::{Host, finish, send, sinks},
    mtls::Certificates,
    server::{find, free_port, start, until},
};

/// rsyslogd that writes what it parsed: program, message id, structured data and text.
async fn rsyslogd(program: &Path, folder: &Path, port: u16, tls: Option<&Certificates>) -> Owned {
    let config = folder.join("rsyslog.conf");
    let driver = tls.map_or_else(String::new, |certificates| {
        format!(
            "global(DefaultNetstreamDriverCAFile=\"{ca}\" DefaultNetstreamDriverCertFile=\"{cert}\" \
             DefaultNetstreamDriverKeyFile=\"{key}\")\n",
            ca = certificates.ca.display(),
            cert = certificates.server.display(),
            key = certificates.server_key.display(),
        )
    });
    let mode = match tls {
        Some(_) => {
            " StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"anon\""
        }
        None => "",
    };
    let text = format!(
        "global(workDirectory=\"{folder}\")\n{driver}module(load=\"imtcp\"{mode})\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
         template(name=\"seen\" type=\"string\" string=\"%syslogseverity%|%programname%|%msgid%|%structured-data%|%msg%\\n\")\n\
         action(type=\"omfile\" file=\"{folder}/seen\" template=\"seen\")\n",
        folder = folder.display(),
    );
    fs::write(&config, text).expect("writable");
    let mut command = Command::new(program);
    command
        .arg("-n")
        .arg("-f")
        .arg(&config)
        .arg("-i")
        .arg(folder.join("pid"));
    start("rsyslogd", &mut command, folder, port).await
}

/// Event ids in the order of their first arrival.
fn ids(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("seen")).unwrap_or_default();
    let mut seen = BTreeSet::new();
    text.lines()
        .filter_map(|line| Some(line.split(" id=\"").nth(1)?.split('"').next()?.to_owned()))
        .filter(|id| seen.insert(id.clone()))
        .collect()
}

#[tokio::test]
async fn rsyslog_restarted_in_the_middle_has_every_message_parsed_and_in_order() {
    let Some(program) = find("rsyslogd") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = free_port();
    let mut server = rsyslogd(&program, folder.path(), port, None).await;
    let sinks = sinks(&format!(
        "[sink.syslog]\nurl = \"tcp://127.0.0.1:{port}\"\nretry_initial_ms = 1\nretry_max_ms = 100\n"
    ));
    let mut host = Host::new("web01");
    let events: Vec<_> = (0..30).map(|n| host.opened(&format!("i-{n}"))).collect();
    events[..10].iter().for_each(|event| send(&sinks, event));
    until(|| sinks.depth() == 0).await;
    // Whatever lies in its buffers goes with it.
    server.signal(rustix::process::Signal::KILL).expect("ours");
    server.end().expect("it ends");
    events[10..20].iter().for_each(|event| send(&sinks, event));
    let _server = rsyslogd(&program, folder.path(), port, None).await;
    events[20..].iter().for_each(|event| send(&sinks, event));
    let sent: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
    until(|| {
        let mut arrived = ids(folder.path());
        arrived.sort();
        let mut all = sent.clone();
        all.sort();
        arrived == all
    })
    .await;
    let text = fs::read_to_string(folder.path().join("seen")).expect("the file");
    let first = text.lines().next().expect("a line");
    assert!(
        first.starts_with("2|detector|incident.opened|[meta sequenceId=\"1\"][detector@32473 id="),
        "{first}"
    );
    assert!(
        first.contains("incident.opened [critical] TEST alert of the detector on web01"),
        "{first}"
    );
    assert_eq!(finish(sinks).await, (30, 0));
}

#[tokio::test]
async fn rsyslog_over_tls_takes_what_a_stranger_with_its_name_does_not_get() {
    let Some(program) = find("rsyslogd") else {
        return;
    };
    if !Path::new("/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so").exists()
        && !Path::new("/usr/lib/aarch64-linux-gnu/rsyslog/lmnsd_gtls.so").exists()
    {
        tests::skip::skipped("rsyslog-gnutls is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certificates = Certificates::make(folder.path());
    let port = free_port();
    let _server = rsyslogd(&program, folder.path(), port, Some(&certificates)).await;
    let config = |ca: &Path| {
        format!(
            "[sink.syslog]\nurl = \"tls://localhost:{port}\"\nca_file = \"{}\"\nretry_initial_ms = 1\nretry_max_ms = 100\n",
            ca.display()
        )
    };
    let mut host = Host::new("web01");
    let distrusting = sinks(&config(&certificates.other_ca));
    send(&distrusting, &host.opened("i-1"));
    until(|| {
        distrusting
            .counters()
            .any(|(_, counters)| counters.retried > 2)
    })
    .await;
    assert_eq!(ids(folder.path()), Vec::<String>::new());
    drop(distrusting);
    let trusting = sinks(&config(&certificates.ca));
    let event = host.opened("i-2");
    send(&trusting, &event);
    until(|| ids(folder.path()) == [event.id.clone()]).await;
    assert_eq!(finish(trusting).await, (1, 0));
}
