//! `c2.connection_storm`: one program connects to very many, fails very often, or knocks at login ports.
//!
//! Counted per lineage group and executable, so a scan that is split over children is one scan, in windows
//! of [`WINDOW_S`] seconds from the first attempt. Scans of the local network count as well; only the host
//! itself does not. A worm and a brute force do this, and so do a crawler, a monitoring system and an
//! administrator's scanner. Evidence: `shape` (`scan`: [`ADDRESSES`] distinct addresses; `failing`:
//! [`FAILED`] failures, at least half of the attempts; `logins`: [`LOGINS`] attempts at ports where one logs
//! in), `attempts`, `failed`, `addresses` (at least), `port` (of the last attempt), `window_s`.
//!
//! A warning where the program is a suspect or descends from a web service, else info.
//!
//! Bounded: 256 programs, the one that connected longest ago goes first; [`MAX_ADDRESSES`] addresses of each.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
};

use detector_common::event::{Connection, connection::change};
use lru::LruCache;

use crate::{
    detect::{
        hash::{Fixed, cache},
        size::Size,
    },
    incident::{ConnectionStormEvidence, Evidence, Shape},
    input::{ExecutableId, ProcessKey},
};

/// Length of a window, seconds.
pub const WINDOW_S: u64 = 30;
/// Distinct addresses in a window that are a scan: a browser's worth of hosts twice over.
pub const ADDRESSES: usize = 64;
/// Failures in a window that are no bad luck.
pub const FAILED: u32 = 32;
/// Attempts at login ports in a window: more than one a second.
pub const LOGINS: u32 = 32;
/// Addresses remembered of one window; more are counted as these many.
const MAX_ADDRESSES: usize = 1_024;
/// ssh, telnet, SMB, remote desktop. Databases are not among them: applications connect for each request.
const LOGIN_PORTS: [u16; 7] = [22, 23, 445, 2_222, 2_323, 3_389, 5_900];

/// A program, by lineage group and executable.
pub type Program = (ProcessKey, Option<ExecutableId>);

#[derive(Debug, Default)]
struct Window {
    since_ns: u64,
    attempts: u32,
    failed: u32,
    logins: u32,
    addresses: BTreeSet<Ipv6Addr>,
    told: bool,
}

/// The rule's memory.
#[derive(Debug)]
pub struct ConnectionStorm {
    windows: LruCache<Program, Window, Fixed>,
}

impl Default for ConnectionStorm {
    fn default() -> Self {
        ConnectionStorm {
            windows: cache(256),
        }
    }
}

impl ConnectionStorm {
    /// How full it is.
    pub fn sizes(&self) -> [Size; 2] {
        let ConnectionStorm { windows } = self;
        let addresses = windows.iter().map(|(_, window)| window.addresses.len());
        [
            Size::of("programs that connect", windows.len(), windows.cap().get()),
            Size::of(
                "addresses of one",
                addresses.max().unwrap_or(0),
                MAX_ADDRESSES,
            ),
        ]
    }

    /// Counts an attempt or a failure. Gives evidence once a window.
    pub fn judge(&mut self, program: Program, connection: &Connection) -> Option<Evidence> {
        let failed = connection.change == change::FAILED;
        if !failed && connection.change != change::ATTEMPT {
            return None;
        }
        let now_ns = connection.header.time_ns;
        let window = self.windows.get_or_insert_mut(program, Window::default);
        let over_ns = window.since_ns.saturating_add(WINDOW_S * 1_000_000_000);
        if now_ns >= over_ns {
            *window = Window {
                since_ns: now_ns,
                ..Window::default()
            };
        }
        if failed {
            window.failed = window.failed.saturating_add(1);
        } else {
            window.attempts = window.attempts.saturating_add(1);
            window.logins += u32::from(LOGIN_PORTS.contains(&connection.remote_port));
            if window.addresses.len() < MAX_ADDRESSES {
                window.addresses.insert(connection.remote.into());
            }
        }
        let shape = window.shape().filter(|_| !window.told)?;
        window.told = true;
        Some(Evidence::ConnectionStorm(ConnectionStormEvidence {
            shape,
            attempts: window.attempts,
            failed: window.failed,
            addresses: window.addresses.len(),
            port: connection.remote_port,
            window_s: WINDOW_S,
        }))
    }
}

impl Window {
    fn shape(&self) -> Option<Shape> {
        if self.logins >= LOGINS {
            Some(Shape::Logins)
        } else if self.addresses.len() >= ADDRESSES {
            Some(Shape::Scan)
        } else if self.failed >= FAILED && self.failed.saturating_mul(2) >= self.attempts {
            Some(Shape::Failing)
        } else {
            None
        }
    }
}

/// Whether an address is another machine's: loopback is not, unless it is said to play one.
pub fn is_elsewhere(address: IpAddr, outside: bool) -> bool {
    outside || !address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_window_are_remembered_up_to_a_thousand() {
        let mut rule = ConnectionStorm::default();
        let nobody = ProcessKey {
            tgid: 0,
            start_ns: 0,
        };
        let mut told = Vec::new();
        for n in 0..2_000_u32 {
            let mut connection: Connection = zerocopy::FromZeros::new_zeroed();
            connection.change = change::ATTEMPT;
            connection.remote[12..].copy_from_slice(&n.to_be_bytes());
            told.extend(rule.judge((nobody, None), &connection));
        }
        let window = rule.windows.peek(&(nobody, None)).expect("counted");
        assert_eq!(
            (told.len(), window.attempts, window.addresses.len()),
            (1, 2_000, 1_024)
        );
    }
}
