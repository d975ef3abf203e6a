//! A real Alertmanager on loopback, asked whether it shows an incident.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::{
    http::{self, Request},
    process::Owned,
    recorder::loopback,
};

/// As Debian installs it.
const PROGRAM: &str = "/usr/bin/prometheus-alertmanager";
/// Nobody is told: what counts is what it shows.
const CONFIG: &str = "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n";
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(1);

/// One that runs until it is dropped.
#[derive(Debug)]
pub struct Alertmanager {
    address: SocketAddr,
    _process: Owned,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    /// Starts it; `None`: it is not installed.
    pub fn start(deadline: Instant) -> Result<Option<Alertmanager>> {
        if !Path::new(PROGRAM).is_file() {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("alertmanager.yml");
        fs::write(&config, CONFIG)?;
        // Its port is free again when the listener is dropped.
        let address = loopback().local_addr()?;
        let data = folder.path().join("data");
        let mut command = Command::new(PROGRAM);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Owned::start("alertmanager", &mut command, Signal::KILL)?;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            ensure!(!process.has_exited(), "{PROGRAM} ended");
            ensure!(Instant::now() < deadline, "{PROGRAM} does not listen");
            std::thread::sleep(PAUSE);
        }
        Ok(Some(Alertmanager {
            address,
            _process: process,
            _folder: folder,
        }))
    }

    /// Its section of the detector's configuration.
    pub fn section(&self) -> String {
        format!(
            "[sink.alertmanager]\nurls = [\"http://{}\"]\n",
            self.address
        )
    }

    /// Waits until its interface shows an alert of that incident.
    pub fn wait_shown(&self, incident: &str, deadline: Instant) -> Result<()> {
        let target = format!("/api/v2/alerts?filter=incident%3D%22{incident}%22");
        loop {
            let request = Request {
                method: "GET",
                target: &target,
                headers: &[],
                body: b"",
            };
            let answer = http::send(self.address, request, deadline)?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
            if answer.body.contains(incident) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{incident} is not shown");
            std::thread::sleep(PAUSE);
        }
    }
}
