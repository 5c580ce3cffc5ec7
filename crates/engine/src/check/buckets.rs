//! The rows of each bucket, family beside family, and what is counted of them.

use super::sorted::Sorted;
use super::uploads::PartSum;
use super::{Check, Findings, Row, Rows, next_if, next_key, stored_count};
use crate::error::EngineError;
use drystone_base::BucketId;
use drystone_catalog::{
    BucketRow, Family, Key, KeyParts, ObjectRow, UploadRow, UploadState, Usage,
};
use std::collections::BTreeMap;
use std::iter::Peekable;

/// Bit of the kind of a document in the key of the row that counts such documents.
const COUNT_OF_DOCUMENTS: u8 = 0x80;

/// The name of a version in problems: number of its bucket, and key.
pub(super) fn name_of(key: &[u8]) -> String {
    match KeyParts::parse(key) {
        Ok(parts) => format!("{}/{}", parts.bucket.0, String::from_utf8_lossy(&parts.object)),
        Err(_) => "a row with a key that is not understood".to_owned(),
    }
}

/// The bucket of a row whose key begins with one.
fn bucket_of(key: &[u8]) -> Option<BucketId> {
    let id = key.get(1..9)?.try_into().ok()?;
    Some(BucketId(u64::from_be_bytes(id)))
}

/// What there is of a bucket, and what its row of usage says.
pub(super) struct Counted {
    pub(super) bucket: BucketId,
    pub(super) usage: Usage,
    /// `None` if there is no row; `Err` if it is not readable.
    stored: Option<Result<Usage, drystone_base::DecodeError>>,
}

impl Counted {
    /// Names what the row of usage says that is not so.
    pub(super) fn compare(self, found: &mut Findings) {
        let (id, counted) = (self.bucket.0, self.usage);
        match self.stored {
            None if counted == Usage::default() => {}
            None => found.problem(format!("bucket {id} has no usage, counted {counted:?}")),
            Some(Err(error)) => {
                found.problem(format!("usage of bucket {id} is not readable: {error}"));
            }
            Some(Ok(stored)) if stored != counted => {
                found.problem(format!("usage of bucket {id} is {stored:?}, counted {counted:?}"));
            }
            Some(Ok(_)) => {}
        }
    }
}

/// The families whose rows are of a bucket.
const FAMILIES: [Family; 6] = [
    Family::Bucket,
    Family::Document,
    Family::Head,
    Family::Version,
    Family::Upload,
    Family::Usage,
];

/// A walk over buckets, in the order of their numbers.
pub(super) struct BucketWalk<'a> {
    /// In the order of [`FAMILIES`].
    families: [Rows; 6],
    parts: Peekable<Sorted<'a, PartSum>>,
}

impl Check<'_> {
    /// Begins a walk over all buckets that a row names.
    pub(super) fn bucket_walk(&self) -> Result<BucketWalk<'_>, EngineError> {
        let families = FAMILIES.map(|family| self.rows(family));
        Ok(BucketWalk { families, parts: self.part_sums().peekable() })
    }

    /// Counts buckets by name, and looks for their rows.
    pub(super) fn bucket_names(&self, found: &mut Findings) -> Result<(), EngineError> {
        for row in self.rows(Family::BucketName) {
            let (key, id) = row?;
            found.report.buckets += 1;
            let id = id[..].try_into().map(u64::from_le_bytes).unwrap_or(0);
            let name = String::from_utf8_lossy(&key[1..]);
            match self.get(&Key::bucket(BucketId(id)))? {
                None => found.problem(format!("bucket {name} has no row")),
                Some(row) => {
                    if BucketRow::decode_for_listing(&row).is_ok_and(|row| row.name != name) {
                        found.problem(format!("bucket {name} has the row of another bucket"));
                    }
                }
            }
        }
        Ok(())
    }

    fn head(
        &self,
        (key, value): &Row,
        usage: &mut Usage,
        found: &mut Findings,
    ) -> Result<(), EngineError> {
        found.report.heads += 1;
        let name = name_of(key);
        let (Ok(parts), Ok(row)) = (KeyParts::parse(key), ObjectRow::decode(value)) else {
            found.problem(format!("current version of {name} is not readable"));
            return Ok(());
        };
        count(usage, &row, true, found);
        if let Some(seq) = row.null_seq {
            let below = self.get(&Key::version(parts.bucket, &parts.object, seq))?;
            let is_null = below.and_then(|b| ObjectRow::decode(&b).ok()).is_some_and(|r| r.is_null);
            if row.is_null || !is_null {
                found.problem(format!("{name} names a null version that is not there"));
            }
        }
        Ok(())
    }

    fn version(
        &self,
        (key, value): &Row,
        usage: &mut Usage,
        found: &mut Findings,
    ) -> Result<(), EngineError> {
        found.report.versions += 1;
        let name = name_of(key);
        let (Ok(parts), Ok(row)) = (KeyParts::parse(key), ObjectRow::decode(value)) else {
            found.problem(format!("a noncurrent version of {name} is not readable"));
            return Ok(());
        };
        count(usage, &row, false, found);
        let head = self.get(&Key::head(parts.bucket, &parts.object))?;
        match head.map(|bytes| ObjectRow::decode(&bytes)) {
            None => found.problem(format!("{name} has versions but no current one")),
            Some(Ok(head)) if head.seq <= row.seq => {
                found.problem(format!("{name} has a version newer than the current one"));
            }
            Some(Ok(head)) if row.is_null && head.null_seq != Some(row.seq) => {
                found.problem(format!("{name} has a null version that is not named"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Whether a bucket has its name.
    fn bucket_row(
        &self,
        bucket: BucketId,
        row: &Row,
        found: &mut Findings,
    ) -> Result<(), EngineError> {
        let Ok(row) = BucketRow::decode_for_listing(&row.1) else {
            found.problem(format!("the row of bucket {} is not readable", bucket.0));
            return Ok(());
        };
        let named = self.get(&Key::bucket_name(&row.name))?;
        let named = named.as_deref().and_then(stored_count);
        if named != Some(bucket.0) {
            let name = row.name;
            found.problem(format!("bucket {} has the name {name}, which is not its own", bucket.0));
        }
        Ok(())
    }
}

fn count(usage: &mut Usage, row: &ObjectRow, is_current: bool, found: &mut Findings) {
    found.report.bytes += row.size;
    crate::plan::count_version(usage, row, is_current, 1);
}

fn upload((key, value): &Row, usage: &mut Usage, found: &mut Findings) {
    match UploadRow::decode(value).map(|row| row.state) {
        Ok(UploadState::Completed { .. }) => found.report.completed_uploads += 1,
        Ok(UploadState::Open | UploadState::Completing { .. }) => {
            found.report.uploads += 1;
            usage.upload_count += 1;
        }
        Err(error) => {
            found.problem(format!("an upload of {} is not readable: {error}", name_of(key)));
        }
    }
}

/// Counts a document, or compares a count with what was counted: counts come behind documents.
fn document((key, value): &Row, counts: &mut BTreeMap<u8, u64>, found: &mut Findings) {
    let (Some(bucket), Some(kind)) = (bucket_of(key), key.get(9).copied()) else {
        found.problem("a document has a key that is not understood".to_owned());
        return;
    };
    if kind & COUNT_OF_DOCUMENTS == 0 {
        *counts.entry(kind).or_default() += 1;
        return;
    }
    let kind = kind & !COUNT_OF_DOCUMENTS;
    let counted = counts.get(&kind).copied().unwrap_or_default();
    match stored_count(value) {
        Some(stored) if stored == counted => {}
        stored => {
            let said = stored.map_or("is not readable".to_owned(), |stored| format!("is {stored}"));
            let id = bucket.0;
            found.problem(format!(
                "the count of documents of kind {kind} of bucket {id} {said}, counted {counted}"
            ));
        }
    }
}

impl BucketWalk<'_> {
    /// The next bucket that a row names.
    fn next_bucket(&mut self) -> Result<Option<BucketId>, EngineError> {
        let mut next: Option<BucketId> = None;
        let mut see = |id: Option<BucketId>| {
            next = match (next, id) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        };
        for rows in &mut self.families {
            // A key that is too short to have a bucket comes before all that have one.
            see(next_key(rows)?.map(|key| bucket_of(key).unwrap_or(BucketId(0))));
        }
        if let Some(sum) = self.parts.peek() {
            see(sum.as_ref().ok().map(|sum| sum.bucket));
        }
        Ok(next)
    }

    /// The next bucket, with what there is of it.
    pub(super) fn next(
        &mut self,
        check: &Check<'_>,
        found: &mut Findings,
    ) -> Result<Option<Counted>, EngineError> {
        let Some(bucket) = self.next_bucket()? else { return Ok(None) };
        let (mut usage, mut stored) = (Usage::default(), None);
        let (mut documents, mut is_there, mut has_rows) = (BTreeMap::new(), false, false);
        let is_of = |key: &[u8]| bucket_of(key).unwrap_or(BucketId(0)) == bucket;
        for (family, rows) in FAMILIES.into_iter().zip(&mut self.families) {
            while let Some(row) = next_if(rows, is_of)? {
                match family {
                    Family::Bucket => {
                        is_there = true;
                        check.bucket_row(bucket, &row, found)?;
                        continue;
                    }
                    Family::Usage => {
                        stored = Some(Usage::decode(&row.1));
                        continue;
                    }
                    Family::Head => check.head(&row, &mut usage, found)?,
                    Family::Version => check.version(&row, &mut usage, found)?,
                    Family::Upload => upload(&row, &mut usage, found),
                    _ => document(&row, &mut documents, found),
                }
                has_rows = true;
            }
        }
        while let Some(sum) =
            self.parts.next_if(|sum| sum.as_ref().map_or(true, |sum| sum.bucket == bucket))
        {
            let sum = sum?;
            usage.part_count += sum.count;
            usage.part_bytes += sum.bytes;
        }
        if has_rows && !is_there {
            found.problem(format!("there are rows of bucket {}, which is not there", bucket.0));
        }
        Ok(Some(Counted { bucket, usage, stored }))
    }
}
