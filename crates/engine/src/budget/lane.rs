//! What one reader holds: its minimum, a chunk, for as long as it lives, and more chunks where the budget has
//! room.
//!
//! A chunk carries its permit to the connection and returns it when the connection has taken its bytes. While
//! a client does not read, the connection has one chunk; what is read ahead is given up when requests wait
//! (see [`Reclaimable`]).

use super::Share;
use bytes::Bytes;
use drystone_base::sync::{self, Mutex};
use std::future::poll_fn;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Instant;

/// What can be given up because requests wait for bytes.
pub trait Reclaimable: Send + Sync {
    /// Gives up what was not asked for in a while before `now`.
    fn give_up(&self, now: Instant);
}

/// A number for something that can be given up.
pub(super) fn next_id() -> u64 {
    static LAST_ID: AtomicU64 = AtomicU64::new(0);
    LAST_ID.fetch_add(1, Ordering::Relaxed) + 1
}

#[derive(Default)]
struct State {
    /// Chunks that are being read, or are on their way to the client.
    outstanding: usize,
    /// Shares of all of them but one.
    extras: Vec<Share>,
    waker: Option<Waker>,
}

/// Counts the chunks of one reader.
pub(crate) struct ReadLane {
    chunk_len: u64,
    state: Mutex<State>,
    /// Number under which this reader can be asked to give something up, 0 for none.
    registered: AtomicU64,
    minimum: Share,
}

/// The right to hold one chunk.
pub(crate) struct Permit(Arc<ReadLane>);

/// Bytes with the permit to hold them.
struct Chunk {
    bytes: Bytes,
    _permit: Permit,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes of one chunk at most.
pub(crate) const CHUNK_LEN: u64 = 256 << 10;
/// Bytes that come with a chunk from the log: head and checksums.
const HEAD_LEN: u64 = 4 << 10;
/// Bytes that are read together, since one checksum covers them.
const BLOCK_LEN: u64 = 64 << 10;

impl ReadLane {
    /// What a chunk takes at most.
    pub(crate) const CHUNK_LEN_MAX: u64 = CHUNK_LEN + HEAD_LEN;

    /// What a chunk takes when bytes `range` of `len` are read: whole blocks.
    pub(crate) fn chunk_len(len: u64, range: &Range<u64>) -> u64 {
        let start = range.start / BLOCK_LEN * BLOCK_LEN;
        let end = range.end.next_multiple_of(BLOCK_LEN).min(len.max(range.end));
        (end - start).min(CHUNK_LEN) + HEAD_LEN
    }

    /// A reader that reserved `minimum`, enough for a chunk of `chunk_len` bytes.
    pub(crate) fn new(chunk_len: u64, minimum: Share) -> Arc<Self> {
        let (state, registered) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { chunk_len, state, registered, minimum })
    }

    /// A permit, if one can be had now: none is outstanding, or the budget has room for one more.
    pub(crate) fn try_permit(self: &Arc<Self>) -> Option<Permit> {
        let mut state = sync::lock(&self.state);
        if state.outstanding > state.extras.len() {
            let extra = self.minimum.try_read(self.chunk_len)?;
            state.extras.push(extra);
        }
        state.outstanding += 1;
        Some(Permit(self.clone()))
    }

    /// Waits for a permit: until the client has taken what it was given, at most.
    pub(crate) async fn permit(self: &Arc<Self>) -> Permit {
        poll_fn(|context| match self.try_permit() {
            Some(permit) => Poll::Ready(permit),
            None => {
                let mut state = sync::lock(&self.state);
                if state.outstanding == 0 {
                    // It was returned in between.
                    state.outstanding = 1;
                    return Poll::Ready(Permit(self.clone()));
                }
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// A share for bytes that come with a chunk and are wanted soon.
    pub(crate) fn try_share(&self, bytes: u64) -> Option<Share> {
        self.minimum.try_read(bytes)
    }

    /// Lets this reader be asked to give up what it holds beyond its minimum.
    pub(crate) fn register(&self, reclaimable: impl FnOnce() -> Weak<dyn Reclaimable>) {
        if self.registered.load(Ordering::Relaxed) == 0 {
            let id = next_id();
            self.registered.store(id, Ordering::Relaxed);
            self.minimum.register(id, reclaimable());
        }
    }
}

impl Drop for ReadLane {
    fn drop(&mut self) {
        let id = *self.registered.get_mut();
        if id != 0 {
            self.minimum.unregister(id);
        }
    }
}

impl Permit {
    /// Bytes that return the permit when the last reference to them is dropped.
    pub(crate) fn wrap(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Chunk { bytes, _permit: self })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = sync::lock(&self.0.state);
        state.outstanding -= 1;
        let (extra, waker) = (state.extras.pop(), state.waker.take());
        drop(state);
        drop(extra);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
