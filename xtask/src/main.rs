//! `cargo xtask`: one file per verb.
fn main() {}
