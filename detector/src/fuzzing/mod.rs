//! What is done with bytes that somebody else chose, and what has to hold whatever they are: the bodies of the fuzz targets.
//!
//! `cargo xtask fuzz` drives them with libFuzzer (`fuzz/` has one program a target, which does nothing else); the tests here
//! play the kept corpora through the same functions. A body panics where a promise is broken; that the bytes are refused never is.
//! Built for tests and with `--cfg fuzzing` only: nothing of it is shipped.

mod btf;
mod config;
mod decode;
mod payload;
mod recording;
mod response;
mod state;
mod text;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::state::filled;
pub use self::{
    btf::btf, config::config, decode::decode, payload::payload, recording::recording,
    response::response, state::state, text::text,
};
pub use crate::enrich::{fuzz_dpkg as dpkg, fuzz_rpm as rpm};

/// What may stand in no text that is shown: written down apart from `event/text.rs`, which this is to hold it to.
fn is_unsafe_to_show(character: char) -> bool {
    let code = u32::from(character);
    character.is_control()
        || matches!(code, 0x061c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069 | 0xfeff | 0xe0000..=0xe007f)
}

/// Panics when `text` holds what may forge a line, steer a terminal or reorder what is read.
#[track_caller]
fn assert_safe_to_show(text: &str) {
    let found = text.chars().find(|character| is_unsafe_to_show(*character));
    assert_eq!(found, None, "in {text:?}");
}

/// A folder in memory: a million runs must not wear out a disk.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    made.expect("a temporary folder")
}
