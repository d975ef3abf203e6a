use super::*;

/// `(name, line, value, reason, what)` of each constant, and what the source becomes by each change.
type Told = (String, usize, String, Option<String>, Vec<(String, String)>);

fn told(source: &str, constants: Vec<Constant>) -> Vec<Told> {
    let one = |constant: Constant| {
        let changes = constant.mutations.iter().map(|mutation| {
            let mut changed = source.to_owned();
            for (range, instead) in mutation.edits.iter().rev() {
                changed.replace_range(range.clone(), instead);
            }
            (mutation.what.clone(), changed)
        });
        let changes = changes.collect();
        (
            constant.name,
            constant.line,
            constant.value,
            constant.exempt,
            changes,
        )
    };
    constants.into_iter().map(one).collect()
}

fn rust(source: &str) -> Vec<Told> {
    told(source, of_rust(source).expect("it is Rust"))
}

fn named(source: &str) -> Vec<String> {
    let constants = of_rust(source).expect("it is Rust");
    constants
        .into_iter()
        .map(|constant| constant.name)
        .collect()
}

fn changes(source: &str) -> Vec<(String, String)> {
    rust(source).into_iter().flat_map(|told| told.4).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = pairs
        .iter()
        .map(|(what, becomes)| ((*what).to_owned(), (*becomes).to_owned()));
    owned.collect()
}

#[test]
fn a_number_goes_up_and_down_by_a_half_the_double_or_one() {
    for (source, expected) in [
        (
            "const A: u64 = 10_000;",
            [
                ("* 2", "const A: u64 = 20000;"),
                ("/ 2", "const A: u64 = 5000;"),
            ],
        ),
        (
            "pub const A: usize = 3;",
            [
                ("+ 1", "pub const A: usize = 4;"),
                ("- 1", "pub const A: usize = 2;"),
            ],
        ),
        (
            "pub(super) const A: f64 = 0.4;",
            [
                ("* 1.5", "pub(super) const A: f64 = (0.4) * 1.5;"),
                ("* 0.5", "pub(super) const A: f64 = (0.4) * 0.5;"),
            ],
        ),
        (
            "const A: i64 = 7 * 86_400;",
            [
                ("* 2", "const A: i64 = (7 * 86_400) * 2;"),
                ("/ 2", "const A: i64 = (7 * 86_400) / 2;"),
            ],
        ),
        (
            "const A: u32 = 0o022;",
            [("* 2", "const A: u32 = 36;"), ("/ 2", "const A: u32 = 9;")],
        ),
    ] {
        assert_eq!(changes(source), pairs(&expected), "{source}");
    }
}

#[test]
fn a_list_loses_its_first_entry_and_its_length_follows() {
    assert_eq!(
        changes("const A: [&[u8]; 2] = [\n    b\"sshd\",\n    b\"cron\",\n];"),
        pairs(&[(
            "without b\"sshd\"",
            "const A: [&[u8]; 1] = [\n    b\"cron\",\n];"
        )])
    );
    assert_eq!(
        changes("const A: [(&str, u16); 2] = [(\"a\", 1), (\"b\", 2)];"),
        pairs(&[(
            "without (\"a\", 1)",
            "const A: [(&str, u16); 1] = [(\"b\", 2)];"
        )])
    );
}

#[test]
fn measures_in_a_list_are_changed_one_by_one() {
    let told = rust("const A: [u64; 2] = [3, 30];");
    let names: Vec<&str> = told.iter().map(|told| told.0.as_str()).collect();
    assert_eq!(names, ["A[0]", "A[1]"]);
    assert_eq!(
        changes("const A: [u64; 2] = [3, 30];"),
        pairs(&[
            ("+ 1", "const A: [u64; 2] = [4, 30];"),
            ("- 1", "const A: [u64; 2] = [2, 30];"),
            ("* 2", "const A: [u64; 2] = [3, 60];"),
            ("/ 2", "const A: [u64; 2] = [3, 15];"),
        ])
    );
}

#[test]
fn fields_of_a_structure_are_constants_of_their_own() {
    let source = "const M: Model = Model {\n    name: \"m\",\n    q: 0.95,\n    on: true,\n    of: u32::MAX,\n};";
    let told = rust(source);
    let heads: Vec<_> = told
        .iter()
        .map(|told| (told.0.as_str(), told.1, told.2.as_str()))
        .collect();
    assert_eq!(heads, [("M.q", 3, "0.95"), ("M.on", 4, "true")]);
    let whats: Vec<_> = told
        .iter()
        .flat_map(|told| &told.4)
        .map(|(what, _)| what.as_str())
        .collect();
    assert_eq!(whats, ["* 1.5", "* 0.5", "false"]);
}

#[test]
fn weights_of_finding_types_and_defaults_are_constants() {
    assert_eq!(
        named(
            "finding_types! {\n    /// Doc.\n    Steal = \"impact.steal\", Support, 0.05, [];\n}"
        ),
        ["Steal"]
    );
    assert_eq!(
        named(
            "impl Default for Config { fn default() -> Self { Config { window_s: 10, network: Network::default(), } } }"
        ),
        ["window_s"]
    );
}

#[test]
fn tests_functions_and_comments_hold_no_constants() {
    assert_eq!(
        named(
            "// const A: u8 = 1;\nconst fn f() -> u8 { 1 }\nfn g<const N: usize>(a: [u8; N]) {}\n\
             #[cfg(test)]\nfn h(a: [u8; 2]) -> u8 { const B: u8 = 1; B }\n\
             #[cfg(test)]\nmod tests { const C: u8 = 1; }\n\
             mod inner { const D: u8 = 1; }\nfn k() { const E: u8 = 1; }"
        ),
        ["D", "E"]
    );
}

#[test]
fn a_comment_right_above_says_why_no_test_can_tell() {
    let reason = |source| rust(source).remove(0).3;
    assert_eq!(
        reason("/// Doc.\n// mutate: a bit of its own\n#[expect(lint)]\nconst A: u8 = 1;"),
        Some("a bit of its own".to_owned())
    );
    assert_eq!(
        reason("// mutate: of something else\nfn f() {}\n\n/// Doc.\nconst A: u8 = 1;"),
        None
    );
    assert_eq!(
        reason("// mutate: all of it\nconst A: M = M {\n    of: 1,\n};"),
        Some("all of it".to_owned())
    );
    assert_eq!(
        reason("// mutate: every one\nmod of {\n    const A: u8 = 1;\n}"),
        Some("every one".to_owned())
    );
}

#[test]
fn lists_of_a_file_of_facts_lose_their_first_entry() {
    let source = "[[list]]\nsource = \"x\"\nnames = [\n    \"a\", \"b\",\n]\narguments = [\"c\"]\n\n[[list]]\nnames = [\"d\"]\n";
    let told = told(source, of_toml_lists(source));
    let names: Vec<_> = told.iter().map(|told| (told.0.as_str(), told.1)).collect();
    assert_eq!(
        names,
        [("names[0]", 3), ("arguments[0]", 6), ("names[1]", 9)]
    );
    let changes: Vec<_> = told.into_iter().flat_map(|told| told.4).collect();
    assert_eq!(
        changes,
        pairs(&[
            ("without \"a\"", &source.replace("\"a\",", "")),
            ("without \"c\"", &source.replace("\"c\"", "")),
            ("without \"d\"", &source.replace("\"d\"", "")),
        ])
    );
}
