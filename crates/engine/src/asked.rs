//! Commits that wait until their request is decided on again, and who decides.

use drystone_base::sync::{Mutex, lock};
use std::task::Waker;
use tokio::sync::oneshot;

#[derive(Default)]
struct State {
    /// How many decide, one inside the other.
    decider_count: usize,
    /// The task in which they do.
    waker: Option<Waker>,
    waiting: Vec<oneshot::Sender<bool>>,
}

/// The commits of one request that wait for a decision.
#[derive(Default)]
pub(crate) struct Asked(Mutex<State>);

impl Asked {
    /// Asks for another decision. False if the request may not go on, or if no one decides on it any more,
    /// such as after its client left.
    pub(crate) async fn ask(&self) -> bool {
        let (answer, waker) = {
            let mut state = lock(&self.0);
            if state.decider_count == 0 {
                return false;
            }
            let (sender, answer) = oneshot::channel();
            state.waiting.push(sender);
            (answer, state.waker.take())
        };
        // The commit may be one of another task than the decision.
        waker.into_iter().for_each(Waker::wake);
        answer.await.unwrap_or(false)
    }
}

/// Who decides for as long as this is there.
pub(crate) struct Decider<'a>(&'a Asked);

impl<'a> Decider<'a> {
    pub(crate) fn of(asked: &'a Asked) -> Self {
        lock(&asked.0).decider_count += 1;
        Self(asked)
    }

    /// Whether a commit waits for a decision; if none does, the next one wakes this task.
    pub(crate) fn is_asked(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.0.0);
        if !state.waiting.is_empty() {
            return true;
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        false
    }

    /// Tells those that wait whether they may go on.
    pub(crate) fn answer(&self, may_go_on: bool) {
        let waiting = std::mem::take(&mut lock(&self.0.0).waiting);
        for waits in waiting {
            // The commit may be waited for no more.
            let _ = waits.send(may_go_on);
        }
    }
}

impl Drop for Decider<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.0);
        state.decider_count -= 1;
        if state.decider_count == 0 {
            state.waker = None;
            state.waiting.clear();
        }
    }
}
