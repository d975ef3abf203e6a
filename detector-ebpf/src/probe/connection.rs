//! `tp_btf/inet_sock_set_state(sk, old, new)`: TCP, IPv4 and IPv6, also from io_uring.
//!
//! `connect` runs in the caller's context, so the process is right at the attempt; the answer and
//! the end come from interrupts and are looked up by socket. Inbound connections are only counted
//! per listening port; who listens there is told when it begins and when it ends.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use detector_common::{
    counter::Counter,
    event::{
        Connection,
        connection::{ListenKey, change},
        kind,
    },
    throttle::Ring,
};

use super::header;
use crate::{
    count::count,
    emit,
    kernel::{Sock, Task},
    maps::{ACCEPTS, NETWORK_RING, OpenSocket, SOCKETS},
    throttle::{self, Wanted},
};

const IPPROTO_TCP: u16 = 6;
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const CLOSE: i32 = 7;
const LISTEN: i32 = 10;

#[btf_tracepoint(function = "inet_sock_set_state")]
fn connection(ctx: BtfTracePointContext) -> i32 {
    try_connection(&ctx);
    0
}

#[inline(always)]
fn try_connection(ctx: &BtfTracePointContext) {
    let sock = Sock(ctx.arg::<*const u8>(0));
    let (old, new) = (ctx.arg::<i32>(1), ctx.arg::<i32>(2));
    // Five of the ten changes of a connection with both ends here say nothing new: they touch no memory.
    if !matches!(new, SYN_SENT | ESTABLISHED | CLOSE | LISTEN) || sock.protocol() != IPPROTO_TCP {
        return;
    }
    match new {
        SYN_SENT => attempt(sock),
        ESTABLISHED => established(sock, old),
        CLOSE if old == LISTEN => by_current(sock, change::UNLISTEN),
        CLOSE => closed(sock),
        LISTEN => by_current(sock, change::LISTEN),
        _ => {}
    }
}

impl OpenSocket {
    #[inline(always)]
    fn by(process: detector_common::event::Process, cgroup_id: u64) -> Self {
        OpenSocket {
            process,
            attempt_ns: now_ns(),
            established_ns: 0,
            cgroup_id,
            packets_kept: 0,
            reserved: 0,
        }
    }
}

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: always callable.
    unsafe { aya_ebpf::helpers::bpf_ktime_get_boot_ns() }
}

#[inline(always)]
fn by_current(sock: Sock, change: u32) {
    let (process, cgroup_id) = Task::current_process();
    send(sock, &OpenSocket::by(process, cgroup_id), change, 0);
}

#[inline(always)]
fn attempt(sock: Sock) {
    let (process, cgroup_id) = Task::current_process();
    let open = OpenSocket::by(process, cgroup_id);
    if SOCKETS.insert(sock.0 as u64, open, 0).is_err() {
        count(Counter::SocketTableFull);
    }
    send(sock, &open, change::ATTEMPT, 0);
}

#[inline(always)]
fn established(sock: Sock, old: i32) {
    if let Some(open) = SOCKETS.get_ptr_mut(sock.0 as u64) {
        // SAFETY: only this socket's own state changes touch its entry, and they do not overlap.
        let open = unsafe { &mut *open };
        open.established_ns = now_ns();
        let latency = open.established_ns.wrapping_sub(open.attempt_ns);
        send(sock, open, change::ESTABLISHED, latency);
    } else if old == SYN_RECV {
        accepted(sock);
    }
}

#[inline(always)]
fn accepted(sock: Sock) {
    let key = ListenKey {
        network_namespace: sock.network_namespace(),
        port: u32::from(sock.local_port()),
    };
    match ACCEPTS.get_ptr_mut(key) {
        // SAFETY: per-CPU value.
        Some(accepts) => unsafe { *accepts += 1 },
        None => {
            if ACCEPTS.insert(key, 1, 0).is_err() {
                count(Counter::ListenTableFull);
            }
        }
    }
}

#[inline(always)]
fn closed(sock: Sock) {
    let Some(open) = SOCKETS.get_ptr_mut(sock.0 as u64) else {
        return;
    };
    // SAFETY: as in `established`; copied before the entry goes.
    let open = unsafe { *open };
    if open.established_ns == 0 {
        send(
            sock,
            &open,
            change::FAILED,
            now_ns().wrapping_sub(open.attempt_ns),
        );
    } else {
        let age = now_ns().wrapping_sub(open.established_ns);
        send(sock, &open, change::CLOSED, age);
    }
    let _ = SOCKETS.remove(sock.0 as u64);
}

#[inline(always)]
fn send(sock: Sock, open: &OpenSocket, change: u32, duration_ns: u64) {
    let wanted = Wanted {
        ring: Ring::Network,
        bytes: size_of::<Connection>(),
        kept_out: Counter::ConnectionThrottled,
        cpu_ns: 0,
    };
    let Some(fill) = throttle::admit(&NETWORK_RING, wanted, || open.cgroup_id) else {
        return;
    };
    let (bytes_received, bytes_sent) = if change == change::CLOSED {
        sock.tcp_bytes()
    } else {
        (0, 0)
    };
    let error = if change == change::FAILED {
        sock.error()
    } else {
        0
    };
    emit::record(
        &NETWORK_RING,
        fill,
        Connection {
            header: header(kind::CONNECTION),
            process: open.process,
            socket: sock.0 as u64,
            duration_ns,
            bytes_received,
            bytes_sent,
            cgroup_id: open.cgroup_id,
            change,
            error,
            network_namespace: sock.network_namespace(),
            remote_port: sock.remote_port(),
            local_port: sock.local_port(),
            remote: sock.remote(),
            local: sock.local(),
        },
        Counter::ConnectionDropped,
    );
}
