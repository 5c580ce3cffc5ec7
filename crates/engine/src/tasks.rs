//! Tasks of the engine: tokio's, or shuttle's where interleavings are explored.

#[cfg(shuttle)]
pub(crate) use shuttle::future::{JoinHandle, spawn};
#[cfg(not(shuttle))]
pub(crate) use tokio::task::{JoinHandle, spawn, spawn_blocking};

/// Runs what blocks.
#[cfg(shuttle)]
pub(crate) fn spawn_blocking<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    spawn(async move { run() })
}
