//! One file per family of probes, named as in the kernel side, and one per promise that spans them.

mod connection;
mod cpu;
mod exec;
mod exit;
mod fork;
mod loss;
