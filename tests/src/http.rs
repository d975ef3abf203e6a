//! As much HTTP as it takes to view a page of one's own server and to post a file to it.
//!
//! One request per connection, over TCP to a socket address, with a deadline. It refuses answers beyond
//! `MAX_ANSWER_BYTES`, and knows no redirects, TLS or chunks: ask a real client for those.

use anyhow::{Context as _, Result, bail, ensure};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 and its relatives.
    pub status: u16,
    /// The body, with everything that is not UTF-8 replaced.
    pub body: String,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// Path and query, already encoded.
    pub target: &'a str,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; an empty one is still announced.
    pub body: &'a [u8],
}

/// Sends `request` to `server` and reads the whole answer.
///
/// # Errors
/// When the server cannot be reached, falls silent before `deadline` is over, or does not speak HTTP.
pub fn send(server: SocketAddr, request: Request<'_>, deadline: Instant) -> Result<Response> {
    exchange(server, request, deadline)
        .with_context(|| format!("{} http://{server}{}", request.method, request.target))
}

fn exchange(server: SocketAddr, request: Request<'_>, deadline: Instant) -> Result<Response> {
    let left = left_until(deadline)?;
    let mut stream = TcpStream::connect_timeout(&server, left)?;
    stream.set_write_timeout(Some(left))?;
    let mut head = format!(
        "{} {} HTTP/1.0\r\nHost: shop.example\r\nConnection: close\r\nContent-Length: {}\r\n",
        request.method,
        request.target,
        request.body.len()
    );
    for (name, value) in request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(request.body)?;
    stream.set_read_timeout(Some(left_until(deadline)?))?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Response> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .with_context(|| format!("not an HTTP answer: {text:?}"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .with_context(|| format!("not an HTTP status line: {head:?}"))?;
    ensure!(head.starts_with("HTTP/1."), "not HTTP/1: {head:?}");
    Ok(Response {
        status,
        body: body.to_owned(),
    })
}

fn left_until(deadline: Instant) -> Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        bail!("out of time");
    }
    Ok(left)
}

/// Encodes `text` for use inside a query: everything but letters, digits and `-._~` as `%XX`.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_status_and_body() {
        let answer = b"HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\ngone\r\n\r\nfor good";
        let expected = Response {
            status: 404,
            body: "gone\r\n\r\nfor good".to_owned(),
        };
        assert_eq!(parse(answer).unwrap(), expected);
        assert!(parse(b"SSH-2.0-x 200\r\n\r\n").is_err());
        assert!(parse(b"").is_err());
    }

    #[test]
    fn encoding_leaves_nothing_that_means_something() {
        assert_eq!(encode("--for=3 &a[]/é"), "--for%3D3%20%26a%5B%5D%2F%C3%A9");
    }
}
