//! All changes in one build: each constant becomes a value that is chosen when the tests start. Pure: sources in, sources out.
//!
//! `const LIMIT: u64 = 10;` becomes `static LIMIT: LazyLock<u64>`, which looks at the number of the change that is tried, and
//! `LIMIT` becomes `(*LIMIT)` where it is used. That does not go where the compiler itself needs the value (the length of an
//! array, a pattern, another constant): such a constant is tried by a build of its own.

use super::constant::{Constant, Home, Shape};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

/// The environment variable with the number of the change that is tried.
pub const CHOICE: &str = "DETECTOR_MUTATION";

/// What the crate's root needs besides: the number, read once.
pub fn choice() -> String {
    format!(
        "\npub(crate) fn mutation() -> usize {{\n    static CHOICE: std::sync::LazyLock<usize> = std::sync::LazyLock::new(|| \
         std::env::var(\"{CHOICE}\").ok().and_then(|number| number.parse().ok()).unwrap_or(usize::MAX));\n    *CHOICE\n}}\n"
    )
}

/// A file of Rust whose `constants` are chosen by number, the first mutation of each having the number beside it.
/// `elsewhere`: names of numbers that become such values in any file.
pub fn source(
    source: &str,
    constants: &[(usize, &Constant)],
    elsewhere: &BTreeSet<&str>,
) -> String {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut done: Vec<&Home> = Vec::new();
    for (_, constant) in constants {
        let home = &constant.home;
        if done.contains(&home) {
            continue;
        }
        done.push(home);
        let same = constants.iter().filter(|(_, other)| other.home == *home);
        edits.extend(replaced(source, home, same));
    }
    if let Ok(tokens) = source.parse::<TokenStream>() {
        let here = constants.iter().map(|(_, constant)| constant);
        let mut names: BTreeSet<String> = here
            .filter(|constant| constant.is_scalar())
            .map(|constant| constant.name.clone())
            .collect();
        imported(tokens.clone(), elsewhere, &mut names);
        uses(tokens, &names, elsewhere, &mut edits);
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut changed = source.to_owned();
    for (range, instead) in edits.into_iter().rev() {
        changed.replace_range(range, &instead);
    }
    changed
}

/// The edits that make a value one that is chosen.
fn replaced<'a>(
    source: &str,
    home: &Home,
    constants: impl Iterator<Item = &'a (usize, &'a Constant)>,
) -> Vec<(Range<usize>, String)> {
    let (value, list) = match home {
        Home::File => return Vec::new(),
        Home::Expression(value) => (value, None),
        Home::Item {
            value,
            shape: Shape::List { element },
            ..
        } => (value, Some(element)),
        Home::Item { value, .. } => (value, None),
    };
    let arm = |text: &str| match list {
        // As long as it is, now that one may be missing.
        Some(element) => format!(
            "{{ let all: [{}; _] = {text}; all.to_vec() }}",
            &source[element.clone()]
        ),
        None => format!("{{ {text} }}"),
    };
    let mut choice = "match crate::mutation() {".to_owned();
    for (first, constant) in constants {
        for (number, mutation) in (*first..).zip(&constant.mutations) {
            let mut text = source[value.clone()].to_owned();
            let inside = mutation
                .edits
                .iter()
                .filter(|(range, _)| range.start >= value.start);
            for (range, instead) in inside.rev() {
                text.replace_range(range.start - value.start..range.end - value.start, instead);
            }
            let text = text.trim_start_matches('&');
            let _ = write!(choice, " {number} => {}", arm(text));
        }
    }
    let _ = write!(
        choice,
        " _ => {} }}",
        arm(source[value.clone()].trim_start_matches('&'))
    );
    match home {
        Home::Item { keyword, kind, .. } => {
            let of = match list {
                Some(element) => format!("Vec<{}>", &source[element.clone()]),
                None => source[kind.clone()].to_owned(),
            };
            vec![
                (keyword.clone(), "static".to_owned()),
                (kind.clone(), format!("std::sync::LazyLock<{of}>")),
                (
                    value.clone(),
                    format!("std::sync::LazyLock::new(|| {choice})"),
                ),
            ]
        }
        _ => vec![(value.clone(), format!("({choice})"))],
    }
}

/// Adds to `names` those of `elsewhere` that a `use` brings in.
fn imported(tokens: TokenStream, elsewhere: &BTreeSet<&str>, names: &mut BTreeSet<String>) {
    let mut within = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) if word == "use" => within = true,
            TokenTree::Punct(punct) if punct.as_char() == ';' => within = false,
            TokenTree::Ident(word) if within && elsewhere.contains(word.to_string().as_str()) => {
                names.insert(word.to_string());
            }
            TokenTree::Group(group) if within => all_of(group.stream(), elsewhere, names),
            TokenTree::Group(group) => imported(group.stream(), elsewhere, names),
            _ => {}
        }
    }
}

fn all_of(tokens: TokenStream, elsewhere: &BTreeSet<&str>, names: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) if elsewhere.contains(word.to_string().as_str()) => {
                names.insert(word.to_string());
            }
            TokenTree::Group(group) => all_of(group.stream(), elsewhere, names),
            _ => {}
        }
    }
}

/// Encloses each use of a name, and of a path that ends in one, in `(*…)`.
fn uses(
    tokens: TokenStream,
    names: &BTreeSet<String>,
    elsewhere: &BTreeSet<&str>,
    edits: &mut Vec<(Range<usize>, String)>,
) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mark = |at: usize, mark: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == mark);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            // Definitions, imports and attributes stay as they are.
            TokenTree::Ident(word)
                if word == "use"
                    || word == "const" && !is_function(&tokens[at..])
                    || word == "static" =>
            {
                while at < tokens.len() && !mark(at, ';') {
                    at += 1;
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == '#' => at += 1,
            TokenTree::Group(group) => uses(group.stream(), names, elsewhere, edits),
            TokenTree::Ident(word) if !mark(at + 1, ':') || !mark(at + 2, ':') => {
                let name = word.to_string();
                let mut first = at;
                while first >= 3
                    && mark(first - 1, ':')
                    && mark(first - 2, ':')
                    && matches!(tokens[first - 3], TokenTree::Ident(_))
                {
                    first -= 3;
                }
                let of_module = first < at && elsewhere.contains(name.as_str());
                if of_module || first == at && names.contains(&name) {
                    let start = tokens[first].span().byte_range().start;
                    let end = word.span().byte_range().end;
                    edits.push((start..start, "(*".to_owned()));
                    edits.push((end..end, ")".to_owned()));
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// `const fn`, or `*const T` and the like, which define nothing.
fn is_function(tokens: &[TokenTree]) -> bool {
    !matches!(tokens, [_, TokenTree::Ident(name), TokenTree::Punct(colon), ..]
        if colon.as_char() == ':' && name != "fn")
}

/// Which of `names` stand in the lines that a compiler's errors quote. Its warnings say only that the changed source is ugly.
pub fn blamed<'a>(said: &str, names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut words = BTreeSet::new();
    let mut in_error = false;
    for line in said.lines() {
        if line.starts_with("error") || line.starts_with("warning") {
            in_error = line.starts_with("error");
        }
        if in_error
            && let Some((number, code)) = line.split_once(" | ")
            && number.trim().parse::<u32>().is_ok()
        {
            words.extend(code.split(|c: char| !c.is_alphanumeric() && c != '_'));
        }
    }
    names.filter(|name| words.contains(name)).collect()
}

#[cfg(test)]
mod tests;
