//! The plan for every machine that matters: complete ones, fresh ones, and those where a way is closed.

use super::*;

fn linker(llvm: u32) -> Linker {
    Linker {
        path: format!("/cache/{llvm}/bpf-linker").into(),
        version: LINKER,
        llvm,
    }
}

fn nightly(rust_src: bool) -> Option<Nightly> {
    Some(Nightly {
        llvm: 22,
        rust_src,
        refused: None,
    })
}

/// A developer's laptop on which everything is there, way 2 included.
fn complete_machine() -> Facts {
    Facts {
        cc: true,
        nightly: nightly(true),
        distro_llvm: Some(22),
        linkers: vec![linker(22)],
        ..Facts::default()
    }
}

/// A fresh Debian: stable Rust only, and apt.
fn fresh_debian() -> Facts {
    let apt = Apt {
        llvm_dev: BTreeSet::from([22]),
        distro_llvm: Some(22),
        conflicts: Vec::new(),
    };
    Facts {
        apt: Some(apt),
        ..Facts::default()
    }
}

fn installs(plan: &Plan) -> Vec<&str> {
    let packages = plan.steps.iter().filter_map(|step| match step {
        Step::Install { packages, .. } => Some(packages),
        Step::AddRustSrc | Step::BuildLinker { .. } => None,
    });
    packages.flatten().map(String::as_str).collect()
}

#[test]
fn a_complete_machine_needs_nothing_and_uses_nightly() {
    let linker = Some(PathBuf::from("/cache/22/bpf-linker"));
    let expected = Plan {
        way: Way::Nightly,
        llvm: 22,
        linker,
        steps: Vec::new(),
    };
    assert_eq!(plan(&complete_machine(), Choice::Auto), Ok(expected));
}

#[test]
fn a_forced_way_is_taken_when_the_other_is_complete_too() {
    let plan = plan(&complete_machine(), Choice::Distro).expect("both ways are complete");
    assert_eq!((plan.way, plan.steps), (Way::Distro, Vec::new()));
}

#[test]
fn a_complete_distro_comes_before_an_incomplete_nightly() {
    let facts = Facts {
        nightly: nightly(false),
        ..complete_machine()
    };
    assert_eq!(
        plan(&facts, Choice::Auto).expect("way 2 is complete").way,
        Way::Distro
    );
}

#[test]
fn a_compiler_that_lacks_a_linker_comes_before_one_that_lacks_its_core() {
    let facts = Facts {
        nightly: nightly(false),
        distro_llvm: Some(22),
        cc: true,
        ..fresh_debian()
    };
    let plan = plan(&facts, Choice::Auto).expect("both ways are open");
    assert_eq!(plan.way, Way::Distro);
    assert_eq!(installs(&plan), ["llvm-22-dev", "libpolly-22-dev"]);
    assert_eq!(plan.steps.last(), Some(&Step::BuildLinker { llvm: 22 }));
}

#[test]
fn a_fresh_debian_installs_compiler_linker_and_c_compiler_in_that_order() {
    let plan = plan(&fresh_debian(), Choice::Auto).expect("way 2 is open");
    assert_eq!(plan.way, Way::Distro);
    let expected = [
        "rustc-web",
        "cargo-web",
        "libstd-rust-web-dev-bpf",
        "gcc",
        "libc6-dev",
        "llvm-22-dev",
        "libpolly-22-dev",
    ];
    assert_eq!(installs(&plan), expected);
    assert_eq!(plan.steps.last(), Some(&Step::BuildLinker { llvm: 22 }));
}

#[test]
fn rust_src_is_tried_before_distribution_packages_and_not_twice() {
    let fresh = Facts {
        nightly: nightly(false),
        ..fresh_debian()
    };
    let first = plan(&fresh, Choice::Auto).expect("both ways are open");
    assert_eq!(
        (first.way, first.steps.first()),
        (Way::Nightly, Some(&Step::AddRustSrc))
    );

    let refused = Some(Nightly {
        llvm: 22,
        rust_src: false,
        refused: Some("no answer".into()),
    });
    let second = plan(
        &Facts {
            nightly: refused,
            ..fresh_debian()
        },
        Choice::Auto,
    )
    .expect("way 2 is open");
    assert_eq!(second.way, Way::Distro);
}

#[test]
fn a_nightly_whose_llvm_apt_lacks_gives_way_to_the_distribution() {
    let newer = Some(Nightly {
        llvm: 23,
        rust_src: true,
        refused: None,
    });
    let plan = plan(
        &Facts {
            nightly: newer,
            ..fresh_debian()
        },
        Choice::Auto,
    )
    .expect("way 2 is open");
    assert_eq!(plan.way, Way::Distro);
}

#[test]
fn a_linker_for_another_llvm_or_of_an_older_version_does_not_count() {
    let older = Linker {
        version: (0, 12, 0),
        ..linker(22)
    };
    let facts = Facts {
        linkers: vec![linker(21), older],
        apt: fresh_debian().apt,
        ..complete_machine()
    };
    let plan = plan(&facts, Choice::Auto).expect("a linker can be built");
    assert_eq!(plan.linker, None);
    assert_eq!(plan.steps.last(), Some(&Step::BuildLinker { llvm: 22 }));
}

#[test]
fn packages_of_the_user_are_never_replaced() {
    let apt = Apt {
        conflicts: vec!["rustup".into()],
        ..fresh_debian().apt.expect("a Debian has apt")
    };
    let refusal = plan(
        &Facts {
            apt: Some(apt),
            ..fresh_debian()
        },
        Choice::Distro,
    )
    .expect_err("rustup is in the way");
    assert!(
        refusal.contains("would have to replace rustup"),
        "{refusal}"
    );
}

#[test]
fn without_apt_the_refusal_names_what_either_way_lacks() {
    let facts = Facts {
        cc: true,
        nightly: nightly(true),
        ..Facts::default()
    };
    let refusal = plan(&facts, Choice::Auto).expect_err("no linker, no apt");
    assert!(
        refusal.contains("bpf-linker 0.13.0 or later for LLVM 22 is not on PATH"),
        "{refusal}"
    );
    assert!(
        refusal.contains("no `core` for bpfel-unknown-none"),
        "{refusal}"
    );
}
