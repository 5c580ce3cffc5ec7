//! Byte layout of segments, batches and records. The tables are in `docs/formats/log.md`.

use drystone_base::{DecodeError, Reader, Writer, crc32c, crc32c_seeded};

/// Bytes before the first batch of a segment.
pub(crate) const SEGMENT_HEADER_LEN: u32 = 4096;
pub(crate) const SEAL_OFFSET: u64 = 512;
pub(crate) const SEAL_LEN: usize = 28;
pub(crate) const BATCH_HEADER_LEN: usize = 64;
pub(crate) const RECORD_HEADER_LEN: usize = 40;
/// Payload bytes under one checksum.
pub(crate) const FRAME_LEN: usize = 64 << 10;
/// Bytes of meta of a shard record.
pub const SHARD_META_LEN_BYTES: usize = 40;

const SEGMENT_MAGIC: &[u8; 8] = b"DRYSEG01";
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"BTCH");
const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"RECD");
const SEAL_MAGIC: u32 = u32::from_le_bytes(*b"SEAL");
pub(crate) const FORMAT: u8 = 1;

/// Classes of segments, each with a writer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Catalog frames, small payloads, tombstones.
    Small,
    /// Cells of large parts, export runs.
    Bulk,
    /// Output of compaction.
    Moved,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 3] = [Class::Small, Class::Bulk, Class::Moved];

    pub(crate) fn index(self) -> usize {
        self as usize
    }
    /// Batches begin at multiples of this many bytes. Those of large records are written around the
    /// page cache, which wants whole pages.
    pub(crate) fn alignment(self) -> u32 {
        match self {
            Self::Small => 8,
            Self::Bulk | Self::Moved => 4096,
        }
    }
    pub(crate) fn to_byte(self) -> u8 {
        self as u8 + 1
    }
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.to_byte() == byte)
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Bytes of an object.
    Shard,
    /// Row changes of the catalog.
    Frame,
    /// Blob ids whose shards may be reclaimed.
    Tombstones,
    /// Rows of an export.
    ExportRun,
    /// The end of an export, which makes it count.
    ExportRoot,
    /// "No upload that is in progress began before lsn l."
    Floor,
    /// Blob ids whose shards on this drive may be reclaimed that were born before this record was.
    Discards,
}

impl RecordKind {
    const ALL: [RecordKind; 7] = [
        RecordKind::Shard,
        RecordKind::Frame,
        RecordKind::Tombstones,
        RecordKind::ExportRun,
        RecordKind::ExportRoot,
        RecordKind::Floor,
        RecordKind::Discards,
    ];
    fn to_byte(self) -> u8 {
        self as u8 + 1
    }
    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_byte() == byte)
    }
}

/// Where a record is. The record proves by itself that it is the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// Segment id, from 1.
    pub segment: u32,
    /// Incarnation of the segment when the record was written.
    pub incarnation: u32,
    /// Offset of the record header in the segment, in bytes.
    pub offset: u32,
    /// Bytes of payload.
    pub payload_len: u32,
}

impl Location {
    /// Length of [`Location::to_bytes`].
    pub const LEN_BYTES: usize = 16;

    /// Stored form.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let fields = [self.segment, self.incarnation, self.offset, self.payload_len];
        for (chunk, field) in bytes.chunks_exact_mut(4).zip(fields) {
            chunk.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Reads the stored form.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes, "location");
        let location = Self {
            segment: reader.u32().ok()?,
            incarnation: reader.u32().ok()?,
            offset: reader.u32().ok()?,
            payload_len: reader.u32().ok()?,
        };
        reader.is_empty().then_some(location)
    }
}

/// Number that binds a checksum to a place.
pub(crate) fn seed(incarnation: u32, offset: u32) -> u64 {
    u64::from(incarnation) << 32 | u64::from(offset)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// `None` in the pool of free segments.
    pub(crate) class: Option<Class>,
    pub(crate) drive: [u8; 16],
    pub(crate) segment: u32,
    pub(crate) incarnation: u32,
    pub(crate) term: u32,
    pub(crate) previous_segment: u32,
    pub(crate) previous_incarnation: u32,
    pub(crate) previous_end: u32,
    pub(crate) previous_last_lsn: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.raw(SEGMENT_MAGIC).u8(FORMAT).u8(self.class.map_or(0, Class::to_byte)).raw(&[0; 6]);
        w.raw(&self.drive).u32(self.segment).u32(self.incarnation).u32(self.term);
        w.u32(self.previous_segment).u32(self.previous_incarnation).u32(self.previous_end);
        w.u64(self.previous_last_lsn);
        let crc = crc32c_seeded(w.as_slice(), u64::from(self.segment));
        w.u32(crc);
        w.finish()
    }

    /// `Ok(None)` if this is no header, `Err(format)` if it is one of another format.
    pub(crate) fn decode(bytes: &[u8], segment: u32) -> Result<Option<Self>, u8> {
        let Some((body, crc)) = bytes.split_at_checked(64) else { return Ok(None) };
        if !body.starts_with(SEGMENT_MAGIC) {
            return Ok(None);
        }
        let stored = crc.get(..4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        if stored != Some(crc32c_seeded(body, u64::from(segment))) {
            return Ok(None);
        }
        if body[8] != FORMAT {
            return Err(body[8]);
        }
        Ok(Self::fields(body).ok().filter(|header| header.segment == segment))
    }

    fn fields(body: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body, "segment header");
        r.take(9)?;
        let class = match r.u8()? {
            0 => None,
            byte => Some(Class::from_byte(byte).ok_or(r.malformed())?),
        };
        r.take(6)?;
        let drive = r.take(16)?.try_into().map_err(|_| r.malformed())?;
        Ok(Self {
            class,
            drive,
            segment: r.u32()?,
            incarnation: r.u32()?,
            term: r.u32()?,
            previous_segment: r.u32()?,
            previous_incarnation: r.u32()?,
            previous_end: r.u32()?,
            previous_last_lsn: r.u64()?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) incarnation: u32,
    pub(crate) end: u32,
    pub(crate) last_lsn: u64,
}

impl Seal {
    pub(crate) fn encode(&self, segment: u32) -> Vec<u8> {
        let mut w = Writer::new();
        w.u32(SEAL_MAGIC).u32(self.incarnation).u32(self.end).u32(0).u64(self.last_lsn);
        let crc = crc32c_seeded(w.as_slice(), u64::from(segment));
        w.u32(crc);
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8], segment: u32) -> Option<Self> {
        let (body, crc) = bytes.split_at_checked(24)?;
        let stored = u32::from_le_bytes(crc.get(..4)?.try_into().ok()?);
        let mut r = Reader::new(body, "seal");
        if r.u32().ok()? != SEAL_MAGIC || stored != crc32c_seeded(body, u64::from(segment)) {
            return None;
        }
        let (incarnation, end) = (r.u32().ok()?, r.u32().ok()?);
        r.u32().ok()?;
        Some(Self { incarnation, end, last_lsn: r.u64().ok()? })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) class: Class,
    pub(crate) incarnation: u32,
    pub(crate) offset: u32,
    pub(crate) first_lsn: u64,
    pub(crate) last_lsn: u64,
    pub(crate) durable_lsn: u64,
    pub(crate) body_len: u32,
    pub(crate) record_count: u32,
    pub(crate) term: u32,
    pub(crate) hash: u32,
}

impl BatchHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u32(BATCH_MAGIC).u8(FORMAT).u8(self.class.to_byte()).u16(0);
        w.u32(self.incarnation).u32(self.offset);
        w.u64(self.first_lsn).u64(self.last_lsn).u64(self.durable_lsn);
        w.u32(self.body_len).u32(self.record_count).u32(self.term).u32(self.hash).u32(0);
        let crc = crc32c_seeded(w.as_slice(), seed(self.incarnation, self.offset));
        w.u32(crc);
        w.finish()
    }

    /// Reads a header that must stand at this place of this segment.
    pub(crate) fn decode(bytes: &[u8], incarnation: u32, offset: u32) -> Option<Self> {
        let (body, crc) = bytes.get(..BATCH_HEADER_LEN)?.split_at_checked(60)?;
        let mut r = Reader::new(body, "batch header");
        if r.u32().ok()? != BATCH_MAGIC || r.u8().ok()? != FORMAT {
            return None;
        }
        let class = Class::from_byte(r.u8().ok()?)?;
        r.u16().ok()?;
        let header = Self {
            class,
            incarnation: r.u32().ok()?,
            offset: r.u32().ok()?,
            first_lsn: r.u64().ok()?,
            last_lsn: r.u64().ok()?,
            durable_lsn: r.u64().ok()?,
            body_len: r.u32().ok()?,
            record_count: r.u32().ok()?,
            term: r.u32().ok()?,
            hash: r.u32().ok()?,
        };
        let stored = u32::from_le_bytes(crc.try_into().ok()?);
        let place = header.incarnation == incarnation && header.offset == offset;
        (place && stored == crc32c_seeded(body, seed(incarnation, offset))).then_some(header)
    }

    /// Offset behind the batch, where the next one begins.
    pub(crate) fn end(&self) -> u64 {
        self.records_end().next_multiple_of(u64::from(self.class.alignment()))
    }

    /// Offset behind the last record.
    pub(crate) fn records_end(&self) -> u64 {
        u64::from(self.offset) + BATCH_HEADER_LEN as u64 + u64::from(self.body_len)
    }
}

/// Header of a record, with the lengths that place everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: RecordKind,
    pub(crate) meta_len: u16,
    pub(crate) incarnation: u32,
    pub(crate) offset: u32,
    pub(crate) lsn: u64,
    pub(crate) birth_lsn: u64,
    pub(crate) payload_len: u32,
}

impl RecordHeader {
    /// The header, meta and frame checksums as stored; the CRC among them is returned too.
    pub(crate) fn encode(&self, meta: &[u8], payload: &[u8], out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        let mut w = Writer::new();
        w.u32(RECORD_MAGIC).u8(FORMAT).u8(self.kind.to_byte()).u16(self.meta_len);
        w.u32(self.incarnation).u32(self.offset).u64(self.lsn).u64(self.birth_lsn);
        w.u32(self.payload_len).u32(0);
        out.extend_from_slice(w.as_slice());
        out.extend_from_slice(meta);
        let mut at = self.offset + self.head_len();
        for frame in payload.chunks(FRAME_LEN) {
            let crc = crc32c_seeded(frame, seed(self.incarnation, at));
            out.extend_from_slice(&crc.to_le_bytes());
            at += frame.len() as u32;
        }
        let crc = Self::crc(&out[start..], self.incarnation, self.offset);
        out[start + 36..start + 40].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// CRC over everything before the payload, with the CRC field itself as zero.
    fn crc(head: &[u8], incarnation: u32, offset: u32) -> u32 {
        let rest = crc32c(&head[RECORD_HEADER_LEN..]);
        crc32c_seeded(&head[..36], seed(incarnation, offset)) ^ rest.rotate_left(1)
    }

    /// Bytes before the payload.
    pub(crate) fn head_len(&self) -> u32 {
        head_len(usize::from(self.meta_len), self.payload_len as usize) as u32
    }

    /// Bytes of the whole record, padding included.
    pub(crate) fn full_len(&self) -> u64 {
        (u64::from(self.head_len()) + u64::from(self.payload_len)).next_multiple_of(8)
    }

    /// Reads the fixed part only; nothing is verified but magic and place.
    pub(crate) fn peek(bytes: &[u8], incarnation: u32, offset: u32) -> Option<Self> {
        let mut r = Reader::new(bytes, "record header");
        if r.u32().ok()? != RECORD_MAGIC || r.u8().ok()? != FORMAT {
            return None;
        }
        let header = Self {
            kind: RecordKind::from_byte(r.u8().ok()?)?,
            meta_len: r.u16().ok()?,
            incarnation: r.u32().ok()?,
            offset: r.u32().ok()?,
            lsn: r.u64().ok()?,
            birth_lsn: r.u64().ok()?,
            payload_len: r.u32().ok()?,
        };
        (header.incarnation == incarnation && header.offset == offset).then_some(header)
    }

    /// Reads and verifies everything before the payload; returns the header and its CRC.
    pub(crate) fn decode(bytes: &[u8], incarnation: u32, offset: u32) -> Option<(Self, u32)> {
        let header = Self::peek(bytes, incarnation, offset)?;
        let head = bytes.get(..header.head_len() as usize)?;
        let stored = u32::from_le_bytes(head.get(36..40)?.try_into().ok()?);
        (stored == Self::crc(head, incarnation, offset)).then_some((header, stored))
    }

    /// Whether a frame of the payload verifies. `head` is what [`RecordHeader::decode`] accepted.
    pub(crate) fn verify_frame(&self, head: &[u8], frame_index: usize, frame: &[u8]) -> bool {
        let at = RECORD_HEADER_LEN + usize::from(self.meta_len) + 4 * frame_index;
        let stored = head.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let offset = self.offset + self.head_len() + (frame_index * FRAME_LEN) as u32;
        stored == Some(crc32c_seeded(frame, seed(self.incarnation, offset)))
    }
}

/// Bytes before the payload of a record with this much meta and payload.
pub(crate) fn head_len(meta_len: usize, payload_len: usize) -> usize {
    RECORD_HEADER_LEN + meta_len + 4 * payload_len.div_ceil(FRAME_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Shard,
            meta_len: 2,
            incarnation: 7,
            offset: 4160,
            lsn: 9,
            birth_lsn: 9,
            payload_len: 70_000,
        }
    }

    #[test]
    fn a_record_verifies_only_at_its_place() {
        let payload = vec![3; 70_000];
        let mut bytes = Vec::new();
        let crc = header().encode(b"ab", &payload, &mut bytes);
        assert_eq!(RecordHeader::decode(&bytes, 7, 4160), Some((header(), crc)));
        assert_eq!(RecordHeader::decode(&bytes, 8, 4160), None);
        assert_eq!(RecordHeader::decode(&bytes, 7, 4168), None);
        assert!(header().verify_frame(&bytes, 0, &payload[..FRAME_LEN]));
        assert!(header().verify_frame(&bytes, 1, &payload[FRAME_LEN..]));
        assert!(!header().verify_frame(&bytes, 0, &payload[..FRAME_LEN - 1]));
    }

    #[test]
    fn every_flipped_bit_of_a_head_is_found() {
        let mut bytes = Vec::new();
        header().encode(b"ab", &[1; 70_000], &mut bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bytes, 7, 4160), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_newer_segment_format_is_told_apart_from_garbage() {
        let header = SegmentHeader {
            class: Some(Class::Bulk),
            drive: [1; 16],
            segment: 3,
            incarnation: 4,
            term: 5,
            previous_segment: 0,
            previous_incarnation: 0,
            previous_end: 0,
            previous_last_lsn: 6,
        };
        let mut bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes, 3), Ok(Some(header)));
        assert_eq!(SegmentHeader::decode(&bytes, 4), Ok(None));
        bytes[8] = 2;
        let crc = crc32c_seeded(&bytes[..64], 3);
        bytes[64..68].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes, 3), Err(2));
    }
}
