//! The receivers: one file per kind.

pub mod http;
mod secret;

pub use http::HttpSink;
