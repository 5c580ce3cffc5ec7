//! Reading segments from one end to the other.

use crate::error::{Damage, LogError};
use crate::format::{
    BATCH_HEADER_LEN, BatchHeader, Class, FRAME_LEN, Location, RECORD_HEADER_LEN, RecordHeader,
    RecordKind, SEGMENT_HEADER_LEN,
};
use crate::log::Log;
use crate::segment::SegmentInfo;
use bytes::Bytes;
use drystone_base::sync::lock;
use drystone_io::DiskFile;
use std::sync::Arc;

/// Bytes of one read of a scrub.
const SCRUB_READ_LEN: usize = 2 << 20;

/// A record met by a scan.
#[derive(Clone, Debug)]
pub struct ScannedRecord {
    /// What it is.
    pub kind: RecordKind,
    /// Its place in the order of the log.
    pub lsn: u64,
    /// Lsn of its first copy.
    pub birth_lsn: u64,
    /// Where it is.
    pub location: Location,
    /// Its meta.
    pub meta: Bytes,
    /// Its payload, verified; empty for shards and export runs, which are not read.
    pub payload: Bytes,
}

/// What a scan meets.
#[derive(Clone, Debug)]
pub enum Scanned {
    /// A record that verifies.
    Record(ScannedRecord),
    /// Bytes that do not verify. Records may be missing here.
    Damage(Damage),
}

/// A window onto a file, so that small reads are few.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    end: u64,
    fill_len: usize,
    is_direct: bool,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, end: u64, class: Class) -> Self {
        let fill_len = if class == Class::Small { 256 << 10 } else { 8 << 10 };
        Self { file, end, fill_len, is_direct: false, start: 0, bytes: Vec::new() }
    }

    /// A window for reading everything, from the device.
    fn around_memory(file: &'a dyn DiskFile, end: u64) -> Self {
        Self { file, end, fill_len: SCRUB_READ_LEN, is_direct: true, start: 0, bytes: Vec::new() }
    }

    /// `len` bytes from `offset` on, or `None` beyond the end.
    pub(crate) fn get(&mut self, offset: u64, len: usize) -> std::io::Result<Option<&[u8]>> {
        if offset + len as u64 > self.end {
            return Ok(None);
        }
        let inside =
            offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let fill = (self.fill_len.max(len) as u64).min(self.end - offset) as usize;
            self.bytes.resize(fill, 0);
            self.start = offset;
            let read = match self.is_direct {
                true => self.file.read_direct_at(offset, &mut self.bytes),
                false => self.file.read_at(offset, &mut self.bytes),
            };
            if let Err(error) = read {
                self.bytes.clear();
                return Err(error);
            }
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.bytes[from..from + len]))
    }

    pub(crate) fn batch(
        &mut self,
        incarnation: u32,
        offset: u64,
    ) -> std::io::Result<Option<BatchHeader>> {
        let end = self.end;
        let bytes = self.get(offset, BATCH_HEADER_LEN)?;
        let header = bytes.and_then(|b| BatchHeader::decode(b, incarnation, offset as u32));
        Ok(header.filter(|header| header.end() <= end))
    }

    /// The next place from `offset` on where a batch header of this incarnation verifies.
    pub(crate) fn find_batch(
        &mut self,
        incarnation: u32,
        mut offset: u64,
    ) -> std::io::Result<Option<BatchHeader>> {
        while offset + BATCH_HEADER_LEN as u64 <= self.end {
            let len = (1_u64 << 20).min(self.end - offset) as usize;
            let chunk = self.get(offset, len)?.expect("inside the segment").to_vec();
            let words = chunk.chunks_exact(8).enumerate();
            for (index, _) in words.filter(|(_, word)| word.starts_with(b"BTCH")) {
                if let Some(header) = self.batch(incarnation, offset + index as u64 * 8)? {
                    return Ok(Some(header));
                }
            }
            offset += len as u64;
        }
        Ok(None)
    }
}

/// Reads the records of one batch; `payloads` decides for which kinds the payload is read. `None` if
/// anything that was read does not verify.
pub(crate) fn read_records(
    window: &mut Window<'_>,
    segment: u32,
    batch: &BatchHeader,
    payloads: &dyn Fn(RecordKind) -> bool,
) -> std::io::Result<Option<Vec<ScannedRecord>>> {
    let mut records = Vec::with_capacity(batch.record_count as usize);
    let mut hashes = Vec::new();
    let mut at = u64::from(batch.offset) + BATCH_HEADER_LEN as u64;
    for _ in 0..batch.record_count {
        let Some(bytes) = window.get(at, RECORD_HEADER_LEN)? else { return Ok(None) };
        let Some(header) = RecordHeader::peek(bytes, batch.incarnation, at as u32) else {
            return Ok(None);
        };
        if at + header.full_len() > batch.records_end() {
            return Ok(None);
        }
        let with_payload = payloads(header.kind);
        let body_len = if with_payload { header.payload_len as usize } else { 0 };
        let head_len = header.head_len() as usize;
        let Some(bytes) = window.get(at, head_len + body_len)? else { return Ok(None) };
        let (head, body) = bytes.split_at(head_len);
        let Some((header, crc)) = RecordHeader::decode(head, batch.incarnation, at as u32) else {
            return Ok(None);
        };
        let mut frames = body.chunks(FRAME_LEN).enumerate();
        if !frames.all(|(index, frame)| header.verify_frame(head, index, frame)) {
            return Ok(None);
        }
        hashes.extend_from_slice(&crc.to_le_bytes());
        records.push(ScannedRecord {
            kind: header.kind,
            lsn: header.lsn,
            birth_lsn: header.birth_lsn,
            location: Location {
                segment,
                incarnation: batch.incarnation,
                offset: at as u32,
                payload_len: header.payload_len,
            },
            meta: Bytes::copy_from_slice(
                &head[RECORD_HEADER_LEN..RECORD_HEADER_LEN + usize::from(header.meta_len)],
            ),
            payload: Bytes::copy_from_slice(body),
        });
        at += header.full_len();
    }
    let whole = at == batch.records_end() && drystone_base::crc32c(&hashes) == batch.hash;
    Ok(whole.then_some(records))
}

impl Log {
    /// Visits everything in a class with an lsn above `after_lsn`, in the order of lsns. Of a segment
    /// that is not sealed only what was there when the log was opened is visited.
    ///
    /// # Errors
    ///
    /// Input and output errors, or the first error of `visit`.
    pub fn scan<E: From<LogError>>(
        &self,
        class: Class,
        after_lsn: u64,
        mut visit: impl FnMut(Scanned) -> Result<(), E>,
    ) -> Result<(), E> {
        for info in self.segments() {
            if info.class == class && info.has_readable_part() && info.last_lsn > after_lsn {
                self.scan_segment(info.segment, after_lsn, &mut visit)?;
            }
        }
        Ok(())
    }

    /// Visits the records of one segment that have an lsn above `after_lsn`, as [`Log::scan`] does.
    ///
    /// # Errors
    ///
    /// As [`Log::scan`].
    pub fn scan_segment<E: From<LogError>>(
        &self,
        segment: u32,
        after_lsn: u64,
        visit: &mut impl FnMut(Scanned) -> Result<(), E>,
    ) -> Result<(), E> {
        let (file, info) = self.segment_file(segment).map_err(E::from)?;
        let window = Window::new(&*file, u64::from(info.end), info.class);
        let is_control = |kind| !matches!(kind, RecordKind::Shard | RecordKind::ExportRun);
        scan_window(window, &info, after_lsn, &is_control, visit)
    }

    /// Reads everything in a segment from the device, in order, and visits the records, as [`Log::scan`]
    /// does. A stretch that the device cannot read counts as damaged, up to the end of the segment.
    ///
    /// # Errors
    ///
    /// [`LogError::NotThere`] if the segment was freed meanwhile, or the first error of `visit`.
    pub fn scrub_segment<E: From<LogError>>(
        &self,
        segment: u32,
        visit: &mut impl FnMut(Scanned) -> Result<(), E>,
    ) -> Result<(), E> {
        let (file, info) = self.segment_file(segment).map_err(E::from)?;
        if !info.has_readable_part() {
            return Err(E::from(LogError::NotThere));
        }
        let window = Window::around_memory(&*file, u64::from(info.end));
        let mut reached = (SEGMENT_HEADER_LEN, info.after_lsn);
        let mut failed = None;
        let mut note = |scanned: Scanned| {
            if let Scanned::Record(record) = &scanned {
                reached = (record.location.offset, record.lsn);
            }
            visit(scanned).map_err(|error| {
                failed = Some(error);
                LogError::NotThere
            })
        };
        let scanned = scan_window::<LogError>(window, &info, 0, &|_| true, &mut note);
        match (scanned, failed) {
            (_, Some(error)) => Err(error),
            (Ok(()), None) => Ok(()),
            (Err(LogError::Io(_)), None) => {
                let (from, after_lsn) = reached;
                visit(Scanned::Damage(Damage { segment, from, to: info.end, after_lsn }))
            }
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Lets later reads of a segment come from the device and not from memory; a hint.
    pub fn drop_cached(&self, segment: u32) {
        if let Ok((file, _)) = self.segment_file(segment) {
            let _ = file.drop_cache();
        }
    }

    fn segment_file(&self, segment: u32) -> Result<(Arc<dyn DiskFile>, SegmentInfo), LogError> {
        let table = lock(&self.shared.table);
        let entry = table.entries.get(&segment).ok_or(LogError::NotThere)?;
        Ok((entry.file.clone(), entry.info.ok_or(LogError::NotThere)?))
    }
}

/// Visits the records of a sealed segment. `payloads`: of which kinds the payload is read.
fn scan_window<E: From<LogError>>(
    mut window: Window<'_>,
    info: &SegmentInfo,
    after_lsn: u64,
    payloads: &dyn Fn(RecordKind) -> bool,
    visit: &mut impl FnMut(Scanned) -> Result<(), E>,
) -> Result<(), E> {
    let io = |error: std::io::Error| E::from(LogError::from(error));
    let (segment, end) = (info.segment, u64::from(info.end));
    let (mut at, mut lsn) = (u64::from(SEGMENT_HEADER_LEN), info.after_lsn);
    while at < end {
        let batch = window.batch(info.incarnation, at).map_err(io)?;
        let records = match &batch {
            Some(batch) if batch.last_lsn <= after_lsn => Some(Vec::new()),
            Some(batch) => read_records(&mut window, segment, batch, payloads).map_err(io)?,
            None => None,
        };
        if let (Some(batch), Some(records)) = (&batch, records) {
            for record in records {
                visit(Scanned::Record(record))?;
            }
            (at, lsn) = (batch.end(), batch.last_lsn);
            continue;
        }
        let next = window.find_batch(info.incarnation, at + 8).map_err(io)?;
        let to = next.map_or(info.end, |next| next.offset);
        let last = next.map_or(info.last_lsn, |next| next.first_lsn);
        if last > after_lsn {
            let damage = Damage { segment, from: at as u32, to, after_lsn: lsn };
            visit(Scanned::Damage(damage))?;
        }
        at = u64::from(to);
    }
    Ok(())
}
