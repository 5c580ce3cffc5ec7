//! Who failed to get in lately: a table of fixed size, whatever names are tried.
//!
//! # Invariants
//!
//! - What a client sends is hashed, with a key that nobody knows; nothing of it is kept.
//! - The table does not grow. What finds no room takes the place of what failed longest ago.

use drystone_base::sync::{Mutex, lock};
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

/// Failures of one kind, before further attempts wait out the pause.
const PAUSE: Duration = Duration::from_secs(60);
/// Places that an entry may have.
const WAYS: usize = 8;
const SET_COUNT: usize = 1024;

#[derive(Clone, Copy)]
struct Failures {
    /// Zero in an empty place.
    hash: u64,
    count: u32,
    last: Instant,
}

/// Counts failures by what they have in common.
pub(super) struct Throttle {
    keys: RandomState,
    table: Mutex<Box<[[Failures; WAYS]]>>,
}

/// What failures have in common, hashed, and how many of them are borne within the pause.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    hash: u64,
    count_max: u32,
}

impl Throttle {
    pub(super) fn new() -> Self {
        let empty = Failures { hash: 0, count: 0, last: Instant::now() };
        let table = vec![[empty; WAYS]; SET_COUNT].into_boxed_slice();
        Self { keys: RandomState::new(), table: Mutex::new(table) }
    }

    /// Failures that have `what` in common.
    pub(super) fn kind(&self, what: impl Hash, count_max: u32) -> Kind {
        Kind { hash: self.keys.hash_one(what).max(1), count_max }
    }

    /// Whether there were too many failures of a kind.
    pub(super) fn is_closed(&self, kind: Kind) -> bool {
        let table = lock(&self.table);
        let found = table[set_of(kind)].iter().find(|entry| entry.hash == kind.hash);
        found.is_some_and(|entry| entry.count >= kind.count_max && entry.last.elapsed() < PAUSE)
    }

    /// Counts a failure.
    pub(super) fn note(&self, kind: Kind) {
        let (mut table, now) = (lock(&self.table), Instant::now());
        let set = &mut table[set_of(kind)];
        let at = set.iter().position(|entry| entry.hash == kind.hash).unwrap_or_else(|| {
            let place = set.iter().enumerate().min_by_key(|(_, e)| (e.hash != 0, e.last));
            let at = place.map_or(0, |(at, _)| at);
            set[at] = Failures { hash: kind.hash, count: 0, last: now };
            at
        });
        let entry = &mut set[at];
        let is_old = now.duration_since(entry.last) >= PAUSE;
        entry.count = if is_old { 1 } else { entry.count.saturating_add(1) };
        entry.last = now;
    }
}

fn set_of(kind: Kind) -> usize {
    usize::try_from(kind.hash >> 32).expect("32 bits") % SET_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: guessing ends after some failures, whatever else is tried meanwhile, and others are not
    /// affected. Method: a flood of other names from elsewhere, less than the table has places.
    #[test]
    fn failures_are_counted_through_a_flood() {
        let throttle = Throttle::new();
        let (ana, bob) = (throttle.kind("ana", 5), throttle.kind("bob", 5));
        for attempt in 0..5 {
            assert!(!throttle.is_closed(ana), "attempt {attempt}");
            throttle.note(ana);
            for other in 0..200 {
                throttle.note(throttle.kind((attempt, other, "x".repeat(60_000)), 5));
            }
        }
        assert!(throttle.is_closed(ana));
        assert!(!throttle.is_closed(bob));
        assert_eq!(size_of_val(&**lock(&throttle.table)) >> 10, 256, "KiB, always");
    }
}
