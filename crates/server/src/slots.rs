//! Where requests are served: memory that the requests of a thread use one after another.
//!
//! What serving a request needs is large and lives for microseconds. Each connection would keep it while it
//! is idle, and an allocator hands out memory in turn, so that each request would meet memory which is in no
//! cache. A slot is taken when a request begins and is free again when its answer is there.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Slots that a thread keeps. One is used nearly always: others are for requests that wait.
const FREE_MAX: usize = 2;

/// Serves requests `Q` with answers `A`, one at a time.
pub(crate) trait Slot<Q, A>: Send {
    /// Begins to serve a request; what was there ends.
    fn begin(&mut self, request: Q);
    /// Goes on.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<A>;
    /// Ends what is there, answered or not.
    fn clear(&mut self);
}

struct Place<S, F> {
    serve: S,
    running: Pin<Box<Option<F>>>,
}

impl<Q, F: Future + Send, S: Fn(Q) -> F + Send> Slot<Q, F::Output> for Place<S, F> {
    fn begin(&mut self, request: Q) {
        // Built where it stays: to move it would be to copy all of it.
        self.running.set(Some((self.serve)(request)));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        let running = self.running.as_mut().as_pin_mut();
        running.expect("a slot is polled between its begin and its clear").poll(context)
    }

    fn clear(&mut self) {
        self.running.set(None);
    }
}

/// The free slots of a thread.
pub(crate) type Free<Q, A> = RefCell<Vec<Box<dyn Slot<Q, A>>>>;

/// A request in its slot. The thread that ends it keeps the slot.
pub(crate) struct InSlot<Q: 'static, A: 'static> {
    slot: Option<Box<dyn Slot<Q, A>>>,
    free: &'static std::thread::LocalKey<Free<Q, A>>,
}

impl<Q, A> InSlot<Q, A> {
    /// Begins to serve a request in a free slot of this thread, or in a new one that serves by `serve`.
    pub(crate) fn begin<F: Future<Output = A> + Send + 'static>(
        free: &'static std::thread::LocalKey<Free<Q, A>>,
        serve: impl Fn(Q) -> F + Send + 'static,
        request: Q,
    ) -> Self {
        let known = free.try_with(|free| free.borrow_mut().pop()).ok().flatten();
        let mut slot = known.unwrap_or_else(|| Box::new(Place { serve, running: Box::pin(None) }));
        slot.begin(request);
        Self { slot: Some(slot), free }
    }

    fn end(&mut self) {
        let Some(mut slot) = self.slot.take() else { return };
        slot.clear();
        // While a thread ends there is nothing to keep it for.
        let _ = self.free.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < FREE_MAX {
                free.push(slot);
            }
        });
    }
}

impl<Q, A> Future for InSlot<Q, A> {
    type Output = A;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A> {
        let this = self.get_mut();
        let slot = this.slot.as_mut().expect("a request is not polled after its answer");
        let polled = slot.poll(context);
        if polled.is_ready() {
            this.end();
        }
        polled
    }
}

impl<Q, A> Drop for InSlot<Q, A> {
    fn drop(&mut self) {
        self.end();
    }
}
