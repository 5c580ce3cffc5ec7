//! Whether a client takes what it asked for fast enough; arithmetic only.

use std::time::Duration;
use tokio::time::Instant;

/// A client that takes nothing for so long is let go, as one that sends nothing of a body is.
pub(super) const STALL_MAX: Duration = Duration::from_secs(30);
/// Once a socket has been full for so long in all, the client must have taken so many bytes for each of these
/// seconds. The same rate holds for bodies that clients send.
const RATE_AFTER: Duration = Duration::from_secs(60);
const RATE_BYTES_PER_SECOND: u64 = 256;

/// The client is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the client takes less than {RATE_BYTES_PER_SECOND} bytes a second, or nothing for 30 seconds"
)]
pub(super) struct TooSlow;

/// Time for which a socket was full, against the bytes that it took.
pub(super) struct WritePace {
    stall_max: Duration,
    full_since: Option<Instant>,
    full: Duration,
    taken: u64,
}

impl WritePace {
    /// A socket that has not been full yet.
    pub(super) fn new(stall_max: Duration) -> Self {
        Self { stall_max, full_since: None, full: Duration::ZERO, taken: 0 }
    }

    /// The socket takes no more. Returns when that is a stall.
    pub(super) fn note_full(&mut self, now: Instant) -> Instant {
        *self.full_since.get_or_insert(now) + self.stall_max
    }

    /// The socket took bytes.
    pub(super) fn note_taken(
        &mut self,
        len: usize,
        now: impl FnOnce() -> Instant,
    ) -> Result<(), TooSlow> {
        self.taken += len as u64;
        let Some(since) = self.full_since.take() else { return Ok(()) };
        self.full += now().duration_since(since);
        if self.full < RATE_AFTER {
            return Ok(());
        }
        let (full, taken) = (std::mem::take(&mut self.full), std::mem::take(&mut self.taken));
        if taken < full.as_secs() * RATE_BYTES_PER_SECOND { Err(TooSlow) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that takes `len` bytes after every `pause`, and how long it is served, up to an hour.
    fn served(len: usize, pause: Duration) -> Duration {
        let (mut pace, begun) = (WritePace::new(STALL_MAX), Instant::now());
        let mut now = begun;
        while now.duration_since(begun) < Duration::from_secs(3600) {
            let stall = pace.note_full(now);
            now += pause;
            if now >= stall || pace.note_taken(len, || now).is_err() {
                break;
            }
        }
        now.duration_since(begun)
    }

    #[test]
    fn slow_clients_are_served_and_silent_ones_are_not() {
        let seconds = Duration::from_secs;
        assert_eq!(served(1, seconds(30)), STALL_MAX, "nothing for 30 seconds");
        assert!(served(1, seconds(29)) < seconds(120), "a byte now and then");
        assert!(served(256 * 5 - 1, seconds(5)) < seconds(120), "just below the rate");
        assert!(served(256 * 5, seconds(5)) >= seconds(3600), "at the rate");
        assert!(served(1 << 20, seconds(29)) >= seconds(3600), "in large pieces");
    }

    #[test]
    fn a_socket_that_is_never_full_is_never_timed() {
        let mut pace = WritePace::new(STALL_MAX);
        for _ in 0..10 {
            assert!(pace.note_taken(1, || unreachable!("the clock is not asked")).is_ok());
        }
    }
}
