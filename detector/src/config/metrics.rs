//! `[metrics]`: where Prometheus may ask how the detector is.

use std::{net::SocketAddr, os::unix::ffi::OsStrExt as _, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::section::{Problem, problem};

/// Bytes of a socket's path: `sun_path` of unix(7), less its end.
const SOCKET_PATH_BYTES: usize = 107;

/// `[metrics]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// A Unix socket; `None`: `metrics.sock` in systemd's runtime folder, where there is one; empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// A port on loopback; `None`: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}

impl Metrics {
    pub(super) fn problem(&self) -> Problem {
        if let Some(path) = &self.socket {
            let bytes = path.as_os_str().as_bytes().len();
            if bytes > 0 && !path.is_absolute() {
                return problem(
                    "metrics.socket",
                    "must be absolute: the daemon's folder is not the operator's",
                );
            }
            if bytes > SOCKET_PATH_BYTES {
                return problem(
                    "metrics.socket",
                    format!(
                        "{bytes} bytes are more than the {SOCKET_PATH_BYTES} of a socket's address"
                    ),
                );
            }
        }
        let address = self.listen?;
        if address.ip().is_loopback() {
            return None;
        }
        problem(
            "metrics.listen",
            format!(
                "{} is not a loopback address: whoever can reach it would learn what this host does; let a proxy that \
                 asks who it is listen there",
                address.ip()
            ),
        )
    }
}

/// The folder that systemd made for what lives as long as the service does (`RuntimeDirectory=`).
pub(crate) fn runtime_folder() -> Option<PathBuf> {
    let folders = std::env::var_os("RUNTIME_DIRECTORY")?;
    // Several are separated by colons.
    let first = folders.as_bytes().split(|byte| *byte == b':').next()?;
    (!first.is_empty()).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(first)))
}
