use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use detector_common::event::connection::ListenKey;

use super::*;
use crate::{
    enrich::socket,
    input::{Flow, Listener, Sockets},
};

/// This very process, as a task scan tells it.
fn myself() -> event::Task {
    let stat = fs::read_to_string("/proc/self/stat").expect("it is there");
    let (_, after_name) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks: u64 = after_name
        .split_ascii_whitespace()
        .nth(19)
        .and_then(|field| field.parse().ok())
        .expect("a start time");
    let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    let mut task: event::Task = zerocopy::FromZeros::new_zeroed();
    task.pid = std::process::id();
    task.process.tgid = task.pid;
    task.process.start_boottime_ns = ticks * tick_ns;
    task
}

#[test]
fn listeners_and_outbound_connections_of_both_families_are_told_with_their_process() {
    let namespace = fs::metadata("/proc/self/ns/net")
        .expect("it is there")
        .ino();
    let namespace = u32::try_from(namespace).expect("namespaces have small numbers");
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback is up");
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("loopback is up");
    let addresses = [&v4, &v6].map(|listener| listener.local_addr().expect("it listens"));
    let streams = addresses.map(|address| TcpStream::connect(address).expect("it listens"));
    let accepted = [&v4, &v6].map(|listener| listener.accept().expect("somebody came"));

    let task = myself();
    let key = ProcessKey::from(task.process);
    let Sockets { listeners, flows } = socket::snapshot(&[task]);

    for (address, stream) in addresses.iter().zip(&streams) {
        let listener = Listener {
            key: ListenKey {
                network_namespace: namespace,
                port: u32::from(address.port()),
            },
            process: key,
        };
        assert!(listeners.contains(&listener), "{listener:?} {listeners:?}");
        let remote = match address {
            SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
            SocketAddr::V6(v6) => v6.ip().octets(),
        };
        let local = stream.local_addr().expect("it is connected");
        let mine: Vec<&Flow> = flows
            .iter()
            .filter(|flow| [flow.local_port, flow.remote_port].contains(&address.port()))
            .collect();
        assert_eq!(
            mine,
            [&Flow {
                process: key,
                network_namespace: namespace,
                remote_port: address.port(),
                local_port: local.port(),
                remote,
            }],
            "the inbound side is no flow"
        );
    }
    drop(accepted);
}
