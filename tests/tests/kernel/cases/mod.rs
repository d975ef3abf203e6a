//! One file per family of probes, named as in the kernel side, and one per promise that spans them.

mod benign;
mod command_line;
mod connection;
mod cpu;
mod daemon;
mod doze;
mod evasion;
mod exec;
mod exit;
mod flood;
mod fork;
mod hostile;
mod listener;
mod loss;
mod metrics;
mod mining;
mod namespace;
mod payload;
mod privilege;
mod replay;
mod scenario;
mod state;
mod tampering;
mod throttle;
mod verdict;
