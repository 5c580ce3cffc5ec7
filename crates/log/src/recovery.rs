//! Opening a log: find the durable part, rewrite and seal the tail.
//!
//! The order of flushes is the point of this file. The accepted tail is written to a new segment
//! and flushed; then the new segment's header, which makes it count and names the end of the old one,
//! is flushed; then the old segment is sealed. A crash between any two of them leaves a log
//! from which the same tail is recovered again.

use crate::error::{Damage, LogError};
use crate::format::{
    BatchHeader, Class, SEAL_LEN, SEAL_OFFSET, SEGMENT_HEADER_LEN, Seal, SegmentHeader,
};
use crate::group::RecordInput;
use crate::log::{LogConfig, SeededBug};
use crate::scan::{ScannedRecord, Window, read_records};
use crate::segment::{Entry, SegmentInfo, SegmentTable, parse_file_name, write_header, write_seal};
use crate::writer::{BatchPlace, EncodedBatch, Numbered, Previous, Writer};
use drystone_io::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct Recovered {
    pub(crate) table: SegmentTable,
    pub(crate) writers: [Writer; 3],
    pub(crate) last_lsn: u64,
    pub(crate) damage: Vec<Damage>,
}

/// Numbers of a term begin above those that an earlier term can have used without a header to show
/// for it: a tail that was rewritten but never counted must not verify under a number used again.
fn first_incarnation(config: &LogConfig) -> u32 {
    config.term << 12 | 1
}

struct Found {
    header: SegmentHeader,
    seal: Option<Seal>,
    file: Arc<dyn DiskFile>,
}

pub(crate) fn recover(disk: &dyn Disk, config: &LogConfig) -> Result<Recovered, LogError> {
    let mut recovery = Recovery {
        disk,
        config,
        table: SegmentTable {
            entries: BTreeMap::new(),
            next_incarnation: first_incarnation(config),
        },
        damage: Vec::new(),
        last_lsn: 0,
    };
    let found = recovery.find_segments()?;
    let mut writers = Vec::new();
    for class in Class::ALL {
        let mut chain: Vec<Found> = Vec::new();
        for segment in found.iter().filter(|segment| segment.header.class == Some(class)) {
            let Found { header, seal, file } = segment;
            chain.push(Found { header: *header, seal: *seal, file: file.clone() });
        }
        chain.sort_by_key(|segment| segment.header.incarnation);
        writers.push(recovery.recover_class(class, &chain)?);
    }
    let writers = writers.try_into().map_err(|_| ()).expect("three classes");
    let Recovery { table, damage, last_lsn, .. } = recovery;
    Ok(Recovered { table, writers, last_lsn, damage })
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    config: &'a LogConfig,
    table: SegmentTable,
    damage: Vec<Damage>,
    last_lsn: u64,
}

/// What lies behind the durable part of an open segment.
struct Tail {
    durable_lsn: u64,
    /// Offset behind the last durable batch.
    durable_end: u32,
    /// Whole batches behind it.
    batches: Vec<BatchHeader>,
}

impl Recovery<'_> {
    fn find_segments(&mut self) -> Result<Vec<Found>, LogError> {
        let mut found = Vec::new();
        for name in self.disk.list()? {
            let Some(id) = parse_file_name(&name) else { continue };
            let file = self.disk.open(&name)?;
            if !self.is_whole(&*file, id)? {
                self.disk.remove(&name)?;
                continue;
            }
            self.table
                .entries
                .insert(id, Entry { file: file.clone(), info: None, reserved: false });
            let mut page = vec![0; SEGMENT_HEADER_LEN as usize];
            file.read_at(0, &mut page)?;
            let header = SegmentHeader::decode(&page, id)
                .map_err(|format| LogError::Format { segment: id, format })?;
            let Some(header) = header else { continue };
            if header.drive != self.config.drive {
                return Err(LogError::Foreign { segment: id });
            }
            let next = &mut self.table.next_incarnation;
            *next = (*next).max(header.incarnation + 1);
            let seal_at = SEAL_OFFSET as usize;
            let seal = Seal::decode(&page[seal_at..seal_at + SEAL_LEN], id)
                .filter(|seal| seal.incarnation == header.incarnation);
            let Some(class) = header.class else {
                // The flush that freed it may have failed: then only the cache says so.
                write_header(&*file, &header)?;
                file.sync_data()?;
                continue;
            };
            // In use from here on: no tail may be rewritten over it.
            let open = Seal { incarnation: header.incarnation, end: 0, last_lsn: u64::MAX };
            self.enter(class, &header, &open, false);
            found.push(Found { header, seal, file });
        }
        Ok(found)
    }

    /// Whether a file has the length of a segment. One whose creation was cut short, so that nothing
    /// has ever been in it, has not; one that has a header was cut afterwards, and is filled up
    /// with zeros: what is missing is found as damage.
    fn is_whole(&self, file: &dyn DiskFile, segment: u32) -> Result<bool, LogError> {
        let (len, full) = (file.len_bytes()?, u64::from(self.config.segment_len));
        if len >= full {
            return Ok(true);
        }
        let mut page = vec![0; SEGMENT_HEADER_LEN as usize];
        let there = (len as usize).min(page.len());
        file.read_at(0, &mut page[..there])?;
        let header = SegmentHeader::decode(&page, segment);
        let header = header.map_err(|format| LogError::Format { segment, format })?;
        if header.is_none_or(|header| header.class.is_none()) {
            return Ok(false);
        }
        let zeros = vec![0; 1 << 20];
        let mut at = len;
        while at < full {
            let next = (full - at).min(zeros.len() as u64);
            file.write_at(at, &mut [std::io::IoSlice::new(&zeros[..next as usize])])?;
            at += next;
        }
        file.sync_data()?;
        Ok(true)
    }

    fn recover_class(&mut self, class: Class, chain: &[Found]) -> Result<Writer, LogError> {
        let (mut previous, mut last_lsn) = (Previous::default(), 0);
        for (at, segment) in chain.iter().enumerate() {
            let header = segment.header;
            let successor = chain.get(at + 1).map(|next| next.header).filter(|next| {
                next.previous_segment == header.segment
                    && next.previous_incarnation == header.incarnation
            });
            let from_successor = successor.map(|next| Seal {
                incarnation: header.incarnation,
                end: next.previous_end,
                last_lsn: next.previous_last_lsn,
            });
            let reached = match segment.seal.or(from_successor) {
                Some(seal) => {
                    if segment.seal.is_none() {
                        write_seal(&*segment.file, header.segment, &seal)?;
                    }
                    self.enter(class, &header, &seal, true);
                    previous = Previous::new(header.segment, &seal);
                    seal.last_lsn
                }
                None => {
                    let (segment, seal) = self.recover_open(class, segment)?;
                    previous = Previous::new(segment, &seal);
                    seal.last_lsn
                }
            };
            last_lsn = last_lsn.max(reached);
        }
        last_lsn = last_lsn.max(chain.last().map_or(0, |s| s.header.previous_last_lsn));
        self.last_lsn = self.last_lsn.max(last_lsn);
        Ok(Writer::new(class, previous, last_lsn))
    }

    /// Enters a segment into the table.
    fn enter(&mut self, class: Class, header: &SegmentHeader, seal: &Seal, sealed: bool) {
        let entry = self.table.entries.get_mut(&header.segment).expect("the segment was listed");
        entry.info = Some(SegmentInfo {
            segment: header.segment,
            incarnation: header.incarnation,
            class,
            after_lsn: header.previous_last_lsn,
            last_lsn: seal.last_lsn,
            end: seal.end,
            sealed,
        });
    }

    /// Recovers the segment that was being written when the process stopped; returns the last
    /// segment of the class and its end.
    fn recover_open(&mut self, class: Class, segment: &Found) -> Result<(u32, Seal), LogError> {
        let header = segment.header;
        let tail = self.find_tail(class, segment)?;
        let durable = Seal {
            incarnation: header.incarnation,
            end: tail.durable_end,
            last_lsn: tail.durable_lsn.max(header.previous_last_lsn),
        };
        if self.config.bug == Some(SeededBug::ServeUnsealedTail) {
            let last = tail.batches.last();
            let seal = Seal {
                end: last.map_or(durable.end, |batch| batch.end() as u32),
                last_lsn: last.map_or(durable.last_lsn, |batch| batch.last_lsn),
                ..durable
            };
            self.enter(class, &header, &seal, true);
            return Ok((header.segment, seal));
        }
        let mut reached = (header.segment, durable);
        if !tail.batches.is_empty() {
            reached = self.rewrite_tail(class, segment, &tail, &durable)?;
        }
        write_seal(&*segment.file, header.segment, &durable)?;
        self.enter(class, &header, &durable, true);
        Ok(reached)
    }

    /// Walks the batches of an open segment and finds what is durable, damaged and torn.
    fn find_tail(&mut self, class: Class, segment: &Found) -> Result<Tail, LogError> {
        let SegmentHeader { segment: id, incarnation, previous_last_lsn, .. } = segment.header;
        let len = u64::from(self.config.segment_len);
        let mut window = Window::new(&*segment.file, len, class);
        let mut batches: Vec<BatchHeader> = Vec::new();
        let mut gaps = Vec::new();
        let mut at = u64::from(SEGMENT_HEADER_LEN);
        loop {
            if let Some(batch) = window.batch(incarnation, at)? {
                at = batch.end();
                batches.push(batch);
                continue;
            }
            let Some(next) = window.find_batch(incarnation, at + 8)? else { break };
            gaps.push((at, batches.len(), next.offset));
            at = u64::from(next.offset);
        }
        if self.config.bug == Some(SeededBug::TakeDamageForTail)
            && let Some((_, count, _)) = gaps.first()
        {
            batches.truncate(*count);
            gaps.clear();
        }
        let durable_lsn =
            batches.iter().map(|batch| batch.durable_lsn).fold(previous_last_lsn, u64::max);
        let durable_count =
            batches.iter().take_while(|batch| batch.last_lsn <= durable_lsn).count();
        // Marks at the end are left out: they are behind the last flush that they tell of.
        let mut durable_end = batches[..durable_count]
            .iter()
            .rev()
            .find(|batch| batch.record_count > 0)
            .map_or(SEGMENT_HEADER_LEN, |batch| batch.end() as u32);
        let mut tail_end = batches.len();
        for (from, count, to) in gaps {
            let after_lsn = match count.checked_sub(1) {
                Some(last) => batches[last].last_lsn,
                None => previous_last_lsn,
            };
            // A batch up to the durable lsn has been whole once: without it this is damage. Behind
            // the durable lsn it is where the tail was torn.
            if after_lsn < durable_lsn {
                self.damage.push(Damage { segment: id, from: from as u32, to, after_lsn });
                durable_end = durable_end.max(to.min(end_before(&batches, durable_count, to)));
            } else {
                tail_end = tail_end.min(count);
            }
        }
        let mut accepted = Vec::new();
        let mut lsn = durable_lsn;
        for batch in &batches[durable_count..tail_end] {
            let follows = batch.first_lsn > lsn || batch.record_count == 0;
            let whole = read_records(&mut window, id, batch, &|_| true)?.is_some();
            if !follows || !whole {
                break;
            }
            lsn = lsn.max(batch.last_lsn);
            accepted.push(*batch);
        }
        Ok(Tail { durable_lsn, durable_end, batches: accepted })
    }

    /// Copies the accepted tail into a new segment, under the same lsns.
    fn rewrite_tail(
        &mut self,
        class: Class,
        old: &Found,
        tail: &Tail,
        durable: &Seal,
    ) -> Result<(u32, Seal), LogError> {
        old.file.drop_cache()?;
        let len = u64::from(self.config.segment_len);
        let (id, incarnation, file) = self.table.acquire(self.disk, len, true)?;
        let mut window = Window::new(&*old.file, len, class);
        let mut place = BatchPlace {
            class,
            segment: id,
            incarnation,
            offset: SEGMENT_HEADER_LEN,
            term: self.config.term,
            durable_lsn: durable.last_lsn,
            last_lsn: durable.last_lsn,
        };
        for batch in &tail.batches {
            let records = read_records(&mut window, old.header.segment, batch, &|_| true)?;
            // The device holds something else than memory did: the tail ends here.
            let Some(records) = records else { break };
            place.last_lsn = place.last_lsn.max(batch.last_lsn);
            let numbered: Vec<_> = records.into_iter().map(renumbered).collect();
            let encoded = EncodedBatch::new(place, &numbered);
            encoded.write(&*file, place.offset, &[])?;
            place.offset += encoded.len;
        }
        file.sync_data()?;
        let header = SegmentHeader {
            class: Some(class),
            drive: self.config.drive,
            segment: id,
            incarnation,
            term: self.config.term,
            previous_segment: old.header.segment,
            previous_incarnation: old.header.incarnation,
            previous_end: durable.end,
            previous_last_lsn: durable.last_lsn,
        };
        write_header(&*file, &header)?;
        file.sync_data()?;
        let seal = Seal { incarnation, end: place.offset, last_lsn: place.last_lsn };
        write_seal(&*file, id, &seal)?;
        self.enter(class, &header, &seal, true);
        Ok((id, seal))
    }
}

/// The beginning of the first batch that is not durable, or `otherwise` if there is none.
fn end_before(batches: &[BatchHeader], durable_count: usize, otherwise: u32) -> u32 {
    batches.get(durable_count).map_or(otherwise, |batch| batch.offset)
}

fn renumbered(record: ScannedRecord) -> Numbered {
    let ScannedRecord { kind, lsn, birth_lsn, meta, payload, .. } = record;
    Numbered { lsn, birth_lsn, record: RecordInput { kind, meta, payload, birth_lsn: None } }
}
