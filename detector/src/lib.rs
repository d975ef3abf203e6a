//! Notices from inside the kernel when something eats the machine, says what it is and whose
//! fault it is. See `ARCHITECTURE.md` for the flow; the modules below follow it from left to right.

pub mod detect;
pub mod enrich;
pub mod event;
pub mod incident;
pub mod input;
pub mod output;
pub mod render;
