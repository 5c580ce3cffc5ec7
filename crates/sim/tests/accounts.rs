//! Goal: the buckets of an account are listed without a look at those of others, and the list says what all
//! names and rows of buckets say, whatever happened before it was made. Method: an account beside another
//! one that has more buckets than a page looks at; a store of an earlier version; random buckets made and
//! deleted.

use drystone_base::{Rng, SeededRng};
use drystone_catalog::{Decision, Family, Key, Tx};
use drystone_engine::BucketsAsked;
use drystone_io::Disk;
use drystone_sim::Store;
use std::collections::BTreeSet;
use std::sync::Arc;

fn store() -> Store {
    let disk: Arc<dyn Disk> = Arc::new(Store::memory_disk(5));
    Store::make(&[disk], 1 << 20, false)
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts")
}

fn make(store: &Store, name: &str, owner: &str) {
    let made = store.engine.create_bucket(name, owner, Vec::new(), Vec::new(), None, false);
    runtime().block_on(made).expect("the bucket is made");
}

fn change(store: &Store, change: impl FnOnce(&mut Tx<'_>) + Send + 'static) {
    let ticket = store.engine.catalog().submit(move |tx| {
        change(tx);
        Ok(Decision::Commit(()))
    });
    ticket.wait().expect("rows can be changed");
}

/// One page, and whether it is the last.
fn page(store: &Store, owner: &str, prefix: &str, after: &str) -> (Vec<String>, bool) {
    let asked = BucketsAsked { prefix, after, owner: Some(owner), limit: 10_000 };
    let page = store.engine.list_buckets(&asked).expect("rows can be read");
    (page.buckets.into_iter().map(|bucket| bucket.name).collect(), page.next.is_none())
}

/// Makes the store what an earlier version has left, with rows in the list that are of no bucket.
fn make_old(store: &Store) {
    let rows = store.engine.catalog().snapshot().scan(Family::AccountBucket.range());
    let keys: Vec<_> = rows.map(|row| row.expect("rows can be read").0.to_vec()).collect();
    change(store, move |tx| {
        tx.delete(Key::BUCKETS_LISTED.to_vec());
        keys.into_iter().for_each(|key| tx.delete(key));
        tx.put(Key::account_bucket("", "gone"), 7_u64.to_le_bytes().to_vec());
        tx.put(Key::account_bucket("1", "gone"), vec![1]);
    });
}

fn problems(store: &Store) -> Vec<String> {
    store.engine.check().expect("rows can be read").problems
}

#[test]
fn an_account_is_listed_without_a_look_at_the_buckets_of_others() {
    let store = store();
    store.engine.list_account_buckets().expect("there are none");
    let own = ["z-one", "z-two", "zzz"];
    own.iter().for_each(|name| make(&store, name, "2"));
    // More than a page looks at, before and behind, in accounts before and behind.
    for number in 0..1100 {
        make(&store, &format!("a-{number}"), ["", "1", "20", "3"][number % 4]);
    }
    for _ in 0..2 {
        assert_eq!(page(&store, "2", "", ""), (own.map(str::to_owned).to_vec(), true));
        assert_eq!(page(&store, "2", "z-", "z-one"), (vec!["z-two".to_owned()], true));
        assert_eq!(page(&store, "2", "a", ""), (Vec::new(), true));
        assert_eq!(page(&store, "4", "", ""), (Vec::new(), true));
        assert_eq!(page(&store, "20", "", "").0.len(), 275);
        assert_eq!(problems(&store), Vec::<String>::new());
        make_old(&store);
        // Without a list it takes several pages.
        assert_eq!(page(&store, "2", "", ""), (Vec::new(), false));
        assert_eq!(problems(&store), Vec::<String>::new());
        store.engine.list_account_buckets().expect("the catalog takes changes");
    }
}

#[test]
fn the_list_has_what_was_made_and_not_deleted() {
    let (store, rng) = (store(), SeededRng::new(9));
    let mut there: BTreeSet<(String, String)> = BTreeSet::new();
    for round in 0..200 {
        let (owner, name) = (rng.below(3).to_string(), format!("b-{}", rng.below(12)));
        match there.iter().find(|(_, known)| *known == name).cloned() {
            Some(known) => {
                runtime().block_on(store.engine.delete_bucket(&name)).expect("it is empty");
                there.remove(&known);
            }
            None => {
                make(&store, &name, &owner);
                there.insert((owner, name));
            }
        }
        // At some moment the list is made; what follows is written beside it.
        if round == 60 {
            store.engine.list_account_buckets().expect("the catalog takes changes");
        }
        for owner in ["0", "1", "2", "3"] {
            let own = there.iter().filter(|(known, _)| known == owner);
            let own: Vec<String> = own.map(|(_, name)| name.clone()).collect();
            assert_eq!(page(&store, owner, "", ""), (own, true), "{round}");
        }
    }
    assert_eq!(problems(&store), Vec::<String>::new());
}

#[test]
fn a_list_that_is_wrong_is_named() {
    let store = store();
    make(&store, "mine", "1");
    store.engine.list_account_buckets().expect("the catalog takes changes");
    assert_eq!(problems(&store), Vec::<String>::new());
    change(&store, |tx| {
        tx.delete(Key::account_bucket("1", "mine"));
        tx.put(Key::account_bucket("1", "a"), vec![0; 8]);
        tx.put(Key::account_bucket("2", "mine"), vec![0; 8]);
    });
    let expected = [
        "the list of buckets of account \"1\" has a, which is not one of them",
        "the list of buckets of account \"1\" lacks mine",
        "the list of buckets of account \"2\" has mine, which is not one of them",
    ];
    assert_eq!(problems(&store), expected);
}
