//! Goal: what a request was decided on holds until its commit. Method: look at an object as a decision does,
//! let another request change it, and go on.

use bytes::Bytes;
use drystone_engine::{Conditions, Consumer, Engine, EngineError, ObjectRow};
use drystone_io::Disk;
use drystone_sim::Store;
use std::sync::Arc;

const BUCKET: &str = "bucket";

fn tags(value: &str) -> Vec<(String, String)> {
    vec![("lock".to_owned(), value.to_owned())]
}

/// Looks at the current version as a decision does.
fn look(engine: &Engine, key: &[u8]) -> Option<ObjectRow> {
    let bucket = engine.find_bucket(BUCKET).expect("is there");
    engine.look_at(&bucket, key, None)
}

async fn tag(engine: &Engine, key: &[u8], value: &str) -> Result<(), EngineError> {
    engine.put_tags(BUCKET, key.to_vec(), None, tags(value)).await.map(drop)
}

async fn delete(engine: &Engine, key: &[u8]) -> Result<(), EngineError> {
    engine.delete_object(BUCKET, key.to_vec(), None, Conditions::default()).await.map(drop)
}

fn with_store(test: impl AsyncFnOnce(&Store)) {
    let disk: Arc<dyn Disk> = Arc::new(Store::memory_disk(5));
    let store = Store::make(&[disk], 1 << 20, false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        store.make_bucket().await;
        store.put("a", &Bytes::from_static(b"x")).await.expect("is stored");
        test(&store).await;
    });
    store.deployment.close();
}

#[test]
fn a_change_that_a_decision_did_not_see_stops_the_commit() {
    with_store(async |store| {
        let request = store.engine.for_request(Consumer::BACKGROUND, None);
        look(&request, b"a");
        tag(&store.engine, b"a", "yes").await.expect("another request");
        assert!(matches!(delete(&request, b"a").await, Err(EngineError::DecidedOnOther)));
        let located = request.locate(BUCKET, b"a", None).map(drop);
        assert!(matches!(located, Err(EngineError::DecidedOnOther)));
        assert!(request.is_decided_on_other().expect("readable"));
        // Decided again.
        request.decide_again();
        look(&request, b"a");
        assert!(!request.is_decided_on_other().expect("readable"));
        delete(&request, b"a").await.expect("nothing changed since");
    });
}

#[test]
fn an_object_that_comes_after_the_decision_stops_the_commit() {
    with_store(async |store| {
        let request = store.engine.for_request(Consumer::BACKGROUND, None);
        assert_eq!(look(&request, b"b"), None);
        store.put("b", &Bytes::from_static(b"x")).await.expect("another request");
        assert!(matches!(delete(&request, b"b").await, Err(EngineError::DecidedOnOther)));
    });
}

#[test]
fn what_a_request_changes_itself_does_not_stop_it() {
    with_store(async |store| {
        let request = store.engine.for_request(Consumer::BACKGROUND, None);
        look(&request, b"a");
        tag(&request, b"a", "yes").await.expect("the first change");
        tag(&request, b"a", "no").await.expect("the second change");
        tag(&store.engine, b"a", "yes").await.expect("another request");
        assert!(matches!(tag(&request, b"a", "no").await, Err(EngineError::DecidedOnOther)));
    });
}

#[test]
fn a_list_of_deletes_is_stopped_where_something_changed() {
    with_store(async |store| {
        store.put("b", &Bytes::from_static(b"x")).await.expect("is stored");
        let request = store.engine.for_request(Consumer::BACKGROUND, None);
        look(&request, b"a");
        look(&request, b"b");
        tag(&store.engine, b"a", "yes").await.expect("another request");
        assert!(matches!(delete(&request, b"a").await, Err(EngineError::DecidedOnOther)));
        delete(&request, b"b").await.expect("is as it was");
    });
}

#[test]
fn more_than_is_remembered_is_not_decided_on() {
    with_store(async |store| {
        let request = store.engine.for_request(Consumer::BACKGROUND, None);
        for number in 0..1025_u32 {
            look(&request, &number.to_le_bytes());
        }
        assert!(matches!(delete(&request, b"a").await, Err(EngineError::DecidedOnOther)));
    });
}
