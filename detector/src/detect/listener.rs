//! Who listens where, and how many connections it accepted.
//!
//! The kernel counts accepts per network namespace and port; who listens there is told by the start-up
//! snapshot and by records as sockets begin and cease to listen. Where several processes share a port
//! (`SO_REUSEPORT`, other local addresses) its accepts belong to the one that was first: whoever joins
//! later cannot pass for busy with another's traffic. A listener that ended while its descendants keep
//! the socket still stands for its lineage group.
//!
//! Bounded: [`MAX_PORTS`] ports as in the kernel, [`MAX_HOLDERS`] listeners of each. When full, a port
//! nobody is known to listen on goes first; else the new one is refused and counted.

use std::collections::VecDeque;

use detector_common::event::{Connection, connection::ListenKey};

use super::{
    hash::{Map, Set},
    size::Size,
    table::Table,
    window::{Pass, share},
};
use crate::input::{Accepts, Listener, ProcessKey};

/// As many as the kernel counts.
const MAX_PORTS: usize = 1_024;
/// More than CPUs of most hosts: one listener for each is the usual use of `SO_REUSEPORT`.
const MAX_HOLDERS: usize = 256;
/// Accounts from which those of nobody who listens are dropped at once, and not at the end of the pass.
const MAX_ACCOUNTS: usize = 4_096;

/// Inbound connections of somebody who listens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Served {
    /// In the last pass.
    pub last_pass: u64,
    /// Since the detector started.
    pub total: u64,
    /// Mean over the window.
    pub per_second: f64,
}

/// One listening socket.
#[derive(Clone, Copy, Debug)]
struct Holder {
    /// `None`: from the snapshot.
    socket: Option<u64>,
    process: ProcessKey,
    group: ProcessKey,
}

#[derive(Debug, Default)]
struct Port {
    /// First come first.
    holders: Vec<Holder>,
    /// Accepted while nobody was known to listen.
    unclaimed: u64,
}

#[derive(Debug)]
struct Account {
    group: ProcessKey,
    total: u64,
    /// Per pass, newest last.
    recent: VecDeque<u64>,
}

/// All listeners.
#[derive(Debug)]
pub struct Listeners {
    ports: Map<(u32, u32), Port>,
    accounts: Map<ProcessKey, Account>,
    /// How many accounts are too many.
    most_accounts: usize,
    /// Lengths of the passes in the window, ns, newest last.
    passes: VecDeque<u64>,
    length: usize,
    /// Listeners for which there was no room.
    pub refused: u64,
}

impl Listeners {
    /// Nobody listens; rates are means over `length` passes.
    pub fn new(length: usize) -> Listeners {
        Listeners {
            ports: Map::default(),
            accounts: Map::default(),
            most_accounts: MAX_ACCOUNTS,
            passes: VecDeque::new(),
            length: length.max(1),
            refused: 0,
        }
    }

    /// How full it is.
    pub fn sizes(&self) -> Vec<Size> {
        let Listeners {
            ports,
            accounts,
            most_accounts,
            passes,
            length,
            refused: _,
        } = self;
        let holders = ports.values().map(|port| port.holders.len()).max();
        let recent = accounts.values().map(|account| account.recent.len()).max();
        vec![
            Size::of("listening ports", ports.len(), MAX_PORTS),
            Size::of("listeners of one port", holders.unwrap_or(0), MAX_HOLDERS),
            Size::of("accounts of listeners", accounts.len(), *most_accounts),
            Size::of("passes of listeners", passes.len(), *length),
            Size::of("passes of one listener", recent.unwrap_or(0), *length + 1),
        ]
    }

    /// A process began to listen.
    pub fn began(&mut self, connection: &Connection, table: &Table) {
        let key = (
            connection.network_namespace,
            u32::from(connection.local_port),
        );
        self.hold(
            key,
            Some(connection.socket),
            connection.process.into(),
            table,
        );
    }

    /// A socket listens no longer, whoever closed it.
    pub fn ceased(&mut self, connection: &Connection) {
        let key = (
            connection.network_namespace,
            u32::from(connection.local_port),
        );
        let Some(port) = self.ports.get_mut(&key) else {
            return;
        };
        let of = |socket| move |holder: &Holder| holder.socket == socket;
        let known = port.holders.iter().position(of(Some(connection.socket)));
        if let Some(at) = known.or_else(|| port.holders.iter().position(of(None))) {
            port.holders.remove(at);
        }
        if port.holders.is_empty() {
            self.ports.remove(&key);
        }
    }

    /// Who listened before the detector started: before whoever was seen to begin since.
    pub fn snapshot(&mut self, listeners: &[Listener], table: &Table) {
        for listener in listeners {
            let ListenKey {
                network_namespace,
                port,
            } = listener.key;
            let key = (network_namespace, port);
            let told = self.ports.get(&key).is_some_and(|port| {
                port.holders
                    .iter()
                    .any(|holder| holder.process == listener.process && holder.socket.is_some())
            });
            if !told {
                self.hold(key, None, listener.process, table);
            }
        }
    }

    fn hold(&mut self, key: (u32, u32), socket: Option<u64>, process: ProcessKey, table: &Table) {
        if !self.make_room(key) {
            self.refused += 1;
            return;
        }
        let group = table.get(process).map_or(process, |process| process.group);
        let port = self.ports.entry(key).or_default();
        if port.holders.len() >= MAX_HOLDERS {
            self.refused += 1;
            return;
        }
        let at = match socket {
            Some(_) => port.holders.len(),
            None => port
                .holders
                .partition_point(|holder| holder.socket.is_none()),
        };
        let holder = Holder {
            socket,
            process,
            group,
        };
        port.holders.insert(at, holder);
        let unclaimed = std::mem::take(&mut port.unclaimed);
        self.make_room_for_account();
        self.account(holder).total += unclaimed;
    }

    fn make_room(&mut self, key: (u32, u32)) -> bool {
        if self.ports.len() < MAX_PORTS || self.ports.contains_key(&key) {
            return true;
        }
        let unheld = self
            .ports
            .iter()
            .filter(|(_, port)| port.holders.is_empty());
        let Some(unheld) = unheld.map(|(key, _)| *key).min() else {
            return false;
        };
        self.ports.remove(&unheld);
        true
    }

    /// Forgets whoever listens no longer, when there are too many. Looked for again when there are twice as many as
    /// really listen, so that it costs O(1) for each.
    fn make_room_for_account(&mut self) {
        if self.accounts.len() < self.most_accounts {
            return;
        }
        let held = self.held();
        self.accounts.retain(|process, _| held.contains(process));
        self.most_accounts = MAX_ACCOUNTS.max(2 * self.accounts.len());
    }

    /// Who listens.
    fn held(&self) -> Set<ProcessKey> {
        let holders = self.ports.values().flat_map(|port| &port.holders);
        holders.map(|holder| holder.process).collect()
    }

    fn account(&mut self, holder: Holder) -> &mut Account {
        self.accounts
            .entry(holder.process)
            .or_insert_with(|| Account {
                group: holder.group,
                total: 0,
                recent: VecDeque::new(),
            })
    }

    /// Closes a pass: what was accepted since the last one.
    pub fn pass(&mut self, accepts: &[Accepts], pass: Pass, table: &Table) {
        self.passes.push_back(pass.elapsed_ns);
        if self.passes.len() > self.length {
            self.passes.pop_front();
        }
        let held = self.held();
        for port in self.ports.values_mut() {
            for holder in &mut port.holders {
                holder.group = table
                    .get(holder.process)
                    .map_or(holder.group, |process| process.group);
            }
        }
        let length = self.length;
        self.accounts.retain(|process, account| {
            account.recent.push_back(0);
            if account.recent.len() > length {
                account.recent.pop_front();
            }
            held.contains(process) || account.recent.iter().any(|count| *count > 0)
        });
        for Accepts { key, count } in accepts {
            let key = (key.network_namespace, key.port);
            let holders = self.ports.get(&key).map_or(&[][..], |port| &port.holders);
            let alive = |holder: &&Holder| {
                table
                    .get(holder.process)
                    .is_some_and(|process| process.is_alive())
            };
            match holders.iter().find(alive).or(holders.first()).copied() {
                Some(owner) => {
                    let account = self.account(owner);
                    account.group = owner.group;
                    account.total += count;
                    match account.recent.back_mut() {
                        Some(last) => *last += count,
                        None => account.recent.push_back(*count),
                    }
                }
                None if self.make_room(key) => {
                    self.ports.entry(key).or_default().unclaimed += count;
                }
                None => {}
            }
        }
    }

    /// What one process accepted. `None`: it does not listen, as far as known.
    pub fn of_process(&self, process: ProcessKey) -> Option<Served> {
        self.accounts
            .get(&process)
            .map(|account| self.served(account))
    }

    /// What a lineage group accepted. `None`: nobody of it listens, as far as known.
    pub fn of_group(&self, group: ProcessKey) -> Option<Served> {
        self.sum(|_, account| account.group == group)
    }

    /// What all listeners accepted that `wanted` holds for.
    pub fn sum_of(&self, wanted: impl Fn(ProcessKey) -> bool) -> Option<Served> {
        self.sum(|process, _| wanted(process))
    }

    fn sum(&self, wanted: impl Fn(ProcessKey, &Account) -> bool) -> Option<Served> {
        let accounts = self.accounts.iter();
        accounts
            .filter(|(process, account)| wanted(**process, account))
            .map(|(_, account)| self.served(account))
            .reduce(|one, other| Served {
                last_pass: one.last_pass + other.last_pass,
                total: one.total + other.total,
                per_second: one.per_second + other.per_second,
            })
    }

    fn served(&self, account: &Account) -> Served {
        let elapsed_ns: u64 = self.passes.iter().sum();
        let recent: u64 = account.recent.iter().sum();
        Served {
            last_pass: account.recent.back().copied().unwrap_or(0),
            total: account.total,
            per_second: share(recent.saturating_mul(1_000_000_000), elapsed_ns),
        }
    }
}
