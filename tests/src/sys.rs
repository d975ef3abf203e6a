//! The only `unsafe` of this package: what the safe wrappers of rustix do not reach.
//!
//! Three things: code between `fork` and `exec`, a `fork` without `exec`, and a signal handler. Each
//! keeps to async-signal-safe calls; nothing here allocates or takes a lock on the far side.
#![expect(
    unsafe_code,
    reason = "fork, pre_exec and sigaction have no safe interface; one file keeps them reviewable"
)]

use crate::burn;
use rustix::process::{Pid, Signal};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes the kernel send `signal` to the child when the *thread* that spawns it ends.
///
/// Whoever spawns must therefore outlive the child's use: a child kept in a `static` by a test thread
/// dies with that test.
pub fn die_with_parent(command: &mut Command, signal: Signal) {
    let parent = rustix::process::getpid();
    let set = move || {
        rustix::process::set_parent_process_death_signal(Some(signal))?;
        // The parent may have died before the request was made; nobody would send the signal then.
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    };
    // SAFETY: the closure runs after fork in a copy of one thread. It makes two system calls through
    // rustix (prctl, getppid), compares two integers it owns by copy, and builds an `io::Error` from a
    // kind or an errno, neither of which allocates. No lock is taken, nothing is shared with the parent.
    unsafe {
        command.pre_exec(set);
    }
}

/// Forks a child that burns CPU until `until` and then exits without unwinding or running destructors.
///
/// # Errors
/// Whatever `fork` refuses with, usually `EAGAIN`.
pub fn fork_burning_child(until: Instant) -> io::Result<Pid> {
    // SAFETY: fork in a process with threads leaves the child with locks that may never be released.
    // The child below calls only `burn::flat_out` (integer arithmetic and clock_gettime, no allocation, no
    // lock) and `_exit`, and never returns into code that could assume its threads are alive.
    let child = unsafe { libc::fork() };
    if child == 0 {
        burn::flat_out(until);
        // SAFETY: `_exit` is async-signal-safe and does not return; no destructor is owed in the child,
        // because everything it could own belongs to the parent.
        unsafe { libc::_exit(0) }
    }
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Pid::from_raw(child).expect("fork answers the parent with a positive pid"))
}

extern "C" fn note_interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP are noted ([`interrupted`]) instead of killing this process, so that
/// destructors run. A second signal of the same kind kills as usual.
///
/// # Errors
/// When the kernel refuses the handler.
pub fn catch_interrupts() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: an all-zero `sigaction` is a valid value: no flags, an empty mask, the default handler.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = note_interrupt as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESETHAND;
        // SAFETY: `action` is initialised and outlives the call, the old action is not asked for, and the
        // handler only stores to an atomic, which is async-signal-safe.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Whether somebody asked this process to stop. Always false before [`catch_interrupts`].
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
