//! What a package says about the content of a file it ships.

/// The content of one path, as shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::enrich) enum Shipped {
    /// This content.
    Content {
        /// Its digest.
        digest: Digest,
        /// A configuration file: administrators may change it.
        configuration: bool,
    },
    /// Not told, and why.
    Unknown(&'static str),
}

/// A digest, in the algorithm of the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::enrich) enum Digest {
    /// dpkg, and rpm before 4.6.
    Md5([u8; 16]),
    /// rpm.
    Sha256([u8; 32]),
}

/// The package database has no digest of it.
pub(super) const NO_DIGEST: Shipped = Shipped::Unknown("package ships no digest");
/// The package database cannot be read now.
pub(super) const UNREADABLE: Shipped = Shipped::Unknown("package database unreadable");

impl Digest {
    /// Its bytes.
    #[cfg(any(test, fuzzing))]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Digest::Md5(bytes) => bytes,
            Digest::Sha256(bytes) => bytes,
        }
    }

    /// A digest in hexadecimal digits.
    pub(super) fn from_hex(text: &[u8]) -> Option<Digest> {
        fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
            // `from_str_radix` takes a sign for half of a byte.
            if !text.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            let mut out = [0; N];
            for (to, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
                let digits = std::str::from_utf8(pair).ok()?;
                *to = u8::from_str_radix(digits, 16).ok()?;
            }
            Some(out)
        }
        match text.len() {
            32 => Some(Digest::Md5(bytes(text)?)),
            64 => Some(Digest::Sha256(bytes(text)?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_says_which_algorithm() {
        assert_eq!(
            Digest::from_hex(b"000102030405060708090a0b0c0d0eff"),
            Some(Digest::Md5([
                0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255
            ]))
        );
        assert_eq!(
            Digest::from_hex(&[b'a'; 64]),
            Some(Digest::Sha256([0xaa; 32]))
        );
        assert_eq!(Digest::from_hex(&[b'g'; 32]), None);
        assert_eq!(Digest::from_hex(&b"+f".repeat(16)), None);
        assert_eq!(Digest::from_hex(b""), None);
    }
}
