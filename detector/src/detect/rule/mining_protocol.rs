//! `c2.mining_protocol`: a process speaks to a mining pool.
//!
//! Heard in the first bytes of what it sends and is sent (`detect/stratum.rs`), in plain text, so it is no
//! guess: what it talks is mining. Evidence: `protocol` (`stratum`), `dialect`, `methods`, `agent` as the
//! client calls itself, `ip`, `port`, `unowned`, `busy`. A warning by itself; conclusive where no package
//! knows the program or it keeps a CPU busy.
//!
//! Inside TLS only the name asked for can be heard: one of a known pool is `info` (`protocol`: `tls`,
//! `server_name`), which adds weight and no more.
//!
//! False positives: a host that is meant to mine, a node of a coin that is asked for block templates.

use crate::{
    detect::{network, pool, stratum::Protocol},
    incident::{Evidence, MiningEvidence, Severity, Spoken},
    input::Payload,
};

/// What was heard, told by whoever knows the process.
#[derive(Clone, Copy, Debug)]
pub struct Speaker {
    /// No package knows the program, or it has no file.
    pub unowned: bool,
    /// It has kept a CPU busy for a while.
    pub busy: bool,
}

/// Judges what was recognised in a packet. `None`: that says nothing.
pub fn judge(
    protocol: Protocol,
    payload: &Payload,
    speaker: Speaker,
) -> Option<(Severity, Evidence)> {
    let (severity, spoken) = match protocol {
        Protocol::Mining {
            dialect,
            methods,
            agent,
        } => (
            Severity::Warning,
            Spoken::Stratum {
                dialect,
                methods,
                agent,
            },
        ),
        Protocol::Tls { server_name } => {
            let name = server_name.filter(|name| pool::is_pool(name))?;
            (Severity::Info, Spoken::Tls { server_name: name })
        }
    };
    let evidence = Evidence::Mining(MiningEvidence {
        spoken,
        ip: network::address(payload.remote),
        port: payload.remote_port,
        unowned: speaker.unowned,
        busy: speaker.busy,
    });
    Some((severity, evidence))
}
