//! Handshakes in turns: their signatures take as long as many requests, and anyone may ask for one.
//!
//! A `ClientHello` costs its sender nothing, and it may be sent again and again. Each step of a handshake is
//! taken in a turn, of which there is one for each two cores, and sources take turns: requests that are in
//! progress have the other cores, and a source waits for one step of each other source.
//!
//! A handshake that waits for its client has no turn.

use drystone_engine::{Consumer, Turn, Turns};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;

/// Handshakes of all sources.
#[derive(Clone)]
pub(crate) struct Handshakes(Arc<Turns>);

impl Handshakes {
    /// One step at a time for each two cores.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Turns::new(cores.div_ceil(2)))
    }

    /// Runs a handshake; each of its steps waits for its turn.
    pub(crate) async fn run<F: Future>(&self, source: IpAddr, handshake: F) -> F::Output {
        let caller = Consumer::client(&source);
        let mut handshake = Box::pin(handshake);
        let mut waiting: Option<Pin<Box<dyn Future<Output = Turn> + Send>>> = None;
        poll_fn(move |cx| {
            let turns = self.0.clone();
            let wait =
                waiting.get_or_insert_with(|| Box::pin(async move { turns.turn(caller).await }));
            let turn = ready!(wait.as_mut().poll(cx));
            waiting = None;
            let polled = handshake.as_mut().poll(cx);
            drop(turn);
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test]
    async fn a_handshake_that_waits_for_its_client_has_no_turn() {
        let handshakes = Handshakes(Turns::new(1));
        let silent = {
            let handshakes = handshakes.clone();
            tokio::spawn(
                async move { handshakes.run(source(1), std::future::pending::<()>()).await },
            )
        };
        tokio::task::yield_now().await;
        assert_eq!(handshakes.run(source(2), async { 7 }).await, 7);
        silent.abort();
    }

    /// Goal: a source waits for one step of another one, however many handshakes that has begun.
    #[tokio::test]
    async fn sources_take_turns() {
        let handshakes = Handshakes(Turns::new(1));
        let running = handshakes.0.turn(Consumer::client(&source(9))).await;
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for last in [1, 1, 1, 1, 2] {
            let (handshakes, order) = (handshakes.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let step = poll_fn(|_| {
                    order.lock().expect("no panic").push(last);
                    Poll::Ready(())
                });
                handshakes.run(source(last), step).await;
            }));
            tokio::task::yield_now().await;
        }
        drop(running);
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(*order.lock().expect("no panic"), [1, 2, 1, 1, 1]);
    }
}
