//! Commits of requests: each is carried out on what its request was decided on, or not at all.
//!
//! A plan compares, on the committer, what the decision on its request was made on, and does not run if that
//! is not so any more. Then the request is decided on again, and the plan is handed in once more.
//!
//! # Invariants
//!
//! - A request that no decision was made on commits nothing.
//! - A plan that was refused has changed nothing, and comes back as it was.
//! - Where a plan is refused often because the configuration of a bucket was changed, callers take turns
//!   (`configuration.rs`).
//! - What has to be done whether or not the request may go on is committed by [`Engine::undecided`].

use crate::asked::Decider;
use crate::basis::Made;
use crate::decided::Decided;
use crate::engine::{Engine, forget_changed};
use crate::error::EngineError;
use drystone_base::BucketId;
use drystone_catalog::{Decision, Tx};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

/// Times that a plan is handed in, a few milliseconds each.
pub const ATTEMPT_COUNT_MAX: u32 = 64;
/// From this attempt on a plan is not refused because identities were changed: where they are changed all the
/// time, what was decided on right before has to do.
pub const LENIENT_FROM: u32 = 4;
/// From this attempt on callers who change the configuration of a bucket take turns at those of the buckets
/// that were decided on. Writes of objects do not: some take long, and would keep owners from their buckets.
const TURNS_FROM: u32 = 6;

/// What came of a plan.
enum Outcome<T, P> {
    /// It ran.
    Done(Result<T, EngineError>),
    /// It did not, and is to be decided on again.
    Outdated(Box<P>),
}

/// What a plan compares before it runs.
struct Compared {
    decided: Arc<Decided>,
    made: Made,
    object: Option<Vec<u8>>,
    /// The bucket whose configuration the plan changes.
    configuration: Option<BucketId>,
    attempt: Attempt,
}

/// How a plan is handed in.
#[derive(Clone, Copy)]
struct Attempt {
    /// Whatever happened to identities.
    is_lenient: bool,
    /// Its request has the buckets reserved.
    is_reserved: bool,
}

impl Engine {
    /// Runs a plan on the committer and waits for its outcome to be durable. If something changed since the
    /// request was decided on, [`Engine::deciding`] decides again.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        self.commit_on(None, None, plan).await
    }

    /// As [`Engine::commit`], for a plan that changes the configuration of a bucket.
    pub(crate) async fn commit_configuration<T: Send + 'static>(
        &self,
        bucket: BucketId,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        self.commit_on(None, Some(bucket), plan).await
    }

    /// As [`Engine::commit`]. `object`: the only one that the plan changes, of several that were decided on.
    pub(crate) async fn commit_on<T: Send + 'static>(
        &self,
        object: Option<&[u8]>,
        configuration: Option<BucketId>,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let mut is_outdated = match &self.decided {
            Some(decided) => {
                let looked_at = &decided.looked_at;
                !decided.holds(&self.shared)
                    || !looked_at.is_same_committed(&self.shared, object)?
            }
            None => false,
        };
        let (mut plan, mut count, mut reserved) = (Box::new(plan), 0, None);
        loop {
            count += 1;
            if count >= TURNS_FROM && configuration.is_some() && reserved.is_none() {
                reserved = Some(self.reserve_buckets().await);
            }
            if is_outdated {
                let decided = self.decided.as_ref().expect("is compared for a request only");
                if !decided.asked.ask().await {
                    return Err(EngineError::DecidedOnOther);
                }
            }
            let is_last = count == ATTEMPT_COUNT_MAX;
            let (is_lenient, is_reserved) = (count >= LENIENT_FROM, reserved.is_some());
            let attempt = Attempt { is_lenient, is_reserved };
            let subject = (object.map(<[u8]>::to_vec), configuration);
            plan = match self.hand_in(subject, attempt, plan).await? {
                Outcome::Done(outcome) => return outcome,
                Outcome::Outdated(_) if is_last => return Err(EngineError::DecidedOnOther),
                Outcome::Outdated(plan) => plan,
            };
            is_outdated = true;
        }
    }

    /// Hands a plan that changes one object to the committer at once; the future waits for the outcome. It
    /// is not decided on again: a plan that was refused is the caller's to hand in again.
    pub(crate) fn start_commit<T: Send + 'static>(
        &self,
        object: Vec<u8>,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> impl Future<Output = Result<T, EngineError>> + Send + 'static {
        let is_lenient =
            self.decided.as_ref().is_some_and(|d| d.is_lenient.load(Ordering::Relaxed));
        let attempt = Attempt { is_lenient, is_reserved: false };
        let ticket = self.hand_in((Some(object), None), attempt, Box::new(plan));
        async move {
            match ticket.await? {
                Outcome::Done(outcome) => outcome,
                Outcome::Outdated(_) => Err(EngineError::DecidedOnOther),
            }
        }
    }

    fn hand_in<T: Send + 'static, P>(
        &self,
        (object, configuration): (Option<Vec<u8>>, Option<BucketId>),
        attempt: Attempt,
        plan: Box<P>,
    ) -> impl Future<Output = Result<Outcome<T, P>, EngineError>> + Send + 'static
    where
        P: FnOnce(&mut Tx<'_>) -> Result<T, EngineError> + Send + 'static,
    {
        let (lock_now_ms, shared) = (self.lock_clock_ms(), self.shared.clone());
        let compared = self.decided.as_ref().map(|decided| Compared {
            decided: decided.clone(),
            made: decided.made_now(),
            object,
            configuration,
            attempt,
        });
        let ticket = self.shared.catalog.submit(move |tx| {
            tx.set_lock_now_ms(lock_now_ms);
            let planned = match compared {
                None => plan(tx),
                Some(Compared { decided, made, object, configuration, attempt }) => {
                    let (looked_at, object) = (&decided.looked_at, object.as_deref());
                    let is_current = decided.is_current(&made, attempt.is_lenient, tx, &shared);
                    let is_of_another = !attempt.is_reserved
                        && configuration.is_some_and(|id| shared.configurations.is_reserved(id));
                    let is_same =
                        |same| Ok(same && !is_of_another && looked_at.is_same(tx, object)?);
                    match is_current.and_then(is_same) {
                        Ok(true) => {}
                        Ok(false) => return Ok(Decision::Reject(Outcome::Outdated(plan))),
                        Err(EngineError::Catalog(error)) => return Err(error),
                        Err(error) => return Ok(Decision::Reject(Outcome::Done(Err(error)))),
                    }
                    plan(tx).and_then(|value| looked_at.renew(tx, object).map(|()| value))
                }
            };
            forget_changed(tx, &shared);
            match planned {
                Ok(value) => Ok(Decision::Commit(Outcome::Done(Ok(value)))),
                Err(EngineError::Catalog(error)) => Err(error),
                Err(error) => Ok(Decision::Reject(Outcome::Done(Err(error)))),
            }
        });
        let shared = self.shared.clone();
        async move {
            let outcome = ticket.await?;
            if let Outcome::Done(Err(EngineError::LockClockBehind | EngineError::LockClockAhead)) =
                outcome
            {
                shared.lock_clock.count_refusal();
            }
            Ok(outcome)
        }
    }

    /// Runs what a request does. Whenever one of its commits finds that something changed since the request
    /// was decided on, `decide` decides again and says whether it may go on; the innermost of several is
    /// asked. Without one such commits fail with [`EngineError::DecidedOnOther`].
    pub async fn deciding<T>(
        &self,
        mut work: Pin<&mut (impl Future<Output = T> + ?Sized)>,
        mut decide: impl FnMut() -> bool,
    ) -> T {
        let Some(decided) = &self.decided else { return work.await };
        let asked = Decider::of(&decided.asked);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(done) = work.as_mut().poll(cx) {
                    return Poll::Ready(done);
                }
                if !asked.is_asked(cx.waker()) {
                    return Poll::Pending;
                }
                asked.answer(decide());
            }
        })
        .await
    }

    /// The same engine, for what has to be done whether or not the request may go on, and for what the server
    /// does by itself.
    pub(crate) fn undecided(&self) -> Self {
        Self { decided: None, ..self.clone() }
    }
}
