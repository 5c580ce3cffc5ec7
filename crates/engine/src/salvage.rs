//! Making objects of manifests that no row names, after the catalog was lost or damaged.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout::Layout;
use crate::manifest::ManifestRecord;
use crate::plan::{self, Payload};
use drystone_base::BlobId;
use drystone_catalog::{BucketLock, BucketRow, Data, Decision, Key, ObjectRow, Tx, Versioning};
use drystone_index::prefix_range;
use std::collections::BTreeSet;

/// What was made of manifests, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalvagedObjects {
    /// Objects that are there again.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Buckets that were made for them. They have names and nothing else.
    pub buckets: Vec<String>,
    /// Manifests of objects that are older than what the catalog has under their key.
    pub superseded: u64,
    /// Blobs that nothing names and that have no manifest: uploads that were not completed, and what was
    /// being deleted.
    pub unknown_blobs: u64,
    /// Keys of objects of which too few shards are left; the first thousand.
    pub lost: Vec<(String, Vec<u8>)>,
    /// Number of such objects.
    pub lost_count: u64,
}

const LOST_COUNT_MAX: usize = 1000;

/// What became of one manifest.
enum Fate {
    Made { new_bucket: bool },
    Superseded,
}

impl Engine {
    /// Gives every blob that no row names, and that was not declared dead, back to its key, if its manifest
    /// says which. What was deleted or overwritten shortly before the loss may come back. Blocks.
    ///
    /// # Errors
    ///
    /// The catalog or a drive failed.
    pub fn salvage_objects(
        &self,
        tell: &dyn Fn(&SalvagedObjects),
    ) -> Result<SalvagedObjects, EngineError> {
        let mut report = SalvagedObjects::default();
        self.mend_usage()?;
        let (mut blobs, mut manifests) = (BTreeSet::new(), BTreeSet::new());
        for drive in self.pool().online() {
            blobs.append(&mut drive.all_blobs()?);
            manifests.append(&mut drive.manifests()?);
        }
        self.remove_in_rows(&mut blobs)?;
        for drive in self.pool().online() {
            let mut dead = BTreeSet::new();
            for blob in &blobs {
                if drive.is_buried(*blob)? {
                    dead.insert(*blob);
                }
            }
            blobs.retain(|blob| !dead.contains(blob));
        }
        let mut parts_seen: BTreeSet<BlobId> = BTreeSet::new();
        // In the order of their ids, which is that of time.
        for blob in blobs.intersection(&manifests) {
            let Some(record) = self.read_manifest(*blob)? else { continue };
            let parts = record.parts.iter().flat_map(|manifest| &manifest.parts);
            parts_seen.extend(parts.filter_map(|part| plan::part_blob(&part.data)));
            parts_seen.insert(*blob);
            let (name, object) = (record.bucket_name.clone(), record.object.clone());
            if !self.is_readable(&record)? {
                report.lost_count += 1;
                if report.lost.len() < LOST_COUNT_MAX {
                    report.lost.push((name, object));
                }
                continue;
            }
            let size = record.row.size;
            match self.bring_back(record)? {
                Fate::Superseded => report.superseded += 1,
                Fate::Made { new_bucket } => {
                    report.objects += 1;
                    report.bytes += size;
                    report.buckets.extend(new_bucket.then_some(name));
                }
            }
            tell(&report);
        }
        report.unknown_blobs = blobs.difference(&parts_seen).count() as u64;
        Ok(report)
    }

    /// Whether enough shards of every stripe are known to their drives.
    fn is_readable(&self, record: &ManifestRecord) -> Result<bool, EngineError> {
        let layouts: Vec<Layout> = match &record.parts {
            None => {
                Layout::of_data(&record.row.data, record.row.stored_len()).into_iter().collect()
            }
            Some(parts) => {
                // The bytes of a part this small were in the catalog.
                let is_gone = |data: &Data| matches!(data, Data::Inline(_));
                if parts.parts.iter().any(|part| is_gone(&part.data)) {
                    return Ok(false);
                }
                let (mut seen, mut layouts) = (BTreeSet::new(), Vec::new());
                for part in &parts.parts {
                    // What a piece is a piece of may be gone.
                    if let Data::Slice { base, .. } = &part.data
                        && let Data::Manifest(id) = **base
                        && self.manifest_if_there(id)?.is_none()
                    {
                        return Ok(false);
                    }
                    layouts.extend(self.layouts_of_part(part, &mut seen)?);
                }
                layouts
            }
        };
        for layout in layouts {
            let members = self.pool().members_of(layout.blob);
            for stripe in layout.stripes() {
                let mut there = 0;
                for place in 0..layout.shape.shard_count() {
                    let is_there = match members.get(place) {
                        _ if layout.shard_len(stripe, place) == 0 => true,
                        Some(Some(drive)) => drive.has(layout.shard(stripe))?,
                        _ => false,
                    };
                    there += usize::from(is_there);
                }
                if there < usize::from(layout.shape.data) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn bring_back(&self, record: ManifestRecord) -> Result<Fate, EngineError> {
        let ticket = self.shared.catalog.submit(move |tx| {
            tx.use_reserve();
            Ok(match bring_back(tx, record) {
                Ok(fate) => Decision::Commit(Ok(fate)),
                Err(EngineError::Catalog(error)) => return Err(error),
                Err(error) => Decision::Reject(Err(error)),
            })
        });
        ticket.wait()?
    }
}

/// Puts the object of a manifest where it was, unless something newer is there.
fn bring_back(tx: &mut Tx<'_>, record: ManifestRecord) -> Result<Fate, EngineError> {
    let ManifestRecord { bucket, bucket_name, versioning, object, modified_ms, row, parts } =
        record;
    let new_bucket = match plan::bucket_named(tx, &bucket_name) {
        // Another one of the same name: this one was deleted.
        Ok(known) if known.id != bucket => return Ok(Fate::Superseded),
        Ok(_) => false,
        Err(EngineError::BucketNotFound) => {
            let mut known = BucketRow::new(bucket, bucket_name.clone(), tx.now_ms());
            known.versioning = versioning;
            tx.put(Key::bucket_name(&bucket_name), bucket.0.to_le_bytes().to_vec());
            tx.put(Key::bucket(bucket), known.encode());
            true
        }
        Err(error) => return Err(error),
    };
    let mut known = plan::bucket_named(tx, &bucket_name)?;
    // A version that was locked stays so, also where no one knows of the bucket's lock any more.
    if !row.lock.is_empty() && known.lock.is_none() {
        (known.lock, known.versioning) = (Some(BucketLock::default()), Versioning::Enabled);
        tx.put(Key::bucket(bucket), known.encode());
    }
    let head = plan::load_head(tx, bucket, &object)?;
    match &head {
        Some(Ok(head)) if head.modified_ms >= modified_ms => return Ok(Fate::Superseded),
        // A lock that cannot be read holds.
        Some(Err(_)) if known.lock.is_some() => return Ok(Fate::Superseded),
        _ => {}
    }
    let data = match (&row.data, parts) {
        (Data::Manifest(id), Some(parts)) => {
            for part in parts.parts.iter().filter(|part| matches!(part.data, Data::Slice { .. })) {
                plan::add_owner(tx, &part.data, part.seq);
            }
            tx.put(Key::manifest(*id), parts.encode());
            Data::Manifest(*id)
        }
        (data, _) => data.clone(),
    };
    let refs = data.shared_id().map(|id| tx.first(prefix_range(&Key::blob_refs_of(id))));
    // Others that have the same bytes were found before.
    let is_shared = row.is_shared || refs.transpose()?.flatten().is_some();
    let row = ObjectRow { data, modified_ms, is_shared, ..row };
    plan::put_dated(tx, &known, &object, head, row, Payload::Stored)?;
    Ok(Fate::Made { new_bucket })
}
