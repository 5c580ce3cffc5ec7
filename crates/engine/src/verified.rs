//! What verifications found and did not repair, kept in a row of the catalog: a restart does not make
//! anything whole.

use crate::engine::Engine;
use crate::error::EngineError;
use drystone_base::{DecodeError, Reader, Writer};
use drystone_catalog::{Decision, Key};

const FORMAT: u8 = 1;

/// What is known to lack since the last verification of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unrepaired {
    /// When the verification ended that found the shards, in milliseconds since 1970.
    pub ended_ms: u64,
    /// When one of everything ended last; 0 for never.
    pub verified_ms: u64,
    /// Shards that were damaged or missing on drives that are here.
    pub shards: u64,
    /// Objects that could not be read as a whole.
    pub objects: u64,
}

/// What one verification found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// It looked at everything, and came to its end.
    pub is_of_all: bool,
    /// Shards that were damaged or missing and that it did not repair.
    pub shards: u64,
    /// Objects that cannot be read as a whole.
    pub objects: u64,
}

impl Unrepaired {
    /// What is known after a verification. One of a part of the store, or that was cut short, adds to what
    /// is known and takes nothing from it.
    #[must_use]
    pub fn after(self, found: &Verified, now_ms: u64) -> Self {
        let Verified { is_of_all, shards, objects } = *found;
        match is_of_all {
            true => Self { ended_ms: now_ms, verified_ms: now_ms, shards, objects },
            false => Self {
                ended_ms: if shards > 0 { now_ms } else { self.ended_ms },
                shards: self.shards.max(shards),
                objects: self.objects.max(objects),
                ..self
            },
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(FORMAT).u64(self.ended_ms).u64(self.verified_ms).u64(self.shards).u64(self.objects);
        w.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "verification row");
        if r.u8()? != FORMAT {
            return Err(r.malformed());
        }
        let (ended_ms, verified_ms, shards, objects) = (r.u64()?, r.u64()?, r.u64()?, r.u64()?);
        Ok(Self { ended_ms, verified_ms, shards, objects })
    }
}

impl Engine {
    /// What verifications found and did not repair. Stores of earlier versions have no such row.
    ///
    /// # Errors
    ///
    /// The catalog failed, or the row is damaged.
    pub fn unrepaired(&self) -> Result<Unrepaired, EngineError> {
        let row = self.shared.catalog.get(Key::UNREPAIRED)?;
        Ok(row.map(|row| Unrepaired::decode(&row)).transpose()?.unwrap_or_default())
    }

    /// Keeps what is known to lack. Durable when this returns. Blocks.
    ///
    /// # Errors
    ///
    /// The catalog takes no changes, or failed.
    pub fn keep_unrepaired(&self, known: Unrepaired) -> Result<(), EngineError> {
        let ticket = self.shared.catalog.submit(move |tx| {
            tx.use_reserve();
            tx.put(Key::UNREPAIRED.to_vec(), known.encode());
            Ok(Decision::Commit(()))
        });
        Ok(ticket.wait()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verification_of_everything_takes_something_from_what_is_known() {
        let all = |shards, objects| Verified { is_of_all: true, shards, objects };
        let part = |shards, objects| Verified { is_of_all: false, shards, objects };
        let known = Unrepaired::default().after(&all(5, 1), 10);
        assert_eq!(known, Unrepaired { ended_ms: 10, verified_ms: 10, shards: 5, objects: 1 });
        assert_eq!(known.after(&part(0, 0), 20), known);
        let more = known.after(&part(7, 0), 20);
        assert_eq!(more, Unrepaired { ended_ms: 20, verified_ms: 10, shards: 7, objects: 1 });
        let none = more.after(&all(0, 0), 30);
        assert_eq!((none.shards, none.objects, none.verified_ms), (0, 0, 30));
    }

    #[test]
    fn the_row_is_read_as_it_was_written_and_nothing_else_is() {
        let known = Unrepaired { ended_ms: 1, verified_ms: 2, shards: 3, objects: 4 };
        let bytes = known.encode();
        assert_eq!(Unrepaired::decode(&bytes).expect("is read"), known);
        for len in 0..bytes.len() {
            assert!(Unrepaired::decode(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Unrepaired::decode(&[9]).is_err());
    }
}
