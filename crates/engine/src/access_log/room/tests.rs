//! Tests of the room of access logs.

use super::counts::POOLS;
use super::*;
use proptest::prelude::*;

const TOTAL: u64 = 64_000;
const OWN: u64 = 500;

fn fill_open(room: &LogRoom, bucket: &str) -> u64 {
    (0..).take_while(|_| room.try_keep(bucket, 10)).count() as u64 * 10
}

fn fill_reserved(room: &LogRoom, bucket: &str) -> u64 {
    let mut len = 0;
    while let Some(share) = room.try_reserve(bucket, 10) {
        share.keep(10);
        len += 10;
    }
    len
}

fn failure(code: &'static str) -> LogFailure {
    LogFailure { code, target: "target".to_owned(), reason: code.to_owned() }
}

#[test]
fn anonymous_lines_leave_room_for_others_and_each_bucket_has_a_share() {
    let room = LogRoom::new(TOTAL, OWN, 200);
    for number in 0..100 {
        assert!(fill_open(&room, &format!("flooded-{number}")) >= OWN);
    }
    assert_eq!(fill_reserved(&room, "a"), 16_000 + OWN, "as much as it leaves free of its pool");
    assert_eq!(fill_reserved(&room, "b"), 8_000 + OWN);
    for number in 0..90 {
        assert!(fill_reserved(&room, &format!("full-{number}")) >= OWN);
    }
    assert!(room.totals().waiting_bytes <= TOTAL + 2 * 200 * OWN);
    room.release("a", 16_000 + OWN);
    assert!(fill_reserved(&room, "c") > 4_000);
}

#[test]
fn what_is_left_of_the_shared_room_is_all_that_further_buckets_have() {
    let room = LogRoom::new(TOTAL, OWN, 10);
    for number in 0..1_000 {
        fill_reserved(&room, &format!("b{number}"));
        fill_open(&room, &format!("b{number}"));
    }
    assert!(room.totals().waiting_bytes <= TOTAL + 2 * 10 * OWN);
    assert!(room.try_reserve("one-more", 10).is_none());
    // The first one is delivered, and its own part is free for another.
    room.release("b0", u64::MAX);
    assert!(fill_reserved(&room, "one-more") >= OWN);
}

#[test]
fn a_bucket_that_found_no_room_is_to_be_delivered() {
    let room = LogRoom::new(TOTAL, OWN, 10);
    assert!(room.try_keep("a", 10) && room.filling().is_empty());
    assert!(room.try_reserve("a", TOTAL).is_none());
    assert_eq!(room.filling(), BTreeSet::from(["a".to_owned()]));
    room.release("a", 5);
    assert!(room.filling().is_empty());
}

#[test]
fn room_that_is_not_used_is_free_again() {
    let room = LogRoom::new(TOTAL, OWN, 1);
    drop(room.try_reserve("a", 400).expect("there is room"));
    room.try_reserve("a", 400).expect("there is room").keep(30);
    assert_eq!(room.totals().waiting_bytes, 30);
    room.release("a", 30);
    assert_eq!((room.totals(), room.states()), (LogTotals::default(), Vec::new()));
    assert!(room.counted().buckets.is_empty());
}

#[test]
fn buckets_that_fail_share_a_pool_of_their_own() {
    let room = LogRoom::new(TOTAL, OWN, 1);
    room.restore("f0", 16_000);
    assert!(room.set_failing("f0", Some(failure("gone"))));
    assert_eq!(room.overfull(), BTreeMap::from([("f0".to_owned(), 8_000)]));
    room.release("f0", 8_000);
    assert!(room.overfull().is_empty() && !room.try_keep("f0", 10));
    for number in 1..100 {
        let name = format!("f{number}");
        assert!(room.try_keep(&name, 10));
        room.set_failing(&name, Some(failure("denied")));
        let over = room.overfull().into_keys().collect::<Vec<_>>();
        over.iter().for_each(|name| room.release(name, 4_000));
        fill_open(&room, &name);
    }
    assert!(room.counted().taken[Pool::Failing as usize] <= TOTAL / 4);
    assert_eq!(fill_reserved(&room, "a"), 16_000 + OWN, "those that fail take nothing of others");
    assert!(room.set_failing("f5", None) && !room.set_failing("f5", None));
    assert_eq!((room.failing().len(), room.totals().failing_buckets), (99, 99));
}

#[test]
fn few_buckets_are_shown_and_known() {
    let room = LogRoom::new(TOTAL, OWN, 1);
    (0..STATE_COUNT_MAX + 50).for_each(|number| room.omit(&format!("b{number}"), 1));
    room.set_failing("b7", Some(failure("gone")));
    assert!(!room.set_failing("one-more", Some(failure("gone"))));
    assert_eq!(room.counted().buckets.len(), STATE_COUNT_MAX);
    let states = room.states();
    assert_eq!((states.len(), &states[0].bucket[..]), (SHOWN_COUNT_MAX, "b7"));
    assert_eq!(room.totals().omitted, STATE_COUNT_MAX as u64 + 50);
}

#[tokio::test]
async fn a_full_bucket_waits_and_one_that_cannot_be_delivered_does_not() {
    let room = LogRoom::new(1000, 0, 0);
    fill_reserved(&room, "a");
    assert!(matches!(room.reserve("a", 10).await, Err(EngineError::Busy)));
    assert_eq!(room.totals().refused, 1);
    let (waiting, failing) = (room.clone(), room.clone());
    let waits = async move { waiting.reserve("a", 10).await.map(|share| share.is_some()) };
    let fails = async move { failing.set_failing("a", Some(failure("gone"))) };
    let (got, is_news) = tokio::join!(waits, fails);
    assert!(matches!(got, Ok(false)) && is_news);
    assert!(!room.set_failing("a", Some(failure("gone"))) && room.filling().is_empty());
    assert!(room.set_failing("a", None));
    let (waiting, freeing) = (room.clone(), room.clone());
    let waits = async move { waiting.reserve("a", 10).await.map(|share| share.is_some()) };
    let frees = async move { freeing.release("a", 200) };
    let (got, ()) = tokio::join!(waits, frees);
    assert!(matches!(got, Ok(true)));
}

#[tokio::test]
async fn a_bucket_is_to_be_delivered_when_it_fills() {
    let room = LogRoom::new(TOTAL, OWN, 1);
    assert!(room.try_keep("a", 100) && room.filling().is_empty());
    fill_open(&room, "a");
    room.filled().await;
    assert_eq!(room.filling(), BTreeSet::from(["a".to_owned()]));
}

#[derive(Clone, Debug)]
enum Step {
    Keep(u8, u64),
    Reserve(u8, u64),
    End(usize, Option<u64>),
    Release(u8, u64),
    Fail(u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let (bucket, len) = (0..6u8, 0..5_000u64);
    prop_oneof![
        (bucket.clone(), len.clone()).prop_map(|(bucket, len)| Step::Keep(bucket, len)),
        (bucket.clone(), len.clone()).prop_map(|(bucket, len)| Step::Reserve(bucket, len)),
        (any::<usize>(), proptest::option::of(len.clone())).prop_map(|(n, l)| Step::End(n, l)),
        (bucket.clone(), len).prop_map(|(bucket, len)| Step::Release(bucket, len)),
        (bucket, any::<bool>()).prop_map(|(bucket, fails)| Step::Fail(bucket, fails)),
    ]
}

proptest! {
    /// Goal: the sums are those of the buckets, and no request takes more than there is. Method: any
    /// steps; lines are never longer than what was reserved for them.
    #[test]
    fn sums_stay_true_and_below_the_total(steps in proptest::collection::vec(step(), 0..200)) {
        let room = LogRoom::new(TOTAL, OWN, 2);
        let mut shares: Vec<LogShare> = Vec::new();
        for step in steps {
            match step {
                Step::Keep(bucket, len) => drop(room.try_keep(&bucket.to_string(), len)),
                Step::Reserve(bucket, len) => {
                    shares.extend(room.try_reserve(&bucket.to_string(), len));
                }
                Step::End(number, len) if !shares.is_empty() => {
                    let share = shares.swap_remove(number % shares.len());
                    if let Some(len) = len {
                        let len = len.min(share.len);
                        share.keep(len);
                    }
                }
                Step::End(..) => {}
                Step::Release(bucket, len) => room.release(&bucket.to_string(), len),
                Step::Fail(bucket, fails) => {
                    room.set_failing(&bucket.to_string(), fails.then(|| failure("gone")));
                }
            }
            let counted = room.counted();
            for pool in POOLS {
                let taken = counted.buckets.values().map(|one| one.taken(OWN)[pool as usize]);
                prop_assert_eq!(taken.sum::<u64>(), counted.taken[pool as usize]);
            }
            let waiting: u64 = counted.buckets.values().map(Bucket::waiting_len).sum();
            prop_assert_eq!(waiting, counted.waiting_len);
            let own = counted.buckets.values().filter(|one| one.has_own).count();
            prop_assert!(own == counted.own_count && own <= 2);
            // What moves between pools takes at most its own part along.
            prop_assert!(waiting <= TOTAL + 2 * 6 * OWN);
            let failing = counted.buckets.values().filter(|one| one.failing.is_some()).count();
            prop_assert_eq!(failing as u64, counted.failing_count);
        }
        drop(shares);
        prop_assert!(room.counted().buckets.values().all(|one| one.promised_len == 0));
    }
}
