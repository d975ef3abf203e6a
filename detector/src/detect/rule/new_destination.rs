//! `c2.new_destination`: a suspect program talks to the outside world over TCP.
//!
//! Suspect is an executable without owner, without file or deleted. Outside is what no local range
//! holds, or what is said to count as remote. Evidence: `ip`, `port`, `established`, `odd`, `new`, `open_s`,
//! `pool_port`. As loud as the suspicion itself: an administrator's own tool that talks to its API stays info.
//!
//! A packaged program below a web service (a shell, an interpreter, curl) is suspect enough where it reaches
//! a port that services hardly use (`odd`): that is how a reverse shell calls home. Then it is a warning.
//! A packaged program that has been known for a week and reaches a network it never talked to (`new`, see
//! `detect/destination.rs`) is info: kept, and part of an incident about the same process or lineage.
//!
//! A program that keeps a CPU busy (`impact.cpu_saturation`, `impact.compute_hijacking`) while it holds one
//! connection to the outside for [`LONG_LIVED_S`] seconds (`open_s`) is as loud as its suspicion, else info: miners
//! keep theirs for days, but so do clients of queues and databases.
//!
//! A port that pools use too (`pool_port`) says so and changes nothing: they are everybody's ports.
//!
//! False positives: as those of the suspicion; a web application that calls a program which calls an API on
//! a port of its own. What a packaged program (curl, bash) does elsewhere on behalf of a suspect is recorded
//! with the incident and is no finding of its own.

use detector_common::event::{Connection, connection::change};

use crate::{
    detect::{config::Network, network, watch::Open},
    incident::{DestinationEvidence, Evidence},
};

/// Whether a record is an outbound connection to the outside world.
pub fn is_outbound(config: &Network, connection: &Connection) -> bool {
    matches!(connection.change, change::ATTEMPT | change::ESTABLISHED)
        && config.is_outside(network::address(connection.remote))
}

/// Ports of services that programs below a web application reach for good reasons: mail, names, the web,
/// directories, databases, caches, queues.
const USUAL_PORTS: [u16; 24] = [
    22, 25, 53, 80, 110, 143, 389, 443, 465, 587, 636, 853, 873, 993, 995, 1_433, 3_306, 5_432,
    5_671, 5_672, 6_379, 8_080, 8_443, 9_418,
];
/// Ports of public mining pools (Falco's sandbox rules, pools' own pages), without those everybody uses.
const POOL_PORTS: [u16; 20] = [
    3_333, 3_334, 3_335, 3_336, 3_357, 4_444, 5_555, 5_556, 5_588, 5_730, 6_099, 7_777, 7_778,
    8_118, 9_332, 12_048, 14_433, 14_444, 45_560, 45_700,
];

/// Seconds from which a connection of a busy program is long-lived: a download of a page or an API call is over.
const LONG_LIVED_S: u64 = 60;

/// Whether services hardly use a port.
pub fn is_odd(port: u16) -> bool {
    !USUAL_PORTS.contains(&port)
}

/// What the finding rests on; `odd` and `new` as the caller judged them.
pub fn evidence(connection: &Connection, odd: bool, new: bool) -> Evidence {
    Evidence::Destination(DestinationEvidence {
        established: connection.change == change::ESTABLISHED,
        odd,
        new,
        ..answering(connection.remote, connection.remote_port)
    })
}

/// A peer that answered, and nothing else of note.
fn answering(remote: [u8; 16], port: u16) -> DestinationEvidence {
    DestinationEvidence {
        ip: network::address(remote),
        port,
        established: true,
        odd: false,
        new: false,
        open_s: None,
        pool_port: POOL_PORTS.contains(&port),
    }
}

/// What the finding rests on where a busy program has held a connection for long.
pub fn long_lived(open: &Open, new: bool, now_ns: u64) -> Option<Evidence> {
    let open_s = now_ns.saturating_sub(open.since_ns) / 1_000_000_000;
    (open_s >= LONG_LIVED_S).then(|| {
        Evidence::Destination(DestinationEvidence {
            new,
            open_s: Some(open_s),
            ..answering(open.flow.remote, open.flow.remote_port)
        })
    })
}
