//! What a plan sees and does.

use crate::error::CatalogError;
use crate::key::{Family, Key};
use bytes::Bytes;
use drystone_base::{Rng, Seq};
use drystone_index::KeyRange;
use drystone_log::RecordInput;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::RangeBounds;

/// Rows that a plan can read.
pub trait View {
    /// The value of a row.
    ///
    /// # Errors
    ///
    /// The index failed.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, CatalogError>;
    /// The first row of a range.
    ///
    /// # Errors
    ///
    /// The index failed.
    fn first(&self, range: KeyRange) -> Result<Option<(Bytes, Bytes)>, CatalogError>;
}

/// Rows in a map: the view of the reference model.
#[derive(Clone, Debug, Default)]
pub struct MapView {
    /// The rows.
    pub rows: BTreeMap<Bytes, Bytes>,
}

impl View for MapView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, CatalogError> {
        Ok(self.rows.get(key).cloned())
    }
    fn first(&self, range: KeyRange) -> Result<Option<(Bytes, Bytes)>, CatalogError> {
        let rows =
            self.rows.range::<Bytes, _>((range.0.map(Bytes::from), range.1.map(Bytes::from)));
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).next())
    }
}

impl MapView {
    /// Applies what a transaction decided.
    pub fn apply(&mut self, tx: Tx<'_>) {
        for (key, value) in tx.changes {
            match value {
                Some(value) => drop(self.rows.insert(key, value.bytes)),
                None => drop(self.rows.remove(&key)),
            }
        }
        if let Some(clock) = tx.clock_used {
            let value = Bytes::copy_from_slice(&clock.0.to_le_bytes());
            self.rows.insert(Bytes::from_static(Key::CLOCK), value);
        }
    }
}

/// What a plan says at its end.
#[derive(Debug)]
pub enum Decision<T> {
    /// Commit the changes and reply.
    Commit(T),
    /// Change nothing and reply.
    Reject(T),
}

/// A value of a row, on its way into a frame.
#[derive(Clone, Debug)]
pub struct RowValue {
    /// The value; where a location belongs, it has zeros.
    pub bytes: Bytes,
    /// Offset in the value, and index among the transaction's payloads, of a location to fill in.
    pub hint: Option<(u32, usize)>,
}

/// What looking for a row costs, in bytes of a value that is read and decoded.
const READ_COST: usize = 256;

/// A transaction: reads see its own changes.
pub struct Tx<'a> {
    view: &'a dyn View,
    rng: &'a dyn Rng,
    now_ms: u64,
    lock_now_ms: Option<u64>,
    clock: Seq,
    pub(crate) clock_used: Option<Seq>,
    pub(crate) changes: BTreeMap<Bytes, Option<RowValue>>,
    pub(crate) payloads: Vec<RecordInput>,
    pub(crate) uses_reserve: bool,
    settled: Vec<Settled>,
    read_bytes: Cell<usize>,
}

/// Something that is done when it is known what became of a transaction.
pub(crate) type Settled = Box<dyn FnOnce() + Send>;

impl<'a> Tx<'a> {
    /// A transaction over `view`, at wall-clock time `now_ms`, with the hybrid clock at `clock`.
    #[must_use]
    pub fn new(view: &'a dyn View, rng: &'a dyn Rng, now_ms: u64, clock: Seq) -> Self {
        Self {
            view,
            rng,
            now_ms,
            lock_now_ms: None,
            clock,
            clock_used: None,
            changes: BTreeMap::new(),
            payloads: Vec::new(),
            uses_reserve: false,
            settled: Vec::new(),
            read_bytes: Cell::new(0),
        }
    }

    /// Says that this transaction gives space back or takes rights away, so that it may be written into what
    /// a full drive keeps in reserve ([`drystone_log::Log::is_in_reserve`]). Any other is refused there with
    /// [`CatalogError::Full`]: a caller that may only add must not use up what deletes need.
    pub fn use_reserve(&mut self) {
        self.uses_reserve = true;
    }

    /// Does something when the changes are applied, or it is known that they are not, or it is not known:
    /// before anyone is told, and whether or not anyone waits to be told. It runs on the committer's thread
    /// and must be short. What is remembered of rows is to be forgotten here, not by the caller that waits:
    /// that one may go away, and the changes stay.
    pub fn when_settled(&mut self, work: impl FnOnce() + Send + 'static) {
        self.settled.push(Box::new(work));
    }

    pub(crate) fn take_settled(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.settled)
    }

    /// The rows of a family that this transaction sets, or removes where there is no value.
    pub fn changed(&self, family: Family) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        let (from, to) = family.range();
        let bounds = (from.map(Bytes::from), to.map(Bytes::from));
        let changes = self.changes.range::<Bytes, _>(bounds);
        changes.map(|(key, value)| (key, value.as_ref().map(|value| &value.bytes)))
    }

    /// Wall-clock time, in milliseconds since 1970; for Last-Modified, never for order.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Says what time it is for locks, whose clock is not the wall clock.
    pub fn set_lock_now_ms(&mut self, lock_now_ms: u64) {
        self.lock_now_ms = Some(lock_now_ms);
    }

    /// What time it is for locks, in milliseconds since 1970; the wall clock if nothing else was said.
    #[must_use]
    pub fn lock_now_ms(&self) -> u64 {
        self.lock_now_ms.unwrap_or(self.now_ms)
    }

    /// Up to when locks have ended, in milliseconds since 1970: a lock ends when both clocks say so. Neither
    /// a wall clock that was set ahead ends one, nor a clock of locks that began ahead.
    #[must_use]
    pub fn locks_ended_ms(&self) -> u64 {
        self.lock_now_ms().min(self.now_ms)
    }

    /// Randomness.
    #[must_use]
    pub fn rng(&self) -> &dyn Rng {
        self.rng
    }

    /// The next place in the order of commits.
    pub fn next_seq(&mut self) -> Seq {
        let seq = self.clock_used.unwrap_or(self.clock).next(self.now_ms);
        self.clock_used = Some(seq);
        seq
    }

    /// The value of a row.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, CatalogError> {
        let value = match self.changes.get(key) {
            Some(change) => change.as_ref().map(|value| value.bytes.clone()),
            None => self.view.get(key)?,
        };
        self.count_read(value.as_ref().map_or(0, Bytes::len));
        Ok(value)
    }

    /// The first row of a range.
    ///
    /// # Errors
    ///
    /// The index failed.
    pub fn first(&self, range: KeyRange) -> Result<Option<(Bytes, Bytes)>, CatalogError> {
        let row = first_of(&self.changes, range, |rest| self.view.first(rest))?;
        self.count_read(row.as_ref().map_or(0, |(_, value)| value.len()));
        Ok(row)
    }

    fn count_read(&self, len_bytes: usize) {
        self.read_bytes.set(self.read_bytes.get() + READ_COST + len_bytes);
    }

    /// What was read so far, in bytes of values: all plans wait for one that reads much. A row that is read
    /// twice counts twice.
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        self.read_bytes.get()
    }

    /// Sets a row.
    pub fn put(&mut self, key: Vec<u8>, value: impl Into<Bytes>) {
        let value = RowValue { bytes: value.into(), hint: None };
        self.changes.insert(key.into(), Some(value));
    }

    /// Sets a row that holds the location of payload number `payload_index` at `at`.
    pub fn put_with_hint(&mut self, key: Vec<u8>, value: Vec<u8>, at: u32, payload_index: usize) {
        let value = RowValue { bytes: value.into(), hint: Some((at, payload_index)) };
        self.changes.insert(key.into(), Some(value));
    }

    /// Removes a row; it need not be there.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.changes.insert(key.into(), None);
    }

    /// Adds a record that is written in the same batch as the frame; returns its index.
    pub fn add_payload(&mut self, record: RecordInput) -> usize {
        self.payloads.push(record);
        self.payloads.len() - 1
    }
}

/// The first row of a range, with `changes` laid over the rows that `below` finds.
pub(crate) fn first_of(
    changes: &BTreeMap<Bytes, Option<RowValue>>,
    range: KeyRange,
    below: impl Fn(KeyRange) -> Result<Option<(Bytes, Bytes)>, CatalogError>,
) -> Result<Option<(Bytes, Bytes)>, CatalogError> {
    let bounds = (range.0.clone().map(Bytes::from), range.1.clone().map(Bytes::from));
    let mine = changes
        .range::<Bytes, _>(bounds.clone())
        .find_map(|(key, value)| Some((key.clone(), value.as_ref()?.bytes.clone())));
    let mut rest = range;
    loop {
        let (key, value) = match below(rest.clone()) {
            Ok(None) => return Ok(mine),
            Ok(Some(row)) => row,
            // What is overwritten or removed need not be genuine.
            Err(CatalogError::Forged { key }) if changes.contains_key(&key[..]) => {
                if mine.as_ref().is_some_and(|(k, _)| k[..] <= key[..]) {
                    return Ok(mine);
                }
                rest.0 = std::ops::Bound::Excluded(key);
                continue;
            }
            Err(error) => return Err(error),
        };
        if mine.as_ref().is_some_and(|(k, _)| *k <= key) {
            return Ok(mine);
        }
        if !changes.contains_key(&key) {
            return Ok(Some((key, value)));
        }
        // Hidden by a change: go on behind it.
        rest.0 = std::ops::Bound::Excluded(key.to_vec());
        if !bounds.contains(&key) {
            return Ok(mine);
        }
    }
}
