//! Sockets older than the daemon: who listens where, and who is connected to whom.
//!
//! The kernel tells which socket is where (`/proc/PID/net/tcp`, once for each network namespace) and
//! which process holds which socket (`/proc/PID/fd`); the inode number joins both. It is read once, at
//! the start: later sockets are told as they come. Bounded: connections by [`MAX_FLOWS`], descriptors
//! looked at by [`MAX_DESCRIPTORS`]; sockets beyond are not told. A process that ends meanwhile is skipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    os::fd::AsFd as _,
};

use detector_common::event::{self, connection::ListenKey, task::PF_KTHREAD};
use rustix::fs::{Dir, Mode, OFlags};

use super::procfs::ProcessDir;
use crate::input::{Flow, Listener, ProcessKey, Sockets};

/// Connections told, over all namespaces. A busy proxy holds more: the rest is seen when it changes.
const MAX_FLOWS: usize = 4_096;
/// Descriptors looked at, about 1 µs each.
const MAX_DESCRIPTORS: usize = 1_000_000;
/// `TCP_ESTABLISHED` and `TCP_LISTEN` as `/proc/net/tcp` writes them.
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// One line of `/proc/net/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    local_port: u16,
    remote: [u8; 16],
    remote_port: u16,
    listens: bool,
    inode: u64,
}

/// What is looked for: sockets by inode number.
#[derive(Debug, Default)]
struct Wanted {
    listeners: BTreeMap<u64, ListenKey>,
    flows: BTreeMap<u64, (u32, Line)>,
}

/// Listening and connected TCP sockets of the processes among `tasks`.
pub(super) fn snapshot(tasks: &[event::Task]) -> Sockets {
    let mut keys: Vec<ProcessKey> = tasks
        .iter()
        .filter(|task| task.flags & PF_KTHREAD == 0 && task.pid == task.process.tgid)
        .map(|task| task.process.into())
        .collect();
    // Who opened a socket is older than who inherited it; process 1 opens them for others.
    keys.sort_by_key(|key| (key.tgid == 1, key.start_ns, key.tgid));
    keys.dedup();
    let mut wanted = sockets(&keys);
    let mut found = Sockets::default();
    let mut looked_at = 0;
    for key in keys {
        if wanted.is_empty() || looked_at >= MAX_DESCRIPTORS {
            break;
        }
        let Ok(process) = ProcessDir::open(key) else {
            continue;
        };
        looked_at += held(&process, MAX_DESCRIPTORS - looked_at, |inode| {
            if let Some(listen) = wanted.listeners.remove(&inode) {
                found.listeners.push(Listener {
                    key: listen,
                    process: key,
                });
            }
            if let Some((network_namespace, line)) = wanted.flows.remove(&inode) {
                found.flows.push(Flow {
                    process: key,
                    network_namespace,
                    remote_port: line.remote_port,
                    local_port: line.local_port,
                    remote: line.remote,
                });
            }
        });
    }
    found
}

impl Wanted {
    fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.flows.is_empty()
    }
}

/// The sockets of every network namespace that one of the processes is in.
fn sockets(keys: &[ProcessKey]) -> Wanted {
    let mut wanted = Wanted::default();
    let mut seen = BTreeSet::new();
    for key in keys {
        let Ok(process) = ProcessDir::open(*key) else {
            continue;
        };
        let Some(namespace) = network_namespace(&process) else {
            continue;
        };
        if !seen.insert(namespace) {
            continue;
        }
        let mut ports = BTreeSet::new();
        for name in ["net/tcp", "net/tcp6"] {
            let Ok(file) = process.reader(name) else {
                continue; // no IPv6, or gone
            };
            // Listening sockets come first in either file, so inbound connections take no room.
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                let Some(line) = Line::parse(&line) else {
                    continue;
                };
                if line.listens {
                    ports.insert(line.local_port);
                    let listen = ListenKey {
                        network_namespace: namespace,
                        port: u32::from(line.local_port),
                    };
                    wanted.listeners.insert(line.inode, listen);
                } else if wanted.flows.len() < MAX_FLOWS && !ports.contains(&line.local_port) {
                    wanted.flows.insert(line.inode, (namespace, line));
                }
            }
        }
        wanted
            .flows
            .retain(|_, (of, line)| *of != namespace || !ports.contains(&line.local_port));
    }
    wanted
}

fn network_namespace(process: &ProcessDir) -> Option<u32> {
    let target = process.link("ns/net").ok()?;
    let text = std::str::from_utf8(&target).ok()?;
    text.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Calls `take` with the inode of each socket the process holds; gives the descriptors looked at.
fn held(process: &ProcessDir, limit: usize, mut take: impl FnMut(u64)) -> usize {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(process.as_fd(), "fd", flags, Mode::empty());
    let Ok(mut entries) = folder.and_then(Dir::new) else {
        return 0;
    };
    let mut looked_at = 0;
    let mut target = Vec::new();
    while let Some(Ok(entry)) = entries.next() {
        if looked_at >= limit {
            break;
        }
        looked_at += 1;
        let Ok(folder) = entries.fd() else { break };
        target.clear();
        let Ok(link) = rustix::fs::readlinkat(folder, entry.file_name(), target) else {
            target = Vec::new();
            continue; // `.`, `..`, or closed meanwhile
        };
        target = link.into_bytes();
        let inode = std::str::from_utf8(&target).ok().and_then(|text| {
            let number = text.strip_prefix("socket:[")?.strip_suffix(']')?;
            number.parse().ok()
        });
        if let Some(inode) = inode {
            take(inode);
        }
    }
    looked_at
}

impl Line {
    /// `None`: the heading, another state, or a socket without a holder.
    fn parse(line: &str) -> Option<Line> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (_, local_port) = address(fields.next()?)?;
        let (remote, remote_port) = address(fields.next()?)?;
        let listens = match fields.next()? {
            LISTEN => true,
            ESTABLISHED => false,
            _ => return None,
        };
        let inode = fields.nth(5)?.parse().ok().filter(|inode| *inode != 0)?;
        Some(Line {
            local_port,
            remote,
            remote_port,
            listens,
            inode,
        })
    }
}

/// `ADDRESS:PORT`: 32-bit words of the address as the machine holds them, in hexadecimal.
fn address(text: &str) -> Option<([u8; 16], u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = [0; 16];
    let words = match address.len() {
        8 => {
            bytes[10..12].fill(0xff);
            &mut bytes[12..]
        }
        32 => &mut bytes[..],
        _ => return None,
    };
    for (at, word) in words.chunks_exact_mut(4).enumerate() {
        let digits = address.get(at * 8..at * 8 + 8)?;
        word.copy_from_slice(&u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
    }
    Some((bytes, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_files_are_read_and_anything_else_is_none() {
        let listening = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        let connected = "   1: 0000000000000000FFFF00000100007F:C350 B80D0120000000000000000001000000:0D05 01 00000000:00000000 00:00000000 00000000    33        0 4712 1 0 20 4 30 10 -1";
        let mut remote = [0; 16];
        remote[10..].copy_from_slice(&[0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(
            Line::parse(listening),
            Some(Line {
                local_port: 8_080,
                remote,
                remote_port: 0,
                listens: true,
                inode: 4_711
            })
        );
        let remote: std::net::Ipv6Addr = "2001:db8::1".parse().expect("valid");
        assert_eq!(
            Line::parse(connected),
            Some(Line {
                local_port: 50_000,
                remote: remote.octets(),
                remote_port: 3_333,
                listens: false,
                inode: 4_712
            })
        );
        for cut in 0..connected.len() {
            let _never_panics = Line::parse(&connected[..cut]);
        }
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
        assert_eq!(Line::parse(heading), None);
        assert_eq!(Line::parse(&connected.replace(" 01 ", " 06 ")), None);
    }
}
