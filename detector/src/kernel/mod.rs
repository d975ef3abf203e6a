//! The kernel's side of the daemon: what this kernel offers (`support`), what to load because of
//! it (`plan`, pure), loading it (`load`), what came of it (`status`), whether it stays so (`links`), the
//! rights that are left (`privilege`), and the memory (`footprint`).

pub mod btf;
mod fdinfo;
mod footprint;
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

pub use footprint::give_memory_back;
pub use links::Links;
pub use load::{LoadError, Loaded, Sizes};
pub use plan::Plan;
pub use probe::Probe;
pub use runs::Runs;
pub use status::{State, Status};
pub use support::Facts;
pub use watch::WatchError;
