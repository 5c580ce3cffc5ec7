//! Lines of access logs that wait to be delivered: rows, so that they outlive the process; and the room that
//! they may take ([`LogRoom`]).

mod room;

pub use room::{LogFailure, LogRoom, LogShare, LogState, LogTotals};

use crate::engine::Engine;
use crate::error::EngineError;
use bytes::Bytes;
use drystone_catalog::{Family, Key};
use std::ops::Bound;

/// A stored piece of an access log: its key and its bytes.
pub type AccessLogRow = (Vec<u8>, Bytes);

/// Pieces that are forgotten at once, at most: in one commit, whose frame must fit into a segment.
pub const FORGET_COUNT_MAX: usize = 10_000;

impl Engine {
    /// Room for lines that wait.
    #[must_use]
    pub fn log_room(&self) -> &LogRoom {
        &self.shared.log_room
    }

    /// Stores pieces of access logs; they are durable when this returns.
    ///
    /// # Errors
    ///
    /// [`EngineError::Full`], or the catalog failed.
    pub async fn append_access_log(&self, pieces: Vec<Bytes>) -> Result<(), EngineError> {
        self.check_space()?;
        self.commit(move |tx| {
            for piece in pieces {
                let key = Key::access_log(tx.next_seq());
                tx.put(key, piece);
            }
            Ok(())
        })
        .await
    }

    /// Stored pieces behind a key, or from the first; oldest first, up to `len_max` bytes and at least
    /// one.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn access_log(
        &self,
        after: Option<&[u8]>,
        len_max: usize,
    ) -> Result<Vec<AccessLogRow>, EngineError> {
        let (mut rows, mut len) = (Vec::new(), 0);
        let mut range = Family::AccessLog.range();
        if let Some(after) = after {
            range.0 = Bound::Excluded(after.to_vec());
        }
        for row in self.shared.catalog.snapshot().scan(range) {
            let (key, piece) = row?;
            len += piece.len();
            if len > len_max && !rows.is_empty() {
                break;
            }
            rows.push((key.to_vec(), piece));
        }
        Ok(rows)
    }

    /// Forgets pieces that were delivered, all or none; [`FORGET_COUNT_MAX`] at most.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    ///
    /// # Panics
    ///
    /// If there are more.
    pub async fn forget_access_log(&self, keys: Vec<Vec<u8>>) -> Result<(), EngineError> {
        assert!(keys.len() <= FORGET_COUNT_MAX, "so many are one commit");
        self.commit(move |tx| {
            tx.use_reserve();
            keys.into_iter().for_each(|key| tx.delete(key));
            Ok(())
        })
        .await
    }
}
