//! Says which BPF object the daemon embeds: `DETECTOR_BPF_OBJECT`, or else the one that `cargo xtask build` left in `target/bpf`.

use std::env;
use std::path::{Path, PathBuf};

const OBJECT: &str = "DETECTOR_BPF_OBJECT";

fn main() {
    // As it runs, not as it was compiled: a copied target folder brings this program along.
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo tells build scripts");
    let workspace = Path::new(&package)
        .parent()
        .expect("the package lies in the workspace's root folder");
    let object = env::var_os(OBJECT).map_or_else(
        || workspace.join("target/bpf/detector-ebpf.o"),
        PathBuf::from,
    );
    println!("cargo::rerun-if-env-changed={OBJECT}");
    println!("cargo::rerun-if-changed={}", object.display());
    if object.is_file() {
        println!("cargo::rustc-env={OBJECT}={}", object.display());
    } else {
        println!(
            "cargo::error=there is no BPF object at {}; `cargo xtask build` makes it",
            object.display()
        );
    }
}
