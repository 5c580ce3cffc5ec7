//! Goal: a change of identities is carried out on what it was decided on, or not at all. Method: decisions
//! that others get in between, one after another and on threads of their own.

use drystone_base::{Clock, Consumer, SystemRng, TestClock};
use drystone_identity::{
    DEFAULT_ACCOUNT, Directory, DirectoryConfig, IdentityError, NewUser, RootCredentials,
};
use drystone_io::Disk;
use drystone_keyring::{Keyring, Secret};
use drystone_sim::Store;
use std::sync::{Arc, Mutex};

const NOW_MS: u64 = 1_700_000_000_000;

fn directory() -> (Store, Directory) {
    let disk: Arc<dyn Disk> = Arc::new(Store::memory_disk(5));
    let store = Store::make(&[disk], 1 << 20, false);
    let root = RootCredentials {
        access_key: "root".to_owned(),
        secret_key: Secret::new("root-secret-key".to_owned()),
    };
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new(NOW_MS));
    let (rng, keyring) = (Arc::new(SystemRng), Arc::new(Keyring::generate(&SystemRng, "now")));
    let catalog = store.engine.catalog().clone();
    let directory = Directory::new(DirectoryConfig { catalog, keyring, clock, rng, root });
    (store, directory)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime starts").block_on(future)
}

async fn make_later(directory: &Directory, name: &str) -> Result<(), IdentityError> {
    let new = NewUser { name: name.to_owned(), ..NewUser::default() };
    directory.create_user(DEFAULT_ACCOUNT, new).await.map(drop)
}

fn make(directory: &Directory, name: &str) -> Result<(), IdentityError> {
    wait(make_later(directory, name))
}

fn is_changed<T>(outcome: Result<T, IdentityError>) -> bool {
    matches!(outcome, Err(IdentityError::Changed))
}

fn number_of(directory: &Directory) -> u64 {
    let user = directory.user(DEFAULT_ACCOUNT, "counter").expect("the user is there");
    user.tags.get("number").map_or(0, |number| number.parse().expect("it is a number"))
}

fn set_number(directory: &Directory, number: u64) -> Result<(), IdentityError> {
    wait(directory.change_user(DEFAULT_ACCOUNT, "counter", move |user| {
        user.tags.insert("number".to_owned(), number.to_string());
        Ok(())
    }))
}

#[test]
fn a_change_is_refused_if_another_was_made_since_it_was_decided() {
    let (_store, directory) = directory();
    let first = directory.for_decision(DEFAULT_ACCOUNT);
    let second = directory.for_decision(DEFAULT_ACCOUNT);
    make(&first, "one").expect("nothing was changed before");
    assert!(!second.is_decision_current() && !second.must_decide_again());
    assert!(is_changed(make(&second, "two")));
    assert!(second.must_decide_again());
    // What it changed itself is no reason.
    make(&first, "three").expect("only itself has changed something");
    make(&directory.for_decision(DEFAULT_ACCOUNT), "two").expect("decided again");
    assert!(is_changed(make(&first, "four")));
    assert!(!first.must_decide_again(), "it has changed something already");
    make(&directory, "four").expect("what is not decided on compares nothing");
}

#[test]
fn other_accounts_do_not_count() {
    let (_store, directory) = directory();
    let decided = directory.for_decision(DEFAULT_ACCOUNT);
    wait(directory.create_account("111111111111", "other")).expect("the account is new");
    make(&decided, "one").expect("nothing of the account was changed");
}

#[test]
fn while_a_decision_is_reserved_no_other_changes_anything() {
    let (_store, directory) = directory();
    let other = directory.for_decision(DEFAULT_ACCOUNT);
    let reserved = wait(directory.for_reserved_decision(DEFAULT_ACCOUNT, Consumer::BACKGROUND))
        .expect("it can be");
    assert!(is_changed(make(&other, "one")));
    assert!(is_changed(make(&directory.for_decision(DEFAULT_ACCOUNT), "one")));
    make(&reserved, "two").expect("it is the reserved one");
    reserved.end_decision();
    make(&directory.for_decision(DEFAULT_ACCOUNT), "one").expect("the other has ended");
    drop(wait(directory.for_reserved_decision(DEFAULT_ACCOUNT, Consumer::BACKGROUND)));
    make(&directory.for_decision(DEFAULT_ACCOUNT), "three").expect("the other is gone");
}

/// Goal: no caller keeps another out by many reservations. Method: one of each, while a third is at work.
#[test]
fn decisions_are_reserved_one_after_another() {
    let (_store, directory) = directory();
    let caller = |name: &str| Consumer::of(&DEFAULT_ACCOUNT, &name);
    let reserve = |name: &str| directory.for_reserved_decision(DEFAULT_ACCOUNT, caller(name));
    let begun = Mutex::new(Vec::new());
    wait(async {
        let first = reserve("many").await.expect("none is reserved");
        let one = async |name: &'static str| {
            let reserved = reserve(name).await.expect("the ones before it ended");
            begun.lock().expect("no panic").push(name);
            make_later(&reserved, name).await.expect("no other changes anything");
            drop(reserved);
        };
        let end = async {
            assert!(begun.lock().expect("no panic").is_empty());
            first.end_decision();
        };
        tokio::join!(one("many"), one("other"), end);
    });
    assert_eq!(*begun.lock().expect("no panic"), ["many", "other"]);
}

#[test]
fn a_decision_does_not_hold_beyond_its_time() {
    let (_store, directory) = directory();
    for (end_ms, is_late) in [(NOW_MS + 1, false), (NOW_MS, true)] {
        let decided = directory.for_decision(DEFAULT_ACCOUNT);
        decided.set_decision_end(end_ms);
        assert_eq!(decided.is_decision_late(), is_late);
        assert_eq!(is_changed(make(&decided, "one")), is_late);
        assert_eq!(decided.must_decide_again(), is_late);
    }
}

/// Goal: no change is made on rows that were out of date, also where others are planned and not visible
/// yet. Method: threads count in a tag of a user.
#[test]
fn threads_that_count_together_lose_nothing() {
    let (_store, directory) = directory();
    make(&directory, "counter").expect("it is new");
    let count = |reserves: bool| {
        let mut left = 40;
        while left > 0 {
            let decided = match reserves {
                true => {
                    wait(directory.for_reserved_decision(DEFAULT_ACCOUNT, Consumer::BACKGROUND))
                        .expect("it can be")
                }
                false => directory.for_decision(DEFAULT_ACCOUNT),
            };
            match set_number(&decided, number_of(&decided) + 1) {
                Ok(()) => left -= 1,
                Err(IdentityError::Changed) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..6 {
            scope.spawn(move || count(number % 3 == 0));
        }
    });
    assert_eq!(number_of(&directory), 240);
}
