//! What the documents claim, held against the source: every name of a loss has a test that causes it, and every test
//! that a page names is there.
//!
//! Needs no kernel: the source is read as text.

mod evasion;
mod losses;
mod source;
