//! The clock of locks. A wall clock that is set ahead would end them all; so this one goes on from where it
//! was at the rate at which time passes. Over a restart it follows the wall clock within a budget
//! ([`belief`]) and waits beyond it for an operator to say that the time is right.
//!
//! A lock ends when this clock and the wall clock both say so (`Tx::locks_ended_ms`). So a clock of locks
//! that is ahead, because it began while the wall clock was wrong, ends no lock either.
//!
//! # Invariants
//!
//! - What is believed is durable before the clock is put forward by it.
//! - A note that cannot be read ends no lock: the clock stays near zero until an operator confirms the time.
//! - The clock begins with the first bucket that locks, at the wall clock of that moment.
//! - Only a process that resumed the clock notes it: a tool that looks at a store does not move it.

mod belief;

use crate::bucket::BucketsAsked;
use crate::engine::Engine;
use crate::error::EngineError;
pub(crate) use belief::BELIEVED_MS_MAX;
use belief::NotedClock;
use drystone_base::sync::{Mutex, lock};
use drystone_catalog::{Decision, Key};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

pub(crate) struct LockClock {
    /// What the clock said when `since` was; beside it in one place for readers that take no lock.
    base_ms: AtomicU64,
    since: Instant,
    is_held: AtomicBool,
    /// A note of it is stored: it no longer begins.
    is_stored: AtomicBool,
    /// The clock when it was set last, and how long the process had run then; `None` before it was resumed.
    noted: Mutex<Option<(NotedClock, u64)>>,
    /// Writes that were refused since the start because one of the clocks is too far ahead of the other.
    refused: AtomicU64,
}

impl LockClock {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            base_ms: AtomicU64::new(now_ms),
            since: Instant::now(),
            is_held: AtomicBool::new(false),
            is_stored: AtomicBool::new(false),
            noted: Mutex::new(None),
            refused: AtomicU64::new(0),
        }
    }

    /// Counts a write that was refused because one of the clocks is too far ahead of the other.
    pub(crate) fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn passed_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Goes on from here.
    fn set(&self, now: NotedClock, is_held: bool) {
        let passed_ms = self.passed_ms();
        self.base_ms.store(now.at_ms.saturating_sub(passed_ms), Ordering::Release);
        self.is_held.store(is_held, Ordering::Release);
        *lock(&self.noted) = Some((now, passed_ms));
    }

    /// As it would be noted now; `None` before it was resumed.
    fn now(&self) -> Option<NotedClock> {
        let noted = lock(&self.noted);
        let (clock, set_ms) = noted.as_ref()?;
        Some(clock.advanced(self.passed_ms().saturating_sub(*set_ms)))
    }
}

/// What the confirmation of the clock changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmedClock {
    /// What the clock of locks said before, in milliseconds since 1970.
    pub from_ms: u64,
    /// The wall clock, by which locks end from now on.
    pub to_ms: u64,
    /// Locks waited, or were refused, until now.
    pub was_held: bool,
}

/// How the clock of locks stands to the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockClockState {
    /// It waits for an operator to confirm the time.
    pub is_held: bool,
    /// How far it is behind the wall clock, in milliseconds.
    pub behind_ms: u64,
    /// How far it is ahead of the wall clock, in milliseconds.
    pub ahead_ms: u64,
    /// It is so far ahead that it would not hold new locks: they are refused.
    pub is_ahead: bool,
    /// Writes with a retention that were refused since the start.
    pub refused: u64,
}

impl Engine {
    /// Resumes the clock of locks where it was noted last; whether it waits to be confirmed. Blocks.
    ///
    /// # Errors
    ///
    /// The catalog failed, or what was noted cannot be read; then no lock ends until the time is confirmed.
    pub fn resume_lock_clock(&self) -> Result<bool, EngineError> {
        let clock = &self.shared.lock_clock;
        // Until it is known where it was, no lock ends.
        clock.base_ms.store(0, Ordering::Release);
        clock.is_held.store(true, Ordering::Release);
        let Some(bytes) = self.shared.catalog.get(Key::LOCK_CLOCK)? else {
            clock.set(NotedClock::starting_at(self.now_ms()), false);
            return Ok(false);
        };
        clock.is_stored.store(true, Ordering::Release);
        let noted = NotedClock::decode(&bytes).ok_or(EngineError::DamagedLockClock)?;
        let (next, is_held) = noted.resumed(self.now_ms());
        if next != noted && self.store_lock_clock(next.clone()).is_err() {
            // What is not durable would be believed again.
            clock.set(noted, true);
            return Ok(true);
        }
        clock.set(next, is_held);
        Ok(is_held)
    }

    /// What time it is for locks, in milliseconds since 1970. No lock ends before the wall clock says so,
    /// either: a clock that began while the wall clock was set ahead would end locks before their time.
    #[must_use]
    pub fn lock_now_ms(&self) -> u64 {
        self.lock_clock_ms().min(self.now_ms())
    }

    /// What the clock of locks itself says, which may be ahead of the wall clock.
    pub(crate) fn lock_clock_ms(&self) -> u64 {
        let clock = &self.shared.lock_clock;
        clock.base_ms.load(Ordering::Acquire).saturating_add(clock.passed_ms())
    }

    /// How the clock of locks stands. It counts as held also where it is far from the wall clock: that was
    /// set ahead while the process ran, or was wrong when the clock of locks began.
    #[must_use]
    pub fn lock_clock_state(&self) -> LockClockState {
        let clock = &self.shared.lock_clock;
        let (wall_ms, lock_ms) = (self.now_ms(), self.lock_clock_ms());
        let behind_ms = wall_ms.saturating_sub(lock_ms);
        let ahead_ms = lock_ms.saturating_sub(wall_ms);
        let is_ahead = ahead_ms > BELIEVED_MS_MAX;
        let is_held =
            clock.is_held.load(Ordering::Acquire) || is_ahead || behind_ms > BELIEVED_MS_MAX;
        let refused = clock.refused.load(Ordering::Relaxed);
        LockClockState { is_held, behind_ms, ahead_ms, is_ahead, refused }
    }

    /// An operator says that the wall clock is right. Returns what the clock of locks said before. `holds`
    /// says on the committer whether what this was decided on is as it was.
    ///
    /// # Errors
    ///
    /// [`EngineError::DecidedOnOther`] if it is not; the catalog failed; then the clock goes on as before.
    pub async fn confirm_lock_clock(
        &self,
        holds: impl Fn() -> bool + Send + 'static,
    ) -> Result<ConfirmedClock, EngineError> {
        let clock = &self.shared.lock_clock;
        let wall_ms = self.now_ms();
        let was_held = self.lock_clock_state().is_held;
        let confirmed = ConfirmedClock { from_ms: self.lock_clock_ms(), to_ms: wall_ms, was_held };
        let next = clock.now().unwrap_or_else(|| NotedClock::starting_at(wall_ms));
        let next = next.confirmed(wall_ms);
        let stored = next.encode();
        self.commit(move |tx| {
            if !holds() {
                return Err(EngineError::DecidedOnOther);
            }
            tx.use_reserve();
            tx.put(Key::LOCK_CLOCK.to_vec(), stored);
            Ok(())
        })
        .await?;
        self.lock_clock_is_stored();
        clock.set(next, false);
        Ok(confirmed)
    }

    fn has_locking_bucket(&self) -> Result<bool, EngineError> {
        let mut after = String::new();
        loop {
            let asked = BucketsAsked { prefix: "", after: &after, owner: None, limit: usize::MAX };
            let page = self.list_buckets(&asked)?;
            if page.buckets.iter().any(|bucket| bucket.lock.is_some()) {
                return Ok(true);
            }
            let Some(next) = page.next else { return Ok(false) };
            after = next;
        }
    }

    /// Notes the clock of locks, if any bucket locks. Blocks.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn note_lock_clock(&self) -> Result<(), EngineError> {
        if !self.has_locking_bucket()? {
            return Ok(());
        }
        match self.shared.lock_clock.now() {
            Some(now) => self.store_lock_clock(now),
            None => Ok(()),
        }
    }

    /// The row that notes the clock of locks now. A bucket that begins to lock stores it in the same
    /// transaction, so that there is no lock without a note.
    ///
    /// Before the first note there is no lock, and the clock begins now: the wall clock may have been put
    /// right since the process started.
    pub(crate) fn lock_clock_row(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let clock = &self.shared.lock_clock;
        let now = clock.now()?;
        // Another bucket may have stored it without a client that waited for the answer.
        let is_stored = clock.is_stored.load(Ordering::Acquire)
            || !matches!(self.shared.catalog.get(Key::LOCK_CLOCK), Ok(None));
        if is_stored {
            return Some((Key::LOCK_CLOCK.to_vec(), now.encode()));
        }
        let begun = NotedClock::starting_at(self.now_ms());
        clock.set(begun.clone(), false);
        Some((Key::LOCK_CLOCK.to_vec(), begun.encode()))
    }

    /// A transaction with the row of [`Engine::lock_clock_row`] is durable.
    pub(crate) fn lock_clock_is_stored(&self) {
        self.shared.lock_clock.is_stored.store(true, Ordering::Release);
    }

    fn store_lock_clock(&self, noted: NotedClock) -> Result<(), EngineError> {
        let ticket = self.shared.catalog.submit(move |tx| {
            tx.use_reserve();
            tx.put(Key::LOCK_CLOCK.to_vec(), noted.encode());
            Ok(Decision::Commit(()))
        });
        ticket.wait()?;
        self.lock_clock_is_stored();
        Ok(())
    }
}
