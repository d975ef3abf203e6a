//! The kernel's side of the daemon: what this kernel offers (`support`), what to load because of
//! it (`plan`, pure), loading it (`load`), what came of it (`status`), whether it stays so (`links`), and the rights that are left (`privilege`).

pub mod btf;
mod fdinfo;
mod links;
pub mod load;
pub mod offsets;
pub mod plan;
pub mod privilege;
pub mod probe;
mod runs;
pub mod status;
pub mod support;
mod watch;

pub use links::Links;
pub use load::{LoadError, Loaded, Sizes, give_memory_back};
pub use plan::Plan;
pub use probe::Probe;
pub use runs::Runs;
pub use status::{State, Status};
pub use support::Facts;
pub use watch::WatchError;
