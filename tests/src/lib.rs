//! What the scenarios, the demo and the stand-in share.
//!
//! Owns the moving parts of a rehearsed incident: a CPU load that is honest about what it burns
//! ([`burn`]), ways to hide ([`disguise`]), a conversation that sounds like mining and is not ([`conversation`], [`pool`]), a real
//! web server with one vulnerable page ([`web_stack`]), an intruder's programs and sessions ([`foothold`]), honest work
//! ([`chores`]), a cgroup to flood from ([`cgroup`]) and a program to flood with ([`shortest`]), faults of the machine ([`faults`]) and a receiver that can misbehave ([`recorder`]), the daemon under
//! observation ([`daemon`]) as its unit runs it ([`service`]) with what its unit gives it ([`means`]), what it told
//! about one suspect ([`told`]) and the
//! whole founding night ([`scenario`]), told to a newcomer by [`story`].
//!
//! Everything stays on loopback and in one temporary directory, is bounded in time, and ends with the
//! process that started it. Nothing here mines, downloads or leaves the machine.
//!
//! Unlike the daemon's policy, these modules read the clock and the file system freely: they *are* the
//! outside world. The only `unsafe` is in [`sys`], [`raw`], [`heap`] and [`faults::disk`].

pub mod actor;
pub mod burn;
pub mod cgroup;
pub mod chores;
pub mod conversation;
pub mod daemon;
pub mod disguise;
pub mod faults;
pub mod flood;
pub mod foothold;
pub mod heap;
pub mod http;
pub mod means;
pub mod metrics;
pub mod outcome;
pub mod pool;
pub mod process;
pub mod raw;
pub mod recorder;
pub mod scenario;
pub mod service;
pub mod shortest;
pub mod skip;
pub mod story;
pub mod sys;
pub mod tampering;
pub mod told;
pub mod trace;
pub mod traces;
pub mod web_stack;
