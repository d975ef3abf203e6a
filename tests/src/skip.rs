//! Saying that a test did not run: the one form that `cargo xtask test` counts.

/// Prints that the calling test is skipped, and why. The caller returns.
pub fn skipped(reason: &str) {
    let test = std::thread::current();
    println!("SKIPPED {}: {reason}", test.name().unwrap_or("a test"));
}
