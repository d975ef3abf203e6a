//! What was lost or cut short in the kernel, by name.
//!
//! A per-CPU array holds one `u64` per [`Counter`]; the daemon sums over CPUs and reports every
//! increase. Counters only grow.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// One kind of loss, as its index in the `COUNTERS` map.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter { $($(#[$doc])* $variant,)+ }

        impl Counter {
            /// Every counter, in map order.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)+];

            /// The stable name under which the loss is reported.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)+ }
            }
        }
    };
}

counters! {
    /// The process ring was full: an exec record is gone.
    ExecDropped = "exec_dropped",
    /// The process ring was full: a fork record is gone.
    ForkDropped = "fork_dropped",
    /// The process ring was full: a process exit record is gone.
    ExitDropped = "exit_dropped",
    /// The process ring was full: a finished thread's CPU time is gone.
    ThreadEndDropped = "thread_end_dropped",
    /// The network ring was full: a connection record is gone.
    ConnectionDropped = "connection_dropped",
    /// The network ring was full: first bytes of a watched connection are gone.
    PayloadDropped = "payload_dropped",
    /// The table of open outbound sockets was full: the outcome of a connection will not be known.
    SocketTableFull = "socket_table_full",
    /// The table of listening ports was full: inbound connections of one port are not counted.
    ListenTableFull = "listen_table_full",
    /// argv could not be read from the new address space (not faulted in): the record has none.
    ArgsUnreadable = "args_unreadable",
    /// A kernel string (filename, interpreter) could not be read: the record has none.
    PathUnreadable = "path_unreadable",
    /// The task filter refused an entry: the task is emitted on every pass instead.
    TaskFilterFull = "task_filter_full",
    /// The process ring was filling and the cgroup had written its share: an exec record is gone.
    ExecThrottled = "exec_throttled",
    /// As above: a fork record is gone.
    ForkThrottled = "fork_throttled",
    /// As above: a process exit record is gone.
    ExitThrottled = "exit_throttled",
    /// As above: a finished thread's CPU time is gone.
    ThreadEndThrottled = "thread_end_throttled",
    /// The network ring was filling and the cgroup had written its share: a connection record is gone.
    ConnectionThrottled = "connection_throttled",
}

/// Number of counters: the size of the `COUNTERS` map.
pub const COUNT: u32 = Counter::ALL.len() as u32;
