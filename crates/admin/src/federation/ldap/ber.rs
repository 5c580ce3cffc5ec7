//! The encoding of LDAP messages: elements of a tag, a length and a content (RFC 4511, §5.1).
//!
//! # Invariants
//!
//! - Reading copies nothing and does not recurse: whatever a server nests, it is looked into as far as a
//!   caller asks, and no further.
//! - Only tags of one byte and definite lengths are read, which is all that LDAP has.

use ldap3::asn1::{PL, StructureTag};

/// A content that is not what it must be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0A;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
const BOOLEAN: u8 = 0x01;
const CONSTRUCTED: u8 = 0x20;

/// Bytes of a length after its first one, at most: 4 GiB.
pub(super) const LENGTH_LEN_MAX: usize = 4;

/// How many more bytes a length has after its first one; `None` if that one is the length.
pub(super) fn length_len(first: u8) -> Result<Option<usize>, Malformed> {
    let more = usize::from(first & 0x7F);
    match first {
        0..=0x7F => Ok(None),
        _ if (1..=LENGTH_LEN_MAX).contains(&more) => Ok(Some(more)),
        _ => Err(Malformed),
    }
}

/// A number, most significant byte first.
pub(super) fn number(bytes: &[u8]) -> Result<u64, Malformed> {
    if bytes.is_empty() || bytes.len() > size_of::<u64>() {
        return Err(Malformed);
    }
    Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Elements one after the other.
#[derive(Clone, Copy)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Elements<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Tag and content of the next one; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let head = self.take(2)?;
        let (tag, first) = (head[0], head[1]);
        let len = match length_len(first)? {
            None => u64::from(first),
            Some(more) => number(self.take(more)?)?,
        };
        let content = self.take(usize::try_from(len).map_err(|_| Malformed)?)?;
        Ok(Some((tag, content)))
    }

    /// Content of the next one, which must have a tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.next()? {
            Some((found, content)) if found == tag => Ok(content),
            _ => Err(Malformed),
        }
    }

    /// The next one as text.
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.expect(OCTETS)?).map_err(|_| Malformed)
    }
}

/// Appends an element.
pub(super) fn put(into: &mut Vec<u8>, tag: u8, content: &[u8]) {
    into.push(tag);
    match u8::try_from(content.len()) {
        Ok(len) if len < 0x80 => into.push(len),
        _ => {
            let len = u32::try_from(content.len()).expect("requests are short");
            into.push(0x84);
            into.extend(len.to_be_bytes());
        }
    }
    into.extend(content);
}

/// Appends an integer or an enumerated one, of a tag. Servers take no more bytes than it needs.
pub(super) fn put_number(into: &mut Vec<u8>, tag: u8, value: u32) {
    let bytes = u64::from(value).to_be_bytes();
    // One bit is left for the sign.
    let len = value.checked_ilog2().map_or(1, |bits| (bits as usize + 1) / 8 + 1);
    put(into, tag, &bytes[bytes.len() - len..]);
}

pub(super) fn put_bool(into: &mut Vec<u8>, value: bool) {
    put(into, BOOLEAN, &[if value { 0xFF } else { 0 }]);
}

/// Appends what a filter was parsed to.
pub(super) fn put_parsed(into: &mut Vec<u8>, parsed: StructureTag) {
    let id = u8::try_from(parsed.id).expect("tags of filters are below 31");
    let tag = (parsed.class as u8) << 6 | id;
    match parsed.payload {
        PL::P(content) => put(into, tag, &content),
        PL::C(parts) => {
            let mut content = Vec::new();
            parts.into_iter().for_each(|part| put_parsed(&mut content, part));
            put(into, tag | CONSTRUCTED, &content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        for len in [0, 1, 127, 128, 255, 256, 70_000] {
            let (mut bytes, content) = (Vec::new(), vec![7; len]);
            put(&mut bytes, OCTETS, &content);
            put_number(&mut bytes, INTEGER, u32::MAX);
            put_bool(&mut bytes, true);
            let mut elements = Elements(&bytes);
            assert_eq!(elements.expect(OCTETS), Ok(&*content));
            assert_eq!(elements.expect(INTEGER).and_then(number), Ok(u64::from(u32::MAX)));
            assert_eq!(elements.next(), Ok(Some((BOOLEAN, &[0xFF][..]))));
            assert_eq!(elements.next(), Ok(None));
        }
    }

    #[test]
    fn numbers_have_no_more_bytes_than_they_need() {
        for (value, want) in [
            (0, &[0][..]),
            (1, &[1]),
            (127, &[127]),
            (128, &[0, 128]),
            (255, &[0, 255]),
            (256, &[1, 0]),
            (0x7FFF_FFFF, &[127, 255, 255, 255]),
            (u32::MAX, &[0, 255, 255, 255, 255]),
        ] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, INTEGER, value);
            assert_eq!(Elements(&bytes).expect(INTEGER), Ok(want), "{value}");
        }
    }

    /// Goal: nothing that a server sends is read past its end, or panics.
    #[test]
    fn what_is_cut_or_longer_than_it_is_is_malformed() {
        for bytes in [
            &[0x30][..],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 1],
            &[0x04, 2, 1],
            &[0x04, 0x82, 1],
        ] {
            assert_eq!(Elements(bytes).next(), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(Elements(&[0x04, 1, 0xFF]).text(), Err(Malformed));
        assert_eq!((number(&[]), number(&[1; 9])), (Err(Malformed), Err(Malformed)));
    }

    /// Goal: filters are encoded as RFC 4511, §4.5.1.7, has them.
    #[test]
    fn filters_are_encoded() {
        use ldap3::asn1::ASNTag;
        let mut bytes = Vec::new();
        let filter = ldap3::parse_filter("(&(a=b)(!(c=*)))").expect("a filter");
        put_parsed(&mut bytes, filter.into_structure());
        let equal = [0xA3, 6, 4, 1, b'a', 4, 1, b'b'];
        let absent = [0xA2, 3, 0x87, 1, b'c'];
        assert_eq!(bytes, [&[0xA0, 13][..], &equal, &absent].concat());
    }
}
