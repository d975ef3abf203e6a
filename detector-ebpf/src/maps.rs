//! Every map: who writes it, key bound, size, what happens when full, kernel memory.
//!
//! Sizes are defaults: the daemon may set others before loading.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use detector_common::{
    counter,
    event::{
        Process,
        connection::ListenKey,
        exec::ExecRecord,
        payload::{FlowKey, Watched, WatchedFlow},
        task::TaskSeen,
    },
    offsets::Offsets,
    throttle::Throttle,
};

/// Where the running kernel keeps its members. Frozen by the daemon before loading.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::NONE;

/// 1 where a flooding cgroup can be told from others. Frozen by the daemon before loading.
#[unsafe(no_mangle)]
pub static THROTTLE: u32 = 0;

/// Exec, fork, exit and thread-end records. 2 MiB hold 3,300 execs of average size with their
/// forks and exits; the reader comes every 50 ms, so 66,000 execs a second fit, and more by its being woken at a quarter.
/// Full: the record is dropped and counted by kind.
#[map]
pub static PROCESS_RING: RingBuf = RingBuf::with_byte_size(2 << 20, 0);

/// Connection records, apart so that a connection flood cannot push out execs. 1 MiB hold 8,192.
/// Full: the record is dropped and counted.
#[map]
pub static NETWORK_RING: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// 1 while the reader has stopped its timer: the next record wakes it and sets this to 0. The daemon sets it.
#[map]
pub static DOZING: Array<u32> = Array::with_max_entries(1, 0);

/// Losses, one slot a [`counter::Counter`].
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);

/// Where an exec record is put together: it does not fit the 512-byte stack.
#[map]
pub static EXEC_SCRATCH: PerCpuArray<ExecRecord> = PerCpuArray::with_max_entries(1, 0);

/// Thread id → totals at the last pass. Least recently used goes first: a forgotten task is
/// emitted once more than needed, never missed. 32,768 entries, 3 MB.
#[map]
pub static TASKS_SEEN: LruHashMap<u32, TaskSeen> = LruHashMap::with_max_entries(32_768, 0);

/// Socket → who opened it. Only outbound sockets, gone when closed. Full: counted, the outcome of
/// that connection stays unknown and its packets are not looked into. 16,384 entries, 2 MB.
#[map]
pub static SOCKETS: HashMap<u64, OpenSocket> = HashMap::with_max_entries(16_384, 0);

/// Listening port → inbound connections accepted. One entry a port that was ever connected to.
/// Full: counted. 1,024 entries.
#[map]
pub static ACCEPTS: PerCpuHashMap<ListenKey, u64> = PerCpuHashMap::with_max_entries(1_024, 0);

/// Processes whose packets are looked into, by id. The daemon writes it and keeps within the size.
/// 64 entries, 8 KB.
#[map]
pub static WATCHED: HashMap<u32, Watched> = HashMap::with_max_entries(64, 0);

/// Connections of theirs that are older than the probes. The daemon writes it and keeps within the
/// size. 256 entries, 32 KB.
#[map]
pub static WATCHED_FLOWS: HashMap<FlowKey, WatchedFlow> = HashMap::with_max_entries(256, 0);

/// Where a socket's address becomes a number.
#[map]
pub static SOCKET_SCRATCH: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// cgroup → what it wrote while a ring was filling, and what was kept out of it. Least recently used goes first:
/// that cgroup is given its share anew and the daemon misses whose records were kept out, not how many. 1,024 entries,
/// 160 KB.
#[map]
pub static THROTTLES: LruHashMap<u64, Throttle> = LruHashMap::with_max_entries(1_024, 0);

/// What is remembered of an outbound socket while it is open.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct OpenSocket {
    /// Who called `connect`.
    pub process: Process,
    /// When, ns since boot.
    pub attempt_ns: u64,
    /// When the peer answered, 0 before.
    pub established_ns: u64,
    /// cgroup v2 id of the caller.
    pub cgroup_id: u64,
    /// Packets kept of it while its process was watched.
    pub packets_kept: u32,
    /// Zero.
    pub reserved: u32,
}
