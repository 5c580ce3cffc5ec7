//! The single writer of a class: turns waiting groups into batches.

use crate::error::{LogError, failed};
use crate::format::{
    BATCH_HEADER_LEN, BatchHeader, Class, Location, RecordHeader, RecordKind, SEGMENT_HEADER_LEN,
    Seal, SegmentHeader,
};
use crate::group::{Chain, Durability, Group, RecordInput, Recorded};
use crate::log::{SeededBug, Shared};
use crate::segment::{SegmentInfo, write_header, write_seal};
use bytes::Bytes;
use drystone_base::crc32c;
use drystone_base::sync::lock;
use drystone_io::DiskFile;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// Bytes of one batch at most, if it has more than one group.
const BATCH_LEN_MAX: u64 = 2 << 20;
/// Unflushed bytes after which a class flushes by itself.
const UNSYNCED_LEN_MAX: u64 = 2 << 20;
/// Payloads up to this long are copied next to their headers; longer ones get a slice of their own.
const COPY_LEN_MAX: usize = 16 << 10;

/// A record with its numbers, ready to be encoded.
pub(crate) struct Numbered {
    pub(crate) lsn: u64,
    pub(crate) birth_lsn: u64,
    pub(crate) record: RecordInput,
}

/// Where a batch goes and what its header says.
#[derive(Clone, Copy)]
pub(crate) struct BatchPlace {
    pub(crate) class: Class,
    pub(crate) segment: u32,
    pub(crate) incarnation: u32,
    pub(crate) offset: u32,
    pub(crate) term: u32,
    pub(crate) durable_lsn: u64,
    /// For a batch without records.
    pub(crate) last_lsn: u64,
}

enum Part {
    /// A range of `heads`.
    Head(std::ops::Range<usize>),
    Payload(Bytes),
}

/// A batch as it will be written.
pub(crate) struct EncodedBatch {
    class: Class,
    heads: Vec<u8>,
    parts: Vec<Part>,
    pub(crate) len: u32,
    pub(crate) places: Vec<Location>,
}

impl EncodedBatch {
    pub(crate) fn new(place: BatchPlace, records: &[Numbered]) -> Self {
        let mut heads = vec![0; BATCH_HEADER_LEN];
        let (mut parts, mut places) = (Vec::new(), Vec::with_capacity(records.len()));
        let (mut head_from, mut len) = (0, BATCH_HEADER_LEN as u32);
        let mut hashes = Vec::with_capacity(records.len() * 4);
        for numbered in records {
            let (meta, payload) = (&numbered.record.meta, &numbered.record.payload);
            let header = RecordHeader {
                kind: numbered.record.kind,
                meta_len: meta.len() as u16,
                incarnation: place.incarnation,
                offset: place.offset + len,
                lsn: numbered.lsn,
                birth_lsn: numbered.birth_lsn,
                payload_len: payload.len() as u32,
            };
            places.push(Location {
                segment: place.segment,
                incarnation: place.incarnation,
                offset: header.offset,
                payload_len: header.payload_len,
            });
            hashes.extend(header.encode(meta, payload, &mut heads).to_le_bytes());
            if payload.len() <= COPY_LEN_MAX {
                heads.extend_from_slice(payload);
            } else {
                parts.push(Part::Head(head_from..heads.len()));
                parts.push(Part::Payload(payload.clone()));
                head_from = heads.len();
            }
            let unpadded = header.head_len() + header.payload_len;
            heads.resize(heads.len() + (header.full_len() - u64::from(unpadded)) as usize, 0);
            len += header.full_len() as u32;
        }
        let padded_len = len.next_multiple_of(place.class.alignment());
        heads.resize(heads.len() + (padded_len - len) as usize, 0);
        parts.push(Part::Head(head_from..heads.len()));
        let header = BatchHeader {
            class: place.class,
            incarnation: place.incarnation,
            offset: place.offset,
            first_lsn: records.first().map_or(place.last_lsn, |r| r.lsn),
            last_lsn: records.last().map_or(place.last_lsn, |r| r.lsn),
            durable_lsn: place.durable_lsn,
            body_len: len - BATCH_HEADER_LEN as u32,
            record_count: records.len() as u32,
            term: place.term,
            hash: crc32c(&hashes),
        };
        heads[..BATCH_HEADER_LEN].copy_from_slice(&header.encode());
        Self { class: place.class, heads, parts, len: padded_len, places }
    }

    /// Writes the batch, and `zeros` behind it.
    pub(crate) fn write(
        &self,
        file: &dyn DiskFile,
        offset: u32,
        zeros: &[u8],
    ) -> std::io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Head(range) => IoSlice::new(&self.heads[range.clone()]),
                Part::Payload(bytes) => IoSlice::new(bytes),
            })
            .collect();
        if !zeros.is_empty() {
            slices.push(IoSlice::new(zeros));
        }
        write_bytes(self.class, file, offset, &mut slices)
    }
}

/// Writes into a segment of a class.
pub(crate) fn write_bytes(
    class: Class,
    file: &dyn DiskFile,
    offset: u32,
    slices: &mut [IoSlice<'_>],
) -> std::io::Result<()> {
    match class {
        Class::Small => file.write_at(u64::from(offset), slices),
        Class::Bulk | Class::Moved => file.write_direct_at(u64::from(offset), slices),
    }
}

/// Bytes of a batch without records.
pub(crate) fn mark_len(class: Class) -> u32 {
    (BATCH_HEADER_LEN as u32).next_multiple_of(class.alignment())
}

struct Active {
    segment: u32,
    incarnation: u32,
    file: Arc<dyn DiskFile>,
    offset: u32,
    /// Up to here the file's blocks have been written, so that an append changes no metadata.
    written_to: u64,
    /// A batch of this term is durable in it, if an earlier term wrote into it too.
    is_pinned: bool,
}

/// An open segment that was found, to be written on.
pub(crate) struct Resumed {
    pub(crate) segment: u32,
    pub(crate) incarnation: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u32,
    /// What its batches say is durable.
    pub(crate) told_lsn: u64,
}

/// Where the last segment of a class ended.
#[derive(Clone, Copy, Default)]
pub(crate) struct Previous {
    pub(crate) segment: u32,
    pub(crate) incarnation: u32,
    pub(crate) end: u32,
}

impl Previous {
    pub(crate) fn new(segment: u32, seal: &Seal) -> Self {
        Self { segment, incarnation: seal.incarnation, end: seal.end }
    }
}

/// State of a class's writer.
pub(crate) struct Writer {
    class: Class,
    active: Option<Active>,
    previous: Previous,
    last_lsn: u64,
    durable_lsn: u64,
    /// What the last batch header said about durability.
    told_lsn: u64,
    unsynced_bytes: u64,
    /// Written, not yet flushed, and not yet told to the observer.
    unobserved: Vec<Recorded>,
    /// Why a chained group failed: those linked to it fail too.
    chain_broken: Option<LogError>,
}

impl Writer {
    pub(crate) fn new(
        class: Class,
        previous: Previous,
        resumed: Option<Resumed>,
        last_lsn: u64,
    ) -> Self {
        let told_lsn = resumed.as_ref().map_or(last_lsn, |resumed| resumed.told_lsn);
        let active = resumed.map(|resumed| Active {
            segment: resumed.segment,
            incarnation: resumed.incarnation,
            file: resumed.file,
            offset: resumed.offset,
            written_to: u64::from(resumed.offset),
            is_pinned: false,
        });
        Self {
            class,
            active,
            previous,
            last_lsn,
            durable_lsn: last_lsn,
            told_lsn,
            unsynced_bytes: 0,
            unobserved: Vec::new(),
            chain_broken: None,
        }
    }

    /// Works groups off, in order. Every callback is called.
    pub(crate) fn write(&mut self, shared: &Shared, mut groups: VecDeque<Group>) {
        let room_max =
            u64::from(shared.config.segment_len - SEGMENT_HEADER_LEN) - BATCH_HEADER_LEN as u64;
        while let Some(first) = groups.pop_front() {
            if shared.is_quarantined() {
                (first.done)(Err(LogError::Quarantined));
                continue;
            }
            if first.chain == Chain::Start {
                self.chain_broken = None;
            }
            if first.chain == Chain::Link
                && let Some(error) = &self.chain_broken
            {
                (first.done)(Err(error.clone()));
                continue;
            }
            let len = first.len_bytes();
            if len > room_max {
                let error = LogError::TooLarge { len_bytes: len };
                self.break_chain(first.chain, &error);
                (first.done)(Err(error));
                continue;
            }
            if self.room(shared) < len
                && let Err(error) = self.roll(shared, self.class != Class::Bulk)
            {
                shared.note(&error);
                self.break_chain(first.chain, &error);
                (first.done)(Err(error));
                continue;
            }
            let limit = self.room(shared).min(BATCH_LEN_MAX);
            let (mut total, mut taken) = (len, vec![first]);
            while let Some(next) = groups.front().map(Group::len_bytes) {
                let starts = groups.front().is_some_and(|group| group.chain == Chain::Start);
                if total + next > limit || (starts && self.chain_broken.is_some()) {
                    break;
                }
                total += next;
                taken.extend(groups.pop_front());
            }
            self.write_batch(shared, taken);
        }
    }

    /// Bytes of records that still fit into the open segment as one batch.
    fn room(&self, shared: &Shared) -> u64 {
        let Some(active) = &self.active else { return 0 };
        let mark = if active.is_pinned { 0 } else { mark_len(self.class) };
        let used = u64::from(active.offset + mark) + BATCH_HEADER_LEN as u64;
        u64::from(shared.config.segment_len).saturating_sub(used)
    }

    fn break_chain(&mut self, chain: Chain, error: &LogError) {
        if chain != Chain::None {
            self.chain_broken.get_or_insert_with(|| error.clone());
        }
    }

    fn place(&self, shared: &Shared, active: &Active) -> BatchPlace {
        BatchPlace {
            class: self.class,
            segment: active.segment,
            incarnation: active.incarnation,
            offset: active.offset,
            term: shared.config.term,
            durable_lsn: self.durable_lsn,
            last_lsn: self.last_lsn,
        }
    }

    fn write_batch(&mut self, shared: &Shared, groups: Vec<Group>) {
        let flush = groups.iter().any(|g| g.durability != Durability::Written)
            || self.unsynced_bytes >= UNSYNCED_LEN_MAX;
        let tell_first = self.class != Class::Small
            || groups.iter().any(|g| g.durability == Durability::Observed);
        let count: usize = groups.iter().map(|g| g.records.len()).sum();
        let mut lsn = shared.take_lsns(count as u64);
        let mut numbered = Vec::with_capacity(count);
        let mut waiting = Vec::with_capacity(groups.len());
        for group in groups {
            waiting.push((group.records.len(), group.done));
            for record in group.records {
                let birth_lsn = record.birth_lsn.unwrap_or(lsn);
                numbered.push(Numbered { lsn, birth_lsn, record });
                lsn += 1;
            }
        }
        let early = shared.config.bug == Some(SeededBug::AcknowledgeEarly);
        let written = match numbered.is_empty() {
            true => Ok(Vec::new()),
            false => self.pin(shared).and_then(|()| self.append(shared, &numbered)),
        };
        let result = written.and_then(|places| {
            if flush && !early {
                self.flush(shared)?;
            }
            Ok(places)
        });
        let places = match result {
            Ok(places) => places,
            Err(error) => {
                // Part of the batch may lie in the segment: nothing more is written behind it.
                shared.note(&error);
                for (_, done) in waiting {
                    done(Err(error.clone()));
                }
                return;
            }
        };
        self.unobserved
            .extend(numbered.iter().zip(&places).map(|(n, location)| recorded(n, *location)));
        if flush && tell_first {
            shared.observe(self.class, &mut self.unobserved);
        }
        let mut placed = numbered.iter().map(|n| n.lsn).zip(places);
        for (count, done) in waiting {
            done(Ok(placed.by_ref().take(count).collect()));
        }
        if flush {
            shared.observe(self.class, &mut self.unobserved);
        }
        if early && let Err(error) = self.flush(shared) {
            shared.note(&error);
        }
    }

    /// Writes one batch into the open segment; not flushed when this returns.
    fn append(&mut self, shared: &Shared, records: &[Numbered]) -> Result<Vec<Location>, LogError> {
        let active = self.active.as_ref().expect("a segment was opened for this batch");
        let batch = EncodedBatch::new(self.place(shared, active), records);
        let end = u64::from(active.offset) + u64::from(batch.len);
        assert!(end <= u64::from(shared.config.segment_len), "a batch stays inside its segment");
        let ahead = shared.config.write_ahead_len.min(shared.config.segment_len - end as u32);
        let is_new = self.class == Class::Small && end > active.written_to;
        let zeros = if is_new && !records.is_empty() { ahead } else { 0 };
        let written = batch.write(&*active.file, active.offset, &shared.zeros[..zeros as usize]);
        written.map_err(failed("a write", active.segment))?;
        let active = self.active.as_mut().expect("a segment was opened for this batch");
        active.offset = end as u32;
        active.written_to = active.written_to.max(end + u64::from(zeros));
        self.unsynced_bytes += u64::from(batch.len);
        self.told_lsn = self.durable_lsn;
        self.last_lsn = records.last().map_or(self.last_lsn, |record| record.lsn);
        Ok(batch.places)
    }

    /// Makes the first batch of this term behind those of an earlier one durable, before any other is
    /// written: from then on nothing counts that lies behind from a write that was cut off.
    fn pin(&mut self, shared: &Shared) -> Result<(), LogError> {
        if self.active.as_ref().is_none_or(|active| active.is_pinned) {
            return Ok(());
        }
        self.append(shared, &[])?;
        self.flush(shared)?;
        if let Some(active) = &mut self.active {
            active.is_pinned = true;
        }
        Ok(())
    }

    /// After a flush that failed the device may have forgotten what it did not write, and a second
    /// flush would succeed: there is none.
    fn flush(&mut self, shared: &Shared) -> Result<(), LogError> {
        if shared.is_quarantined() {
            return Err(LogError::Quarantined);
        }
        if let Some(active) = &self.active
            && shared.config.bug != Some(SeededBug::SkipFlush)
        {
            active.file.sync_data().map_err(failed("a flush", active.segment))?;
            shared.count_flush();
        }
        self.unsynced_bytes = 0;
        self.durable_lsn = self.last_lsn;
        Ok(())
    }

    /// Closes the open segment and opens the next one. Everything before is durable afterwards.
    fn roll(&mut self, shared: &Shared, may_use_spares: bool) -> Result<(), LogError> {
        if self.unsynced_bytes > 0 {
            self.flush(shared)?;
            shared.observe(self.class, &mut self.unobserved);
        }
        if let Some(active) = &self.active {
            self.previous = Previous {
                segment: active.segment,
                incarnation: active.incarnation,
                end: active.offset,
            };
        }
        let mut table = lock(&shared.table);
        let (id, incarnation, file) =
            table.acquire(&*shared.disk, u64::from(shared.config.segment_len), may_use_spares)?;
        shared.note_reserve(&table);
        drop(table);
        let recycled = shared.was_written(id);
        let header = SegmentHeader {
            class: Some(self.class),
            drive: shared.config.drive,
            segment: id,
            incarnation,
            term: shared.config.term,
            previous_segment: self.previous.segment,
            previous_incarnation: self.previous.incarnation,
            previous_end: self.previous.end,
            previous_last_lsn: self.last_lsn,
        };
        write_header(&*file, &header)?;
        file.sync_data().map_err(failed("a flush", id))?;
        self.seal_active(shared)?;
        let written_to =
            u64::from(if recycled { shared.config.segment_len } else { SEGMENT_HEADER_LEN });
        let mut table = lock(&shared.table);
        let entry = table.entries.get_mut(&id).expect("an acquired segment is in the table");
        entry.info = Some(SegmentInfo {
            segment: id,
            incarnation,
            class: self.class,
            after_lsn: self.last_lsn,
            last_lsn: u64::MAX,
            end: 0,
            sealed: false,
            found_lsn: self.last_lsn,
        });
        let offset = SEGMENT_HEADER_LEN;
        let is_pinned = true;
        self.active =
            Some(Active { segment: id, incarnation, file, offset, written_to, is_pinned });
        Ok(())
    }

    fn seal_active(&mut self, shared: &Shared) -> Result<(), LogError> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let seal =
            Seal { incarnation: active.incarnation, end: active.offset, last_lsn: self.last_lsn };
        write_seal(&*active.file, active.segment, &seal)?;
        let mut table = lock(&shared.table);
        let info = table.entries.get_mut(&active.segment).and_then(|entry| entry.info.as_mut());
        let info = info.expect("the open segment is in the table");
        (info.last_lsn, info.end, info.sealed) = (seal.last_lsn, seal.end, true);
        Ok(())
    }

    /// Whether a mark would tell a later recovery something new.
    pub(crate) fn wants_mark(&self) -> bool {
        self.active.is_some() && self.told_lsn < self.last_lsn
    }

    /// Writes an empty batch that tells what is durable.
    pub(crate) fn mark(&mut self, shared: &Shared) {
        if !self.wants_mark() || self.room(shared) == 0 || shared.is_quarantined() {
            return;
        }
        let result = self.flush(shared).and_then(|()| {
            shared.observe(self.class, &mut self.unobserved);
            if self.active.as_ref().is_some_and(|active| !active.is_pinned) {
                return self.pin(shared);
            }
            self.append(shared, &[])?;
            self.flush(shared)
        });
        if let Err(error) = result {
            shared.note(&error);
        }
    }

    /// Closes the open segment, so that it can be reclaimed, and opens another; never a spare.
    pub(crate) fn rotate(&mut self, shared: &Shared) -> Result<(), LogError> {
        if shared.is_quarantined() {
            return Err(LogError::Quarantined);
        }
        if self.active.as_ref().is_none_or(|a| a.offset == SEGMENT_HEADER_LEN) {
            return Ok(());
        }
        self.roll(shared, false).inspect_err(|error| shared.note(error))
    }
}

fn recorded(numbered: &Numbered, location: Location) -> Recorded {
    let record = &numbered.record;
    let is_control =
        matches!(record.kind, RecordKind::Tombstones | RecordKind::Floor | RecordKind::Discards);
    Recorded {
        kind: record.kind,
        lsn: numbered.lsn,
        birth_lsn: numbered.birth_lsn,
        location,
        meta: record.meta.clone(),
        control: if is_control { record.payload.clone() } else { Bytes::new() },
    }
}
