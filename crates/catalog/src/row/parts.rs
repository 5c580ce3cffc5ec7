//! The parts of a completed object. A list may be long: 10,000 parts are more than 1 MiB, decoded several
//! times as much. Where a few of them are wanted the stored form is walked, and those are decoded.

use super::{Data, FORMAT, PartRow};
use drystone_base::{DecodeError, Reader, TlvReader, Writer};

const WHAT: &str = "manifest row";

/// The parts of a completed object, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Parts, by rising number.
    pub parts: Vec<PartRow>,
}

impl Manifest {
    /// Stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(FORMAT).varint(self.parts.len() as u64);
        for part in &self.parts {
            w.bytes(&part.encode());
        }
        w.finish()
    }

    /// Reads the stored form, all of it.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let parts = Self::walk(bytes)?.map(|part| part?.decode()).collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }

    /// Walks over the stored form.
    ///
    /// # Errors
    ///
    /// It is of another format.
    pub fn walk(bytes: &[u8]) -> Result<PartWalk<'_>, DecodeError> {
        let mut reader = Reader::new(bytes, WHAT);
        if reader.u8()? != FORMAT {
            return Err(reader.malformed());
        }
        let left = reader.varint()?;
        Ok(PartWalk { reader, left })
    }
}

/// A part in the stored form of a list.
#[derive(Clone, Copy, Debug)]
pub struct StoredPart<'a>(&'a [u8]);

impl StoredPart<'_> {
    /// Its number and its bytes.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn number_and_size(&self) -> Result<(u16, u64), DecodeError> {
        let mut reader = TlvReader::new(self.0, FORMAT, WHAT)?;
        let (mut number, mut size) = (0, 0);
        while let Some((tag, value)) = reader.field()? {
            match tag {
                1 => number = u16::try_from(reader.int(value)?).map_err(|_| reader.malformed())?,
                2 => size = reader.int(value)?,
                _ => {}
            }
        }
        if number == 0 { Err(reader.malformed()) } else { Ok((number, size)) }
    }

    /// Where its bytes are.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn data(&self) -> Result<Data, DecodeError> {
        let mut reader = TlvReader::new(self.0, FORMAT, WHAT)?;
        let mut data = Data::Empty;
        while let Some((tag, value)) = reader.field()? {
            if tag == 7 {
                data = Data::decode(value)?;
            }
        }
        Ok(data)
    }

    /// All that is known of it.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn decode(&self) -> Result<PartRow, DecodeError> {
        PartRow::decode(self.0)
    }
}

/// Gives the parts of a list, in order. After an error it ends.
#[derive(Clone, Debug)]
pub struct PartWalk<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl PartWalk<'_> {
    /// How many parts are left, as the list says.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl<'a> Iterator for PartWalk<'a> {
    type Item = Result<StoredPart<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(left) = self.left.checked_sub(1) else {
            let rest = std::mem::replace(&mut self.reader, Reader::new(&[], WHAT));
            return (!rest.is_empty()).then(|| Err(rest.malformed()));
        };
        self.left = left;
        let part = self.reader.bytes().map(StoredPart);
        if part.is_err() {
            (self.left, self.reader) = (0, Reader::new(&[], WHAT));
        }
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::{BlobId, Seq};

    fn part(number: u16, size: u64) -> PartRow {
        let data = Data::Manifest(BlobId([3; 16]));
        let data = Data::Slice { base: Box::new(data), base_size: 1 << 40, offset: 7 };
        let (md5, modified_ms, checksum) = ([1; 16], 5, None);
        PartRow { number, size, md5, modified_ms, checksum, data, seq: Seq(9), salt: None }
    }

    #[test]
    fn a_walk_tells_what_decoding_tells() {
        let parts: Vec<_> = (1..300).map(|n| part(n, u64::from(n) << (n % 40))).collect();
        let list = Manifest { parts };
        let bytes = list.encode();
        assert_eq!(Manifest::decode(&bytes).as_ref(), Ok(&list));
        let walk = Manifest::walk(&bytes).expect("format 1");
        assert_eq!(walk.left(), 299);
        for (stored, part) in walk.zip(&list.parts) {
            let stored = stored.expect("a part");
            assert_eq!(stored.number_and_size(), Ok((part.number, part.size)));
            assert_eq!(stored.data().as_ref(), Ok(&part.data));
        }
    }

    #[test]
    fn a_list_that_is_cut_short_or_goes_on_is_refused_once() {
        let bytes = Manifest { parts: vec![part(1, 5), part(2, 0)] }.encode();
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err(), "{len}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Manifest::decode(&longer).is_err());
        let errors = Manifest::walk(&longer).expect("format 1").filter(Result::is_err);
        assert_eq!(errors.count(), 1);
        // A count that nothing stands for.
        let endless = [&[FORMAT][..], &[0xFF; 9], &[1]].concat();
        assert_eq!(Manifest::walk(&endless).expect("format 1").filter(Result::is_err).count(), 1);
    }
}
