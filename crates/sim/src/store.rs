//! A store on disks that a test chooses, without histories.

use crate::client::{put, read};
use crate::drives::SimIndexes;
use crate::{BUCKET, DEVICE_LEN, ShiftedClock};
use bytes::Bytes;
use drystone_base::limits::PART_LEN_BYTES_MIN;
use drystone_base::sync::thread;
use drystone_base::{BlobId, Rng, SystemRng, UploadId, hex, say};
use drystone_catalog::Decision;
use drystone_cluster::DriveId;
use drystone_engine::deployment::{
    Deployment, DeploymentConfig, MoveReport, OpenError, Place, Rebuild, new_deployment,
};
use drystone_engine::plan::{self, CompletePlan};
use drystone_engine::{
    ByteBudget, CompleteRequest, Conditions, Data, ETag, Engine, EngineError, Manifest, NewUpload,
    ObjectDraft, ObjectRow, PartInput, PartRow, RowProtection,
};
use drystone_io::{Disk, SimDisk};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A store that was made just now.
pub struct Store {
    /// The drives, opened together.
    pub deployment: Deployment,
    /// The engine.
    pub engine: Engine,
    clock: Arc<ShiftedClock>,
}

impl Store {
    /// Makes a store on some empty disks. `is_paced`: whether work in the background yields to clients.
    ///
    /// # Panics
    ///
    /// If that is not possible.
    #[must_use]
    pub fn make(disks: &[Arc<dyn Disk>], segment_len: u32, is_paced: bool) -> Self {
        let places: Vec<Place> = disks.iter().enumerate().map(Self::place).collect();
        new_deployment(&places, &SystemRng, 1, &|_| segment_len)
            .expect("empty disks are formatted");
        Self::open(places, is_paced)
    }

    /// Opens a store on the disks of some places, with indexes rebuilt.
    ///
    /// # Panics
    ///
    /// If that is not possible.
    #[must_use]
    pub fn open(places: Vec<Place>, is_paced: bool) -> Self {
        let clock = Arc::new(ShiftedClock::default());
        let config = DeploymentConfig {
            clock: clock.clone(),
            rng: Arc::new(SystemRng),
            budget: ByteBudget::new(256 << 20),
            is_paced,
            indexes: Arc::new(SimIndexes::default()),
            write_ahead_len: 0,
            rebuild: Rebuild::Needed,
            rows: RowProtection::None,
            keyring: None,
            accepts_lost_keyring: false,
            bug: None,
        };
        let deployment = Deployment::open(places, config).expect("what was made opens");
        let engine = deployment.engine.clone();
        Self { deployment, engine, clock }
    }

    /// The place of the disk of a number.
    #[must_use]
    pub fn place((number, disk): (usize, &Arc<dyn Disk>)) -> Place {
        let (zone, node) = (String::new(), String::new());
        Place { path: number.to_string(), disk: disk.clone(), zone, node }
    }

    /// The drive on the disk of a number.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn drive_id(&self, number: usize) -> DriveId {
        let drives = self.engine.pool().drives();
        let drive = drives.iter().find(|drive| drive.path == number.to_string());
        drive.expect("it is one of them").info.id
    }

    /// One round of what the repair thread does. Returns what became of the move, if there is one.
    ///
    /// # Errors
    ///
    /// The move failed.
    ///
    /// # Panics
    ///
    /// If anything before the move fails.
    pub fn work_on_drives(&self) -> Result<Option<MoveReport>, OpenError> {
        let deployment = &self.deployment;
        while deployment.recruit().expect("another holds the catalog") {}
        deployment.engine.repair().expect("is repaired");
        for drive in deployment.to_refill().expect("is known") {
            deployment.refill(drive, &|_| true).expect("is filled");
        }
        deployment.rebalance(&|_| true)
    }

    /// A disk in memory.
    #[must_use]
    pub fn memory_disk(seed: u64) -> SimDisk {
        SimDisk::new(DEVICE_LEN, seed)
    }

    /// Makes the bucket of the store.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub async fn make_bucket(&self) {
        let made = self.engine.create_bucket(BUCKET, "", Vec::new(), Vec::new(), None, false).await;
        made.expect("the bucket is made");
    }

    /// Stores an object.
    ///
    /// # Errors
    ///
    /// As the engine.
    pub async fn put(&self, key: &str, body: &Bytes) -> Result<(), EngineError> {
        put(&self.engine, key, body).await
    }

    /// Stores an object of several parts, also of parts that are shorter than clients may send.
    ///
    /// # Errors
    ///
    /// As the engine.
    pub async fn put_parts(&self, key: &str, parts: &[Bytes]) -> Result<(), EngineError> {
        let (upload, rows) = self.upload_parts(key, parts).await?;
        self.complete(key, upload, rows).await
    }

    /// Begins an upload, and stores its parts.
    ///
    /// # Errors
    ///
    /// As the engine.
    pub async fn upload_parts(
        &self,
        key: &str,
        parts: &[Bytes],
    ) -> Result<(UploadId, Vec<PartRow>), EngineError> {
        let (engine, object) = (&self.engine, key.as_bytes().to_vec());
        let new = NewUpload {
            bucket: BUCKET.to_owned(),
            object: object.clone(),
            draft: ObjectDraft::default(),
            checksum: None,
            said: Vec::new(),
            initiator: None,
        };
        let upload = engine.create_upload(new).await?;
        let mut rows = Vec::new();
        for (number, body) in (1..).zip(parts) {
            let stored = crate::client::store(engine, key, body).await?;
            rows.push(engine.put_part(BUCKET, object.clone(), upload, number, stored).await?);
        }
        Ok((upload, rows))
    }

    /// Makes an upload an object.
    ///
    /// # Errors
    ///
    /// As the engine.
    pub async fn complete(
        &self,
        key: &str,
        upload: UploadId,
        rows: Vec<PartRow>,
    ) -> Result<(), EngineError> {
        let object = key.as_bytes().to_vec();
        let is_short = |part: &PartRow| part.size < PART_LEN_BYTES_MIN;
        if !rows.iter().rev().skip(1).any(is_short) {
            let parts = rows.iter().map(|part| PartInput {
                number: part.number.into(),
                etag: hex(&part.md5),
                checksum: None,
            });
            let request = CompleteRequest {
                bucket: BUCKET.to_owned(),
                object,
                upload,
                parts: parts.collect(),
                conditions: Conditions::default(),
                checksum: None,
                checksum_kind: None,
                object_size: None,
            };
            return self.engine.complete_upload(request).await.map(drop);
        }
        self.complete_short(object, upload, rows)
    }

    /// Makes an upload an object without a look at the length of its parts.
    fn complete_short(
        &self,
        object: Vec<u8>,
        upload: UploadId,
        rows: Vec<PartRow>,
    ) -> Result<(), EngineError> {
        let (engine, mut id) = (&self.engine, [0; 16]);
        SystemRng.fill(&mut id);
        let manifest_id = BlobId(id);
        let (bucket, term) = (engine.find_bucket(BUCKET)?.id, engine.drive().identity().term);
        let (size, count) = (rows.iter().map(|part| part.size).sum(), rows.len() as u16);
        let etag = ETag { md5: [7; 16], part_count: Some(count) };
        let data = Data::Manifest(manifest_id);
        let plan = CompletePlan {
            draft: ObjectRow { data, size, etag, ..ObjectRow::empty() },
            manifest_id,
            manifest: Manifest { parts: rows },
            conditions: Conditions::default(),
        };
        let ticket = engine.catalog().submit(move |tx| {
            let frozen = plan::freeze_upload(tx, bucket, &object, upload, term);
            frozen.expect("the upload is open");
            let completed = plan::complete_upload(tx, bucket, &object, upload, plan);
            completed.expect("the upload is there");
            Ok(Decision::Commit(()))
        });
        Ok(ticket.wait()?)
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// As the engine.
    pub async fn read(&self, key: &str) -> Result<Option<Bytes>, EngineError> {
        read(&self.engine, key).await
    }

    /// Deletes an object.
    ///
    /// # Errors
    ///
    /// As the engine.
    pub async fn delete(&self, key: &str) -> Result<(), EngineError> {
        let (name, none) = (key.as_bytes().to_vec(), Conditions::default());
        self.engine.delete_object(BUCKET, name, None, none).await.map(drop)
    }

    /// Gives back what deletes released, also what was postponed, as far as no reader needs it.
    ///
    /// # Errors
    ///
    /// As the engine.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        self.clock.0.fetch_add(61_000, Ordering::Relaxed);
        let mut sweeper = self.engine.sweeper();
        while self.engine.sweep(&mut sweeper).await?.has_more {
            // A reader may have to go on first.
            thread::yield_now();
        }
        Ok(())
    }

    /// Everything that does not hold: rows, shards that are missing, blobs that belong to no one.
    ///
    /// # Panics
    ///
    /// If drives or catalog cannot be read.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let report = self.engine.check().unwrap_or_else(|error| panic!("{}", say(&error)));
        let unnamed = self.engine.unnamed_blobs().unwrap_or_else(|error| panic!("{}", say(&error)));
        let problems = report.problems.iter().map(ToString::to_string);
        problems.chain(unnamed.iter().map(|blob| format!("{blob} belongs to nobody"))).collect()
    }
}
