//! Goal: pages that end at the bound of rows say the same as one page without a bound, and come to an end.
//! Method: random keys, versions and delete markers under every small bound, limit and delimiter, followed by
//! the markers that each kind of listing hands out.

use bytes::Bytes;
use drystone_base::{Rng, SeededRng};
use drystone_catalog::Versioning;
use drystone_engine::{ListRequest, VersionMark, VersionRef, VersionRequest};
use drystone_io::Disk;
use drystone_sim::Store;
use std::collections::BTreeSet;
use std::sync::Arc;

const BUCKET: &str = "bucket";
/// Pages after which a listing is taken to have no end.
const PAGES_MAX: usize = 2000;

/// What a listing shows: keys with versions, and common prefixes.
type Shown = BTreeSet<(Vec<u8>, String)>;

fn store_with(seed: u64) -> Store {
    let disk: Arc<dyn Disk> = Arc::new(Store::memory_disk(seed));
    let store = Store::make(&[disk], 1 << 20, false);
    let rng = SeededRng::new(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        store.make_bucket().await;
        for round in 0..160 {
            let states = [Versioning::Enabled, Versioning::Enabled, Versioning::Suspended];
            if round % 20 == 0 {
                let state = states[rng.below(3) as usize];
                store.engine.set_versioning(BUCKET, state, None, false).await.expect("is set");
            }
            let pieces = ["a", "b", "/", "//", "c/"];
            let len = 1 + rng.below(4);
            let key: String = (0..len).map(|_| pieces[rng.below(5) as usize]).collect();
            match rng.below(4) {
                0 => store.put(&key, &Bytes::from_static(b"x")).await.expect("is stored"),
                _ => store.delete(&key).await.expect("is deleted"),
            }
        }
    });
    store
}

fn request(prefix: &str, delimiter: &str, limit: usize, rows: Option<usize>) -> ListRequest {
    ListRequest {
        prefix: prefix.as_bytes().to_vec(),
        delimiter: delimiter.as_bytes().to_vec(),
        limit,
        row_count_max: rows,
        ..ListRequest::default()
    }
}

/// As a client without tokens sees it: a marker is a common prefix if its only delimiter is at its end.
fn looks_like_prefix(marker: &[u8], asked: &ListRequest) -> bool {
    let text = std::str::from_utf8(marker).expect("keys of this test are text");
    let delimiter = std::str::from_utf8(&asked.delimiter).expect("text");
    let rest = text.strip_prefix(std::str::from_utf8(&asked.prefix).expect("text"));
    !delimiter.is_empty()
        && rest.is_some_and(|rest| {
            rest.find(delimiter).is_some_and(|at| at + delimiter.len() == rest.len())
        })
}

fn walk_objects(store: &Store, mut asked: ListRequest, has_tokens: bool) -> Shown {
    let mut shown = Shown::new();
    for _ in 0..PAGES_MAX {
        let page = store.engine.list(BUCKET, &asked).expect("is listed");
        assert!(page.objects.len() + page.prefixes.len() <= asked.limit);
        for (key, row) in page.objects {
            assert!(shown.insert((key, row.version_text())), "an object is listed twice");
        }
        for prefix in page.prefixes {
            assert!(shown.insert((prefix, "prefix".to_owned())), "a prefix is listed twice");
        }
        let Some((next, is_prefix)) = page.next else { return shown };
        let is_prefix = if has_tokens { is_prefix } else { looks_like_prefix(&next, &asked) };
        // Behind a prefix is behind everything in it.
        let place = |key: &[u8], is_prefix: bool| [key, &[0xff][..usize::from(is_prefix)]].concat();
        let (from, to) = (place(&asked.after, asked.after_is_prefix), place(&next, is_prefix));
        assert!(to > from, "a listing that does not advance: {from:?} {to:?}");
        (asked.after, asked.after_is_prefix) = (next, is_prefix);
    }
    panic!("a listing without an end");
}

fn walk_versions(store: &Store, list: ListRequest) -> Vec<(Vec<u8>, String)> {
    let mut shown = Vec::new();
    let mut asked = VersionRequest { list, older_than: None };
    for _ in 0..PAGES_MAX {
        let page = store.engine.list_versions(BUCKET, &asked).expect("is listed");
        let versions = page.versions.iter();
        shown.extend(versions.map(|listed| (listed.key.clone(), listed.row.version_text())));
        shown.extend(page.prefixes.into_iter().map(|prefix| (prefix, "prefix".to_owned())));
        let Some((next, version)) = page.next else {
            // Pages have their prefixes at the end; the order of the versions of a key stays.
            shown.sort_by(|(a, _), (b, _)| a.cmp(b));
            return shown;
        };
        asked.list.after_is_prefix = version.is_none() && looks_like_prefix(&next, &asked.list);
        asked.list.after = next;
        asked.older_than = version
            .map(|text| VersionMark::new(VersionRef::parse(&text).expect("what was handed out")));
    }
    panic!("a listing without an end");
}

#[test]
fn short_pages_show_what_one_page_shows() {
    for seed in 0..4 {
        let store = store_with(seed);
        for prefix in ["", "a", "a/", "/"] {
            for delimiter in ["", "/", "//"] {
                let whole = walk_objects(&store, request(prefix, delimiter, 1000, None), true);
                for (limit, rows) in [(1000, 0), (1000, 1), (1000, 3), (2, 2), (1, 7), (3, 1000)] {
                    let asked = request(prefix, delimiter, limit, Some(rows));
                    for has_tokens in [true, false] {
                        let shown = walk_objects(&store, asked.clone(), has_tokens);
                        assert_eq!(shown, whole, "{prefix:?} {delimiter:?} {limit} {rows}");
                    }
                }
                let whole = walk_versions(&store, request(prefix, delimiter, 1000, None));
                for limit in [1, 2, 7] {
                    let shown = walk_versions(&store, request(prefix, delimiter, limit, None));
                    assert_eq!(shown, whole, "versions: {prefix:?} {delimiter:?} {limit}");
                }
            }
        }
        store.deployment.close();
    }
}

#[test]
fn a_null_marker_whose_version_is_gone_skips_nothing() {
    let store = store_with(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        store
            .engine
            .set_versioning(BUCKET, Versioning::Enabled, None, false)
            .await
            .expect("is set");
        for _ in 0..5 {
            store.put("only", &Bytes::from_static(b"x")).await.expect("is stored");
        }
    });
    let list = ListRequest { after: b"only".to_vec(), ..request("only", "", 1000, None) };
    let null = VersionMark::new(VersionRef::parse("null").expect("a version"));
    let asked = VersionRequest { list, older_than: Some(null) };
    let page = store.engine.list_versions(BUCKET, &asked).expect("is listed");
    assert_eq!(page.versions.len(), 5);
    store.deployment.close();
}
