//! Which BPF toolchain to use, and what is missing from it. Facts in, plan out: looks at nothing, changes nothing.
//!
//! Two ways lead to a BPF object. `Nightly` is rustup's nightly with `rust-src`, which builds `core` itself; `Distro` is
//! a Debian package of rustc with a prebuilt `core`. Both need `bpf-linker`, which reads rustc's bitcode and so must be
//! built against the same major version of LLVM.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// The version of bpf-linker that is built when none fits; a newer one found on the machine is as good.
pub const LINKER: (u32, u32, u32) = (0, 13, 0);

/// The distribution's packages of way 2; the first one says which LLVM they carry.
pub const DISTRO_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// Packages that exclude those of way 2. They are the user's, and are never taken away.
pub const DISTRO_CONFLICTS: [&str; 5] =
    ["rustc", "rustup", "cargo", "rustc-mozilla", "cargo-mozilla"];

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// Whichever is there; else whichever can be completed
    Auto,
    /// rustup's nightly with rust-src
    Nightly,
    /// The distribution's rustc with a prebuilt core
    Distro,
}

/// Which compiler builds the BPF object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Nightly,
    Distro,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nightly => "nightly",
            Self::Distro => "distribution's rustc",
        })
    }
}

/// What was found on the machine. `None` and empty mean "not there", never "not known".
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// A C compiler, which links everything on the host's side.
    pub cc: bool,
    /// rustup's nightly toolchain.
    pub nightly: Option<Nightly>,
    /// LLVM's major version in the distribution's rustc, if its prebuilt `core` for BPF is installed as well.
    pub distro_llvm: Option<u32>,
    /// Every bpf-linker that runs: on PATH first, then in the cache.
    pub linkers: Vec<Linker>,
    /// Major versions of LLVM whose libraries can be linked against.
    pub llvm_dev: BTreeSet<u32>,
    /// What apt offers; `None` on systems without it.
    pub apt: Option<Apt>,
}

/// rustup's nightly toolchain.
#[derive(Clone, Debug)]
pub struct Nightly {
    /// LLVM's major version.
    pub llvm: u32,
    /// The sources of `core` are installed.
    pub rust_src: bool,
    /// Why rustup could not install them, when that was tried already.
    pub refused: Option<String>,
}

/// A bpf-linker that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linker {
    pub path: PathBuf,
    pub version: (u32, u32, u32),
    /// LLVM's major version.
    pub llvm: u32,
}

/// What apt offers.
#[derive(Clone, Debug, Default)]
pub struct Apt {
    /// Major versions of LLVM that have development packages.
    pub llvm_dev: BTreeSet<u32>,
    /// LLVM's major version in way 2's packages, if they are offered and new enough.
    pub distro_llvm: Option<u32>,
    /// Installed packages that exclude way 2's.
    pub conflicts: Vec<String>,
}

/// Something to be done before a toolchain is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Install {
        packages: Vec<String>,
        why: &'static str,
    },
    AddRustSrc,
    BuildLinker {
        llvm: u32,
    },
}

/// The way to go, and the steps until it is complete: none when it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub way: Way,
    /// LLVM's major version.
    pub llvm: u32,
    /// The linker to use; `None` until it is built.
    pub linker: Option<PathBuf>,
    pub steps: Vec<Step>,
}

/// Decides. An error says, for every way that was asked for, why it is closed.
pub fn plan(facts: &Facts, choice: Choice) -> Result<Plan, String> {
    match choice {
        Choice::Nightly => nightly(facts),
        Choice::Distro => distro(facts),
        Choice::Auto => match (nightly(facts), distro(facts)) {
            (Ok(a), Ok(b)) => Ok(if effort(&b) < effort(&a) { b } else { a }),
            (Ok(plan), Err(_)) | (Err(_), Ok(plan)) => Ok(plan),
            (Err(a), Err(b)) => Err(format!(
                "there is no way to a BPF toolchain here.\n  nightly: {a}\n  distro: {b}"
            )),
        },
    }
}

/// Nothing to do before a missing linker before a missing compiler.
fn effort(plan: &Plan) -> u8 {
    let has_compiler = plan.steps.iter().all(|step| match step {
        Step::AddRustSrc => false,
        Step::Install { packages, .. } => {
            !packages.iter().any(|package| package == DISTRO_PACKAGES[0])
        }
        Step::BuildLinker { .. } => true,
    });
    match (plan.steps.is_empty(), has_compiler) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

fn nightly(facts: &Facts) -> Result<Plan, String> {
    let Some(nightly) = &facts.nightly else {
        return Err("no nightly toolchain is installed (`rustup toolchain install nightly --component rust-src`)".into());
    };
    let mut steps = Vec::new();
    if !nightly.rust_src {
        if let Some(reason) = &nightly.refused {
            return Err(format!(
                "nightly lacks rust-src, and rustup could not add it: {reason}"
            ));
        }
        steps.push(Step::AddRustSrc);
    }
    complete(facts, Way::Nightly, nightly.llvm, steps)
}

fn distro(facts: &Facts) -> Result<Plan, String> {
    if let Some(llvm) = facts.distro_llvm {
        return complete(facts, Way::Distro, llvm, Vec::new());
    }
    let Some(apt) = &facts.apt else {
        return Err("/usr/bin/rustc has no `core` for bpfel-unknown-none, and this system has no apt to install one".into());
    };
    let packages = DISTRO_PACKAGES.map(str::to_owned).to_vec();
    if !apt.conflicts.is_empty() {
        return Err(format!(
            "{} would have to replace {}, which you installed; remove it yourself if you want this way",
            packages.join(", "),
            apt.conflicts.join(", ")
        ));
    }
    let Some(llvm) = apt.distro_llvm else {
        return Err(format!(
            "apt offers no {} of version 1.95 or later",
            DISTRO_PACKAGES[0]
        ));
    };
    let why = "a rustc that comes with `core` for the BPF target";
    complete(
        facts,
        Way::Distro,
        llvm,
        vec![Step::Install { packages, why }],
    )
}

/// Adds what either way needs: a linker for this LLVM, and a C compiler.
fn complete(facts: &Facts, way: Way, llvm: u32, mut steps: Vec<Step>) -> Result<Plan, String> {
    let linker = facts
        .linkers
        .iter()
        .find(|linker| linker.llvm == llvm && linker.version >= LINKER);
    if !facts.cc {
        if facts.apt.is_none() {
            return Err("there is no C compiler (`cc`), and no apt to install one".into());
        }
        let packages = ["gcc", "libc6-dev"].map(str::to_owned).to_vec();
        steps.push(Step::Install {
            packages,
            why: "a C compiler, which links every host program",
        });
    }
    if linker.is_none() {
        if !facts.llvm_dev.contains(&llvm) {
            if !facts
                .apt
                .as_ref()
                .is_some_and(|apt| apt.llvm_dev.contains(&llvm))
            {
                let (major, minor, patch) = LINKER;
                return Err(format!(
                    "bpf-linker {major}.{minor}.{patch} or later for LLVM {llvm} is not on PATH, and LLVM {llvm}'s development \
                     files, from which it could be built, are neither installed nor offered by a package manager known here"
                ));
            }
            let packages = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")].to_vec();
            steps.push(Step::Install {
                packages,
                why: "the LLVM that bpf-linker is built against; rustc's own is not usable",
            });
        }
        steps.push(Step::BuildLinker { llvm });
    }
    Ok(Plan {
        way,
        llvm,
        linker: linker.map(|linker| linker.path.clone()),
        steps,
    })
}

#[cfg(test)]
#[path = "toolchain_tests.rs"]
mod tests;
