//! The clock by which locks end. A wall clock that is set ahead would end them all; so this one goes on from
//! where it was at the rate at which time passes, and after a restart that finds the wall clock far ahead it
//! waits for somebody to say that the time is right.

use crate::engine::Engine;
use crate::error::EngineError;
use drystone_catalog::{Decision, Key};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// A jump of the wall clock over a restart that is believed, in milliseconds.
const BELIEVED_JUMP_MS: u64 = 24 * 3600 * 1000;

pub(crate) struct LockClock {
    base_ms: AtomicU64,
    since: Instant,
    is_held: AtomicBool,
}

impl LockClock {
    pub(crate) fn new(now_ms: u64) -> Self {
        let (base_ms, is_held) = (AtomicU64::new(now_ms), AtomicBool::new(false));
        Self { base_ms, since: Instant::now(), is_held }
    }
}

/// Where the clock goes on, and whether that is behind the wall clock until somebody confirms it.
fn resume(noted_ms: Option<u64>, wall_ms: u64) -> (u64, bool) {
    match noted_ms {
        Some(noted) if wall_ms > noted.saturating_add(BELIEVED_JUMP_MS) => (noted, true),
        // A wall clock that was set back does not make it go back.
        Some(noted) => (wall_ms.max(noted), false),
        None => (wall_ms, false),
    }
}

impl Engine {
    /// Resumes the clock of locks where it was noted last; whether it waits to be confirmed.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn resume_lock_clock(&self) -> Result<bool, EngineError> {
        let noted = self.shared.catalog.get(Key::LOCK_CLOCK)?;
        let noted = noted.and_then(|bytes| bytes[..].try_into().ok()).map(u64::from_le_bytes);
        let (base, is_held) = resume(noted, self.now_ms());
        self.shared.lock_clock.base_ms.store(base, Ordering::Release);
        self.shared.lock_clock.is_held.store(is_held, Ordering::Release);
        Ok(is_held)
    }

    /// What time it is for locks, in milliseconds since 1970.
    #[must_use]
    pub fn lock_now_ms(&self) -> u64 {
        let clock = &self.shared.lock_clock;
        let passed = u64::try_from(clock.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        clock.base_ms.load(Ordering::Acquire).saturating_add(passed)
    }

    /// Whether the clock of locks is behind until somebody confirms the time.
    #[must_use]
    pub fn is_lock_clock_held(&self) -> bool {
        self.shared.lock_clock.is_held.load(Ordering::Acquire)
    }

    /// Somebody says that the wall clock is right.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub async fn confirm_lock_clock(&self) -> Result<(), EngineError> {
        let clock = &self.shared.lock_clock;
        let passed = u64::try_from(clock.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        clock.base_ms.store(self.now_ms().saturating_sub(passed), Ordering::Release);
        clock.is_held.store(false, Ordering::Release);
        let now = self.lock_now_ms();
        self.commit(move |tx| {
            tx.put(Key::LOCK_CLOCK.to_vec(), now.to_le_bytes().to_vec());
            Ok(())
        })
        .await
    }

    /// Notes the clock of locks, if any bucket locks. Blocks.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn note_lock_clock(&self) -> Result<(), EngineError> {
        let buckets = self.list_buckets("", "", usize::MAX)?;
        if buckets.iter().all(|bucket| bucket.lock.is_none()) {
            return Ok(());
        }
        let now = self.lock_now_ms();
        let ticket = self.shared.catalog.submit(move |tx| {
            tx.put(Key::LOCK_CLOCK.to_vec(), now.to_le_bytes().to_vec());
            Ok(Decision::Commit(()))
        });
        Ok(ticket.wait()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_and_a_long_jump_is_not_believed() {
        let day = BELIEVED_JUMP_MS;
        for (noted, wall, expected) in [
            (None, 50, (50, false)),
            (Some(100), 90, (100, false)),
            (Some(100), 100 + day, (100 + day, false)),
            (Some(100), 101 + day, (100, true)),
            (Some(100), u64::MAX, (100, true)),
        ] {
            assert_eq!(resume(noted, wall), expected);
        }
    }
}
