//! Folders that a merged `/usr` replaced by links.
//!
//! Packages keep their spelling: `/bin/bash` where the file now lies in `/usr/bin`. The links of *this*
//! host decide.

use std::{borrow::Cow, fs, path::Path};

/// What may be a link, and to where.
const LINKS: [(&str, &str); 8] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib32", "usr/lib32"),
    ("lib64", "usr/lib64"),
    ("libx32", "usr/libx32"),
    ("libo32", "usr/libo32"),
    // Fedora 42.
    ("usr/sbin", "usr/bin"),
];

/// The links of one host.
#[derive(Debug, Default)]
pub(super) struct Merged(Vec<(&'static str, &'static str)>);

impl Merged {
    /// Looks below `root`.
    pub(super) fn read(root: &Path) -> Merged {
        let is_link = |(from, to): &(&str, &str)| {
            fs::read_link(root.join(from)).is_ok_and(|target| {
                let beside =
                    Path::new(to).strip_prefix(Path::new(from).parent().unwrap_or(Path::new("")));
                target == Path::new("/").join(to) || beside.is_ok_and(|beside| target == beside)
            })
        };
        Merged(LINKS.into_iter().filter(is_link).collect())
    }

    /// The path at which a listed one lies.
    pub(super) fn resolve<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        let mut path = Cow::Borrowed(path);
        for (from, to) in &self.0 {
            let rest = path
                .strip_prefix(b"/")
                .and_then(|rest| rest.strip_prefix(from.as_bytes()))
                .filter(|rest| rest.starts_with(b"/"));
            if let Some(rest) = rest {
                path = [b"/", to.as_bytes(), rest].concat().into();
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_in_the_spelling_of_every_distribution() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        for (target, link) in [
            ("usr/bin", "bin"),
            ("/usr/sbin", "sbin"),
            ("bin", "usr/sbin"),
            ("/x", "lib"),
        ] {
            symlink(target, root.path().join(link)).unwrap();
        }
        let merged = Merged::read(root.path());
        for (listed, lies_at) in [
            ("/bin/x", "/usr/bin/x"),
            ("/sbin/x", "/usr/bin/x"),
            ("/usr/sbin/x", "/usr/bin/x"),
            ("/lib/x", "/lib/x"),
            ("/binary/x", "/binary/x"),
            ("/bin", "/bin"),
        ] {
            assert_eq!(
                *merged.resolve(listed.as_bytes()),
                *lies_at.as_bytes(),
                "{listed}"
            );
        }
    }
}
