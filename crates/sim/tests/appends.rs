//! Goal: an object whose list of parts has become several lists is read, merged and given back as any other.
//! Method: hundreds of appends that are not merged, then some that are.

use bytes::Bytes;
use drystone_base::{BlobId, Rng, Seq, SystemRng};
use drystone_engine::plan::{self, AppendPlan, Payload};
use drystone_engine::{
    AppendRequest, ChecksumAlgorithm, Conditions, Data, Engine, EngineError, NewBlob, ObjectDraft,
    ObjectRow, PartRow,
};
use drystone_io::Disk;
use drystone_sim::Store;
use std::sync::Arc;

const BUCKET: &str = "bucket";
const KEY: &str = "grown";

fn row_of(engine: &Engine) -> ObjectRow {
    engine.locate(BUCKET, KEY.as_bytes(), None).expect("is there").row
}

fn piece(number: u64) -> Bytes {
    Bytes::from(format!("{number:05};").repeat(1 + number as usize % 7))
}

fn random_id() -> BlobId {
    let mut id = [0; 16];
    SystemRng.fill(&mut id);
    BlobId(id)
}

/// Appends, and merges nothing.
fn append_alone(engine: &Engine, bytes: Bytes) -> Result<(), EngineError> {
    let (row, bucket) = (row_of(engine), engine.find_bucket(BUCKET)?.id);
    let (number, size, md5, modified_ms, seq) = (1, bytes.len() as u64, [1; 16], 0, Seq(0));
    let data = Data::Inline(random_id());
    let part = PartRow { number, size, md5, modified_ms, checksum: None, data, seq, salt: None };
    let append = AppendPlan {
        offset: row.size,
        seen: Some(row.seq),
        part,
        payload: Payload::Inline(bytes.to_vec()),
        draft: ObjectRow::empty(),
        checksum: None,
        manifest_id: random_id(),
        conditions: Conditions::default(),
    };
    let ticket = engine.catalog().submit(move |tx| {
        let planned = plan::append(tx, bucket, KEY.as_bytes(), append).map(drop);
        Ok(drystone_catalog::Decision::Commit(planned.map_err(|error| error.to_string())))
    });
    ticket.wait()?.expect("is appended");
    Ok(())
}

async fn append(engine: &Engine, bytes: &Bytes) -> Result<(), EngineError> {
    let (row, bucket) = (row_of(engine), engine.find_bucket(BUCKET)?);
    let (object, len) = (KEY.as_bytes(), Some(bytes.len() as u64));
    let algorithm = ChecksumAlgorithm::Crc32;
    let new = NewBlob { bucket: &bucket, object, len, algorithm, storage_class: None, seal: None };
    let mut writer = engine.begin_blob(new)?;
    writer.write(bytes).await?;
    let request = AppendRequest {
        bucket: BUCKET.to_owned(),
        object: object.to_vec(),
        draft: ObjectDraft::default(),
        stored: writer.finish().await?,
        offset: row.size,
        seen: Some(row),
        seal: None,
        conditions: Conditions::default(),
    };
    engine.append(request).await.map(drop)
}

#[test]
fn an_object_of_many_appends_is_whole_and_is_given_back() {
    let disk: Arc<dyn Disk> = Arc::new(Store::memory_disk(7));
    let store = Store::make(&[disk], 1 << 20, false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        store.make_bucket().await;
        store.engine.set_appends(BUCKET, true, || true).await.expect("is set");
        let mut expected = piece(0).to_vec();
        store.put(KEY, &piece(0)).await.expect("is stored");
        for number in 1..450 {
            append_alone(&store.engine, piece(number)).expect("is appended");
            expected.extend(piece(number));
        }
        assert_eq!(store.read(KEY).await.expect("is read").as_deref(), Some(&expected[..]));
        assert_eq!(store.problems(), Vec::<String>::new());
        // Now what was put off is merged, also the lists.
        for number in 450..500 {
            append(&store.engine, &piece(number)).await.expect("is appended");
            expected.extend(piece(number));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(store.read(KEY).await.expect("is read").as_deref(), Some(&expected[..]));
        assert_eq!(store.problems(), Vec::<String>::new());
        store.delete(KEY).await.expect("is deleted");
        assert_eq!(store.problems(), Vec::<String>::new());
        // One list after the other.
        for _ in 0..4 {
            store.sweep().await.expect("is swept");
            assert_eq!(store.problems(), Vec::<String>::new());
        }
        let left = store.engine.catalog().snapshot();
        let left = left.scan(drystone_catalog::Family::Manifest.range()).count();
        assert_eq!(left, 0, "lists that nothing names");
    });
    store.deployment.close();
}
