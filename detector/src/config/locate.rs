//! Which key lies where in a TOML text: serde reports a place without a key, and checks of ours a
//! key without a place.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// The dotted key written at byte `offset`, or the innermost whose value covers it.
pub(super) fn key_at(text: &str, offset: usize) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let mut path = Vec::new();
    descend(root.get_ref(), offset, &mut path);
    (!path.is_empty()).then(|| path.join("."))
}

fn descend<'t>(table: &'t DeTable<'_>, offset: usize, path: &mut Vec<&'t str>) -> bool {
    for (key, value) in table {
        path.push(key.get_ref());
        let here = key.span().contains(&offset);
        let inside = match value.get_ref() {
            // A table's span is its header only: its keys lie elsewhere.
            DeValue::Table(inner) => descend(inner, offset, path),
            _ => false,
        };
        if inside || here || value.span().contains(&offset) {
            return true;
        }
        path.pop();
    }
    false
}

/// Where the value of a dotted key lies, or the nearest table above it that is there.
pub(super) fn span_of(text: &str, key: &str) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut span = None;
    for part in key.split('.') {
        let Some((_, value)) = table.iter().find(|(name, _)| name.get_ref() == part) else {
            break;
        };
        span = Some(value.span());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    span
}
