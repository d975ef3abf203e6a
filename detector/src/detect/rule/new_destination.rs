//! `c2.new_destination`: a suspect program talks to the outside world over TCP.
//!
//! Suspect is an executable without owner, without file or deleted. Outside is what no local range
//! holds, or what is said to count as remote. Evidence: `ip`, `port`, `established`. As loud as the
//! suspicion itself: an administrator's own tool that talks to its API stays info.
//!
//! False positives: as those of the suspicion. What a packaged program (curl, bash) does on behalf of
//! a suspect is recorded with the incident and is no finding of its own.

use detector_common::event::{Connection, connection::change};

use crate::{
    detect::{config::Network, network},
    incident::{DestinationEvidence, Evidence},
};

/// Whether a record is an outbound connection to the outside world.
pub fn is_outbound(config: &Network, connection: &Connection) -> bool {
    matches!(connection.change, change::ATTEMPT | change::ESTABLISHED)
        && config.is_outside(network::address(connection.remote))
}

/// What the finding rests on.
pub fn evidence(connection: &Connection) -> Evidence {
    Evidence::Destination(DestinationEvidence {
        ip: network::address(connection.remote),
        port: connection.remote_port,
        established: connection.change == change::ESTABLISHED,
    })
}
