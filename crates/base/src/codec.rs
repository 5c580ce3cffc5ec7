//! Byte encoding of what is stored: little helpers, no derive, so that every byte is in sight.
//!
//! Fixed structures use [`Writer`] and [`Reader`]. Rows use tagged fields ([`TlvWriter`],
//! [`TlvReader`]): a reader keeps the fields that it does not know and writes them back, which is
//! how a newer minor version survives an older program.

/// Stored bytes that do not have the form they must have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}")]
pub struct DecodeError {
    /// The structure that was being decoded.
    pub what: &'static str,
}

/// Appends little-endian integers and length-prefixed bytes to a buffer.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }
    /// Appends two bytes, little-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// Appends four bytes, little-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// Appends eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// Appends an integer in 1 to 10 bytes of 7 bits (LEB128).
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.bytes.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
        self
    }
    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
    /// Appends a varint length and the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.varint(bytes.len() as u64).raw(bytes)
    }
    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    /// The bytes written so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
    /// Gives the bytes away.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes apart what [`Writer`] put together. Every method fails at the end of the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; `what` names the structure in errors.
    #[must_use]
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }
    /// The error of this structure.
    #[must_use]
    pub fn malformed(&self) -> DecodeError {
        DecodeError { what: self.what }
    }
    /// The next `len` bytes.
    ///
    /// # Errors
    ///
    /// Fewer bytes are left.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(self.malformed())?;
        self.rest = rest;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let malformed = self.malformed();
        self.take(N)?.try_into().map_err(|_| malformed)
    }
    /// One byte.
    ///
    /// # Errors
    ///
    /// Nothing is left.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }
    /// Two bytes, little-endian.
    ///
    /// # Errors
    ///
    /// Fewer bytes are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    /// Four bytes, little-endian.
    ///
    /// # Errors
    ///
    /// Fewer bytes are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    /// Eight bytes, little-endian.
    ///
    /// # Errors
    ///
    /// Fewer bytes are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// An integer of [`Writer::varint`].
    ///
    /// # Errors
    ///
    /// It does not end, or does not fit 64 bits.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed())
    }
    /// Length-prefixed bytes of [`Writer::bytes`].
    ///
    /// # Errors
    ///
    /// The length is malformed or more than what is left.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.varint()?).map_err(|_| self.malformed())?;
        self.take(len)
    }
    /// Length-prefixed UTF-8.
    ///
    /// # Errors
    ///
    /// As [`Reader::bytes`], or not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let malformed = self.malformed();
        std::str::from_utf8(self.bytes()?).map_err(|_| malformed)
    }
    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Writes tagged fields: tag (1 byte), length (varint), value.
#[derive(Debug, Default)]
pub struct TlvWriter {
    writer: Writer,
}

impl TlvWriter {
    /// Starts a row of this format number.
    #[must_use]
    pub fn new(format: u8) -> Self {
        let mut writer = Writer { bytes: Vec::with_capacity(192) };
        writer.u8(format);
        Self { writer }
    }
    /// Adds a field of bytes.
    pub fn bytes(&mut self, tag: u8, value: &[u8]) -> &mut Self {
        self.writer.u8(tag).bytes(value);
        self
    }
    /// Adds an integer in as few bytes as it needs; zero is an empty field.
    pub fn int(&mut self, tag: u8, value: u64) -> &mut Self {
        let le = value.to_le_bytes();
        let len = 8 - value.leading_zeros() as usize / 8;
        self.bytes(tag, &le[..len])
    }
    /// Adds an integer unless it is zero.
    pub fn int_unless_zero(&mut self, tag: u8, value: u64) -> &mut Self {
        if value != 0 {
            self.int(tag, value);
        }
        self
    }
    /// Adds a text unless there is none.
    pub fn text_if(&mut self, tag: u8, value: Option<&str>) -> &mut Self {
        if let Some(text) = value {
            self.bytes(tag, text.as_bytes());
        }
        self
    }
    /// Bytes written so far; the next field's value begins a little after.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writer.len()
    }
    /// Whether there is not even a format number; never so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writer.is_empty()
    }
    /// Gives the row away.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.writer.finish()
    }
}

/// Iterates over the fields of [`TlvWriter`].
#[derive(Debug)]
pub struct TlvReader<'a> {
    reader: Reader<'a>,
}

impl<'a> TlvReader<'a> {
    /// Opens a row that must have this format number.
    ///
    /// # Errors
    ///
    /// The row is empty or of another format.
    pub fn new(bytes: &'a [u8], format: u8, what: &'static str) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, what);
        if reader.u8()? != format {
            return Err(reader.malformed());
        }
        Ok(Self { reader })
    }
    /// The next field, or `None` at the end.
    ///
    /// # Errors
    ///
    /// The row ends inside a field.
    pub fn field(&mut self) -> Result<Option<(u8, &'a [u8])>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let tag = self.reader.u8()?;
        Ok(Some((tag, self.reader.bytes()?)))
    }
    /// Reads the value of a field as an integer.
    ///
    /// # Errors
    ///
    /// The value is longer than eight bytes.
    pub fn int(&self, value: &[u8]) -> Result<u64, DecodeError> {
        let mut le = [0_u8; 8];
        le.get_mut(..value.len()).ok_or(self.reader.malformed())?.copy_from_slice(value);
        Ok(u64::from_le_bytes(le))
    }
    /// Reads the value of a field as text.
    ///
    /// # Errors
    ///
    /// The value is not UTF-8.
    pub fn text(&self, value: &[u8]) -> Result<String, DecodeError> {
        String::from_utf8(value.to_vec()).map_err(|_| self.reader.malformed())
    }
    /// The error of this row.
    #[must_use]
    pub fn malformed(&self) -> DecodeError {
        self.reader.malformed()
    }
}

/// Lower-case hexadecimal form.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    let text = bytes.iter().map(digits).collect::<Vec<_>>().into_flattened();
    String::from_utf8(text).expect("digits are ASCII")
}

/// Bytes of a hexadecimal text of either case, or `None` if it is not one.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_field_that_ends_early_is_refused() {
        let mut reader = TlvReader::new(&[1, 7, 5, 0], 1, "row").expect("format 1");
        assert_eq!(reader.field(), Err(DecodeError { what: "row" }));
    }

    #[test]
    fn varint_of_eleven_bytes_is_refused() {
        assert!(Reader::new(&[0xFF; 11], "row").varint().is_err());
    }

    proptest! {
        /// Goal: what is written is read back. Method: random fields.
        #[test]
        fn fields_round_trip(
            fields in prop::collection::vec((any::<u8>(), any::<u64>()), 0..20)
        ) {
            let mut writer = TlvWriter::new(3);
            for (tag, value) in &fields {
                writer.int(*tag, *value);
            }
            let row = writer.finish();
            let mut reader = TlvReader::new(&row, 3, "row").expect("format 3");
            let mut got = Vec::new();
            while let Some((tag, value)) = reader.field().expect("well formed") {
                got.push((tag, reader.int(value).expect("eight bytes")));
            }
            prop_assert_eq!(got, fields);
        }

        /// Goal: no bytes make a reader panic. Method: random bytes.
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(mut reader) = TlvReader::new(&bytes, 1, "row") {
                while let Ok(Some(_)) = reader.field() {}
            }
            let mut reader = Reader::new(&bytes, "row");
            while reader.varint().is_ok() {}
        }
    }
}
