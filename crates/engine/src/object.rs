//! Objects: put, find, delete, tags.

use crate::blob::Stored;
use crate::engine::{CommittedView, Engine};
use crate::error::EngineError;
use crate::pins::Pin;
use crate::plan::{self, Conditions, DeleteOutcome, SourceRef, VersionRef, WriteOutcome};
use crate::read::ObjectReader;
use crate::repair::note_lacking;
use crate::seal::Named;
use drystone_base::{BucketId, Seq};
use drystone_catalog::{
    BucketRow, ETag, Encryption, Headers, Key, ObjectLock, ObjectRow, Retention, Tx, Versioning,
};
use drystone_keyring::DataKey;
use std::ops::Range;
use std::sync::Arc;

/// What a client says about an object besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectDraft {
    /// `content-type` and the like.
    pub headers: Headers,
    /// User metadata, names after `x-amz-meta-`.
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
    /// How its bytes are sealed.
    pub encryption: Option<Encryption>,
    /// The bucket that its data key is bound to: it can be opened in no other. Not part of the row.
    pub sealed_in: Option<BucketId>,
}

impl ObjectDraft {
    /// The row of an object that is not written yet.
    #[must_use]
    pub fn into_row(self) -> ObjectRow {
        ObjectRow {
            headers: self.headers,
            metadata: self.metadata,
            tags: self.tags,
            storage_class: self.storage_class,
            acl: self.acl,
            owner: self.owner,
            lock: self.lock,
            encryption: self.encryption,
            ..ObjectRow::empty()
        }
    }
}

/// A body that was taken in and is to become an object.
pub struct PutRequest {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub object: Vec<u8>,
    /// Everything but the bytes.
    pub draft: ObjectDraft,
    /// The bytes.
    pub stored: Stored,
    /// Conditions on the current version.
    pub conditions: Conditions,
}

/// A version that was found. What it names stays readable while this exists.
pub struct Located {
    /// The version.
    pub row: ObjectRow,
    /// Its bucket.
    pub bucket: Arc<BucketRow>,
    object: Vec<u8>,
    pub(crate) pin: Pin,
}

impl Located {
    /// Whether it is a version of the target of a copy.
    pub(crate) fn is_of(&self, copy: &crate::CopyRequest) -> bool {
        self.bucket.name == copy.bucket && self.object == copy.object
    }

    /// Names the version as the source of a copy.
    pub(crate) fn source(&self) -> SourceRef {
        let (bucket, object) = (self.bucket.id, self.object.clone());
        SourceRef { bucket, object, seq: self.row.seq, data: self.row.data.clone() }
    }

    /// Version id to report; `None` in a bucket that never had versioning.
    #[must_use]
    pub fn reported_version(&self) -> Option<String> {
        (self.bucket.versioning != Versioning::Off).then(|| self.row.version_text())
    }
}

impl Engine {
    /// Makes a body an object.
    ///
    /// # Errors
    ///
    /// A condition that does not hold, no such bucket, or the catalog failed.
    pub async fn put_object(&self, request: PutRequest) -> Result<WriteOutcome, EngineError> {
        let PutRequest { bucket, object, draft, stored, conditions } = request;
        let (stray, began_in) = (stored.stray_blob(), stored.bucket);
        let is_there = draft.sealed_in.is_none_or(|bucket| bucket == began_in);
        if !is_there {
            self.bury(stray);
            return Err(EngineError::BucketNotFound);
        }
        let mut row = ObjectRow {
            size: stored.size,
            etag: ETag { md5: stored.etag, part_count: None },
            checksum: Some(stored.checksum.clone()),
            data: stored.data.clone(),
            ..draft.into_row()
        };
        match (&mut row.encryption, stored.salt) {
            (Some(encryption), Some(salt)) => encryption.salt = salt,
            (encryption, salt) => assert!(
                encryption.is_none() && salt.is_none(),
                "bytes are sealed where their row says so"
            ),
        }
        let row = self.hide((began_in, &object), row).inspect_err(|_| self.bury(stray))?;
        if stray.is_some() {
            self.write_manifest(&*self.find_bucket(&bucket)?, &object, &row, None);
        }
        let (payload, key) = (stored.payload.clone(), object.clone());
        let outcome = self
            .commit_body(stored, move |tx| {
                plan::put_object(tx, began_in, &object, row, payload, &conditions)
            })
            .await;
        self.revealed((began_in, &key), outcome)
    }

    /// An outcome whose row can be shown.
    pub(crate) fn revealed(
        &self,
        named: Named<'_>,
        outcome: Result<WriteOutcome, EngineError>,
    ) -> Result<WriteOutcome, EngineError> {
        let mut outcome = outcome?;
        self.reveal(named, &mut outcome.row)?;
        Ok(outcome)
    }

    /// Gives up a body that was taken in and will not become an object.
    pub fn give_up(&self, stored: &Stored) {
        self.bury(stored.stray_blob());
    }

    /// Declares a blob dead that no row will name.
    pub(crate) fn bury(&self, stray: Option<drystone_base::BlobId>) {
        if let Some(blob) = stray {
            self.pool().bury_later(&[blob]);
        }
    }

    /// Runs the plan that gives a body its row, and waits for its outcome to be durable. A body that
    /// certainly gets none is declared dead.
    pub(crate) async fn commit_body<T: Send + 'static>(
        &self,
        mut stored: Stored,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (in_progress, stray) = (stored.in_progress.take(), stored.stray_blob());
        let (engine, lacking) = (self.clone(), stored.lacking);
        let outcome = self
            .commit(move |tx| {
                // The frame, or the tombstone, gets an lsn above any floor written before this.
                let outcome = plan(tx).inspect_err(|_| engine.bury(stray))?;
                note_lacking(tx, lacking.as_ref());
                Ok((outcome, in_progress))
            })
            .await
            .map(|(outcome, _)| outcome);
        // The plan did not run, or its changes were not written.
        if matches!(outcome, Err(EngineError::Full | EngineError::DecidedOnOther)) {
            self.bury(stray);
        }
        outcome
    }

    /// What a decision looks at of a version; `None` if there is none that can be read. The request has no
    /// effect if another one changes it meanwhile.
    #[must_use]
    pub fn look_at(
        &self,
        bucket: &BucketRow,
        object: &[u8],
        version: Option<VersionRef>,
    ) -> Option<ObjectRow> {
        let row = self.locate_any(&bucket.name, object, version).ok().map(|located| located.row);
        if let Some(decided) = self.noting() {
            decided.looked_at.note((bucket.id, object), version, row.as_ref());
        }
        row
    }

    /// Finds the current or a named version of a key.
    ///
    /// # Errors
    ///
    /// [`EngineError::DecidedOnOther`] if the request was decided on another,
    /// [`EngineError::ObjectNotFound`], [`EngineError::VersionNotFound`], [`EngineError::IsDeleteMarker`],
    /// [`EngineError::BucketNotFound`], or the catalog failed.
    pub fn locate(
        &self,
        bucket: &str,
        object: &[u8],
        version: Option<VersionRef>,
    ) -> Result<Located, EngineError> {
        let mut located = self.locate_sealed(bucket, object, version)?;
        self.reveal((located.bucket.id, object), &mut located.row)?;
        Ok(located)
    }

    /// As [`Engine::locate`], with the row as it is stored.
    pub(crate) fn locate_sealed(
        &self,
        bucket: &str,
        object: &[u8],
        version: Option<VersionRef>,
    ) -> Result<Located, EngineError> {
        let located = self.locate_any(bucket, object, version)?;
        let is_as_seen = self.decided().is_none_or(|decided| {
            let name = (located.bucket.id, object);
            decided.looked_at.is_as_seen(name, version, &located.row)
        });
        if is_as_seen { Ok(located) } else { Err(EngineError::DecidedOnOther) }
    }

    /// Finds a version, whatever was decided on.
    fn locate_any(
        &self,
        bucket: &str,
        object: &[u8],
        version: Option<VersionRef>,
    ) -> Result<Located, EngineError> {
        let pin = self.shared.pins.pin();
        let bucket = self.find_bucket(bucket)?;
        let Some(version) = version else {
            let bytes = self.shared.catalog.get(&Key::head(bucket.id, object))?;
            let bytes = bytes.ok_or(EngineError::ObjectNotFound { marker: None })?;
            let row = ObjectRow::decode(&bytes)?;
            if row.is_marker {
                return Err(EngineError::ObjectNotFound { marker: Some(row.version_text()) });
            }
            return Ok(Located { row, bucket, object: object.to_vec(), pin });
        };
        let view = CommittedView(&self.shared.catalog);
        // The version may be on its way from head to version row, or back: look twice.
        for _ in 0..2 {
            let tx = Tx::new(&view, &*self.shared.rng, 0, Seq(0));
            if let Some((_, row)) = plan::load_version(&tx, bucket.id, object, version)? {
                if row.is_marker {
                    let version = row.version_text();
                    let modified_ms = row.modified_ms;
                    return Err(EngineError::IsDeleteMarker { version, modified_ms });
                }
                return Ok(Located { row, bucket, object: object.to_vec(), pin });
            }
        }
        Err(EngineError::VersionNotFound)
    }

    /// Opens bytes `range` of a version, after a share of the byte budget was reserved. `key`: its data key,
    /// if it is encrypted.
    ///
    /// # Errors
    ///
    /// [`EngineError::Busy`], [`EngineError::KeyNeeded`], [`EngineError::Unreachable`], or the catalog
    /// failed.
    pub async fn read(
        &self,
        located: Located,
        range: Range<u64>,
        key: Option<&DataKey>,
    ) -> Result<ObjectReader, EngineError> {
        self.check_reach(&located.row, &range, key).await?;
        let lane = self.reserve_read(&located.row, &range).await?;
        self.open_reader(&located.row, range, key, (located.pin, lane)).await
    }

    /// Deletes a key, or one version of it.
    ///
    /// # Errors
    ///
    /// A condition that does not hold, no such bucket, or the catalog failed.
    pub async fn delete_object(
        &self,
        bucket: &str,
        object: Vec<u8>,
        version: Option<VersionRef>,
        conditions: Conditions,
    ) -> Result<DeleteOutcome, EngineError> {
        let (bucket, named) = (self.bucket_id(bucket)?, object.clone());
        let plan =
            move |tx: &mut Tx<'_>| plan::delete_object(tx, bucket, &named, version, &conditions);
        self.commit_on(Some(&object), None, plan).await
    }

    /// Hands a delete in at once, to be waited for later: deletes that are handed in one after the
    /// other are carried out in that order. If something changed since the request was decided on, this fails
    /// with [`EngineError::DecidedOnOther`], and is the caller's to decide on again.
    pub fn start_delete(
        &self,
        bucket: &str,
        object: Vec<u8>,
        version: Option<VersionRef>,
        conditions: Conditions,
    ) -> impl Future<Output = Result<DeleteOutcome, EngineError>> + Send + 'static {
        let bucket = self.bucket_id(bucket);
        self.start_commit(object.clone(), move |tx| {
            plan::delete_object(tx, bucket?, &object, version, &conditions)
        })
    }

    /// Replaces the tags of a version; returns the version.
    ///
    /// # Errors
    ///
    /// What is named does not exist, or the catalog failed.
    pub async fn put_tags(
        &self,
        bucket: &str,
        object: Vec<u8>,
        version: Option<VersionRef>,
        tags: Vec<(String, String)>,
    ) -> Result<ObjectRow, EngineError> {
        let bucket = self.bucket_id(bucket)?;
        self.commit(move |tx| plan::set_tags(tx, bucket, &object, version, tags)).await
    }

    /// Gives a version another retention; returns the version. `bypasses`: the right to bypass governance was
    /// shown.
    ///
    /// # Errors
    ///
    /// As [`plan::set_retention`].
    pub async fn put_retention(
        &self,
        bucket: &str,
        object: Vec<u8>,
        version: Option<VersionRef>,
        retention: Option<Retention>,
        bypasses: bool,
    ) -> Result<ObjectRow, EngineError> {
        let bucket = self.bucket_id(bucket)?;
        let plan = move |tx: &mut Tx<'_>| {
            plan::set_retention(tx, bucket, &object, version, retention, bypasses)
        };
        self.commit(plan).await
    }

    /// Makes an archived version readable for some days, after a delay in milliseconds.
    ///
    /// # Errors
    ///
    /// As [`plan::restore`].
    pub async fn restore(
        &self,
        bucket: &str,
        object: Vec<u8>,
        version: Option<VersionRef>,
        days: u32,
        delay_ms: u64,
    ) -> Result<plan::RestoreOutcome, EngineError> {
        let bucket = self.bucket_id(bucket)?;
        self.commit(move |tx| plan::restore(tx, bucket, &object, version, days, delay_ms)).await
    }

    /// Puts a version on legal hold, or releases it; returns the version.
    ///
    /// # Errors
    ///
    /// As [`plan::set_legal_hold`].
    pub async fn put_legal_hold(
        &self,
        bucket: &str,
        object: Vec<u8>,
        version: Option<VersionRef>,
        is_held: bool,
    ) -> Result<ObjectRow, EngineError> {
        let bucket = self.bucket_id(bucket)?;
        let plan =
            move |tx: &mut Tx<'_>| plan::set_legal_hold(tx, bucket, &object, version, is_held);
        self.commit(plan).await
    }

    /// Replaces the access control list of a version; returns the version.
    ///
    /// # Errors
    ///
    /// What is named does not exist, or the catalog failed.
    pub async fn put_acl(
        &self,
        bucket: &str,
        object: Vec<u8>,
        version: Option<VersionRef>,
        acl: String,
    ) -> Result<ObjectRow, EngineError> {
        let bucket = self.bucket_id(bucket)?;
        let change = move |row: &mut ObjectRow| row.acl = Some(acl);
        self.commit(move |tx| plan::change_version(tx, bucket, &object, version, change)).await
    }
}
