//! Streaming bytes from the drives.

use crate::budget::{Kind, Permit, ReadLane, Reclaimable, Share};
use crate::cells::{CellRange, CellRead};
use crate::cut::{
    Cutter, Opening, Piece, Source, Step, Stretch, WINDOWS_LEN, is_listed, narrow, window_of,
};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::pins::Pin;
use crate::tasks::{JoinHandle, spawn};
use bytes::{Bytes, BytesMut};
use drystone_base::sync::{Mutex, lock};
use drystone_base::{BlobId, DecodeError};
use drystone_catalog::{Data, Key, ObjectRow, PartRow};
use drystone_drive::{DriveError, ShardId};
use drystone_keyring::DataKey;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What was read ahead and is not asked for in this time is given up when requests wait for its bytes.
const AHEAD_MAX: Duration = Duration::from_millis(100);

/// How often a part is looked for again that was merged or written elsewhere.
const ATTEMPT_COUNT: usize = 5;

/// What is given out next.
enum Front {
    Bytes(Bytes),
    Row(BlobId, Range<u64>),
    Cell(CellRange),
}

/// The wanted bytes from those that were read.
fn opened(opening: Option<Opening>, bytes: Bytes) -> Result<Bytes, EngineError> {
    let Some(Opening { cipher, first_frame, is_end, wanted }) = opening else {
        return Ok(bytes);
    };
    // Where no other caller has the bytes they are opened in place.
    let mut buffer = bytes.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
    let len = cipher.open(first_frame, is_end, &mut buffer).ok_or(EngineError::SealBroken)?;
    match wanted.end <= len {
        true => Ok(buffer.freeze().slice(wanted)),
        false => Err(EngineError::SealBroken),
    }
}

type Running = JoinHandle<(Result<CellRead, EngineError>, Permit)>;

/// Cells of a stripe that were read, or made, to go around another: place, offset, bytes.
struct Spared {
    blob: BlobId,
    stripe: u32,
    cells: Vec<(usize, u32, Bytes)>,
    _share: Share,
}

impl Spared {
    fn find(&self, cell: &CellRange) -> Option<Bytes> {
        if self.blob != cell.layout.blob || self.stripe != cell.stripe {
            return None;
        }
        let (_, start, bytes) = self.cells.iter().find(|(place, ..)| *place == cell.place)?;
        let from = cell.range.start.checked_sub(*start)? as usize;
        let to = from + cell.range.len();
        (to <= bytes.len()).then(|| bytes.slice(from..to))
    }
}

/// What a reader has beyond the chunk that it gave out last, and can do without.
struct Ahead(Mutex<AheadState>);

struct AheadState {
    next: Option<Running>,
    spared: Option<Spared>,
    /// When the client asked last.
    asked: Instant,
}

impl Ahead {
    fn new() -> Self {
        Self(Mutex::new(AheadState { next: None, spared: None, asked: Instant::now() }))
    }

    /// Takes what there is of a cell: its bytes, or the read of it.
    fn take(&self, cell: &CellRange) -> (Option<Bytes>, Option<Running>) {
        let mut state = lock(&self.0);
        state.asked = Instant::now();
        let running = state.next.take();
        let Some(spared) = &mut state.spared else { return (None, running) };
        match spared.find(cell) {
            Some(bytes) => {
                spared.cells.retain(|(place, ..)| *place != cell.place);
                (Some(bytes), None)
            }
            None => (None, running),
        }
    }

    fn is_spared(&self, cell: &CellRange) -> bool {
        lock(&self.0).spared.as_ref().is_some_and(|spared| spared.find(cell).is_some())
    }
}

impl Reclaimable for Ahead {
    fn give_up(&self, now: Instant) {
        let mut state = lock(&self.0);
        if now.duration_since(state.asked) > AHEAD_MAX {
            let given = (state.next.take(), state.spared.take());
            drop(state);
            drop(given);
        }
    }
}

/// Gives the bytes of a range of an object, in order. Holds a pin: they are not reclaimed meanwhile.
pub struct ObjectReader {
    engine: Engine,
    /// The next read, if it is known.
    front: Option<(Front, Option<Opening>)>,
    cutter: Cutter,
    lane: Arc<ReadLane>,
    /// `None` where one read gives everything.
    ahead: Option<Arc<Ahead>>,
    _pin: Pin,
}

/// What keeps bytes readable, and what of the byte budget they may take.
pub(crate) type Held = (Pin, Arc<ReadLane>);

impl Engine {
    /// Reserves what a reader of bytes `range` of a version needs at least.
    pub(crate) async fn reserve_read(
        &self,
        row: &ObjectRow,
        range: &Range<u64>,
    ) -> Result<Arc<ReadLane>, EngineError> {
        let chunk_len = match row.data {
            Data::Inline(_) | Data::Empty => range.end - range.start,
            _ => ReadLane::chunk_len(row.stored_len(), range),
        };
        let windows_len = if is_listed(&row.data) { WINDOWS_LEN } else { 0 };
        let share = self.reserve(Kind::Read, chunk_len + windows_len).await?;
        Ok(ReadLane::new(chunk_len, share))
    }

    /// Opens bytes `range` of a version that was found under a pin. `key`: its data key, if it has one.
    pub(crate) async fn open_reader(
        &self,
        row: &ObjectRow,
        range: Range<u64>,
        key: Option<&DataKey>,
        held: Held,
    ) -> Result<ObjectReader, EngineError> {
        self.reader(Cutter::new(&Stretch::of_object(row), key, range)?, held).await
    }

    /// Opens a part.
    pub(crate) async fn open_part(
        &self,
        part: &PartRow,
        key: Option<&DataKey>,
        held: Held,
    ) -> Result<ObjectReader, EngineError> {
        self.reader(Cutter::new(&Stretch::of_part(part), key, 0..part.size)?, held).await
    }

    async fn reader(&self, cutter: Cutter, (pin, lane): Held) -> Result<ObjectReader, EngineError> {
        let engine = self.clone();
        let mut reader = ObjectReader { engine, front: None, cutter, lane, ahead: None, _pin: pin };
        reader.find_front().await?;
        // The row of a small object goes with its version: no one waits for readers.
        if let Some((front @ Front::Row(..), _)) = &mut reader.front
            && let Front::Row(id, range) = &*front
            && reader.cutter.is_done()
        {
            *front = Front::Bytes(self.read_inline(*id, range.clone())?);
        }
        if !reader.cutter.is_done() {
            reader.ahead = Some(Arc::new(Ahead::new()));
        }
        Ok(reader)
    }

    fn read_inline(&self, id: BlobId, range: Range<u64>) -> Result<Bytes, EngineError> {
        let bytes = self.shared.catalog.get(&Key::inline(id))?.ok_or(EngineError::Vanished)?;
        let range = narrow(range.start) as usize..narrow(range.end) as usize;
        let damaged = || DriveError::NotFound(ShardId { blob: id, stripe: 0 });
        if range.end > bytes.len() { Err(damaged().into()) } else { Ok(bytes.slice(range)) }
    }
}

impl ObjectReader {
    /// The next bytes, verified; `None` at the end. They are counted until they are dropped: those that were
    /// given out before must have been, or the next ones may be waited for without end.
    ///
    /// # Errors
    ///
    /// [`EngineError::Damaged`] names the shard; nothing of it has been given out.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        for _ in 0..ATTEMPT_COUNT {
            if self.front.is_none() {
                self.find_front().await?;
            }
            let Some((front, opening)) = self.front.take() else { return Ok(None) };
            let (bytes, permit) = match front {
                Front::Bytes(bytes) => (bytes, self.lane.permit().await),
                Front::Row(id, range) => match self.engine.read_inline(id, range) {
                    Err(EngineError::Vanished) if self.cutter.look_again() => continue,
                    bytes => (bytes?, self.lane.permit().await),
                },
                Front::Cell(cell) => {
                    let read = self.read(&cell).await?;
                    self.engine.shared.pace.note_client();
                    self.step()?;
                    self.read_ahead();
                    read
                }
            };
            return opened(opening, bytes).map(|bytes| Some(permit.wrap(bytes)));
        }
        Err(EngineError::Vanished)
    }

    /// Finds out what comes next, if that takes no list; else which part of which list it takes.
    fn step(&mut self) -> Result<Option<(BlobId, Range<u64>)>, EngineError> {
        match self.cutter.step()? {
            Step::End => Ok(None),
            Step::List(id, range) => Ok(Some((id, range))),
            Step::Piece(Piece { source, opening }) => {
                let front = match source {
                    Source::Row(id, range) => Front::Row(id, range),
                    Source::Cell(cell) => Front::Cell(cell),
                };
                self.front = Some((front, opening));
                Ok(None)
            }
        }
    }

    /// Finds out what comes next.
    async fn find_front(&mut self) -> Result<(), EngineError> {
        while let Some((list, range)) = self.step()? {
            let window = self.engine.look_at_parts(list, move |row| Ok(window_of(row, &range)?));
            self.cutter.supply(window.await?);
        }
        Ok(())
    }

    /// All of a short range of `len` bytes, in one piece.
    ///
    /// # Errors
    ///
    /// As [`ObjectReader::next`]; the object ends early.
    pub async fn read_whole(mut self, len: usize) -> Result<Bytes, EngineError> {
        let first = self.next().await?.unwrap_or_default();
        if first.len() == len {
            return Ok(first);
        }
        let mut joined = first.to_vec();
        drop(first);
        while let Some(bytes) = self.next().await? {
            joined.extend_from_slice(&bytes);
        }
        match joined.len() == len {
            true => Ok(self.lane.permit().await.wrap(joined.into())),
            false => Err(DecodeError { what: "length of an object" }.into()),
        }
    }

    async fn read(&self, cell: &CellRange) -> Result<(Bytes, Permit), EngineError> {
        let ahead = self.ahead.as_ref().map(|ahead| ahead.take(cell));
        let running = match ahead {
            Some((Some(bytes), _)) => return Ok((bytes, self.lane.permit().await)),
            Some((None, Some(running))) => running,
            Some((None, None)) | None => {
                let permit = self.lane.permit().await;
                match cell.read_cached(self.engine.pool()) {
                    Some(bytes) => return Ok((bytes, permit)),
                    None => self.spawn_read(cell.clone(), permit),
                }
            }
        };
        let (read, permit) = running.await.expect("reading does not panic");
        Ok((self.keep_others(cell, read?), permit))
    }

    /// While the client takes what it is given, the next bytes are read, if the budget has room for them.
    fn read_ahead(&self) {
        let (Some(ahead), Some((Front::Cell(next), _))) = (&self.ahead, &self.front) else {
            return;
        };
        if ahead.is_spared(next) {
            return;
        }
        if let Some(permit) = self.lane.try_permit() {
            self.register(ahead);
            lock(&ahead.0).next = Some(self.spawn_read(next.clone(), permit));
        }
    }

    fn register(&self, ahead: &Arc<Ahead>) {
        self.lane.register(|| {
            let weak: Weak<Ahead> = Arc::downgrade(ahead);
            weak
        });
    }

    fn spawn_read(&self, cell: CellRange, permit: Permit) -> Running {
        let engine = self.engine.clone();
        spawn(async move { (engine.read_cell(cell).await, permit) })
    }

    /// The bytes of a cell; what else was read with them is kept, if the budget has room for it.
    fn keep_others(&self, cell: &CellRange, read: CellRead) -> Bytes {
        if read.is_damaged {
            self.engine.note_damage(cell);
        }
        if let Some(ahead) = &self.ahead {
            let len = read.others.iter().map(|(_, bytes)| bytes.len() as u64).sum();
            let share = if len > 0 { self.lane.try_share(len) } else { None };
            let spared = share.map(|share| {
                self.register(ahead);
                let (stripe, blob) = (cell.stripe, cell.layout.blob);
                let others = read.others.into_iter();
                let cells = others.map(|(place, bytes)| (place, cell.range.start, bytes)).collect();
                Spared { stripe, blob, cells, _share: share }
            });
            let before = std::mem::replace(&mut lock(&ahead.0).spared, spared);
            drop(before);
        }
        read.bytes
    }
}
