//! The receivers: one file per kind.

pub mod http;
mod secret;
pub mod stdout;

pub use http::HttpSink;
pub use stdout::Stdout;
