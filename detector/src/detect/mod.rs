//! What is going on, judged: a pure function over inputs that carry their own time.
//!
//! [`Engine::apply`] takes one fact and says what follows. It owns the process table, CPU accounting,
//! lineage and the rules; [`crate::incident`] owns what becomes of findings. Invariants: no clock, no
//! I/O, no globals, no randomness but the seed's; the same inputs and seed give the same outputs;
//! every table is bounded and counts what it had to forget. It refuses to trust names: a process is
//! its id and start, a file its device, inode and ctime.
#![deny(clippy::disallowed_methods)]

pub mod blame;
pub mod config;
pub mod cpu;
pub mod destination;
pub mod engine;
pub mod excuse;
pub mod executable;
pub mod hash;
pub mod host;
pub mod indicator;
pub mod interpreter;
pub mod lineage;
pub mod listener;
pub mod network;
pub mod path;
mod pending;
pub mod pool;
pub mod process;
pub mod rule;
mod script;
pub mod sequential;
pub mod size;
pub mod stratum;
pub mod table;
pub mod tls;
pub mod usage;
pub mod watch;
pub mod window;
pub mod world;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use config::{Config, Network};
pub use engine::{Counters, Engine, Seed};
