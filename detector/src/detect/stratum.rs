//! Recognises mining protocols in the first bytes of a connection.
//!
//! Pure and total: any bytes, in any segments, give a [`Protocol`] or nothing. Mining pools are spoken to
//! in lines of JSON-RPC ("stratum"); a method's name alone would be a weak sign (`login`, `submit`), so the
//! generic ones count only with the members that make them mining. Client methods count only where the
//! process sent them, and what a server sends does not count inside HTTP: a page *about* mining is no mining.
//! Lines are judged although they are cut or spread over segments; a gap in the sequence begins a new line.
//!
//! Encrypted connections show a name at most: the server name of a TLS ClientHello. It refuses
//! everything else: what is hidden in TLS or a proxy is left to the flow's shape.

use super::tls;

/// Bytes of an unfinished line kept: twice what is kept of a packet.
const MAX_LINE_BYTES: usize = 1_024;
/// Bytes of a name or value looked at.
const MAX_WORD_BYTES: usize = 64;
/// Hexadecimal digits from which a job's `blob` is one: a block header is 76 bytes, 152 digits; a packet's
/// first 512 bytes hold more than half of them.
const MIN_BLOB_DIGITS: usize = 64;

/// Which way of speaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// Monero and its relatives: `login`, `job`, `submit`, `keepalived`.
    Monero,
    /// Bitcoin and its relatives: `mining.*`.
    Bitcoin,
    /// Ethereum and its relatives: `eth_submitLogin` and so on.
    Ethereum,
    /// A coin's own daemon: `getblocktemplate`.
    Solo,
}

impl Dialect {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Monero => "monero",
            Dialect::Bitcoin => "bitcoin",
            Dialect::Ethereum => "ethereum",
            Dialect::Solo => "getblocktemplate",
        }
    }
}

/// What was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A mining protocol in plain text.
    Mining {
        /// Which.
        dialect: Dialect,
        /// Methods heard, as the protocol writes them; sorted.
        methods: Vec<&'static str>,
        /// How the client calls itself, at most 64 bytes of it, unescaped.
        agent: Option<Box<[u8]>>,
    },
    /// TLS, and the server asked for, unescaped. Says nothing about what is inside.
    Tls {
        /// Server name of the ClientHello.
        server_name: Option<Box<[u8]>>,
    },
}

/// Methods that a client sends. The generic ones need members.
const CLIENT: [(&[u8], &str, Dialect, u16); 17] = [
    (
        b"login",
        "login",
        Dialect::Monero,
        member::LOGIN | member::PASS,
    ),
    (
        b"login",
        "login",
        Dialect::Monero,
        member::LOGIN | member::AGENT,
    ),
    (
        b"submit",
        "submit",
        Dialect::Monero,
        member::JOB_ID | member::NONCE,
    ),
    (b"keepalived", "keepalived", Dialect::Monero, 0),
    (b"mining.subscribe", "mining.subscribe", Dialect::Bitcoin, 0),
    (b"mining.authorize", "mining.authorize", Dialect::Bitcoin, 0),
    (b"mining.submit", "mining.submit", Dialect::Bitcoin, 0),
    (b"mining.configure", "mining.configure", Dialect::Bitcoin, 0),
    (
        b"mining.suggest_difficulty",
        "mining.suggest_difficulty",
        Dialect::Bitcoin,
        0,
    ),
    (
        b"mining.extranonce.subscribe",
        "mining.extranonce.subscribe",
        Dialect::Bitcoin,
        0,
    ),
    (b"mining.hello", "mining.hello", Dialect::Bitcoin, 0),
    (b"eth_submitLogin", "eth_submitLogin", Dialect::Ethereum, 0),
    (b"eth_getWork", "eth_getWork", Dialect::Ethereum, 0),
    (b"eth_submitWork", "eth_submitWork", Dialect::Ethereum, 0),
    (
        b"eth_submitHashrate",
        "eth_submitHashrate",
        Dialect::Ethereum,
        0,
    ),
    (b"getblocktemplate", "getblocktemplate", Dialect::Solo, 0),
    (b"get_block_template", "getblocktemplate", Dialect::Solo, 0),
];
/// Methods that a server sends.
const SERVER: [(&[u8], &str, Dialect, u16); 7] = [
    (b"job", "job", Dialect::Monero, member::BLOB),
    (b"mining.notify", "mining.notify", Dialect::Bitcoin, 0),
    (
        b"mining.set_difficulty",
        "mining.set_difficulty",
        Dialect::Bitcoin,
        0,
    ),
    (
        b"mining.set_target",
        "mining.set_target",
        Dialect::Bitcoin,
        0,
    ),
    (
        b"mining.set_extranonce",
        "mining.set_extranonce",
        Dialect::Bitcoin,
        0,
    ),
    (
        b"mining.set_version_mask",
        "mining.set_version_mask",
        Dialect::Bitcoin,
        0,
    ),
    (
        b"client.reconnect",
        "client.reconnect",
        Dialect::Bitcoin,
        member::JSON_RPC,
    ),
];

/// Members of a line, one bit each.
// mutate: names of bits, of which any other would do
mod member {
    pub const LOGIN: u16 = 1;
    pub const PASS: u16 = 1 << 1;
    pub const AGENT: u16 = 1 << 2;
    pub const JOB_ID: u16 = 1 << 3;
    pub const NONCE: u16 = 1 << 4;
    /// `blob` with enough hexadecimal digits.
    pub const BLOB: u16 = 1 << 5;
    pub const JSON_RPC: u16 = 1 << 6;
    pub const JOB: u16 = 1 << 7;

    pub fn named(name: &[u8]) -> u16 {
        match name {
            b"login" => LOGIN,
            b"pass" => PASS,
            b"agent" => AGENT,
            b"job_id" => JOB_ID,
            b"nonce" => NONCE,
            b"jsonrpc" | b"id" => JSON_RPC,
            b"job" => JOB,
            _ => 0,
        }
    }
}

/// The unfinished line of one direction.
#[derive(Clone, Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    next: Option<u32>,
}

/// One connection, listened to from any moment on.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    sent: Line,
    received: Line,
    http: bool,
    tls: bool,
    dialect: Option<Dialect>,
    methods: Vec<&'static str>,
    agent: Option<Box<[u8]>>,
}

impl Listening {
    /// Takes the first `bytes` of a segment of `total` bytes. Gives what is recognised by now, when
    /// this segment added to it.
    pub fn hear(
        &mut self,
        outbound: bool,
        sequence: u32,
        total: u32,
        bytes: &[u8],
    ) -> Option<Protocol> {
        if outbound
            && !self.tls
            && self.methods.is_empty()
            && let Some(server_name) = tls::server_name(bytes)
        {
            self.tls = true;
            return Some(Protocol::Tls { server_name });
        }
        if self.tls {
            return None;
        }
        self.http |= is_http(bytes);
        let known = self.known();
        let line = if outbound {
            &mut self.sent
        } else {
            &mut self.received
        };
        let mut text = std::mem::take(&mut line.bytes);
        if line.next != Some(sequence) {
            text.clear();
        }
        line.next = Some(sequence.wrapping_add(total));
        text.extend_from_slice(bytes);
        let mut rest = &text[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line(outbound, &rest[..end]);
            rest = &rest[end + 1..];
        }
        self.line(outbound, rest);
        let whole = bytes.len() >= total as usize;
        let rest = if whole { rest } else { &[] };
        let keep = rest.len().saturating_sub(MAX_LINE_BYTES);
        let line = if outbound {
            &mut self.sent
        } else {
            &mut self.received
        };
        line.bytes = rest[keep..].to_vec();
        let dialect = self.dialect?;
        (known != self.known()).then(|| Protocol::Mining {
            dialect,
            methods: self.methods.clone(),
            agent: self.agent.clone(),
        })
    }

    /// How much was recognised.
    fn known(&self) -> (usize, usize) {
        let agent = self.agent.as_deref().map_or(0, <[u8]>::len);
        (self.methods.len(), agent)
    }

    fn line(&mut self, outbound: bool, line: &[u8]) {
        if outbound && let Some(agent) = user_agent(line) {
            self.agent = Some(agent.into());
        }
        if !outbound && self.http {
            return;
        }
        let said = Said::read(line);
        let methods: &[(&[u8], &'static str, Dialect, u16)] =
            if outbound { &CLIENT } else { &SERVER };
        let heard = methods
            .iter()
            .find(|(name, _, _, needed)| said.method.is(name) && said.members & needed == *needed);
        let answer = member::JOB | member::BLOB;
        let heard = match heard {
            Some((_, method, dialect, _)) => Some((*method, *dialect)),
            // The answer to a login brings the first job.
            None if !outbound && said.members & answer == answer => Some(("job", Dialect::Monero)),
            None => None,
        };
        let Some((method, dialect)) = heard else {
            return;
        };
        self.dialect.get_or_insert(dialect);
        if let Err(at) = self.methods.binary_search(&method) {
            self.methods.insert(at, method);
        }
        if outbound && !said.agent.bytes().is_empty() {
            self.agent = Some(said.agent.bytes().into());
        }
    }
}

fn is_http(bytes: &[u8]) -> bool {
    [b"GET ".as_slice(), b"POST ", b"PUT ", b"HTTP/1."]
        .iter()
        .any(|begin| bytes.starts_with(begin))
}

fn user_agent(line: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"user-agent:";
    let (name, value) = line.split_at_checked(NAME.len())?;
    let value = value.trim_ascii();
    name.eq_ignore_ascii_case(NAME)
        .then(|| &value[..value.len().min(MAX_WORD_BYTES)])
}

/// A string of JSON with its escapes undone, as far as it is looked at.
#[derive(Clone, Copy, Debug)]
struct Word {
    bytes: [u8; MAX_WORD_BYTES],
    length: usize,
    /// Hexadecimal digits at its beginning.
    digits: usize,
}

impl Word {
    const EMPTY: Word = Word {
        bytes: [0; MAX_WORD_BYTES],
        length: 0,
        digits: 0,
    };

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn is(&self, name: &[u8]) -> bool {
        self.bytes().eq_ignore_ascii_case(name)
    }

    /// Reads up to the closing quote, or the end of what there is; gives what is left behind it.
    fn read(mut text: &[u8]) -> (Word, &[u8]) {
        let mut word = Word::EMPTY;
        let mut only_digits = true;
        loop {
            let (byte, rest) = match text {
                [] | [b'"', ..] => break,
                [b'\\', b'u', a, b, c, d, rest @ ..] => (unicode([*a, *b, *c, *d]), rest),
                [b'\\', escaped, rest @ ..] => (*escaped, rest),
                [byte, rest @ ..] => (*byte, rest),
            };
            only_digits &= byte.is_ascii_hexdigit();
            word.digits += usize::from(only_digits);
            if let Some(slot) = word.bytes.get_mut(word.length) {
                *slot = byte;
                word.length += 1;
            }
            text = rest;
        }
        (word, text.get(1..).unwrap_or_default())
    }
}

/// The character of `\uXXXX` where it is ASCII: nothing else occurs in a protocol's words.
fn unicode(digits: [u8; 4]) -> u8 {
    let text = std::str::from_utf8(&digits).ok();
    let code = text.and_then(|text| u8::from_str_radix(text, 16).ok());
    code.filter(u8::is_ascii).unwrap_or(b'?')
}

/// What one line of JSON-RPC says, however it is cut.
#[derive(Debug)]
struct Said {
    method: Word,
    agent: Word,
    members: u16,
}

impl Said {
    fn read(mut text: &[u8]) -> Said {
        let mut said = Said {
            method: Word::EMPTY,
            agent: Word::EMPTY,
            members: 0,
        };
        while let Some(quote) = text.iter().position(|byte| *byte == b'"') {
            let (name, after) = Word::read(&text[quote + 1..]);
            text = after;
            let Some(value) = after.trim_ascii_start().strip_prefix(b":") else {
                continue; // an element of a list, or a value
            };
            said.members |= member::named(name.bytes());
            let Some(value) = value.trim_ascii_start().strip_prefix(b"\"") else {
                continue; // its own names come next
            };
            let (value, after) = Word::read(value);
            text = after;
            match name.bytes() {
                b"method" => said.method = value,
                b"agent" => said.agent = value,
                b"blob" if value.digits >= MIN_BLOB_DIGITS => said.members |= member::BLOB,
                _ => {}
            }
        }
        said
    }
}

#[cfg(test)]
mod tests;
