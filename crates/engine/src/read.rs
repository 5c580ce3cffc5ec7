//! Streaming bytes from the drives.

use crate::budget::{CHUNK_LEN, Kind, Permit, ReadLane, Reclaimable, Share};
use crate::cells::{CellRange, CellRead};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout::Layout;
use crate::pins::Pin;
use crate::tasks::{JoinHandle, spawn};
use bytes::{Bytes, BytesMut};
use drystone_base::sync::{Mutex, lock};
use drystone_base::{BlobId, DecodeError, SEALED_FRAME_LEN_BYTES, SEALED_PLAIN_LEN_BYTES};
use drystone_catalog::{Data, Key, Manifest, ObjectRow, PartRow};
use drystone_drive::{DriveError, ShardId};
use drystone_keyring::{DataKey, FrameCipher, FrameSalt};
use drystone_log::Location;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What was read ahead and is not asked for in this time is given up when requests wait for its bytes.
const AHEAD_MAX: Duration = Duration::from_millis(100);

/// One read of a drive, or bytes at hand.
enum Source {
    Bytes(Bytes),
    Cell(CellRange),
}

/// How sealed bytes are opened: whole frames that follow each other.
#[derive(Clone)]
struct Opening {
    cipher: Arc<FrameCipher>,
    first_frame: u64,
    /// They reach to the end of the part.
    is_end: bool,
    /// What of the opened bytes is wanted.
    wanted: Range<usize>,
}

struct Piece {
    source: Source,
    opening: Option<Opening>,
}

impl Piece {
    fn cell(&self) -> Option<&CellRange> {
        match &self.source {
            Source::Bytes(_) => None,
            Source::Cell(cell) => Some(cell),
        }
    }

    /// The wanted bytes from those that were read.
    fn opened(opening: Option<Opening>, bytes: Bytes) -> Result<Bytes, EngineError> {
        let Some(Opening { cipher, first_frame, is_end, wanted }) = opening else {
            return Ok(bytes);
        };
        // Where nobody else has the bytes they are opened in place.
        let mut buffer = bytes.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
        let len = cipher.open(first_frame, is_end, &mut buffer).ok_or(EngineError::SealBroken)?;
        match wanted.end <= len {
            true => Ok(buffer.freeze().slice(wanted)),
            false => Err(EngineError::SealBroken),
        }
    }
}

/// Bytes that follow each other: where they are, and how they are sealed.
struct Stretch<'a> {
    data: &'a Data,
    stored_len: u64,
    salt: Option<&'a FrameSalt>,
}

/// A stretch of one blob or row, and what opens it.
struct SealedPart {
    stored_len: u64,
    cipher: Option<Arc<FrameCipher>>,
}

impl SealedPart {
    fn new(stretch: &Stretch<'_>, key: Option<&DataKey>) -> Result<Self, EngineError> {
        let cipher = match (stretch.salt, key) {
            (None, _) => None,
            (Some(salt), Some(key)) => Some(Arc::new(FrameCipher::new(key, salt))),
            (Some(_), None) => return Err(EngineError::KeyNeeded),
        };
        Ok(Self { stored_len: stretch.stored_len, cipher })
    }

    /// The stored bytes that have these.
    fn stored_range(&self, range: &Range<u64>) -> Range<u64> {
        if self.cipher.is_none() || range.is_empty() {
            return range.clone();
        }
        let start = range.start / SEALED_PLAIN_LEN_BYTES * SEALED_FRAME_LEN_BYTES;
        let end = range.end.div_ceil(SEALED_PLAIN_LEN_BYTES) * SEALED_FRAME_LEN_BYTES;
        start..end.min(self.stored_len)
    }

    /// How the stored bytes `stored` give those of `range` that they have.
    fn opening(&self, range: &Range<u64>, stored: Range<u64>) -> Option<Opening> {
        let cipher = self.cipher.clone()?;
        let first_frame = stored.start / SEALED_FRAME_LEN_BYTES;
        assert!(
            stored.start.is_multiple_of(SEALED_FRAME_LEN_BYTES),
            "sealed bytes are read by whole frames"
        );
        let start = first_frame * SEALED_PLAIN_LEN_BYTES;
        let from = range.start.saturating_sub(start) as usize;
        let is_end = stored.end == self.stored_len;
        let held = stored.end.div_ceil(SEALED_FRAME_LEN_BYTES) * SEALED_PLAIN_LEN_BYTES - start;
        let to = (range.end - start).min(held) as usize;
        Some(Opening { cipher, first_frame, is_end, wanted: from..to })
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
    pieces: VecDeque<Piece>,
    lane: Arc<ReadLane>,
    /// `None` where one read gives everything.
    ahead: Option<Arc<Ahead>>,
    _pin: Pin,
}

/// What keeps bytes readable, and what of the byte budget they may take.
pub(crate) type Held = (Pin, Arc<ReadLane>);

/// Cuts stored bytes `range` of a part into reads.
fn cut(
    layout: Layout,
    hint: Option<Location>,
    range: Range<u64>,
    mut piece: impl FnMut(CellRange, Range<u64>),
) {
    let mut at = range.start;
    while at < range.end {
        let (stripe, place, within) = layout.locate(at);
        let len = (layout.cell_len - within).min(range.end - at).min(CHUNK_LEN);
        // Reads end where frames end, so that no frame is read twice.
        let len = if within + len < layout.cell_len && at + len < range.end {
            (within + len) / (64 << 10) * (64 << 10) - within
        } else {
            len
        };
        let range = narrow(within)..narrow(within + len);
        let hint = hint.filter(|_| stripe == 0 && place == 0);
        piece(CellRange { layout, stripe, place, range, hint }, at..at + len);
        at += len;
    }
}

fn narrow(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("cells are below 4 GiB")
}

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
        Ok(ReadLane::new(chunk_len, self.reserve(Kind::Read, chunk_len).await?))
    }

    /// Opens bytes `range` of a version that was found under a pin. `key`: its data key, if it has one.
    pub(crate) fn open_reader(
        &self,
        row: &ObjectRow,
        range: Range<u64>,
        key: Option<&DataKey>,
        held: Held,
    ) -> Result<ObjectReader, EngineError> {
        let mut pieces = VecDeque::new();
        let salt = row.encryption.as_ref().map(|encryption| &encryption.salt);
        let whole = Stretch { data: &row.data, stored_len: row.stored_len(), salt };
        self.cut_stretch(&mut pieces, &whole, key, range)?;
        Ok(self.reader(pieces, held))
    }

    /// Opens a part.
    pub(crate) fn open_part(
        &self,
        part: &PartRow,
        key: Option<&DataKey>,
        held: Held,
    ) -> Result<ObjectReader, EngineError> {
        let (data, stored_len) = (&part.data, part.stored_len());
        let whole = Stretch { data, stored_len, salt: part.salt.as_ref() };
        let mut pieces = VecDeque::new();
        self.cut_stretch(&mut pieces, &whole, key, 0..part.size)?;
        Ok(self.reader(pieces, held))
    }

    fn reader(&self, pieces: VecDeque<Piece>, (pin, lane): Held) -> ObjectReader {
        let ahead = (pieces.len() > 1).then(|| Arc::new(Ahead::new()));
        ObjectReader { engine: self.clone(), pieces, lane, ahead, _pin: pin }
    }

    /// Cuts bytes `range` of a stretch into reads; what it is made of, in turn.
    fn cut_stretch(
        &self,
        pieces: &mut VecDeque<Piece>,
        stretch: &Stretch<'_>,
        key: Option<&DataKey>,
        range: Range<u64>,
    ) -> Result<(), EngineError> {
        match stretch.data {
            Data::Empty => Ok(()),
            Data::Manifest(id) => {
                let mut start = 0;
                for part in self.stored_manifest(*id)?.parts {
                    let end = start + part.size;
                    let (from, to) = (range.start.max(start), range.end.min(end));
                    if from < to {
                        let (data, stored_len) = (&part.data, part.stored_len());
                        let part = Stretch { data, stored_len, salt: part.salt.as_ref() };
                        self.cut_stretch(pieces, &part, key, from - start..to - start)?;
                    }
                    start = end;
                }
                Ok(())
            }
            Data::Slice { base, base_size, offset } => {
                let base = Stretch { data: base, stored_len: *base_size, salt: None };
                self.cut_stretch(pieces, &base, key, range.start + offset..range.end + offset)
            }
            Data::Inline(id) => {
                let part = SealedPart::new(stretch, key)?;
                let stored = part.stored_range(&range);
                let opening = part.opening(&range, stored.clone());
                let source = Source::Bytes(self.read_inline(*id, stored)?);
                pieces.push_back(Piece { source, opening });
                Ok(())
            }
            Data::Blob { blob, cell_len, hint, code } => {
                let part = SealedPart::new(stretch, key)?;
                let layout = Layout::new(*blob, *code, *cell_len, part.stored_len);
                cut(layout, *hint, part.stored_range(&range), |cell, stored| {
                    let opening = part.opening(&range, stored);
                    pieces.push_back(Piece { source: Source::Cell(cell), opening });
                });
                Ok(())
            }
        }
    }

    fn read_inline(&self, id: BlobId, range: Range<u64>) -> Result<Bytes, EngineError> {
        // Small payloads go with their rows, in one transaction: nobody waits for readers.
        let bytes = self.shared.catalog.get(&Key::inline(id))?.ok_or(EngineError::Vanished)?;
        let range = narrow(range.start) as usize..narrow(range.end) as usize;
        let damaged = || DriveError::NotFound(ShardId { blob: id, stripe: 0 });
        if range.end > bytes.len() { Err(damaged().into()) } else { Ok(bytes.slice(range)) }
    }

    /// The parts of a completed object.
    ///
    /// # Errors
    ///
    /// The catalog failed, or has no such manifest.
    pub fn load_manifest(&self, id: BlobId) -> Result<Manifest, EngineError> {
        let mut manifest = self.stored_manifest(id)?;
        manifest.parts.iter_mut().try_for_each(|part| self.reveal_part(part))?;
        Ok(manifest)
    }

    /// As [`Engine::load_manifest`], with digests sealed where they are stored so.
    pub(crate) fn stored_manifest(&self, id: BlobId) -> Result<Manifest, EngineError> {
        let bytes = self.shared.catalog.get(&Key::manifest(id))?;
        let missing = DecodeError { what: "manifest row" };
        Ok(Manifest::decode(&bytes.ok_or(missing)?)?)
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
        let Some(Piece { source, opening }) = self.pieces.pop_front() else { return Ok(None) };
        let (bytes, permit) = match source {
            Source::Bytes(bytes) => (bytes, self.lane.permit().await),
            Source::Cell(cell) => {
                let read = self.read(&cell).await?;
                self.engine.shared.pace.note_client();
                self.read_ahead();
                read
            }
        };
        Piece::opened(opening, bytes).map(|bytes| Some(permit.wrap(bytes)))
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
        let next = self.pieces.front().and_then(Piece::cell);
        let (Some(ahead), Some(next)) = (&self.ahead, next) else { return };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_range_and_end_at_frames() {
        for (code, cell_len, start, end) in [
            (1, 1 << 20, 0, 5_000_000),
            (1, 131_072, 65_000, 400_000),
            (1, 1 << 20, 70_000, 1_500_001),
            (4, 1 << 20, 70_000, 5_500_001),
            (3, 131_072, 0, 6_000_000),
        ] {
            let layout = Layout::new(BlobId([0; 16]), (code, 0), cell_len, 6_000_000);
            let mut at = start;
            cut(layout, None, start..end, |piece, stored| {
                let CellRange { stripe, place, range, .. } = piece;
                assert_eq!(stored.start, at);
                let cell = u64::from(stripe) * u64::from(code) + place as u64;
                let cell = cell * u64::from(cell_len);
                assert_eq!(cell + u64::from(range.start), at);
                assert!(!range.is_empty() && u64::from(range.end - range.start) <= CHUNK_LEN);
                at = cell + u64::from(range.end);
            });
            assert_eq!(at, end);
        }
    }
}
