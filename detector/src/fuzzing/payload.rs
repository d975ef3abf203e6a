//! First bytes of connections: mining protocols (`detect/stratum.rs`) and TLS (`detect/tls.rs`).

use crate::detect::{
    stratum::{Listening, Protocol},
    tls,
};

/// What a miner says after anything else, at the beginning of a line.
const SUBSCRIBE: &[u8] = b"\n{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n";

/// Plays `bytes` as segments; nothing said before hides what is said in plain text afterwards. Each segment: flags (1 outbound,
/// 2 a gap before it, 4 not all of it kept), its length, its bytes.
///
/// # Panics
/// A promise is broken.
pub fn payload(bytes: &[u8]) {
    let mut listening = Listening::default();
    let mut next = [0_u32, u32::MAX - 100];
    let mut heard = Vec::new();
    let mut rest = bytes;
    while let [flags, length, after @ ..] = rest {
        let (segment, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let outbound = flags & 1 != 0;
        let sequence = &mut next[usize::from(outbound)];
        if flags & 2 != 0 {
            *sequence = sequence.wrapping_add(7);
        }
        let total = segment.len() as u32 + if flags & 4 != 0 { 900 } else { 0 };
        heard.extend(listening.hear(outbound, *sequence, total, segment));
        *sequence = sequence.wrapping_add(total);
    }
    heard.iter().for_each(is_bounded);
    let is_tls = heard
        .iter()
        .any(|said| matches!(said, Protocol::Tls { .. }));
    if !is_tls {
        heard.extend(listening.hear(true, next[1], SUBSCRIBE.len() as u32, SUBSCRIBE));
        let said_so = |said: &Protocol| matches!(said, Protocol::Mining { methods, .. } if methods.contains(&"mining.subscribe"));
        assert!(heard.iter().any(said_so), "{heard:?}");
    }

    let name = &bytes[..bytes.len().min(253)];
    assert_eq!(tls::server_name(&hello(name)), Some(Some(name.into())));
    if let Some(Some(name)) = tls::server_name(bytes) {
        assert!(
            name.len() <= 253
                && (name.is_empty() || bytes.windows(name.len()).any(|part| part == &*name))
        );
    }
}

fn is_bounded(said: &Protocol) {
    if let Protocol::Mining { methods, agent, .. } = said {
        assert!(
            !methods.is_empty() && methods.is_sorted_by(|a, b| a < b),
            "{methods:?}"
        );
        assert!(agent.as_ref().is_none_or(|agent| agent.len() <= 64));
    }
}

/// A ClientHello that asks for `name` and nothing else (RFC 8446 section 4.1.2, RFC 6066 section 3).
fn hello(name: &[u8]) -> Vec<u8> {
    let block = |length_bytes: usize, body: Vec<u8>| {
        let length = body.len().to_be_bytes();
        [&length[length.len() - length_bytes..], &body].concat()
    };
    let host_name = [&[0][..], &block(2, name.to_vec())].concat();
    let extension = [&[0, 0][..], &block(2, block(2, host_name))].concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0x13, 1, 1, 0]);
    body.extend(block(2, extension));
    let handshake = [&[1][..], &block(3, body)].concat();
    [&[22, 3, 1][..], &block(2, handshake)].concat()
}
