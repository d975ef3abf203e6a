//! Why a configuration was refused, in words an operator can act on at 3 am.

use std::{fmt, io, ops::Range, path::PathBuf};

use super::guard::Writable;

/// A configuration that is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file the operator named is not there.
    #[error("configuration {} does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may change the file, or put another one in its place.
    #[error("configuration {} {by}", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// What they may write.
        by: Writable,
    },
    /// The file is no configuration.
    #[error("configuration {} is longer than {max_bytes} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        max_bytes: u64,
    },
    /// Not TOML, an unknown key, or a wrong type.
    #[error("{}", message(place, key.as_deref(), reason))]
    Syntax {
        /// Where.
        place: Box<Place>,
        /// The key, where there is one.
        key: Option<String>,
        /// What is wrong.
        reason: String,
    },
    /// A value that cannot work.
    #[error("{}", message(place, Some(key), reason))]
    Invalid {
        /// Where.
        place: Box<Place>,
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

/// A place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1; `None`: the file as a whole.
    pub position: Option<(usize, usize)>,
    /// The line's text and how many characters of it are meant.
    excerpt: (String, usize),
}

impl Place {
    /// The start of `span`, bytes of `text`.
    pub(super) fn new(path: PathBuf, text: &str, span: Option<Range<usize>>) -> Place {
        let Some((start, before)) = span
            .as_ref()
            .and_then(|span| Some((span.start, text.get(..span.start)?)))
        else {
            return Place {
                path,
                position: None,
                excerpt: Default::default(),
            };
        };
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let marked = span
            .and_then(|span| text.get(span))
            .and_then(|meant| meant.lines().next())
            .map_or(1, |meant| meant.chars().count().max(1));
        Place {
            path,
            position: Some((
                before.matches('\n').count() + 1,
                text[line_start..start].chars().count() + 1,
            )),
            excerpt: (line.to_owned(), marked),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match self.position {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// `file:line:column: key: reason`, the line itself, and a mark below what is meant.
fn message(place: &Place, key: Option<&str>, reason: &str) -> String {
    let mut out = place.to_string();
    if let Some(key) = key {
        out += &format!(": `{key}`");
    }
    out += &format!(": {reason}");
    if let Some((line, column)) = place.position {
        let (text, marked) = &place.excerpt;
        let number = line.to_string();
        let indent = " ".repeat(number.len());
        let pad: String = text
            .chars()
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        out += &format!(
            "\n{indent} |\n{number} | {text}\n{indent} | {pad}{}",
            "^".repeat(*marked)
        );
    }
    out
}
