//! Checking the invariants of the catalog, and that every blob that is named is on the drive.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout::Layout;
use crate::plan::SweepItem;
use drystone_base::{BlobId, BucketId, Seq, UploadId};
use drystone_catalog::{
    CatalogError, CatalogSnapshot, Data, Decision, Family, Key, KeyParts, Manifest, ObjectRow,
    PartRow, UploadRow, UploadState, Usage,
};
use drystone_index::prefix_range;
use std::collections::{BTreeMap, HashSet};

/// Problems listed at most.
const PROBLEM_COUNT_MAX: usize = 1000;

/// What was counted, and what does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Buckets.
    pub buckets: u64,
    /// Current versions, delete markers included.
    pub heads: u64,
    /// Noncurrent versions.
    pub versions: u64,
    /// Small payloads.
    pub inline: u64,
    /// Uploads.
    pub uploads: u64,
    /// Parts of uploads.
    pub parts: u64,
    /// Completed multipart objects.
    pub manifests: u64,
    /// Rows of the sweep.
    pub sweep: u64,
    /// Blobs that are named.
    pub blobs: u64,
    /// Shards that are not on their drives, or whose drives are missing. What is counted here can be read.
    pub lacking_shards: u64,
    /// Bytes of all versions.
    pub bytes: u64,
    /// What does not hold, in words.
    pub problems: Vec<String>,
}

impl CheckReport {
    /// Names and counts, for printing.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("buckets", self.buckets),
            ("current versions", self.heads),
            ("noncurrent versions", self.versions),
            ("inline payloads", self.inline),
            ("uploads", self.uploads),
            ("parts", self.parts),
            ("multipart objects", self.manifests),
            ("sweep rows", self.sweep),
            ("blobs", self.blobs),
            ("lacking shards", self.lacking_shards),
            ("bytes", self.bytes),
        ]
    }

    fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEM_COUNT_MAX {
            self.problems.push(text);
        }
    }
}

/// A walk over all rows of one moment.
struct Check<'a> {
    engine: &'a Engine,
    snapshot: CatalogSnapshot,
    report: CheckReport,
    usage: BTreeMap<BucketId, Usage>,
    owned: HashSet<BlobId>,
    part_of: HashSet<BlobId>,
    inline_named: HashSet<BlobId>,
    /// Owners of shared bytes that were not met yet.
    refs: HashSet<(BlobId, Seq)>,
    /// Shared bytes that were looked at.
    shared: HashSet<BlobId>,
}

impl Engine {
    /// Checks every row. Blocks, and holds a set of all blob ids in memory: for tools.
    ///
    /// # Errors
    ///
    /// Index or drive cannot be read; what merely does not hold is in the report.
    pub fn check(&self) -> Result<CheckReport, EngineError> {
        let mut check = Check::new(self);
        check.seals()?;
        check.load_refs()?;
        check.buckets()?;
        check.heads()?;
        check.versions()?;
        check.uploads()?;
        check.leftover_refs()?;
        check.sweep()?;
        check.inline()?;
        check.recount()?;
        Ok(check.report)
    }
}

impl Engine {
    /// Writes the usage of every bucket again, as it is counted: after frames were lost. Blocks.
    pub(crate) fn mend_usage(&self) -> Result<(), EngineError> {
        let mut check = Check::new(self);
        check.heads()?;
        check.versions()?;
        check.uploads()?;
        for (key, _) in check.rows(Family::Upload)? {
            let parts = KeyParts::parse(&key)?;
            let Ok(upload) = parts.rest[..].try_into().map(UploadId) else { continue };
            let rows = check.snapshot.scan(prefix_range(&Key::parts_of(upload)));
            let rows: Result<Vec<_>, _> = rows.collect();
            for (_, value) in rows? {
                let usage = check.usage.entry(parts.bucket).or_default();
                usage.part_count += 1;
                usage.part_bytes += PartRow::decode(&value)?.size;
            }
        }
        let mut usage = std::mem::take(&mut check.usage);
        for (key, _) in check.rows(Family::Usage)? {
            let id = key[1..].try_into().map(u64::from_be_bytes).unwrap_or(0);
            usage.entry(BucketId(id)).or_default();
        }
        let ticket = self.shared.catalog.submit(move |tx| {
            tx.use_reserve();
            for (bucket, counted) in &usage {
                tx.put(Key::usage(*bucket), counted.encode());
            }
            // The next bucket that is made counts them again.
            tx.delete(Key::BUCKETS_COUNTED.to_vec());
            // Rows without seals may have come back behind the place that a walk had reached.
            tx.delete(Key::SEALING.to_vec());
            Ok(Decision::Commit(()))
        });
        Ok(ticket.wait()?)
    }

    /// Blobs on the drive that no row names. Those of uploads in progress are among them. Blocks, and
    /// holds a set of all blob ids in memory: for tools.
    ///
    /// # Errors
    ///
    /// Index or drive cannot be read.
    pub fn unnamed_blobs(&self) -> Result<Vec<BlobId>, EngineError> {
        let mut blobs = std::collections::BTreeSet::new();
        for drive in self.pool().online() {
            blobs.append(&mut drive.all_blobs()?);
        }
        self.remove_in_rows(&mut blobs)?;
        Ok(blobs.into_iter().collect())
    }
}

type Rows = Vec<(bytes::Bytes, bytes::Bytes)>;

impl<'a> Check<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            snapshot: engine.shared.catalog.snapshot(),
            report: CheckReport::default(),
            usage: BTreeMap::new(),
            owned: HashSet::new(),
            part_of: HashSet::new(),
            inline_named: HashSet::new(),
            refs: HashSet::new(),
            shared: HashSet::new(),
        }
    }

    /// Reads who owns shared bytes.
    fn load_refs(&mut self) -> Result<(), EngineError> {
        for (key, _) in self.rows(Family::BlobRef)? {
            let id = key.get(1..17).and_then(BlobId::from_slice);
            let owner = key.get(17..).and_then(|seq| seq.try_into().ok()).map(u64::from_be_bytes);
            match (id, owner) {
                (Some(id), Some(owner)) => drop(self.refs.insert((id, Seq(owner)))),
                _ => self.report.problem("an owner of shared bytes is not readable".to_owned()),
            }
        }
        Ok(())
    }

    fn leftover_refs(&mut self) -> Result<(), EngineError> {
        // Lists that wait for the sweep still own what they are pieces of.
        for (_, value) in self.rows(Family::Sweep)? {
            let SweepItem::Manifest(id) = SweepItem::decode(&value)? else { continue };
            for part in self.swept_parts(id)? {
                if let Some(id) = part.data.shared_id() {
                    self.refs.remove(&(id, part.seq));
                }
            }
        }
        let left: Vec<_> = self.refs.drain().collect();
        for (id, _) in left {
            self.report.problem(format!("an owner of the shared bytes {id} is not there"));
        }
        Ok(())
    }

    /// Names the rows that this deployment did not write. What follows does without them.
    fn seals(&mut self) -> Result<(), EngineError> {
        for forged in self.engine.shared.catalog.forged_rows(PROBLEM_COUNT_MAX)? {
            self.report.problem(forged.to_string());
        }
        Ok(())
    }

    /// The rows of a family that are genuine.
    fn rows(&self, family: Family) -> Result<Rows, EngineError> {
        let rows = self.snapshot.scan(family.range());
        let genuine = rows.filter(|row| !matches!(row, Err(CatalogError::Forged { .. })));
        Ok(genuine.collect::<Result<Vec<_>, _>>()?)
    }

    /// A row, if it is there and genuine.
    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, EngineError> {
        match self.engine.shared.catalog.get(key) {
            Err(CatalogError::Forged { .. }) => Ok(None),
            found => Ok(found?),
        }
    }

    fn has(&self, key: Vec<u8>) -> Result<bool, EngineError> {
        Ok(self.get(&key)?.is_some())
    }

    fn buckets(&mut self) -> Result<(), EngineError> {
        for (key, id) in self.rows(Family::BucketName)? {
            self.report.buckets += 1;
            let id = id[..].try_into().map(u64::from_le_bytes).unwrap_or(0);
            if !self.has(Key::bucket(BucketId(id)))? {
                let name = String::from_utf8_lossy(&key[1..]).into_owned();
                self.report.problem(format!("bucket {name} has no row"));
            }
        }
        Ok(())
    }

    fn heads(&mut self) -> Result<(), EngineError> {
        for (key, value) in self.rows(Family::Head)? {
            self.report.heads += 1;
            let parts = KeyParts::parse(&key)?;
            let name = format!("{}/{}", parts.bucket.0, String::from_utf8_lossy(&parts.object));
            let Ok(row) = ObjectRow::decode(&value) else {
                self.report.problem(format!("current version of {name} is not readable"));
                continue;
            };
            self.count(parts.bucket, &row, true);
            self.own_version(&row, &name)?;
            if let Some(seq) = row.null_seq {
                let key = Key::version(parts.bucket, &parts.object, seq);
                let below = self.get(&key)?;
                let is_null =
                    below.and_then(|b| ObjectRow::decode(&b).ok()).is_some_and(|r| r.is_null);
                if row.is_null || !is_null {
                    self.report.problem(format!("{name} names a null version that is not there"));
                }
            }
        }
        Ok(())
    }

    fn versions(&mut self) -> Result<(), EngineError> {
        for (key, value) in self.rows(Family::Version)? {
            self.report.versions += 1;
            let parts = KeyParts::parse(&key)?;
            let name = format!("{}/{}", parts.bucket.0, String::from_utf8_lossy(&parts.object));
            let Ok(row) = ObjectRow::decode(&value) else {
                self.report.problem(format!("a noncurrent version of {name} is not readable"));
                continue;
            };
            self.count(parts.bucket, &row, false);
            self.own_version(&row, &name)?;
            let head = self.get(&Key::head(parts.bucket, &parts.object))?;
            match head.map(|bytes| ObjectRow::decode(&bytes)) {
                None => self.report.problem(format!("{name} has versions but no current one")),
                Some(Ok(head)) if head.seq <= row.seq => {
                    self.report.problem(format!("{name} has a version newer than the current one"));
                }
                Some(Ok(head)) if row.is_null && head.null_seq != Some(row.seq) => {
                    self.report.problem(format!("{name} has a null version that is not named"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn uploads(&mut self) -> Result<(), EngineError> {
        for (key, value) in self.rows(Family::Upload)? {
            self.report.uploads += 1;
            let parts = KeyParts::parse(&key)?;
            let row = UploadRow::decode(&value)?;
            if !matches!(row.state, UploadState::Completed { .. }) {
                self.usage.entry(parts.bucket).or_default().upload_count += 1;
            }
        }
        self.report.parts = self.rows(Family::Part)?.len() as u64;
        for (_, value) in self.rows(Family::Part)? {
            let part = PartRow::decode(&value)?;
            // Parts of a completed upload stay until the sweep comes; their blobs are the object's.
            match part.data {
                Data::Blob { blob, .. } => drop(self.part_of.insert(blob)),
                Data::Inline(id) => drop(self.inline_named.insert(id)),
                // Its object, if it became one, was looked at before.
                Data::Slice { .. } if !self.refs_left(&part) => {}
                Data::Slice { .. } => {
                    self.own_part(&part.data, part.size, part.seq, "a part")?;
                }
                Data::Empty | Data::Manifest(_) => {}
            }
        }
        Ok(())
    }

    fn refs_left(&self, part: &PartRow) -> bool {
        part.data.shared_id().is_some_and(|id| self.refs.contains(&(id, part.seq)))
    }

    fn count(&mut self, bucket: BucketId, row: &ObjectRow, is_current: bool) {
        self.report.bytes += row.size;
        let usage = self.usage.entry(bucket).or_default();
        crate::plan::count_version(usage, row, is_current, 1);
    }

    /// Notes that a version owns its bytes, and checks that they are there.
    fn own_version(&mut self, row: &ObjectRow, name: &str) -> Result<(), EngineError> {
        if self.owns(&row.data, row.is_shared, row.seq, name) {
            self.own(&row.data, row.stored_len(), name)?;
        }
        Ok(())
    }

    /// Notes an owner of bytes; whether the bytes themselves were not looked at before.
    fn owns(&mut self, data: &Data, is_shared: bool, owner: Seq, name: &str) -> bool {
        let Some(id) = data.shared_id() else { return true };
        match (is_shared, self.refs.remove(&(id, owner))) {
            (true, false) => self.report.problem(format!("{name} is no known owner of {id}")),
            (false, true) => {
                self.report.problem(format!("{name} does not say that it shares {id}"))
            }
            _ => {}
        }
        !is_shared || self.shared.insert(id)
    }

    fn own(&mut self, data: &Data, size: u64, name: &str) -> Result<(), EngineError> {
        match data {
            Data::Empty => {}
            Data::Inline(id) => {
                if !self.inline_named.insert(*id) || !self.has(Key::inline(*id))? {
                    self.report.problem(format!("{name} has no bytes of its own"));
                }
            }
            Data::Blob { blob, cell_len, code, .. } => {
                self.own_blob(&Layout::new(*blob, *code, *cell_len, size), name)?;
            }
            Data::Slice { base, base_size, .. } => self.own(base, *base_size, name)?,
            Data::Manifest(id) => {
                self.report.manifests += 1;
                let bytes = self.get(&Key::manifest(*id))?;
                let Some(manifest) = bytes.and_then(|bytes| Manifest::decode(&bytes).ok()) else {
                    self.report.problem(format!("{name} has no readable list of parts"));
                    return Ok(());
                };
                for part in manifest.parts {
                    match &part.data {
                        Data::Inline(id) => drop(self.inline_named.insert(*id)),
                        data => self.own_part(data, part.stored_len(), part.seq, name)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn own_part(
        &mut self,
        data: &Data,
        len: u64,
        owner: Seq,
        name: &str,
    ) -> Result<(), EngineError> {
        let is_slice = matches!(data, Data::Slice { .. });
        if !is_slice || self.owns(data, true, owner, name) {
            self.own(data, len, name)?;
        }
        Ok(())
    }

    fn own_blob(&mut self, layout: &Layout, name: &str) -> Result<(), EngineError> {
        let blob = layout.blob;
        self.report.blobs += 1;
        if !self.owned.insert(blob) {
            self.report.problem(format!("{name} shares blob {blob} with another version"));
        }
        let members = self.engine.pool().members_of(blob);
        for stripe in layout.stripes() {
            let shard = layout.shard(stripe);
            let mut lacks = 0;
            for place in 0..layout.shape.shard_count() {
                let is_there = match members.get(place) {
                    _ if layout.shard_len(stripe, place) == 0 => true,
                    Some(Some(drive)) => drive.has(shard)?,
                    _ => false,
                };
                lacks += u8::from(!is_there);
            }
            self.report.lacking_shards += u64::from(lacks);
            if lacks > layout.shape.parity {
                self.report.problem(format!("{name} is missing shard {shard}"));
                break;
            }
        }
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), EngineError> {
        for (_, value) in self.rows(Family::Sweep)? {
            self.report.sweep += 1;
            if let SweepItem::Blob(blob) = SweepItem::decode(&value)?
                && self.owned.contains(&blob)
            {
                self.report.problem(format!("blob {blob} is to be swept but is still named"));
            }
        }
        Ok(())
    }

    fn inline(&mut self) -> Result<(), EngineError> {
        let swept: HashSet<BlobId> = self.swept_inline()?;
        for (key, _) in self.rows(Family::Inline)? {
            self.report.inline += 1;
            let id = BlobId::from_slice(&key[1..]);
            if !id.is_some_and(|id| self.inline_named.contains(&id) || swept.contains(&id)) {
                self.report.problem("a small payload is named by nothing".to_owned());
            }
        }
        Ok(())
    }

    /// The parts of a list that waits for the sweep, and of the lists that it has pieces of: those that
    /// nothing else owns will wait for it next.
    fn swept_parts(&self, list: BlobId) -> Result<Vec<PartRow>, EngineError> {
        let (mut parts, mut lists, mut seen) = (Vec::new(), vec![list], HashSet::new());
        while let Some(id) = lists.pop() {
            if !seen.insert(id) {
                continue;
            }
            let Some(bytes) = self.get(&Key::manifest(id))? else { continue };
            for part in Manifest::walk(&bytes)? {
                let part = part?.decode()?;
                if let Data::Slice { base, .. } = &part.data
                    && let Data::Manifest(inner) = **base
                {
                    lists.push(inner);
                }
                parts.push(part);
            }
        }
        Ok(parts)
    }

    /// Small payloads of manifests and uploads that wait for the sweep.
    fn swept_inline(&self) -> Result<HashSet<BlobId>, EngineError> {
        let mut swept = HashSet::new();
        let mut note = |data: &Data| {
            if let Data::Inline(id) = data {
                swept.insert(*id);
            }
        };
        for (_, value) in self.rows(Family::Sweep)? {
            match SweepItem::decode(&value)? {
                SweepItem::Manifest(id) => {
                    self.swept_parts(id)?.iter().for_each(|part| note(&part.data));
                }
                SweepItem::Parts { upload, .. } => {
                    for row in self.snapshot.scan(prefix_range(&Key::parts_of(upload))) {
                        let (_, value) = row?;
                        note(&PartRow::decode(&value)?.data);
                    }
                }
                SweepItem::Blob(_) | SweepItem::Upload { .. } | SweepItem::Row(_) => {}
            }
        }
        Ok(swept)
    }

    /// Compares the usage rows with what was counted. Parts are counted over all buckets together:
    /// their rows do not name one.
    fn recount(&mut self) -> Result<(), EngineError> {
        let (mut stored_parts, mut stored_part_bytes) = (0, 0);
        for (key, value) in self.rows(Family::Usage)? {
            let id = key[1..].try_into().map(u64::from_be_bytes).unwrap_or(0);
            let stored = Usage::decode(&value)?;
            stored_parts += stored.part_count;
            stored_part_bytes += stored.part_bytes;
            let mut counted = self.usage.remove(&BucketId(id)).unwrap_or_default();
            (counted.part_count, counted.part_bytes) = (stored.part_count, stored.part_bytes);
            if stored != counted {
                let text = format!("usage of bucket {id} is {stored:?}, counted {counted:?}");
                self.report.problem(text);
            }
        }
        let left: Vec<_> = self.usage.keys().copied().collect();
        for bucket in left {
            self.report.problem(format!("bucket {} has no usage", bucket.0));
        }
        let mut bytes = 0;
        for (_, value) in self.rows(Family::Part)? {
            bytes += PartRow::decode(&value)?.size;
        }
        if (stored_parts, stored_part_bytes) != (self.report.parts, bytes) {
            let text = format!(
                "usage says {stored_parts} parts of {stored_part_bytes} bytes, counted {} of {bytes}",
                self.report.parts
            );
            self.report.problem(text);
        }
        Ok(())
    }
}
