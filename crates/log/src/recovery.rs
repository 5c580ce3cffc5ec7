//! Opening a log: find the durable part, make the tail durable where it lies, write on behind it.
//!
//! The accepted tail is written over itself, byte for byte, and flushed together with the segment's
//! header: a crash in the middle leaves the same tail. The writer goes on behind it. What lies there,
//! from writes that were cut off, is of an earlier term, and a batch counts only if no batch before it
//! in its segment is of a later term; so the first thing written there is a mark of this term, which
//! is flushed before anything else is written.
//!
//! A segment that is damaged, or full, is sealed instead.
//!
//! A file without a header that verifies is a free segment only where there is nothing in the place of the
//! header. Sectors are written as a whole, so anything else is a header that rotted, whose segment may have
//! what no other drive has, or a file of somewhere else: it is left alone.

use crate::error::{Damage, LogError, failed};
use crate::format::{
    BATCH_HEADER_LEN, BatchHeader, Class, SEAL_LEN, SEAL_OFFSET, SEGMENT_HEADER_LEN, Seal,
    SegmentHeader,
};
use crate::log::{LogConfig, SeededBug};
use crate::scan::{Window, read_records};
use crate::segment::{Entry, SegmentInfo, SegmentTable, parse_file_name, write_header, write_seal};
use crate::writer::{Previous, Resumed, Writer, mark_len, write_bytes};
use drystone_io::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

pub(crate) struct Recovered {
    pub(crate) table: SegmentTable,
    pub(crate) writers: [Writer; 3],
    pub(crate) last_lsn: u64,
    /// Term to write with: above every one that was met.
    pub(crate) term: u32,
    pub(crate) damage: Vec<Damage>,
}

/// Segments at most whose headers are looked at to find the drive that they belong to.
const HEADERS_READ_MAX: usize = 64;

/// The drive that segments were written for, as the first header says that can be read; `None` if no
/// segment has one yet.
///
/// # Errors
///
/// What the operating system reports.
pub fn drive_of_segments(disk: &dyn Disk) -> io::Result<Option<[u8; 16]>> {
    let names = disk.list()?;
    let segments = names.iter().filter_map(|name| Some((name, parse_file_name(name)?)));
    for (name, id) in segments.take(HEADERS_READ_MAX) {
        let file = disk.open(name)?;
        let mut page = vec![0; SEGMENT_HEADER_LEN as usize];
        let there = file.len_bytes()?.min(page.len() as u64) as usize;
        file.read_at(0, &mut page[..there])?;
        if let Ok(Some(header)) = SegmentHeader::decode(&page, id) {
            return Ok(Some(header.drive));
        }
    }
    Ok(None)
}

/// Whether something else than a header is in the place of a header.
fn is_strange(file: &dyn DiskFile, segment: u32) -> Result<bool, LogError> {
    let mut sector = vec![0; SEAL_OFFSET as usize];
    let there = file.len_bytes()?.min(sector.len() as u64) as usize;
    file.read_at(0, &mut sector[..there])?;
    // One of another format is an error of its own.
    let is_header = !matches!(SegmentHeader::decode(&sector, segment), Ok(None));
    Ok(!is_header && sector.iter().any(|byte| *byte != 0))
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
            strange: Vec::new(),
            next_incarnation: first_incarnation(config),
            is_full: false,
        },
        damage: Vec::new(),
        last_lsn: 0,
        newest_term: 0,
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
    let Recovery { table, damage, last_lsn, newest_term, .. } = recovery;
    let term = config.term.max(newest_term + 1);
    Ok(Recovered { table, writers, last_lsn, term, damage })
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    config: &'a LogConfig,
    table: SegmentTable,
    damage: Vec<Damage>,
    last_lsn: u64,
    /// Highest term of any header that verifies. The terms of this process are above those of the
    /// drive's identity, but that may have rotted.
    newest_term: u32,
}

/// What an open segment holds.
struct Tail {
    durable_lsn: u64,
    /// Offset behind the last batch with records that is durable.
    durable_end: u32,
    /// What follows: marks, and whole batches.
    batches: Vec<BatchHeader>,
    is_damaged: bool,
}

/// An open segment whose end is known, and durable.
struct Settled {
    end: u32,
    last_lsn: u64,
    /// What its batches say is durable.
    told_lsn: u64,
    is_damaged: bool,
}

impl Recovery<'_> {
    fn find_segments(&mut self) -> Result<Vec<Found>, LogError> {
        let mut found = Vec::new();
        // A file that was created just before a kill may not be in the directory durably.
        self.disk.sync_dir()?;
        for name in self.disk.list()? {
            let Some(id) = parse_file_name(&name) else { continue };
            let file = self.disk.open(&name)?;
            if is_strange(&*file, id)? {
                self.table.strange.push(id);
                continue;
            }
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
            self.newest_term = self.newest_term.max(header.term);
            let seal_at = SEAL_OFFSET as usize;
            let seal = Seal::decode(&page[seal_at..seal_at + SEAL_LEN], id)
                .filter(|seal| seal.incarnation == header.incarnation);
            let Some(class) = header.class else {
                // The flush that freed it may have failed: then only the cache says so.
                write_header(&*file, &header)?;
                file.sync_data().map_err(failed("a flush", id))?;
                continue;
            };
            // In use from here on: no tail may be rewritten over it.
            let open = Seal { incarnation: header.incarnation, end: 0, last_lsn: u64::MAX };
            self.enter(class, &header, &open, header.previous_last_lsn);
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
            let written = file.write_at(at, &mut [IoSlice::new(&zeros[..next as usize])]);
            written.map_err(failed("a write", segment))?;
            at += next;
        }
        file.sync_data().map_err(failed("a flush", segment))?;
        Ok(true)
    }

    fn recover_class(&mut self, class: Class, chain: &[Found]) -> Result<Writer, LogError> {
        let (mut previous, mut last_lsn) = (Previous::default(), 0);
        let mut resumed = None;
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
            let seal = match segment.seal.or(from_successor) {
                Some(seal) => seal,
                None => {
                    let settled = self.settle_open(class, segment)?;
                    last_lsn = last_lsn.max(settled.last_lsn);
                    let seal = Seal {
                        incarnation: header.incarnation,
                        end: settled.end,
                        last_lsn: settled.last_lsn,
                    };
                    if at + 1 == chain.len() && self.has_room(class, &settled) {
                        let open = Seal { last_lsn: u64::MAX, ..seal };
                        self.enter(class, &header, &open, seal.last_lsn);
                        resumed = Some(Resumed {
                            segment: header.segment,
                            incarnation: header.incarnation,
                            file: segment.file.clone(),
                            offset: settled.end,
                            told_lsn: settled.told_lsn,
                        });
                        continue;
                    }
                    seal
                }
            };
            if segment.seal.is_none() {
                write_seal(&*segment.file, header.segment, &seal)?;
            }
            self.enter(class, &header, &seal, seal.last_lsn);
            previous = Previous::new(header.segment, &seal);
            last_lsn = last_lsn.max(seal.last_lsn);
        }
        last_lsn = last_lsn.max(chain.last().map_or(0, |s| s.header.previous_last_lsn));
        self.last_lsn = self.last_lsn.max(last_lsn);
        Ok(Writer::new(class, previous, resumed, last_lsn))
    }

    /// Whether a segment can be written on. Behind damage nothing is written: how far it reaches is not
    /// certain.
    fn has_room(&self, class: Class, settled: &Settled) -> bool {
        let least = mark_len(class) + BATCH_HEADER_LEN as u32;
        !settled.is_damaged && settled.end.saturating_add(least) < self.config.segment_len
    }

    /// Enters a segment into the table; it is open if the last lsn is `u64::MAX`.
    fn enter(&mut self, class: Class, header: &SegmentHeader, seal: &Seal, found_lsn: u64) {
        let entry = self.table.entries.get_mut(&header.segment).expect("the segment was listed");
        entry.info = Some(SegmentInfo {
            segment: header.segment,
            incarnation: header.incarnation,
            class,
            after_lsn: header.previous_last_lsn,
            last_lsn: seal.last_lsn,
            end: seal.end,
            sealed: seal.last_lsn < u64::MAX,
            found_lsn,
        });
    }

    /// Finds the end of the segment that was being written when the process stopped, and makes
    /// everything before it durable.
    fn settle_open(&mut self, class: Class, segment: &Found) -> Result<Settled, LogError> {
        let header = segment.header;
        let tail = self.find_tail(class, segment)?;
        let told_lsn = tail.durable_lsn;
        let mut settled = Settled {
            end: tail.durable_end,
            last_lsn: told_lsn,
            told_lsn,
            is_damaged: tail.is_damaged,
        };
        let is_bad = |bug| self.config.bug == Some(bug);
        let file = &*segment.file;
        file.drop_cache()?;
        if !is_bad(SeededBug::LeaveOpenHeader) {
            write_header(file, &header)?;
        }
        let mut window = Window::new(file, u64::from(self.config.segment_len), class);
        for batch in &tail.batches {
            let at = u64::from(batch.offset);
            let is_same = window.batch(header.incarnation, at)? == Some(*batch);
            // The device holds something else than memory did: the tail ends here.
            if !is_same || read_records(&mut window, header.segment, batch, &|_| true)?.is_none() {
                break;
            }
            let len = (batch.end() - at) as usize;
            let bytes = window.get(at, len)?.expect("a batch ends inside its segment");
            if !is_bad(SeededBug::ServeUnsealedTail) {
                write_bytes(class, file, batch.offset, &mut [IoSlice::new(bytes)])
                    .map_err(failed("a write", header.segment))?;
            }
            settled.end = batch.end() as u32;
            settled.last_lsn = settled.last_lsn.max(batch.last_lsn);
        }
        if !is_bad(SeededBug::ServeUnsealedTail) {
            file.sync_data().map_err(failed("a flush", header.segment))?;
        }
        Ok(settled)
    }

    /// The next batch of at least a term. Notes the terms of the others.
    fn next_batch(
        &mut self,
        window: &mut Window<'_>,
        incarnation: u32,
        mut at: u64,
        least_term: u32,
    ) -> Result<Option<BatchHeader>, LogError> {
        while let Some(batch) = window.find_batch(incarnation, at)? {
            self.newest_term = self.newest_term.max(batch.term);
            if batch.term >= least_term {
                return Ok(Some(batch));
            }
            at = u64::from(batch.offset) + 8;
        }
        Ok(None)
    }

    /// Walks the batches of an open segment and finds what is durable, damaged and torn.
    fn find_tail(&mut self, class: Class, segment: &Found) -> Result<Tail, LogError> {
        let SegmentHeader { segment: id, incarnation, previous_last_lsn, .. } = segment.header;
        let len = u64::from(self.config.segment_len);
        let mut window = Window::new(&*segment.file, len, class);
        let mut batches: Vec<BatchHeader> = Vec::new();
        let mut gaps = Vec::new();
        let (mut at, mut term) = (u64::from(SEGMENT_HEADER_LEN), 0);
        loop {
            let batch = window.batch(incarnation, at)?;
            if let Some(batch) = batch.filter(|batch| batch.term >= term) {
                at = batch.end();
                if self.config.bug != Some(SeededBug::TakeOlderTerms) {
                    term = batch.term;
                }
                self.newest_term = self.newest_term.max(batch.term);
                batches.push(batch);
                continue;
            }
            let Some(next) = self.next_batch(&mut window, incarnation, at, term)? else { break };
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
        let last = batches[..durable_count].iter().rposition(|batch| batch.record_count > 0);
        let mut durable_end = last.map_or(SEGMENT_HEADER_LEN, |last| batches[last].end() as u32);
        let mut tail_end = batches.len();
        let mut is_damaged = false;
        for (from, count, to) in gaps {
            let after_lsn = match count.checked_sub(1) {
                Some(last) => batches[last].last_lsn,
                None => previous_last_lsn,
            };
            // A batch up to the durable lsn has been whole once: without it this is damage. Behind
            // the durable lsn it is where the tail was torn.
            if after_lsn < durable_lsn {
                self.damage.push(Damage { segment: id, from: from as u32, to, after_lsn });
                is_damaged = true;
                durable_end = durable_end.max(to.min(end_before(&batches, durable_count, to)));
            } else {
                tail_end = tail_end.min(count);
            }
        }
        let tail = last.map_or(0, |last| last + 1)..tail_end;
        let mut accepted = Vec::new();
        let mut lsn = durable_lsn;
        for batch in batches.get(tail).unwrap_or_default() {
            if batch.offset < durable_end {
                continue;
            }
            let follows = batch.first_lsn > lsn || batch.record_count == 0;
            let whole = read_records(&mut window, id, batch, &|_| true)?.is_some();
            if !follows || !whole {
                break;
            }
            lsn = lsn.max(batch.last_lsn);
            accepted.push(*batch);
        }
        Ok(Tail { durable_lsn, durable_end, batches: accepted, is_damaged })
    }
}

/// The beginning of the first batch that is not durable, or `otherwise` if there is none.
fn end_before(batches: &[BatchHeader], durable_count: usize, otherwise: u32) -> u32 {
    batches.get(durable_count).map_or(otherwise, |batch| batch.offset)
}
