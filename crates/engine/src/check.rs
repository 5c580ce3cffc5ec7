//! Checking the invariants of the catalog, that what is counted is there, and that every blob that is named
//! is on the drives.
//!
//! # Invariants
//!
//! - No family of rows is held. Families in the same order are walked side by side; where the order is
//!   another one, what is compared goes through [`sorted`], which holds a bounded part of it at a time.
//! - A row that cannot be read is a problem, and does not end the check.

mod accounts;
mod buckets;
mod claims;
mod ids;
mod sorted;
mod uploads;

use crate::engine::Engine;
use crate::error::EngineError;
use bytes::Bytes;
use drystone_base::{BlobId, BucketId};
use drystone_catalog::{
    CatalogError, CatalogSnapshot, Data, Decision, Family, Key, Manifest, ObjectRow, Usage,
};
use drystone_index::KeyRange;
use sorted::{HELD_LEN_MAX, Memory};
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

/// Problems listed at most.
const PROBLEM_COUNT_MAX: usize = 1000;
/// Lists of parts lie in each other no deeper than this: readers refuse what does.
const LIST_DEPTH_MAX: usize = 4;
/// Usage rows that are written in one transaction.
const BATCH_ROW_COUNT: usize = 256;

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
    /// Uploads in progress.
    pub uploads: u64,
    /// Uploads that became objects, whose rows answer repeated requests for a day.
    pub completed_uploads: u64,
    /// Parts of uploads, also of those that are completed or aborted, until the sweep has come by.
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
    /// Bytes of rows, or of what was taken from them, that were held at a time at most.
    pub held_bytes_max: u64,
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
            ("completed uploads", self.completed_uploads),
            ("parts", self.parts),
            ("multipart objects", self.manifests),
            ("sweep rows", self.sweep),
            ("blobs", self.blobs),
            ("lacking shards", self.lacking_shards),
            ("bytes", self.bytes),
        ]
    }
}

/// Something that does not hold.
#[derive(Default)]
struct Problem {
    /// The list of parts that it is about, whose object is looked for in the end.
    list: Option<BlobId>,
    /// What it is about; empty for a list.
    name: String,
    /// What is said of it.
    what: String,
}

/// What a check found so far.
#[derive(Default)]
struct Findings {
    report: CheckReport,
    problems: Vec<Problem>,
}

impl Findings {
    fn problem(&mut self, text: String) {
        self.add(Problem { name: text, ..Problem::default() });
    }

    fn add(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEM_COUNT_MAX {
            self.problems.push(problem);
        }
    }
}

/// The rows of one moment.
struct Check<'a> {
    engine: &'a Engine,
    snapshot: CatalogSnapshot,
    memory: Memory,
}

/// A key and a value.
type Row = (Bytes, Bytes);
/// Rows that are genuine, in the order of their keys.
type Rows = Peekable<Box<dyn Iterator<Item = Result<Row, EngineError>>>>;

impl Engine {
    /// Checks every row. Blocks, for long: for tools.
    ///
    /// # Errors
    ///
    /// Index or drive cannot be read; what merely does not hold is in the report.
    pub fn check(&self) -> Result<CheckReport, EngineError> {
        self.check_within(HELD_LEN_MAX)
    }

    /// As [`Engine::check`], with a limit of what is held, in bytes; twice that where it is sorted, for each
    /// of up to three walks.
    ///
    /// # Errors
    ///
    /// As [`Engine::check`].
    pub fn check_within(&self, held_len: usize) -> Result<CheckReport, EngineError> {
        let (check, mut found) = (Check::new(self, held_len), Findings::default());
        for forged in self.shared.catalog.forged_rows(PROBLEM_COUNT_MAX)? {
            found.problem(forged.to_string());
        }
        check.bucket_names(&mut found)?;
        let mut walk = check.bucket_walk()?;
        while let Some(counted) = walk.next(&check, &mut found)? {
            counted.compare(&mut found);
        }
        drop(walk);
        check.accounts(&mut found)?;
        check.parts(&mut found)?;
        check.ids(&mut found)?;
        check.name_objects(&mut found.problems)?;
        let mut report = found.report;
        report.held_bytes_max = check.memory.peak() as u64;
        let text = |problem: Problem| problem.name + &problem.what;
        report.problems = found.problems.into_iter().map(text).collect();
        Ok(report)
    }

    /// Writes the usage of every bucket again, as it is counted: after frames were lost. Blocks.
    pub(crate) fn mend_usage(&self) -> Result<(), EngineError> {
        let (check, mut found) = (Check::new(self, HELD_LEN_MAX), Findings::default());
        let mut batch: Vec<(BucketId, Usage)> = Vec::new();
        let write = |rows: Vec<(BucketId, Usage)>| {
            let ticket = self.shared.catalog.submit(move |tx| {
                tx.use_reserve();
                for (bucket, counted) in rows {
                    tx.put(Key::usage(bucket), counted.encode());
                }
                Ok(Decision::Commit(()))
            });
            ticket.wait()
        };
        let mut walk = check.bucket_walk()?;
        while let Some(counted) = walk.next(&check, &mut found)? {
            batch.push((counted.bucket, counted.usage));
            if batch.len() >= BATCH_ROW_COUNT {
                write(std::mem::take(&mut batch))?;
            }
        }
        write(batch)?;
        let ticket = self.shared.catalog.submit(move |tx| {
            tx.use_reserve();
            // The next bucket that is made counts them again.
            tx.delete(Key::BUCKETS_COUNTED.to_vec());
            // The next start lists them again.
            tx.delete(Key::BUCKETS_LISTED.to_vec());
            // Rows without seals may have come back behind the place that a walk had reached.
            tx.delete(Key::SEALING.to_vec());
            Ok(Decision::Commit(()))
        });
        Ok(ticket.wait()?)
    }

    /// Blobs on the drive that no row names. Those of uploads in progress are among them. Blocks, and
    /// holds a set of all blob ids in memory: for tests.
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

impl<'a> Check<'a> {
    fn new(engine: &'a Engine, held_len: usize) -> Self {
        let snapshot = engine.shared.catalog.snapshot();
        Self { engine, snapshot, memory: Memory::new(held_len.max(1)) }
    }

    /// The rows of a family that are genuine; the others were named before.
    fn rows(&self, family: Family) -> Rows {
        self.rows_of(family.range())
    }

    fn rows_of(&self, range: KeyRange) -> Rows {
        let rows = self.snapshot.scan(range);
        let genuine = rows.filter(|row| !matches!(row, Err(CatalogError::Forged { .. })));
        let rows: Box<dyn Iterator<Item = _>> = Box::new(genuine.map(|row| Ok(row?)));
        rows.peekable()
    }

    /// A row, if it is there and genuine.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match self.engine.shared.catalog.get(key) {
            Err(CatalogError::Forged { .. }) => Ok(None),
            found => Ok(found?),
        }
    }

    /// Gives problems of lists of parts the names of their objects.
    fn name_objects(&self, problems: &mut [Problem]) -> Result<(), EngineError> {
        let lists: BTreeSet<BlobId> = problems.iter().filter_map(|problem| problem.list).collect();
        if lists.is_empty() {
            return Ok(());
        }
        let around = self.lists_around(&lists)?;
        let wanted: BTreeSet<BlobId> = lists.into_iter().chain(around.values().copied()).collect();
        let mut names = BTreeMap::new();
        for row in self.rows(Family::Head).chain(self.rows(Family::Version)) {
            let (key, value) = row?;
            if let Ok(ObjectRow { data: Data::Manifest(id), .. }) = ObjectRow::decode(&value)
                && wanted.contains(&id)
            {
                names.entry(id).or_insert_with(|| buckets::name_of(&key));
            }
        }
        for problem in problems {
            let Some(id) = problem.list else { continue };
            let mut outer = Some(id);
            let name = (0..=LIST_DEPTH_MAX).find_map(|_| {
                let list = outer?;
                outer = around.get(&list).copied();
                names.get(&list).cloned()
            });
            problem.name = name.unwrap_or_else(|| format!("the list of parts {id}"));
        }
        Ok(())
    }

    /// For lists that are entries of other lists, one of those: of these lists, and of what they are in.
    fn lists_around(
        &self,
        lists: &BTreeSet<BlobId>,
    ) -> Result<BTreeMap<BlobId, BlobId>, EngineError> {
        let (mut around, mut inner) = (BTreeMap::new(), lists.clone());
        for _ in 0..LIST_DEPTH_MAX {
            let mut outer = BTreeSet::new();
            for row in self.rows(Family::Manifest) {
                let (key, value) = row?;
                let Some(id) = key.get(1..).and_then(BlobId::from_slice) else { continue };
                let parts = Manifest::walk(&value).into_iter().flatten();
                for data in parts.filter_map(|part| part.and_then(|part| part.data()).ok()) {
                    if let Data::Slice { base, .. } = data
                        && let Data::Manifest(list) = *base
                        && inner.contains(&list)
                        && !around.contains_key(&list)
                    {
                        around.insert(list, id);
                        outer.insert(id);
                    }
                }
            }
            if outer.is_empty() {
                break;
            }
            inner = outer;
        }
        Ok(around)
    }
}

/// The next row, if `is_wanted` says so of its key.
fn next_if(rows: &mut Rows, is_wanted: impl Fn(&[u8]) -> bool) -> Result<Option<Row>, EngineError> {
    match rows.peek() {
        Some(Ok((key, _))) if !is_wanted(key) => Ok(None),
        None => Ok(None),
        Some(_) => rows.next().transpose(),
    }
}

/// The key of the next row.
fn next_key(rows: &mut Rows) -> Result<Option<&[u8]>, EngineError> {
    if let Some(Err(_)) = rows.peek() {
        return rows.next().transpose().map(|_| None);
    }
    Ok(rows.peek().and_then(|row| row.as_ref().ok()).map(|(key, _)| &key[..]))
}

/// A count as it is stored in rows that hold nothing else.
fn stored_count(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_le_bytes)
}
