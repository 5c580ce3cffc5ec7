//! A frame: the rows that one batch of transactions leaves behind.
//!
//! Format 1: format (u8), clock (u64), change count (varint), then per change: flags (u8: 1 value
//! present, 2 hint present), key (length and bytes), value (length and bytes), hint (three varints).

use bytes::Bytes;
use drystone_base::{DecodeError, Reader, Seq, Writer};
use drystone_log::Location;

/// Says that a row holds, at an offset, the location of a record in the same batch of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintPatch {
    /// Where in the value the 16 bytes of the location go.
    pub at: u32,
    /// The payload's record begins this many bytes before the frame's record.
    pub distance: u32,
    /// Length of the payload.
    pub payload_len: u32,
}

/// A row after the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameChange {
    /// Key of the row.
    pub key: Bytes,
    /// Its value; `None` if the row is gone.
    pub value: Option<Bytes>,
    /// A location to fill in.
    pub hint: Option<HintPatch>,
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The hybrid clock after the batch.
    pub clock: Seq,
    /// Rows, each at most once.
    pub changes: Vec<FrameChange>,
}

const FORMAT: u8 = 1;

impl Frame {
    /// Stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.u8(FORMAT).u64(self.clock.0).varint(self.changes.len() as u64);
        for change in &self.changes {
            let flags = u8::from(change.value.is_some()) | u8::from(change.hint.is_some()) << 1;
            w.u8(flags).bytes(&change.key);
            if let Some(value) = &change.value {
                w.bytes(value);
            }
            if let Some(HintPatch { at, distance, payload_len }) = change.hint {
                w.varint(at.into()).varint(distance.into()).varint(payload_len.into());
            }
        }
        w.finish().into()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// Another format, or malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "catalog frame");
        if r.u8()? != FORMAT {
            return Err(r.malformed());
        }
        let clock = Seq(r.u64()?);
        let count = r.varint()?;
        let mut changes = Vec::new();
        for _ in 0..count {
            let flags = r.u8()?;
            let key = bytes.slice_ref(r.bytes()?);
            let value = if flags & 1 == 1 { Some(bytes.slice_ref(r.bytes()?)) } else { None };
            let malformed = r.malformed();
            let mut number = || u32::try_from(r.varint()?).map_err(|_| malformed.clone());
            let hint = if flags & 2 == 2 {
                Some(HintPatch { at: number()?, distance: number()?, payload_len: number()? })
            } else {
                None
            };
            changes.push(FrameChange { key, value, hint });
        }
        if r.is_empty() { Ok(Self { clock, changes }) } else { Err(r.malformed()) }
    }
}

impl FrameChange {
    /// The value with the location filled in; `frame` is where the frame's record is.
    #[must_use]
    pub fn resolved(self, frame: Location) -> drystone_index::Change {
        let Self { key, value, hint } = self;
        let (Some(bytes), Some(hint)) = (&value, hint) else {
            return drystone_index::Change { key, value };
        };
        let location = Location {
            offset: frame.offset.saturating_sub(hint.distance),
            payload_len: hint.payload_len,
            ..frame
        };
        let mut patched = bytes.to_vec();
        let at = hint.at as usize;
        if let Some(place) = patched.get_mut(at..at + Location::LEN_BYTES) {
            place.copy_from_slice(&location.to_bytes());
        }
        drystone_index::Change { key, value: Some(patched.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: frames round-trip. Method: random changes.
        #[test]
        fn frames_round_trip(
            clock in any::<u64>(),
            rows in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..9),
                 prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), any::<bool>()),
                0..9,
            ),
        ) {
            let hint = HintPatch { at: 3, distance: 400, payload_len: 70_000 };
            let changes = rows
                .into_iter()
                .map(|(key, value, hinted)| FrameChange {
                    key: key.into(),
                    value: value.map(Bytes::from),
                    hint: hinted.then_some(hint),
                })
                .collect();
            let frame = Frame { clock: Seq(clock), changes };
            prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }

        /// Goal: no bytes make the decoder panic.
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = 1;
            }
            let _ = Frame::decode(&bytes.into());
        }
    }
}
