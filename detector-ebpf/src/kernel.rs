//! The only place that reads kernel memory.
//!
//! Typed pointers with accessors; each access adds an offset that the daemon took from BTF and
//! froze into read-only data, so the verifier sees a constant and checks it against its own BTF.
//! A member this kernel does not have is [`ABSENT`]: its branch is pruned and the accessor gives
//! the documented "unknown" value. A null pointer reads as zero (the kernel handles the fault).

use aya_ebpf::helpers::{bpf_get_current_task, bpf_probe_read_kernel, bpf_probe_read_kernel_buf};
use detector_common::{event::Process, offsets::ABSENT};

use crate::maps::OFFSETS;

/// The frozen offset of a member.
macro_rules! offset {
    ($field:ident) => {{
        // SAFETY: a static is always readable; volatile, because the daemon replaces the value
        // after compilation.
        unsafe { core::ptr::read_volatile(&raw const OFFSETS.$field) }
    }};
}

/// Reads a member through a pointer whose type the verifier knows; `$unknown` when absent.
macro_rules! member {
    ($base:expr, $field:ident: $ty:ty, else $unknown:expr) => {{
        let offset = offset!($field);
        if offset == ABSENT {
            $unknown
        } else {
            // SAFETY: the verifier admits the load only if BTF has a member of this size there,
            // and guards it against a bad pointer.
            unsafe { core::ptr::read_volatile($base.add(offset as usize).cast::<$ty>()) }
        }
    }};
    // An essential member: the program is not loaded without it.
    ($base:expr, $field:ident: $ty:ty) => {{
        let offset = offset!($field);
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile($base.add(offset as usize).cast::<$ty>()) }
    }};
}

/// Reads from an address of unknown type, `None` on a fault.
#[inline(always)]
fn probe<T>(address: *const u8) -> Option<T> {
    // SAFETY: the helper checks the address; T is made of integers only.
    unsafe { bpf_probe_read_kernel(address.cast::<T>()) }.ok()
}

macro_rules! pointer {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        pub struct $name(pub *const u8);
    };
}

pointer!(
    /// `struct task_struct *`
    Task
);
pointer!(
    /// `struct linux_binprm *`
    Binprm
);
pointer!(
    /// `struct inode *`
    Inode
);
pointer!(
    /// `struct sock *`
    Sock
);

impl Task {
    pub fn pid(self) -> u32 {
        member!(self.0, task_pid: u32)
    }

    pub fn tgid(self) -> u32 {
        member!(self.0, task_tgid: u32)
    }

    pub fn flags(self) -> u32 {
        member!(self.0, task_flags: u32)
    }

    pub fn start_boottime_ns(self) -> u64 {
        member!(self.0, task_start_boottime: u64)
    }

    pub fn comm(self) -> [u8; 16] {
        let mut comm = [0; 16];
        let address = self.0.wrapping_add(offset!(task_comm) as usize);
        // SAFETY: the helper checks the address. An unread name stays empty: a task always has one.
        let _ = unsafe { bpf_probe_read_kernel_buf(address, &mut comm) };
        comm
    }

    /// The process this thread belongs to.
    pub fn process(self) -> Process {
        let leader = Task(member!(self.0, task_group_leader: *const u8));
        Process {
            start_boottime_ns: leader.start_boottime_ns(),
            tgid: self.tgid(),
            reserved: 0,
        }
    }

    /// The process's parent.
    pub fn parent(self) -> Process {
        Task(member!(self.0, task_real_parent: *const u8)).process()
    }

    pub fn uid(self) -> u32 {
        let cred = member!(self.0, task_real_cred: *const u8);
        member!(cred, cred_uid: u32)
    }

    pub fn gid(self) -> u32 {
        let cred = member!(self.0, task_real_cred: *const u8);
        member!(cred, cred_gid: u32)
    }

    pub fn cpu_ns(self) -> u64 {
        member!(self.0, task_sum_exec_runtime: u64)
    }

    /// 0 when unknown.
    pub fn run_delay_ns(self) -> u64 {
        member!(self.0, task_run_delay: u64, else 0)
    }

    /// 0 (`SCHED_NORMAL`) when unknown.
    pub fn policy(self) -> u32 {
        member!(self.0, task_policy: u32, else 0)
    }

    /// 0 when unknown.
    pub fn static_prio(self) -> i32 {
        member!(self.0, task_static_prio: i32, else 0)
    }

    /// 0 when unknown.
    pub fn voluntary_switches(self) -> u64 {
        member!(self.0, task_nvcsw: u64, else 0)
    }

    /// 0 when unknown.
    pub fn involuntary_switches(self) -> u64 {
        member!(self.0, task_nivcsw: u64, else 0)
    }

    /// `u32::MAX` when unset or unknown.
    pub fn loginuid(self) -> u32 {
        member!(self.0, task_loginuid: u32, else u32::MAX)
    }

    /// `u32::MAX` when unset or unknown.
    pub fn audit_session(self) -> u32 {
        member!(self.0, task_sessionid: u32, else u32::MAX)
    }

    /// Inode number of the cgroup v2 folder, 0 when unknown.
    pub fn cgroup_id(self) -> u64 {
        let css_set = member!(self.0, task_cgroups: *const u8, else return 0);
        let cgroup = member!(css_set, css_set_dfl_cgrp: *const u8, else return 0);
        let node = member!(cgroup, cgroup_kn: *const u8, else return 0);
        member!(node, kernfs_node_id: u64, else 0)
    }

    /// Process id in the innermost pid namespace, 0 when unknown.
    pub fn namespace_pid(self) -> u32 {
        let pid = member!(self.0, task_thread_pid: *const u8, else return 0);
        let level = member!(pid, pid_level: u32, else return 0);
        if level == 0 {
            return upid(pid, 0);
        }
        // Linux 5.10 refuses to add a number it does not know to a pointer it knows: what a helper read is none.
        let slot = self.0.wrapping_add(offset!(task_thread_pid) as usize);
        match probe::<u64>(slot) {
            Some(pid) => upid(pid as *const u8, level),
            None => 0,
        }
    }

    /// Session leader's process id in the initial namespace, 0 when unknown.
    pub fn session(self) -> u32 {
        /// `PIDTYPE_SID` since 4.20.
        const SID: usize = 3;
        let offset = offset!(signal_pid_sid);
        if offset == ABSENT {
            return 0;
        }
        let signal = member!(self.0, task_signal: *const u8);
        let slot = signal.wrapping_add(offset as usize + SID * size_of::<u64>());
        match probe::<u64>(slot) {
            Some(pid) if pid != 0 => upid(pid as *const u8, 0),
            _ => 0,
        }
    }

    /// Threads of the process that have not begun to exit.
    pub fn live_threads(self) -> u32 {
        let signal = member!(self.0, task_signal: *const u8);
        member!(signal, signal_live: u32)
    }

    /// What `wait(2)` will report for the process.
    pub fn wait_status(self) -> u32 {
        let signal = member!(self.0, task_signal: *const u8);
        let group = member!(signal, signal_group_exit_code: u32);
        if group != 0 {
            return group;
        }
        let leader = member!(self.0, task_group_leader: *const u8);
        member!(leader, task_exit_code: u32)
    }

    /// First and one-past-last user address of argv.
    pub fn args_range(self) -> (u64, u64) {
        let mm = member!(self.0, task_mm: *const u8);
        (member!(mm, mm_arg_start: u64), member!(mm, mm_arg_end: u64))
    }

    /// The process that runs on this CPU. By probe reads: 5.10 has no typed current task.
    pub fn current_process() -> (Process, u64) {
        // SAFETY: always callable.
        let task = unsafe { bpf_get_current_task() } as *const u8;
        let at = |base: *const u8, offset: u32| base.wrapping_add(offset as usize);
        let leader: u64 = probe(at(task, offset!(task_group_leader))).unwrap_or(0);
        let leader = leader as *const u8;
        let process = Process {
            start_boottime_ns: probe(at(leader, offset!(task_start_boottime))).unwrap_or(0),
            tgid: probe(at(task, offset!(task_tgid))).unwrap_or(0),
            reserved: 0,
        };
        // SAFETY: always callable.
        (process, unsafe {
            aya_ebpf::helpers::bpf_get_current_cgroup_id()
        })
    }
}

/// `pid->numbers[level].nr`, 0 when unknown.
#[inline(always)]
fn upid(pid: *const u8, level: u32) -> u32 {
    let (numbers, size, nr) = (offset!(pid_numbers), offset!(upid_size), offset!(upid_nr));
    if numbers == ABSENT || size == ABSENT || nr == ABSENT {
        return 0;
    }
    // Namespaces nest at most 32 deep (MAX_PID_NS_LEVEL).
    let index = (level & 63) as usize;
    probe(pid.wrapping_add(numbers as usize + index * size as usize + nr as usize)).unwrap_or(0)
}

impl Binprm {
    pub fn inode(self) -> Inode {
        let file = member!(self.0, binprm_file: *const u8);
        Inode(member!(file, file_inode: *const u8))
    }

    /// Address of the loaded file's own name, null when unknown.
    pub fn name(self) -> *const u8 {
        let file = member!(self.0, binprm_file: *const u8);
        let dentry = member!(file, file_dentry: *const u8, else return core::ptr::null());
        member!(dentry, dentry_name: u64, else 0) as *const u8
    }

    pub fn filename(self) -> *const u8 {
        member!(self.0, binprm_filename: u64) as *const u8
    }

    pub fn interpreter(self) -> *const u8 {
        member!(self.0, binprm_interp: u64) as *const u8
    }

    /// 0 when unknown.
    pub fn argc(self) -> u32 {
        member!(self.0, binprm_argc: u32, else 0)
    }
}

impl Inode {
    pub fn number(self) -> u64 {
        member!(self.0, inode_ino: u64)
    }

    pub fn mode(self) -> u32 {
        u32::from(member!(self.0, inode_mode: u16))
    }

    pub fn nlink(self) -> u32 {
        member!(self.0, inode_nlink: u32)
    }

    pub fn size(self) -> u64 {
        member!(self.0, inode_size: u64)
    }

    pub fn uid(self) -> u32 {
        member!(self.0, inode_uid: u32)
    }

    pub fn ctime_sec(self) -> i64 {
        member!(self.0, inode_ctime_sec: i64)
    }

    /// 0 when unknown.
    pub fn ctime_nsec(self) -> u32 {
        /// `I_CTIME_QUERIED`, the multigrain flag (6.13 and later) that is no part of the time.
        const QUERIED: u32 = 1 << 31;
        let nsec = member!(self.0, inode_ctime_nsec32: u32, else
            member!(self.0, inode_ctime_nsec64: u64, else 0) as u32);
        nsec & !QUERIED
    }

    pub fn dev(self) -> u32 {
        let sb = member!(self.0, inode_sb: *const u8);
        member!(sb, sb_dev: u32)
    }

    pub fn fs_magic(self) -> u64 {
        let sb = member!(self.0, inode_sb: *const u8);
        member!(sb, sb_magic: u64)
    }

    /// Whether an overlay file has an upper part. `struct ovl_inode` is `vfs_inode` followed by
    /// `__upperdentry` in every supported kernel; its BTF may live in a module.
    pub fn overlay_upper(self) -> bool {
        let size = offset!(inode_struct_size);
        size != ABSENT
            && probe::<u64>(self.0.wrapping_add(size as usize)).is_some_and(|upper| upper != 0)
    }
}

impl Sock {
    pub fn family(self) -> u16 {
        member!(self.0, sk_family: u16)
    }

    pub fn protocol(self) -> u16 {
        member!(self.0, sk_protocol: u16)
    }

    pub fn remote_port(self) -> u16 {
        u16::from_be(member!(self.0, sk_dport: u16))
    }

    pub fn local_port(self) -> u16 {
        member!(self.0, sk_num: u16)
    }

    pub fn remote(self) -> [u8; 16] {
        self.address(member!(self.0, sk_daddr: u32), offset!(sk_v6_daddr))
    }

    pub fn local(self) -> [u8; 16] {
        self.address(member!(self.0, sk_rcv_saddr: u32), offset!(sk_v6_rcv_saddr))
    }

    /// The IPv6 address at `v6`, or `v4` mapped into IPv6.
    #[inline(always)]
    fn address(self, v4: u32, v6: u32) -> [u8; 16] {
        const AF_INET6: u16 = 10;
        if self.family() == AF_INET6 && v6 != ABSENT {
            return probe(self.0.wrapping_add(v6 as usize)).unwrap_or([0; 16]);
        }
        let [a, b, c, d] = v4.to_ne_bytes();
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
    }

    /// Inode number of the network namespace, 0 when unknown.
    pub fn network_namespace(self) -> u32 {
        let net = member!(self.0, sk_net: *const u8, else return 0);
        member!(net, net_inum: u32, else 0)
    }

    /// Pending `errno`, 0 when none or unknown.
    pub fn error(self) -> u32 {
        member!(self.0, sk_err: u32, else 0)
    }

    /// Payload bytes received and acknowledged by the peer; 0 when unknown. The verifier knows
    /// only the `struct sock` at the start of the `tcp_sock`, hence probe reads.
    pub fn tcp_bytes(self) -> (u64, u64) {
        let at = |offset: u32| match offset {
            ABSENT => 0,
            offset => probe(self.0.wrapping_add(offset as usize)).unwrap_or(0),
        };
        (
            at(offset!(tcp_bytes_received)),
            at(offset!(tcp_bytes_acked)),
        )
    }
}
