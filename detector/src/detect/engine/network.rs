//! What the engine does with sockets: who listens, who connects where, what is said.

use std::collections::BTreeSet;

use detector_common::event::{Connection, connection::change};

use super::Engine;
use crate::{
    detect::{
        lineage, network,
        rule::{
            mining_protocol::{self, Speaker},
            new_destination,
        },
        stratum::Protocol,
        watch::{Cause, Open},
        world::World,
    },
    incident::FindingType,
    input::{Flow, Integrity, Owner, Payload, ProcessKey, Sockets},
    output::Output,
};

/// First connections remembered of a process whose image is not judged yet.
const MAX_EARLY_CONNECTIONS: usize = 4;

impl Engine {
    pub(super) fn early_connections(&mut self, key: ProcessKey, out: &mut Vec<Output>) {
        let Some(process) = self.world.table.get_mut(key) else {
            return;
        };
        if process.suspicion.is_none() || process.connections.is_empty() {
            return;
        }
        for connection in std::mem::take(&mut process.connections) {
            self.destination(key, &connection, out);
        }
        let now_ns = self.world.now_ns();
        self.watches.look(key, Cause::Connected, now_ns, out);
    }

    fn destination(&mut self, key: ProcessKey, connection: &Connection, out: &mut Vec<Output>) {
        let suspicion = self
            .world
            .table
            .get(key)
            .and_then(|process| process.suspicion);
        if let Some((_, severity)) = suspicion {
            let evidence = new_destination::evidence(connection);
            self.report(key, FindingType::NewDestination, severity, evidence, out);
        }
        self.book.connected(key, connection, &self.world);
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
        if !new_destination::is_outbound(&self.world.config.network, connection) {
            self.book.connected(key, connection, &self.world);
            return;
        }
        self.world.ensure(key);
        if connection.change == change::ESTABLISHED {
            self.flow(key, connection, out);
        }
        let judged = self.world.has_wall_clock();
        let process = self.world.ensure(key);
        if process.suspicion.is_some() && judged {
            self.destination(key, connection, out);
            self.book.flush(&mut self.world, out);
            return;
        }
        let image = process.image.clone();
        let packaged = self
            .world
            .table
            .get(key)
            .zip(image)
            .is_some_and(|(process, image)| {
                let file = self.world.main_file(process, &image);
                file.is_some_and(|file| {
                    matches!(file.owner, Owner::Package(_))
                        && file.integrity != Some(Integrity::Modified)
                })
            });
        let process = self.world.ensure(key);
        let room = process.connections.len() < MAX_EARLY_CONNECTIONS;
        if !packaged && room {
            process.connections.push(*connection);
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
        if suspect || lineage::web_ancestor(table, key).is_some() {
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
