//! Parts of one list that were written again, and are named in it together.
//!
//! The row of a list is written as a whole: named one by one, the parts of a list of 10,000 would write it
//! 10,000 times. A batch ends after an eighth of the list, so that the log takes eight lists and not more,
//! or after a gibibyte of bytes, beside which a list is nothing: so much is written again after a crash.

use crate::blob::Stored;
use crate::error::EngineError;
use crate::plan::{self, Payload};
use crate::repair::note_lacking;
use crate::stripe::Lacking;
use drystone_base::BlobId;
use drystone_catalog::{Data, Key, Manifest, PartRow, Tx};
use drystone_cluster::InProgress;

/// Batches of a list, where its parts are short.
const PER_LIST: usize = 8;
/// Parts of a batch, where the list is so short that it does not matter.
const COUNT_MIN: usize = 16;
/// Bytes written by a batch, about: the last part may be longer.
const BYTES_MAX: u64 = 1 << 30;
/// Bytes of parts that become rows, which are in memory until then.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// A part that was written again.
pub(super) struct Rewritten {
    at: usize,
    old: PartRow,
    stored: Stored,
}

/// A part as the transaction needs it.
pub(super) struct Piece {
    at: usize,
    old: PartRow,
    data: Data,
    payload: Payload,
    lacking: Option<Lacking>,
}

/// What becomes of the new blob of a part follows from the transaction.
pub(super) struct Stray {
    /// Place of the part in its list.
    pub(super) at: usize,
    /// Its bytes.
    pub(super) len: u64,
    /// The new blob, if it has one.
    pub(super) blob: Option<BlobId>,
    _in_progress: Option<InProgress>,
}

/// Parts that wait to be named.
pub(super) struct Batch {
    rewritten: Vec<Rewritten>,
    count_max: usize,
    bytes: u64,
    inline_bytes: usize,
}

impl Rewritten {
    pub(super) fn new(at: usize, old: &PartRow, stored: Stored) -> Self {
        Self { at, old: old.clone(), stored }
    }
}

impl Batch {
    /// A batch of a list of so many parts.
    pub(super) fn of_list(part_count: usize) -> Self {
        let count_max = part_count.div_ceil(PER_LIST).max(COUNT_MIN);
        Self { rewritten: Vec::new(), count_max, bytes: 0, inline_bytes: 0 }
    }

    pub(super) fn push(&mut self, mut rewritten: Rewritten) {
        if let Payload::Inline(bytes) = &rewritten.stored.payload {
            self.inline_bytes += bytes.len();
        }
        // The next part waits for a share: no one waits while holding others.
        rewritten.stored.let_go_of_share();
        self.bytes += rewritten.stored.size;
        self.rewritten.push(rewritten);
    }

    pub(super) fn is_full(&self) -> bool {
        self.rewritten.len() >= self.count_max
            || self.bytes >= BYTES_MAX
            || self.inline_bytes >= INLINE_BYTES_MAX
    }

    /// All of it, for a transaction and for afterwards; `None` if there is nothing.
    pub(super) fn take(&mut self) -> Option<(Vec<Piece>, Vec<Stray>)> {
        (self.bytes, self.inline_bytes) = (0, 0);
        let rewritten = std::mem::take(&mut self.rewritten);
        let split = |rewritten: Rewritten| {
            let Rewritten { at, old, mut stored } = rewritten;
            let (blob, len) = (stored.stray_blob(), stored.size);
            let stray = Stray { at, len, blob, _in_progress: stored.in_progress.take() };
            let Stored { data, payload, lacking, .. } = stored;
            (Piece { at, old, data, payload, lacking }, stray)
        };
        (!rewritten.is_empty()).then(|| rewritten.into_iter().map(split).unzip())
    }
}

/// Lets a list name new data of its parts, where they are still what they were. Returns the places of those,
/// in order; `None` if the list is gone.
///
/// # Errors
///
/// The catalog failed.
pub(super) fn name_in_list(
    tx: &mut Tx<'_>,
    id: BlobId,
    pieces: Vec<Piece>,
) -> Result<Option<Vec<usize>>, EngineError> {
    let Some(bytes) = tx.get(&Key::manifest(id))? else { return Ok(None) };
    let mut list = Manifest::decode(&bytes)?;
    let mut named = Vec::new();
    for Piece { at, old, data, payload, lacking } in pieces {
        let part = list.parts.get_mut(at).filter(|part| part.data == old.data);
        let Some(part) = part else { continue };
        if let (Data::Inline(id), Payload::Inline(bytes)) = (&data, payload) {
            tx.put(Key::inline(*id), bytes);
        }
        part.data = data;
        plan::release_part(tx, &old)?;
        note_lacking(tx, lacking.as_ref());
        named.push(at);
    }
    if !named.is_empty() {
        tx.put(Key::manifest(id), list.encode());
    }
    Ok(Some(named))
}
