//! One package's header: an index of tags over a store of values, big-endian.
//!
//! Layout: number of entries, bytes of the store, entries of 16 bytes (tag, type, offset, count), store.
//! Everything is checked against the store's end before it is read; nothing is allocated by a count that
//! the store could not hold. Any bytes give a header or [`Malformed`].

/// Tags used here.
mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const ARCHITECTURE: u32 = 1022;
    pub(super) const FILE_STATES: u32 = 1029;
    pub(super) const FILE_DIGESTS: u32 = 1035;
    pub(super) const FILE_FLAGS: u32 = 1037;
    pub(super) const FOLDER_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const FOLDERS: u32 = 1118;
    pub(super) const DIGEST_ALGORITHM: u32 = 5011;
}

/// Types of values.
mod kind {
    pub(super) const CHAR: u32 = 1;
    pub(super) const INT8: u32 = 2;
    pub(super) const INT32: u32 = 4;
    pub(super) const STRING: u32 = 6;
    pub(super) const STRINGS: u32 = 8;
    pub(super) const I18N: u32 = 9;
}

/// `RPMFILE_CONFIG`.
const CONFIGURATION: u32 = 1;
/// Most entries and store bytes that rpm itself accepts.
const MAX_ENTRIES: usize = 0xffff;
const MAX_STORE_BYTES: usize = 256 << 20;

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rpm database is malformed: {0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// A header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    entries: &'a [u8],
    store: &'a [u8],
}

/// One file of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct File<'a> {
    /// With a slash at its end.
    pub(super) folder: &'a [u8],
    pub(super) name: &'a [u8],
    /// In hexadecimal digits; empty for folders and links.
    pub(super) digest: Option<&'a [u8]>,
    flags: u32,
    state: u8,
}

impl File<'_> {
    pub(super) fn is_configuration(&self) -> bool {
        self.flags & CONFIGURATION != 0
    }

    /// Not left out, and not replaced by another package's.
    pub(super) fn is_installed(&self) -> bool {
        self.state == 0
    }
}

impl<'a> Header<'a> {
    /// The header at the start of `blob`.
    pub(super) fn parse(blob: &'a [u8]) -> Result<Header<'a>, Malformed> {
        let short = Malformed("header too short");
        let count = number(blob, 0).ok_or(short)?;
        let bytes = number(blob, 4).ok_or(short)?;
        if count > MAX_ENTRIES || bytes > MAX_STORE_BYTES {
            return Err(Malformed("header too large"));
        }
        let (entries, store) = blob[8..].split_at_checked(16 * count).ok_or(short)?;
        Ok(Header {
            entries,
            store: store.get(..bytes).ok_or(short)?,
        })
    }

    /// `name-version-release.architecture`, as `rpm -q` prints it; `None`: no program's package.
    pub(super) fn label(&self) -> Option<String> {
        let word = |tag| {
            self.string(tag)
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let (name, version, release) = (word(tag::NAME)?, word(tag::VERSION)?, word(tag::RELEASE)?);
        let architecture = word(tag::ARCHITECTURE).map(|word| format!(".{word}"));
        let architecture = architecture.unwrap_or_default();
        Some(format!("{name}-{version}-{release}{architecture}"))
    }

    /// Its file digests are of an algorithm that is understood (MD5 where it says nothing, SHA-256).
    pub(super) fn digest_algorithm(&self) -> Option<u32> {
        match self.integers(tag::DIGEST_ALGORITHM) {
            None => Some(1),
            Some(values) => number(values, 0)
                .and_then(|value| u32::try_from(value).ok())
                .filter(|algorithm| matches!(algorithm, 1 | 8)),
        }
    }

    /// Calls `each` with every file.
    pub(super) fn each_file(&self, mut each: impl FnMut(File<'a>)) -> Result<(), Malformed> {
        let Some(mut names) = self.strings(tag::BASE_NAMES) else {
            return Ok(()); // no files
        };
        let folders: Vec<&[u8]> = self
            .strings(tag::FOLDERS)
            .ok_or(Malformed("files without folders"))?
            .collect();
        let indexes = self
            .integers(tag::FOLDER_INDEXES)
            .ok_or(Malformed("files without folders"))?;
        let mut digests = self.strings(tag::FILE_DIGESTS);
        let flags = self.integers(tag::FILE_FLAGS);
        let states = self.bytes(tag::FILE_STATES);
        for (at, name) in names.by_ref().enumerate() {
            let folder = number(indexes, 4 * at).and_then(|index| folders.get(index));
            each(File {
                folder: folder.ok_or(Malformed("file in no folder"))?,
                name,
                digest: digests
                    .as_mut()
                    .and_then(Iterator::next)
                    .filter(|digest| !digest.is_empty()),
                flags: flags
                    .and_then(|flags| number(flags, 4 * at))
                    .map_or(0, |flags| flags as u32),
                state: states.map_or(0, |states| states.get(at).copied().unwrap_or(0)),
            });
        }
        if names.left > 0 {
            return Err(Malformed("names cut off"));
        }
        Ok(())
    }

    /// Type, store from the value on, and count.
    fn find(&self, tag: u32) -> Option<(u32, &'a [u8], usize)> {
        let entry = self
            .entries
            .chunks_exact(16)
            .find(|entry| number(entry, 0) == Some(tag as usize))?;
        let store = self.store.get(number(entry, 8)?..)?;
        Some((number(entry, 4)? as u32, store, number(entry, 12)?))
    }

    fn string(&self, tag: u32) -> Option<&'a [u8]> {
        let (kind, store, _) = self.find(tag)?;
        let is_text = matches!(kind, kind::STRING | kind::I18N | kind::STRINGS);
        let end = store.iter().position(|byte| *byte == 0)?;
        is_text.then(|| &store[..end])
    }

    fn strings(&self, tag: u32) -> Option<Strings<'a>> {
        let (kind, rest, left) = self.find(tag)?;
        (kind == kind::STRINGS).then_some(Strings { rest, left })
    }

    fn integers(&self, tag: u32) -> Option<&'a [u8]> {
        let (kind, store, count) = self.find(tag)?;
        let bytes = count.checked_mul(4)?;
        store.get(..bytes).filter(|_| kind == kind::INT32)
    }

    fn bytes(&self, tag: u32) -> Option<&'a [u8]> {
        let (kind, store, count) = self.find(tag)?;
        store
            .get(..count)
            .filter(|_| matches!(kind, kind::CHAR | kind::INT8))
    }
}

/// NUL-terminated strings.
struct Strings<'a> {
    rest: &'a [u8],
    /// How many are still to come.
    left: usize,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let end = self.rest.iter().position(|byte| *byte == 0)?;
        self.left -= 1;
        let (string, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        Some(string)
    }
}

/// The 32-bit number at `at`.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*bytes)).ok()
}
