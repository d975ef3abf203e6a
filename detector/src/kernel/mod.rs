//! The kernel's side of the daemon: what this kernel offers (`support`), what to load because of
//! it (`plan`, pure), loading it (`load`), what came of it (`status`), and the rights that are left (`privilege`).

pub mod btf;
pub mod load;
pub mod offsets;
pub mod plan;
pub mod privilege;
pub mod probe;
pub mod status;
pub mod support;
mod watch;

pub use load::{LoadError, Loaded, Sizes};
pub use plan::Plan;
pub use probe::Probe;
pub use status::{State, Status};
pub use support::Facts;
pub use watch::WatchError;
