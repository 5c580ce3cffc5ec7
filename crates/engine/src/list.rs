//! Listings: each page is one snapshot, in key order, seeking past common prefixes.
//!
//! # Invariants
//!
//! - A page looks at a bounded number of rows, whatever the bucket holds. A page that ends at that bound is
//!   short or empty, and says where to continue; each page continues behind the one before, so that a client
//!   that follows the markers comes to an end.
//! - A marker stands for what was looked at: nothing that could be listed is skipped.

use crate::engine::Engine;
use crate::error::EngineError;
use drystone_base::{Seq, UploadId};
use drystone_catalog::{
    BucketRow, CatalogSnapshot, Key, KeyParts, ObjectRow, SnapshotRows, UploadRow, UploadState,
    Versioning,
};
use drystone_index::{KeyRange, prefix_end, prefix_range};
use std::ops::Bound;

/// Rows looked at for one page at most, about 10 ms of work. Delete markers and completed uploads are such
/// rows that are not listed.
const ROW_COUNT_MAX: usize = 20_000;

/// Where a listing goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Only keys that begin with this.
    pub prefix: Vec<u8>,
    /// Keys that have this after the prefix are rolled up.
    pub delimiter: Vec<u8>,
    /// Only keys behind this.
    pub after: Vec<u8>,
    /// `after` is a common prefix that was listed: skip everything in it.
    pub after_is_prefix: bool,
    /// Entries at most.
    pub limit: usize,
    /// Rows looked at at most, if that is not to be the usual number.
    pub row_count_max: Option<usize>,
    /// Entries come with headers, metadata and tags, which listings usually leave out.
    pub tells_all: bool,
}

/// A page of current versions.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// Keys and versions.
    pub objects: Vec<(Vec<u8>, ObjectRow)>,
    /// Common prefixes.
    pub prefixes: Vec<Vec<u8>>,
    /// Where the next page continues, if there is more: the last entry of the page, or the last key that was
    /// looked at; and whether that is a common prefix.
    pub next: Option<(Vec<u8>, bool)>,
}

/// Where a listing of versions goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionRequest {
    /// As in [`ListRequest`]; `after` is the key marker.
    pub list: ListRequest,
    /// Of the key `after`, only versions older than this; `None` for none of them.
    pub older_than: Option<VersionMark>,
}

/// A version as a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Null,
    Seq(Seq),
}

/// A version as a marker of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionMark(pub(crate) Mark);

impl VersionMark {
    /// The marker that a client gave back.
    #[must_use]
    pub fn new(version: crate::plan::VersionRef) -> Self {
        match version {
            crate::plan::VersionRef::Null => Self(Mark::Null),
            crate::plan::VersionRef::Id(id) => Self(Mark::Seq(id.seq)),
        }
    }
}

/// A version in a listing.
#[derive(Clone, Debug)]
pub struct ListedVersion {
    /// Key.
    pub key: Vec<u8>,
    /// The version.
    pub row: ObjectRow,
    /// It is the current one.
    pub is_latest: bool,
}

/// A page of versions.
#[derive(Clone, Debug, Default)]
pub struct VersionPage {
    /// Versions and delete markers.
    pub versions: Vec<ListedVersion>,
    /// Common prefixes.
    pub prefixes: Vec<Vec<u8>>,
    /// Key, and version id unless it is a common prefix, of the last entry, if there is more.
    pub next: Option<(Vec<u8>, Option<String>)>,
}

/// A page of uploads.
#[derive(Clone, Debug, Default)]
pub struct UploadPage {
    /// Key, upload id, and row.
    pub uploads: Vec<(Vec<u8>, UploadId, UploadRow)>,
    /// Common prefixes.
    pub prefixes: Vec<Vec<u8>>,
    /// Where the next page continues, if there is more: key, and upload id unless it is a common prefix, of
    /// the last entry or of the last upload that was looked at.
    pub next: Option<(Vec<u8>, Option<UploadId>)>,
}

/// The common prefix that a key is rolled up into.
fn common_prefix(key: &[u8], prefix: &[u8], delimiter: &[u8]) -> Option<Vec<u8>> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = key.get(prefix.len()..)?;
    let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
    Some(key[..prefix.len() + at + delimiter.len()].to_vec())
}

/// From a start to the end of a prefix of the family.
fn range_from(start: Bound<Vec<u8>>, prefix_key: &[u8]) -> KeyRange {
    (start, prefix_end(prefix_key))
}

impl ListRequest {
    fn rows_max(&self) -> usize {
        self.row_count_max.unwrap_or(ROW_COUNT_MAX)
    }

    /// Whether a page may end with a key as its marker. One that is its own common prefix stands for all that
    /// is in that prefix, so everything in it must have been looked at.
    fn may_end_at(&self, key: &[u8], following: Option<&[u8]>) -> bool {
        let is_prefix = common_prefix(key, &self.prefix, &self.delimiter).as_deref() == Some(key);
        !is_prefix || following.is_none_or(|next| !next.starts_with(key))
    }

    fn decode(&self, row: &[u8]) -> Result<ObjectRow, EngineError> {
        Ok(match self.tells_all {
            true => ObjectRow::decode(row)?,
            false => ObjectRow::decode_for_listing(row)?,
        })
    }

    /// Where to begin among keys that `key_of` makes.
    fn start(&self, key_of: &dyn Fn(&[u8]) -> Vec<u8>) -> Bound<Vec<u8>> {
        if self.after.is_empty() || self.after.as_slice() < self.prefix.as_slice() {
            return Bound::Included(key_of(&self.prefix));
        }
        if self.after_is_prefix {
            behind(&key_of(&self.after))
        } else {
            Bound::Excluded(key_of(&self.after))
        }
    }
}

/// The first place behind all keys with this prefix.
fn behind(prefix: &[u8]) -> Bound<Vec<u8>> {
    match prefix_end(prefix) {
        Bound::Excluded(end) => Bound::Included(end),
        other => other,
    }
}

impl Engine {
    /// A page of the current versions of a bucket. Blocks on cold rows.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], or the catalog failed.
    pub fn list(&self, bucket: &str, request: &ListRequest) -> Result<ListPage, EngineError> {
        let bucket = self.find_bucket(bucket)?;
        let mut page = ListPage::default();
        if request.limit == 0 {
            return Ok(page);
        }
        let key_of = |key: &[u8]| Key::head(bucket.id, key);
        let prefix_key = key_of(&request.prefix);
        let head_len = prefix_key.len() - request.prefix.len();
        let snapshot = self.shared.catalog.snapshot();
        let mut rows = snapshot.scan(range_from(request.start(&key_of), &prefix_key));
        let mut last: Option<(Vec<u8>, bool)> = None;
        // The last delete marker that was looked at, behind everything that was listed.
        let mut skipped: Option<Vec<u8>> = None;
        for count in 0.. {
            let Some(row) = rows.next() else { return Ok(page) };
            let (key, value) = row?;
            if count >= request.rows_max()
                && let Some(at) = &skipped
                && request.may_end_at(at, Some(&key[head_len..]))
            {
                page.next = Some((at.clone(), false));
                return Ok(page);
            }
            let mut object = request.decode(&value)?;
            if object.is_marker {
                skipped = Some(key[head_len..].to_vec());
                continue;
            }
            skipped = None;
            if page.objects.len() + page.prefixes.len() == request.limit {
                page.next = last;
                return Ok(page);
            }
            let key = &key[head_len..];
            match common_prefix(key, &request.prefix, &request.delimiter) {
                Some(prefix) => {
                    rows = snapshot.scan(range_from(behind(&key_of(&prefix)), &prefix_key));
                    last = Some((prefix.clone(), true));
                    page.prefixes.push(prefix);
                }
                None => {
                    last = Some((key.to_vec(), false));
                    if request.tells_all {
                        self.reveal((bucket.id, key), &mut object)?;
                    }
                    page.objects.push((key.to_vec(), object));
                }
            }
        }
        Ok(page)
    }

    /// A page of all versions of a bucket: keys in order, versions newest first. Blocks on cold rows.
    ///
    /// # Errors
    ///
    /// As [`Engine::list`].
    pub fn list_versions(
        &self,
        bucket: &str,
        request: &VersionRequest,
    ) -> Result<VersionPage, EngineError> {
        let bucket = self.find_bucket(bucket)?;
        let list = &request.list;
        let mut page = VersionPage::default();
        if list.limit == 0 {
            return Ok(page);
        }
        let key_of = |key: &[u8]| Key::head(bucket.id, key);
        let prefix_key = key_of(&list.prefix);
        let head_len = prefix_key.len() - list.prefix.len();
        let snapshot = self.shared.catalog.snapshot();
        let mut start = list.start(&key_of);
        if let (Some(_), Bound::Excluded(key)) = (request.older_than, &start) {
            start = Bound::Included(key.clone());
        }
        let mut heads = snapshot.scan(range_from(start, &prefix_key));
        let mut full = Filling { page: &mut page, limit: list.limit, last: None };
        // Each row is an entry or lies before the mark of one key, so the limit ends the walk.
        while let Some(row) = heads.next() {
            let (key, value) = row?;
            let key = &key[head_len..];
            if let Some(prefix) = common_prefix(key, &list.prefix, &list.delimiter) {
                if !full.push_prefix(&prefix) {
                    return Ok(page);
                }
                heads = snapshot.scan(range_from(behind(&key_of(&prefix)), &prefix_key));
                continue;
            }
            let head = list.decode(&value)?;
            let mark = request.older_than.filter(|_| key == list.after.as_slice());
            for version in Versions::new(&snapshot, &bucket, list, key, head, mark) {
                let mut version = version?;
                if list.tells_all {
                    self.reveal((bucket.id, key), &mut version.row)?;
                }
                if !full.push(version) {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// A page of the uploads of a bucket that are not completed. With `after_upload`, uploads of the
    /// key `after` behind it come first.
    ///
    /// # Errors
    ///
    /// As [`Engine::list`].
    pub fn list_uploads(
        &self,
        bucket: &str,
        request: &ListRequest,
        after_upload: Option<UploadId>,
    ) -> Result<UploadPage, EngineError> {
        let bucket = self.find_bucket(bucket)?;
        let mut page = UploadPage::default();
        let prefix_key = Key::uploads_with_prefix(bucket.id, &request.prefix);
        let start = match after_upload {
            Some(upload) => Bound::Excluded(Key::upload(bucket.id, &request.after, upload)),
            None if request.after_is_prefix => {
                behind(&Key::uploads_with_prefix(bucket.id, &request.after))
            }
            None if request.after.is_empty() => Bound::Included(prefix_key.clone()),
            None => behind(&Key::uploads_of(bucket.id, &request.after)),
        };
        let start = match (&start, Bound::Included(prefix_key.clone())) {
            (Bound::Included(a) | Bound::Excluded(a), least) if *a < prefix_key => least,
            _ => start,
        };
        let snapshot = self.shared.catalog.snapshot();
        let mut rows = snapshot.scan(range_from(start, &prefix_key));
        let mut last = None;
        // The last upload that was looked at, where that is none to list.
        let mut skipped = None;
        for count in 0.. {
            let Some(row) = rows.next() else { return Ok(page) };
            if count >= request.rows_max() && skipped.is_some() {
                page.next = skipped;
                return Ok(page);
            }
            let (key, value) = row?;
            let parts = KeyParts::parse(&key)?;
            let upload_row = UploadRow::decode(&value)?;
            let Some(upload) = parts.upload() else { continue };
            if matches!(upload_row.state, UploadState::Completed { .. }) {
                skipped = Some((parts.object, Some(upload)));
                continue;
            }
            skipped = None;
            if page.uploads.len() + page.prefixes.len() == request.limit {
                page.next = last;
                return Ok(page);
            }
            match common_prefix(&parts.object, &request.prefix, &request.delimiter) {
                Some(prefix) => {
                    let next = behind(&Key::uploads_with_prefix(bucket.id, &prefix));
                    rows = snapshot.scan(range_from(next, &prefix_key));
                    last = Some((prefix.clone(), None));
                    page.prefixes.push(prefix);
                }
                None => {
                    last = Some((parts.object.clone(), Some(upload)));
                    page.uploads.push((parts.object, upload, upload_row));
                }
            }
        }
        Ok(page)
    }
}

/// A page of versions while it fills.
struct Filling<'a> {
    page: &'a mut VersionPage,
    limit: usize,
    last: Option<(Vec<u8>, Option<String>)>,
}

impl Filling<'_> {
    /// False, and the page is marked as cut, if there is no room.
    fn has_room(&mut self) -> bool {
        let has_room = self.page.versions.len() + self.page.prefixes.len() < self.limit;
        if !has_room {
            self.page.next = self.last.take();
        }
        has_room
    }
    fn push(&mut self, version: ListedVersion) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.last = Some((version.key.clone(), Some(version.row.version_text())));
            self.page.versions.push(version);
        }
        has_room
    }
    fn push_prefix(&mut self, prefix: &[u8]) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.last = Some((prefix.to_vec(), None));
            self.page.prefixes.push(prefix.to_vec());
        }
        has_room
    }
}

/// The versions of one key, newest first, from a mark on.
struct Versions<'a> {
    snapshot: &'a CatalogSnapshot,
    list: &'a ListRequest,
    range: KeyRange,
    key: &'a [u8],
    head: Option<ObjectRow>,
    rows: Option<SnapshotRows>,
    /// Without versioning there is nothing below a head.
    has_versions: bool,
}

impl<'a> Versions<'a> {
    fn new(
        snapshot: &'a CatalogSnapshot,
        bucket: &BucketRow,
        list: &'a ListRequest,
        key: &'a [u8],
        head: ObjectRow,
        mark: Option<VersionMark>,
    ) -> Self {
        let mut range = prefix_range(&Key::versions_of(bucket.id, key));
        let has_versions = bucket.versioning != Versioning::Off;
        let older_than = match mark {
            None => None,
            Some(VersionMark(Mark::Seq(seq))) => Some(seq),
            // A null version that is gone says nothing of where it was: listed again is better than skipped.
            Some(VersionMark(Mark::Null)) if head.is_null => Some(head.seq),
            Some(VersionMark(Mark::Null)) => head.null_seq,
        };
        if let Some(seq) = older_than {
            range.0 = Bound::Excluded(Key::version(bucket.id, key, seq));
        }
        let head = Some(head).filter(|head| older_than.is_none_or(|seq| head.seq < seq));
        Self { snapshot, list, range, key, head, rows: None, has_versions }
    }
}

impl Iterator for Versions<'_> {
    type Item = Result<ListedVersion, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.head.take() {
            return Some(Ok(ListedVersion { key: self.key.to_vec(), row, is_latest: true }));
        }
        if !self.has_versions {
            return None;
        }
        let rows = self.rows.get_or_insert_with(|| self.snapshot.scan(self.range.clone()));
        let version = match rows.next()? {
            Ok((_, value)) => self.list.decode(&value),
            Err(error) => Err(error.into()),
        };
        let key = self.key.to_vec();
        Some(version.map(|row| ListedVersion { key, row, is_latest: false }))
    }
}
