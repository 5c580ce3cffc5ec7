//! A line of callers who ask another server, whoever keeps its order.

use std::pin::Pin;

/// Requests to a provider of keys at a time.
pub const KEY_REQUESTS_MAX: usize = 32;

/// A turn, which ends when it is dropped.
pub type AnyTurn = Box<dyn Send>;

/// Where one caller waits for its turns: those of other callers come in between.
pub trait Line: Send + Sync {
    /// Waits for a turn.
    fn turn(&self) -> Pin<Box<dyn Future<Output = AnyTurn> + Send + '_>>;
}
