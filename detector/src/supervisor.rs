//! What systemd is told: ready, alive, reloading, stopping (sd_notify(3), `Type=notify-reload`).
//!
//! One datagram to the socket that `$NOTIFY_SOCKET` names, in the file system or the abstract namespace; nothing is waited
//! for. "Alive" is said by the loop after a pass while the state's thread works, so a loop or a state that hangs, or passes
//! that fail, are restarted by systemd's watchdog.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// systemd, where it is there and wants to know.
#[derive(Debug, Default)]
pub struct Supervisor {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// It restarts us after twice that without a word.
    watchdog: bool,
}

impl Supervisor {
    /// The one that the environment names.
    pub fn from_environment() -> Supervisor {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
            return Supervisor::default();
        };
        let number = |name| {
            std::env::var(name)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
        };
        // WATCHDOG_PID may name another process of the service.
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let wants = number("WATCHDOG_USEC")
            .filter(|_| ours)
            .map(Duration::from_micros);
        if wants.is_some_and(|limit| limit < Duration::from_secs(5)) {
            tracing::warn!(?wants, "WatchdogSec is less than five passes of a second");
        }
        Supervisor::new(&name, wants.is_some()).unwrap_or_else(|error| {
            tracing::warn!(%error, socket = ?name, "systemd cannot be told anything");
            Supervisor::default()
        })
    }

    fn new(name: &OsStr, watchdog: bool) -> io::Result<Supervisor> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Supervisor {
            to: Some((socket, address)),
            watchdog,
        })
    }

    /// Every planned probe is attached and the first pass is done.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=watching");
    }

    /// A pass is done.
    pub fn alive(&self) {
        if self.watchdog {
            self.tell("WATCHDOG=1");
        }
    }

    /// The configuration is read again; [`Supervisor::ready`] ends that.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = now.tv_sec.saturating_mul(1_000_000) + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// What is queued is delivered, then it ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.to
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::debug!(%error, state, "systemd not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(socket: &UnixDatagram, supervisor: &Supervisor) -> Vec<String> {
        supervisor.ready();
        supervisor.alive();
        supervisor.reloading();
        supervisor.stopping();
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 256];
        std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|n| buffer[..n].to_vec()))
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .map(|text| text.split("_USEC=").next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn socket_in_the_file_system_and_in_the_abstract_namespace_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::new(path.as_os_str(), true).unwrap();
        let all = [
            "READY=1\nSTATUS=watching",
            "WATCHDOG=1",
            "RELOADING=1\nMONOTONIC",
            "STOPPING=1",
        ];
        assert_eq!(told(&socket, &supervisor), all);

        let name = format!("detector-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let supervisor = Supervisor::new(OsStr::new(&format!("@{name}")), false).unwrap();
        assert_eq!(told(&socket, &supervisor), [all[0], all[2], all[3]]);
    }

    #[test]
    fn systemd_that_is_not_there_or_gone_costs_nothing() {
        Supervisor::default().ready();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let supervisor = Supervisor::new(path.as_os_str(), true).unwrap();
        supervisor.alive();
    }
}
