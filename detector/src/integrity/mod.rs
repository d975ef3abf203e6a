//! Whether somebody keeps the daemon from seeing: what `detector.agent.tampered` is told for.
//!
//! PURE: what was seen comes in, what is to be told comes out. Four questions, one file each: was it stopped
//! ([`gap`]), do the rings still tell of processes that are there ([`ring`]), are its own files what it runs ([`files`]);
//! the fourth, whether its links are still held, is [`crate::kernel::links`]'s.
//!
//! A false alarm here says that an intruder has root's rights. So each answer rests on something that a reload, an upgrade,
//! a suspended or migrated machine and load cannot cause; what could be one of those is told as `degraded`, or only logged.
#![deny(clippy::disallowed_methods)]

pub mod files;
pub mod gap;
pub mod ring;
