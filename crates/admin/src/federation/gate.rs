//! How many may ask another directory at once, and how many may wait for that: a provider that is silent
//! holds a few threads and a few requests, not the server.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that may be asking or waiting; more are refused at once.
const PRESENT_MAX: usize = 64;

/// Lets some through at a time.
pub(super) struct Gate {
    present: Arc<Semaphore>,
    asking: Arc<Semaphore>,
}

/// The right to ask. It goes to the one that asks, who may outlive the request.
pub(super) struct Passage {
    _asking: OwnedSemaphorePermit,
    _present: OwnedSemaphorePermit,
}

impl Gate {
    /// A gate that lets `asking_max` ask at once.
    pub(super) fn new(asking_max: usize) -> Self {
        let (present, asking) = (Semaphore::new(PRESENT_MAX), Semaphore::new(asking_max));
        Self { present: Arc::new(present), asking: Arc::new(asking) }
    }

    /// Waits for a turn; `None` if too many wait already.
    pub(super) async fn pass(&self) -> Option<Passage> {
        let present = self.present.clone().try_acquire_owned().ok()?;
        let asking = self.asking.clone().acquire_owned().await.ok()?;
        Some(Passage { _asking: asking, _present: present })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn few_ask_some_wait_and_the_rest_is_refused() {
        let gate = Arc::new(Gate::new(1));
        let asking = gate.pass().await.expect("the first one");
        let mut waiting = Vec::new();
        for _ in 1..PRESENT_MAX {
            let gate = gate.clone();
            waiting.push(tokio::spawn(async move { gate.pass().await.is_some() }));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        assert!(gate.pass().await.is_none());
        drop(asking);
        for task in waiting {
            assert!(task.await.expect("no panic"));
        }
    }
}
