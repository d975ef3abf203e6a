//! `cgroup_skb` at the root of the hierarchy: first bytes of what watched processes send and are sent.
//!
//! Attached only while somebody is watched, so it costs nothing else. Whose packet it is follows from
//! the socket: `connection` has remembered who opened it. Connections older than the probes are found by
//! address. At most [`PAYLOAD_BYTES`] of at most `limit` packets of a connection are kept. It never
//! drops a packet.

use aya_ebpf::{helpers::bpf_skb_load_bytes, macros::cgroup_skb, programs::SkBuffContext};
use detector_common::{
    counter::Counter,
    event::{
        Payload, Process, kind,
        payload::{FlowKey, PAYLOAD_BYTES, direction},
    },
};

use super::header;
use crate::{
    count::count,
    emit::Fill,
    maps::{NETWORK_RING, SOCKET_SCRATCH, SOCKETS, WATCHED, WATCHED_FLOWS},
};

const IPPROTO_TCP: u8 = 6;
/// What a `cgroup_skb` program returns to let a packet pass.
const PASS: i32 = 1;

#[cgroup_skb(egress)]
fn payload_out(ctx: SkBuffContext) -> i32 {
    let _kept = try_payload(&ctx, direction::OUT);
    PASS
}

#[cgroup_skb(ingress)]
fn payload_in(ctx: SkBuffContext) -> i32 {
    let _kept = try_payload(&ctx, direction::IN);
    PASS
}

/// A TCP packet with a payload.
struct Packet {
    source: [u8; 16],
    target: [u8; 16],
    source_port: u16,
    target_port: u16,
    sequence: u32,
    payload_at: u32,
    payload_bytes: u32,
}

/// `None`: not watched, no payload, or no room.
#[inline(always)]
fn try_payload(ctx: &SkBuffContext, direction: u32) -> Option<()> {
    let socket = socket(ctx)?;
    match SOCKETS.get_ptr_mut(socket) {
        Some(open) => {
            // SAFETY: packets of one socket on two CPUs may both read one count: one more is kept.
            let open = unsafe { &mut *open };
            let watched = WATCHED.get_ptr_mut(open.process.tgid)?;
            // SAFETY: as above.
            let watched = unsafe { &mut *watched };
            if watched.start_boottime_ns != open.process.start_boottime_ns
                || open.packets_kept >= watched.limit
                || watched.left == 0
            {
                return None;
            }
            let packet = Packet::read(ctx)?;
            open.packets_kept += 1;
            watched.left -= 1;
            send(ctx, &packet, direction, socket, open.process);
        }
        None => {
            let packet = Packet::read(ctx)?;
            let flow = WATCHED_FLOWS.get_ptr_mut(packet.flow(direction))?;
            // SAFETY: as above.
            let flow = unsafe { &mut *flow };
            if flow.left == 0 {
                return None;
            }
            flow.left -= 1;
            send(ctx, &packet, direction, socket, flow.process);
        }
    }
    Some(())
}

/// The socket's address, as `connection` uses it for a key. It goes through a map, because older
/// verifiers (before 5.12) take no pointer for a key, only numbers.
#[inline(always)]
fn socket(ctx: &SkBuffContext) -> Option<u64> {
    // SAFETY: the context is valid while the program runs; the verifier rewrites the load.
    let sock = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sock.is_null() {
        return None;
    }
    let slot = SOCKET_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: per-CPU slot; volatile, or the compiler would keep the pointer in a register.
    Some(unsafe {
        core::ptr::write_volatile(slot, sock as u64);
        core::ptr::read_volatile(slot)
    })
}

impl Packet {
    #[inline(always)]
    fn read(ctx: &SkBuffContext) -> Option<Packet> {
        let first: u8 = ctx.load(0).ok()?;
        let (tcp_at, source, target) = match first >> 4 {
            4 => {
                let ip: [u8; 20] = ctx.load(0).ok()?;
                if ip[9] != IPPROTO_TCP {
                    return None;
                }
                let mapped = |at: usize| {
                    let mut address = [0; 16];
                    address[10] = 0xff;
                    address[11] = 0xff;
                    address[12] = ip[at];
                    address[13] = ip[at + 1];
                    address[14] = ip[at + 2];
                    address[15] = ip[at + 3];
                    address
                };
                (u32::from(first & 15) * 4, mapped(12), mapped(16))
            }
            // Extension headers before TCP are rare enough to be left alone.
            6 => {
                if ctx.load::<u8>(6).ok()? != IPPROTO_TCP {
                    return None;
                }
                (40, ctx.load(8).ok()?, ctx.load(24).ok()?)
            }
            _ => return None,
        };
        let tcp: [u8; 16] = ctx.load(tcp_at as usize).ok()?;
        let payload_at = tcp_at + u32::from(tcp[12] >> 4) * 4;
        let bytes = ctx.len();
        if bytes <= payload_at {
            return None;
        }
        Some(Packet {
            source,
            target,
            source_port: u16::from_be_bytes([tcp[0], tcp[1]]),
            target_port: u16::from_be_bytes([tcp[2], tcp[3]]),
            sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
            payload_at,
            payload_bytes: bytes - payload_at,
        })
    }

    #[inline(always)]
    fn flow(&self, direction: u32) -> FlowKey {
        if direction == direction::OUT {
            FlowKey {
                remote: self.target,
                remote_port: self.target_port,
                local_port: self.source_port,
            }
        } else {
            FlowKey {
                remote: self.source,
                remote_port: self.source_port,
                local_port: self.target_port,
            }
        }
    }
}

#[inline(always)]
fn send(ctx: &SkBuffContext, packet: &Packet, direction: u32, socket: u64, process: Process) {
    let Some(mut slot) = NETWORK_RING.reserve::<Payload>(0) else {
        count(Counter::PayloadDropped);
        return;
    };
    let record = slot.as_mut_ptr();
    let flow = packet.flow(direction);
    // 1 to 512, in a form that every verifier believes: the mask is all it looks at. The compiler is
    // kept from seeing that it changes nothing.
    let last = core::hint::black_box((packet.payload_bytes - 1).min(PAYLOAD_BYTES as u32 - 1));
    let captured = (last & (PAYLOAD_BYTES as u32 - 1)) + 1;
    // SAFETY: the slot is ours until it is submitted, and large enough; every field is written but
    // the bytes beyond `captured`, which no reader looks at.
    let read = unsafe {
        (&raw mut (*record).header).write(header(kind::PAYLOAD));
        (&raw mut (*record).process).write(process);
        (&raw mut (*record).socket).write(socket);
        (&raw mut (*record).sequence).write(packet.sequence);
        (&raw mut (*record).total).write(packet.payload_bytes);
        (&raw mut (*record).captured).write(captured);
        (&raw mut (*record).direction).write(direction);
        (&raw mut (*record).remote).write(flow.remote);
        (&raw mut (*record).remote_port).write(flow.remote_port);
        (&raw mut (*record).local_port).write(flow.local_port);
        (&raw mut (*record).reserved).write(0);
        bpf_skb_load_bytes(
            ctx.skb.skb.cast(),
            packet.payload_at,
            (&raw mut (*record).bytes).cast(),
            captured,
        ) == 0
    };
    if read {
        slot.submit(Fill::of(&NETWORK_RING).wakeup());
    } else {
        slot.discard(0);
    }
}
