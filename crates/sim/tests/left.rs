//! Goal: a change of a bucket acts for everyone once it is committed, also where the request that asked for
//! it was given up meanwhile. Method: each operation that changes buckets is polled a number of times and
//! then dropped, for every number up to its end; what is remembered is compared with the rows.

use drystone_catalog::{BucketLock, BucketRow, Decision, Key, LockMode, LockPeriod, Versioning};
use drystone_engine::plan::DocumentKind;
use drystone_engine::{Engine, EngineError};
use drystone_io::Disk;
use drystone_sim::Store;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

const BUCKET: &str = "bucket";
/// Polls of an operation at most: each of them waits for the committer a few times.
const POLLS_MAX: usize = 20;
const ROUNDS_MAX: usize = 50;

type Running = Pin<Box<dyn Future<Output = Result<(), EngineError>>>>;
/// What it is called, and how it is begun.
type Operation = (&'static str, fn(Engine) -> Running);

/// Every operation that changes what is remembered of a bucket.
fn operations() -> Vec<Operation> {
    vec![
        ("set_versioning", |engine| {
            Box::pin(async move {
                engine.set_versioning(BUCKET, Versioning::Enabled, None, false).await
            })
        }),
        ("set_lock", |engine| {
            Box::pin(async move {
                engine.set_versioning(BUCKET, Versioning::Enabled, None, false).await?;
                let lock =
                    BucketLock { default: Some((LockMode::Governance, LockPeriod::Days(1))) };
                engine.set_lock(BUCKET, lock).await
            })
        }),
        ("set_appends", |engine| {
            Box::pin(async move { engine.set_appends(BUCKET, true, || true).await })
        }),
        ("set_tags", |engine| {
            let tags = vec![("a".to_owned(), "b".to_owned())];
            Box::pin(async move { engine.set_bucket_tags(BUCKET, tags).await })
        }),
        ("set_document", |engine| {
            let policy = Some(b"{}".to_vec());
            Box::pin(
                async move { engine.set_document(BUCKET, DocumentKind::Policy, "", policy).await },
            )
        }),
        ("delete_bucket", |engine| Box::pin(async move { engine.delete_bucket(BUCKET).await })),
        ("create_bucket", |engine| {
            Box::pin(async move {
                engine.delete_bucket(BUCKET).await?;
                let tags = vec![("new".to_owned(), String::new())];
                engine.create_bucket(BUCKET, "", tags, Vec::new(), None, false).await.map(drop)
            })
        }),
    ]
}

/// The row of the bucket as the catalog has it.
fn stored(engine: &Engine) -> Option<BucketRow> {
    let id = engine.catalog().get(&Key::bucket_name(BUCKET)).expect("is read")?;
    let id = drystone_base::BucketId(u64::from_le_bytes(id[..].try_into().expect("eight bytes")));
    let row = engine.catalog().get(&Key::bucket(id)).expect("is read").expect("is there");
    Some(BucketRow::decode(&row).expect("is a row"))
}

/// Everything that was handed to the committer before is done.
fn wait_for_commits(engine: &Engine) {
    engine.catalog().submit(|_| Ok(Decision::Commit(()))).wait().expect("is committed");
}

#[test]
fn what_is_remembered_of_buckets_is_true_after_a_request_was_given_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let _entered = runtime.enter();
    for (name, operation) in operations() {
        let (mut changed, mut polls, mut round) = (0, 0, 0);
        // A committer that is quick may end its work within the poll that began it: then it is tried again.
        loop {
            assert!(round < ROUNDS_MAX, "{name} was given up before its commit only");
            assert!(polls < POLLS_MAX, "{name} does not end");
            let disk: Arc<dyn Disk> = Arc::new(Store::memory_disk(5));
            let store = Store::make(&[disk], 1 << 20, false);
            runtime.block_on(store.make_bucket());
            // Remembered.
            let before = store.engine.find_bucket(BUCKET).expect("is there");
            let mut running = operation(store.engine.clone());
            let mut is_done = false;
            for _ in 0..polls {
                let polled = running.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(outcome) = polled {
                    outcome.expect("nothing is in the way");
                    is_done = true;
                    break;
                }
                wait_for_commits(&store.engine);
            }
            drop(running);
            wait_for_commits(&store.engine);
            let row = stored(&store.engine);
            changed += usize::from(row.as_ref() != Some(&*before));
            let remembered = store.engine.find_bucket(BUCKET).ok();
            assert_eq!(remembered.as_deref(), row.as_ref(), "{name} after {polls} polls");
            store.deployment.close();
            polls += 1;
            match is_done {
                true if changed >= 2 => break,
                true => (changed, polls, round) = (0, 0, round + 1),
                false => {}
            }
        }
    }
}
