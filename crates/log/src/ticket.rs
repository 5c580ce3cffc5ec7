//! A value that another thread will deliver: to be awaited, or waited for.

use drystone_base::sync::{Condvar, Mutex, lock, wait};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// Receives one value. Dropping it is allowed: the work goes on, no one hears of the outcome.
pub struct Ticket<T> {
    shared: Arc<(Mutex<State<T>>, Condvar)>,
}

impl<T: Send + 'static> Ticket<T> {
    /// A ticket, and the function that delivers its value.
    pub fn new() -> (Self, impl FnOnce(T) + Send + 'static) {
        let state = State { value: None, waker: None };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let giver = shared.clone();
        let give = move |value| {
            let waker = {
                let mut state = lock(&giver.0);
                state.value = Some(value);
                state.waker.take()
            };
            giver.1.notify_all();
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        (Self { shared }, give)
    }

    /// Blocks the thread until the value is there.
    #[must_use]
    pub fn wait(self) -> T {
        let mut state = lock(&self.shared.0);
        loop {
            if let Some(value) = state.value.take() {
                return value;
            }
            state = wait(&self.shared.1, state);
        }
    }

    /// The value, if it is there already.
    #[must_use]
    pub fn try_take(&self) -> Option<T> {
        lock(&self.shared.0).value.take()
    }
}

impl<T: Send + 'static> Future for Ticket<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = lock(&self.shared.0);
        match state.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
