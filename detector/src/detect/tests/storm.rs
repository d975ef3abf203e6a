//! Storms of connections, and destinations that a web service's programs have no reason for.

use detector_common::event::{
    self,
    connection::change::{ATTEMPT, FAILED},
    kind,
};

use crate::{
    detect::{
        rule::new_destination,
        testing::{Bench, SECOND, exec, header, key, process},
    },
    incident::{ConnectionStormEvidence, Evidence, FindingType, Severity, Shape},
    input::{Destination, Input, KnownDestination, ProcessKey},
    output::Output,
};

const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};
const WORM: &str = "/var/tmp/.x/worm";

fn connect(bench: &mut Bench, of: ProcessKey, ip: [u8; 4], port: u16, change: u32) {
    let mut connection: event::Connection = zerocopy::FromZeros::new_zeroed();
    connection.header = header(kind::CONNECTION, bench.now_ns);
    connection.process = process(of);
    connection.change = change;
    connection.remote_port = port;
    connection.remote[10..12].copy_from_slice(&[0xff, 0xff]);
    connection.remote[12..].copy_from_slice(&ip);
    bench.apply(Input::Connection(connection));
}

/// Storms as told: the severity, and the evidence.
fn storms(bench: &Bench) -> Vec<(Severity, ConnectionStormEvidence)> {
    let incidents = bench.incidents();
    let of_incident = incidents.last().map(|(_, incident)| &incident.findings);
    let told = of_incident.into_iter().flatten().chain(bench.findings());
    told.filter_map(|finding| match finding.evidence {
        Evidence::ConnectionStorm(storm) => Some((finding.severity, storm)),
        _ => None,
    })
    .collect()
}

fn worm(bench: &mut Bench, of: ProcessKey) {
    let mut image = exec(of, INIT, WORM);
    image.uid = 33;
    bench.fork(INIT, of);
    bench.exec(&image);
    bench.unowned(WORM);
}

#[test]
fn a_worm_that_scans_the_local_network_with_its_children_is_one_storm() {
    let mut bench = Bench::new();
    let (parent, child) = (key(901, 11 * SECOND), key(902, 12 * SECOND));
    worm(&mut bench, parent);
    bench.fork(parent, child);
    for host in 0..63 {
        connect(
            &mut bench,
            if host % 2 == 0 { parent } else { child },
            [10, 0, 0, host],
            80,
            ATTEMPT,
        );
        connect(&mut bench, parent, [10, 0, 0, 1], 80, ATTEMPT);
    }
    assert_eq!(storms(&bench), [], "the same address again is no new one");
    connect(&mut bench, child, [10, 0, 1, 1], 80, ATTEMPT);
    let expected = ConnectionStormEvidence {
        shape: Shape::Scan,
        attempts: 127,
        failed: 0,
        addresses: 64,
        port: 80,
        window_s: 30,
    };
    assert_eq!(storms(&bench), [(Severity::Warning, expected)]);
    let incidents = bench.incidents();
    let (_, incident) = incidents.last().expect("opened");
    assert_eq!(incident.severity, Severity::Critical);
}

#[test]
fn a_packaged_crawler_is_info_and_told_once_a_window() {
    let mut bench = Bench::new();
    let crawler = key(700, SECOND);
    bench.run(INIT, crawler, "/usr/bin/crawler");
    for host in 0..=255 {
        connect(&mut bench, crawler, [45, 9, 148, host], 443, ATTEMPT);
    }
    let told = storms(&bench);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, told[0].1.shape), (Severity::Info, Shape::Scan));
    assert!(bench.incidents().is_empty());
}

#[test]
fn knocking_at_login_ports_is_a_storm_and_slowly_it_is_none() {
    let mut bench = Bench::new();
    let one = key(901, 11 * SECOND);
    worm(&mut bench, one);
    for _ in 0..64 {
        connect(&mut bench, one, [10, 0, 0, 9], 22, ATTEMPT);
        bench.now_ns += SECOND;
    }
    assert_eq!(storms(&bench), [], "one a second");
    bench.now_ns += 30 * SECOND;
    for _ in 0..32 {
        connect(&mut bench, one, [10, 0, 0, 9], 22, ATTEMPT);
    }
    let shapes: Vec<_> = storms(&bench)
        .iter()
        .map(|(_, storm)| storm.shape)
        .collect();
    assert_eq!(shapes, [Shape::Logins]);
}

#[test]
fn failures_count_where_they_are_half_of_the_attempts_and_never_on_loopback() {
    let mut bench = Bench::new();
    let one = key(901, 11 * SECOND);
    worm(&mut bench, one);
    for _ in 0..64 {
        connect(&mut bench, one, [127, 0, 0, 1], 81, FAILED);
    }
    for _ in 0..65 {
        connect(&mut bench, one, [10, 0, 0, 9], 81, ATTEMPT);
    }
    for _ in 0..32 {
        connect(&mut bench, one, [10, 0, 0, 9], 81, FAILED);
    }
    assert_eq!(storms(&bench), [], "less than half failed");
    connect(&mut bench, one, [10, 0, 0, 9], 81, FAILED);
    let shapes: Vec<_> = storms(&bench)
        .iter()
        .map(|(_, storm)| storm.shape)
        .collect();
    assert_eq!(shapes, [Shape::Failing]);
}

/// Destinations found at a warning.
fn odd(bench: &Bench) -> Vec<(FindingType, u16)> {
    let incidents = bench.incidents();
    let Some((_, incident)) = incidents.last() else {
        return Vec::new();
    };
    let destination = |finding: &crate::incident::Finding| match &finding.evidence {
        Evidence::Destination(to) if to.odd => Some((finding.kind, to.port)),
        _ => None,
    };
    incident.findings.iter().filter_map(destination).collect()
}

#[test]
fn a_shell_below_a_web_service_that_calls_an_odd_port_is_a_warning() {
    let mut bench = Bench::new();
    let (web, worker, shell) = (
        key(700, SECOND),
        key(701, 2 * SECOND),
        key(901, 11 * SECOND),
    );
    bench.run(INIT, web, "/usr/sbin/php-fpm8.2");
    bench.fork(web, worker);
    bench.connect(worker, [45, 9, 148, 1], 4_444, true);
    bench.run(worker, shell, "/usr/bin/perl");
    bench.connect(shell, [45, 9, 148, 1], 443, true);
    bench.connect(shell, [10, 0, 0, 1], 4_444, true);
    assert_eq!(odd(&bench), [], "its own worker, a usual port, the inside");
    bench.connect(shell, [45, 9, 148, 1], 4_444, true);
    assert_eq!(odd(&bench), [(FindingType::NewDestination, 4_444)]);
}

/// New destinations as told.
fn new(bench: &Bench) -> Vec<(Severity, u16)> {
    let of_incidents = bench.incidents();
    let in_incident = of_incidents.last().map(|(_, incident)| &incident.findings);
    let told = in_incident.into_iter().flatten().chain(bench.findings());
    told.filter_map(|finding| match &finding.evidence {
        Evidence::Destination(to) if to.new => Some((finding.severity, to.port)),
        _ => None,
    })
    .collect()
}

/// Learned from eight days ago on, as the memory of the host brings it back.
fn known(bench: &mut Bench, identity: &str, network: &str, port: u16) {
    let now_unix_ns = bench.now_unix_ns();
    let known = KnownDestination {
        destination: Destination {
            identity: identity.to_owned(),
            network: network.parse().expect("valid"),
            port,
        },
        first_seen_unix_ns: now_unix_ns - 8 * 86_400_000_000_000,
        last_seen_unix_ns: now_unix_ns - 86_400_000_000_000,
    };
    bench.apply(Input::Destinations(&[known]));
}

#[test]
fn what_a_packaged_program_reaches_is_remembered_and_where_it_never_was_is_info() {
    let mut bench = Bench::new();
    let (web, curl) = (key(700, SECOND), key(901, 11 * SECOND));
    bench.run(INIT, web, "/usr/sbin/php-fpm8.2");
    bench.packaged("/usr/sbin/php-fpm8.2");
    known(
        &mut bench,
        "/usr/bin/curl of /usr/sbin/php-fpm8.2",
        "198.51.100.0/24",
        443,
    );
    bench.fork(web, curl);
    bench.exec(&exec(curl, web, "/usr/bin/curl"));
    // Before its verdict, so that it waits for it.
    bench.connect(curl, [198, 51, 100, 77], 443, true);
    bench.packaged("/usr/bin/curl");
    assert_eq!(new(&bench), [], "the network it uses");
    bench.connect(curl, [203, 0, 113, 5], 443, true);
    assert_eq!(new(&bench), [(Severity::Info, 443)]);
    let to = |network: &str| Destination {
        identity: "/usr/bin/curl of /usr/sbin/php-fpm8.2".to_owned(),
        network: network.parse().expect("valid"),
        port: 443,
    };
    let remembered: Vec<_> = bench
        .out
        .iter()
        .filter_map(|output| match output {
            Output::Destination(to) => Some(to.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(remembered, [to("198.51.100.0/24"), to("203.0.113.0/24")]);
}

#[test]
fn where_a_suspect_goes_is_not_learned_and_said_to_be_new() {
    let mut bench = Bench::new();
    known(&mut bench, WORM, "198.51.100.0/24", 443);
    let of = key(901, 11 * SECOND);
    worm(&mut bench, of);
    bench.connect(of, [203, 0, 113, 5], 443, true);
    assert_eq!(new(&bench), [(Severity::Warning, 443)]);
    let learned = bench
        .out
        .iter()
        .any(|output| matches!(output, Output::Destination(_)));
    assert!(!learned);
}

/// A packaged program connects, idles and saturates. Gives the destination that is told, and the seconds until then.
fn saturates(idle_s: u32) -> (Option<(Severity, u16, Option<u64>)>, u32) {
    let mut bench = Bench::new();
    let of = key(901, 11 * SECOND);
    bench.run(INIT, of, "/usr/bin/perl");
    bench.second();
    bench.connect(of, [45, 9, 148, 1], 443, true);
    bench.burn(idle_s, &[]);
    let mut held_s = idle_s;
    while bench.incidents().is_empty() {
        bench.burn(1, &[(of, 2 * SECOND)]);
        held_s += 1;
        assert!(held_s < 200, "it is told");
    }
    let incidents = bench.incidents();
    let mut findings = incidents
        .iter()
        .flat_map(|(_, incident)| &incident.findings);
    let destination = findings.find_map(|finding| match &finding.evidence {
        Evidence::Destination(to) => Some((finding.severity, to.port, to.open_s)),
        _ => None,
    });
    (destination, held_s)
}

#[test]
fn a_program_that_saturates_tells_the_connection_it_has_held_for_a_minute() {
    let (told, delay_s) = saturates(0);
    assert_eq!(told, None, "after {delay_s} s");
    assert_eq!(saturates(59 - delay_s), (None, 59));
    let told = Some((Severity::Info, 443, Some(60)));
    assert_eq!(saturates(60 - delay_s), (told, 60));
}

#[test]
fn what_services_reach_for_good_reasons_is_not_odd_and_ports_of_pools_are_named() {
    let usual = [
        22, 25, 53, 80, 110, 143, 389, 443, 465, 587, 636, 853, 873, 993, 995, 1_433, 3_306, 5_432,
        5_671, 5_672, 6_379, 8_080, 8_443, 9_418,
    ];
    assert!(!usual.into_iter().any(new_destination::is_odd));
    let told = |port: u16| {
        let mut connection: event::Connection = zerocopy::FromZeros::new_zeroed();
        connection.remote_port = port;
        match new_destination::evidence(&connection, false, false) {
            Evidence::Destination(to) => to.pool_port,
            other => panic!("{other:?}"),
        }
    };
    for port in [3_333, 4_444, 5_555, 7_777, 14_444, 45_700] {
        assert!(new_destination::is_odd(port) && told(port), "{port}");
    }
    assert!(new_destination::is_odd(6_667) && !told(6_667) && !told(443));
}

/// The shape of what a program does in one second: so many attempts, each at another address, and failures.
fn shape(attempts: u32, port: u16, failures: u32) -> Option<Shape> {
    let mut bench = Bench::new();
    let one = key(901, 11 * SECOND);
    worm(&mut bench, one);
    for n in 0..attempts.max(failures) {
        let [.., high, low] = n.to_be_bytes();
        if n < attempts {
            connect(&mut bench, one, [10, 0, high, low], port, ATTEMPT);
        }
        if n < failures {
            connect(&mut bench, one, [10, 0, 0, 0], port, FAILED);
        }
    }
    storms(&bench).first().map(|(_, storm)| storm.shape)
}

#[test]
fn sixty_four_addresses_or_half_as_many_failures_or_logins_are_a_storm_and_one_less_is_none() {
    assert_eq!([63, 64].map(|n| shape(n, 80, 0)), [None, Some(Shape::Scan)]);
    assert_eq!(
        [31, 32].map(|n| shape(n, 80, n)),
        [None, Some(Shape::Failing)]
    );
    for port in [22, 23, 445, 2_222, 2_323, 3_389, 5_900] {
        assert_eq!(
            [31, 32].map(|n| shape(n, port, 0)),
            [None, Some(Shape::Logins)],
            "{port}"
        );
    }
}

#[test]
fn attempts_of_thirty_seconds_are_added_up_and_of_longer_not() {
    let told = |gap_ns: u64| {
        let mut bench = Bench::new();
        let one = key(901, 11 * SECOND);
        worm(&mut bench, one);
        bench.now_ns += 1_000 * SECOND;
        for host in 0..64 {
            if host == 63 {
                bench.now_ns += gap_ns;
            }
            connect(&mut bench, one, [10, 0, 0, host], 80, ATTEMPT);
        }
        storms(&bench).len()
    };
    assert_eq!((told(30 * SECOND - 1), told(30 * SECOND)), (1, 0));
}
