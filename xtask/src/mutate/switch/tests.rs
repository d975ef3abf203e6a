use super::super::constant::of_rust;
use super::*;

/// The source with every change built in; the first has the number 7.
fn switched(text: &str, elsewhere: &[&str]) -> String {
    let constants = of_rust(text).expect("it is Rust");
    let mut next = 7;
    let numbered: Vec<(usize, &Constant)> = constants
        .iter()
        .map(|constant| {
            let first = next;
            next += constant.mutations.len();
            (first, constant)
        })
        .collect();
    source(text, &numbered, &elsewhere.iter().copied().collect())
}

const LAZY: &str = "std::sync::LazyLock";

#[test]
fn a_number_is_chosen_when_it_is_first_used_and_its_uses_look_at_it() {
    assert_eq!(
        switched(
            "/// Doc of A.\npub const A: u64 = 10;\nfn f(x: u64) -> bool { x < A }\n",
            &[]
        ),
        format!(
            "/// Doc of A.\npub static A: {LAZY}<u64> = {LAZY}::new(|| match crate::mutation() \
             {{ 7 => {{ 20 }} 8 => {{ 5 }} _ => {{ 10 }} }});\nfn f(x: u64) -> bool {{ x < (*A) }}\n"
        )
    );
}

#[test]
fn a_list_may_be_shorter_and_a_structure_changes_field_by_field() {
    assert_eq!(
        switched("const A: [&str; 2] = [\"a\", \"b\"];", &[]),
        format!(
            "static A: {LAZY}<Vec<&str>> = {LAZY}::new(|| match crate::mutation() \
             {{ 7 => {{ let all: [&str; _] = [\"b\"]; all.to_vec() }} \
             _ => {{ let all: [&str; _] = [\"a\", \"b\"]; all.to_vec() }} }});"
        )
    );
    assert_eq!(
        switched("const M: M = M { a: 1, b: 2 };", &[]),
        format!(
            "static M: {LAZY}<M> = {LAZY}::new(|| match crate::mutation() \
             {{ 7 => {{ M {{ a: 2, b: 2 }} }} 8 => {{ M {{ a: 0, b: 2 }} }} \
             9 => {{ M {{ a: 1, b: 3 }} }} 10 => {{ M {{ a: 1, b: 1 }} }} _ => {{ M {{ a: 1, b: 2 }} }} }});"
        )
    );
}

#[test]
fn what_is_imported_or_named_by_its_path_is_looked_at_and_others_of_that_name_are_not() {
    let uses = "use super::{bank::MAX, x};\nfn f() -> usize { MAX + rule::storm::LIMIT + LIMIT }\n";
    assert_eq!(
        switched(uses, &["MAX", "LIMIT"]),
        "use super::{bank::MAX, x};\nfn f() -> usize { (*MAX) + (*rule::storm::LIMIT) + LIMIT }\n"
    );
    let definition = "const OTHER: usize = storm::LIMIT;\n#[doc = LIMIT]\nfn f() {}\n";
    assert!(switched(definition, &["LIMIT"]).contains("#[doc = LIMIT]\nfn f() {}"));
}

#[test]
fn only_errors_say_which_constants_the_compiler_needs_itself() {
    let said = "warning: unnecessary parentheses\n  --> a.rs:1:1\n   |\n 1 | x((*UGLY));\n\n\
        error[E0435]: attempt to use a non-constant value in a constant\n  --> a.rs:2:1\n   |\n\
        12 |     bytes: [u8; (*LENGTH)],\n   |                 ^^^^^ not LIMIT\n";
    assert_eq!(
        blamed(said, ["UGLY", "LENGTH", "LIMIT"].into_iter()),
        BTreeSet::from(["LENGTH"])
    );
}
