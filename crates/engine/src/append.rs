//! Appending to objects, and merging the parts that come of it.
//!
//! Each append is a part. Where sixteen of about one size lie at the end, they are merged in the background,
//! so that an object has few parts whatever it is made of, and each byte is copied a few times at most.

use crate::blob::{NewBlob, Stored};
use crate::digest::combine_crc;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::object::{Located, ObjectDraft};
use crate::plan::{self, AppendPlan, Conditions, MergePlan, TakeApartPlan, WriteOutcome};
use crate::seal::{Named, Seal};
use crate::tasks::spawn;
use drystone_base::{DecodeError, Seq};
use drystone_catalog::{
    BucketRow, Checksum, ChecksumAlgorithm, ChecksumKind, Data, ETag, Encryption, Manifest,
    ObjectRow, PartRow,
};
use std::ops::Range;

/// Parts of about one size that are merged.
const RUN_COUNT: usize = 16;
/// Parts of any sizes that are merged.
const RUN_COUNT_MAX: usize = 128;
/// Parts that are not merged any more.
const MERGED_LEN_MAX: u64 = 64 << 20;

/// Bytes that were taken in and are to be put behind an object.
pub struct AppendRequest {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub object: Vec<u8>,
    /// Everything but the bytes, if the object is made now.
    pub draft: ObjectDraft,
    /// The bytes.
    pub stored: Stored,
    /// Where they are to begin.
    pub offset: u64,
    /// The object as it was found before they were taken in.
    pub seen: Option<ObjectRow>,
    /// How it is sealed, if it is.
    pub seal: Option<Seal>,
    /// Conditions on the current version.
    pub conditions: Conditions,
}

/// Which parts at the end of a list are to be merged, by their sizes.
fn run_to_merge(parts: &[u64]) -> Option<Range<usize>> {
    let class = |size: &u64| (*size).max(1).ilog2() / 4;
    let mut highest = class(parts.last()?);
    loop {
        let is_low = |size: &&u64| class(size) <= highest && **size < MERGED_LEN_MAX;
        let count = parts.iter().rev().take_while(is_low).count();
        let run = parts.len() - count..parts.len();
        let of_class = parts[run.clone()].iter().filter(|size| class(size) == highest).count();
        // What comes of sixteen is of the next class: no byte is copied more often than there are classes.
        if of_class >= RUN_COUNT || count >= RUN_COUNT_MAX {
            return Some(run);
        }
        // Smaller ones may lie behind larger ones that are enough with them.
        let before = parts.len().checked_sub(count + 1)?;
        if parts[before] >= MERGED_LEN_MAX {
            return None;
        }
        highest = class(&parts[before]);
    }
}

/// The parts of a stored list that are to be merged; none if it is well as it is.
fn parts_to_merge(list: &[u8]) -> Result<Vec<PartRow>, DecodeError> {
    let sizes = Manifest::walk(list)?.map(|part| Ok(part?.number_and_size()?.1));
    let Some(run) = run_to_merge(&sizes.collect::<Result<Vec<_>, DecodeError>>()?) else {
        return Ok(Vec::new());
    };
    let parts = Manifest::walk(list)?.skip(run.start).take(run.len());
    parts.map(|part| part?.decode()).collect()
}

impl Engine {
    /// Lets objects of a bucket be appended to, or not, if `holds` says on the committer that what this was
    /// decided on is as it was.
    ///
    /// # Errors
    ///
    /// [`EngineError::DecidedOnOther`] if it is not;
    /// [`EngineError::BucketNotFound`], [`EngineError::BucketState`] if it keeps versions, or the catalog
    /// failed.
    pub async fn set_appends(
        &self,
        name: &str,
        takes_appends: bool,
        holds: impl Fn() -> bool + Send + 'static,
    ) -> Result<(), EngineError> {
        let id = self.bucket_id(name)?;
        self.commit_configuration(id, move |tx| match holds() {
            true => plan::set_appends(tx, id, takes_appends),
            false => Err(EngineError::DecidedOnOther),
        })
        .await?;
        self.changed_bucket(name);
        Ok(())
    }

    /// Gives an object that has the bytes of others a copy of its own: then it can be appended to. What else
    /// is said of it stays as it is when the copy is done.
    ///
    /// # Errors
    ///
    /// [`EngineError::Conflict`] if it is not the one that was found any more, so that it is to be looked at
    /// again; else as [`Engine::copy_object`].
    pub async fn take_apart(
        &self,
        source: Located,
        object: &[u8],
        seal: Option<Seal>,
    ) -> Result<(), EngineError> {
        let (row, bucket) = (source.row.clone(), source.bucket.clone());
        let known = row.checksum.as_ref().map(|checksum| checksum.algorithm);
        let new = NewBlob {
            bucket: &bucket,
            object,
            len: None,
            algorithm: known.unwrap_or(ChecksumAlgorithm::Crc64Nvme),
            storage_class: row.storage_class.as_deref(),
            seal: seal.as_ref(),
        };
        let key = seal.as_ref().map(|seal| &seal.key);
        let stored = self.copy_bytes(source, 0..row.size, key, new).await?;
        let digests = self.digests_of_whole((bucket.id, object), &row, &stored);
        let digests = digests.inspect_err(|_| self.give_up(&stored))?;
        let plan = TakeApartPlan {
            seq: row.seq,
            shared: row.data,
            encryption: row.encryption,
            data: stored.data.clone(),
            payload: stored.payload.clone(),
            salt: stored.salt,
            digests,
        };
        let (bucket_id, key) = (bucket.id, object.to_vec());
        let taken = self.commit_body(stored, move |tx| plan::take_apart(tx, bucket_id, &key, plan));
        let row = taken.await?;
        self.write_manifest(&bucket, object, &row, None);
        Ok(())
    }

    /// What is said of the bytes of an object that was one of several parts, now that they are of one.
    fn digests_of_whole(
        &self,
        named: Named<'_>,
        row: &ObjectRow,
        stored: &Stored,
    ) -> Result<Option<(ETag, Option<Checksum>)>, EngineError> {
        if row.etag.part_count.is_none() {
            return Ok(None);
        }
        let mut checksum = Some(stored.checksum.clone());
        if row.encryption.as_ref().is_some_and(Encryption::hides_digests) {
            checksum = self.hide_checksum(named, row.encryption.as_ref(), checksum)?;
        }
        Ok(Some((ETag { md5: stored.etag, part_count: None }, checksum)))
    }

    /// Puts bytes behind an object, or makes it.
    ///
    /// # Errors
    ///
    /// As [`plan::append`].
    pub async fn append(&self, request: AppendRequest) -> Result<WriteOutcome, EngineError> {
        let AppendRequest { bucket, object, draft, stored, offset, seen, seal, conditions } =
            request;
        let (stray, began_in) = (stored.stray_blob(), stored.bucket);
        let named = (began_in, &object[..]);
        let part = self.part_of(&stored).inspect_err(|_| self.bury(stray))?;
        let checksum = self.checksum_of_append(seen.as_ref(), &stored);
        let checksum = match &seen {
            Some(row) if row.encryption.as_ref().is_some_and(|e| e.hides_digests()) => {
                let hidden = self.hide_checksum(named, row.encryption.as_ref(), checksum);
                hidden.inspect_err(|_| self.bury(stray))?
            }
            _ => checksum,
        };
        let mut row = ObjectRow {
            size: stored.size,
            etag: ETag { md5: stored.etag, part_count: None },
            checksum: Some(stored.checksum.clone()),
            data: stored.data.clone(),
            ..draft.into_row()
        };
        if let (Some(encryption), Some(salt)) = (&mut row.encryption, stored.salt) {
            encryption.salt = salt;
        }
        let plan = AppendPlan {
            offset,
            seen: seen.map(|row| row.seq),
            part,
            payload: stored.payload.clone(),
            draft: self.hide(named, row).inspect_err(|_| self.bury(stray))?,
            checksum,
            manifest_id: self.pool().new_blob(self.now_ms(), 0),
            conditions,
        };
        let key = object.clone();
        let outcome =
            self.commit_body(stored, move |tx| plan::append(tx, began_in, &key, plan)).await?;
        let outcome = self.revealed((began_in, &object), Ok(outcome))?;
        self.merge_later(&bucket, object, &outcome.row, seal).await?;
        Ok(outcome)
    }

    /// A body as a part; its number, time and place are set at the commit.
    fn part_of(&self, stored: &Stored) -> Result<PartRow, EngineError> {
        let mut checksum = Some(stored.checksum.clone());
        if stored.etag != stored.md5 {
            checksum = self.hide_part_checksum(stored.salt.as_ref(), checksum)?;
        }
        let (size, md5, data) = (stored.size, stored.etag, stored.data.clone());
        let (number, modified_ms, seq, salt) = (1, 0, Seq(0), stored.salt);
        Ok(PartRow { number, size, md5, modified_ms, checksum, data, seq, salt })
    }

    /// Checksum of an object with bytes behind it, if that can be told.
    fn checksum_of_append(&self, seen: Option<&ObjectRow>, stored: &Stored) -> Option<Checksum> {
        let Some(row) = seen else { return Some(stored.checksum.clone()) };
        let new = &stored.checksum;
        if row.size == 0 {
            return Some(new.clone());
        }
        let old = row.checksum.as_ref()?;
        if old.algorithm != new.algorithm || old.kind != ChecksumKind::FullObject {
            return None;
        }
        let value = combine_crc(new.algorithm, &old.value, &new.value, stored.size)?;
        Some(Checksum { value, ..new.clone() })
    }

    /// Merges parts in the background, if there are enough of one size.
    async fn merge_later(
        &self,
        bucket: &str,
        object: Vec<u8>,
        row: &ObjectRow,
        seal: Option<Seal>,
    ) -> Result<(), EngineError> {
        let Data::Manifest(id) = row.data else { return Ok(()) };
        let parts = self.look_at_parts(id, |list| Ok(parts_to_merge(list)?)).await?;
        if parts.is_empty() {
            return Ok(());
        }
        let (engine, bucket, row) = (self.undecided(), bucket.to_owned(), row.clone());
        spawn(async move {
            let merged = engine.merge(&bucket, &object, &row, parts, seal);
            match merged.await {
                // Someone wrote at the same time: the next append looks again.
                Ok(()) | Err(EngineError::Conflict | EngineError::BucketNotFound) => {}
                Err(error) => tracing::warn!(bucket, %error, "parts could not be merged"),
            }
        });
        Ok(())
    }

    async fn merge(
        &self,
        bucket: &str,
        object: &[u8],
        row: &ObjectRow,
        parts: Vec<PartRow>,
        seal: Option<Seal>,
    ) -> Result<(), EngineError> {
        let Data::Manifest(manifest_id) = row.data else { return Ok(()) };
        let found = self.find_bucket(bucket)?;
        let size = parts.iter().map(|part| part.size).sum();
        let algorithm = row.checksum.as_ref().map(|checksum| checksum.algorithm);
        let new = NewBlob {
            bucket: &found,
            object,
            len: Some(size),
            algorithm: algorithm.unwrap_or(ChecksumAlgorithm::Crc64Nvme),
            storage_class: row.storage_class.as_deref(),
            seal: seal.as_ref(),
        };
        let stored = self.copy_parts(new, &parts, seal.as_ref()).await?;
        let (part, payload) = (self.part_of(&stored)?, stored.payload.clone());
        let merged = parts.iter().map(|part| part.seq).collect();
        let plan = MergePlan { manifest_id, merged, part, payload };
        self.commit_merge(found, object.to_vec(), plan, stored).await
    }

    async fn copy_parts(
        &self,
        new: NewBlob<'_>,
        parts: &[PartRow],
        seal: Option<&Seal>,
    ) -> Result<Stored, EngineError> {
        let (mut writer, lane) = self.begin_copy(new).await?;
        for part in parts {
            let pin = self.shared.pins.pin();
            let key = seal.map(|seal| &seal.key);
            let mut reader = self.open_part(part, key, (pin, lane.clone())).await?;
            while let Some(bytes) = reader.next().await? {
                writer.write(&bytes).await?;
            }
        }
        writer.finish().await
    }

    async fn commit_merge(
        &self,
        bucket: std::sync::Arc<BucketRow>,
        object: Vec<u8>,
        plan: MergePlan,
        stored: Stored,
    ) -> Result<(), EngineError> {
        self.commit_body(stored, move |tx| plan::merge_parts(tx, bucket.id, &object, plan)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: few parts, and each byte copied a few times at most. Method: 3,000 appends of one size, and of
    /// random sizes; merges are done as they are asked for.
    #[test]
    fn merging_keeps_parts_few_and_copies_little() {
        let rng = drystone_base::SeededRng::new(3);
        for is_random in [false, true] {
            let (mut sizes, mut copied, mut total) = (Vec::<u64>::new(), 0, 0);
            for _ in 0..3000 {
                let size =
                    if is_random { 1 + drystone_base::Rng::below(&rng, 50_000) } else { 1000 };
                sizes.push(size);
                total += size;
                if let Some(run) = run_to_merge(&sizes) {
                    assert_eq!(run.end, sizes.len());
                    let merged = sizes[run.clone()].iter().sum();
                    copied += merged;
                    sizes.splice(run, [merged]);
                }
            }
            assert!(sizes.len() < 160, "{} parts", sizes.len());
            assert!(copied < total * 8, "copied {copied} of {total}");
        }
    }

    #[test]
    fn large_parts_are_left_alone() {
        assert_eq!(run_to_merge(&[100 << 20; 40]), None);
        assert_eq!(run_to_merge(&[]), None);
        let sizes = [&[100 << 20][..], &[10; 16]].concat();
        assert_eq!(run_to_merge(&sizes), Some(1..17));
    }
}
