//! The receivers: one file per kind.

pub mod http;
pub mod stdout;
mod secret;

pub use http::HttpSink;
pub use stdout::Stdout;
