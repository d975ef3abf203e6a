//! Whose habits a baseline is: a program or a host, never a process id.

use sha2::{Digest as _, Sha256};

use crate::input::ExecutableId;

/// A program as a baseline knows it: 128 bits of a digest, because names are chosen by attackers and a
/// colliding one would inherit another's habits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity([u8; 16]);

/// The bit of the first byte that says so.
const ESTABLISHED: u8 = 1;
/// What begins the name of a stored baseline.
const PREFIX: &str = "cpu:";

impl Identity {
    /// A program that a package ships: its path, so that an update keeps its habits.
    pub fn packaged(model: &str, path: &[u8]) -> Identity {
        Identity::of(&[b"packaged", model.as_bytes(), path]).established()
    }

    /// The same, of a program that belongs to the host: what a package shipped, or a file nobody changed for a week.
    pub fn established(mut self) -> Identity {
        self.0[0] |= ESTABLISHED;
        self
    }

    /// Whether the program belongs to the host.
    pub fn is_established(self) -> bool {
        self.0[0] & ESTABLISHED != 0
    }

    /// Any other program: the file itself. Another file is another program, whatever it is called.
    pub fn file(model: &str, id: ExecutableId) -> Identity {
        Identity::of(&[
            b"file",
            model.as_bytes(),
            &id.dev.to_le_bytes(),
            &id.inode.to_le_bytes(),
            &id.ctime_sec.to_le_bytes(),
            &id.ctime_nsec.to_le_bytes(),
        ])
    }

    /// What has no file: the host itself, a kernel thread, a process whose exec was not seen.
    pub fn named(model: &str, name: &[u8]) -> Identity {
        Identity::of(&[b"named", model.as_bytes(), name])
    }

    fn of(parts: &[&[u8]]) -> Identity {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let mut short = [0; 16];
        short.copy_from_slice(&digest.finalize()[..16]);
        short[0] &= !ESTABLISHED;
        Identity(short)
    }

    /// As it is stored: `cpu:` and 32 hex digits.
    pub fn text(self) -> String {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{PREFIX}{digits}")
    }

    /// Back from [`Identity::text`].
    pub fn parse(text: &str) -> Option<Identity> {
        let digits = text.strip_prefix(PREFIX)?;
        let hex = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(digits, 16).ok().filter(|_| hex)?;
        Some(Identity(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_being_stored_and_parts_do_not_run_together() {
        let one = Identity::packaged("saturation", b"/usr/bin/xz");
        assert_eq!(Identity::parse(&one.text()), Some(one));
        assert_ne!(one, Identity::packaged("saturatio", b"n/usr/bin/xz"));
        let named = Identity::named("saturation", b"/usr/bin/xz");
        assert_ne!(one, named);
        assert_eq!(
            (one.is_established(), named.is_established()),
            (true, false)
        );
        let short = &one.text()[..35];
        for bad in [
            "",
            "cpu:",
            short,
            &short.replace("cpu:", "mem:x"),
            &short.replace("cpu:", "cpu:+"),
        ] {
            assert_eq!(Identity::parse(bad), None, "{bad}");
        }
    }

    /// Or the habits a host has learned would be nobody's after an update.
    #[test]
    fn an_identity_is_stored_under_the_same_name_for_ever() {
        for (identity, text) in [
            (
                Identity::packaged("saturation", b"/usr/bin/xz"),
                "cpu:dd087003bad217f296875fe4ea56d3c2",
            ),
            (
                Identity::named("steal", b"host"),
                "cpu:1c1bde3fc2b95ca0f989177c45438ad5",
            ),
        ] {
            assert_eq!(identity.text(), text);
        }
    }
}
