//! Manifests: what there is to know of an object, beside its bytes. Should the catalog be lost on all drives
//! that hold it, `drystone rebuild --salvage` makes rows from them.
//!
//! A manifest is one more shard of a blob, copied as often as drives may be lost and once more; it is moved,
//! repaired and declared dead with the blob. It is written when the object is, and not waited for: the
//! catalog is the truth. Of an object of several parts the first blob has it.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout::Layout;
use crate::plan::part_blob;
use crate::stripe::Lacking;
use bytes::Bytes;
use drystone_base::{BlobId, BucketId, DecodeError, Reader, Seq, Writer};
use drystone_catalog::{BucketRow, Data, Manifest, ObjectRow, Versioning};
use drystone_drive::{Coding, Drive, ShardId};

const FORMAT: u8 = 1;

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestRecord {
    pub(crate) bucket: BucketId,
    pub(crate) bucket_name: String,
    pub(crate) versioning: Versioning,
    pub(crate) object: Vec<u8>,
    /// When it was written, in milliseconds since 1970.
    pub(crate) modified_ms: u64,
    /// The object, without its place among versions.
    pub(crate) row: ObjectRow,
    /// The parts, if it has several.
    pub(crate) parts: Option<Manifest>,
}

impl ManifestRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(FORMAT).u64(self.bucket.0).u8(self.versioning as u8).u64(self.modified_ms);
        w.bytes(self.bucket_name.as_bytes()).bytes(&self.object).bytes(&self.row.encode());
        if let Some(parts) = &self.parts {
            w.bytes(&parts.encode());
        }
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "manifest record");
        if r.u8()? != FORMAT {
            return Err(r.malformed());
        }
        let bucket = BucketId(r.u64()?);
        let versioning = match r.u8()? {
            0 => Versioning::Off,
            1 => Versioning::Enabled,
            2 => Versioning::Suspended,
            _ => return Err(r.malformed()),
        };
        let modified_ms = r.u64()?;
        let name = std::str::from_utf8(r.bytes()?).map_err(|_| r.malformed())?;
        let (bucket_name, object) = (name.to_owned(), r.bytes()?.to_vec());
        let row = ObjectRow::decode(r.bytes()?)?;
        let parts = if r.is_empty() { None } else { Some(Manifest::decode(r.bytes()?)?) };
        Ok(Self { bucket, bucket_name, versioning, object, modified_ms, row, parts })
    }

    /// The blob that has it.
    fn blob(&self) -> Option<BlobId> {
        match &self.parts {
            None => part_blob(&self.row.data),
            Some(manifest) => manifest.parts.iter().find_map(|part| part_blob(&part.data)),
        }
    }
}

impl Engine {
    /// Writes the manifest of an object that is about to be committed, if its bytes are beside the
    /// catalog. No one waits for it.
    pub(crate) fn write_manifest(
        &self,
        bucket: &BucketRow,
        object: &[u8],
        row: &ObjectRow,
        parts: Option<&Manifest>,
    ) {
        let record = ManifestRecord {
            bucket: bucket.id,
            bucket_name: bucket.name.clone(),
            versioning: bucket.versioning,
            object: object.to_vec(),
            modified_ms: self.now_ms(),
            // Its place among versions is not known yet; 0 would not be read.
            row: ObjectRow { seq: row.seq.max(Seq(1)), ..row.clone() },
            parts: parts.cloned(),
        };
        let Some(blob) = record.blob() else { return };
        let payload = Bytes::from(record.encode());
        let shape = self.pool().shape();
        for (place, drive) in self.manifest_members(blob).into_iter().enumerate() {
            let Some(drive) = drive else { continue };
            let coding = manifest_coding(place, shape.parity, payload.len());
            let record = ShardId::manifest(blob).record(0, coding, payload.clone());
            drop(drive.append_small(record));
        }
    }

    /// The drives that have the manifest of a blob: as many as may be lost, and one more.
    fn manifest_members(&self, blob: BlobId) -> Vec<Option<Drive>> {
        let mut members = self.pool().members_of(blob);
        members.truncate(usize::from(self.pool().shape().parity) + 1);
        members
    }

    /// Which drives that are to have the manifest of an object are not there: they get it from the repair.
    /// `data`, `len`: of the first part, whose blob has it.
    pub(crate) fn lacks_manifest(&self, data: &Data, len: u64) -> Option<Lacking> {
        let layout = Layout::of_data(data, len)?;
        let members = self.manifest_members(part_blob(data)?).into_iter().enumerate();
        let lacks = members.filter(|(_, drive)| drive.is_none());
        let places = lacks.fold(0, |places, (place, _)| places | 1 << place);
        (places != 0).then_some(Lacking { layout, places })
    }

    /// The layout of a blob's manifest, if it has one: like a part that is copied.
    pub(crate) fn manifest_layout(&self, blob: BlobId) -> Result<Option<Layout>, EngineError> {
        let shard = ShardId::manifest(blob);
        for drive in self.manifest_members(blob).into_iter().flatten() {
            if let Some(coding) = drive.coding(shard)? {
                return Ok(Some(Layout::of_stripe(shard, &coding)));
            }
        }
        Ok(None)
    }

    /// Reads the manifest of a blob from any drive that has it; `None` if none has one that verifies and is
    /// understood.
    pub(crate) fn read_manifest(
        &self,
        blob: BlobId,
    ) -> Result<Option<ManifestRecord>, EngineError> {
        let shard = ShardId::manifest(blob);
        for drive in self.pool().online() {
            let Some(coding) = drive.coding(shard)? else { continue };
            if let Ok(read) = drive.read(shard, None, 0..coding.stripe_len)
                && let Ok(record) = ManifestRecord::decode(&read.bytes)
                && record.blob() == Some(blob)
            {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

fn manifest_coding(place: usize, parity: u8, len: usize) -> Coding {
    let member = u8::try_from(place).expect("at most 32 places");
    Coding { member, parity, ..Coding::plain(len as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let data = Data::Blob { blob: BlobId([7; 16]), cell_len: 9, code: (4, 2), hint: None };
        let record = ManifestRecord {
            bucket: BucketId(5),
            bucket_name: "b".to_owned(),
            versioning: Versioning::Enabled,
            object: b"a/b".to_vec(),
            modified_ms: 17,
            row: ObjectRow { seq: Seq(1), data, size: 99, ..ObjectRow::empty() },
            parts: None,
        };
        let bytes = record.encode();
        assert_eq!(ManifestRecord::decode(&bytes).expect("is read"), record);
        assert_eq!(record.blob(), Some(BlobId([7; 16])));
        for len in 0..bytes.len() {
            assert!(ManifestRecord::decode(&bytes[..len]).is_err(), "{len}");
        }
    }
}
