//! Which constants the policy has, and what each could be instead. Pure: source text in, edits out.
//!
//! Read as tokens, so that a comment, a string or a test module is never taken for a constant. Numbers go up and
//! down, lists lose their first entry, booleans and texts become others.

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use std::ops::Range;

/// One constant.
#[derive(Debug, PartialEq, Eq)]
pub struct Constant {
    /// Name, with what it is a part of: `RISE`, `STORM.q`, `LOOKS_NS[0]`.
    pub name: String,
    /// Line of the name, from 1.
    pub line: usize,
    /// As written, on one line.
    pub value: String,
    /// Why no test can tell: what a comment `// mutate: …` above it says.
    pub exempt: Option<String>,
    /// What it could be instead.
    pub mutations: Vec<Mutation>,
    /// What it is a part of.
    pub home: Home,
}

impl Constant {
    /// The name of the item, without what of it.
    pub fn item(&self) -> &str {
        self.name.split(['.', '[']).next().unwrap_or(&self.name)
    }

    /// Whether the item is one value, as opposed to several.
    pub fn is_scalar(&self) -> bool {
        matches!(
            &self.home,
            Home::Item {
                shape: Shape::Scalar,
                ..
            }
        )
    }
}

/// Where the value of a constant stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// In a file that is no Rust.
    File,
    /// In the body of a function.
    Expression(Range<usize>),
    /// `const NAME: kind = value;`, by their bytes.
    Item {
        keyword: Range<usize>,
        kind: Range<usize>,
        value: Range<usize>,
        shape: Shape,
    },
}

/// What a constant's value is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One number, boolean or text.
    Scalar,
    /// A list of this type.
    List { element: Range<usize> },
    /// A structure with fields.
    Structure,
}

/// One change of one constant.
#[derive(Debug, PartialEq, Eq)]
pub struct Mutation {
    /// What is done to the value: `* 2`, `without "sshd"`.
    pub what: String,
    /// Bytes of the source and what replaces them, in order.
    pub edits: Vec<(Range<usize>, String)>,
}

/// The constants of one file of Rust, without those of its tests.
///
/// # Errors
///
/// It is no Rust.
pub fn of_rust(source: &str) -> Result<Vec<Constant>> {
    let tokens = source
        .parse::<TokenStream>()
        .map_err(|error| anyhow!("{error}"))?;
    let mut found = Vec::new();
    Reader { source }.items(tokens, None, &mut found);
    Ok(found)
}

/// The lists of a file of TOML (`key = [`), each named by its key and its place.
pub fn of_toml_lists(source: &str) -> Vec<Constant> {
    let mut found: Vec<Constant> = Vec::new();
    let mut start = 0;
    for (number, line) in source.split_inclusive('\n').enumerate() {
        let at = start;
        start += line.len();
        let Some((key, _)) = line.split_once(" = [") else {
            continue;
        };
        let rest = &source[at..];
        // The entries are texts without escapes: a quotation mark begins or ends one.
        let mut marks = rest.match_indices('"').map(|(offset, _)| at + offset);
        let (Some(from), Some(to)) = (marks.next(), marks.next()) else {
            continue;
        };
        let mut end = to + 1;
        if source[end..].starts_with(',') {
            end += 1;
        }
        let before = found.iter().filter(|list| list.name.starts_with(key));
        found.push(Constant {
            name: format!("{key}[{}]", before.count()),
            line: number + 1,
            value: "[…]".to_owned(),
            exempt: None,
            mutations: vec![Mutation {
                what: format!("without {}", &source[from..=to]),
                edits: vec![(from..end, String::new())],
            }],
            home: Home::File,
        });
    }
    found
}

/// What a number could be instead: `(what, literal)`. Half of it and half more; a whole one the half
/// and the double, or its neighbours below eight.
pub fn numbers(literal: &str) -> Vec<(String, String)> {
    let digits = literal.replace('_', "");
    if digits.contains('.') {
        let Ok(value) = digits.parse::<f64>() else {
            return Vec::new();
        };
        if value == 0.0 {
            return vec![("+ 0.5".to_owned(), "0.5".to_owned())];
        }
        return [1.5, 0.5]
            .map(|factor| (format!("* {factor}"), format!("{:?}", value * factor)))
            .into();
    }
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        _ => (digits.as_str(), 10),
    };
    let Ok(value) = u64::from_str_radix(digits, radix) else {
        return Vec::new();
    };
    match value {
        0 => vec![("+ 1".to_owned(), "1".to_owned())],
        1..8 => vec![
            ("+ 1".to_owned(), (value + 1).to_string()),
            ("- 1".to_owned(), (value - 1).to_string()),
        ],
        _ => vec![
            ("* 2".to_owned(), (value * 2).to_string()),
            ("/ 2".to_owned(), (value / 2).to_string()),
        ],
    }
}

struct Reader<'a> {
    source: &'a str,
}

impl Reader<'_> {
    /// Walks items and what is inside them.
    fn items(&self, tokens: TokenStream, exempt: Option<&str>, found: &mut Vec<Constant>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        let mut of_tests = false;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Punct(punct) if punct.as_char() == ';' => of_tests = false,
                TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                    of_tests |= group.to_string().replace(' ', "") == "[cfg(test)]";
                }
                TokenTree::Group(group) => {
                    if !of_tests {
                        let own = module_of(&tokens[..at]).and_then(|line| self.exempt(line));
                        self.items(group.stream(), own.as_deref().or(exempt), found);
                    }
                    of_tests &= group.delimiter() != Delimiter::Brace;
                }
                TokenTree::Ident(word) if word == "const" || word == "static" => {
                    let end = end_of(&tokens[at..], ';').map_or(tokens.len(), |end| at + end);
                    if !of_tests
                        && let Some(mut read) =
                            self.constant(word.span().byte_range(), &tokens[at + 1..end])
                    {
                        for constant in &mut read {
                            let inherited = || exempt.map(str::to_owned);
                            constant.exempt = constant.exempt.take().or_else(inherited);
                        }
                        found.extend(read);
                        at = end;
                        continue;
                    }
                }
                TokenTree::Ident(word) if word == "finding_types" => {
                    if let Some(TokenTree::Group(group)) = tokens.get(at + 2) {
                        self.weights(group.stream(), found);
                        at += 2;
                    }
                }
                TokenTree::Ident(word) if word == "Default" && is_of_config(&tokens[at..]) => {
                    if let TokenTree::Group(body) = &tokens[at + 3] {
                        self.defaults(body.stream(), found);
                        at += 3;
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// `NAME: type = value`; `None` when it is something else (`const fn`, a generic parameter).
    fn constant(&self, keyword: Range<usize>, tokens: &[TokenTree]) -> Option<Vec<Constant>> {
        let [TokenTree::Ident(name), TokenTree::Punct(colon), rest @ ..] = tokens else {
            return None;
        };
        let equals = end_of(rest, '=')?;
        let (kind, value) = (&rest[..equals], &rest[equals + 1..]);
        if colon.as_char() != ':' || value.is_empty() || kind.is_empty() {
            return None;
        }
        let line = name.span().start().line;
        let name = name.to_string();
        let text = self.text(value);
        let item = |shape| Home::Item {
            keyword: keyword.clone(),
            kind: range(kind),
            value: range(value),
            shape,
        };
        let mut found = match (kind, value) {
            ([TokenTree::Ident(_)], [TokenTree::Ident(_), TokenTree::Group(fields)])
                if fields.delimiter() == Delimiter::Brace =>
            {
                self.fields(&name, line, fields.stream())
            }
            ([.., TokenTree::Group(kind)], [.., TokenTree::Group(entries)])
                if entries.delimiter() == Delimiter::Bracket =>
            {
                self.list(&name, line, kind.stream(), entries.stream())
            }
            ([TokenTree::Ident(kind)], _) => {
                let changed = scalar(&kind.to_string(), text);
                vec![self.replaced(name, line, value, changed)]
            }
            (_, [TokenTree::Literal(_)]) => {
                let prefix = if text.starts_with('b') { "b" } else { "" };
                let other = format!("{prefix}\"another\"");
                vec![self.replaced(name, line, value, vec![("another".to_owned(), other)])]
            }
            _ => Vec::new(),
        };
        let shape = match kind {
            [.., TokenTree::Group(kind)] => {
                let kind: Vec<TokenTree> = kind.stream().into_iter().collect();
                let end = end_of(&kind, ';').unwrap_or(kind.len());
                Shape::List {
                    element: range(&kind[..end]),
                }
            }
            _ if found.iter().any(|constant| constant.name.contains('.')) => Shape::Structure,
            _ => Shape::Scalar,
        };
        for constant in &mut found {
            constant.home = item(shape.clone());
        }
        Some(found)
    }

    /// `[A, B]` of the type `[T; 2]`: without its first; numbers of a measure, each by itself.
    fn list(
        &self,
        name: &str,
        line: usize,
        kind: TokenStream,
        entries: TokenStream,
    ) -> Vec<Constant> {
        let kind: Vec<TokenTree> = kind.into_iter().collect();
        let entries: Vec<TokenTree> = entries.into_iter().collect();
        // `[0; N]` is no list, and `[$(…)*]` not one yet.
        if entries.is_empty() || end_of(&entries, ';').is_some() || end_of(&entries, '$').is_some()
        {
            return Vec::new();
        }
        let parts: Vec<&[TokenTree]> = entries
            .split(|token| is_punct(token, ','))
            .filter(|part| !part.is_empty())
            .collect();
        if matches!(&kind[..], [TokenTree::Ident(of), ..] if *of == "u64" || *of == "f64") {
            let each = parts.iter().enumerate().map(|(index, part)| {
                self.replaced(
                    format!("{name}[{index}]"),
                    line,
                    part,
                    numbers(self.text(part)),
                )
            });
            return each.collect();
        }
        let Some(first) = parts.first() else {
            return Vec::new();
        };
        let mut edits = Vec::new();
        if let Some(TokenTree::Literal(length)) = kind.last() {
            let shorter = parts.len() - 1;
            edits.push((length.span().byte_range(), shorter.to_string()));
        }
        let from = range(first).start;
        let to = parts
            .get(1)
            .map_or(range(first).end, |next| range(next).start);
        edits.push((from..to, String::new()));
        vec![self.one(
            name.to_owned(),
            line,
            "[…]".to_owned(),
            vec![Mutation {
                what: format!("without {}", one_line(self.text(first))),
                edits,
            }],
            Home::File,
        )]
    }

    /// Fields of a structure that are numbers or booleans.
    fn fields(&self, name: &str, line: usize, fields: TokenStream) -> Vec<Constant> {
        let fields: Vec<TokenTree> = fields.into_iter().collect();
        let fields = fields.split(|token| is_punct(token, ','));
        fields
            .filter_map(|field| {
                let colon = end_of(field, ':')?;
                let (TokenTree::Ident(of), value) =
                    (field.get(colon.checked_sub(1)?)?, &field[colon + 1..])
                else {
                    return None;
                };
                let changed = match value {
                    [TokenTree::Literal(literal)] => numbers(&literal.to_string()),
                    [TokenTree::Ident(word)] => scalar("bool", &word.to_string()),
                    _ => return None,
                };
                let prefix = if name.is_empty() {
                    String::new()
                } else {
                    format!("{name}.")
                };
                if changed.is_empty() {
                    return None;
                }
                let mut field = self.replaced(
                    format!("{prefix}{of}"),
                    of.span().start().line,
                    value,
                    changed,
                );
                field.exempt = field.exempt.or_else(|| self.exempt(line));
                Some(field)
            })
            .collect()
    }

    /// `Variant = "name", Class, 0.45, […];`
    fn weights(&self, types: TokenStream, found: &mut Vec<Constant>) {
        let types: Vec<TokenTree> = types.into_iter().collect();
        for kind in types.split(|token| is_punct(token, ';')) {
            let mut parts = kind.split(|token| is_punct(token, ','));
            if let (Some([.., TokenTree::Ident(name), _, _]), Some(weight)) =
                (parts.next(), parts.nth(1))
            {
                let changed = numbers(self.text(weight));
                let line = name.span().start().line;
                found.push(self.replaced(name.to_string(), line, weight, changed));
            }
        }
    }

    /// The innermost fields of `impl Default for Config`.
    fn defaults(&self, body: TokenStream, found: &mut Vec<Constant>) {
        let here = self.fields("", 1, body.clone());
        if !here.is_empty() {
            found.extend(here);
            return;
        }
        for token in body {
            if let TokenTree::Group(group) = token {
                self.defaults(group.stream(), found);
            }
        }
    }

    /// The value exchanged for each of `(what, instead)`.
    fn replaced(
        &self,
        name: String,
        line: usize,
        value: &[TokenTree],
        changed: Vec<(String, String)>,
    ) -> Constant {
        let mutations = changed.into_iter().map(|(what, instead)| Mutation {
            what,
            edits: vec![(range(value), instead)],
        });
        let mutations = mutations.collect();
        let home = Home::Expression(range(value));
        self.one(name, line, one_line(self.text(value)), mutations, home)
    }

    fn one(
        &self,
        name: String,
        line: usize,
        text: String,
        mutations: Vec<Mutation>,
        home: Home,
    ) -> Constant {
        Constant {
            name,
            line,
            value: text,
            exempt: self.exempt(line),
            mutations,
            home,
        }
    }

    /// What the comment right above the line says, if it says `mutate:`.
    fn exempt(&self, line: usize) -> Option<String> {
        let lines: Vec<&str> = self.source.lines().take(line - 1).collect();
        let above = lines.iter().rev().map(|line| line.trim());
        above
            .take_while(|line| line.starts_with("//") || line.starts_with("#["))
            .find_map(|line| line.strip_prefix("// mutate: "))
            .map(str::to_owned)
    }

    fn text(&self, tokens: &[TokenTree]) -> &str {
        &self.source[range(tokens)]
    }
}

/// What a value of that type could be instead.
fn scalar(kind: &str, value: &str) -> Vec<(String, String)> {
    let by = |what: &str| (what.to_owned(), format!("({value}) {what}"));
    match kind {
        "bool" => match value {
            "true" => vec![("false".to_owned(), "false".to_owned())],
            "false" => vec![("true".to_owned(), "true".to_owned())],
            _ => Vec::new(),
        },
        "f64" | "f32" => vec![by("* 1.5"), by("* 0.5")],
        "usize" | "u64" | "u32" | "u16" | "u8" | "i64" | "i32" => match numbers(value) {
            changed if changed.is_empty() => vec![by("* 2"), by("/ 2")],
            changed => changed,
        },
        _ => Vec::new(),
    }
}

/// Where the first such mark stands, outside of brackets and not as a part of another (`==`, `=>`, `::`).
fn end_of(tokens: &[TokenTree], mark: char) -> Option<usize> {
    tokens.iter().position(|token| is_punct(token, mark))
}

fn is_punct(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct)
        if punct.as_char() == mark && (punct.spacing() == Spacing::Alone || mark != ':'))
}

/// The line of `mod name` when a group is its body.
fn module_of(before: &[TokenTree]) -> Option<usize> {
    match before {
        [.., TokenTree::Ident(word), TokenTree::Ident(_)] if word == "mod" => {
            Some(word.span().start().line)
        }
        _ => None,
    }
}

/// `Default for Config { … }`
fn is_of_config(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [_, TokenTree::Ident(word), TokenTree::Ident(of), TokenTree::Group(_), ..]
        if word == "for" && of == "Config")
}

/// The bytes from the first token to the last.
fn range(tokens: &[TokenTree]) -> Range<usize> {
    let (first, last) = (&tokens[0], &tokens[tokens.len() - 1]);
    first.span().byte_range().start..last.span().byte_range().end
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
