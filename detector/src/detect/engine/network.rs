//! What the engine does with sockets: who listens, who connects where, what is said.

use std::{collections::BTreeSet, net::IpAddr};

use detector_common::event::{Connection, connection::change};

use super::Engine;
use crate::{
    detect::{
        destination::Talker,
        lineage, network,
        process::MAX_EARLY_CONNECTIONS,
        rule::{
            connection_storm,
            mining_protocol::{self, Speaker},
            new_destination,
        },
        stratum::Protocol,
        watch::{Cause, Open},
        world::World,
    },
    incident::{FindingType, Severity},
    input::{Flow, Integrity, Owner, Payload, ProcessKey, Sockets},
    output::Output,
};

impl Engine {
    pub(super) fn early_connections(&mut self, key: ProcessKey, out: &mut Vec<Output>) {
        let Some(process) = self.world.table.get_mut(key) else {
            return;
        };
        if process.connections.is_empty() {
            return;
        }
        if process.suspicion.is_none() {
            if self.is_packaged(key) {
                for connection in self.take_early(key) {
                    self.habit(key, &connection, out);
                }
            }
            return;
        }
        for connection in self.take_early(key) {
            self.destination(key, &connection, out);
        }
        let now_ns = self.world.now_ns();
        self.watches.look(key, Cause::Connected, now_ns, out);
    }

    fn take_early(&mut self, key: ProcessKey) -> Vec<Connection> {
        let process = self.world.table.get_mut(key);
        process.map_or_else(Vec::new, |process| std::mem::take(&mut process.connections))
    }

    /// What a packaged program that is no suspect connects to is its habit; outside of that it is told.
    fn habit(&mut self, key: ProcessKey, connection: &Connection, out: &mut Vec<Output>) {
        if connection.change != change::ESTABLISHED {
            return;
        }
        let Some(talker) = talker(&self.world, key) else {
            return;
        };
        let address = network::address(connection.remote);
        let now_unix_ns = self.world.unix_ns(self.world.now_ns());
        let seen = self
            .destinations
            .saw(talker, address, connection.remote_port, now_unix_ns);
        out.extend(seen.remember.map(Output::Destination));
        if seen.new {
            let evidence = new_destination::evidence(connection, false, true);
            let kind = FindingType::NewDestination;
            self.report(key, kind, Severity::Info, evidence, out);
        }
    }

    /// Whether a program reaches a network that is not among its habits.
    fn is_new(&self, key: ProcessKey, address: IpAddr, port: u16) -> bool {
        let now_unix_ns = self.world.unix_ns(self.world.now_ns());
        talker(&self.world, key)
            .is_some_and(|talker| self.destinations.is_new(talker, address, port, now_unix_ns))
    }

    /// Says where a program that keeps a CPU busy has been connected to for long.
    pub(super) fn long_lived(&mut self, key: ProcessKey, out: &mut Vec<Output>) {
        let Some(open) = self.watches.oldest(key).copied() else {
            return;
        };
        let address = network::address(open.flow.remote);
        let new = self.is_new(key, address, open.flow.remote_port);
        let Some(evidence) = new_destination::long_lived(&open, new, self.world.now_ns()) else {
            return;
        };
        let suspicion = self.world.table.get(key).and_then(|of| of.suspicion);
        let severity = suspicion.map_or(Severity::Info, |(_, severity)| severity);
        self.report(key, FindingType::NewDestination, severity, evidence, out);
    }

    fn destination(&mut self, key: ProcessKey, connection: &Connection, out: &mut Vec<Output>) {
        let process = self.world.table.get(key);
        let suspicion = process.and_then(|process| process.suspicion);
        let odd = self.is_odd(key, connection);
        let severity = match suspicion {
            Some((_, severity)) if !odd => Some(severity),
            _ if odd => Some(Severity::Warning),
            _ => None,
        };
        if let Some(severity) = severity {
            let address = network::address(connection.remote);
            let new = self.is_new(key, address, connection.remote_port);
            let evidence = new_destination::evidence(connection, odd, new);
            self.report(key, FindingType::NewDestination, severity, evidence, out);
        }
        self.book.connected(key, connection, &self.world);
    }

    /// Whether a program below a web service reaches a port that services hardly use.
    fn is_odd(&self, key: ProcessKey, connection: &Connection) -> bool {
        new_destination::is_odd(connection.remote_port) && self.is_below_web_service(key)
    }

    /// Whether a package is known to own what it runs, and it is not known to be another content.
    fn is_packaged(&self, key: ProcessKey) -> bool {
        let process = self.world.table.get(key);
        let image = process.and_then(|process| process.image.as_deref());
        let file = process
            .zip(image)
            .and_then(|(process, image)| self.world.main_file(process, image));
        file.is_some_and(|file| {
            matches!(file.owner, Owner::Package(_)) && file.integrity != Some(Integrity::Modified)
        })
    }

    /// Whether a process is something else than a web service, with one above it: its own workers are
    /// forked and run its image.
    fn is_below_web_service(&self, key: ProcessKey) -> bool {
        let table = &self.world.table;
        let process = table.get(key);
        let something_else =
            process.is_some_and(|process| process.image.is_some() && !process.roles.web_service);
        something_else && lineage::web_ancestor(table, key).is_some()
    }

    /// Counts attempts and failures of programs, and tells a storm of them.
    fn connection_storm(
        &mut self,
        key: ProcessKey,
        connection: &Connection,
        out: &mut Vec<Output>,
    ) {
        let address = network::address(connection.remote);
        let outside = self.world.config.network.is_outside(address);
        if !self.world.has_wall_clock() || !connection_storm::is_elsewhere(address, outside) {
            return;
        }
        let Some(process) = self.world.table.get(key) else {
            return;
        };
        let image = process.image.as_ref().map(|image| image.executable.id);
        let Some(evidence) = self.connections.judge((process.group, image), connection) else {
            return;
        };
        let suspect = process
            .suspicion
            .is_some_and(|(_, severity)| severity >= Severity::Warning);
        let severity = if suspect || self.is_below_web_service(key) {
            Severity::Warning
        } else {
            Severity::Info
        };
        let kind = FindingType::ConnectionStorm;
        self.report(key, kind, severity, evidence, out);
        self.book.flush(&mut self.world, out);
    }

    pub(super) fn connection(&mut self, connection: &Connection, out: &mut Vec<Output>) {
        self.world.advance(connection.header.time_ns);
        let key = connection.process.into();
        match connection.change {
            change::LISTEN => {
                self.world.ensure(key);
                let World {
                    listeners, table, ..
                } = &mut self.world;
                return listeners.began(connection, table);
            }
            change::UNLISTEN => return self.world.listeners.ceased(connection),
            change::CLOSED => self.watches.closed(key, connection.socket),
            _ => {}
        }
        self.connection_storm(key, connection, out);
        if !new_destination::is_outbound(&self.world.config.network, connection) {
            self.book.connected(key, connection, &self.world);
            return;
        }
        self.world.ensure(key);
        if connection.change == change::ESTABLISHED {
            self.flow(key, connection, out);
        }
        let judged = self.world.has_wall_clock();
        let packaged = self.is_packaged(key);
        // What nobody has judged yet waits for its verdict.
        let odd = packaged && self.is_odd(key, connection);
        let process = self.world.ensure(key);
        if judged && (odd || process.suspicion.is_some()) {
            self.destination(key, connection, out);
            self.book.flush(&mut self.world, out);
            return;
        }
        let room = process.connections.len() < MAX_EARLY_CONNECTIONS;
        if !packaged && room {
            process.connections.push(*connection);
        }
        if packaged && judged {
            self.habit(key, connection, out);
        }
        self.book.connected(key, connection, &self.world);
    }

    /// A connection to the outside came about.
    fn flow(&mut self, key: ProcessKey, connection: &Connection, out: &mut Vec<Output>) {
        self.watches.opened(Open {
            socket: Some(connection.socket),
            since_ns: connection.header.time_ns,
            flow: Flow {
                process: key,
                network_namespace: connection.network_namespace,
                remote_port: connection.remote_port,
                local_port: connection.local_port,
                remote: connection.remote,
            },
        });
        self.look_if_suspect(key, out);
    }

    /// Listens to whoever has a connection and no good reason to be trusted.
    fn look_if_suspect(&mut self, key: ProcessKey, out: &mut Vec<Output>) {
        let table = &self.world.table;
        let suspect = table
            .get(key)
            .is_some_and(|process| process.suspicion.is_some());
        if suspect || self.is_below_web_service(key) {
            let now_ns = self.world.now_ns();
            self.watches.look(key, Cause::Connected, now_ns, out);
        }
    }

    pub(super) fn sockets(&mut self, at_ns: u64, sockets: &Sockets, out: &mut Vec<Output>) {
        self.world.advance(at_ns);
        let World {
            listeners,
            table,
            config,
            ..
        } = &mut self.world;
        listeners.snapshot(&sockets.listeners, table);
        let mut holders = BTreeSet::new();
        for flow in &sockets.flows {
            if config.network.is_outside(network::address(flow.remote)) {
                self.watches.opened(Open {
                    socket: None,
                    since_ns: at_ns,
                    flow: *flow,
                });
                holders.insert(flow.process);
            }
        }
        for holder in holders {
            self.watches.learned(holder, out);
            self.look_if_suspect(holder, out);
        }
    }

    /// A packet of a watched process. Where it speaks to a pool, enough is known.
    pub(super) fn payload(&mut self, payload: &Payload, out: &mut Vec<Output>) {
        self.world.advance(payload.at_ns);
        let key = payload.process;
        let Some(protocol) = self.watches.hear(payload) else {
            return;
        };
        let spoken = matches!(protocol, Protocol::Mining { .. });
        let process = self.world.table.get(key);
        let speaker = Speaker {
            unowned: process.is_some_and(|process| process.suspicion.is_some()),
            busy: self.watches.is_busy(key),
        };
        if let Some((severity, evidence)) = mining_protocol::judge(protocol, payload, speaker) {
            self.report(key, FindingType::MiningProtocol, severity, evidence, out);
            self.book.flush(&mut self.world, out);
        }
        if spoken {
            self.watches.settle(key, out);
        }
    }
}

/// Whose connections a process's are, where its program is known. By the path of the file that was judged, which does
/// not change with the name it is called by.
fn talker(world: &World, key: ProcessKey) -> Option<Talker<'_>> {
    let path = |key: ProcessKey| {
        let image = world.table.get(key)?.image.as_deref()?;
        world.file(image)?.path.as_deref()
    };
    let program = path(key)?;
    let head = world.table.get(key).and_then(|process| path(process.group));
    let head = head.filter(|head| *head != program);
    Some(Talker { program, head })
}
