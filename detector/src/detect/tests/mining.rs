//! Who is listened to, and what follows from what is heard.

use crate::{
    detect::testing::{Bench, SECOND, asked, exec, key},
    incident::{Evidence, FindingType, MiningEvidence, Severity, Spoken},
    input::{Flow, Input, Payload, ProcessKey, Sockets},
};

const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};
const DROPPED: &str = "/var/www/shop/wp-content/uploads/.x/kworkerd";
const KEEPALIVED: &[u8] = b"{\"id\":5,\"method\":\"keepalived\",\"params\":{\"id\":\"a\"}}\n";

fn says(bench: &mut Bench, of: ProcessKey, bytes: &[u8]) {
    let mut remote = [0; 16];
    remote[10..].copy_from_slice(&[0xff, 0xff, 45, 9, 148, 1]);
    let payload = Payload {
        at_ns: bench.now_ns,
        process: of,
        socket: 1,
        outbound: true,
        sequence: 1,
        total_bytes: u32::try_from(bytes.len()).expect("short"),
        remote,
        remote_port: 443,
        bytes: bytes.into(),
    };
    bench.apply(Input::Payload(&payload));
}

fn dropped(bench: &mut Bench, of: ProcessKey) {
    let mut dropped = exec(of, INIT, DROPPED);
    dropped.uid = 33;
    bench.fork(INIT, of);
    bench.exec(&dropped);
    bench.unowned(DROPPED);
}

fn heard(bench: &Bench) -> Vec<(Severity, Evidence)> {
    let incidents = bench.incidents();
    let Some((_, incident)) = incidents.last() else {
        return Vec::new();
    };
    incident
        .findings
        .iter()
        .filter(|finding| finding.kind == FindingType::MiningProtocol)
        .map(|finding| (finding.severity, finding.evidence.clone()))
        .collect()
}

#[test]
fn a_suspect_is_listened_to_before_it_connects_and_what_it_says_is_conclusive() {
    let mut bench = Bench::new();
    let miner = key(901, 11 * SECOND);
    dropped(&mut bench, miner);
    assert_eq!(asked(&bench.out), [Ok((miner, 16, 0))]);
    says(&mut bench, miner, KEEPALIVED);
    assert_eq!(asked(&bench.out)[1..], [Err(miner)], "enough is known");
    let expected = MiningEvidence {
        spoken: Spoken::Stratum {
            dialect: crate::detect::stratum::Dialect::Monero,
            methods: vec!["keepalived"],
            agent: None,
        },
        ip: "45.9.148.1".parse().expect("valid"),
        port: 443,
        unowned: true,
        busy: false,
    };
    assert_eq!(
        heard(&bench),
        [(Severity::Warning, Evidence::Mining(expected))]
    );
    let incidents = bench.incidents();
    let (_, incident) = incidents.last().expect("opened");
    assert_eq!(incident.severity, Severity::Critical);
    assert!(
        incident.title.contains("mines for 45.9.148.1:443"),
        "{}",
        incident.title
    );
    bench.connect(miner, [45, 9, 148, 1], 443, true);
    assert_eq!(asked(&bench.out).len(), 2, "it is not listened to again");
}

#[test]
fn a_pools_name_in_tls_adds_weight_and_pages_nobody() {
    let mut bench = Bench::new();
    let (web, client) = (key(700, SECOND), key(901, 11 * SECOND));
    bench.run(INIT, web, "/usr/sbin/apache2");
    bench.run(web, client, "/usr/bin/curl");
    bench.connect(client, [45, 9, 148, 1], 443, true);
    assert_eq!(
        asked(&bench.out),
        [Ok((client, 16, 0))],
        "it descends from a web service"
    );
    let name = b"pool.supportxmr.com";
    let length = |extra: usize| u8::try_from(name.len() + extra).expect("short");
    let hello = [
        &[22, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3][..],
        &[0; 32],
        &[
            0,
            0,
            2,
            0x13,
            1,
            1,
            0,
            0,
            length(9),
            0,
            0,
            0,
            length(5),
            0,
            length(3),
            0,
            0,
            length(0),
        ],
        name,
    ]
    .concat();
    says(&mut bench, client, &hello);
    let told: Vec<_> = bench
        .findings()
        .into_iter()
        .map(|finding| (finding.kind, finding.severity))
        .collect();
    assert_eq!(told, [(FindingType::MiningProtocol, Severity::Info)]);
    assert!(bench.incidents().is_empty());
}

#[test]
fn a_busy_packaged_program_with_an_old_connection_is_listened_to_and_left_alone_for_a_while() {
    let mut bench = Bench::new();
    let old = key(700, SECOND);
    bench.run(INIT, old, "/usr/bin/xmrig");
    let flow = Flow {
        process: old,
        network_namespace: 1,
        remote_port: 3_333,
        local_port: 50_000,
        remote: [0x20; 16],
    };
    let now_ns = bench.now_ns;
    let sockets = Sockets {
        listeners: Vec::new(),
        flows: vec![flow],
    };
    bench.apply(Input::Sockets(now_ns, &sockets));
    assert_eq!(asked(&bench.out), []);
    // The first pass that shows it charges nothing: it is older than the detector.
    bench.burn(10, &[(old, SECOND / 5)]);
    assert_eq!(asked(&bench.out), [], "it might be a burst");
    bench.burn(1, &[(old, SECOND / 5)]);
    assert_eq!(asked(&bench.out), [Ok((old, 16, 1))]);
    bench.burn(300, &[(old, SECOND / 5)]);
    assert_eq!(
        asked(&bench.out)[1..],
        [Err(old)],
        "five minutes are enough"
    );
    bench.burn(605, &[(old, SECOND / 5)]);
    assert_eq!(
        asked(&bench.out)[2..],
        [Ok((old, 32, 1))],
        "once more, for new packets"
    );
    says(&mut bench, old, KEEPALIVED);
    let incidents = bench.incidents();
    let (_, incident) = incidents.last().expect("opened");
    assert_eq!(
        incident.severity,
        Severity::Critical,
        "busy, and it says so itself"
    );
}

#[test]
fn an_idle_program_with_connections_is_left_alone() {
    let mut bench = Bench::new();
    let agent = key(700, SECOND);
    bench.run(INIT, agent, "/usr/bin/agent");
    bench.connect(agent, [45, 9, 148, 1], 443, true);
    bench.burn(60, &[(agent, SECOND / 10)]);
    assert_eq!(asked(&bench.out), []);
}

#[test]
fn an_end_ends_the_watch_and_a_new_image_begins_anew() {
    let mut bench = Bench::new();
    let miner = key(901, 11 * SECOND);
    dropped(&mut bench, miner);
    bench.exit(miner, 0);
    assert_eq!(asked(&bench.out), [Ok((miner, 16, 0)), Err(miner)]);
    says(&mut bench, miner, KEEPALIVED);
    assert_eq!(
        heard(&bench),
        [],
        "late packets of who is not watched say nothing"
    );
}

#[test]
fn places_are_kept_for_those_who_connect() {
    let mut bench = Bench::new();
    for number in 0..40 {
        let miner = key(901 + number, 11 * SECOND);
        dropped(&mut bench, miner);
    }
    assert_eq!(asked(&bench.out).len(), 32);
    assert_eq!(
        bench.engine.counters().watches_refused,
        24,
        "three verdicts each"
    );
    bench.connect(key(940, 11 * SECOND), [45, 9, 148, 1], 443, true);
    assert_eq!(asked(&bench.out).len(), 33);
}
