//! Reads member offsets from the kernel's own type information (BTF).
//!
//! Owns one blob and an index of where each type starts. Total: every malformed blob is an error
//! or an absent member, never a panic or an endless loop. It answers two questions only: where a
//! member lies, and whether a named type exists. Format: `Documentation/bpf/btf.rst`.

use std::{fmt, path::Path};

const MAGIC: u16 = 0xeb9f;
const MAX_DEPTH: usize = 16;
/// Members looked at for one name; the largest structure of a kernel has a few hundred. Anonymous ones that hold each other are
/// bounded by depth alone to the number of their members to the sixteenth power.
const MAX_MEMBERS: usize = 1 << 13;

/// Kinds of type records.
mod kind {
    pub const INT: u32 = 1;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// Why type information cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The blob is not BTF of this machine's byte order.
    #[error("not BTF: {0}")]
    Malformed(&'static str),
}

/// Parsed type information.
pub struct Btf {
    data: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// Offset in `data` of each type record; type id 0 (`void`) is not among them.
    types: Vec<u32>,
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf")
            .field("types", &self.types.len())
            .finish_non_exhaustive()
    }
}

/// Where a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the start of the outermost structure.
    pub offset: u32,
    /// Type id of the member.
    type_id: u32,
}

struct Record {
    at: usize,
    name: u32,
    kind: u32,
    vlen: usize,
    kind_flag: bool,
    /// Size in bytes, or the id of the type referred to.
    size_or_type: u32,
}

impl Btf {
    /// Reads a BTF file such as `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// The file cannot be read, or is not BTF.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let data = std::fs::read(path).map_err(|source| BtfError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(data)
    }

    /// Indexes a blob.
    ///
    /// # Errors
    /// The header, a record or a section does not fit.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let malformed = BtfError::Malformed;
        let header = |at: usize| read_u32(&data, at).ok_or(malformed("the header is cut"));
        if data.get(..2) != Some(&MAGIC.to_ne_bytes()) {
            return Err(malformed("wrong magic"));
        }
        let base = header(4)? as usize;
        let section = |off: u32, len: u32| {
            let start = base.checked_add(off as usize)?;
            let end = start.checked_add(len as usize)?;
            (end <= data.len()).then_some(start..end)
        };
        let types = section(header(8)?, header(12)?).ok_or(malformed("the types are cut"))?;
        let strings = section(header(16)?, header(20)?).ok_or(malformed("the strings are cut"))?;

        let mut index = Vec::new();
        let mut at = types.start;
        while at < types.end {
            let record = record_at(&data, at).ok_or(malformed("a type record is cut"))?;
            let tail = tail_bytes(&record).ok_or(malformed("unknown kind of type"))?;
            let next = at + 12 + tail;
            if next > types.end {
                return Err(malformed("a type record is cut"));
            }
            index.push(u32::try_from(at).map_err(|_| malformed("larger than 4 GiB"))?);
            at = next;
        }
        Ok(Btf {
            data,
            strings,
            types: index,
        })
    }

    /// Where the member of a structure lies; `path` goes through named members by dots and through
    /// anonymous structures and unions by itself. The empty path is the end of the structure: its
    /// size. `None`: no such structure or member, or a bit field.
    pub fn member(&self, structure: &str, path: &str) -> Option<Member> {
        let id = self.structure(structure)?;
        if path.is_empty() {
            let offset = self.record(id)?.size_or_type;
            return Some(Member { offset, type_id: 0 });
        }
        let mut at = Member {
            offset: 0,
            type_id: id,
        };
        for name in path.split('.') {
            let mut left = MAX_MEMBERS;
            let inner = self.find(self.resolve(at.type_id)?, name, 0, &mut left)?;
            at = Member {
                offset: at.offset.checked_add(inner.offset)?,
                type_id: inner.type_id,
            };
        }
        Some(at)
    }

    /// Whether a typedef of this name exists (a tracepoint `x` has `btf_trace_x`).
    pub fn has_typedef(&self, name: &str) -> bool {
        self.ids()
            .any(|id| self.is_named(id, name, |kind| kind == kind::TYPEDEF))
    }

    fn ids(&self) -> impl Iterator<Item = u32> {
        1..=u32::try_from(self.types.len()).unwrap_or(u32::MAX)
    }

    /// Type id of a named structure. A forward declaration has another kind.
    fn structure(&self, name: &str) -> Option<u32> {
        self.ids()
            .find(|&id| self.is_named(id, name, |kind| kind == kind::STRUCT))
    }

    fn is_named(&self, id: u32, name: &str, kind: impl Fn(u32) -> bool) -> bool {
        self.record(id)
            .is_some_and(|record| kind(record.kind) && self.string(record.name) == name.as_bytes())
    }

    /// The member `name` of a structure or union, through anonymous ones.
    fn find(&self, id: u32, name: &str, depth: usize, left: &mut usize) -> Option<Member> {
        let record = self.record(id)?;
        if depth > MAX_DEPTH || !matches!(record.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        (0..record.vlen).find_map(|index| {
            *left = left.checked_sub(1)?;
            let at = record.at + 12 + 12 * index;
            let member_name = self.string(read_u32(&self.data, at)?);
            let type_id = read_u32(&self.data, at + 4)?;
            let raw = read_u32(&self.data, at + 8)?;
            let (bits, width) = match record.kind_flag {
                true => (raw & 0x00ff_ffff, raw >> 24),
                false => (raw, 0),
            };
            if member_name == name.as_bytes() {
                return (width == 0 && bits % 8 == 0).then_some(Member {
                    offset: bits / 8,
                    type_id,
                });
            }
            if member_name.is_empty() {
                let inner = self.find(self.resolve(type_id)?, name, depth + 1, left)?;
                return Some(Member {
                    offset: (bits / 8).checked_add(inner.offset)?,
                    type_id: inner.type_id,
                });
            }
            None
        })
    }

    /// Through typedefs and qualifiers to the type itself.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_DEPTH {
            let record = self.record(id)?;
            match record.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = record.size_or_type
                }
                _ => return Some(id),
            }
        }
        None
    }

    fn record(&self, id: u32) -> Option<Record> {
        let at = *self.types.get(id.checked_sub(1)? as usize)?;
        record_at(&self.data, at as usize)
    }

    fn string(&self, offset: u32) -> &[u8] {
        let all = &self.data[self.strings.clone()];
        let rest = all.get(offset as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn record_at(data: &[u8], at: usize) -> Option<Record> {
    let info = read_u32(data, at + 4)?;
    Some(Record {
        at,
        name: read_u32(data, at)?,
        kind: info >> 24 & 0x1f,
        vlen: (info & 0xffff) as usize,
        kind_flag: info >> 31 == 1,
        size_or_type: read_u32(data, at + 8)?,
    })
}

/// Bytes behind the 12 of every record. Kinds 2, 7, 12 and 16 (pointer, forward, function, float)
/// have none.
fn tail_bytes(record: &Record) -> Option<usize> {
    Some(match record.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * record.vlen,
        kind::ENUM | kind::FUNC_PROTO => 8 * record.vlen,
        2 | 7 | 12 | 16 | kind::TYPEDEF..=kind::RESTRICT | kind::TYPE_TAG => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob with one structure `s { int a; union { int b; struct { int c; }; }; int d:3; }`.
    fn blob() -> Vec<u8> {
        let strings = b"\0int\0s\0a\0b\0c\0d\0";
        let name = |wanted: &[u8]| {
            strings
                .windows(wanted.len() + 2)
                .position(|w| {
                    w[0] == 0 && &w[1..=wanted.len()] == wanted && w[wanted.len() + 1] == 0
                })
                .map_or(0, |at| at as u32 + 1)
        };
        let info = |kind: u32, vlen: u32, flag: u32| flag << 31 | kind << 24 | vlen;
        let types: Vec<u32> = [
            vec![name(b"int"), info(kind::INT, 0, 0), 4, 32],
            vec![0, info(kind::STRUCT, 1, 0), 4, name(b"c"), 1, 0],
            vec![0, info(kind::UNION, 2, 0), 4, name(b"b"), 1, 0, 0, 2, 0],
            [
                vec![name(b"s"), info(kind::STRUCT, 3, 1), 12],
                vec![name(b"a"), 1, 0, 0, 3, 32, name(b"d"), 1, 3 << 24 | 64],
            ]
            .concat(),
        ]
        .concat();
        let mut blob = Vec::new();
        blob.extend(MAGIC.to_ne_bytes());
        blob.extend([1, 0]);
        for word in [
            24,
            0,
            types.len() as u32 * 4,
            types.len() as u32 * 4,
            strings.len() as u32,
        ] {
            blob.extend(u32::to_ne_bytes(word));
        }
        blob.extend(types.iter().flat_map(|word| word.to_ne_bytes()));
        blob.extend(strings);
        blob
    }

    fn offset(path: &str) -> Option<u32> {
        let btf = Btf::parse(blob()).expect("the blob is well-formed");
        btf.member("s", path).map(|member| member.offset)
    }

    #[test]
    fn members_are_found_through_anonymous_unions_and_structures() {
        assert_eq!(
            [offset("a"), offset("b"), offset("c"), offset("")],
            [Some(0), Some(4), Some(4), Some(12)]
        );
    }

    #[test]
    fn bit_fields_and_unknown_members_are_absent() {
        assert_eq!(
            [offset("d"), offset("e"), offset("a.b")],
            [None, None, None]
        );
    }

    /// A structure `s` whose anonymous members are all of its own type, as only a damaged blob has them.
    fn nested_in_itself(members: u32) -> Vec<u8> {
        let strings = b"\0s\0";
        let mut types = vec![1, members | kind::STRUCT << 24, 8];
        types.extend((0..members).flat_map(|_| [0, 1, 0]));
        let length = types.len() as u32 * 4;
        let mut blob = MAGIC.to_ne_bytes().to_vec();
        blob.extend([1, 0]);
        let header = [24, 0, length, length, strings.len() as u32];
        blob.extend(
            header
                .iter()
                .chain(&types)
                .flat_map(|word: &u32| word.to_ne_bytes()),
        );
        blob.extend(strings);
        blob
    }

    #[test]
    fn structures_that_hold_themselves_are_given_up_in_time() {
        let btf = Btf::parse(nested_in_itself(50)).expect("each record is whole");
        assert_eq!(btf.member("s", "a"), None);
    }

    #[test]
    fn a_blob_cut_anywhere_or_with_any_byte_changed_is_refused_or_read_without_panic() {
        let whole = blob();
        for cut in 0..whole.len() {
            assert!(Btf::parse(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Ok(btf) = Btf::parse(changed) {
                    let _ = (btf.member("s", "c"), btf.has_typedef("s"));
                }
            }
        }
    }
}
