//! TCP state changes worth telling: `tp_btf/inet_sock_set_state`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Header, Process};

/// Values of [`Connection::change`].
pub mod change {
    /// `connect` sent its first packet.
    pub const ATTEMPT: u32 = 1;
    /// The peer answered.
    pub const ESTABLISHED: u32 = 2;
    /// Never established; `error` says why.
    pub const FAILED: u32 = 3;
    /// An established connection ended.
    pub const CLOSED: u32 = 4;
    /// The process began to listen on the local port.
    pub const LISTEN: u32 = 5;
    /// A socket listens no longer. `process` is who closed it last, not who listened.
    pub const UNLISTEN: u32 = 6;
}

/// One change of one socket. IPv4 addresses are IPv4-mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Connection {
    /// Kind [`kind::CONNECTION`](super::kind::CONNECTION).
    pub header: Header,
    /// Who called `connect` or `listen`.
    pub process: Process,
    /// Socket identity: the same in every change of one connection.
    pub socket: u64,
    /// ns since the attempt (established, failed) or since established (closed).
    pub duration_ns: u64,
    /// Payload bytes received (closed).
    pub bytes_received: u64,
    /// Payload bytes sent and acknowledged (closed).
    pub bytes_sent: u64,
    /// cgroup v2 id of the caller, 0 when unknown.
    pub cgroup_id: u64,
    /// A value of [`change`].
    pub change: u32,
    /// `errno` (failed), 0 when unknown.
    pub error: u32,
    /// Network namespace's inode number, 0 when unknown.
    pub network_namespace: u32,
    /// Remote port.
    pub remote_port: u16,
    /// Local port.
    pub local_port: u16,
    /// Remote address.
    #[cfg_attr(feature = "serde", serde(with = "serde_bytes"))]
    pub remote: [u8; 16],
    /// Local address.
    #[cfg_attr(feature = "serde", serde(with = "serde_bytes"))]
    pub local: [u8; 16],
}

/// Key of the map of inbound connections per listening port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ListenKey {
    /// Network namespace's inode number, 0 when unknown.
    pub network_namespace: u32,
    /// Local port.
    pub port: u32,
}

const _: () = assert!(size_of::<Connection>() == 120);
const _: () = assert!(size_of::<ListenKey>() == 8);
