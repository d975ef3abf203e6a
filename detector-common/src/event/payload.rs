//! First bytes of packets of watched processes: `cgroup_skb`, attached only while somebody is watched.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Header, Process};

/// Bytes kept of one packet: a mining client's `login` with its long list of algorithms names its
/// method, user and agent in the first 300.
pub const PAYLOAD_BYTES: usize = 512;
const _: () = assert!(PAYLOAD_BYTES.is_power_of_two());

/// Values of [`Payload::direction`].
pub mod direction {
    /// The process sent it.
    pub const OUT: u32 = 1;
    /// The process is sent it.
    pub const IN: u32 = 2;
}

/// One packet with a payload. The bytes follow in full; those beyond `captured` mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Payload {
    /// Kind [`kind::PAYLOAD`](super::kind::PAYLOAD).
    pub header: Header,
    /// Who opened the connection.
    pub process: Process,
    /// Socket identity, as in [`Connection`](super::Connection).
    pub socket: u64,
    /// TCP sequence number of the first payload byte.
    pub sequence: u32,
    /// Payload bytes of the packet.
    pub total: u32,
    /// Payload bytes kept.
    pub captured: u32,
    /// A value of [`direction`].
    pub direction: u32,
    /// Remote address, IPv4-mapped where it is one.
    pub remote: [u8; 16],
    /// Remote port.
    pub remote_port: u16,
    /// Local port.
    pub local_port: u16,
    /// Zero.
    pub reserved: u32,
    /// The first bytes.
    pub bytes: [u8; PAYLOAD_BYTES],
}

/// Value of the map of watched processes, by process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Watched {
    /// Start of the process: a reused id is not watched.
    pub start_boottime_ns: u64,
    /// Packets kept of each of its connections, counted since that connection began.
    pub limit: u32,
    /// Packets kept of all its connections from now on.
    pub left: u32,
}

/// Key of the map of watched connections that are older than the probes. Network namespaces are not
/// told apart: two containers' connections with the same three numbers would be taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FlowKey {
    /// Remote address, IPv4-mapped where it is one.
    pub remote: [u8; 16],
    /// Remote port.
    pub remote_port: u16,
    /// Local port.
    pub local_port: u16,
}

/// Value of that map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct WatchedFlow {
    /// Who holds it.
    pub process: Process,
    /// Packets to keep from now on.
    pub left: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Payload>() == 592);
const _: () = assert!(size_of::<Watched>() == 16);
const _: () = assert!(size_of::<FlowKey>() == 20);
const _: () = assert!(size_of::<WatchedFlow>() == 24);
