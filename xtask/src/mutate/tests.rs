use super::*;

#[test]
fn a_default_is_changed_in_its_line_alone() {
    let defaults =
        "# window_s = 3 is too short\nmax_window_s = 4\nwindow_s = 10\nclear_after_s = 10\n";
    let changed = with_default(defaults, "window_s", "20");
    assert_eq!(
        changed.ok().as_deref(),
        Some("# window_s = 3 is too short\nmax_window_s = 4\nwindow_s = 20\nclear_after_s = 10\n")
    );
    assert!(with_default(defaults, "absent", "20").is_err());
}

#[test]
fn a_constant_is_called_by_its_path_in_rust() {
    for (file, path) in [
        (
            "detector/src/detect/rule/respawn.rs",
            "detect::rule::respawn",
        ),
        ("detector/src/incident/mod.rs", "incident"),
        ("detector/src/detect/indicators.toml", "detect::indicators"),
    ] {
        assert_eq!(module(Path::new(file)), path);
    }
}

/// Of this workspace: that tests and their helpers are left out, and that the reader still finds what there is.
#[test]
fn the_policy_of_this_workspace_is_found_without_its_tests() {
    let places = find(&exec::workspace()).expect("it is read");
    let paths: Vec<&str> = places.iter().map(|place| place.path.as_str()).collect();
    for known in [
        "detect::rule::respawn::LOOP",
        "detect::config::host_share",
        "detect::sequential::model::STORM.p_max",
        "detect::world::LOOKS_NS[2]",
        "detect::path::WORLD_WRITABLE",
        "incident::finding::MiningProtocol",
        "incident::MAX_PARTS",
    ] {
        assert!(paths.contains(&known), "{known}");
    }
    let of_tests = |path: &&str| {
        path.contains("test::") || path.contains("testing") || path.ends_with("::INIT")
    };
    let of_tests: Vec<_> = paths
        .iter()
        .filter(|path| of_tests(path) && !path.contains("sequential"))
        .collect();
    assert!(of_tests.is_empty(), "{of_tests:?}");
    let nothing = places
        .iter()
        .filter(|place| place.constant.mutations.is_empty());
    assert!(
        nothing
            .map(|place| &place.path)
            .collect::<Vec<_>>()
            .is_empty()
    );
}
