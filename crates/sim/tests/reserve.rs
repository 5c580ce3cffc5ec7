//! What a full store takes: every form of a delete that gives something back or takes something away, and
//! nothing that only adds.

use bytes::Bytes;
use drystone_base::UploadId;
use drystone_catalog::Versioning;
use drystone_engine::plan::{DocumentKind, VersionRef};
use drystone_engine::{
    ChecksumAlgorithm, Conditions, Engine, EngineError, NewBlob, NewUpload, ObjectDraft, PutRequest,
};
use drystone_io::{Disk, SimDisk};
use drystone_sim::Store;
use std::sync::Arc;

const SEGMENT_LEN: u32 = 256 << 10;
const OFF: &str = "off";
const ENABLED: &str = "enabled";
const SUSPENDED: &str = "suspended";

async fn put(
    engine: &Engine,
    bucket: &str,
    key: &str,
    len: usize,
) -> Result<VersionRef, EngineError> {
    let row = engine.find_bucket(bucket)?;
    let object = key.as_bytes();
    let algorithm = ChecksumAlgorithm::Crc32;
    let len = len as u64;
    let new = NewBlob {
        bucket: &row,
        object,
        len: Some(len),
        algorithm,
        storage_class: None,
        seal: None,
    };
    let mut writer = engine.begin_blob(new)?;
    writer.write(&vec![7; len as usize]).await?;
    let stored = writer.finish().await?;
    let (draft, conditions) = (ObjectDraft::default(), Conditions::default());
    let (bucket, object) = (bucket.to_owned(), object.to_vec());
    let put = engine.put_object(PutRequest { bucket, object, draft, stored, conditions }).await?;
    Ok(VersionRef::parse(&put.row.version_text()).expect("its own id"))
}

async fn delete(
    engine: &Engine,
    bucket: &str,
    key: &str,
    version: Option<VersionRef>,
) -> Result<(), EngineError> {
    let object = key.as_bytes().to_vec();
    engine.delete_object(bucket, object, version, Conditions::default()).await.map(drop)
}

fn tags() -> Vec<(String, String)> {
    vec![("tag".to_owned(), "x".repeat(200))]
}

/// What the deletes need that is told apart by its id.
struct Ids {
    newest: VersionRef,
    older: VersionRef,
    marker: VersionRef,
    tagged: VersionRef,
    upload: UploadId,
    log: Vec<Vec<u8>>,
}

async fn prepare(engine: &Engine) -> Result<Ids, EngineError> {
    for (bucket, versioning) in [
        (OFF, Versioning::Off),
        (ENABLED, Versioning::Enabled),
        (SUSPENDED, Versioning::Suspended),
        ("empty", Versioning::Off),
    ] {
        engine.create_bucket(bucket, "", tags(), Vec::new(), None, false).await?;
        engine.set_document(bucket, DocumentKind::Policy, "", Some(vec![7; 100])).await?;
        if bucket == SUSPENDED {
            put(engine, bucket, "null below", 500).await?;
            engine.set_versioning(bucket, Versioning::Enabled, None, false).await?;
            put(engine, bucket, "null below", 500).await?;
            put(engine, bucket, "no null", 500).await?;
        }
        if versioning != Versioning::Off {
            engine.set_versioning(bucket, versioning, None, false).await?;
        }
        for (key, len) in [("small", 500), ("large", 100_000), ("tagged", 500), ("null", 500)] {
            put(engine, bucket, key, len).await?;
        }
    }
    delete(engine, SUSPENDED, "null marker", None).await?;
    let older = put(engine, ENABLED, "versions", 500).await?;
    let newest = put(engine, ENABLED, "versions", 100_000).await?;
    let marked = Conditions::default();
    let marker = engine.delete_object(ENABLED, b"marked".to_vec(), None, marked).await?;
    let marker = VersionRef::parse(&marker.version.expect("a marker has an id")).expect("its id");
    let tagged = put(engine, ENABLED, "tagged", 500).await?;
    for bucket in [OFF, ENABLED, SUSPENDED] {
        engine.put_tags(bucket, b"tagged".to_vec(), None, tags()).await?;
    }
    let upload = engine
        .create_upload(NewUpload {
            bucket: OFF.to_owned(),
            object: b"upload".to_vec(),
            draft: ObjectDraft::default(),
            checksum: None,
            said: Vec::new(),
            initiator: None,
        })
        .await?;
    for key in ["small", "large", "tagged", "null"] {
        delete(engine, "empty", key, None).await?;
    }
    engine.append_access_log(vec![Bytes::from_static(b"line")]).await?;
    let log = engine.access_log(None, 1)?.into_iter().map(|(key, _)| key).collect();
    Ok(Ids { newest, older, marker, tagged, upload, log })
}

/// Fills the only drive until it takes neither objects nor tags.
async fn fill(engine: &Engine, disk: &SimDisk) {
    let space = disk.space().expect("it says so");
    disk.set_capacity(space.total_bytes - space.free_bytes);
    let mut refused = (false, false);
    for at in 0..20_000 {
        if refused == (true, true) {
            return;
        }
        refused.0 |=
            matches!(put(engine, OFF, &format!("f{at}"), 3000).await, Err(EngineError::Full));
        let tagged = engine.put_tags(OFF, b"tagged".to_vec(), None, tags()).await;
        refused.1 |= matches!(tagged, Err(EngineError::Full));
    }
    panic!("the drive does not fill");
}

/// Goal: decision 21: what gives something back or takes something away goes on where a drive is full, and
/// what only adds is refused there. Method: every form of a delete, on a full drive.
#[test]
fn every_form_of_a_delete_goes_on_where_a_drive_is_full() {
    let memory = Arc::new(Store::memory_disk(1));
    let disks: Vec<Arc<dyn Disk>> = vec![memory.clone()];
    let store = Store::make(&disks, SEGMENT_LEN, false);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("made");
    runtime.block_on(async {
        let engine = &store.engine;
        let ids = prepare(engine).await.expect("there is room");
        fill(engine, &memory).await;
        let none = Vec::new;
        let object = |key: &str| key.as_bytes().to_vec();
        let table: Vec<(&str, Result<(), EngineError>, bool)> = vec![
            ("an object", delete(engine, OFF, "small", None).await, true),
            ("a large object", delete(engine, OFF, "large", None).await, true),
            ("by the id null", delete(engine, OFF, "null", Some(VersionRef::Null)).await, true),
            ("a key that is not there", delete(engine, OFF, "absent", None).await, true),
            (
                "the newest version",
                delete(engine, ENABLED, "versions", Some(ids.newest)).await,
                true,
            ),
            ("an older version", delete(engine, ENABLED, "versions", Some(ids.older)).await, true),
            ("a marker", delete(engine, ENABLED, "marked", Some(ids.marker)).await, true),
            ("by a new marker", delete(engine, ENABLED, "small", None).await, false),
            ("suspended", delete(engine, SUSPENDED, "small", None).await, true),
            ("suspended, large", delete(engine, SUSPENDED, "large", None).await, true),
            ("suspended, below", delete(engine, SUSPENDED, "null below", None).await, true),
            ("suspended, again", delete(engine, SUSPENDED, "small", None).await, false),
            ("suspended, none", delete(engine, SUSPENDED, "no null", None).await, false),
            ("suspended, marker", delete(engine, SUSPENDED, "null marker", None).await, false),
            (
                "suspended, by id",
                delete(engine, SUSPENDED, "null", Some(VersionRef::Null)).await,
                true,
            ),
            ("tags", engine.put_tags(OFF, object("tagged"), None, none()).await.map(drop), true),
            (
                "no tags",
                engine.put_tags(OFF, object("tagged"), None, none()).await.map(drop),
                false,
            ),
            (
                "tags of a version",
                engine
                    .put_tags(ENABLED, object("tagged"), Some(ids.tagged), none())
                    .await
                    .map(drop),
                true,
            ),
            ("an upload", engine.abort_upload(OFF, object("upload"), ids.upload).await, true),
            ("tags of a bucket", engine.set_bucket_tags(OFF, none()).await, true),
            ("no tags of a bucket", engine.set_bucket_tags(OFF, none()).await, true),
            ("other tags of a bucket", engine.set_bucket_tags(OFF, tags()).await, false),
            ("a document", engine.set_document(OFF, DocumentKind::Policy, "", None).await, true),
            ("no document", engine.set_document(OFF, DocumentKind::Policy, "", None).await, true),
            ("a bucket", engine.delete_bucket("empty").await, true),
            ("lines of a log", engine.forget_access_log(ids.log).await, true),
        ];
        for (what, outcome, passes) in table {
            match (outcome, passes) {
                (Ok(()), true) | (Err(EngineError::Full), false) => {}
                (outcome, _) => panic!("{what}: {outcome:?}"),
            }
        }
        assert!(memory.space().is_ok() && engine.drive().log().is_in_reserve());
    });
    store.deployment.close();
}
