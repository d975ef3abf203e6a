//! Notices from inside the kernel when something eats the machine, says what it is and whose
//! fault it is. See `ARCHITECTURE.md` for the flow.

pub mod budget;
pub mod command;
pub mod config;
pub mod deliver;
pub mod detect;
pub mod enrich;
pub mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod host;
pub mod incident;
pub mod input;
pub mod integrity;
pub mod judge;
pub mod kernel;
mod loss;
pub mod metrics;
pub mod name;
pub mod output;
pub mod recording;
pub mod render;
pub mod report;
mod reread;
pub mod runtime;
pub mod simulate;
pub mod source;
pub mod state;
mod supervisor;
mod vitals;
