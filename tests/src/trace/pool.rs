//! What a process and a mining pool say to each other: made-up lines, in which nothing was computed.

use detector::input::Payload;
use serde_json::{Value, json};

use super::{Contact, Process, SECOND, record};
use crate::conversation::NO_RESULT;

/// After the connection is open, ns.
const LOGIN_NS: u64 = 100_000_000;
/// Until the other side has answered, ns.
const ANSWER_NS: u64 = 30_000_000;
/// Between two results, ns: a slow miner's.
const SUBMIT_NS: u64 = 20 * SECOND;

/// Packets of a connection until `end_ns`, in order.
pub(super) fn packets(of: &Process, number: usize, contact: &Contact, end_ns: u64) -> Vec<Payload> {
    let mut packets = Vec::new();
    let mut sent = [0_u32; 2];
    let mut say = |at_ns: u64, outbound: bool, line: Value| {
        let bytes = format!("{line}\n").into_bytes();
        let sequence = &mut sent[usize::from(outbound)];
        packets.push(Payload {
            at_ns,
            process: of.key,
            socket: record::socket(number),
            outbound,
            sequence: *sequence,
            total_bytes: u32::try_from(bytes.len()).expect("a line"),
            remote: record::mapped(contact.ip),
            remote_port: contact.port,
            bytes: bytes.into(),
        });
        *sequence += packets.last().expect("pushed").total_bytes;
    };
    let ask = |id: u64, method: &str, params: Value| json!({"id": id, "jsonrpc": "2.0", "method": method, "params": params});
    let job = json!({"job_id": "1", "target": "ffffffff"});
    let mut at_ns = contact.at_ns + LOGIN_NS;
    let login = json!({"login": "made-up", "pass": "x", "agent": "made-up/1.0"});
    say(at_ns, true, ask(1, "login", login));
    let welcome =
        json!({"id": 1, "jsonrpc": "2.0", "result": {"id": "1", "job": job, "status": "OK"}});
    say(at_ns + ANSWER_NS, false, welcome);
    for id in 2.. {
        at_ns += SUBMIT_NS;
        if at_ns + ANSWER_NS >= end_ns {
            break;
        }
        let result = json!({"job_id": "1", "nonce": "00000000", "result": NO_RESULT});
        say(at_ns, true, ask(id, "submit", result));
        let taken = json!({"id": id, "jsonrpc": "2.0", "result": {"status": "OK"}});
        say(at_ns + ANSWER_NS, false, taken);
    }
    packets
}
