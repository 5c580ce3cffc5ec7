//! Counts and bytes of a bucket, exact, changed in the same transaction as what they count.

use super::FORMAT;
use drystone_base::{DecodeError, TlvReader, TlvWriter};

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Current versions that are objects.
    pub current_count: u64,
    /// Their bytes.
    pub current_bytes: u64,
    /// Noncurrent versions that are objects.
    pub noncurrent_count: u64,
    /// Their bytes.
    pub noncurrent_bytes: u64,
    /// Delete markers, current or not.
    pub marker_count: u64,
    /// Parts of uploads that are not completed.
    pub part_count: u64,
    /// Their bytes.
    pub part_bytes: u64,
    /// Uploads that are not completed.
    pub upload_count: u64,
}

impl Usage {
    fn fields(&self) -> [u64; 8] {
        [
            self.current_count,
            self.current_bytes,
            self.noncurrent_count,
            self.noncurrent_bytes,
            self.marker_count,
            self.part_count,
            self.part_bytes,
            self.upload_count,
        ]
    }

    /// Stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = TlvWriter::new(FORMAT);
        for (tag, value) in (1..).zip(self.fields()) {
            w.int_unless_zero(tag, value);
        }
        w.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = TlvReader::new(bytes, FORMAT, "usage row")?;
        let mut fields = [0; 8];
        while let Some((tag, value)) = r.field()? {
            if let Some(field) = fields.get_mut(usize::from(tag).wrapping_sub(1)) {
                *field = r.int(value)?;
            }
        }
        let [a, b, c, d, e, f, g, h] = fields;
        Ok(Self {
            current_count: a,
            current_bytes: b,
            noncurrent_count: c,
            noncurrent_bytes: d,
            marker_count: e,
            part_count: f,
            part_bytes: g,
            upload_count: h,
        })
    }
}
