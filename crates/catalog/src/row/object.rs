//! Versions of objects, and delete markers.

use super::{Checksum, Encryption, FORMAT, ObjectLock, Restore};
use drystone_base::{
    BlobId, DecodeError, Reader, Seq, TlvReader, TlvWriter, VersionId, Writer, hex, sealed_len,
};
use drystone_log::Location;

/// What `ETag` says, without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag {
    /// MD5 of the content, or of the MD5s of the parts.
    pub md5: [u8; 16],
    /// Number of parts, for a multipart object.
    pub part_count: Option<u16>,
}

impl ETag {
    /// The text, without quotes.
    #[must_use]
    pub fn to_text(self) -> String {
        match self.part_count {
            Some(count) => format!("{}-{count}", hex(&self.md5)),
            None => hex(&self.md5),
        }
    }
}

/// Where the bytes of a version, or of a part, are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// There are none.
    Empty,
    /// In the `inline` row of this id.
    Inline(BlobId),
    /// On drives.
    Blob {
        /// Which blob.
        blob: BlobId,
        /// Bytes of each cell; only the last one is shorter.
        cell_len: u32,
        /// Data shards and parity shards of a stripe.
        code: (u8, u8),
        /// Where the first cell was when this was written; zeros if that is not known.
        hint: Option<Location>,
    },
    /// In the parts that the `manifest` row of this id names.
    Manifest(BlobId),
    /// A piece of what others hold too: of a part only.
    Slice {
        /// What it is a piece of: a blob, or the parts of a manifest.
        base: Box<Data>,
        /// Bytes of that.
        base_size: u64,
        /// Where the piece begins in it.
        offset: u64,
    },
}

impl Data {
    /// The id by which owners of the same bytes know them, if they may have several.
    #[must_use]
    pub fn shared_id(&self) -> Option<BlobId> {
        match self {
            Self::Empty | Self::Inline(_) => None,
            Self::Blob { blob, .. } => Some(*blob),
            Self::Manifest(id) => Some(*id),
            Self::Slice { base, .. } => base.shared_id(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        match self {
            Self::Empty => w.u8(0),
            Self::Inline(id) => w.u8(1).raw(&id.0),
            Self::Blob { blob, cell_len, code, hint } => {
                let hint = hint.map_or([0; Location::LEN_BYTES], Location::to_bytes);
                w.u8(2).raw(&blob.0).u32(*cell_len).u8(code.0).u8(code.1).raw(&hint)
            }
            Self::Manifest(id) => w.u8(3).raw(&id.0),
            Self::Slice { base, base_size, offset } => {
                w.u8(4).u64(*base_size).u64(*offset).raw(&base.encode())
            }
        };
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "place of data");
        let malformed = r.malformed();
        let kind = r.u8()?;
        let mut id = || BlobId::from_slice(r.take(16)?).ok_or(malformed.clone());
        match kind {
            0 => Ok(Self::Empty),
            1 => Ok(Self::Inline(id()?)),
            2 => {
                let blob = id()?;
                let (cell_len, code) = (r.u32()?, (r.u8()?, r.u8()?));
                let hint = Location::from_bytes(r.take(Location::LEN_BYTES)?);
                let hint = hint.filter(|location| location.segment > 0);
                Ok(Self::Blob { blob, cell_len, code, hint })
            }
            3 => Ok(Self::Manifest(id()?)),
            4 => {
                let (base_size, offset) = (r.u64()?, r.u64()?);
                let base = Self::decode(r.rest())?;
                let is_whole = matches!(base, Self::Blob { .. } | Self::Manifest(_));
                is_whole
                    .then(|| Self::Slice { base: Box::new(base), base_size, offset })
                    .ok_or(malformed)
            }
            _ => Err(malformed),
        }
    }
}

/// Headers that are stored with an object and given back: lower-case name and value.
pub type Headers = Vec<(String, String)>;

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    /// Its place in the order of commits.
    pub seq: Seq,
    /// Random half of its version id.
    pub random: u64,
    /// It is the null version of the key.
    pub is_null: bool,
    /// It is a delete marker.
    pub is_marker: bool,
    /// Last-Modified, in milliseconds since 1970.
    pub modified_ms: u64,
    /// Bytes of the object.
    pub size: u64,
    /// Entity tag; zero for a marker.
    pub etag: ETag,
    /// Checksum that clients see.
    pub checksum: Option<Checksum>,
    /// `content-type`, `cache-control` and the like.
    pub headers: Headers,
    /// User metadata: names after `x-amz-meta-`.
    pub metadata: Headers,
    /// Tags.
    pub tags: Vec<(String, String)>,
    /// Storage class; `None` for STANDARD.
    pub storage_class: Option<String>,
    /// Access control list in its stored form; `None` if only the owner is named.
    pub acl: Option<String>,
    /// Id of the account that owns it; empty for that of the bucket.
    pub owner: String,
    /// What keeps it from being removed.
    pub lock: ObjectLock,
    /// Its temporary copy, if it is archived and was asked for.
    pub restore: Option<Restore>,
    /// How its bytes are sealed; `None` if they are not.
    pub encryption: Option<Encryption>,
    /// Headers and user metadata of an encrypted version, sealed: the fields for them are empty then.
    pub hidden: Option<Vec<u8>>,
    /// In a `head` row: which `version` row is the null version of the key, if one is.
    pub null_seq: Option<Seq>,
    /// Bytes.
    pub data: Data,
    /// Its bytes have, or had, other owners too: `blob_ref` rows name them.
    pub is_shared: bool,
    /// How often it was appended to.
    pub append_count: u16,
    /// Fields that this version does not know, kept to be written back.
    pub unknown: Vec<(u8, Vec<u8>)>,
}

impl ObjectRow {
    /// A row with nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            seq: Seq(0),
            random: 0,
            is_null: false,
            is_marker: false,
            modified_ms: 0,
            size: 0,
            etag: ETag { md5: [0; 16], part_count: None },
            checksum: None,
            headers: Vec::new(),
            metadata: Vec::new(),
            tags: Vec::new(),
            storage_class: None,
            acl: None,
            owner: String::new(),
            lock: ObjectLock::default(),
            restore: None,
            encryption: None,
            hidden: None,
            null_seq: None,
            data: Data::Empty,
            is_shared: false,
            append_count: 0,
            unknown: Vec::new(),
        }
    }

    /// The list of parts that clients see, if it has one: a copy may have the bytes of several parts
    /// and be of one, and what was appended to is one.
    #[must_use]
    pub fn visible_parts(&self) -> Option<BlobId> {
        match self.data {
            Data::Manifest(id) if self.etag.part_count.is_some() && self.append_count == 0 => {
                Some(id)
            }
            _ => None,
        }
    }

    /// Bytes that are stored, where they are not in parts.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        if self.encryption.is_some() { sealed_len(self.size) } else { self.size }
    }

    /// The version id that clients see.
    #[must_use]
    pub fn version_text(&self) -> String {
        if self.is_null {
            return "null".to_owned();
        }
        VersionId { seq: self.seq, random: self.random }.to_text()
    }

    /// Whether `version` names this row.
    #[must_use]
    pub fn is_version(&self, version: VersionId) -> bool {
        !self.is_null && self.seq == version.seq && self.random == version.random
    }

    /// Stored form. The place of the data comes last, so that a location can be filled in.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = TlvWriter::new(FORMAT);
        w.int(1, self.seq.0).bytes(2, &self.random.to_le_bytes());
        let flags = [self.is_null, self.is_marker, self.is_shared];
        let flags = flags.iter().rev().fold(0, |bits, flag| bits << 1 | u64::from(*flag));
        w.int_unless_zero(3, flags);
        w.int(4, self.modified_ms).int_unless_zero(5, self.size);
        if !self.is_marker {
            w.bytes(6, &self.etag.md5);
        }
        w.int_unless_zero(7, self.etag.part_count.map_or(0, u64::from));
        if let Some(checksum) = &self.checksum {
            w.bytes(8, &checksum.encode());
        }
        for (names, values, pairs) in
            [(9, 10, &self.headers), (11, 12, &self.metadata), (13, 14, &self.tags)]
        {
            for (name, value) in pairs {
                w.bytes(names, name.as_bytes()).bytes(values, value.as_bytes());
            }
        }
        w.text_if(15, self.storage_class.as_deref()).text_if(18, self.acl.as_deref());
        w.text_if(19, Some(self.owner.as_str()).filter(|owner| !owner.is_empty()));
        if !self.lock.is_empty() {
            w.bytes(20, &self.lock.encode());
        }
        if let Some(restore) = &self.restore {
            w.bytes(21, &restore.encode());
        }
        if let Some(encryption) = &self.encryption {
            w.bytes(22, &encryption.encode());
        }
        if let Some(hidden) = &self.hidden {
            w.bytes(23, hidden);
        }
        w.int_unless_zero(24, self.append_count.into());
        w.int_unless_zero(17, self.null_seq.map_or(0, |seq| seq.0));
        for (tag, value) in &self.unknown {
            w.bytes(*tag, value);
        }
        w.bytes(16, &self.data.encode());
        w.finish()
    }

    /// Offset of the location in the stored form of a row whose data is a blob.
    #[must_use]
    pub fn hint_offset(encoded: &[u8]) -> u32 {
        (encoded.len() - Location::LEN_BYTES) as u32
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_fields(bytes, true)
    }

    /// As [`ObjectRow::decode`], without headers, metadata, tags and unknown fields: for listings,
    /// which decode thousands of rows and show none of these. Such a row must not be stored.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn decode_for_listing(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_fields(bytes, false)
    }

    fn decode_fields(bytes: &[u8], all: bool) -> Result<Self, DecodeError> {
        let mut r = TlvReader::new(bytes, FORMAT, "object row")?;
        let mut row = Self::empty();
        while let Some((tag, value)) = r.field()? {
            match tag {
                9..=14 | 18 | 22 | 23 if !all => {}
                1 => row.seq = Seq(r.int(value)?),
                2 => row.random = r.int(value)?,
                3 => {
                    let flags = r.int(value)?;
                    (row.is_null, row.is_marker) = (flags & 1 == 1, flags & 2 == 2);
                    row.is_shared = flags & 4 == 4;
                }
                4 => row.modified_ms = r.int(value)?,
                5 => row.size = r.int(value)?,
                6 => row.etag.md5 = value.try_into().map_err(|_| r.malformed())?,
                7 => row.etag.part_count = u16::try_from(r.int(value)?).ok(),
                8 => row.checksum = Some(Checksum::decode(value)?),
                9 => row.headers.push((r.text(value)?, String::new())),
                11 => row.metadata.push((r.text(value)?, String::new())),
                13 => row.tags.push((r.text(value)?, String::new())),
                10 | 12 | 14 => {
                    let pairs = match tag {
                        10 => &mut row.headers,
                        12 => &mut row.metadata,
                        _ => &mut row.tags,
                    };
                    pairs.last_mut().ok_or(r.malformed())?.1 = r.text(value)?;
                }
                15 => row.storage_class = Some(r.text(value)?),
                16 => row.data = Data::decode(value)?,
                18 => row.acl = Some(r.text(value)?),
                19 => row.owner = r.text(value)?,
                20 => row.lock = ObjectLock::decode(value)?,
                21 => row.restore = Some(Restore::decode(value)?),
                22 => row.encryption = Some(Encryption::decode(value)?),
                23 => row.hidden = Some(value.to_vec()),
                24 => row.append_count = u16::try_from(r.int(value)?).map_err(|_| r.malformed())?,
                17 => row.null_seq = Some(Seq(r.int(value)?)),
                _ => row.unknown.push((tag, value.to_vec())),
            }
        }
        if row.seq.0 == 0 { Err(r.malformed()) } else { Ok(row) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChecksumAlgorithm, ChecksumKind};

    fn row() -> ObjectRow {
        let hint = Location { segment: 1, incarnation: 2, offset: 3, payload_len: 4 };
        ObjectRow {
            seq: Seq(9 << 16),
            random: u64::MAX,
            modified_ms: 1234,
            size: 5_000_000_000,
            etag: ETag { md5: [7; 16], part_count: Some(3) },
            checksum: Some(Checksum {
                algorithm: ChecksumAlgorithm::Crc64Nvme,
                kind: ChecksumKind::FullObject,
                value: vec![1; 8],
                is_sealed: false,
            }),
            headers: vec![("content-type".into(), "text/plain".into())],
            metadata: vec![("a".into(), String::new()), ("b".into(), "c".into())],
            tags: vec![("t".into(), "v".into())],
            storage_class: Some("GLACIER".into()),
            acl: Some("R*".into()),
            owner: "111122223333".into(),
            data: Data::Blob {
                blob: BlobId([4; 16]),
                cell_len: 131_072,
                code: (1, 0),
                hint: Some(hint),
            },
            ..ObjectRow::empty()
        }
    }

    #[test]
    fn rows_round_trip_and_keep_unknown_fields() {
        let mut row = row();
        row.unknown.push((200, b"from the future".to_vec()));
        assert_eq!(ObjectRow::decode(&row.encode()), Ok(row));
    }

    #[test]
    fn the_hint_is_where_it_is_said_to_be() {
        let encoded = row().encode();
        let at = ObjectRow::hint_offset(&encoded) as usize;
        let location = Location::from_bytes(&encoded[at..]).expect("16 bytes");
        assert_eq!((location.segment, location.payload_len), (1, 4));
    }

    #[test]
    fn the_golden_row_of_format_1_is_read_as_ever() {
        let golden = "01010300000902080100000000000000040103050200100610000000000000000000000000000000\
                      00100100";
        let bytes = drystone_base::unhex(&golden.replace(' ', "")).expect("hexadecimal");
        let row = ObjectRow::decode(&bytes).expect("format 1");
        assert_eq!((row.seq, row.random, row.modified_ms, row.size), (Seq(9 << 16), 1, 3, 4096));
        assert_eq!(row.encode(), bytes);
    }
}
