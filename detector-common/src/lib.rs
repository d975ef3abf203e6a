#![no_std]
//! The one definition of everything that crosses from the kernel side to the daemon.
//!
//! Owns the record layouts ([`event`]), the kernel member offsets the daemon hands in ([`offsets`])
//! the loss counters ([`counter`]) and what a
//! flooding cgroup is kept to ([`throttle`]). Every layout is explicit to the byte, checked at compile
//! time, and made of integers only: a kernel byte is never reinterpreted as an enum.
//! It refuses policy: nothing here decides anything.

pub mod counter;
pub mod event;
pub mod offsets;
pub mod throttle;
