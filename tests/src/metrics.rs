//! What Prometheus would read from a daemon: asks, and takes the text apart line by line.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// As long as the daemon takes to give up on everybody who came before, and longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// As it was sent.
    pub text: String,
    samples: BTreeMap<String, f64>,
}

/// Asks on a Unix socket.
///
/// # Errors
/// It cannot be reached, or does not answer with metrics.
pub fn ask_socket(path: &Path) -> Result<Page> {
    let stream = UnixStream::connect(path).with_context(|| path.display().to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ask(stream)
}

/// Asks on a port.
///
/// # Errors
/// As [`ask_socket`].
pub fn ask_port(address: SocketAddr) -> Result<Page> {
    let stream = TcpStream::connect(address).with_context(|| address.to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ask(stream)
}

fn ask(mut stream: impl Read + Write) -> Result<Page> {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: detector\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, text) = answer
        .split_once("\r\n\r\n")
        .context("an answer without an end of its head")?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    Page::read(text)
}

impl Page {
    fn read(text: &str) -> Result<Page> {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (key, value) = line.rsplit_once(' ').context("a sample has a value")?;
            let before = samples.insert(key.to_owned(), value.parse()?);
            anyhow::ensure!(before.is_none(), "{key} twice");
        }
        let text = text.to_owned();
        Ok(Page { text, samples })
    }

    /// The value of `name{label="value"}`, written so. `None`: it is not told.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<f64> {
        self.samples.get(key).copied()
    }

    /// Everything.
    #[must_use]
    pub fn samples(&self) -> &BTreeMap<String, f64> {
        &self.samples
    }

    /// The values of one label of every sample of that name, which has no other label.
    #[must_use]
    pub fn labels(&self, name: &str, label: &str) -> Vec<&str> {
        let keys = self.samples.keys();
        keys.filter_map(|key| {
            key.strip_prefix(name)?
                .strip_prefix('{')?
                .strip_prefix(label)?
                .strip_prefix("=\"")?
                .strip_suffix("\"}")
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken_apart_and_a_repeated_one_is_an_error() {
        let text = "# HELP a_total A.\n# TYPE a_total counter\na_total{name=\"x y\"} 3.0\nb 1.5\n";
        let page = Page::read(text).unwrap();
        assert_eq!(page.get("a_total{name=\"x y\"}"), Some(3.0));
        assert_eq!((page.get("b"), page.get("c")), (Some(1.5), None));
        assert_eq!(page.labels("a_total", "name"), ["x y"]);
        assert!(Page::read("b 1\nb 2\n").is_err());
    }
}
