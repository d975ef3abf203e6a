//! How the daemon is, for whoever asks: Prometheus' text format over HTTP, on a Unix socket or on loopback.
//!
//! Counters are plain integers where things happen; they are gathered and written out when somebody asks, at most once a
//! second, so nothing here costs anything on the hot path. Who asks cannot make it cost either: [`server`] has a fixed
//! number of connections, each with a time limit and a bound on what is read.
//!
//! It refuses to be reachable from another machine and to hold what an attacker chose: no paths, no names of processes.

mod page;
mod place;
mod server;
mod tally;

pub use page::Page;
pub use server::{Scrape, Server};
pub use tally::Tally;
