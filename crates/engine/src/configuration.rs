//! Turns at the configurations of buckets, for requests that were refused often enough.
//!
//! A plan does not run if the configuration of a bucket was changed since its request was decided on. Where
//! many change it all the time, one of them gets through in each round of the committer, and it may never be
//! the one that matters. So who was refused several times reserves the buckets that it was decided on: until
//! its plan has run no other request changes their configuration, and those that need it take turns by
//! caller.
//!
//! # Invariants
//!
//! - Several buckets are reserved in the order of their slots: no two requests wait for each other.
//! - What changes objects only is never refused for a reservation.

use crate::engine::{Engine, Shared};
use drystone_base::{BucketId, Turn, Turns};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets share turns with those of the same number.
const SLOT_COUNT: u64 = 256;

struct Slot {
    turns: Arc<Turns>,
    /// Requests that have it reserved: one at most.
    reserved: AtomicU64,
}

/// Reservations of all buckets.
pub(crate) struct Configurations(Vec<Slot>);

impl Default for Configurations {
    fn default() -> Self {
        let slot = |_| Slot { turns: Turns::new(1), reserved: AtomicU64::new(0) };
        Self((0..SLOT_COUNT).map(slot).collect())
    }
}

fn slot_of(bucket: BucketId) -> usize {
    usize::try_from(bucket.0 % SLOT_COUNT).unwrap_or_default()
}

impl Configurations {
    /// Whether a request has a bucket reserved.
    pub(crate) fn is_reserved(&self, bucket: BucketId) -> bool {
        self.0[slot_of(bucket)].reserved.load(Ordering::Acquire) > 0
    }
}

/// Buckets whose configuration no other request changes until this is dropped.
pub struct Reserved {
    shared: Arc<Shared>,
    slots: Vec<(usize, Turn)>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        for (slot, _) in &self.slots {
            self.shared.configurations.0[*slot].reserved.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Engine {
    /// Reserves the buckets that the request looked up, in turns by caller. What was decided before does not
    /// count: others may have changed them meanwhile. Who has a reservation must not ask for another.
    pub async fn reserve_buckets(&self) -> Reserved {
        let ids = self.decided.iter().flat_map(|decided| decided.bucket_ids());
        let mut slots: Vec<usize> = ids.map(slot_of).collect();
        slots.sort_unstable();
        slots.dedup();
        let mut reserved = Reserved { shared: self.shared.clone(), slots: Vec::new() };
        for slot in slots {
            let turn = self.shared.configurations.0[slot].turns.turn(self.consumer).await;
            self.shared.configurations.0[slot].reserved.fetch_add(1, Ordering::AcqRel);
            reserved.slots.push((slot, turn));
        }
        reserved
    }
}
