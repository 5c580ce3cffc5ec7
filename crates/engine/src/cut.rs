//! Which reads give a range of an object. Pure: rows go in, reads come out.
//!
//! # Invariants
//!
//! - The next read is cut when it is asked for: what is held does not grow with the object. Of each list of
//!   parts there is a window, and lists lie [`DEPTH_MAX`] deep at most.
//! - A place in a list is an offset in its bytes, so that a list may be looked at again after parts of it
//!   were merged or written elsewhere: what is at an offset does not change.

use crate::budget::CHUNK_LEN;
use crate::cells::CellRange;
use crate::error::EngineError;
use crate::layout::Layout;
use drystone_base::{BlobId, DecodeError, SEALED_FRAME_LEN_BYTES, SEALED_PLAIN_LEN_BYTES};
use drystone_catalog::{Data, Manifest, ObjectRow, PartRow};
use drystone_keyring::{DataKey, FrameCipher, FrameSalt};
use drystone_log::Location;
use std::ops::Range;
use std::sync::Arc;

/// Parts of one list that are held.
const WINDOW_COUNT: usize = 24;
/// Lists of parts of which one is a piece of another. Those that are written are three deep: what was
/// appended to, a list that it has as an entry, and a list that a part of this is a piece of.
pub(crate) const DEPTH_MAX: usize = 4;
/// Bytes of all windows of a reader.
pub(crate) const WINDOWS_LEN: u64 = 16 << 10;

/// One read: of cells on drives, or of bytes `range` of a row.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Row(BlobId, Range<u64>),
    Cell(CellRange),
}

/// How sealed bytes are opened: whole frames that follow each other.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) cipher: Arc<FrameCipher>,
    pub(crate) first_frame: u64,
    /// They reach to the end of the part.
    pub(crate) is_end: bool,
    /// What of the opened bytes is wanted.
    pub(crate) wanted: Range<usize>,
}

pub(crate) struct Piece {
    pub(crate) source: Source,
    pub(crate) opening: Option<Opening>,
}

/// Bytes that follow each other: where they are, and how they are sealed.
pub(crate) struct Stretch<'a> {
    data: &'a Data,
    stored_len: u64,
    salt: Option<&'a FrameSalt>,
}

impl<'a> Stretch<'a> {
    pub(crate) fn of_object(row: &'a ObjectRow) -> Self {
        let salt = row.encryption.as_ref().map(|encryption| &encryption.salt);
        Self { data: &row.data, stored_len: row.stored_len(), salt }
    }

    pub(crate) fn of_part(part: &'a PartRow) -> Self {
        Self { data: &part.data, stored_len: part.stored_len(), salt: part.salt.as_ref() }
    }
}

/// Whether bytes are in a list of parts.
pub(crate) fn is_listed(data: &Data) -> bool {
    match data {
        Data::Manifest(_) => true,
        Data::Slice { base, .. } => is_listed(base),
        Data::Empty | Data::Inline(_) | Data::Blob { .. } => false,
    }
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

/// The first read of stored bytes `left` of a part, and which of them it gives.
fn cut(layout: Layout, hint: Option<Location>, left: &Range<u64>) -> (CellRange, Range<u64>) {
    let at = left.start;
    let (stripe, place, within) = layout.locate(at);
    let len = (layout.cell_len - within).min(left.end - at).min(CHUNK_LEN);
    // Reads end where frames end, so that no frame is read twice.
    let len = if within + len < layout.cell_len && at + len < left.end {
        (within + len) / (64 << 10) * (64 << 10) - within
    } else {
        len
    };
    let range = narrow(within)..narrow(within + len);
    let hint = hint.filter(|_| stripe == 0 && place == 0);
    (CellRange { layout, stripe, place, range, hint }, at..at + len)
}

pub(crate) fn narrow(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("cells are below 4 GiB")
}

/// A blob or a row that is being cut.
struct Run {
    part: SealedPart,
    /// What is wanted of it.
    range: Range<u64>,
    /// Stored bytes that are left to be read.
    left: Range<u64>,
    place: Place,
}

enum Place {
    /// Read at once.
    Row(BlobId),
    Blob(Layout, Option<Location>),
    Done,
}

impl Run {
    fn next(&mut self) -> Option<Piece> {
        let (source, stored) = match self.place {
            Place::Row(id) => {
                self.place = Place::Done;
                (Source::Row(id, self.left.clone()), self.left.clone())
            }
            Place::Blob(layout, hint) if !self.left.is_empty() => {
                let (cell, stored) = cut(layout, hint, &self.left);
                self.left.start = stored.end;
                (Source::Cell(cell), stored)
            }
            Place::Blob(..) | Place::Done => return None,
        };
        Some(Piece { source, opening: self.part.opening(&self.range, stored) })
    }

    fn is_done(&self) -> bool {
        match self.place {
            Place::Row(_) => false,
            Place::Blob(..) => self.left.is_empty(),
            Place::Done => true,
        }
    }
}

/// A part of a list, and what is wanted of it.
#[derive(Debug)]
pub(crate) struct ListedPart {
    data: Data,
    stored_len: u64,
    salt: Option<FrameSalt>,
    range: Range<u64>,
}

/// The first parts of a stored list that have bytes of `range`.
pub(crate) fn window_of(list: &[u8], range: &Range<u64>) -> Result<Vec<ListedPart>, DecodeError> {
    let mut window = Vec::with_capacity(WINDOW_COUNT);
    let mut start = 0_u64;
    for stored in Manifest::walk(list)? {
        let stored = stored?;
        let (_, size) = stored.number_and_size()?;
        let end = start.saturating_add(size);
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            let part = stored.decode()?;
            let (stored_len, salt) = (part.stored_len(), part.salt);
            let range = from - start..to - start;
            window.push(ListedPart { data: part.data, stored_len, salt, range });
        }
        if end >= range.end || window.len() == WINDOW_COUNT {
            break;
        }
        start = end;
    }
    if window.is_empty() { Err(DecodeError { what: "list of parts" }) } else { Ok(window) }
}

/// A list that is being read.
struct OpenList {
    id: BlobId,
    /// Bytes of which no part was taken yet.
    left: Range<u64>,
    window: std::vec::IntoIter<ListedPart>,
}

/// What comes next.
pub(crate) enum Step {
    Piece(Piece),
    /// First [`Cutter::supply`] needs a window of this list.
    List(BlobId, Range<u64>),
    End,
}

/// What a range of an object is in, one blob after the other.
pub(crate) enum Extent {
    /// Stored bytes of a blob.
    Blob(Layout, Range<u64>),
    /// First [`Cutter::supply`] needs a window of this list.
    List(BlobId, Range<u64>),
    End,
}

/// Cuts a range of an object into reads, one after the other.
pub(crate) struct Cutter {
    key: Option<DataKey>,
    /// From the outermost to the innermost.
    lists: Vec<OpenList>,
    run: Option<Run>,
}

impl Cutter {
    pub(crate) fn new(
        stretch: &Stretch<'_>,
        key: Option<&DataKey>,
        range: Range<u64>,
    ) -> Result<Self, EngineError> {
        let mut cutter = Self { key: None, lists: Vec::new(), run: None };
        cutter.enter(stretch, key, range)?;
        if !cutter.lists.is_empty() {
            cutter.key = key.cloned();
        }
        Ok(cutter)
    }

    fn enter(
        &mut self,
        stretch: &Stretch<'_>,
        key: Option<&DataKey>,
        range: Range<u64>,
    ) -> Result<(), EngineError> {
        let place = match stretch.data {
            Data::Empty => return Ok(()),
            Data::Manifest(_) if self.lists.len() == DEPTH_MAX => {
                return Err(DecodeError { what: "list of parts" }.into());
            }
            Data::Manifest(id) => {
                let window = Vec::new().into_iter();
                self.lists.push(OpenList { id: *id, left: range, window });
                return Ok(());
            }
            Data::Slice { base, base_size, offset } => {
                let base = Stretch { data: base, stored_len: *base_size, salt: None };
                return self.enter(&base, key, range.start + offset..range.end + offset);
            }
            Data::Inline(id) => Place::Row(*id),
            Data::Blob { blob, cell_len, hint, code } => {
                Place::Blob(Layout::new(*blob, *code, *cell_len, stretch.stored_len), *hint)
            }
        };
        let part = SealedPart::new(stretch, key)?;
        let left = part.stored_range(&range);
        self.run = Some(Run { part, range, left, place });
        Ok(())
    }

    /// The next read, or what is needed to tell it.
    pub(crate) fn step(&mut self) -> Result<Step, EngineError> {
        loop {
            if let Some(piece) = self.run.as_mut().and_then(Run::next) {
                return Ok(Step::Piece(piece));
            }
            if let Some(step) = self.next_run()? {
                return Ok(step);
            }
        }
    }

    /// The next blob as a whole instead of its reads: what is in rows is left out.
    pub(crate) fn extent(&mut self) -> Result<Extent, EngineError> {
        loop {
            if let Some(Run { place: Place::Blob(layout, _), left, .. }) = self.run.take() {
                return Ok(Extent::Blob(layout, left));
            }
            match self.next_run()? {
                Some(Step::List(id, range)) => return Ok(Extent::List(id, range)),
                Some(Step::Piece(_) | Step::End) => return Ok(Extent::End),
                None => {}
            }
        }
    }

    /// Goes on to the next blob or row; a step where that takes a list, or nothing is left.
    fn next_run(&mut self) -> Result<Option<Step>, EngineError> {
        self.run = None;
        let Some(list) = self.lists.last_mut() else { return Ok(Some(Step::End)) };
        if list.left.is_empty() {
            self.lists.pop();
            return Ok(None);
        }
        let Some(part) = list.window.next() else {
            return Ok(Some(Step::List(list.id, list.left.clone())));
        };
        let ListedPart { data, stored_len, salt, range } = part;
        list.left.start += range.end - range.start;
        let (stretch, key) =
            (Stretch { data: &data, stored_len, salt: salt.as_ref() }, self.key.clone());
        self.enter(&stretch, key.as_ref(), range)?;
        Ok(None)
    }

    /// Takes the window that was asked for.
    pub(crate) fn supply(&mut self, window: Vec<ListedPart>) {
        if let Some(list) = self.lists.last_mut() {
            list.window = window.into_iter();
        }
    }

    /// Asks for the list of the last piece again, whose row is gone: the part was merged or written
    /// elsewhere. `false` if it is in no list.
    pub(crate) fn look_again(&mut self) -> bool {
        let (Some(list), Some(run)) = (self.lists.last_mut(), self.run.take()) else {
            return false;
        };
        list.left.start -= run.range.end - run.range.start;
        list.window = Vec::new().into_iter();
        true
    }

    /// Whether nothing comes after what was cut.
    pub(crate) fn is_done(&self) -> bool {
        self.run.as_ref().is_none_or(Run::is_done)
            && self.lists.iter().all(|list| list.left.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::{Rng, SeededRng, Seq};
    use std::collections::HashMap;

    type Lists = HashMap<BlobId, Manifest>;
    /// A read, and how its bytes are opened.
    type Told = (String, Option<(u64, bool, Range<usize>)>);

    fn tell(piece: &Piece) -> Told {
        let opening = piece.opening.as_ref();
        let opening = opening.map(|o| (o.first_frame, o.is_end, o.wanted.clone()));
        (format!("{:?}", piece.source), opening)
    }

    /// All reads at once, as they follow from the rows.
    fn all_reads(
        lists: &Lists,
        stretch: &Stretch<'_>,
        key: &DataKey,
        range: Range<u64>,
    ) -> Vec<Told> {
        match stretch.data {
            Data::Manifest(id) => {
                let (mut told, mut start) = (Vec::new(), 0);
                for part in &lists[id].parts {
                    let end = start + part.size;
                    let (from, to) = (range.start.max(start), range.end.min(end));
                    if from < to {
                        let part = Stretch::of_part(part);
                        told.extend(all_reads(lists, &part, key, from - start..to - start));
                    }
                    start = end;
                }
                told
            }
            Data::Slice { base, base_size, offset } => {
                let base = Stretch { data: base, stored_len: *base_size, salt: None };
                all_reads(lists, &base, key, range.start + offset..range.end + offset)
            }
            Data::Empty => Vec::new(),
            Data::Inline(id) => {
                let part = SealedPart::new(stretch, Some(key)).expect("has its key");
                let stored = part.stored_range(&range);
                let opening = part.opening(&range, stored.clone());
                vec![tell(&Piece { source: Source::Row(*id, stored), opening })]
            }
            Data::Blob { blob, cell_len, hint, code } => {
                let part = SealedPart::new(stretch, Some(key)).expect("has its key");
                let layout = Layout::new(*blob, *code, *cell_len, part.stored_len);
                let (mut told, mut left) = (Vec::new(), part.stored_range(&range));
                while !left.is_empty() {
                    let (cell, stored) = cut(layout, *hint, &left);
                    left.start = stored.end;
                    let opening = part.opening(&range, stored);
                    told.push(tell(&Piece { source: Source::Cell(cell), opening }));
                }
                told
            }
        }
    }

    fn lazy_reads(lists: &Lists, mut cutter: Cutter) -> Vec<Told> {
        let mut told = Vec::new();
        loop {
            let held = cutter.lists.iter().map(|list| list.window.len());
            assert!(held.sum::<usize>() <= WINDOW_COUNT * DEPTH_MAX, "a window for each list");
            let was_done = cutter.is_done();
            match cutter.step().expect("lists are whole") {
                Step::Piece(piece) => told.push(tell(&piece)),
                Step::List(id, range) => {
                    let row = lists[&id].encode();
                    cutter.supply(window_of(&row, &range).expect("has the range"));
                }
                Step::End => return told,
            }
            assert!(!was_done, "nothing comes after the end");
        }
    }

    fn size_of(list: &Manifest) -> u64 {
        list.parts.iter().map(|part| part.size).sum()
    }

    fn blob(rng: &SeededRng) -> Data {
        let cell_len = [65_536, 131_072, 1 << 20][rng.below(3) as usize];
        let code = (1 + rng.below(4) as u8, 0);
        Data::Blob { blob: id(rng), cell_len, code, hint: None }
    }

    fn id(rng: &SeededRng) -> BlobId {
        let mut id = [0; 16];
        rng.fill(&mut id);
        BlobId(id)
    }

    fn list(rng: &SeededRng, count: u64, mut data: impl FnMut(u64) -> Data) -> Manifest {
        let part = |at: u64| {
            let size = [0, 1, 4096, 65_537, 900_000, 2_500_000][rng.below(6) as usize];
            let salt = (rng.below(3) == 0).then_some([at as u8; 16]);
            let mut part = PartRow {
                number: at as u16 + 1,
                size,
                md5: [0; 16],
                modified_ms: 0,
                checksum: None,
                data: data(size),
                seq: Seq(at),
                salt,
            };
            // Pieces of what others have are never sealed.
            part.salt = part.salt.filter(|_| !matches!(part.data, Data::Slice { .. }));
            part
        };
        Manifest { parts: (0..count).map(part).collect() }
    }

    /// Goal: what is cut step by step is what all parts at once would give, with the same openings. Method:
    /// random lists of blobs and rows, sealed or not; lists of pieces of blobs and of such lists; random
    /// ranges.
    #[test]
    fn reads_that_are_cut_one_by_one_are_those_of_all_at_once() {
        let key = DataKey::generate(&SeededRng::new(1));
        for seed in 0..60 {
            let rng = SeededRng::new(seed);
            let (inner, outer) = (BlobId([1; 16]), BlobId([2; 16]));
            let count = rng.below(100);
            let base = list(&rng, count, |_| match rng.below(4) {
                0 => Data::Inline(id(&rng)),
                _ => blob(&rng),
            });
            let base_size = size_of(&base);
            let count = 1 + rng.below(80);
            let above = list(&rng, count, |size| match rng.below(3) {
                0 if size <= base_size => {
                    let base = Box::new(Data::Manifest(inner));
                    Data::Slice { base, base_size, offset: rng.below(base_size - size + 1) }
                }
                1 => {
                    let (base, offset) = (Box::new(blob(&rng)), rng.below(1 << 30));
                    Data::Slice { base, base_size: offset + size + rng.below(1000), offset }
                }
                _ => blob(&rng),
            });
            let size = size_of(&above);
            let lists = Lists::from([(inner, base), (outer, above)]);
            for _ in 0..8 {
                let start = rng.below(size + 1);
                let end = start + rng.below(size - start + 1);
                let range = if rng.below(4) == 0 { 0..size } else { start..end };
                let data = Data::Manifest(outer);
                let whole = Stretch { data: &data, stored_len: size, salt: None };
                let cutter = Cutter::new(&whole, Some(&key), range.clone()).expect("has its key");
                let all = all_reads(&lists, &whole, &key, range.clone());
                assert_eq!(lazy_reads(&lists, cutter), all, "seed {seed}, {range:?}");
            }
        }
    }

    /// Merges some parts of a list; what was in rows is in a blob then.
    fn merge(rng: &SeededRng, list: &mut Manifest, bytes: &mut HashMap<BlobId, Vec<u8>>) {
        let first = rng.below(list.parts.len() as u64) as usize;
        let end = (first + 1 + rng.below(8) as usize).min(list.parts.len());
        let mut joined = Vec::new();
        for part in &list.parts[first..end] {
            match &part.data {
                Data::Inline(id) => joined.extend(bytes.remove(id).expect("is there")),
                Data::Blob { blob, .. } => joined.extend_from_slice(&bytes[blob]),
                _ => {}
            }
        }
        let (id, size) = (id(rng), joined.len() as u64);
        bytes.insert(id, joined);
        let data = Data::Blob { blob: id, cell_len: 512, code: (2, 0), hint: None };
        let part = PartRow { size, data, ..list.parts[first].clone() };
        list.parts.splice(first..end, [part]);
    }

    /// Goal: a reader gets the right bytes whatever happens to the list meanwhile. Method: parts in rows and
    /// blobs are merged at random between reads; rows go at once, blobs stay.
    #[test]
    fn parts_that_are_merged_meanwhile_give_the_same_bytes() {
        for seed in 0..60 {
            let rng = SeededRng::new(seed);
            let mut bytes = HashMap::new();
            let mut list = list(&rng, 1 + rng.below(60), |_| Data::Empty);
            let mut whole = Vec::new();
            for part in &mut list.parts {
                let mut content = vec![0; 1 + rng.below(2000) as usize];
                rng.fill(&mut content);
                whole.extend_from_slice(&content);
                (part.size, part.salt) = (content.len() as u64, None);
                let id = id(&rng);
                part.data = match rng.below(2) {
                    0 => Data::Inline(id),
                    _ => Data::Blob { blob: id, cell_len: 512, code: (2, 0), hint: None },
                };
                bytes.insert(id, content);
            }
            let (data, size) = (Data::Manifest(BlobId([9; 16])), whole.len() as u64);
            let stretch = Stretch { data: &data, stored_len: size, salt: None };
            let mut cutter = Cutter::new(&stretch, None, 0..size).expect("no key is needed");
            let mut got = Vec::new();
            loop {
                if rng.below(3) == 0 {
                    merge(&rng, &mut list, &mut bytes);
                }
                match cutter.step().expect("the list is whole") {
                    Step::End => break,
                    Step::List(_, range) => {
                        cutter.supply(window_of(&list.encode(), &range).expect("has it"));
                    }
                    Step::Piece(Piece { source: Source::Row(id, range), .. }) => {
                        match bytes.get(&id) {
                            Some(row) => got
                                .extend_from_slice(&row[range.start as usize..range.end as usize]),
                            None => assert!(cutter.look_again()),
                        }
                    }
                    Step::Piece(Piece { source: Source::Cell(cell), .. }) => {
                        let at = u64::from(cell.stripe) * 2 + cell.place as u64;
                        let at = at * 512 + u64::from(cell.range.start);
                        let (at, len) = (at as usize, cell.range.len());
                        got.extend_from_slice(&bytes[&cell.layout.blob][at..at + len]);
                    }
                }
            }
            assert!(got == whole, "seed {seed}");
        }
    }

    #[test]
    fn lists_that_go_round_or_are_too_short_are_refused() {
        let (id, size) = (BlobId([1; 16]), 1 << 30);
        let slice = Data::Slice { base: Box::new(Data::Manifest(id)), base_size: size, offset: 0 };
        let mut round = list(&SeededRng::new(1), 1, |_| slice.clone());
        round.parts[0].size = size;
        let row = round.encode();
        let data = Data::Manifest(id);
        let stretch = Stretch { data: &data, stored_len: size, salt: None };
        let mut cutter = Cutter::new(&stretch, None, 0..size).expect("no key is needed");
        let refused = (0..100).any(|_| match cutter.step() {
            Ok(Step::List(_, range)) => {
                cutter.supply(window_of(&row, &range).expect("has it"));
                false
            }
            Ok(_) => panic!("it has no bytes"),
            Err(_) => true,
        });
        assert!(refused && cutter.lists.len() <= DEPTH_MAX);
        assert!(window_of(&row, &(size..size + 1)).is_err());
    }

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
            while at < end {
                let (piece, stored) = cut(layout, None, &(at..end));
                let CellRange { stripe, place, range, .. } = piece;
                assert_eq!(stored.start, at);
                let cell = u64::from(stripe) * u64::from(code) + place as u64;
                let cell = cell * u64::from(cell_len);
                assert_eq!(cell + u64::from(range.start), at);
                assert!(!range.is_empty() && u64::from(range.end - range.start) <= CHUNK_LEN);
                at = cell + u64::from(range.end);
                assert_eq!(stored.end, at);
            }
            assert_eq!(at, end);
        }
    }
}
