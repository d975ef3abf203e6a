//! Short stable names (of losses, of reasons) that the program gives and a recording gives back.
//!
//! The program's own are literals. One that is read is interned: each distinct name is kept once for the
//! rest of the program's life, so that both kinds are the same cheap type and compare by content. A file
//! can be hostile, so at most [`MAX_NAMES`] of at most [`MAX_BYTES`] are kept (64 KiB); what is beyond is
//! [`OTHER`], which is still a name and still counted.
//!
//! A list of all known names would make the same promise and have to be kept in step with every module
//! that gives one.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize as _, Deserializer};

/// A name that lives as long as the program.
///
/// An alias, because serde takes the spelt-out type for one that borrows from what is read.
pub type Name = &'static str;

/// Most names that are kept of what is read.
pub const MAX_NAMES: usize = 512;
/// Longest name that is kept of what is read, bytes.
pub const MAX_BYTES: usize = 128;
/// Stands for a name that was not kept.
pub const OTHER: Name = "other";

static NAMES: Mutex<BTreeSet<Name>> = Mutex::new(BTreeSet::new());

/// Reads a name: for `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// It is no text.
pub fn interned<'de, D: Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
    String::deserialize(from).map(|name| {
        // Nothing can panic while it is held: a set that a panic left is a whole one.
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        intern(&mut names, &name)
    })
}

fn intern(names: &mut BTreeSet<Name>, name: &str) -> Name {
    if let Some(known) = names.get(name) {
        return known;
    }
    if names.len() >= MAX_NAMES || name.len() > MAX_BYTES {
        return OTHER;
    }
    let kept: Name = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_a_hostile_file_cannot_make_the_table_grow() {
        let mut names = BTreeSet::new();
        let first = intern(&mut names, "exec_dropped");
        assert_eq!(first, "exec_dropped");
        assert!(std::ptr::eq(first, intern(&mut names, "exec_dropped")));
        assert_eq!(intern(&mut names, &"x".repeat(MAX_BYTES + 1)), OTHER);
        for number in 0..2 * MAX_NAMES {
            intern(&mut names, &number.to_string());
        }
        assert_eq!(names.len(), MAX_NAMES);
        assert_eq!(intern(&mut names, "one more"), OTHER);
        assert_eq!(intern(&mut names, "exec_dropped"), "exec_dropped");
    }
}
