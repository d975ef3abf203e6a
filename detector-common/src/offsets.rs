//! Where the running kernel keeps what the probes read.
//!
//! The daemon fills one [`Offsets`] from the kernel's BTF and freezes it into the BPF object's
//! read-only data before loading; the verifier then sees constants, checks each access against
//! BTF, and prunes the branches of members this kernel does not have ([`ABSENT`]).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The kernel has no such member: the branch that would read it is pruned by the verifier.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident: $name:literal [$($path:literal),+] $need:ident,)+) => {
        /// Byte offset of each member from the start of its structure, or [`ABSENT`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct Offsets { $($(#[$doc])* pub $field: u32,)+ }

        impl Offsets {
            /// Nothing known: what the object carries until the daemon overrides it.
            pub const NONE: Offsets = Offsets { $($field: ABSENT,)+ };

            /// How to look each member up in BTF, in field order.
            pub const SPECS: &'static [Spec] = &[$(
                Spec { field: stringify!($field), structure: $name, paths: &[$($path),+], need: Need::$need },
            )+];
        }
    };
}

/// One member to look up.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name of the field in [`Offsets`].
    pub field: &'static str,
    /// Kernel structure that holds the member.
    pub structure: &'static str,
    /// Member paths to try in order (`se.sum_exec_runtime`); kernels renamed some.
    /// The empty path stands for the size of the structure itself.
    pub paths: &'static [&'static str],
    /// What is lost without it.
    pub need: Need,
}

/// How much depends on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it the probe that reads it is not loaded.
    Essential,
    /// Without it a field of the event is missing.
    Optional,
}

offsets! {
    /// `pid_t`: thread id.
    task_pid: "task_struct" ["pid"] Essential,
    /// `pid_t`: process id.
    task_tgid: "task_struct" ["tgid"] Essential,
    /// `u32`: `PF_*` flags.
    task_flags: "task_struct" ["flags"] Essential,
    /// `char[16]`: thread name.
    task_comm: "task_struct" ["comm"] Essential,
    /// `u64`, ns since boot; called `real_start_time` before 5.5.
    task_start_boottime: "task_struct" ["start_boottime", "real_start_time"] Essential,
    /// `struct task_struct *`.
    task_real_parent: "task_struct" ["real_parent"] Essential,
    /// `struct task_struct *`.
    task_group_leader: "task_struct" ["group_leader"] Essential,
    /// `struct signal_struct *`.
    task_signal: "task_struct" ["signal"] Essential,
    /// `const struct cred *`.
    task_real_cred: "task_struct" ["real_cred"] Essential,
    /// `struct mm_struct *`.
    task_mm: "task_struct" ["mm"] Essential,
    /// `int`: wait status of the thread.
    task_exit_code: "task_struct" ["exit_code"] Essential,
    /// `u64`, ns on a CPU, exact at every context switch.
    task_sum_exec_runtime: "task_struct" ["se.sum_exec_runtime"] Essential,
    /// `unsigned long long`, ns spent runnable but waiting (`CONFIG_SCHED_INFO`).
    task_run_delay: "task_struct" ["sched_info.run_delay"] Optional,
    /// `unsigned int`: `SCHED_*`.
    task_policy: "task_struct" ["policy"] Optional,
    /// `int`: nice + 120.
    task_static_prio: "task_struct" ["static_prio"] Optional,
    /// `unsigned long`: voluntary context switches.
    task_nvcsw: "task_struct" ["nvcsw"] Optional,
    /// `unsigned long`: involuntary context switches.
    task_nivcsw: "task_struct" ["nivcsw"] Optional,
    /// `kuid_t` (`CONFIG_AUDIT`).
    task_loginuid: "task_struct" ["loginuid.val"] Optional,
    /// `unsigned int` (`CONFIG_AUDIT`): audit session.
    task_sessionid: "task_struct" ["sessionid"] Optional,
    /// `struct pid *`.
    task_thread_pid: "task_struct" ["thread_pid"] Optional,
    /// `struct css_set *` (`CONFIG_CGROUPS`).
    task_cgroups: "task_struct" ["cgroups"] Optional,
    /// `struct cgroup *`: the task's cgroup v2.
    css_set_dfl_cgrp: "css_set" ["dfl_cgrp"] Optional,
    /// `struct kernfs_node *`.
    cgroup_kn: "cgroup" ["kn"] Optional,
    /// `u64`: inode number of the cgroup's folder.
    kernfs_node_id: "kernfs_node" ["id.id", "id"] Optional,
    /// `struct pid *`: session leader.
    signal_pid_sid: "signal_struct" ["pids"] Optional,
    /// `int` inside `atomic_t`: threads that have not begun to exit.
    signal_live: "signal_struct" ["live.counter"] Essential,
    /// `int`: wait status of a group exit.
    signal_group_exit_code: "signal_struct" ["group_exit_code"] Essential,
    /// `unsigned int`: depth of the pid namespace.
    pid_level: "pid" ["level"] Optional,
    /// `struct upid[]`.
    pid_numbers: "pid" ["numbers"] Optional,
    /// Size of `struct upid`.
    upid_size: "upid" [""] Optional,
    /// `int`.
    upid_nr: "upid" ["nr"] Optional,
    /// `kuid_t`.
    cred_uid: "cred" ["uid.val"] Essential,
    /// `kgid_t`.
    cred_gid: "cred" ["gid.val"] Essential,
    /// `unsigned long`: user address of argv's first byte.
    mm_arg_start: "mm_struct" ["arg_start"] Essential,
    /// `unsigned long`: user address after argv's last byte.
    mm_arg_end: "mm_struct" ["arg_end"] Essential,
    /// `struct file *`: what the kernel loaded (for a script: the interpreter).
    binprm_file: "linux_binprm" ["file"] Essential,
    /// `const char *`: path as passed to execve.
    binprm_filename: "linux_binprm" ["filename"] Essential,
    /// `const char *`: path of what was loaded; differs from `filename` for scripts.
    binprm_interp: "linux_binprm" ["interp"] Essential,
    /// `int`: argument count.
    binprm_argc: "linux_binprm" ["argc"] Optional,
    /// `struct inode *`.
    file_inode: "file" ["f_inode"] Essential,
    /// `struct dentry *`.
    file_dentry: "file" ["f_path.dentry"] Optional,
    /// `const unsigned char *`.
    dentry_name: "dentry" ["d_name.name"] Optional,
    /// `unsigned long`.
    inode_ino: "inode" ["i_ino"] Essential,
    /// `umode_t`.
    inode_mode: "inode" ["i_mode"] Essential,
    /// `unsigned int`: 0 once the file was deleted.
    inode_nlink: "inode" ["i_nlink"] Essential,
    /// `loff_t`.
    inode_size: "inode" ["i_size"] Essential,
    /// `kuid_t`: owner of the file.
    inode_uid: "inode" ["i_uid.val"] Essential,
    /// `time64_t`: seconds; three layouts over the versions.
    inode_ctime_sec: "inode" ["i_ctime_sec", "__i_ctime.tv_sec", "i_ctime.tv_sec"] Essential,
    /// `u32` (6.11 and later).
    inode_ctime_nsec32: "inode" ["i_ctime_nsec"] Optional,
    /// `long` (before 6.11).
    inode_ctime_nsec64: "inode" ["__i_ctime.tv_nsec", "i_ctime.tv_nsec"] Optional,
    /// `struct super_block *`.
    inode_sb: "inode" ["i_sb"] Essential,
    /// Size of `struct inode`: overlayfs keeps its upper dentry right behind it.
    inode_struct_size: "inode" [""] Optional,
    /// `dev_t`, kernel encoding.
    sb_dev: "super_block" ["s_dev"] Essential,
    /// `unsigned long`: `statfs` magic.
    sb_magic: "super_block" ["s_magic"] Essential,
    /// `unsigned short`.
    sk_family: "sock" ["__sk_common.skc_family"] Essential,
    /// `__be16`.
    sk_dport: "sock" ["__sk_common.skc_dport"] Essential,
    /// `__u16`, host order.
    sk_num: "sock" ["__sk_common.skc_num"] Essential,
    /// `__be32`: remote address.
    sk_daddr: "sock" ["__sk_common.skc_daddr"] Essential,
    /// `__be32`: local address.
    sk_rcv_saddr: "sock" ["__sk_common.skc_rcv_saddr"] Essential,
    /// `struct in6_addr`: remote address (`CONFIG_IPV6`).
    sk_v6_daddr: "sock" ["__sk_common.skc_v6_daddr"] Optional,
    /// `struct in6_addr`: local address (`CONFIG_IPV6`).
    sk_v6_rcv_saddr: "sock" ["__sk_common.skc_v6_rcv_saddr"] Optional,
    /// `struct net *` (`CONFIG_NET_NS`).
    sk_net: "sock" ["__sk_common.skc_net.net"] Optional,
    /// `unsigned int`: inode number of the network namespace.
    net_inum: "net" ["ns.inum"] Optional,
    /// `u16`: `IPPROTO_*`.
    sk_protocol: "sock" ["sk_protocol"] Essential,
    /// `int`: pending error; why a connect failed.
    sk_err: "sock" ["sk_err"] Optional,
    /// `u64`: payload bytes received.
    tcp_bytes_received: "tcp_sock" ["bytes_received"] Optional,
    /// `u64`: payload bytes the peer has acknowledged.
    tcp_bytes_acked: "tcp_sock" ["bytes_acked"] Optional,
}

const _: () = assert!(size_of::<Offsets>() == Offsets::SPECS.len() * size_of::<u32>());
