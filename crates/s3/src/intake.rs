//! How documents come in: at which pace, and with which share of the byte budget.
//!
//! # Invariants
//!
//! - A document takes its share once more of it has come than what counts for no one, in one step and in
//!   line.
//! - A client that is waited for is behind its rate for a bounded time; for a short time only, if a caller
//!   that holds less waits for bytes. So no client decides how long others wait.
//! - What is made of a document is reserved once that has come, from a part of the budget that clients do not
//!   hold up. Who is not known pays from another part, and for the texts in advance: a form may wait for
//!   other directories.

use crate::error::{S3Code, S3Error};
use drystone_base::sync::{Mutex, MutexGuard, lock};
use drystone_engine::{Engine, EngineError, Kind, Offer, Reclaimable, Share};
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Bytes of a document that are read before it takes a share of the byte budget: what waits for a client
/// holds no more.
const UNCOUNTED_LEN: usize = 4 << 10;
/// Time for which a document is behind its rate before its client is let go.
const LAG_MAX: Duration = Duration::from_secs(10);
/// The same while a caller that holds less waits for bytes.
const LAG_MAX_AWAITED: Duration = Duration::from_millis(200);
/// The same for archives, which go on for longer and of which something was stored already.
const ARCHIVE_LAG_MAX: Duration = Duration::from_secs(30);
/// The same while a caller that holds less waits for a decoder.
const ARCHIVE_LAG_MAX_AWAITED: Duration = Duration::from_secs(2);
/// Bytes in a second that a client must send while it is waited for: of a document, and of an archive.
const RATE: u32 = 16 << 10;
const ARCHIVE_RATE: u32 = 4 << 10;
/// The same while a caller that holds less waits for a decoder. Documents are short and archives are not: who
/// holds a decoder for hours at the usual rate would shut out others for hours.
const ARCHIVE_RATE_AWAITED: u32 = 64 << 10;

/// How slow a client may be.
#[derive(Clone, Copy)]
struct Terms {
    /// Bytes in a second.
    rate: u32,
    /// Time for which it may be behind that.
    lag_max: Duration,
}

impl Terms {
    /// The time that `len` bytes pay for.
    fn paid(self, len: usize) -> Duration {
        Duration::from_secs(1).mul_f64(len as f64 / f64::from(self.rate))
    }
}

/// How far a client is behind the rate at which it must send. Only the time in which it is waited for counts.
pub(crate) struct Pace {
    usual: Terms,
    awaited: Terms,
    state: Mutex<PaceState>,
    given_up: Notify,
}

#[derive(Default)]
struct PaceState {
    /// How far it is behind the usual rate.
    lag: Duration,
    /// How far it is behind the rate of those whom others wait for.
    lag_awaited: Duration,
    waiting_since: Option<Instant>,
    is_given_up: bool,
}

impl Pace {
    pub(crate) fn of_document() -> Arc<Self> {
        let rate = RATE;
        let awaited = Terms { rate, lag_max: LAG_MAX_AWAITED };
        Self::new(Terms { rate, lag_max: LAG_MAX }, awaited)
    }

    pub(crate) fn of_archive() -> Arc<Self> {
        let awaited = Terms { rate: ARCHIVE_RATE_AWAITED, lag_max: ARCHIVE_LAG_MAX_AWAITED };
        Self::new(Terms { rate: ARCHIVE_RATE, lag_max: ARCHIVE_LAG_MAX }, awaited)
    }

    fn new(usual: Terms, awaited: Terms) -> Arc<Self> {
        let (state, given_up) = (Mutex::default(), Notify::new());
        Arc::new(Self { usual, awaited, state, given_up })
    }

    fn lock(&self) -> MutexGuard<'_, PaceState> {
        lock(&self.state)
    }

    /// Waits for the client.
    ///
    /// # Errors
    ///
    /// `RequestTimeout` if it is behind for too long, `SlowDown` if others wait for what it holds.
    pub(crate) async fn wait<T>(&self, next: impl Future<Output = T>) -> Result<T, S3Error> {
        let lag = {
            let mut state = self.lock();
            state.waiting_since = Some(Instant::now());
            state.lag
        };
        let waited = tokio::select! {
            biased;
            next = next => Ok(next),
            () = self.given_up.notified() => Err(EngineError::Busy.into()),
            () = tokio::time::sleep(self.usual.lag_max.saturating_sub(lag)) => {
                Err(S3Code::RequestTimeout.into())
            }
        };
        let mut state = self.lock();
        let since = state.waiting_since.take();
        let waited_for = since.map_or(Duration::ZERO, |since| since.elapsed());
        state.lag += waited_for;
        state.lag_awaited += waited_for;
        waited
    }

    /// Notes bytes that came.
    pub(crate) fn note(&self, len: usize) {
        let mut state = self.lock();
        state.lag = state.lag.saturating_sub(self.usual.paid(len));
        state.lag_awaited = state.lag_awaited.saturating_sub(self.awaited.paid(len));
    }
}

impl Reclaimable for Pace {
    fn give_up(&self, now: Instant) {
        let mut state = self.lock();
        let Some(since) = state.waiting_since else { return };
        let lag = state.lag_awaited + now.saturating_duration_since(since);
        if lag > self.awaited.lag_max && !state.is_given_up {
            state.is_given_up = true;
            self.given_up.notify_one();
        }
    }
}

/// What a document holds of the byte budget, and what is made of it.
pub(crate) struct Shares {
    _arrived: Option<Share>,
    _made: Option<Share>,
}

/// The share of a document that comes in.
pub(crate) struct Intake<'a> {
    engine: &'a Engine,
    kind: Kind,
    pace: Arc<Pace>,
    share: Option<(Share, Offer)>,
    /// Length of the whole document, as far as it is known.
    len_max: u64,
}

impl<'a> Intake<'a> {
    /// A document of `len_max` bytes at most, of someone who is known or not.
    pub(crate) fn new(engine: &'a Engine, is_known: bool, pace: Arc<Pace>, len_max: u64) -> Self {
        let kind = if is_known { Kind::Arrive } else { Kind::Unsigned };
        Self { engine, kind, pace, share: None, len_max }
    }

    /// Keeps bytes that came.
    pub(crate) async fn keep(&mut self, whole: &mut Vec<u8>, piece: &[u8]) -> Result<(), S3Error> {
        if whole.len() + piece.len() > UNCOUNTED_LEN && self.share.is_none() {
            let len = if self.is_known() { self.len_max } else { 2 * self.len_max };
            let share = self.engine.reserve_decoding(self.kind, len).await?;
            let pace: Weak<Pace> = Arc::downgrade(&self.pace);
            let offer = share.offer(pace);
            self.share = Some((share, offer));
        }
        whole.extend_from_slice(piece);
        Ok(())
    }

    /// The shares of a document of `len` bytes that has come, with the texts that are made of it, and a tree.
    pub(crate) async fn end(self, len: usize, tree_len: u64) -> Result<Shares, S3Error> {
        let (is_known, len) = (self.is_known(), len as u64);
        let Self { engine, kind, share, .. } = self;
        let arrived = match share {
            Some((share, _)) => Some(share),
            None if is_known => None,
            None => Some(engine.reserve_decoding(kind, 2 * len).await?),
        };
        let texts_len = match (is_known, &arrived) {
            (true, None) => 2 * len,
            (true, Some(_)) => len,
            (false, _) => 0,
        };
        let made = match tree_len + texts_len {
            0 => None,
            len => Some(engine.reserve_decoding(Kind::Decode, len).await?),
        };
        Ok(Shares { _arrived: arrived, _made: made })
    }

    fn is_known(&self) -> bool {
        self.kind == Kind::Arrive
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    fn of(rate: u32, lag_max: Duration) -> Arc<Pace> {
        Pace::new(Terms { rate, lag_max }, Terms { rate, lag_max: LAG_MAX_AWAITED })
    }

    fn pace() -> Arc<Pace> {
        of(1000, Duration::from_millis(100))
    }

    #[tokio::test]
    async fn a_client_that_sends_at_its_rate_is_waited_for() {
        let pace = pace();
        for _ in 0..10 {
            let sent = pace.wait(tokio::time::sleep(Duration::from_millis(30))).await;
            assert!(sent.is_ok());
            pace.note(200);
        }
        // What is done with the bytes is not its time.
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(pace.wait(async {}).await.is_ok());
    }

    #[tokio::test]
    async fn a_client_that_drips_is_let_go() {
        let pace = pace();
        let mut result = Ok(());
        let begun = Instant::now();
        // One burst is no credit for later.
        pace.note(100_000);
        while result.is_ok() {
            result = pace.wait(tokio::time::sleep(Duration::from_millis(20))).await;
            pace.note(1);
        }
        assert!(result.is_err_and(|error| error.code == S3Code::RequestTimeout));
        assert!(begun.elapsed() >= Duration::from_millis(90));
    }

    #[tokio::test]
    async fn a_client_that_is_behind_is_let_go_when_others_wait() {
        let pace = of(1000, Duration::from_secs(60));
        let waits = tokio::spawn({
            let pace = pace.clone();
            async move { pace.wait(pending::<()>()).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        pace.give_up(Instant::now());
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waits.is_finished(), "it is hardly behind");
        pace.give_up(Instant::now() + 2 * LAG_MAX_AWAITED);
        let result = waits.await.expect("no panic");
        assert!(result.is_err_and(|error| error.code == S3Code::SlowDown));
    }
}
