//! Goal: the check of rows holds a bounded part of them, finds the same whatever it may hold, and names every
//! count that is not what it counts, and every row that nothing needs. Method: a store of some hundreds of
//! objects, checked under limits from one row on; rows that are changed under it.

use bytes::Bytes;
use drystone_base::{BlobId, BucketId, Seq, UploadId};
use drystone_catalog::{
    Data, Decision, Key, Manifest, ObjectRow, PartRow, Tx, UploadRow, Usage, Versioning,
};
use drystone_engine::CheckReport;
use drystone_engine::plan::DocumentKind;
use drystone_io::Disk;
use drystone_sim::Store;
use std::sync::Arc;

const BUCKET: &str = "bucket";
const OBJECT_COUNT: usize = 300;

/// A change of rows.
type Change = Box<dyn FnOnce(&mut Tx<'_>, BucketId) + Send>;

fn change(store: &Store, change: Change) {
    let bucket = store.engine.find_bucket(BUCKET).expect("it is there").id;
    let ticket = store.engine.catalog().submit(move |tx| {
        change(tx, bucket);
        Ok(Decision::Commit(()))
    });
    ticket.wait().expect("rows can be changed");
}

fn usage_of(tx: &Tx<'_>, bucket: BucketId) -> Usage {
    let row = tx.get(&Key::usage(bucket)).expect("rows can be read");
    Usage::decode(&row.expect("something was counted")).expect("it is readable")
}

fn object() -> ObjectRow {
    ObjectRow { seq: Seq(1), ..ObjectRow::empty() }
}

fn id(number: u8) -> UploadId {
    UploadId([number; 24])
}

fn part(number: u16) -> Vec<u8> {
    let (md5, seq, data) = ([0; 16], Seq(7), Data::Empty);
    let part =
        PartRow { number, size: 10, md5, modified_ms: 0, checksum: None, data, seq, salt: None };
    part.encode()
}

/// A store with every kind of row: versions, small payloads, blobs, uploads with parts, counted documents.
fn store(object_count: usize) -> Store {
    let disk: Arc<dyn Disk> = Arc::new(Store::memory_disk(3));
    let store = Store::make(&[disk], 1 << 20, false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        store.make_bucket().await;
        let set = store.engine.set_versioning(BUCKET, Versioning::Enabled, None, false);
        set.await.expect("is set");
        for number in 0..object_count {
            let len = if number % 50 == 0 { 200_000 } else { 20 };
            let key = format!("{}", number % (object_count / 2));
            store.put(&key, &Bytes::from(vec![1; len])).await.expect("is stored");
        }
    });
    let uploads = |tx: &mut Tx<'_>, bucket| {
        let mut usage = usage_of(tx, bucket);
        for number in 1..20 {
            let row = UploadRow::new(0, object(), None);
            tx.put(Key::upload(bucket, b"up", id(number)), row.encode());
            for of_upload in 1..=u16::from(number % 3) {
                tx.put(Key::part(id(number), of_upload), part(of_upload));
                usage.part_count += 1;
                usage.part_bytes += 10;
            }
            usage.upload_count += 1;
        }
        tx.put(Key::usage(bucket), usage.encode());
        for name in ["a", "b"] {
            tx.put(Key::document(bucket, DocumentKind::Metrics as u8, name), vec![1]);
        }
        let count = Key::document_count(bucket, DocumentKind::Metrics as u8);
        tx.put(count, 2_u64.to_le_bytes().to_vec());
    };
    change(&store, Box::new(uploads));
    store
}

fn check(store: &Store, held_len: usize) -> CheckReport {
    store.engine.check_within(held_len).expect("drives can be read")
}

#[test]
fn a_check_holds_a_bounded_part_of_the_rows_and_finds_the_same() {
    let store = store(OBJECT_COUNT);
    let all = check(&store, 1 << 30);
    assert_eq!(all.problems, Vec::<String>::new());
    assert_eq!((all.heads, all.versions), (OBJECT_COUNT as u64 / 2, OBJECT_COUNT as u64 / 2));
    assert_eq!((all.uploads, all.parts, all.blobs, all.inline), (19, 19, 6, 294));
    let mut peaks = vec![all.held_bytes_max];
    for limit in [1, 1000, 10_000] {
        let report = check(&store, limit);
        // Claims, and below them one walk over uploads; each holds twice the limit and one row more.
        let most = 2 * (2 * limit as u64 + 300);
        assert!(report.held_bytes_max <= most, "{} of {limit}", report.held_bytes_max);
        peaks.push(report.held_bytes_max);
        assert_eq!(CheckReport { held_bytes_max: all.held_bytes_max, ..report }, all);
    }
    assert!(peaks[0] > 20_000, "there is more than what may be held: {peaks:?}");
}

/// Changes, and what is said of each.
fn damages() -> Vec<(Change, &'static str)> {
    fn usage(step: fn(&mut Usage)) -> Change {
        Box::new(move |tx, bucket| {
            let mut usage = usage_of(tx, bucket);
            step(&mut usage);
            tx.put(Key::usage(bucket), usage.encode());
        })
    }
    fn put(key: impl Fn(BucketId) -> Vec<u8> + Send + 'static, value: Vec<u8>) -> Change {
        Box::new(move |tx, bucket| tx.put(key(bucket), value))
    }
    let count = |count: u64| count.to_le_bytes().to_vec();
    let blob = BlobId([9; 16]);
    let documents = |bucket| Key::document_count(bucket, DocumentKind::Metrics as u8);
    let other = BucketId(1);
    vec![
        (usage(|usage| usage.current_count += 1), "usage of bucket"),
        (usage(|usage| usage.current_bytes -= 1), "usage of bucket"),
        (usage(|usage| usage.noncurrent_count -= 1), "usage of bucket"),
        (usage(|usage| usage.noncurrent_bytes += 1), "usage of bucket"),
        (usage(|usage| usage.marker_count += 1), "usage of bucket"),
        (usage(|usage| usage.part_count -= 1), "usage of bucket"),
        (usage(|usage| usage.part_bytes += 1), "usage of bucket"),
        (usage(|usage| usage.upload_count += 1), "usage of bucket"),
        (
            put(
                |_| Key::usage(BucketId(7)),
                Usage { marker_count: 1, ..Usage::default() }.encode(),
            ),
            "usage of bucket 7",
        ),
        (put(Key::usage, vec![9, 9]), "is not readable"),
        (
            put(|_| Key::bucket_count(""), count(9)),
            "the count of buckets of the default account is 9, counted 1",
        ),
        (
            put(|_| Key::bucket_count("1234"), count(2)),
            "the count of buckets of account 1234 is 2, counted 0",
        ),
        (
            put(|_| Key::bucket_count(""), vec![1]),
            "the count of buckets of the default account is not readable",
        ),
        (put(documents, count(3)), "is 3, counted 2"),
        (put(move |_| Key::inline(blob), vec![1]), "a small payload is named by nothing"),
        (put(move |_| Key::manifest(blob), Manifest::default().encode()), "is named by nothing"),
        (put(move |_| Key::blob_ref(blob, Seq(1)), Vec::new()), "an owner of the shared bytes"),
        (put(|_| Key::part(id(99), 3), part(3)), "part 3 is of the upload 6363"),
        (put(|_| Key::part(id(1), 3), vec![7]), "is not readable"),
        (
            put(move |_| Key::document(other, 3, ""), vec![7]),
            "there are rows of bucket 1, which is not there",
        ),
        (put(|bucket| Key::head(bucket, b"0"), vec![7]), "/0 is not readable"),
        (put(|bucket| Key::upload(bucket, b"0", id(50)), vec![7]), "an upload of"),
    ]
}

#[test]
fn every_count_that_is_wrong_and_every_row_that_nothing_needs_is_named() {
    for (number, (damage, said)) in damages().into_iter().enumerate() {
        let store = store(20);
        change(&store, damage);
        let all = check(&store, 1 << 30);
        let found = all.problems.iter().any(|problem| problem.contains(said));
        assert!(found, "{number}: {said}: {:?}", all.problems);
        assert_eq!(check(&store, 500).problems, all.problems, "{number}");
    }
}

#[test]
fn a_completed_upload_is_no_upload_in_progress() {
    let store = store(20);
    let complete = |tx: &mut Tx<'_>, bucket| {
        let mut row = UploadRow::new(0, object(), None);
        let (selected, result) = (Vec::new(), Box::new(object()));
        row.state = drystone_catalog::UploadState::Completed { selected, result, at_ms: 1 };
        tx.put(Key::upload(bucket, b"done", id(60)), row.encode());
    };
    change(&store, Box::new(complete));
    let report = check(&store, 1 << 30);
    assert_eq!((report.uploads, report.completed_uploads), (19, 1));
    assert_eq!(report.problems, Vec::<String>::new());
}

/// A long object that was appended to has lists in its list: it is named, not they.
#[test]
fn an_object_that_lacks_a_shard_is_named_also_where_its_part_is_in_a_list_in_a_list() {
    let store = store(2);
    let damage = |tx: &mut Tx<'_>, bucket| {
        let [outer, inner, blob] = [1, 2, 3].map(|number| BlobId([number; 16]));
        let list = |data: Data, seq| {
            let (number, size, md5) = (1, 10, [0; 16]);
            let (modified_ms, checksum, salt) = (0, None, None);
            let part = PartRow { number, size, md5, modified_ms, checksum, data, seq, salt };
            Manifest { parts: vec![part] }.encode()
        };
        let bytes = Data::Blob { blob, cell_len: 4096, code: (1, 0), hint: None };
        tx.put(Key::manifest(inner), list(bytes, Seq(40)));
        let whole = Box::new(Data::Manifest(inner));
        let piece = Data::Slice { base: whole, base_size: 10, offset: 0 };
        tx.put(Key::manifest(outer), list(piece, Seq(50)));
        tx.put(Key::blob_ref(inner, Seq(50)), Vec::new());
        let row = ObjectRow { size: 10, data: Data::Manifest(outer), ..object() };
        tx.put(Key::head(bucket, b"long"), row.encode());
    };
    change(&store, Box::new(damage));
    let problems = check(&store, 1 << 30).problems;
    let missing: Vec<_> = problems.iter().filter(|text| text.contains("missing shard")).collect();
    assert!(missing.len() == 1 && missing[0].contains("/long is"), "{problems:?}");
}
