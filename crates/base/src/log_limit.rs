//! A limit for the lines of a log, kind by kind: what a client can repeat may not fill a disk.
//!
//! [`warn_limited!`](crate::warn_limited) and [`error_limited!`](crate::error_limited) write at most
//! [`LINE_COUNT_MAX`] lines of one kind in [`PERIOD_MS`]; a kind is one place in the code. What is left out
//! is counted, and the count is written by the next line of that kind or, if none follows, by the caller of
//! [`take_suppressed`] from time to time (the server does).
//!
//! # Invariants
//!
//! - State is of fixed size: one [`LogLimit`] for each place in the code, none for what a client sends.
//! - No line is left out without a count.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one kind that are written in one period.
pub const LINE_COUNT_MAX: u32 = 10;
/// How long a period is.
pub const PERIOD_MS: u64 = 10_000;
const PERIOD: Duration = Duration::from_millis(PERIOD_MS);

/// Every limit that has ever left a line out; as many as there are places that use one.
static SUPPRESSING: Mutex<Vec<&'static LogLimit>> = Mutex::new(Vec::new());

/// The lines of one kind.
#[derive(Debug)]
pub struct LogLimit {
    kind: &'static str,
    state: Mutex<State>,
    registered: Once,
}

#[derive(Debug)]
struct State {
    begun: Option<Instant>,
    written: u32,
    suppressed: u64,
}

/// A line that may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admitted {
    /// Lines of this kind that were left out before it and that no line has counted yet.
    pub suppressed: u64,
}

/// A counter is right after any panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogLimit {
    /// A limit for lines that say `kind`.
    #[must_use]
    pub const fn new(kind: &'static str) -> Self {
        let state = State { begun: None, written: 0, suppressed: 0 };
        Self { kind, state: Mutex::new(state), registered: Once::new() }
    }

    /// Whether a line of this kind may be written now.
    pub fn admit(&'static self) -> Option<Admitted> {
        let admitted = lock(&self.state).admit(Instant::now());
        if admitted.is_none() {
            self.registered.call_once(|| lock(&SUPPRESSING).push(self));
        }
        admitted
    }
}

impl State {
    fn is_over(&self, now: Instant) -> bool {
        self.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= PERIOD)
    }

    fn admit(&mut self, now: Instant) -> Option<Admitted> {
        if self.is_over(now) {
            (self.begun, self.written) = (Some(now), 0);
        }
        if self.written == LINE_COUNT_MAX {
            self.suppressed += 1;
            return None;
        }
        self.written += 1;
        Some(Admitted { suppressed: std::mem::take(&mut self.suppressed) })
    }

    fn take(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.suppressed > 0 && self.is_over(now);
        is_due.then(|| std::mem::take(&mut self.suppressed))
    }
}

/// The kinds of which lines were left out in a period that has ended, each with the count of lines that no
/// line has counted yet.
#[must_use]
pub fn take_suppressed() -> Vec<(&'static str, u64)> {
    let (now, mut due) = (Instant::now(), Vec::new());
    for limit in lock(&SUPPRESSING).iter() {
        if let Some(count) = lock(&limit.state).take(now) {
            due.push((limit.kind, count));
        }
    }
    due
}

/// `tracing::warn!`, at most [`LINE_COUNT_MAX`] times in [`PERIOD_MS`] for this place in the code. The
/// message comes first: `warn_limited!("an entry is left out"; bucket, code)`.
#[macro_export]
macro_rules! warn_limited {
    ($message:literal $(; $($field:tt)*)?) => {
        $crate::log_limited!(warn, $message $(; $($field)*)?)
    };
}

/// As [`warn_limited!`](crate::warn_limited), an error.
#[macro_export]
macro_rules! error_limited {
    ($message:literal $(; $($field:tt)*)?) => {
        $crate::log_limited!(error, $message $(; $($field)*)?)
    };
}

/// What the two others are made of. The crate that uses it has `tracing`.
#[doc(hidden)]
#[macro_export]
macro_rules! log_limited {
    ($level:ident, $message:literal $(; $($field:tt)*)?) => {{
        static LIMIT: $crate::LogLimit = $crate::LogLimit::new($message);
        if let Some(line) = LIMIT.admit() {
            if line.suppressed > 0 {
                tracing::warn!(kind = $message, count = line.suppressed, "log lines were left out");
            }
            tracing::$level!($($($field)*,)? $message);
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> State {
        State { begun: None, written: 0, suppressed: 0 }
    }

    #[test]
    fn what_is_more_than_the_limit_is_counted_by_the_next_line() {
        let (mut state, start) = (new(), Instant::now());
        for _ in 0..LINE_COUNT_MAX {
            assert_eq!(state.admit(start), Some(Admitted { suppressed: 0 }));
        }
        for _ in 0..1000 {
            assert_eq!(state.admit(start + PERIOD / 2), None);
        }
        assert_eq!(state.admit(start + PERIOD), Some(Admitted { suppressed: 1000 }));
        assert_eq!(state.admit(start + PERIOD), Some(Admitted { suppressed: 0 }));
    }

    #[test]
    fn a_count_that_no_line_follows_is_taken_once_and_after_the_period() {
        let (mut state, start) = (new(), Instant::now());
        for _ in 0..LINE_COUNT_MAX + 3 {
            state.admit(start);
        }
        assert_eq!(state.take(start), None);
        assert_eq!(state.take(start + PERIOD), Some(3));
        assert_eq!(state.take(start + PERIOD), None);
    }

    #[test]
    fn a_limit_is_one_of_its_kind() {
        static LIMIT: LogLimit = LogLimit::new("a kind");
        let written = (0..100).filter(|_| LIMIT.admit().is_some()).count();
        assert_eq!(written, LINE_COUNT_MAX as usize);
    }
}
