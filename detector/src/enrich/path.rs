//! Paths as bytes: what `/proc` appends to them, and joining without asking the file system.

/// What the kernel appends to the name of a file that has lost it.
const DELETED: &[u8] = b" (deleted)";

/// The target of a `/proc` link without the kernel's ` (deleted)`. Only a file without links can carry
/// the mark: with a link left, the same bytes may be the name an attacker gave it.
pub(super) fn without_mark(mut target: Vec<u8>, has_links: bool) -> Vec<u8> {
    if !has_links && target.ends_with(DELETED) {
        target.truncate(target.len() - DELETED.len());
    }
    target
}

/// `path` without empty, `.` and `..` components; symbolic links are not asked about.
pub(super) fn normalise(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for part in &parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Whether a path names an open descriptor, which means another file in every process.
pub(super) fn is_descriptor(path: &[u8]) -> bool {
    path.starts_with(b"/dev/fd/") || path.starts_with(b"/proc/") || path.starts_with(b"/memfd:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_is_cut_from_a_file_without_links_only() {
        let marked = b"/tmp/x (deleted)".to_vec();
        assert_eq!(without_mark(marked.clone(), false), b"/tmp/x");
        assert_eq!(without_mark(marked.clone(), true), marked);
        assert_eq!(
            without_mark(b"/tmp/x (deleted) (deleted)".to_vec(), false),
            marked
        );
        assert_eq!(
            without_mark(b"/memfd:x (deleted)".to_vec(), false),
            b"/memfd:x"
        );
    }

    #[test]
    fn paths_are_normalised_without_leaving_the_root() {
        for (path, expected) in [
            (&b"/var/www/./x//y"[..], &b"/var/www/x/y"[..]),
            (b"/a/b/../../../c", b"/c"),
            (b"/", b"/"),
            (b"/a/\xff/..", b"/a"),
        ] {
            assert_eq!(normalise(path), expected);
        }
    }
}
