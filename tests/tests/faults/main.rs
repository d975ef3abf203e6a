//! The delivery guarantee under faults, as far as it can be tried in a minute: `cargo xtask bench faults` plays the whole.

mod kill;
mod outage;
mod page;
mod power;
mod receiver;
