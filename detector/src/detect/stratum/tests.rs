//! What miners and pools really say, and what others say.

use super::*;

const LOGIN: &[u8] = br#"{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"48edf","pass":"x","agent":"XMRig/6.21.0 (Linux x86_64) libuv/1.44.2 gcc/11.2.0","algo":["rx/0","cn/2"]}}
"#;
const SUBMIT: &[u8] = br#"{"id":4,"jsonrpc":"2.0","method":"submit","params":{"id":"a","job_id":"4B","nonce":"d0030040","result":"e1364b8782719d7683e2ccd3d8f724bc59dfa780a9e960e7c0e0046acdb40100"}}
"#;
const KEEPALIVED: &[u8] =
    b"{\"id\":5,\"jsonrpc\":\"2.0\",\"method\":\"keepalived\",\"params\":{\"id\":\"a\"}}\n";
const SUBSCRIBE: &[u8] =
    b"{\"id\": 1, \"method\": \"mining.subscribe\", \"params\": [\"cpuminer/2.5.1\"]}\n";
const NOTIFY: &[u8] =
    b"{\"params\":[\"bf\",\"4d16b6f85af6e219\"],\"id\":null,\"method\":\"mining.notify\"}\n";

fn job() -> Vec<u8> {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"job\",\"params\":{{\"blob\":\"{}\",\"job_id\":\"4B\",\"target\":\"b88d0600\"}}}}\n",
        "0e".repeat(76)
    )
    .into_bytes()
}

/// One segment, heard whole from the middle of a connection.
fn heard(outbound: bool, bytes: &[u8]) -> Option<(Dialect, Vec<&'static str>)> {
    let total = u32::try_from(bytes.len()).expect("short");
    match Listening::default().hear(outbound, 7, total, bytes) {
        Some(Protocol::Mining {
            dialect, methods, ..
        }) => Some((dialect, methods)),
        _ => None,
    }
}

#[test]
fn every_dialect_is_recognised_by_one_line_of_either_side() {
    let answer = format!(
        "{{\"id\":1,\"error\":null,\"result\":{{\"id\":\"a\",\"job\":{{\"blob\":\"{}\"}},\"status\":\"OK\"}}}}",
        "0e".repeat(76)
    );
    let table: [(bool, &[u8], Dialect, &str); 11] = [
        (true, LOGIN, Dialect::Monero, "login"),
        (true, SUBMIT, Dialect::Monero, "submit"),
        (true, KEEPALIVED, Dialect::Monero, "keepalived"),
        (false, &job(), Dialect::Monero, "job"),
        (false, answer.as_bytes(), Dialect::Monero, "job"),
        (true, SUBSCRIBE, Dialect::Bitcoin, "mining.subscribe"),
        (false, NOTIFY, Dialect::Bitcoin, "mining.notify"),
        (
            true,
            br#"{"id":1,"method":"mining.authorize","params":[]}"#,
            Dialect::Bitcoin,
            "mining.authorize",
        ),
        (
            true,
            br#"{"id":1,"method":"eth_submitLogin","params":[]}"#,
            Dialect::Ethereum,
            "eth_submitLogin",
        ),
        (
            true,
            br#"{"id":1,"method":"getblocktemplate","params":[]}"#,
            Dialect::Solo,
            "getblocktemplate",
        ),
        (
            true,
            b"{\"method\":\"\\u006dining.submit\",\"id\":3}",
            Dialect::Bitcoin,
            "mining.submit",
        ),
    ];
    for (outbound, bytes, dialect, method) in table {
        assert_eq!(heard(outbound, bytes), Some((dialect, vec![method])));
    }
}

#[test]
fn what_others_say_is_no_mining() {
    let page = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), NOTIFY, &job()].concat();
    let short_blob = br#"{"method":"job","params":{"blob":"00","target":"ff"}}"#;
    let table: [(bool, &[u8]); 10] = [
        (
            true,
            b"{\"method\":\"login\",\"params\":{\"user\":\"me\",\"pass\":\"x\"},\"id\":1}\n",
        ),
        (
            true,
            b"{\"method\":\"submit\",\"params\":{\"form\":1},\"id\":1}\n",
        ),
        (false, LOGIN),
        (false, SUBSCRIBE),
        (true, NOTIFY),
        (false, &page),
        (false, short_blob),
        (
            true,
            b"GET /?q=mining.subscribe HTTP/1.1\r\nHost: example.org\r\n\r\n",
        ),
        (true, b"SSH-2.0-OpenSSH_9.2p1\r\n"),
        (true, b""),
    ];
    for (outbound, bytes) in table {
        assert_eq!(
            heard(outbound, bytes),
            None,
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn a_line_in_any_two_segments_is_one_line() {
    for cut in 1..LOGIN.len() {
        let mut listening = Listening::default();
        let (first, second) = LOGIN.split_at(cut);
        let length = |part: &[u8]| u32::try_from(part.len()).expect("short");
        let begin = u32::MAX - 5; // the sequence wraps in the middle
        let early = listening.hear(true, begin, length(first), first);
        let late = listening.hear(
            true,
            begin.wrapping_add(length(first)),
            length(second),
            second,
        );
        let found = late.or(early);
        let Some(Protocol::Mining {
            dialect,
            methods,
            agent,
        }) = found
        else {
            panic!("cut at {cut}: {found:?}");
        };
        assert_eq!((dialect, methods), (Dialect::Monero, vec!["login"]));
        let agent = agent.expect("it says what it is");
        assert!(agent.starts_with(b"XMRig/6.21.0"), "cut at {cut}");
    }
}

#[test]
fn a_gap_begins_a_new_line_and_what_is_whole_behind_it_counts() {
    let mut listening = Listening::default();
    assert_eq!(
        listening.hear(true, 0, 1_400, b"{\"method\":\"mining."),
        None
    );
    assert_eq!(
        listening.hear(true, 1_400, 9, b"submit\"}\n"),
        None,
        "1,382 bytes are missing"
    );
    assert!(listening.hear(true, 1_409, 70, KEEPALIVED).is_some());
}

#[test]
fn methods_add_up_and_the_same_again_is_no_news() {
    let mut listening = Listening::default();
    let mut at = 0_u32;
    let mut say = |outbound: bool, bytes: &[u8]| {
        at += 10_000;
        let total = u32::try_from(bytes.len()).expect("short");
        listening.hear(outbound, at, total, bytes)
    };
    let methods = |protocol: Option<Protocol>| match protocol {
        Some(Protocol::Mining { methods, .. }) => methods,
        _ => Vec::new(),
    };
    assert_eq!(methods(say(true, LOGIN)), ["login"]);
    assert_eq!(methods(say(false, &job())), ["job", "login"]);
    assert_eq!(say(false, &job()), None);
    assert_eq!(methods(say(true, SUBMIT)), ["job", "login", "submit"]);
}

#[test]
fn block_templates_over_http_name_the_agent() {
    let bytes = b"POST /json_rpc HTTP/1.1\r\nHost: 10.0.0.1\r\nUser-Agent: XMRig/6.21.0\r\n\r\n{\"jsonrpc\":\"2.0\",\"method\":\"getblocktemplate\"}";
    let total = u32::try_from(bytes.len()).expect("short");
    assert_eq!(
        Listening::default().hear(true, 1, total, bytes),
        Some(Protocol::Mining {
            dialect: Dialect::Solo,
            methods: vec!["getblocktemplate"],
            agent: Some(b"XMRig/6.21.0".as_slice().into()),
        })
    );
}

#[test]
fn an_encrypted_connection_is_told_once_and_left_alone() {
    let hello = [&[22, 3, 1, 2, 0, 1][..], &[0; 64]].concat();
    let mut listening = Listening::default();
    assert_eq!(
        listening.hear(true, 0, 512, &hello),
        Some(Protocol::Tls { server_name: None })
    );
    assert_eq!(listening.hear(true, 512, 70, KEEPALIVED), None);
}

#[test]
fn any_bytes_in_any_segments_never_panic_and_never_grow_the_memory() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: [&[u8]; 8] = [
        b"{\"method\":\"",
        b"\\u",
        b"\\",
        b"\"",
        b":",
        b"\n",
        LOGIN,
        b"blob",
    ];
    for _ in 0..2_000 {
        let mut listening = Listening::default();
        for _ in 0..8 {
            let mut bytes = Vec::new();
            for _ in 0..random() % 8 {
                match random() % 2 {
                    0 => bytes.extend_from_slice(words[(random() % 8) as usize]),
                    _ => bytes.push(random().to_le_bytes()[0]),
                }
            }
            let total = u32::try_from(bytes.len()).expect("short") + (random() % 2) as u32;
            let sequence = listening.sent.next.unwrap_or(random() as u32);
            let _heard = listening.hear(random() % 2 == 0, sequence, total, &bytes);
            assert!(listening.sent.bytes.len() <= MAX_LINE_BYTES);
            assert!(listening.received.bytes.len() <= MAX_LINE_BYTES);
            assert!(listening.methods.len() <= CLIENT.len() + SERVER.len());
        }
    }
}

#[test]
fn a_login_names_its_account_and_a_password_or_an_agent() {
    let said = |members: &str| {
        let line = format!("{{\"method\":\"login\",\"params\":{{{members}}}}}\n");
        heard(true, line.as_bytes()).is_some()
    };
    assert!(said(r#""login":"48edf","pass":"x""#));
    assert!(said(r#""login":"48edf","agent":"x""#));
    assert!(!said(r#""login":"48edf""#) && !said(r#""pass":"x","agent":"x""#));
}

#[test]
fn a_job_has_a_blob_of_at_least_sixty_four_digits() {
    let said = |digits: usize| {
        let blob = "e".repeat(digits);
        let line = format!("{{\"method\":\"job\",\"params\":{{\"blob\":\"{blob}\"}}}}\n");
        heard(false, line.as_bytes())
    };
    assert_eq!(
        [63, 64].map(said),
        [None, Some((Dialect::Monero, vec!["job"]))]
    );
}

#[test]
fn a_kilobyte_of_an_unfinished_line_is_kept() {
    let said = |bytes: usize| {
        let begin = r#""method":"login","params":{"login":"48edf","x":""#;
        let first = format!("{begin}{}", "a".repeat(bytes - begin.len()));
        let mut listening = Listening::default();
        let length = |text: &str| u32::try_from(text.len()).expect("short");
        let alone = listening.hear(true, 7, length(&first), first.as_bytes());
        let rest = "\",\"pass\":\"x\"}}\n";
        let both = listening.hear(true, 7 + length(&first), length(rest), rest.as_bytes());
        (alone.is_some(), both.is_some())
    };
    assert_eq!([1_024, 1_025].map(said), [(false, true), (false, false)]);
}

#[test]
fn sixty_four_bytes_of_an_agent_are_kept() {
    let line = format!(
        "{{\"method\":\"login\",\"params\":{{\"login\":\"4\",\"agent\":\"{}\"}}}}\n",
        "a".repeat(100)
    );
    let total = u32::try_from(line.len()).expect("short");
    let Some(Protocol::Mining { agent, .. }) =
        Listening::default().hear(true, 7, total, line.as_bytes())
    else {
        panic!("a login");
    };
    assert_eq!(agent.map(|agent| agent.len()), Some(64));
}
