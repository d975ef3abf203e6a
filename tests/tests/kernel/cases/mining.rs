//! The daemon hears an intruder speak to a pool, in whatever dialect and however late it comes.

use std::{ffi::OsStr, net::SocketAddr};

use serde_json::Value;
use tests::{conversation::NO_RESULT, daemon::Daemon, pool::Pool};

use crate::{
    program::{Intruder, soon, watching},
    watch::{obstacle, skip},
};

/// Where the stub listens, how the intruder speaks, and whether it did before the daemon started.
struct Case {
    pool: &'static str,
    remote: &'static str,
    dialect: &'static str,
    older: bool,
}

/// The finding that this process speaks a mining protocol. Whose incident it belongs to depends on what
/// else runs above the tests.
fn mining(event: &Value, pid: u32) -> Option<&Value> {
    let findings = event["data"]["incident"]["findings"].as_array()?;
    let about = |finding: &&Value| {
        finding["type"] == "c2.mining_protocol" && finding["process"]["pid"] == pid
    };
    findings.iter().find(about)
}

fn is_heard(case: &Case) {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let address: SocketAddr = case.pool.parse().expect("an address");
    let pool = Pool::start_at(address).expect("loopback is up");
    let address = pool.address().to_string();
    let intruder = Intruder::new(b"quiet");
    let arguments = [
        "--threads",
        "0",
        "--for",
        "60",
        "--pool",
        &address,
        "--dialect",
        case.dialect,
    ];
    let start = || intruder.start(&arguments.map(OsStr::new));
    let watching = || watching(["--for", "60s", "--treat-as-remote", case.remote]);
    let first = case.dialect_begins();
    let (mut daemon, running) = if case.older {
        let running = start();
        pool.wait_for(first, soon()).expect("it talks");
        (watching(), running)
    } else {
        let daemon = watching();
        (daemon, start())
    };
    let told = |event: &Value| mining(event, running.pid()).is_some();
    let event = daemon.wait_event(soon(), told);
    let event = event
        .unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()))
        .event;
    let evidence = &mining(&event, running.pid()).expect("it was waited for")["evidence"];
    let ip = pool.address().ip().to_string();
    assert_eq!(
        (
            evidence["protocol"].as_str(),
            evidence["dialect"].as_str(),
            evidence["ip"].as_str(),
            evidence["port"].as_u64(),
        ),
        (
            Some("stratum"),
            Some(case.dialect),
            Some(ip.as_str()),
            Some(u64::from(pool.address().port())),
        ),
        "{evidence}"
    );
    assert_eq!(event["data"]["network"]["protocol"], "stratum");
    assert_eq!(event["data"]["incident"]["severity"], "critical");
    drop(running);
    stop(&mut daemon);
}

impl Case {
    /// What the intruder says first.
    fn dialect_begins(&self) -> &'static str {
        match self.dialect {
            "bitcoin" => "mining.subscribe",
            _ => "login",
        }
    }
}

/// Ends the daemon; nothing that was said went into its events.
fn stop(daemon: &mut Daemon) {
    assert!(daemon.stop().expect("it stops").success());
    for seen in daemon.events() {
        let line = seen.event.to_string();
        for word in [NO_RESULT, "nonce", "job-1"] {
            assert!(!line.contains(word), "{word} is in {line}");
        }
    }
}

#[test]
fn an_intruder_that_speaks_moneros_dialect_is_heard_from_its_first_words() {
    is_heard(&Case {
        pool: "127.66.0.1:0",
        remote: "127.66.0.0/16",
        dialect: "monero",
        older: false,
    });
}

#[test]
fn an_intruder_that_speaks_bitcoins_dialect_over_ipv6_is_heard() {
    is_heard(&Case {
        pool: "[::1]:0",
        remote: "::1/128",
        dialect: "bitcoin",
        older: false,
    });
}

#[test]
fn a_conversation_older_than_the_daemon_is_heard_as_it_goes_on() {
    is_heard(&Case {
        pool: "127.66.0.2:0",
        remote: "127.66.0.0/16",
        dialect: "monero",
        older: true,
    });
}
