//! Who failed to get in lately: a table of fixed size, whatever names are tried.
//!
//! # Invariants
//!
//! - What a client sends is hashed, with a key that no one knows; nothing of it is kept.
//! - The table does not grow. What finds no room takes the place of what failed longest ago.
//! - What is being tried counts as if it failed, so that no more than the limit is ever tried; it waits, and
//!   is not refused, where it depends on others whether there is room.

use drystone_base::sync::{Mutex, lock};
use std::hash::{BuildHasher, Hash, RandomState};
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

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
    books: Mutex<Books>,
    /// An attempt ended.
    ended: Notify,
}

struct Books {
    table: Box<[[Failures; WAYS]]>,
    /// Kinds of the attempts in progress: callers have a gate that lets few through.
    trying: Vec<u64>,
}

/// An attempt in progress. If it is dropped it has not failed.
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    kinds: Vec<Kind>,
}

enum Turn<'a> {
    Begun(Attempt<'a>),
    Waits,
    Closed,
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
        let books = Mutex::new(Books { table, trying: Vec::new() });
        Self { keys: RandomState::new(), books, ended: Notify::new() }
    }

    /// Failures that have `what` in common.
    pub(super) fn kind(&self, what: impl Hash, count_max: u32) -> Kind {
        Kind { hash: self.keys.hash_one(what).max(1), count_max }
    }

    /// Counts a failure that was not tried as an attempt.
    pub(super) fn note(&self, kinds: &[Kind]) {
        let mut books = lock(&self.books);
        kinds.iter().for_each(|kind| books.note(*kind));
    }

    /// Whether there were too many failures of a kind.
    pub(super) fn is_closed(&self, kind: Kind) -> bool {
        lock(&self.books).failures(kind) >= kind.count_max
    }

    /// Begins an attempt; `None` if there were too many failures of one of its kinds. Waits while that
    /// depends on attempts in progress.
    pub(super) async fn attempt(&self, kinds: &[Kind]) -> Option<Attempt<'_>> {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Before the look at the books: what ends after it is not missed.
            ended.as_mut().enable();
            match self.try_attempt(kinds) {
                Turn::Begun(attempt) => return Some(attempt),
                Turn::Closed => return None,
                Turn::Waits => ended.await,
            }
        }
    }

    fn try_attempt(&self, kinds: &[Kind]) -> Turn<'_> {
        let mut books = lock(&self.books);
        if kinds.iter().any(|kind| books.failures(*kind) >= kind.count_max) {
            return Turn::Closed;
        }
        if kinds.iter().any(|kind| books.failures(*kind) + books.trying(*kind) >= kind.count_max) {
            return Turn::Waits;
        }
        books.trying.extend(kinds.iter().map(|kind| kind.hash));
        Turn::Begun(Attempt { throttle: self, kinds: kinds.to_vec() })
    }
}

impl Attempt<'_> {
    /// It failed.
    pub(super) fn fail(self) {
        self.throttle.note(&self.kinds);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut books = lock(&self.throttle.books);
        for kind in &self.kinds {
            if let Some(at) = books.trying.iter().position(|hash| *hash == kind.hash) {
                books.trying.swap_remove(at);
            }
        }
        drop(books);
        self.throttle.ended.notify_waiters();
    }
}

impl Books {
    /// Failures of a kind that still count.
    fn failures(&self, kind: Kind) -> u32 {
        let found = self.table[set_of(kind)].iter().find(|entry| entry.hash == kind.hash);
        found.filter(|entry| entry.last.elapsed() < PAUSE).map_or(0, |entry| entry.count)
    }

    fn trying(&self, kind: Kind) -> u32 {
        let count = self.trying.iter().filter(|hash| **hash == kind.hash).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Counts a failure.
    fn note(&mut self, kind: Kind) {
        let now = Instant::now();
        let set = &mut self.table[set_of(kind)];
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
    #[tokio::test]
    async fn failures_are_counted_through_a_flood() {
        let throttle = Throttle::new();
        let (ana, bob) = (throttle.kind("ana", 5), throttle.kind("bob", 5));
        for attempt in 0..5 {
            assert!(!throttle.is_closed(ana), "attempt {attempt}");
            throttle.attempt(&[ana]).await.expect("below the limit").fail();
            for other in 0..200 {
                let other = throttle.kind((attempt, other, "x".repeat(60_000)), 5);
                throttle.attempt(&[other]).await.expect("below the limit").fail();
            }
        }
        assert!(throttle.is_closed(ana));
        assert!(!throttle.is_closed(bob));
        assert_eq!(size_of_val(&*lock(&throttle.books).table) >> 10, 256, "KiB, always");
    }

    /// Goal: no more than the limit is tried, however many come at once, and those that are right do not use
    /// it up.
    #[tokio::test]
    async fn what_is_being_tried_counts() {
        let throttle = std::sync::Arc::new(Throttle::new());
        let (ana, here) = (throttle.kind("ana", 5), throttle.kind("here", 50));
        let mut right = Vec::new();
        for _ in 0..5 {
            right.push(throttle.attempt(&[here, ana]).await.expect("below the limit"));
        }
        let waits = |turn| matches!(turn, Turn::Waits);
        assert!(waits(throttle.try_attempt(&[here, ana])), "it depends on them");
        assert!(matches!(throttle.try_attempt(&[here]), Turn::Begun(_)));
        let mut guesses = tokio::task::JoinSet::new();
        for _ in 0..9 {
            let throttle = throttle.clone();
            guesses.spawn(async move {
                let Some(attempt) = throttle.attempt(&[here, ana]).await else { return false };
                tokio::task::yield_now().await;
                attempt.fail();
                true
            });
        }
        tokio::task::yield_now().await;
        drop(right);
        let tried = guesses.join_all().await;
        assert_eq!(tried.into_iter().filter(|was_tried| *was_tried).count(), 5);
        assert!(throttle.is_closed(ana) && !throttle.is_closed(here));
        assert!(lock(&throttle.books).trying.is_empty());
    }
}
