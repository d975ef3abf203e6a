//! Notices from inside the kernel when something eats the machine, says what it is and whose
//! fault it is. See `ARCHITECTURE.md` for the flow; the modules below follow it from left to right.

pub mod config;
pub mod deliver;
pub mod detect;
pub mod enrich;
pub mod incident;
pub mod input;
pub mod kernel;
pub mod output;
pub mod source;
