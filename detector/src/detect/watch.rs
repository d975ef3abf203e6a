//! Whose packets to look into, for how long, and what was heard in them.
//!
//! Looking costs every packet of the host a little (`kernel/watch.rs`), so it is done for few and not for
//! long: for a suspect from the moment it is one, for whoever descends from a web service or is a suspect
//! when it connects to the outside, and for a process that has kept a CPU busy while it held connections to
//! the outside. A miner sends and gets a line every few seconds to a minute, so it is heard although its
//! first words were missed.
//!
//! Bounded: connections ([`MAX_FLOWS`], newest refused and counted), watched processes ([`MAX_WATCHED`],
//! newest refused and counted), [`MAX_WATCH_NS`] at a stretch with a pause behind it, lines of 256 connections
//! (least recently heard goes first).

use std::collections::BTreeMap;

use lru::LruCache;

use super::{
    hash::{Fixed, Map, cache},
    size::Size,
    stratum::{Listening, Protocol},
    table::Table,
};
use crate::{
    input::{Flow, Payload, ProcessKey},
    output::{Output, Watch},
};

/// Open outbound connections remembered: as many as the kernel side remembers.
const MAX_FLOWS: usize = 16_384;
/// Of one process.
const MAX_FLOWS_PER_PROCESS: usize = 256;
/// Processes watched at a time: the size of the kernel's table.
const MAX_WATCHED: usize = 64;
/// Of these, places for suspects that did not connect yet.
const MAX_WAITED_FOR: usize = 32;
/// Older connections of one process that are watched: 4 processes fill the kernel's table.
const MAX_OLDER: usize = 64;
/// How long a new suspect's first words are waited for.
const SUSPECT_NS: u64 = 60_000_000_000;
/// How long a connection is listened to: `keepalived` comes once a minute.
const CONNECTION_NS: u64 = 120_000_000_000;
/// How long one process is watched at a stretch.
const MAX_WATCH_NS: u64 = 300_000_000_000;
/// How long it is left alone after that.
const PAUSE_NS: u64 = 600_000_000_000;
/// Packets kept of each connection at a stretch: login, first job and some shares.
const PACKETS: u32 = 16;
/// Part of one CPU from which a pass counts as busy: below the least duty that pays, a fifth.
const BUSY_SHARE_PERCENT: u64 = 15;
/// Busy passes, less idle ones, from which a process counts as busy.
const BUSY_PASSES: u8 = 10;
/// Most of them that are remembered: it takes as long to be idle again.
const MAX_BUSY_PASSES: u8 = 30;

/// Why somebody is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is a suspect and has not connected yet.
    Suspect,
    /// It connected, or keeps a CPU busy with connections open.
    Connected,
}

/// An open connection to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its socket; `None`: older than the probes.
    pub socket: Option<u64>,
    /// Since when, ns since boot; for an older one, since it was found.
    pub since_ns: u64,
    /// Where to.
    pub flow: Flow,
}

/// A process that holds, or held, connections to the outside.
#[derive(Clone, Debug, Default)]
struct Holder {
    open: Vec<Open>,
    busy: u8,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    cause: Cause,
    began_ns: u64,
    until_ns: u64,
}

/// What is remembered of those that were watched.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    rounds: u32,
    again_ns: u64,
}

/// Connections to the outside, and who is listened to.
#[derive(Debug)]
pub struct Watches {
    holders: Map<ProcessKey, Holder>,
    flows: usize,
    active: BTreeMap<ProcessKey, Active>,
    past: LruCache<ProcessKey, Past, Fixed>,
    listening: LruCache<(ProcessKey, u64), Listening, Fixed>,
    /// Connections that were not remembered.
    pub flows_refused: u64,
    /// Times that a process was not watched although it should have been.
    pub refused: u64,
}

impl Default for Watches {
    fn default() -> Self {
        Watches {
            holders: Map::default(),
            flows: 0,
            active: BTreeMap::new(),
            past: cache(1_024),
            listening: cache(256),
            flows_refused: 0,
            refused: 0,
        }
    }
}

impl Watches {
    /// How full it is. `most` is how many processes there can be.
    pub fn sizes(&self, most: usize) -> Vec<Size> {
        let Watches {
            holders,
            flows,
            active,
            past,
            listening,
            flows_refused: _,
            refused: _,
        } = self;
        let open = holders.values().map(|holder| holder.open.len()).max();
        vec![
            Size::of("open connections", *flows, MAX_FLOWS),
            Size::of("holders of connections", holders.len(), MAX_FLOWS + most),
            Size::of(
                "connections of one",
                open.unwrap_or(0),
                MAX_FLOWS_PER_PROCESS,
            ),
            Size::of("watched processes", active.len(), MAX_WATCHED),
            Size::of("processes once watched", past.len(), past.cap().get()),
            Size::of("connections heard", listening.len(), listening.cap().get()),
        ]
    }

    /// A connection to the outside is open.
    pub fn opened(&mut self, open: Open) {
        if self.flows >= MAX_FLOWS {
            self.flows_refused += 1;
            return;
        }
        let holder = self.holders.entry(open.flow.process).or_default();
        if holder.open.len() >= MAX_FLOWS_PER_PROCESS {
            self.flows_refused += 1;
            return;
        }
        holder.open.push(open);
        self.flows += 1;
    }

    /// It is closed.
    pub fn closed(&mut self, process: ProcessKey, socket: u64) {
        if let Some(holder) = self.holders.get_mut(&process)
            && let Some(at) = holder
                .open
                .iter()
                .position(|open| open.socket == Some(socket))
        {
            holder.open.swap_remove(at);
            self.flows -= 1;
            if holder.open.is_empty() && holder.busy == 0 {
                self.holders.remove(&process);
            }
        }
        self.listening.pop(&(process, socket));
    }

    /// The process is gone.
    pub fn ended(&mut self, process: ProcessKey, out: &mut Vec<Output>) {
        if let Some(holder) = self.holders.remove(&process) {
            self.flows -= holder.open.len();
        }
        if self.active.remove(&process).is_some() {
            out.push(Output::Unwatch(process));
        }
    }

    /// The open connection a packet belongs to.
    pub fn open(&self, process: ProcessKey, socket: u64) -> Option<&Open> {
        let open = &self.holders.get(&process)?.open;
        open.iter().find(|open| open.socket == Some(socket))
    }

    /// The connection to the outside that a process has held longest.
    pub fn oldest(&self, process: ProcessKey) -> Option<&Open> {
        let open = &self.holders.get(&process)?.open;
        open.iter().min_by_key(|open| open.since_ns)
    }

    /// Whether it has kept a CPU busy for a while with connections to the outside.
    pub fn is_busy(&self, process: ProcessKey) -> bool {
        self.holders
            .get(&process)
            .is_some_and(|holder| holder.busy >= BUSY_PASSES)
    }

    /// Begins to watch a process, or goes on for longer.
    pub fn look(&mut self, process: ProcessKey, cause: Cause, now_ns: u64, out: &mut Vec<Output>) {
        let for_ns = match cause {
            Cause::Suspect => SUSPECT_NS,
            Cause::Connected => CONNECTION_NS,
        };
        let until_ns = now_ns.saturating_add(for_ns);
        if let Some(active) = self.active.get_mut(&process) {
            let end_ns = active.began_ns.saturating_add(MAX_WATCH_NS);
            active.until_ns = active.until_ns.max(until_ns.min(end_ns));
            if cause == Cause::Connected {
                active.cause = cause;
            }
            return;
        }
        let past = self.past.get(&process).copied().unwrap_or_default();
        if now_ns < past.again_ns {
            return;
        }
        let waited_for = || {
            let waits = |active: &&Active| active.cause == Cause::Suspect;
            self.active.values().filter(waits).count()
        };
        let full = self.active.len() >= MAX_WATCHED
            || cause == Cause::Suspect && waited_for() >= MAX_WAITED_FOR;
        if full {
            self.refused += 1;
            return;
        }
        let rounds = past.rounds.saturating_add(1);
        self.past.put(
            process,
            Past {
                rounds,
                again_ns: 0,
            },
        );
        let active = Active {
            cause,
            began_ns: now_ns,
            until_ns,
        };
        self.active.insert(process, active);
        out.push(self.watch(process));
    }

    /// Older connections of a process became known: they are watched as well if it is watched.
    pub fn learned(&self, process: ProcessKey, out: &mut Vec<Output>) {
        if self.active.contains_key(&process) {
            out.push(self.watch(process));
        }
    }

    fn watch(&self, process: ProcessKey) -> Output {
        let rounds = self.past.peek(&process).map_or(1, |past| past.rounds);
        let holder = self.holders.get(&process);
        let open = holder.map_or(&[][..], |holder| &holder.open);
        let older = open.iter().filter(|open| open.socket.is_none());
        Output::Watch(Watch {
            process,
            packets_per_connection: rounds.saturating_mul(PACKETS),
            older_flows: older.take(MAX_OLDER).map(|open| open.flow).collect(),
        })
    }

    /// Enough is known of it: it is not watched again.
    pub fn settle(&mut self, process: ProcessKey, out: &mut Vec<Output>) {
        let past = self.past.get(&process).copied().unwrap_or_default();
        self.past.put(
            process,
            Past {
                again_ns: u64::MAX,
                ..past
            },
        );
        if self.active.remove(&process).is_some() {
            out.push(Output::Unwatch(process));
        }
    }

    /// It runs something else now: what was known of it does not count.
    pub fn forget(&mut self, process: ProcessKey) {
        self.past.pop(&process);
    }

    /// A pass: who has become busy, and whose time is over. To be called before the pass's CPU time is
    /// taken from the accounts.
    pub fn pass(&mut self, elapsed_ns: u64, table: &Table, now_ns: u64, out: &mut Vec<Output>) {
        let busy_ns = elapsed_ns / 100 * BUSY_SHARE_PERCENT;
        let mut busy = Vec::new();
        let mut gone = 0;
        self.holders.retain(|key, holder| {
            let Some(process) = table.get(*key).filter(|process| process.is_alive()) else {
                gone += holder.open.len();
                return false;
            };
            if elapsed_ns > 0 && process.cpu.interval.cpu_ns >= busy_ns {
                holder.busy = (holder.busy + 1).min(MAX_BUSY_PASSES);
            } else {
                holder.busy = holder.busy.saturating_sub(1);
            }
            if holder.busy >= BUSY_PASSES {
                busy.push(*key);
            }
            !holder.open.is_empty() || holder.busy > 0
        });
        self.flows -= gone;
        busy.sort_unstable();
        for process in busy {
            self.look(process, Cause::Connected, now_ns, out);
        }
        let over: Vec<ProcessKey> = self
            .active
            .iter()
            .filter(|(_, active)| active.until_ns <= now_ns)
            .map(|(process, _)| *process)
            .collect();
        for process in over {
            self.active.remove(&process);
            let past = self.past.get(&process).copied().unwrap_or_default();
            let again_ns = now_ns.saturating_add(PAUSE_NS);
            self.past.put(process, Past { again_ns, ..past });
            out.push(Output::Unwatch(process));
        }
    }

    /// A packet of a watched process. Gives what is recognised, when this packet added to it.
    pub fn hear(&mut self, payload: &Payload) -> Option<Protocol> {
        if !self.active.contains_key(&payload.process) {
            return None; // settled, while its last packets were on their way
        }
        let key = (payload.process, payload.socket);
        let listening = self.listening.get_or_insert_mut(key, Listening::default);
        listening.hear(
            payload.outbound,
            payload.sequence,
            payload.total_bytes,
            &payload.bytes,
        )
    }
}
