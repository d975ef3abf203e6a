//! Reads the server name from a TLS ClientHello. Total: any bytes give a name, "TLS without a name", or
//! "no ClientHello".
//!
//! Layout: RFC 8446 section 4.1.2, RFC 6066 section 3. A hello that is cut before the name has none.

/// Longest name kept, bytes: the longest there can be in DNS.
const MAX_NAME_BYTES: usize = 253;

/// `None`: the bytes do not begin with a ClientHello.
pub fn server_name(bytes: &[u8]) -> Option<Option<Box<[u8]>>> {
    let mut record = Cursor(bytes);
    let [kind, major, minor] = record.array()?;
    let _record_bytes = record.number(2)?;
    if kind != 22 || major != 3 || minor > 4 || record.number(1)? != 1 {
        return None;
    }
    Some(name(&mut record))
}

fn name(hello: &mut Cursor<'_>) -> Option<Box<[u8]>> {
    let _hello_bytes = hello.number(3)?;
    let _version_and_random = hello.take(2 + 32)?;
    let _session = hello.block(1)?;
    let _suites = hello.block(2)?;
    let _compression = hello.block(1)?;
    let _extensions_bytes = hello.number(2)?;
    loop {
        let kind = hello.number(2)?;
        let mut extension = Cursor(hello.block(2)?);
        if kind != 0 {
            continue;
        }
        let _list_bytes = extension.number(2)?;
        let host_name = extension.number(1)? == 0;
        let name = extension.block(2)?;
        return (host_name && name.len() <= MAX_NAME_BYTES).then(|| name.into());
    }
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// A big-endian number.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        let bytes = self.take(bytes)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }

    /// Bytes behind their length.
    fn block(&mut self, length_bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(length_bytes)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hello with two extensions, the second with the name.
    fn hello(name: &[u8]) -> Vec<u8> {
        let block = |length: usize, body: &[u8]| {
            let size = body.len().to_be_bytes();
            [&size[size.len() - length..], body].concat()
        };
        let list = block(2, &[&[0][..], &block(2, name)].concat());
        let extensions = [
            &[0, 43][..],
            &block(2, &[2, 3, 4]),
            &[0, 0],
            &block(2, &list),
        ]
        .concat();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &block(1, &[9; 32]),
            &block(2, &[0x13, 1]),
            &block(1, &[0]),
            &block(2, &extensions),
        ]
        .concat();
        let handshake = [&[1][..], &block(3, &body)].concat();
        [&[22, 3, 1][..], &block(2, &handshake)].concat()
    }

    #[test]
    fn the_name_is_found_behind_other_extensions() {
        let name = b"xmr.pool.example";
        assert_eq!(
            server_name(&hello(name)),
            Some(Some(name.as_slice().into()))
        );
    }

    #[test]
    fn a_name_is_at_most_as_long_as_dns_allows() {
        let found = |bytes: usize| server_name(&hello(&vec![b'a'; bytes]));
        assert_eq!(found(253), Some(Some(vec![b'a'; 253].into())));
        assert_eq!(found(254), Some(None));
    }

    #[test]
    fn any_bytes_give_an_answer_and_never_a_panic() {
        let whole = hello(b"pool.example");
        for cut in 0..whole.len() {
            let expected = if cut < 6 { None } else { Some(None) };
            assert_eq!(server_name(&whole[..cut]), expected, "{cut}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let _never_panics = server_name(&changed);
            }
        }
        assert_eq!(server_name(b"GET / HTTP/1.1\r\n"), None);
    }
}
