//! The kernel tests: real probes on the running kernel, compared with what `/proc`, `stat(2)`, the
//! process's own CPU clock or a second set of probes say.
//!
//! A test that cannot run here (not root, no BTF) prints `SKIPPED name: reason`; where the machine
//! could run it, `cargo xtask test` makes a skip a failure.

mod actor;
mod cases;
mod program;
mod tally;
mod watch;
