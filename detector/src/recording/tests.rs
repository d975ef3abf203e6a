//! The format: what goes in comes out, and what is damaged is named and costs no more than it must.

use std::collections::BTreeSet;

use super::*;
use crate::{
    config::Config,
    detect::testing::{exec, facts, file_id, key, process, task, thread_end},
    event::HostInfo,
    incident::{Acceptance, AcceptedBy, FindingType, Resolve, Resumed, Severity},
    input::{
        Accepts, Baseline, Destination, ExecutableFacts, FileStat, Flow, Host, Input, Integrity,
        KnownDestination, Listener, Loss, OwnedInput, Owner, Payload, Preload, PreloadFrom,
        ProcessFacts, Scan, ScriptFacts, Sha256, Sockets, Throttled,
    },
};
use detector_common::event::{self, connection::ListenKey, kind};

pub(super) fn header() -> Header {
    Header {
        detector_version: "0.1.0".to_owned(),
        host: HostInfo {
            id: "h".to_owned(),
            name: "web".to_owned(),
            boot_id: Some("b".to_owned()),
            cpu_count: 2,
            ..HostInfo::default()
        },
        addresses: vec![
            "192.0.2.7/32".parse().expect("valid"),
            "2001:db8::7/128".parse().expect("valid"),
        ],
        seed: u64::MAX,
        started_unix_ns: 1_700_000_000_000_000_000,
        started_boot_ns: 5,
        config_digest: "0123456789abcdef".to_owned(),
        config: Header::policy(&Config::default()),
    }
}

fn scan(second: u64) -> Scan {
    Scan {
        at_ns: second * 1_000_000_000,
        unix_ns: -1,
        cpus: 2,
        tasks: vec![task(key(7, 3), second), task(key(8, 3), u64::MAX)],
        accepts: vec![Accepts {
            key: ListenKey {
                network_namespace: 1,
                port: 80,
            },
            count: 3,
        }],
        host: Host {
            steal_ns: None,
            pressure_ns: Some(9),
        },
        losses: vec![Loss {
            class: "exec_dropped",
            count: 2,
        }],
        throttled: Vec::new(),
    }
}

/// What `tests/recordings/version-1.rec` holds. Fields and kinds that came later are not in that file: here they
/// have their defaults, or are added in [`every_kind`].
fn version_1() -> Vec<OwnedInput> {
    let mut inputs = older_kinds();
    inputs.retain(|input| !matches!(input, OwnedInput::Payload(_)));
    inputs
}

/// Those of before there was a state file.
fn older_kinds() -> Vec<OwnedInput> {
    let (child, parent) = (key(7, 3), key(1, 0));
    let header = event::Header {
        kind: kind::FORK,
        reserved: 0,
        time_ns: 4,
    };
    let mut script = exec(child, parent, "/srv/\u{1b}x.sh");
    script.interpreter = Some(b"/bin/\xff".as_slice().into());
    script.loginuid = Some(0);
    let whole = ExecutableFacts {
        modified_unix_ns: Some(-5),
        integrity: Some(Integrity::Modified),
        namesake: Some("other".to_owned()),
        stat: Some(FileStat {
            uid: 33,
            user_name: Some("www-data".to_owned()),
            mode: 0o100_755,
            size: 1 << 40,
            born_unix_ns: Some(-7),
        }),
        ..facts(file_id("/x"), "/x", Owner::Package("some".to_owned()))
    };
    let bare = ExecutableFacts {
        path: None,
        owner: Owner::Unknown("no package database"),
        integrity: Some(Integrity::Unknown("too_large")),
        namesake: None,
        stat: None,
        sha256: Sha256::Missing("gone"),
        ..whole.clone()
    };
    let end = event::ThreadEnd {
        header,
        ..thread_end(7, 8, 3, 99)
    };
    vec![
        OwnedInput::Fork(event::Fork {
            header,
            parent: process(parent),
            child: process(child),
        }),
        OwnedInput::Exec(Box::new(exec(child, parent, "/usr/bin/x"))),
        OwnedInput::Exec(Box::new(script)),
        OwnedInput::Exit(event::Exit {
            header,
            process: process(child),
            parent: process(parent),
            wait_status: 9,
            uid: 33,
            cgroup_id: 1 << 40,
            comm: [0xfe; 16],
            thread: end,
        }),
        OwnedInput::ThreadEnd(end),
        OwnedInput::Connection(event::Connection {
            header,
            process: process(child),
            socket: u64::MAX,
            duration_ns: 1,
            bytes_received: 2,
            bytes_sent: 3,
            cgroup_id: 4,
            change: 5,
            error: 6,
            network_namespace: 7,
            remote_port: 8,
            local_port: 9,
            remote: [0xff; 16],
            local: [1; 16],
        }),
        OwnedInput::Payload(Box::new(Payload {
            at_ns: 10,
            process: child,
            socket: u64::MAX,
            outbound: true,
            sequence: u32::MAX,
            total_bytes: 1_400,
            remote: [0xff; 16],
            remote_port: 3_333,
            bytes: b"{\0\xff".as_slice().into(),
        })),
        OwnedInput::Scan(Box::new(scan(1))),
        OwnedInput::Sockets(
            10,
            Box::new(Sockets {
                listeners: vec![Listener {
                    key: ListenKey {
                        network_namespace: 7,
                        port: 80,
                    },
                    process: parent,
                }],
                flows: vec![Flow {
                    process: child,
                    network_namespace: 7,
                    remote_port: 443,
                    local_port: 9,
                    remote: [0xff; 16],
                }],
            }),
        ),
        OwnedInput::Process(
            11,
            Box::new(ProcessFacts {
                process: child,
                executable_path: Some(b"/x\xff".as_slice().into()),
                script_path: None,
                working_directory: Some(b"/".as_slice().into()),
                cgroup: Some("/a".to_owned()),
                unit: None,
                container_id: Some("c".to_owned()),
                user_name: None,
                title: Some(b"x\0\xff".as_slice().into()),
                preloads: vec![Preload {
                    from: PreloadFrom::Environment,
                    path: b"/\xfe.so".as_slice().into(),
                    id: Some(file_id("/x.so")),
                    owner: Owner::Unowned,
                }],
            }),
        ),
        OwnedInput::Script(
            12,
            Box::new(ScriptFacts {
                process: child,
                path: b"/srv/\xff.sh".as_slice().into(),
                file: whole.clone(),
            }),
        ),
        OwnedInput::Executable(12, Box::new(whole)),
        OwnedInput::Executable(13, Box::new(bare)),
        OwnedInput::Baseline(Box::new(Baseline {
            identity: "cpu:0".to_owned(),
            version: 1,
            body: vec![0, 0xff],
        })),
    ]
}

/// One of every kind, with every optional part once there and once missing.
fn every_kind() -> Vec<OwnedInput> {
    let id = uuid::Uuid::from_u128(7);
    let accepted = |by| Acceptance {
        number: 1,
        by,
        findings: vec![FindingType::NewBinary],
        reason: "ours".to_owned(),
        incident: id.to_string(),
        expires_unix_ns: 9,
    };
    let mut inputs = older_kinds();
    inputs.push(OwnedInput::Scan(Box::new(Scan {
        throttled: vec![Throttled {
            cgroup_id: u64::MAX,
            cgroup: Some("/flood\u{1b}".to_owned()),
            losses: vec![Loss {
                class: "fork_throttled",
                count: 9,
            }],
            unbilled_ns: 1,
        }],
        ..scan(14)
    })));
    inputs.push(OwnedInput::Destinations(vec![KnownDestination {
        destination: Destination {
            identity: "/usr/bin/curl".to_owned(),
            network: "2001:db8::/48".parse().expect("valid"),
            port: 443,
        },
        first_seen_unix_ns: -1,
        last_seen_unix_ns: 1,
    }]));
    inputs.extend([
        OwnedInput::Accepted(
            14,
            vec![
                accepted(AcceptedBy::Hash([0xff; 32])),
                accepted(AcceptedBy::Path {
                    path: b"/x\xff".as_slice().into(),
                    uid: None,
                }),
                accepted(AcceptedBy::Unit("x.service".to_owned())),
            ],
        ),
        OwnedInput::Resolve(
            15,
            Box::new(Resolve {
                id,
                reason: String::new(),
            }),
        ),
        OwnedInput::Resumed(Box::new(Resumed {
            id,
            process: key(7, 3),
            suspect: true,
            severity: Severity::Critical,
            group_key: "g".to_owned(),
            started_unix_ns: 1,
            opened_unix_ns: 2,
        })),
    ]);
    inputs
}

fn write(inputs: &[OwnedInput]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header(), u64::MAX).expect("memory");
    for input in inputs {
        writer.push(input.borrow()).expect("memory");
    }
    writer.finish().expect("memory").0
}

/// The inputs before the end or the first error, and that error.
fn read(bytes: &[u8]) -> (Vec<OwnedInput>, Option<RecordingError>) {
    let mut inputs = Vec::new();
    match Reader::new(bytes) {
        Err(error) => return (inputs, Some(error)),
        Ok(reader) => {
            for input in reader {
                match input {
                    Ok(input) => inputs.push(input),
                    Err(error) => return (inputs, Some(error)),
                }
            }
        }
    }
    (inputs, None)
}

/// Thirty passes: four blocks of ten seconds, the last one short.
fn half_a_minute() -> (Vec<OwnedInput>, Vec<u8>) {
    let inputs: Vec<_> = (0..32)
        .map(|s| OwnedInput::Scan(Box::new(scan(s))))
        .collect();
    let bytes = write(&inputs);
    (inputs, bytes)
}

#[test]
fn every_kind_of_input_comes_back_as_it_was() {
    let inputs = every_kind();
    let kinds: BTreeSet<_> = inputs
        .iter()
        .map(std::mem::discriminant)
        .map(|d| format!("{d:?}"))
        .collect();
    assert_eq!(kinds.len(), 16, "one of every kind");
    let bytes = write(&inputs);
    let reader = Reader::new(bytes.as_slice()).expect("whole");
    assert_eq!(*reader.header(), header());
    assert_eq!(
        reader.header().recorded_config().expect("valid"),
        Config::default()
    );
    let (back, error) = read(&bytes);
    assert_eq!(back, inputs);
    assert!(error.is_none(), "{error:?}");
    let owned: Vec<OwnedInput> = inputs.iter().map(|input| input.borrow().into()).collect();
    assert_eq!(owned, inputs);
}

#[test]
fn a_torn_tail_costs_the_last_block_and_is_named() {
    let (inputs, bytes) = half_a_minute();
    let mut kept = BTreeSet::new();
    for length in 0..bytes.len() {
        let (back, error) = read(&bytes[..length]);
        assert_eq!(back, inputs[..back.len()], "what is kept is the beginning");
        assert!(
            matches!(
                error,
                Some(RecordingError::Torn(_) | RecordingError::Unclosed)
            ),
            "cut at {length}: {error:?}"
        );
        kept.insert(back.len());
    }
    // Blocks close with the pass ten seconds after their first.
    assert_eq!(kept, BTreeSet::from([0, 11, 22, 32]));
}

#[test]
fn a_changed_byte_is_noticed_wherever_it_is() {
    let (inputs, bytes) = half_a_minute();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let (back, error) = read(&changed);
        assert_eq!(back, inputs[..back.len()], "changed at {at}");
        assert!(error.is_some(), "changed at {at}: not noticed");
    }
}

#[test]
fn a_later_version_is_refused_by_number() {
    let mut bytes = write(&[]);
    bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    assert_eq!(
        read(&bytes).1.expect("an error").to_string(),
        "format version 2 is newer than 1, the newest this detector reads"
    );
    assert!(matches!(
        read(b"CLOUDEVENTS, CLOUDEVENTS").1,
        Some(RecordingError::Magic)
    ));
    assert!(matches!(read(b"").1, Some(RecordingError::Torn(_))));
}

#[test]
fn an_input_of_an_unknown_kind_is_counted_and_the_rest_is_read() {
    #[derive(serde::Serialize)]
    enum Later {
        Moon { phase: u8 },
    }
    let mut writer = Writer::new(Vec::new(), &header(), u64::MAX).expect("memory");
    let moon = rmp_serde::to_vec_named(&Later::Moon { phase: 1 }).expect("plain");
    writer.push_encoded(&moon, None).expect("memory");
    writer.push(Input::Scan(&scan(1))).expect("memory");
    let (bytes, _) = writer.finish().expect("memory");
    let mut reader = Reader::new(bytes.as_slice()).expect("whole");
    let inputs: Vec<_> = reader.by_ref().map(|input| input.expect("whole")).collect();
    assert_eq!(inputs, [OwnedInput::Scan(Box::new(scan(1)))]);
    assert_eq!(reader.skipped().count, 1);
    let first = reader.skipped().first.clone().expect("said");
    assert!(first.contains("unknown variant `Moon`"), "{first}");
}

#[test]
fn a_recording_never_gets_longer_than_allowed_and_stays_whole() {
    let (_, whole) = half_a_minute();
    let limit = whole.len() as u64 - 1;
    let mut writer = Writer::new(Vec::new(), &header(), limit).expect("memory");
    for second in 0..1_000 {
        writer.push(Input::Scan(&scan(second))).expect("memory");
    }
    assert!(writer.is_full());
    let (bytes, totals) = writer.finish().expect("memory");
    assert!(bytes.len() as u64 <= limit);
    assert_eq!(totals.file_bytes, bytes.len() as u64);
    let (back, error) = read(&bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(back.len() as u64, totals.inputs);
}

#[test]
fn the_stored_file_of_version_1_is_still_read() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/recordings/version-1.rec"
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !std::path::Path::new(path).exists() {
        std::fs::write(path, write(&version_1())).expect("the folder is there");
    }
    let bytes = std::fs::read(path).expect("stored with the tests");
    let reader = Reader::new(bytes.as_slice()).expect("a recording");
    // Which defaults a version writes down is not part of the format; that a later one can read them is.
    let stored = reader.header().clone();
    stored.recorded_config().expect("keys that are still known");
    let config = header().config;
    assert_eq!(Header { config, ..stored }, header());
    let (back, error) = read(&bytes);
    assert_eq!(back, version_1());
    assert!(error.is_none(), "{error:?}");
}
