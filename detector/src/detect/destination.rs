//! Where each program usually connects to.
//!
//! Whose habit it is: a program that a package ships, and the head of its lineage group (`/usr/bin/curl of
//! /usr/sbin/php-fpm8.2` has other habits than the `curl` of an administrator). Where to: a network (/24, /48) and a
//! port, because services move between the addresses of one network. The host remembers it (`state/inventory.rs`), so
//! that a restart does not make everything new. What a suspect reaches is never learned.
//!
//! Bounded: [`MAX_KNOWN`] destinations of [`MAX_TALKERS`] programs, least recently used first; hashes are kept, not
//! names.

use std::{borrow::Cow, hash::Hasher as _, net::IpAddr};

use ipnet::IpNet;
use lru::LruCache;

use super::{
    hash::{Fixed, cache},
    size::Size,
};
use crate::{
    event::text,
    input::{Destination, KnownDestination},
};

/// Destinations remembered.
const MAX_KNOWN: usize = 16_384;
/// Programs remembered.
const MAX_TALKERS: usize = 1_024;
/// How long a program is watched before anything is new for it, ns: seven days, so that weekly jobs are known.
const LEARN_NS: i64 = 7 * DAY_NS;
/// A destination that is still in use is told to the host's memory this often, ns.
const REFRESH_NS: i64 = DAY_NS;
const DAY_NS: i64 = 86_400_000_000_000;
/// Networks from which on a program talks to everybody (a mail server, a crawler): nothing is new for it, and no more
/// are remembered, so that a scan fills nobody's memory.
const WIDE: u32 = 128;

/// Whose connections these are: a program and what heads its lineage group, by path.
#[derive(Clone, Copy, Debug)]
pub struct Talker<'a> {
    /// The program.
    pub program: &'a [u8],
    /// The head of its group, where that is another program.
    pub head: Option<&'a [u8]>,
}

/// What a connection adds to what was known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The program has been known for a week and never talked to that network and port.
    pub new: bool,
    /// For the memory of the host: first seen, or not told for a day.
    pub remember: Option<Destination>,
}

#[derive(Clone, Copy, Debug)]
struct Talks {
    since_unix_ns: i64,
    networks: u32,
}

/// What is known.
#[derive(Debug)]
pub struct Destinations {
    /// When it was last told to the memory of the host, ns since 1970.
    known: LruCache<u64, i64, Fixed>,
    talkers: LruCache<u64, Talks, Fixed>,
}

impl Default for Destinations {
    fn default() -> Self {
        Destinations {
            known: cache(MAX_KNOWN),
            talkers: cache(MAX_TALKERS),
        }
    }
}

impl Destinations {
    /// How full it is.
    pub fn sizes(&self) -> [Size; 2] {
        let Destinations { known, talkers } = self;
        [
            Size::of("destinations", known.len(), known.cap().get()),
            Size::of(
                "programs with destinations",
                talkers.len(),
                talkers.cap().get(),
            ),
        ]
    }

    /// What earlier runs knew, least recently seen first.
    pub fn load(&mut self, known: &[KnownDestination]) {
        for KnownDestination {
            destination: to,
            first_seen_unix_ns,
            last_seen_unix_ns,
        } in known
        {
            let talker = hash(&[to.identity.as_bytes()]);
            self.known
                .put(of(talker, to.network, to.port), *last_seen_unix_ns);
            self.count(talker, *first_seen_unix_ns);
        }
    }

    /// Whether a connection would be new, without learning it.
    pub fn is_new(&self, talker: Talker<'_>, ip: IpAddr, port: u16, now_unix_ns: i64) -> bool {
        let talker = talker.hash();
        let known = self.known.contains(&of(talker, site(ip), port));
        let talks = self.talkers.peek(&talker);
        !known && talks.is_some_and(|talks| talks.has_habits(now_unix_ns))
    }

    /// Learns a connection of a program that is no suspect.
    pub fn saw(&mut self, talker: Talker<'_>, ip: IpAddr, port: u16, now_unix_ns: i64) -> Seen {
        let (hash, network) = (talker.hash(), site(ip));
        let key = of(hash, network, port);
        let told = self.known.get(&key).copied();
        if told.is_some_and(|told| now_unix_ns < told.saturating_add(REFRESH_NS)) {
            return Seen::default();
        }
        let is_wide = || {
            let talks = self.talkers.peek(&hash);
            talks.is_some_and(|talks| talks.networks >= WIDE)
        };
        if told.is_none() && is_wide() {
            return Seen::default();
        }
        let new = self.is_new(talker, ip, port, now_unix_ns);
        self.known.put(key, now_unix_ns);
        if told.is_none() {
            self.count(hash, now_unix_ns);
        }
        let remember = Some(Destination {
            identity: talker.text(),
            network,
            port,
        });
        Seen { new, remember }
    }

    fn count(&mut self, talker: u64, since_unix_ns: i64) {
        let talks = self.talkers.get_or_insert_mut(talker, || Talks {
            since_unix_ns,
            networks: 0,
        });
        talks.since_unix_ns = talks.since_unix_ns.min(since_unix_ns);
        talks.networks = talks.networks.saturating_add(1);
    }
}

impl Talks {
    fn has_habits(self, now_unix_ns: i64) -> bool {
        self.networks < WIDE && now_unix_ns.saturating_sub(self.since_unix_ns) >= LEARN_NS
    }
}

/// Between a program and the head of its group.
const OF: &str = " of ";

impl Talker<'_> {
    /// Escaped; nothing is copied of what needs no escaping.
    fn parts(&self) -> [Cow<'_, str>; 3] {
        let (of, head) = match self.head {
            Some(head) => (OF, text::shown(head)),
            None => Default::default(),
        };
        [text::shown(self.program), of.into(), head]
    }

    fn text(&self) -> String {
        self.parts().concat()
    }

    /// As of [`Talker::text`], which is what the host remembers.
    fn hash(&self) -> u64 {
        hash(&self.parts().each_ref().map(|part| part.as_bytes()))
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    for part in parts {
        hasher.write(part);
    }
    hasher.finish()
}

fn of(talker: u64, network: IpNet, port: u16) -> u64 {
    let address = match network.network() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    hash(&[
        &talker.to_le_bytes(),
        &address.octets(),
        &port.to_le_bytes(),
    ])
}

/// The network a service moves within.
fn site(ip: IpAddr) -> IpNet {
    let prefix = if ip.is_ipv4() { 24 } else { 48 };
    IpNet::new(ip, prefix).expect("at most 32 and 128").trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURL: Talker<'static> = Talker {
        program: b"/usr/bin/curl",
        head: Some(b"/usr/sbin/php-fpm8.2"),
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    /// Eight days of one destination.
    fn with_habits() -> Destinations {
        let mut known = Destinations::default();
        for day in 0..8 {
            let seen = known.saw(CURL, ip("198.51.100.7"), 443, day * DAY_NS);
            assert!(!seen.new, "day {day}");
        }
        known
    }

    #[test]
    fn a_network_is_new_once_to_a_program_known_for_a_week() {
        let mut known = with_habits();
        let (now, other) = (8 * DAY_NS, ip("203.0.113.9"));
        assert!(known.is_new(CURL, other, 443, now));
        let seen = known.saw(CURL, other, 443, now);
        let to = Destination {
            identity: "/usr/bin/curl of /usr/sbin/php-fpm8.2".to_owned(),
            network: "203.0.113.0/24".parse().expect("valid"),
            port: 443,
        };
        assert_eq!((seen.new, seen.remember), (true, Some(to)));
        assert_eq!(known.saw(CURL, other, 443, now), Seen::default(), "once");
        assert!(
            !known.is_new(CURL, ip("203.0.113.200"), 443, now),
            "a neighbour"
        );
        assert!(known.is_new(CURL, ip("203.0.113.9"), 8_443, now), "a port");
    }

    #[test]
    fn another_head_or_a_younger_program_has_no_habits() {
        let known = with_habits();
        let now = 8 * DAY_NS;
        let by_hand = Talker { head: None, ..CURL };
        assert!(!known.is_new(by_hand, ip("203.0.113.9"), 443, now));
        let before_a_week = 7 * DAY_NS - 1;
        assert!(!known.is_new(CURL, ip("203.0.113.9"), 443, before_a_week));
        assert!(known.is_new(CURL, ip("203.0.113.9"), 443, 7 * DAY_NS));
    }

    #[test]
    fn a_program_that_talks_to_128_networks_has_no_habits() {
        let mut known = with_habits();
        let site = |n: u8| IpAddr::from([203, 0, n, 1]);
        for n in 0..127 {
            assert!(known.saw(CURL, site(n), 443, 8 * DAY_NS).new, "{n}");
        }
        assert_eq!(
            known.saw(CURL, site(127), 443, 8 * DAY_NS),
            Seen::default(),
            "not even remembered"
        );
    }

    #[test]
    fn the_memory_of_the_host_is_told_once_a_day_and_brings_it_back() {
        let mut known = Destinations::default();
        let (odd, to) = (
            Talker {
                program: b"/opt/a\\\xff b",
                head: None,
            },
            ip("2001:db8:1:2::3"),
        );
        let told = known.saw(odd, to, 443, 5).remember.expect("first seen");
        assert_eq!(told.identity, "/opt/a\\\\\\xff b");
        assert_eq!(told.network.to_string(), "2001:db8:1::/48");
        assert_eq!(known.saw(odd, to, 443, 4 + DAY_NS).remember, None);
        let again = known.saw(odd, to, 443, 5 + DAY_NS).remember;
        assert_eq!(again.as_ref(), Some(&told));
        let mut restarted = Destinations::default();
        restarted.load(&[KnownDestination {
            destination: told,
            first_seen_unix_ns: 5,
            last_seen_unix_ns: 5 + DAY_NS,
        }]);
        let later = 5 + LEARN_NS;
        assert!(!restarted.is_new(odd, to, 443, later));
        assert!(restarted.is_new(odd, ip("2001:db8:2::1"), 443, later));
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut known = Destinations::default();
        for n in 0_u32..40_000 {
            let path = format!("/usr/bin/{n}");
            let talker = Talker {
                program: path.as_bytes(),
                head: None,
            };
            let _seen = known.saw(talker, IpAddr::from(n.to_be_bytes()), 443, 0);
        }
        assert_eq!((known.known.len(), known.talkers.len()), (16_384, 1_024));
    }
}
