//! What root can do to the BPF links of a running process: close them in it with a debugger, detach them from outside.
//!
//! The process is one of ours. What a debugger does is written for x86-64 only; the process goes on afterwards as if it
//! had been interrupted by a signal.
#![cfg(target_arch = "x86_64")]
#![expect(
    unsafe_code,
    reason = "ptrace, waitpid of a traced thread and bpf have no safe interface"
)]

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

/// The process has to sleep in a system call within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// `syscall`, as it stands in memory.
const SYSCALL: u64 = 0x050f;

/// Closes a descriptor of a process whose main thread sleeps every now and then.
///
/// # Errors
/// It may not be traced, never sleeps, or has no such descriptor.
pub fn close(pid: u32, descriptor: i32) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !try_close(pid, descriptor)? {
        ensure!(Instant::now() < deadline, "process {pid} never sleeps");
        std::thread::yield_now();
    }
    Ok(())
}

/// `false`: it was not in a system call.
fn try_close(pid: u32, descriptor: i32) -> Result<bool> {
    let traced = Traced::seize(pid)?;
    let before = traced.registers()?;
    if traced.word(before.rip - 2)? & 0xffff != SYSCALL {
        return Ok(false);
    }
    let mut call = before;
    call.rip -= 2;
    call.rax = libc::SYS_close as u64;
    call.rdi = descriptor as u64;
    // Not a system call that the kernel would begin again.
    call.orig_rax = u64::MAX;
    traced.set_registers(&call)?;
    traced.step()?;
    let result = traced.registers()?.rax as i64;
    traced.set_registers(&before)?;
    ensure!(result == 0, "close({descriptor}) gave {result}");
    Ok(true)
}

/// A stopped process; dropping it lets it go on.
struct Traced(libc::pid_t);

impl Traced {
    fn seize(pid: u32) -> Result<Traced> {
        let pid = libc::pid_t::try_from(pid)?;
        request(libc::PTRACE_SEIZE, pid, 0, 0).context("it may not be traced")?;
        let traced = Traced(pid);
        request(libc::PTRACE_INTERRUPT, pid, 0, 0)?;
        traced.wait()?;
        Ok(traced)
    }

    fn wait(&self) -> Result<()> {
        let mut status = 0;
        // SAFETY: `status` is written to and outlives the call.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL) };
        ensure!(waited == self.0, std::io::Error::last_os_error());
        if !libc::WIFSTOPPED(status) {
            bail!("it ended: {status:#x}");
        }
        Ok(())
    }

    fn step(&self) -> Result<()> {
        request(libc::PTRACE_SINGLESTEP, self.0, 0, 0)?;
        self.wait()
    }

    fn registers(&self) -> Result<libc::user_regs_struct> {
        let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::uninit();
        request(
            libc::PTRACE_GETREGS,
            self.0,
            0,
            registers.as_mut_ptr() as usize,
        )?;
        // SAFETY: the call succeeded, so the kernel has written all of it.
        Ok(unsafe { registers.assume_init() })
    }

    fn set_registers(&self, registers: &libc::user_regs_struct) -> Result<()> {
        let address = std::ptr::from_ref(registers) as usize;
        request(libc::PTRACE_SETREGS, self.0, 0, address).map(drop)
    }

    fn word(&self, address: u64) -> Result<u64> {
        let mut word = 0_u64;
        // The system call itself writes the word to where its last argument points.
        let to = (&raw mut word) as usize;
        request(libc::PTRACE_PEEKTEXT, self.0, address as usize, to)?;
        Ok(word)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // ESRCH: it has ended.
        let _gone = request(libc::PTRACE_DETACH, self.0, 0, 0);
    }
}

/// ptrace(2) as the kernel has it: arguments are numbers or addresses of the caller's.
fn request(what: libc::c_uint, pid: libc::pid_t, address: usize, data: usize) -> Result<i64> {
    // SAFETY: addresses among the arguments are those of live variables of the callers above, large enough for what the
    // request writes; the others are numbers.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, what, pid, address, data) };
    match result {
        -1 => Err(std::io::Error::last_os_error().into()),
        result => Ok(result),
    }
}

/// What `bpftool link detach` does to a link that a process holds.
///
/// # Errors
/// The process has no such descriptor, or it is no link that can be detached (those to tracepoints cannot).
pub fn detach(pid: u32, descriptor: i32) -> Result<()> {
    /// `BPF_LINK_DETACH` of bpf(2).
    const LINK_DETACH: libc::c_long = 34;
    let pid = Pid::from_raw(i32::try_from(pid)?).context("0 is no process")?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let link = rustix::process::pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty())?;
    let attributes = u32::try_from(link.as_raw_fd())?;
    let (from, bytes) = (&raw const attributes, size_of::<u32>());
    // SAFETY: the command reads four bytes, the descriptor, from where the second argument points.
    let result = unsafe { libc::syscall(libc::SYS_bpf, LINK_DETACH, from, bytes) };
    ensure!(result == 0, std::io::Error::last_os_error());
    Ok(())
}
