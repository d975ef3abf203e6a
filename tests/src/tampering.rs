//! What root can do to the BPF links of a running process: close them in it with a debugger, detach them from outside.
//!
//! The process is one of ours, and goes on afterwards as if it had been interrupted by a signal.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
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
/// The general registers, as core dumps call them.
const NT_PRSTATUS: usize = 1;

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
    let instruction = call::instruction(&before);
    if traced.word(instruction)? & call::MASK != call::INSTRUCTION {
        return Ok(false);
    }
    let number = libc::SYS_close as u64;
    traced.set_registers(&call::again(before, number, descriptor as u64))?;
    traced.step()?;
    let result = call::result(&traced.registers()?);
    traced.set_registers(&before)?;
    ensure!(result == 0, "close({descriptor}) gave {result}");
    Ok(true)
}

/// How a system call is made.
#[cfg(target_arch = "x86_64")]
mod call {
    use libc::user_regs_struct as Registers;

    /// `syscall`, as it stands in memory.
    pub const INSTRUCTION: u64 = 0x050f;
    pub const MASK: u64 = 0xffff;

    /// Where the instruction lies that has just been executed.
    pub fn instruction(registers: &Registers) -> u64 {
        registers.rip - 2
    }

    /// Makes another call by the same instruction.
    pub fn again(mut registers: Registers, number: u64, argument: u64) -> Registers {
        registers.rip = instruction(&registers);
        registers.rax = number;
        registers.rdi = argument;
        // Not a system call that the kernel would begin again.
        registers.orig_rax = u64::MAX;
        registers
    }

    pub fn result(registers: &Registers) -> i64 {
        registers.rax as i64
    }
}

/// How a system call is made.
#[cfg(target_arch = "aarch64")]
mod call {
    use libc::user_regs_struct as Registers;

    /// `svc #0`, as it stands in memory.
    pub const INSTRUCTION: u64 = 0xd400_0001;
    pub const MASK: u64 = 0xffff_ffff;

    /// Where the instruction lies that has just been executed.
    pub fn instruction(registers: &Registers) -> u64 {
        registers.pc - 4
    }

    /// Makes another call by the same instruction.
    pub fn again(mut registers: Registers, number: u64, argument: u64) -> Registers {
        registers.pc = instruction(&registers);
        registers.regs[8] = number;
        registers.regs[0] = argument;
        registers
    }

    pub fn result(registers: &Registers) -> i64 {
        registers.regs[0] as i64
    }
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
        let to = registers.as_mut_ptr().cast();
        self.register_set(libc::PTRACE_GETREGSET, to)?;
        // SAFETY: the call succeeded and wrote as many bytes as the structure has.
        Ok(unsafe { registers.assume_init() })
    }

    fn set_registers(&self, registers: &libc::user_regs_struct) -> Result<()> {
        let from = std::ptr::from_ref(registers).cast_mut().cast();
        self.register_set(libc::PTRACE_SETREGSET, from)
    }

    /// Reads or writes them all, at `place`, which has room for them.
    fn register_set(&self, what: libc::c_uint, place: *mut libc::c_void) -> Result<()> {
        let length = size_of::<libc::user_regs_struct>();
        let mut part = libc::iovec {
            iov_base: place,
            iov_len: length,
        };
        request(what, self.0, NT_PRSTATUS, (&raw mut part) as usize)?;
        ensure!(part.iov_len == length, "{} of {length} bytes", part.iov_len);
        Ok(())
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
