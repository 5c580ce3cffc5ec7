//! Goal: what a request was decided on holds until its commit. Method: decide as the gateway does, let
//! another request change something, and go on.

use bytes::Bytes;
use drystone_base::{ChangeCount, UploadId, hex};
use drystone_engine::plan::{DocumentKind, takes_appends};
use drystone_engine::{
    CompleteRequest, Conditions, Consumer, Engine, EngineError, ObjectRow, PartInput, PartRow,
};
use drystone_io::Disk;
use drystone_sim::Store;
use std::pin::pin;
use std::sync::Arc;

const BUCKET: &str = "bucket";

fn tags(value: &str) -> Vec<(String, String)> {
    vec![("lock".to_owned(), value.to_owned())]
}

/// A request that comes now.
fn request(store: &Store, identities: &Arc<ChangeCount>) -> Engine {
    let stamp = store.engine.stamp(identities);
    store.engine.for_request(Consumer::BACKGROUND, None, stamp)
}

/// A request that was decided on.
fn decided(store: &Store) -> Engine {
    let request = request(store, &Arc::default());
    request.decision_is_made(None);
    request
}

/// Decides again.
fn decide(request: &Engine) -> bool {
    request.begin_decision();
    request.forget_objects();
    request.decision_is_made(None);
    true
}

fn is_refused(outcome: &Result<(), EngineError>) -> bool {
    matches!(outcome, Err(EngineError::DecidedOnOther))
}

/// A change of identities that readers see.
fn change(identities: &ChangeCount) {
    identities.plan();
    identities.settle();
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
        let request = decided(store);
        look(&request, b"a");
        tag(&store.engine, b"a", "yes").await.expect("another request");
        assert!(matches!(delete(&request, b"a").await, Err(EngineError::DecidedOnOther)));
        let located = request.locate(BUCKET, b"a", None).map(drop);
        assert!(matches!(located, Err(EngineError::DecidedOnOther)));
        assert!(!request.is_decision_current().expect("readable"));
        decide(&request);
        look(&request, b"a");
        assert!(request.is_decision_current().expect("readable"));
        delete(&request, b"a").await.expect("nothing changed since");
    });
}

#[test]
fn an_object_that_comes_after_the_decision_stops_the_commit() {
    with_store(async |store| {
        let request = decided(store);
        assert_eq!(look(&request, b"b"), None);
        store.put("b", &Bytes::from_static(b"x")).await.expect("another request");
        assert!(matches!(delete(&request, b"b").await, Err(EngineError::DecidedOnOther)));
    });
}

#[test]
fn what_a_request_changes_itself_does_not_stop_it() {
    with_store(async |store| {
        let request = decided(store);
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
        let request = decided(store);
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
        let request = decided(store);
        for number in 0..1025_u32 {
            look(&request, &number.to_le_bytes());
        }
        assert!(matches!(delete(&request, b"a").await, Err(EngineError::DecidedOnOther)));
    });
}

#[test]
fn a_request_that_was_not_decided_on_commits_nothing() {
    with_store(async |store| {
        let request = request(store, &Arc::default());
        assert!(is_refused(&delete(&request, b"a").await));
        assert!(is_refused(&tag(&request, b"a", "yes").await));
        request.decision_is_made(None);
        tag(&request, b"a", "yes").await.expect("is decided on");
        // Rows that were looked up again were not decided on.
        request.look_again();
        assert!(is_refused(&tag(&request, b"a", "no").await));
    });
}

#[test]
fn a_change_of_identities_stops_the_commit() {
    with_store(async |store| {
        let identities = Arc::default();
        let request = request(store, &identities);
        request.decision_is_made(None);
        tag(&request, b"a", "yes").await.expect("nothing changed");
        change(&identities);
        assert!(!request.is_decision_current().expect("readable"));
        assert!(is_refused(&tag(&request, b"a", "no").await));
        assert!(is_refused(&delete(&request, b"a").await));
        assert!(store.read("a").await.expect("readable").is_some());
        decide(&request);
        delete(&request, b"a").await.expect("is decided on again");
    });
}

/// Goal: a change that is committed right before takes effect, though no one could see it when the request
/// was decided on.
#[test]
fn a_change_that_is_on_its_way_stops_the_commit() {
    with_store(async |store| {
        let identities: Arc<ChangeCount> = Arc::default();
        identities.plan();
        let request = request(store, &identities);
        request.decision_is_made(None);
        assert!(is_refused(&tag(&request, b"a", "no").await));
        identities.settle();
        decide(&request);
        tag(&request, b"a", "no").await.expect("is decided on again");
    });
}

#[test]
fn a_change_of_its_bucket_stops_the_commit_and_one_of_another_does_not() {
    with_store(async |store| {
        let engine = &store.engine;
        engine.create_bucket("other", "", Vec::new(), Vec::new(), None, false).await.expect("made");
        let request = decided(store);
        request.find_bucket(BUCKET).expect("is there");
        let set = async |bucket: &str| {
            let policy = Some(b"{}".to_vec());
            engine.set_document(bucket, DocumentKind::Policy, "", policy).await.expect("is set");
        };
        set("other").await;
        assert!(request.is_decision_current().expect("readable"));
        tag(&request, b"a", "yes").await.expect("it is of another bucket");
        set("other").await;
        delete(&request, b"a").await.expect("it is of another bucket");
        set(BUCKET).await;
        assert!(is_refused(&delete(&request, b"a").await));
        assert!(is_refused(&tag(&request, b"a", "no").await));
        assert!(!request.is_decision_current().expect("readable"));
    });
}

#[test]
fn a_decision_does_not_hold_longer_than_the_key() {
    with_store(async |store| {
        let request = request(store, &Arc::default());
        request.decision_is_made(Some(store.engine.now_ms() + 600_000));
        tag(&request, b"a", "yes").await.expect("in time");
        request.begin_decision();
        request.decision_is_made(Some(store.engine.now_ms()));
        assert!(is_refused(&tag(&request, b"a", "no").await));
        assert!(is_refused(&delete(&request, b"a").await));
    });
}

/// Goal: those who may go on are not stopped by changes that do not concern them, however often these come.
#[test]
fn a_request_goes_on_where_identities_change_all_the_time() {
    with_store(async |store| {
        let identities = Arc::default();
        let request = request(store, &identities);
        request.decision_is_made(None);
        let mut count = 0;
        let mut work = pin!(tag(&request, b"a", "yes"));
        change(&identities);
        let again = || {
            count += 1;
            let may_go_on = decide(&request);
            change(&identities);
            may_go_on
        };
        request.deciding(work.as_mut(), again).await.expect("is committed in the end");
        assert_eq!(count, 4, "decided again before it was handed in, and after each refusal");
    });
}

#[test]
fn who_may_not_go_on_commits_nothing() {
    with_store(async |store| {
        let identities = Arc::default();
        let request = request(store, &identities);
        request.decision_is_made(None);
        change(&identities);
        let mut work = pin!(delete_of_many(&request));
        let outcome = request.deciding(work.as_mut(), || false).await;
        assert!(is_refused(&outcome));
        assert!(store.read("a").await.expect("readable").is_some());
    });
}

async fn delete_of_many(request: &Engine) -> Result<(), EngineError> {
    for _ in 0..3 {
        tag(request, b"a", "yes").await?;
    }
    delete(request, b"a").await
}

fn completion(upload: UploadId, rows: &[PartRow]) -> CompleteRequest {
    let part = |row: &PartRow| PartInput {
        number: row.number.into(),
        etag: hex(&row.md5),
        checksum: None,
    };
    CompleteRequest {
        bucket: BUCKET.to_owned(),
        object: b"whole".to_vec(),
        upload,
        parts: rows.iter().map(part).collect(),
        conditions: Conditions::default(),
        checksum: None,
        checksum_kind: None,
        object_size: None,
    }
}

/// Goal: the work of a task of its own is decided on by the request that waits for it; if that was given up,
/// by no one. Method: an upload is completed after a change, with the request and without.
#[test]
fn an_upload_is_not_completed_for_who_left_and_may_have_no_right_any_more() {
    with_store(async |store| {
        let identities = Arc::default();
        for stays in [true, false] {
            let parts = [Bytes::from_static(b"part")];
            let (upload, rows) = store.upload_parts("whole", &parts).await.expect("is uploaded");
            let asked = completion(upload, &rows);
            let request = request(store, &identities);
            request.decision_is_made(None);
            change(&identities);
            let mut work = pin!(async { request.complete_upload(asked).await.map(drop) });
            let outcome = match stays {
                true => request.deciding(work.as_mut(), || decide(&request)).await,
                false => work.await,
            };
            assert_eq!(is_refused(&outcome), !stays);
            let is_open = store.engine.find_upload(BUCKET, b"whole", upload).is_ok();
            assert_eq!(is_open, !stays);
        }
    });
}

/// Goal: what administrators change of buckets is changed by those only whose right holds at the commit.
#[test]
fn appends_are_not_set_for_who_may_not_set_them_any_more() {
    with_store(async |store| {
        let engine = &store.engine;
        for holds in [false, true] {
            let outcome = engine.set_appends(BUCKET, true, move || holds).await;
            assert_eq!(is_refused(&outcome), !holds);
            let bucket = engine.find_bucket(BUCKET).expect("is there");
            assert_eq!(takes_appends(&bucket), holds);
            let confirmed = engine.confirm_lock_clock(move || holds).await.map(drop);
            assert_eq!(is_refused(&confirmed), !holds);
        }
    });
}

/// Goal: what the server does by itself is decided on by no one.
#[test]
fn what_is_no_request_commits_without_a_decision() {
    with_store(async |store| {
        tag(&store.engine, b"a", "yes").await.expect("is committed");
    });
}

/// Sets a document of the bucket as a request of a caller does.
async fn configure(engine: &Engine, caller: Consumer) -> Result<(), EngineError> {
    let request = engine.for_request(caller, None, engine.stamp(&Arc::default()));
    request.find_bucket(BUCKET)?;
    request.decision_is_made(None);
    let set = request.set_document(BUCKET, DocumentKind::Website, "", Some(b"x".to_vec()));
    let decide_again = || {
        request.begin_decision();
        request.find_bucket(BUCKET).expect("is there");
        request.decision_is_made(None);
        true
    };
    request.deciding(pin!(set), decide_again).await
}

/// Goal: who changes the configuration of a bucket all the time, by any number of requests, keeps no one else
/// from changing it. Method: another caller does it once while 200 requests of one are in progress; all of
/// them were refused often by then.
#[test]
fn callers_take_turns_at_the_configuration_of_a_bucket() {
    with_store(async |store| {
        let many = Consumer::of(&0, &0);
        let flood: Vec<_> = (0..200)
            .map(|_| {
                let engine = store.engine.clone();
                tokio::spawn(async move {
                    loop {
                        // Those that were refused too often say so.
                        drop(configure(&engine, many).await);
                    }
                })
            })
            .collect();
        for number in 1..20 {
            let engine = store.engine.clone();
            let one = async move { configure(&engine, Consumer::of(&0, &number)).await };
            // It comes last, behind all others.
            let one = tokio::spawn(one).await.expect("no panic");
            assert!(one.is_ok(), "{number}: {one:?}");
        }
        flood.iter().for_each(tokio::task::JoinHandle::abort);
        for task in flood {
            drop(task.await);
        }
    });
}
