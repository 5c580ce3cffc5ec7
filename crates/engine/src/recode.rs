//! Giving what is stored another code, after the number of drives has changed: what would survive fewer
//! losses than is promised now, and what is spread over more drives than will be left.
//!
//! The bytes are read, written as a new blob, and compared with their MD5; then the row names the new blob,
//! if it still names the old one. Readers of the old one keep it until they are done, as after a delete. No
//! lock is held meanwhile: what was changed is left for the next walk. Parts of one list are named in batches
//! (`recode/batch.rs`), so that a list is not written once for each of its parts.

mod batch;

use crate::blob::{NewBlob, Stored};
use crate::cut::DEPTH_MAX;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::pace::{Meter, Work};
use crate::plan::{self, Payload};
use crate::repair::note_lacking;
use batch::{Batch, Rewritten};
use drystone_base::{BlobId, UploadId, error_limited};
use drystone_catalog::{
    BucketRow, ChecksumAlgorithm, Data, Family, Key, KeyParts, Manifest, ObjectRow, PartRow, Tx,
    UploadRow, UploadState,
};
use drystone_cluster::{Protection, Shape};
use std::collections::HashMap;
use tokio::runtime::Runtime;

/// What survives the loss of so many drives keeps its code when drives are added.
pub(crate) const PARITY_PROMISED: u8 = 2;

/// What was given another code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecodeReport {
    /// Versions and parts looked at.
    pub(crate) rows: u64,
    /// Objects and parts.
    pub(crate) parts: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// Objects and parts that cannot be read, or were changed meanwhile.
    pub(crate) left: u64,
    /// It was told to stop.
    pub(crate) stopped: bool,
}

/// A walk over everything that is stored.
struct Recoding<'a> {
    engine: &'a Engine,
    runtime: Runtime,
    standard: Shape,
    /// Drives that stay.
    drive_count: usize,
    /// Keys of the rows of open uploads, by id.
    uploads: HashMap<UploadId, Vec<u8>>,
    meter: Meter<'a>,
    report: RecodeReport,
    /// Hears of the progress, and may stop it.
    tell: &'a dyn Fn(&RecodeReport) -> bool,
}

/// A part of an object, or the whole of one.
struct Piece<'a> {
    bucket: &'a BucketRow,
    object: &'a [u8],
    storage_class: Option<&'a str>,
    data: &'a Data,
    size: u64,
    /// If it is known for this piece.
    md5: Option<[u8; 16]>,
}

impl Engine {
    /// Gives another code to what needs it where `drive_count` drives are. Blocks, for long; `tell` hears of
    /// the progress and may stop it.
    ///
    /// # Errors
    ///
    /// The catalog failed, or a drive does not take what it is given.
    pub(crate) fn recode(
        &self,
        drive_count: usize,
        tell: &dyn Fn(&RecodeReport) -> bool,
    ) -> Result<RecodeReport, EngineError> {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let runtime = builder
            .enable_time()
            .build()
            .map_err(|error| EngineError::from(drystone_log::LogError::from(error)))?;
        let mut recoding = Recoding {
            engine: self,
            runtime,
            standard: self.pool().shape(),
            drive_count,
            uploads: HashMap::new(),
            meter: self.shared.pace.meter(Work::Move),
            report: RecodeReport::default(),
            tell,
        };
        recoding.load_uploads()?;
        let snapshot = self.shared.catalog.snapshot();
        for family in [Family::Head, Family::Version, Family::Part] {
            for row in snapshot.scan(family.range()) {
                let (key, value) = row?;
                match family {
                    Family::Part => recoding.part(&key, &value)?,
                    _ => recoding.version(&key, &value)?,
                }
                recoding.report.rows += 1;
                if recoding.is_stopped() {
                    return Ok(recoding.report);
                }
            }
        }
        Ok(recoding.report)
    }
}

impl Recoding<'_> {
    /// Tells of the progress; whether it is to stop.
    fn is_stopped(&mut self) -> bool {
        self.report.stopped = self.report.stopped || !(self.tell)(&self.report);
        self.report.stopped
    }

    fn load_uploads(&mut self) -> Result<(), EngineError> {
        let snapshot = self.engine.shared.catalog.snapshot();
        for row in snapshot.scan(Family::Upload.range()) {
            let (key, value) = row?;
            let parts = KeyParts::parse(&key)?;
            let is_open = is_open(&UploadRow::decode(&value)?, self.engine.term());
            if let (true, Ok(id)) = (is_open, parts.rest[..].try_into()) {
                self.uploads.insert(UploadId(id), key.to_vec());
            }
        }
        Ok(())
    }

    /// Whether a blob needs another code, or another group: one that is wider than there are drives cannot
    /// move.
    fn needs(&self, data: &Data, storage_class: Option<&str>) -> bool {
        if let Data::Slice { base, .. } = data {
            return match &**base {
                // What is left of an object whose pieces others have: they get bytes of their own.
                Data::Manifest(id) => self.engine.stored_parts(*id).is_ok_and(|row| {
                    let parts = Manifest::walk(&row).into_iter().flatten().flatten();
                    let mut data = parts.filter_map(|part| part.data().ok());
                    data.any(|data| self.needs(&data, storage_class))
                }),
                base => self.needs(base, storage_class),
            };
        }
        let Data::Blob { blob, code: (_, parity), .. } = data else { return false };
        let wanted = self.standard.with(Protection::of_class(storage_class));
        let group = self.engine.pool().group(blob.group());
        let width = group.map_or(0, |group| group.members.len());
        *parity < wanted.parity.min(PARITY_PROMISED) || width > self.drive_count
    }

    fn bucket(&self, key: &KeyParts) -> Result<Option<BucketRow>, EngineError> {
        let row = self.engine.shared.catalog.get(&Key::bucket(key.bucket))?;
        Ok(row.map(|row| BucketRow::decode(&row)).transpose()?)
    }

    fn version(&mut self, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        let (row, parts) = (ObjectRow::decode(value)?, KeyParts::parse(key)?);
        let class = row.storage_class.as_deref();
        match &row.data {
            Data::Manifest(id) => {
                let before = self.report.parts;
                self.list(*id, &parts, class, DEPTH_MAX)?;
                match self.report.parts > before {
                    true => self.write_list_beside(key, &parts, *id),
                    false => Ok(()),
                }
            }
            data if self.needs(data, class) => {
                let Some(bucket) = self.bucket(&parts)? else { return Ok(()) };
                // Of sealed bytes the entity tag says nothing; their frames do when they are read.
                let has_md5 = row.etag.part_count.is_none() && row.encryption.is_none();
                let md5 = has_md5.then_some(row.etag.md5);
                let (object, size) = (&parts.object[..], row.stored_len());
                let piece =
                    Piece { bucket: &bucket, object, storage_class: class, data, size, md5 };
                let (old, key) = (data.clone(), key.to_vec());
                let place = key.clone();
                let rewritten = self.rewrite(&piece, move |tx, data| {
                    let Some(bytes) = tx.get(&key)? else { return Ok(false) };
                    let row = ObjectRow::decode(&bytes)?;
                    if row.data != old {
                        return Ok(false);
                    }
                    plan::release_version(tx, &row)?;
                    tx.put(key.clone(), ObjectRow { data, is_shared: false, ..row }.encode());
                    Ok(true)
                })?;
                // As it is by now: the walk may have read it hours ago.
                let now = self.engine.shared.catalog.get(&place)?;
                if let (Some(data), Some(now)) = (rewritten, now)
                    && let Ok(row) = ObjectRow::decode(&now)
                    && row.data == data
                {
                    self.engine.write_manifest(&bucket, object, &row, None);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The parts of a list, and of the lists that are entries of it.
    fn list(
        &mut self,
        id: BlobId,
        key: &KeyParts,
        class: Option<&str>,
        depth_left: usize,
    ) -> Result<(), EngineError> {
        let Some(bytes) = self.engine.shared.catalog.get(&Key::manifest(id))? else {
            return Ok(());
        };
        let list = Manifest::decode(&bytes)?;
        let mut batch = Batch::of_list(list.parts.len());
        for (at, part) in list.parts.iter().enumerate() {
            // The parts of a whole list stay what they are: each is sealed for itself, and it may be longer
            // than a part can be.
            if let Data::Slice { base, base_size, offset: 0 } = &part.data
                && let Data::Manifest(inner) = **base
                && *base_size == part.size
                && depth_left > 0
            {
                self.list(inner, key, class, depth_left - 1)?;
                if self.report.stopped {
                    break;
                }
                continue;
            }
            if !self.needs(&part.data, class) {
                continue;
            }
            let Some(bucket) = self.bucket(key)? else { break };
            let piece = Piece::of_part(&bucket, &key.object, class, part);
            match self.copy(&piece) {
                Ok(Some(stored)) => batch.push(Rewritten::new(at, part, stored)),
                Ok(None) => {}
                Err(error) => {
                    // What was written so far is not written in vain.
                    self.name(id, &mut batch)?;
                    return Err(error);
                }
            }
            // Where the list is gone, the rest of it need not be read.
            if batch.is_full() && !self.name(id, &mut batch)? {
                return Ok(());
            }
            if self.is_stopped() {
                break;
            }
        }
        self.name(id, &mut batch).map(drop)
    }

    /// Lets a list name what was written again of its parts. Says whether the list is still there.
    fn name(&mut self, id: BlobId, batch: &mut Batch) -> Result<bool, EngineError> {
        let Some((pieces, strays)) = batch.take() else { return Ok(true) };
        let committed = self.engine.commit(move |tx| batch::name_in_list(tx, id, pieces));
        let named = self.runtime.block_on(committed)?;
        for stray in strays {
            // The uploads are in progress until here: until the list is durable.
            match named.as_ref().is_some_and(|named| named.contains(&stray.at)) {
                true => {
                    self.report.parts += 1;
                    self.report.bytes += stray.len;
                }
                // It was deleted or overwritten: the next walk shows.
                false => {
                    self.engine.bury(stray.blob);
                    self.report.left += 1;
                }
            }
        }
        Ok(named.is_some())
    }

    /// Writes the manifest beside the bytes again, after parts of a list were: its copy went with the blob
    /// that was the first one.
    fn write_list_beside(
        &self,
        key: &[u8],
        parts: &KeyParts,
        id: BlobId,
    ) -> Result<(), EngineError> {
        let catalog = &self.engine.shared.catalog;
        let (row, list) = (catalog.get(key)?, catalog.get(&Key::manifest(id))?);
        let (Some(row), Some(list)) = (row, list) else { return Ok(()) };
        let row = ObjectRow::decode(&row)?;
        if row.data == Data::Manifest(id)
            && let Some(bucket) = self.bucket(parts)?
        {
            let list = Manifest::decode(&list)?;
            self.engine.write_manifest(&bucket, &parts.object, &row, Some(&list));
        }
        Ok(())
    }

    /// A part of an upload that is open. What belongs to one that was completed is the object's.
    fn part(&mut self, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        let part = PartRow::decode(value)?;
        let id = key.get(1..).and_then(|key| key.split_last_chunk::<2>());
        let Some(Ok(id)) = id.map(|(id, _)| id.try_into().map(UploadId)) else { return Ok(()) };
        let Some(upload_key) = self.uploads.get(&id).cloned() else { return Ok(()) };
        let Some(upload) = self.engine.shared.catalog.get(&upload_key)? else { return Ok(()) };
        let upload = UploadRow::decode(&upload)?;
        let (class, term) = (upload.template.storage_class.as_deref(), self.engine.term());
        if !is_open(&upload, term) || !self.needs(&part.data, class) {
            return Ok(());
        }
        let parts = KeyParts::parse(&upload_key)?;
        let Some(bucket) = self.bucket(&parts)? else { return Ok(()) };
        let piece = Piece::of_part(&bucket, &parts.object, class, &part);
        let (old, key) = (part.data.clone(), key.to_vec());
        self.rewrite(&piece, move |tx, data| {
            let upload = tx.get(&upload_key)?.map(|row| UploadRow::decode(&row)).transpose()?;
            // A completion that runs has read its parts already.
            let is_open = upload.is_some_and(|upload| is_open(&upload, term));
            let Some(bytes) = tx.get(&key)?.filter(|_| is_open) else { return Ok(false) };
            let part = PartRow::decode(&bytes)?;
            if part.data != old {
                return Ok(false);
            }
            plan::release_part(tx, &part)?;
            tx.put(key.clone(), PartRow { data, ..part }.encode());
            Ok(true)
        })?;
        Ok(())
    }

    /// Writes a piece again; nothing if it cannot be read yet.
    fn copy(&mut self, piece: &Piece<'_>) -> Result<Option<Stored>, EngineError> {
        let copied = self.runtime.block_on(self.engine.copy_piece(piece));
        self.meter.step(piece.size);
        match copied {
            Ok(stored) => Ok(Some(stored)),
            // Its drives may come back; `drystone verify` says what is wrong.
            Err(
                error @ (EngineError::Damaged(_)
                | EngineError::Unreachable { .. }
                | EngineError::Busy
                | EngineError::Conflict),
            ) => {
                let (bucket, error) = (&piece.bucket.name, &error as &dyn std::error::Error);
                let object = String::from_utf8_lossy(piece.object);
                error_limited!("it cannot be given another code yet"; bucket, %object, error);
                self.report.left += 1;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a piece again and lets `name` put the new data into its row, if that still has the old.
    /// Returns the new data if it did.
    fn rewrite(
        &mut self,
        piece: &Piece<'_>,
        name: impl FnOnce(&mut Tx<'_>, Data) -> Result<bool, EngineError> + Send + 'static,
    ) -> Result<Option<Data>, EngineError> {
        let engine = self.engine;
        let Some(stored) = self.copy(piece)? else { return Ok(None) };
        let (data, payload, lacking) =
            (stored.data.clone(), stored.payload.clone(), stored.lacking);
        let stray = stored.stray_blob();
        let new = data.clone();
        let committed = self.runtime.block_on(engine.commit(move |tx| {
            if let (Data::Inline(id), Payload::Inline(bytes)) = (&data, payload) {
                tx.put(Key::inline(*id), bytes);
            }
            if !name(tx, data)? {
                return Err(EngineError::Conflict);
            }
            note_lacking(tx, lacking.as_ref());
            Ok(())
        }));
        match committed {
            Ok(()) => {
                self.report.parts += 1;
                self.report.bytes += piece.size;
                Ok(Some(new))
            }
            // It was deleted or overwritten, or is being completed: the next walk shows.
            Err(EngineError::Conflict) => {
                engine.bury(stray);
                self.report.left += 1;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether parts of an upload may change in the process of a term.
fn is_open(upload: &UploadRow, term: u32) -> bool {
    match upload.state {
        UploadState::Open => true,
        UploadState::Completing { term: of } => of != term,
        UploadState::Completed { .. } => false,
    }
}

impl<'a> Piece<'a> {
    fn of_part(
        bucket: &'a BucketRow,
        object: &'a [u8],
        storage_class: Option<&'a str>,
        part: &'a PartRow,
    ) -> Self {
        // The entity tag of a piece need not be its MD5.
        let has_md5 = part.salt.is_none() && !matches!(part.data, Data::Slice { .. });
        let md5 = has_md5.then_some(part.md5);
        let (data, size) = (&part.data, part.stored_len());
        Self { bucket, object, storage_class, data, size, md5 }
    }
}

impl Engine {
    /// Streams a piece into a new blob.
    async fn copy_piece(&self, piece: &Piece<'_>) -> Result<Stored, EngineError> {
        let new = NewBlob {
            bucket: piece.bucket,
            object: piece.object,
            len: Some(piece.size),
            algorithm: ChecksumAlgorithm::Crc64Nvme,
            storage_class: piece.storage_class,
            seal: None,
        };
        let (mut writer, lane) = self.begin_copy(new).await?;
        let pin = self.shared.pins.pin();
        let row = ObjectRow { data: piece.data.clone(), size: piece.size, ..ObjectRow::empty() };
        let mut reader = self.open_reader(&row, 0..piece.size, None, (pin, lane)).await?;
        while let Some(bytes) = reader.next().await? {
            writer.write(&bytes).await?;
        }
        let stored = writer.finish().await?;
        match piece.md5 {
            Some(md5) if md5 != stored.md5 => {
                self.give_up(&stored);
                tracing::error!(data = ?piece.data, "what was read does not have its MD5");
                Err(EngineError::Conflict)
            }
            _ => Ok(stored),
        }
    }
}
