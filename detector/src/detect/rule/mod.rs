//! Rules: one file per finding type, each saying what it means, what it rests on and when it is wrong.
//!
//! Rules about images are functions of an [`Image`]; they hold no state. The rules of load and `event_loss`
//! judge passes, `respawn` judges ends and returns, `preloaded_library` what enrichment found in a process:
//! they remember what they have already said.

use super::process::Suspicion;
use crate::incident::{Evidence, FindingType, Severity};

pub mod compute_hijacking;
pub mod connection_storm;
pub mod cpu_saturation;
pub mod cpu_steal;
pub mod deleted_executable;
pub mod event_loss;
pub mod fileless;
pub mod from_writable_dir;
mod image;
pub mod known_indicator;
pub mod masqueraded_name;
pub mod mining_protocol;
pub mod modified_package_file;
pub mod new_binary;
pub mod new_destination;
pub mod new_script;
pub mod preloaded_library;
pub mod process_storm;
pub mod respawn;
pub mod traffic_saturation;
pub mod web_server_spawned_shell;

pub use image::{Image, View};

/// What a rule says.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What.
    pub kind: FindingType,
    /// How loud.
    pub severity: Severity,
    /// Resting on.
    pub evidence: Evidence,
    /// Whether the image is suspect from now on.
    pub suspicion: Option<Suspicion>,
}

/// The rules about images.
const OF_IMAGES: [fn(&Image<'_>) -> Option<Verdict>; 9] = [
    fileless::judge,
    deleted_executable::judge,
    web_server_spawned_shell::judge,
    new_binary::judge,
    new_script::judge,
    modified_package_file::judge,
    from_writable_dir::judge,
    masqueraded_name::judge,
    known_indicator::judge,
];

/// Everything the image rules say.
pub fn judge(image: &Image<'_>) -> impl Iterator<Item = Verdict> {
    OF_IMAGES.iter().filter_map(|judge| judge(image))
}
